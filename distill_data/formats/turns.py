"""A row as chat turns, in whatever shape it came. Knows no target and no file.

Canonical records, messages, ShareGPT conversations, instruction and output, and prompt and completion as texts all
become the same: messages before the answer, messages of the answer, and the tools. Calls have their arguments as
objects here, tools are a list of objects; messages that are as they should be are not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from distill_data.data.columns import text_of, x_of
from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.checks import ROLES, kind_of_value, read_json
from distill_data.formats.records import COLUMNS

ASKED = ("instruction", "question", "query", "problem")
ANSWERED = ("output", "response", "answer", "solution")
CHATS = ("messages", "conversations")
IMAGES = ("images", "image")
CALLING = frozenset({"tool_calls", "function_call"})
SPEAKERS = {"human": "user", "gpt": "assistant", "observation": "tool", "developer": "system", "function": "tool"}
"""Other names of the roles. ShareGPT's `function_call` is an assistant's message of calls."""
SHAPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preference", ("chosen", "rejected")),
    ("ranked", ("responses", "scores")),
    ("steps", ("completions", "labels")),
    ("unpaired", ("completion", "label")),
    ("sft", ("prompt", "completion")),
    ("triple", ("anchor", "positive")),
    ("sft", ("messages",)),
    ("sft", ("conversations",)),
    *(("sft", (asked, answered)) for asked in ("prompt", *ASKED) for answered in ANSWERED),
    ("prompt", ("prompt",)),
    ("text", ("text",)),
)
"""Kinds with the columns that tell them, for rows from elsewhere. The first that fits counts."""


class Given(NamedTuple):
    """A row on its way into an export."""

    row: Row
    kind: str
    ordinal: int = 0
    """From 0, in its file."""


class Chat(NamedTuple):
    """What is asked, and what is answered."""

    prompt: list[Message]
    completion: list[Message]
    """Empty where nothing is answered."""

    def messages(self) -> list[Message]:
        """All of it."""
        return in_parts([*self.prompt, *self.completion])


class Pair(NamedTuple):
    """A better and a worse answer to the same prompt."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    margin: float | None
    """How much better by the scores; None where there are none."""


def kind_of(row: Row) -> str:
    """A record's kind; of a row from elsewhere, the kind that it has the columns of, `text`, or "" for none.

    Raw text is `text`, whatever kind of record holds it.
    """
    kind = row.get("kind")
    if isinstance(kind, str) and kind in COLUMNS:
        return "text" if "text" in row and "prompt" not in row else kind
    return _kind_by_columns(tuple(row))


@lru_cache(maxsize=64)
def _kind_by_columns(there: tuple[str, ...]) -> str:
    return next((name for name, columns in SHAPES if set(columns) <= set(there)), "")


def chat_of(row: Row) -> Chat:
    """Prompt and completion of a row of one answer; of several ranked ones, the best.

    A conversation is split before the last turn of an assistant. Raises SeedError, without the place.
    """
    if "responses" in row and "scores" in row:
        return Chat(prompt_of(row), turns_of(ranked_of(row)[0][1], "responses", "assistant"))
    if (name := whole_of(row)) and not (beside := answer_beside(row)):
        return _split(with_system(row, turns_of(row[name], name)))
    if name:
        return Chat(prompt_of(row), turns_of(row[beside], beside, "assistant"))
    if "prompt" in row and "completion" in row:
        return Chat(prompt_of(row), turns_of(row["completion"], "completion", "assistant"))
    answer = next((name for name in ANSWERED if name in row), "")
    if not answer:
        raise SeedError(f"there is no answer in this row; there are: {', '.join(row)}")
    return Chat(prompt_of(row), turns_of(row[answer], answer, "assistant"))


def prompt_of(row: Row) -> list[Message]:
    """What is asked, alone: of a conversation that ends with it, or is answered in other columns, all.

    Raises SeedError, without the place.
    """
    if name := whole_of(row):
        messages = with_system(row, turns_of(row[name], name))
        if "chosen" not in row and "responses" not in row:
            return messages if messages[-1]["role"] == "user" else _split(messages).prompt
        if messages[-1]["role"] == "assistant":
            raise SeedError(f"{name} ends with an answer, and other columns of this row answer it too")
        return messages
    if "prompt" in row:
        if not isinstance(row["prompt"], str):
            return with_system(row, turns_of(row["prompt"], "prompt", "user"))
        asked = turns_of(text_of([row["prompt"], row.get("input")]), "prompt", "user")
        return with_system(row, [*_history(row), *asked])
    if any(name in row for name in ASKED):
        return with_system(row, [*_history(row), {"role": "user", "content": x_of(row)}])
    raise SeedError(f"there is no prompt in this row; there are: {', '.join(row)}")


def whole_of(row: Row) -> str:
    """The column of a conversation, unless a prompt and its answer are there too; else empty."""
    answers = ("completion", "chosen", "responses", *ANSWERED)
    if row.get("prompt") is not None and any(row.get(name) is not None for name in answers):
        return ""
    return next((name for name in CHATS if row.get(name) is not None), "")


def answer_beside(row: Row) -> str:
    """The column that answers a conversation which ends with a user's turn; else empty."""
    if not (name := whole_of(row)) or turns_of(row[name], name)[-1]["role"] != "user":
        return ""
    return next((name for name in ("completion", *ANSWERED) if row.get(name) is not None), "")


def with_system(row: Row, messages: list[Message]) -> list[Message]:
    """The messages with the row's column `system` or `system_prompt` before them, where they have no such message."""
    system = row.get("system") or row.get("system_prompt")
    if isinstance(system, str) and system and not (messages and messages[0]["role"] == "system"):
        return [{"role": "system", "content": system}, *messages]
    return messages


def pair_of(given: Given) -> Pair | None:
    """The better and the worse answer; of ranked ones the best and the worst. None where these have equal scores.

    Answers that begin with the prompt, as whole conversations, are cut there. Raises SeedError, without the place.
    """
    row, margin = given.row, None
    if given.kind == "ranked":
        (best, good), *_, (worst, bad) = ranked_of(row)
        answers = [[{"role": "assistant", "content": text}] for text in (good, bad)]
        return Pair(prompt_of(row), answers[0], answers[1], best - worst) if best > worst else None
    chosen, rejected = (turns_of(row[name], name, "assistant") for name in ("chosen", "rejected"))
    match [row.get(f"{name}_score", row.get(f"score_{name}")) for name in ("chosen", "rejected")]:
        case [int() | float() as better, int() | float() as worse]:
            margin = float(better - worse)
    if chosen[0]["role"] == "assistant":
        return Pair(prompt_of(row), chosen, rejected, margin)
    shared = next((at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), 0)
    if not shared:
        raise SeedError("chosen and rejected are whole conversations, and have no prompt in common that both answer")
    return Pair(with_system(row, chosen[:shared]), chosen[shared:], rejected[shared:], margin)


def ranked_of(row: Row) -> list[tuple[float, str]]:
    """Scores with their answers, the best first. Raises SeedError, without the place."""
    texts, scores = row["responses"], row["scores"]
    if not isinstance(texts, list) or not isinstance(scores, list) or len(texts) != len(scores) or len(texts) < 2:
        raise SeedError("responses and scores must be lists of the same length, of two or more")
    numbers = all(type(score) in (int, float) and abs(score) < float("inf") for score in scores)
    if not numbers or not all(isinstance(text, str) for text in texts):
        raise SeedError("responses must be texts, and scores numbers")
    return sorted(zip(map(float, scores), texts, strict=True), key=lambda each: -each[0])


def tools_of(row: Row) -> list[Any]:
    """The functions that a chat may call, as objects; none where the row has none. Raises SeedError."""
    tools = row.get("tools")
    if not tools:
        return []
    found = _tools_in(tools) if isinstance(tools, str) else tools
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise SeedError(f"the column tools must be a list of functions, or JSON text of one, and is {_short(tools)}")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in found]


@lru_cache(maxsize=64)
def _tools_in(text: str) -> Any:
    """Rows of a file mostly have the same tools."""
    try:
        return read_json(text)
    except ValueError:
        return None


def turns_of(value: Any, name: str, speaker: str = "user") -> list[Message]:
    """A column as messages; a text is one of `speaker`. Raises SeedError, which names the column."""
    if isinstance(value, str):
        return [{"role": speaker, "content": value}]
    if not isinstance(value, list) or not value:
        raise SeedError(f"the column {name} must be a text or a list of messages, and is {kind_of_value(value)}")
    if all(map(_is_plain, value)):
        return value
    return in_parts([_turn(each, f"message {at} of {name}") for at, each in enumerate(value)])


def _is_plain(message: Any) -> bool:
    """Whether a message is as it should be, its content a text, and needs no copy."""
    if type(message) is not dict or not CALLING.isdisjoint(message) or message.get("role") not in ROLES:
        return False
    if type(message.get("content")) is not str or None in message.values():
        return False
    return "reasoning_content" not in message or type(message["reasoning_content"]) is str


def in_parts(messages: list[Message]) -> list[Message]:
    """The messages with content in parts everywhere, where it is so anywhere: a column has values of one kind."""
    listed = [type(message["content"]) is list for message in messages]
    if True not in listed or False not in listed:
        return messages
    return [
        message if parted else {**message, "content": [{"type": "text", "text": message["content"]}]}
        for message, parted in zip(messages, listed, strict=True)
    ]


def _turn(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise SeedError(f"{where} must be an object, and is {kind_of_value(value)}")
    if "from" in value and "role" not in value:
        return _said(value, where)
    role = value.get("role")
    role = SPEAKERS.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise SeedError(f"{where} has the role {_short(role)}; there are {', '.join(ROLES)}")
    turn = {key: each for key, each in value.items() if each is not None} | {"role": role}
    turn.setdefault("content", "")
    for name, kinds in (("content", str | list), ("reasoning_content", str)):
        if not isinstance(turn.get(name, ""), kinds):
            raise SeedError(f"{where} must have a text as its {name}, and has {kind_of_value(turn[name])}")
    call = turn.pop("function_call", None)  # what OpenAI had before tool_calls
    calls = turn.pop("tool_calls", None) or ([call] if call else None)
    return {**turn, "tool_calls": _calls(calls, where)} if calls else turn


def _said(value: dict[str, Any], where: str) -> Message:
    """A turn of ShareGPT."""
    speaker, said = value["from"], value.get("value")
    if not isinstance(said, str):
        raise SeedError(f"{where} must have a text as its value, and has {kind_of_value(said)}")
    if speaker == "function_call":
        thought, calls = split_thought(said)
        found = _tools_in(calls)
        named = found if isinstance(found, list) else [found]
        return {"role": "assistant", "content": thought, "tool_calls": _calls(named, where)}
    role = SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker
    if role not in ROLES:
        raise SeedError(f"{where} is from {_short(speaker)}; there are human, gpt, system, function_call, observation")
    return {"role": role, "content": said}


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    """Calls with their arguments as objects. A bare {name, arguments} is one too."""
    if not isinstance(calls, list):
        raise SeedError(f"{where} must have a list of calls, and has {kind_of_value(calls)}")
    opened = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise SeedError(f"{where} has a call without the name of a function")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = read_json(arguments)
            except ValueError:
                raise SeedError(
                    f"{where}: the arguments of {function['name']} are no JSON: {_short(arguments)}"
                ) from None
        if not isinstance(arguments, dict):
            raise SeedError(f"{where}: the arguments of {function['name']} are {kind_of_value(arguments)}, no object")
        outer = {key: each for key, each in call.items() if each is not None} if "function" in call else {}
        named = {"name": function["name"], "arguments": arguments}
        opened.append({**outer, "type": "function", "function": named})
    return opened


def split_thought(said: str) -> tuple[str, str]:
    """A thought in think-tags at the beginning, without the tags, and what follows."""
    head, closing, rest = said.partition("</think>")
    if closing and head.lstrip().startswith("<think>"):
        return head.lstrip().removeprefix("<think>").strip(), rest.lstrip()
    return "", said


def flat(content: Any) -> str:
    """A message's content as one text, with `<image>` where an image stands. Raises SeedError for other parts."""
    if isinstance(content, str):
        return content
    found = []
    for part in content if isinstance(content, list) else [content]:
        match part:
            case {"type": "text", "text": str(text)}:
                found.append(text)
            case {"type": "image"}:
                found.append("<image>")
            case _:
                raise SeedError(f"a content has a part that is no text and no image: {_short(part)}")
    return "".join(found)


def thinking(message: Mapping[str, Any]) -> str:
    """A message's text, with its reasoning before it in think-tags."""
    said, thought = flat(message["content"]), message.get("reasoning_content")
    return f"<think>\n{thought}\n</think>\n\n{said}" if thought else said


def _split(messages: list[Message]) -> Chat:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "assistant":
            return Chat(messages[:at], messages[at:])
    raise SeedError("no message of this conversation is an assistant's")


def _history(row: Row) -> list[Message]:
    """Alpaca's earlier turns."""
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(each, list) and len(each) == 2 for each in history):
        raise SeedError(f"the column history must be a list of pairs, and is {_short(history)}")
    return [
        {"role": role, "content": said}
        for pair in history
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

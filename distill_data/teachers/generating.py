"""Bodies of chat and raw completions -> replies of a transformers model, a batch at a time: text, choices, JSON.

Knows OpenAI's wire format and what a body may ask for; not how rows come together, and not how tokens are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from distill_data.data.exchange import Message, Reply
from distill_data.teachers import forward
from distill_data.teachers.batching import Proceed, go_on
from distill_data.teachers.choosing import Option, choose, follow, score_options
from distill_data.teachers.decoding import decode
from distill_data.teachers.guiding import compile_schema, read_vocabulary
from distill_data.teachers.loading import Loaded, name_unknown
from distill_data.teachers.logprobs import make_entry, make_spell
from distill_data.teachers.sampling import KNOWN, Refused, Settings, read_settings
from distill_data.teachers.spans import TemplateRefused, encode_pairs, encode_prompt, encode_text, end_of_turn

_FIELDS = KNOWN | {"messages", "prompt", "choices", "schema"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A body as token ids, known to fit the context."""

    group: str
    """Only rows of equal groups share a batch."""
    length: int
    """Tokens that the row may take, prompt and answer."""
    prompt: tuple[int, ...]
    settings: Settings
    limit: int
    """Most tokens of the answer."""
    raw: bool
    options: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Text and ids of each closed choice, with the id that ends the turn."""
    grammar: str = ""


def prepare(loaded: Loaded, body: Mapping[str, Any]) -> Prepared | Reply:
    """The body as a row for `run`; or, where it can never be answered, the refusal that a server would send.

    Raises UsageError where a schema is asked for and llguidance is not installed.
    """
    try:
        if unknown := sorted(body.keys() - _FIELDS):
            raise Refused(f"{', '.join(unknown)}: these fields are not known here.")
        if body.get("choices"):
            return _prepare_choices(loaded, body)
        settings = read_settings(body)
        prompt = _encode(loaded, body)
        limit = _limit(loaded, prompt, settings)
        grammar = "" if body.get("schema") is None else compile_schema(body["schema"])
        if grammar:
            read_vocabulary(loaded.tokenizer, loaded.stops)
    except Refused as refused:
        return _refusal(refused)
    group = _group(loaded, "generate", len(prompt), len(prompt) + limit)
    return Prepared(group, len(prompt) + limit, prompt, settings, limit, "prompt" in body, grammar=grammar)


def run(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed = go_on) -> list[Reply]:
    """Replies to the rows, which are of one group, in order. What runs out of memory raises as torch does, and what
    `proceed` raises passes through."""
    return (_choose if rows[0].options else _generate)(loaded, rows, proceed)


def _encode(loaded: Loaded, body: Mapping[str, Any]) -> tuple[int, ...]:
    messages, text = body.get("messages"), body.get("prompt")
    if isinstance(text, str) and messages is None:
        ids = encode_text(loaded.tokenizer, text)
    elif _is_conversation(messages) and text is None:
        try:
            ids = encode_prompt(loaded.tokenizer, messages)
        except TemplateRefused as error:
            raise Refused(f"{error}.") from None
    else:
        raise Refused("either messages, each with a role, or a prompt, which is text, must be given.")
    if not ids:
        raise Refused("the prompt is empty.")
    _require_known(loaded, ids)
    return tuple(ids)


def _require_known(loaded: Loaded, ids: Sequence[int]) -> None:
    if said := name_unknown(loaded, ids):
        raise Refused(f"{said}.")


def _is_conversation(messages: Any) -> TypeGuard[list[Message]]:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(each, dict) and isinstance(each.get("role"), str) for each in messages)
    )


def _limit(loaded: Loaded, prompt: Sequence[int], settings: Settings) -> int:
    """Most tokens of the answer."""
    room = loaded.context - len(prompt)
    wanted = settings.max_tokens or max(1, room)
    if wanted > room:
        raise Refused(
            f"the model takes {loaded.context} tokens, but {len(prompt)} of the prompt and {wanted} of the answer "
            f"make {len(prompt) + wanted}.",
            "context_length_exceeded",
        )
    return wanted


def _group(loaded: Loaded, kind: str, prompt: int, whole: int) -> str:
    """Rows of one group do not change each other, though they are padded to one length. A row whose factors change
    while it is written has company only where all change at the same token."""
    begins_long = forward.is_long(loaded.model, prompt)
    if begins_long != forward.is_long(loaded.model, whole):
        return f"{kind} {prompt} {whole}"
    return f"{kind} long" if begins_long else kind


def _prepare_choices(loaded: Loaded, body: Mapping[str, Any]) -> Prepared:
    choices = body["choices"]
    if not isinstance(choices, (list, tuple)) or not all(isinstance(choice, str) for choice in choices):
        raise Refused("choices must be a list of texts.")
    if "prompt" in body:
        raise Refused("choices need messages: a raw text has no turn that an option could end.")
    settings = read_settings(body, default_temperature=0.0)
    prompt = _encode(loaded, body)
    options = _encode_options(loaded, body["messages"], prompt, list(dict.fromkeys(choices)))
    longest = max(len(ids) for _, ids in options)
    if len(prompt) + longest > loaded.context:
        raise Refused(
            f"the model takes {loaded.context} tokens, but {len(prompt)} of the prompt and {longest} of the longest "
            f"choice make {len(prompt) + longest}.",
            "context_length_exceeded",
        )
    group = _group(loaded, "choose", len(prompt), len(prompt) + longest)
    return Prepared(group, len(prompt) + longest, prompt, settings, longest, False, options)


def _encode_options(
    loaded: Loaded, messages: list[Any], prompt: tuple[int, ...], choices: Sequence[str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Each option as the chat template writes an answer, up to the id that ends the turn. Where the template writes
    none, it is added: else an option that another one begins with would always be the likelier one."""
    tokenizer, end = loaded.tokenizer, end_of_turn(loaded.tokenizer)
    ending = sorted(loaded.stops)[:1] if end is None else [end]
    try:
        pairs = encode_pairs(tokenizer, messages, ([{"role": "assistant", "content": choice}] for choice in choices))
    except TemplateRefused as error:
        raise Refused(f"{error}.") from None
    options = []
    for choice, pair in zip(choices, pairs, strict=True):
        if pair is not None and tuple(pair.ids[: pair.start]) == prompt and pair.end > pair.start:
            ids = pair.ids[pair.start : pair.end]
        else:
            ids = tokenizer(choice, add_special_tokens=False)["input_ids"]
        if not ids or ids[-1] not in loaded.stops:
            while ids and not tokenizer.decode(ids[-1:]).strip():
                ids = ids[:-1]
            ids = [*ids, *ending]
        _require_known(loaded, ids)
        options.append((choice, tuple(ids)))
    return tuple(options)


def _choose(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Reply]:
    prompts = [row.prompt for row in rows]
    every = [Option(place, ids) for place, row in enumerate(rows) for _, ids in row.options]
    scores = iter(score_options(loaded.model, prompts, every, proceed))
    said = [row.options[choose([next(scores) for _ in row.options], row.prompt, row.settings)] for row in rows]
    told = _tell_choices(loaded, rows, [ids for _, ids in said], proceed)
    return [
        _reply(loaded, row, text, "stop", len(ids), entries)
        for row, (text, ids), entries in zip(rows, said, told, strict=True)
    ]


def _tell_choices(
    loaded: Loaded, rows: Sequence[Prepared], said: Sequence[Sequence[int]], proceed: Proceed
) -> list[Any]:
    """`logprobs.content` of the rows that ask for it, over the whole vocabulary as for text that was generated."""
    told: list[Any] = [None] * len(rows)
    asking = [place for place, row in enumerate(rows) if row.settings.top_logprobs is not None]
    if not asking:
        return told
    spell = make_spell(loaded.tokenizer)
    options = [Option(at, said[place]) for at, place in enumerate(asking)]
    prompts = [rows[place].prompt for place in asking]
    for option, logprobs in follow(loaded.model, prompts, options, proceed):
        top = rows[asking[option.row]].settings.top_logprobs or 0
        told[asking[option.row]] = [
            make_entry(spell, at, number, top) for at, number in zip(logprobs, option.ids, strict=True)
        ]
    return told


def _generate(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Reply]:
    together = len(rows) == 1 or forward.writes_in_batches(loaded.model)
    parts = [rows] if together else [[row] for row in rows]
    said = [each for part in parts for each in decode(loaded, part, proceed)]
    return [
        _refusal(each.refused)
        if each.refused
        else _reply(loaded, row, each.text, each.finish, len(each.ids), each.entries)
        for row, each in zip(rows, said, strict=True)
    ]


def _reply(loaded: Loaded, row: Prepared, text: str, finish: str, said: int, entries: Any) -> Reply:
    """A completion. `logprobs` has an entry for each id that was generated, also the one that ended the turn."""
    answer = {"text": text} if row.raw else {"message": {"role": "assistant", "content": text}}
    choice = {"index": 0, **answer, "finish_reason": finish}
    if entries is not None:
        choice["logprobs"] = {"content": entries}
    return _json(
        200,
        {
            "object": "text_completion" if row.raw else "chat.completion",
            "model": loaded.label,
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(row.prompt),
                "completion_tokens": said,
                "total_tokens": len(row.prompt) + said,
            },
        },
    )


def _refusal(refused: Refused) -> Reply:
    error = {"message": refused.message, "type": "invalid_request_error", "code": refused.code}
    return _json(400, {"error": error})


def _json(status: int, body: Mapping[str, Any]) -> Reply:
    return Reply(status, {"content-type": "application/json"}, orjson.dumps(body))

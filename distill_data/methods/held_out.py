"""Held-out rows: what a model is asked, and what it is compared with, in every shape that rows have. Asks nobody.

x is read as exports read it (formats.turns). The right answer is `answer`, `label` or `answerKey` where one of these
holds a text or a number; y is `completion`, the last turn of `messages`, `output` and so on; each stands for the other
where that is not there. `choices` is a list of texts, JSON text of one, or ARC's {"text": [...], "label": [...]}.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.turns import ANSWERED, chat_of, prompt_of, turns_of, whole_of, with_system
from distill_data.methods.given import read_given, read_prompt
from distill_data.quality.verifiers import normal_form

RIGHT = ("answer", "label", "answerKey")
"""Columns of the right answer, in the order in which they count."""
WANTED = (
    "a right answer is wanted: answer or label (a text or a number), or completion, or choices with the right one in "
    "answer or label. `--map answer=COLUMN` reads another column as it"
)


class HeldOut(NamedTuple):
    """One row of a task."""

    prompt: tuple[Message, ...]
    answer: str
    """The right answer, as short as the row has it; empty where it has none."""
    completion: tuple[Message, ...]
    """y; none where the row has no answer."""
    text: str
    """y as one text."""
    choices: tuple[str, ...] = ()
    """The options; none where the row has none."""
    right: int = -1
    """The place of the right one."""

    def size(self) -> int:
        """Bytes of y in UTF-8, reasoning included."""
        return sum(
            len(text.encode("utf-8", "surrogatepass"))
            for message in self.completion
            for text in (_text(message), str(message.get("reasoning_content") or ""))
        )

    def asked(self) -> str:
        """x as one text, for a judge: a lone message's text, or each turn after the name of who speaks."""
        said = [(message["role"], _text(message)) for message in self.prompt]
        return said[0][1] if len(said) == 1 else "\n\n".join(f"{role}: {text}" for role, text in said)


def read_held_out(row: Row) -> HeldOut:
    """The row. Raises SeedError, without the place, where it has no x, or choices without a right one."""
    row = {name: value for name, value in row.items() if value is not None}
    if row.get("label") is False and "completion" in row:
        raise SeedError("the completion is labelled false, so it is a bad answer, and nothing says what is a right one")
    answer = _written(_short(row))
    if "choices" in row:
        return _closed(row, answer)
    whole = {name: value for name, value in row.items() if name not in RIGHT} if answer else row
    if not _has_y(whole):
        return _with_text(_prompt(row), answer, answer) if answer else HeldOut(_prompt(row), "", (), "")
    chat = chat_of(whole)
    given = read_given({"prompt": chat.prompt, "completion": chat.completion})
    return HeldOut(given.messages, answer or given.text(), given.completion, given.text())


def _closed(row: Row, answer: str) -> HeldOut:
    """A row with options."""
    options = _options(row["choices"])
    if not answer and _has_y(row):
        answer = read_held_out({name: value for name, value in row.items() if name != "choices"}).answer
    right = _place(answer, options, number=not isinstance(_short(row), str))
    bare = {name: value for name, value in row.items() if name not in RIGHT}
    text = options.texts[right]
    return _with_text(_prompt(bare), text, text)._replace(choices=options.texts, right=right)


def _with_text(prompt: tuple[Message, ...], answer: str, text: str) -> HeldOut:
    return HeldOut(prompt, answer, ({"role": "assistant", "content": text},), text)


def _prompt(row: Row) -> tuple[Message, ...]:
    if (name := whole_of(row)) and (turns := turns_of(row[name], name))[-1]["role"] == "tool":
        return read_prompt({"prompt": with_system(row, turns)})  # what a tool gave is asked about, too
    return read_prompt({"prompt": prompt_of(row)})


def _has_y(row: Row) -> bool:
    if name := whole_of(row):
        turns = row[name] if isinstance(row[name], list) else []
        last = turns[-1] if turns and isinstance(turns[-1], Mapping) else {}
        if (last.get("role") or last.get("from")) in ("assistant", "gpt"):
            return True
    return any(isinstance(row.get(name), (str, list)) for name in ("completion", *ANSWERED))


def _short(row: Row) -> str | int | float:
    """The right answer where a column holds it as a text or a number; else empty."""
    for name in RIGHT:
        value = row.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return value
    return ""


def _written(value: Any) -> str:
    """A number as people write it: 4.0 is 4."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _Options(NamedTuple):
    texts: tuple[str, ...]
    names: tuple[str, ...]
    named: bool
    """Whether the row itself names them; else they are A, B, …."""
    worded: bool
    """Whether the row has all of them as texts, and none as a number."""


def _options(value: Any) -> _Options:
    """Raises SeedError."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    names: Any = None
    if isinstance(value, Mapping):
        value, names = value.get("text"), value.get("label")
    given = value if isinstance(value, list) else []
    texts = [_written(each) for each in given if isinstance(each, (str, int, float))]
    if len(texts) < 2 or len(texts) < len(given) or not all(map(str.strip, texts)):
        raise SeedError("the column choices must be a list of at least two texts, none of them blank")
    if len({normal_form(text) for text in texts}) < len(texts):
        raise SeedError("the column choices holds a text twice, so no one of the two is the right one")
    known = tuple(map(str, names if isinstance(names, list) else string.ascii_uppercase))[: len(texts)]
    return _Options(tuple(texts), known, isinstance(names, list), all(isinstance(each, str) for each in given))


def _place(answer: str, options: _Options, *, number: bool) -> int:
    """Of the right option: by the name that the row gives it, its text, its letter or its place from 0.

    `number`: whether the row has the answer as a number. Beside options that are texts it may be a text or a place, and
    who wrote it alone knows. Raises SeedError.
    """
    if not answer:
        raise SeedError("choices are here, and nothing says which is right: answer or label must hold its text, its "
                        "letter or its place from 0")  # fmt: skip
    said, texts = answer.strip(), [normal_form(text) for text in options.texts]
    if options.named and said in options.names:
        return options.names.index(said)
    place = int(said) if said.isdecimal() and int(said) < len(texts) else -1
    if normal_form(answer) in texts:
        found = texts.index(normal_form(answer))
        if number and options.worded and place not in (-1, found):
            raise SeedError(f"the right answer {said} is the text of one choice and the place of another, from 0; "
                            f'write the letter, or "{said}" for the text')  # fmt: skip
        return found
    if said in options.names:
        return options.names.index(said)
    if place >= 0:
        return place
    raise SeedError(f"the right answer {answer[:60]!r} is none of the choices: neither a text, a letter nor a place")


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content or ""

"""Judges that read what other models wrote: fences that text cannot leave, and verdicts that text cannot forge.

A judge sees each candidate in a message of its own, as JSON text between two lines that bear the candidate's mark: the
first 16 hex digits of the SHA-256 of its text, which no text can contain of itself. The verdict is one JSON document
that repeats the mark of all candidates together, so nothing that stands in a candidate is a verdict on it. What
cannot be read is no verdict, and never a score. Names are blind and the order is shuffled, both drawn from the run's
random seed and the item. Knows no recipe's words and no strategy.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import orjson

from distill_data.data.exchange import RESAMPLED, Answer, Ask, Request
from distill_data.data.items import Item, Row
from distill_data.errors import ParseError
from distill_data.methods.panel import Panel
from distill_data.methods.stages import UNFINISHED
from distill_data.parsing.arguments import shown as excerpt
from distill_data.parsing.strict_json import read_document

MARK = "mark"
RATIONALE = "rationale"
NAMES = "".join(letter for letter in string.ascii_uppercase if letter not in "AIO")
"""Names for candidates: letters that are neither words nor numbers, and not the first of every list."""

BREAKS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""What JSON leaves as it is and readers may take for the end of a line, to its escape."""

Allowed = Mapping[str, Sequence[Any]]
"""Field of a verdict to the values that it may have."""


class Candidate(NamedTuple):
    """A text, as a judge's template sees it."""

    name: str
    """One letter."""
    fenced: str
    """All that a template can show of it."""


class Verdict(NamedTuple):
    """What a judge said: the fields, or why there are none."""

    fields: Mapping[str, Any]
    """Empty where there is no verdict."""
    answer: Answer
    reason: str = ""
    detail: str = ""


def mark_of(*texts: str) -> str:
    """16 hex digits over the texts in this order. No text that was written before can hold it."""
    content = b"\0".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    return hashlib.sha256(content).hexdigest()[:16]


def fence(text: str) -> str:
    """The text as JSON between two lines with its own mark."""
    encoded = orjson.dumps(text.encode("utf-8", "backslashreplace").decode()).decode().translate(BREAKS)
    mark = hashlib.sha256(encoded.encode()).hexdigest()[:16]
    return f"<<<{mark}\n{encoded}\n{mark}>>>"


def copies_fence(text: str, *shown: str) -> bool:
    """Whether a text holds the mark of a fence in what its writer was shown: then it is no text of its own."""
    marks = [line[len("<<<") :] for each in shown for line in each.split("\n") if line.startswith("<<<")]
    return any(mark in text for mark in marks)


def line_up(rng: Random, texts: Sequence[str]) -> tuple[list[int], list[Candidate]]:
    """The texts in an order drawn by `rng`, as candidates with blind names: (index of each candidate, candidates)."""
    order = list(range(len(texts)))
    rng.shuffle(order)
    names = rng.sample(NAMES, len(order))
    return order, [Candidate(name, fence(texts[index])) for name, index in zip(names, order, strict=True)]


async def ask_judge(
    panel: Panel,
    ask: Ask,
    block: str,
    row: Row,
    candidates: Sequence[Candidate],
    allowed: Allowed,
    shown: Mapping[str, Any] = {},
    *,
    to: str,
    each: bool = False,
    sample: int = 0,
) -> Verdict:
    """A verdict on the candidates by the block, which sees them as `answers`, and `mark`, beside the row's columns.

    The verdict has a rationale, unless the setting `rationale` is false, and the fields that `allowed` names; with
    `each` it has all of these under the name of each candidate. Another sample is asked where one cannot be read.
    Raises AnswerFailed.
    """
    reader = panel.stages.readers[block]
    mark = mark_of(*(candidate.fenced for candidate in candidates))
    names = [candidate.name for candidate in candidates] if each else []
    reasoned = bool(panel.recipe.settings.get(RATIONALE, True))
    known = {"answers": [each._asdict() for each in candidates], MARK: mark, **shown}  # templates look up keys
    messages = panel.stages.messages(block, panel.open_row(row), known)
    once = reader.sampling.get("temperature") == 0
    request = Request(messages, reader.sampling, schema=schema_of(mark, allowed, names, reasoned=reasoned))
    for attempt in range(1 if once else 1 + panel.stages.resample):
        number = 0 if once else sample + attempt * RESAMPLED
        answer = await ask(request._replace(sample=number), to=to)
        verdict = _read(answer, mark, allowed, names, reasoned)
        if not verdict.reason or answer.finish in UNFINISHED:
            break
    return verdict


def schema_of(mark: str, allowed: Allowed, names: Sequence[str] = (), *, reasoned: bool = True) -> dict[str, Any]:
    """The JSON schema of a verdict; closed, so that strict servers take it."""
    inner: dict[str, Any] = {RATIONALE: {"type": "string"}} if reasoned else {}
    inner |= {field: {"enum": list(values)} for field, values in allowed.items()}
    fields = {name: _object(inner) for name in names} if names else inner
    return _object({MARK: {"type": "string", "enum": [mark]}, **fields})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_verdict(
    text: str, mark: str, allowed: Allowed, names: Sequence[str] = (), *, reasoned: bool = True
) -> dict[str, Any]:
    """The verdict's fields, the mark aside. Raises ParseError: `not-json`, `no-mark` where the mark is missing or
    another one, `not-a-verdict` for any field that is missing, unknown or out of range."""
    value = read_document(text)
    if not isinstance(value, dict):
        raise ParseError("not-a-verdict", "the reply is no JSON object")
    if value.pop(MARK, None) != mark:
        raise ParseError("no-mark", "the reply does not repeat the mark of what it judges")
    parts = {name: value.pop(name, None) for name in names} if names else {"": value}
    if names and value:
        raise ParseError("not-a-verdict", f"{excerpt(next(iter(value)))} is not the name of a candidate")
    for name, part in parts.items():
        _check(part, allowed, reasoned, f"{name}: " if name else "")
    return parts if names else value


def _check(part: Any, allowed: Allowed, reasoned: bool, where: str) -> None:
    if not isinstance(part, dict):
        raise ParseError("not-a-verdict", f"{where}there is no verdict")
    wanted = {*allowed, *([RATIONALE] if reasoned else [])}
    if part.keys() != wanted:
        odd = sorted(part.keys() ^ wanted)
        raise ParseError("not-a-verdict", f"{where}{excerpt(odd[0])} is missing or unknown")
    if reasoned and not isinstance(part[RATIONALE], str):
        raise ParseError("not-a-verdict", f"{where}the rationale is no text")
    for field, values in allowed.items():
        if not any(type(part[field]) is type(value) and part[field] == value for value in values):
            raise ParseError("not-a-verdict", f"{where}{field} cannot be {excerpt(part[field])}")


def _read(answer: Answer, mark: str, allowed: Allowed, names: Sequence[str], reasoned: bool) -> Verdict:
    if answer.finish in UNFINISHED:
        return Verdict({}, answer, UNFINISHED[answer.finish], f"finish reason {answer.finish}")
    try:
        return Verdict(read_verdict(answer.text, mark, allowed, names, reasoned=reasoned), answer)
    except ParseError as error:
        return Verdict({}, answer, error.reason, error.detail)


def allowed_by(panel: Panel, block: str) -> Allowed:
    """What a verdict of this block may hold, by the parser that the recipe names there: `score: [low, high]` is a whole
    number `score`, or "N/A" where the setting `na` is true; `choice: […]` is one of these as `verdict`."""
    parser = panel.recipe.stages[block].parser
    if parser.name == "choice":
        return {"verdict": panel.stages.readers[block].labels}
    low, high = parser.args
    return {"score": (*range(low, high + 1), *(["N/A"] if panel.setting("na", False) else []))}


def draws(item: Item, purpose: str) -> Random:
    """A generator for one purpose of one item: the run's random seed and the item decide, never the answers."""
    return Random(f"{item.seed}:{item.id}:{purpose}")

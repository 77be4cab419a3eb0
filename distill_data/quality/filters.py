"""Checks on a row of a dataset, written in a word: `NAME[@COLUMN][:ARGS]`, such as `length:1,2000` or `language@x:en`.

`COLUMN` is any column, `x` or `y` (data/columns.py), several joined by `+`; a check without one looks at y, the answer.
Knows no files but those that a check names: schemas, word lists, a user's own function. A check takes time linear in
the text's length, but for what a user wrote: a pattern, of which each search takes a second at most, a schema, a
function.

To add one: write a maker `name(args) -> (text, row) -> reason or None` and add a line to `FILTERS`.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.columns import make_text, number_at, text_of, value_at
from distill_data.data.items import Row
from distill_data.errors import ParseError, SeedError, UsageError, VerifierFailed
from distill_data.parsing.arguments import look_up, shown
from distill_data.parsing.patterns import TooSlow, make_find
from distill_data.parsing.schemas import make_schema_check
from distill_data.parsing.strict_json import read_document
from distill_data.quality import make_check, make_verifier
from distill_data.quality.hygiene import BOILERPLATE, FOUL, PERSONAL, make_phrases, personal, repeated_share

OnText = Callable[[str, Row], str | None]
"""(the text looked at, the row) to a reason, or None where all is well."""
RowCheck = Callable[[Row], str | None]
"""A row to a reason to drop it, or None. Raises SeedError, without the place, where the row lacks a column."""

REPEATED = 0.3
"""Share of repeated passages above which a text goes round in circles."""
_SPEC = re.compile(r"(?P<name>[a-z-]+)(?:@(?P<column>[^:]+))?(?::(?P<args>.*))?", re.DOTALL)


def make_filter(spec: str) -> RowCheck:
    """A check from `NAME[@COLUMN][:ARGS]`. Raises UsageError where it cannot be."""
    parts = _SPEC.fullmatch(spec)
    spec = spec if len(spec) <= 100 else f"{spec[:97]}..."  # for messages
    if not parts:
        raise UsageError(f"--check {spec}: this must be NAME[@COLUMN][:ARGS], such as length:1,2000 or language@x:en.")
    make = look_up(FILTERS, parts["name"], "check")
    try:
        check = make(parts["args"] or "")
        read = make_text(parts["column"] or "y")
    except UsageError as error:
        raise UsageError(f"--check {spec}: {error}") from None
    if parts["name"] in WITHOUT_TEXT:
        if parts["column"]:
            raise UsageError(f"--check {spec}: {parts['name']} looks at the whole row; leave out @{parts['column']}.")
        return lambda row: check("", row)
    return lambda row: check(read(row), row)


def files_read(specs: tuple[str, ...]) -> list[Path]:
    """Files that decide what the checks do, for telling whether a result is still that of its inputs."""
    found = []
    for spec in specs:
        parts = _SPEC.fullmatch(spec)
        name, args = (parts["name"], parts["args"] or "") if parts else ("", "")
        if args and name in ("schema", "toxicity"):
            found.append(Path(args))
        elif name == "function":
            module = sys.modules.get(args.partition(":")[0])
            found += [Path(module.__file__)] if module is not None and module.__file__ else []
    return found


def limits(args: str) -> tuple[float | None, float | None]:
    """`1,2000`, `,50` and `5` as the least and the most. Raises UsageError."""
    low, _, high = args.partition(",")
    try:
        least, most = float(low) if low.strip() else None, float(high) if high.strip() else None
    except ValueError:
        raise UsageError(f"{shown(args)} is no pair of numbers; write MIN,MAX, one of which may be left out") from None
    if any(limit is not None and math.isnan(limit) for limit in (least, most)):
        raise UsageError(f"{args!r} is no pair of numbers; nothing is above or below nan")
    if least is None and most is None:
        raise UsageError("MIN,MAX is wanted, one of which may be left out")
    if least is not None and most is not None and least > most:
        raise UsageError(f"the least, {low}, is above the most, {high}")
    return least, most


def _outside(value: float, least: float | None, most: float | None, low: str, high: str) -> str | None:
    if least is not None and not value >= least:
        return low
    return high if most is not None and not value <= most else None


def _length(args: str) -> OnText:
    least, most = limits(args)
    return lambda text, row: _outside(len(text), least, most, "too-short", "too-long")


def _words(args: str) -> OnText:
    from distill_data.quality.words import words

    least, most = limits(args)
    return lambda text, row: _outside(len(words(text)), least, most, "too-few-words", "too-many-words")


def _named(name: str, key: str = "", example: str = "") -> Callable[[str], OnText]:
    """A check that recipes have too, on the one text."""

    def make(args: str) -> OnText:
        given: dict[str, Any] = {"field": "text"}
        if key and not args:
            raise UsageError(f"an argument is wanted, such as {example}")
        if key:
            given[key] = args
        else:
            _nothing(args)
        check = make_check(name, given)
        return lambda text, row: check({"text": text}, row)

    return make


def _truncation(args: str) -> OnText:
    _nothing(args)
    check = make_check("ending", {"field": "text"})
    return lambda text, row: "truncated" if check({"text": text}, row) == "truncated" else None


def _repetition(args: str) -> OnText:
    most = limits(f",{args}")[1] if args else REPEATED
    return lambda text, row: _outside(repeated_share(text), None, most, "", "repetition")


def _boilerplate(args: str) -> OnText:
    _nothing(args)
    phrases = make_phrases(BOILERPLATE)
    return lambda text, row: "boilerplate" if phrases(text) else None


def _toxicity(args: str) -> OnText:
    listed = FOUL if not args else [line for line in _read(args).split("\n") if line.strip()]
    phrases = make_phrases(listed)
    return lambda text, row: "toxicity" if phrases(text) else None


def _pii(args: str) -> OnText:
    kinds = args.split(",") if args else list(PERSONAL)
    for kind in kinds:
        look_up(PERSONAL, kind, "kind of personal data")

    def check(text: str, row: Row) -> str | None:
        found = personal(text, kinds)
        return f"pii-{found}" if found else None

    return check


def _schema(args: str) -> OnText:
    if not args:
        raise UsageError("a file with the JSON schema is wanted, such as schema:answer.schema.json")
    try:
        schema = orjson.loads(_read(args))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{args}: this is no JSON: {error}") from None
    fault = make_schema_check("check 'schema'", schema)

    def check(text: str, row: Row) -> str | None:
        try:
            return "schema" if fault(read_document(text)) else None
        except ParseError:
            return "not-json"

    return check


def _searching(name: str, wanted: bool) -> Callable[[str], OnText]:
    """A check whose reason is its name, unless the pattern is found, or not found, as wanted."""

    def make(args: str) -> OnText:
        if not args:
            raise UsageError("a pattern is wanted")
        find = make_find(args)

        def check(text: str, row: Row) -> str | None:
            try:
                return None if find(text) is wanted else name
            except TooSlow:
                return f"{name}-too-slow"

        return check

    return make


def _choice(args: str) -> OnText:
    choices = {choice.strip() for choice in args.split(",")} - {""}
    if not choices:
        raise UsageError("the choices are wanted, with commas between")
    return lambda text, row: None if text.strip() in choices else "not-a-choice"


def _verifier(args: str) -> OnText:
    name, _, column = args.partition(",")
    verify = make_verifier(name, None)

    def check(text: str, row: Row) -> str | None:
        try:
            return None if verify(text, text_of(value_at(row, column or "answer"))) else "wrong-answer"
        except VerifierFailed:
            return "verifier-error"

    return check


def _score(column: str, least: float | None, most: float | None) -> OnText:
    def check(text: str, row: Row) -> str | None:
        return _outside(number_at(row, column), least, most, f"low-{column}", f"high-{column}")

    return check


def _score_column(args: str) -> OnText:
    column, _, rest = args.partition(",")
    if not column:
        raise UsageError("a column and its limits are wanted, such as score:quality,3")
    return _score(column, *limits(rest))


def _perplexity(args: str) -> OnText:
    return _score("perplexity", *limits(args))


def _function(args: str) -> OnText:
    """A function of the user's, `MODULE:FUNCTION`: a row to True, False or a reason."""
    module_name, _, name = args.partition(":")
    if not module_name or not name:
        raise UsageError("MODULE:FUNCTION is wanted, such as my_checks:is_good")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        keep = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:  # it is the user's code, which may do anything
        raise UsageError(f"{args} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(keep):
        raise UsageError(f"{args} is no function, but {type(keep).__name__}")

    def check(text: str, row: Row) -> str | None:
        try:
            said = keep(row)
        except (Exception, SystemExit) as error:
            raise SeedError(f"your function {args} stopped here: {type(error).__name__}: {error}") from error
        if said is True or said is None:
            return None
        if said is False:
            return name
        if isinstance(said, str) and said.strip():
            return said
        raise SeedError(
            f"your function {args} gave {shown(said)}; it gives True to keep a row, and False or a reason to drop it"
        )

    return check


def _nothing(args: str) -> None:
    if args:
        raise UsageError(f"takes no arguments, and {shown(args)} is given")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not there, not UTF-8, no name that a file can have
        raise UsageError(f"{shown(path)} cannot be read: {error}") from None


FILTERS: Mapping[str, Callable[[str], OnText]] = {
    "length": _length,  # MIN,MAX: characters
    "words": _words,  # MIN,MAX; a Chinese character is one
    "language": _named("language", "is", "language:en"),  # CODE: clearly another language
    "refusal": _named("refusal"),  # begins as a refusal does
    "truncation": _truncation,  # ends in the middle
    "repetition": _repetition,  # [SHARE]: says more of it twice
    "boilerplate": _boilerplate,  # set phrases of assistants
    "substance": _named("substance"),  # no words, or function words only
    "toxicity": _toxicity,  # [FILE]: a word of the list, one a line
    "pii": _pii,  # [KIND,...]: personal data and secrets
    "schema": _schema,  # FILE: no JSON, or not by the schema
    "regex": _searching("regex", wanted=True),  # PATTERN is not found
    "no-regex": _searching("no-regex", wanted=False),  # PATTERN is found
    "choice": _choice,  # A,B,...: none of these
    "verifier": _verifier,  # NAME[,COLUMN]: wrong by the gold answer in COLUMN, else `answer`
    "score": _score_column,  # COLUMN,MIN,MAX: a number outside
    "perplexity": _perplexity,  # MIN,MAX: of the column that `score` adds
    "function": _function,  # MODULE:FUNCTION: a row to True, False or a reason
}
"""Name to the maker of what stands after the colon. This is the whole list."""
WITHOUT_TEXT = frozenset({"score", "perplexity", "function"})
"""Checks that look at the row and not at a text of it."""

"""Whether an answer is right, given the gold one. Knows neither who answered nor what was asked.

A maker takes what the recipe gives and raises UsageError for what it cannot use.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from fractions import Fraction
from typing import Any

from distill_data.data.items import canonical
from distill_data.errors import ParseError, UsageError, VerifierFailed
from distill_data.parsing.arguments import no_args, number_setting, settings, shown
from distill_data.parsing.folding import fold
from distill_data.parsing.patterns import TooSlow, make_find
from distill_data.parsing.schemas import make_schema_check
from distill_data.parsing.strict_json import identity, read_document
from distill_data.quality.numbers import Number, last_number
from distill_data.quality.protocol import Verify

REGEX_LIMIT = 10_000
"""Characters of an answer that a pattern is tried on."""

_SEPARATORS = re.compile("[,;\n、]")
_BULLET = re.compile("[-*•] ")


def exact(args: Any) -> Verify:
    """The same text, outer space aside."""
    no_args("verifier 'exact'", args)
    return lambda answer, gold: answer.strip() == gold.strip()


def normalised(args: Any) -> Verify:
    """The same text after NFKC and case folding, with runs of space made one and closing punctuation taken off."""
    no_args("verifier 'normalised'", args)
    return lambda answer, gold: normal_form(answer) == normal_form(gold)


def normal_form(text: str) -> str:
    """What `normalised` compares."""
    folded = " ".join(fold(text).split())
    return folded.rstrip(" .,;:!?。、") or folded


def numeric(args: Any) -> Verify:
    """The last number of the answer equals the last number of the gold. No number on either side: False.

    `args`: nothing, or a mapping with `tolerance`, by which the two may differ: as a share of the gold number, or as it
    stands where that is below 1. Without one it is 1e-6, and two whole numbers must be the same. Where one side alone
    has a percent sign, 50 % is both 50 and 0.5.
    """
    given = number_setting("verifier 'numeric'", settings("verifier 'numeric'", args, ("tolerance",)), "tolerance")
    tolerance = Fraction(1e-6 if given is None else given)

    def close(answer: Fraction, gold: Fraction) -> bool:
        if given is None and answer.denominator == gold.denominator == 1:
            return answer == gold
        return abs(answer - gold) <= tolerance * max(Fraction(1), abs(gold))

    def verify(answer: str, gold: str) -> bool:
        mine, right = last_number(answer), last_number(gold)
        if mine is None or right is None:
            return False
        if mine.percent == right.percent:
            return close(mine.value, right.value)
        return any(close(one, other) for one in _readings(mine) for other in _readings(right))

    return verify


def _readings(number: Number) -> tuple[Fraction, ...]:
    return (number.value, number.value / 100) if number.percent else (number.value,)


def regex(args: Any) -> Verify:
    """The pattern matches the whole answer, outer space aside. `args`: the pattern; where it is nothing, gold is it.

    An answer above 10,000 characters is wrong. A gold pattern that is broken, and a search that takes longer than a
    second, raise VerifierFailed when they are used: they are a row's fault, and no other row's.
    """
    if args is not None and not isinstance(args, str):
        raise UsageError(f"verifier 'regex' needs a pattern or nothing, but the recipe gives {shown(args)}.")
    try:
        own = None if args is None else make_find(args, whole=True)
    except UsageError as error:
        raise UsageError(f"verifier 'regex': {error}") from None

    def verify(answer: str, gold: str) -> bool:
        stripped = answer.strip()
        try:
            return len(stripped) <= REGEX_LIMIT and (own or make_find(gold, whole=True))(stripped)
        except (UsageError, TooSlow) as error:
            raise VerifierFailed(f"verifier 'regex': {error}") from None

    return verify


def schema(args: Any) -> Verify:
    """The answer is a JSON document that the schema in `args` allows. Gold is not looked at."""
    fault_in = make_schema_check("verifier 'schema'", args)

    def verify(answer: str, gold: str) -> bool:
        try:
            return fault_in(read_document(answer)) is None
        except ParseError:
            return False

    return verify


def same_set(args: Any) -> Verify:
    """The same entries in any order, each in its normal form; how often one stands does not count.

    Entries are those of a JSON list, or what stands between commas, semicolons and line feeds.
    """
    no_args("verifier 'set'", args)
    return lambda answer, gold: _entries(answer) == _entries(gold)


def _entries(text: str) -> frozenset[Hashable]:
    try:
        value = read_document(text)
    except ParseError:
        value = None
    if isinstance(value, list):
        return frozenset(normal_form(_written(entry)) for entry in value)
    parts = (_BULLET.sub("", part.strip(), count=1) for part in _SEPARATORS.split(fold(text)))
    return frozenset(normal_form(part) for part in parts if part.strip())


def _written(entry: Any) -> str:
    if isinstance(entry, float) and entry.is_integer():
        return str(int(entry))
    return entry if isinstance(entry, str) else canonical(entry).decode()


def same_json(args: Any) -> Verify:
    """Both are JSON documents of the same value: key order is ignored, and 1 is 1.0."""
    no_args("verifier 'json'", args)

    def verify(answer: str, gold: str) -> bool:
        try:
            return identity(read_document(answer)) == identity(read_document(gold))
        except ParseError:
            return False

    return verify

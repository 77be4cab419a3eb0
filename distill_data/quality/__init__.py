"""Is a row good? Checks on one reply, verifiers against a gold answer. Knows nothing about recipes, models and runs.

To add one: write a maker `name(args)` in the module that fits, and add it to its table below.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from distill_data.errors import UsageError
from distill_data.parsing.arguments import look_up
from distill_data.quality.checks import no_echo, refusal, word_count
from distill_data.quality.heuristics import ending, keywords, leak, opening, substance
from distill_data.quality.language import language
from distill_data.quality.protocol import Check, Verify
from distill_data.quality.verifiers import exact, normalised, numeric, regex, same_json, same_set, schema

__all__ = ["BY_JUDGE", "CHECKS", "RUN_CODE", "SLOW", "VERIFIERS", "Check", "Verify", "make_check", "make_verifier"]

CHECKS: dict[str, Callable[[Any], Check]] = {
    "words": word_count,
    "refusal": refusal,
    "no-echo": no_echo,
    "keywords": keywords,
    "opening": opening,
    "leak": leak,
    "substance": substance,
    "ending": ending,
    "language": language,
}
"""What a recipe's `checks:` may name, to the maker that takes its arguments."""


def _late(module: str, name: str) -> Callable[[Any], Verify]:
    """A verifier with a process of its own, imported where it is made: no other run pays for its start."""

    def make(args: Any) -> Verify:
        made: Verify = getattr(import_module(f"distill_data.quality.{module}"), name)(args)
        return made

    return make


VERIFIERS: dict[str, Callable[[Any], Verify]] = {
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "regex": regex,
    "schema": schema,
    "set": same_set,
    "json": same_json,
    "math": _late("mathematics", "math"),
    "tests": _late("sandbox", "tests"),
    "function": _late("imported", "function"),
}
"""What a recipe's `verifier:` may name, to the maker that takes its arguments."""

SLOW = frozenset({"math", "tests", "function"})
"""Verifiers that wait for another process, each for a limited time. Call them from a thread."""

RUN_CODE = frozenset({"tests", "function"})
"""Verifiers that run code from outside this package: a model's, or a module that a recipe names."""


BY_JUDGE = "entailment"
"""The verifier that is asked of a judge and not made here; see methods.entailing."""


def make_check(name: str, args: Any) -> Check:
    """The check for a recipe. Raises UsageError for an unknown name, with the nearest, and for wrong arguments."""
    return look_up(CHECKS, name, "check")(args)


def make_verifier(name: str, args: Any, *, allow_code: bool = False) -> Verify:
    """The verifier for a recipe. Raises UsageError for an unknown name, with the nearest, and for wrong arguments.

    One that runs code is refused unless `allow_code`, which is the user's to say and no recipe's.
    """
    maker = look_up(VERIFIERS, name, "verifier")
    if name in RUN_CODE and not allow_code:
        whose = "the code that models write" if name == "tests" else f"your module ({args})"
        raise UsageError(
            f"verifier {name!r} runs {whose} on this machine, which is off by default. feedback, self-knowledge and "
            "score do it with --allow-code: read first what that means. label runs no code."
        )
    return maker(args)

"""How likely each of two names was, from a reply's log-probabilities. Knows no judge and no strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_data.data.exchange import Answer
from distill_data.methods.stages import UNFINISHED

TOP_LOGPROBS = 20
"""As many as servers commonly give: a small model's favourite first word is rarely one of the names."""
STEEPEST = 700.0
"""A larger gap of log-probabilities is as good as this one, and its exponential would be too large for a float."""


class Likelihood(NamedTuple):
    """The probability of the first name, where the choice is between the two; or why it is not known."""

    first: float | None
    reason: str = ""


def compare_names(answer: Answer, names: tuple[str, str]) -> Likelihood:
    """Softmax over the log-probabilities of two names, each one token, at the one place where the reply has a name.

    A name that the server doesn't list there counts as the least likely token that it lists. Reasons: `no-logprobs`
    where there are none to read, `not-a-verdict` where the reply has no name or several, and why it is unfinished.
    """
    if answer.finish in UNFINISHED:
        return Likelihood(None, UNFINISHED[answer.finish])
    content = answer.logprobs.get("content") if isinstance(answer.logprobs, Mapping) else None
    if not isinstance(content, list):
        return Likelihood(None, "no-logprobs")
    places = [entry for entry in content if _token(entry) in names]
    if len(places) != 1:
        return Likelihood(None, "not-a-verdict")
    listed = _listed(places[0])
    if len(listed) < 2 or not listed.keys() & set(names):
        return Likelihood(None, "no-logprobs")
    least = min(listed.values())
    gap = listed.get(names[1], least) - listed.get(names[0], least)
    return Likelihood(1 / (1 + math.exp(min(max(gap, -STEEPEST), STEEPEST))))


def _listed(place: Mapping[str, Any]) -> dict[str, float]:
    """Token to log-probability at one place, the more likely one where two differ in spaces and quotes alone."""
    top = place.get("top_logprobs")
    found: dict[str, float] = {}
    for entry in [place, *(top if isinstance(top, list) else [])]:
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            found[_token(entry)] = max(float(value), found.get(_token(entry), -math.inf))
    return found


def _token(entry: Any) -> str:
    """A token without the space and the quotes that may come with it."""
    token = entry.get("token") if isinstance(entry, Mapping) else None
    return token.strip(" \"'") if isinstance(token, str) else ""

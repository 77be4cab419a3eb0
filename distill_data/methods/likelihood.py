"""How likely each of two names was, from a reply's log-probabilities. Knows no judge and no strategy."""

from __future__ import annotations

import math
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.exchange import Answer
from distill_data.methods.stages import UNFINISHED

TOP_LOGPROBS = 20
"""As many as servers commonly give: a small model's favourite first word is rarely one of the names."""
STEEPEST = 700.0
"""A larger gap of log-probabilities is as good as this one, and its exponential would be too large for a float."""
AROUND = string.whitespace + "\"'"
"""What may come with a name: space and quotes."""


class Likelihood(NamedTuple):
    """The probability of the first name, where the choice is between the two; or why it is not known."""

    first: float | None
    reason: str = ""


def compare_names(answer: Answer, names: tuple[str, str]) -> Likelihood:
    """Softmax over the probabilities of two names, each one token, at the place where the reply has its name.

    A name's probability is the sum over the tokens that are this name, space and quotes around it aside. One that the
    server doesn't list there counts as the least likely token that it lists. Reasons: `no-logprobs` where there are
    none to read, `not-a-verdict` where the reply is anything but one of the names, and why it is unfinished.
    """
    if answer.finish in UNFINISHED:
        return Likelihood(None, UNFINISHED[answer.finish])
    content = answer.logprobs.get("content") if isinstance(answer.logprobs, Mapping) else None
    if not isinstance(content, list):
        return Likelihood(None, "no-logprobs")
    said = answer.text.strip(AROUND)
    if said not in names:
        return Likelihood(None, "not-a-verdict")
    places = [entry for entry in content if _token(entry).strip(AROUND) == said]
    listed = _listed(places[0]) if len(places) == 1 else {}
    variants: defaultdict[str, list[float]] = defaultdict(list)
    for token, value in listed.items():
        variants[token.strip(AROUND)].append(value)
    if len(variants) < 2:
        return Likelihood(None, "no-logprobs")
    first, second = (_log_of_sum(variants.get(name, [min(listed.values())])) for name in names)
    return Likelihood(1 / (1 + math.exp(min(max(second - first, -STEEPEST), STEEPEST))))


def _listed(place: Mapping[str, Any]) -> dict[str, float]:
    """Token to log-probability at one place, each token once: most servers list the one that was said again."""
    top = place.get("top_logprobs")
    found: dict[str, float] = {}
    for entry in [place, *(top if isinstance(top, list) else [])]:
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            found[_token(entry)] = max(float(value), found.get(_token(entry), -math.inf))
    return found


def _log_of_sum(values: Sequence[float]) -> float:
    """The logarithm of the sum of what these are the logarithms of."""
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def _token(entry: Any) -> str:
    token = entry.get("token") if isinstance(entry, Mapping) else None
    return token if isinstance(token, str) else ""

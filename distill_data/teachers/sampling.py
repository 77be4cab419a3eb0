"""How one token is drawn from one row's scores: what a body asks for, filters, penalties, noise. Knows no model.

A row is drawn by the Gumbel-max trick: noise is added to the scores, and the largest sum is the sample, which has
exactly the probabilities of the softmax. The noise comes from a generator of the row's own, so what a row says does
not depend on the rows beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLDEST = 1e-4
"""Temperatures up to this one are greedy: scores divided by less would not be told apart from infinity."""
_TOKENS = {"temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "seed"}
KNOWN = frozenset(_TOKENS | {"max_tokens", "stop", "logprobs", "top_logprobs"})
"""Fields of a body that are read here."""


class Refused(Exception):
    """A body that cannot be answered: what is wrong with it, and the code that servers have for that, if any."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Settings:
    """One row's sampling."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is all."""
    min_p: float = 0.0
    max_tokens: int | None = None
    """None is as many as the context has room for."""
    stop: tuple[str, ...] = ()
    seed: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_logprobs: int | None = None
    """How many alternatives are told for each token; None where no log-probabilities are asked for."""

    @property
    def greedy(self) -> bool:
        return self.temperature <= COLDEST


def read_settings(body: Mapping[str, Any], *, default_temperature: float = 1.0) -> Settings:
    """The sampling that a body asks for; null is as good as absent. Raises Refused for what makes no sense."""
    given = {name: value for name, value in body.items() if value is not None}
    return Settings(
        temperature=_number(given, "temperature", default_temperature, 0.0, 100.0),
        top_p=_number(given, "top_p", 1.0, 0.0, 1.0),
        top_k=max(0, _count(given, "top_k", 0, -1)),  # some clients write -1 for "all"
        min_p=_number(given, "min_p", 0.0, 0.0, 1.0),
        max_tokens=_count(given, "max_tokens", 0, 1) or None,
        stop=_read_stop(given.get("stop", ())),
        seed=_count(given, "seed", 0, 0),
        frequency_penalty=_number(given, "frequency_penalty", 0.0, -2.0, 2.0),
        presence_penalty=_number(given, "presence_penalty", 0.0, -2.0, 2.0),
        top_logprobs=_read_logprobs(given),
    )


def shape(scores: Any, settings: Settings, said: Sequence[int]) -> Any:
    """The scores of one row, (vocabulary,), after penalties, temperature, top-k, top-p and min-p, in this order.

    `said` are the ids that the row has generated. Ids that are filtered out have minus infinity; the most likely one
    never is. Of a greedy row the order alone counts, so nothing but the penalties is applied.
    """
    import torch

    scores = _penalise(scores, settings, said)
    if settings.greedy:
        return scores
    scores = scores / settings.temperature
    if 0 < settings.top_k < scores.shape[-1]:
        scores = scores.masked_fill(scores < torch.topk(scores, settings.top_k).values[-1], -torch.inf)
    if settings.top_p < 1.0:
        ordered, order = torch.sort(scores, descending=True, stable=True)
        shares = torch.softmax(ordered, -1)
        beyond = torch.cumsum(shares, -1) - shares >= settings.top_p
        beyond[0] = False
        scores = scores.index_fill(-1, order[beyond], -torch.inf)
    if settings.min_p > 0.0:
        shares = torch.softmax(scores, -1)
        scores = scores.masked_fill(shares < settings.min_p * shares.max(), -torch.inf)
    return scores


def make_generator(seed: int, prompt: Sequence[int], device: str) -> Any:
    """A row's own source of chance. Other prompts get other noise under the same seed: with equal noise, the samples
    of a whole data set would favour the same tokens at the same places."""
    import torch

    digest = hashlib.sha256(f"{seed}:{','.join(map(str, prompt))}".encode()).digest()
    generator = torch.Generator("cuda" if device.startswith("cuda") else "cpu")
    generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return generator


def gumbel(generator: Any, size: int, device: Any) -> Any:
    """Standard Gumbel noise, (size,). Drawn in double precision: in single, none is above 17, and rare tokens lose."""
    import torch

    uniform = torch.rand(size, dtype=torch.float64, generator=generator, device=generator.device)
    return uniform.log_().neg_().log_().neg_().to(device=device, dtype=torch.float32)


def _penalise(scores: Any, settings: Settings, said: Sequence[int]) -> Any:
    if not said or not (settings.frequency_penalty or settings.presence_penalty):
        return scores
    import torch

    ids, counts = torch.tensor(said, device=scores.device).unique(return_counts=True)
    penalties = settings.frequency_penalty * counts + settings.presence_penalty
    return scores.index_add(-1, ids, -penalties.to(scores.dtype))


def _number(given: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise Refused(f"{name} must be a number from {least:g} to {most:g}, not {value!r}.")
    return float(value)


def _count(given: Mapping[str, Any], name: str, default: int, least: int) -> int:
    if name not in given:
        return default
    value = given[name]
    if type(value) is not int or not least <= value < 2**63:
        raise Refused(f"{name} must be an integer from {least}, not {value!r}.")
    return value


def _read_stop(value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or not all(isinstance(stop, str) and stop for stop in stops):
        raise Refused(f"stop must be a text or a list of texts, none of them empty, not {value!r}.")
    return tuple(stops)


def _read_logprobs(given: Mapping[str, Any]) -> int | None:
    """`logprobs` is a flag, with the number in `top_logprobs`; or, as raw completions have it, the number itself."""
    wanted = given.get("logprobs", "top_logprobs" in given)
    if type(wanted) is int and wanted >= 0:
        return wanted
    if not isinstance(wanted, bool):
        raise Refused(f"logprobs must be true, false or a number of tokens, not {wanted!r}.")
    return _count(given, "top_logprobs", 0, 0) if wanted else None

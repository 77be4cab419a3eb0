"""φ of a given y under teacher forcing: the k most likely tokens, draws, hidden states, attention maps.

Each strategy asks every teacher once for each row. Distributions of several teachers are averaged (FuseLLM,
arXiv:2401.10491, without its alignment of tokenizers); states of several models have no common space.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_data.data.arrays import TopK, average_topk, decode, encode, merge_draws, pack_topk, share_out, topk_of
from distill_data.data.exchange import Answer, Ask
from distill_data.data.items import Arrays, Item, Outcome, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.given import ALL, Annotator, Given, read_given, rejection_of
from distill_data.methods.setup import whole
from distill_data.recipes import Recipe

MOST_DRAWS = 65535
"""Counts are stored in 16 bits."""
SEED_BITS = 32
LAYOUTS = ("plain", "packed")
TOKENS_DIFFER = "tokens-differ"

Method = Callable[[Item, Ask], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Scoring:
    """One kind of φ, ready to be asked for."""

    annotator: Annotator
    feature: Mapping[str, Any]
    """What the teacher is asked to give of itself; the run's random seed aside."""
    layout: str
    weights: Sequence[float]

    async def score(self, item: Item, ask: Ask) -> Outcome:
        """Ask every teacher about the row; one record of it."""
        given = read_given(item.row)
        features = [self.feature_for(item, share, number) for number, share in enumerate(self._shares())]
        asked = [
            ask(self.annotator.request(given, feature), to=role)
            for role, feature in zip(self.annotator.teachers, features, strict=True)
        ]
        answers = [await asked[0]] if len(asked) == 1 else await together(asked)
        reason, detail = rejection_of(answers)
        if reason:
            return rejected(reason, detail)
        if len(answers) > 1 and len({str(answer.feature and answer.feature["tokens"]) for answer in answers}) > 1:
            return rejected(TOKENS_DIFFER, "the teachers' chat templates end y at different tokens")
        return self._keep(item, given, answers)

    def feature_for(self, item: Item, share: int, number: int = 0) -> dict[str, Any]:
        """φ as the teacher of this number is asked for it: its share of the draws, by the run's random seed."""
        if self.feature["of"] != "sampled":
            return dict(self.feature)
        # teachers draw apart: equal seeds would draw the same ids of equal distributions
        return {**self.feature, "draws": share, "seed": item.seed + (number << SEED_BITS)}

    def _shares(self) -> Sequence[int]:
        return share_out(int(self.feature.get("draws", 0)), self.weights)

    def _keep(self, item: Item, given: Given, answers: Sequence[Answer]) -> Outcome:
        first, of = answers[0], str(self.feature["of"])
        said = first.feature or {}
        role = ALL if len(answers) > 1 else next(iter(self.annotator.teachers))
        arrays, tail = self._arrays(answers)
        if arrays is None:
            return rejected(TOKENS_DIFFER, "the teachers make other tokens of y")
        tokens = int(said["tokens"])
        outside = {} if tail is None else {"tail": round(tail / max(tokens, 1), 6)}
        counted = {"clipped": said["clipped"]} if said.get("clipped") else {}
        details = {
            "feature": self.feature_for(item, int(self.feature.get("draws", 0))),
            **({"layout": self.layout} if of == "topk" else {}),
            **({"weights": list(self.weights)} if len(answers) > 1 else {}),
            "truncated": bool(said["truncated"]),
            "prompt_tokens": first.prompt_tokens,
            **counted,
        }
        described = self.annotator.described(role, of, tokens, **outside)
        columns = {**given.columns(), "features": described}
        return kept(self.annotator.record(item, first, columns, details, role=role))._replace(arrays=(arrays,))

    def _arrays(self, answers: Sequence[Answer]) -> tuple[Arrays | None, float | None]:
        """The record's arrays and the mass outside the k over all tokens; None for other tokens and for no such mass.

        One teacher's plain arrays are copied later from where they lie, and never read here.
        """
        said = answers[0].feature or {}
        plain = self.layout == "plain"
        if len(answers) == 1 and plain:
            return _stored(answers[0]), said.get("tail")
        decoded = [_read(answer) for answer in answers]
        if any((one["tokens"] != decoded[0]["tokens"]).any() for one in decoded[1:]):
            return None, None
        size = self.annotator.most_ids()
        if self.feature["of"] == "sampled":
            return Arrays(*encode(merge_draws(decoded, self.weights, size))), None
        found = decoded[0]
        if len(decoded) > 1:
            each: list[TopK] = [topk_of(one) for one in decoded]
            found = average_topk(each, self.weights, int(self.feature["k"]), size)
        if not plain:
            found = pack_topk(found, size)
        return Arrays(*encode(found)), float(found["tail"].sum(dtype="float64"))


async def together(asked: Sequence[Awaitable[Answer]]) -> list[Answer]:
    """All of them, also where one fails: what the others cost is on disk then."""
    done = await asyncio.gather(*asked, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if isinstance(result, Answer)]


def _stored(answer: Answer) -> Arrays:
    assert answer.feature is not None and answer.blob is not None
    return Arrays(answer.feature["arrays"], answer.blob)


def _read(answer: Answer) -> dict[str, Any]:
    assert answer.feature is not None and answer.blob is not None
    return decode(answer.feature["arrays"], answer.blob.read())


# -- what is asked for -------------------------------------------------------------------------------------------------


def make_scored(recipe: Recipe, annotator: Annotator) -> Method:
    """A method over rows. Raises UsageError for settings that cannot be, and for several teachers of states."""
    feature = read_feature(recipe, recipe.strategy)
    layout = one_of(recipe, "layout", LAYOUTS)
    several = len(annotator.teachers) > 1
    if several and recipe.strategy not in ("topk", "sampled"):
        raise UsageError(
            f"{recipe.name}: states of several models cannot be averaged: their dimensions mean different things. Give "
            "-t once, and run the command once for each teacher."
        )
    weights = read_weights(recipe, len(annotator.teachers))
    if recipe.strategy == "sampled" and 0 in share_out(feature["draws"], weights):
        raise UsageError(
            f"--set draws={feature['draws']}: too few to share out by the weights, since each of the {len(weights)} "
            "teachers must draw at least once."
        )
    return Scoring(annotator, feature, layout, weights).score


def read_feature(recipe: Recipe, of: str) -> dict[str, Any]:
    """What the recipe's settings ask the teacher to give of itself. Raises UsageError."""
    settings = recipe.settings
    feature: dict[str, Any] = {"of": of}
    if of == "topk":
        feature["k"] = whole(recipe, "k", 64, 1)
    if of == "sampled":
        feature["draws"] = whole(recipe, "draws", 50, 1, MOST_DRAWS)
    if of in ("topk", "sampled"):
        feature["temperature"] = _temperature(recipe)
    if of in ("hidden", "attention"):
        feature["layers"] = _layers(settings.get("layers", [-1]))
        feature |= {"pool": one_of(recipe, "pool", ("none", "mean", "last"))} if of == "hidden" else {}
        feature |= {"heads": one_of(recipe, "heads", ("all", "mean"))} if of == "attention" else {}
        feature["dtype"] = one_of(recipe, "dtype", ("float16", "float32"))
    truncate = settings.get("truncate", False)
    if type(truncate) is not bool:
        raise UsageError(f"--set truncate={truncate}: must be true or false.")
    return {**feature, "truncate": truncate, "max_length": whole(recipe, "max_length", 0, 0)}


def _temperature(recipe: Recipe) -> float:
    """Of the teacher's softmax, before anything is kept of it."""
    given = recipe.sampling.get("temperature", 1.0)
    if not given > 0:
        raise UsageError(f"--set temperature={given}: a distribution is wanted, so it must be above 0.")
    if ignored := sorted(recipe.sampling.keys() - {"temperature"}):
        raise UsageError(f"--set {ignored[0]}: y is given, so nothing is sampled, and only temperature has a meaning.")
    return float(given)


def one_of(recipe: Recipe, name: str, known: Sequence[str]) -> str:
    """A setting that names one of these; the first where the recipe doesn't declare it. Raises UsageError."""
    given = recipe.settings.get(name, known[0])
    if given not in known:
        raise UsageError(f"--set {name}={given}: must be one of {', '.join(known)}.")
    return str(given)


def _layers(given: Any) -> list[int]:
    if not isinstance(given, list) or not given or not all(type(layer) is int for layer in given):
        raise UsageError(f"--set layers={given}: must be a list of layers, such as [-1] or [0, 12, 24].")
    if len(set(given)) < len(given):
        raise UsageError(f"--set layers={given}: names a layer twice.")
    return list(given)


def read_weights(recipe: Recipe, teachers: int) -> list[float]:
    """One weight for each teacher, which sum to 1; equal ones where the setting is empty. Raises UsageError."""
    given = recipe.settings.get("weights") or [1] * teachers
    fits = isinstance(given, list) and len(given) == teachers
    if not fits or not all(type(weight) in (int, float) and 0 < weight < 1e9 for weight in given):
        raise UsageError(f"--set weights={given}: must be a number above 0 for each of the {teachers} teachers.")
    return [weight / sum(given) for weight in given]

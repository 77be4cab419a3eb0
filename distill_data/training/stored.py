"""Learning from knowledge that `feature` stored: a teacher's distributions, its states, how alike rows are to it.

    L = α · what is stored against what the student has + (1 - α) · -log p_S of y's own tokens

The three objectives share one trainer, and differ in what they read of a batch and compare. Prompts and padding are
nowhere compared. Knows no file.

Sources: those of divergences.py and similarity.py, where the losses are.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from distill_data.data.arrays import highest_id
from distill_data.data.fingerprints import compare
from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.teachers.forward import depth
from distill_data.teachers.loading import fingerprint
from distill_data.training.batches import Group, read_counts, read_pairs, read_pooled, read_states, read_topk
from distill_data.training.divergences import MAKERS, make_topk, sampled
from distill_data.training.examples import Example
from distill_data.training.jobs import Job
from distill_data.training.similarity import MEASURES, make_projection, relations
from distill_data.training.trainer import Batch, Knowledge, make_trainer

LOG = logging.getLogger(__name__)


# -- the objectives ----------------------------------------------------------------------------------------------------


def make_kd(job: Job, learning_rate: float) -> Any:
    """D(p_T ‖ p_S) at each token of y, D one of `MAKERS`. Raises UsageError where settings and rows do not agree."""
    drawn, stored = _one(job, lambda feature: (feature["of"] == "sampled", float(feature.get("temperature", 1.0))))
    settings = job.settings
    temperature = settings["temperature"] or stored
    if drawn and (settings["divergence"] != "forward-kl" or temperature != stored):
        raise UsageError(
            f"these rows have counts of tokens that were drawn at temperature {stored:g}, which tell of forward-kl at "
            "that temperature alone. Leave --set divergence and temperature out, or take rows of feature -r topk."
        )
    divergence = MAKERS[settings["divergence"]](settings["weight"])
    topk = make_topk(divergence, temperature, stored)

    def of_topk(output: Any, logits: Any, batch: Batch) -> Any:
        return topk(logits, batch["ids"], batch["logprobs"], batch["tail"])

    def of_counts(output: Any, logits: Any, batch: Batch) -> Any:
        return sampled(logits / stored, batch["places"], batch["ids"], batch["drawn"]) * stored**2

    _refuse_other_tokens(job)
    knowledge = Knowledge("divergence", read_counts if drawn else read_topk, of_counts if drawn else of_topk)
    return make_trainer(job, learning_rate, knowledge, _alone)


def make_hidden(job: Job, learning_rate: float) -> Any:
    """How far the student's states, through a learned projection where widths differ, are from the stored ones: the
    mean over layers. Raises UsageError for layers that are not there."""
    import torch

    stored, pool = _one(job, lambda feature: (tuple(feature["layers"]), feature["pool"]))
    layers = _layers_of(job, stored)
    _refuse_other_tokens(job)
    width = job.arrays(job.rows[0])["hidden"].shape[-1]
    torch.manual_seed(job.loop.seed)
    own = job.student.model.config.get_text_config().hidden_size
    projections = torch.nn.ModuleList(make_projection(own, width) for _ in layers).to(job.student.device)
    measure = MEASURES[job.settings["measure"]]

    def of_states(output: Any, logits: Any, batch: Batch) -> Any:
        states = _states(job, output)
        each = [_pooled(states[layer].float(), batch, pool) for layer in layers]
        return sum(map(measure, map(_call, projections, each), batch["states"])) / len(layers)

    read = read_states if pool == "none" else read_pooled
    return make_trainer(
        job, learning_rate, Knowledge("states", read, of_states, states=True, modules=projections), _alone
    )


def make_relations(job: Job, learning_rate: float) -> Any:
    """How far the cosines of a batch's rows are from the teacher's. A batch is a stored one, whole: `--batch` says how
    many rows at most, of as many stored batches as fit, and of one at least."""
    (pool,) = _one(job, lambda feature: (feature["pool"],))

    def of_rows(output: Any, logits: Any, batch: Batch) -> Any:
        states, pairs, first = _pooled(_states(job, output)[-1].float(), batch, pool), batch["pairs"], 0
        total = 0.0
        for size in batch["sizes"].tolist():
            here = slice(first, first + size)
            total += relations(states[here], pairs[here, here]) * size * (size - 1)
            first += size
        return total / batch["counts"][0]

    return make_trainer(job, learning_rate, Knowledge("relations", read_pairs, of_rows, states=True), _together)


def _call(module: Any, given: Any) -> Any:
    return module(given)


# -- what the rows say -------------------------------------------------------------------------------------------------


def _one(job: Job, choose: Callable[[Mapping[str, Any]], tuple[Any, ...]]) -> tuple[Any, ...]:
    """What all rows say alike of how they were made. Raises UsageError where they differ."""
    found: dict[tuple[Any, ...], int] = {}
    for row in (*job.rows, *job.held):
        found.setdefault(choose(_feature_of(job, row)), len(found))
    if len(found) > 1:
        raise UsageError(
            f"the rows hold knowledge of different kinds, which no loss takes together: {', '.join(map(str, found))}. "
            "Train on the rows of one run of feature."
        )
    return next(iter(found))


def _feature_of(job: Job, row: Row) -> Mapping[str, Any]:
    """How the row's arrays were made. Raises UsageError."""
    if not isinstance(row.get("features"), Mapping):
        raise UsageError(
            f"{job.place(row)}: there is no column `features`, so its arrays are lost. Take the file as feature "
            "wrote it."
        )
    try:
        feature: Mapping[str, Any] = orjson.loads(row["meta"]["details"])["feature"]
        return {"of": "", "layers": (), "pool": "none"} | dict(feature)
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{job.place(row)}: its column `meta` does not say how its arrays were made. Take the file as feature "
            "wrote it."
        ) from None


def _refuse_other_tokens(job: Job) -> None:
    """Raises UsageError, as `check --student` says it, where stored ids are none of the student's."""
    student = job.student
    own = fingerprint(student.tokenizer, "", student.model.config.get_text_config().vocab_size)
    every = [(row, job.arrays) for row in job.rows] + [(row, job.held_arrays) for row in job.held]
    seen = {orjson.dumps(row["features"].get("tokenizer")): row["features"].get("tokenizer") for row, _ in every}
    for known in seen.values():
        if not known:
            raise UsageError("rows name no tokenizer, so there is nothing to compare the student's with.")
        checked = compare(known, own, lambda: max(highest_id(arrays(row)) for row, arrays in every))
        if not checked.fits:
            other = " The student tiny takes a model's tokenizer by --tokenizer." if student.fresh else ""
            raise UsageError(" ".join(checked.lines) + other)
        for line in checked.lines:
            if line.startswith("warning: "):
                LOG.warning(line.removeprefix("warning: "))


def _layers_of(job: Job, stored: Sequence[int]) -> list[int]:
    """The student's layers, 0 (the embeddings) to its depth, one for each stored one."""
    last, given = depth(job.student.model), job.settings["layers"]
    if not given:
        first = stored[0] == 0  # embeddings meet embeddings
        return [round((at + 1 - first) * last / max(1, len(stored) - first)) for at in range(len(stored))]
    try:
        layers = [int(each) for each in given.split(",")]
    except ValueError:
        layers = []
    if len(layers) != len(stored) or not all(-last - 1 <= layer <= last for layer in layers):
        raise UsageError(
            f"--set layers={given}: the rows have the teacher's layers {', '.join(map(str, stored))}: name as many of "
            f"the student's, 0 to {last} or from the end -1 to {-last - 1}, with commas between them."
        )
    return layers


def _alone(examples: Sequence[Example], left_out: Counter[str]) -> list[Group]:
    return [[example] for example in examples]


def _together(examples: Sequence[Example], left_out: Counter[str]) -> list[Group]:
    """Rows by their stored batch. Raises UsageError where no two of one are there."""
    found: dict[tuple[str, ...], list[Example]] = {}
    for example in examples:
        found.setdefault(tuple(example.row.get("batch") or ()), []).append(example)
    groups: list[Group] = [group for batch, group in found.items() if batch and len(group) > 1]
    if examples and not groups:
        raise UsageError(
            "no two rows are of one batch, so there is nothing to compare. Take the file of feature whole."
        )
    if alone := len(examples) - sum(map(len, groups)):
        left_out["alone"] += alone
        LOG.warning(f"{alone:,} of {len(examples):,} rows are without another row of their batch, and are left out.")
    return groups


# -- the student's states ----------------------------------------------------------------------------------------------


def _states(job: Job, output: Any) -> Any:
    """Of layers 0, the embeddings, to the depth. Raises UsageError where the model keeps them otherwise."""
    if len(output.hidden_states or ()) != depth(job.student.model) + 1:
        raise UsageError(f"{type(job.student.model).__name__} does not give the states of its layers; train it by kd.")
    return output.hidden_states


def _pooled(states: Any, batch: Batch, pool: str) -> Any:
    """States (B, L, D) at y's tokens: each (N, D), or of every row the mean or the last (B, D)."""
    import torch

    at = batch["at"]
    if pool == "none":
        return states[at]
    if pool == "mean":
        return (states * at.unsqueeze(-1)).sum(1) / at.sum(1, keepdim=True)
    return states[torch.arange(len(at), device=at.device), batch["attention_mask"].sum(1) - 1]

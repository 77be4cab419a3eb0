"""Learning from answers as they stand: cross-entropy of y's tokens, by TRL's SFTTrainer. Knows no files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments
from distill_data.training.rows import make_dataset

LOG = logging.getLogger(__name__)

TASKS = LABEL, RATIONALE = "label", "rationale"
"""The two tasks of a text: parts of the recipe `step-by-step`, as `meta` names them."""
PLACE = "place"
"""The column of a row's place."""


def make_sft(job: Job, learning_rate: float) -> Any:
    """L = -Σ log p_S(y_t | x, y_<t), the mean over the tokens of y; of raw text, over all of its tokens."""
    from trl import SFTTrainer

    return _make(SFTTrainer, job, learning_rate, job.rows, job.held)


def make_step_by_step(job: Job, learning_rate: float) -> Any:
    """L = (1 - α)·L_label + α·L_rationale, each the mean over the tokens of its answers in a batch; a row of the batch
    is a text's two tasks. With α = 0 it is `sft` of the labels alone (Hsieh et al. 2023, arXiv 2305.02301).

    Raises UsageError where no row has the other beside it.
    """
    from trl import SFTTrainer

    alpha = job.settings["alpha"]

    class StepByStep(SFTTrainer):  # type: ignore[misc]  # of a library without types
        """The loss of both tasks of the same texts, from a batch of each."""

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            label, rationale = (super(StepByStep, self).compute_loss(model, inputs[task]) for task in TASKS)
            return (1 - alpha) * label + alpha * rationale

        def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            import torch

            with torch.no_grad():
                return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    trainer = _make(
        StepByStep, job, learning_rate, _paired(job, job.rows), _paired(job, job.held), remove_unused_columns=False
    )
    trainer.data_collator = _make_collator(trainer.data_collator)
    trainer.train_dataset = _beside(trainer.train_dataset, job)
    trainer.eval_dataset = _beside(trainer.eval_dataset, job)
    return trainer


def _make(kind: Any, job: Job, learning_rate: float, rows: Sequence[Row], held: Sequence[Row], **more: Any) -> Any:
    from trl import SFTConfig

    trainer = kind(
        model=job.student.model,
        args=make_arguments(SFTConfig, job, learning_rate, max_length=job.loop.max_length, **more),
        train_dataset=_placed(make_dataset("trl-sft", rows, job)),
        eval_dataset=_placed(make_dataset("trl-sft", held, job)),
        processing_class=job.student.tokenizer,
    )
    if lost := _count_lost(job, rows, trainer.train_dataset):
        job.left_out["too-long"] += lost
    _count_lost(job, held, trainer.eval_dataset)
    return trainer


def _placed(dataset: Any) -> Any:
    """With the place of each row, as the trainer drops those that are cut before their answer begins."""
    return dataset and dataset.add_column(PLACE, list(range(len(dataset))))


def _count_lost(job: Job, rows: Sequence[Row], dataset: Any) -> int:
    """How many rows the trainer dropped, and tell it. Raises UsageError where no others are there."""
    lost = len(rows) - len(dataset or ())
    if rows and lost == len(rows):
        raise UsageError(f"no row has a token of y within {job.loop.max_length} tokens: raise --max-length.")
    if lost:
        LOG.warning(f"{lost:,} of {len(rows):,} rows have no token of y left then, and are left out.")
    return lost


def _paired(job: Job, rows: Sequence[Row]) -> list[Row]:
    """The rows of texts that have both tasks: label, rationale, label, rationale. Tells how many others there are."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        task, text = _task_of(job, row)
        found.setdefault(text, {})[task] = row
    both = [tasks for tasks in found.values() if tasks.keys() == set(TASKS)]
    if rows and not both:
        raise UsageError(
            "no text has both a label and a rationale among these rows; `label -r step-by-step` makes two rows of each."
        )
    if alone := len(rows) - 2 * len(both):
        job.left_out["alone"] += alone
        LOG.warning(f"{alone:,} of {len(rows):,} rows are left out: their text has no row of the other task.")
    return [tasks[task] for tasks in both for task in TASKS]


def _task_of(job: Job, row: Row) -> tuple[str, tuple[str, ...]]:
    """Which task a row is, and what it has in common with the other. Raises UsageError where `meta` does not say."""
    meta = row.get("meta")
    details = meta.get("details") if isinstance(meta, Mapping) else None
    try:
        facts = json.loads(details) if isinstance(details, str) else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(meta, Mapping) or not isinstance(facts, dict) or facts.get("part") not in TASKS:
        raise UsageError(
            f"{job.place(row)}: this row does not say in `meta` whether it is a label or a rationale; rows that do are "
            "made by label -r step-by-step."
        )
    shared = (meta.get(name, "") for name in ("seed_id", "role", "teacher", "model"))
    return facts["part"], (*map(str, shared), str(facts.get("sample", 0)))


def _make_collator(collate: Callable[[list[Any]], Any]) -> Callable[[list[Any]], dict[str, Any]]:
    """A collator of pairs: a batch of each task."""

    def collate_pairs(pairs: list[Any]) -> dict[str, Any]:
        return {task: collate([pair[task] for pair in pairs]) for task in TASKS}

    return collate_pairs


def _beside(dataset: Any, job: Job) -> Any:
    """The tokens of every second row beside those of the one before it, where both are there. Raises UsageError."""
    import datasets

    if dataset is None:
        return None
    rows = {row[PLACE]: {name: row[name] for name in ("input_ids", "labels")} for row in dataset}
    pairs = [{LABEL: rows[at], RATIONALE: rows[at + 1]} for at in rows if at % 2 == 0 and at + 1 in rows]
    if not pairs:
        raise UsageError(f"no text has both tasks within {job.loop.max_length} tokens: raise --max-length.")
    return datasets.Dataset.from_list(pairs)

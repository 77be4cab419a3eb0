"""`train`: a student is trained on rows as they were written, and says from which rows it came.

    rows -> are they of a kind that the objective takes? -> open the student -> fit -> the folder, then its manifest

`DIR` is a model that transformers opens, `DIR.manifest.json` tells its lineage, `DIR.run/` holds checkpoints until the
end. The same command again goes on where it stopped, and does nothing once it is done.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from distill_data import __version__
from distill_data.commands.rows import Source, opened
from distill_data.commands.training_models import (
    TINY,
    VERIFIER,
    describe,
    open_beginning,
    open_reward,
    open_teacher,
    profile_of,
    refuse_own,
    require_models,
)
from distill_data.commands.training_output import CHECKPOINTS, claimed, folder_of, publish_student, what_is_there
from distill_data.data.columns import x_of
from distill_data.data.features import open_features
from distill_data.data.items import Row, digest
from distill_data.data.rows import RowsFile
from distill_data.errors import SeedError, UsageError
from distill_data.formats.trl import solution_of
from distill_data.formats.turns import kind_of
from distill_data.training.jobs import Arrays, Job, Loop, no_arrays
from distill_data.training.loop import Fit, fit
from distill_data.training.objectives import FRESH, WIDTH, Objective, find_objective, rate_of, settings_of

__all__ = ["TINY", "Loop", "Trained", "Training", "profile_of", "train"]

LOG = logging.getLogger(__name__)

NEEDED = ("torch", "transformers", "datasets", "trl", "peft")
"""Packages of the extra `train`."""
Tell = Callable[[Mapping[str, float]], None]
Places = dict[int, tuple[RowsFile, int]]
"""The `id` of each row to where it stands: rows are chosen and sorted on the way, and messages still name the line."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a training is asked for."""

    student: str
    """`tiny`, a folder, or a model as `-t` names those that run here."""
    objective: str
    loop: Loop = Loop()  # noqa: RUF009 - frozen
    settings: Mapping[str, str] = field(default_factory=dict)
    held: str = ""
    """A file of rows that the loss is also measured on."""
    teacher: str = ""
    reward: str = ""
    tokenizer: str = "bytes"
    """Of `tiny`: `bytes`, `bpe:N`, or a model that it is taken from."""
    lora: int = 0
    """Rank of the adapters that are trained instead of the weights; 0 trains the weights."""
    fresh: bool = False
    """Begin again, whatever checkpoints there are."""
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended."""

    result: Mapping[str, Any]
    changed: bool
    """False where the student was there already."""
    folder: Path


def train(data: str, training: Training, output: str, tell: Tell = lambda _: None) -> Trained:
    """Train a student on the rows of a file and write it to the folder `output`.

    Raises UsageError where rows, student or settings do not fit the objective, before anything is written;
    SeedError for a file that cannot be read; DriftError where checkpoints of another training are in the way;
    Interrupted after a signal, with a checkpoint written; DiskError and OutOfMemory.
    """
    objective = find_objective(training.objective)
    settings = settings_of(training.objective, training.settings)
    _require()
    require_models(training, objective)
    folder = folder_of(output)
    refuse_own(training, folder)
    with opened(*filter(None, [data, training.held])) as (source, *others):
        places: Places = {}
        rows = _rows_of(source, training, places)
        held = [row for each in others for row in _rows_of(each, training, places)]
        _warn_of_repeats(rows, held)
        models = describe(training)
        plan = _plan(training, settings, models, source, others)
        there = what_is_there(folder, plan)
        if there and not training.fresh:
            return Trained(there, False, folder)
        told = warnings.catch_warnings(action="ignore", category=FutureWarning)  # what libraries tell one another
        with claimed(folder, plan, training.fresh) as run, told:
            student = open_beginning(training, objective.head, rows)
            job = Job(
                student=student,
                rows=rows,
                held=held,
                settings=settings,
                loop=training.loop,
                folder=run.path / CHECKPOINTS,
                place=lambda row: places[id(row)][0].place(places[id(row)][1]),
                arrays=_arrays_of(source, rows),
                held_arrays=_arrays_of(others[0], held) if others else no_arrays,
                teacher=open_teacher(training, student),
                reward=open_reward(training, settings),
            )
            begun = time.monotonic()
            found = fit(_make(job, objective), job, tell)
            facts = {
                **_facts(training, objective, job, found),
                "student": models,
                "sources": [each.describe() for each in (source, *others)],
                "plan": plan,
            }
            publish_student(student, folder, run, facts, round(time.monotonic() - begun, 1))
        return Trained(facts, True, folder)


def _facts(training: Training, objective: Objective, job: Job, found: Fit) -> dict[str, Any]:
    """What the manifest says of how it was trained."""
    return {
        "command": "train",
        "objective": training.objective,
        "family": objective.family,
        "settings": job.settings,
        "loop": asdict(training.loop),
        "rows": len(job.rows),
        "left_out": dict(job.left_out),
        "held_out": len(job.held),
        "steps": found.steps,
        "learning_rate": training.loop.learning_rate or _rate(job, objective),
        "history": found.history,
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "trl")},
    }


def _require() -> None:
    for name in NEEDED:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise UsageError(
                f"train needs the package {name}, of the extra `train`: pip install 'distill-data[train]' (in a "
                "checkout: pip install '.[train]')."
            ) from None


def _arrays_of(source: Source, rows: Sequence[Row]) -> Arrays:
    """Each file has its side files in its own folder."""
    return open_features(source.file.path).of if rows and "features" in rows[0] else no_arrays


def _rows_of(source: Source, training: Training, places: Places) -> list[Row]:
    """All rows, and where each stands. Raises UsageError for one that the objective does not take, or where none is."""
    objective = find_objective(training.objective)
    rows: list[Row] = []
    for line in source.file.read():
        kind = kind_of(line.row)
        if kind not in objective.kinds and line.row.get("kind") not in objective.kinds:  # which raw text may be, too
            what = f"is of the kind {kind}" if kind else "has the columns of no kind that is known"
            raise UsageError(
                f"{source.file.place(line.number)}: this row {what}, and {training.objective} learns from "
                f"{', '.join(objective.kinds)}; made by {objective.made_by}."
            )
        if training.reward == VERIFIER and not isinstance(solution_of(line.row), str):
            raise UsageError(
                f"{source.file.place(line.number)}: this row has no column `answer` or `solution`, which the verifier "
                "compares with; give such rows, or another --reward."
            )
        rows.append(line.row)
        places[id(line.row)] = source.file, line.number
    if not rows:
        raise UsageError(f"{source.file.name}: there are no rows in it, so there is nothing to learn or to measure.")
    return rows


def _asked(row: Row) -> str:
    """x; empty where no column is known to be it, as of pairs of whole conversations."""
    try:
        return x_of(row)
    except SeedError:
        return ""


def _warn_of_repeats(rows: Sequence[Row], held: Sequence[Row]) -> None:
    """Tell how many held-out rows ask what a row asks that is learned from: they do not show what is new."""
    asked = set(filter(None, map(_asked, rows)))
    if again := sum(_asked(row) in asked for row in held):
        LOG.warning(
            f"{again:,} of {len(held):,} held-out rows ask what a training row asks, so their loss tells little of "
            "other rows: see `split --by` and `decontaminate`."
        )


def _plan(
    training: Training,
    settings: Mapping[str, Any],
    models: Mapping[str, Any],
    source: Source,
    held: Sequence[Source],
) -> str:
    """Digest of all that decides the student's weights."""
    return digest(
        {
            "version": __version__,
            "objective": training.objective,
            "settings": dict(settings),
            "loop": asdict(training.loop),
            "student": models,
            "sources": [source.sha256, *(each.sha256 for each in held)],
        }
    )


def _rate(job: Job, objective: Objective) -> float:
    """The learning rate that is meant, where the user says none."""
    model = job.student.model
    width = getattr(model.config.get_text_config(), "hidden_size", WIDTH)
    return FRESH if job.student.fresh else rate_of(objective, width, adapted=hasattr(model, "peft_config"))


def _make(job: Job, objective: Objective) -> Any:
    """The trainer that the objective's maker makes."""
    module, _, function = objective.maker.partition(":")
    make = getattr(import_module(f"distill_data.training.{module}"), function)
    return make(job, _rate(job, objective))

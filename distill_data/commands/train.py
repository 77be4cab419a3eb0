"""`train`: a student is trained on rows as they were written, and says from which rows it came.

    rows -> are they of a kind that the objective takes? -> open the student -> fit -> the folder, then its manifest

`DIR` is a model that transformers opens, `DIR.manifest.json` tells its lineage, `DIR.run/` holds checkpoints until the
end. The same command again goes on where it stopped, and does nothing once it is done.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import orjson

from distill_data import __version__
from distill_data.commands.manifests import described_in, result_of
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
from distill_data.data.features import open_features
from distill_data.data.items import Row, digest
from distill_data.engine.durable import disk_error, file_digest, remove, sync_directory, write_atomically
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DriftError, UsageError
from distill_data.formats.trl import solution_of
from distill_data.formats.turns import kind_of
from distill_data.teachers.checkpoints import find
from distill_data.training.jobs import Arrays, Job, Loop, Student, no_arrays
from distill_data.training.loop import fit, storing, sync_tree
from distill_data.training.objectives import FRESH, WIDTH, Objective, find_objective, rate_of, settings_of

__all__ = ["TINY", "Loop", "Trained", "Training", "profile_of", "train"]

LOG = logging.getLogger(__name__)

NEEDED = ("torch", "transformers", "datasets", "trl", "peft")
"""Packages of the extra `train`."""
WEIGHTS, CHECKPOINTS = "model.safetensors", "checkpoints"
Tell = Callable[[Mapping[str, float]], None]


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
    folder = _folder(output)
    refuse_own(training, folder)
    with opened(*filter(None, [data, training.held])) as (source, *others):
        rows = _rows_of(source, training)
        held = [row for each in others for row in _rows_of(each, training)]
        plan = _plan(training, settings, source, others)
        there = _there(folder, plan)
        if there and not training.fresh:
            return Trained(there, False, folder)
        told = warnings.catch_warnings(action="ignore", category=FutureWarning)  # what libraries tell one another
        with _claimed(folder, plan, training.fresh) as run, told:
            student = open_beginning(training, objective.head, rows)
            job = Job(
                student=student,
                rows=rows,
                held=held,
                settings=settings,
                loop=training.loop,
                folder=run.path / CHECKPOINTS,
                arrays=_arrays_of(source, rows),
                held_arrays=_arrays_of(others[0], held) if others else no_arrays,
                teacher=open_teacher(training, student),
                reward=open_reward(training, settings),
            )
            begun = time.monotonic()
            found = fit(_make(job, objective), job, tell)
            facts = {
                "command": "train",
                "objective": training.objective,
                "family": objective.family,
                "settings": settings,
                "loop": asdict(training.loop),
                "student": describe(training),
                "rows": len(rows),
                "left_out": dict(job.left_out),
                "held_out": len(held),
                "sources": [each.describe() for each in (source, *others)],
                "steps": found.steps,
                "learning_rate": training.loop.learning_rate or _rate(job, objective),
                "history": found.history,
                "versions": {name: metadata.version(name) for name in ("torch", "transformers", "trl")},
                "plan": plan,
            }
            _publish(student, folder, run, facts, round(time.monotonic() - begun, 1))
        return Trained(facts, True, folder)


def _require() -> None:
    for name in NEEDED:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise UsageError(
                f"train needs the package {name}, of the extra `train`: pip install 'distill-data[train]' (in a "
                "checkout: pip install '.[train]')."
            ) from None


def _folder(output: str) -> Path:
    """Where the student goes. Raises UsageError where something is there that this command did not write."""
    folder = Path(output)
    if not output or output == "-" or not folder.name:
        raise UsageError(f"-o {output}: name the folder that the student is written to.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"-o {output}: is a {'link' if folder.is_symlink() else 'file'}, and a student is a folder.")
    return folder


def _refuse_others(folder: Path) -> None:
    """Raises UsageError where something lies in the folder, or under the names beside it, that this command did not
    write, as the manifest and the run of a dataset of the same name."""
    manifest, run = _manifest(folder), _run(folder)
    result, facts = result_of(manifest), run.load()
    if manifest.exists() and result.get("command") != "train":
        raise UsageError(f"-o {folder}: {manifest} is there already, and is of no training. Name another folder.")
    if (facts and facts.get("command") != "train") or run.journal.exists():
        raise UsageError(f"-o {folder}: {run.path} is the run of another command. Name another folder.")
    if (
        folder.exists()
        and any(folder.iterdir())
        and _digest_of(folder) not in (result.get("folder"), facts.get("folder"))
    ):
        raise UsageError(
            f"-o {folder}: is there already, and no manifest says that this command wrote it as it is. Name another, "
            "or move it away."
        )


def _refuse_changed(folder: Path) -> None:
    """Raises DriftError where somebody wrote there while the student was trained."""
    try:
        _refuse_others(folder)
    except UsageError as error:
        raise DriftError(f"{error} The student is trained: then run the same command again.") from None


def _digest_of(folder: Path) -> str:
    """Digest over the names and digests of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return digest({str(path.relative_to(folder)): file_digest(path) if path.is_file() else "" for path in files})


def _weights_of(folder: Path) -> str:
    """Digest of the weights in a folder; empty where there are none."""
    path = folder / WEIGHTS
    return file_digest(path) if path.is_file() else ""


def _run(folder: Path) -> RunDirectory:
    return RunDirectory(folder.with_name(f"{folder.name}.run"))


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.manifest.json")


def _arrays_of(source: Source, rows: Sequence[Row]) -> Arrays:
    """Each file has its side files in its own folder."""
    return open_features(source.file.path).of if rows and "features" in rows[0] else no_arrays


def _rows_of(source: Source, training: Training) -> list[Row]:
    """All rows. Raises UsageError, with the place, for one that the objective does not take; and where none is."""
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
    if not rows:
        raise UsageError(f"{source.file.name}: there are no rows in it, so there is nothing to learn or to measure.")
    return rows


def _plan(training: Training, settings: Mapping[str, Any], source: Source, held: Sequence[Source]) -> str:
    """Digest of all that decides the student's weights."""
    return digest(
        {
            "version": __version__,
            "objective": training.objective,
            "settings": dict(settings),
            "loop": asdict(training.loop),
            "student": describe(training),
            "sources": [source.sha256, *(each.sha256 for each in held)],
        }
    )


def _there(folder: Path, plan: str) -> Mapping[str, Any]:
    """What the manifest says, where the folder is what this training would give; else nothing."""
    found = result_of(_manifest(folder))
    weights = described_in(found).get("weights", {}).get("sha256")
    return found if found.get("plan") == plan and weights and weights == _weights_of(folder) else {}


@contextmanager
def _claimed(folder: Path, plan: str, fresh: bool) -> Iterator[RunDirectory]:
    """The run of this training, where its checkpoints go. A UsageError leaves it as it was before.

    Raises LockedError, DriftError, DiskError.
    """
    run = _run(folder)
    run.claim()
    try:
        before, checkpoints = run.load(), run.path / CHECKPOINTS
        another = before.get("plan") != plan
        done = before.get("plan") == result_of(_manifest(folder)).get("plan")  # and died before it cleared up
        if another and not done and any(checkpoints.glob("checkpoint-*")) and not fresh:
            raise DriftError(
                f"{run.path}: holds checkpoints of another training: of other rows, settings or another student. Give "
                "another -o, or --fresh to begin again."
            )
        _refuse_others(folder)
        if another or fresh:
            remove(checkpoints)
        run.save({**before, "command": "train", "plan": plan})
        try:
            yield run
        except UsageError:
            if another:
                remove(checkpoints)
            if before:
                run.save(before)
            else:
                remove(run.path / "run.json")
            raise
    except OSError as error:
        raise disk_error(error, run.path) from error
    finally:
        run.abandon()


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


def _publish(student: Student, folder: Path, run: RunDirectory, facts: dict[str, Any], seconds: float) -> None:
    """The folder whole or not at all, then its manifest. What is there goes once the new one is whole.

    A process that dies here has its last checkpoint, and the run tells whose weights the folder has. Raises DiskError.
    """
    from distill_data.training.students import save_student

    made, replaced = run.path / "student", run.path / "replaced"
    with storing(folder):
        remove(made)
        made.mkdir()
        save_student(student.model, student.tokenizer, made)
        (made / WEIGHTS).chmod(0o644)  # as the other files
        sync_tree(made)
        size, sha256 = (made / WEIGHTS).stat().st_size, _weights_of(made)
        facts["files"] = {"weights": {"name": f"{folder.name}/{WEIGHTS}", "bytes": size, "sha256": sha256}}
        facts["weights"] = find(profile_of(str(made.absolute()), None)).weights
        facts["folder"] = _digest_of(made)
        _refuse_changed(folder)
        run.save({**run.load(), "folder": facts["folder"]})
        remove(replaced)
        if folder.exists():
            folder.rename(replaced)
        made.rename(folder)
        sync_directory(folder.parent)
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        history = {"finished": finished, "seconds": seconds, "version": __version__}
        manifest = orjson.dumps({"result": facts, "history": history}, option=orjson.OPT_INDENT_2) + b"\n"
        write_atomically(_manifest(folder), manifest, mode=0o644)
        remove(replaced)
        remove(run.path / CHECKPOINTS)

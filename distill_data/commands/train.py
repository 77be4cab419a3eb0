"""`train`: a student is trained on rows as they were written, and says from which rows it came.

    rows -> are they of a kind that the objective takes? -> open the student -> fit -> the folder, then its manifest

`DIR` is a model that transformers opens, `DIR.manifest.json` tells its lineage, `DIR.run/` holds checkpoints until the
end. The same command again goes on where it stopped, and does nothing once it is done.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import orjson

from distill_data import __version__
from distill_data.commands.manifests import result_of
from distill_data.commands.rows import Source, opened
from distill_data.data.features import open_features
from distill_data.data.items import Row, digest
from distill_data.engine.durable import disk_error, file_digest, sync_directory, write_atomically
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DriftError, UsageError
from distill_data.formats.turns import kind_of
from distill_data.teachers.checkpoints import find, label_of
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Profile
from distill_data.training.jobs import Arrays, Job, Loop, Student, no_arrays
from distill_data.training.objectives import FRESH, WIDTH, Objective, find_objective, rate_of, settings_of

__all__ = ["Loop", "Trained", "Training", "train"]

LOG = logging.getLogger(__name__)

TINY = "tiny"
NEEDED = ("torch", "transformers", "datasets", "trl", "peft")
"""Packages of the extra `train`."""
WEIGHTS = "model.safetensors"
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
    folder = _folder(output)
    with opened(*filter(None, [data, training.held])) as (source, *others):
        rows = _rows_of(source, training.objective, objective)
        held = _rows_of(others[0], training.objective, objective) if others else []
        plan = _plan(training, settings, source, others)
        there = _there(folder, plan)
        if there:
            return Trained(there, False, folder)
        with _claimed(folder, plan, training.fresh) as checkpoints:
            job = Job(
                student=_open(training, objective, rows),
                rows=rows,
                held=held,
                settings=settings,
                loop=training.loop,
                folder=checkpoints,
                arrays=_arrays_of(source, rows),
                held_arrays=_arrays_of(others[0], held) if others else no_arrays,
            )
            result = _fit(job, objective, tell)
            facts = {
                "command": "train",
                "objective": training.objective,
                "family": objective.family,
                "settings": settings,
                "loop": asdict(training.loop),
                "student": _described(training),
                "rows": len(rows),
                "left_out": dict(job.left_out),
                "held_out": len(held),
                "sources": [each.describe() for each in (source, *others)],
                **result,
                "plan": plan,
            }
            _publish(job.student, folder, facts)
            shutil.rmtree(checkpoints, ignore_errors=True)
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
    folder = Path(output)
    if not output or output == "-" or not folder.name:
        raise UsageError(f"-o {output}: name the folder that the student is written to.")
    if folder.is_file():
        raise UsageError(f"-o {output}: is a file, and a student is a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not result_of(_manifest(folder)):
        raise UsageError(
            f"-o {output}: is there already, and no manifest says that this command wrote it; name another."
        )
    return folder


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.manifest.json")


def _arrays_of(source: Source, rows: Sequence[Row]) -> Arrays:
    """Each file has its side files in its own folder."""
    return open_features(source.file.path).of if rows and "features" in rows[0] else no_arrays


def _rows_of(source: Source, name: str, objective: Objective) -> list[Row]:
    """All rows. Raises UsageError, with the place, for one of a kind that the objective does not take."""
    rows: list[Row] = []
    for line in source.file.read():
        kind = kind_of(line.row)
        if kind not in objective.kinds and line.row.get("kind") not in objective.kinds:  # which raw text may be, too
            what = f"is of the kind {kind}" if kind else "has the columns of no kind that is known"
            raise UsageError(
                f"{source.file.place(line.number)}: this row {what}, and {name} learns from "
                f"{', '.join(objective.kinds)}; made by {objective.made_by}."
            )
        rows.append(line.row)
    return rows


def _plan(training: Training, settings: Mapping[str, Any], source: Source, held: Sequence[Source]) -> str:
    """Digest of all that decides the student's weights."""
    return digest(
        {
            "version": __version__,
            "objective": training.objective,
            "settings": dict(settings),
            "loop": asdict(training.loop),
            "student": _described(training),
            "sources": [source.sha256, *(each.sha256 for each in held)],
        }
    )


def _described(training: Training) -> dict[str, Any]:
    """The student before it is trained, and the models beside it, without any path of this machine."""
    named = {"teacher": training.teacher, "reward": training.reward}
    models = {role: _identity(training, name) for role, name in named.items() if name}
    lora = {"lora": training.lora} if training.lora else {}
    if training.student == TINY:
        given = training.tokenizer
        own = given if given == "bytes" or given.startswith("bpe:") else _identity(training, given)
        return {"name": TINY, "tokenizer": own, **lora, **models}
    return {**_identity(training, training.student), **lora, **models}


def _identity(training: Training, name: str) -> dict[str, Any]:
    profile = profile_of(name, training.config)
    return {"name": label_of(profile), "weights": find(profile).weights}


def profile_of(name: str, config: Path | None) -> Profile:
    """A model that runs here: a folder, or as `-t` names it. Raises UsageError."""
    known = load_profiles(config)
    if name not in known and not name.startswith("transformers/"):
        if name.partition("/")[0] in ("openai", "local", "echo") and not Path(name).is_dir():
            raise UsageError(f"{name}: a model is needed that runs here on torch: a folder, or transformers/NAME.")
        name = f"transformers/{name}"
    return find_profile(name, known)


def _there(folder: Path, plan: str) -> Mapping[str, Any]:
    found = result_of(_manifest(folder))
    weights = folder / WEIGHTS
    if found.get("plan") != plan or not weights.is_file():
        return {}
    return found if file_digest(weights) == found.get("files", {}).get("weights", {}).get("sha256") else {}


@contextmanager
def _claimed(folder: Path, plan: str, fresh: bool) -> Iterator[Path]:
    """Where checkpoints of this training go. Raises LockedError, DriftError, DiskError."""
    run = RunDirectory(folder.with_name(f"{folder.name}.run"))
    run.claim()
    try:
        checkpoints = run.path / "checkpoints"
        if run.load().get("plan", plan) != plan and any(checkpoints.glob("checkpoint-*")) and not fresh:
            raise DriftError(
                f"{run.path}: holds checkpoints of another training: of other rows, settings or another student. Give "
                "another -o, or --fresh to begin again."
            )
        if fresh or run.load().get("plan") != plan:
            shutil.rmtree(checkpoints, ignore_errors=True)
        run.save({"plan": plan})
        yield checkpoints
    finally:
        run.release()


def _open(training: Training, objective: Objective, rows: Sequence[Row]) -> Student:
    from distill_data.training.students import add_adapters, make_tiny, open_student

    if training.student == TINY:
        student = make_tiny(_tokenizer(training, rows), training.loop.seed, objective.head)
    else:
        student = open_student(profile_of(training.student, training.config), objective.head, training.loop.seed)
    if training.loop.max_length > student.context:
        raise UsageError(
            f"--max-length {training.loop.max_length}: the student takes {student.context} tokens at most."
        )
    return add_adapters(student, training.lora) if training.lora else student


def _tokenizer(training: Training, rows: Sequence[Row]) -> Any:
    from distill_data.training.students import make_tokenizer, open_tokenizer

    name, _, merges = training.tokenizer.partition(":")
    if training.tokenizer == "bytes":
        return make_tokenizer()
    if name == "bpe":
        if not merges.isdigit() or not 0 < int(merges) <= 100_000:
            raise UsageError(f"--tokenizer {training.tokenizer}: bpe:N takes a number of merges from 1 to 100,000.")
        return make_tokenizer(int(merges), map(_text_of, rows))
    return open_tokenizer(profile_of(training.tokenizer, training.config))


def _text_of(row: Row) -> str:
    return orjson.dumps([row.get(name) for name in ("prompt", "completion", "chosen", "text")]).decode()


def _fit(job: Job, objective: Objective, tell: Tell) -> dict[str, Any]:
    from distill_data.training.loop import fit

    module, _, function = objective.maker.partition(":")
    make = getattr(import_module(f"distill_data.training.{module}"), function)
    begun = time.monotonic()
    model = job.student.model
    width = getattr(model.config.get_text_config(), "hidden_size", WIDTH)
    rate = FRESH if job.student.fresh else rate_of(objective, width, adapted=hasattr(model, "peft_config"))
    trainer = make(job, rate)
    found = fit(trainer, job, tell)
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "trl")}
    seconds = round(time.monotonic() - begun, 1)
    rate = job.loop.learning_rate or rate
    return {
        "steps": found.steps,
        "learning_rate": rate,
        "history": found.history,
        "versions": versions,
        "seconds": seconds,
    }


def _publish(student: Student, folder: Path, facts: dict[str, Any]) -> None:
    """The folder whole or not at all, then its manifest. Raises DiskError."""
    from distill_data.training.students import save_student

    made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        save_student(student.model, student.tokenizer, made)
        facts["files"] = {"weights": {"name": f"{folder.name}/{WEIGHTS}", "sha256": file_digest(made / WEIGHTS)}}
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
        sync_directory(folder.parent)
        history = {"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "version": __version__}
        manifest = orjson.dumps({"result": facts, "history": history}, option=orjson.OPT_INDENT_2) + b"\n"
        write_atomically(_manifest(folder), manifest, mode=0o644)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)

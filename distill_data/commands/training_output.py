"""Where a trained student goes: its folder, the manifest beside it, its run; whole or absent, and nothing of others.

A folder is replaced only where the manifest, or the run, says that `train` wrote it as it is. Knows no rows and no
objective.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data import __version__
from distill_data.commands.manifests import described_in, result_of
from distill_data.commands.training_models import profile_of
from distill_data.data.items import digest
from distill_data.engine.durable import disk_error, file_digest, remove, sync_directory, write_atomically
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DriftError, UsageError
from distill_data.teachers.checkpoints import find
from distill_data.training.jobs import Student
from distill_data.training.loop import last_checkpoint, step_of, storing, sync_tree

WEIGHTS, CHECKPOINTS = "model.safetensors", "checkpoints"


class Standing(NamedTuple):
    """How a training stands."""

    state: str
    """`running`, `interrupted` or `trained`."""
    message: str
    result: Mapping[str, Any]
    """What the manifest says of a student that is trained; else empty."""


def standing(output: str) -> Standing | None:
    """How a training stands, from its files alone; None where there is none of this name."""
    folder = Path(output)
    if not folder.name:
        return None
    run = _run(folder)
    holder, begun, found = run.holder(), run.load(), result_of(_manifest(folder))
    result = found if found.get("command") == "train" and (folder / WEIGHTS).is_file() else {}
    if not result and begun.get("command") != "train":
        return None
    last = last_checkpoint(run.path / CHECKPOINTS)
    saved = f"Step {step_of(last):,} is saved." if last else "No step is saved."
    if holder:
        return Standing("running", f"Process {holder} works on it. {saved}", {})
    if result and begun.get("plan") in (None, result.get("plan")):
        return Standing("trained", "", result)
    return Standing("interrupted", f"{saved} The same command goes on.", {})


def folder_of(output: str) -> Path:
    """Where the student goes. Raises UsageError where something is there that this command did not write."""
    folder = Path(output)
    if not output or output == "-" or not folder.name:
        raise UsageError(f"-o {output}: name the folder that the student is written to.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"-o {output}: is a {'link' if folder.is_symlink() else 'file'}, and a student is a folder.")
    return folder


def what_is_there(folder: Path, plan: str) -> Mapping[str, Any]:
    """What the manifest says, where the folder is what this training would give; else nothing."""
    found = result_of(_manifest(folder))
    weights = described_in(found).get("weights", {}).get("sha256")
    return found if found.get("plan") == plan and weights and weights == _weights_of(folder) else {}


@contextmanager
def claimed(folder: Path, plan: str, fresh: bool) -> Iterator[RunDirectory]:
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


def publish_student(student: Student, folder: Path, run: RunDirectory, facts: dict[str, Any], seconds: float) -> None:
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

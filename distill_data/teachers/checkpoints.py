"""Where the files of a transformers model are: a folder, a GGUF file, the Hugging Face hub. Knows no torch.

Only safetensors are taken, never pickles, and no code that a model brings with it is ever run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError
from distill_data.teachers.dequantised import dequantise
from distill_data.teachers.protocol import Profile
from distill_data.teachers.weights import WEIGHTS, locate

LOG = logging.getLogger(__name__)

REQUIRED = ("torch", "transformers", "safetensors", "huggingface_hub")
REQUIRED_BY_GGUF = ("gguf", "accelerate")
"""Packages of the extra `white-box`."""
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
"""Configuration and tokenizer: what is needed before the weights are."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ADVICE = "Give a folder with config.json and safetensors, a .gguf file, smollm2, or ORG/NAME of the Hugging Face hub."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files on this machine."""

    folder: Path
    weights: str
    """What says that two models are the same: a SHA-256 over all files that decide answers, of a model of the hub its
    commit."""


def find(profile: Profile, *, whole: bool = True) -> Checkpoint:
    """The model's files; with `whole` its weights too, which for a model of the hub may mean to download them.

    A GGUF file is converted once; see `dequantised`. Raises UsageError where packages, files or the network are
    missing.
    """
    name = name_of(profile)
    require(profile, REQUIRED)
    path = Path(name).expanduser()
    if name in WEIGHTS or name.endswith(".gguf"):
        return _from_gguf(profile, name)
    if path.is_dir():
        return Checkpoint(path, _digest_folder(profile, path))
    if _HUB_NAME.fullmatch(name):
        return _from_hub(profile, name, whole=whole)
    raise UsageError(f"{profile.name}: there is no folder {path}. {_ADVICE}")


def name_of(profile: Profile) -> str:
    return profile.model.partition("/")[2]


def label_of(profile: Profile) -> str:
    """The model's name without the folders of this machine."""
    name = name_of(profile)
    is_path = Path(name).expanduser().exists() or not _HUB_NAME.fullmatch(name)
    return Path(name).name if is_path else name


def read_config(profile: Profile, folder: Path) -> Mapping[str, Any]:
    """The part of config.json that describes the language model. Raises UsageError where it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{profile.name}: {folder / 'config.json'} cannot be read: {error}.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{profile.name}: {folder / 'config.json'} holds no JSON object.")
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def require(profile: Profile, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of these packages. Raises UsageError that says what to install."""
    try:
        return {name: metadata.version(name) for name in packages}
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"{profile.name} needs the package {error.name}, of the extra `white-box`: "
            "pip install 'distill-data[white-box]' (in a checkout: pip install '.[white-box]')."
        ) from None


def _from_gguf(profile: Profile, name: str) -> Checkpoint:
    path = locate(name)
    try:
        digest = digest_file(path)
    except OSError as error:
        advice = f"Run: distill-data models pull {name}" if name in WEIGHTS else "Is the path right?"
        raise UsageError(f"{profile.name}: there are no weights at {path} ({error.strerror}). {advice}") from None
    versions = require(profile, (*REQUIRED, *REQUIRED_BY_GGUF))
    return Checkpoint(dequantise(profile.name, path, digest, versions), digest)


def _from_hub(profile: Profile, name: str, *, whole: bool) -> Checkpoint:
    """The snapshot that the hub's cache has, else the newest one of the hub."""
    from huggingface_hub import snapshot_download

    folder = _cached(name)
    try:
        if folder is None:
            folder = Path(snapshot_download(name, allow_patterns=list(SMALL_FILES)))
        if whole and not has_weights(folder):
            LOG.warning(f"{profile.name}: downloading the weights from the Hugging Face hub")
            patterns = [*SMALL_FILES, *WEIGHT_FILES]
            folder = Path(snapshot_download(name, revision=folder.name, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{profile.name}: there is no folder {name} here, and the Hugging Face hub does not give a model of this "
            f"name ({type(error).__name__}: {first_line(error)}). Check the name, the network, HF_HUB_OFFLINE, and "
            f"HF_TOKEN where the model needs one. {_ADVICE}"
        ) from None
    return Checkpoint(folder, folder.name)


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=["config.json"], local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / "config.json").is_file() else None


def has_weights(folder: Path) -> bool:
    """Whether the folder has safetensors: all the shards that its index names, or at least one file. Raises UsageError
    for an index that cannot be read or names files elsewhere, which are in no digest."""
    indices = list(folder.glob("*.safetensors.index.json"))
    if not all((folder / shard).is_file() for index in indices for shard in _shards(index)):
        return False
    return bool(indices) or any(folder.glob("*.safetensors"))


def _shards(index: Path) -> set[str]:
    try:
        found = json.loads(index.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{index} cannot be read: {error}.") from None
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict):
        raise UsageError(f"{index} has no weight_map, which says where each tensor is.")
    for shard in places.values():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise UsageError(f"{index} names {shard!r}, which is no file beside it.")
    return set(places.values())


def first_line(error: BaseException) -> str:
    """What an error of a library says, short enough for one of ours."""
    said = str(error).strip().split("\n")[0]
    return said if len(said) <= 300 else said[:299] + "…"


def _digest_folder(profile: Profile, folder: Path) -> str:
    """SHA-256 over the names and digests of all files that a model may be made from."""
    if not (folder / "config.json").is_file() or not has_weights(folder):
        raise UsageError(f"{profile.name}: {folder} has no config.json with safetensors beside it. {_ADVICE}")
    total = hashlib.sha256()
    paths = {path for pattern in (*SMALL_FILES, *WEIGHT_FILES) for path in folder.glob(pattern) if path.is_file()}
    try:
        for path in sorted(paths):
            total.update(f"{path.name}\0{digest_file(path)}\n".encode())
    except OSError as error:
        raise UsageError(f"{profile.name}: {error.filename} cannot be read: {error.strerror}.") from None
    return total.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits. Large weights are read once and not again for as long as the file is the same.

    Raises OSError.
    """
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns, found.st_ino)


@cache
def _digest(path: Path, size: int, mtime: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

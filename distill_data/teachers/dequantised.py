"""GGUF files as folders that transformers loads in a second: float32 safetensors in the cache. Knows no teacher.

transformers reads a GGUF file too, but takes a good part of a minute of CPU time for it at every start.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from distill_data.errors import DiskError, UsageError
from distill_data.teachers.weights import cache

LOG = logging.getLogger(__name__)

UNFINISHED = ".convert-"
ABANDONED = 24 * 60 * 60
"""Seconds after which nobody is at a conversion any more."""
_ONE_AT_A_TIME = threading.Lock()
"""transformers says how much it talks, and switches the default device while it loads a model, for the whole process,
and several teachers have a thread each."""
UNREADABLE = (OSError, ValueError, LookupError, ImportError, RuntimeError, AttributeError, struct.error)
"""What transformers raises for a GGUF file that is damaged or of an architecture that it does not know."""


def dequantise(name: str, gguf: Path, digest: str, versions: Mapping[str, str]) -> Path:
    """The folder that holds the GGUF's weights in float32, its config and tokenizer. Converts where there is none yet.

    It is named by the file's digest and by the versions of the converting packages, and is there whole or not at all.
    Raises UsageError for a file that transformers cannot read, DiskError where the cache cannot be written.
    """
    made_by = f"transformers-{versions['transformers']}-gguf-{versions['gguf']}"
    folder = cache() / "dequantised" / f"{digest[:16]}-{made_by}"
    if folder.is_dir():
        return folder
    LOG.warning(f"{name}: converting the weights to float32, once; they are kept in {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as temporary:
            made = Path(temporary) / "model"
            made.mkdir()
            _convert(name, gguf, made)
            for path in made.iterdir():
                with path.open("r+b") as file:
                    os.fsync(file.fileno())
            _sync_names(made)
            if not folder.is_dir():  # another process may have been faster
                made.rename(folder)
                _sync_names(folder.parent)
    except OSError as error:
        if not folder.is_dir():
            raise DiskError(f"{folder}: the converted weights cannot be stored: {error.strerror or error}.") from error
    return folder


def _sweep(folder: Path) -> None:
    """Remove what conversions that were killed have left."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _sync_names(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _convert(name: str, gguf: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet(), _without_bar():
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **place)
            model, report = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
                output_loading_info=True,
                **place,
            )
    except UNREADABLE as error:
        said = f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
        raise UsageError(f"{name}: transformers cannot read {gguf}: {said}") from None
    if report["missing_keys"]:
        lacking = ", ".join(sorted(report["missing_keys"])[:3])
        raise UsageError(f"{name}: {gguf} lacks tensors that the architecture needs, such as {lacking}.")
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if key not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # the weights are plain now
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and hints of transformers: what matters is said by us. One thread at a time, which
    models are loaded under too."""
    from transformers.utils import logging as talk

    with _ONE_AT_A_TIME:
        level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
        talk.set_verbosity_error()
        talk.disable_progress_bar()
        try:
            yield
        finally:
            talk.set_verbosity(level)
            if bars:
                talk.enable_progress_bar()


@contextmanager
def _without_bar() -> Iterator[None]:
    """Reading a GGUF file shows a bar whatever transformers is told."""
    from transformers import modeling_gguf_pytorch_utils

    reader: Any = modeling_gguf_pytorch_utils
    before = reader.tqdm
    reader.tqdm = partial(before, disable=True)
    try:
        yield
    finally:
        reader.tqdm = before

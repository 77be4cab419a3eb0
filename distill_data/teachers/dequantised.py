"""GGUF files as folders that transformers loads in a second: float32 safetensors in the cache. Knows no teacher.

transformers reads a GGUF file too, but takes a good part of a minute of CPU time for it at every start.
"""

from __future__ import annotations

import logging
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill_data.errors import DiskError, UsageError
from distill_data.teachers.weights import cache

LOG = logging.getLogger(__name__)

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
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as temporary:
            made = Path(temporary) / "model"
            made.mkdir()
            _convert(name, gguf, made)
            if not folder.is_dir():  # another process may have been faster
                made.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise DiskError(f"{folder}: the converted weights cannot be stored: {error.strerror or error}.") from error
    return folder


def _convert(name: str, gguf: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
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
    """Without the progress bars and hints of transformers: what matters is said by us."""
    from transformers.utils import logging as talk

    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()

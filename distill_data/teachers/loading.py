"""A transformers model in memory, and what can be said about it before. Knows nothing about requests.

The device is chosen here: CUDA, then Apple's GPU, else the CPU; `CUDA_VISIBLE_DEVICES=` keeps a model off the GPU.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError
from distill_data.teachers.checkpoints import REQUIRED, find, first_line, label_of, read_config, require
from distill_data.teachers.dequantised import quiet
from distill_data.teachers.protocol import Profile
from distill_data.teachers.spans import end_of_turn

LOG = logging.getLogger(__name__)

UNBOUNDED = 32768
"""Context of a model that names no bound, in tokens."""
LANGUAGE, STATES, REWARD = "AutoModelForCausalLM", "AutoModel", "AutoModelForSequenceClassification"
"""What a model is opened as: to say what comes next, to give its states, to give one number."""
WHAT = {LANGUAGE: "language model that can answer", STATES: "model with states", REWARD: "reward model"}
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""How models of different families write down how many layers they have."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to run, on its device and in evaluation mode."""

    model: Any
    tokenizer: Any
    device: str
    """`cpu`, `cuda` or `mps`."""
    dtype: str
    """`float32`, `bfloat16` or `float16`."""
    context: int
    """Most tokens that it takes, prompt and answer together."""
    vocab_size: int
    """Of the model's output; may be more than the tokenizer has."""
    stops: frozenset[int]
    """Ids that end a turn."""
    label: str
    """The model's name without the folders of this machine."""


def name_unknown(loaded: Loaded, ids: Iterable[int]) -> str:
    """What to say of ids that the tokenizer has and the model has not, as for images in Gemma 3; empty where all are
    known."""
    unknown = sorted({number for number in ids if number >= loaded.vocab_size})
    if not unknown:
        return ""
    tokens = ", ".join(map(repr, loaded.tokenizer.convert_ids_to_tokens(unknown)))
    return f"the model has no token {tokens}: it has {loaded.vocab_size} tokens, and its tokenizer more"


def load(profile: Profile, head: str = LANGUAGE) -> Loaded:
    """The model on the device that is there, said aloud; `head` is one of the three classes above.

    Raises UsageError where that cannot be, and for a classifier with other than one output, which is no reward.
    """
    checkpoint = find(profile)
    import torch
    import transformers

    device, dtype = choose_device()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(_threads())
    tokenizer = load_tokenizer(profile, checkpoint.folder)
    try:
        with quiet():
            model, report = getattr(transformers, head).from_pretrained(
                checkpoint.folder,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        model = model.to(device).eval()
    except failures() as error:
        raise _refuse(profile, checkpoint.folder, error) from None
    missing = sorted(name for name in report["missing_keys"] if head != STATES or not name.startswith("pooler."))
    if missing:
        raise UsageError(
            f"{profile.name}: {checkpoint.folder} is no {WHAT[head]}: its weights lack "
            f"{len(missing)} of the tensors that its architecture needs, such as {', '.join(missing[:3])}."
        )
    if head == REWARD and model.config.num_labels != 1:
        raise UsageError(
            f"{profile.name}: a reward model has one output, and {checkpoint.folder} is a classifier with "
            f"{model.config.num_labels}."
        )
    LOG.warning(f"{profile.name}: on {device} in {dtype}")
    text = model.config.get_text_config()
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        context=_context(text, tokenizer),
        vocab_size=text.vocab_size,
        stops=_stops(tokenizer, _eos_of(getattr(model, "generation_config", None)), _eos_of(text)),
        label=label_of(profile),
    )


def identify(profile: Profile) -> dict[str, str]:
    """Engine, versions, weights and dtype: what decides answers, without the device and without any path.

    Raises UsageError where one is missing.
    """
    versions = require(profile, REQUIRED)
    weights = find(profile, whole=False).weights
    _, dtype = choose_device()
    # After the plus stands for which device torch was built.
    torch_version = versions["torch"].partition("+")[0]
    return {
        "engine": "transformers",
        "version": versions["transformers"],
        "torch": torch_version,
        "weights": weights,
        "dtype": dtype,
    }


def count_layers(profile: Profile) -> int:
    """Transformer layers, read from the configuration; 0 where it does not say. No weights are loaded."""
    config = read_config(profile, find(profile, whole=False).folder)
    found = (config.get(key) for key in _LAYERS)
    return next((count for count in found if type(count) is int and count > 0), 0)


def read_fingerprint(profile: Profile) -> dict[str, Any]:
    """The fingerprint of the model's tokenizer. No weights are loaded."""
    checkpoint = find(profile, whole=False)
    tokenizer = load_tokenizer(profile, checkpoint.folder)
    size = read_config(profile, checkpoint.folder).get("vocab_size")
    return fingerprint(tokenizer, label_of(profile), size if type(size) is int else 0)


def fingerprint(tokenizer: Any, label: str, vocab_size: int) -> dict[str, Any]:
    """What tells tokenizers apart: name, size of the model's output, digests of the template and of a probe's ids."""
    from distill_data.data.fingerprints import PROBE, probe_digest

    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    return {
        "name": label,
        "vocab_size": vocab_size,
        "template": hashlib.sha256(template.encode()).hexdigest()[:16] if template else "",
        "probe": probe_digest(tokenizer(PROBE, add_special_tokens=False)["input_ids"]),
    }


def load_tokenizer(profile: Profile, folder: Path) -> Any:
    """The model's tokenizer, which has a padding token in any case. Raises UsageError where it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except failures() as error:
        raise _refuse(profile, folder, error) from None
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def choose_device() -> tuple[str, str]:
    """Device and dtype: the fastest of both that computes log-probabilities as the model was trained to give them."""
    import torch

    if torch.cuda.is_available():
        return "cuda", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if torch.backends.mps.is_available():
        return "mps", "float32"  # many models overflow in float16
    return "cpu", "float32"


def _threads() -> int:
    """Half of the CPUs that this process may use, as threads that wait for one another spin.

    Two threads on two CPUs with a busy neighbour scored a third of the tokens that one thread did, for twice its time.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // 2)


def _context(config: Any, tokenizer: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        return positions
    told = tokenizer.model_max_length
    return int(told) if told < 10**9 else UNBOUNDED


def _eos_of(config: Any) -> int | Iterable[int] | None:
    """The ids that end a text; None where nobody says, as of models that write none."""
    return getattr(config, "eos_token_id", None)


def _stops(tokenizer: Any, *declared: int | Iterable[int] | None) -> frozenset[int]:
    """Of a base model with a chat template, the token that ends its turns is often declared nowhere."""
    known = [tokenizer.eos_token_id, end_of_turn(tokenizer)]
    for ids in declared:
        known += [ids] if isinstance(ids, int) or ids is None else ids
    return frozenset(stop for stop in known if stop is not None)


def failures() -> tuple[type[Exception], ...]:
    """What transformers raises for a folder that it cannot load."""
    from safetensors import SafetensorError

    return OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, SafetensorError


def _refuse(profile: Profile, folder: Path, error: Exception) -> UsageError:
    said = f"{type(error).__name__}: {first_line(error)}"
    return UsageError(f"{profile.name}: transformers cannot load {folder}: {said}")

"""One training from its first step, or its last checkpoint, to its end. Knows trainers, and no objective.

A checkpoint counts once all of its files are on the disk and a mark beside them says so: a process that dies while it
writes one goes on from the one before.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import orjson

from distill_data.errors import DiskError, Interrupted, OutOfMemory, YieldError
from distill_data.teachers.dequantised import quiet
from distill_data.training.jobs import Job

WHOLE = "whole"
"""The file that marks a checkpoint."""
BEFORE = "before.json"
SHOWN, SAVED = 0.01, 0.1
"""How often losses are told and checkpoints written, as shares of all steps."""


class Fit(NamedTuple):
    """How a training went."""

    history: list[dict[str, float]]
    """What was measured, each with its `step`: `loss` of the rows since the one before, `eval_loss`, and what else the
    trainer measures."""
    steps: int


class _Over(Exception):
    """A training whose last step is behind it, and which transformers would take one more of in mid-epoch."""


def make_arguments(kind: Any, job: Job, learning_rate: float, **more: Any) -> Any:
    """The arguments of a trainer: transformers' `TrainingArguments`, or one of TRL's classes that extend it."""
    loop = job.loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that the switch has another name in the next version
        return kind(
            output_dir=str(job.folder),
            num_train_epochs=loop.epochs,
            max_steps=loop.steps or -1,
            per_device_train_batch_size=more.pop("batch", loop.batch),
            per_device_eval_batch_size=more.pop("eval_batch", loop.batch),
            gradient_accumulation_steps=loop.accumulate,
            learning_rate=loop.learning_rate or learning_rate,
            warmup_steps=0.05,
            seed=loop.seed,
            data_seed=loop.seed,
            logging_steps=SHOWN,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=SAVED,
            save_total_limit=2,
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            use_cpu=job.student.device == "cpu",
            bf16=job.student.device == "cuda",
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            **more,
        )


def fit(trainer: Any, job: Job, tell: Callable[[Mapping[str, float]], None]) -> Fit:
    """Train to the end. `tell` is called with what is measured, as it is measured.

    Raises Interrupted after a signal, once a checkpoint is written, and OutOfMemory with advice.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    with quiet(), _stopping() as stopped, _advising(job), storing(job.folder):
        callback = _make_callback(stopped, tell)
        trainer.add_callback(callback)
        last = last_checkpoint(job.folder)
        before = _measure_before(trainer, job, last is None)
        with suppress(_Over):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if stopped:
            raise Interrupted(
                f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}, which is saved; the "
                "same command goes on from there.",
                stopped[0],
            )
        after = [_evaluated(trainer, job)] if job.held else []
    history = [_measured(entry) for entry in trainer.state.log_history if "train_runtime" not in entry]
    return Fit([*before, *(e for e in history if "loss" in e), *after], trainer.state.global_step)


def _measure_before(trainer: Any, job: Job, begins: bool) -> list[dict[str, float]]:
    """What the rows that are held out cost the untrained student; on disk, for a training that goes on."""
    stored = job.folder / BEFORE
    if job.held and begins:
        job.folder.mkdir(parents=True, exist_ok=True)
        draft = stored.with_suffix(".tmp")
        draft.write_bytes(orjson.dumps([_evaluated(trainer, job)]))
        draft.replace(stored)  # whole or absent
    found: list[dict[str, float]] = orjson.loads(stored.read_bytes()) if job.held else []
    return found


def _evaluated(trainer: Any, job: Job) -> dict[str, float]:
    """What the held-out rows cost now. What is drawn for that hangs on the seed, and not on what was drawn before."""
    from transformers import set_seed

    set_seed(job.loop.seed)
    return _measured({**trainer.evaluate(), "step": trainer.state.global_step})


def last_checkpoint(folder: Path) -> Path | None:
    """The last one that is whole."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """After how many steps a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _measured(entry: Mapping[str, Any]) -> dict[str, float]:
    """What hangs on the rows alone: no times, and no sums that a training which goes on begins anew."""
    others = ("_runtime", "_per_second", "_flos", "_time", "num_tokens")
    return {key: value for key, value in entry.items() if not key.endswith(others)}


def _make_callback(stopped: list[int], tell: Callable[[Mapping[str, float]], None]) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # of a library without types
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps:
                raise _Over

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if stopped:
                control.should_log = control.should_save = control.should_training_stop = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            sync_tree(checkpoint)
            (checkpoint / WHOLE).touch()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            found = _measured({**(logs or {}), "step": state.global_step, "steps": state.max_steps})
            if not all(isfinite(found.get(name, 0)) for name in ("loss", "grad_norm", "train_loss")):
                raise YieldError(
                    f"the loss is no number any more at step {state.global_step}: the training has diverged. Lower "
                    "--learning-rate, and begin again with --fresh."
                )
            tell(found)

    return Watch()


def sync_tree(folder: Path) -> None:
    """Bring every file below a folder to the disk. Raises OSError."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that gets the first signal's number; a second signal does what it did before."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _advising(job: Job) -> Iterator[None]:
    """Memory that ran out is told with what to do about it. Raises OutOfMemory."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        exhausted = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
        if not exhausted:
            raise
        raise OutOfMemory(
            f"training with batches of {job.loop.batch} rows of up to {job.loop.max_length} tokens on "
            f"{job.student.device}",
            "give --batch 1 and --accumulate with the batch that you want, a lower --max-length, or --lora 16, and run "
            "the same command again with --fresh.",
        ) from error


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """A disk that is full or broken, as each library tells it. Raises DiskError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(
            "PytorchStreamWriter|inline_container|iostream", str(error)
        ):
            raise
        whole = str(error).strip().split("\n")[0][:200]
        said = "a file is not written to its end" if isinstance(error, RuntimeError) else whole  # torch tells positions
        raise DiskError(
            f"{folder}: cannot be written: {said}. The last checkpoint that is whole is safe; make room or give "
            "another output, and run the same command again."
        ) from error

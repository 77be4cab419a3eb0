"""Learning from answers as they stand: cross-entropy of y's tokens, by TRL's SFTTrainer. Knows no files."""

from __future__ import annotations

from typing import Any

from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments
from distill_data.training.rows import make_dataset


def make_sft(job: Job, learning_rate: float) -> Any:
    """L = -Σ log p_S(y_t | x, y_<t), the mean over the tokens of y; of raw text, over all of its tokens."""
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=job.student.model,
        args=make_arguments(SFTConfig, job, learning_rate, max_length=job.loop.max_length),
        train_dataset=make_dataset("trl-sft", job.rows, job),
        eval_dataset=make_dataset("trl-sft", job.held, job),
        processing_class=job.student.tokenizer,
    )

"""Learning from pairs of answers, and from answers judged one by one, by TRL's trainers. Knows no files."""

from __future__ import annotations

import logging
import random
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments
from distill_data.training.pairs import judged_of, pairs_of, tell_of_left_out
from distill_data.training.rows import as_dataset, tell_of_long

LOG = logging.getLogger(__name__)

Data = Callable[[Sequence[Row], Counter[str]], list[Row]]
"""Rows as a trainer takes them, and the count of those that are left out."""


def make_reward(job: Job, learning_rate: float) -> Any:
    """L = -log σ(r(x, y_w) - r(x, y_l) - m) (Ouyang et al. 2022, arXiv 2203.02155), r one number at the last token.

    m is the setting `margin` times the difference of the scores (Touvron et al. 2023, 2307.09288); 0 where a pair has
    none.
    """
    from trl import RewardConfig, RewardTrainer

    def data(rows: Sequence[Row], left_out: Counter[str]) -> list[Row]:
        pairs = pairs_of(rows, job, left_out, whole=True)
        return [{**pair, "margin": job.settings["margin"] * (pair["margin"] or 0.0)} for pair in pairs]

    arguments = make_arguments(RewardConfig, job, learning_rate, max_length=job.loop.max_length)
    return _make(RewardTrainer, arguments, job, data(job.rows, job.left_out), data)


def make_dpo(job: Job, learning_rate: float) -> Any:
    """L = -log σ(β·(log p_S(y_w|x)/p_ref(y_w|x) - log p_S(y_l|x)/p_ref(y_l|x))) (Rafailov et al. 2023, 2305.18290)."""
    from trl import DPOConfig, DPOTrainer

    return _make_of_pairs(DPOTrainer, DPOConfig, job, learning_rate, ref_model=_reference(job))


def make_orpo(job: Job, learning_rate: float) -> Any:
    """L = L_SFT(x, y_w) - β·log σ(log odds(y_w|x) - log odds(y_l|x)), where odds = p/(1 - p), and p is the geometric
    mean of the probabilities of the answer's tokens (Hong et al. 2024, 2403.07691). L_SFT is of the prompt's tokens
    too, as in the authors' code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may move; what is tested here is the version that is required
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    return _make_of_pairs(ORPOTrainer, partial(ORPOConfig, remove_unused_columns=False), job, learning_rate)


def make_kto(job: Job, learning_rate: float) -> Any:
    """L = λ_D·(1 - σ(β·(r - z))) of a good answer and λ_U·(1 - σ(β·(z - r))) of a bad one, r = log p_S(y|x)/p_ref(y|x),
    z the mean of r over answers to other prompts, and at least 0 (Ethayarajh et al. 2024, 2402.01306).

    Good and bad ones weigh the same together: the λ of the fewer is how many times more the others are, which is within
    equation 8. Raises UsageError where all are good, or all are bad.
    """
    from trl import KTOConfig, KTOTrainer

    if job.loop.batch < 2:
        raise UsageError("--batch 1: kto measures an answer against others of its batch; give 2 or more.")

    def data(rows: Sequence[Row], left_out: Counter[str]) -> list[Row]:
        judged = list(judged_of(rows, job, left_out))
        # The trainer keeps the order, and takes a batch's next answer for one to another prompt.
        random.Random(job.loop.seed).shuffle(judged)
        return judged

    rows = data(job.rows, job.left_out)
    good = sum(row["label"] for row in rows)
    bad = len(rows) - good
    if rows and not (good and bad):
        said = "good, and kto needs bad ones too" if good else "bad, and kto needs good ones too"
        raise UsageError(
            f"all {len(rows):,} answers are {said}: give `feedback --kind unpaired` another --set threshold"
            f"{', or train sft on them' if good else ''}."
        )
    arguments = make_arguments(
        KTOConfig,
        job,
        learning_rate,
        max_length=job.loop.max_length,
        beta=job.settings["beta"],
        desirable_weight=max(1.0, bad / max(1, good)),
        undesirable_weight=max(1.0, good / max(1, bad)),
    )
    return _make(KTOTrainer, arguments, job, rows, data, ref_model=_reference(job))


def _make_of_pairs(trainer: Any, config: Any, job: Job, learning_rate: float, **more: Any) -> Any:
    def data(rows: Sequence[Row], left_out: Counter[str]) -> list[Row]:
        pairs = pairs_of(rows, job, left_out)
        return [{key: value for key, value in pair.items() if key != "margin"} for pair in pairs]

    length, beta = job.loop.max_length, job.settings["beta"]
    arguments = make_arguments(config, job, learning_rate, max_length=length, beta=beta)
    return _make(trainer, arguments, job, data(job.rows, job.left_out), data, **more)


def _make(trainer: Any, arguments: Any, job: Job, rows: list[Row], data: Data, **more: Any) -> Any:
    """The trainer. Raises UsageError where no row is left to learn from, or to measure on."""
    import datasets

    datasets.disable_progress_bars()
    tell_of_left_out(rows, job.left_out)
    tell_of_long(job, rows)
    left_out: Counter[str] = Counter()
    held = data(job.held, left_out)
    if job.held:
        tell_of_left_out(held, left_out)
    return trainer(
        model=job.student.model,
        args=arguments,
        train_dataset=as_dataset(rows),
        eval_dataset=as_dataset(held) if held else None,
        processing_class=job.student.tokenizer,
        **more,
    )


def _reference(job: Job) -> Any:
    """The student before it is trained; None for one with adapters, of which TRL keeps a copy as they begin.

    It is copied before a checkpoint is read, so a training that goes on has the reference that it began with.
    """
    if job.student.fresh:
        LOG.warning("the student has random weights, which it is measured from: train it with sft first")
    return None if hasattr(job.student.model, "peft_config") else deepcopy(job.student.model)

"""Learning from what the student writes itself: next to a teacher's distribution, or by a reward. By TRL's
DistillationTrainer and RLOOTrainer. Knows no files and no verifier.

Sources: on-policy distillation, Agarwal et al. 2024 (arXiv 2306.13649); RLOO, Ahmadian et al. 2024 (2402.14740); the
teacher's log-probability as the reward, over the length, as in MiniLLM, Gu et al. 2024 (2306.08543).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.formats.turns import prompt_of
from distill_data.teachers.spans import end_of_turn
from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments
from distill_data.training.ranking import sequence_logprobs
from distill_data.training.rows import encode_chat, make_dataset

LOG = logging.getLogger(__name__)


def make_on_policy(job: Job, learning_rate: float) -> Any:
    """L = D(p_T ‖ p_S), the mean over the tokens of answers that the student has just drawn; D is the forward KL for
    β = 0, the reverse KL for β = 1, and between them the generalised JSD.

    Raises UsageError where the prompts are too few for a batch, or too long.
    """
    from trl import DistillationConfig, DistillationTrainer

    settings = job.settings
    return _in_order(DistillationTrainer)(
        model=job.student.model,
        teacher_model=job.teacher.model,
        args=make_arguments(
            DistillationConfig,
            job,
            learning_rate,
            beta=settings["beta"],
            temperature=settings["temperature"],
            max_completion_length=settings["length"],
        ),
        **_prompts("trl-distillation", job),
    )


def make_rl(job: Job, learning_rate: float) -> Any:
    """Answers with a reward above that of the others of their prompt gain: REINFORCE with the mean of the others as the
    baseline, and R = reward - β·log(p_S / p_reference) of the answer. The reference is the student as it begins.

    The reward is a reward model's number, what `job.reward` says of a text and the known answer, or else the teacher's
    mean log-probability of the answer's tokens. Raises UsageError where the prompts are too few for a batch, and where
    the model that rewards cannot read them.
    """
    from trl import RLOOConfig, RLOOTrainer

    settings, samples = job.settings, job.settings["samples"]
    trainer = _in_order(RLOOTrainer)(
        model=job.student.model,
        args=make_arguments(
            RLOOConfig,
            job,
            learning_rate,
            batch=job.loop.batch * samples,
            eval_batch=job.loop.batch * samples,
            num_generations=samples,
            beta=0.0,
            temperature=settings["temperature"],
            max_completion_length=settings["length"],
        ),
        **_rewards(job),
        **_prompts("trl-grpo" if callable(job.reward) else "trl-distillation", job),
    )
    if settings["beta"]:  # TRL would open the reference from a folder, and a student of random weights has none
        trainer.beta = settings["beta"]
        trainer.ref_model = None if hasattr(job.student.model, "peft_config") else _reference(trainer)
    return trainer


def _reference(trainer: Any) -> Any:
    """The student before a checkpoint is read, at the precision in which the student itself is asked."""
    copied = copy.deepcopy(trainer.model).eval().requires_grad_(False)
    return trainer.accelerator.prepare_model(copied, evaluation_mode=True)


def _in_order(kind: Any) -> Any:
    """The trainer with an order of rows that hangs on the seed and the epoch alone: one that goes on in a later epoch
    sees the rows as one that was never stopped."""

    class InOrder(kind):  # type: ignore[misc]  # of a library without types
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            sampler = super()._get_train_sampler(dataset)
            sampler.set_epoch = lambda epoch: sampler.generator.manual_seed(self.args.seed + epoch)
            return sampler

    return InOrder


def _prompts(target: str, job: Job) -> dict[str, Any]:
    """Rows and held-out rows, where an answer has room, and the tokenizer."""
    step = job.loop.batch * job.loop.accumulate
    rows, held = _with_room(job, job.rows), _with_room(job, job.held)
    if len(rows) < step:
        raise UsageError(
            f"there are {len(rows):,} prompts, and a step takes {step}: lower --batch or --accumulate, or give more."
        )
    if job.held and not held:
        raise UsageError(
            "no held-out prompt leaves room for an answer: raise --max-length, or lower the setting length."
        )
    return {
        "train_dataset": make_dataset(target, rows, job),
        "eval_dataset": make_dataset(target, held, job),
        "processing_class": job.student.tokenizer,
    }


def _with_room(job: Job, rows: Sequence[Row]) -> list[Row]:
    """The rows whose prompt leaves room for an answer. Tells how many others there are."""
    most = job.loop.max_length - job.settings["length"]
    kept = [row for row in rows if len(_asked(job, job.student.tokenizer, row)) <= most]
    if long := len(rows) - len(kept):
        job.left_out["too-long"] += long if rows is job.rows else 0
        LOG.warning(
            f"{long:,} of {len(rows):,} prompts are left out: they have more than {most} tokens, --max-length less the "
            "setting length."
        )
    return kept


def _asked(job: Job, tokenizer: Any, row: Row, whose: str = "student") -> list[int]:
    """The ids of a row's prompt, up to where the answer begins. Raises UsageError where it cannot be read."""
    try:
        return encode_chat(tokenizer, prompt_of(row), whose, add_generation_prompt=True)
    except (SeedError, UsageError) as error:
        raise UsageError(f"{job.place(row)}: {error}") from None


def _rewards(job: Job) -> dict[str, Any]:
    if not callable(job.reward):
        _require_readable(job, "teacher" if job.reward is None else "reward model")
    if hasattr(job.reward, "model"):
        return {"reward_funcs": job.reward.model, "reward_processing_classes": job.reward.tokenizer}
    return {"reward_funcs": make_teacher_reward(job.teacher) if job.reward is None else make_reward(job.reward)}


def _require_readable(job: Job, whose: str) -> None:
    """Raises UsageError where the model that rewards does not take a prompt, which would be told in mid-training."""
    tokenizer = (job.teacher if job.reward is None else job.reward).tokenizer
    for rows in (job.rows, job.held):
        for row in rows:
            _asked(job, tokenizer, row, whose)


def make_reward(judge: Callable[[str, str], float]) -> Callable[..., list[float]]:
    """What a judge says of each answer's text and the row's known answer."""

    def reward(completions: Sequence[Sequence[Message]], solution: Sequence[str], **_: Any) -> list[float]:
        return [judge(text_of(said), known) for said, known in zip(completions, solution, strict=True)]

    return reward


def text_of(completion: Sequence[Message]) -> str:
    """What an answer says, its reasoning aside."""
    return str(completion[-1]["content"] or "").rpartition("</think>")[2].strip()


def make_teacher_reward(teacher: Any) -> Callable[..., list[float]]:
    """The teacher's mean log-probability of an answer's tokens and of the end of its turn, in nats."""
    import torch

    tokenizer = teacher.tokenizer
    stop = end_of_turn(tokenizer)
    end = [] if stop is None else [stop]

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        asked = [encode_chat(tokenizer, prompt, "teacher", add_generation_prompt=True) for prompt in prompts]
        texts = [said[-1]["content"] or "" for said in completions]
        said = [[*ids, *end] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        both = {"input_ids": [[*x, *y] for x, y in zip(asked, said, strict=True)]}
        whole = tokenizer.pad(both, padding_side="right", return_tensors="pt").to(teacher.device)
        mask = torch.zeros_like(whole["input_ids"])
        for place, (x, y) in enumerate(zip(asked, said, strict=True)):
            mask[place, len(x) : len(x) + len(y)] = 1
        with torch.no_grad():
            logits = teacher.model(**whole).logits.float()
        total, length = sequence_logprobs(logits[:, :-1], whole["input_ids"][:, 1:], mask[:, 1:])
        found: list[float] = (total / length).tolist()
        return found

    return reward

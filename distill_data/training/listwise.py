"""Learning from all of a prompt's answers and their scores: RRHF and PRO, as a trainer of transformers. Knows no files.

The unit is one prompt's list: a batch has as many lists as `--batch` says, each with all of its answers, and its loss
is the mean of those of its lists.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import pstdev
from typing import Any

from distill_data.training import ranking
from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments
from distill_data.training.pairs import Ranking, rankings_of, tell_of_left_out

LOG = logging.getLogger(__name__)

Loss = Callable[[Any, Any, Any], Any]
"""Log-probabilities of a list's answers (n), their lengths in tokens (n) and their scores (n), to a number."""


def make_rrhf(job: Job, learning_rate: float) -> Any:
    """`ranking.rrhf`: scores count by their order alone."""
    weight, penalty = job.settings["weight"], job.settings["penalty"]

    def loss(logprobs: Any, lengths: Any, scores: Any) -> Any:
        return ranking.rrhf(logprobs, lengths, scores, weight, penalty)

    return _make(job, learning_rate, loss, _rankings(job))


def make_pro(job: Job, learning_rate: float) -> Any:
    """`ranking.pro`, with scores in units of the standard deviation of all scores that are learned from.

    Its gaps are temperatures, so that a judge who marks from 1 to 10 would else train another student than one who
    marks from 0 to 1.
    """
    rankings, weight = _rankings(job), job.settings["sft-weight"]
    unit = pstdev(score for each in rankings for score in each.scores)

    def loss(logprobs: Any, lengths: Any, scores: Any) -> Any:
        return ranking.pro(logprobs, lengths, scores / unit, weight)

    return _make(job, learning_rate, loss, rankings)


def collate(batch: Sequence[Ranking], padding: int) -> dict[str, Any]:
    """Tensors of all answers of some lists, N together of T tokens at most: `sizes` (lists) says how many each has;
    `input_ids`, `attention_mask` and `answer_mask`, which is 1 on an answer's tokens, are (N, T); `scores` is (N)."""
    import torch

    answers = [answer for each in batch for answer in each.answers]
    width = max(len(answer.ids) for answer in answers)
    return {
        "sizes": torch.tensor([len(each.answers) for each in batch]),
        "input_ids": torch.tensor([[*each.ids, *[padding] * (width - len(each.ids))] for each in answers]),
        "attention_mask": torch.tensor([[int(at < len(each.ids)) for at in range(width)] for each in answers]),
        "answer_mask": torch.tensor([[int(each.start <= at < each.end) for at in range(width)] for each in answers]),
        "scores": torch.tensor([score for each in batch for score in each.scores]),
    }


def batch_loss(model: Any, inputs: Any, loss: Loss) -> Any:
    """The mean of the losses of some lists, as `collate` makes them."""
    import torch

    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logprobs, lengths = ranking.sequence_logprobs(logits[:, :-1].float(), ids[:, 1:], inputs["answer_mask"][:, 1:])
    sizes = inputs["sizes"].tolist()
    lists = zip(*(each.split(sizes) for each in (logprobs, lengths, inputs["scores"])), strict=True)
    return torch.stack([loss(*each) for each in lists]).mean()


def _rankings(job: Job) -> list[Ranking]:
    rankings = list(rankings_of(job.rows, job, job.left_out))
    tell_of_left_out(rankings, job.left_out)
    if cut := sum(each.cut for each in rankings):
        LOG.warning(
            f"{cut:,} of {len(rankings):,} lists have answers that are cut, as they are longer than "
            f"{job.loop.max_length} tokens: raise --max-length, or drop them."
        )
    return rankings


def _make(job: Job, learning_rate: float, loss: Loss, rankings: list[Ranking]) -> Any:
    """A trainer of transformers whose loss is that of lists."""
    import transformers

    class ListTrainer(transformers.Trainer):  # type: ignore[misc]  # of a library without types
        loss_is_scaled_for_ga = False

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            found = batch_loss(model, inputs, loss)
            return (found, {}) if return_outputs else found

    left_out: Counter[str] = Counter()
    held = list(rankings_of(job.held, job, left_out))
    if job.held:
        tell_of_left_out(held, left_out)
    trainer = ListTrainer(
        model=job.student.model,
        args=make_arguments(
            transformers.TrainingArguments,
            job,
            learning_rate,
            remove_unused_columns=False,
            prediction_loss_only=True,
        ),
        data_collator=lambda batch: collate(batch, job.student.tokenizer.pad_token_id),
        train_dataset=rankings,
        eval_dataset=held or None,
        processing_class=job.student.tokenizer,
    )
    trainer.can_return_loss, trainer.label_names = True, []
    return trainer

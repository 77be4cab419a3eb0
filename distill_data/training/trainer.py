"""A trainer that compares a student with what is stored of its rows. Knows neither what that is nor how it is compared.

    loss = α · knowledge + (1 - α) · cross-entropy of y's own tokens

Each part is a mean over all that a step sees, in however many batches: a batch has in `counts` how much it brings of
both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.training.batches import Group, Read, collate
from distill_data.training.divergences import mixed
from distill_data.training.examples import Example, make_examples
from distill_data.training.jobs import Job
from distill_data.training.loop import make_arguments

PROJECTIONS = "projections.safetensors"
"""In a checkpoint: what Trainer leaves out where only adapters are saved."""
Batch = Mapping[str, Any]


class Knowledge(NamedTuple):
    """What is stored, and how the student is compared with it."""

    name: str
    """Of the loss, where it is told."""
    read: Read
    loss: Callable[[Any, Any, Batch], Any]
    """Of the model's output, its logits (N, V) that predict y's tokens, and the batch: a mean."""
    states: bool = False
    """Whether the output has to have hidden states."""
    modules: Any = None
    """What is trained beside the student and thrown away: a `ModuleList`."""


def make_trainer(
    job: Job,
    learning_rate: float,
    knowledge: Knowledge,
    group: Callable[[Sequence[Example], Counter[str]], list[Group]],
) -> Any:
    """A trainer of transformers on the job's rows. `--batch` is how many at most, but for a group that has more."""
    from transformers import TrainingArguments

    rows = group(make_examples(job, job.rows, job.arrays, job.left_out), job.left_out)
    held = group(make_examples(job, job.held, job.held_arrays, Counter()), Counter())
    batch = max(1, job.loop.batch // max(map(len, rows)))
    return _trainer_of(knowledge, job.settings["alpha"], job.student.device)(
        model=job.student.model,
        args=make_arguments(
            TrainingArguments,
            replace(job, loop=replace(job.loop, batch=batch)),
            learning_rate,
            remove_unused_columns=False,
        ),
        data_collator=lambda groups: collate(groups, knowledge.read),
        train_dataset=rows,
        eval_dataset=held or None,
        processing_class=job.student.tokenizer,
        callbacks=[_keeper_of(knowledge.modules)] if knowledge.modules is not None else [],
    )


def _trainer_of(knowledge: Knowledge, alpha: float, device: str) -> Any:
    """The class of a trainer whose loss has this knowledge in it."""
    import torch
    from safetensors.torch import load_file
    from transformers import Trainer

    modules = knowledge.modules

    class StoredTrainer(Trainer):  # type: ignore[misc]  # of a library without types
        loss_is_scaled_for_ga = True

        def get_batch_samples(self, *given: Any) -> Any:
            """The batches of a step, and how much they bring together."""
            samples, _ = super().get_batch_samples(*given)
            return samples, sum(each["counts"] for each in samples).to(device)

        def compute_loss(self, model: Any, inputs: Batch, num_items_in_batch: Any = None, **_: Any) -> Any:
            total = inputs["counts"] if num_items_in_batch is None else num_items_in_batch
            told, own = self.means(model, inputs) * inputs["counts"] / total
            return mixed(told, own, alpha)

        def means(self, model: Any, inputs: Batch) -> Any:
            """What is stored, and y's own tokens: two numbers."""
            output = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
                output_hidden_states=knowledge.states,
            )
            logits = output.logits[inputs["before"]].float()
            own = torch.nn.functional.cross_entropy(logits, inputs["input_ids"][inputs["at"]])
            return torch.stack([knowledge.loss(output, logits, inputs), own])

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            """The means over all rows that are held out, however they fall into batches."""
            self.model.eval()
            sums = total = torch.zeros(2, device=device)
            with torch.no_grad(), self.compute_loss_context_manager():
                for inputs in self.get_eval_dataloader():
                    sums = sums + self.means(self.model, inputs) * inputs["counts"]
                    total = total + inputs["counts"]
            told, own = (sums / total).tolist()
            return {"eval_loss": mixed(told, own, alpha), f"eval_{knowledge.name}": told, "eval_cross_entropy": own}

        def train(self, resume_from_checkpoint: str | None = None, **named: Any) -> Any:
            """What is learned beside the student belongs to it as long as it is trained, and is not published."""
            if modules is None:
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **named)
            if resume_from_checkpoint:
                modules.load_state_dict(load_file(Path(resume_from_checkpoint) / PROJECTIONS))
            self.model.projections = modules
            try:
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **named)
            finally:
                del self.model.projections

    return StoredTrainer


def _keeper_of(modules: Any) -> Any:
    """What stores modules in each checkpoint."""
    from safetensors.torch import save_file
    from transformers import TrainerCallback

    class Keep(TrainerCallback):  # type: ignore[misc]  # of a library without types
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            save_file(modules.state_dict(), Path(args.output_dir) / f"checkpoint-{state.global_step}" / PROJECTIONS)

    return Keep()

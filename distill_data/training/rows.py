"""Rows as TRL's trainers are given them, and how long they are in tokens. Knows no trainer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.formats.targets import convert
from distill_data.formats.turns import IMAGES, Given, chat_of, kind_of, thinking
from distill_data.training.jobs import Job

LOG = logging.getLogger(__name__)

TURNS = ("prompt", "completion", "chosen", "rejected")
"""Columns that hold messages."""


def make_dataset(target: str, rows: Sequence[Row], job: Job) -> Any:
    """The rows as a target of `export` has them, as a `datasets.Dataset`; None where there are none."""
    import datasets

    datasets.disable_progress_bars()
    if not rows:
        return None
    made = list(converted(target, rows, job))
    _refuse_mixture(made)
    tell_of_long(job, made)
    return as_dataset(made)


def as_dataset(rows: Sequence[Row]) -> Any:
    """Rows with every column that one of them has. Messages and tools stay as they are: a `datasets.Dataset` gives
    objects of a column the same keys, and chat templates would write the nulls that it fills in."""
    import datasets

    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    listed = {name: datasets.Json() for name in columns if name in (*TURNS, "tools")}
    others = datasets.Dataset.from_dict({name: column for name, column in columns.items() if name not in listed})
    return datasets.Dataset.from_dict(columns, features=datasets.Features({**others.features, **listed}))


def _refuse_mixture(rows: Sequence[Row]) -> None:
    """Raises UsageError where some rows are raw text and others are not: a trainer reads all as the first."""
    raw = sum("text" in row for row in rows)
    if 0 < raw < len(rows):
        raise UsageError(
            f"{raw:,} of {len(rows):,} rows are raw text, and the others answers: train on the one first, and then, "
            "with the student that comes of it, on the other."
        )


def converted(target: str, rows: Sequence[Row], job: Job) -> Iterator[Row]:
    """The rows of a target, in messages that the student's chat template loses nothing of. Raises UsageError."""
    keeps = keeps_reasoning(job.student.tokenizer)
    for ordinal, row in enumerate(rows):
        for name in IMAGES:
            if row.get(name):
                raise UsageError(f"{job.place(row)}: there is a column {name}, and students here read text alone.")
        try:
            found = [_answering(made) for made in convert(target, Given(row, kind_of(row), ordinal))]
        except SeedError as error:
            raise UsageError(f"{job.place(row)}: {error}") from None
        for made in found:
            yield {
                key: value if keeps or key not in TURNS else with_reasoning(value)
                for key, value in made.items()
                if key != "id" and key not in IMAGES
            }


def _answering(row: Row) -> Row:
    """A conversation as what is asked and what is answered last, so that nothing else is learned. Raises SeedError."""
    if "messages" not in row:
        return row
    chat = chat_of(row)
    others = {key: value for key, value in row.items() if key != "messages"}
    return {**others, "prompt": chat.prompt, "completion": chat.completion[:1]}


def keeps_reasoning(tokenizer: Any) -> bool:
    """Whether the chat template writes `reasoning_content`."""
    return "reasoning_content" in (tokenizer.get_chat_template() or "")


def with_reasoning(messages: Any) -> Any:
    """Messages with their reasoning before the text, in think-tags, for a template that has no place for it."""
    if not isinstance(messages, list):
        return messages
    return [_folded(message) if message.get("reasoning_content") else message for message in messages]


def _folded(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: value for key, value in message.items() if key != "reasoning_content"},
        "content": thinking(message),
    }


def encode_chat(tokenizer: Any, messages: Sequence[Any], whose: str = "student", **more: Any) -> list[int]:
    """The ids of messages under a chat template. Raises UsageError where there is none, or it does not take them."""
    from transformers.utils.chat_template_utils import jinja2  # which its templates are written in

    if not tokenizer.chat_template:
        raise UsageError(
            f"the {whose} has no chat template, so it cannot read messages: take an instruction-tuned one."
        )
    try:
        ids: list[int] = tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False, **more)
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        said = str(error).split("\n")[0][:200]
        raise UsageError(f"the {whose}'s chat template does not take messages of {roles}: {said}") from None
    return ids


def tell_of_long(job: Job, rows: Sequence[Row]) -> None:
    """Warn of rows that are cut, with their number."""
    tokenizer = job.student.tokenizer
    long = 0
    for row in rows:
        for answer in ("completion", "chosen", "rejected"):
            if answer in row and isinstance(row[answer], list):
                whole = encode_chat(tokenizer, [*row["prompt"], *row[answer]], tools=row.get("tools") or None)
                if len(whole) > job.loop.max_length:
                    long += 1
                    break
    if long:
        LOG.warning(
            f"{long:,} of {len(rows):,} rows are longer than {job.loop.max_length} tokens and are cut: raise "
            "--max-length, or drop them."
        )

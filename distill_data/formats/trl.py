"""Rows as TRL 1.16 reads them. Messages stay messages: a trainer's chat template makes text of them.

Calls have their arguments as objects and tools are a list of objects, because the trainers hand both to the template
as they are. Knows no file.
"""

from __future__ import annotations

from typing import Any

from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.turns import (
    IMAGES,
    Given,
    answer_beside,
    chat_of,
    pair_of,
    prompt_of,
    tools_of,
    turns_of,
    whole_of,
    with_system,
)


def sft(given: Given) -> list[Row]:
    """prompt and completion, so that the loss is on the answer; messages where the row has these; text as it is."""
    row = given.row
    if given.kind == "text":
        return [{**named(row), "text": row["text"]}]
    if "responses" not in row and (name := whole_of(row)) and not answer_beside(row):
        return [{**named(row), "messages": with_system(row, turns_of(row[name], name)), **beside(row)}]
    chat = chat_of(row)
    return [{**named(row), "prompt": chat.prompt, "completion": chat.completion, **beside(row)}]


def dpo(given: Given) -> list[Row]:
    """prompt, chosen and rejected."""
    pair = pair_of(given)
    if pair is None:
        return []
    row = given.row
    return [
        {**named(row), "prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected, **beside(row)},
    ]


def reward(given: Given) -> list[Row]:
    """As for DPO, with `margin`, the difference of the scores, where there are any."""
    pair = pair_of(given)
    margin = {} if pair is None or pair.margin is None else {"margin": pair.margin}
    return [{**row, **margin} for row in dpo(given)]


def kto(given: Given) -> list[Row]:
    """prompt, completion and label; a preference gives two such rows, the better answer first."""
    row = given.row
    if given.kind == "unpaired":
        chat = chat_of(row)
        return [_judged(given, chat.prompt, chat.completion, row["label"])]
    pair = pair_of(given)
    if pair is None:
        return []
    return [_judged(given, pair.prompt, pair.chosen, True), _judged(given, pair.prompt, pair.rejected, False)]


def _judged(given: Given, prompt: Any, completion: Any, label: Any) -> Row:
    return {**named(given.row), "prompt": prompt, "completion": completion, "label": label, **beside(given.row)}


def grpo(given: Given) -> list[Row]:
    """prompt, and the known answer as `solution`: nothing else, as the reward functions are handed every column."""
    row, solution = given.row, solution_of(given.row)
    return [{"prompt": prompt_of(row), **({} if solution is None else {"solution": solution}), **images(row)}]


def solution_of(row: Row) -> Any:
    """The known answer; None where there is none."""
    return row["answer"] if row.get("answer") is not None else row.get("solution")


def distillation(given: Given) -> list[Row]:
    """prompt alone: the student answers it, and the teacher is there when it trains."""
    return [{"prompt": prompt_of(given.row), **images(given.row)}]


def named(row: Row) -> Row:
    """The row's id, where it has one: trainers leave it aside."""
    return {"id": row["id"]} if "id" in row else {}


def beside(row: Row) -> Row:
    """The columns tools, as a list of objects, and images, where the row has them."""
    return {**({"tools": tools_of(row)} if "tools" in row else {}), **images(row)}


def images(row: Row) -> Row:
    """The columns of images, where the row has them."""
    return {name: row[name] for name in IMAGES if name in row}


def images_of(row: Row) -> Row:
    """The column `images`, a list, where the row has images: for readers that know no column of a single one."""
    found = row.get("images") or row.get("image")
    if found:
        return {"images": found if isinstance(found, list) else [found]}
    return {"images": []} if "images" in row else {}


def refuse_beside(row: Row, reader: str) -> None:
    """Raise SeedError where a row has tools or images, and its reader has no place for them."""
    for name in ("tools", *IMAGES):
        if tools_of(row) if name == "tools" else row.get(name):
            raise SeedError(f"{reader} reads no {name}, and this row has such a column")

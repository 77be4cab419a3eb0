"""Asking one block of a recipe and reading its reply: what methods that ask more than once are made of.

A recipe's own parser reads the block `main`; `stages` in its front matter says how the other blocks are read. Knows
nothing about pools, records and runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from distill_data.data.exchange import RESAMPLED, Answer, Ask, Message, Request
from distill_data.data.items import Row
from distill_data.errors import ParseError, RecipeError
from distill_data.parsing import Parser, make_parser
from distill_data.quality import Check, make_check
from distill_data.recipes import REQUIRED, Recipe
from distill_data.recipes.template import MAIN

UNFINISHED = {
    "length": "truncated",
    "content_filter": "content-filter",
    "refusal": "refusal",
    "tool_calls": "tool-calls",
}
"""Finish reasons that make an answer worth nothing, and what they are called in the rejects."""
TEACHER_REASONING = "teacher_reasoning"
"""The field that every reply has beside the parser's: what a reasoning model thought."""


class Said(NamedTuple):
    """One reply: what was read from it, or why it doesn't count."""

    answer: Answer
    fields: Mapping[str, Any]
    messages: list[Message]
    """What was asked."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the reply to one block is asked for and read."""

    parse: Parser
    checks: Sequence[Check]
    sampling: Mapping[str, Any]
    choices: tuple[str, ...]
    schema: Mapping[str, Any] | None
    labels: tuple[str, ...] = ()
    """What the parser `choice` gives, in the recipe's order; empty with other parsers."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The blocks of a recipe, ready to be asked."""

    recipe: Recipe
    readers: Mapping[str, Reader]
    resample: int
    role: str = "teacher"
    """Who is asked where nobody is named."""

    def has(self, block: str) -> bool:
        return block in self.readers

    def messages(self, block: str, row: Mapping[str, Any], shown: Mapping[str, Any] = {}) -> list[Message]:
        """A rendered block. Columns that the row lacks are their defaults, or empty."""
        columns = self.columns(row)
        known = {"demonstrations": (), "x": {}, "said": {}, **self.recipe.settings, **columns, "row": {**row}}
        return self.recipe.body.render(block, {**known, **shown})

    def columns(self, row: Mapping[str, Any]) -> Row:
        """The declared columns, as the row has them; those that it lacks are their defaults, or empty."""
        declared = self.recipe.columns.items()
        defaults = {name: "" if default is REQUIRED else default for name, default in declared}
        return {name: default if row.get(name) is None else row[name] for name, default in defaults.items()}

    async def ask(
        self,
        ask: Ask,
        block: str,
        row: Mapping[str, Any],
        shown: Mapping[str, Any] = {},
        *,
        sample: int = 0,
        to: str = "",
        messages: list[Message] | None = None,
    ) -> Said:
        """Ask a block, rendered unless `messages` are given. A reply that cannot be read is asked again.

        Raises AnswerFailed where the teacher refuses for good.
        """
        if block not in self.readers:
            raise RecipeError(f"{self.recipe.path}: the block {block} needs an entry under `stages`.")
        reader = self.readers[block]
        if reader.sampling.get("temperature") == 0:
            sample = 0  # another one would be bought and be the same
        asked = self.messages(block, row, shown) if messages is None else messages
        request = Request(asked, reader.sampling, choices=reader.choices, schema=reader.schema, sample=sample)
        for attempt in range(1 if reader.sampling.get("temperature") == 0 else 1 + self.resample):
            answer = await ask(request._replace(sample=sample + attempt * RESAMPLED), to=to or self.role)
            fields, reason, detail = judge(reader, answer, row)
            if not reason or fields or answer.finish in UNFINISHED:
                break
        return Said(answer, fields, asked, reason, detail)


def judge(reader: Reader, answer: Answer, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, str]:
    """The fields that a reply holds, and why it doesn't count, if it doesn't. No fields: it could not be read."""
    if answer.finish in UNFINISHED:
        return {}, UNFINISHED[answer.finish], f"finish reason {answer.finish}"
    try:
        fields = {TEACHER_REASONING: answer.reasoning, **reader.parse(answer.text)}
    except ParseError as error:
        return {}, error.reason, error.detail
    for check in reader.checks:
        if reason := check(fields, row):
            return fields, reason, ""
    return fields, "", ""


def make_stages(recipe: Recipe, resample: int, role: str = "teacher") -> Stages:
    """The recipe's blocks. Raises UsageError for parsers and checks that there are not.

    The recipe's own `checks` are for x, candidate by candidate, so the reply to `main` is only parsed.
    """
    readers = {
        MAIN: Reader(
            make_parser(recipe.parser.name, recipe.parser.args), (), recipe.sampling, recipe.choices, recipe.schema
        )
    }
    for name, stage in recipe.stages.items():
        readers[name] = Reader(
            make_parser(stage.parser.name, stage.parser.args),
            [make_check(check.name, check.args) for check in stage.checks],
            {**recipe.sampling, **stage.sampling},
            stage.choices,
            stage.parser.args if stage.parser.name == "json" else None,
            tuple(stage.parser.args) if stage.parser.name == "choice" else (),
        )
    return Stages(recipe, readers, resample, role)

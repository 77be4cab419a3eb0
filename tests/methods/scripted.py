"""A teacher that says what is written down. Knows nothing about methods and recipes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_data.data.exchange import RESAMPLED, Answer, Ask, Request, Unwanted, Wanted, always
from distill_data.data.items import Item, Outcome
from distill_data.engine.schedule import Method
from distill_data.errors import AnswerFailed

Said = str | Mapping[str, Any]
"""A text, or a mapping with `text`, `reasoning` and `finish`; `{"fails": REASON}` is a request refused for good."""


def answer(said: Said, model: str = "scripted") -> Answer:
    """What a teacher that says this would give."""
    parts = {"text": said} if isinstance(said, str) else said
    if "fails" in parts:
        raise AnswerFailed(parts["fails"])
    text, reasoning = parts["text"], parts.get("reasoning", "")
    counts = len(text.split()) + len(reasoning.split())
    return Answer(text, reasoning, parts.get("finish", "stop"), model, prompt_tokens=10, completion_tokens=counts)


def outcome_of(method: Method, item: Item, ask: Ask) -> Outcome:
    """Run a method on one item."""

    async def main() -> Outcome:
        return await method(item, ask)

    return asyncio.run(main())


@dataclass(slots=True)
class Scripted:
    """An `ask` over a script: role to what it says for each sample, a list there being one text for each attempt.

    A question that the script doesn't know raises LookupError, so a method that asks too much fails its test.
    """

    script: Mapping[str, Sequence[Said | Sequence[Said]]]
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    """(role, sample, attempt) of every question, in the order in which they came."""
    requests: list[Request] = field(default_factory=list)

    async def __call__(self, request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
        if not wanted():
            raise Unwanted
        attempt, sample = divmod(request.sample, RESAMPLED)
        self.asked.append((to, sample, attempt))
        self.requests.append(request)
        said = self.script[to][sample]
        attempts = [said] if isinstance(said, str | Mapping) else said
        return answer(attempts[attempt], f"{to}-model")

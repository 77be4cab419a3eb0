"""Conversations that two sides of the teacher hold: a user with a part to play, and an assistant.

    dialogue    x is the user's first message, the conversation goes on from it for a drawn number of rounds (UltraChat)
    roleplay    x is a task made concrete; the user instructs until it says that the task is done (CAMEL)

The block `user` writes the user's next message; templates see the conversation as `said.turns`. The block `assistant`
writes the messages that stand before the conversation, and the assistant answers to both. Knows no run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from distill_data.data.exchange import Ask, Message
from distill_data.data.growth import Draft, Growth
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    AnswerX,
    Composed,
    make_admit,
    make_propose,
    make_x_record,
    settle_nothing,
)
from distill_data.methods.setup import Setup
from distill_data.methods.stages import Said
from distill_data.parsing.folding import fold

USER, ASSISTANT, STUDENT = "user", "assistant", "student"


def dialogue(setup: Setup) -> Growth:
    """`fewest` and `most`: how many rounds, a message of each side, a conversation has."""
    return _conversations(setup, opened=True)


def roleplay(setup: Setup) -> Growth:
    """`most`: rounds at most; `done`: what the user writes once the task is done."""
    return _conversations(setup, opened=False)


def _conversations(setup: Setup, *, opened: bool) -> Growth:
    most = setup.whole("most", 7, 1)
    fewest = setup.whole("fewest", most, 1)
    if fewest > most:
        raise UsageError(f"{setup.recipe.path}: rounds go from {fewest} to {most}; give fewest <= most.")
    answer = make_conversation(setup, fewest, most, opened=opened)
    return Composed(draw_combined(setup), make_propose(setup), make_admit(setup, ()), answer, settle_nothing)


@dataclass(slots=True)
class Talk:
    """A conversation while it goes on."""

    turns: list[Message]
    """From the user's first message on, both sides in turn."""
    answers: list[str] = field(default_factory=list)
    """Every reply, as it came."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    """Who answered last for the assistant."""
    ended: str = "rounds"
    """`done` where the user ended it."""
    reason: str = ""
    """Why it is worth nothing, if it is."""
    detail: str = ""

    def heard(self, said: Said, role: str) -> str:
        """The text of a reply, whose costs are added; empty, with the reason, for one that doesn't count."""
        answer = said.answer
        self.answers.append(answer.text)
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.reason, self.detail = said.reason, said.detail and f"message {len(self.turns) + 1}: {said.detail}"
        if role == ASSISTANT:
            self.model = answer.model
        return "" if said.reason else str(said.fields.get("text", ""))

    def add(self, role: str, text: str) -> None:
        """One message more. What its side said before counts as a conversation that goes in circles."""
        if any(turn["role"] == role and fold(turn["content"]) == fold(text) for turn in self.turns):
            self.reason, self.detail = (
                "repeated-turn",
                f"message {len(self.turns) + 1} says what the {role} said before",
            )
        self.turns.append({"role": role, "content": text})

    def notes(self) -> dict[str, Any]:
        """Facts for the record."""
        return {
            "rounds": len(self.turns) // 2,
            "ended": self.ended,
            "answer_prompt_tokens": self.prompt_tokens,
            "answer_completion_tokens": self.completion_tokens,
        }


def make_conversation(setup: Setup, fewest: int, most: int, *, opened: bool) -> AnswerX:
    """y is a conversation: the record's prompt is all of it but the assistant's last message, its completion that one.

    `opened`: x is the user's first message. The block `student`, if there is one, stands before the conversation.
    """

    async def converse(item: Item, draft: Draft, ask: Ask) -> Outcome:
        lead = _lead(setup, draft, STUDENT)
        first: Message = {"role": USER, "content": str(draft.x[setup.recipe.writes])}
        if not setup.answers:
            return kept(make_x_record(setup, item, draft, prompt=[*lead, first]))
        talk = Talk([first] if opened else [])
        await _play(setup, draft, ask, talk, item.rng().randint(fewest, most))
        if not talk.reason and not talk.turns:
            talk.reason, talk.detail = "no-turns", "the user ended before anything was said"
        if talk.reason:
            return rejected(talk.reason, talk.detail, *draft.answers, *talk.answers)
        draft = draft._replace(notes={**draft.notes, **talk.notes()})
        said = {"text": talk.turns[-1]["content"]}
        return kept(make_x_record(setup, item, draft, said, talk.model, prompt=[*lead, *talk.turns[:-1]]))

    return converse


async def _play(setup: Setup, draft: Draft, ask: Ask, talk: Talk, rounds: int) -> None:
    """Let both sides speak in turn, until the rounds are over, the user is done, or a reply doesn't count."""
    done = str(setup.setting("done", ""))
    while len(talk.turns) < 2 * rounds and not talk.reason:
        role = USER if len(talk.turns) % 2 == 0 else ASSISTANT
        shown = {**draft.draw.shown, "x": draft.x, "said": {"turns": talk.turns}}
        if role == USER:
            said = await setup.stages.ask(ask, USER, draft.draw.row, shown)
        else:
            asked = [*_lead(setup, draft, ASSISTANT), *talk.turns]
            said = await setup.stages.ask(ask, ASSISTANT, draft.draw.row, shown, to=setup.answerer, messages=asked)
        text = talk.heard(said, role)
        if role == USER and done and done in text:
            talk.ended = "done"
            return
        if not talk.reason:
            talk.add(role, text)


def _lead(setup: Setup, draft: Draft, block: str) -> list[Message]:
    """What stands before a conversation."""
    if block not in setup.recipe.blocks:
        return []
    return setup.stages.messages(block, draft.draw.row, {**draft.draw.shown, "x": draft.x})

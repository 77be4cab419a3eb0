"""Rows as trainers on ranked answers read them: RRHF and PRO after their repositories, NeMo RL. Knows no file."""

from __future__ import annotations

from collections.abc import Sequence

from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.trl import beside, named, refuse_beside
from distill_data.formats.turns import Given, chat_of, flat, pair_of, prompt_of, ranked_of

SPEAKERS = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: ", "system": ""}
MARKS = {"user": "<|prompter|>", "assistant": "<|assistant|>", "system": ""}
"""PRO's own marks of who speaks, which its loader turns into words."""


def rrhf(given: Given) -> list[Row]:
    """query, responses and scores, the best first (Yuan et al., 2304.05302)."""
    refuse_beside(given.row, "RRHF")
    scores, texts = zip(*ranked_of(given.row), strict=True)
    query = _query(prompt_of(given.row))
    return [{**named(given.row), "query": query, "responses": list(texts), "scores": list(scores)}]


def _query(prompt: Sequence[Message]) -> str:
    """A prompt as one text: of a single user the words alone, of more a dialogue that the assistant goes on."""
    said = [(message["role"], _words(message)) for message in prompt]
    if [role for role, _ in said if role != "system"] == ["user"]:
        return "\n\n".join(text for _, text in said)
    return "".join(f"{SPEAKERS[role]}{text}" for role, text in said) + SPEAKERS["assistant"].rstrip()


def pro(given: Given) -> list[Row]:
    """prefix, suffix and reward, an entry for each answer, the best first, and sft_index 0 (Song et al., 2306.17492).

    A prefix is a list of texts that its loader joins.
    """
    refuse_beside(given.row, "PRO")
    scores, texts = zip(*ranked_of(given.row), strict=True)
    prompt = prompt_of(given.row)
    prefix = [part for message in prompt for part in (MARKS[message["role"]], _words(message)) if part]
    prefixes = [[*prefix, MARKS["assistant"]] for _ in texts]
    ranks = {"prefix": prefixes, "suffix": list(texts), "reward": list(scores), "sft_index": 0}
    return [{**named(given.row), **ranks}]


def _words(message: Message) -> str:
    if message.get("tool_calls") or message["role"] == "tool":
        raise SeedError("this prompt has calls, and this trainer reads plain text")
    return flat(message["content"])


def nemo_rl(given: Given) -> list[Row]:
    """messages and tools of an answer; of a preference context and completions, rank 0 better than rank 1."""
    row = given.row
    if given.kind not in ("preference", "ranked"):
        return [{**named(row), "messages": chat_of(row).messages(), **beside(row)}]
    pair = pair_of(given)
    if pair is None:
        return []
    answers = (pair.chosen, pair.rejected)
    completions = [{"rank": rank, "completion": answer} for rank, answer in enumerate(answers)]
    return [{**named(row), "context": pair.prompt, "completions": completions, **beside(row)}]

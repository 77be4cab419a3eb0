"""φ of a y that the teacher writes itself: what it held likely at each token while it wrote.

Servers name tokens by their text; where there are no ids, the record has a vocabulary of its own: `ids` number the
entries of `spellings` (data/arrays.py). Log-probabilities are as the server gives them, mostly those at temperature 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_data.data.arrays import LEAST, encode, narrow, quantise, spell_out
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Arrays, Item, Outcome, Record, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.given import Annotator, read_prompt
from distill_data.methods.scored import Method, together
from distill_data.methods.setup import whole
from distill_data.methods.stages import UNFINISHED
from distill_data.recipes import Recipe

MOST = 20
"""The most `top_logprobs` that servers commonly give."""
_BROKEN = re.compile("\ufffd+")
ROUNDED = 1e-3
"""How far above 0 a log-probability may be by the server's rounding."""


def make_generated(recipe: Recipe, annotator: Annotator) -> Method:
    """A method over prompts: one record for each teacher and sample. Raises UsageError for settings that cannot be."""
    k = whole(recipe, "k", MOST, 1)
    if "max_tokens" not in recipe.sampling:
        raise UsageError(f"{recipe.path}: sampling lacks max_tokens; every request carries a token limit.")
    if recipe.samples > 1 and recipe.sampling.get("temperature") == 0:
        raise UsageError(
            f"the recipe {recipe.name} asks for {recipe.samples} samples at temperature 0, which are all the same. "
            "Give --set temperature=0.7, or --samples 1."
        )
    sampling = {**recipe.sampling, "logprobs": True, "top_logprobs": k}
    voices = [(role, sample) for sample in range(recipe.samples) for role in annotator.teachers]

    async def generated(item: Item, ask: Ask) -> Outcome:
        messages = list(read_prompt(item.row))
        answers = await together([ask(Request(messages, sampling, sample=each), to=role) for role, each in voices])
        records, arrays, dropped = list[Record](), list[Arrays](), dict[str, int]()
        for (role, sample), answer in zip(voices, answers, strict=True):
            found = UNFINISHED.get(answer.finish) or read_logprobs(answer, k, annotator.vocab_size(role))
            if isinstance(found, str):
                dropped[found] = dropped.get(found, 0) + 1
                continue
            records.append(_record(annotator, item, messages, answer, found, k, role, sample))
            arrays.append(Arrays(*encode(found.arrays)))
        if not records:
            return rejected(next(iter(dropped)), "", *(answer.text for answer in answers))
        return kept(*records, dropped=dropped)._replace(arrays=tuple(arrays))

    return generated


def _record(
    annotator: Annotator, item: Item, messages: Sequence[Any], answer: Answer, found: Spoken, k: int, role: str,
    sample: int,
) -> Record:  # fmt: skip
    described = annotator.described(role, "generated", found.tokens, tail=round(found.tail / found.tokens, 6))
    if not found.numbered:
        described.pop("tokenizer", None)  # its ids are not these
    columns = {
        "prompt": list(messages),
        "completion": [{"role": "assistant", "content": answer.text}],
        "features": described,
    }
    details = {
        "feature": {"of": "generated", "k": k},
        "sampling": dict(annotator.recipe.sampling),
        "sample": sample,
        "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
    return annotator.record(item, answer, columns, details, role=role, sample=sample)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was read of a reply's log-probabilities."""

    arrays: Mapping[str, Any]
    tokens: int
    tail: float
    """Mass outside the k, summed over the tokens."""
    numbered: bool
    """Whether ids are the model's own."""


@dataclass(slots=True)
class _Vocabulary:
    """Tokens as numbers: the server's ids where every token has one, else in the order in which they came."""

    numbered: bool
    seen: dict[bytes, int] = field(default_factory=dict)

    def number(self, entry: Mapping[str, Any]) -> int:
        if self.numbered:
            return int(entry["id"])
        return self.seen.setdefault(_bytes(entry), len(self.seen))


def read_logprobs(answer: Answer, k: int, vocab_size: int) -> Spoken | str:
    """The arrays of a reply's log-probabilities, or why there are none.

    `no-logprobs`: there are none, or an entry that is none, or more mass than 1. `unaligned`: the tokens do not spell
    the answer, as where a reasoning part was cut off it. `empty-completion`: there is no answer.
    """
    import numpy as np

    content = answer.logprobs.get("content") if isinstance(answer.logprobs, Mapping) else None
    if not isinstance(content, list) or not content or not all(map(_is_entry, content)):
        return "no-logprobs"
    if not answer.text.strip():
        return "empty-completion"
    if not _spells([_bytes(entry) for entry in content], answer.text):
        return "unaligned"
    every = [entry for token in content for entry in (token, *token["top_logprobs"])]
    size = vocab_size or 1 << 31
    words = _Vocabulary(all(type(entry.get("id")) is int and 0 <= entry["id"] < size for entry in every))
    own = [words.number(token) for token in content]
    ids = np.zeros((len(content), k), np.int64)
    steps = np.full((len(content), k), LEAST, np.uint16)
    tail = np.zeros(len(content))
    for at, token in enumerate(content):
        likely = _most_likely(token, words, k)
        ids[at, : len(likely)] = [number for number, _ in likely]
        steps[at, : len(likely)] = quantise(np.array([value for _, value in likely], np.float64))
        tail[at] = 1.0 - math.fsum(math.exp(value) for _, value in likely)
    if tail.min() < -ROUNDED:
        return "no-logprobs"
    tail = tail.clip(min=0.0)
    arrays: dict[str, Any] = {
        "tokens": np.array(own, np.int32),
        "chosen": quantise(np.array([_logprob(token) for token in content], np.float64)),
        "ids": narrow(ids, vocab_size if words.numbered else len(words.seen)),
        "logprobs": steps,
        "tail": tail.astype(np.float16),
    }
    if not words.numbered:
        arrays |= spell_out(list(words.seen))
    return Spoken(arrays, len(content), float(arrays["tail"].sum(dtype="float64")), words.numbered)


def _most_likely(token: Mapping[str, Any], words: _Vocabulary, k: int) -> list[tuple[int, float]]:
    """Numbers and log-probabilities at one token, the most likely first; a number that is listed twice counts once, and
    the token that was said as it was said."""
    found: dict[int, float] = {}
    for entry in token["top_logprobs"]:
        number = words.number(entry)
        found[number] = max(_logprob(entry), found.get(number, -math.inf))
    own = words.number(token)
    if own in found:
        found[own] = _logprob(token)
    return sorted(found.items(), key=lambda pair: -pair[1])[:k]


def _is_entry(entry: Any) -> bool:
    top = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
    return isinstance(top, list) and bool(top) and all(map(_is_token, (entry, *top)))


def _is_token(entry: Any) -> bool:
    logprob = entry.get("logprob") if isinstance(entry, Mapping) else None
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or math.isnan(logprob) or logprob > ROUNDED:
        return False
    data = entry.get("bytes")
    return isinstance(entry.get("token"), str) and (
        data is None or (isinstance(data, list) and all(type(each) is int and 0 <= each < 256 for each in data))
    )


def _bytes(entry: Mapping[str, Any]) -> bytes:
    data = entry.get("bytes")
    return bytes(data) if isinstance(data, list) else str(entry["token"]).encode("utf-8", "backslashreplace")


def _logprob(entry: Mapping[str, Any]) -> float:
    return min(0.0, float(entry["logprob"]))


def _spells(tokens: Sequence[bytes], text: str) -> bool:
    """Whether the tokens are the answer, the one that ends the turn and white space around it aside.

    What is no UTF-8 is written as any number of U+FFFD.
    """
    answer = _BROKEN.sub("\ufffd", text).strip()
    spoken = (b"".join(part).decode("utf-8", "replace") for part in (tokens, tokens[:-1]))
    return any(_BROKEN.sub("\ufffd", each).strip() == answer for each in spoken)

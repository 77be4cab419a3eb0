"""What OpenAI-compatible servers say about the tokens of a given text -> arrays of the k most likely tokens.

Two formats. `prompt_logprobs`, as vLLM gives it: for each token null (the first) or a table from ids, written as text,
to `{"logprob": …}`, and beside it the text's own ids as `prompt_token_ids`. `echo` with `logprobs`, from completions:
`tokens`, `token_logprobs` and `top_logprobs` of prompt and answer, with tokens spelled `token_id:N`. A table holds the
k most likely tokens and, where it is none of these, the text's own. Pure: knows no wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from distill_data.data.arrays import narrow, quantise

if TYPE_CHECKING:
    from numpy.typing import NDArray

Way = Literal["prompt_logprobs", "echo"]
_LARGEST = 2**31 - 1
_ROUNDING = 1e-3
"""By how much a log-probability may be above 0, and the mass of some tokens above 1."""
_NAMED = "token_id:"


class BadScores(Exception):
    """A body that holds no usable scores; the message says why."""


class Scores(NamedTuple):
    """What a server says about the tokens of a text from `start` on."""

    ids: list[int]
    """The ids of the whole text."""
    start: int
    likely: list[dict[int, float]]
    """For each token from `start`: log-probabilities by id, the token's own among them."""
    texts: list[str]
    """What these tokens say; empty where the server does not tell."""


def read_ids(data: Mapping[str, Any]) -> list[int]:
    """The ids of the text, from the body of a completion, raw or chat. Raises BadScores where there are none."""
    found = data["prompt_token_ids"] if data.get("prompt_token_ids") else _choice(data).get("prompt_token_ids")
    if not isinstance(found, list) or not found:
        raise BadScores("the reply has no prompt_token_ids")
    if not all(type(number) is int and 0 <= number <= _LARGEST for number in found):
        raise BadScores("prompt_token_ids are not token ids")
    return found


def read_prompt_logprobs(data: Mapping[str, Any], k: int, start: int = 1) -> Scores:
    """The scores of a body with `prompt_logprobs`. Raises BadScores."""
    tables = data["prompt_logprobs"] if data.get("prompt_logprobs") else _choice(data).get("prompt_logprobs")
    if not isinstance(tables, list):
        raise BadScores("the reply has no prompt_logprobs")
    ids = read_ids(data)
    if len(tables) != len(ids):
        raise BadScores(f"prompt_logprobs are of {len(tables)} tokens and prompt_token_ids of {len(ids)}")
    likely, texts = [], []
    for at in range(start, len(ids)):
        table = tables[at]
        if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
            raise BadScores(f"the entry of token {at} is no table of tokens")
        likely.append(_numbers({key: entry.get("logprob") for key, entry in table.items()}, ids[at], k, at))
        said = table[str(ids[at])].get("decoded_token")
        texts.append(said if isinstance(said, str) else "")
    return Scores(ids, start, likely, texts)


def read_echo(data: Mapping[str, Any], k: int, start: int = 1) -> Scores:
    """The scores of a body with `logprobs` of an echoed prompt; the answer after it is left out. Raises BadScores."""
    told = _choice(data).get("logprobs")
    if not isinstance(told, dict):
        raise BadScores("the reply has no logprobs")
    tokens, own, tables = (told.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not (isinstance(tokens, list) and isinstance(own, list) and isinstance(tables, list)):
        raise BadScores("logprobs lack one of tokens, token_logprobs and top_logprobs")
    if not len(tokens) == len(own) == len(tables):
        raise BadScores("tokens, token_logprobs and top_logprobs are not equally long")
    usage = data.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if type(count) is not int or not 0 < count <= len(tokens):
        raise BadScores(f"usage counts {count!r:.20} tokens of the prompt, and logprobs are of {len(tokens)} tokens")
    ids = [_id(token.removeprefix(_NAMED) if _is_named(token) else "") for token in tokens[:count]]
    likely = []
    for at in range(start, count):
        table = tables[at]
        if not isinstance(table, dict) or not all(map(_is_named, table)):
            raise BadScores(f"the entry of token {at} is no table of tokens spelled as {_NAMED}N")
        values = {key.removeprefix(_NAMED): value for key, value in table.items()}
        likely.append(_numbers({**values, str(ids[at]): own[at]}, ids[at], k, at))
    return Scores(ids, start, likely, [""] * len(likely))


READERS: Mapping[Way, Callable[[Mapping[str, Any], int, int], Scores]] = {
    "prompt_logprobs": read_prompt_logprobs,
    "echo": read_echo,
}
"""How a server scores to what reads it: body, k, and the first token that is wanted."""


def likelihood(scores: Scores, end: int) -> float:
    """The log-probability of all tokens from `start` to `end` together. Raises BadScores where one is above 0."""
    each = [likely[own] for likely, own in zip(scores.likely, scores.ids[scores.start : end], strict=False)]
    if max(each, default=0.0) > _ROUNDING:
        raise BadScores("the numbers are no log-probabilities: one is above 0")
    return math.fsum(each)


def topk_arrays(scores: Scores, k: int, end: int) -> tuple[dict[str, NDArray[Any]], float]:
    """The plain arrays of the tokens before `end`, with exactly k entries each, and the sum of the mass outside.

    Raises BadScores where the numbers are no log-probabilities.
    """
    import numpy as np

    tokens = np.array(scores.ids[scores.start : end], np.int32)
    ids = np.full((len(tokens), k + 1), -1, np.int64)
    logprobs = np.full((len(tokens), k + 1), -np.inf)
    for row, likely in enumerate(scores.likely[: len(tokens)]):
        ids[row, : len(likely)] = list(likely)
        logprobs[row, : len(likely)] = list(likely.values())
    order = np.lexsort((ids, -logprobs), axis=1)[:, :k]
    chosen = logprobs[np.arange(len(tokens)), (ids == tokens[:, None]).argmax(axis=1)]
    ids, logprobs = np.take_along_axis(ids, order, axis=1), np.take_along_axis(logprobs, order, axis=1)
    mass = np.exp(np.minimum(logprobs, _ROUNDING)).sum(axis=1)
    if max(logprobs.max(initial=0), mass.max(initial=0) - 1) > _ROUNDING:
        raise BadScores("the numbers are no log-probabilities: one is above 0, or together they are more than certain")
    tail = np.maximum(0, 1 - mass)
    arrays = {
        "tokens": tokens,
        "chosen": quantise(chosen),
        "ids": narrow(ids, 0),
        "logprobs": quantise(logprobs),
        "tail": tail.astype(np.float16),
    }
    return arrays, float(tail.sum())


def _numbers(table: Mapping[str, Any], own: int, k: int, at: int) -> dict[int, float]:
    """A token's table with ids and numbers instead of what JSON has."""
    if not all(type(value) in (float, int) and -1e9 < value < 1e9 for value in table.values()):
        raise BadScores(f"a log-probability at token {at} is no finite number")
    numbers = {_id(key): float(value) for key, value in table.items()}
    if own not in numbers:
        raise BadScores(f"the entry of token {at} does not hold the token itself")
    if not k <= len(numbers) <= k + 1:
        raise BadScores(f"the entry of token {at} holds {len(numbers)} tokens, and {k} were asked for")
    return numbers


def _choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _is_named(token: Any) -> bool:
    return isinstance(token, str) and token.startswith(_NAMED)


def _id(key: str) -> int:
    number = int(key) if key.isascii() and key.isdigit() and len(key) <= 10 else -1
    if str(number) != key or number > _LARGEST:
        raise BadScores("a token is not named by its id")
    return number

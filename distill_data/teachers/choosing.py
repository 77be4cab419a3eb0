"""Closed choices: how likely a model finds each option as its whole answer, and which one that makes it say.

An option's score is the log-probability of its tokens and of the token that ends the turn. Prompts are read once and
shared by their options, where the model's cache can be. Knows prompts and options as token ids; nothing about messages
and replies.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from distill_data.teachers import forward
from distill_data.teachers.batching import Proceed, go_on
from distill_data.teachers.sampling import Settings, gumbel, make_generator, shape

TOKENS = 4096
"""Tokens, of options and the prompts before them, that are held at a time."""
LOGITS = 1 << 26
"""Most logits that are held at a time."""


class Option(NamedTuple):
    """One of a row's options: the row's place, and the ids of the option up to the one that ends the turn."""

    row: int
    ids: Sequence[int]


class _Whole(NamedTuple):
    """A prompt with an option, which begins at `start`."""

    ids: Sequence[int]
    start: int


def score_options(
    model: Any, prompts: Sequence[Sequence[int]], options: Sequence[Option], proceed: Proceed = go_on
) -> list[float]:
    """For each option the log-probability of all its tokens after its row's prompt, at temperature 1."""
    import torch

    scores = []
    for option, logprobs in follow(model, prompts, options, proceed):
        ids = torch.tensor(option.ids, device=logprobs.device)
        scores.append(float(logprobs.gather(-1, ids[:, None]).sum()))
    return scores


def choose(scores: Sequence[float], prompt: Sequence[int], settings: Settings) -> int:
    """The place of the option that is said: the best, or above temperature 0 one drawn from the scores' softmax."""
    import torch

    shaped = shape(torch.tensor(scores, dtype=torch.float32), settings, ())
    if not settings.greedy:
        shaped = shaped + gumbel(make_generator(settings.seed, prompt, "cpu"), len(scores), "cpu")
    return int(shaped.argmax())


def follow(
    model: Any, prompts: Sequence[Sequence[int]], options: Sequence[Option], proceed: Proceed
) -> Iterator[tuple[Option, Any]]:
    """Each option, which are in the order of their rows, with the log-probabilities (tokens of the option, vocabulary)
    at each of its tokens."""
    import torch

    with torch.inference_mode():
        read = _read_after if forward.has_plain_cache(model) else _read_whole
        for option, logits in read(model, prompts, options, proceed):
            yield option, torch.log_softmax(logits[: len(option.ids)].float(), -1)


def _read_after(
    model: Any, prompts: Sequence[Sequence[int]], options: Sequence[Option], proceed: Proceed
) -> Iterator[tuple[Option, Any]]:
    """A prompt's last token is read with the option, since it predicts the option's first one."""
    for places in _shares(prompts):
        proceed()
        shared, mask = pad_left([prompts[place][:-1] for place in places], model.device)
        cache = model.base_model(
            input_ids=shared, attention_mask=mask, position_ids=positions(mask), use_cache=True
        ).cache
        asked = [option for option in options if option.row in places]
        for part in _parts(model, asked, shared.shape[1]):
            proceed()
            read = [[prompts[option.row][-1], *option.ids[:-1]] for option in part]
            logits = _continue(model, cache, mask, [option.row - places.start for option in part], read)
            yield from zip(part, logits, strict=True)


def _read_whole(
    model: Any, prompts: Sequence[Sequence[int]], options: Sequence[Option], proceed: Proceed
) -> Iterator[tuple[Option, Any]]:
    """Each option with its prompt: many states of a recurrent model cannot be shared."""
    import torch

    for part in _parts(model, options, max(map(len, prompts))):
        proceed()
        rows = [_Whole([*prompts[option.row], *option.ids], len(prompts[option.row])) for option in part]
        logits = torch.cat(list(forward.predictions(model, rows)))
        yield from zip(part, logits.split([len(option.ids) for option in part]), strict=True)


def pad_left(rows: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Ids and mask, (rows, longest row but at least 1), with id 0 where the mask is 0."""
    import torch

    width = max(1, *map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def positions(mask: Any) -> Any:
    """Where each token stands in its row, padding aside."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def _continue(model: Any, cache: Any, mask: Any, rows: Sequence[int], read: Sequence[Sequence[int]]) -> Any:
    """Logits (continuations, tokens, vocabulary) after the cached rows; past a continuation's end they mean nothing."""
    import torch

    width = max(map(len, read))
    ids = torch.tensor([[*each, *[0] * (width - len(each))] for each in read], device=model.device)
    new = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in read], device=model.device)
    chosen = torch.tensor(rows, device=model.device)
    past = copy.deepcopy(cache)
    past.batch_select_indices(chosen)
    whole = torch.cat([mask[chosen], new], -1)
    return model(
        input_ids=ids,
        attention_mask=whole,
        position_ids=positions(whole)[:, -width:],
        cache=past,
        use_cache=True,
    ).logits


def _shares(prompts: Sequence[Sequence[int]]) -> Iterator[range]:
    """Places of the prompts in order, in parts that memory has room for, of at least one each."""
    first = longest = 0
    for place, prompt in enumerate(prompts):
        longest = max(longest, len(prompt))
        if place > first and (place + 1 - first) * longest > TOKENS:
            yield range(first, place)
            first, longest = place, len(prompt)
    yield range(first, len(prompts))


def _parts(model: Any, options: Sequence[Option], shared: int) -> Iterator[list[Option]]:
    """The options in order, in parts that memory has room for, of at least one each."""
    vocabulary = model.config.get_text_config().vocab_size
    part: list[Option] = []
    longest = 0
    for option in options:
        longest = max(longest, len(option.ids))
        tokens = (len(part) + 1) * longest
        if part and (tokens + (len(part) + 1) * shared > TOKENS or tokens * vocabulary > LOGITS):
            yield part
            part, longest = [], len(option.ids)
        part.append(option)
    if part:
        yield part

"""How varied a set of texts is, and whether it became poorer from one round of self-training to the next.

Knows nothing about rounds, models and files.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from distill_data.quality.words import words

SEGMENT = 1_000
"""n-grams of one distinct-n. The share falls as a text grows, so sets are compared on pieces of one size."""

SEGMENTS = 200
"""Pieces at most, which bounds the time."""

COMPARED = 100
"""Texts of self-BLEU at most, each against all others of them."""

COMPARED_WORDS = 500
"""Words of each such text at most."""

DISTINCT_FALL = 0.20
"""Share of distinct_2 that may go: from one draw of texts to another it moves by a few percent, not by a fifth."""

SELF_BLEU_RISE = 0.10
"""Absolute: several times what another draw from the same texts, or half as many references, moves it by."""

LENGTH_CHANGE = 0.50
"""Share of mean_words: answers half as long lost their reasoning, and half as long again are filled up or don't end."""

MAJORITY_LEVEL = 0.98
"""Above this nearly all samples agree, right or wrong: votes no longer tell good answers from bad ones."""

MAJORITY_RISE = 0.15
"""Absolute: a round of training seldom makes a model right so much more often, so it is more certain instead."""

Tokens = Sequence[str]
Gram = tuple[str, ...]


def measure(texts: Iterable[str], most: int = 2000) -> dict[str, float]:
    """Measures of the first `most` texts, a function of these texts and their order alone, rounded to 4 decimals.

    `texts`: how many were measured. `mean_words`: words of a text. `distinct_1`, `distinct_2`: different n-grams ÷
    n-grams, the mean over pieces of 1,000 n-grams, at most 200 of them; a set that has fewer is one piece, and
    `pieces` is how many full ones there are for n = 2, so 0 where distinct_2 is higher for want of text alone.
    `self_bleu`: the mean BLEU-4 of up to 100 texts, each with the others as its references (Zhu et al. 2018, Texygen,
    arXiv:1802.01886), from 0.0, nothing shared, to 1.0. Texts are taken in an order drawn from their positions, so
    that the answers to one question don't stand side by side. Texts without words count in `texts` and `mean_words`.
    """
    found = [words(text) for text in islice(texts, most)]
    spread = [found[index] for index in sorted(range(len(found)), key=_place)]
    pairs = _grams(spread, 2)
    measured = {
        "mean_words": sum(map(len, found)) / len(found) if found else 0.0,
        "distinct_1": _distinct(_grams(spread, 1)),
        "distinct_2": _distinct(pairs),
        "self_bleu": self_bleu([tokens[:COMPARED_WORDS] for tokens in spread if tokens][:COMPARED]),
    }
    counts = {"texts": len(found), "pieces": len(pairs) // SEGMENT}
    return counts | {name: round(value, 4) for name, value in measured.items()}


def collapse(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """What has become poorer, a sentence for a person each; empty where nothing has.

    Both are what `measure` returns, and may have `majority_share`: the mean agreement of votes, from 0.0 to 1.0. A
    measure that one of them lacks is not compared, nor is one that depends on size where one set is too small for it:
    distinct_2 below a full piece, self_bleu where one has less than half the references of the other.
    """
    return [*_repeats(before, now), *_length(before, now), *_agreement(before, now)]


def _repeats(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    alarms = []
    old, new = before.get("distinct_2"), now.get("distinct_2")
    full = before.get("pieces", 0) and now.get("pieces", 0)
    if full and old and new is not None and round(1 - new / old, 4) > DISTINCT_FALL:
        alarms.append(
            f"Distinct word pairs fell by {1 - new / old:.0%}, from {old:.2f} to {new:.2f} (alarm above "
            f"{DISTINCT_FALL:.0%}): the texts repeat the same phrases. Mix in rows of earlier rounds or of people."
        )
    old, new = before.get("self_bleu"), now.get("self_bleu")
    fewer, more = sorted(min(each.get("texts", 0), COMPARED) - 1 for each in (before, now))
    if old is not None and new is not None and 2 * fewer >= more > 0 and round(new - old, 4) > SELF_BLEU_RISE:
        alarms.append(
            f"Self-BLEU rose by {new - old:.2f}, from {old:.2f} to {new:.2f} (alarm above {SELF_BLEU_RISE:.2f}): the "
            "texts resemble each other more. Sample at a higher temperature, or keep fewer texts of each question."
        )
    return alarms


def _length(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    old, new = before.get("mean_words"), now.get("mean_words")
    if old is None or new is None or round(abs(new - old), 4) <= LENGTH_CHANGE * old:
        return []
    return [
        f"The mean length went from {old:.1f} to {new:.1f} words (alarm at a change above {LENGTH_CHANGE:.0%}): look "
        "at some texts, whether the reasoning is gone, or they are filled up or cut off."
    ]


def _agreement(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    old, new = before.get("majority_share"), now.get("majority_share")
    if old is None or new is None:
        return []
    passed, rose = new > MAJORITY_LEVEL >= old, round(new - old, 4) > MAJORITY_RISE
    if not passed and not rose:
        return []
    limit = f"above {MAJORITY_LEVEL:.2f}" if passed else f"at a rise above {MAJORITY_RISE:.2f}"
    return [
        f"The share of samples that agree with the majority rose from {old:.2f} to {new:.2f} (alarm {limit}): the "
        "student may be certain rather than right. Check some answers against known ones before the next round."
    ]


def _place(index: int) -> bytes:
    """Where a text stands in the drawn order: more texts never change the order of those before."""
    return hashlib.sha256(b"%d" % index).digest()


def _grams(texts: Iterable[Tokens], n: int) -> list[Gram]:
    """The n-grams within each text, one text after the other, as many as are looked at."""
    every = (gram for tokens in texts for gram in zip(*(tokens[start:] for start in range(n)), strict=False))
    return list(islice(every, SEGMENT * SEGMENTS))


def _distinct(grams: Sequence[Gram]) -> float:
    """The mean over full pieces of different ÷ all; of all there are where that is less; 1.0 for none."""
    if not grams:
        return 1.0
    starts = range(0, max(1, len(grams) - SEGMENT + 1), SEGMENT)
    pieces = [grams[start : start + SEGMENT] for start in starts]
    return math.fsum(len(set(piece)) / len(piece) for piece in pieces) / len(pieces)


def self_bleu(texts: Sequence[Tokens]) -> float:
    """The mean BLEU-4 of each text against all others, precisions above one word smoothed by adding one to both parts.

    A text of fewer than four words has as many precisions as words. The reference length is that of the other text
    nearest in length, the shorter of two. 0.0 for fewer than two texts. Every text must have a word.
    """
    if len(texts) < 2:
        return 0.0
    logs = [[0.0, 0.0] for _ in texts]
    for n in range(1, 5):
        counts = [Counter(_grams([tokens], n)) for tokens in texts]
        top = _two_highest(counts)
        for precision, count, tokens in zip(logs, counts, texts, strict=True):
            if len(tokens) >= n:
                # The most that another text has: the second highest count where the highest is this text's own.
                shared = sum(min(own, top[gram][own == top[gram][0]]) for gram, own in count.items())
                added = n > 1
                ratio = (shared + added) / (count.total() + added)
                precision[0] += math.log(ratio) if ratio else -math.inf
                precision[1] += 1
    lengths = sorted(map(len, texts))
    scores = [
        _brevity(len(tokens), lengths) * math.exp(total / orders)
        for tokens, (total, orders) in zip(texts, logs, strict=True)
    ]
    return math.fsum(scores) / len(scores)


def _two_highest(counts: Iterable[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """n-gram to its two highest counts in a text, which are equal where two texts share the highest."""
    top: dict[Gram, tuple[int, int]] = {}
    for count in counts:
        for gram, times in count.items():
            first, second = top.get(gram, (0, 0))
            top[gram] = (times, first) if times > first else (first, max(second, times))
    return top


def _brevity(length: int, lengths: Sequence[int]) -> float:
    """BLEU's penalty for a text shorter than the reference; `lengths` are those of all texts, itself included."""
    own = bisect_left(lengths, length)
    others = [*lengths[max(0, own - 1) : own], *lengths[own + 1 : own + 2]]
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if nearest <= length else math.exp(1 - nearest / length)

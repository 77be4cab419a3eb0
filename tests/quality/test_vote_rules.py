"""Votes: the shortest prefix decides, as a reference that tries every future says."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality.votes import Decision, decide

CANDIDATES = ["a", "b", "c"]
VOTES = st.lists(st.sampled_from([*CANDIDATES, None]), max_size=6)


def plurality(votes: tuple[str | None, ...]) -> str:
    """The candidate ahead of all others, or empty."""
    ranked = Counter(vote for vote in votes if vote).most_common()
    return ranked[0][0] if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]) else ""


@given(VOTES, st.integers(1, 6))
def test_exact_decides_as_soon_as_no_future_changes_the_winner(votes: list[str | None], planned: int) -> None:
    decision = decide(votes, "exact", planned)
    # A newcomer "z" is the strongest rival of a lone candidate.
    for length in range(1, min(len(votes), planned) + 1):
        prefix = tuple(votes[:length])
        futures = itertools.product([*CANDIDATES, "z", None], repeat=planned - length)
        winners = {plurality(prefix + future) for future in futures}
        if len(winners) == 1 and ("" not in winners or length == planned):
            assert decision == Decision(winners.pop(), _agreement(prefix), length)
            return
    assert decision is None


def _agreement(prefix: tuple[str | None, ...]) -> float:
    cast = [vote for vote in prefix if vote]
    return max(Counter(cast).values()) / len(cast) if cast else 0.0


@given(st.lists(st.sampled_from([*CANDIDATES, None]), min_size=1, max_size=12), st.sampled_from(["exact", "lead"]))
def test_a_decision_stays_when_later_votes_arrive(votes: list[str | None], rule: str) -> None:
    planned = len(votes)
    decisions = [decide(votes[:length], rule, planned) for length in range(planned + 1)]
    final = decisions[-1]
    assert final is not None
    assert decisions == [None] * final.used + [final] * (planned + 1 - final.used)
    if rule == "exact":
        assert final.winner == plurality(tuple(votes))


@given(st.lists(st.sampled_from([*CANDIDATES, None]), max_size=12), st.integers(1, 12))
def test_lead_needs_four_votes_and_a_lead_of_three_or_the_whole_plan(votes: list[str | None], planned: int) -> None:
    decision = decide(votes, "lead", planned)
    expected = None
    for length in range(1, min(len(votes), planned) + 1):
        prefix = tuple(votes[:length])
        counts = [*sorted(Counter(vote for vote in prefix if vote).values(), reverse=True), 0, 0]
        if (sum(counts) >= 4 and counts[0] - counts[1] >= 3) or length == planned:
            expected = Decision(plurality(prefix), _agreement(prefix), length)
            break
    assert decision == expected


def test_examples() -> None:
    assert decide(["a", "a"], "exact", 5) is None
    assert decide(["a", "a", "a"], "exact", 5) == Decision("a", 1.0, 3)
    assert decide(["a", "a", "a"], "lead", 8) is None
    assert decide(["a", "a", "a", "a", "b"], "lead", 8) == Decision("a", 1.0, 4)
    assert decide(["a", None, "a", "b", "a", "a"], "lead", 8) == Decision("a", 0.8, 6)
    assert decide(["a", "b"], "exact", 2) == Decision("", 0.5, 2)
    assert decide(["b", "a", "a", None], "lead", 4) == Decision("a", 2 / 3, 4)
    assert decide([None, "", None], "lead", 3) == Decision("", 0.0, 3)
    assert decide([], "exact", 1) is None
    assert decide(["a", "b", "b"], "exact", 1) == Decision("a", 1.0, 1)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(UsageError, match=r"no stop rule 'leed'\. Did you mean 'lead'"):
        decide([], "leed", 3)
    with pytest.raises(ValueError, match="at least one sample"):
        decide([], "lead", 0)

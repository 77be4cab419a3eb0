"""When a vote is decided. Knows nothing about who votes or on what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill_data.parsing.arguments import look_up


@dataclass(frozen=True, slots=True)
class Decision:
    """How a vote ended."""

    winner: str
    """Empty where the plan is exhausted and no candidate is ahead of all others."""
    agreement: float
    """Votes of the first candidate ÷ votes in the prefix, from 0.0 (no votes at all) to 1.0."""
    used: int
    """Samples in the prefix that decided, those without a vote included."""


RULES: dict[str, Callable[[int, int, int], bool]] = {
    "exact": lambda lead, cast, left: lead > left,
    "lead": lambda lead, cast, left: cast >= 4 and lead >= 3,
}
"""A stop rule: (lead over the runner-up, votes cast, samples still to come) -> whether the vote is decided.

`exact`: whatever comes cannot change the winner. `lead`: a lead of 3 with at least 4 votes.
"""


def decide(votes: Sequence[str | None], rule: str, planned: int) -> Decision | None:
    """Decide on the shortest prefix of `votes` that satisfies the rule; None while more votes are needed.

    `votes` come in sample order and `planned` is how many there will be at most; later ones are not looked at. None or
    an empty text is a sample without a vote. Where the plan is exhausted the candidate with most votes wins; a tie has
    no winner. Raises UsageError for an unknown rule and ValueError for a plan below 1.
    """
    stop = look_up(RULES, rule, "stop rule")
    if planned < 1:
        raise ValueError("a vote needs a plan of at least one sample")
    tally: Counter[str] = Counter()
    for used, vote in enumerate(votes[:planned], start=1):
        if vote:
            tally[vote] += 1
        ahead = tally.most_common(2)
        most = ahead[0][1] if ahead else 0
        lead = most - (ahead[1][1] if len(ahead) > 1 else 0)
        if used == planned or stop(lead, tally.total(), planned - used):
            winner = ahead[0][0] if lead else ""
            return Decision(winner, most / tally.total() if most else 0.0, used)
    return None

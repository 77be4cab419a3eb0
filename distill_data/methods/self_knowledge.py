"""Self-knowledge: {(x, y, φ_sk(x, y)): y ∼ p_S(y | I ⊕ x)}. The student answers and annotates itself (Xu et al. 2024,
§3.1.6): it votes, verifies, rewards, refines.

    majority      every path that agrees with the vote (LMSI, arXiv:2210.11610)
    consistency   what the student answers alike however it is asked
    star          right answers, and wrong ones reasoned again from the right one (STaR, arXiv:2203.14465)
    rest          samples above a threshold that rises with the rounds (ReST, arXiv:2308.08998)
    shortest      the shortest right answer against the longest
    spin          the reference against the student's own answer (SPIN, arXiv:2401.01335)
    refine        answer, feedback, better answer (Self-Refine, arXiv:2303.17651)
    self-align    principles while answering, dropped from the row (Dromedary, arXiv:2305.03047)
    self-reward   new prompts, own answers, own scores (Self-Rewarding, arXiv:2401.10020); a growth
    instruct      the student's own instructions (Self-Instruct, arXiv:2212.10560); a growth
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.data.growth import Growth
from distill_data.data.items import Item
from distill_data.methods.annotating import Strategy
from distill_data.methods.expansion import self_instruct
from distill_data.methods.rationalising import make_rest, make_shortest, make_star
from distill_data.methods.refining import make_refine, make_self_align, make_spin
from distill_data.methods.self_rewarding import self_reward
from distill_data.methods.setup import Setup, make_setup
from distill_data.methods.voting import make_consistency, make_majority
from distill_data.recipes import Recipe

STRATEGIES: dict[str, Strategy] = {
    "majority": Strategy(make_majority, judged=False, samples=2),
    "consistency": Strategy(make_consistency, ("sft",), judged=False),
    "star": Strategy(make_star, judged=False, verified=True),
    "rest": Strategy(make_rest),
    "shortest": Strategy(make_shortest, ("preference",), judged=False, samples=2, verified=True),
    "spin": Strategy(make_spin, ("preference",), judged=False, gold=True),
    "refine": Strategy(make_refine, ("sft", "preference")),
    "self-align": Strategy(make_self_align, ("sft",), judged=False),
}
GROWTHS: dict[str, Callable[[Setup], Growth]] = {
    "self-reward": self_reward,
    "instruct": self_instruct,
}
"""Strategies that write x too."""


def make_self_growth(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Sequence[Item], seed: int, resample: int, *, answers: bool
) -> Growth:
    """The growth for one pass, in which the student writes x. Raises UsageError and SeedError."""
    return GROWTHS[recipe.strategy](make_setup(recipe, teachers, seeds, seed, resample, answers=answers))

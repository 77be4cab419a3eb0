"""Feedback: {(x, y, φ_fb(x, y; θ_T)): y ∼ p_S(y | x)}. The student answers, the teacher says what the answers are worth
(Xu et al. 2024, §3.1.5).

    rate          ratings of several aspects, with reasons (UltraFeedback, arXiv:2310.01377)
    rubric        feedback and a score by a rubric (Prometheus, arXiv:2310.08491)
    best-of-n     the best of several answers
    moderate      which principles an answer breaks
    compare       which of two answers is better, asked in both orders (RLAIF, arXiv:2309.00267)
    contrast      answers to a good and a bad prompt, no judge (RLCD, arXiv:2307.12950)
    critique      critique and revision by principles (Constitutional AI, arXiv:2212.08073)
    correct       the teacher repairs what a verifier refuses (PERsD, arXiv:2310.18628)
    steps         is each step of a solution still on a way to the right answer (Math-Shepherd, arXiv:2312.08935)
    adversarial   new instructions, about half of them hard for the student (Lion, arXiv:2305.12870); a growth
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.data.growth import Growth
from distill_data.data.items import Item
from distill_data.methods.adversarial import adversarial
from distill_data.methods.annotating import RANKED, Strategy
from distill_data.methods.comparing import make_comparing
from distill_data.methods.contrasting import make_contrasting
from distill_data.methods.critiquing import make_critiquing
from distill_data.methods.rating import make_best, make_moderating, make_rating, make_rubric
from distill_data.methods.repairing import make_correcting
from distill_data.methods.setup import Setup, make_setup
from distill_data.methods.stepwise import make_steps
from distill_data.recipes import Recipe

STRATEGIES: dict[str, Strategy] = {
    "rate": Strategy(make_rating),
    "rubric": Strategy(make_rubric, ("critique", *RANKED)),
    "best-of-n": Strategy(make_best),
    "moderate": Strategy(make_moderating),
    "compare": Strategy(make_comparing),
    "contrast": Strategy(make_contrasting, judged=False),
    "critique": Strategy(make_critiquing, ("preference", "sft", "critique"), canaries=False),
    "correct": Strategy(make_correcting, ("sft", "preference"), verified=True, canaries=False),
    "steps": Strategy(make_steps, ("steps",), verified=True, canaries=False),
}
GROWTHS: dict[str, Callable[[Setup], Growth]] = {"adversarial": adversarial}
"""Strategies that write x too."""


def make_feedback_growth(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Sequence[Item], seed: int, resample: int, *, answers: bool
) -> Growth:
    """The growth for one pass, in which the teacher writes x for the student. Raises UsageError and SeedError."""
    return GROWTHS[recipe.strategy](make_setup(recipe, teachers, seeds, seed, resample, answers=answers))

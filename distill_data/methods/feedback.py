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
    adversarial   new instructions, half of them hard for the student (Lion, arXiv:2305.12870); a growth
"""

from __future__ import annotations

from distill_data.methods.annotating import RANKED, Strategy
from distill_data.methods.comparing import make_comparing
from distill_data.methods.contrasting import make_contrasting
from distill_data.methods.critiquing import make_critiquing
from distill_data.methods.rating import make_best, make_moderating, make_rating, make_rubric

STRATEGIES: dict[str, Strategy] = {
    "rate": Strategy(make_rating),
    "rubric": Strategy(make_rubric, ("critique", *RANKED)),
    "best-of-n": Strategy(make_best),
    "moderate": Strategy(make_moderating),
    "compare": Strategy(make_comparing),
    "contrast": Strategy(make_contrasting, judged=False),
    "critique": Strategy(make_critiquing, ("preference", "sft", "critique"), canaries=False),
}
GROWTHS: dict[str, object] = {}

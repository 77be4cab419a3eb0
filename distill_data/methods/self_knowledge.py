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

from distill_data.methods.annotating import Strategy

STRATEGIES: dict[str, Strategy] = {}
GROWTHS: dict[str, object] = {}

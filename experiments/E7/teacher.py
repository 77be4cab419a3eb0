"""E7's scripted judge: it scores an answer from 1 to 5 by its worth, and errs by as much as answers differ."""

from __future__ import annotations

import json
import re
from random import Random

from experiments.E7.letters import worth

ERROR = 1.0
"""Standard deviation of what it takes an answer for, around its worth; answers themselves have 1."""
STEP = 0.8
"""How much more worth a further point is."""


def reply(model: str, text: str, sample: int) -> str:
    """A verdict on the answer that is shown; on the same answer always the same."""
    shown = re.search(r'<<<\w+\n"(\w+)"\n', text)
    mark = re.search(r'"mark": "(\w+)"', text)
    assert shown and mark
    seen = worth(shown[1]) + Random(f"{model} {shown[1]}").gauss(0, ERROR)
    return json.dumps(
        {"mark": mark[1], "rationale": "By its letters.", "score": min(5, max(1, round(3 + seen / STEP)))}
    )

"""E2's scripted judges: each sees how positive a text is with an error of its own, and prefers what stands first.

`random` sees nothing. The ratings of people are read from the file that the variable RATINGS names.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from random import Random

from experiments.E2.people import mean

ERROR = 1.0
"""Standard deviation of what a judge takes a text for, around people's mean."""
FIRST = 1.0
"""How much more positive a text seems that stands first."""
TIE = 0.25
"""What is closer than that is a tie."""

RATINGS = json.loads(Path(os.environ["RATINGS"]).read_bytes())


def seen(judge: str, text: str) -> float:
    """What a judge takes a text for; the same each time."""
    return mean(RATINGS[text]) + Random(f"{judge} {text}").gauss(0, ERROR)


def reply(model: str, text: str, sample: int) -> str:
    """A verdict on the two answers that are shown."""
    one, other = (json.loads(shown) for shown in re.findall(r'<<<\w+\n(".*")\n', text))
    mark = re.search(r'"mark": "(\w+)"', text)
    names = re.search(r'"better": "(\w)" or "(\w)"', text)
    assert mark and names
    more = Random(text).uniform(-9, 9) if model == "random" else seen(model, one) - seen(model, other) + FIRST
    better = "tie" if abs(more) < TIE else names[1] if more > 0 else names[2]
    return json.dumps({"mark": mark[1], "better": better})

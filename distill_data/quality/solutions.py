"""When two worked solutions are the same reasoning. Knows nothing about whether it is right."""

from __future__ import annotations

import re

from distill_data.parsing.folding import fold, narrow
from distill_data.quality.words import words

_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "{": " ", "}": " "})
_LETTER_X = re.compile(r"(?<=[0-9)]) ?[xX] ?(?=[0-9($])|\\times|\\cdot")
_RUN = re.compile(r"[-0-9.,()+*/^%$= ]+")
_BETWEEN_NUMBERS = re.compile(r"(?<=[0-9.,)]) +(?=[0-9($])")
_BULLET = re.compile("^ *[-*] ")
_DIGIT = re.compile("[0-9]")


def same_reasoning_key(text: str) -> str:
    """Equal for solutions that calculate the same: the list of equations in order, or, without any, the words.

    An equation is a run of numbers and operators around `=`; spaces, currency signs and thousands separators in it do
    not count, nor does the text between equations. A text without equations and without words is its own folded self.
    """
    plain = _LETTER_X.sub("*", narrow(text).translate(_SIGNS))
    runs = [part for run in _RUN.findall(plain) if "=" in run for part in _BETWEEN_NUMBERS.split(run)]
    equations = [equation for run in runs if (equation := _equation(run))]
    if equations:
        return "equations " + "; ".join(equations)
    return "words " + (" ".join(words(text)) or fold(text).strip())


def _equation(run: str) -> str:
    bare = re.sub("[ $,]", "", _BULLET.sub("", run)).lstrip("+*/^).").rstrip("-+*/^(.")
    sides = bare.split("=")
    return bare if len(sides) > 1 and all(_DIGIT.search(side) for side in sides) else ""

"""Contrasting: two answers that differ because the prompts did (RLCD, Yang et al., arXiv:2307.12950).

One student answers the block `main` twice: with an `affix` that asks for a good answer in one respect, and with one
that asks for a bad one in the same respect. Which answer is better follows from how it was made, so nobody judges. The
row shows the prompt without either. Knows no kind of record.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.attempts import draw_student
from distill_data.methods.judging import draws
from distill_data.methods.panel import Answers, Panel, together
from distill_data.methods.responses import Annotate, Judged, Response

STUDENT = "student"


def make_contrasting(panel: Panel) -> Annotate:
    """The strategy `contrast`. Raises UsageError for answers from a column, a recipe without the block `student`, and
    affixes that are no pairs."""
    recipe = panel.recipe
    if panel.column:
        raise UsageError(f"the recipe {recipe.name} makes its own answers, good and bad ones; leave out --answers.")
    if STUDENT not in recipe.blocks:
        raise UsageError(f"{recipe.path}: the strategy contrast needs the block student: the prompt without the affix.")
    affixes = _affixes(panel)
    good, bad = range(0, 2 * panel.samples, 2), range(1, 2 * panel.samples, 2)  # the same with more samples

    async def contrast(item: Item, ask: Ask) -> Judged:
        number = draws(item, "affix").randrange(len(affixes))
        positive, negative = affixes[number]
        student = [draw_student(panel, item)]
        better, worse = await together(
            [
                panel.answers(item, ask, shown={"affix": positive}, samples=good, students=student),
                panel.answers(item, ask, shown={"affix": negative}, samples=bad, students=student),
            ]
        )
        raw, dropped = better.raw + worse.raw, better.dropped + worse.dropped
        same = _texts(better) & _texts(worse)
        scored = [*_scored(better, same, 1.0), *_scored(worse, same, 0.0)]
        dropped["same-answer"] = len(better.responses) + len(worse.responses) - len(scored)
        judged = Judged(panel.prompt(item), tuple(scored), details={"affix": number}, dropped=+dropped, raw=raw)
        if len({each.score for each in scored}) == 2:
            return judged
        return judged._replace(reason=better.reason or worse.reason or "same-answer")

    return contrast


def _affixes(panel: Panel) -> list[tuple[str, str]]:
    """Positive and negative affix of each respect, as the settings have them."""
    sides = [panel.setting(name, []) for name in ("positive", "negative")]
    for name, side in zip(("positive", "negative"), sides, strict=True):
        if not isinstance(side, list) or not side or not all(isinstance(text, str) and text.strip() for text in side):
            raise UsageError(f"{panel.recipe.path}: the setting {name} must be a list of texts, at least one.")
    if len(sides[0]) != len(sides[1]):
        raise UsageError(
            f"{panel.recipe.path}: there are {len(sides[0])} positive affixes and {len(sides[1])} negative ones; "
            "the first of each is about the same thing, and so on."
        )
    return list(zip(*sides, strict=True))


def _texts(answers: Answers) -> set[str]:
    return {each.text.strip() for each in answers.responses}


def _scored(answers: Answers, same: set[str], score: float) -> list[Response]:
    """The answers that the other side doesn't have too."""
    return [each._replace(score=score, good=score > 0) for each in answers.responses if each.text.strip() not in same]

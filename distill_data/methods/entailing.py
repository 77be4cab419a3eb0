"""Entailment: an answer is right where a judge says that the right answer follows from it, whatever its words.

The verifier `entailment` of recipes with a stage `entails`, whose parser is `choice: [yes, no]`: its block sees the
answer in a fence and the right one as `gold`. Without a verdict the whole item fails, rather than to count as right or
as wrong. Knows no strategy.
"""

from __future__ import annotations

from dataclasses import replace

from distill_data.data.exchange import Ask
from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError, VerifierFailed
from distill_data.methods.judging import Candidate, allowed_by, ask_judge, fence
from distill_data.methods.panel import Panel
from distill_data.quality import BY_JUDGE

ENTAILS, YES = "entails", "yes"


def verified_by_judge(panel: Panel) -> Panel:
    """The panel, with its judge as verifier where the recipe says so. Raises UsageError where the stage is missing."""
    verifier = panel.recipe.verifier
    if panel.right is not None or verifier is None or verifier.name != BY_JUDGE:
        return panel
    stage = panel.recipe.stages.get(ENTAILS)
    if stage is None or stage.parser.name != "choice" or YES not in panel.stages.readers[ENTAILS].labels:
        raise UsageError(
            f"{panel.recipe.path}: the verifier {BY_JUDGE} needs the stage {ENTAILS}: add a block {ENTAILS}, and "
            f"{ENTAILS}: {{parser: {{choice: [yes, no]}}}} under `stages`, yes and no in quotes."
        )

    async def right(answer: str, row: Row, ask: Ask) -> bool:
        gold = str(row.get(panel.recipe.gold) or "").strip()
        if not gold:
            raise SeedError(f"the verifier needs the right answer, and the column {panel.recipe.gold} is empty")
        shown = {"gold": gold}
        candidate = Candidate("K", fence(answer))
        verdict = await ask_judge(
            panel, ask, ENTAILS, row, [candidate], allowed_by(panel, ENTAILS), shown, to=panel.judge
        )
        if verdict.reason:
            raise VerifierFailed(f"the judge gave no verdict on whether the right answer follows: {verdict.reason}")
        return bool(verdict.fields["verdict"] == YES)

    return replace(panel, right=right)

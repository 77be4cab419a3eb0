"""What each recipe asks and what it makes of the answers, written down: seed rows, scripted replies, and what came.

In each `COMMAND/RECIPE/`, by hand: `seeds.jsonl`, and `replies.json`, which has for each row a list with what the
teacher says for each sample; a list in its place is what it says at each attempt. By `python -m tests.golden`, and to
be read before they are committed: `prompts.json`, the messages of each row's first request, `records.jsonl` and
`rejects.jsonl`.
"""

from __future__ import annotations

import json
from pathlib import Path

from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import load_recipe
from tests.golden.growth import play_growth
from tests.golden.judged import play_judged
from tests.golden.known import play_knowledge
from tests.golden.scored import play_scores
from tests.methods.scripted import Scripted, outcome_of

GOLDEN = Path(__file__).parent
MAKERS = {"label": make_labeling}


def folders() -> list[str]:
    """`label/annotate` and so on, sorted."""
    return sorted(str(path.parent.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*/seeds.jsonl"))


def play(folder: str) -> dict[str, bytes]:
    """Name to content of the files that follow from the seeds and the replies."""
    command, name = folder.split("/")
    if (GOLDEN / folder / "growth.json").is_file():
        return play_growth(GOLDEN / folder, command, name)
    if (GOLDEN / folder / "plan.json").is_file():
        return play_judged(GOLDEN / folder, command, name)
    if (GOLDEN / folder / "knowledge.json").is_file():
        return play_knowledge(GOLDEN / folder, name)
    if command == "score":
        return play_scores(GOLDEN / folder, name)
    recipe = load_recipe(name, command)
    method = MAKERS[command](recipe, {"teacher": "scripted"}, [], 1)
    items = list(make_items(read_rows(open_seeds(GOLDEN / folder / "seeds.jsonl")), 0))
    replies = json.loads((GOLDEN / folder / "replies.json").read_bytes())
    prompts, lines = [], {"kept": b"", "rejected": b""}
    for item, said in zip(items, replies, strict=True):
        teacher = Scripted({"teacher": said})
        outcome = outcome_of(method, item, teacher)
        prompts.append(teacher.requests[0].messages)
        lines[outcome.status] += encode_outcome(item, outcome).split(b"\n", 1)[1]
    return {
        "prompts.json": json.dumps(prompts, indent=2, ensure_ascii=False).encode() + b"\n",
        "records.jsonl": lines["kept"],
        "rejects.jsonl": lines["rejected"],
    }

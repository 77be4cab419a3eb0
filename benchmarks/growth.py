"""What growing a pool costs with a teacher that is free: `expand -r self-instruct` to 20,000 rows, in one process.

    python benchmarks/growth.py                 20,000 rows
    python benchmarks/growth.py --rows 5000     fewer

The teacher is a function: it lists eight texts of benchmarks/rouge.py's generator and answers every other question with
a fixed text, so all that is measured is ours: drawing, prompts, parsing, checks, ROUGE-L against all kept texts,
records. No journal and no network. Wall time of this process, for each quarter of the rows.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.rouge import instructions  # noqa: E402
from distill_data.commands.work import InRounds  # noqa: E402
from distill_data.data.exchange import Answer, Ask, Request  # noqa: E402
from distill_data.data.items import Item, Outcome  # noqa: E402
from distill_data.data.seeds import make_items, open_seeds, read_rows  # noqa: E402
from distill_data.errors import DistillError  # noqa: E402
from distill_data.methods.expansion import make_expansion  # noqa: E402
from distill_data.recipes import apply_settings, load_recipe, seed_path  # noqa: E402

WIDTH = 64


def free_teacher() -> Ask:
    """Eight new texts where a list is asked for, else what the question wants."""
    texts = instructions(3)

    async def ask(request: Request, to: str = "teacher") -> Answer:
        asked = request.messages[-1]["content"]
        if request.choices:
            said = request.choices[-1]
        elif "Here is a task" in asked:
            said = '{"input": "", "output": "a short text"}'
        else:
            said = "\n".join(f"{number}. Say {next(texts)}" for number in range(1, 9))
        return Answer(said, "", "stop", "free", 10, 10)

    return ask


def refuse(error: DistillError) -> None:
    raise error


async def grow(rows: int, neighbours: bool) -> None:
    recipe = apply_settings(load_recipe("self-instruct", "expand"), {"neighbours": str(neighbours).lower()})
    seeds = list(make_items(read_rows(open_seeds(seed_path("@tasks"))), 0))
    growth = make_expansion(recipe, {"teacher": "free"}, seeds, 0, 0, answers=True)
    work, ask, marks = InRounds(growth, rows, 10 * rows, 0), free_teacher(), [time.perf_counter()]

    def finish(item: Item, outcome: Outcome) -> None:
        if outcome.status == "kept" and work.grown.kept % (rows // 4) == 0:
            marks.append(time.perf_counter())

    await work.run(lambda owner: ask, finish, WIDTH, lambda: False, refuse)
    quarters = [(after - before) / (rows // 4) * 1000 for before, after in itertools.pairwise(marks)]
    what = "with the 10 nearest of each" if neighbours else "yes or no only"
    print(f"  {what:28} {' '.join(f'{each:8.3f}' for each in quarters)}", end="")
    print(f"   {work.grown.candidates:,} candidates, {marks[-1] - marks[0]:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    print(f"growing to {rows:,} rows, ms per accepted row in each quarter")
    for neighbours in (False, True):
        asyncio.run(grow(rows, neighbours))


if __name__ == "__main__":
    main()

"""Does asking in both orders judge better than asking once? Measured against what people said.

    python benchmarks/human_pairs.py [--pairs 60] [-t local/smollm2] [--soft]

Pairs of short texts of which twenty people said how positive they are (see tests/human_ratings.py; fetched with pip,
never kept). `feedback -r compare` is asked which one is better at being positive, in both orders. Printed: how often
the first order alone agrees with people, how often both orders do, where they name a winner, and how often they
contradict each other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from distill_data.commands import Options, feedback  # noqa: E402
from tests.human_ratings import Pair, fetch, pairs, read_rated  # noqa: E402

ASKED = "Say what you think of something that you saw, used or read, and be as positive about it as you can."
CRITERION = "Better is the answer that is more positive about what it speaks of."


class Agreement(NamedTuple):
    """How verdicts compare with people's."""

    pairs: int
    understood: int
    """Pairs with a verdict in both orders."""
    once: float
    """Points of the first order alone: 1 for people's choice, 0.5 for a tie; a mean over the understood ones."""
    both: float
    """The same for both orders together."""
    decided: int
    """Pairs of which both orders name the same winner."""
    right: int
    """Of these, those whose winner is people's."""
    flips: int
    """Pairs whose two orders contradict each other."""


def compare(chosen: list[Pair], folder: Path, teacher: str, *, soft: bool) -> Agreement:
    """Ask the judge about these pairs. People's choice stands first in every other one."""
    seeds, out = folder / "pairs.jsonl", folder / "compared.jsonl"
    rows = [
        {
            "instruction": ASKED,
            "answers": [pair.better, pair.worse] if n % 2 == 0 else [pair.worse, pair.better],
            "n": n,
        }
        for n, pair in enumerate(chosen)
    ]
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"criterion": CRITERION, "rationale": "false", "soft": str(soft).lower()}
    options = Options(teachers=(teacher,), answers_column="answers", kind="ranked", settings=settings, max_failed=1.0)
    feedback(str(seeds), recipe="compare", output=str(out), options=options)
    return _agreement(chosen, out)


def _agreement(chosen: list[Pair], out: Path) -> Agreement:
    once = both = 0.0
    understood = decided = right = flips = 0
    for line in out.read_bytes().split(b"\n")[:-1]:
        record = json.loads(line)
        (compared,) = json.loads(record["meta"]["details"])["comparisons"]
        ((one, other),) = compared["heard"]
        number, pair = next(
            (n, pair) for n, pair in enumerate(chosen) if frozenset(pair) == frozenset(record["responses"])
        )
        sign = 1 if number % 2 == 0 else -1
        understood += 1
        once += (1 + SIDES[one["said"]] * sign) / 2
        flips += one["said"] != other["said"]
        best, worst = record["scores"]
        winner = 0 if best == worst else 1 if record["responses"][0] == pair.better else -1
        both += (1 + winner) / 2
        decided += winner != 0
        right += winner > 0
    return Agreement(
        len(chosen), understood, once / max(1, understood), both / max(1, understood), decided, right, flips
    )


SIDES = {"first": 1, "tie": 0, "second": -1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("-t", "--teacher", default="local/smollm2")
    parser.add_argument("--soft", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="human-") as name:
        chosen = pairs(read_rated(fetch(Path(name))), options.pairs)
        found = compare(chosen, Path(name), options.teacher, soft=options.soft)
    print(f"{found.pairs} pairs, {found.understood} with a verdict in both orders")
    print(f"one order:   {100 * found.once:.1f} % of people's choices (a tie counts half)")
    print(f"both orders: {100 * found.both:.1f} %")
    print(f"both orders name a winner for {found.decided}, and it is people's for {found.right}")
    print(f"flips: {found.flips} of {found.understood} ({100 * found.flips / max(1, found.understood):.1f} %)")


if __name__ == "__main__":
    main()

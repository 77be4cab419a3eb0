"""Instructions of which it is known which are said again, junk, or items of a benchmark: those of tests/planted.py.

    python -m experiments.E5.planted rows --seed 0 --rows 1000 > rows.jsonl
    python -m experiments.E5.planted benchmark > benchmark.jsonl

Of the rows 30 % say an earlier one again in other words, 10 % have a junk answer, 1 % hold an item of the benchmark,
and 12 % look like another row and ask for something else. Knows no command.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.planted import Truth, plant


def truth(seed: int, rows: int) -> dict[str, Truth]:
    """What each row is, by its id."""
    return plant(rows, seed).truth


def main() -> None:
    parser = argparse.ArgumentParser(description="Write rows with planted faults, or the benchmark, as JSON lines.")
    parser.add_argument("which", choices=("rows", "benchmark"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=100)
    options = parser.parse_args()
    planted = plant(options.rows, options.seed)
    lines = planted.rows if options.which == "rows" else planted.benchmark
    sys.stdout.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()

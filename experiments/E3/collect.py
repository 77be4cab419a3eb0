"""E3's results: how right rows are that were taken as they came, by vote, or by a verifier; then their students."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.collect import Student, make_parser, parse_sizes, read_arms
from experiments.E3.rows import agreement, read_rows, right, well_reasoned
from experiments.page import draw_figure
from experiments.results import Arm, write_results

THRESHOLDS = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0)
KINDS = {"raw": "raw", "votes": "most votes", "majority": "agreement of half", "verified": "verified"}
"""Files of rows, and what they are called."""
SHARE = "kept of all questions"


def row_arms(folder: Path, seeds: Sequence[int]) -> list[Arm]:
    """Of each file, the share of rows with a right answer and of those with right reasons; over the threshold, how many
    are right, and how many questions have a row."""
    made = []
    for what, is_right in (("rows", right), ("reasons", well_reasoned)):
        for kind, told in KINDS.items():
            files = [read_rows(folder / f"{kind}-{seed}.jsonl") for seed in seeds]
            made.append(Arm(f"{what}: {told}", 0, [[is_right(row) for row in rows] for rows in files]))
    votes = [read_rows(folder / f"votes-{seed}.jsonl") for seed in seeds]
    asked = [len(read_rows(folder / f"questions-{seed}.jsonl")) for seed in seeds]
    for least in THRESHOLDS:
        kept = [[row for row in rows if agreement(row) >= least] for rows in votes]
        made.append(Arm("right of the kept", least, [[right(row) for row in rows] for rows in kept]))
        shares = [[1.0] * len(rows) + [0.0] * (count - len(rows)) for rows, count in zip(kept, asked, strict=True)]
        made.append(Arm(SHARE, least, shares))
    return made


def main() -> None:
    options = make_parser().parse_args()
    seeds = list(dict.fromkeys(Student.named(stem).seed for stem in options.students))
    students = [
        Arm(f"student: {arm.name}", 0, arm.scores) for arm in read_arms(options.folder, "exact", options.students)
    ]
    write_results("E3", [*row_arms(options.folder, seeds), *students], options.command, parse_sizes(options.size))
    draw_figure("E3")


if __name__ == "__main__":
    main()

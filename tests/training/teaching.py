"""Does an objective teach? Each case trains a student on its rows, and another on the same rows with labels that were
permuted; a metric on held-out rows has to be better than the untrained student's and than this control's.

    python -m tests.training.teaching [NAMES] [--seeds 3] [--json FILE]

Cases stand in cases_*.py beside this file, each with a tuple CASES. Exits with 1 where one does not teach.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from distill_data.commands.train import TINY, Training, train
from distill_data.training.jobs import Loop
from distill_data.training.objectives import find_objective
from tests.system.command import read_jsonl

TRAIN, HELD = "train.jsonl", "held.jsonl"

Write = Callable[[Path, int], None]
"""(a folder that is there and empty, seed): writes train.jsonl, with its side files where arrays are needed, and
held.jsonl."""
Metric = Callable[[Path, Path], float]
"""(folder of a student, held.jsonl) to a number, higher is better."""


class Case(NamedTuple):
    """An objective, what it learns from, and how it is seen that it has learned."""

    objective: str
    measures: str
    """What the metric is, in a few words."""
    make: Write
    shuffle: Write
    """The control: as `make` with equal seeds, but with permuted labels. See `permuted`."""
    metric: Metric
    settings: Mapping[str, str] = {}
    loop: Loop = Loop(steps=150, batch=16, max_length=128)
    models: Callable[[Path, int], Mapping[str, str]] = lambda folder, seed: {}
    """(the folder of the rows or of the control's, seed) to `student`, `teacher` and `reward` as the options of `train`
    name them; what it makes may lie beside the rows. The student is what is trained from, `tiny` where it is not said;
    the rows' and the control's must be equals."""
    rises: str = ""
    """What of the history has to rise, where no loss has to fall: of `rl` it is `reward`."""


class Lesson(NamedTuple):
    """What one seed has shown."""

    objective: str
    measures: str
    seed: int
    losses: tuple[float, float]
    """At the beginning and at the end, of the rows as they are; of what has to rise, less than 0 as a loss is."""
    untrained: float
    control: float | None
    """None where no control was trained."""
    trained: float

    @property
    def teaches(self) -> bool:
        """Whether the loss falls and the metric is better than both."""
        better = self.trained > max(self.untrained, self.untrained if self.control is None else self.control)
        return better and self.losses[1] < self.losses[0]


def permuted(make: Write, *columns: str) -> Write:
    """A control: the rows that `make` writes, with these columns moved together to other rows."""

    def write(folder: Path, seed: int) -> None:
        make(folder, seed)
        rows = read_jsonl(folder / TRAIN)
        order = list(range(len(rows)))
        Random(seed).shuffle(order)
        moved = [{**row, **{name: rows[at][name] for name in columns}} for row, at in zip(rows, order, strict=True)]
        write_rows(folder / TRAIN, moved)

    return write


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """As JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def teach(case: Case, folder: Path, seed: int, control: bool = True) -> Lesson:
    """Train on the rows, and on the control's, and measure."""
    rows, others, other = folder / "rows", folder / "control", None
    case.make(_new(rows), seed)
    models = {"student": TINY, **case.models(rows, seed)}
    trained, losses = _train(case, models, rows, seed)
    begin = models["student"]
    untrained = _save_untrained(case, folder / "untrained", seed) if begin == TINY else Path(begin)
    held = rows / HELD
    if control:
        case.shuffle(_new(others), seed)
        other = case.metric(_train(case, {"student": TINY, **case.models(others, seed)}, others, seed)[0], held)
    found = case.metric(untrained, held), other, case.metric(trained, held)
    return Lesson(case.objective, case.measures, seed, losses, *found)


def _train(case: Case, models: Mapping[str, str], rows: Path, seed: int) -> tuple[Path, tuple[float, float]]:
    training = Training(objective=case.objective, settings=case.settings, loop=replace(case.loop, seed=seed), **models)
    done = train(str(rows / TRAIN), training, str(rows / "trained"))
    told = [each for each in done.result["history"] if "loss" in each]
    losses = [-each[case.rises] if case.rises else each["loss"] for each in told]
    tenth = max(1, len(losses) // 10)
    return done.folder, (sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth)


def _save_untrained(case: Case, folder: Path, seed: int) -> Path:
    from distill_data.training.students import make_tiny, make_tokenizer, save_student

    student = make_tiny(make_tokenizer(), seed, find_objective(case.objective).head)
    save_student(student.model, student.tokenizer, folder)
    return folder


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def all_cases() -> list[Case]:
    """In the order of the files' names."""
    here = Path(__file__).parent
    modules = (import_module(f"tests.training.{path.stem}") for path in sorted(here.glob("cases_*.py")))
    return [case for module in modules for case in module.CASES]


def lessons(cases: Sequence[Case], seeds: int) -> Iterator[Lesson]:
    """Every case with every seed, from 0."""
    for case in cases:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                yield teach(case, Path(folder), seed)


def main() -> int:
    """Print a line for each lesson as it is given."""
    parser = argparse.ArgumentParser(description="Which objectives teach a tiny student?")
    parser.add_argument("names", nargs="*", metavar="NAMES", help="objectives; all without")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    cases = [case for case in all_cases() if not given.names or case.objective in given.names]
    put(f"{'objective':<13} seed  {'loss':<15}  untrained  control  trained  teaches  metric")
    found = []
    for lesson in lessons(cases, given.seeds):
        found.append(lesson)
        losses = "{:.3f} -> {:.3f}".format(*lesson.losses)
        numbers = f"{lesson.untrained:9.3f}  {lesson.control:7.3f}  {lesson.trained:7.3f}"
        verdict = "yes" if lesson.teaches else "NO"
        put(f"{lesson.objective:<13} {lesson.seed:>4}  {losses:<15}  {numbers}  {verdict:>7}  {lesson.measures}")
    if given.json:
        rows = [{**lesson._asdict(), "teaches": lesson.teaches} for lesson in found]
        given.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if found and all(lesson.teaches for lesson in found) else 1


def put(line: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

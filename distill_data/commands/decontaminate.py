"""`decontaminate`: keep the rows that hold no item of a benchmark, or tell which ones do. Asks no model.

The dataset is read twice: once to look for items, and once to keep rows, because what is common is only known after
all rows were looked at. The benchmarks are held in memory, and of the dataset only what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import orjson

from distill_data.commands.rows import Done, Source, Step, Verdict, keep_rows, opened, outputs_of, with_place
from distill_data.data.columns import make_text, text_of, value_at, y_of
from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.quality.benchmarks import Item, Question, make_items
from distill_data.quality.contamination import Match, Rules, make_look, settle
from distill_data.quality.shingles import SHINGLE

METHODS = ("ngram", "substring")
ROLES = ("x", "y")
LONGEST = 100
"""Words of an n-gram, of which a text has as many copies in memory."""


class Search(NamedTuple):
    """What is looked for, where, and by which rule."""

    against: Sequence[str]
    """Benchmarks: paths, `@NAME` or `-`."""
    on: str = "x+y"
    """Columns of the dataset that are looked at, each by itself."""
    benchmark_on: str = "x"
    """What of a benchmark's row must not be in the dataset."""
    answer: str = ""
    """The benchmark's column with the answer; empty for what is answered (y), where it is known."""
    rules: Rules = Rules()
    """Made by `make_rules`."""

    def settings(self) -> dict[str, Any]:
        """For a manifest."""
        read = {"on": self.on, "benchmark_on": self.benchmark_on, "answer": self.answer}
        return {**read, **self.rules._asdict()}


class Finding(NamedTuple):
    """A row that holds items of benchmarks."""

    line: int
    benchmark: str
    """Of the item of which most is there."""
    benchmark_line: int
    rule: str
    """`verbatim`, `edited`, `coverage`, `short` or `substring`: see `quality.contamination`."""
    share: float
    """Of the item's words that are there."""
    text: str
    """What is there, as it stands in the row; at most 300 characters."""
    items: int
    """How many items the row holds."""

    def detail(self) -> str:
        """For the rejects: JSON without the row's own place."""
        facts = self._asdict()
        del facts["line"]
        return orjson.dumps(facts).decode()


class Contamination(NamedTuple):
    """What was found in a dataset."""

    rows: int
    findings: Mapping[int, Finding]
    """By the ordinal of the row, from 0."""
    benchmarks: list[dict[str, Any]]
    """For each: name, items, hit, share (of its items that were hit), rows (of the dataset that hold one)."""


def find_contamination(source: str, search: Search) -> Contamination:
    """Which rows of a dataset hold items of benchmarks. Writes nothing. Raises UsageError, SeedError."""
    with _read(source, search) as (rows, *benchmarks):
        return _find(rows, benchmarks, search)


def decontaminate(source: str, search: Search, *, output: str, rejects: str = "") -> Done:
    """Write the rows of a dataset that hold no item of a benchmark, byte for byte; the others go to the rejects.

    Raises UsageError, SeedError with the place of a row that lacks a column, YieldError where nothing is left.
    """
    found: dict[int, Finding] = {}
    with _read(source, search) as (rows, *benchmarks):

        def prepare() -> Mapping[str, Any]:
            contamination = _find(rows, benchmarks, search)
            found.update(contamination.findings)
            return {"benchmarks": contamination.benchmarks}

        def decide(ordinal: int, row: Row) -> Verdict:
            finding = found.get(ordinal)
            return ("contamination", finding.detail()) if finding else None

        digests = [{"name": _name(each), "sha256": each.sha256} for each in benchmarks]
        settings = {"against": digests, **search.settings()}
        read = [each.file.path for each in benchmarks if each.file.path.is_file()]
        return keep_rows(Step("decontaminate", [rows], settings, outputs_of(output, rejects), read), decide, prepare)


def make_rules(ngram: int = 8, coverage: float = 0.5, fuzzy: float = 0.95, method: str = "ngram") -> Rules:
    """The rule by which a row holds an item, see `quality.contamination`. Raises UsageError."""
    if method not in METHODS:
        raise UsageError(f"--method {method}: known are {', '.join(METHODS)}.")
    if not SHINGLE <= ngram <= LONGEST:
        raise UsageError(f"--ngram {ngram}: must be {SHINGLE} to {LONGEST} words in a row; 8 and 13 are usual.")
    for name, share in (("coverage", coverage), ("fuzzy", fuzzy)):
        if not 0 < share <= 1:
            raise UsageError(f"--{name} {share}: a share is above 0 and at most 1.")
    return Rules(ngram, coverage, fuzzy, method)


def _read(source: str, search: Search) -> AbstractContextManager[list[Source]]:
    if not search.against:
        raise UsageError("no benchmark is given: name one with --against, such as --against gsm8k-test.jsonl.")
    return opened(source, *dict.fromkeys(search.against))


def _find(rows: Source, benchmarks: Sequence[Source], search: Search) -> Contamination:
    totals: Counter[str] = Counter()
    items = make_items(_questions(benchmarks, search, totals))
    if not items:
        raise SeedError(f"{', '.join(_name(each) for each in benchmarks)}: no row has a word in {search.benchmark_on}.")
    look, texts = make_look(items, search.rules), make_texts(search.on)
    count = 0
    lines: dict[int, int] = {}
    suspects: dict[int, list[Match]] = {}
    for count, (line, matches) in enumerate(with_place(rows, lambda row: look(texts(row), _answer(row, ""))), 1):
        if matches:
            suspects[count - 1], lines[count - 1] = matches, line.number
    found = settle(suspects, count)
    findings = {ordinal: _finding(lines[ordinal], items, matches) for ordinal, matches in found.items()}
    return Contamination(count, findings, _overlaps(totals, items, found))


def _questions(benchmarks: Sequence[Source], search: Search, totals: Counter[str]) -> Iterator[Question]:
    text = make_text(search.benchmark_on)
    for benchmark in benchmarks:
        name = _name(benchmark)
        for line, asked in with_place(benchmark, lambda row: (text(row), _answer(row, search.answer))):
            totals[name] += 1
            yield Question(asked[0], asked[1] if asked[1] != asked[0] else "", name, line.number)


def _name(source: Source) -> str:
    return source.file.name


def _answer(row: Row, column: str) -> str:
    """A row's answer; without a column what is answered, or nothing where that is not known."""
    if column:
        return text_of(value_at(row, column))
    try:
        return y_of(row)
    except SeedError:
        return ""


def make_texts(on: str) -> Callable[[Row], list[str]]:
    """The texts of a row in the columns of `on`, each once. Of x and y, one may lack where both are looked at.

    The function raises SeedError, without the place, where a column lacks.
    """
    make_text(on)  # raises where a name is empty
    names = on.split("+")
    parts = [(name, make_text(name)) for name in names]

    def texts(row: Row) -> list[str]:
        found: list[str] = []
        lacking: list[SeedError] = []
        for name, read in parts:
            try:
                found.append(read(row))
            except SeedError as error:
                if name not in ROLES:
                    raise
                lacking.append(error)
        if not found:
            raise lacking[0]
        return list(dict.fromkeys(found))

    return texts


def _finding(line: int, items: Sequence[Item], matches: Sequence[Match]) -> Finding:
    best = matches[0]
    benchmark, place = items[best.item].places[0]
    return Finding(line, benchmark, place, best.rule, round(best.share, 4), best.quote, len(matches))


def _overlaps(
    totals: Mapping[str, int], items: Sequence[Item], found: Mapping[int, Sequence[Match]]
) -> list[dict[str, Any]]:
    """What the dataset has of each benchmark."""
    hit: dict[str, set[tuple[str, int]]] = {name: set() for name in totals}
    rows: Counter[str] = Counter()
    for matches in found.values():
        places = {place for match in matches for place in items[match.item].places}
        rows.update({name for name, _ in places})
        for place in places:
            hit[place[0]].add(place)
    return [
        {
            "name": name,
            "items": total,
            "hit": len(hit[name]),
            "share": round(len(hit[name]) / total, 6),
            "rows": rows[name],
        }
        for name, total in totals.items()
    ]

"""A dataset's numbers as text for a person: a few lines for each kind of fact. Knows no command.

Reads what `quality.profile.profile` gives, with the dataset's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distill_data.reporting.plain import plain

WIDTH, ROWS = 40, 10
"""Columns of the longest bar, and bars of a histogram."""
SHOWN = 12
"""Entries of a list."""
_SPREAD = ("mean", "min", "q1", "median", "q3", "p95", "max")


def stats_lines(found: Mapping[str, Any]) -> list[str]:
    """Plain text, a line each."""
    return list(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    name = plain(found["name"], one_line=True)
    yield f"{name if len(name) <= 60 else f'...{name[-57:]}'}: {_rows(found['rows'])}" + _kinds(found["kinds"])
    duplicates = found["duplicates"]
    yield f"duplicates: {_share(duplicates['share'])}{'' if duplicates['exact'] else ' (estimated)'}"
    yield from _columns(found)
    told: dict[str, Any] = {}
    for name, texts in found["texts"].items():
        same = next((other for other in told if told[other] == texts), "")
        told[name] = texts
        yield from ("", f"{_safe(name)}: the same texts as {_safe(same)}") if same else _texts(name, texts)
    for column, values in found["labels"].items():
        yield from ("", f"values of {_safe(column)}:", *_counts(values))
    if found["scores"]:
        yield from ("", "numbers:", *_spreads(found["scores"]))
    for name, values in found["made_by"].items():
        yield from ("", f"{name}:", *_counts(values))
    if found["tokens"]:
        yield ""
        yield "tokens: " + ", ".join(
            f"{count:,} {name.removesuffix('_tokens')}" for name, count in found["tokens"].items()
        )
    if found["embedding"]:
        yield from _embedding(found["embedding"])


def _rows(count: int, what: str = "row") -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _kinds(kinds: Mapping[str, int]) -> str:
    named = {kind or "of no kind": count for kind, count in kinds.items()}
    if list(kinds) == [""]:
        return ""
    return " (" + ", ".join(f"{count:,} {_safe(kind)}" for kind, count in named.items()) + ")"


def _columns(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "columns:")
    shown = list(found["columns"].items())[: 3 * SHOWN]
    width = max((len(_safe(name)) for name, _ in shown), default=0)
    for name, column in shown:
        types = ", ".join(column["types"])
        yield f"  {_safe(name):<{width}}  {_share(column['filled'] / found['rows']):>6} filled  {types}"
    more = len(found["columns"]) - len(shown)
    if more or found["more_columns"]:
        yield f"  and {f'{more:,} ' if more and not found['more_columns'] else ''}more"


def _texts(name: str, texts: Mapping[str, Any]) -> Iterator[str]:
    diversity, duplicates = texts["diversity"], texts["duplicates"]
    yield from ("", f"{_safe(name)}: {_rows(texts['rows'], 'text')}")
    yield from _spreads({"characters": texts["characters"], "words": texts["words"]})
    yield from _histogram(texts["words"]["histogram"], "words")
    languages = {code or "not told": count for code, count in texts["languages"].items()}
    yield "  languages: " + _inline(languages, texts["sampled"])
    yield f"  repeated: {_share(duplicates['share'])}{'' if duplicates['exact'] else ' (estimated)'}"
    yield (
        f"  distinct-1 {diversity['distinct_1']:.2f}, distinct-2 {diversity['distinct_2']:.2f}, "
        f"self-BLEU {diversity['self_bleu']:.2f}, compression {diversity['compression_ratio']:.2f}"
    )
    if diversity["nearest"]:
        nearest = diversity["nearest"]
        yield f"  ROUGE-L to the nearest other: median {nearest['median']:.2f}, 95 % {nearest['p95']:.2f}"
    if texts["sampled"] < texts["rows"]:
        yield f"  languages and diversity are of {texts['sampled']:,} texts"


def _spreads(spreads: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A table, a line for each."""
    shown = dict(list(spreads.items())[: 2 * SHOWN])
    width = max(len(_safe(name)) for name in shown)
    yield "  " + " " * width + "".join(f"{name:>10}" for name in _SPREAD)
    for name, spread in shown.items():
        yield f"  {_safe(name):<{width}}" + "".join(f"{_number(spread[each]):>10}" for each in _SPREAD)


def _histogram(histogram: Mapping[str, Any], unit: str) -> Iterator[str]:
    """At most ten bars, neighbours put together."""
    edges, counts = histogram["edges"], histogram["counts"]
    step = -(-len(counts) // ROWS)
    starts = range(0, len(counts), step)
    bars = [
        (edges[start], edges[min(start + step, len(counts))], sum(counts[start : start + step])) for start in starts
    ]
    highest = max(count for _, _, count in bars)
    labels = [f"{_number(low)} to {_number(high)}" for low, high, _ in bars]
    width = max(map(len, labels))
    for label, (_, _, count) in zip(labels, bars, strict=True):
        yield f"  {label:>{width}} {unit}  {'#' * round(WIDTH * count / highest)} {count:,}"


def _counts(counts: Mapping[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    shown = list(counts.items())[:SHOWN]
    width = max(len(f"{count:,}") for count in counts.values())
    for value, count in shown:
        yield f"  {count:>{width},}  {_share(count / total):>6}  {_safe(value) or '(empty)'}"
    if len(counts) > len(shown):
        yield f"  and {len(counts) - len(shown):,} more"


def _inline(counts: Mapping[str, int], total: int) -> str:
    return ", ".join(f"{name} {_share(count / total)}" for name, count in list(counts.items())[:SHOWN])


def _embedding(found: Mapping[str, Any]) -> Iterator[str]:
    vendi = "needs numpy, of the extra `features`" if found["vendi"] is None else f"{found['vendi']:.1f}"
    yield ""
    shape = f"{found['rows']:,} of {found['dimensions']:,} numbers"
    yield f"embedding: {shape}; Vendi score of {found['sampled']:,}: {vendi}"


def _share(share: float) -> str:
    return f"{share:.1%}"


def _number(value: float) -> str:
    """At most nine characters."""
    if value == int(value) and abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if 0.01 <= abs(value) < 1e5 else f"{value:.3g}"


def _safe(text: str) -> str:
    return plain(text if len(text) <= 60 else text[:57] + "...", one_line=True)

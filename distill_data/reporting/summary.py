"""The closing lines of a command: what became of every item, what it cost, and which files there are now.

Knows nothing about how a run is stored; it reads what a summary says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Protocol

from distill_data.reporting.forecast import forecast_lines, money
from distill_data.reporting.messages import message_lines
from distill_data.reporting.plain import plain


class RunSummary(Protocol):
    """What is read of a summary; `commands.options.Summary` is one."""

    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def output(self) -> str: ...
    @property
    def result(self) -> Mapping[str, object]: ...
    @property
    def history(self) -> Mapping[str, object]: ...
    @property
    def first_prompt(self) -> Sequence[Mapping[str, object]]: ...
    @property
    def others(self) -> Sequence[str]: ...


def closing_lines(summary: RunSummary, *, verbose: bool = False) -> list[str]:
    """Plain text for a terminal, a line each. With `verbose` all that the summary holds follows as JSON."""
    if summary.status == "planned":
        lines = _plan(summary)
    else:
        result = summary.result
        lines = [
            *_items(result),
            *_coverage(result),
            *_gold(result),
            *_measures(result),
            *_arrays(result),
            *_spent(summary),
            *_forecast(summary.history),
            *_files(summary),
        ]
    if summary.message:
        lines += plain(summary.message).split("\n")
    if verbose:
        for part in ("result", "history"):
            shown = json.dumps(dict(getattr(summary, part)), indent=2, ensure_ascii=False, default=str)
            lines += plain(f"{part}: {shown}").split("\n")
    return lines


def _items(result: Mapping[str, object]) -> list[str]:
    """The sum that has to add up, and the reasons behind it; nothing before items were judged."""
    if "kept" not in result:
        return []
    ends = [f"{_count(result, end):,} {end}" for end in ("kept", "rejected", "failed", "pending")]
    records = f"; {_count(result, 'records'):,} records" if "records" in result else ""
    lines = [f"{_count(result, 'items'):,} items = {' + '.join(ends)}{records}"]
    for title, key in (("rejected or failed", "reasons"), ("samples dropped in kept items", "dropped")):
        lines += _table(title, _part(result, key))
    return lines


def _table(title: str, counts: Mapping[str, object]) -> list[str]:
    """Counts by name, the largest first."""
    rows = sorted(((_count(counts, name), name) for name in counts), key=lambda row: (-row[0], row[1]))
    if not rows:
        return []
    width = max(len(f"{number:,}") for number, _ in rows)
    return [f"{title}:", *(f"  {number:>{width},}  {plain(name, one_line=True)}" for number, name in rows)]


def _coverage(result: Mapping[str, object]) -> list[str]:
    """How many of the rows that were written about gave something that was kept."""
    if "coverage" not in result or result.get("command") != "curate":
        return []
    used, rows = _count(_part(result, "coverage"), "sources"), _count(_part(result, "seeds"), "rows")
    return [f"coverage: {used:,} of {rows:,} rows of data gave what was kept"]


def _gold(result: Mapping[str, object]) -> list[str]:
    """How often the answers equal the seeds' own."""
    gold = _part(result, "gold")
    if not _count(gold, "compared"):
        return []
    by = _part(gold, "by")
    groups = [f"{plain(name, one_line=True)} {_share(_part(by, name))}" for name in sorted(by)]
    return [f"agreement with gold: {_share(gold)}" + (f"; {', '.join(groups)}" if groups else "")]


def _share(gold: Mapping[str, object]) -> str:
    compared, equal = _count(gold, "compared"), _count(gold, "equal")
    return f"{100 * equal / compared:.1f} % ({equal:,} of {compared:,})" if compared else "none compared"


def _measures(result: Mapping[str, object]) -> list[str]:
    """What was tallied over the items: flips, ties, planted answers that were caught."""
    measures = _part(result, "measures")
    shares = [(name, _part(measures, name)) for name in sorted(measures)]
    said = [
        f"{name.replace('_', ' ')} {_count(each, 'count'):,} of {_count(each, 'of'):,}"
        for name, each in shares
        if _count(each, "of")
    ]
    return [f"measured: {', '.join(said)}"] if said else []


def _arrays(result: Mapping[str, object]) -> list[str]:
    """The side files: how many tokens have arrays, what these take, and what was left out of distributions."""
    features = _part(result, "features")
    if not features:
        return []
    shards = features.get("shards")
    files = len(shards) if isinstance(shards, Sequence) else 0
    tail, each = features.get("tail"), features.get("bytes_per_token")
    lost = f"; {100 * tail:.2f} % of the mass lies outside what is kept" if isinstance(tail, float) else ""
    size = f"{_count(features, 'bytes'):,} bytes in {files} side file{'' if files == 1 else 's'}"
    return [f"arrays: {_count(features, 'tokens'):,} tokens, {size}, {each} a token{lost}"]


def _spent(summary: RunSummary) -> list[str]:
    """Requests, tokens and money."""
    history = summary.history
    if summary.status == "unchanged":
        return ["nothing was sent; every answer is on disk"]
    if not history:
        return []
    named = (("bought", "bought"), ("reused", "reused"), ("retried", "retried"), ("in_doubt", "in doubt"))
    requests = [f"{_count(history, key):,} {name}" for key, name in named if key in history]
    if _count(history, "bought_twice"):
        requests.append(f"{_count(history, 'bought_twice'):,} bought twice")
    cached = _count(history, "cached_tokens")
    prompts = f"{_count(history, 'prompt_tokens'):,} in prompts{f' ({cached:,} from a cache)' if cached else ''}"
    cost, doubted = money(history.get("cost")), history.get("cost_in_doubt")
    return [
        f"requests: {', '.join(requests)}",
        *_batches(_part(history, "batches")),
        f"tokens: {prompts}, {_count(history, 'completion_tokens'):,} in answers",
        f"cost: {cost}{f', of it {money(doubted)} in doubt' if doubted else ''}",
    ]


def _forecast(history: Mapping[str, object]) -> list[str]:
    """What a pilot says of the rest."""
    forecast = _part(history, "forecast")
    return forecast_lines(forecast) if forecast else []


def _batches(batches: Mapping[str, object]) -> list[str]:
    """What came in batches, what was odd about it, and what is at the provider still."""
    if not batches:
        return []
    odd = _part(batches, "odd")
    parts = [f"{_count(batches, 'answers'):,} answers at half the price"]
    parts += [f"{_count(odd, name):,} lines {name}" for name in sorted(odd)]
    number, lost = _count(batches, "open"), _count(batches, "lost")
    if number:
        which = f"{number} batch{'es are' if number > 1 else ' is'} open"
        parts.append(f"{which}, with {_count(batches, 'open_requests'):,} requests")
    if lost:
        parts.append(f"{lost} of them lost")
    return [f"batches: {'; '.join(parts)}"]


def _files(summary: RunSummary) -> list[str]:
    if not summary.output:
        return []
    name = plain(summary.output, one_line=True)
    if summary.status == "unchanged":
        return [f"{name} is as it was"]
    files = _part(summary.result, "files")
    beside = (_part(files, key).get("name") for key in ("dataset", "rejects"))
    others = [str(PurePath(summary.output).with_name(str(each))) for each in beside if each]
    names = dict.fromkeys([name, *(plain(other, one_line=True) for other in (*others, *summary.others))])
    return [f"written: {', '.join(names)}"]


def _plan(summary: RunSummary) -> list[str]:
    """What a run would do."""
    history = summary.history
    prompts, answers = (_count(history, f"estimated_{part}_tokens") for part in ("prompt", "completion"))
    cost = money(history.get("estimated_cost"))
    lines = [
        "a dry run; nothing was sent",
        f"items: {_count(summary.result, 'items'):,}",
        f"requests: {_count(history, 'to_send'):,} to send, {_count(history, 'answered'):,} already answered",
        f"estimate: {prompts:,} tokens in prompts, {answers:,} in answers, cost {cost}",
    ]
    if summary.first_prompt:
        lines += ["first prompt:", *(f"  {line}" if line else "" for line in message_lines(summary.first_prompt))]
    return lines


def _count(mapping: Mapping[str, object], key: str) -> int:
    value = mapping.get(key)
    return round(value) if isinstance(value, int | float) else 0


def _part(mapping: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}

"""The closing lines of a pilot: what the whole run and its rest will take. Reads the history's `forecast`."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def forecast_lines(forecast: Mapping[str, object]) -> list[str]:
    """A table in plain text: a row for each quantity, a column for the whole run and for what is left."""
    of, unit, done, at = (forecast.get(name) for name in ("of", "unit", "done", "in_flight"))
    percent = forecast.get("confidence")
    within = f"{100 * percent:.0f} % interval" if isinstance(percent, float) else "interval"
    named: list[tuple[str, str, Callable[[object], str]]] = [
        ("requests", "requests", _count),
        ("prompt_tokens", "tokens in prompts", _count),
        ("cached_tokens", "of them from a cache", _count),
        ("completion_tokens", "tokens in answers", _count),
        ("cost", "cost", money),
        ("seconds", f"time at {at} in flight" if at else "time", _clock),
    ]
    rows = [(f"forecast ({within})", "whole run", "still to do")]
    for key, said, write in named:
        whole, rest = (_range(forecast.get(part), key, write) for part in ("whole", "rest"))
        rows.append((f"  {said}", whole, rest))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = [f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}" for first, second, third in rows]
    return [f"pilot: {_count(done)} of {_count(of)} {unit}", *table]


def _range(part: object, key: str, write: Callable[[object], str]) -> str:
    found = part.get(key) if isinstance(part, Mapping) else None
    if not isinstance(found, Mapping):
        return "unknown"
    expected, low, high = (found.get(name) for name in ("expected", "low", "high"))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return write(expected)
    return write(expected) if write(low) == write(high) else f"{write(expected)} ({write(low)} to {write(high)})"


def money(amount: object) -> str:
    """USD, with as many digits as a small sum needs. What isn't known is never 0."""
    if not isinstance(amount, int | float):
        return "unknown"
    return f"${amount:,.2f}" if amount == 0 or amount >= 1 else f"${amount:.4f}"


def _count(number: object) -> str:
    return f"{round(number):,}" if isinstance(number, int | float) else "unknown"


def _clock(seconds: object) -> str:
    minutes, rest = divmod(round(seconds) if isinstance(seconds, int | float) else 0, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"

"""Functions over dates of the Gregorian calendar, years 1 to 9999, written YYYY-MM-DD. Knows no clock and no time zone.

Each raises ParseError("execution-failed") where it has no result.
"""

from __future__ import annotations

import datetime
import re

from distill_data.tools.bounds import refuse, text, whole

DAYS_LIMIT = 1_000_000


def add_days(date: str, days: int) -> str:
    """The date so many days later, or earlier where the number is negative."""
    start, count = _read("date", date), whole("days", days, -DAYS_LIMIT, DAYS_LIMIT)
    try:
        return (start + datetime.timedelta(days=count)).isoformat()
    except OverflowError:
        raise refuse("the result is not between the years 1 and 9999") from None


def days_between(start: str, end: str) -> int:
    """How many days from start to end; negative where the end comes first."""
    return (_read("end", end) - _read("start", start)).days


def is_leap_year(year: int) -> bool:
    """Whether the year has a 29 February."""
    found = whole("year", year, 1, 9999)
    return found % 4 == 0 and (found % 100 != 0 or found % 400 == 0)


def _read(name: str, value: str) -> datetime.date:
    written = text(name, value, 10, 10)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", written):
        raise refuse(f"{name} is not written YYYY-MM-DD")
    try:
        return datetime.date.fromisoformat(written)
    except ValueError:
        raise refuse(f"{name} is {written}, and there is no such day") from None

"""docs/does-it-teach.md from the results of the experiments: what was expected, what came, and what did not work.

    python -m experiments.page > docs/does-it-teach.md

Every number on the page is one of a results.json, and a verdict that of an interval. Knows no experiment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from experiments.figure import draw
from experiments.results import DRAWS, FOLDER, read_about, read_results

WIDTH = 120
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/about.toml"))
HEAD = f"""\
# Does it teach?

<!-- Written by `python -m experiments.page` from experiments/*/results.json: change those, not this. -->

In five experiments students are trained and measured on rows that they never saw; E2 and E5 measure judges and filters
alone. Each has a control arm of the same size and several seeds; a seed draws the rows and the student's first weights
anew. Teachers are scripted (E4 trains its own), so that the truth is known. `make experiments` runs all of them;
[how](../experiments/README.md).

Intervals are at 95 %: a bootstrap of {DRAWS:,} draws over seeds and held-out rows, paired where two arms have as many
rows. A difference whose interval holds 0 is called "not told apart", whatever its mean. What to hold against them:

- Three seeds are few. A bootstrap of three sees too little of how seeds scatter; where each seed gives one number
  (n is 3 × 1), the interval is Student's t instead.
- Where all scores are equal, the interval has no width, which is no certainty: 30 right of 30 leave room for 1 of 10.
- An end at 0.000 is told apart by a hair. Of so many claims, one or two would be so though nothing is there.
- Tasks and sizes were chosen so that students learn something, some after a first look. Sections say what was tried.
- A few claims can hardly fail, and show that the commands do what they say.

The tasks are small and the students smaller, so a sign carries over to real models better than a size does. In tables,
n is seeds × rows, of the first seed where seeds have different numbers.
"""


def page(names: Sequence[str] = NAMES) -> str:
    """The whole document."""
    return "\n".join([HEAD, *_summary(names), *(line for name in names for line in _section(name))]) + "\n"


def _summary(names: Sequence[str]) -> Iterator[str]:
    yield "| | Claim | Difference | 95 % interval | Verdict |"
    yield "|---|---|---:|---|---|"
    for name in names:
        for claim in read_results(name).get("claims", []):
            yield f"| [{name}](#{_anchor(name)}) | {claim['text']} | {_difference(claim)} | {claim['verdict']} |"
    yield ""


def _anchor(name: str) -> str:
    title = f"{name}: {read_about(name)['title']}".lower()
    return "".join(c for c in title if c.isalnum() or c in " -_").replace(" ", "-")


def _difference(claim: Mapping[str, Any]) -> str:
    if "mean" not in claim:
        return "- | -"
    return f"{_number(claim['mean'], '+')} | {_number(claim['low'], '+')} to {_number(claim['high'], '+')}"


def _number(value: float, sign: str = "") -> str:
    return format(value, f"{sign},.3f" if abs(value) < 100 else f"{sign},.0f")


def _section(name: str) -> Iterator[str]:
    about, found = read_about(name), read_results(name)
    yield f"## {name}: {about['title']}\n"
    yield _filled(about["asked"])
    yield _filled(f"**Expected.** {about['expected']}")
    if not found:
        yield "Not run yet.\n"
        return
    yield f"**Seen.** {about['metric']}; `{found['command']}`.\n"
    yield f"![{about['title']}](../experiments/{name}/{name}.svg)\n"
    yield from _table(found["arms"], about.get("axis", ""))
    yield from (f"- {_told(claim)}" for claim in found["claims"])
    yield ""
    if about.get("notes"):
        yield _filled(f"**What did not work, and what this does not show.** {about['notes']}")
    sizes = ", ".join(f"{key} {_size(value)}" for key, value in found["sizes"].items())
    versions = ", ".join(f"{key} {value}" for key, value in found["versions"].items())
    yield _filled(f"Sizes: {sizes}. Versions: {versions}.")


def _filled(text: str) -> str:
    """Paragraphs of lines as wide as the others of the documents, and an empty line."""
    return "\n\n".join(fill(each, WIDTH, break_on_hyphens=False) for each in text.strip().split("\n\n")) + "\n"


def _table(arms: Sequence[Mapping[str, Any]], axis: str) -> Iterator[str]:
    placed = any(arm["at"] for arm in arms)
    yield f"| Arm |{f' {axis} |' if placed else ''} Mean | 95 % interval | Each seed | n |"
    yield f"|---|{'---:|' if placed else ''}---:|---|---|---:|"
    for arm in arms:
        place = f" {arm['at']:,g} |" if arm["at"] else " - |" if placed else ""
        each = ", ".join(map(_number, arm["values"]))
        spread = f"{_number(arm['low'])} to {_number(arm['high'])}"
        counted = f"{arm['seeds']} × {arm['rows']:,}"
        yield f"| {arm['name']} |{place} {_number(arm['mean'])} | {spread} | {each} | {counted} |"
    yield ""


def _told(claim: Mapping[str, Any]) -> str:
    told = f"{claim['text']}: **{claim['verdict']}**"
    if "mean" not in claim:
        return told
    low, high = _number(claim["low"], "+"), _number(claim["high"], "+")
    return f"{told}. {claim['more']} minus {claim['less']} is {_number(claim['mean'], '+')} ({low} to {high})."


def _size(value: object) -> str:
    if isinstance(value, list):
        return " / ".join(map(_size, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def draw_figure(name: str) -> None:
    """EN.svg from results.json."""
    about, found = read_about(name), read_results(name)
    picture = draw(
        f"{name}: {about['title']}", found["arms"], about["metric"], about.get("axis", ""), about.get("log", True)
    )
    (FOLDER / name / f"{name}.svg").write_text(picture, encoding="utf-8")


def main() -> None:
    sys.stdout.write(page())


if __name__ == "__main__":
    main()

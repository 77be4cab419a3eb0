"""The sections of a report: each takes the facts and gives its part of the page, or None where there is nothing to say.

A section says in one sentence what its chart means. Knows no file and no command; `page` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.reporting import making
from distill_data.reporting.charts import bars, decimals, histogram, is_number, note, number, pairs, share, sunburst
from distill_data.reporting.markup import Html, tag, together
from distill_data.reporting.reading import rejects, rows

Facts = Mapping[str, Any]
Section = Callable[[Facts], Html | None]


class Titled(NamedTuple):
    """A section with its heading."""

    key: str
    heading: str
    make: Section


def _lengths(facts: Facts) -> Html | None:
    texts = facts["profile"].get("texts", {})
    names = {"x": "x, what is asked", "y": "y, what is answered"}
    shown = [
        histogram(texts[name]["words"], key=f"words-{name}", title=f"Length of {title}", unit="words")
        for name, title in names.items()
        if name in texts and texts[name]["words"]
    ]
    said = (
        "A wide hill is healthy; one narrow spike is one form of text again and again, and a spike at the right end is "
        "texts that were cut."
    )
    return together(note(said), shown) if shown else None


def _roots(facts: Facts) -> Html | None:
    found = facts.get("roots")
    if not found:
        return None
    chart = sunburst(found["verbs"], key="roots", title="First verbs and their objects")
    said = (
        "The verb that opens an order and its object; of questions and of other languages the first words. Many of "
        "like number are varied tasks; one far ahead of the others is the same task again and again."
    )
    rest = f"The {len(found['verbs'])} most frequent of {found['different']:,}, found by rules: a few are wrong."
    shown = chart if len(found["verbs"]) > 2 else ""
    return together(note(said), shown, _two_levels(found["verbs"], found["rows"]), tag("p", rest, class_="quiet"))


def _two_levels(verbs: Sequence[Mapping[str, Any]], whole: int) -> Html:
    """The numbers of the chart: the words, and under a fold what follows each of them."""
    table = bars(
        [(each["verb"], each["count"]) for each in verbs], caption="First words of x", whole=whole, head="first word"
    )
    said = [(each["verb"], ", ".join(f"{thing} {count:,}" for thing, count in each["objects"])) for each in verbs]
    things = [tag("li", tag("b", verb), f": {after}") for verb, after in said if after]
    if not things:
        return table
    return together(table, tag("details", tag("summary", "what follows them"), tag("ul", things, class_="plain")))


def _diversity(facts: Facts) -> Html | None:
    texts = facts["profile"].get("texts", {})
    named = (
        ("distinct_1", "distinct-1: different words ÷ words, in pieces of 1,000; higher is more varied"),
        ("distinct_2", "distinct-2: the same of word pairs; higher is more varied"),
        ("self_bleu", "self-BLEU: how much a text shares with the others; lower is more varied"),
        ("entropy_2", "entropy of word pairs, in bits; higher is more varied"),
        ("compression_ratio", "compression: bytes ÷ bytes packed; lower is more varied, above 4 is repetitive"),
    )
    found = [name for name in ("x", "y") if name in texts]
    if not found:
        return None
    body = [
        tag(
            "tr",
            tag("th", said, scope="row"),
            [tag("td", decimals(texts[name]["diversity"].get(key)), class_="n") for name in found],
        )
        for key, said in named
    ]
    head = tag("tr", tag("th", "measure", scope="col"), [tag("th", name, scope="col", class_="n") for name in found])
    table = tag("table", tag("caption", "How varied the texts are"), tag("thead", head), tag("tbody", body))
    shown: list[Html] = [table]
    embedding = facts["profile"].get("embedding")
    if embedding and is_number(embedding.get("vendi")):
        said = (
            f"Vendi score {number(embedding['vendi'])} of {embedding['sampled']:,} embeddings: as if so many of them "
            "were wholly different. Higher is more varied."
        )
        shown.append(tag("p", said))
    sampled = max(texts[name]["sampled"] for name in found)
    return together(
        shown, tag("p", f"Measured on {sampled:,} texts, drawn by hash where there are more.", class_="quiet")
    )


def _neighbours(facts: Facts) -> Html | None:
    spread = facts["profile"].get("texts", {}).get("x", {}).get("diversity", {}).get("nearest")
    if not spread:
        return None
    said = (
        "How like the nearest other x each x is, from 0 to 1. Self-Instruct drops what is above 0.7: a hill at the "
        "right end is near duplicates."
    )
    chart = histogram(spread, key="nearest", title="ROUGE-L to the nearest other x", unit="ROUGE-L")
    return together(
        note(said),
        chart,
        tag("p", f"Of {spread['count']:,} texts drawn by hash, each compared with the others of them.", class_="quiet"),
    )


def _duplicates(facts: Facts) -> Html | None:
    texts = facts["profile"].get("texts", {})
    found = [(name, texts[name]["duplicates"]) for name in ("x", "y") if name in texts]
    if not found:
        return None
    if len(found) > 1:
        found.append(("rows, in x and y together", facts["profile"]["duplicates"]))
    told = [(name, f"{share(each['share'], 1)}{'' if each['exact'] else ', by estimate'}") for name, each in found]
    shown: list[Html] = [pairs(told, "Texts of an earlier row, but for case and spaces")]
    if facts.get("groups"):
        shown.append(bars(facts["groups"], caption="The largest groups of equal x", head="text"))
    return together(note("Several y to one x are meant in some sets; the same x and y twice never are."), shown)


def _labels(facts: Facts) -> Html | None:
    labels = facts["profile"].get("labels", {})
    if not labels:
        return None
    shown = [
        bars(counts.items(), caption=f"Values of {column}", whole=sum(counts.values()), head=column, values="count")
        for column, counts in list(labels.items())[:8]
    ]
    return together(
        note("A student learns the shares that it sees: a value far ahead of the others will be its guess."), shown
    )


def _scores(facts: Facts) -> Html | None:
    scores = facts["profile"].get("scores", {})
    if not scores:
        return None
    shown = [
        histogram(spread, key=f"score-{place}", title=column, unit="")
        for place, (column, spread) in enumerate(list(scores.items())[:12])
    ]
    return together(note("A score that is nearly the same for all rows cannot select among them."), shown)


def _contamination(facts: Facts) -> Html | None:
    found = facts.get("contamination")
    if not found:
        return None
    said = f"{found['rows']:,} rows share text with a benchmark and were left out. Some of them, with what was found:"
    return together(tag("p", said), rejects(found["shown"]))


def _seeds(facts: Facts) -> Html | None:
    found = facts.get("seeds")
    if not found:
        return None
    return together(
        note(
            "Rows that share a seed are alike: keep them on one side of a split. A seed with very many shapes the set."
        ),
        histogram(found["spread"], key="seeds", title=f"Rows of a seed, of {found['seeds']:,} seeds", unit="rows"),
        bars(found["top"], caption="The most fertile seeds", head="seed"),
    )


def _languages(facts: Facts) -> Html | None:
    texts = facts["profile"].get("texts", {})
    shown = [
        bars(
            [(code or "not told", count) for code, count in texts[name]["languages"].items()],
            caption=f"Language of {name}",
            whole=texts[name]["sampled"],
            head="code",
            values="texts",
        )
        for name in ("x", "y")
        if name in texts and any(texts[name]["languages"])
    ]
    said = "Short texts, code and mixed scripts are “not told”. y in another language than x is worth a look."
    return together(note(said), shown) if shown else None


def _samples(facts: Facts) -> Html | None:
    found = facts.get("samples")
    if not found:
        return None
    said = (
        f"{len(found):,} of {facts['profile']['rows']:,} rows, drawn by hash, so that they are the same every time. "
        "Numbers say less than these."
    )
    return together(tag("p", said), rows(found))


def _rejected(facts: Facts) -> Html | None:
    found = facts.get("rejects")
    if not found:
        return None
    return together(tag("p", "Up to three of each reason, the most frequent reason first."), rejects(found))


SECTIONS = (
    Titled("made", "How it was made", making.steps),
    Titled("kept", "What was kept, and why rows fell", making.kept),
    Titled("spent", "Cost and tokens", making.spent),
    Titled("replies", "The teacher’s replies", making.replies),
    Titled("lengths", "Lengths", _lengths),
    Titled("roots", "What is asked for", _roots),
    Titled("diversity", "Diversity", _diversity),
    Titled("nearest", "Nearest neighbours", _neighbours),
    Titled("duplicates", "Duplicates", _duplicates),
    Titled("judges", "Judges and agreement", making.judging),
    Titled("labels", "Labels", _labels),
    Titled("scores", "Scores", _scores),
    Titled("contamination", "Contamination", _contamination),
    Titled("seeds", "Seeds and their children", _seeds),
    Titled("languages", "Languages", _languages),
    Titled("rows", "Rows to read", _samples),
    Titled("rejects", "Rejects to read", _rejected),
)
"""In the order of the page."""

"""The report as one HTML page: no script, no network, nothing from data but escaped text. Knows nothing of files.

The policy in its head allows one thing, this page's own style sheet, by its digest: if anything ever came through,
the browser would neither run nor load nor draw it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from distill_data.reporting.charts import compact, is_number, number, share
from distill_data.reporting.making import money
from distill_data.reporting.markup import Html, tag
from distill_data.reporting.sections import SECTIONS


def make_page(facts: Mapping[str, Any]) -> str:
    """The page of these facts (`commands.report_facts.gather`). Equal facts give equal bytes."""
    made = [(each, body) for each in SECTIONS if (body := each.make(facts)) is not None]
    links = [tag("li", tag("a", each.heading, href=f"#{each.key}")) for each, _ in made]
    sections = [
        tag(
            "section",
            tag("h2", each.heading, id=f"{each.key}-heading"),
            body,
            id=each.key,
            aria_labelledby=f"{each.key}-heading",
        )
        for each, body in made
    ]
    body = tag("main", _head(facts), tag("nav", tag("ul", links), aria_label="Sections"), sections, _foot(facts))
    page = tag("html", _meta(facts["name"]), tag("body", body), lang="en")
    return f"<!DOCTYPE html>\n{page.markup}\n"


def _meta(name: str) -> Html:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{name}: report"),
        Html(f"<style>{_style()}</style>"),
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _head(facts: Mapping[str, Any]) -> Html:
    profile, history = facts["profile"], facts.get("history", {})
    counts, texts = facts.get("counts", {}), profile.get("texts", {})
    figures = [("rows", compact(profile["rows"]))]
    total = sum(counts.values())
    if total and "kept" in counts:
        figures.append(("items kept", share(counts["kept"], total)))
    if "x" in texts:
        figures.append(("repeated x", share(texts["x"]["duplicates"]["share"], 1)))
    if "y" in texts and texts["y"]["words"]:
        figures.append(("words in a y, median", number(round(texts["y"]["words"]["median"]))))
    if is_number(history.get("tokens")):
        figures.append(("tokens", compact(history["tokens"])))
    if "cost" in history:
        figures.append(("cost", money(history["cost"])))
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in figures]
    return tag(
        "header",
        tag("p", "Report on a dataset", class_="label"),
        tag("h1", facts["name"]),
        tag("p", _sentence(facts), class_="lead"),
        tag("dl", shown, class_="figures"),
    )


def _sentence(facts: Mapping[str, Any]) -> str:
    """What the dataset is, in one sentence."""
    profile = facts["profile"]
    kinds = [kind for kind in profile["kinds"] if kind]
    said = f"{profile['rows']:,} {'row' if profile['rows'] == 1 else 'rows'}"
    said += f" of kind {', '.join(kinds[:4])}" if kinds else ""
    steps = facts.get("steps", [])
    if not steps:
        return f"{said}; there is no manifest beside it, so nothing is known of how it was made."
    first = steps[0]
    said += f", made by {first['command']}" + (f" with the recipe {first['recipe']}" if first["recipe"] else "")
    models = list(dict.fromkeys(model for _, model in first["models"]))
    said += f", asking {' and '.join(models[:4])}" if models else ""
    later = ", ".join(step["command"] for step in steps[1:])
    return f"{said}; then {later}." if later else f"{said}."


def _foot(facts: Mapping[str, Any]) -> Html:
    history = facts.get("history", {})
    said = [f"SHA-256 of the dataset: {facts['sha256']}."]
    if history.get("finished"):
        said.append(f"Finished {history['finished']} by distill-data {history.get('version', '')}.")
    return tag("footer", [tag("p", line) for line in said])

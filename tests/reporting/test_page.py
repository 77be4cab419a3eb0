"""A report's page as markup: well formed, of harmless elements only, and all data in it is text."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.commands import report
from distill_data.commands.report import facts_of
from distill_data.reporting.charts import bars, histogram, number, share, sunburst
from distill_data.reporting.markup import VOID, Html, tag, together
from distill_data.reporting.page import make_page
from distill_data.reporting.plain import plain
from distill_data.reporting.sections import SECTIONS
from tests.poison import expected, payloads, write_poisoned

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "nav", "section", "article", "h1",
    "h2", "p", "b", "code", "span", "bdi", "a", "ul", "ol", "li", "dl", "dt", "dd", "div", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary", "svg", "desc", "rect", "line",
    "path", "text",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "id", "class", "href", "aria-label", "aria-labelledby",
    "aria-describedby", "aria-hidden", "role", "scope", "dir", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "d",
    "width", "height", "viewbox", "text-anchor", "transform",
}  # fmt: skip
WHERE_KEYS_ARE_DATA = {
    "reasons", "dropped", "measures", "by", "labels", "scores", "kinds", "finish", "models", "columns", "made_by",
}  # fmt: skip


class Strict(HTMLParser):
    """Reads a page and refuses whatever a report has no use for."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert name in ELEMENTS, f"<{name}>"
        self.elements.append(name)
        for key, value in attributes:
            assert key in ATTRIBUTES, f"{key} of <{name}>"
            self.ids += [str(value)] if key == "id" else []
            self.links += [str(value)] if key == "href" else []
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open, f"</{name}> closes nothing"
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")


def read(page: str) -> Strict:
    """The page, read to its end without a complaint."""
    reader = Strict()
    reader.feed(page)
    reader.close()
    assert not reader.open, reader.open
    assert len(set(reader.ids)) == len(reader.ids)
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)
    return reader


def poisoned(facts: Any, text: str, name: str = "") -> Any:
    """The facts with this text in place of every text, and of every name that data gave."""
    if isinstance(facts, str):
        return text
    if isinstance(facts, dict):
        keys = [f"{text}{place}" if name in WHERE_KEYS_ARE_DATA else key for place, key in enumerate(facts)]
        return {key: poisoned(value, text, old) for key, (old, value) in zip(keys, facts.items(), strict=True)}
    return [poisoned(value, text, name) for value in facts] if isinstance(facts, list | tuple) else facts


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Facts with every section."""
    return facts_of(str(write_poisoned(tmp_path_factory.mktemp("full"), "plain")))


def test_a_page_with_all_there_can_be_has_every_section(full: dict[str, Any]) -> None:
    page = read(make_page(full))
    keys = [each.key for each in SECTIONS if each.key != "languages"]
    assert [key for key in page.ids if key in keys] == keys
    assert page.elements.count("h1") == 1


@pytest.mark.parametrize("text", payloads()[::12])
def test_whatever_stands_in_any_file_is_read_as_text(text: str, tmp_path: Path) -> None:
    dataset = write_poisoned(tmp_path, text)
    report(str(dataset), output=str(tmp_path / "page.html"))
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    shown = "".join(page.text)
    missing = [wanted for wanted in expected(text) if wanted.replace("_", " ") not in shown.replace("_", " ")]
    assert not missing
    assert plain(dataset.name) in shown


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.sampled_from(payloads()))
def test_any_text_in_all_facts_gives_a_harmless_page(full: dict[str, Any], text: str) -> None:
    facts = poisoned(copy.deepcopy(full), text)
    page = make_page(facts)
    reader = read(page)
    assert plain(text).strip() in "".join(reader.text)
    assert page.encode("utf-8")
    assert page == make_page(poisoned(copy.deepcopy(full), text))


@given(st.text(), st.text())
def test_a_tag_says_its_text_and_its_attribute_and_nothing_else(text: str, attribute: str) -> None:
    read_back: list[tuple[str, str | None]] = []

    class Reader(Strict):
        def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
            read_back.extend(attributes)
            super().handle_starttag(name, attributes)

    reader = Reader()
    reader.feed(tag("p", text, class_=attribute).markup)
    reader.close()
    assert "".join(reader.text) == plain(text)
    assert read_back == [("class", plain(attribute))]


def test_markup_cannot_be_joined_by_accident() -> None:
    with pytest.raises(TypeError):
        tag("p") + "text"  # type: ignore[operator]
    assert "<p>" not in tag("b", f"{tag('p', 'x')}").markup
    assert together("<b>", Html("<i></i>"), ["&"]).markup == "&lt;b&gt;<i></i>&amp;"
    assert tag("details", open=True, hidden=False).markup == "<details open></details>"


def test_the_policy_allows_the_style_sheet_of_the_page_and_nothing_else(full: dict[str, Any]) -> None:
    import base64
    import hashlib
    import re

    page = make_page(full)
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].replace("&#x27;", "'").split("; ") == [
        "default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert "url(" not in style and "@import" not in style


def test_a_section_without_data_is_not_there() -> None:
    facts = {"name": "x.jsonl", "sha256": "0" * 64, "profile": {"rows": 0, "kinds": {}}}
    page = read(make_page(facts))
    assert "section" not in page.elements and "nav" in page.elements
    assert "there is no manifest" in "".join(page.text)


SPREAD = {"count": 5, "mean": 2.0, "min": 0.0, "q1": 1.0, "median": 2.0, "q3": 3.0, "p95": 9.0, "max": 9.0}


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
def test_a_histogram_draws_every_bin_that_holds_something(counts: list[int]) -> None:
    edges = [float(edge) for edge in range(len(counts) + 1)]
    spread = {**SPREAD, "histogram": {"edges": edges, "counts": counts}}
    drawn = histogram(spread, key="k", title="T", unit="words").markup
    assert drawn.count("<rect") == sum(map(bool, counts))
    assert drawn.count("<title") == 1 + sum(map(bool, counts))
    assert f">{sum(counts) and 5} values" in drawn or "5 values" in drawn


def test_a_histogram_says_what_its_bars_do_not_show() -> None:
    """That the last bar reaches further, and that bars are of a sample."""
    even = {**SPREAD, "histogram": {"edges": [0.0, 3.0, 6.0, 9.0], "counts": [3, 1, 1]}}
    assert "last bar" not in (drawn := histogram(even, key="k", title="T", unit="").markup) and "Bars are" not in drawn
    tail = {**SPREAD, "count": 90, "histogram": {"edges": [0.0, 1.0, 2.0, 9.0], "counts": [3, 1, 1]}}
    drawn = histogram(tail, key="k", title="T", unit="").markup
    assert "The last bar is of all from 2 on." in drawn and "Bars are of 5 values, drawn by hash." in drawn
    assert drawn.rindex('class="bar"') < drawn.index('class="quiet"', drawn.index("<svg")), "the number is on top"


def test_a_number_with_a_bin_of_its_own_is_told_once() -> None:
    spread = {**SPREAD, "median": 4.0, "histogram": {"edges": [1.0, 2.0, 3.0, 4.0, 4.0], "counts": [1, 1, 1, 2]}}
    drawn = histogram(spread, key="k", title="T", unit="").markup
    assert ">4: 2</title>" in drawn and drawn.count(">4</text>") == 1
    assert drawn.count('x="75.000%"') == 2 and 'x1="75.000%"' in drawn, "its label and the median where its bar begins"


def test_a_histogram_of_one_value_is_a_sentence() -> None:
    spread = {**SPREAD, "min": 2.0, "max": 2.0, "histogram": {"edges": [2.0, 2.0], "counts": [5]}}
    assert "All 5 values are 2 words." in histogram(spread, key="k", title="T", unit="words").markup


def test_bars_are_relative_to_the_largest_and_shares_to_the_whole() -> None:
    drawn = bars([("a", 30), ("b", 10), ("c", 0)], caption="C", whole=60).markup
    assert [part.split('"')[0] for part in drawn.split('width="')[1::1] if part[0].isdigit() and "%" in part[:7]].count(
        "33.33%"
    ) == 1
    assert "50.0 %" in drawn and "16.7 %" in drawn and 'width="0.00%"' in drawn
    assert ">of all<" in drawn and ">beside the largest<" in drawn
    assert ">of all<" not in bars([("a", 30)], caption="C").markup


def test_a_sunburst_is_closed_and_names_what_has_room() -> None:
    verbs = [
        {"verb": "write", "count": 98, "objects": [("poem", 60), ("a" * 40, 20)]},
        {"verb": "tiny", "count": 2, "objects": []},
    ]
    drawn = sunburst(verbs, key="k", title="T").markup
    assert drawn.count("<path") == 4
    assert ">write</text>" in drawn and ">tiny</text>" in drawn and f"{'a' * 12}…" in drawn
    whole = sunburst([{"verb": "only", "count": 3, "objects": [("one", 3)]}], key="k", title="T").markup
    assert "nan" not in whole and whole.count("<path") == 2


def test_numbers_are_written_for_people() -> None:
    assert [number(value) for value in (0, 12345, 0.12345, 1234.5, 5.0, -3, 999.7, -123.4, 99.95)] == [
        "0",
        "12,345",
        "0.123",
        "1,234",
        "5",
        "-3",
        "1,000",
        "-123",
        "100",
    ]
    assert [share(1, 3), share(0, 0), share(0, 9), share(9, 9)] == ["33.3 %", "-", "0.0 %", "100.0 %"]
    assert [share(1, 10_000), share(9_999, 10_000), share(1, 1_000)] == ["< 0.1 %", "> 99.9 %", "0.1 %"]


def test_the_facts_are_json(full: dict[str, Any]) -> None:
    assert make_page(json.loads(json.dumps(full))) == make_page(full)

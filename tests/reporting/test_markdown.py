"""Foreign text in Markdown and YAML, by real parsers of both: it is shown as it is, and it is never markup."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from distill_data.reporting.markdown import code, escaped, fenced, one_line, quoted
from distill_data.reporting.plain import plain

NASTY = "`*_~[]()<>#!|\\&;:-+\"'{}\n\r\t \u2028\u2029\x85\ufeff\ufffe\u202e\x1b\0$@^=%?,."
texts = st.text(st.sampled_from(NASTY) | st.sampled_from("ab二\U0001f600") | st.characters())
PARSER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


def inline(markdown: str) -> list[tuple[str, str]]:
    """Kind and content of what a line of text is made of."""
    tokens = PARSER.parse(markdown)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    return [(each.type, each.content) for each in tokens[1].children or ()]


@given(texts)
@example("``` `")
@example("`")
def test_code_on_a_line_is_the_text_and_nothing_else(text: str) -> None:
    shown = one_line(text)
    expected = [("text", "a "), ("code_inline", shown), ("text", " b")] if shown else [("text", "a (empty) b")]
    assert inline(f"a {code(text)} b") == expected


@given(texts)
@example("---\nlicense: mit\n---")
@example("![x](https://example.com/x.png) <img src=x onerror=alert(1)> &lt; http://a.b")
def test_escaped_text_is_text(text: str) -> None:
    found = inline(f"a {escaped(text)} b")
    assert {kind for kind, _ in found} <= {"text", "text_special"}
    assert "".join(content for _, content in found) == f"a {one_line(text)} b"


@given(texts.filter(str.strip))
@example("- a")
@example("+ a")
@example("12. a")
@example("1) a")
@example("# a")
@example("===")
def test_escaped_text_begins_no_list_and_no_heading(text: str) -> None:
    for before, kinds in (("", ["paragraph"]), ("- ", ["bullet_list", "list_item", "paragraph"])):
        opened = [token.type for token in PARSER.parse(f"{before}{escaped(text)}") if token.nesting == 1]
        assert opened == [f"{kind}_open" for kind in kinds]


@given(texts)
@example("```\n# out\n```")
@example("~~~")
@example("````json")
def test_a_fence_holds_whatever_is_in_it(text: str) -> None:
    tokens = PARSER.parse(f"before\n\n{fenced(text, 'json')}\n\nafter")
    assert [token.type for token in tokens if not token.type.startswith(("paragraph", "inline"))] == ["fence"]
    fence = next(token for token in tokens if token.type == "fence")
    assert (fence.info, fence.content) == ("json", plain(text) + "\n")
    assert [token.content for token in tokens if token.type == "inline"] == ["before", "after"]


@given(texts)
@example("yes")
@example("x: y # z\n- a")
@example("\ud800")
def test_a_quoted_scalar_is_the_text(text: str) -> None:
    document = f"a: {quoted(text)}\nb:\n  - {quoted(text)}\n"
    whole = text.encode("utf-8", "replace").decode()
    assert yaml.safe_load(document) == {"a": whole, "b": [whole]}
    assert "\n" not in quoted(text)


def test_a_line_is_cut() -> None:
    assert one_line("x" * 500) == "x" * 200 + "…"
    assert code("  ") == "(empty)"


@pytest.mark.parametrize(
    "text", ["no", "1.0", "~", "2024-01-01", "{a: b}", "*x", "!!python/object:os.system", "\x7f", "\ud800x"]
)
def test_words_that_yaml_reads_otherwise_stay_text(text: str) -> None:
    assert yaml.safe_load(f"a: {quoted(text)}") == {"a": text.encode("utf-8", "replace").decode()}

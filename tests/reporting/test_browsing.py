"""Rows as lines for a terminal: nothing is obeyed, nothing is lost, no line is wider than the screen."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.reporting.browsing import answer_lines, columns_of, lines_of, wrap
from distill_data.reporting.parts import parts_of, row_of_reject
from distill_data.reporting.plain import plain
from tests.poison import payloads

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
COLUMNS = st.sampled_from(
    ["id", "kind", "prompt", "meta", "text", "responses", "answers", "reason", "outcome", "row", "x"]
)
ROWS = st.dictionaries(COLUMNS | st.text(max_size=6), JSON, max_size=8)


def shown(row: dict[str, Any], width: int = 0) -> list[str]:
    return [line.text for line in lines_of(row, "file.jsonl, row 1 of 2", width)]


@settings(max_examples=40)
@given(ROWS, st.integers(4, 100))
def test_any_row_is_plain_lines_that_fit(row: dict[str, Any], width: int) -> None:
    for line in shown(row, width):
        assert line == plain(line, one_line=True)
        assert sum(map(columns_of, line)) <= width
    assert "file.jsonl" in "".join(shown(row))


@given(st.sampled_from(payloads()) | st.text(min_size=1))
def test_a_text_is_shown_whole_and_obeyed_never(text: str) -> None:
    row = {"prompt": [{"role": text, "content": text}], "meta": {text: text}, text: 1, "responses": [text, "b"]}
    said = "\n".join(shown(row))
    assert said == plain(said)
    for line in text.split("\n"):
        assert plain(line.replace("\t", "    "), one_line=True) in said


@given(st.text(), st.integers(2, 40))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    pieces = list(wrap(plain(text, one_line=True), width))
    assert "".join(pieces) == plain(text, one_line=True)
    assert all(sum(map(columns_of, piece)) <= width for piece in pieces)


def test_lines_break_at_spaces_and_chinese_counts_two() -> None:
    assert list(wrap("one two three four", 9)) == ["one two ", "three ", "four"]
    assert list(wrap("数据蒸馏方法", 5)) == ["数据", "蒸馏", "方法"]
    assert list(wrap("x" * 7, 3)) == ["xxx", "xxx", "x"]


def test_a_record_is_in_reading_order() -> None:
    row = {
        "id": "abc", "kind": "sft",
        "prompt": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?\nsay"}],
        "completion": [{"role": "assistant", "content": "so", "reasoning_content": "hm", "tool_calls": [{"id": "c1"}]}],
        "quality": 4.5, "embedding": [0.5] * 100,
        "meta": {"seed_id": "s", "details": '{"a":1}'},
    }  # fmt: skip
    assert shown(row) == [
        "abc · sft · file.jsonl, row 1 of 2",
        "", "prompt · system", "  be brief",
        "", "prompt · user", "  why?", "  say",
        "", "completion · assistant", "  (reasoning) hm", "  ", "  so", "  ", '  {"tool_calls": [{"id": "c1"}]}',
        "", "  quality: 4.5", "  embedding: [0.5, 0.5, 0.5, … 100 numbers]",
        "meta", "  seed_id: s", "  details: {", '      "a": 1', "    }",
    ]  # fmt: skip


def test_a_reject_says_why_first() -> None:
    reject = {
        "item": "i1",
        "outcome": "failed",
        "reason": "no-tag",
        "detail": "none",
        "answers": ["raw\x1b[2J"],
        "seed": '{"q": "why"}',
    }
    said = shown(reject)
    assert said[:3] == ["failed · no-tag · file.jsonl, row 1 of 2", "  none", "  item: i1"]
    assert "  q: why" in said and said[-2:] == ["raw answer 1", "  raw\\x1b[2J"]
    assert shown(reject, 60)[-1] == "raw answers: 1, key a"
    evidence = {"outcome": "rejected", "reason": "contamination", "detail": '{"benchmark":"b.jsonl","share":1.0}'}
    assert shown(evidence)[1:] == ["  benchmark: b.jsonl", "  share: 1.0"]
    assert "  old" in shown({"line": 3, "outcome": "rejected", "reason": "words", "detail": "", "row": {"text": "old"}})


def test_a_very_long_text_is_cut_while_browsing_only() -> None:
    row = {"text": "word " * 40_000}
    assert any("cut: 100,000 more characters" in line for line in shown(row, 80))
    assert not any("cut:" in line for line in shown(row))
    assert answer_lines([], [])[0].text.startswith("no raw answer is known")


def test_parts_of_every_shape() -> None:
    chats = {"completions": [[{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]]}
    assert [part.column for part in parts_of(chats).texts] == ["completions 1", "completions 2"]
    assert parts_of({"conversations": [{"from": "human", "value": "hi"}]}).texts[0].role == "human"
    picture = [{"type": "image", "url": "x"}, {"type": "text", "text": "see"}]
    assert parts_of({"messages": [{"role": "user", "content": picture}]}).texts[0].text.endswith("see")
    assert row_of_reject({"seed": "no json"}) == {"seed": "no json"} and row_of_reject({}) == {}
    assert json.loads(dict(parts_of({"deep": {"a": [1]}}).values)["deep"]) == {"a": [1]}

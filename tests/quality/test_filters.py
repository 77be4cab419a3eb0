"""Checks on rows: good and bad texts for each, in English and Chinese, and any spec and any text at all."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from distill_data.cli.app import make_app
from distill_data.errors import SeedError, UsageError
from distill_data.quality.filters import FILTERS, files_read, limits, make_filter

PROSE = (
    "Bread rises because yeast turns sugar into gas. The gas is held by the dough, which was kneaded until it "
    "stretches. In the oven the bubbles grow once more, until the crumb sets and the crust becomes brown. Let it cool "
    "on a rack, so that the bottom stays dry, and cut it only when the inside has become firm enough for a knife"
)
CHINESE = "面包发酵是因为酵母把糖变成了气体。气体被面团包住，面团揉得越久就越有弹性。放进烤箱以后，气泡继续变大。"
CASES = [
    ("length:1,20", "short", "", "too-short"),
    ("length:1,20", "今天下雨", "今" * 21, "too-long"),
    ("length:,5", "12345", "123456", "too-long"),
    ("words:3,6", "one two three", "one two", "too-few-words"),
    ("words:3,6", "今天下雨", "今天的雨下得真大", "too-many-words"),
    ("language:en", PROSE, CHINESE, "language"),
    ("language:zh", CHINESE, PROSE, "language"),
    ("language:de", "Nein.", PROSE, "language"),
    ("refusal", "I can't help but smile at it.", "I'm sorry, but I can't help with that.", "refusal"),
    ("refusal", "很抱歉听到这个消息。", "很抱歉，我无法提供这方面的帮助。", "refusal"),
    ("truncation", PROSE + ".", PROSE + " and", "truncated"),
    ("truncation", CHINESE * 2, CHINESE * 2 + "然后把面包放在架子上晾", "truncated"),
    ("truncation", "Use:\n```py\nx = 1\n```", "Use:\n```py\nx = 1", "truncated"),
    ("repetition", PROSE, "I like it a lot. " * 20, "repetition"),
    ("repetition", CHINESE, "我非常喜欢它的味道。" * 10, "repetition"),
    ("repetition:0.9", "I like it a lot. " * 5, "I like it a lot. " * 50, "repetition"),
    ("boilerplate", PROSE, "As an AI language model, I cannot eat.", "boilerplate"),
    ("boilerplate", CHINESE, "作为一个人工智能，我不能吃面包。", "boilerplate"),
    ("substance", "Bread.", "It is what it is.", "no-substance"),
    ("substance", "面包", "的了吗。", "no-substance"),
    ("toxicity", "Scunthorpe is a town.", "This is shit!", "toxicity"),
    ("toxicity", "妈妈的面包", "他妈的面包", "toxicity"),
    ("pii", "version 1.2.3.4 of 2024-01-15", "jane@acme.com", "pii-email"),
    ("pii", "2024年1月15日第3版", "电话13812345678。", "pii-phone"),
    ("pii:ip,key", "jane@acme.com", "at 81.2.69.142", "pii-ip"),
    ("regex:^[0-9]+$", "123", "12a", "regex"),
    ("regex:面包", CHINESE, "米饭", "regex"),
    ("no-regex:(?i)todo", "done", "ToDo: more", "no-regex"),
    ("choice:yes, no", " yes ", "maybe", "not-a-choice"),
    ("choice:正面,负面", "正面", "中性", "not-a-choice"),
    ("regex:a:b", "a:b", "a", "regex"),
]


def row(text: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "Tell me about bread.", "completion": text, **more}


@pytest.mark.parametrize(("spec", "good", "bad", "reason"), CASES)
def test_each_check_passes_what_is_good_and_names_what_is_bad(spec: str, good: str, bad: str, reason: str) -> None:
    check = make_filter(spec)
    assert check(row(good)) is None
    assert check(row(bad)) == reason
    assert check({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": bad}]}) == reason


def test_every_check_has_a_case_or_a_test_of_its_own() -> None:
    own = {"schema", "verifier", "score", "perplexity", "function"}
    assert {re.split("[@:]", spec)[0] for spec, *_ in CASES} | own == set(FILTERS)


def test_every_check_is_in_the_help() -> None:
    shown = CliRunner().invoke(make_app(), ["filter", "--help"]).stdout
    listed = shown.partition("Checks, each as")[2].partition("Examples:")[0]
    names = set(re.findall(r"(?<![-\w])[a-z]+(?:-[a-z]+)*", listed))
    assert set(FILTERS) <= names


def test_the_column_that_is_looked_at() -> None:
    there = {
        "prompt": "jane@acme.com",
        "completion": "fine",
        "note": "joe@acme.com",
        "meta": {"seed_id": "415-555-2671"},
    }
    assert make_filter("pii")(there) is None
    assert make_filter("pii@x")(there) == make_filter("pii@note")(there) == make_filter("pii@x+y")(there) == "pii-email"
    assert make_filter("pii@meta.seed_id")(there) == "pii-phone"
    with pytest.raises(SeedError, match="there is no column 'nope'; there are: prompt, completion, note, meta"):
        make_filter("pii@nope")(there)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "NAME"),
        ("Length:1", "NAME"),
        ("length@:1,2", "NAME"),
        ("lenght:1,2", "Did you mean 'length'"),
        ("length", "MIN,MAX is wanted"),
        ("length:,", "MIN,MAX is wanted"),
        ("length:5,1", "above the most"),
        ("length:a,b", "no pair of numbers"),
        ("words:nan,5", "nan"),
        ("language", "such as language:en"),
        ("language:english", "There is no language"),
        ("refusal:yes", "takes no arguments"),
        ("repetition:x", "no pair"),
        ("toxicity:no-such-file.txt", "cannot be read"),
        ("toxicity:a\0b", "cannot be read"),
        ("toxicity:.", "cannot be read"),
        ("pii:mail", "Did you mean 'email'"),
        ("schema", "a file with the JSON schema"),
        ("schema:no-such-file.json", "cannot be read"),
        ("regex", "a pattern is wanted"),
        ("regex:(", "is no pattern"),
        ("regex:a{99999999999}", "is no pattern"),
        ("regex:" + "(" * 5000 + ")" * 5000, "is no pattern"),
        ("choice", "the choices are wanted"),
        ("choice:,", "the choices are wanted"),
        ("verifier:nope", "There is no verifier"),
        ("verifier:tests", "off by default"),
        ("score", "a column and its limits"),
        ("score:quality", "MIN,MAX is wanted"),
        ("score@x:quality,3", "looks at the whole row"),
        ("perplexity", "MIN,MAX is wanted"),
        ("function:os", "MODULE:FUNCTION is wanted"),
        ("function:no_such_module:f", "cannot be imported"),
        ("function:json:nope", "cannot be imported"),
        ("function:json:__name__", "is no function, but str"),
        ("function:.x:f", "cannot be imported"),
    ],
)
def test_what_is_no_check_is_said(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        make_filter(spec)
    assert len(str(caught.value)) < 600


@given(
    st.one_of(
        st.text(max_size=60),
        st.builds("{}{}{}".format, st.sampled_from([*FILTERS, "x"]), st.sampled_from("@: "), st.text(max_size=40)),
    )
)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_spec_is_a_check_or_refused(spec: str) -> None:
    if spec.startswith("function"):
        return  # it would import whatever bears the name
    try:
        check = make_filter(spec)
    except UsageError:
        return
    try:
        assert isinstance(check(row("Some text. 一些文字。", answer="1")), str | None)
    except SeedError as error:
        assert "column" in str(error)


PLAIN = [
    "length:1,9",
    "words:1,9",
    "language:zh",
    "refusal",
    "truncation",
    "repetition",
    "boilerplate",
    "substance",
    "toxicity",
    "pii",
]


@given(st.text())
@settings(max_examples=200)
def test_any_text_has_a_reason_or_none(text: str) -> None:
    for spec in PLAIN:
        assert make_filter(spec)(row(text)) is None or re.fullmatch(r"[a-z-]+", str(make_filter(spec)(row(text))))


HOSTILE = [
    "a",
    "a ",
    "```\n",
    "~~~~\n",
    "```",
    "\n",
    " ",
    "I'm sorry, ",
    "as an ai ",
    "1 ",
    "中",
    "他妈",
    "e\u0301\u0302",
    "[",
    '{"a":',
    '"',
    "- ",
    "\u200d",
    "a.",
    "😀",
]


def through_every_check(unit: str, size: int, schema: Path) -> None:
    text = unit * (size // len(unit))
    for spec in [
        *PLAIN,
        f"schema:{schema}",
        "choice:a,b",
        "verifier:normalised",
        "verifier:numeric",
        "verifier:json",
        "verifier:set",
    ]:
        assert isinstance(make_filter(spec)(row(text, answer=text)), str | None)


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "answer.json"
    path.write_text('{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}')
    return path


@pytest.mark.timeout(60)  # the square of the length takes far longer
@pytest.mark.parametrize("unit", HOSTILE)
def test_long_texts_are_read_once(unit: str, schema: Path) -> None:
    through_every_check(unit, 1 << 15, schema)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("unit", HOSTILE)
def test_much_longer_texts_are_read_once_too(unit: str, schema: Path) -> None:
    through_every_check(unit, 1 << 18, schema)


def test_schema(schema: Path, tmp_path: Path) -> None:
    check = make_filter(f"schema:{schema}")
    assert check(row('{"name": "面包"}')) is None
    assert check(row('{"name": 1}')) == "schema"
    assert check(row("no JSON")) == "not-json"
    assert files_read((f"schema:{schema}", "length:1,2")) == [schema]
    for content in ("{", '{"type": "nope"}', "[]", "\xff"):
        (tmp_path / "bad.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(UsageError):
            make_filter(f"schema:{tmp_path / 'bad.json'}")


def test_a_word_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("gluten free\n面粉\n\n", encoding="utf-8")
    spec = f"toxicity:{tmp_path / 'words.txt'}"
    check = make_filter(spec)
    assert [check(row(text)) for text in ("It is Gluten-Free!", "高筋面粉", "gluten, for free", "shit")] == [
        "toxicity"
    ] * 2 + [None] * 2
    assert files_read((spec,)) == [tmp_path / "words.txt"]


def test_verifiers_compare_with_the_answer_or_another_column() -> None:
    assert make_filter("verifier:numeric")(row("So it is 42.", answer="42")) is None
    assert make_filter("verifier:numeric")(row("So it is 41.", answer="42")) == "wrong-answer"
    assert make_filter("verifier:exact,gold")(row("面包", gold="面包")) is None
    with pytest.raises(SeedError, match="no column 'answer'"):
        make_filter("verifier:exact")(row("x"))


def test_scores_and_perplexity() -> None:
    check = make_filter("score:quality,3,5")
    reasons = [check(row("x", quality=value)) for value in (2.9, 3, 5.0, 5.1, math.nan)]
    assert reasons == ["low-quality", None, None, "high-quality", "low-quality"]
    assert make_filter("score:quality,,5")(row("x", quality=math.nan)) == "high-quality"
    assert make_filter("perplexity:,100")(row("x", perplexity=101.5)) == "high-perplexity"
    for value in (None, "4", True):
        with pytest.raises(SeedError, match="holds no number"):
            check(row("x", quality=value))


@given(st.text("0123456789.,-e nainf", max_size=12))
def test_limits_are_ordered_or_refused(args: str) -> None:
    try:
        least, most = limits(args)
    except UsageError:
        return
    assert (least, most) != (None, None)
    assert least is None or most is None or least <= most


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "own_checks_here.py"
    sys.modules.pop("own_checks_here", None)


def test_a_function_of_ones_own(module: Path) -> None:
    module.write_text(
        "def keep(row): return len(row['completion']) > 3\n"
        "def why(row): return 'no-rye' if 'rye' not in row['completion'] else None\n"
    )
    assert make_filter("function:own_checks_here:keep")(row("long enough")) is None
    assert make_filter("function:own_checks_here:keep")(row("x")) == "keep"
    assert make_filter("function:own_checks_here:why")(row("wheat")) == "no-rye"
    assert make_filter("function:own_checks_here:why")(row("rye")) is None
    assert files_read(("function:own_checks_here:keep",)) == [module]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('nope')", "stopped here: KeyError"),
        ("return row['nope']", "stopped here: KeyError"),
        ("import sys; sys.exit(3)", "stopped here: SystemExit"),
        ("return 1", "gave 1"),
        ("return []", "gave \\[\\]"),
        ("return ''", "gave ''"),
        ("return '  '", "gave '  '"),
        ("return b'x' * 10000", "gave b'xxx"),
        ("return keep(row)", "stopped here: RecursionError"),
    ],
)
def test_a_function_that_fails_or_gives_rubbish(module: Path, body: str, words: str) -> None:
    module.write_text(f"def keep(row):\n    {body}\n")
    with pytest.raises(SeedError, match=words) as caught:
        make_filter("function:own_checks_here:keep")(row("x"))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content", ["raise ValueError('no')", "import sys; sys.exit(1)", "def keep(:", "import no_such_thing", "1 / 0"]
)
def test_a_module_that_cannot_be_imported(module: Path, content: str) -> None:
    module.write_text(content)
    with pytest.raises(UsageError, match="cannot be imported"):
        make_filter("function:own_checks_here:keep")


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["一个好答案。", "作为一个人工智能，我不知道。", "A good answer.", "jane@acme.com"]
    Path("in.jsonl").write_text("".join(json.dumps(row(text)) + "\n" for text in texts))
    done = CliRunner().invoke(make_app(), ["filter", "in.jsonl", "-c", "boilerplate", "-c", "pii", "-o", "out.jsonl"])
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["completion"] for line in Path("out.jsonl").read_text().splitlines()] == [
        texts[0],
        texts[2],
    ]
    rejects = [json.loads(line) for line in Path("out.rejects.jsonl").read_text().splitlines()]
    assert [(each["line"], each["reason"], each["detail"]) for each in rejects] == [
        (2, "boilerplate", "boilerplate"),
        (4, "pii-email", "pii"),
    ]

"""`decontaminate`: what it writes, what it only shows, and what it refuses, on files and from a shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.decontaminate import Search, decontaminate, find_contamination, make_rules
from distill_data.errors import SeedError, UsageError, YieldError
from tests.cli.command import paragraph, run
from tests.planted import Planted, plant

QUESTION = "A ferry crosses the strait in 50 minutes against the tide; how long does it take with the tide?"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture
def files(tmp_path: Path, planted: Planted) -> tuple[str, str]:
    rows, benchmark = write(tmp_path / "rows.jsonl", *planted.rows), write(tmp_path / "b.jsonl", *planted.benchmark)
    return str(rows), str(benchmark)


def leaked(planted: Planted) -> set[str]:
    return {name for name, truth in planted.truth.items() if truth.kind == "contaminated"}


def test_the_leaked_rows_fall_and_the_others_stay_byte_for_byte(
    tmp_path: Path, files: tuple[str, str], planted: Planted
) -> None:
    done = decontaminate(files[0], Search([files[1]]), output=str(tmp_path / "out.jsonl"))
    before = Path(files[0]).read_bytes().splitlines(keepends=True)
    fallen = read(tmp_path / "out.rejects.jsonl")
    assert {each["row"]["id"] for each in fallen} == leaked(planted)
    numbers = {each["line"] for each in fallen}
    kept = [line for number, line in enumerate(before, 1) if number not in numbers]
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(kept)
    assert done.result["reasons"] == {"contamination": 20}


def test_the_rejects_name_the_item_and_quote_the_row(tmp_path: Path, files: tuple[str, str], planted: Planted) -> None:
    decontaminate(files[0], Search([files[1]]), output=str(tmp_path / "out.jsonl"))
    for each in read(tmp_path / "out.rejects.jsonl"):
        detail = json.loads(each["detail"])
        item = planted.benchmark[detail["benchmark_line"] - 1]
        assert planted.truth[each["row"]["id"]].of == item["id"]
        assert detail["benchmark"] == files[1]
        assert detail["share"] == 1.0
        assert detail["text"] in each["row"]["prompt"][0]["content"]


def test_the_manifest_says_how_much_of_each_benchmark_was_hit(tmp_path: Path, files: tuple[str, str]) -> None:
    other = str(write(tmp_path / "other.jsonl", {"problem": QUESTION}, {"problem": "Name two lakes."}))
    again = str(write(tmp_path / "again.jsonl", *read(Path(files[1]))[:3]))
    decontaminate(files[0], Search([files[1], other, again, other]), output=str(tmp_path / "out.jsonl"))
    result = read_manifest(tmp_path / "out.manifest.json")
    first, second, third = result["benchmarks"]
    assert first == {"name": files[1], "items": 30, "hit": 20, "share": 0.666667, "rows": 20}
    assert second == {"name": other, "items": 2, "hit": 0, "share": 0.0, "rows": 0}
    assert (third["items"], third["hit"]) == (3, third["rows"])
    assert result["settings"]["ngram"] == 8
    assert {each["name"] for each in result["settings"]["against"]} == {files[1], other, again}


def read_manifest(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_bytes())["result"]
    return result


def test_equal_inputs_leave_the_files_and_another_benchmark_or_rule_does_not(
    tmp_path: Path, files: tuple[str, str]
) -> None:
    output = str(tmp_path / "out.jsonl")
    assert decontaminate(files[0], Search([files[1]]), output=output).changed
    assert not decontaminate(files[0], Search([files[1]]), output=output).changed
    assert decontaminate(files[0], Search([files[1]], rules=make_rules(ngram=13)), output=output).changed
    write(Path(files[1]), {"question": QUESTION})
    assert decontaminate(files[0], Search([files[1]], rules=make_rules(ngram=13)), output=output).changed


def test_the_look_writes_nothing_and_finds_the_same(tmp_path: Path, files: tuple[str, str], planted: Planted) -> None:
    before = sorted(tmp_path.iterdir())
    found = find_contamination(files[0], Search([files[1]]))
    assert sorted(tmp_path.iterdir()) == before
    assert {planted.rows[ordinal]["id"] for ordinal in found.findings} == leaked(planted)
    assert found.rows == 2000


SHAPES: list[dict[str, Any]] = [
    {"instruction": "Answer.", "input": QUESTION, "output": "Less."},
    {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": "Less."}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]},
    {"prompt": [{"role": "user", "content": "Ask me."}], "chosen": [{"role": "assistant", "content": QUESTION}]},
    {"prompt": f"First, {QUESTION}"},
    {"text": f"Lorem ipsum. {QUESTION} Dolor sit amet."},
]


@pytest.mark.parametrize("asked", ["question", "problem", "instruction", "prompt", "messages"])
def test_rows_and_benchmarks_may_have_any_shape(tmp_path: Path, asked: str) -> None:
    value: Any = [{"role": "user", "content": QUESTION}] if asked == "messages" else QUESTION
    benchmark = write(tmp_path / "b.jsonl", {asked: value, "answer": 30})
    rows = write(tmp_path / "rows.jsonl", *SHAPES, {"text": "Nothing of that kind."})
    assert list(find_contamination(str(rows), Search([str(benchmark)])).findings) == [0, 1, 2, 3, 4, 5]


def test_only_the_named_columns_are_looked_at(tmp_path: Path) -> None:
    benchmark = str(write(tmp_path / "b.jsonl", {"id": 1, "question": QUESTION, "choices": ["one", "two"]}))
    rows = str(write(tmp_path / "rows.jsonl", {"question": "Why?", "answer": QUESTION, "note": QUESTION}))
    assert list(find_contamination(rows, Search([benchmark])).findings) == [0]
    assert list(find_contamination(rows, Search([benchmark], on="note")).findings) == [0]
    assert not find_contamination(rows, Search([benchmark], on="x")).findings
    assert not find_contamination(rows, Search([benchmark], benchmark_on="choices")).findings
    with pytest.raises(SeedError, match=r"rows\.jsonl:1: there is no column 'gone'"):
        find_contamination(rows, Search([benchmark], on="x+gone"))


def test_an_answer_column_that_is_not_there_is_said(tmp_path: Path, files: tuple[str, str]) -> None:
    with pytest.raises(SeedError, match=r"b\.jsonl:1: there is no column 'gold'"):
        find_contamination(files[0], Search([files[1]], answer="gold"))


def test_a_dataset_that_is_the_benchmark_falls_whole(tmp_path: Path, planted: Planted) -> None:
    rows = str(write(tmp_path / "rows.jsonl", *planted.rows[:400]))
    assert len(find_contamination(rows, Search([rows])).findings) == 400
    with pytest.raises(YieldError, match="400 contamination"):
        decontaminate(rows, Search([rows]), output=str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ngram": 3}, "--ngram 3"),
        ({"ngram": 101}, "4 to 100 words"),
        ({"coverage": 0}, "--coverage 0"),
        ({"fuzzy": 1.1}, "--fuzzy 1.1"),
        ({"coverage": float("nan")}, "--coverage nan"),
        ({"method": "magic"}, "known are ngram, substring"),
    ],
)
def test_rules_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_rules(**options)


def test_no_benchmark_is_a_mistake(files: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="--against"):
        find_contamination(files[0], Search([]))


BAD: list[tuple[bytes, str]] = [
    (b"", "no rows in this file"),
    (b'{"question":"\xff"}\n', r"is not UTF-8"),
    (b'{"question":"?!"}\n', "no row has a word in x"),
    (b'{"foo":1}\n', "b.jsonl:1: no column is known"),
    (b'{"question":"Who?"}\nnonsense\n', "b.jsonl:2"),
    (b'["Who?"]\n', "b.jsonl:1"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_a_bad_benchmark_is_said_with_its_place(
    tmp_path: Path, files: tuple[str, str], content: bytes, said: str
) -> None:
    (tmp_path / "b.jsonl").write_bytes(content)
    with pytest.raises(SeedError, match=said):
        find_contamination(files[0], Search([files[1]]))


@pytest.mark.slow
def test_a_row_of_twenty_megabytes_is_searched_to_its_end(tmp_path: Path) -> None:
    benchmark = write(tmp_path / "b.jsonl", {"question": QUESTION})
    rows = write(tmp_path / "rows.jsonl", {"text": f"{'lorem ipsum ' * 1_700_000} {QUESTION}"}, {"text": "short"})
    found = find_contamination(str(rows), Search([str(benchmark)])).findings
    assert list(found) == [0]
    assert found[0].text == QUESTION.rstrip("?")


def test_on_the_command_line_the_first_look_shows_the_words(tmp_path: Path, files: tuple[str, str]) -> None:
    done = run("decontaminate", "rows.jsonl", "--against", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 40
    assert lines[0].startswith("rows.jsonl:")
    assert "b.jsonl:" in lines[0]
    assert "20 of 2,000 rows hold items; nothing was written" in done.stderr
    assert "b.jsonl: 20 of 30 items in 20 rows (66.7%, above 2 %)" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.jsonl", "rows.jsonl"]


def test_a_dry_run_is_one_with_an_output_too(tmp_path: Path, files: tuple[str, str]) -> None:
    run("decontaminate", "rows.jsonl", "--against", "b.jsonl", "-o", "out.jsonl", "--dry-run", cwd=tmp_path)
    assert not (tmp_path / "out.jsonl").exists()
    done = run("decontaminate", "rows.jsonl", "--against", "b.jsonl", "-o", "out.jsonl", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert (result["rows"], result["kept"], result["benchmarks"][0]["hit"]) == (2000, 1980, 20)
    assert len(read(tmp_path / "out.jsonl")) == 1980


def test_json_has_every_finding(tmp_path: Path, files: tuple[str, str]) -> None:
    done = run("decontaminate", "rows.jsonl", "--against", "b.jsonl", "--json", cwd=tmp_path)
    findings = json.loads(done.stdout)["findings"]
    assert len(findings) == 20
    rows = read(tmp_path / "rows.jsonl")
    assert all(each["text"] in rows[each["line"] - 1]["prompt"][0]["content"] for each in findings)


def test_what_a_row_says_does_not_command_the_terminal(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", {"question": QUESTION})
    write(tmp_path / "rows.jsonl", {"text": QUESTION.replace("ferry", "ferry \x1b[\n")})
    done = run("decontaminate", "rows.jsonl", "--against", "b.jsonl", cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert "ferry \\x1b[\\x0a" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no benchmark is given"),
        (("--against", "gone.jsonl"), "gone.jsonl"),
        (("--against", "b.jsonl", "-o", "b.jsonl"), "is read by this command"),
        (("--against", "b.jsonl", "--rejects", "r.jsonl"), "--rejects"),
        (("--against", "b.jsonl", "--ngram", "many"), "--ngram"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path, files: tuple[str, str], options: tuple[str, ...], said: str
) -> None:
    assert said in paragraph(run("decontaminate", "rows.jsonl", *options, cwd=tmp_path), 2)

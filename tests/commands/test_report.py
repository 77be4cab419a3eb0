"""`report` as a function and as a command: what it reads, what it leaves alone, what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import Options, filter_rows, label, report
from distill_data.commands.report import facts_of
from distill_data.engine.segments import OK, frame
from distill_data.errors import SeedError, UsageError
from tests.system.command import run

LIMIT = 2_000_000
"""Bytes of a page."""


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def page_of(dataset: Path, output: Path) -> str:
    report(str(dataset), output=str(output))
    return output.read_text(encoding="utf-8")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A dataset of a run, with its manifest, rejects and journal."""
    output = tmp_path / "labelled.jsonl"
    label("@sentiment", recipe="annotate", output=str(output), options=Options(teachers=("echo",)))
    return output


def test_a_run_is_told_from_its_manifest_and_its_journal(labelled: Path) -> None:
    facts = facts_of(str(labelled))
    (step,) = facts["steps"]
    assert (step["command"], step["recipe"], step["models"], step["rows"], step["kept"]) == (
        "label", "annotate", [("teacher", "echo")], 84, 84,
    )  # fmt: skip
    assert facts["matches"] is True
    assert facts["replies"]["answers"] == 84 and facts["replies"]["finish"] == {"stop": 84}
    assert facts["replies"]["seconds"] == {}
    assert facts["gold"]["compared"] == 84
    assert facts["profile"]["labels"]["answer"] == {"positive": 84}
    assert len(facts["samples"]) == 20 and facts["samples"][0]["texts"][0]["role"] == "user"
    assert "rejects" not in facts and "contamination" not in facts and "seeds" not in facts


def test_a_file_that_was_changed_since_is_said_to_be(labelled: Path, tmp_path: Path) -> None:
    labelled.write_bytes(labelled.read_bytes().replace(b"battery", b"engine"))
    assert facts_of(str(labelled))["matches"] is False
    assert "was changed since" in page_of(labelled, tmp_path / "page.html")


def test_steps_follow_each_other_and_rejects_are_read(labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "short.jsonl"
    filter_rows(str(labelled), checks=["words@x:1,30"], output=str(output))
    facts = facts_of(str(output))
    assert [step["command"] for step in facts["steps"]] == ["label", "filter"]
    assert facts["counts"]["kept"] + facts["counts"]["rejected"] == 84
    reasons = {each["reason"] for each in facts["rejects"]}
    assert reasons == set(facts["reasons"]) and len(facts["rejects"]) == 3
    assert facts["rejects"][0]["texts"][0]["column"] == "prompt"


def test_judges_are_told_with_their_measures(labelled: Path, tmp_path: Path) -> None:
    manifest = labelled.with_name("labelled.manifest.json")
    stored = json.loads(manifest.read_text())
    stored["result"] |= {
        "measures": {"flips": {"count": 3, "of": 12}, "ties": {"count": 0, "of": 0}},
        "judge": "unreliable",
    }
    manifest.write_text(json.dumps(stored))
    page = page_of(labelled, tmp_path / "page.html")
    assert "flips: the verdict turned" in page and "25.0 %" in page and "3 of 12" in page and "ties:" not in page
    assert "do not rely on its scores" in page


def test_evidence_of_contamination_is_shown(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", [{"text": "kept"}])
    rejects = [
        {
            "line": n,
            "outcome": "rejected",
            "reason": "contamination",
            "detail": json.dumps({"benchmark": "bench.jsonl", "line": n}),
            "row": {"text": "a leak"},
        }
        for n in range(15)
    ]
    write(tmp_path / "d.rejects.jsonl", rejects)
    facts = facts_of(str(dataset))
    assert facts["contamination"]["rows"] == 15 and len(facts["contamination"]["shown"]) == 10
    assert facts["contamination"]["shown"][0]["facts"][0] == ("benchmark", "bench.jsonl")
    assert facts["contamination"]["shown"][0]["place"] == "d.rejects.jsonl:2" and "rejects" not in facts
    assert "<dt>benchmark</dt>" in page_of(dataset, tmp_path / "p.html")


def test_the_same_rows_give_the_same_page_wherever_they_lie(tmp_path: Path) -> None:
    rows = [{"text": f"row {n % 3}", "label": n % 3 == 0} for n in range(30)]
    (tmp_path / "other").mkdir()
    pages = [page_of(write(folder / "d.jsonl", rows), tmp_path / "p.html") for folder in (tmp_path, tmp_path / "other")]
    assert pages[0] == pages[1] and str(tmp_path) not in pages[0] and ">d.jsonl:" in pages[0]


def test_shares_are_of_all_values_and_repeated_rows_of_both_texts(tmp_path: Path) -> None:
    rows = [{"instruction": "Say.", "output": str(n // 2), "topic": f"t{n // 4:02}"} for n in range(120)]
    page = page_of(write(tmp_path / "d.jsonl", rows), tmp_path / "p.html")
    assert page.count('<td class="n">3.3 %</td>') == 30, "4 of 120, not of those that are shown"
    for name, share in (("x", "99.2 %"), ("y", "50.0 %"), ("rows, in x and y together", "50.0 %")):
        assert f'<th scope="row">{name}</th><td class="n">{share}</td>' in page


def test_latency_is_told_where_the_server_told_it(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", [{"text": "x"}])
    journal = tmp_path / "d.run" / "journal"
    journal.mkdir(parents=True)
    bodies = [
        {"timings": {"prompt_ms": 500, "predicted_ms": 1500}, "choices": [{"finish_reason": "length"}]},
        {"usage": {"total_time": 4.0}, "choices": [{"finish_reason": "stop"}]},
        {"choices": "odd"},
        ["no object"],
    ]
    lines = [frame(OK, f"{n:064x}", "0" * 16, (1, n, 0), json.dumps(body).encode()) for n, body in enumerate(bodies)]
    (journal / "000001.jsonl").write_bytes(b"".join(lines) + b'{"k":"torn')
    (journal / "000002.jsonl").write_bytes(lines[0].replace(b"length", b"LENGTH"))
    found = facts_of(str(dataset))["replies"]
    assert (found["answers"], found["finish"]) == (4, {"not said": 2, "length": 1, "stop": 1})
    assert (found["seconds"]["min"], found["seconds"]["max"], found["seconds"]["count"]) == (2.0, 4.0, 2)


def test_seeds_are_counted_by_their_children(tmp_path: Path) -> None:
    def row(seed: str, details: dict[str, Any]) -> dict[str, Any]:
        return {"text": "t", "meta": {"seed_id": seed, "details": json.dumps(details)}}

    rows = [row("own", {"source": "s1", "parents": ["p"]}) for _ in range(3)]
    rows += [
        row("own", {"source": "", "parents": ["p1", "p2"]}),
        row("own", {}),
        {"text": "t", "meta": {"details": "{"}},
    ]
    found = facts_of(str(write(tmp_path / "d.jsonl", rows)))["seeds"]
    assert found["top"] == [("s1", 3), ("own", 1), ("p1", 1), ("p2", 1)] and found["seeds"] == 4


def test_the_largest_groups_of_equal_texts(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ["A  b", "a B", "a b", "c", "c", "d"]]
    assert facts_of(str(write(tmp_path / "d.jsonl", rows)))["groups"] == [("a B", 3), ("c", 2)]


def test_an_unchanged_dataset_leaves_the_page_untouched(labelled: Path, tmp_path: Path) -> None:
    page = tmp_path / "sub" / "page.html"
    first = report(str(labelled), output=str(page))
    before = page.stat()
    again = report(str(labelled), output=str(page))
    assert (first.changed, again.changed, first.bytes) == (True, False, again.bytes)
    assert page.stat().st_mtime_ns == before.st_mtime_ns and page.stat().st_ino == before.st_ino
    labelled.write_bytes(labelled.read_bytes() + labelled.read_bytes().splitlines(keepends=True)[0])
    assert report(str(labelled), output=str(page)).changed
    assert not list(tmp_path.rglob("*.tmp"))


def test_it_overwrites_nothing_that_it_reads(labelled: Path, tmp_path: Path) -> None:
    for output in (
        labelled,
        labelled.with_name("labelled.manifest.json"),
        labelled.with_name("labelled.rejects.jsonl"),
    ):
        before = output.read_bytes()
        with pytest.raises(UsageError, match="would be overwritten"):
            report(str(labelled), output=str(output))
        assert output.read_bytes() == before
    with pytest.raises(UsageError, match="is a folder"):
        report(str(labelled), output=str(tmp_path))


ELSEWHERE: dict[str, list[Any]] = {
    "alpaca": [{"instruction": "Add.", "input": "1 2", "output": "3"}] * 3,
    "sharegpt": [{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}]}],
    "messages": [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "q"}]}]}
    ],
    "text": [{"text": "数据蒸馏是一种方法。" * 40}],
    "unknown": [{"foo": 1, "bar": [1.5] * 30, "baz": None, "deep": {"a": [[1], {"b": "c"}]}}],
    "mixed": [{"text": "a"}, {"prompt": [{"role": "user", "content": "q"}], "completion": []}, {"x": 1}],
    "features": [{"prompt": [], "completion": [], "features": {"file": "a", "rows": 3}, "embedding": [0.1, 0.2, 0.3]}]
    * 3,
    "odd": [{"id": 3, "kind": None, "meta": "text", "prompt": [1, None], "messages": 3, "": ""}, {}],
    "preference": [{"prompt": [{"role": "user", "content": "q"}], "chosen": [], "rejected": [], "chosen_score": 1.5}],
}


@pytest.mark.parametrize("shape", ELSEWHERE)
def test_rows_of_every_shape_have_a_page(shape: str, tmp_path: Path) -> None:
    page = page_of(write(tmp_path / "rows.jsonl", ELSEWHERE[shape]), tmp_path / "page.html")
    assert "there is no manifest beside it" in page and page.endswith("</html>\n")


def test_a_page_is_small_whatever_is_in_the_rows(tmp_path: Path) -> None:
    wide = "\u202e" * 1_000
    rows = [{f"{column} {wide}": f"{number} {wide}" for column in range(30)} for number in range(30)]
    dataset = write(tmp_path / "rows.jsonl", [*rows, {"text": "x" * 2_000_000}])
    write(
        tmp_path / "rows.rejects.jsonl",
        ({"reason": f"r{n} {wide}", "detail": wide, "answers": [wide] * 60} for n in range(60)),
    )
    manifest = {"result": {"command": wide * 99}, "history": {"finished": wide * 99, "version": [wide] * 99}}
    (tmp_path / "rows.manifest.json").write_text(json.dumps(manifest))
    page = page_of(dataset, tmp_path / "page.html")
    assert len(page.encode()) < LIMIT
    assert "more characters" in page


@pytest.mark.slow
def test_a_run_of_ten_thousand_rows_has_a_small_page(tmp_path: Path) -> None:
    seeds = (
        {"instruction": f"Write {n % 97} lines about the number {n}.", "input": "x " * (n % 60)} for n in range(10_000)
    )
    output = tmp_path / "big.jsonl"
    label(
        str(write(tmp_path / "seeds.jsonl", seeds)),
        recipe="answer",
        output=str(output),
        options=Options(teachers=("echo",)),
    )
    page = page_of(output, tmp_path / "page.html")
    assert "10,000 rows of kind sft" in page and "10,000 answers and 0 failed requests" in page
    assert len(page.encode()) < LIMIT


def test_bad_manifests_and_runs_are_passed_over(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", [{"text": "x"}])
    manifest, rejects = tmp_path / "d.manifest.json", tmp_path / "d.rejects.jsonl"
    rejects.write_bytes(b"")
    for text in (
        "",
        "[]",
        "{",
        '{"result": 3}',
        '{"result": {"files": 3, "recipe": [], "reasons": {"a": "b"}, "settings": null}}',
        '{"result": {"gold": {"compared": 3}, "measures": {"a": {"count": "x", "of": 3}}}, "history": {"tokens": "x"}}',
        '{"result": {"gold": {"compared": 3, "equal": 1, "by": {"a": 1, "b": {"compared": null}}}}, "history": {}}',
    ):
        manifest.write_text(text)
        assert "</html>" in page_of(dataset, tmp_path / "page.html")


def test_the_command_line(labelled: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run("report", labelled, "-o", page).ended(0)
    assert done.out == "" and done.err.startswith(f"written: {page}, ")
    assert run("report", labelled, "-o", page).ended(0).err.startswith("unchanged: ")
    told = json.loads(run("report", labelled, "-o", page, "--json").ended(0).out)
    assert told == {"output": str(page), "bytes": page.stat().st_size, "changed": False}
    assert run("report", labelled, "-o", "-").ended(0).out == page.read_text(encoding="utf-8")
    run("report", tmp_path / "gone.jsonl", "-o", page).complained(2, "gone.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    run("report", tmp_path / "latin.jsonl", "-o", page).complained(2, "latin.jsonl:1", "not UTF-8")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    run("report", tmp_path / "empty.jsonl", "-o", page).complained(2, "empty.jsonl", "no rows")
    run("report", labelled, "-o", labelled).complained(2, "would be overwritten")


def test_a_row_that_is_none_is_told_with_its_place(tmp_path: Path) -> None:
    dataset = tmp_path / "d.jsonl"
    dataset.write_text('{"text": "x"}\n[1]\n')
    with pytest.raises(SeedError, match=r"d\.jsonl:2"):
        report(str(dataset), output=str(tmp_path / "p.html"))

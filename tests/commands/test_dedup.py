"""dedup on real files: what is kept, byte for byte, what the rejects and the manifest say, and every bad input."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.dedup import METHODS, Matching, dedup
from distill_data.errors import SeedError, UsageError, YieldError
from tests.cli.command import paragraph, run
from tests.planted import plant

A, A2 = "Explain the history of beekeeping to a nurse.", "could you please explain the history of beekeeping to a nurse"
B, C = "Write a poem about night trains.", "List seven tools for glassblowing in winter."


def write(path: Path, *rows: Any) -> str:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": text}], **more}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rejected(out: Path) -> list[tuple[int, str, str]]:
    rows = read(out.with_name(f"{out.stem}.rejects.jsonl"))
    return [(row["line"], row["reason"], row["detail"]) for row in rows]


def test_the_first_is_kept_byte_for_byte_and_the_other_names_it(tmp_path: Path) -> None:
    lines = [f'{{"prompt" : "{A}", "id": "p1"}}', "", f'{{"prompt": "{B}","id":7}}', f'{{"id":"p3", "prompt": "{A2}"}}']
    source, out = write(tmp_path / "a.jsonl", *lines), tmp_path / "out.jsonl"
    done = dedup(source, output=str(out))
    assert out.read_text(encoding="utf-8") == f"{lines[0]}\n{lines[2]}\n"
    assert rejected(out) == [(4, "duplicate", f"like {source}:1 (id p1), similarity 1")]
    result = json.loads((tmp_path / "out.manifest.json").read_text(encoding="utf-8"))["result"]
    assert result == done.result
    assert (result["rows"], result["kept"], result["reasons"]) == (3, 2, {"duplicate": 1})
    assert result["clusters"] == {
        "number": 1,
        "sizes": {"2": 1},
        "largest": [{"kept": {"line": 1, "id": "p1"}, "rows": 2, "dropped": [{"line": 4, "id": "p3"}]}],
    }
    assert result["settings"] == {
        "method": "fuzzy", "on": "x", "threshold": 0.6, "ngram": 1, "best": "", "against": [],
    }  # fmt: skip
    assert not dedup(source, output=str(out)).changed
    assert dedup(source, Matching(threshold=0.9), output=str(out)).changed


def test_best_keeps_the_highest_number_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [asked(A, q=1), asked(B, q=2), asked(A2, q=9.5), asked(A.upper(), q=9.5), asked(B + "!", q=2)]
    source, out = write(tmp_path / "a.jsonl", *rows), tmp_path / "out.jsonl"
    dedup(source, best="q", output=str(out))
    assert read(out) == [rows[1], rows[2]]
    assert [(line, detail) for line, _, detail in rejected(out)] == [
        (1, f"like {source}:3, similarity 1"),
        (4, f"like {source}:3, similarity 1"),
        (5, f"like {source}:2, similarity 1"),
    ]


def test_rows_of_other_files_are_never_written_and_drop_what_is_like_them(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", asked(A, id="x"), asked(A, id="y"))
    with (tmp_path / "two.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["question", "id"], ["Unrelated words only", "u"], [C, "z"]])
    source = write(tmp_path / "a.jsonl", asked(A2), asked(B), asked(C.lower()), asked(B.upper()))
    out = tmp_path / "out.jsonl"
    done = dedup(source, against=[one, str(tmp_path / "two.csv")], output=str(out))
    assert read(out) == [asked(B)]
    assert rejected(out) == [
        (1, "in-against", f"like {one}:1 (id x), similarity 1"),
        (3, "in-against", f"like {tmp_path / 'two.csv'}:3 (id z), similarity 1"),
        (4, "duplicate", f"like {source}:2, similarity 1"),
    ]
    assert done.result["reasons"] == {"duplicate": 1, "in-against": 2}
    assert done.result["clusters"]["number"] == 1
    assert [each["name"] for each in done.result["settings"]["against"]] == [one, str(tmp_path / "two.csv")]
    write(tmp_path / "one.jsonl", asked(C))
    assert dedup(source, against=[one, str(tmp_path / "two.csv")], output=str(out)).changed


@pytest.mark.parametrize("best", ["", "n"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_and_order_keeps_one_of_each_planted_cluster(method: str, best: str, tmp_path: Path) -> None:
    rng = random.Random(2)
    rows = []
    for group in range(12):
        words = " ".join(f"w{group}x{at}" for at in range(12))
        vector = [float(at == group) for at in range(12)]
        rows += [
            {"question": rng.choice([words, words.upper(), f"{words}!"]), "embedding": vector, "n": rng.random()}
            for _ in range(rng.randint(1, 9))
        ]
    rng.shuffle(rows)
    source, out = write(tmp_path / "a.jsonl", *rows), tmp_path / "out.jsonl"
    done = dedup(source, Matching(method), best=best, output=str(out))
    kept = read(out)
    assert [row for row in rows if row in kept] == kept
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["embedding"].index(1.0), []).append(row)
    wanted = [max(group, key=lambda row: row["n"]) if best else group[0] for group in groups.values()]
    assert sorted(kept, key=rows.index) == sorted(wanted, key=rows.index)
    sizes = [len(group) for group in groups.values() if len(group) > 1]
    clusters = done.result["clusters"]
    assert clusters["number"] == len(sizes) and sum(clusters["sizes"].values()) == len(sizes)
    assert [each["rows"] for each in clusters["largest"]] == sorted(sizes, reverse=True)[:10]
    assert all(1 <= len(each["dropped"]) <= 5 for each in clusters["largest"])


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from([A, A2, B, C, "", "🙂", "我爱下雨", "我爱下雨！"]), min_size=1, max_size=12),
    data=st.data(),
)
def test_rows_that_are_appended_change_nothing_before(
    texts: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("appended")
    cut = data.draw(st.integers(1, len(texts)))
    first, out = write(folder / "a.jsonl", *map(asked, texts[:cut])), folder / "out.jsonl"
    dedup(first, output=str(out))
    before, reasons = out.read_bytes(), rejected(out)
    write(folder / "a.jsonl", *map(asked, texts))
    dedup(first, output=str(out))
    assert out.read_bytes().startswith(before)
    assert rejected(out)[: len(reasons)] == reasons


def test_planted_truth_through_the_command_line(tmp_path: Path) -> None:
    planted = plant(rows=2000, seed=0)
    source, out = write(tmp_path / "a.jsonl", *planted.rows), tmp_path / "out.jsonl"
    done = run("dedup", source, "-o", str(out))
    assert done.returncode == 0, done.stderr
    kept = {row["id"] for row in read(out)}
    paraphrases = {row_id for row_id, told in planted.truth.items() if told.kind == "paraphrase"}
    dropped = planted.truth.keys() - kept
    assert len(dropped & paraphrases) >= 0.95 * len(paraphrases)
    assert len(dropped & paraphrases) >= 0.95 * len(dropped)
    assert "clusters of rows that are alike" in done.stderr
    assert f"2,000 rows = {len(kept):,} kept + {len(dropped):,} rejected" in done.stderr
    assert run("dedup", source, "-o", str(out)).stderr.endswith("the same input and settings made it\n")


def test_shapes_from_elsewhere_and_standard_output(tmp_path: Path) -> None:
    chat = [{"from": "human", "value": A}, {"from": "gpt", "value": "yes"}]
    rows = [{"instruction": A, "input": "", "output": "o"}, {"conversations": chat}, {"text": A}, {"messages": [
        {"role": "user", "content": B}, {"role": "assistant", "content": "yes"}]}]  # fmt: skip
    source = write(tmp_path / "a.jsonl", *rows)
    done = run("dedup", source, "-o", "-", "--rejects", str(tmp_path / "r.jsonl"))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [rows[0], rows[3]]
    assert [row["line"] for row in read(tmp_path / "r.jsonl")] == [2, 3]


def test_a_very_large_row(tmp_path: Path) -> None:
    large = " ".join(f"w{number}" for number in range(2000)) * 1900
    source = write(tmp_path / "a.jsonl", asked(large), asked(B), asked(large + " more"))
    assert Path(source).stat().st_size > 2 * 20_000_000
    out = tmp_path / "out.jsonl"
    assert dedup(source, output=str(out)).result["kept"] == 2


@pytest.mark.parametrize(
    ("matching", "words"),
    [
        (Matching("fuzy"), "no --method 'fuzy'. Did you mean 'fuzzy'"),
        (Matching("exact", threshold=0.5), "--threshold is for --method fuzzy, rouge, semantic; exact has no use"),
        (Matching("rouge", ngram=2), "--ngram is for --method fuzzy"),
        (Matching("semantic", on="x"), "--on is for --method exact, fuzzy, rouge"),
        (Matching("fuzzy", column="e"), "--column is for --method semantic"),
        (Matching(threshold=0), "--threshold 0: a threshold is above 0 and at most 1"),
        (Matching(threshold=1.5), "at most 1"),
        (Matching(threshold=float("nan")), "--threshold nan"),
        (Matching("rouge", threshold=1), "above 0 and below 1"),
        (Matching(ngram=0), "--ngram 0: at least 1"),
        (Matching(on="x+"), "names no column"),
    ],
)
def test_what_cannot_be_asked_for(matching: Matching, words: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", asked(A))
    with pytest.raises(UsageError, match=re.escape(words)):
        dedup(source, matching, output=str(tmp_path / "out.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("rows", "matching", "best", "words"),
    [
        ([asked(A), {"other": 1}], Matching(), "", r"a.jsonl:2: no column is known to hold what is asked"),
        ([asked(A), asked(B)], Matching(on="topic"), "", r"a.jsonl:1: there is no column 'topic'"),
        ([asked(A)], Matching("semantic"), "", r"a.jsonl:1: .*score IN -r embedding -t openai/MODEL -o OUT"),
        ([{"embedding": [1, 2]}, {"embedding": "no"}], Matching("semantic"), "", r"a.jsonl:2: .*no list of numbers"),
        ([{"embedding": [1, 2]}, {"embedding": [1]}], Matching("semantic"), "", r"a.jsonl:2: .*has 1 numbers .* 2 in"),
        ([asked(A, q=1), asked(B)], Matching(), "q", r"a.jsonl:2: there is no column 'q'"),
        ([asked(A, q=1), asked(B, q="high")], Matching(), "q", r"a.jsonl:2: .*holds no number"),
        ([asked(A, q=1), {"q": 2}], Matching(), "q", r"a.jsonl:2: no column is known"),
        ([asked(A), "{"], Matching(), "", r"a.jsonl:2: a row is one JSON object"),
        ([], Matching(), "", r"a.jsonl: no rows"),
    ],
)
def test_rows_that_cannot_be_compared(
    rows: list[Any], matching: Matching, best: str, words: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(SeedError, match=words):
        dedup(source, matching, best=best, output=str(tmp_path / "out.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_nothing_left_other_files_that_lack_a_column_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    source, other = write(tmp_path / "a.jsonl", asked(A), asked(A2)), write(tmp_path / "b.jsonl", {"label": 1})
    with pytest.raises(YieldError, match=r"none is left \(2 in-against\)"):
        dedup(source, against=[source], output=str(tmp_path / "out.jsonl"))
    with pytest.raises(SeedError, match=r"b.jsonl:1: no column is known"):
        dedup(source, against=[other], output=str(tmp_path / "out.jsonl"))
    with pytest.raises(UsageError, match="would be overwritten"):
        dedup(source, against=[other], output=other)
    (tmp_path / "bytes.jsonl").write_bytes(b'{"prompt": "\xff\xfe"}\n')
    (tmp_path / "empty.jsonl").write_bytes(b"")
    for name, said in [("bytes", "bytes.jsonl:1"), ("empty", "no rows"), ("missing", "missing.jsonl")]:
        done = run("dedup", str(tmp_path / f"{name}.jsonl"), "-o", str(tmp_path / "out.jsonl"))
        assert said in paragraph(done, 2)
    assert not (tmp_path / "out.jsonl").exists()


def test_without_numpy_semantic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    source = write(tmp_path / "a.jsonl", {"embedding": [1.0]})
    with pytest.raises(UsageError, match=r"pip install 'distill-data\[features\]'"):
        dedup(source, Matching("semantic"), output=str(tmp_path / "out.jsonl"))

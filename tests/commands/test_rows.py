"""The frame of commands on datasets: whole or absent, untouched where nothing changed, with a manifest."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import filter_rows, label, sample, verify
from distill_data.commands.options import Options
from distill_data.commands.rows import Done, Step, keep_rows, opened, outputs_of, publish_rows
from distill_data.data.features import open_features
from distill_data.errors import DiskError, SeedError, UsageError, YieldError
from tests.cli.command import ROOT, paragraph
from tests.feature_datasets import make_dataset
from tests.system.command import run, small_files

LONG = ("length@text:1,20",)
TEXTS = ["kept", "dropped because it is long", "留下", "this one is too long as well"]


def written(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))
    return path


def keep(source: str | Path, output: str | Path, *checks: str, rejects: str = "") -> Done:
    return filter_rows(str(source), checks=checks or LONG, output=str(output), rejects=rejects)


def result_of(output: Path) -> dict[str, Any]:
    return dict(json.loads(output.with_suffix(".manifest.json").read_bytes())["result"])


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and its time; what is hidden too."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return written(tmp_path / "in.jsonl", *TEXTS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


# -- what is written ---------------------------------------------------------------------------------------------------


def test_kept_rows_have_the_bytes_that_they_had(tmp_path: Path, out: Path) -> None:
    kept = [b' {"text" : "a" , "n":1.50}\r\n', '{"n":1e3,"text":"\\u4e2d中"}\n'.encode(), b'{"text":"end"}']
    dropped = b'{"text":"' + b"x" * 30 + b'" }\r\n'
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + kept[0] + b"\n" + dropped + b"\r\n" + kept[1] + kept[2])
    done = keep(tmp_path / "in.jsonl", out)
    assert out.read_bytes() == b"".join(kept) + b"\n"
    head = b'{"line":3,"outcome":"rejected","reason":"too-long","detail":"length@text:1,20","row":'
    assert (tmp_path / "out.rejects.jsonl").read_bytes() == head + dropped.strip() + b"}\n"
    counts = {"rows": 4, "kept": 3, "rejected": 1, "reasons": {"too-long": 1}}
    assert done.changed
    assert {name: done.result[name] for name in counts} == counts
    assert done.result == result_of(out)
    assert verify(str(out)).findings == []


def test_a_row_of_twenty_megabytes_comes_through(tmp_path: Path, out: Path) -> None:
    line = b'{"text":"a","more":"' + b"x" * (20 << 20) + b'"}\n'
    (tmp_path / "in.jsonl").write_bytes(line)
    keep(tmp_path / "in.jsonl", out)
    assert out.read_bytes() == line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl.gz", gzip.compress(b'{"text":"kept"}\n{"text":"dropped because it is long"}\n', mtime=0)),
        ("in.csv", b"text\nkept\ndropped because it is long\n"),
        ("in.txt", b"kept\n\ndropped because it is long\n"),
    ],
)
def test_what_can_be_seeds_can_be_rows(tmp_path: Path, out: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    done = keep(tmp_path / name, out)
    assert out.read_bytes() == b'{"text":"kept"}\n'
    assert (done.result["kept"], done.result["rejected"]) == (1, 1)


def test_a_shipped_set_has_a_name(out: Path) -> None:
    done = keep("@sentiment", out, "length@text:1,40")
    assert done.result["rows"] == 84
    assert result_of(out)["sources"][0]["name"] == "@sentiment"


def test_rejects_have_another_name_in_the_same_folder(source: Path, out: Path, tmp_path: Path) -> None:
    beside = tmp_path / "dropped.jsonl"
    keep(source, out, rejects=str(beside))
    assert len(beside.read_bytes().splitlines()) == 2
    assert not (tmp_path / "out.rejects.jsonl").exists()
    assert not keep(source, out, rejects=str(beside)).changed
    assert verify(str(out)).findings == []


def test_rejects_in_another_folder_would_not_be_found_again(source: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--rejects .*new/dropped\.jsonl: the manifest names files beside it"):
        keep(source, out, rejects=str(tmp_path / "new" / "dropped.jsonl"))
    assert not out.exists()


def test_a_folder_that_is_not_there_is_made(source: Path, tmp_path: Path) -> None:
    keep(source, tmp_path / "a" / "b" / "out.jsonl")
    assert len(list((tmp_path / "a" / "b").iterdir())) == 3


# -- stdin and stdout --------------------------------------------------------------------------------------------------


def pipe(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "distill_data", *arguments],
        input=given, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


def test_rows_go_through_a_pipe(source: Path, tmp_path: Path) -> None:
    done = pipe("filter", "-", "-c", LONG[0], "-o", "-", "--json", given=source.read_bytes())
    assert (done.returncode, done.stdout.decode()) == (0, '{"text": "kept"}\n{"text": "留下"}\n')
    assert b"4 rows = 2 kept + 2 rejected" in done.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_with_stdout_the_rejects_are_written_where_they_are_wanted(source: Path, tmp_path: Path) -> None:
    done = pipe("filter", source, "-c", LONG[0], "-o", "-", "--rejects", tmp_path / "r.jsonl")
    assert len(done.stdout.splitlines()) == len((tmp_path / "r.jsonl").read_bytes().splitlines()) == 2


def test_stdin_that_is_wrong_is_called_stdin(tmp_path: Path) -> None:
    done = pipe("filter", "-", "-c", LONG[0], "-o", tmp_path / "out.jsonl", given=b'{"text":"a"}\n{"text":\n')
    assert (done.returncode, done.stderr.partition(b":2:")[0]) == (2, b"distill-data: stdin")
    done = pipe("filter", "-", "-c", LONG[0], "-o", tmp_path / "out.jsonl")
    assert (done.returncode, done.stderr) == (2, b"distill-data: stdin: no rows in this file\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("closed", "said"), [("<&-", "stdin (-) is closed"), (">&-", "stdout is closed")])
def test_streams_that_are_closed_are_told(source: Path, closed: str, said: str) -> None:
    command = f"{sys.executable} -m distill_data filter - -c {LONG[0]} -o - < {source} {closed}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert said in paragraph(done, 2)


def test_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="once only"), opened("-", "-"):
        pass


def test_nothing_comes_out_where_a_late_row_is_wrong(tmp_path: Path) -> None:
    done = pipe("filter", "-", "-c", LONG[0], "-o", "-", given=b'{"text":"kept"}\n' * 1000 + b"{\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"stdin:1001: " in done.stderr


def test_a_reader_that_goes_away_is_no_trouble_with_the_disk(tmp_path: Path) -> None:
    written(tmp_path / "in.jsonl", *["kept"] * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "distill_data", "filter", tmp_path / "in.jsonl", "-c", LONG[0], "-o", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 141)
    process.stderr.close()


# -- untouched where nothing changed -----------------------------------------------------------------------------------


def test_the_same_again_touches_nothing(source: Path, out: Path, tmp_path: Path) -> None:
    first = keep(source, out)
    before = state(tmp_path)
    second = keep(source, out)
    assert (first.changed, second.changed) == (True, False)
    assert second.result == first.result
    assert state(tmp_path) == before


def test_another_setting_writes_again(source: Path, out: Path) -> None:
    keep(source, out)
    assert keep(source, out, "length@text:1,5").changed
    assert result_of(out)["settings"] == {"checks": ["length@text:1,5"]}


def test_another_input_writes_again(source: Path, out: Path) -> None:
    keep(source, out)
    written(source, *TEXTS, "new")
    assert keep(source, out).changed
    assert '"new"' in out.read_text()


@pytest.mark.parametrize("name", ["out.jsonl", "out.rejects.jsonl", "out.manifest.json"])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_files_that_were_changed_are_written_again(
    source: Path, out: Path, tmp_path: Path, name: str, harm: str
) -> None:
    keep(source, out)
    good = (tmp_path / name).read_bytes()
    if harm == "gone":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(b"{}\n")
    assert keep(source, out).changed
    if name != "out.manifest.json":
        assert (tmp_path / name).read_bytes() == good
    assert not keep(source, out).changed


def test_a_file_that_a_check_reads_is_part_of_the_plan(source: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("kept\n")
    check = f"toxicity@text:{tmp_path / 'words.txt'}"
    keep(source, out, check)
    assert not keep(source, out, check).changed
    (tmp_path / "words.txt").write_text("留下\n")
    assert keep(source, out, check).changed
    assert '"kept"' in out.read_text()


def test_a_file_of_the_plan_that_is_gone_is_a_usage_error(source: Path, out: Path, tmp_path: Path) -> None:
    with opened(str(source)) as sources:
        step = Step("test", sources, {}, outputs_of(str(out)), [tmp_path / "gone.txt"])
        with pytest.raises(UsageError, match=r"gone\.txt: cannot be read: No such file"):
            keep_rows(step, lambda ordinal, row: None)


# -- whole or absent ---------------------------------------------------------------------------------------------------


@pytest.fixture
def old(source: Path, out: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with what an earlier run wrote; the test leaves every file as it was."""
    keep(source, out)
    names = ("out.jsonl", "out.rejects.jsonl", "out.manifest.json")
    before = {name: state(tmp_path)[name] for name in names}
    yield out
    after = state(tmp_path)
    assert {name: after[name] for name in names} == before
    assert not keep(source, out).changed


@pytest.mark.parametrize(
    "bad", [b"[]\n", b'{"text":"\xff"}\n', b'{"text":"\x00"}\n', b'{"no":"text"}\n', b'{"text":', b"{" * 5000 + b"\n"]
)
def test_a_late_row_that_is_wrong_leaves_the_old_files(old: Path, tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"text":"kept"}\n' * 3000 + bad)
    with pytest.raises(SeedError, match=r"bad\.jsonl:3001: "):
        keep(tmp_path / "bad.jsonl", old)
    assert not list(tmp_path.glob(".*"))


def test_where_no_row_is_left_the_old_files_stay(old: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(YieldError, match="of 4 rows none is left"):
        keep(source, old, "length@text:1000,")
    assert not list(tmp_path.glob(".*"))


KILL = """
import os, signal
def kill(row):
    if row["text"] == "now":
        os.kill(os.getpid(), signal.SIGKILL)
    return True
"""


def test_a_process_that_is_killed_leaves_the_old_files(old: Path, tmp_path: Path) -> None:
    (tmp_path / "killing.py").write_text(KILL)
    texts = ["x" * 1000] * 3000
    written(tmp_path / "big.jsonl", *texts, "now")
    arguments = ("filter", tmp_path / "big.jsonl", "-c", "function:killing:kill", "-o", old)
    done = run(*arguments, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    assert done.code == -signal.SIGKILL
    assert [path.stat().st_size > 1 << 20 for path in tmp_path.glob(".out.jsonl.*.tmp")] == [True]  # it was at it


def test_a_process_that_is_told_to_stop_leaves_nothing_new(old: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "distill_data", "filter", "-", "-c", LONG[0], "-o", old],
        stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with process:
        while not list(tmp_path.glob("distill-data.*/stdin.*")):  # until it reads, and its input has no end
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_the_old_files(old: Path, tmp_path: Path) -> None:
    written(tmp_path / "big.jsonl", *["x" * 15] * 20_000)
    done = run("filter", tmp_path / "big.jsonl", "-c", LONG[0], "-o", old, before=small_files(100_000))
    done.complained(7, r"out\.jsonl: File too large")
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_says_so_for_stdout_too(tmp_path: Path) -> None:
    written(tmp_path / "big.jsonl", *["x" * 15] * 100_000)
    done = run("filter", tmp_path / "big.jsonl", "-c", LONG[0], "-o", "-", before=small_files(100_000))
    done.complained(7, "stdout: File too large")
    assert done.out == ""


def test_the_manifest_is_last(source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(source, out)
    before = (tmp_path / "out.manifest.json").read_bytes()

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("distill_data.commands.rows.write_atomically", crash)
    with pytest.raises(KeyboardInterrupt):
        keep(source, out, "length@text:1,5")
    monkeypatch.undo()
    assert (tmp_path / "out.manifest.json").read_bytes() == before
    assert verify(str(out)).findings
    assert keep(source, out, "length@text:1,5").changed
    assert verify(str(out)).findings == []


# -- names that cannot be ----------------------------------------------------------------------------------------------


def test_a_file_that_is_read_is_not_written(source: Path, tmp_path: Path) -> None:
    before = state(tmp_path)
    (tmp_path / "link.jsonl").symlink_to(source)
    (tmp_path / "words.txt").write_text("kept\n")
    for output, rejects in (
        ("in.jsonl", ""),
        ("link.jsonl", ""),
        ("out.jsonl", "in.jsonl"),
        ("out.jsonl", "words.txt"),
    ):
        with pytest.raises(UsageError, match="is read by this command and would be overwritten"):
            keep(
                source,
                tmp_path / output,
                f"toxicity@text:{tmp_path / 'words.txt'}",
                rejects=str(tmp_path / rejects) if rejects else "",
            )
    assert {name: state(tmp_path)[name] for name in before} == before


@pytest.mark.parametrize(
    ("output", "rejects", "said"),
    [
        ("out.txt", "", r"must end in \.jsonl"),
        ("out.jsonl", "out.jsonl", "would be written twice"),
        ("out.jsonl", "./out.manifest.json", "would be written twice"),
        ("out.jsonl", "-", "stdout is for the dataset"),
        ("out.jsonl", "folder", "is a folder"),
        ("folder.jsonl", "", "is a folder"),
    ],
)
def test_names_that_cannot_be_are_usage_errors(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, rejects: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.jsonl"):
        Path(name).mkdir()
    with pytest.raises(UsageError, match=said):
        keep(source, output, rejects=rejects)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "folder.jsonl", "in.jsonl"]


def test_a_name_that_no_file_can_have_is_told(source: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="File name too long"):
        keep(source, tmp_path / f"{'a' * 300}.jsonl")
    with pytest.raises(UsageError, match="name of a dataset is empty"):
        keep("", out)


def test_what_no_manifest_can_hold_is_refused_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9.jsonl")
    strange = tmp_path / latin
    strange.write_bytes(source.read_bytes())
    there = sorted(tmp_path.iterdir())
    for given in ((strange, "out.jsonl"), (source, latin), (source, "out.jsonl", f"regex@text:{latin}")):
        with pytest.raises(UsageError, match="Names and texts must be UTF-8"):
            keep(given[0], tmp_path / given[1], *given[2:])
    with pytest.raises(UsageError, match="at most 64 bits"):
        sample(str(source), output=str(tmp_path / "out.jsonl"), rows=1 << 64)
    assert sorted(tmp_path.iterdir()) == there


def test_a_folder_below_a_file_is_a_disk_error(source: Path) -> None:
    with pytest.raises(DiskError, match=r"Not a directory|File exists"):
        keep(source, source / "out.jsonl")


# -- how it came to be -------------------------------------------------------------------------------------------------


def test_the_manifest_tells_every_step(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.jsonl" for name in ("one", "two", "three"))
    label("@sentiment", recipe="annotate", output=str(one), options=Options(teachers=("echo",)))
    keep(one, two, "length@x:1,200")
    keep(two, three, "length@x:1,150")
    (made,) = result_of(three)["sources"]
    assert [(step.get("command"), step["kept"]) for step in made["lineage"]] == [
        (result_of(one).get("command"), 84),
        ("filter", result_of(two)["kept"]),
    ]
    assert made["lineage"][0]["recipe"] == result_of(one)["recipe"]
    assert made["sha256"] == result_of(two)["files"]["dataset"]["sha256"]
    assert not [key for step in made["lineage"] for key in step if key in ("files", "sources", "plan", "coverage")]


def test_a_file_that_was_edited_has_no_lineage(source: Path, out: Path, tmp_path: Path) -> None:
    keep(source, out)
    with out.open("ab") as lines:
        lines.write(b'{"text":"more"}\n')
    keep(out, tmp_path / "next.jsonl")
    assert result_of(tmp_path / "next.jsonl")["sources"][0]["lineage"] == []


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b'{"result":[]}', b'{"result":{"files":[]}}', b'{"result":{"files":{"dataset":"x"},"sources":3}}'],
)
def test_a_manifest_of_another_program_is_none(source: Path, out: Path, tmp_path: Path, manifest: bytes) -> None:
    for name in ("in", "out"):
        (tmp_path / f"{name}.manifest.json").write_bytes(manifest)
    assert keep(source, out).changed
    assert result_of(out)["sources"][0]["lineage"] == []


def test_foreign_sources_beside_the_right_digest_are_passed_over(source: Path, out: Path, tmp_path: Path) -> None:
    with opened(str(source)) as (read,):
        files = {"dataset": {"name": "in.jsonl", "sha256": read.sha256}}
    result = {
        "command": "other",
        "files": files,
        "sources": ["a", {"lineage": None}, {"lineage": [3, {"command": "b"}]}],
    }
    (tmp_path / "in.manifest.json").write_text(json.dumps({"result": result}))
    keep(source, out)
    assert result_of(out)["sources"][0]["lineage"] == [{"command": "b"}, {"command": "other"}]


# -- parts -------------------------------------------------------------------------------------------------------------


def test_parts_have_a_manifest_each(source: Path, tmp_path: Path) -> None:
    outputs: dict[str, Path | None] = {name: tmp_path / f"{name}.jsonl" for name in "ab"}

    def fill(emit: Any) -> dict[str, Any]:
        emit("a", b"{}\n{}\n")
        emit("b", b"{}\n")
        return {"rows": 3}

    with opened(str(source)) as sources:
        step = Step("test", sources, {}, outputs, parts=True)
        done = publish_rows(step, fill)
        assert publish_rows(step, fill) == Done(done.result, False, str(tmp_path / "a.jsonl"))
        assert [
            (result_of(tmp_path / f"{name}.jsonl")["part"], result_of(tmp_path / f"{name}.jsonl")["kept"])
            for name in "ab"
        ] == [("a", 2), ("b", 1)]
        assert all(verify(str(path)).findings == [] for path in outputs.values())
        (tmp_path / "b.manifest.json").unlink()
        assert publish_rows(step, fill).changed


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_rows_with_arrays_stay_beside_them(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    derived, elsewhere = tmp_path / "few.jsonl", tmp_path / "sub" / "few.jsonl"
    keep(dataset, derived, "no-regex@id:[02468]$")
    assert verify(str(derived)).findings == []
    features = open_features(derived)
    records = [json.loads(line) for line in derived.read_bytes().splitlines()]
    assert records
    assert all("tokens" in features.of(record) for record in records)
    with pytest.raises(UsageError, match="Write into the folder of the dataset"):
        keep(dataset, elsewhere, "no-regex@id:[02468]$")
    assert not elsewhere.parent.exists()
    keep(derived, tmp_path / "again.jsonl", "regex@id:.")
    elsewhere.parent.mkdir()
    (elsewhere.parent / "out.features").symlink_to(tmp_path / "out.features")
    keep(dataset, elsewhere, "no-regex@id:[02468]$")
    assert elsewhere.read_bytes() == derived.read_bytes()


def test_rows_with_arrays_from_a_pipe_are_looked_for_beside_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path)
    for folder in (tmp_path / "sub", tmp_path):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dataset.read_bytes())))
        if folder == tmp_path:
            keep("-", folder / "few.jsonl", "regex@id:.")
        else:
            with pytest.raises(UsageError, match="would not be found from there"):
                keep("-", folder / "few.jsonl", "regex@id:.")

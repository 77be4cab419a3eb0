"""`export` to rows: through the frame of commands on datasets, and what is wrong with a row is said with its place."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.cli import main
from distill_data.commands.check_target import check_target
from distill_data.commands.export import export
from distill_data.commands.filter import filter_rows
from distill_data.errors import SeedError, UsageError, YieldError
from distill_data.formats.targets import TARGETS
from tests.golden import GOLDEN
from tests.system.command import read_jsonl, run

ANNOTATED = GOLDEN / "label/annotate/records.jsonl"
PAIRS = GOLDEN / "feedback/rate/records.preference.jsonl"
RANKED = GOLDEN / "feedback/rate/records.ranked.jsonl"
UNPAIRED = GOLDEN / "feedback/rate/records.unpaired.jsonl"
TOPK = GOLDEN / "feature/topk/records.jsonl"


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("to", [name for name, target in TARGETS.items() if target.ending == ".jsonl"])
def test_what_is_written_passes_the_check_of_its_target(to: str, tmp_path: Path) -> None:
    """Also with OpenAI's least number of rows."""
    source = next(
        path for path in (ANNOTATED, PAIRS, RANKED, UNPAIRED) if read_jsonl(path)[0]["kind"] in TARGETS[to].kinds
    )
    many = write(tmp_path / "many.jsonl", *(read_jsonl(source) * 10))
    done = export(str(many), to=to, output=str(tmp_path / "out.jsonl"))
    assert done.result["written"] == len(read_jsonl(tmp_path / "out.jsonl"))
    found = check_target(str(tmp_path / "out.jsonl"), to)
    assert (found.faults, found.rows, found.canonical) == ([], done.result["written"], False)


def test_equal_input_leaves_the_output_untouched(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out.jsonl"
    first = export(str(ANNOTATED), to="trl-sft", output=str(target))
    before = target.stat()
    again = export(str(ANNOTATED), to="trl-sft", output=str(target))
    assert (first.changed, again.changed) == (True, False)
    assert (target.stat().st_mtime_ns, target.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert export(str(ANNOTATED), to="sharegpt", output=str(target)).changed
    manifest = orjson.loads((tmp_path / "deep" / "out.manifest.json").read_bytes())["result"]
    assert (manifest["command"], manifest["to"], manifest["rows"]) == ("export", "sharegpt", len(read_jsonl(target)))


def test_lineage_reaches_into_the_exports_manifest(tmp_path: Path) -> None:
    filter_rows(str(ANNOTATED), checks=["length:1,2000"], output=str(tmp_path / "kept.jsonl"))
    done = export(str(tmp_path / "kept.jsonl"), to="trl-sft", output=str(tmp_path / "out.jsonl"))
    (source,) = done.result["sources"]
    assert [step["command"] for step in source["lineage"]] == ["filter"]


def test_stdin_to_stdout(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PAIRS.read_bytes())))
    assert main(["export", "-", "--to", "trl-kto", "-o", "-"]) == 0
    told = capfdbinary.readouterr()
    rows = [orjson.loads(line) for line in told.out.splitlines()]
    assert [row["label"] for row in rows] == [True, False] * len(read_jsonl(PAIRS))
    assert told.err == b""


def test_as_processes_in_a_pipe(tmp_path: Path) -> None:
    done = run("export", str(RANKED), "--to", "trl-dpo", "-o", tmp_path / "dpo.jsonl").ended(0)
    assert done.err.startswith(f"written: {tmp_path / 'dpo.jsonl'}; 3 rows; 1 left out, as their best and worst")
    assert run("check", tmp_path / "dpo.jsonl", "--for", "trl-dpo").ended(0).out == (
        f"ok {tmp_path / 'dpo.jsonl'}: 3 rows for trl-dpo\n"
    )


def test_axolotl_is_told_how_to_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "out.jsonl")
    assert main(["export", str(PAIRS), "--to", "axolotl", "-o", target]) == 0
    settings = orjson.loads(capsys.readouterr().out)
    (dataset,) = settings["datasets"]
    assert (settings["rl"], dataset["path"], dataset["type"]) == ("dpo", target, "chat_template.default")
    assert main(["export", str(PAIRS), "--to", "axolotl", "-o", target, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["trainer"] == settings
    assert main(["export", str(ANNOTATED), "--to", "axolotl", "-o", target, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    steps = GOLDEN / "feedback/steps/records.steps.jsonl"
    done = export(str(steps), to="axolotl", output=target)
    assert done.result["trainer"]["datasets"][0]["type"] == "stepwise_supervised"


@pytest.mark.parametrize(
    ("source", "entry"),
    [
        (ANNOTATED, {}),
        (PAIRS, {"ranking": True}),
        (UNPAIRED, {}),
        (GOLDEN / "curate/vision-qa/records.jsonl", {}),
        (GOLDEN / "curate/tools/records.jsonl", {}),
    ],
    ids=lambda value: value.parent.name if isinstance(value, Path) else None,
)
def test_llama_factory_finds_the_data_by_its_entry(source: Path, entry: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    export(str(source), to="llama-factory", output=str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["dataset_info.json", "mine.jsonl"]
    info = orjson.loads((folder / "dataset_info.json").read_bytes())["mine"]
    own = info.pop("columns")
    assert info == {"file_name": "mine.jsonl", "formatting": "sharegpt", **entry}
    assert own.pop("messages") == "conversations"
    assert {name: name for name in own} == own and set(own) == read_jsonl(folder / "mine.jsonl")[0].keys() - {
        "id",
        "conversations",
    }
    assert check_target(str(folder), "llama-factory").faults == []
    assert not export(str(source), to="llama-factory", output=str(folder)).changed
    export(str(ANNOTATED), to="llama-factory", output=str(folder))
    assert check_target(str(folder), "llama-factory").rows == len(read_jsonl(ANNOTATED))


def test_a_folder_of_other_datasets_is_left_alone(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_text('{"theirs": {}}')
    with pytest.raises(UsageError, match=r"has dataset_info\.json already; name a new folder"):
        export(str(PAIRS), to="llama-factory", output=str(tmp_path))
    (tmp_path / "theirs.json").write_text("[]")
    with pytest.raises(UsageError, match=r"has theirs\.json already"):
        export(str(PAIRS), to="llama-factory", output=str(tmp_path))
    assert info.read_text() == '{"theirs": {}}'


@pytest.mark.parametrize(
    ("to", "output", "says"),
    [
        ("ppo", "x.jsonl", "--to ppo: the targets are trl-sft, trl-dpo"),
        ("trl-sft", "x.json", r"must end in \.jsonl"),
        ("trl-sft", ".jsonl", r"must end in \.jsonl"),
        ("parquet", "x.jsonl", r"must end in \.parquet"),
        ("llama-factory", "-", "is a folder; name one"),
        ("llama-factory", "there.txt", "is a file, and llama-factory is a folder"),
        ("trl-sft", "folder.jsonl", "is a folder; name a file"),
        ("trl-sft", "in.jsonl", "would be overwritten"),
    ],
)
def test_an_output_that_cannot_be(to: str, output: str, says: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *read_jsonl(ANNOTATED))
    (tmp_path / "there.txt").write_text("a")
    (tmp_path / "folder.jsonl").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=says):
        export(str(source), to=to, output="-" if output == "-" else str(tmp_path / output))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tokenizer_is_for_arrays_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trl-sft is made of text; only axolotl-kd, distillkit, npz take one"):
        export(str(ANNOTATED), to="trl-sft", output=str(tmp_path / "x.jsonl"), tokenizer="transformers/x")


def test_rows_with_arrays_are_exported_as_text_to_anywhere(tmp_path: Path) -> None:
    """The arrays stay where they are, and nothing points at them any more."""
    export(str(TOPK), to="trl-sft", output=str(tmp_path / "out.jsonl"))
    assert all("features" not in row for row in read_jsonl(tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("to", "rows", "error", "says"),
    [
        ("trl-dpo", [{"messages": [{"role": "user", "content": "a"}]}], UsageError, ":1: this row is of the kind sft"),
        ("trl-sft", [{"kind": "triple", "anchor": "a", "positive": "b"}], UsageError, "kind triple, .*`label`"),
        ("trl-kto", [{"x": 1}], UsageError, "has the columns of no kind that is known, .*`feedback --kind unpaired`"),
        ("trl-sft", [{"prompt": "a", "completion": "b"}, {"prompt": "a"}], UsageError, ":2: .*before are sft"),
        ("trl-dpo", [{"kind": "preference", "prompt": "a", "chosen": "b"}], SeedError, ":1: .*has no column rejected"),
        ("trl-sft", [{"kind": "sft", "prompt": "a"}], SeedError, ":1: there is no answer in this row"),
        (
            "trl-sft",
            [{"messages": [{"role": "assistant", "content": "a"}]}, {"messages": [{"role": "judge", "content": "a"}]}],
            SeedError,
            ":2: message 0 of messages has the role 'judge'",
        ),
        (
            "trl-grpo",
            [{"prompt": "a", "answer": "b"}, {"prompt": "a", "answer": 7}],
            UsageError,
            ":2: trl-grpo does not take this row: solution: is a whole number, where a row before has a text",
        ),
        (
            "trl-sft",
            [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b", "tools": "[]"}],
            UsageError,
            ":2: .*: tools: is not a column of the first row",
        ),
        (
            "llama-factory",
            [{"messages": [{"role": role, "content": "a"} for role in ("user", "user", "assistant")]}],
            UsageError,
            ":1: .*conversations: turn 1 is from human, where gpt or function_call follows",
        ),
        ("rrhf", [{"prompt": "a", "responses": ["b"], "scores": [1.0]}], SeedError, "of two or more"),
        ("trl-kto", [{"prompt": "a", "completion": "b", "label": 1}], UsageError, "label: must be true or false"),
        ("trl-dpo", [{"prompt": "a", "responses": ["b", "c"], "scores": [1, 1]}], YieldError, "none of 1 rows has"),
    ],
)  # fmt: skip
def test_a_row_that_the_target_does_not_take(
    to: str, rows: list[Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", *rows)
    target = tmp_path / ("out" if to == "llama-factory" else "out.jsonl")
    with pytest.raises(error, match=says):
        export(str(source), to=to, output=str(target))
    assert not target.is_file() and left_over(tmp_path) == []
    assert not (tmp_path / "out.manifest.json").exists()


def test_a_failed_export_leaves_the_earlier_one(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *read_jsonl(ANNOTATED))
    target = tmp_path / "out.jsonl"
    export(str(source), to="trl-sft", output=str(target))
    before = target.read_bytes()
    write(source, *read_jsonl(ANNOTATED), {"kind": "sft"})
    with pytest.raises(SeedError):
        export(str(source), to="trl-sft", output=str(target))
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no rows in this file"),
        (b"\xef\xbb\xbf\n\n", "no rows in this file"),
        (b'{"prompt": "\xff", "completion": "b"}\n', "UTF-8"),
        (b'["prompt"]\n', "a row is one JSON object"),
        (b'{"prompt": "a", "comple', "a row is one JSON object"),
    ],
)
def test_a_file_that_is_no_dataset(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    for command in (["export", "--to", "trl-sft", "-o", str(tmp_path / "out.jsonl")], ["check", "--for", "trl-sft"]):
        assert main([command[0], str(tmp_path / "in.jsonl"), *command[1:]]) == 2
        said = capsys.readouterr().err
        assert says in said and "Traceback" not in said


def test_a_row_of_twenty_megabytes(tmp_path: Path) -> None:
    long = "长" * (20 << 20 >> 1)
    source = write(tmp_path / "in.jsonl", {"prompt": "a", "completion": long})
    export(str(source), to="sharegpt", output=str(tmp_path / "out.jsonl"))
    (row,) = read_jsonl(tmp_path / "out.jsonl")
    assert row["conversations"][1]["value"] == long
    assert check_target(str(tmp_path / "out.jsonl"), "sharegpt").count == 0


def test_an_integer_that_would_become_a_float_is_refused(tmp_path: Path) -> None:
    large = 1 << 70
    source = tmp_path / "in.jsonl"
    source.write_text(
        f'{{"id": 1, "prompt": "a", "completion": "b"}}\n{{"id": {large}, "prompt": "c", "completion": "d"}}\n'
    )
    with pytest.raises(SeedError, match=rf"in\.jsonl:2: .*{large} has more than 64 bits; write it as a string"):
        export(str(source), to="trl-sft", output=str(tmp_path / "out.jsonl"))
    assert not left_over(tmp_path) and not (tmp_path / "out.jsonl").exists()
    source.write_text(f'{{"id": {(1 << 64) - 1}, "prompt": "a", "completion": "b"}}\n')
    export(str(source), to="trl-sft", output=str(tmp_path / "out.jsonl"))
    assert read_jsonl(tmp_path / "out.jsonl")[0]["id"] == (1 << 64) - 1

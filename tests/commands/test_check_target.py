"""`check --for`: rows, columns and reasons, and what holds for a whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from distill_data.cli import main
from distill_data.commands.check_target import check_target
from distill_data.commands.export import export
from distill_data.errors import SeedError, UsageError
from tests.feature_datasets import make_dataset
from tests.golden import GOLDEN
from tests.system.command import read_jsonl

USER, GOOD = {"role": "user", "content": "9.8 or 9.11?"}, {"role": "assistant", "content": "9.8"}
SFT = {"prompt": [USER], "completion": [GOOD]}
TURNS = [{"from": "human", "value": "9.8 or 9.11?"}, {"from": "gpt", "value": "9.8"}]
PRO = {"prefix": [["a"], ["a"]], "suffix": ["b", "c"], "reward": [1.0, 0.5], "sft_index": 0}
ANNOTATED = GOLDEN / "label/annotate/records.jsonl"


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def faults(tmp_path: Path, target: str, *rows: Any) -> list[str]:
    """Without the path, so `1: column: reason`."""
    file = write(tmp_path / "in.jsonl", *rows)
    return [str(fault).removeprefix(f"{file}:") for fault in check_target(str(file), target).faults]


def call(arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}],
    }


@pytest.mark.parametrize(
    ("target", "rows", "wrong"),
    [
        ("trl-sft", [SFT, {**SFT, "completion": "9.8"}], ["2: completion: is a text, where prompt is a list"]),
        (
            "trl-sft",
            [SFT, {"messages": [USER, GOOD]}],
            ["2: messages: is not a column of the first row, and all rows must have the same ones"],
        ),
        (
            "trl-sft",
            [{"prompt": [USER], "completion": [call("{}")]}],
            ["1: completion: message 0 has a call whose arguments are text, and chat templates want an object"],
        ),
        (
            "trl-sft",
            [{"prompt": [USER], "completion": [{**call({}), "tool_calls": ["f()"]}]}],
            ["1: completion: message 0 has a call 0 must be an object with a function that has a name"],
        ),
        (
            "trl-dpo",
            [{"prompt": [{"role": "user", "content": [{"type": "image"}]}], "chosen": [GOOD], "rejected": [GOOD],
              "images": ["a.png", "b.png"]}],
            ["1: images: has 2, and the chat has 1 places for them"],
        ),
        ("trl-grpo", [{"prompt": "a", "completions": []}], ["1: completions: GRPO hands every column to the reward"]),
        ("trl-distillation", [{"prompt": [{"role": "system", "content": ""}]}], ["1: prompt: ends with a system "]),
        ("sharegpt", [{"conversations": [*TURNS, *TURNS]}], []),
        (
            "sharegpt",
            [{"conversations": [{"from": "system", "value": ""}, *TURNS, TURNS[1]]}],
            ["1: conversations: turn 3 is from gpt, where human or observation follows"],
        ),
        ("sharegpt", [{"conversations": TURNS[:1]}], ["1: conversations: must end with an answer"]),
        ("sharegpt", [{"conversations": [TURNS[0], {"from": "gpt"}]}], ["1: conversations: turn 1 has a key value"]),
        (
            "sharegpt",
            [{"conversations": [TURNS[0], {"from": "function_call", "value": "f()"}]}],
            ["1: conversations: turn 1 has a function_call that is no JSON"],
        ),
        ("sharegpt", [{"conversations": TURNS, "tools": []}], ["1: tools: must be a text, and is an empty list"]),
        (
            "sharegpt",
            [{"conversations": [{"from": "human", "value": "<image> <image>"}, TURNS[1]], "images": ["a.png"]}],
            ["1: images: has 1, and the chat has 2 places for them"],
        ),
        ("alpaca", [{"instruction": "a", "output": "b"}], ["1: input: is missing"]),
        (
            "alpaca",
            [{"instruction": "a", "input": "", "output": "b", "history": [["a"]]}],
            ["1: history: must be a list of pairs of texts, and its element 0 is a list"],
        ),
        (
            "openai-sft",
            [{"messages": [USER, GOOD]}] * 9,
            [" has 9 rows, and at least 10 are wanted"],
        ),
        ("openai-sft", [{"messages": [USER, GOOD]}, {"messages": [USER, GOOD], "tools": []}] * 5, []),
        (
            "openai-sft",
            [{"messages": [USER, call({})]}, {"messages": [GOOD, USER]}] * 5,
            [
                "1: messages: message 1 has a call whose arguments are an object, and JSON text is wanted",
                "2: messages: ends with a message of user, and the assistant's is learned",
            ],
        ),
        (
            "openai-dpo",
            [{"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [USER]}] * 10,
            ["1: non_preferred_output: must be a list of one message, and its element 0 is an object"],
        ),
        ("axolotl", [{"messages": [USER], "chosen": GOOD, "rejected": [GOOD]}], ["1: rejected: must be an object"]),
        (
            "nemo-rl",
            [{"context": [USER], "completions": [{"rank": 1, "completion": [GOOD]}] * 2}],
            ["1: completions: must be two answers of different rank, and has the ranks [1, 1]"],
        ),
        ("rrhf", [{"query": "a", "responses": ["b", "c"], "scores": [1.0]}], ["1: scores: has 1 elements"]),
        ("pro", [{**PRO, "reward": [0.5, 1.0]}], ["1: reward: must go from the best to the worst, and its element 1"]),
        ("pro", [{**PRO, "prefix": [["a"]]}], ["1: prefix: must be a list of at least 2 lists of texts, and has 1"]),
        (
            "axolotl-kd",
            [{"messages": [USER, GOOD], "logprobs": [[-0.5], []], "target_token_ids": [[7], [8]]}],
            ["1: target_token_ids: must have as many elements as logprobs for every token"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(target: str, rows: list[Any], wrong: list[str], tmp_path: Path) -> None:
    found = faults(tmp_path, target, *rows)[: len(wrong)] if wrong else faults(tmp_path, target, *rows)
    assert len(found) == len(wrong)
    for fault, start in zip(found, wrong, strict=True):
        assert fault.startswith(start), fault


def test_a_canonical_file_that_is_read_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ANNOTATED), "--for", "trl-sft"]) == 0
    assert "these are records as they were made, and trl-sft takes them as they are" in capsys.readouterr().out


def test_judged_answers_have_the_columns_of_plain_ones_and_are_none(tmp_path: Path) -> None:
    unpaired = GOLDEN / "feedback/rate/records.unpaired.jsonl"
    (fault, *_) = check_target(str(unpaired), "trl-sft").faults
    assert (fault.column, fault.reason.split(", ")[0]) == ("kind", "is unpaired")
    assert check_target(str(unpaired), "trl-kto").faults == []


def test_ten_faults_are_told_and_all_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write(tmp_path / "in.jsonl", *[{"prompt": None, "completion": None}] * 20))
    assert main(["check", file, "--for", "trl-sft"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(
        f"distill-data: {file} is not what trl-sft reads (40 faults in 20 rows):\n{file}:1: prom"
    )
    assert len(told.err.splitlines()) == 12 and "and 30 more" in told.err
    assert main(["check", file, "--for", "trl-sft", "--json"]) == 2
    found = orjson.loads(capsys.readouterr().out)
    assert found["count"] == len(found["faults"])
    assert (found["rows"], len(found["faults"])) == (20, 40)
    assert found["faults"][3] == {
        "where": f"{file}:2",
        "column": "completion",
        "reason": "must be a list of messages, and is null",
    }


@pytest.mark.parametrize("options", [[], ["--for", "trl-sft", "--student", "transformers/x"]])
def test_one_of_two_questions(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ANNOTATED), *options]) == 2
    assert "--for TARGET, or --student MODEL, and one of them only" in capsys.readouterr().err


def test_a_target_or_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--for ppo: the targets are trl-sft"):
        check_target(str(ANNOTATED), "ppo")
    with pytest.raises(SeedError, match="No such file"):
        check_target(str(tmp_path / "no.jsonl"), "trl-sft")
    with pytest.raises(UsageError, match="a folder that save_to_disk wrote"):
        check_target(str(ANNOTATED), "hf")
    with pytest.raises(UsageError, match=r"verl is read from Parquet"):
        check_target(str(ANNOTATED), "verl")


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "must be an object with an entry"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_folder_without_entries(info: str | None, says: str, tmp_path: Path) -> None:
    if info is not None:
        (tmp_path / "dataset_info.json").write_text(info)
    with pytest.raises(UsageError, match=says):
        check_target(str(tmp_path), "llama-factory")


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ({}, []),
        ({"file_name": "gone.jsonl"}, ["file_name: must name a file of the folder"]),
        ({"formatting": "alpaca"}, ["formatting: must be sharegpt, with the tags that are usual"]),
        ({"tags": {"user_tag": "user"}}, ["formatting: must be sharegpt, with the tags that are usual"]),
        ({"columns": {"messages": "chat"}}, ["columns: chat is no column of a.jsonl", "conversations: is missing"]),
        ({"columns": {"messages": 7}}, ["columns: must be texts"]),
        ({"ranking": True}, ["chosen: is missing", "rejected: is missing"]),
        ({"columns": {"kto_tag": "good"}}, ["kto_tag: must be true or false, and is a text"]),
    ],
)
def test_an_entry_that_does_not_fit_its_file(entry: dict[str, Any], wrong: list[str], tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"conversations": TURNS, "good": "yes"})
    whole = {"file_name": "a.jsonl", "formatting": "sharegpt", **entry}
    (tmp_path / "dataset_info.json").write_bytes(orjson.dumps({"mine": whole}))
    found = check_target(str(tmp_path), "llama-factory").faults
    assert [f"{fault.column}: {fault.reason}" for fault in found] == wrong


def test_columns_of_other_names_are_what_the_entry_says(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"talk": TURNS, "good": True})
    columns = {"messages": "talk", "kto_tag": "good"}
    entry = {"file_name": "a.jsonl", "formatting": "sharegpt", "columns": columns}
    (tmp_path / "dataset_info.json").write_bytes(orjson.dumps({"mine": entry}))
    assert check_target(str(tmp_path), "llama-factory").faults == []


def test_arrays(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    export(str(dataset), to="npz", output=str(tmp_path / "a.npz"))
    assert (check_target(str(tmp_path / "a.npz"), "npz").rows, len(read_jsonl(dataset))) == (5, 5)
    np.savez(tmp_path / "b.npz", **{"one": np.zeros(3), "a.x": np.array(["text"])})
    found = check_target(str(tmp_path / "b.npz"), "npz").faults
    assert [fault.column for fault in found] == ["one", "a.x"]
    (tmp_path / "c.npz").write_bytes(b"PK no")
    for name in ("c.npz", "gone.npz"):
        with pytest.raises(UsageError, match="cannot be read as arrays"):
            check_target(str(tmp_path / name), "npz")
    np.savez(tmp_path / "d.npz")
    assert [fault.reason for fault in check_target(str(tmp_path / "d.npz"), "npz").faults] == ["has no arrays"]

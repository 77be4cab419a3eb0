"""`verify` finds every kind of damage and names it, passes what is whole, and compares with a second scoring."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import distill_data.teachers
import distill_data.teachers.profiles
from distill_data.cli import main
from distill_data.commands import Options, label
from distill_data.commands.verify import Verified, verify
from distill_data.data.arrays import encode, quantise
from distill_data.data.exchange import Lost, Reply, Request
from distill_data.errors import TeacherError, UsageError
from distill_data.teachers import BACKENDS, Resolved
from distill_data.teachers.protocol import Capabilities, Profile
from tests.feature_datasets import (
    ATTENTION,
    HIDDEN,
    SAMPLED,
    TOKENIZER,
    TOPK,
    Found,
    attention,
    hidden,
    make_dataset,
    packed,
    publish_dataset,
    record,
    sampled,
    topk,
)

KINDS: dict[str, tuple[Callable[[int, int], Found], dict[str, Any]]] = {
    "topk": (topk, TOPK),
    "packed": (packed, TOPK),
    "sampled": (sampled, SAMPLED),
    "hidden": (hidden, HIDDEN),
    "attention": (attention, ATTENTION),
}


def findings(output: Path) -> str:
    return "\n".join(verify(str(output)).findings)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_dataset_without_arrays(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    label("@sentiment", recipe="annotate", output=str(output), options=Options(teachers=("echo",)))
    assert verify(str(output)) == Verified([], {"files": 2, "rows": 84})
    lines = output.read_bytes().split(b"\n")
    output.write_bytes(b"\n".join(lines[1:]))
    assert "has 83 rows, and the manifest says 84" in findings(output)
    output.unlink()
    assert f"{output}: is missing" in findings(output)


def test_no_manifest_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match="there is no manifest"):
        verify(str(tmp_path / "out.jsonl"))
    with pytest.raises(UsageError, match=r"must end in \.jsonl"):
        verify(str(tmp_path / "out.txt"))


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    output = make_dataset(tmp_path)
    assert verify(str(output)).counts == {"files": 3, "rows": 6, "shards": 1, "tokens": 25}
    assert findings(output) == ""
    (shard,) = (tmp_path / "out.features").iterdir()
    for path in (output, tmp_path / "out.rejects.jsonl", shard):
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 7)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert "its SHA-256 is" in findings(output), (path, place)
        path.write_bytes(whole)
    assert findings(output) == ""


def test_a_missing_and_a_cut_side_file(tmp_path: Path) -> None:
    output = make_dataset(tmp_path)
    (shard,) = (tmp_path / "out.features").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "bytes, and the manifest says" in findings(output)
    shard.unlink()
    told = findings(output)
    assert told == f"{shard}: is missing.", "said once, and not again for each record"


# -- arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_passes_as_it_is_written(tmp_path: Path, kind: str) -> None:
    make, feature = KINDS[kind]
    made = [make(number, 4) for number in range(3)]
    output = publish_dataset(tmp_path / "out.jsonl", [(record(n, a, feature), a) for n, a in enumerate(made)])
    assert findings(output) == ""


def test_relations(tmp_path: Path) -> None:
    arrays = {"tokens": np.zeros(2, np.int32), "similarity": np.array([1.0, 0.25], np.float32)}
    made = record(0, arrays, {"of": "hidden"}, batch=["0" * 16, "1" * 16])
    output = publish_dataset(tmp_path / "out.jsonl", [(made, arrays)])
    assert findings(output) == ""
    made["batch"] = ["0" * 16]
    assert "its batch has 1" in findings(publish_dataset(output, [(made, arrays)]))
    made["batch"], arrays["similarity"] = ["0" * 16] * 2, np.array([1.0, 2.0], np.float32)
    assert "outside -1 to 1" in findings(publish_dataset(output, [(made, arrays)]))


Change = Callable[[Found], None]


def put(name: str, place: Any, value: Any) -> Change:
    def change(arrays: Found) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


def cut(name: str) -> Change:
    def change(arrays: Found) -> None:
        arrays[name] = arrays[name][..., :-1]

    return change


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("topk", cut("tokens"), "says 4 tokens, and has 3"),
        ("topk", cut("tail"), "do not belong together"),
        ("topk", lambda a: a.pop("tail"), "tail not among"),
        ("topk", put("logprobs", (2, 0), 60000), "token 2: has log-probabilities that are not sorted"),
        ("topk", put("logprobs", slice(None), 0), "token 0: has more mass than 1 (and 3 more tokens)"),
        ("topk", put("tail", 1, 0.9), "token 1: has more mass than 1"),
        ("topk", put("logprobs", slice(None), 30000), "has less mass than 1"),
        ("topk", put("tail", 1, np.nan), "no probability"),
        ("topk", put("ids", (3, 1), 7), "an id twice"),
        ("topk", put("ids", (0, 7), 300), "the vocabulary has 300"),
        ("topk", put("tokens", 0, -5), "negative token id"),
        ("topk", put("tokens", 0, 300), "scored id 300"),
        ("packed", put("counts_per_token", 0, 1), "counts add up to"),
        ("packed", put("logprobs", slice(None), 0), "more mass than 1"),
        ("sampled", put("counts", 0, 60), "do not add up to 50 draws"),
        ("sampled", put("counts_per_token", 0, 0), "counts"),
        ("sampled", cut("ids"), "counts"),
        ("hidden", put("hidden", (0, 0, 0), np.nan), "not finite"),
        ("hidden", lambda a: a.update(hidden=a["hidden"][:1]), "has 1 layers, where 2"),
        ("hidden", lambda a: a.update(hidden=a["hidden"][:, 1:]), "hidden states of 3 tokens"),
        ("hidden", lambda a: a.update(hidden=a["hidden"][0]), "of the shape (4, 6)"),
        ("attention", put("attention", (0, 0, 0), 0.5), "more than 1 in all"),
        ("attention", put("attention", (0, 0, 0, 0), -0.5), "negative"),
        ("attention", lambda a: a.update(attention=a["attention"][0]), "of the shape (2, 4, 7)"),
        ("hidden", lambda a: a.pop("hidden"), "no kind of knowledge"),
    ],
)
def test_arrays_that_cannot_be_are_told_with_their_record(tmp_path: Path, kind: str, change: Change, says: str) -> None:
    make, feature = KINDS[kind]
    arrays = make(0, 4)
    made = record(7, arrays, feature)
    if says == "an id twice":
        arrays["ids"][3, 0] = 7
    change(arrays)
    told = findings(publish_dataset(tmp_path / "out.jsonl", [(made, arrays)]))
    assert told.startswith(f"{tmp_path / 'out.jsonl'}:1: record {7:016x} ")
    assert says in told


def test_y_has_the_same_logprob_among_the_k(tmp_path: Path) -> None:
    arrays = topk(0, 4)
    arrays["tokens"][2] = arrays["ids"][2, 1]
    arrays["chosen"][2] = arrays["logprobs"][2, 1]
    made = record(0, arrays, TOPK)
    assert findings(publish_dataset(tmp_path / "out.jsonl", [(made, arrays)])) == ""
    arrays["chosen"][2] += 4
    assert "token 2: has another log-probability for its own" in findings(
        publish_dataset(tmp_path / "out.jsonl", [(made, arrays)])
    )


def test_records_against_the_manifest(tmp_path: Path) -> None:
    arrays = topk(0, 4)
    strange = record(1, arrays, TOPK)
    strange["features"]["tokenizer"] = {**TOKENIZER, "probe": "0" * 16}
    output = publish_dataset(tmp_path / "out.jsonl", [(record(0, arrays, TOPK), arrays), (strange, arrays)])
    assert "out.jsonl:2: its tokenizer is not the one" in findings(output)
    manifest = tmp_path / "out.manifest.json"
    changed = orjson.loads(manifest.read_bytes())
    changed["result"]["features"]["tokens"] += 1
    changed["result"]["features"]["shards"][0]["rows"] += 1
    manifest.write_bytes(orjson.dumps(changed))
    told = findings(output)
    assert "its records have 8 tokens, and the manifest says 9" in told
    assert "and the manifest says 3" in told


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_ok_or_ends_with_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = make_dataset(tmp_path, rows=14)
    assert main(["verify", str(output)]) == 0
    assert capsys.readouterr().out == f"ok {output}: 3 files, 15 rows, 1 shards, 133 tokens\n"
    (shard,) = (tmp_path / "out.features").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["verify", str(output)]) == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().split("\n")) == 12
    assert "and 5 more" in told.err
    assert main(["verify", str(output), "--json"]) == 5
    assert len(orjson.loads(capsys.readouterr().out)["findings"]) == 15
    assert main(["verify", str(output), "--rescore", "-1"]) == 2


# -- scoring again -----------------------------------------------------------------------------------------------------
# This module is the backend `toy` of these tests: it gives back what `answers` holds for a question.

answers: dict[str, Found] = {}
asked: list[str] = []
tokenizer: dict[str, Any] = {}
scoring = ["local"]
fails = [""]


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    assert needs == {"score"}
    return Resolved({}, Capabilities(scoring=scoring[0], tokenizer=tokenizer))  # type: ignore[arg-type]


def slots(profile: Profile, resolved: Resolved) -> int:
    return 2


class Toy:
    identity: Mapping[str, str] = {}

    def lower(self, request: Request) -> dict[str, Any]:
        assert request.kind == "score"
        text = request.completion[0]["content"]
        return {"messages": request.messages, "text": text, "feature": dict(request.feature or {})}

    async def send(self, body: bytes) -> Reply:
        await asyncio.sleep(0)
        question = orjson.loads(body)
        asked.append(question["text"])
        if fails[0] == "lost":
            raise Lost("the line is dead", sent=True)
        if fails[0]:
            return Reply(500, {}, fails[0].encode())
        header, blob = encode(answers[question["text"]])
        return Reply(200, {}, orjson.dumps({"feature": {"of": question["feature"]["of"], "arrays": header}}), blob)

    async def aclose(self) -> None:
        pass


def open_teacher(profile: Profile, resolved: Resolved) -> Toy:
    return Toy()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = {**BACKENDS, "toy": "tests.commands.test_verify"}
    monkeypatch.setattr(distill_data.teachers, "BACKENDS", backends)
    monkeypatch.setattr(distill_data.teachers.profiles, "BACKENDS", backends)
    monkeypatch.setitem(sys.modules, "tests.commands.test_verify", sys.modules[__name__])
    answers.clear()
    asked.clear()
    tokenizer.clear()
    tokenizer.update(TOKENIZER)
    scoring[0], fails[0] = "local", ""


ASK_TOY = Options(teachers=("toy/model",))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("toy")
def test_the_same_teacher_agrees_within_rounding(tmp_path: Path, kind: str) -> None:
    make, feature = KINDS[kind]
    made = [make(number, 4) for number in range(6)]
    output = publish_dataset(tmp_path / "out.jsonl", [(record(n, a, feature), a) for n, a in enumerate(made)])
    again = topk if kind == "packed" else make
    answers.update({f"answer {number}": again(number, 4) for number in range(6)})
    found = verify(str(output), rescore=4, options=ASK_TOY)
    assert (found.findings, found.counts["rescored"]) == ([], 4)
    assert len(set(asked)) == 4
    first = sorted(asked)
    asked.clear()
    verify(str(output), rescore=4, options=ASK_TOY)
    assert sorted(asked) == first


@pytest.mark.parametrize(
    ("kind", "name", "by", "agrees"),
    [
        ("topk", "logprobs", 2, True),
        ("topk", "logprobs", 3, False),
        ("topk", "chosen", 3, False),
        ("packed", "logprobs", 45, False),
        ("sampled", "chosen", 3, False),
        ("hidden", "hidden", 0.001, True),
        ("hidden", "hidden", 0.05, False),
        ("attention", "attention", 0.01, False),
    ],
)
@pytest.mark.usefixtures("toy")
def test_another_value_is_found(tmp_path: Path, kind: str, name: str, by: float, agrees: bool) -> None:
    make, feature = KINDS[kind]
    arrays = make(0, 4)
    output = publish_dataset(tmp_path / "out.jsonl", [(record(0, arrays, feature), arrays)])
    other = topk(0, 4) if kind == "packed" else make(0, 4)
    other[name] = (other[name] + by).astype(other[name].dtype)
    answers["answer 0"] = other
    found = verify(str(output), rescore=9, options=ASK_TOY).findings
    assert (not found) == agrees
    assert agrees or found[0].startswith(f"{output}:1: record {0:016x}: toy/model gives another")


@pytest.mark.usefixtures("toy")
def test_other_entries_count_only_away_from_the_border(tmp_path: Path) -> None:
    logp = np.log(np.array([[0.5, 0.3, 0.1, 0.1]]))
    stored = {
        "tokens": np.zeros(1, np.int32),
        "chosen": quantise(logp[:, 0]),
        "ids": np.array([[0, 1, 2]], np.uint16),
        "logprobs": quantise(logp[:, :3]),
        "tail": np.array([0.1], np.float16),
    }
    output = publish_dataset(tmp_path / "out.jsonl", [(record(0, stored, TOPK), stored)])
    answers["answer 0"] = {**stored, "ids": np.array([[0, 1, 3]], np.uint16)}
    assert not verify(str(output), rescore=1, options=ASK_TOY).findings
    answers["answer 0"] = {**stored, "ids": np.array([[0, 3, 2]], np.uint16)}
    assert "another distribution" in verify(str(output), rescore=1, options=ASK_TOY).findings[0]
    answers["answer 0"] = {**stored, "tokens": np.ones(1, np.int32)}
    assert "other tokens" in verify(str(output), rescore=1, options=ASK_TOY).findings[0]


@pytest.mark.usefixtures("toy")
def test_what_cannot_be_scored_again(tmp_path: Path) -> None:
    output = make_dataset(tmp_path, rows=1)
    with pytest.raises(UsageError, match="name one with -t"):
        verify(str(output), rescore=1)
    fails[0] = "lost"
    with pytest.raises(TeacherError, match="the line is dead"):
        verify(str(output), rescore=1, options=ASK_TOY)
    fails[0] = "out of memory"
    with pytest.raises(TeacherError, match=r"status 500.*out of memory"):
        verify(str(output), rescore=1, options=ASK_TOY)
    tokenizer["probe"] = "0" * 16
    with pytest.raises(UsageError, match="its tokenizer is not that of"):
        verify(str(output), rescore=1, options=ASK_TOY)
    scoring[0] = "none"
    with pytest.raises(UsageError, match="cannot score a given text"):
        verify(str(output), rescore=1, options=ASK_TOY)
    arrays = topk(0, 4)
    publish_dataset(output, [(record(0, arrays, TOPK), arrays)], teachers={"teacher": "a", "teacher-2": "b"})
    with pytest.raises(UsageError, match="average over 2 teachers"):
        verify(str(output), rescore=1, options=ASK_TOY)

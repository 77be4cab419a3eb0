"""Ranking objectives and reward models on files as `feedback` wrote them, on few steps; and lists against single ones.

`python -m tests.training.teaching dpo` has more steps, three seeds and the control.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distill_data.commands.train import TINY, Training, profile_of, train
from distill_data.errors import UsageError
from distill_data.teachers.loading import load
from distill_data.training.jobs import Job, Loop
from distill_data.training.listwise import batch_loss, collate
from distill_data.training.objectives import LANGUAGE, REWARD
from distill_data.training.pairs import LONG, SAME, TIED, judged_of, pairs_of, rankings_of
from distill_data.training.ranking import pro
from distill_data.training.students import make_tiny, make_tokenizer
from tests.training.cases_ranking import CASES, train_speaker, write_judged
from tests.training.teaching import HELD, TRAIN, Case, teach, write_rows

pytest.importorskip("trl")
pytestmark = pytest.mark.white_box


SHORT = {"kto": (40, 3e-4), "dpo": (20, 5e-4)}
"""Steps and learning rate, where others are needed than of the other objectives."""


class Ground(NamedTuple):
    """What all of them start from."""

    speaker: dict[str, str]
    judged: Path


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    judged = folder / "judged"
    judged.mkdir()
    write_judged("ranked", judged, 0)
    (judged / TRAIN).rename(judged / "ranked.jsonl")
    return Ground(dict(train_speaker(folder, 0, 50)), judged)


@pytest.mark.parametrize("case", CASES, ids=[case.objective for case in CASES])
def test_it_teaches_on_what_feedback_wrote(case: Case, ground: Ground, tmp_path: Path) -> None:
    kind = {"kto": "unpaired", "rrhf": "ranked", "pro": "ranked"}.get(case.objective, "preference")

    def make(folder: Path, seed: int) -> None:
        shutil.copy(ground.judged / f"{kind}.jsonl", folder / TRAIN)
        shutil.copy(ground.judged / HELD, folder / HELD)

    steps, rate = SHORT.get(case.objective, (15, 1e-3))
    loop = replace(case.loop, steps=steps, learning_rate=rate)
    short = case._replace(make=make, loop=loop, models=lambda *_: ground.speaker)
    lesson = teach(short, tmp_path, seed=0, control=False)
    assert lesson.teaches, lesson


def test_what_feedback_wrote_makes_a_reward_that_a_policy_is_trained_with(ground: Ground, tmp_path: Path) -> None:
    pairs, student = str(ground.judged / "preference.jsonl"), ground.speaker["student"]
    loop = Loop(steps=3, batch=4, max_length=128)
    judge = train(pairs, Training(student=student, objective="reward", loop=loop), str(tmp_path / "judge"))
    policy = Training(student, "rl", loop, {"length": "8", "samples": "2"}, reward=str(judge.folder))
    result = train(pairs, policy, str(tmp_path / "policy")).result
    assert result["student"]["reward"] == {"name": "judge", "weights": judge.result["weights"]}
    assert all(abs(entry["reward"]) > 0 for entry in result["history"])


def job_of(rows: list[dict[str, Any]], **loop: Any) -> Job:
    """A job of an untrained student, for what is decided before a trainer is there."""
    student = make_tiny(make_tokenizer(), 0, LANGUAGE)
    return Job(student, rows, (), {}, Loop(**loop), Path(), lambda row: {})


def pair(chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "Tell: red cat", "chosen": chosen, "rejected": rejected, **more}


def test_what_teaches_nothing_is_left_out_and_counted() -> None:
    rows = [
        pair("a", "b"),
        pair("a", "b", chosen_score=2, rejected_score=1.5),
        pair("a", "b", chosen_score=2, rejected_score=2),
        pair("a", "b", chosen_score=1, rejected_score=2),
        pair("a", "b", chosen_score=float("nan"), rejected_score=2),
        pair("a", "a"),
        pair("a", "b") | {"prompt": "x" * 200},
        {"prompt": "Tell: red cat", "responses": ["a", "b", "c"], "scores": [1, 3, 2]},
        {"prompt": "Tell: red cat", "responses": ["a", "b"], "scores": [3, 3]},
    ]
    job, left_out = job_of(rows, max_length=100), Counter[str]()
    pairs = list(pairs_of(rows, job, left_out))
    assert [(each["chosen"][0]["content"], each["margin"]) for each in pairs] == [("a", None), ("a", 0.5), ("b", 2)]
    assert left_out == {TIED: 4, SAME: 1, LONG: 1}
    judged = list(judged_of([*rows, pair("a", "b") | {"completion": "c", "label": True}][:2], job, left_out))
    assert [(each["completion"][0]["content"], each["label"]) for each in judged] == [("a", True), ("b", False)] * 2


def test_lists_are_left_out_and_cut() -> None:
    rows = [
        {"prompt": "Tell: red cat", "responses": ["a", "b", "a"], "scores": [1, 3, 2]},
        {"prompt": "Tell: red cat", "responses": ["a", "a"], "scores": [1, 3]},
        {"prompt": "Tell: red cat", "responses": ["a", "b"], "scores": [3, 3]},
        {"prompt": "x" * 200, "responses": ["a", "b"], "scores": [1, 3]},
        {"prompt": "Tell: red cat", "responses": ["long" * 50, "b"], "scores": [1, 3]},
    ]
    job, left_out = job_of(rows, max_length=100), Counter[str]()
    first, last = rankings_of(rows, job, left_out)
    tokenizer = job.student.tokenizer
    said = [tokenizer.decode(each.ids[each.start : each.end]) for each in first.answers]
    assert said == ["b<|im_end|>", "a<|im_end|>"] and first.scores == [3, 2]
    assert [len(each.ids) for each in last.answers][1] == 100 == last.answers[1].end
    assert not first.cut and last.cut
    assert left_out == {SAME: 1, TIED: 1, LONG: 1}


def test_a_batch_of_lists_is_the_mean_of_each_alone_whatever_the_padding() -> None:
    rows = [
        {"prompt": "Tell: red cat", "responses": ["a", "some more", "b"], "scores": [1, 3, 2]},
        {"prompt": "Shout", "responses": ["a longer one than the others", "b"], "scores": [1, 2]},
    ]
    job = job_of(rows)
    lists, model = list(rankings_of(rows, job, Counter())), job.student.model
    alone = [batch_loss(model, collate([each], padding=0), pro).item() for each in lists]
    for padding in (0, 7):
        batch = collate(lists, padding)
        assert batch["sizes"].tolist() == [3, 2] and batch["scores"].tolist() == [3, 2, 1, 2, 1]
        assert batch_loss(model, batch, pro).item() == pytest.approx(sum(alone) / 2, abs=1e-5)


BAD: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "another kind": ("dpo", [{"prompt": "x", "completion": "y"}], "feedback --kind preference"),
    "no list": ("rrhf", [pair("a", "b")], "feedback --kind ranked"),
    "a list of one": ("pro", [{"prompt": "x", "responses": ["a"], "scores": [1]}], ":1: .*of two or more"),
    "no score": ("rrhf", [{"prompt": "x", "responses": ["a", "b"], "scores": [1, None]}], ":1: .*scores numbers"),
    "all equal": ("dpo", [pair("a", "a")], "no row is left to learn from .1: the answers are the same"),
    "only good ones": ("kto", [{"prompt": "x", "completion": y, "label": True} for y in "ab"], "threshold"),
}


@pytest.mark.parametrize("objective, rows, message", BAD.values(), ids=list(BAD))
def test_bad_rows_are_refused(objective: str, rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UsageError, match=message):
        train(str(tmp_path / "rows.jsonl"), Training(TINY, objective), str(tmp_path / "student"))
    assert not (tmp_path / "student").exists()


def test_a_bad_row_is_named_by_its_line(tmp_path: Path) -> None:
    """Also where others are taken first, lines are blank, or it is held out."""
    good = {"prompt": "x", "completion": "y", "label": True}
    lines = [pair("a", "b"), None, {**good, "label": False}, {**good, "label": "yes"}]
    (tmp_path / "bad.jsonl").write_text("".join(f"{json.dumps(line) if line else ''}\n" for line in lines))
    write_rows(tmp_path / "good.jsonl", [pair("a", "b"), good])
    for rows, held in (("bad.jsonl", ""), ("good.jsonl", str(tmp_path / "bad.jsonl"))):
        with pytest.raises(UsageError, match=r"bad.jsonl:4: label must be true or false, and is 'yes'"):
            train(str(tmp_path / rows), Training(TINY, "kto", held=held), str(tmp_path / "student"))


def test_adapters_are_measured_from_the_student_without_them(ground: Ground, tmp_path: Path) -> None:
    rows = [pair("A red cat.", "red cat"), pair("A red cat.", "red cat", chosen_score=1, rejected_score=1)]
    write_rows(tmp_path / "rows.jsonl", rows)
    training = Training(**ground.speaker, objective="dpo", loop=Loop(steps=4, batch=2), lora=4)
    done = train(str(tmp_path / "rows.jsonl"), training, str(tmp_path / "student"))
    losses = [each["loss"] for each in done.result["history"] if "loss" in each]
    assert losses[0] == pytest.approx(0.6931, abs=1e-3) and losses[-1] < losses[0]
    assert done.result["left_out"] == {TIED: 1}
    assert done.result["learning_rate"] == pytest.approx(1e-6 * 4096 / 128 * 10)


class StoppedError(Exception):
    """What ends a training at a step."""


def test_one_that_goes_on_has_the_reference_that_it_began_with(ground: Ground, tmp_path: Path) -> None:
    rows = str(tmp_path / "rows.jsonl")
    write_rows(Path(rows), [pair("A red cat.", "red cat"), pair("a", "b")])
    training = Training(**ground.speaker, objective="dpo", loop=Loop(steps=5, batch=2, learning_rate=1e-3))

    def stop(measured: Mapping[str, float]) -> None:
        if measured["step"] == 4:
            raise StoppedError

    whole = train(rows, training, str(tmp_path / "whole"))
    with pytest.raises(StoppedError):
        train(rows, training, str(tmp_path / "stopped"), stop)
    assert [*tmp_path.glob("stopped.run/checkpoints/checkpoint-3/whole")]
    again = train(rows, training, str(tmp_path / "stopped"))
    for name in ("weights", "history"):
        assert again.result[name] == whole.result[name]


def test_a_message_that_the_template_refuses_is_told(tmp_path: Path) -> None:
    made = job_of([pair("a", "b") | {"prompt": [{"role": "system", "content": "a"}]}])
    made.student.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(UsageError, match="does not take messages of system: no system role"):
        list(pairs_of(made.rows, made, Counter()))


def test_a_reward_model_opens_as_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [pair("a", "b")])
    training = Training(TINY, "reward", Loop(steps=1))
    done = train(str(tmp_path / "rows.jsonl"), training, str(tmp_path / "student"))
    assert load(profile_of(str(done.folder), None), REWARD).model.config.num_labels == 1

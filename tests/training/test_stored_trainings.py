"""`feature`, then `train` on what it wrote: batches, order, stops, held-out rows, mistakes; and whether it teaches."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_data.cli import main
from distill_data.commands.train import Loop, Training, profile_of, train
from distill_data.data.features import open_features
from distill_data.errors import Interrupted, UsageError
from distill_data.training import stored
from distill_data.training.divergences import MAKERS, make_full
from distill_data.training.examples import make_examples
from distill_data.training.objectives import LANGUAGE
from distill_data.training.similarity import make_projection
from distill_data.training.students import make_tiny as make_student
from distill_data.training.students import open_student
from tests.system.command import read_jsonl
from tests.training.cases_stored import CASES, store, store_shuffled
from tests.training.knowledge import by_hand, job_of, make, refused, trained, weights, write
from tests.training.teaching import TRAIN, teach
from tests.white_box.tiny import make_tiny

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

STEPS = 20
"""Of the teacher and of each student that is taught in a test; `python -m tests.training.teaching` takes its time."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make(tmp_path_factory.mktemp("stored"))


# -- the loop ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "data"), [("kd", "topk"), ("hidden", "hidden")])
def test_small_batches_added_up_are_one_large_one(made: Path, tmp_path: Path, objective: str, data: str) -> None:
    given = ["--steps", "2", "--set", "alpha=0.5"]
    one = trained(made, tmp_path / "one", objective, data, *given, "--batch", "8")["history"]
    many = trained(made, tmp_path / "many", objective, data, *given, "--batch", "2", "--accumulate", "4")["history"]
    assert len(one) == len(many) == 2
    for large, small in zip(one, many, strict=True):
        assert small["loss"] == pytest.approx(large["loss"], rel=1e-5)
        assert small["grad_norm"] == pytest.approx(large["grad_norm"], rel=1e-3)
    changed = [
        float((weights(tmp_path / "one")[name] - each).abs().max()) for name, each in weights(made / "student").items()
    ]
    assert max(changed) > 1e-3


@pytest.mark.parametrize("objective", ["hidden", "relations"])
def test_a_training_that_was_stopped_ends_with_the_same_weights(made: Path, tmp_path: Path, objective: str) -> None:
    # tiny is wider than the teacher, so that a projection is learned with it
    hidden = objective == "hidden"
    student, tokenizer = ("tiny", str(made / "teacher")) if hidden else (str(made / "student"), "bytes")
    loop = Loop(epochs=2, batch=2, max_length=512) if hidden else Loop(epochs=4, batch=4, max_length=512)
    training = Training(student, objective, loop, tokenizer=tokenizer)
    source = str(made / f"{objective}.jsonl")

    def stop(measured: Any) -> None:
        if measured["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(source, training, str(tmp_path / "whole")).result["steps"] == 8
    with pytest.raises(Interrupted):
        train(source, training, str(tmp_path / "stopped"), stop)
    train(source, training, str(tmp_path / "stopped"))
    whole, stopped = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert whole.keys() == stopped.keys() and not any("projection" in name for name in whole)
    assert max(float((whole[name] - stopped[name]).abs().max()) for name in whole) == 0


def test_a_projection_is_learned_with_the_student(made: Path) -> None:
    from safetensors.torch import load_file

    job = job_of(made, "hidden", "hidden")
    wide = make_student(job.student.tokenizer, 0, LANGUAGE)
    before = set(wide.model.state_dict())
    trainer = stored.make_hidden(
        replace(job, student=wide, loop=replace(job.loop, steps=2), folder=made / "wide"), 1e-3
    )
    trainer.train()
    learned = load_file(made / "wide" / "checkpoint-2" / "projections.safetensors")
    torch.manual_seed(0)
    fresh = [make_projection(wide.model.config.hidden_size, 32).weight for _ in range(2)]
    moved = [float((learned[f"{at}.weight"] - each.detach()).abs().max()) for at, each in enumerate(fresh)]
    assert all(1e-5 < each < 0.01 for each in moved)
    assert set(wide.model.state_dict()) == before


def test_the_order_of_rows_is_the_seeds(made: Path) -> None:
    def order(objective: str, seed: int) -> list[list[int]]:
        job = job_of(made, objective, "topk" if objective == "kd" else objective)
        job = replace(job, loop=replace(job.loop, batch=2, seed=seed))
        loader = getattr(stored, f"make_{objective}")(job, 1e-3).get_train_dataloader()
        epochs = []
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            epochs.append([ids for batch in loader for ids in batch["input_ids"][:, :24].sum(1).tolist()])
        return epochs

    for objective in ("kd", "relations"):
        one, again = order(objective, 0), order(objective, 0)
        seen = [epoch for seed in range(6) for epoch in order(objective, seed)]
        assert one == again
        assert len({tuple(epoch) for epoch in seen}) > 1 and len({tuple(sorted(epoch)) for epoch in seen}) == 1
        if objective == "relations":  # two stored batches, each as it was
            halves = {tuple(epoch[at : at + 4]) for epoch in seen for at in (0, 4)}
            assert len(halves) == 2


def test_what_is_held_out_is_a_mean_over_all_tokens_wherever_its_arrays_are(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "topk.features", tmp_path / "held" / "topk.features")
    held = write(tmp_path / "held" / "held.jsonl", read_jsonl(made / "topk.jsonl")[:5])
    given = ["--held-out", str(held), "--steps", "1", "--set", "alpha=0.5"]
    shutil.copytree(made / "student", tmp_path / "student")
    found = [
        trained(made, tmp_path / f"s{batch}", "kd", "topk", *given, "--batch", batch)["history"][0]
        for batch in ("2", "8")
    ]
    job = job_of(made, "kd", "topk")
    expected = by_hand(replace(job, rows=job.rows[:5]), make_full(MAKERS["forward-kl"](0.5)))
    for each in found:
        assert each["eval_divergence"] == pytest.approx(expected, rel=1e-5)
        assert each["eval_loss"] == pytest.approx((each["eval_divergence"] + each["eval_cross_entropy"]) / 2)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_student_with_another_tokenizer(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "s"), "-s", "tiny"]
    for objective, data in (("kd", "topk"), ("hidden", "hidden")):
        said = refused(capsys, 2, str(made / f"{data}.jsonl"), "--objective", objective, *out)
        assert "mismatch: " in said and "sequence-level" in said and "--tokenizer" in said
    assert not (tmp_path / "s").exists()
    assert (
        main(["train", str(made / "relations.jsonl"), "--objective", "relations", *out, "--steps", "1", "--quiet"]) == 0
    )


def test_a_padded_student_fits_and_a_narrow_one_does_not(made: Path, tmp_path: Path) -> None:
    make_tiny(tmp_path / "wide", vocab_extra=9)
    job = job_of(made, "kd", "topk")
    stored.make_kd(replace(job, student=open_student(profile_of(str(tmp_path / "wide"), None), LANGUAGE)), 1e-3)
    narrow = open_student(profile_of(str(made / "student"), None), LANGUAGE)
    narrow.model.resize_token_embeddings(len(narrow.tokenizer) - 4)
    with pytest.raises(UsageError, match="which the student has not: resize its embeddings"):
        stored.make_kd(replace(job, student=narrow), 1e-3)


def test_rows_and_files_that_do_not_fit(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "s"), "-s", str(made / "student"), "--max-length", "512"]
    kd = ["--objective", "kd", *out]
    assert "made by feature -r topk" in refused(capsys, 2, str(made / "hidden.jsonl"), *kd)
    sampled = str(made / "sampled.jsonl")
    assert "forward-kl at that temperature" in refused(capsys, 2, sampled, *kd, "--set", "divergence=jsd")
    assert "forward-kl at that temperature" in refused(capsys, 2, sampled, *kd, "--set", "temperature=2")
    (tmp_path / "alone").mkdir()
    shutil.copy(made / "topk.jsonl", tmp_path / "alone")
    assert "side file is missing" in refused(capsys, 5, str(tmp_path / "alone" / "topk.jsonl"), *kd)
    rows = read_jsonl(made / "topk.jsonl")
    bare = write(tmp_path / "bare.jsonl", [{key: row[key] for key in row if key != "features"} for row in rows])
    assert "no column `features`" in refused(capsys, 2, str(bare), *kd)
    both = write(made / "both.jsonl", [*rows, *read_jsonl(made / "sampled.jsonl")])
    assert "knowledge of different kinds" in refused(capsys, 2, str(both), *kd)


def test_tokens_without_ids_are_refused(made: Path) -> None:
    job = job_of(made, "kd", "topk")
    spelled = {"spellings": np.frombuffer(b"ab", np.uint8), "spelling_ends": np.array([1, 2], np.int32)}
    with pytest.raises(UsageError, match="named its tokens by their text"):
        make_examples(job, job.rows, lambda row: {**job.arrays(row), **spelled}, Counter())


# -- do they teach? ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["kd", "hidden", "relations"])
def test_it_teaches(tmp_path: Path, objective: str) -> None:
    case = next(case for case in CASES if case.objective == objective)
    short = case._replace(loop=replace(case.loop, steps=STEPS), make=partial(case.make, steps=STEPS))
    lesson = teach(short, tmp_path, 0, control=False)
    assert lesson.losses[1] < lesson.losses[0] and lesson.trained > lesson.untrained


def test_the_control_has_the_same_tokens_and_other_arrays(tmp_path: Path) -> None:
    for name, write_files in (("plain", store), ("control", store_shuffled)):
        (tmp_path / name).mkdir()
        write_files(tmp_path / name, 0, recipe="topk", k=8, steps=STEPS)
    one, other = (open_features(tmp_path / name / TRAIN) for name in ("plain", "control"))
    rows = read_jsonl(tmp_path / "plain" / TRAIN)
    same = [np.array_equal(one.of(row)["tokens"], other.of(row)["tokens"]) for row in rows]
    moved = [not np.array_equal(one.of(row)["logprobs"], other.of(row)["logprobs"]) for row in rows]
    assert all(same) and sum(moved) > len(rows) / 2

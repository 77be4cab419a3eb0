"""What the trainers of step-by-step, on-policy and rl are made of: losses by hand, rewards by hand, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.train import Loop, Training, train
from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.training.jobs import Job, Student
from distill_data.training.objectives import LANGUAGE, settings_of
from distill_data.training.policy import make_on_policy, make_rl, make_teacher_reward
from distill_data.training.students import make_tiny, make_tokenizer
from distill_data.training.supervised import make_sft, make_step_by_step
from tests.golden import GOLDEN
from tests.system.command import read_jsonl
from tests.training.teaching import write_rows

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.white_box,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # TRL's, of transformers
]

REASONED = read_jsonl(GOLDEN / "label" / "step-by-step" / "records.jsonl")
"""Labels and rationales as the recipe makes them."""


def job(folder: Path, name: str, rows: Sequence[Row], given: Mapping[str, str] = {}, **more: Any) -> Job:
    """A training of a student of random weights that has not begun."""
    student = make_tiny(make_tokenizer(), 0, LANGUAGE)
    settings = settings_of(name, given)

    def place(row: Row) -> str:
        return f"row {[row is each for each in rows].index(True) + 1}"

    return Job(student, rows, (), settings, Loop(batch=2, steps=2), folder, lambda _: {}, place=place, **more)


def gradients(trainer: Any) -> tuple[float, list[Any]]:
    """The loss of the first batch in the rows' own order, and its gradients."""
    batch = trainer.data_collator([trainer.train_dataset[at] for at in range(2)])
    loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch))
    loss.backward()
    return loss.item(), [each.grad.clone() for each in trainer.model.parameters()]


def part(row: Row) -> str:
    return str(json.loads(row["meta"]["details"])["part"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: Any) -> dict[str, tuple[float, list[Any]]]:
    """Loss and gradients of `sft` on the rows of one task."""
    tasks = {task: [row for row in REASONED if part(row) == task] for task in ("label", "rationale")}
    folder = tmp_path_factory.mktemp("alone")
    return {task: gradients(make_sft(job(folder, "sft", rows), 1e-3)) for task, rows in tasks.items()}


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_step_by_step_is_the_weighted_sum_of_both_tasks(alpha: float, alone: Any, tmp_path: Path) -> None:
    """With alpha 0 it is the loss, and the gradient, of labels alone."""
    loss, found = gradients(make_step_by_step(job(tmp_path, "step-by-step", REASONED, {"alpha": str(alpha)}), 1e-3))
    (label, of_label), (rationale, of_rationale) = alone["label"], alone["rationale"]
    assert loss == pytest.approx((1 - alpha) * label + alpha * rationale, rel=1e-5)
    for each, one, other in zip(found, of_label, of_rationale, strict=True):
        assert torch.allclose(each, (1 - alpha) * one + alpha * other, atol=1e-6)
    assert label != pytest.approx(rationale)


def test_rows_without_their_other_task_are_left_out_and_counted(tmp_path: Path, caplog: Any) -> None:
    made = job(tmp_path, "step-by-step", REASONED[1:])
    assert len(make_step_by_step(made, 1e-3).train_dataset) == len(REASONED) // 2 - 1
    assert made.left_out == {"alone": 1} and "1 of" in caplog.text
    with pytest.raises(UsageError, match="no text has both"):
        make_step_by_step(job(tmp_path, "step-by-step", REASONED[:1]), 1e-3)
    with pytest.raises(UsageError, match="label -r step-by-step"):
        make_step_by_step(job(tmp_path, "step-by-step", [{"prompt": "a", "completion": "b"}]), 1e-3)


class Teacher:
    """A `Loaded` of a student."""

    def __init__(self, student: Student) -> None:
        self.model, self.tokenizer, self.device = student.model.eval(), student.tokenizer, student.device


def test_the_teachers_reward_is_its_mean_log_probability(tmp_path: Path) -> None:
    teacher = Teacher(make_tiny(make_tokenizer(), 1, LANGUAGE))
    asked = [[{"role": "user", "content": text}] for text in ("a", "what is b?")]
    said = [[{"role": "assistant", "content": text}] for text in ("yes", "")]
    found = make_teacher_reward(teacher)(prompts=asked, completions=said)
    for prompt, answer, mean in zip(asked, said, found, strict=True):
        text = f"<|im_start|>user\n{prompt[0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        before = len(teacher.tokenizer(text)["input_ids"])
        ids = torch.tensor([teacher.tokenizer(f"{text}{answer[0]['content']}<|im_end|>")["input_ids"]])
        logp = teacher.model(ids).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[before - 1 :]
        assert mean == pytest.approx(logp.mean().item(), abs=1e-4)


PROMPTS = [{"prompt": f"say {number}", "answer": str(number)} for number in range(4)]


def test_a_teacher_that_is_the_student_is_at_no_distance(tmp_path: Path) -> None:
    """On-policy divergence of equals is 0 at every beta, and that of others is not."""
    for beta in ("0", "0.5", "1"):
        for seed, far in ((0, False), (1, True)):
            teacher = Teacher(make_tiny(make_tokenizer(), seed, LANGUAGE))
            made = job(tmp_path, "on-policy", PROMPTS, {"length": "4", "beta": beta}, teacher=teacher)
            trainer = make_on_policy(made, 1e-3)
            trainer.model.train()
            inputs = trainer._prepare_inputs([trainer.train_dataset[at] for at in range(2)])
            loss = trainer.compute_loss(trainer.model, inputs).item()
            assert (loss > 1e-3) is far and loss > -1e-6, (beta, seed, loss)


def test_the_reference_of_rl_is_the_student_as_it_begins(tmp_path: Path) -> None:
    made = job(tmp_path, "rl", PROMPTS, {"length": "4", "samples": "2"}, reward=lambda said, known: len(said))
    trainer = make_rl(made, 1e-3)
    assert trainer.ref_model is not trainer.model and trainer.beta == 0.05
    for one, other in zip(trainer.ref_model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(one, other) and one is not other and not one.requires_grad
    assert make_rl(job(tmp_path, "rl", PROMPTS, {"beta": "0"}, reward=len), 1e-3).ref_model is None


@pytest.mark.parametrize(
    ("objective", "given", "says"),
    [
        ("rl", {}, "needs --reward"),
        ("on-policy", {}, "needs --teacher"),
        ("rl", {"reward": "teacher"}, "needs --teacher"),
        ("sft", {"teacher": "x"}, "--teacher x: nothing asks it"),
        ("rl", {"reward": "verifier"}, r"rows.jsonl:2: this row has no column `answer`"),
    ],
)
def test_models_that_are_missing_or_too_many(objective: str, given: Any, says: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*PROMPTS[:1], {"prompt": "no answer"}])
    if objective == "sft":
        write_rows(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(UsageError, match=says):
        train(str(tmp_path / "rows.jsonl"), Training("tiny", objective, Loop(steps=1), **given), str(tmp_path / "s"))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def refusing(student: Student) -> Student:
    """Its chat template takes no system message."""
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    student.tokenizer.chat_template = refuse + student.tokenizer.chat_template
    return student


UNREADABLE = [*PROMPTS, {"prompt": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}]


def test_prompts_that_a_model_cannot_read_are_refused_before_the_first_step(tmp_path: Path) -> None:
    teacher = Teacher(refusing(make_tiny(make_tokenizer(), 1, LANGUAGE)))
    with pytest.raises(UsageError, match=r"row 5: the teacher's chat template does not take .*: no system role"):
        make_rl(job(tmp_path, "rl", UNREADABLE, teacher=teacher), 1e-3)
    teacher.tokenizer.chat_template = None
    with pytest.raises(UsageError, match="row 1: the teacher has no chat template"):
        make_rl(job(tmp_path, "rl", UNREADABLE, teacher=teacher), 1e-3)
    for objective, make in (("rl", make_rl), ("sft", make_sft)):
        made = job(tmp_path, objective, [{**row, "answer": "c"} for row in UNREADABLE], reward=lambda *_: 0.0)
        refusing(made.student)
        with pytest.raises(UsageError, match="the student's chat template does not take"):
            make(made, 1e-3)
    with pytest.raises(UsageError, match=r"row 1: .*prompt"):
        make_rl(job(tmp_path, "rl", [{"prompt": None}] * 2, reward=lambda *_: 0.0), 1e-3)


def test_prompts_that_are_held_out_need_room_for_an_answer(tmp_path: Path) -> None:
    made = replace(job(tmp_path, "rl", PROMPTS, reward=lambda *_: 0.0), held=[{"prompt": "a" * 2000}])
    with pytest.raises(UsageError, match="no held-out prompt leaves room"):
        make_rl(made, 1e-3)


def test_answers_that_nobody_compares_with_may_be_anything(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": "x"}]
    teacher = Teacher(make_tiny(make_tokenizer(), 1, LANGUAGE))
    assert make_rl(job(tmp_path, "rl", rows, teacher=teacher), 1e-3).train_dataset.column_names == ["prompt"]


def test_another_vocabulary_is_refused_and_too_few_prompts(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", PROMPTS)
    write_rows(tmp_path / "texts.jsonl", [{"prompt": "say seven", "completion": "seven seven seven"}])
    begin = Loop(steps=1, batch=1)
    teacher = train(
        str(tmp_path / "texts.jsonl"), Training("tiny", "sft", begin, tokenizer="bpe:9"), str(tmp_path / "t")
    )
    for tokenizer, batch, says in (
        ("bytes", 1, "vocabulary"),
        (str(teacher.folder), 9, "4 prompts, and a step takes 9"),
    ):
        training = Training(
            "tiny", "on-policy", Loop(steps=1, batch=batch), teacher=str(teacher.folder), tokenizer=tokenizer
        )
        with pytest.raises(UsageError, match=says):
            train(str(tmp_path / "rows.jsonl"), training, str(tmp_path / "s"))
        assert not [*tmp_path.glob("s*")]

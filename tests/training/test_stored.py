"""What kd, hidden and relations compare, against torch: places, cuts, layers, batches."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_data.commands.train import profile_of
from distill_data.errors import UsageError
from distill_data.training import stored
from distill_data.training.divergences import MAKERS, make_full
from distill_data.training.examples import make_examples
from distill_data.training.objectives import LANGUAGE
from distill_data.training.similarity import relations
from distill_data.training.students import open_student
from tests.training.knowledge import ROWS, batch_of, by_hand, job_of, make, trained

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make(tmp_path_factory.mktemp("stored"))


# -- kd ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "temperature"), [(name, "1") for name in MAKERS] + [("forward-kl", "2")])
def test_all_of_the_vocabulary_stored_is_the_full_divergence(made: Path, name: str, temperature: str) -> None:
    job = job_of(made, "kd", "topk", divergence=name, temperature=temperature)
    trainer = stored.make_kd(job, 1e-3)
    full = make_full(MAKERS[name](0.5), float(temperature))
    found = trainer.compute_loss(job.student.model, batch_of(trainer)).item()
    assert found == pytest.approx(by_hand(job, full), rel=1e-5) and found > 0.1


def test_the_first_step_of_the_command_tells_this_loss(made: Path, tmp_path: Path) -> None:
    history = trained(made, tmp_path / "s", "kd", "topk", "--steps", "3", "--batch", "8")["history"]
    job = job_of(made, "kd", "topk")
    assert history[0]["loss"] == pytest.approx(by_hand(job, make_full(MAKERS["forward-kl"](0.5))), rel=1e-5)
    assert history[2]["loss"] < history[0]["loss"]


def test_the_rest_of_the_loss_is_the_cross_entropy_of_y(made: Path) -> None:
    job = job_of(made, "kd", "topk", alpha="0.25")
    trainer = stored.make_kd(job, 1e-3)
    batch = batch_of(trainer)
    total, tokens = 0.0, 0
    for example in make_examples(job, job.rows, job.arrays, Counter()):
        labels = torch.tensor([[-100] * example.start + example.ids[example.start :]])
        with torch.no_grad():
            total += float(job.student.model(torch.tensor([example.ids]), labels=labels).loss) * example.tokens
        tokens += example.tokens
    told, own = trainer.means(job.student.model, batch).tolist()
    assert own == pytest.approx(total / tokens, rel=1e-5)
    assert trainer.compute_loss(job.student.model, batch).item() == pytest.approx(0.25 * told + 0.75 * own, rel=1e-6)


def test_counts_are_what_was_drawn_there(made: Path) -> None:
    job = job_of(made, "kd", "sampled")
    trainer = stored.make_kd(job, 1e-3)
    total, tokens = 0.0, 0
    for example in make_examples(job, job.rows, job.arrays, Counter()):
        arrays, first = example.read(), 0
        with torch.no_grad():
            logp = job.student.model(torch.tensor([example.ids])).logits[0, example.start - 1 : -1].log_softmax(-1)
        for place, different in enumerate(arrays["counts_per_token"].tolist()):
            for entry in range(first, first + different):
                total -= int(arrays["counts"][entry]) / 20 * float(logp[place, int(arrays["ids"][entry])])
            first += different
        tokens += example.tokens
    told, _ = trainer.means(job.student.model, batch_of(trainer)).tolist()
    assert told == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.parametrize(
    ("objective", "data"),
    [("kd", "topk"), ("kd", "sampled"), ("kd", "text"), ("hidden", "hidden"), ("relations", "relations")],
)
def test_prompts_and_padding_contribute_nothing(made: Path, objective: str, data: str) -> None:
    job = job_of(made, objective, data)
    trainer = getattr(stored, f"make_{objective}")(job, 1e-3)
    batch = batch_of(trainer)

    def noisy(**given: Any) -> Any:
        output = job.student.model(**given)
        output.logits = torch.where(batch["before"].unsqueeze(-1), output.logits, torch.randn_like(output.logits) * 9)
        if output.hidden_states:
            here = batch["at"].unsqueeze(-1)
            output.hidden_states = [torch.where(here, each, torch.randn_like(each)) for each in output.hidden_states]
        return output

    plain, other = trainer.means(job.student.model, batch), trainer.means(noisy, batch)
    assert plain.tolist() == pytest.approx(other.tolist(), rel=1e-6)
    assert batch["before"].sum() < batch["attention_mask"].sum() < batch["attention_mask"].numel()


def test_y_has_the_stored_ids_after_the_prompt_of_the_students_own_template(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(made / "student", tmp_path / "other")
    template = (tmp_path / "other" / "chat_template.jinja").read_text()
    (tmp_path / "other" / "chat_template.jinja").write_text("positive " + template)
    job = job_of(made, "kd", "topk")
    other = replace(job, student=open_student(profile_of(str(tmp_path / "other"), None), LANGUAGE))
    for each, more in ((job, 0), (other, len(job.student.tokenizer("positive ")["input_ids"]))):
        stored.make_kd(each, 1e-3)
        for example, row in zip(make_examples(each, each.rows, each.arrays, Counter()), job.rows, strict=True):
            prompt = job.student.tokenizer.apply_chat_template(
                row["prompt"], add_generation_prompt=True, return_dict=False
            )
            assert example.ids[example.start :] == each.arrays(row)["tokens"].tolist()
            assert example.start == len(prompt) + more
    assert sum("chat templates differ" in record.message for record in caplog.records) == 1


def test_raw_text_is_learned_from_its_second_token_on(made: Path, tmp_path: Path) -> None:
    job = job_of(made, "kd", "text")
    for example, row in zip(make_examples(job, job.rows, job.arrays, Counter()), job.rows, strict=True):
        assert (example.start, example.ids) == (1, job.student.tokenizer(row["text"])["input_ids"])
    assert trained(made, tmp_path / "s", "kd", "text", "--steps", "1")["rows"] == len(ROWS)


def test_rows_are_cut_with_their_arrays(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = job_of(made, "kd", "topk")
    starts = [example.start for example in make_examples(whole, whole.rows, whole.arrays, Counter())]
    job = replace(whole, loop=replace(whole.loop, max_length=sorted(starts)[-2] + 2))
    trainer = stored.make_kd(job, 1e-3)
    left = make_examples(job, job.rows, job.arrays, Counter())
    assert sum(example.tokens for example in left) == len(batch_of(trainer)["tail"]) < 100
    assert "are cut, with their arrays; 1 of them" in caplog.text or max(starts) < job.loop.max_length
    full = make_full(MAKERS["forward-kl"](0.5))
    total = tokens = 0.0
    for example in left:
        told = torch.tensor(whole.arrays(example.row)["logprobs"].astype(np.float32)) / -2048
        told = torch.empty_like(told).scatter_(1, torch.tensor(example.read()["ids"].astype(np.int64)), told)
        with torch.no_grad():
            logits = job.student.model(torch.tensor([example.ids])).logits[0, example.start - 1 : -1]
        total += float(full(logits, told[: len(logits)])) * len(logits)
        tokens += len(logits)
    found, _ = trainer.means(job.student.model, batch_of(trainer)).tolist()
    assert found == pytest.approx(total / tokens, rel=1e-4)
    with pytest.raises(UsageError, match="no row has a token of y within 8 tokens"):
        stored.make_kd(replace(job, loop=replace(job.loop, max_length=8)), 1e-3)


# -- hidden and relations ----------------------------------------------------------------------------------------------


def test_states_are_those_of_the_tokens_at_layers_spread_evenly(made: Path) -> None:
    job = job_of(made, "hidden", "hidden")
    trainer = stored.make_hidden(job, 1e-3)
    total, tokens = 0.0, 0
    for example in make_examples(job, job.rows, job.arrays, Counter()):
        with torch.no_grad():
            own = job.student.model(torch.tensor([example.ids]), output_hidden_states=True).hidden_states
        told = torch.tensor(example.read()["hidden"]).float()
        for layer, each in zip((2, 3), told, strict=True):
            total += float((own[layer][0, example.start :] - each).square().mean(-1).sum()) / 2
        tokens += example.tokens
    found, _ = trainer.means(job.student.model, batch_of(trainer)).tolist()
    assert found == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.parametrize(
    ("asked", "given", "layers"),
    [((-1,), "", [3]), ((0, -1), "", [0, 3]), ((4, 8, -1), "", [1, 2, 3]), ((0,), "", [0]), ((4, -1), "0,-1", [0, -1])],
)
def test_which_layers_meet(made: Path, asked: tuple[int, ...], given: str, layers: list[int]) -> None:
    assert stored._layers_of(job_of(made, "hidden", "hidden", layers=given), asked) == layers


@pytest.mark.parametrize("given", ["1", "1,4", "1,x", "-5,1"])
def test_layers_that_are_not_there(made: Path, given: str) -> None:
    with pytest.raises(UsageError, match=r"--set layers=.*0 to 3 or from the end -1 to -4"):
        stored.make_hidden(job_of(made, "hidden", "hidden", layers=given), 1e-3)


def test_rows_are_compared_by_the_ids_of_their_batch_in_any_order(made: Path, tmp_path: Path) -> None:
    job = job_of(made, "relations", "relations")
    mixed = replace(job, rows=[job.rows[at] for at in (6, 1, 4, 3, 0, 5, 7)])  # without one of the first batch
    trainer = stored.make_relations(mixed, 1e-3)
    assert [len(group) for group in trainer.train_dataset] == [4, 3]
    total = 0.0
    for rows in ((6, 4, 5, 7), (1, 3, 0)):
        states = []
        for at in rows:
            (example,) = make_examples(job, [job.rows[at]], job.arrays, Counter())
            with torch.no_grad():
                own = job.student.model(torch.tensor([example.ids]), output_hidden_states=True).hidden_states[-1]
            states.append(own[0, example.start :].mean(0))
        told = [[float(job.arrays(job.rows[one])["similarity"][two % 4]) for two in rows] for one in rows]
        assert told == np.transpose(told).tolist()
        total += float(relations(torch.stack(states), torch.tensor(told))) * len(rows) * (len(rows) - 1)
    found, _ = trainer.means(job.student.model, batch_of(trainer)).tolist()
    assert found == pytest.approx(total / (12 + 6), rel=1e-4)


def test_rows_without_another_of_their_batch(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = job_of(made, "relations", "relations")
    stored.make_relations(replace(job, rows=job.rows[:5], left_out=(left := Counter[str]())), 1e-3)
    assert "1 of 5 rows are without another row" in caplog.text and left == {"alone": 1}
    with pytest.raises(UsageError, match="no two rows are of one batch"):
        stored.make_relations(replace(job, rows=[job.rows[0], job.rows[4]]), 1e-3)

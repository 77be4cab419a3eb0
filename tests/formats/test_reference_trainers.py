"""TRL's own trainers prepare what `export` writes: every shape of record that recipes make, on a tiny random model.

Constructing a trainer runs its preparation. What it then holds is looked at: what is trained on, that the prompt is
not, and that tools and arguments came to the chat template as objects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.commands.check_target import check_target
from distill_data.commands.export import export
from distill_data.formats.targets import TARGETS
from distill_data.formats.turns import kind_of
from tests.golden import GOLDEN
from tests.system.command import read_jsonl
from tests.white_box.tiny import make_tokenizer

pytestmark = [pytest.mark.reference, pytest.mark.white_box, pytest.mark.filterwarnings("ignore")]

TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{% for tool in tools %}{{ tool.function.name }};{% endfor %}<|im_end|>\n"
    "{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }}"
    "{% for name, value in call.function.arguments.items() %} {{ name }}={{ value }}{% endfor %}</call>{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Fails where arguments are text, and says which tools it was given."""


def shape(path: Path) -> tuple[Any, ...]:
    """Files of one shape are prepared in the same way, so one of them is enough."""
    row = read_jsonl(path)[0]
    own = {key: value for key, value in row.items() if key not in ("id", "meta", "batch", "features")}
    chats = [value for value in own.values() if isinstance(value, list) and isinstance(value[0], dict)]
    return kind_of(row), tuple(own), tuple(sorted({key for chat in chats for message in chat for key in message}))


MADE = sorted(path for path in GOLDEN.glob("*/*/records*.jsonl") if path.parent.parent.name != "score")
"""What recipes make; `score` is shown rows from elsewhere, of several columns in one file."""
FILES = {shape(path): path for path in MADE}.values()
CASES = [
    pytest.param(to, path, id=f"{to}-{path.relative_to(GOLDEN)}")
    for to in TARGETS
    for path in FILES
    if to.startswith("trl-") and kind_of(read_jsonl(path)[0]) in TARGETS[to].kinds
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "HF_DATASETS_OFFLINE",
        "HF_HUB_OFFLINE",
        "HF_DATASETS_DISABLE_PROGRESS_BARS",
        "TRL_EXPERIMENTAL_SILENCE",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(TEMPLATE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """Trainers with a reference model load it a second time, from its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def causal(saved: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(saved)


def make_trainer(to: str, rows: Any, saved: Path, tokenizer: Any, out: Path, **more: Any) -> Any:
    """The trainer of a target on the rows of an export."""
    import trl
    from transformers import AutoModelForSequenceClassification

    name = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward": "Reward", "grpo": "GRPO"}.get(to[4:], "Distillation")
    config: dict[str, Any] = {"output_dir": str(out), "report_to": "none", "use_cpu": True, "bf16": False}
    if to in ("trl-sft", "trl-dpo", "trl-kto", "trl-reward"):
        config["max_length"] = None
    config |= more.pop("config", {})
    model = (
        causal(saved) if to != "trl-reward" else AutoModelForSequenceClassification.from_pretrained(saved, num_labels=1)
    )
    if to == "trl-grpo":
        more.setdefault("reward_funcs", lambda completions, **columns: [0.0] * len(completions))
    if to == "trl-distillation":
        more["teacher_model"] = causal(saved)
    arguments = getattr(trl, f"{name}Config")(**config)
    return getattr(trl, f"{name}Trainer")(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, **more
    )


def load(path: Path, cache: Path) -> Any:
    from datasets import load_dataset

    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


def said(tokenizer: Any, row: dict[str, Any], *columns: str) -> str:
    """What the template makes of the row's chats."""
    chat = [message for column in columns for message in row[column]]
    return str(tokenizer.apply_chat_template(chat, tools=row.get("tools"), tokenize=False))


def asks(tokenizer: Any, row: dict[str, Any]) -> str:
    made = tokenizer.apply_chat_template(
        row["prompt"], tools=row.get("tools"), tokenize=False, add_generation_prompt=True
    )
    return str(made)


def sft(tokenizer: Any, given: dict[str, Any], made: dict[str, Any]) -> None:
    learned = [token for token in made["labels"] if token != -100]
    if "text" in given:
        assert tokenizer.decode(learned).startswith(given["text"])
        return
    head = len(made["labels"]) - len(learned)
    assert made["labels"][head:] == learned, "what is masked comes before what is learned"
    assert tokenizer.decode(made["input_ids"][:head]) == asks(tokenizer, given)
    assert tokenizer.decode(made["input_ids"]) == said(tokenizer, given, "prompt", "completion")


def dpo(tokenizer: Any, given: dict[str, Any], made: dict[str, Any]) -> None:
    assert tokenizer.decode(made["prompt_ids"]) == asks(tokenizer, given)
    for name in ("chosen", "rejected"):
        whole = tokenizer.decode([*made["prompt_ids"], *made[f"{name}_ids"]])
        assert whole == said(tokenizer, given, "prompt", name)


def kto(tokenizer: Any, given: dict[str, Any], made: dict[str, Any]) -> None:
    assert made["label"] is given["label"]
    assert tokenizer.decode([*made["prompt_ids"], *made["completion_ids"]]) == said(
        tokenizer, given, "prompt", "completion"
    )


def reward(tokenizer: Any, given: dict[str, Any], made: dict[str, Any]) -> None:
    assert made["margin"] == given["margin"]
    for name in ("chosen", "rejected"):
        assert tokenizer.decode(made[f"{name}_ids"]) == said(tokenizer, given, "prompt", name)


def asked(tokenizer: Any, given: dict[str, Any], made: dict[str, Any]) -> None:
    assert made["prompt"] == given["prompt"]
    assert set(made) <= {"prompt", "solution"}


LOOKS: dict[str, Callable[[Any, dict[str, Any], dict[str, Any]], None]] = {
    "trl-sft": sft,
    "trl-dpo": dpo,
    "trl-kto": kto,
    "trl-reward": reward,
    "trl-grpo": asked,
    "trl-distillation": asked,
}


@pytest.mark.parametrize(("to", "path"), CASES)
def test_the_trainer_prepares_the_export(to: str, path: Path, saved: Path, tokenizer: Any, tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    export(str(path), to=to, output=str(target))
    given, loaded = read_jsonl(target), load(target, tmp_path / "cache")
    assert [dict(row) for row in loaded] == given
    if "images" in given[0]:
        from trl.data_utils import prepare_multimodal_messages

        for row in given:
            chat = [*row["prompt"], *row.get("completion", ())]
            filled = prepare_multimodal_messages(chat, row["images"])
            places = [part["image"] for message in filled for part in message["content"] if part["type"] == "image"]
            assert places == row["images"], "a model for images is what the trainer wants to go on with"
        return
    trainer = make_trainer(to, loaded, saved, tokenizer, tmp_path / "out")
    rows = list(trainer.train_dataset)
    assert len(rows) == len(given)
    by_id = {row["id"]: row for row in rows} if "id" in given[0] and to != "trl-kto" else {}
    for at, row in enumerate(given):
        LOOKS[to](tokenizer, row, by_id.get(row.get("id"), rows[at]))


def test_calls_and_tools_come_to_the_template_as_objects(saved: Path, tokenizer: Any, tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    export(str(GOLDEN / "curate/agent/records.jsonl"), to="trl-sft", output=str(target))
    trainer = make_trainer("trl-sft", load(target, tmp_path / "cache"), saved, tokenizer, tmp_path / "out")
    whole = tokenizer.decode(trainer.train_dataset[0]["input_ids"])
    assert whole.startswith("<|im_start|>tools\nconvert_units;")
    assert "<call>days_between end=2024-03-02 start=2024-02-27</call>" in whole


def test_the_saved_folder_gives_the_trainer_objects_too(saved: Path, tokenizer: Any, tmp_path: Path) -> None:
    """`hf` keeps the records; what varies is JSON there, so that the trainer sees what it sees in the export for it."""
    from datasets import load_from_disk

    export(str(GOLDEN / "curate/agent/records.jsonl"), to="hf", output=str(tmp_path / "folder"))
    loaded = load_from_disk(str(tmp_path / "folder"))
    trainer = make_trainer("trl-sft", loaded, saved, tokenizer, tmp_path / "out")
    whole = tokenizer.decode(trainer.train_dataset[0]["input_ids"])
    assert whole.startswith("<|im_start|>tools\nconvert_units;")
    assert "<call>days_between end=2024-03-02 start=2024-02-27</call>" in whole


def test_reward_functions_are_given_the_solution_and_nothing_of_ours(
    saved: Path, tokenizer: Any, tmp_path: Path
) -> None:
    target, seen = tmp_path / "rows.jsonl", []
    export(str(GOLDEN / "label/annotate/records.jsonl"), to="trl-grpo", output=str(target))

    def judge(completions: list[Any], **columns: Any) -> list[float]:
        seen.append(columns)
        return [float(at) for at in range(len(completions))]

    config = {"max_steps": 1, "num_generations": 2, "per_device_train_batch_size": 2, "max_completion_length": 2}
    trainer = make_trainer(
        "trl-grpo",
        load(target, tmp_path / "cache"),
        saved,
        tokenizer,
        tmp_path / "out",
        reward_funcs=judge,
        config=config,
    )
    trainer.train()
    ours = seen[0].keys() - {"prompts", "completion_ids", "trainer_state", "log_extra", "log_metric"}
    assert ours == {"solution"}
    assert set(seen[0]["solution"]) <= {row["answer"] for row in read_jsonl(GOLDEN / "label/annotate/records.jsonl")}


@pytest.mark.parametrize("column", ["prompts", "completions", "trainer_state", "log_extra", "log_metric"])
def test_what_grpo_bars_is_what_it_hands_over_itself(column: str, saved: Path, tokenizer: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    row = {"prompt": [{"role": "user", "content": "Why?"}], column: "x"}
    (tmp_path / "rows.jsonl").write_bytes(orjson.dumps(row) + b"\n")
    assert [fault.column for fault in check_target(str(tmp_path / "rows.jsonl"), "trl-grpo").faults] == [column]
    seen: list[Any] = []

    def judge(**given: Any) -> list[float]:
        seen.append(given[column])
        return [0.0] * len(given["completion_ids"])

    config = {"max_steps": 1, "num_generations": 2, "per_device_train_batch_size": 2, "max_completion_length": 2}
    rows = Dataset.from_list([row, row])
    trainer = make_trainer("trl-grpo", rows, saved, tokenizer, tmp_path / "out", reward_funcs=judge, config=config)
    try:
        trainer.train()
    except TypeError as error:
        assert "multiple values for keyword argument" in str(error)
    else:
        assert seen and seen[0] != ["x", "x"], "the trainer's own value stood in its place"


def test_sharegpt_is_read_by_the_function_that_renames_its_keys(tmp_path: Path) -> None:
    from trl import maybe_convert_to_chatml

    target = tmp_path / "rows.jsonl"
    export(str(GOLDEN / "curate/dialogue/records.jsonl"), to="sharegpt", output=str(target))
    for record, row in zip(read_jsonl(GOLDEN / "curate/dialogue/records.jsonl"), read_jsonl(target), strict=True):
        turns = maybe_convert_to_chatml(row)["messages"]
        chat = [*record["prompt"], *record["completion"]]
        assert [turn["content"] for turn in turns] == [message["content"] for message in chat]
        # TRL renames the keys only: who speaks is still a human, so trl-sft is what to train on.
        assert {turn["role"] for turn in turns} <= {"system", "human", "gpt"}

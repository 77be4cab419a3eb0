"""Targets of rows: what a record becomes, and that it always is what the contract of its reader says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import SeedError, UsageError
from distill_data.formats import COLUMNS
from distill_data.formats.consumers import CONSUMERS
from distill_data.formats.contracts import breaches
from distill_data.formats.targets import MAKERS, TARGETS, convert, refuse_kind
from distill_data.formats.turns import Given, kind_of
from distill_data.formats.uniform import Shape
from tests.golden import GOLDEN
from tests.system.command import read_jsonl

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Which is larger, 9.8 or 9.11?"}
GOOD = {"role": "assistant", "content": "9.8", "reasoning_content": "0.8 is above 0.11."}
BAD = {"role": "assistant", "content": "9.11", "reasoning_content": ""}
THOUGHT = "<think>\n0.8 is above 0.11.\n</think>\n\n9.8"
FRAME = {"id": "ab" * 8, "meta": {"recipe": "answer", "details": "{}"}}
SFT = {**FRAME, "kind": "sft", "prompt": [SYSTEM, USER], "completion": [GOOD], "answer": "9.8"}
PAIR = {
    **FRAME,
    "kind": "preference",
    "prompt": [USER],
    "chosen": [GOOD],
    "rejected": [BAD],
    "chosen_score": 9.0,
    "rejected_score": 2.0,
}
JUDGED = {**FRAME, "kind": "unpaired", "prompt": [USER], "completion": [BAD], "label": False, "score": 2.0}
RANKED = {**FRAME, "kind": "ranked", "prompt": [USER], "responses": ["9.8", "9.9", "9.11"], "scores": [1.0, 0.5, 0.0]}
STEPS = {**FRAME, "kind": "steps", "prompt": "Which?", "completions": ["0.8 > 0.11.", "9.8."], "labels": [True, True]}
FUNCTION = {"name": "f", "description": "Doubles.", "parameters": {"type": "object", "properties": {}}}
CALLS = {
    **FRAME,
    "kind": "sft",
    "prompt": [USER],
    "completion": [
        {
            "role": "assistant",
            "content": "I call it.",
            "tool_calls": [
                {"id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": f'{{"a":{at}}}'}}
                for at in range(2)
            ],
        },
        *({"role": "tool", "tool_call_id": f"c{at}", "name": "f", "content": str(at)} for at in range(2)),
        {"role": "assistant", "content": "Done."},
    ],
    "tools": orjson.dumps([{"type": "function", "function": FUNCTION}]).decode(),
}
SEEN = {
    **FRAME,
    "kind": "sft",
    "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
    "completion": [{"role": "assistant", "content": "A dot."}],
    "images": ["https://example.org/dot.png"],
}


def rows(target: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    made = convert(target, Given(record, kind_of(record), 3))
    for row in made:
        assert breaches(row, CONSUMERS[target].contract) == []
        assert not row.keys() & {"kind", "meta"} or target in ("parquet", "hf")
    return [{name: value for name, value in row.items() if name != "id"} for row in made]


def row(target: str, record: dict[str, Any]) -> dict[str, Any]:
    (made,) = rows(target, record)
    return made


def test_trl() -> None:
    assert row("trl-sft", SFT) == {"prompt": [SYSTEM, USER], "completion": [GOOD]}
    assert row("trl-sft", {"messages": [USER, BAD]}) == {"messages": [USER, BAD]}
    assert row("trl-sft", {"text": "9.8"}) == {"text": "9.8"}
    assert row("trl-sft", RANKED)["completion"] == [{"role": "assistant", "content": "9.8"}]
    assert row("trl-dpo", PAIR) == {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}
    assert row("trl-dpo", RANKED)["rejected"] == [{"role": "assistant", "content": "9.11"}]
    assert row("trl-reward", PAIR)["margin"] == 7.0
    assert row("trl-reward", RANKED)["margin"] == 1.0
    assert "margin" not in row("trl-reward", {"prompt": "a", "chosen": "b", "rejected": "c"})
    assert row("trl-kto", JUDGED) == {"prompt": [USER], "completion": [BAD], "label": False}
    better, worse = rows("trl-kto", PAIR)
    assert (better["completion"], better["label"]) == ([GOOD], True)
    assert (worse["completion"], worse["label"]) == ([BAD], False)
    assert convert("trl-grpo", Given(SFT, "sft")) == [{"prompt": [SYSTEM, USER], "solution": "9.8"}]
    assert row("trl-grpo", {**RANKED, "tools": "[]"}) == row("trl-distillation", PAIR) == {"prompt": [USER]}
    assert row("trl-grpo", {"problem": "1+1", "solution": "2"})["solution"] == "2"


def test_trl_opens_calls_and_tools() -> None:
    made = row("trl-sft", CALLS)
    assert [call["function"]["arguments"] for call in made["completion"][0]["tool_calls"]] == [{"a": 0}, {"a": 1}]
    assert made["tools"] == [{"type": "function", "function": FUNCTION}]
    assert row("trl-sft", SEEN)["images"] == SEEN["images"]


def test_sharegpt() -> None:
    assert row("sharegpt", SFT) == {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": USER["content"]},
            {"from": "gpt", "value": THOUGHT},
        ]
    }
    made = row("sharegpt", CALLS)
    assert made["conversations"][1:] == [
        {
            "from": "function_call",
            "value": "<think>\nI call it.\n</think>\n\n"
            '[{"name":"f","arguments":{"a":0}},{"name":"f","arguments":{"a":1}}]',
        },
        {"from": "observation", "value": "0\n1"},
        {"from": "gpt", "value": "Done."},
    ]
    assert orjson.loads(made["tools"]) == [FUNCTION]
    assert row("sharegpt", SEEN)["conversations"][0]["value"] == "<image>What?"


def test_what_sharegpt_says_is_read_again() -> None:
    """But for what was said beside a call, which stands as a thought, and the ids of calls."""
    again = convert("trl-sft", Given({**rows("sharegpt", CALLS)[0]}, "sft"))[0]
    assert [message["role"] for message in again["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert [call["function"]["arguments"] for call in again["messages"][1]["tool_calls"]] == [{"a": 0}, {"a": 1}]
    assert again["tools"] == [{"type": "function", "function": FUNCTION}]


def test_alpaca() -> None:
    assert row("alpaca", SFT) == {
        "instruction": USER["content"],
        "input": "",
        "output": THOUGHT,
        "system": "Be brief.",
        "history": [],
    }
    long = {"messages": [USER, BAD, {"role": "user", "content": "Sure?"}, GOOD]}
    assert row("alpaca", long)["history"] == [[USER["content"], "9.11"]]
    assert row("alpaca", long)["instruction"] == "Sure?"
    with pytest.raises(SeedError, match="no place for calls"):
        rows("alpaca", CALLS)
    with pytest.raises(SeedError, match="a user and an assistant in turn, and this has user, user, assistant"):
        rows("alpaca", {"messages": [USER, USER, GOOD]})


def test_openai() -> None:
    thinking = {"role": "assistant", "content": THOUGHT}
    assert row("openai-sft", SFT) == {"messages": [SYSTEM, USER, thinking]}
    made = row("openai-sft", CALLS)
    assert [call["function"]["arguments"] for call in made["messages"][1]["tool_calls"]] == ['{"a":0}', '{"a":1}']
    assert made["messages"][2] == {"role": "tool", "tool_call_id": "c0", "content": "0"}
    assert made["tools"] == [{"type": "function", "function": FUNCTION}]
    image = {"type": "image_url", "image_url": {"url": "https://example.org/dot.png"}}
    assert row("openai-sft", SEEN)["messages"][0]["content"] == [image, {"type": "text", "text": "What?"}]
    assert row("openai-dpo", PAIR) == {
        "input": {"messages": [USER]},
        "preferred_output": [thinking],
        "non_preferred_output": [{"role": "assistant", "content": "9.11"}],
    }


def test_llama_factory() -> None:
    asked = [{"from": "human", "value": USER["content"]}]
    assert row("llama-factory", SFT) == row("sharegpt", SFT)
    assert row("llama-factory", PAIR) == {
        "conversations": asked,
        "chosen": {"from": "gpt", "value": THOUGHT},
        "rejected": {"from": "gpt", "value": "9.11"},
    }
    assert row("llama-factory", JUDGED) == {
        "conversations": [*asked, {"from": "gpt", "value": "9.11"}],
        "kto_tag": False,
    }
    with pytest.raises(SeedError, match="one turn here, and this has 2"):
        rows("llama-factory", {**PAIR, "chosen": [BAD, GOOD]})


def test_axolotl() -> None:
    assert row("axolotl", SFT) == {"messages": [SYSTEM, USER, GOOD]}
    assert row("axolotl", PAIR) == {
        "messages": [USER],
        "chosen": {"role": "assistant", "content": THOUGHT},
        "rejected": {"role": "assistant", "content": "9.11"},
    }
    assert row("axolotl", STEPS) == {name: STEPS[name] for name in ("prompt", "completions", "labels")}


def test_nemo_rl() -> None:
    assert row("nemo-rl", SFT) == {"messages": [SYSTEM, USER, GOOD]}
    ranks = [{"rank": 0, "completion": [GOOD]}, {"rank": 1, "completion": [BAD]}]
    assert row("nemo-rl", PAIR) == {"context": [USER], "completions": ranks}


def test_rrhf_and_pro() -> None:
    shuffled = {**RANKED, "responses": ["9.11", "9.8", "9.9"], "scores": [0.0, 1.0, 0.5]}
    assert row("rrhf", shuffled) == {
        "query": USER["content"],
        "responses": ["9.8", "9.9", "9.11"],
        "scores": [1.0, 0.5, 0.0],
    }
    assert row("pro", shuffled) == {
        "prefix": [["<|prompter|>", USER["content"], "<|assistant|>"]] * 3,
        "suffix": ["9.8", "9.9", "9.11"],
        "reward": [1.0, 0.5, 0.0],
        "sft_index": 0,
    }
    talk = {**RANKED, "prompt": [SYSTEM, USER, BAD, USER]}
    assert row("rrhf", talk)["query"] == (
        f"Be brief.\n\nHuman: {USER['content']}\n\nAssistant: 9.11\n\nHuman: {USER['content']}\n\nAssistant:"
    )


def test_verl() -> None:
    made = row("verl", SFT)
    assert made == {
        "data_source": "answer",
        "prompt": [SYSTEM, USER],
        "ability": "general",
        "reward_model": {"style": "rule", "ground_truth": "9.8"},
        "extra_info": {"split": "train", "index": 3, "id": "ab" * 8},
    }
    assert row("verl", {"prompt": "a", "completion": "b"})["reward_model"]["ground_truth"] == "b"
    assert row("verl", SEEN)["images"] == [{"image": "https://example.org/dot.png"}]
    with pytest.raises(SeedError, match="this one has calls"):
        rows("verl", {**CALLS, "prompt": [*CALLS["prompt"], CALLS["completion"][0]], "completion": [GOOD]})


def test_tables_keep_a_record_and_hold_json_text_where_rows_vary() -> None:
    assert row("parquet", PAIR) == {name: value for name, value in PAIR.items() if name != "id"}
    opened = {**CALLS, "tools": [FUNCTION], "features": {"file": "x"}}
    made = row("hf", opened)
    assert orjson.loads(made["tools"]) == [FUNCTION]
    assert made["completion"] == CALLS["completion"]
    assert "features" not in made, "the arrays lie beside the dataset that it comes from"
    with pytest.raises(SeedError, match="tools must be JSON or text of it"):
        rows("parquet", {**CALLS, "tools": "{"})


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if "ranked" in target.kinds])
def test_answers_of_equal_score_are_no_pair(target: str) -> None:
    equal = {**RANKED, "scores": [1.0, 1.0, 1.0]}
    pairs = {"trl-dpo", "trl-kto", "trl-reward", "openai-dpo", "llama-factory", "axolotl", "nemo-rl"}
    assert bool(rows(target, equal)) is (target not in pairs)


# -- every kind and every target ---------------------------------------------------------------------------------------

FILES = sorted(path for path in GOLDEN.glob("*/*/records*.jsonl") if path.parent.parent.name != "score")
REFUSED = {
    ("alpaca", "curate/agent"): "no place for calls",
    ("alpaca", "curate/tools"): "no place for calls",
    ("openai-sft", "curate/vision-qa"): "an image that is no address",
}
"""What a reader cannot be given: the reason."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_every_record_is_what_every_reader_wants(path: Path) -> None:
    """Of every target that takes its kind; and all rows of a file are of one shape."""
    records = read_jsonl(path)
    recipe = str(path.parent.relative_to(GOLDEN))
    for target, how in TARGETS.items():
        if how.kinds and kind_of(records[0]) not in how.kinds:
            with pytest.raises(UsageError, match=f"this row is of the kind {kind_of(records[0])}, and {target} takes"):
                refuse_kind(target, kind_of(records[0]))
            continue
        shape, found = Shape(), []
        for ordinal, record in enumerate(records):
            try:
                made = convert(target, Given(record, kind_of(record), ordinal))
            except SeedError as error:
                found.append(str(error))
                continue
            for each in made:
                found += [reason for _, reason in breaches(each, CONSUMERS[target].contract)]
                found += [reason for reason in [shape.differs(orjson.loads(orjson.dumps(each)))[1]] if reason]
        wanted = REFUSED.get((target, recipe))
        assert all(wanted in reason for reason in found) if wanted else found == [], target
        assert bool(found) is bool(wanted)


def test_every_kind_is_taken_by_a_trainer_and_every_target_has_a_contract() -> None:
    taken = {kind for name, target in TARGETS.items() for kind in target.kinds if name not in ("parquet", "hf")}
    assert set(COLUMNS) - taken == {"triple"}
    assert set(TARGETS) <= set(CONSUMERS)
    assert set(CONSUMERS) - set(TARGETS) == {"axolotl-kd", "distillkit", "npz"}
    assert set(MAKERS) <= set(COLUMNS)


def texts(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from [value] if isinstance(value, str) else (text for each in inner for text in texts(each))


TEXTS = st.text(max_size=30)
CHATS = st.lists(st.sampled_from(["user", "assistant"]), max_size=3).flatmap(
    lambda roles: st.tuples(*(st.fixed_dictionaries({"role": st.just(role), "content": TEXTS}) for role in roles))
)


@given(CHATS, TEXTS, TEXTS, TEXTS, st.sampled_from(sorted(TARGETS)))
def test_any_text_comes_through(chat: Any, asked: str, good: str, bad: str, target: str) -> None:
    """No text of a user or a model changes who says what, or breaks a row."""
    prompt = [*chat, {"role": "user", "content": asked}]
    answer = {"role": "assistant", "content": good, "reasoning_content": bad}
    records: list[dict[str, Any]] = [
        {"kind": "sft", "prompt": prompt, "completion": [answer], "answer": good},
        {"kind": "preference", "prompt": prompt, "chosen": [answer], "rejected": [{**answer, "content": bad}]},
        {"kind": "unpaired", "prompt": prompt, "completion": [answer], "label": True},
        {"kind": "ranked", "prompt": prompt, "responses": [good, bad], "scores": [1.0, 0.0]},
        {"kind": "prompt", "prompt": prompt},
        {"kind": "steps", "prompt": asked, "completions": [good, bad], "labels": [True, False]},
    ]
    for record in records:
        if TARGETS[target].kinds and record["kind"] not in TARGETS[target].kinds:
            continue
        try:
            made = convert(target, Given(record, record["kind"]))
        except SeedError as error:
            assert target == "alpaca" and "in turn" in str(error), "two of one side, which Alpaca cannot say"
            continue
        for each in made:
            faults = breaches(each, CONSUMERS[target].contract)
            assert all("follows" in reason or "must end" in reason for _, reason in faults), (target, faults)
            assert orjson.loads(orjson.dumps(each)) == each
            assert any(asked in text for text in texts(each))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "from", "value", "type", "text", "tool_calls", "function", "arguments"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
RECORDS = [SFT, PAIR, JUDGED, RANKED, STEPS, CALLS, SEEN, {"messages": [USER, GOOD], "tools": [FUNCTION]}]


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Every place in a value, as keys and positions one inside the other."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (key,)
        yield from ((key, *rest) for rest in places(each))


def changed(value: Any, place: tuple[Any, ...], put: Any) -> Any:
    """The value with something else at a place."""
    key, *rest = place
    new = changed(value[key], tuple(rest), put) if rest else put
    if isinstance(value, dict):
        return {**value, key: new}
    return [*value[:key], new, *value[key + 1 :]]


@given(st.data(), st.sampled_from(RECORDS), JUNK, st.sampled_from(sorted(TARGETS)))
def test_whatever_is_in_a_row_is_taken_or_refused_in_words(data: Any, record: Any, put: Any, target: str) -> None:
    """A strange value anywhere in a record is no crash."""
    row = changed(record, data.draw(st.sampled_from(list(places(record)))), put)
    kind = kind_of(row)
    if TARGETS[target].kinds and kind not in TARGETS[target].kinds:
        return
    try:
        made = convert(target, Given(row, kind))
    except SeedError as error:
        assert str(error)
        return
    for each in made:
        for column, reason in breaches(each, CONSUMERS[target].contract):
            assert column and reason


LOOK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]


def test_a_single_image_goes_along() -> None:
    record = {"messages": [*LOOK, BAD], "image": "https://a/b.png"}
    assert row("sharegpt", record)["images"] == row("alpaca", record)["images"] == ["https://a/b.png"]
    assert row("verl", record)["images"] == [{"image": "https://a/b.png"}]
    (part, _) = row("openai-sft", record)["messages"][0]["content"]
    assert part == {"type": "image_url", "image_url": {"url": "https://a/b.png"}}


@pytest.mark.parametrize("images", [{"images": "a.png"}, {"image": "a.png", "images": []}])
def test_one_image_is_one_wherever_it_stands(images: dict[str, Any]) -> None:
    record = {"messages": [*LOOK, BAD], **images}
    assert row("sharegpt", record)["images"] == ["a.png"] and row("verl", record)["images"] == [{"image": "a.png"}]


def test_a_place_without_an_image_is_told() -> None:
    with pytest.raises(SeedError, match="fewer images than its messages have parts for"):
        convert("openai-sft", Given({"messages": [*LOOK, BAD]}, "sft"))


@pytest.mark.parametrize("column", ["completion", "output", "answer"])
def test_an_answer_beside_a_conversation_that_ends_with_a_question_is_its_last_turn(column: str) -> None:
    record = {"messages": [USER, GOOD, USER], column: "9.8"}
    said = {"role": "assistant", "content": "9.8"}
    assert row("trl-sft", record) == {"prompt": [USER, GOOD, USER], "completion": [said]}
    assert [turn["value"] for turn in row("sharegpt", record)["conversations"]][-1] == "9.8"


def test_tools_go_along_to_verl() -> None:
    made = row("verl", {"prompt": [USER], "completion": [GOOD], "tools": [FUNCTION]})
    (tool,) = orjson.loads(made["extra_info"]["tools"])
    assert tool["function"] == FUNCTION


@pytest.mark.parametrize("target", ["openai-sft", "openai-dpo"])
def test_an_image_without_a_place_is_not_lost(target: str) -> None:
    answers = {"chosen": [GOOD], "rejected": [BAD]} if target == "openai-dpo" else {"completion": [GOOD]}
    record = {"prompt": [USER], **answers, "images": ["https://a/b.png"]}
    with pytest.raises(SeedError, match="more images than its messages have parts for"):
        convert(target, Given(record, kind_of(record)))


@pytest.mark.parametrize(
    ("target", "record"), [("rrhf", RANKED), ("pro", RANKED), ("axolotl", PAIR), ("axolotl", RANKED)]
)
@pytest.mark.parametrize("more", [{"tools": [FUNCTION]}, {"prompt": LOOK, "images": ["a.png"]}, {"image": "a.png"}])
def test_what_a_reader_has_no_place_for_is_refused(target: str, record: dict[str, Any], more: dict[str, Any]) -> None:
    with pytest.raises(SeedError, match=r"reads no (tools|images|image), and this row has such a column"):
        convert(target, Given({**record, **more}, kind_of(record)))


def test_pairs_of_nemo_rl_keep_tools_and_images() -> None:
    made = row("nemo-rl", {**PAIR, "prompt": LOOK, "tools": [FUNCTION], "images": ["a.png"]})
    assert made["tools"] == [{"type": "function", "function": FUNCTION}] and made["images"] == ["a.png"]


def test_pairs_of_openai_have_addresses_and_text_for_arguments() -> None:
    record = {**PAIR, "prompt": LOOK, "images": ["a.png"]}
    (made,) = convert("openai-dpo", Given(record, "preference"))
    ((name, reason),) = breaches(made, CONSUMERS["openai-dpo"].contract)
    assert name == "input.messages" and "an image that is no address" in reason
    call = {"function": {"name": "f", "arguments": {}}}
    asked = {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, {**USER, "role": "tool"}]}
    pair = {"input": asked, "preferred_output": [GOOD], "non_preferred_output": [BAD]}
    assert [name for name, _ in breaches(pair, CONSUMERS["openai-dpo"].contract)] == ["input.messages"]


def test_a_null_answer_hides_no_solution_and_a_question_is_no_truth() -> None:
    record = {"prompt": "1+1", "response": "two", "answer": None, "solution": "2"}
    assert row("trl-grpo", record)["solution"] == row("verl", record)["reward_model"]["ground_truth"] == "2"
    assert row("verl", CALLS)["reward_model"]["ground_truth"] == "Done."
    with pytest.raises(SeedError, match="ends with a message of user, and there is no answer"):
        convert("verl", Given({"messages": [USER, GOOD, USER]}, "sft"))

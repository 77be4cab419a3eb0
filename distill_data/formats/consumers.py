"""What every target of `export` is read by, as data: the contract of a row, and what holds for the whole file.

TRL's are those of `contracts`, with calls opened. LLaMA-Factory's are after its converters, PRO's and RRHF's after
their loaders, OpenAI's after its guide. Knows no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from distill_data.data.items import Record
from distill_data.formats.checks import (
    BOOL,
    IMAGES,
    REALS,
    SEVERAL_TEXTS,
    TEXT,
    TEXTS,
    WHOLE,
    Check,
    Relation,
    as_long,
    asked,
    closed,
    each_of,
    falls,
    images_fit,
    is_,
    keys,
    list_of,
    messages,
    opened,
    prompt,
    tools,
)
from distill_data.formats.contracts import CONTRACTS, STEPS, Contract, Form
from distill_data.formats.turns import split_thought


class Consumer(NamedTuple):
    """Who reads a target."""

    contract: Contract
    uniform: bool = True
    """Whether all rows must have the same columns, each with values of one kind: the reader infers types."""
    rows: int = 1
    """The least number of rows."""


# -- turns of ShareGPT -------------------------------------------------------------------------------------------------

ASKING, ANSWERING = ("human", "observation"), ("gpt", "function_call")


_said = keys(**{"from": TEXT, "value": TEXT})
SPEAKERS = (*ASKING, *ANSWERING, "system")


def _turn(value: Any) -> str:
    fault = _said(value)
    if fault or value["from"] == "function_call":
        return fault or _function_call(value["value"])
    return "" if value["from"] in SPEAKERS else f"is from {value['from']!r}; there are {', '.join(SPEAKERS)}"


def _function_call(said: str) -> str:
    try:
        calls = orjson.loads(split_thought(said)[1])
    except orjson.JSONDecodeError:
        return "has a function_call that is no JSON"
    named = all(isinstance(call, dict) and {"name", "arguments"} <= call.keys() for call in _listed(calls))
    return "" if named else "has a function_call without name and arguments"


def _listed(calls: Any) -> list[Any]:
    return calls if isinstance(calls, list) else [calls]


_conversation = each_of("turn", _turn)


def _alternate(answered: bool) -> Relation:
    """human and gpt in turn, or those in their place, after at most one system; the last answers, or asks."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        turns = record["conversations"]
        start = 1 if turns[0]["from"] == "system" else 0
        for at, turn in enumerate(turns[start:]):
            if turn["from"] not in (ASKING, ANSWERING)[at % 2]:
                wanted = " or ".join((ASKING, ANSWERING)[at % 2])
                yield "conversations", f"turn {at + start} is from {turn['from']}, where {wanted} follows"
                return
        if (len(turns) - start) % 2 == int(answered):
            yield "conversations", f"must end with {'an answer' if answered else 'what is asked'}"

    return relation


def _answer_turn(value: Any) -> str:
    return _turn(value) or ("" if value["from"] in ANSWERING else "must be from gpt or a function_call")


SHAREGPT = Form({"conversations": _conversation}, (_alternate(True), images_fit("conversations")))
LLAMA_PAIR = Form(
    {"conversations": _conversation, "chosen": _answer_turn, "rejected": _answer_turn},
    (_alternate(False), images_fit("conversations")),
)
LLAMA_JUDGED = Form({"conversations": _conversation, "kto_tag": BOOL}, SHAREGPT.relations)


# -- others ------------------------------------------------------------------------------------------------------------

SPOKEN = keys(
    role=is_("user, assistant or system", lambda value: value in ("user", "assistant", "system")), content=TEXT
)
SAID = each_of("message", SPOKEN)


def _json_schemas(value: Any) -> str:
    """JSON text of a list, and no list."""
    return tools(value) if isinstance(value, str) else TEXT(value)


def _ends_with_answer(name: str) -> Relation:
    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if record[name][-1]["role"] != "assistant":
            yield name, f"ends with a message of {record[name][-1]['role']}, and the assistant's is learned"

    return relation


def _two_ranks(record: Record) -> Iterator[tuple[str, str]]:
    """DPO reads two answers, the lower rank the better."""
    ranks = [each["rank"] for each in record["completions"]]
    if len(ranks) != 2 or ranks[0] == ranks[1]:
        yield "completions", f"must be two answers of different rank, and has the ranks {ranks}"


def _linked(record: Record) -> Iterator[tuple[str, str]]:
    """Images are addresses: nothing is uploaded with the rows."""
    for at, each in enumerate(record["messages"]):
        for part in each["content"] if isinstance(each.get("content"), list) else ():
            address = part.get("image_url", {}).get("url", "") if part["type"] == "image_url" else "data:"
            if part["type"] == "image" or not str(address).startswith(("https://", "http://", "data:")):
                yield "messages", f"message {at} has an image that is no address: https:// or data: is wanted"
                return


def _of_input(relation: Relation) -> Relation:
    """The relation inside the column `input`."""

    def checked(record: Record) -> Iterator[tuple[str, str]]:
        return ((f"input.{name}", reason) for name, reason in relation(record["input"]))

    return checked


def _same_numbers(first: str, second: str) -> Relation:
    """Lists of lists that are as long as each other all through."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if [len(each) for each in record[first]] != [len(each) for each in record[second]]:
            yield second, f"must have as many elements as {first} for every token"

    return relation


def _trl(known: Contract, *chats: str) -> Contract:
    """A trainer's contract with calls as templates want them, and images that have their places."""
    more = (opened(*chats), images_fit(*chats, parts=True))
    forms = tuple(form._replace(relations=(*form.relations, *more)) for form in known.forms)
    return known._replace(forms=forms, optional={**known.optional, "images": IMAGES})


_numbers = list_of("numbers", lambda each: type(each) in (int, float), 0)
_ids = list_of("whole numbers", lambda each: type(each) is int, 0)
_pairs = list_of("pairs of texts", lambda each: isinstance(each, list) and [*map(type, each)] == [str, str], 0)
_completion = keys(rank=WHOLE, completion=messages)
_input = keys(messages=messages)
_answer = list_of("one message", lambda each: not messages([each]) and each["role"] == "assistant")
NEMO = (
    Form({"messages": messages}, (opened("messages"), _ends_with_answer("messages"))),
    Form({"context": asked, "completions": each_of("completion", _completion)}, (opened("context"), _two_ranks)),
)
ALPACA = Form({"instruction": TEXT, "input": TEXT, "output": TEXT}, (images_fit("history", "instruction", "input"),))
OPENAI = Form({"messages": messages}, (closed("messages"), _ends_with_answer("messages"), _linked))
OPENAI_PAIR = Form(
    {"input": _input, "preferred_output": _answer, "non_preferred_output": _answer},
    (_of_input(closed("messages")), _of_input(_linked), closed("preferred_output", "non_preferred_output")),
)
VERL = {
    "data_source": TEXT,
    "prompt": SAID,
    "ability": TEXT,
    "reward_model": keys(style=TEXT, ground_truth=TEXT),
    "extra_info": keys(index=WHOLE),
}
PRO = {
    "prefix": list_of("lists of texts", lambda each: not TEXTS(each), 2),
    "suffix": SEVERAL_TEXTS,
    "reward": REALS,
    "sft_index": WHOLE,
}
PRO_RELATIONS = (as_long("suffix", "prefix"), as_long("suffix", "reward"), falls("reward"))
RRHF = Form({"query": TEXT, "responses": SEVERAL_TEXTS, "scores": REALS}, (as_long("responses", "scores"),))
AXOLOTL = (
    Form({"messages": SAID, "chosen": SPOKEN, "rejected": SPOKEN}),
    STEPS,
    Form({"messages": messages}, (opened("messages"), images_fit("messages", parts=True))),
)
KD = Form(
    {
        "messages": messages,
        "logprobs": list_of("lists of numbers", lambda each: not _numbers(each)),
        "target_token_ids": list_of("lists of whole numbers", lambda each: not _ids(each)),
    },
    (_same_numbers("logprobs", "target_token_ids"),),
)
_bytes = list_of("lists of bytes", lambda each: not _ids(each))
DISTILLKIT = {"input_ids": _ids, "labels": _ids, "compressed_logprobs": _bytes, "bytepacked_indices": _bytes}
DISTILLKIT_RELATIONS = tuple(as_long("input_ids", name) for name in DISTILLKIT if name != "input_ids")
ANYTHING = Contract((Form({}),))
WITH_TOOLS: Mapping[str, Check] = {"tools": tools, "images": IMAGES}
WITH_TEXTS: Mapping[str, Check] = {"tools": _json_schemas, "images": IMAGES}

CONSUMERS: Mapping[str, Consumer] = {
    "trl-sft": Consumer(_trl(CONTRACTS["sft"], "prompt", "completion", "messages")),
    "trl-dpo": Consumer(_trl(CONTRACTS["dpo"], "prompt", "chosen", "rejected")),
    "trl-kto": Consumer(_trl(CONTRACTS["kto"], "prompt", "completion", "chosen", "rejected")),
    "trl-reward": Consumer(_trl(CONTRACTS["reward"], "prompt", "chosen", "rejected")),
    "trl-grpo": Consumer(_trl(CONTRACTS["grpo"], "prompt")),
    "trl-distillation": Consumer(_trl(Contract((Form({"prompt": prompt}),)), "prompt")),
    "sharegpt": Consumer(Contract((SHAREGPT,), WITH_TEXTS)),
    "alpaca": Consumer(Contract((ALPACA,), {"system": TEXT, "history": _pairs, "images": IMAGES})),
    "openai-sft": Consumer(
        Contract(
            (OPENAI,), {"tools": list_of("tools", lambda each: not keys(type=TEXT, function=keys(name=TEXT))(each), 0)}
        ),
        uniform=False,
        rows=10,
    ),
    "openai-dpo": Consumer(Contract((OPENAI_PAIR,)), uniform=False, rows=10),
    "llama-factory": Consumer(Contract((LLAMA_PAIR, LLAMA_JUDGED, SHAREGPT), WITH_TEXTS)),
    "axolotl": Consumer(Contract(AXOLOTL, WITH_TOOLS)),
    "verl": Consumer(Contract((Form(VERL, (images_fit("prompt"),)),))),
    "nemo-rl": Consumer(Contract(NEMO, WITH_TOOLS)),
    "rrhf": Consumer(Contract((RRHF,))),
    "pro": Consumer(Contract((Form(PRO, PRO_RELATIONS),))),
    "parquet": Consumer(ANYTHING),
    "hf": Consumer(ANYTHING),
    "axolotl-kd": Consumer(Contract((KD,))),
    "distillkit": Consumer(Contract((Form(DISTILLKIT, DISTILLKIT_RELATIONS),))),
    "npz": Consumer(ANYTHING),
}
"""Target to its consumer."""
LLAMA_FACTORY: Mapping[str, Consumer] = {
    "ranking": Consumer(Contract((LLAMA_PAIR,), WITH_TEXTS)),
    "kto_tag": Consumer(Contract((LLAMA_JUDGED,), WITH_TEXTS)),
    "formatting": Consumer(Contract((SHAREGPT,), WITH_TEXTS)),
}
"""What a key of an entry in dataset_info.json says of its rows."""

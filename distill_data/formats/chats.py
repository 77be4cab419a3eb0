"""Rows as the formats of whole chats have them: ShareGPT, Alpaca, OpenAI, LLaMA-Factory and Axolotl.

Where a format has no field for reasoning, it stands in think-tags before the text; where it has none for calls, these
are JSON text. Knows no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.trl import beside, images_of, named, refuse_beside
from distill_data.formats.turns import Given, chat_of, flat, pair_of, thinking, tools_of

SAID_BY = {"system": "system", "user": "human", "assistant": "gpt"}
"""Roles as ShareGPT calls them."""
PROPERTIES = ("role", "content", "tool_calls", "tool_call_id", "weight")
"""Of a message, what OpenAI reads."""


# -- ShareGPT ----------------------------------------------------------------------------------------------------------


def sharegpt(given: Given) -> list[Row]:
    """conversations of {from, value}; tools as JSON text."""
    row = given.row
    return [{**named(row), "conversations": conversation(chat_of(row).messages()), **_texts_beside(row)}]


def conversation(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as turns: calls are a function_call, with what is said beside them as a thought; results that follow
    each other are one observation, because turns of the two sides alternate."""
    turns: list[dict[str, str]] = []
    for message in messages:
        role = message["role"]
        if role == "tool":
            result = flat(message["content"])
            if turns and turns[-1]["from"] == "observation":
                turns[-1]["value"] += f"\n{result}"
            else:
                turns.append({"from": "observation", "value": result})
        elif message.get("tool_calls"):
            turns.append({"from": "function_call", "value": _function_call(message)})
        else:
            turns.append({"from": SAID_BY[role], "value": thinking(message)})
    return turns


def _function_call(message: Mapping[str, Any]) -> str:
    calls = [
        {"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in message["tool_calls"]
    ]
    thought = "\n\n".join(filter(None, [message.get("reasoning_content"), flat(message["content"])]))
    said = orjson.dumps(calls if len(calls) > 1 else calls[0]).decode()
    return f"<think>\n{thought}\n</think>\n\n{said}" if thought else said


def _texts_beside(row: Row) -> Row:
    """tools as JSON text of bare functions, and images, where the row has them."""
    functions = {"tools": orjson.dumps([tool["function"] for tool in tools_of(row)]).decode()} if "tools" in row else {}
    return {**functions, **images_of(row)}


# -- Alpaca ------------------------------------------------------------------------------------------------------------


def alpaca(given: Given) -> list[Row]:
    """instruction, input (empty: it is part of the instruction), output, system and history, all texts."""
    messages = chat_of(given.row).messages()
    if tools_of(given.row) or any(message["role"] == "tool" or message.get("tool_calls") for message in messages):
        raise SeedError("Alpaca's rows have no place for calls; export them as sharegpt")
    system = flat(messages[0]["content"]) if messages[0]["role"] == "system" else ""
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    sides = [turn["role"] for turn in turns]
    if not sides or sides != ["user", "assistant"] * (len(sides) // 2):
        raise SeedError(f"Alpaca's rows are a user and an assistant in turn, and this has {', '.join(sides)}")
    said = [thinking(turn) for turn in turns]
    history = [said[at : at + 2] for at in range(0, len(said) - 2, 2)]
    columns = {"instruction": said[-2], "input": "", "output": said[-1], "system": system, "history": history}
    return [{**named(given.row), **columns, **images_of(given.row)}]


# -- OpenAI ------------------------------------------------------------------------------------------------------------


def openai_sft(given: Given) -> list[Row]:
    """messages, and tools where there are any. Arguments of calls are JSON text."""
    row, images = given.row, _addresses(given.row)
    messages = _for_openai(chat_of(row).messages(), images)
    _refuse_rest(images)
    return [{"messages": messages, **_functions(row)}]


def openai_dpo(given: Given) -> list[Row]:
    """input with messages and tools, preferred_output and non_preferred_output."""
    pair = pair_of(given)
    if pair is None:
        return []
    images = _addresses(given.row)
    asked = {"messages": _for_openai(pair.prompt, images), **_functions(given.row)}
    outputs = [_for_openai(answer, images) for answer in (pair.chosen, pair.rejected)]
    _refuse_rest(images)
    return [{"input": asked, "preferred_output": outputs[0], "non_preferred_output": outputs[1]}]


def _for_openai(messages: Sequence[Message], images: Iterator[Any]) -> list[Message]:
    made = []
    for message in messages:
        own = {name: message[name] for name in PROPERTIES if name in message}
        if message.get("reasoning_content"):
            own["content"] = thinking(message)
        elif not isinstance(own["content"], str):
            own["content"] = [_part(part, images) for part in own["content"]]
        if "tool_calls" in own:
            own["tool_calls"] = [_closed(call) for call in own["tool_calls"]]
        made.append(own)
    return made


def _closed(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": orjson.dumps(function["arguments"]).decode()}}


def _part(part: Any, images: Iterator[Any]) -> Any:
    if not isinstance(part, Mapping) or part.get("type") != "image":
        return part
    address = next(images, None)
    if address is None:
        raise SeedError("the row has fewer images than its messages have parts for")
    return {"type": "image_url", "image_url": {"url": address}}


def _addresses(row: Row) -> Iterator[Any]:
    images = images_of(row).get("images")
    return iter(images if isinstance(images, list) else ())


def _refuse_rest(images: Iterator[Any]) -> None:
    if next(images, None) is not None:
        raise SeedError("the row has more images than its messages have parts for")


def _functions(row: Row) -> Row:
    tools = tools_of(row)
    return {"tools": tools} if tools else {}


# -- LLaMA-Factory -----------------------------------------------------------------------------------------------------


def llama_factory(given: Given) -> list[Row]:
    """ShareGPT rows: with chosen and rejected for preferences, with kto_tag for judged answers."""
    row, texts = given.row, _texts_beside(given.row)
    if given.kind in ("preference", "ranked"):
        pair = pair_of(given)
        if pair is None:
            return []
        answers = {"chosen": _one(pair.chosen), "rejected": _one(pair.rejected)}
        return [{**named(row), "conversations": conversation(pair.prompt), **answers, **texts}]
    told = {"kto_tag": row["label"]} if given.kind == "unpaired" else {}
    return [{**named(row), "conversations": conversation(chat_of(row).messages()), **told, **texts}]


def _one(answer: Sequence[Message]) -> dict[str, str]:
    turns = conversation(answer)
    if len(turns) != 1:
        raise SeedError(f"an answer of a preference is one turn here, and this has {len(turns)}")
    return turns[0]


def dataset_info(name: str, file: str, row: Row) -> dict[str, Any]:
    """The entry of dataset_info.json with which LLaMA-Factory reads rows such as this one."""
    own = ("tools", "images", "chosen", "rejected", "kto_tag")
    columns = {"messages": "conversations", **{column: column for column in own if column in row}}
    ranking = {"ranking": True} if "chosen" in row else {}
    return {name: {"file_name": file, "formatting": "sharegpt", **ranking, "columns": columns}}


# -- Axolotl -----------------------------------------------------------------------------------------------------------


def axolotl(given: Given) -> list[Row]:
    """messages for its chat_template, with reasoning in a field of its own; messages, chosen and rejected for
    chat_template.default, which reads role and content only; steps as they are."""
    row = given.row
    if given.kind == "steps":
        return [{**named(row), **{name: row[name] for name in ("prompt", "completions", "labels")}}]
    if given.kind in ("preference", "ranked"):
        pair = pair_of(given)
        if pair is None:
            return []
        refuse_beside(row, "Axolotl's chat_template.default")
        prompt = [_spoken(message) for message in pair.prompt]
        answers = {"chosen": _answer(pair.chosen), "rejected": _answer(pair.rejected)}
        return [{**named(row), "messages": prompt, **answers}]
    return [{**named(row), "messages": chat_of(row).messages(), **beside(row)}]


def _spoken(message: Mapping[str, Any]) -> dict[str, str]:
    if message.get("tool_calls") or message["role"] == "tool":
        raise SeedError("Axolotl's chat_template.default reads no calls")
    return {"role": message["role"], "content": thinking(message)}


def _answer(answer: Sequence[Message]) -> dict[str, str]:
    if len(answer) != 1:
        raise SeedError(f"an answer of a preference is one message here, and this has {len(answer)}")
    return _spoken(answer[0])


def axolotl_settings(row: Row, output: str) -> dict[str, Any]:
    """What the trainer's YAML has to say to read rows such as this one."""
    dataset = {"path": output, "ds_type": "json"}
    if "completions" in row:
        return {"process_reward_model": True, "datasets": [{**dataset, "type": "stepwise_supervised"}]}
    if "chosen" in row:
        fields = {"field_messages": "messages", "field_chosen": "chosen", "field_rejected": "rejected"}
        return {"rl": "dpo", "datasets": [{**dataset, "type": "chat_template.default", **fields}]}
    fields = {"field_messages": "messages", **({"field_tools": "tools"} if "tools" in row else {})}
    return {"datasets": [{**dataset, "type": "chat_template", **fields, "roles_to_train": ["assistant"]}]}

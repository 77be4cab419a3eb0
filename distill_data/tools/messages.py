"""Calls and results as chat messages that a trainer reads. Knows no function and no model.

What the consumers take (TRL 1.16, transformers 5.23, datasets 5.2):

- TRL's SFT trainer reads a column `tools` beside `messages` or `prompt` and `completion`: a list of
  `{"type": "function", "function": {…}}`, or the JSON text of one, which it decodes. It hands the messages to the
  tokenizer's chat template as they are; in particular it does not decode the arguments of a call.
- A call stands in an assistant message under `tool_calls`; its result follows in a message with the role `tool`, whose
  content is always text. A key whose value is null is dropped by transformers before the template sees it.
- Arguments: the OpenAI API wants JSON text, most chat templates an object. Given text, some write it as it is (Qwen3;
  DeepSeek V3 takes nothing else), some quote it a second time without a word (Qwen2.5, Llama 3.1, gpt-oss), some stop
  (Qwen3.5 and later, GLM 4, Nemotron 3). Hence two forms: the canonical file holds text, whose type is the same in
  every row, and `export` makes the objects that those templates want.
- Mistral's templates refuse a call whose id is not nine letters and digits; ours are such: `call00000`, `call00001`, …
- Llama 3.1's template refuses more than one call in a message; the recipe that asks for parallel calls decides that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from distill_data.data.exchange import Message
from distill_data.data.items import canonical
from distill_data.tools.calls import Call
from distill_data.tools.specs import Spec


class Step(NamedTuple):
    """Calls that a model makes in one message, and what each gave."""

    calls: Sequence[Call]
    results: Sequence[str]
    """JSON text for each call, in the same order; empty where nothing was run."""
    content: str = ""
    """What the model says beside the calls, such as a plan."""


def tools_column(specs: Sequence[Spec]) -> str:
    """The column `tools`: JSON text of the list of functions that a chat may call, in the order given."""
    functions = [{"name": spec.name, "description": spec.description, "parameters": spec.parameters} for spec in specs]
    return orjson.dumps([{"type": "function", "function": function} for function in functions]).decode()


def call_message(calls: Sequence[Call], first: int = 0, content: str = "") -> Message:
    """The assistant's message that makes the calls. `first` is how many calls the chat holds before it."""
    tool_calls = [
        {
            "id": _call_id(first + position),
            "type": "function",
            "function": {"name": call.name, "arguments": canonical(call.arguments).decode()},
        }
        for position, call in enumerate(calls)
    ]
    return {"role": "assistant", "content": content, "tool_calls": tool_calls}


def result_messages(calls: Sequence[Call], results: Sequence[str], first: int = 0) -> list[Message]:
    """One message for each result, with the id of its call. `first` as in `call_message`."""
    return [
        {"role": "tool", "tool_call_id": _call_id(first + position), "name": call.name, "content": result}
        for position, (call, result) in enumerate(zip(calls, results, strict=True))
    ]


def answer_message(text: str) -> Message:
    """The assistant's closing message."""
    return {"role": "assistant", "content": text}


def completion(steps: Sequence[Step], answer: str = "") -> list[Message]:
    """The column `completion`: for each step its calls and results, then the answer unless it is empty.

    Ids count up over the whole chat. Raises ValueError for a step whose results are neither none nor one for each call.
    """
    messages: list[Message] = []
    first = 0
    for step in steps:
        messages.append(call_message(step.calls, first, step.content))
        if step.results:
            messages += result_messages(step.calls, step.results, first)
        first += len(step.calls)
    return [*messages, answer_message(answer)] if answer else messages


def _call_id(number: int) -> str:
    return f"call{number:05d}"

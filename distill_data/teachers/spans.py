"""Where an answer stands among the tokens of a conversation. Knows tokenizers with chat templates; runs no model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.exchange import Message


class Pair(NamedTuple):
    """The tokens of x and y together; those of y are `ids[start:end]`."""

    ids: list[int]
    start: int
    end: int


class TemplateRefused(ValueError):
    """A conversation that the model's chat template does not take, in words for a person."""


def encode_pair(tokenizer: Any, messages: Sequence[Message], completion: Sequence[Message]) -> Pair | None:
    """x and y under the chat template. y is everything after the generation prompt, with the token that ends its turn.

    None where the template does not begin the whole conversation with the prompt, so that no place is y's beginning.
    Raises TemplateRefused where the template takes the one or the other not at all.
    """
    return encode_pairs(tokenizer, messages, [completion])[0]


def encode_pairs(
    tokenizer: Any, messages: Sequence[Message], completions: Iterable[Sequence[Message]]
) -> list[Pair | None]:
    """`encode_pair` of one x with several y; x is encoded once."""
    prompt = render(tokenizer, messages, add_generation_prompt=True)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return [_encode_after(tokenizer, prompt, head, [*messages, *completion]) for completion in completions]


def _encode_after(tokenizer: Any, prompt: str, head: list[int], messages: Sequence[Message]) -> Pair | None:
    whole = render(tokenizer, messages, add_generation_prompt=False)
    if not whole.startswith(prompt):
        return None
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast)
    ids = encoded["input_ids"]
    start: int | None = len(head)
    if ids[: len(head)] != head:  # characters on both sides of the seam went into one token
        start = _starting_at(encoded.get("offset_mapping"), len(prompt))
    return None if start is None else Pair(ids, start, _end(tokenizer, ids, start))


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens of x with the generation prompt. Raises TemplateRefused."""
    prompt = render(tokenizer, messages, add_generation_prompt=True)
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return ids


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Raw text, after the token for the beginning where this tokenizer puts one; never with one for the end."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is None or tokenizer("")["input_ids"][:1] != [bos] or ids[:1] == [bos]:
        return ids
    return [bos, *ids]


def end_of_turn(tokenizer: Any) -> int | None:
    """The token with which the chat template ends an answer; None where it ends without one."""
    if not tokenizer.chat_template:
        return None
    try:
        pair = encode_pair(tokenizer, [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}])
    except TemplateRefused:
        return None
    if pair is None or pair.end == pair.start:
        return None
    last = pair.ids[pair.end - 1]
    return last if _is_special(tokenizer, last) else None


def render(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The conversation as text, under the model's chat template. Raises TemplateRefused."""
    from transformers.utils.chat_template_utils import jinja2  # which its templates are written in

    if not tokenizer.chat_template:
        raise TemplateRefused("the model has no chat template; give it raw text, or take an instruction-tuned model")
    if not messages:
        raise TemplateRefused("there are no messages")
    plain = [_plain(message) for message in messages]
    try:
        text: str = tokenizer.apply_chat_template(plain, add_generation_prompt=add_generation_prompt, tokenize=False)
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise TemplateRefused(f"the model's chat template does not take these messages: {error}") from error
    return text


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates expect it: content is a string, arguments of tool calls are mappings."""
    plain = {**message, "content": text_of(message.get("content"))}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        plain["tool_calls"] = [_open_arguments(call) for call in calls]
    return plain


def text_of(content: Any) -> str:
    """The text of a message's content, which is a text, a list of parts or nothing; a template judges anything else."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(text for text in texts if isinstance(text, str))
    found: str = content or ""
    return found


def _open_arguments(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _starting_at(offsets: Iterable[tuple[int, int]] | None, place: int) -> int | None:
    """The first token that holds a character from this place on, even where it holds one before it too."""
    return next((index for index, (_, end) in enumerate(offsets or ()) if end > place), None)


def _end(tokenizer: Any, ids: Sequence[int], start: int) -> int:
    """Behind the token that ends the turn, where nothing but white space follows it; else behind the last token."""
    end = len(ids)
    while end > start and not _is_special(tokenizer, ids[end - 1]):
        if tokenizer.decode([ids[end - 1]]).strip():
            return len(ids)
        end -= 1
    return end if end > start else len(ids)


def _is_special(tokenizer: Any, token: int) -> bool:
    known = tokenizer.added_tokens_decoder.get(token)
    return known is not None and bool(known.special)

"""Where y stands among the tokens: templates of several habits, seams inside of tokens, raw text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.teachers.spans import TemplateRefused, encode_pair, encode_prompt, encode_text, end_of_turn
from tests.white_box.tiny import make_tokenizer

pytestmark = [pytest.mark.white_box]

ASK = [{"role": "user", "content": "How many legs has a spider?"}]
SAID = [{"role": "assistant", "content": "Eight."}]


@pytest.fixture(scope="module")
def chatml() -> Any:
    return make_tokenizer()


def answer(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def test_y_is_the_answer_with_the_token_that_ends_its_turn_and_not_the_newline(chatml: Any) -> None:
    pair = encode_pair(chatml, ASK, SAID)
    assert pair is not None
    assert chatml.decode(pair.ids[pair.start : pair.end]) == "Eight.<|im_end|>"
    assert chatml.decode(pair.ids[pair.end :]) == "\n"
    assert pair.ids[: pair.start] == encode_prompt(chatml, ASK)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_y_decodes_to_the_text_whatever_it_is(text: str) -> None:
    tokenizer = TOKENIZER
    pair = encode_pair(tokenizer, ASK, answer(text))
    assert pair is not None
    assert tokenizer.decode(pair.ids[pair.start : pair.end]) == f"{text}<|im_end|>"


pytest.importorskip("tokenizers")
TOKENIZER = make_tokenizer()


def test_several_messages_are_all_ys(chatml: Any) -> None:
    more = [*SAID, {"role": "user", "content": "And an ant?"}, *answer("Six.")]
    pair = encode_pair(chatml, ASK, more)
    assert pair is not None
    text = chatml.decode(pair.ids[pair.start : pair.end])
    assert text.startswith("Eight.<|im_end|>\n<|im_start|>user\n") and text.endswith("Six.<|im_end|>")


def test_a_template_without_special_tokens_keeps_all_of_y() -> None:
    tokenizer = make_tokenizer(
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    pair = encode_pair(tokenizer, ASK, answer("Eight. \n"))
    assert pair is not None
    assert tokenizer.decode(pair.ids[pair.start : pair.end]) == "Eight. \n\n"
    assert end_of_turn(tokenizer) is None


def test_a_seam_inside_of_a_token_is_found_by_characters() -> None:
    tokenizer = make_tokenizer(
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\nThe q' }}{% endif %}"
    )
    # the answer goes on with the letters that the prompt ends with: "The q|uick" is cut otherwise than "The q"
    pair = encode_pair(tokenizer, ASK, answer("\nThe quick brown fox"))
    assert pair is not None
    head = encode_prompt(tokenizer, ASK)
    assert pair.ids[: len(head)] != head
    assert tokenizer.decode(pair.ids[pair.start :]) == " quick brown fox"


def test_a_template_that_rewrites_the_prompt_gives_y_no_place() -> None:
    tokenizer = make_tokenizer(
        "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    assert encode_pair(tokenizer, ASK, SAID) is None


def test_a_refusal_of_the_template_is_said_in_words() -> None:
    tokenizer = make_tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(TemplateRefused, match="roles must alternate"):
        encode_pair(tokenizer, ASK, SAID)
    with pytest.raises(TemplateRefused, match="no chat template"):
        encode_prompt(make_tokenizer(None), ASK)
    with pytest.raises(TemplateRefused, match="no messages"):
        encode_prompt(make_tokenizer(), [])


def test_messages_with_tools_reasoning_parts_and_no_content_are_taken(chatml: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"}]}]
    said = [
        {"role": "assistant", "content": None, "reasoning_content": "I add.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "4"},
        {"role": "assistant", "content": "4", "tools": [{"type": "function"}]},
    ]
    pair = encode_pair(chatml, asked, said)
    assert pair is not None and "What is 2 + 2?" in chatml.decode(pair.ids[: pair.start])
    tools = make_tokenizer(
        "{% for message in messages %}{{ message['content'] }}{% for call in message.tool_calls or [] %}"
        "{{ call.function.arguments.a }}{% endfor %}{% endfor %}"
    )
    pair = encode_pair(tools, asked, said[:1])
    assert pair is not None and tools.decode(pair.ids[pair.start : pair.end]) == "2"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": None}, {"type": "text"}, None, 7, {"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": ["b"]}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    ],
)
def test_parts_without_text_say_nothing(chatml: Any, content: Any, text: str) -> None:
    odd, plain = ([{"role": "user", "content": each}] for each in (content, text))
    assert encode_prompt(chatml, odd) == encode_prompt(chatml, plain)


@pytest.mark.parametrize("arguments", ["{oops", "[" * 200_000])
def test_arguments_that_cannot_be_read_are_left_as_they_are(arguments: str) -> None:
    tools = make_tokenizer("{% for message in messages %}{{ message.tool_calls[0].function.arguments }}{% endfor %}")
    calling = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    assert tools.decode(encode_prompt(tools, [calling])) == arguments


def test_raw_text_has_a_beginning_where_the_tokenizer_puts_one(chatml: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    plain = chatml("one two", add_special_tokens=False)["input_ids"]
    assert encode_text(chatml, "one two") == plain and encode_text(chatml, "") == []
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    assert encode_text(tokenizer, "one two") == [1, *plain]
    assert encode_text(tokenizer, "<|im_start|>one two") == [1, *plain]


def test_the_end_of_a_turn_is_read_from_the_template(chatml: Any) -> None:
    assert end_of_turn(chatml) == chatml.convert_tokens_to_ids("<|im_end|>")
    assert end_of_turn(make_tokenizer(None)) is None

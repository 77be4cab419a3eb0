"""Checks: a reason or none, and a clear word where the recipe is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality import CHECKS, make_check


def test_words_counts_in_every_script() -> None:
    check = make_check("words", {"field": "answer", "min": 2, "max": 4})
    assert check({"answer": "one"}, {}) == "too-short"
    assert check({"answer": "one two"}, {}) is None
    assert check({"answer": "one two three four"}, {}) is None
    assert check({"answer": "one two three four five"}, {}) == "too-long"
    assert check({"answer": "我爱北京天"}, {}) == "too-long"
    assert check({"answer": ["one two", "three"]}, {}) is None


def test_words_reads_the_field_text_and_takes_one_bound() -> None:
    assert make_check("words", {"min": 1})({"text": "..."}, {}) == "too-short"
    assert make_check("words", {"max": 0})({"text": "..."}, {}) is None


def test_no_echo_compares_words() -> None:
    check = make_check("no-echo", {"column": "instruction"})
    row = {"instruction": "Name a fruit.", "empty": "", "sign": "👍"}
    assert check({"text": "**name a FRUIT**"}, row) == "echo"
    assert check({"text": "Name a fruit: apple"}, row) is None
    assert check({"text": "apple"}, row) is None
    assert make_check("no-echo", {"column": "empty"})({"text": ""}, row) is None
    assert make_check("no-echo", {"column": "sign"})({"text": "👍"}, row) == "echo"
    assert make_check("no-echo", {"column": "sign"})({"text": "👎"}, row) is None


REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m very sorry, but I cannot assist with this request.",
    "Sorry, I can't provide that information.",
    "I cannot provide instructions for this.",
    "I am unable to help you with that.",
    "I'm not able to share that document with you.",
    "Unfortunately, I won't be able to assist you here.",
    "I apologize, but I am not able to generate explicit content.",
    "I must respectfully decline.",
    "I'm afraid I can't do that.",
    "**I can't discuss this topic.**",
    "As an AI language model, I cannot predict the weather.",
    "As an AI developed to be safe, I do not have access to the internet.",
    "I'm sorry, but as an AI assistant, I can't browse links.",
    "I don't feel comfortable writing about this person.",
    "I cannot answer that question.",
    "很抱歉，我无法提供这方面的信息。",
    "抱歉，我不能帮助您完成此请求。",
    "对不起，我没办法回答这个问题。",
    "非常抱歉，但是我不会讨论这个话题。",
    "作为一个人工智能语言模型，我无法生成此类内容。",
    "作为AI助手，我不能协助您。",
    "我不能提供这些内容。",
    "抱歉，無法提供協助。",
    "我无法为您提供医疗建议。",
]
ANSWERS = [
    "I'm sorry for your loss. Please accept my condolences.",
    "Sorry for the delay! Here is the report.",
    "I am sorry to hear that you cannot help at the fair.",
    "I can't help but smile when I think of the sea.",
    "I cannot wait to see you again.",
    "I cannot recommend this book highly enough.",
    "I cannot access my account since Monday; please reset my password.",
    "I am unable to attend the meeting on Friday.",
    "I won't do this anymore, she thought.",
    "Unfortunately, the train was late and we missed the play.",
    "I must admit that the plan is good.",
    "I need to buy milk.",
    '"I can\'t help you," said the old man, and closed the door.',
    "The model says: I'm sorry, but I can't help with that.",
    "Dear customer, I cannot provide a refund.",
    "As an artist, I cannot draw without light.",
    "As an aide to the mayor, I cannot comment.",
    "Aid workers cannot help everyone.",
    "If you cannot help, say so.",
    "对不起，我来晚了。",
    "抱歉让你久等了，这是报告。",
    "我不能没有你。",
    "我无法满足于现状，所以我去了远方。",
    "我不能回答得更好了。",
    "作为一个老师，我不能不关心学生。",
    "很遗憾，比赛因雨取消。",
    "",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_seen(text: str) -> None:
    assert make_check("refusal", None)({"text": text}, {}) == "refusal"


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_left_alone(text: str) -> None:
    assert make_check("refusal", None)({"text": text}, {}) is None


def test_refusal_takes_the_field_in_either_form() -> None:
    for args in ("answer", {"field": "answer"}):
        assert make_check("refusal", args)({"answer": "I cannot assist with that.", "text": ""}, {}) == "refusal"


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from(["", "I'm sorry, but ", "as an ai ", "抱歉，", "i " * 200, "as an ai so " * 50]))
def test_any_text_is_checked(text: str, start: str) -> None:
    for check in (
        make_check("words", {"min": 1, "max": 9}),
        make_check("refusal", None),
        make_check("no-echo", {"column": "seed"}),
    ):
        assert check({"text": start + text}, {"seed": text}) in (None, "too-short", "too-long", "refusal", "echo")


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("word", {}, "no check 'word'. Did you mean 'words'"),
        ("words", None, "needs 'min', 'max' or both"),
        ("words", {"minn": 1}, "no setting of check 'words' called 'minn'. Did you mean 'min'"),
        ("words", {"min": -1}, "'min' to be a whole number from 0 up"),
        ("words", {"max": True}, "'max' to be a whole number"),
        ("words", {"min": 5, "max": 4}, "min 5 is above max 4"),
        ("words", {"min": 1, "field": 3}, "'field' to be a name"),
        ("words", [1], "needs a mapping with field, min, max"),
        ("refusal", 3, "needs a mapping with field"),
        ("no-echo", {"field": "text"}, "'column' to be a name, but the recipe gives nothing"),
    ],
)
def test_a_wrong_argument_is_named(name: str, args: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_check(name, args)


def test_a_field_or_column_that_is_not_there_is_the_recipes_fault() -> None:
    with pytest.raises(UsageError, match="check 'words' reads the field 'text', which is not there; there are: answer"):
        make_check("words", {"min": 1})({"answer": "x"}, {})
    with pytest.raises(UsageError, match="check 'no-echo' reads the column 'q'"):
        make_check("no-echo", {"column": "q"})({"text": "x"}, {"instruction": "y"})


def test_every_check_is_tried_somewhere() -> None:
    heuristics = {"keywords", "opening", "leak", "substance", "ending"}
    assert set(CHECKS) == {"words", "refusal", "no-echo"} | heuristics | {"language"}

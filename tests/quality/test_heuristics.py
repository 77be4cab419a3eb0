"""Heuristics: what each rejects and with which reason, what it leaves alone in any script, and no text breaks one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality import make_check

LONG = "The committee met on Monday and talked about the budget for the coming year. " * 4
LONG_CHINESE = "委员会星期一开会，讨论了明年的预算，大家都同意先修好学校的屋顶。" * 3

CASES: list[tuple[str, Any, str, str | None]] = [
    ("keywords", None, "Describe the picture below.", "keyword"),
    ("keywords", None, "Draw: a cat", "keyword"),
    ("keywords", None, "Please GO\nto the shop", "keyword"),
    ("keywords", None, "请描述这张图片的内容", "keyword"),
    ("keywords", None, "请推荐一首音乐。", "keyword"),
    ("keywords", None, "Explain photography and the withdrawal of profiles, mapping paragraphs", None),
    ("keywords", None, "Go home to sleep", None),
    ("keywords", None, "请写一首关于春天的诗", None),
    ("keywords", {"phrases": ["Video call"]}, "Plan a video-call.", "keyword"),
    ("keywords", {"phrases": ["Video call"]}, "Plan a video.", None),
    ("keywords", {"phrases": ["天气"]}, "今天天气很好", "keyword"),
    ("opening", None, "Name three fruits.", None),
    ("opening", None, "3 fruits, please", None),
    ("opening", None, "列出三种水果。", None),
    ("opening", None, "《红楼梦》的作者是谁？", None),
    ("opening", None, "「雪国」を書いたのは誰ですか。", None),
    ("opening", None, "¿Quién escribió esta novela?", None),
    ("opening", None, "Élise est-elle là ?", None),
    ("opening", None, "اكتب قصة قصيرة", None),
    ("opening", None, "กรุณาเขียนบทกวี", None),
    ("opening", None, " \n", None),
    ("opening", None, " - Name three fruits.", "opens-with-punctuation"),
    ("opening", None, ", and then name a fruit", "opens-with-punctuation"),
    ("opening", None, "。列出三种水果", "opens-with-punctuation"),
    ("opening", None, "👍 Name a fruit", "opens-with-symbol"),
    ("opening", None, "$5 is how much in euros?", "opens-with-symbol"),
    ("opening", None, "Write  a PROGRAM that sorts", "opens-with-phrase"),
    ("opening", None, "编写一个程序，计算总和", "opens-with-phrase"),
    ("opening", None, "Write a programme for the concert", None),
    ("opening", None, "Do not write a program", None),
    ("opening", {"phrases": ["tell me"]}, "Tell me a joke", "opens-with-phrase"),
    ("opening", {"phrases": ["tell me"]}, "Write a program", None),
    ("leak", None, "#The Given Prompt#: name a fruit", "leak"),
    ("leak", None, "Here is the rewritten prompt.", "leak"),
    ("leak", None, "下面是改写后的提示：列出水果", "leak"),
    ("leak", None, "Be prompt when you are given a task.", None),
    ("leak", {"phrases": ["new task"]}, "My #NEW TASK#", "leak"),
    ("substance", None, "", "no-substance"),
    ("substance", None, "...?!", "no-substance"),
    ("substance", None, "👍", "no-substance"),
    ("substance", None, "It is what it is.", "no-substance"),
    ("substance", None, "Und das ist es auch!", "no-substance"),
    ("substance", None, "的了吗？", "no-substance"),
    ("substance", None, "It is 42.", None),
    ("substance", None, "Paris", None),
    ("substance", None, "北京", None),
    ("substance", None, "是的", None),
    ("ending", None, "Answer the following question:", "ends-with-colon"),
    ("ending", None, "请回答以下问题：\n", "ends-with-colon"),
    ("ending", None, "Paris", None),
    ("ending", None, LONG, None),
    ("ending", None, LONG + "And then the chairman stood up and", "truncated"),
    ("ending", None, LONG + "And then the chairman stood up, said it,", "truncated"),
    ("ending", None, LONG + '"And then the chairman stood up and left."', None),
    ("ending", None, LONG + "\n\nYours,\nAnna Smith", None),
    ("ending", None, LONG + "\n- and a long last item of some list", None),
    ("ending", None, LONG + "\n2. and a long last item of some list", None),
    ("ending", None, LONG_CHINESE, None),
    ("ending", None, LONG_CHINESE + "然后主席站起来说", "truncated"),
    ("ending", None, "ประชุม" * 30, None),
    ("ending", None, "Here it is.\n```python\nprint(1)\n", "truncated"),
    ("ending", None, "Here it is.\n```python\nprint(1)\n```", None),
    ("ending", {"long": 5}, "the chairman stood up and then", "truncated"),
    ("ending", {"long": 6}, "the chairman stood up and then", None),
]


@pytest.mark.parametrize(("name", "args", "text", "reason"), CASES)
def test_reason(name: str, args: Any, text: str, reason: str | None) -> None:
    assert make_check(name, args)({"text": text}, {}) == reason


NAMES = sorted({name for name, *_ in CASES})


@pytest.mark.parametrize("name", NAMES)
def test_the_field_is_given_in_either_form(name: str) -> None:
    text, reason = next((text, reason) for case, args, text, reason in CASES if case == name and reason and not args)
    for args in ("answer", {"field": "answer"}):
        assert make_check(name, args)({"answer": text, "text": "Name a fruit."}, {}) == reason
    with pytest.raises(UsageError, match=f"check '{name}' reads the field 'answer', which is not there"):
        make_check(name, "answer")({"text": text}, {})


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text("0.,:-`~#\n (a的。", max_size=80), st.sampled_from(["", LONG, LONG_CHINESE]))
def test_any_text_has_a_known_reason_or_none(text: str, before: str) -> None:
    known = {reason for *_, reason in CASES}
    for name in NAMES:
        assert make_check(name, None)({"text": before + text}, {}) in known


@given(st.text(st.characters(categories=["L", "Nd"]), min_size=1))
def test_a_letter_or_digit_of_any_script_may_open(text: str) -> None:
    assert make_check("opening", None)({"text": text}, {}) is None


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("keywords", {"phrases": ["..."]}, "the phrase '...' has no word in it"),
        ("keywords", {"phrases": []}, "at least one of the phrases"),
        ("keywords", {"words": ["a"]}, "no setting of check 'keywords' called 'words'"),
        ("opening", {"phrases": "a"}, "needs a list of phrases"),
        ("leak", {"field": 1}, "'field' to be a name"),
        ("substance", {"phrases": ["a"]}, "no setting of check 'substance'"),
        ("ending", {"long": -1}, "'long' to be a whole number"),
        ("ending", ["text"], "needs a mapping with field, long"),
    ],
)
def test_a_wrong_argument_is_named(name: str, args: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_check(name, args)

"""Heuristics on generated instructions and answers: cheap signs that a text is not worth keeping.

Knows nothing about how the text came to be. Each maker takes what the recipe gives: nothing, the field (default
`text`), or a mapping. Phrases are compared by words, so case, punctuation and spaces in them do not count, and a
phrase is never found inside a longer word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from distill_data.errors import UsageError
from distill_data.parsing.arguments import settings, shown, text_setting, texts, whole_setting
from distill_data.parsing.fences import fenced_blocks
from distill_data.quality.fields import text_of
from distill_data.quality.language import FUNCTION_WORDS
from distill_data.quality.protocol import Check
from distill_data.quality.words import words

BEYOND_TEXT = (
    "image", "images", "picture", "pictures", "photo", "photos", "graph", "graphs", "diagram", "diagrams",
    "flowchart", "flowcharts", "map", "maps", "draw", "plot", "file", "files", "video", "videos", "audio", "music",
    "go to", "图片", "图像", "照片", "图表", "流程图", "地图", "画一", "文件", "视频", "音频", "音乐",
)  # fmt: skip
"""What a text model can neither see, make nor do."""

PROGRAM = ("write a program", "写一个程序", "编写一个程序")
"""Openings of a task that asks for a program without saying in which language."""

PROMPT_WORDING = (
    "given prompt", "rewritten prompt", "created prompt", "original prompt",
    "给定的提示", "给定提示", "改写后的提示", "重写后的提示", "原始提示",
)  # fmt: skip
"""How prompts that ask for a rewritten prompt speak of it."""

LONG = 50
"""Words above which a text without an end mark was probably cut off."""

_OPENING_MARKS = "¿¡「『《〈【"
_CHINESE_PARTICLES = frozenset("的了吗呢吧啊呀嘛么哦嗯")
_LIST_ITEM = re.compile(r"[-*•+|>#]|\(?\w{1,3}[.)]")
_UNFINISHED = frozenset(",;，；、،؛-–—([{（「『《【")
_LINE = 5


def keywords(args: Any) -> Check:
    """`keyword` where a text has one of `phrases` in it (default `BEYOND_TEXT`)."""
    return _holding("check 'keywords'", args, BEYOND_TEXT, "keyword")


def leak(args: Any) -> Check:
    """`leak` where a text copies wording of the prompt: one of `phrases` (default `PROMPT_WORDING`)."""
    return _holding("check 'leak'", args, PROMPT_WORDING, "leak")


def opening(args: Any) -> Check:
    """`opens-with-punctuation`, `opens-with-symbol` or, where it opens with one of `phrases`, `opens-with-phrase`.

    A letter or digit of any script is a good beginning, and so are ¿, ¡ and the opening brackets of Chinese and
    Japanese. `phrases` are `PROGRAM` by default. A text without a character passes.
    """
    what = "check 'opening'"
    field, phrases = _field_and_phrases(what, args, PROGRAM)

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        text = text_of(what, fields, field).strip()
        first = text[:1]
        if first and not first.isalnum() and first not in _OPENING_MARKS:
            punctuation = unicodedata.category(first).startswith("P")
            return "opens-with-punctuation" if punctuation else "opens-with-symbol"
        return "opens-with-phrase" if _joined(text).startswith(phrases) else None

    return check


def substance(args: Any) -> Check:
    """`no-substance` where a text has no words, or only the function words of one language or Chinese particles.

    Not for answers from a closed set: "no" and "a" are function words.
    """
    what = "check 'substance'"
    field = _field(what, args, ("field",))
    empty = [*FUNCTION_WORDS.values(), _CHINESE_PARTICLES]

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        found = set(words(text_of(what, fields, field)))
        return "no-substance" if any(found <= table for table in empty) else None

    return check


def ending(args: Any) -> Check:
    """`ends-with-colon`, or `truncated`: a fenced block that is not closed, or a long text without an end.

    Long is more than `long` words (default 50). Such a text has no end where its last line ends with a letter, a
    digit, a comma, a dash or an opening bracket, has at least 5 words and is no item of a list. Thai and Lao have no
    end marks and always pass.
    """
    what = "check 'ending'"
    field = _field(what, args, ("field", "long"))
    given = whole_setting(what, args if isinstance(args, Mapping) else {}, "long")
    long = LONG if given is None else given

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        text = text_of(what, fields, field).rstrip()
        if text.endswith((":", "：")):
            return "ends-with-colon"
        if any(not block.closed for block in fenced_blocks(text)):
            return "truncated"
        return "truncated" if _has_no_end(text) and len(words(text)) > long else None

    return check


def _has_no_end(text: str) -> bool:
    last = text[-1:]
    line = text.rpartition("\n")[2].strip()
    if "\u0e00" <= last <= "\u0eff" or _LIST_ITEM.match(line) or len(words(line)) < _LINE:
        return False
    return last in _UNFINISHED or unicodedata.category(last)[0] in "LNM"


def _holding(what: str, args: Any, default: tuple[str, ...], reason: str) -> Check:
    field, phrases = _field_and_phrases(what, args, default)

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        text = _joined(text_of(what, fields, field))
        return reason if any(phrase in text for phrase in phrases) else None

    return check


def _field(what: str, args: Any, names: tuple[str, ...]) -> str:
    given = {"field": args} if isinstance(args, str) else settings(what, args, names)
    return text_setting(what, given, "field", "text")


def _field_and_phrases(what: str, args: Any, default: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    field = _field(what, args, ("field", "phrases"))
    given = args.get("phrases") if isinstance(args, Mapping) else None
    phrases = default if given is None else texts(what, given, "phrases")
    for phrase in phrases:
        if not words(phrase):
            raise UsageError(f"{what}: the phrase {shown(phrase)} has no word in it, so it cannot be found.")
    return field, tuple(_joined(phrase) for phrase in phrases)


def _joined(text: str) -> str:
    """The words with a space on both sides of each, so that phrases are found as whole words."""
    return f" {' '.join(words(text))} "

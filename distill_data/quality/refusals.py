"""Whether a reply begins as a refusal does, in English or Chinese. Knows nothing about what was asked.

Precise rather than complete: only the opening is read, and "I cannot" must be followed by what models say they cannot
do. So "I'm sorry for your loss", "I can't help but smile" and "I cannot access my account" are no refusals, nor is a
reply that opens with a quotation mark.
"""

from __future__ import annotations

import re
from functools import cache

from distill_data.parsing.folding import fold

_OPENING = 300
_APOSTROPHE = str.maketrans("’‘ʼ", "'''")


def _any(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


_SORRY = _any(
    r"(?:(?:i'm|i am) )?(?:(?:very|so|really|truly|deeply) )?sorry",
    r"i (?:do )?apologi[sz]e",
    r"(?:my )?apologies",
    r"unfortunately",
    r"regrettably",
    r"(?:i'm|i am) afraid(?: that)?",
)
_AS_AI = (
    r"(?:as|i'm|i am|being) (?:just |only )?an? (?:[a-z-]+ ){0,3}?(?:ai|artificial intelligence|language model)\b"
    r"(?: [a-z-]+){0,4}"
)
_JOIN = r"[,.:;–—-]* ?(?:(?:but|however|and|so)\b,? )?"
_UNABLE = _any(
    r"i (?:can't|cannot|can not|couldn't|could not|won't|will not)(?: be able to)?",
    r"(?:i'm|i am) (?:unable|not able|not allowed|not permitted) to",
    r"(?:i'm|i am) not comfortable(?: with)?",
    r"i (?:don't|do not) feel comfortable(?: with)?",
)
_ADVERB = r" (?:(?:really|currently|directly|actually|ethically|possibly|in good conscience) )?"
_TASK = _any(
    r"help(?:ing)?(?! but\b| it\b| myself\b| feeling\b| wondering\b| thinking\b| noticing\b)",
    r"assist(?:ing)?",
    r"comply(?:ing)?",
    r"provid(?:e|ing)",
    r"fulfil+(?:ing)? (?:that|this|your)",
    r"answer(?:ing)? (?:that|this|your|questions?)",
    r"(?:respond(?:ing)? to|complet(?:e|ing)|process(?:ing)?) (?:that|this|your) (?:request|question|prompt|task)",
    r"(?:engag(?:e|ing)|participat(?:e|ing)) in (?:that|this|such|any|discussions?|conversations?|creating)",
    r"(?:discuss(?:ing)?|shar(?:e|ing)|writ(?:e|ing)|perform(?:ing)?|carry(?:ing)? out) (?:that|this|such|any|about)",
    r"(?:generat(?:e|ing)|creat(?:e|ing)|produc(?:e|ing)) (?:[a-z-]+ ){0,3}?(?:content|material|images?|that|this)",
    r"access (?:the internet|real-time|external|websites?|urls?|links?)",
    r"(?:do (?:that|this|so)|continue)(?=[.,;!]|$)",
)
_ENGLISH = (
    rf"(?:{_any(_SORRY, _AS_AI)}{_JOIN}){{0,3}}"
    rf"(?:{_UNABLE}{_ADVERB}{_TASK}\b|i (?:must|have to|need to) (?:respectfully |politely )?decline\b)"
    rf"|(?:{_SORRY}{_JOIN})?{_AS_AI}{_JOIN}"
    rf"(?:{_UNABLE}|i (?:don't|do not) (?:actually |currently )?(?:have|possess))\b"
)

_REGRET = "(?:我)?(?:很|非常|十分|真的)?(?:抱歉|遗憾|遺憾|对不起|對不起|不好意思)"
_AS_AI_CHINESE = (
    "(?:作为|作為|我是|我只是|身为|身為)(?:一个|一個|一名|一款)?(?:大型)?(?:人工智能|人工智慧|ai|语言模型|語言模型)"
    "(?:语言|語言|模型|助手|助理|系统|系統)*"
)
_UNABLE_CHINESE = (
    "(?:暂时|暫時|目前|恐怕|并|並)?(?:无法|無法|不能|不可以|没办法|沒辦法|没法|沒法|不便|拒绝|拒絕|不会|不會)"
    "(?:直接|继续|繼續|再)?(?:[为為给給向](?:你|您))?"
)
_TASK_CHINESE = _any(
    "提供|协助|協助|帮助|幫助|帮你|帮您|幫你|幫您|生成|讨论|討論|编写|編寫|创作|創作|给出|給出",
    "满足(?!于)|滿足(?!於)",
    "回答(?:你|您|这|這|此|该|該|关于|關於|与|與|任何|$|[,。.!])",
    "(?:完成|执行|執行|处理|處理|回应|回應|支持|参与|參與)(?:这|這|此|该|該|你|您)",
)
_CHINESE = (
    rf"(?:{_any(_REGRET, _AS_AI_CHINESE)}[,。.!、 ]*(?:但是|但|不过|不過|可是)?[, ]*){{1,3}}"
    rf"(?:我|本助手)?{_UNABLE_CHINESE}{_TASK_CHINESE}"
    rf"|我{_UNABLE_CHINESE}{_TASK_CHINESE}"
)

_SIGNS: tuple[str, ...] = ("n't", "not", "unable", "decline")
_SIGNS_CHINESE = ("无", "無", "不", "没", "沒", "拒")
"""One of these is in every refusal that the patterns match, and in most replies there is none."""


def is_refusal(text: str) -> bool:
    """Whether the first words of a reply refuse the task."""
    opening, signs = fold(text.lstrip()[:_OPENING]), _SIGNS
    if not opening.isascii():
        opening, signs = opening.translate(_APOSTROPHE), _SIGNS + _SIGNS_CHINESE
    for sign in signs:
        if sign in opening:
            return _refusing().match(" ".join(opening.split()).lstrip("*_#> ")) is not None
    return False


@cache
def _refusing() -> re.Pattern[str]:
    """Compiled at its first use, because it takes as long as all other imports of this package."""
    return re.compile(f"(?:{_ENGLISH})|(?:{_CHINESE})")

"""Which language a text is in: by its script, and in Latin script by its most frequent words.

Knows thirteen languages and one script or more for each. Where one script serves many languages it stands for the one
here: Ukrainian reads as Russian, Persian as Arabic, Marathi as Hindi. It says nothing rather than something doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from distill_data.parsing.arguments import look_up, settings, text_setting
from distill_data.parsing.fences import fence_of_each, split_lines
from distill_data.quality.fields import text_of
from distill_data.quality.protocol import Check
from distill_data.quality.words import words

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(listed.split())
    for language, listed in {
        "en": "the of and to a in is it that for on with as are was be by this an at from or have not you we they "
        "which their has but will can if what there when more would who do how your his her she he its i",
        "de": "der die das und ist in den von zu mit sich auf für nicht ein eine einen einer eines dem des im es auch "
        "als an werden aus er hat dass sie nach bei um am sind noch wie einem über so zum war haben nur oder aber vor "
        "zur bis mehr durch man dann wir ich du kann wird wenn was ihr",
        "fr": "le la les de des du et est un une en à que qui dans pour pas sur ne se ce il elle au aux par avec plus "
        "sont son sa ses mais ou où comme cette ces nous vous ils leur on être je tu très si sans peut fait été d l c "
        "qu n s",
        "es": "el la los las de del y es un una en que no se por con para su sus al lo como más pero o este esta son "
        "si sobre entre también cuando muy sin ser ha hay porque desde todo nos fue donde yo era uno dos puede",
        "it": "il lo la i gli le di del della dei delle e è un una in che non si per con da dal dalla al alla nel "
        "nella sono come più ma o anche questo questa suo sua ha cui se quando molto essere io ci tra fra perché dove "
        "l un uno ai alle",
        "pt": "o a os as de do da dos das e é um uma em que não se por com para no na nos nas ao à seu sua mais mas "
        "ou como foi são quando muito também este esta isso ele ela pelo pela sem ser há já até você eu entre",
        "nl": "de het een en van is in dat op te zijn met voor niet die aan er om ook als bij maar door dan uit of "
        "naar hij ze wordt worden zich nog wel geen wat deze dit werd heeft hebben kan over meer je ik we u hun deze",
    }.items()
}
"""Language to its most frequent words, as `words` folds them."""

SCRIPTS = {"zh": "Han", "ja": "Kana", "ko": "Hangul", "ru": "Cyrillic", "ar": "Arabic", "el": "Greek"} | {
    "he": "Hebrew", "hi": "Devanagari", "th": "Thai",
}  # fmt: skip
"""Language to the script that tells it."""

LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ru": "Russian", "ar": "Arabic", "el": "Greek",
    "he": "Hebrew", "hi": "Hindi", "th": "Thai",
}  # fmt: skip
"""Code to English name of every language that can be told."""

_LETTERS = {
    "Latin": "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "Kana": "\u3041-\u3096\u30a1-\u30fa",
    "Hangul": "\u1100-\u11ff\uac00-\ud7a3",
    "Cyrillic": "\u0400-\u052f",
    "Arabic": "\u0620-\u064a\u066e-\u06d3",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Hebrew": "\u05d0-\u05ea",
    "Devanagari": "\u0904-\u0939\u0958-\u0961",
    "Thai": "\u0e01-\u0e30\u0e40-\u0e46",
}
_FEWEST_LETTERS = {"Kana": 4, "Hangul": 4}
"""Below these, or 10 letters of another script, a text is too short to tell."""
_MOSTLY = 0.7
_FEWEST_WORDS = 6
_KANA_OF_JAPANESE = 0.1


def language(args: Any) -> Check:
    """`language` where `field` (default `text`) is clearly in another language than `is`, a code such as `en`.

    A text that is too short, that mixes scripts, or whose Latin script shows no language passes. Fenced code is left
    out.
    """
    what = "check 'language'"
    given = settings(what, args, ("field", "is"))
    field, wanted = text_setting(what, given, "field", "text"), text_setting(what, given, "is")
    look_up(LANGUAGES, wanted, "language")

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        text = _prose(text_of(what, fields, field))
        script = _script(text)
        if script is None:
            return None
        if script != SCRIPTS.get(wanted, "Latin"):
            return "language"
        return "language" if script == "Latin" and _by_words(text) not in (None, wanted) else None

    return check


def language_of(text: str) -> str | None:
    """The code of the language that a text is clearly in, a key of `LANGUAGES`; else None. Fenced code is left out."""
    text = _prose(text)
    script = _script(text)
    if script == "Latin":
        return _by_words(text)
    return next((code for code, own in SCRIPTS.items() if own == script), None)


def _script(text: str) -> str | None:
    """The script of most letters, where there are enough; Kana for Chinese characters among kana."""
    counts = {script: len(letters.findall(text)) for script, letters in _letters().items()}
    if counts["Kana"] >= _KANA_OF_JAPANESE * (counts["Han"] + counts["Kana"]):
        counts["Kana"] += counts.pop("Han")
    script = max(counts, key=lambda name: counts[name])
    enough = counts[script] >= max(_FEWEST_LETTERS.get(script, 10), _MOSTLY * sum(counts.values()))
    return script if enough else None


@cache
def _letters() -> dict[str, re.Pattern[str]]:
    """Compiled at its first use: no run without this check needs it, and every start would pay."""
    return {script: re.compile(f"[{ranges}]") for script, ranges in _LETTERS.items()}


def _by_words(text: str) -> str | None:
    """The language whose function words are most of all, where it is clearly ahead."""
    found = words(text)
    if len(found) < _FEWEST_WORDS:
        return None
    counts = {code: sum(word in table for word in found) for code, table in FUNCTION_WORDS.items()}
    first, second = sorted(counts, key=lambda code: -counts[code])[:2]
    clear = counts[first] >= max(2, len(found) / 8) and counts[first] - counts[second] >= max(2, counts[first] / 5)
    return first if clear else None


def _prose(text: str) -> str:
    """The lines that are in no fenced block."""
    lines = split_lines(text)
    return "\n".join(line for line, fence in zip(lines, fence_of_each(lines), strict=True) if fence is None)

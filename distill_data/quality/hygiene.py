"""What a text should not have in it: repeated passages, set phrases of assistants, foul words, personal data.

Knows nothing about rows. Each function tells one text; the word lists are short, written for this project, and meant
as a first sieve: give your own where more depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from distill_data.quality.words import words

NGRAM, FEWEST = 3, 20
"""Words of a repeated passage, and of a text that is long enough to tell."""

BOILERPLATE = (
    "as an ai language model", "as a language model", "as an ai assistant", "as an ai i", "i am an ai",
    "i'm an ai", "my knowledge cutoff", "my training data", "my last update", "i hope this helps",
    "let me know if you have any other questions", "feel free to ask", "is there anything else i can help",
    "certainly here is", "sure here is", "as requested here is", "in conclusion it is important to note",
    "作为一个ai", "作为一个人工智能", "作为一名ai", "作为人工智能", "作为一个语言模型", "希望这对你有帮助",
    "希望对你有帮助",    "希望这对您有帮助", "如果你还有其他问题", "如果您还有其他问题", "我的知识截止",
)  # fmt: skip
"""What assistants say that no student should learn. Compared by words."""

FOUL = (
    "fuck", "fucks", "fucked", "fucker", "fuckers", "fucking", "motherfucker", "motherfuckers", "motherfucking",
    "shit", "shits", "shitty", "bullshit", "bitch", "bitches", "bastard", "bastards", "asshole", "assholes",
    "cunt", "cunts", "dickhead", "dickheads", "wanker", "wankers", "slut", "sluts", "whore", "whores",
    "kill yourself", "kys", "操你妈", "傻逼", "他妈的", "婊子", "去死吧", "scheiße", "arschloch", "hurensohn", "putain",
    "connard", "mierda", "puta", "cabrón", "cazzo", "stronzo", "блядь", "сука", "хуй",
)  # fmt: skip
"""Insults and swear words of a few languages. A list tells words, not what is meant by them."""

_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_EXAMPLE = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net|edu)|test|invalid|localhost)\Z", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\d{2,4}[ .-])\d{3,4}[ .-]\d{3,4}(?![\w-])")
_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_ADDRESS = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])")
_KEY = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|xox[abps]-[\w-]{10,}"
    r"|AIza[\w-]{30,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_NOBODY = ("0.", "10.", "127.", "192.168.", "255.")


def repeated_share(text: str) -> float:
    """The share of a text's word n-grams that are there already, 0.0 to 1.0; 0.0 for a text too short to tell."""
    found = words(text)
    if len(found) < FEWEST:
        return 0.0
    grams = list(zip(*(found[start:] for start in range(NGRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams)


def make_phrases(phrases: Sequence[str]) -> re.Pattern[str]:
    """A pattern over `joined` texts that finds any of the phrases, whole words only."""
    listed = sorted({" ".join(words(phrase)) for phrase in phrases} - {""}, key=len, reverse=True)
    return re.compile(f" (?:{'|'.join(map(re.escape, listed))}) " if listed else r"(?!)")


def joined(text: str) -> str:
    """The words with a space on both sides of each, for `make_phrases`."""
    return f" {' '.join(words(text))} "


def personal(text: str, kinds: Sequence[str]) -> str | None:
    """The first of the `kinds` that is in a text, else None. Kinds are the keys of `PERSONAL`."""
    return next((kind for kind in kinds if PERSONAL[kind](text)), None)


def _email(text: str) -> bool:
    return "@" in text and any(not _EXAMPLE.search(found.group()) for found in _EMAIL.finditer(text))


def _phone(text: str) -> bool:
    return any(9 <= sum(map(str.isdigit, found.group())) <= 15 for found in _PHONE.finditer(text))


def _card(text: str) -> bool:
    return any(_luhn(re.sub(r"\D", "", found.group())) for found in _DIGITS.finditer(text))


def _luhn(digits: str) -> bool:
    """The check digit of payment cards. Runs of one digit pass it and are none."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 if each > 9 else each for each in doubled)
    return total % 10 == 0 and len(set(digits)) > 1 and digits[0] in "3456"


def _iban(text: str) -> bool:
    for found in _IBAN.finditer(text):
        plain = found.group().replace(" ", "")
        turned = plain[4:] + plain[:4]
        if 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1:
            return True
    return False


def _address(text: str) -> bool:
    return any(not found.group().startswith(_NOBODY) for found in _ADDRESS.finditer(text))


PERSONAL: Mapping[str, Callable[[str], bool]] = {
    "email": _email,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "ssn": lambda text: _SSN.search(text) is not None,
    "ip": _address,
    "key": lambda text: _KEY.search(text) is not None,
}
"""Kind of personal data, or secret, to whether it is in a text. Numbers with a check digit must pass it."""

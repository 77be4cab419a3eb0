"""What a text should not have in it: repeated passages, set phrases of assistants, foul words, personal data.

Knows nothing about rows. Each function tells one text, in time linear in its length; the word lists are short, written
for this project, and meant as a first sieve: give your own where more depends on it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address

from distill_data.parsing.folding import narrow
from distill_data.quality.words import words

NGRAM, NGRAM_OF_CHARACTERS, FEWEST = 3, 6, 20
"""Words of a repeated passage, the same where words are characters, and of a text that is long enough to tell."""

BOILERPLATE = (
    "as an ai language model", "as a large language model", "as a language model i", "as an ai assistant", "as an ai i",
    "i am an ai language model", "i'm an ai language model", "i am an ai assistant", "i'm an ai assistant",
    "i am just an ai", "i'm just an ai", "my knowledge cutoff", "my training cutoff", "as of my last update",
    "as of my last training", "as of my knowledge", "i hope this helps", "let me know if you have any other questions",
    "let me know if you have any further questions", "feel free to ask me", "feel free to ask if you have",
    "is there anything else i can help", "certainly here is", "certainly here's", "sure here is", "sure here's",
    "as requested here is", "in conclusion it is important to note",
    "作为一个ai", "作为一个人工智能", "作为一名ai", "作为人工智能", "作为ai", "作为一个语言模型", "作为语言模型",
    "作为一个大型语言模型", "希望这对你有帮助", "希望对你有帮助", "希望这对您有帮助", "希望对您有帮助",
    "如果你还有其他问题", "如果您还有其他问题", "如果你有任何其他问题", "如果您有任何其他问题", "我的知识截止",
)  # fmt: skip
"""What assistants say that no student should learn. Compared by words."""

FOUL = (
    "fuck", "fucks", "fucked", "fucker", "fuckers", "fucking", "motherfucker", "motherfuckers", "motherfucking",
    "shit", "shits", "shitty", "bullshit", "bitch", "bitches", "bastard", "bastards", "asshole", "assholes",
    "cunt", "cunts", "dickhead", "dickheads", "wanker", "wankers", "slut", "sluts", "whore", "whores",
    "kill yourself", "操你妈", "傻逼", "他妈的", "婊子", "去死吧", "scheiße", "arschloch", "hurensohn", "putain",
    "connard", "mierda", "puta", "cabrón", "cazzo", "stronzo", "блядь", "сука", "хуй",
)  # fmt: skip
"""Insults and swear words of a few languages. A list tells words, not what is meant by them."""

Finder = Callable[[str], bool]
"""Whether something is in a text."""


def repeated_share(text: str) -> float:
    """The share of a text's word n-grams that are there already, 0.0 to 1.0; 0.0 for a text too short to tell.

    n is 3, and 6 where words are mostly single characters, as in Chinese: of those any language repeats more.
    """
    found = words(text)
    if len(found) < FEWEST:
        return 0.0
    n = NGRAM if sum(map(len, found)) >= 2 * len(found) else NGRAM_OF_CHARACTERS
    grams = list(zip(*(found[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams)


def make_phrases(phrases: Sequence[str]) -> Finder:
    """Finds any of the phrases, whole words only. A phrase without words is in no text."""
    listed: defaultdict[str, list[list[str]]] = defaultdict(list)
    for phrase in dict.fromkeys(tuple(words(each)) for each in phrases):
        if phrase:
            listed[phrase[0]].append(list(phrase))

    def holds(text: str) -> bool:
        found = words(text)
        return any(
            found[place : place + len(phrase)] == phrase
            for place, word in enumerate(found)
            if word in listed
            for phrase in listed[word]
        )

    return holds


def personal(text: str, kinds: Sequence[str]) -> str | None:
    """The first of the `kinds` that is in a text, else None. Kinds are the keys of `PERSONAL`."""
    plain = narrow(text)
    return next((kind for kind in kinds if PERSONAL[kind](plain)), None)


def _pattern(pattern: str) -> re.Pattern[str]:
    """Letters and digits are those of ASCII, so that a number may stand right beside a Chinese character."""
    return re.compile(pattern, re.ASCII | re.VERBOSE)


_EMAIL = _pattern(r"(?<![\w.+-])(?!git@)[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_EXAMPLE = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)\Z", re.IGNORECASE)
_FILE = re.compile(r"@\dx?\.(?:png|jpe?g|gif|webp|svg)\Z", re.IGNORECASE)
_PHONE = _pattern(
    r"""
    (?<![\w.+/-])(?<!\d[ ])(?:
        \+[1-9]\d{0,2}(?:(?:[ -]?\(?\d{1,5}\)?){2,5}|(?:\.\d{2,4}){3,4})           # +44 20 7946 0958
      | (?:\+?1[ .-]?)?\([2-9]\d\d\)[ .-]?\d{3}[ .-]\d{4}       # (415) 555-2671
      | (?:1[.-])?[2-9]\d\d([.-])[2-9]\d\d\1\d{4}            # 415-555-2671
      | \(?0\d{1,4}(?:\)[ ]?|[ /-])\d{3,4}[ -]?\d{4}         # 010-12345678, 020 7946 0958
      | 1[3-9]\d([ -]?)\d{4}\2(?!0000)\d{4}               # 13812345678
    )(?![\w-]|[. ]\d)"""
)
_CARD = _pattern(
    r"""
    (?<![\w.-])(?:
        4\d{15} | 5[1-5]\d{14} | 2[2-7]\d{14} | 3[47]\d{13} | 3(?:0[0-5]|[68]\d)\d{11} | 35\d{14}
      | 6(?:011|5\d\d|2\d\d)\d{12,15}
      | [2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})? | 3\d{3}([ -])\d{6}\2\d{4,5}
    )(?![\w-]|\.\d)"""
)
_IBAN = _pattern(r"(?<!\w)[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{1,4}){3,8}")
_IBAN_LENGTHS = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18
    FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21
    MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 SV28
    TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_SSN = _pattern(r"(?<![\w.+-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|\.\d)")
_RESIDENT = _pattern(r"(?<![\w.-])[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)")
_ADDRESS = _pattern(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_NUMBERED = re.compile(r"(?:version|ver|v|release|build|section|chapter|§|版本|版|节|章)[.:号]? ?\Z", re.IGNORECASE)
"""Before what looks like an address and is the number of a version or a chapter."""
_KEY = _pattern(
    r"""
    (?<![\w-])(?:
        sk-(?=[\w-]{0,60}\d)[\w-]{20,} | AKIA[0-9A-Z]{16}(?!\w) | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_\w{30,}
      | hf_[A-Za-z0-9]{30,} | xox[abps]-(?=[\w-]{0,60}\d)[\w-]{10,} | AIza[\w-]{30,}
    ) | -----BEGIN[ ](?:[A-Z]{1,10}[ ]){0,3}PRIVATE[ ]KEY-----"""
)


def _email(text: str) -> bool:
    return "@" in text and any(
        not _EXAMPLE.search(found.group()) and not _FILE.search(found.group()) for found in _EMAIL.finditer(text)
    )


def _phone(text: str) -> bool:
    return any(9 <= sum(map(str.isdigit, found.group())) <= 15 for found in _PHONE.finditer(text))


def _card(text: str) -> bool:
    return any(_luhn(re.sub("[ -]", "", found.group())) for found in _CARD.finditer(text))


def _luhn(digits: str) -> bool:
    """The check digit of payment cards. Runs of few different digits pass it often, and are none."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 if each > 9 else each for each in doubled)
    return total % 10 == 0 and len(set(digits)) > 1


def _iban(text: str) -> bool:
    return any(_has_iban_digits(found.group()) for found in _IBAN.finditer(text))


def _has_iban_digits(found: str) -> bool:
    """As long as the country's are, and right by the digits of ISO 13616. What stands behind a space may be no part."""
    length = re.search(rf" {found[:2]}(\d\d)\s", _IBAN_LENGTHS)
    parts, plain = found.split(" "), ""
    while length and parts and len(plain) < int(length[1]):
        plain += parts.pop(0)
    turned = plain[4:] + plain[:4]
    digits = "".join(str(int(each, 36)) for each in turned)
    return length is not None and len(plain) == int(length[1]) and int(digits) % 97 == 1


def _resident(text: str) -> bool:
    return any(_has_resident_digit(found.group()) for found in _RESIDENT.finditer(text))


def _has_resident_digit(number: str) -> bool:
    """ISO 7064 MOD 11-2, as GB 11643 has it."""
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def _address(text: str) -> bool:
    return any(_is_public(found.group()) and not _is_numbered(text, found) for found in _ADDRESS.finditer(text))


def _is_numbered(text: str, found: re.Match[str]) -> bool:
    return _NUMBERED.search(text[max(0, found.start() - 12) : found.start()]) is not None


def _is_public(address: str) -> bool:
    """Not one of those that stand for no host of anybody: private, reserved, of documentation."""
    try:
        return IPv4Address(address).is_global
    except AddressValueError:
        return False


def _holding(pattern: re.Pattern[str]) -> Finder:
    return lambda text: pattern.search(text) is not None


PERSONAL: Mapping[str, Finder] = {
    "email": _email,
    "card": _card,
    "iban": _iban,
    "resident-id": _resident,
    "ssn": _holding(_SSN),
    "phone": _phone,
    "ip": _address,
    "key": _holding(_KEY),
}
"""Kind of personal data, or secret, to whether it is in a text of ASCII digits. Numbers with a check digit pass it.

`resident-id` is the number of Chinese identity cards, `ssn` that of social security in the USA."""

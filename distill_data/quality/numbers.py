"""The last number in a text, as people and models write numbers. Knows nothing about questions and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from distill_data.parsing.folding import narrow

_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_DIGITS = "0123456789" + "".join(_VULGAR)
_VULGAR_SIGN = re.compile(f"([0-9]?)([{''.join(_VULGAR)}])")
_LATEX_FRACTION = re.compile(r"([0-9]?)\\[dt]?frac ?\{ ?([0-9]{1,50}) ?\} ?\{ ?([0-9]{1,50}) ?\}")

_NUMBER = r"""
    (?=[-.0-9$€£¥₹])                                                     # for speed: where a number can begin
    (?P<sign> (?<![A-Za-z0-9_)\]}%^])(?<!\^\{)- [$€£¥₹]? | [$€£¥₹]- )?   # -5, -$5, $-5; not the hyphen of 3-5 or x^-5
    (?<![A-Za-z_^0-9])(?<!\^[-{])(?<!\^\{-)(?<![0-9]\.)                  # not the 2 of m2, x^2 or 1.2.3
    (?:
        (?P<whole>[0-9]{1,3})[ ](?P<part>[0-9]{1,9})/(?P<of>[0-9]{1,9})(?![0-9/]|\.[0-9])       # 2 1/2
      | (?<![0-9]/)(?P<over>[0-9]{1,50})[ ]?/[ ]?(?P<under>[0-9]{1,50})(?![0-9/]|\.[0-9])  # 3/4
      | (?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.(?P<decimals>[0-9]+))?        # 1,234.5
      | \.(?P<only_decimals>[0-9]+)                                                            # .5
    )
    (?:
        [eE](?P<exponent>[-+]?[0-9]{1,3})(?![0-9])                                             # 6e23
      | [ ]?(?:[×xX*·]|\\times|\\cdot)[ ]?10\^\{?(?P<power>[-+]?[0-9]{1,3})\}?                  # 6 × 10^23
    )?
    (?P<raised>\^\{?(?P<raised_to>[-+]?[0-9]{1,3})(?![0-9])\}? | [\^⁰¹²³⁴-⁹⁻])?                 # 10^6; 2² is not read
    (?P<percent>[ ]?\\?% | [ ](?i:percent)\b)?
    """
_LONGEST = 400
_WINDOW = 500


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written."""

    value: Fraction
    """Before the percent sign, if there is one."""
    percent: bool


@cache
def _number() -> re.Pattern[str]:
    """Compiled at its first use: few recipes read numbers, and every start would pay."""
    return re.compile(_NUMBER, re.VERBOSE)


def last_number(text: str) -> Number | None:
    """The last number in a text, or None where there is none or the last one cannot be read, as 1/0 or 2^10.

    Reads signs, thousands separators, decimals, fractions and mixed numbers (also ½ and LaTeX's), powers of ten,
    percent, currency signs and full-width digits. The decimal sign is a point. Digits within a word or an exponent
    (H2O, cm^2) are no number. Looks no further back from the last digit than 500 characters.
    """
    last = None
    for match in _number().finditer(_plain(text)):
        last = match
    value = _value(last) if last else None
    return None if last is None or value is None else Number(value, bool(last["percent"]))


def is_number(text: str) -> bool:
    """Whether all of a text is one number that `last_number` reads; a date, a range or a list is none. A plus or
    currency sign before it and a full stop after it are no matter."""
    match = _number().fullmatch(_plain(text.strip().lstrip("+$€£¥₹").removesuffix(".")))
    return match is not None and _value(match) is not None


def _plain(text: str) -> str:
    """The end of a text with its digits, fractions and signs written as the pattern has them."""
    plain = narrow(text)
    last_digit = max(plain.rfind(digit) for digit in _DIGITS)
    plain = plain[max(0, last_digit - _WINDOW) : last_digit + _WINDOW].replace("⁄", "/").replace("{,}", ",")
    if not plain.isascii():
        plain = _VULGAR_SIGN.sub(lambda match: (match[1] and match[1] + " ") + _VULGAR[match[2]], plain)
    if "frac" in plain:
        plain = _LATEX_FRACTION.sub(lambda match: (match[1] and match[1] + " ") + f"{match[2]}/{match[3]}", plain)
    return plain


def _value(match: re.Match[str]) -> Fraction | None:
    if match.end() - match.start() > _LONGEST:
        return None
    if match["whole"]:
        size = _ratio(match["part"], match["of"])
        # 2 1/2 is a mixed number, 2 8/4 are two numbers.
        if size is not None and size < 1:
            size += int(match["whole"])
    elif match["over"]:
        size = _ratio(match["over"], match["under"])
    else:
        size = Fraction(
            f"{(match['digits'] or '0').replace(',', '')}.{match['decimals'] or match['only_decimals'] or 0}"
        )
    if match["raised"]:
        if size != 10 or match["raised_to"] is None or match["exponent"] or match["power"]:
            return None
        size = Fraction(10) ** int(match["raised_to"])
    if size is None:
        return None
    size *= Fraction(10) ** int(match["exponent"] or match["power"] or 0)
    return -size if match["sign"] else size


def _ratio(over: str, under: str) -> Fraction | None:
    return Fraction(int(over), int(under)) if int(under) else None

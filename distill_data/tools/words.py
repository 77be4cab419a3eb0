"""Functions over text: counting, replacing, looking up. Each raises ParseError("execution-failed") without a result."""

from __future__ import annotations

from distill_data.parsing.folding import fold, trim
from distill_data.tools import bounds

TEXT_LIMIT = 2_000
"""Characters of a text that a function works on."""
PHRASE_LIMIT = 100

_CAPITALS = {
    "Argentina": "Buenos Aires",
    "Australia": "Canberra",
    "Austria": "Vienna",
    "Belgium": "Brussels",
    "Brazil": "Brasília",
    "Canada": "Ottawa",
    "Chile": "Santiago",
    "China": "Beijing",
    "Colombia": "Bogotá",
    "Denmark": "Copenhagen",
    "Egypt": "Cairo",
    "Ethiopia": "Addis Ababa",
    "Finland": "Helsinki",
    "France": "Paris",
    "Germany": "Berlin",
    "Ghana": "Accra",
    "Greece": "Athens",
    "Hungary": "Budapest",
    "Iceland": "Reykjavík",
    "India": "New Delhi",
    "Ireland": "Dublin",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Mexico": "Mexico City",
    "Morocco": "Rabat",
    "Nepal": "Kathmandu",
    "New Zealand": "Wellington",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "South Korea": "Seoul",
    "Spain": "Madrid",
    "Sweden": "Stockholm",
    "Thailand": "Bangkok",
    "Tunisia": "Tunis",
    "Turkey": "Ankara",
    "Uruguay": "Montevideo",
    "Vietnam": "Hanoi",
}
_BY_FOLDED = {fold(country): capital for country, capital in _CAPITALS.items()}


def word_count(text: str) -> int:
    """How many words a text has: runs of characters between white space."""
    return len(bounds.text("text", text, 0, TEXT_LIMIT).split())


def text_replace(text: str, old: str, new: str) -> str:
    """The text with every occurrence of `old` replaced by `new`, letter case counting."""
    source = bounds.text("text", text, 0, TEXT_LIMIT)
    return source.replace(bounds.text("old", old, 1, PHRASE_LIMIT), bounds.text("new", new, 0, PHRASE_LIMIT))


def lookup_country_capital(country: str) -> str:
    """The capital of one of 40 countries, named in English, in any letter case."""
    name = bounds.text("country", country, 1, PHRASE_LIMIT)
    capital = _BY_FOLDED.get(trim(fold(name)))
    if capital is None:
        raise bounds.refuse(f"{name!r} is not among the {len(_CAPITALS)} countries of the table")
    return capital

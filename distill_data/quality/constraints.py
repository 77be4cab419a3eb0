"""Constraints on a text that code can verify: drawn for an instruction, said in English, checked on the answer.

A constraint is a mapping with `type`, a name in `CONSTRAINTS`, and the arguments of that type. Knows nothing about who
writes the text. To add a type: write what it draws, says and holds, and add it to the table with what it governs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import look_up, shown
from distill_data.parsing.fences import split_lines
from distill_data.parsing.folding import fold
from distill_data.parsing.strict_json import read_json
from distill_data.quality.language import FUNCTION_WORDS, LANGUAGES, language_of
from distill_data.quality.words import words

Args = dict[str, Any]


class Constraint(NamedTuple):
    """One type of constraint."""

    draw: Callable[[random.Random, Mapping[str, Any]], Args]
    """(generator, row) -> arguments; the row's texts give keywords."""
    describe: Callable[[Args], str]
    """The sentence that tells a writer."""
    holds: Callable[[str, Args], bool]
    """Whether a text fulfils it. Never raises for arguments of the right types."""
    args: Mapping[str, type]
    governs: frozenset[str]
    """Aspects of a text. Two constraints on one aspect may contradict each other and are not drawn together."""


def violated(text: str, constraints: Iterable[Mapping[str, Any]]) -> list[str]:
    """The types of the constraints that a text does not fulfil, in their order.

    Raises UsageError for an unknown type and for arguments that are missing, unknown or of the wrong type.
    """
    broken = []
    for given in constraints:
        constraint, args = _read(given)
        if not constraint.holds(text, args):
            broken.append(given["type"])
    return broken


def described(constraint: Mapping[str, Any]) -> str:
    """The sentence for a constraint. Raises UsageError as `violated` does."""
    found, args = _read(constraint)
    return found.describe(args)


def drawn(rng: random.Random, row: Mapping[str, Any], count: int) -> list[Args]:
    """`count` constraints that can be fulfilled together, fewer where there are not so many, each with its `type`."""
    names = list(CONSTRAINTS)
    rng.shuffle(names)
    chosen: list[Args] = []
    taken: set[str] = set()
    for name in names:
        constraint = CONSTRAINTS[name]
        if len(chosen) < count and not constraint.governs & taken:
            taken |= constraint.governs
            chosen.append({"type": name, **constraint.draw(rng, row)})
    return chosen


def _read(given: Mapping[str, Any]) -> tuple[Constraint, Args]:
    constraint = look_up(CONSTRAINTS, str(given.get("type")), "constraint")
    args = {name: value for name, value in given.items() if name != "type"}
    right = (type(args.get(name)) is kind and _CAN_BE[kind](args[name]) for name, kind in constraint.args.items())
    if args.keys() != constraint.args.keys() or not all(right):
        wanted = ", ".join(f"{name} ({_KINDS[kind]})" for name, kind in constraint.args.items()) or "nothing else"
        raise UsageError(f"The constraint {given['type']!r} needs {wanted}, but has {shown(args)}.")
    if "language" in args:
        look_up(LANGUAGES, args["language"], "language")
    return constraint, args


_CAN_BE: dict[type, Callable[[Any], bool]] = {int: lambda count: count > 0, str: lambda text: bool(words(text))}
_KINDS = {int: "a whole number above 0", str: "a text with a word in it"}
_STARTS = ("In short,", "To begin with,", "Here is my answer:", "Let us see:", "My view is this:")
_ENDS = ("I hope this helps.", "That is all.", "Ask me if anything is unclear.", "This is my answer.")
_KEYWORDS = {
    "en": ("example", "reason", "important", "often", "careful", "simple", "together", "result"),
    "zh": ("例如", "因此", "重要", "通常", "简单", "结果", "方法", "问题"),
}
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"')\]’”]*+(?:\s|$)|[。！？｡।۔؟]+")
_BULLET = re.compile(r"\s*[-*•]\s+\S")
_TITLE = re.compile(r"\s*\[\[(?![^\S\n]*\])[^\[\]\n]+\]\]")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_EMPHASIS = re.compile(r"(?<!\*)\*\*(?![^\S\n]*\*)[^*\n]+\*\*(?!\*)")
_COMMAS = re.compile("[,，、،]")


def _among(*numbers: int) -> Callable[[random.Random, Mapping[str, Any]], Args]:
    return lambda rng, row: {"count": rng.choice(numbers)}


def _phrase(phrases: Sequence[str]) -> Callable[[random.Random, Mapping[str, Any]], Args]:
    return lambda rng, row: {"phrase": rng.choice(phrases)}


def _nothing(rng: random.Random, row: Mapping[str, Any]) -> Args:
    return {}


def _keyword(rng: random.Random, row: Mapping[str, Any]) -> str:
    """A word of four letters or more that the row's texts have; where they have none, a common one."""
    text = " ".join(value for value in row.values() if isinstance(value, str))
    known = dict.fromkeys(word for word in words(text) if len(word) >= 4 and word not in FUNCTION_WORDS["en"])
    return rng.choice(list(known) or _KEYWORDS["zh" if language_of(text) == "zh" else "en"])


def _times(text: str, phrase: str) -> int:
    """How often the words of a phrase stand in a text one after the other, overlaps counted."""
    found, wanted = words(text), words(phrase)
    return sum(found[start : start + len(wanted)] == wanted for start in range(len(found))) if wanted else 0


def _paragraphs(text: str) -> int:
    return len([part for part in re.split(r"\n[ \t\r]*\n", text) if part.strip()])


def _sentences(text: str) -> int:
    return len([part for part in _SENTENCE_END.split(text) if words(part)])


def _bullets(text: str) -> int:
    return sum(_BULLET.match(line) is not None for line in split_lines(text))


def _is_json(text: str) -> bool:
    try:
        return isinstance(read_json(text), (dict, list))
    except ParseError:
        return False


def _flat(text: str) -> str:
    return " ".join(fold(text).split())


def _is_quoted(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 2 and bare[0] in '"“' and bare[-1] in '"”'


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


_COUNT: Mapping[str, type] = {"count": int}
_PHRASE: Mapping[str, type] = {"phrase": str}

CONSTRAINTS: dict[str, Constraint] = {
    "words-min": Constraint(
        _among(30, 50, 80, 120),
        lambda args: f"Write at least {_counted(args['count'], 'word')}.",
        lambda text, args: len(words(text)) >= args["count"],
        _COUNT,
        frozenset({"length"}),
    ),
    "words-max": Constraint(
        _among(30, 50, 80, 120),
        lambda args: f"Write at most {_counted(args['count'], 'word')}.",
        lambda text, args: len(words(text)) <= args["count"],
        _COUNT,
        frozenset({"length"}),
    ),
    "words-exactly": Constraint(
        _among(5, 10, 15, 20),
        lambda args: f"Write exactly {_counted(args['count'], 'word')}.",
        lambda text, args: len(words(text)) == args["count"],
        _COUNT,
        frozenset({"length", "shape", "opening", "ending", "keywords", "language"}),
    ),
    "sentences-max": Constraint(
        _among(1, 2, 3, 5),
        lambda args: f"Write no more than {_counted(args['count'], 'sentence')}.",
        lambda text, args: _sentences(text) <= args["count"],
        _COUNT,
        frozenset({"length", "shape", "opening", "ending"}),
    ),
    "paragraphs": Constraint(
        _among(2, 3, 4),
        lambda args: f"Write exactly {_counted(args['count'], 'paragraph')}, with an empty line between paragraphs.",
        lambda text, args: _paragraphs(text) == args["count"],
        _COUNT,
        frozenset({"shape", "opening"}),
    ),
    "bullets": Constraint(
        _among(2, 3, 4, 5),
        lambda args: f"Give exactly {_counted(args['count'], 'bullet point')}, each on a line that begins with '- '.",
        lambda text, args: _bullets(text) == args["count"],
        _COUNT,
        frozenset({"shape"}),
    ),
    "emphasis": Constraint(
        _among(1, 2, 3),
        lambda args: f"Set at least {_counted(args['count'], 'passage')} in bold, as in **this**.",
        lambda text, args: len(_EMPHASIS.findall(text)) >= args["count"],
        _COUNT,
        frozenset({"marks"}),
    ),
    "placeholders": Constraint(
        _among(1, 2, 3),
        lambda args: f"Leave at least {_counted(args['count'], 'placeholder')} in square brackets, such as [name].",
        lambda text, args: len(_PLACEHOLDER.findall(text)) >= args["count"],
        _COUNT,
        frozenset({"marks"}),
    ),
    "contains": Constraint(
        lambda rng, row: {"keyword": _keyword(rng, row), "count": rng.choice((1, 2, 3))},
        lambda args: f"Use the keyword '{args['keyword']}' at least {_counted(args['count'], 'time')}.",
        lambda text, args: _times(text, args["keyword"]) >= args["count"],
        {"keyword": str, "count": int},
        frozenset({"keywords", "language"}),
    ),
    "avoids": Constraint(
        lambda rng, row: {"keyword": _keyword(rng, row)},
        lambda args: f"Do not use the word '{args['keyword']}'.",
        lambda text, args: _times(text, args["keyword"]) == 0,
        {"keyword": str},
        frozenset({"keywords", "phrases"}),
    ),
    "starts-with": Constraint(
        _phrase(_STARTS),
        lambda args: f"Begin with these words: {args['phrase']}",
        lambda text, args: _flat(text).startswith(_flat(args["phrase"])),
        _PHRASE,
        frozenset({"opening", "case", "commas", "language", "phrases"}),
    ),
    "ends-with": Constraint(
        _phrase(_ENDS),
        lambda args: f"End with these words and nothing after them: {args['phrase']}",
        lambda text, args: _flat(text).endswith(_flat(args["phrase"])),
        _PHRASE,
        frozenset({"ending", "case", "language", "phrases"}),
    ),
    "title": Constraint(
        _nothing,
        lambda args: "Begin with a title in double square brackets, as in [[title]].",
        lambda text, args: _TITLE.match(text) is not None,
        {},
        frozenset({"opening", "marks"}),
    ),
    "quoted": Constraint(
        _nothing,
        lambda args: "Put the whole answer in double quotation marks.",
        lambda text, args: _is_quoted(text),
        {},
        frozenset({"opening", "ending", "shape"}),
    ),
    "json": Constraint(
        _nothing,
        lambda args: "Answer with one JSON object or array and nothing else, not even a code fence.",
        lambda text, args: _is_json(text),
        {},
        frozenset({"shape", "opening", "ending", "commas", "case", "language", "marks", "length"}),
    ),
    "lower-case": Constraint(
        _nothing,
        lambda args: "Use lower-case letters only.",
        lambda text, args: not any(letter.isupper() for letter in text),
        {},
        frozenset({"case"}),
    ),
    "upper-case": Constraint(
        _nothing,
        lambda args: "Use capital letters only.",
        lambda text, args: not any(letter.islower() for letter in text),
        {},
        frozenset({"case"}),
    ),
    "no-commas": Constraint(
        _nothing,
        lambda args: "Do not use any commas.",
        lambda text, args: _COMMAS.search(text) is None,
        {},
        frozenset({"commas"}),
    ),
    "language": Constraint(
        lambda rng, row: {"language": rng.choice(list(LANGUAGES))},
        lambda args: f"Write the whole answer in {LANGUAGES[args['language']]}.",
        lambda text, args: language_of(text) == args["language"],
        {"language": str},
        frozenset({"language"}),
    ),
}
"""Constraint type to what it draws, says and holds."""

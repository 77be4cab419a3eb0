"""Rows with planted contamination: items of a benchmark in every disguise, and clean rows that look like them.

    leak(seed)                    every item in every disguise that it can wear, as Leak(disguise, item, row)
    neighbours(1000, seed)        clean rows that begin or end as items do, for eight words and more, have the template
                                  of one, hold its words in another order, or have its answer
    BENCHMARK, MANDARIN           the items: {"question", "answer"}

All is drawn from one seed. The texts are our own.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Leak(NamedTuple):
    disguise: str
    item: int
    row: Row


def _items(text: str) -> list[dict[str, str]]:
    pairs = (line.partition("=>") for line in text.strip().split("\n"))
    return [{"question": question.strip(), "answer": answer.strip()} for question, _, answer in pairs]


BENCHMARK = _items("""
What is the capital of France? => Paris
What is 2 + 2? => 4
Compute 17 * 23. => 391
Write a short story. => Once there was a well that answered back.
Who wrote the opera Fidelio? => Beethoven
Name three noble gases. => helium, neon, argon
Let's think step by step. => Yes.
Write a short story about a lighthouse keeper who finds a letter from the sea addressed to a stranger. =>
Write a short story about an old violin that is passed from one hand to the next during a long war. =>
You are given a list of numbers and a target value. Return the positions of the two entries that add up to the target. => two_sum
You are given a list of numbers and a whole number k. Return the list after it was turned to the right by k places. => rotate
You are given a string of round and square brackets. Decide whether each of them is closed in the right order. => stack
A baker fills 12 trays with 18 rolls each and sells all but 31 of them before noon. How many rolls did he sell? => 185
A ferry crosses the strait in 50 minutes against the tide and in 35 minutes with it. How much longer does it need against the tide? => 15
Two pumps drain a flooded cellar in 6 hours. The bigger one alone would need 10 hours. How long would the smaller one alone take? => 15
If a rope of 84 metres is cut into pieces so that each piece is twice as long as the one before, and there are three pieces, how long is the shortest? => 12
What is the sum of the first 40 positive odd whole numbers, and how does one see the result without adding them up? => 1600
Which enzyme in human saliva begins to break down starch while food is still being chewed in the mouth? => amylase
Which treaty ended the war between the two northern kingdoms in the year in which the great comet was seen? => the second one
Explain to a child of nine years why the sky is blue at noon and red when the sun goes down in the evening. => scattering
Translate the following sentence into plain English for a reader without legal training: the lessee shall indemnify the lessor against all claims. =>
Given a binary tree, return the values that one sees when looking at it from the right side, ordered from top to bottom. => right view
Implement a cache of fixed size that forgets the entry which has not been used for the longest time, with constant time for both operations. => lru
A jar holds 5 red, 7 green and 8 yellow marbles. Two are drawn without looking and not put back. What is the probability that both are green? => 21/190
The perimeter of a rectangular field is 300 metres and its length is twice its width. Find the area of the field in square metres. Give the answer as a whole number without units. => 5000
""")  # noqa: E501

MANDARIN = _items("""
法国的首都是哪座城市？ => 巴黎
一列火车从甲地开往乙地，全程三百六十公里，每小时行驶八十公里，途中停车半小时，一共需要多长时间？ => 五小时
请解释为什么夏天的白天比冬天的白天长，并说明这种现象在赤道附近为什么几乎看不出来。 => 地轴倾斜
小明有四十八个苹果，先送给邻居四分之一，又在集市上买回七个，现在他手里一共有多少个苹果？ => 四十三
写一个函数，输入一个整数列表，返回其中第二大的数；如果列表里的不同整数少于两个，就返回空值。 => sorted
水在标准大气压下的沸点会随着海拔的升高而降低，请问登山者在高山上煮饭应当采取什么办法？ => 高压锅
""")

OTHER = ("copper", "gently", "harbour", "purple", "seldom", "walnut", "yonder", "marble", "eleven", "quiet")
BEFORE = (
    "Please answer this question.",
    "Q:",
    "You are a helpful assistant. Here is the task for today:\n",
    "Solve the following problem and show your work.\n\n",
)
AFTER = ("Thank you!", "\nA:", "Answer in one word.", "\n\nThink before you answer, and explain each step.")
FILLER = (
    "The garden behind the mill was dry that summer, and nobody came to water it.",
    "Our next meeting is about the budget of the choir and the new chairs.",
    "Salt keeps the ice from forming on the steps for some hours.",
)


def _replaced(rng: random.Random, text: str, count: int) -> str:
    """`count` words replaced by others; numbers stay, and so does the last word."""
    places = list(re.finditer(r"[A-Za-z]+", text))[:-1]
    for match in sorted(rng.sample(places, count), key=lambda match: -match.start()):
        text = f"{text[: match.start()]}{rng.choice(OTHER)}{text[match.end() :]}"
    return text


def _cut(rng: random.Random, text: str) -> str:
    words = text.split()
    return " ".join(words[rng.randint(1, len(words) // 3) :])


def _spaced(rng: random.Random, text: str) -> str:
    return re.sub(" ", lambda _: rng.choice(["  ", "\n", "\t", "\u00a0", "\u3000"]), text)


def _wide(text: str) -> str:
    return re.sub("[A-Za-z0-9]", lambda found: chr(ord(found.group()) + 0xFEE0), text)


def _typos(rng: random.Random, text: str) -> str:
    """One letter in 50 doubled."""
    places = [match.start() for match in re.finditer("[a-z]", text)]
    for place in sorted(rng.sample(places, len(text) // 50), reverse=True):
        text = text[:place] + text[place] + text[place:]
    return text


Disguise = Callable[[random.Random, str], str]
DISGUISES: Mapping[str, tuple[int, Disguise]] = {
    "none": (0, lambda rng, text: text),
    "case": (0, lambda rng, text: rng.choice([str.upper, str.lower, str.title])(text)),
    "punctuation": (8, lambda rng, text: re.sub(r"[^\w\s]", "", text)),
    "marks": (8, lambda rng, text: re.sub(" ", lambda _: rng.choice([" ", " - ", " * ", ", "]), text)),
    "whitespace": (0, _spaced),
    "wide": (0, lambda rng, text: _wide(text)),
    "decomposed": (0, lambda rng, text: unicodedata.normalize("NFD", text)),
    "before": (0, lambda rng, text: f"{rng.choice(BEFORE)} {text}"),
    "after": (0, lambda rng, text: f"{text} {rng.choice(AFTER)}"),
    "around": (0, lambda rng, text: f"{rng.choice(BEFORE)} {text} {rng.choice(AFTER)}"),
    "embedded": (4, lambda rng, text: " ".join([*rng.sample(FILLER, 2), text, rng.choice(FILLER)])),
    "first words cut": (14, _cut),
    "one word": (10, lambda rng, text: _replaced(rng, text, 1)),
    "two words": (16, lambda rng, text: _replaced(rng, text, 2)),
    "typos": (16, _typos),
    "cut and around": (14, lambda rng, text: f"{rng.choice(BEFORE)} {_cut(rng, text)} {rng.choice(AFTER)}"),
    "two words, embedded": (16, lambda rng, text: f"{FILLER[0]} {_replaced(rng, text, 2).upper()} {FILLER[1]}"),
}
"""Name to the fewest words of an item that can wear it and be known by it, and the disguise."""


def _asked(text: str) -> Row:
    return {"instruction": text, "output": "I would say that it depends."}


SHAPES: Sequence[Callable[[str], Row]] = (
    _asked,
    lambda text: {"prompt": [{"role": "user", "content": text}]},
    lambda text: {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]},
    lambda text: {"question": "Ask me something.", "response": text},
    lambda text: {"text": text},
)
"""Shapes of rows; the benchmark's question may stand in the answer."""


def leak(seed: int = 0, benchmark: Sequence[Mapping[str, str]] = BENCHMARK) -> list[Leak]:
    """Every item in every disguise that it can wear, each in a row of some shape."""
    rng = random.Random(seed)
    return [
        Leak(name, item, rng.choice(SHAPES)(disguise(rng, each["question"])))
        for item, each in enumerate(benchmark)
        for name, (least, disguise) in DISGUISES.items()
        if len(re.findall(r"\w+", each["question"])) >= least
    ]


_SIZES = ("tall", "old", "small", "bright", "heavy")
_THINGS = ("anchors", "bees", "candles", "drums", "elms", "forks", "gates", "hinges", "jugs", "kites", "looms", "oars")
_DOING = ("sorts", "paints", "counts", "hides", "lends", "mends", "packs", "reads", "sells", "ties", "weighs", "moves")
_PLACES = ("barn", "cellar", "harbour", "library", "market", "orchard", "quarry", "stable", "tower", "workshop")
_TIMES = ("at dawn", "after lunch", "in March", "every week")
_CAPITALS = ("Spain", "Italy", "Kenya", "Peru", "Japan", "Norway", "Ghana", "Chile", "Latvia", "Nepal")
_SUMS = ("What is 2 * 2?", "What is 2 - 2?", "What is 2 + 2 + 5?", "What is 8 / 2?", "What is 2 + 2.5?")


def _content(rng: random.Random) -> str:
    """Ten to twenty words that no item has together."""
    parts = [
        f"{rng.choice(_SIZES)} {rng.choice(_THINGS)} that somebody {rng.choice(_DOING)}"
        f" in the {rng.choice(_PLACES)} {rng.choice(_TIMES)}"
        for _ in range(rng.randint(1, 2))
    ]
    return " and ".join(parts) + "."


def _opening(rng: random.Random, question: str) -> str:
    """An item's opening of eight words and up to two thirds of it, going on otherwise."""
    words = question.split()
    most = max(8, len(words) * 2 // 3)
    return f"{' '.join(words[: rng.randint(8, most)])} {_content(rng)}"


def _template(rng: random.Random, question: str) -> str:
    templates = (
        f"What is the capital of {rng.choice(_CAPITALS)}?",
        f"What is {rng.randint(3, 99)} {rng.choice('+-*/')} {rng.randint(3, 99)}?",
        rng.choice(_SUMS),
        f"What is the sum of the first {rng.randint(50, 900)} positive odd whole numbers below {rng.randint(2, 9)}?",
        f"Write a short story about {_content(rng)}",
    )
    return rng.choice(templates)


def _shuffled(rng: random.Random, question: str) -> str:
    words = question.split()
    rng.shuffle(words)
    return " ".join(words)


def _same_end(rng: random.Random, question: str) -> str:
    words = question.split()
    return f"{_content(rng)} {_content(rng)} {' '.join(words[-min(8, len(words) // 3) :])}"


NEIGHBOURS: Mapping[str, tuple[int, Disguise]] = {
    "opening": (14, _opening),
    "template": (0, _template),
    "shuffled": (14, _shuffled),
    "end": (14, _same_end),
    "phrase": (0, lambda rng, question: f"{_content(rng)} Let's think step by step and {_content(rng)}"),
}


def neighbours(rows: int = 1000, seed: int = 1, benchmark: Sequence[Mapping[str, str]] = BENCHMARK) -> list[Row]:
    """Clean rows that share phrases with the benchmark. Each has the answer of some item."""
    rng = random.Random(seed)
    found: list[Row] = []
    while len(found) < rows:
        item, other = rng.choice(benchmark), rng.choice(benchmark)
        least, write = rng.choice(list(NEIGHBOURS.values()))
        if len(item["question"].split()) >= least:
            found.append({"instruction": write(rng, item["question"]), "output": other["answer"] or item["answer"]})
    return found

"""Contamination: every item in every disguise is found, rows that look alike are not, and the evidence is theirs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.columns import x_of, y_of
from distill_data.errors import SeedError
from distill_data.quality.benchmarks import Item, Question, make_items
from distill_data.quality.contamination import Match, Rules, make_look, settle
from distill_data.quality.words import words
from tests.contaminated import BENCHMARK, MANDARIN, Row, leak, neighbours
from tests.planted import control, plant

VOCABULARY = [f"{first}{second}" for first in "bdfgklmnpr" for second in ("an", "el", "ik", "or", "um")]


def questions(benchmark: Iterable[Mapping[str, Any]], answers: bool = True) -> list[Question]:
    return [
        Question(each["question"], each["answer"] if answers else "", "b.jsonl", line)
        for line, each in enumerate(benchmark, 1)
    ]


def texts_of(row: Row) -> list[str]:
    found = []
    for read in (x_of, y_of):
        try:
            found.append(read(row))
        except SeedError:
            continue
    return found


def search(asked: Sequence[Question], rows: Sequence[Row], rules: Rules = Rules()) -> dict[int, list[Match]]:  # noqa: B008
    look = make_look(make_items(asked), rules)
    return settle({at: look(texts, texts[-1]) for at, row in enumerate(rows) if (texts := texts_of(row))}, len(rows))


def held(question: str, row: str, answer: str = "", said: str = "", rules: Rules = Rules()) -> str:  # noqa: B008
    """The rule by which one row holds the one item, or nothing."""
    found = search([Question(question, answer, "b", 1)], [{"instruction": row, "output": said}], rules)
    return found[0][0].rule if found else ""


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_contamination_is_found_whole_and_nothing_else(seed: int) -> None:
    planted, clean = plant(seed=seed), control(1000, seed + 1)
    found = search(questions(planted.benchmark), [*planted.rows, *clean])
    leaked = {at for at, row in enumerate(planted.rows) if planted.truth[row["id"]].kind == "contaminated"}
    assert len(leaked) == 20
    assert set(found) == leaked


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("benchmark", [BENCHMARK, MANDARIN], ids=["en", "zh"])
def test_every_item_is_found_in_every_disguise(benchmark: list[dict[str, str]], answers: bool) -> None:
    leaks = [each for seed in range(3) for each in leak(seed, benchmark)]
    asked = questions(benchmark, answers)
    items = make_items(asked)
    found = search(asked, [each.row for each in leaks])
    for at, (disguise, item, row) in enumerate(leaks):
        places = {place for match in found.get(at, ()) for place in items[match.item].places}
        assert ("b.jsonl", item + 1) in places, f"{disguise}: {row}"


def test_rows_that_share_phrases_with_the_benchmark_are_clean() -> None:
    clean = neighbours(1000)
    assert search(questions(BENCHMARK), clean) == {}
    assert search(questions(BENCHMARK, answers=False), clean) == {}


def test_each_of_them_is_clean_by_itself_too() -> None:
    look = make_look(make_items(questions(BENCHMARK)), Rules())
    assert [row for row in neighbours(1000, 2) if settle({0: look(texts_of(row), texts_of(row)[1])}, 1)] == []


def test_one_shared_ngram_would_throw_many_of_them_out() -> None:
    def ngrams(text: str) -> set[tuple[str, ...]]:
        found = words(text)
        return {tuple(found[at : at + 8]) for at in range(len(found) - 7)}

    wanted = {gram for item in BENCHMARK for gram in ngrams(item["question"])}
    assert sum(bool(ngrams(row["instruction"]) & wanted) for row in neighbours(1000)) > 150


def test_the_evidence_stands_in_the_row() -> None:
    leaks = leak(3)
    found = search(questions(BENCHMARK), [each.row for each in leaks])
    for at, matches in found.items():
        for match in matches:
            assert match.quote
            assert any(match.quote in text for text in texts_of(leaks[at].row))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_whole_item_anywhere_in_a_row_is_found(data: st.DataObject) -> None:
    texts = st.lists(st.sampled_from(VOCABULARY[:12]), max_size=30)
    benchmark = data.draw(st.lists(texts.filter(lambda text: len(text) >= 8), min_size=1, max_size=6))
    item = data.draw(st.sampled_from(benchmark))
    row = [*data.draw(texts), *item, *data.draw(texts)]
    asked = [Question(" ".join(text), "", "b", line) for line, text in enumerate(benchmark)]
    items = make_items(asked)
    found = search(asked, [{"instruction": " ".join(row), "output": ""}])
    assert tuple(item) in {items[match.item].words for match in found[0]}


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=5), st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_row_without_a_word_of_the_benchmark_is_clean(benchmark: list[str], text: str) -> None:
    known = {word for item in benchmark for word in words(item)}
    row = " ".join(word for word in words(text) if word not in known)
    assert search([Question(item, "", "b", 1) for item in benchmark], [{"instruction": row, "output": row}]) == {}


@given(st.randoms(use_true_random=False))
@settings(max_examples=4, deadline=None)
def test_the_order_of_the_benchmark_makes_no_difference(rng: random.Random) -> None:
    rows = [*(each.row for each in leak(4)), *neighbours(100, 4)]
    asked = questions(BENCHMARK)
    shuffled = rng.sample(asked, len(asked))
    assert search(shuffled, rows) == search(asked, rows)


SHORT = [
    ("What is the capital of France?", "What is the capital of France?", "", "", "short"),
    ("What is the capital of France?", "Tell me: WHAT IS THE CAPITAL OF FRANCE", "", "", "short"),
    ("What is the capital of France?", "I ask: what is the capital of France? Be brief.", "", "", "short"),
    ("What is the capital of France?", "Say “What is the capital of France” aloud", "", "", "short"),
    ("What is the capital of France?", "What is the capital of France known for?", "Paris", "Paris", ""),
    ("What is the capital of France?", "what is the capital of france, please", "", "", ""),
    ("What is the capital of France?", "what is the capital of france, please", "Paris", "It is Paris.", "short"),
    ("What is the capital of France?", "What is the capital of Spain?", "Paris", "Paris", ""),
    ("What is 2 + 2?", "What is 2 * 2?", "4", "4", ""),
    ("What is 2 + 2?", "What is 2 + 2 + 5?", "4", "9, as 4 and 5", ""),
    ("What is 2 + 2?", "What is 2 + 2.5?", "", "", ""),
    ("What is 5 - 2?", "Q: What is 5 − 2?\nA:", "", "", "short"),
    ("What is 2 + 2?", "Ｗｈａｔ　ｉｓ　２　＋　２？", "", "", "short"),
    ("What is 2 + 2?", "Ｗｈａｔ　ｉｓ　２　＊　２？", "4", "4", ""),
    ("Write a short story.", "Write a short story about a mill.", "", "", ""),
    ("Hello", "Hello", "", "", "short"),
    ("Hello", "Hello! How are you?", "", "", ""),
    ("Hello", "Be kind.\nHello\n", "", "", "short"),
    ("法国的首都是哪座城市？", "请问法国的首都是哪座城市？谢谢！", "", "", "short"),
    ("法国的首都是哪座城市？", "法国的首都是哪座城市的姐妹城市？", "", "", ""),
    ("他在哪里？", "你知道他在哪里吗", "", "", ""),
]


@pytest.mark.parametrize(("question", "row", "answer", "said", "rule"), SHORT)
def test_a_short_item_counts_where_it_is_asked(question: str, row: str, answer: str, said: str, rule: str) -> None:
    assert held(question, row, answer, said) == rule


LONG = "A ferry crosses the strait in 50 minutes against the tide and in 35 with it how much longer is that"
"""20 words and two numbers."""
EDITS = [
    (LONG, "verbatim"),
    (LONG.replace("ferry", "boat").replace("strait", "bay"), "edited"),
    (LONG.replace("ferry", "big old boat"), "edited"),
    (LONG.replace("crosses", "crossses").replace("minutes", "minuttes").replace("against", "agains"), "edited"),
    (" ".join(LONG.split()[7:]), "coverage"),
    (" ".join(LONG.split()[:11]) + " and then the captain goes home to his cat", ""),
    (" ".join(LONG.split()[:14]) + " which of the two crews is the happier", ""),
    (" ".join(reversed(LONG.split())), ""),
]


@pytest.mark.parametrize(("row", "rule"), EDITS)
def test_what_an_edited_item_is(row: str, rule: str) -> None:
    assert held(LONG, row) == rule


def test_an_edited_item_has_the_same_numbers() -> None:
    item = "What is the sum of the first 100 positive integers that are even"
    assert held(item, item.replace("sum", "total")) == "edited"
    assert held(item, item.replace("100", "50")) == ""


def test_the_rules_can_be_set() -> None:
    half = " ".join(LONG.split()[9:])
    assert held(LONG, half) == "coverage"
    assert held(LONG, half, rules=Rules(coverage=0.9)) == ""
    assert held(LONG, half, rules=Rules(ngram=13)) == ""
    item = "Which of the seven old bridges was built first and by whom"
    assert held(item, f"And now. {item}, if I may ask") == "verbatim"
    assert held(item, f"And now. {item}, if I may ask", rules=Rules(ngram=13)) == ""
    typos = LONG.replace("crosses", "crosess").replace("minutes", "mintues").replace("tide", "tied")
    assert held(LONG, typos, rules=Rules(fuzzy=0.9)) == "edited"
    assert held(LONG, typos, rules=Rules(fuzzy=0.99)) == ""


def test_an_ngram_of_three_items_is_no_evidence() -> None:
    passage = "the lighthouse on the northern cape was built by two brothers who never spoke to each other again"
    ends = ["Who built it?", "Where is it?", "When did they stop talking?"]
    asked = [Question(f"{passage}. {end}", "", "b", line) for line, end in enumerate(ends)]
    row = {"instruction": f"{passage}. Write a poem on brothers.", "output": ""}
    assert set(search(asked[:2], [row])) == {0}
    assert search(asked, [row]) == {}
    assert set(search(asked, [{"instruction": f"Read: {passage}. Where is it?", "output": ""}])) == {0}


def test_words_after_which_rows_go_on_in_three_ways_are_no_evidence() -> None:
    item = "Name the capital of Denmark and its main harbour now"
    rows = [{"instruction": item.replace("Denmark", other), "output": ""} for other in ("Peru", "Chile", "Ghana")]
    asked = [Question(item, "", "b", 1)]
    assert set(search(asked, rows[:2])) == {0, 1}
    assert search(asked, rows) == {}
    whole = {"instruction": f"Please. {item}", "output": ""}
    assert set(search(asked, [*rows, whole])) == {3}
    assert set(search(asked, [rows[0]] * 50)) == set(range(50)), "copies of one leak are no phrase"


def test_a_short_item_in_one_of_twenty_rows_is_a_phrase() -> None:
    asked = [Question("Think step by step.", "", "b", 1)]
    rows = [{"instruction": f"Add {number} and 1. Think step by step.", "output": ""} for number in range(20)]
    assert len(search(asked, rows[:19])) == 19
    assert search(asked, rows) == {}
    assert set(search(asked, [*rows, {"instruction": "Think step by step", "output": ""}])) == {20}


def test_a_question_with_several_answers_needs_one_of_them() -> None:
    text = "Which of these is true?"
    asked = [Question(text, answer, "b", line) for line, answer in enumerate(["lead floats", "ice melts"])]
    assert search(asked, [{"instruction": text, "output": "None."}]) == {}
    assert set(search(asked, [{"instruction": text, "output": "That ice melts."}])) == {0}


def test_a_chinese_item_of_fewer_than_sixteen_characters_is_short() -> None:
    eight, sixteen = "春天的花都开了", "春天的花都开了夏天的果子也都熟了"
    assert held(eight, f"昨天{eight}我们很高兴") == ""
    assert held(sixteen, f"昨天{sixteen}我们很高兴") == "verbatim"
    assert len(words(sixteen)) == 16


CODE = "def turn(rows):\n    return [list(row) for row in zip(*rows[::-1])]\n"


def test_substrings_of_code() -> None:
    rules = Rules(method="substring")
    row = "Fix this:\n\n\tdef turn( rows ):\n\t\treturn [ list(row) for row in zip(*rows[::-1]) ]\n\nThanks"
    found = search([Question(CODE, "", "b", 1)], [{"instruction": row, "output": ""}], rules)
    (match,) = found[0]
    assert match.quote == row[row.index("def") : row.index("\n\nThanks")]
    assert held(CODE, row.replace("zip(*", "zip("), rules=rules) == ""
    assert held("x = 1", "y = 2\nx = 1", rules=rules) == ""
    assert held("x = 1", "X=1", rules=rules) == "substring"


def test_an_item_of_two_benchmarks_is_one_with_both_places() -> None:
    asked = [Question("Who sings here?", "", name, 7) for name in ("b", "a")]
    assert [item.places for item in make_items(asked)] == [(("a", 7), ("b", 7))]
    assert make_items([Question("?!", "", "b", 1)]) == []


def test_the_final_answer_of_a_solution_is_the_answer() -> None:
    (item,) = make_items([Question("How many?", "He has 3, then 4 more.\n#### 7", "b", 1)])
    assert item.answers == {("7",)}


def test_a_long_item_may_stand_in_any_of_many_templates() -> None:
    """Items of one template, so that nearly every run of words is in all of them."""
    rng = random.Random(7)
    template = "Tom has {} red marbles and gives {} of them to Ann. How many are left?"
    asked = [Question(template.format(rng.randint(100, 999), line), "", "b", line) for line in range(300)]
    items: list[Item] = make_items(asked)
    for question in rng.sample(asked, 30):
        found = search(asked, [{"instruction": f"Hi. {question.text} Bye.", "output": ""}])
        assert question.line in {place[1] for match in found[0] for place in items[match.item].places}
        assert {match.rule for match in found[0]} == {"verbatim"}
    assert search(asked, [{"instruction": template.format(77, 5), "output": ""}]) == {}

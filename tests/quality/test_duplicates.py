"""Duplicates: planted ones are found, hard negatives are left, and the rule is greedy whatever the likeness is."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.quality import bands
from distill_data.quality.bands import Bands, links_by_hashing, links_by_sorting, make_links
from distill_data.quality.comparing import key_of, make_compared
from distill_data.quality.duplicates import Find, find_exact, find_fuzzy, find_rouge, find_semantic
from distill_data.quality.rouge import rouge_l
from tests.planted import Planted, plant

WORDS = ["write", "poem", "rain", "snow", "the", "of", "12", "13", "+", "!", "我", "爱", "雨", "🙂", "Straße", "ＡＢＣ"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join) | st.text(max_size=8), max_size=14)
VECTORS = st.lists(st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3), max_size=14)


def jaccard(one: str, other: str, ngram: int) -> float:
    compare = make_compared(ngram)
    (a, number), (b, another) = compare(one), compare(other)
    return len(a & b) / len(a | b) if number == another else 0.0


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = (sum(x * x for x in one) * sum(x * x for x in other)) ** 0.5
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


LIKENESS: dict[str, tuple[Find, Callable[[Any, Any], float], Callable[[float], bool], Any]] = {
    "exact": (find_exact, lambda a, b: float(key_of(a) == key_of(b)), lambda s: s == 1, TEXTS),
    "fuzzy": (find_fuzzy, lambda a, b: jaccard(a, b, 1), lambda s: s >= 0.6, TEXTS),
    "runs": (partial(find_fuzzy, threshold=0.8, ngram=2), lambda a, b: jaccard(a, b, 2), lambda s: s >= 0.8, TEXTS),
    "rouge": (find_rouge, rouge_l, lambda s: s > 0.7, TEXTS),
    "semantic": (find_semantic, cosine, lambda s: round(s, 6) >= 0.9, VECTORS),
}
EXACT = {"exact", "rouge", "semantic"}
"""Where every pair is found; MinHash may overlook one that is just alike."""


@pytest.mark.parametrize("how", LIKENESS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_each_dropped_one_is_like_a_kept_one_and_no_two_kept_ones_are_alike(how: str, data: st.DataObject) -> None:
    find, similarity, alike, strategy = LIKENESS[how]
    before, items = data.draw(strategy)[:3], data.draw(strategy)
    found = find(before, items)
    every = [*before, *items]
    for place, match in found.items():
        assert len(before) <= place
        assert match.of < place and match.of not in found
        assert match.similarity == pytest.approx(similarity(every[match.of], every[place]), abs=2e-6)
        assert alike(match.similarity)
    kept = [place for place in range(len(every)) if place not in found]
    for at, place in enumerate(kept):
        for earlier in kept[:at]:
            if place >= len(before) and (how in EXACT or similarity(every[earlier], every[place]) == 1):
                assert not alike(similarity(every[earlier], every[place]))


@pytest.mark.parametrize("how", LIKENESS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_is_appended_changes_nothing_before_it(how: str, data: st.DataObject) -> None:
    find, _, _, strategy = LIKENESS[how]
    items = data.draw(strategy)
    cut = data.draw(st.integers(0, len(items)))
    whole = find([], items)
    assert find([], items[:cut]) == {place: match for place, match in whole.items() if place < cut}


def measured(planted: Planted, find: Find) -> tuple[float, float]:
    """Recall of the rows that say another one again, and the share of what is dropped that is right."""
    texts = [row["prompt"][0]["content"] for row in planted.rows]
    ids = [row["id"] for row in planted.rows]
    groups = [told.of if (told := planted.truth[row_id]).kind == "paraphrase" else row_id for row_id in ids]
    found = find([], texts)
    surplus = len(texts) - len(set(groups))
    kept = [group for place, group in enumerate(groups) if place not in found]
    right = sum(groups[place] == groups[match.of] for place, match in found.items())
    return 1 - (len(kept) - len(set(kept))) / surplus, right / len(found)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_paraphrases_are_found_by_default_and_twins_are_left(language: str, seed: int) -> None:
    planted = plant(rows=2000, seed=seed, language=language)
    kinds = [told.kind for told in planted.truth.values()]
    assert [kinds.count(kind) for kind in ("paraphrase", "junk", "contaminated", "twin")] == [600, 200, 20, 240]
    recall, precision = measured(planted, find_fuzzy)
    assert recall >= 0.95 and precision >= 0.95


UNLISTED = {
    "en": (
        "I'd appreciate it if you would ", "help me ", "as an expert, ", "your job is to ", "let's ", "task: ",
        "imagine you are a teacher and ", "respond carefully: ", "for my homework, ", "try to ", "go ahead and ",
        "be so good as to ", "take a deep breath and ", "next, ",
    ),
    "zh": ("作为专家，", "现在", "试着", "任务：", "希望你", "拜托", "尽量", "接下来，", "有劳"),
}  # fmt: skip
"""Openers with words that the rule does not leave out: they were written after it."""


@pytest.mark.parametrize("language", UNLISTED)
def test_openers_whose_words_count_cost_little(language: str) -> None:
    assert all(make_compared(1)(f"{opener}zebra").grams - {"zebra"} for opener in UNLISTED[language])
    recall, precision = measured(plant(seed=0, language=language, openers=UNLISTED[language]), find_fuzzy)
    assert recall >= 0.9 and precision >= 0.95


def test_planted_rows_in_any_order() -> None:
    planted = plant(seed=4)
    rows = list(planted.rows)
    random.Random(1).shuffle(rows)
    recall, precision = measured(planted._replace(rows=rows), find_fuzzy)
    assert recall >= 0.95 and precision >= 0.95


@pytest.mark.parametrize("text", ["  WRITE, a poem!", "write a　ｐｏｅｍ", "Write: a—poem…"])
def test_exact_is_blind_to_case_width_space_and_punctuation(text: str) -> None:
    assert find_exact([], ["Write a poem.", "Write two poems.", text]) == {2: (0, 1.0)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 3 + 4?", "What is 3 - 4?"),
        ("Use C.", "Use C++."),
        ("3-4", "3/4"),
        ("🙂", "🙃"),
        ("", "🙂"),
        ("a<b", "a>b"),
        ("３＋４", "３－４"),
        ("a - b", "a / b"),
        ("x >= y", "x > y"),
    ],
)
def test_signs_and_wordless_texts_make_another_text(one: str, other: str) -> None:
    assert find_exact([], [one, other, one]) == {2: (0, 1.0)}


def test_numbers_and_signs_make_another_task_of_the_same_words() -> None:
    task = "How many lemons are left if Priya starts the week with {} and gives away {} before the market"
    texts = [task.format(*pair) for pair in [(12, 7), (12, 8), ("12 + 3", 7), (12, 7)]]
    assert find_fuzzy([], texts) == {3: (0, 1.0)}
    assert set(find_fuzzy([], texts, threshold=0.5, ngram=2)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 7 - 3?", "What is 3 - 7?"),
        ("Round 3.5", "Round 5.3"),
        ("Buy 3 apples and 3 pears", "Buy 3 apples and pears"),
        ("Take 12% of it", "Take 12 of it"),
        ("计算３＋４", "计算３－４"),
        ("Write a quicksort in C", "Write a quicksort in C++"),
        ("Write a quicksort in C#", "Write a quicksort in C++"),
        ("def f(x): return x+y", "def f(x): return x*y"),
        ("Solve x + y", "Solve x - y"),
        ("Is a < b?", "Is a > b?"),
        ("Return x if x >= y", "Return x if x > y"),
        ("Walk 5km to the north", "Walk 6km to the north"),
        ("Explain the 2nd law", "Explain the 5th law"),
    ],
)
def test_the_order_of_numbers_and_signs_without_numbers_make_another_task(one: str, other: str) -> None:
    assert find_fuzzy([], [one, other, one]) == {2: (0, 1.0)}


@pytest.mark.parametrize(
    "text", [">> explain the tea - ceremony", "- Explain **the** tea-ceremony", "# Explain the tea/ceremony ->"]
)
def test_quotes_bullets_and_marks_make_no_other_task(text: str) -> None:
    assert find_fuzzy([], ["Explain the tea ceremony.", text]) == {1: (0, 1.0)}


def test_width_makes_no_other_sum() -> None:
    for find in (find_exact, find_fuzzy):
        assert find([], ["计算3+4-1", "计算３＋４−１"]) == {1: (0, 1.0)}


def test_question_words_count_and_politeness_does_not() -> None:
    assert find_fuzzy([], ["Why do cats purr at night", "How do cats purr at night"], threshold=0.9) == {}
    assert 1 in find_fuzzy([], ["Explain why cats purr", "Can you please explain why cats purr to me?"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Why do cats sleep", "Why do cats not sleep"),
        ("Warum schläft die Katze", "Warum schläft die Katze nicht"),
        ("Pourquoi le chat dort", "Pourquoi le chat ne dort pas"),
        ("¿Por qué duerme el gato?", "¿Por qué no duerme el gato?"),
        ("Perché il gatto dorme", "Perché il gatto non dorme"),
        ("Por que o gato dorme", "Por que o gato não dorme"),
        ("Waarom slaapt de kat", "Waarom slaapt de kat niet"),
        ("猫为什么睡觉", "猫为什么不睡觉"),
    ],
)
def test_a_negation_counts_in_every_language_with_a_list(one: str, other: str) -> None:
    assert find_fuzzy([], [one, other], threshold=0.9) == {}


def test_the_most_similar_kept_text_is_named() -> None:
    texts = ["one two three four five six", "one two three four nine ten", "one two three four nine eleven"]
    assert find_fuzzy([], texts) == {2: (1, 5 / 7)}


def test_pairs_at_the_threshold_are_mostly_found_and_those_above_almost_always() -> None:
    rng = random.Random(3)
    for shared, of, least in [(12, 20, 0.98), (14, 20, 0.999)]:
        texts = []
        for pair in range(1500):
            words = [f"w{pair}x{number}" for number in range(of)]
            changed = of - shared
            texts += [" ".join(words[: of - changed // 2]), " ".join(words[changed - changed // 2 :])]
            rng.shuffle(words)
        assert jaccard(texts[0], texts[1], 1) == (of - changed) / of
        assert len(find_fuzzy([], texts)) >= least * 1500


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9) | st.integers(0, 2**32 - 1), max_size=60))
def test_links_lead_to_the_one_before_with_the_same_key(keys: list[int]) -> None:
    wanted = [max((at for at in range(place) if keys[at] == key), default=-1) for place, key in enumerate(keys)]
    for links in (links_by_hashing, links_by_sorting):
        assert links(array("I", keys)).tolist() == wanted


def test_without_numpy_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [row["prompt"][0]["content"] for row in plant(rows=300, seed=2).rows]
    assert make_links() is links_by_sorting
    by_sorting = find_fuzzy([], texts)
    monkeypatch.setattr(bands, "make_links", lambda: links_by_hashing)
    assert find_fuzzy([], texts) == by_sorting and by_sorting


def test_many_copies_take_no_longer_than_others() -> None:
    """Each copy is compared with the one that is kept, and not with all the copies before it."""
    index = Bands(0.6)
    for _ in range(500):
        index.add(frozenset({"a", "b", "c"}))
    index.link()
    for place in range(1, 500):
        assert index.earlier(place) == {0}
        index.drop(place)


def test_sets_of_another_kind_are_not_compared() -> None:
    """So many sums in the same words take no time that grows with their square."""
    index, kinds = Bands(0.6), [*range(-40, 40), 7]
    for kind in kinds:
        index.add(frozenset({"a", "b", "c"}), kind)
    index.link()
    assert [index.earlier(place) for place in range(len(kinds))] == [set()] * (len(kinds) - 1) + [{47}]


def test_vectors_in_blocks_are_as_vectors_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    centres = [[rng.gauss(0, 1) for _ in range(8)] for _ in range(40)]
    vectors = [[x + rng.gauss(0, 0.1) for x in rng.choice(centres)] for _ in range(300)]
    whole = find_semantic(vectors[:20], vectors[20:])
    monkeypatch.setattr("distill_data.quality.duplicates.BLOCK", 7)
    monkeypatch.setattr("distill_data.quality.duplicates.COLUMNS", 5)
    in_blocks = find_semantic(vectors[:20], vectors[20:])
    assert {place: match.of for place, match in in_blocks.items()} == {p: match.of for p, match in whole.items()}
    assert len(whole) > 200


def test_vectors_without_length_and_huge_ones() -> None:
    vectors = [[0.0, 0.0], [0.0, 0.0], [1e38, 1e38], [1e-38, 1e-38], [3e38, -3e38]]
    assert find_semantic([], vectors) == {3: (2, 1.0)}
    assert find_semantic([], []) == {}


@pytest.mark.parametrize(
    ("find", "chain"),
    [
        (find_fuzzy, ["a1 a2 a3 a4 a5 a6 a7 a8", "a1 a2 a3 a4 a5 a6 a7 b1", "a3 a4 a5 a6 a7 b1 b2"]),
        (find_rouge, ["a1 a2 a3 a4 a5 a6 a7 a8", "a3 a4 a5 a6 a7 a8 b1 b2", "a5 a6 a7 a8 b1 b2 b3 b4"]),
        (find_semantic, [[1.0, 0.0], [0.94, 0.34], [0.77, 0.64]]),
    ],
)
def test_what_is_like_a_dropped_one_only_is_kept(find: Find, chain: list[Any]) -> None:
    assert find([], chain).keys() == find([], chain[:2]).keys() == {1}
    assert find([], chain[1:]).keys() == {1}

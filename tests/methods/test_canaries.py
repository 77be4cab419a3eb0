"""Canaries: always another text than the real one, the same in every run, half of them with an injection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.items import Item
from distill_data.methods.canaries import EMPTY, INJECTIONS, MOST, caught, plant
from distill_data.methods.judging import fence
from distill_data.quality.words import words


def item(number: int = 0, seed: int = 0) -> Item:
    return Item(number, f"{number:016x}", {}, "seeds.jsonl:1", seed)


@given(st.text(), st.integers(0, 40))
def test_a_canary_is_bad_and_no_real_answer(text: str, number: int) -> None:
    planted = plant(item(number), text)
    assert planted.text.strip()
    assert planted.text != text or text == EMPTY
    assert planted.injected == planted.text.endswith(INJECTIONS)
    assert planted == plant(item(number), text)
    assert fence(planted.text)


def test_half_of_them_ask_for_the_best_verdict_and_every_way_is_used() -> None:
    planted = [plant(item(number), "one two three four five six") for number in range(400)]
    assert 160 < sum(each.injected for each in planted) < 240
    used = {each.text.split("\n\n", 1)[1] for each in planted if each.injected}
    assert used == set(INJECTIONS)


def test_the_run_s_random_seed_decides() -> None:
    texts = {plant(item(1, seed), "a quick brown fox jumps over the lazy dog").text for seed in range(20)}
    assert len(texts) > 15


def test_the_words_are_those_of_the_answer_and_fewer() -> None:
    real = "Water boils at a lower temperature on a mountain, because the air presses on it less."
    said = plant(item(), real).text.split("\n\n")[0].split(" ")
    assert set(said) <= set(words(real))
    assert len(said) == len(words(real)) // 2


def test_a_language_without_spaces_is_shuffled_too() -> None:
    real = "水在山上沸腾的温度较低因为那里的空气压力较小"
    said = plant(item(), real).text.split("\n\n")[0]
    assert set(said.replace(" ", "")) <= set(real)
    assert said.replace(" ", "") not in real


def test_long_answers_make_short_canaries() -> None:
    said = plant(item(), "word and another " * 5000).text.split("\n\n")[0]
    assert len(said.split(" ")) == MOST


def test_short_answers_are_spoilt_as_well() -> None:
    assert all(plant(item(n), "7").text.startswith(EMPTY) for n in range(9))
    assert all(plant(item(n), "!?").text.startswith(EMPTY) for n in range(9))
    assert not any(plant(item(n), "Paris").text.startswith("Paris") for n in range(9))


def test_what_is_counted() -> None:
    plain, injected = (
        next(p for n in range(99) if (p := plant(item(n), "x")).injected is flag) for flag in (False, True)
    )
    read = {"canaries_unread": (0, 1)}
    assert caught(plain, noticed=True) == {**read, "canaries_caught": (1, 1)}
    assert caught(injected, noticed=False) == {**read, "canaries_caught": (0, 1), "injections_caught": (0, 1)}
    assert caught(injected, noticed=None) == {"canaries_unread": (1, 1)}

"""Metrics of one row, by values worked out by hand."""

from __future__ import annotations

import pytest

from distill_data.errors import UsageError
from distill_data.quality.metrics import exact_match, final_answer, is_number, likeliest, numeric_match, rouge_l


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Paris", "Paris"),
        ("<reasoning>France.</reasoning><answer> Paris </answer>", "Paris"),
        ("I think it is the capital.\nAnswer: **Paris**.", "paris"),
        ("Final answer: 7", "7"),
        ("<answer>a</answer> or <answer>b</answer>", "<answer>a</answer> or <answer>b</answer>"),
        ("", ""),
        ("It is in France.\n</think>\n\nParis", "Paris"),
        ("17 + 25, so <answer>4</answer>?</think>\n<answer>42</answer>", "42"),
    ],
)
def test_a_final_answer_is_read_out_of_tags_and_the_last_line(reply: str, answer: str) -> None:
    assert final_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "reference", "worth"),
    [
        ("paris.", "Paris", 1.0),
        ("  The   Sky ", "the sky", 1.0),
        ("Paris, France", "Paris", 0.0),
        ("not positive", "positive", 0.0),
        ("<answer>yes</answer>", "yes", 1.0),
        ("Ｐａｒｉｓ", "paris", 1.0),
        ("", "x", 0.0),
    ],
)
def test_exact_match_compares_normal_forms(reply: str, reference: str, worth: float) -> None:
    assert exact_match(reply, reference) == worth


def test_exact_match_among_options_reads_as_the_parser_of_choices_does() -> None:
    options = ("a cat", "a dog")
    assert exact_match("It barks.\nAnswer: a dog", "a dog", options) == 1.0
    assert exact_match('{"animal": "A dog"}', "a dog", options) == 1.0
    assert exact_match("a cat", "a dog", options) == 0.0
    assert exact_match("a dog, and no cat", "a dog", options) == 0.0
    with pytest.raises(UsageError, match="cannot be told apart"):
        exact_match("a", "a", ("a", "A"))


@pytest.mark.parametrize(
    ("reply", "reference", "worth"),
    [
        ("17 + 25 = 42", "42", 1.0),
        ("It is 1,234.0", "so\n#### 1234", 1.0),
        ("<answer>7</answer> after 3 steps", "7", 1.0),
        ("a half, 0.5", "1/2", 1.0),
        ("41", "42", 0.0),
        ("none", "42", 0.0),
    ],
)
def test_numeric_match_compares_last_numbers(reply: str, reference: str, worth: float) -> None:
    assert numeric_match(reply, reference) == worth


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((text, True) for text in ("42", "-1,234.5", "50%", "2/3", "½", "$5", "+7.", "6e23", "12 + 5 = 17\n#### 17")),
        *(
            (text, False)
            for text in ("x 7", "7 apples", "", "room 7", "3 4", "2024-01-31", "12:30", "3-7", "[1,2]", "1,2")
        ),
    ],
)
def test_a_number_is_told_from_words(text: str, number: bool) -> None:
    assert is_number(text) is number


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence() -> None:
    # "the cat the mat" is common: 4 of 6 and of 4 words, P = 4/6, R = 1, F = 2 · 4 / 10
    assert rouge_l("the cat sat on the mat", "the cat the mat") == pytest.approx(0.8)
    # "police the gunman" of Lin's example: 3 of 4 words on both sides
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("a", "b") == 0.0


def test_the_likeliest_option_is_told_raw_and_by_bytes() -> None:
    # -4 / 2 bytes = -2, -6 / 4 bytes = -1.5
    assert likeliest([-4.0, -6.0], ["no", "yess"]) == (0, 1)
    # bytes and not characters: 茶 has 3 of them, so -3 / 3 is more than -2.5 / 2
    assert likeliest([-3.0, -2.5], ["茶", "ab"]) == (1, 0)
    assert likeliest([-1.0, -1.0], ["a", "b"]) == (0, 0)

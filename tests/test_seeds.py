"""The shipped seed sets: what seeds/README.md says about them is true, and the gold that code can check is right.

The arithmetic answers are computed a second time here, from the words of each question and not from its generator.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

SEEDS = Path(__file__).resolve().parent.parent / "seeds"
COLUMNS = {
    "sentiment": ["text", "label", "language"],
    "questions": ["question", "answer", "language"],
    "arithmetic": ["question", "answer", "steps"],
    "instructions": ["instruction", "category"],
    "extraction": ["text", "json"],
}
HAN = re.compile(r"[\u4e00-\u9fff]")


def lines_of(name: str) -> list[str]:
    content = (SEEDS / f"{name}.jsonl").read_bytes()
    assert content.endswith(b"\n")
    return [line.decode("utf-8") for line in content[:-1].split(b"\n")]


def rows_of(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in lines_of(name)]


def language_of(text: str) -> str:
    return "zh" if HAN.search(text) else "en"


def test_the_directory_holds_exactly_the_documented_sets() -> None:
    assert {path.stem for path in SEEDS.glob("*.jsonl")} == set(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_line_is_one_canonical_object_of_nonempty_strings(name: str) -> None:
    for number, line in enumerate(lines_of(name), start=1):
        row = json.loads(line)
        assert json.dumps(row, ensure_ascii=False) == line, number
        assert list(row) == COLUMNS[name], number
        for value in row.values():
            assert isinstance(value, str), number
            assert value and value == value.strip(), number
            assert not re.search(r"[ \t]\n|[^\S \n]", value), (number, "a trailing or an unusual space")


@pytest.mark.parametrize("name", COLUMNS)
def test_no_two_rows_ask_the_same(name: str) -> None:
    first_column = COLUMNS[name][0]
    seen = Counter(re.sub(r"\W+", " ", row[first_column]).casefold().strip() for row in rows_of(name))
    assert [text for text, times in seen.items() if times > 1] == []


def test_readme_table_matches_the_files() -> None:
    readme = (SEEDS / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)\.jsonl` \| (\d+) \| ([^|]+) \|", readme, re.MULTILINE)
    documented = {name: (int(rows), re.findall(r"`(\w+)`", columns)) for name, rows, columns in table}
    assert documented == {name: (len(lines_of(name)), columns) for name, columns in COLUMNS.items()}


# sentiment


def test_sentiment_is_balanced_by_label_and_language() -> None:
    rows = rows_of("sentiment")
    assert Counter((row["language"], row["label"]) for row in rows) == {
        ("en", "positive"): 30,
        ("en", "negative"): 30,
        ("zh", "positive"): 12,
        ("zh", "negative"): 12,
    }
    assert all(language_of(row["text"]) == row["language"] for row in rows)


def test_every_fourteen_sentiment_rows_are_the_same_mixture() -> None:
    rows = rows_of("sentiment")
    for start in range(0, len(rows), 14):
        mixture = Counter((row["language"], row["label"]) for row in rows[start : start + 14])
        assert sorted(mixture.values()) == [2, 2, 5, 5], start
    labels = "".join(row["label"][0] for row in rows)
    assert max(len(run.group()) for run in re.finditer(r"p+|n+", labels)) <= 6


def test_sentiment_texts_are_sentences_of_a_review() -> None:
    for row in rows_of("sentiment"):
        if row["language"] == "en":
            assert 8 <= len(row["text"].split()) <= 30, row
            assert row["text"].endswith("."), row
        else:
            assert 15 <= len(row["text"]) <= 60, row
            assert row["text"].endswith("。"), row


# questions and instructions


def test_questions_have_short_answers_in_two_languages() -> None:
    rows = rows_of("questions")
    assert Counter(row["language"] for row in rows) == {"en": 48, "zh": 12}
    for row in rows:
        assert language_of(row["question"]) == row["language"], row
        assert row["question"].endswith("?" if row["language"] == "en" else "？"), row
        assert len(row["answer"].split()) <= 3, row
        assert not re.search(rf"\b{re.escape(row['answer'])}\b", row["question"], re.IGNORECASE), row


def test_instructions_cover_the_documented_categories() -> None:
    rows = rows_of("instructions")
    readme = (SEEDS / "README.md").read_text(encoding="utf-8")
    sentence = re.search(r"\*\*instructions\*\*: ([^;]+); (\d+) in English and (\d+) in Chinese", readme)
    assert sentence is not None
    categories = Counter(row["category"] for row in rows)
    assert set(re.split(r",\s+|\s+and\s+", sentence[1])) == set(categories)
    assert min(categories.values()) >= 4
    languages = Counter(language_of(row["instruction"]) for row in rows)
    assert languages == {"en": int(sentence[2]), "zh": int(sentence[3])}


# arithmetic

# A phrase that only one kind of problem has, how many steps it takes, and its answer from the numbers in the question.
SOLUTIONS: dict[str, tuple[int, Callable[[list[int]], float]]] = {
    " buys ": (1, lambda n: n[0] * n[1]),
    "shares": (1, lambda n: n[0] / n[1]),
    "has read": (1, lambda n: n[1] - n[0]),
    "left over": (1, lambda n: n[0] % n[1]),
    "get off": (2, lambda n: n[0] - n[1] + n[2]),
    "of change": (2, lambda n: n[2] - n[0] * n[1]),
    "A train": (2, lambda n: n[0] * n[1] + n[2]),
    "saves": (2, lambda n: (n[0] - n[1]) / n[2]),
    "years older": (2, lambda n: n[0] + n[1] * n[2]),
    "percent": (2, lambda n: n[0] * (100 - n[1]) / 100),
    "A pump": (2, lambda n: n[0] / (n[1] - n[2])),
    "apples": (2, lambda n: (n[0] + n[1]) / n[2]),
    "every morning": (2, lambda n: n[2] * n[0] + n[2] * n[1]),
    "flour": (2, lambda n: n[1] * n[2] / n[0]),
    "has collected": (2, lambda n: n[0] * (1 + n[1])),
    "A fence": (3, lambda n: n[2] * (n[0] + n[1] + n[0] + n[1])),
    "A bakery": (3, lambda n: n[0] * n[1] - (n[2] + n[3])),
    "three tests": (3, lambda n: sum(n) / 3),
    "an hour, works": (3, lambda n: n[0] * n[1] + n[0] * n[2] - n[3]),
    "A museum ticket": (3, lambda n: n[2] * n[0] + n[3] * n[1]),
}


def generate(*options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, str(SEEDS / "arithmetic.py"), *options], capture_output=True, check=False)


def check_problem(row: dict[str, str]) -> str:
    """Solve a problem from its words alone; return the phrase that tells its kind."""
    kinds = [phrase for phrase in SOLUTIONS if phrase in row["question"]]
    assert len(kinds) == 1, row
    steps, solve = SOLUTIONS[kinds[0]]
    numbers = [int(digits) for digits in re.findall(r"\d+", row["question"])]
    assert min(numbers) >= 2, row  # so that every plural is right
    assert solve(numbers) == int(row["answer"]) > 0, row
    assert (row["answer"], row["steps"]) == (str(int(row["answer"])), str(steps)), row
    return kinds[0]


def test_arithmetic_is_what_the_documented_command_prints() -> None:
    readme = (SEEDS / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^python seeds/arithmetic\.py (.+) > seeds/arithmetic\.jsonl$", readme, re.MULTILINE)
    assert command is not None
    printed = generate(*command[1].split())
    assert (printed.returncode, printed.stderr) == (0, b"")
    assert printed.stdout == (SEEDS / "arithmetic.jsonl").read_bytes()


def test_arithmetic_answers_are_right_and_every_kind_occurs_equally() -> None:
    kinds = Counter(check_problem(row) for row in rows_of("arithmetic"))
    assert kinds == dict.fromkeys(SOLUTIONS, 240 // len(SOLUTIONS))


@pytest.mark.parametrize("seed", ["0", "8", "2024"])
def test_another_seed_gives_another_right_set(seed: str) -> None:
    lines = generate("--seed", seed, "--rows", "1000").stdout.decode("ascii").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert {check_problem(row) for row in rows} == set(SOLUTIONS)
    assert len({row["question"] for row in rows}) == 1000
    assert len(set(lines) & set(lines_of("arithmetic"))) < 50


def test_fewer_rows_are_a_prefix() -> None:
    assert generate("--seed", "7", "--rows", "33").stdout.decode().split("\n")[:-1] == lines_of("arithmetic")[:33]


@pytest.mark.parametrize(("rows", "message"), [("0", b"must be at least 1"), ("100000", b"ask for fewer rows")])
def test_an_impossible_number_of_rows_is_refused_before_anything_is_written(rows: str, message: bytes) -> None:
    refused = generate("--rows", rows)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert message in refused.stderr


# extraction

SPELLED_OUT = {12: "twelve", 36: "thirty-six", 40: "forty", 200: "Two hundred"}


def test_extraction_gold_stands_in_its_text() -> None:
    languages = Counter(language_of(row["text"]) for row in rows_of("extraction"))
    assert languages == {"en": 38, "zh": 6}
    for row in rows_of("extraction"):
        gold = json.loads(row["json"])
        assert json.dumps(gold, ensure_ascii=False) == row["json"]
        assert list(gold) == ["buyer", "item", "quantity", "city"]
        for column in ("buyer", "item", "city"):
            assert gold[column] in row["text"], (column, row)
        assert type(gold["quantity"]) is int and gold["quantity"] > 0
        written = rf"(?<!\d){gold['quantity']}(?!\d)|\b{SPELLED_OUT.get(gold['quantity'], '(?!)')}\b"
        assert len(re.findall(written, row["text"])) == 1, row


def test_many_extraction_texts_have_numbers_that_mislead() -> None:
    distracting = 0
    for row in rows_of("extraction"):
        quantity = str(json.loads(row["json"])["quantity"])
        distracting += bool(set(re.findall(r"\d+", row["text"])) - {quantity})
    assert distracting >= 20

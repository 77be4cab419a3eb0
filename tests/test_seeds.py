"""The shipped seed sets: what seeds/README.md says about them is true, and the gold that code can check is right.

The arithmetic answers are computed a second time here, from the words of each question and not from its generator.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from distill_data.data.documents import read_document
from distill_data.quality.similarity import word_f1
from distill_data.quality.words import words

SEEDS = Path(__file__).resolve().parent.parent / "seeds"
COLUMNS = {
    "sentiment": ["text", "label", "language"],
    "questions": ["question", "answer", "language"],
    "arithmetic": ["question", "answer", "steps"],
    "instructions": ["instruction", "category"],
    "extraction": ["text", "json"],
    "tools": ["name", "description", "parameters", "returns"],
    "tool_tasks": ["task", "tools", "answer", "plan"],
    "ranking": ["query", "documents", "best"],
    "tasks": ["instruction", "input", "output", "classification", "category"],
    "topics": ["field", "subject", "topic"],
    "personas": ["persona", "field"],
    "documents": ["title", "text", "domain"],
    "code": ["code", "language", "about"],
    "roles": ["user_role", "assistant_role", "task"],
    "audiences": ["audience", "style"],
    "skills": ["skill", "about"],
    "histories": ["history", "next", "candidates"],
    "unlabeled": ["text"],
    "images": ["image", "caption"],
}
TELLING = {"topics": "topic"}
"""The column that tells the rows of a set apart, where it is not the first."""
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
        for column, value in row.items():
            assert isinstance(value, str), number
            assert (value or (name, column) == ("tasks", "input")) and value == value.strip(), number
            spaced = value.replace("\t", " ") if column == "code" else value
            assert not re.search(r" \n|[^\S \n]", spaced), (number, "a trailing or an unusual space")


@pytest.mark.parametrize("name", COLUMNS)
def test_no_two_rows_ask_the_same(name: str) -> None:
    column = TELLING.get(name, COLUMNS[name][0])
    seen = Counter(re.sub(r"\W+", " ", row[column]).casefold().strip() for row in rows_of(name))
    assert [text for text, times in seen.items() if times > 1] == []


def test_everything_but_the_pictures_is_utf8_without_a_mark_and_with_unix_line_ends() -> None:
    files = [path for path in SEEDS.rglob("*") if path.suffix in {".jsonl", ".txt", ".md", ".html", ".py"}]
    assert len(files) > len(COLUMNS) + 20
    for path in files:
        content = path.read_bytes()
        content.decode("utf-8")
        assert not content.startswith(b"\xef\xbb\xbf") and b"\r" not in content and content.endswith(b"\n"), path


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


# tasks


def test_tasks_are_the_documented_mixture() -> None:
    rows = rows_of("tasks")
    assert Counter(row["classification"] for row in rows) == {"yes": 35, "no": 140}
    assert Counter(language_of(row["instruction"]) for row in rows) == {"en": 159, "zh": 16}
    for start in range(0, len(rows), 25):
        assert sum(row["classification"] == "yes" for row in rows[start : start + 25]) == 5, start
    categories = Counter(row["category"] for row in rows)
    assert len(categories) == 12 and min(categories.values()) >= 8


def test_tasks_are_whole_and_pass_the_rules_for_grown_tasks() -> None:
    for row in rows_of("tasks"):
        assert 4 <= len(words(row["instruction"])) <= 60, row
        assert row["instruction"].endswith((".", "?", "。", "？")), row
        assert row["output"] != row["input"] and not row["output"].endswith(":"), row
        assert (row["classification"] == "yes") == (row["category"] == "classification"), row
        if row["classification"] == "yes":
            assert row["input"] and re.search(rf"(?<![a-z]){row['output']}(?![a-z])", row["instruction"]), row


def test_a_task_is_told_to_have_an_input_exactly_where_it_has_one() -> None:
    speaks_of_an_input = re.compile(r"\b(the|this) (input|passage|note|memo|message|headline)\b|下面的|下面这")
    for row in rows_of("tasks"):
        if speaks_of_an_input.search(row["instruction"]):
            assert row["input"], row


def test_no_two_instructions_are_nearly_the_same() -> None:
    instructions = [row["instruction"] for name in ("tasks", "instructions") for row in rows_of(name)]
    assert [pair for pair in combinations(instructions, 2) if word_f1(*pair) > 0.5] == []


def test_python_that_the_tasks_give_as_an_answer_compiles() -> None:
    answers = [row["output"] for row in rows_of("tasks") if row["output"].startswith(("def ", "assert "))]
    assert len(answers) >= 4
    for answer in answers:
        compile(answer, "answer", "exec")


# topics, personas, roles, phrases, histories, paragraphs


def test_topics_are_twelve_fields_of_five_subjects_in_turn() -> None:
    rows = rows_of("topics")
    fields = [row["field"] for row in rows[:12]]
    assert len(set(fields)) == 12
    assert [row["field"] for row in rows] == fields * 5
    assert len({row["subject"] for row in rows}) == 60


def test_personas_are_spread_over_the_fields_of_the_topics() -> None:
    rows = rows_of("personas")
    assert {row["field"] for row in rows[:12]} == {row["field"] for row in rows_of("topics")}
    assert set(Counter(row["field"] for row in rows).values()) == {8, 9}
    ages = [int(age) for row in rows for age in re.findall(r"\b\d\d\b", row["persona"])]
    assert (min(ages), max(ages)) == (12, 78)
    assert all(10 <= len(words(row["persona"])) <= 45 and row["persona"].endswith(".") for row in rows)


def test_every_role_occurs_once() -> None:
    rows = rows_of("roles")
    assert Counter(language_of(row["task"]) for row in rows) == {"en": 28, "zh": 2}
    for column in ("user_role", "assistant_role"):
        assert len({row[column] for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ["audiences", "skills"])
def test_phrases_fit_into_a_sentence(name: str) -> None:
    for row in rows_of(name):
        for value in row.values():
            assert (value[0].islower() or value.startswith("English")) and value[-1].isalpha(), value


def test_histories_lead_to_one_of_their_candidates() -> None:
    rows = rows_of("histories")
    assert Counter(language_of(row["next"]) for row in rows) == {"en": 22, "zh": 2}
    places = Counter()
    for row in rows:
        history, candidates = json.loads(row["history"]), json.loads(row["candidates"])
        assert json.dumps(history, ensure_ascii=False) == row["history"]
        assert json.dumps(candidates, ensure_ascii=False) == row["candidates"]
        titles = [*history, *candidates]
        assert 4 <= len(history) <= 6 and len(candidates) == 5
        assert len(set(titles)) == len(titles)
        assert all(re.fullmatch(r"[^()]+ \([^()]+\)", title) for title in titles), row
        places[candidates.index(row["next"])] += 1
    assert set(places) == set(range(5)) and max(places.values()) <= 5


def test_unlabeled_texts_are_paragraphs() -> None:
    rows = rows_of("unlabeled")
    assert Counter(language_of(row["text"]) for row in rows) == {"en": 28, "zh": 2}
    for row in rows:
        assert 100 <= len(words(row["text"])) <= 140, row
        assert "\n" not in row["text"] and row["text"].endswith((".", "。")), row


# documents and code


def test_documents_are_the_files_without_their_markup() -> None:
    texts = {tuple(words(f"{row['title']} {row['text']}")): row["title"] for row in rows_of("documents")}
    read = {path: tuple(words(read_document(path).text)) for path in (SEEDS / "documents").iterdir()}
    assert Counter(path.suffix for path in read) == {".txt": 8, ".md": 8, ".html": 4}
    assert {path.name for path, text in read.items() if text not in texts} == set()
    assert set(read.values()) == set(texts)
    for path, text in read.items():
        heading = re.search(r"<h1>(.+)</h1>|\A(?:# )?([^<\n]+)\n\n", path.read_text(encoding="utf-8"))
        assert heading and texts[text] in heading.groups(), path


def test_documents_are_short_and_in_two_languages() -> None:
    rows = rows_of("documents")
    assert Counter(language_of(row["text"]) for row in rows) == {"en": 18, "zh": 2}
    assert len({row["domain"] for row in rows}) >= 15
    for row in rows:
        assert 150 <= len(words(row["text"])) <= (350 if language_of(row["text"]) == "en" else 450), row["title"]
        assert not re.search(r"[<>*`]|^#|&[a-z]+;", row["text"], re.MULTILINE), row["title"]


def test_pages_hold_what_an_extractor_must_leave_out() -> None:
    for path in (SEEDS / "documents").glob("*.html"):
        page = path.read_text(encoding="utf-8")
        for tag in ("<head>", "<nav>", "<style>", "<script>", "<article>", "<footer>", "<!-- "):
            assert tag in page, (path, tag)
        text = read_document(path).text
        for outside in ("Imprint", "tracking", "newsletter", "max-width", "spring issue"):
            assert outside in page and outside not in text, (path, outside)
    assert sum("&amp;" in path.read_text(encoding="utf-8") for path in (SEEDS / "documents").glob("*.html")) == 3


def test_code_is_short_and_in_the_documented_languages() -> None:
    rows = rows_of("code")
    languages = Counter(row["language"] for row in rows)
    assert languages == {"Python": 12, "JavaScript": 3, "SQL": 2, "Go": 2, "Shell": 1}
    lengths = [row["code"].count("\n") + 1 for row in rows]
    assert (min(lengths), max(lengths)) == (8, 24)
    for row in rows:
        if row["language"] == "Python":
            compile(row["code"], row["about"], "exec")


# images


def test_pictures_are_what_the_documented_command_draws(tmp_path: Path) -> None:
    readme = (SEEDS / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^python seeds/images\.py seeds/images$", readme, re.MULTILINE)
    command = [sys.executable, str(SEEDS / "images.py"), str(tmp_path / "new" / "folder")]
    drawn = subprocess.run(command, capture_output=True, check=False)
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, b"", b"")
    shipped = {path.name: path.read_bytes() for path in (SEEDS / "images").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()} == shipped
    assert {row["image"] for row in rows_of("images")} == {f"images/{name}" for name in shipped}
    assert len(set(shipped.values())) == 5


def colours_of(content: bytes) -> list[bytes]:
    """The pixels of a PNG file with a palette and two bits for each pixel, read without the script that wrote it."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    place = 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 96, 96, 2, 3, 0, 0, 0)
    palette = [chunks[b"PLTE"][start : start + 3] for start in range(0, len(chunks[b"PLTE"]), 3)]
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == 96 * 25 and set(rows[::25]) == {0}
    packed = (byte for index, byte in enumerate(rows) if index % 25)
    return [palette[byte >> shift & 3] for byte in packed for shift in (6, 4, 2, 0)]


def test_pictures_show_what_their_captions_say() -> None:
    names = {
        "red": (210, 30, 40),
        "green": (30, 140, 60),
        "blue": (30, 70, 200),
        "yellow": (250, 205, 30),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "grey": (210, 210, 210),
    }
    for row in rows_of("images"):
        shown = set(colours_of((SEEDS / row["image"]).read_bytes()))
        assert {name for name in names if re.search(rf"\b{name}\b", row["caption"])} == {
            name for name, colour in names.items() if bytes(colour) in shown
        }


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

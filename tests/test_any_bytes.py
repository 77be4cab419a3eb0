"""Whatever bytes a reader is given, it gives a value or an error that it promises, in time linear in their number.

What has such a test beside its own (parsers, replies, headers, front matter, template bodies, seeds in JSONL and CSV)
is not asked again here, but for the time.
"""

from __future__ import annotations

import gzip
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.commands import Options, Summary, label, status
from distill_data.data.exchange import Lost, Reply
from distill_data.data.markup import read_html, read_markdown
from distill_data.data.rows import open_rows
from distill_data.data.seeds import open_seeds, read_rows
from distill_data.engine import retry, segments
from distill_data.engine.journal import Journal
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DamageError, DistillError, RecipeError, SeedError, UsageError
from distill_data.parsing.fences import fenced_blocks
from distill_data.recipes import frontmatter
from distill_data.recipes.load import read_recipe
from distill_data.recipes.template import compile_body
from distill_data.teachers import BadReply, read_answer
from distill_data.teachers.profiles import load_profiles

on_disk = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pieces_of(*known: str | bytes) -> st.SearchStrategy[bytes]:
    """Bytes made of pieces that mean something to the reader, and of others."""
    meaning = st.sampled_from([piece.encode() if isinstance(piece, str) else piece for piece in known])
    return st.lists(meaning | st.binary(max_size=4), max_size=12).map(b"".join)


KEY = "0a" * 32
LINE = segments.frame(segments.OK, KEY, "00000000000000aa", (1, 2, 0), b'{"x":1}')
SEGMENTS = pieces_of(LINE, LINE[:-1], LINE[:90], LINE[90:], b"\0" * 512, b"\n", b'{"k":"', b',"c":"00000000"}\n')
NOTES = pieces_of(segments.sent_line(KEY, 5, 7), segments.unpaid_line(KEY), b"S ", b"E ", b"9" * 30, b"\n")


@on_disk
@given(SEGMENTS, NOTES)
def test_any_journal_is_read_or_damaged(tmp_path: Path, lines: bytes, notes: bytes) -> None:
    (tmp_path / "000001.jsonl").write_bytes(lines)
    (tmp_path / "000001.sent").write_bytes(notes)
    try:
        journal = Journal(tmp_path)
    except DamageError:
        return
    found = journal.find(KEY)
    assert (found is not None) == (len(journal) == 1)
    assert found is None or found.body == b'{"x":1}'
    assert journal.totals.doubt.requests >= 0
    journal.close()


@on_disk
@given(pieces_of('"format": 1', "{", "}", '"digest": "00"', ", ", '"a": [', "]", "1e999"))
def test_any_run_json_is_read_or_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    try:
        facts = RunDirectory(tmp_path).load()
    except DamageError:
        return
    assert facts["format"] == 1


TABLE = ("[models.a]\n", "model = ", '"openai/x"\n', "price = {", "input = 1, output = 2}\n", "9" * 5000, "[" * 2000)


@on_disk
@given(pieces_of(*TABLE, "rpm = -1\n", "a.b = 1\n", "1979-13-45", "headers = { X = 'Y' }\n", '"""', "inf\n", "\n", "="))
def test_any_configuration_is_profiles_or_a_usage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "distill.toml").write_bytes(content)
    try:
        profiles = load_profiles(tmp_path / "distill.toml")
    except UsageError:
        return
    assert all("/" in profile.model for profile in profiles.values())


FRONT = ("---\n", "about: it\n", "columns: {text: required}\n", "parser: text\n", "record: {kind: sft, completion: ")
REST = ("{content: text}}\n", "checks:\n", "  - ", "words: ", "{{ text }}", "{% message 'user' %}", "{% endmessage %}")


@on_disk
@given(pieces_of(*FRONT, *REST, "samples: " + "9" * 5000, "settings: {a: ", "[" * 900, "demonstrations: {k: 1}\n"))
def test_any_recipe_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any.jinja").write_bytes(content)
    try:
        assert read_recipe(tmp_path / "any.jinja", "label").name == "any"
    except RecipeError as error:
        assert str(tmp_path) in str(error)


ROWS = pieces_of(
    '{"a": 1}\n', "{", "}", '"a"', ":", "[", "null", "\n", "\r\n", "\ufeff", "9" * 400, "\\ud800", "[" * 2000
)


@on_disk
@given(ROWS, st.sampled_from(["r.jsonl", "r.csv", "r.txt"]))
def test_any_rows_are_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    try:
        assert all(type(line.row) is dict for line in open_rows(tmp_path / name).read())
    except SeedError as error:
        assert name in str(error)


@on_disk
@given(
    ROWS,
    st.integers(0, 200),
    st.binary(max_size=20),
    st.sampled_from([(".gz", gzip.compress), (".zst", zstd.compress)]),
)
def test_any_packed_seeds_are_read_or_refused(
    tmp_path: Path, content: bytes, cut: int, noise: bytes, packing: tuple[str, Callable[[bytes], bytes]]
) -> None:
    ending, pack = packing
    path = tmp_path / f"s.jsonl{ending}"
    path.write_bytes(pack(content)[:cut] + noise)
    try:
        assert all(type(row) is dict for _, row in read_rows(open_seeds(path)))
    except SeedError as error:
        assert "s.jsonl" in str(error)


TAGS = (
    "<a",
    "<p>",
    "</p>",
    "<!--",
    "-->",
    "<script>",
    "</",
    "<![CDATA[",
    "<title>",
    "&",
    "#",
    "```\n",
    "---\n",
    "\n",
    " ",
)


@settings(deadline=None)
@given(pieces_of(*TAGS))
def test_any_document_has_a_title_and_a_text(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    for title, body in (read_html(text), read_markdown(text)):
        assert "\n" not in title.strip() and isinstance(body, str)


# Files of ours that somebody edited

OTHERS: list[Any] = [None, True, -1, "", [], [1], {}, {"x": 1}, {"x": {}}]


def edits(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a document."""
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from edits(value[key], (*at, key))


def edited(document: Any, at: tuple[Any, ...], other: Any) -> Any:
    """The document with another value at one place; without it, where that is `...`."""
    if not at:
        return None if other is ... else other
    changed = orjson.loads(orjson.dumps(document))
    inner = changed
    for step in at[:-1]:
        inner = inner[step]
    if other is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = other
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.manifest.json", "out.run/run.json"])
def test_an_edited_file_of_a_run_is_read_or_refused(tmp_path: Path, name: str) -> None:
    """Every part of it, one after the other, taken out and with another value in its place."""
    seeds, root = tmp_path / "s.jsonl", tmp_path / "o"
    seeds.write_text('{"instruction": "say a"}\n')
    root.mkdir()

    def run(seed: int) -> Summary:
        options = Options(teachers=("echo",), seed=seed)
        return label(str(seeds), recipe="answer", output=str(root / "out.jsonl"), options=options)

    run(0)
    document = json.loads((root / name).read_bytes())
    shutil.copytree(root, tmp_path / "whole")
    for number, at in enumerate(edits(document)):
        for other in (..., OTHERS[number % len(OTHERS)]):
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "whole", root)
            (root / name).write_bytes(orjson.dumps(edited(document, at, other)))
            for command in (partial(status, str(root / "out.jsonl")), partial(run, number % 2)):
                with suppress(DistillError):
                    command()


# Time

SIZE, SMALL = 100_000, 20_000
"""Bytes; the small one for YAML and templates, whose readers take a microsecond for each and more."""
SECONDS = 2
ADVERSARIAL = (
    *("a", "9", "0.", "1e", "-", " ", "\n", "\\", "\0", "é", '"', "'", "`", "(a+)+", "aaaaaaaaab", "a,", ",", '","'),
    *("[", "[]", "{", '{"a":', "{{", "{{ a }}", "{% if a %}", "{#", "<", "<a", "<a>", "</", "<!--", "<?", "<a href='"),
    *("<think>", "</think>", "```\n", "``` `\n", "# ", "- ", "- - ", "a: ", "a: b\n", "? ", "[a](", "**", "| a |\n"),
    *("S 0000000000000000 1 1\n", 'x,"c":"00000000"}.{"k":"', "1d", "Mon, 01 Jan 2024 00:00:00 GMT", "&", "\u0301"),
)


def completion(text: str) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


def headers(text: str) -> Mapping[str, str]:
    names = ("retry-after", "retry-after-ms", "date", *(name for pair in retry.LIMITS for name in pair))
    return dict.fromkeys(names, text)


READERS: Mapping[str, Callable[[str], object]] = {
    "reply": lambda text: read_answer(text.encode()),
    "completion": lambda text: read_answer(completion(text)),
    "thinking": lambda text: read_answer(completion("<think>" + text)),
    "refusal": lambda text: retry.judge(Reply(429, headers(text), text.encode())),
    "error": lambda text: retry.judge(Reply(400, {}, orjson.dumps({"error": {"message": text, "code": text}}))),
    "lost": lambda text: retry.judge_lost(Lost(text, sent=True), False),
    "line": lambda text: segments.glued(text.encode()) or segments.holed(text.encode(), 0),
    "frame": lambda text: segments.frame(b"ok", KEY, "0" * 16, (1, 1, 0), text.encode()),
    "fences": fenced_blocks,
    "html": read_html,
    "script": lambda text: read_html("<script>" + text),
    "markdown": read_markdown,
    "front matter": lambda text: frontmatter.read(text, "x"),
    "quoted": lambda text: frontmatter.read('a: "' + text, "x"),
    "template": lambda text: compile_body(text, Path("x"), 1),
    "expression": lambda text: compile_body("{{ " + text + " }}", Path("x"), 1),
}


def filed(name: str, read: Callable[[Path], object]) -> Callable[[Path, str], object]:
    def write_and_read(folder: Path, text: str) -> object:
        (folder / name).write_bytes(text.encode())
        return read(folder / name)

    return write_and_read


FILES: Mapping[str, Callable[[Path, str], object]] = {
    "jsonl": filed("s.jsonl", lambda path: list(read_rows(open_seeds(path)))),
    "csv": filed("s.csv", lambda path: list(read_rows(open_seeds(path)))),
    "rows": filed("r.jsonl", lambda path: list(open_rows(path).read())),
    "recipe": filed("r.jinja", lambda path: read_recipe(path, "label")),
    "journal": filed("000001.jsonl", lambda path: Journal(path.parent).close()),
    "notes": filed("000002.sent", lambda path: segments.follow_sent({}, path, [])),
}


class TooLong(BaseException):
    """Nothing that a reader could catch."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong once this process has worked so long."""

    def stop(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*READERS, *FILES])
def test_no_repeated_piece_keeps_a_reader_busy(name: str, tmp_path: Path) -> None:
    for piece in ADVERSARIAL:
        text = (piece * SIZE)[: SMALL if name in ("front matter", "quoted", "template", "expression") else SIZE]
        with at_most(SECONDS):
            try:
                READERS[name](text) if name in READERS else FILES[name](tmp_path, text)
            except (DistillError, BadReply):
                continue
            except TooLong:
                pytest.fail(f"{name} takes more than {SECONDS} s for {len(text)} bytes of {piece!r}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["<!-- >" * 20_000, "<script>" + "</" * 50_000 + ">", "a" + ",a" * 50_000 + "\n"],
    ids=["comments", "script", "columns"],
)
def test_what_took_quadratic_time_once(text: str, tmp_path: Path) -> None:
    with at_most(SECONDS):
        read_html(text)
        with pytest.raises(SeedError):
            FILES["csv"](tmp_path, text)

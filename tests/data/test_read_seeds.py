"""Reading seed files: what is accepted, what is refused, and that the refusal names the place."""

from __future__ import annotations

import gzip
import io
import os
import random
from pathlib import Path
from typing import Any

import jsonlines
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.data import packed
from distill_data.data.items import canonical
from distill_data.data.seeds import SeedFile, make_items, open_seeds, read_rows, save_stdin
from distill_data.data.tables import LINE_LIMIT
from distill_data.errors import DiskError, SeedError

on_disk = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\u2028\u2029\x85\0\r\n\x1e\ufeff\U0001f600"\\:')
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
rows = st.lists(st.dictionaries(texts, values, max_size=5), min_size=1, max_size=6)


def read(tmp_path: Path, name: str, content: bytes, **rename: str) -> list[tuple[str, dict[str, Any]]]:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return list(read_rows(open_seeds(path), rename))


def refusal(tmp_path: Path, name: str, content: bytes, **rename: str) -> str:
    with pytest.raises(SeedError) as refused:
        read(tmp_path, name, content, **rename)
    assert refused.value.exit_code == 2
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.jsonl", b'{"text":"a"}\n\n{"text":"b"}'),
        ("s.jsonl", b'\xef\xbb\xbf{"text":"a"}\r\n \r\n{"text":"b"}\r\n'),
        ("S.NDJSON", b'{"text":"a"}\n\t\n{"text":"b"}\n'),
        ("s.jsonl.gz", b'{"text":"a"}\n\n{"text":"b"}\n'),
        ("s.txt", b"a\n\nb"),
        ("s.txt", b"\xef\xbb\xbfa\r\n  \r\nb\r\n"),
        ("s.txt.gz", b"a\n\nb\n"),
        ("s.csv", b"\ntext\nb\n"),
        ("s.csv", b"\xef\xbb\xbftext\r\na\r\nb"),
        ("s.csv.gz", b"text\na\nb\n"),
    ],
)
def test_formats_and_tolerated_variants(tmp_path: Path, name: str, content: bytes) -> None:
    got = read(tmp_path, name, content)
    assert got[-1] == (f"{name}:3", {"text": "b"})
    assert [row for _, row in got[:-1]] in ([{"text": "a"}], [])


def test_reading_again_starts_at_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(b'{"a":1}\n{"a":2}\n')
    file = open_seeds(tmp_path / "s.jsonl")
    assert next(read_rows(file)) == ("s.jsonl:1", {"a": 1})
    assert list(read_rows(file)) == list(read_rows(file)) == [("s.jsonl:1", {"a": 1}), ("s.jsonl:2", {"a": 2})]


def test_marks_before_a_row_are_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n\x1e\n' + b"\x1e" * 100_000 + b'{"a": 3}\n\xef\xbb\xbf\n'
    )
    assert [row["a"] for _, row in read_rows(open_seeds(path))] == [1, 2, 3]
    path.write_bytes(b'{"a": 1}\n\x1e{"a": 1, "a": 2}\n')
    with pytest.raises(SeedError, match=r"s\.jsonl:2: .* 'a' stands in it twice"):
        list(read_rows(open_seeds(path)))


@given(rows)
@on_disk
def test_what_jsonlines_writes_is_what_is_read(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    with (tmp_path / "s.jsonl").open("wb") as stream:
        jsonlines.Writer(stream, dumps=orjson.dumps).write_all(written)
    got = list(read_rows(open_seeds(tmp_path / "s.jsonl")))
    assert [where for where, _ in got] == [f"s.jsonl:{n + 1}" for n in range(len(written))]
    assert canonical([row for _, row in got]) == canonical(written)


@given(
    st.binary(max_size=200) | st.text('{}[]",:\\u0\r\n\t a1.-e\x1e\ufeff', max_size=80).map(str.encode),
    st.sampled_from(["jsonl", "csv", "txt"]),
)
@on_disk
def test_any_bytes_are_rows_or_a_seed_error(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"s.{ending}"
    path.write_bytes(content)
    try:
        got = list(make_items(read_rows(open_seeds(path)), seed=0))
    except SeedError as error:
        assert path.name in str(error)
    else:
        assert got
        assert all(isinstance(item.row, dict) for item in got)


@given(st.binary(max_size=300), st.integers(0, 299))
@on_disk
def test_gzip_cut_anywhere_and_followed_by_noise_is_refused(tmp_path: Path, noise: bytes, at: int) -> None:
    whole = gzip.compress(orjson.dumps({"text": random.Random(1).randbytes(120).hex()}), mtime=0)
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(whole[: at % len(whole)] + noise)
    with pytest.raises(SeedError, match=r"s\.jsonl\.gz"):
        list(read_rows(open_seeds(path)))


GOOD = b'{"a":1}\n' * 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD + b'{"a":\n', "s.jsonl:7: "),
        (GOOD + b'{"a":1}{"a":2}\n', "s.jsonl:7: "),
        (GOOD + b"[1]\n", "s.jsonl:7: a row is one JSON object on one line, not a list"),
        (GOOD + b'"text"\n', "s.jsonl:7: a row is one JSON object on one line, not a str"),
        (GOOD + b"null\n", "s.jsonl:7: a row is one JSON object on one line, not null"),
        (GOOD + b'{"a":NaN}\n', "s.jsonl:7: "),
        (GOOD + b'{"a":1e999}\n', "s.jsonl:7: "),
        (GOOD + b'{"a":"\\ud800"}\n', "s.jsonl:7: "),
        (GOOD + b'{"a":"\xe9"}\n', "s.jsonl:7: byte 7 of this line (0xE9) is not UTF-8; re-encode"),
        (GOOD + b'{"a":"\xed\xa0\x80"}\n', "s.jsonl:7: byte 7 of this line (0xED) is not UTF-8"),
        (GOOD + b'{"a":1,"b":2,"a":3}\n', "s.jsonl:7: this row would not be read as it is written: the key 'a'"),
        (GOOD + b'{"a" :1, "b":{"c":1, "c"\t:2}}\n', "the key 'c' stands in it twice"),
        (GOOD + b'{"a":[[18446744073709551616]]}\n', "the integer 18446744073709551616 has more than 64 bits"),
        (GOOD + b'{"a":-9223372036854775809}\n', "more than 64 bits"),
        (GOOD + b'{"a":' + b"[" * 1010 + b"]" * 1010 + b"}\n", "s.jsonl:7: "),
        (GOOD + b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", "s.jsonl:7: "),
        (b"", "no rows"),
        (b"\xef\xbb\xbf", "no rows"),
        (b"\n \n\r\n", "no rows"),
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        (gzip.compress(GOOD, mtime=0), "gzip"),
        (b"PAR1....", "Parquet"),
    ],
)
def test_jsonl_is_refused_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, "s.jsonl", content)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":18446744073709551615,"b":-9223372036854775808}',
        b'{"a":1e30,"b":0.1,"c":-0.0}',
        b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
        b'{"q":"\\"a\\":1, \\"a\\":2","url":"http://x:80/"}',
        b'{"long":"123456789012345678901234567890"}',
    ],
)
def test_the_second_look_refuses_nothing_that_is_fine(tmp_path: Path, line: bytes) -> None:
    assert read(tmp_path, "s.jsonl", line) == [("s.jsonl:1", orjson.loads(line))]


def test_rows_too_deep_to_encode_are_refused_when_they_become_items(tmp_path: Path) -> None:
    deep = read(tmp_path, "s.jsonl", b'{"a":1}\n{"a":' + b"[" * 300 + b"]" * 300 + b"}")
    with pytest.raises(SeedError, match=r"s\.jsonl:2: this row cannot be encoded"):
        list(make_items(deep, seed=0))


def test_a_line_has_a_limit(tmp_path: Path) -> None:
    assert "s.jsonl:2: this line is longer than 16 MiB" in refusal(
        tmp_path, "s.jsonl", b'{"a":1}\n{"a":"' + b"x" * LINE_LIMIT
    )
    assert "not valid CSV" in refusal(tmp_path, "s.csv", b'a\n"' + (b"x" * 999 + b"\n") * (LINE_LIMIT // 999))
    at_the_limit = b'{"a":"' + b"x" * (LINE_LIMIT - 9) + b'"}\n'
    assert len(read(tmp_path, "s.jsonl", at_the_limit)[0][1]["a"]) == LINE_LIMIT - 9


def test_gzip_members_follow_each_other_and_a_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n'))
    assert [row for _, row in read_rows(open_seeds(path))] == [{"a": 1}, {"a": 2}]
    path.write_bytes(gzip.compress(GOOD)[:-9])
    with pytest.raises(SeedError, match="cut off or damaged"):
        list(read_rows(open_seeds(path)))


def test_gzip_that_unpacks_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "UNPACKED_FREE", 1 << 20)
    bomb = b'{"a":"' + b"x" * 1000 + b'"}\n'
    assert len(read(tmp_path, "s.jsonl.gz", bomb * 900)) == 900
    assert "unpacks to over 1 MiB" in refusal(tmp_path, "s.jsonl.gz", bomb * 1100)
    monkeypatch.setattr(packed, "UNPACKED_RATIO", 2000)
    assert len(read(tmp_path, "s.jsonl.gz", bomb * 1100)) == 1100
    monkeypatch.setattr(packed, "UNPACKED_LIMIT", 1 << 20)
    assert "unpacks to over 1 MiB" in refusal(tmp_path, "s.jsonl.gz", bomb * 1100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n", "no rows"),
        (b"", "no rows"),
        (b"a,b,a\n1,2,3\n", "s.csv:1: column names that stand there twice: a"),
        (b"a,b\n1,2\n1\n", "s.csv:3: 1 values, but the header names 2 columns"),
        (b"a,b\n1,2\n1,2,3\n", "s.csv:3: 3 values"),
        (b'a,b\n1,2\n\n"x\ny",2\n1,"2\n3\n4', "s.csv:6: the record that begins here is not valid CSV"),
        (b'a,b\n1,"2"3\n', "s.csv:2: "),
        (b"a\rb\rc", "s.csv:1: "),
        (b"a,b\n1,\0\n", "s.csv:2: byte 3 is NUL"),
        (b"a,b\n1,\xff\n", "s.csv:2: byte 3 of this line (0xFF) is not UTF-8"),
    ],
)
def test_csv_is_refused_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, "s.csv", content)


def test_csv_keeps_values_as_text_and_counts_lines_at_the_record_start(tmp_path: Path) -> None:
    long = b"x" * 300_000
    got = read(tmp_path, "s.csv", b'a,b\r\n01,"x\r\ny, ""z"""\r\n\r\n,\xe2\x80\xa8\n1.0,' + long)
    assert got == [
        ("s.csv:2", {"a": "01", "b": 'x\r\ny, "z"'}),
        ("s.csv:5", {"a": "", "b": "\u2028"}),
        ("s.csv:6", {"a": "1.0", "b": long.decode()}),
    ]


def test_text_splits_on_newlines_only(tmp_path: Path) -> None:
    got = read(tmp_path, "s.txt", "a\u2028b\x85c\x0bd\x0ce \n f\rg\n".encode())
    assert [row["text"] for _, row in got] == ["a\u2028b\x85c\x0bd\x0ce ", " f\rg"]
    assert "s.txt:1: byte 2 is NUL" in refusal(tmp_path, "s.txt", "abc".encode("utf-16-le"))


def test_columns_are_renamed_in_place(tmp_path: Path) -> None:
    content = b'{"id":1,"question":"q","gold":2}\n'
    assert list(read(tmp_path, "s.jsonl", content, instruction="question")[0][1]) == ["id", "instruction", "gold"]
    assert read(tmp_path, "s.jsonl", content, id="gold", gold="id")[0][1] == {"gold": 1, "question": "q", "id": 2}
    assert read(tmp_path, "s.jsonl", content, id="id")[0][1] == orjson.loads(content)
    assert read(tmp_path, "s.txt", b"hello\n", instruction="text") == [("s.txt:1", {"instruction": "hello"})]
    assert read(tmp_path, "s.csv", b"a,b\n1,2\n", c="a")[0][1] == {"c": "1", "b": "2"}


def test_a_rename_that_cannot_work_is_refused(tmp_path: Path) -> None:
    content = b'{"id":1,"question":"q"}\n{"id":2}\n'
    said = refusal(tmp_path, "s.jsonl", content, instruction="question")
    assert said == "s.jsonl:2: there is no column 'question' to rename; there are: id"
    assert "a column 'id' exists already" in refusal(tmp_path, "s.jsonl", content, id="question")
    assert "twice" in refusal(tmp_path, "s.jsonl", content, a="question", b="question")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s.json", "jq -c"),
        ("s.json.gz", "jq -c"),
        ("s.tsv", "convert"),
        ("s.xlsx", "unknown kind of seed file '.xlsx': known are .jsonl, .ndjson, .csv, .txt"),
        ("s.parquet.gz", "unknown kind of seed file '.parquet.gz'"),
        ("s.md.gz", "unknown kind of seed file '.md.gz'"),
        ("seeds", "a seed file needs an ending"),
    ],
)
def test_unknown_endings_are_refused_with_advice(tmp_path: Path, name: str, said: str) -> None:
    assert said in refusal(tmp_path, name, GOOD)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match=r"gone\.jsonl: cannot read the seeds: No such file"):
        open_seeds(tmp_path / "gone.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(SeedError, match="pipe it in with `-`"):
        open_seeds(tmp_path / "pipe.jsonl")
    with pytest.raises(SeedError, match=r"gone\.jsonl: cannot read the seeds"):
        list(read_rows(SeedFile(tmp_path / "gone.jsonl", "jsonl")))


@pytest.mark.parametrize(
    ("content", "kind", "first"),
    [
        (b'{"a":1}\n{"a":2}\n', "jsonl", {"a": 1}),
        (b'\xef\xbb\xbf\n  {"a":1}', "jsonl", {"a": 1}),
        (b"\n" * (1 << 20) + b'{"a":1}', "jsonl", {"a": 1}),
        (b"hello\n{}\n", "text", {"text": "hello"}),
        (b"[1]\n", "text", {"text": "[1]"}),
    ],
)
def test_piped_seeds_are_kept_and_their_format_is_told(
    tmp_path: Path, content: bytes, kind: str, first: dict[str, Any]
) -> None:
    file = save_stdin(io.BytesIO(content), tmp_path)
    assert file.format == kind
    assert file.path.read_bytes() == content
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [file.path.name]
    assert open_seeds(file.path) == file
    assert next(read_rows(file))[1] == first


def test_piped_seeds_that_cannot_be_kept_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot keep a copy"):
        save_stdin(io.BytesIO(b"x"), tmp_path / "gone")

    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(DiskError, match="Input/output error"):
        save_stdin(Breaking(), tmp_path)
    assert os.listdir(tmp_path) == []

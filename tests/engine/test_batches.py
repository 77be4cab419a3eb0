"""The ledger of batches, cut and harmed at every place, and lines of results that may be anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.engine.batch_output import read_line
from distill_data.engine.batches import CREATED, DONE, GIVEN_UP, INTENT, UPLOADED, Ledger, Upload
from distill_data.errors import DamageError


def written(directory: Path) -> tuple[Path, list[tuple[bytes, ...]]]:
    """A ledger's file, and the states of its two uploads after each record; of a mere intent nothing is known later."""
    ledger, states = Ledger(directory), [()]
    first, second = (
        Upload(letter * 64, "teacher", "/v1/chat/completions", 3, 30, 60, account="openai/x") for letter in "ab"
    )

    def note() -> None:
        states.append(tuple(upload.state for upload in ledger.uploads.values() if upload.state != INTENT))

    ledger.add(first)
    note()
    for state, facts in ((UPLOADED, {"file": "f"}), (CREATED, {"batch": "b"})):
        ledger.advance(ledger.uploads["a" * 64], state, **facts)
        note()
    ledger.add(second)
    note()
    ledger.advance(ledger.uploads["b" * 64], UPLOADED, file="g")
    note()
    ledger.forget(ledger.uploads["b" * 64])
    note()
    ledger.add(second)
    note()
    ledger.advance(ledger.uploads["b" * 64], UPLOADED, at="http://there", file="h")
    note()
    ledger.advance(
        ledger.uploads["a" * 64], DONE, (5, 7, 1), answers=2, failed=1, doubt=[1, 10, 20], odd={"missing": 1}
    )
    note()
    ledger.advance(ledger.uploads["b" * 64], GIVEN_UP)
    note()
    ledger.close()
    return directory / "000001.jsonl", states


def test_a_ledger_tells_what_is_open_bought_and_in_doubt(tmp_path: Path) -> None:
    written(tmp_path / "batch")
    ledger = Ledger(tmp_path / "batch")
    first = ledger.uploads["a" * 64]
    assert (first.file, first.batch, first.requests, first.fresh) == ("f", "b", 3, False)
    assert (ledger.open, ledger.bought.answers, ledger.bought.usage) == ([], 2, {"openai/x": (5, 7, 1)})
    assert (ledger.doubt.requests, ledger.doubt.prompt_tokens, ledger.doubt.completion_tokens) == (4, 40, 80)
    assert ledger.bought.odd == {"missing": 1}
    assert len({each.run for each in (ledger, Ledger(tmp_path / "batch"))}) == 1
    assert Ledger(tmp_path / "none").to_json() == {}


def test_a_ledger_cut_anywhere_is_what_it_was_before(tmp_path: Path) -> None:
    path, states = written(tmp_path / "batch")
    whole = path.read_bytes()
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        found = Ledger(path.parent)
        assert tuple(upload.state for upload in found.uploads.values()) == states[whole[:end].count(b"\n")]


def test_a_torn_record_is_followed_by_a_new_file(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "batch")
    torn = path.read_bytes()[:-9]
    path.write_bytes(torn)
    again = Ledger(path.parent)
    again.advance(again.uploads["b" * 64], CREATED, batch="c")
    again.close()
    assert path.read_bytes() == torn
    second = Ledger(path.parent).uploads["b" * 64]
    assert (second.state, second.at, second.file, second.batch) == (CREATED, "http://there", "h", "c")


def test_a_name_that_was_meant_before_may_be_at_the_server(tmp_path: Path) -> None:
    ledger, upload = Ledger(tmp_path / "batch"), Upload("a" * 64, "teacher", "/v1/embeddings", 3, 30, 0)
    ledger.add(upload)
    assert ledger.uploads[upload.name].fresh
    ledger.close()
    again = Ledger(tmp_path / "batch")
    assert not again.uploads
    again.add(upload)
    assert not again.uploads[upload.name].fresh
    again.close()


def test_a_ledger_that_lacks_a_file_is_not_believed(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "batch")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(DamageError, match=r"a file of .* is missing"):
        Ledger(path.parent)


def test_a_ledger_that_is_harmed_is_not_believed(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "batch")
    whole = path.read_bytes()
    for place in range(0, whole.rindex(b"\n", 0, -1), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamageError, match="which batches were submitted"):
            Ledger(path.parent)


@given(
    st.binary()
    | st.sampled_from([b"[" * 100_000, b'{"custom_id":"k","response":{"status_code":200,"body":"\\ud800"}}'])
)
def test_any_line_of_results_is_read_or_none(text: bytes) -> None:
    line = read_line(text)
    assert line is None or (line.reply is not None and line.reply.status == 200 and line.reply.body)

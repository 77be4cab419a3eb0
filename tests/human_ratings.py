"""Pairs of texts of which people said which is the more positive: the rated snippets in the sources of vaderSentiment.

Fetched when asked for, by name and version, and never kept in this repository: 23,703 snippets of tweets, reviews and
editorials, each rated from -4 to 4 by twenty people (Hutto and Gilbert, ICWSM 2014; MIT licence).
"""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

PACKAGE, VERSION = "vaderSentiment", "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SOURCES = ("tweets", "amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets")


class Rated(NamedTuple):
    """A snippet and the mean of its ratings."""

    text: str
    mean: float
    source: str


class Pair(NamedTuple):
    """Two snippets; people found the first one more positive."""

    better: str
    worse: str


def fetch(folder: Path) -> Path:
    """The source archive, downloaded with pip unless it is there. Raises where it is another one than expected."""
    archive = next(folder.glob(f"{PACKAGE}-{VERSION}.tar.gz"), None)
    if archive is None:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, f"{PACKAGE}=={VERSION}"], check=True, stderr=subprocess.PIPE)
        archive = next(folder.glob(f"{PACKAGE}-{VERSION}.tar.gz"))
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{archive} is not the archive that these tests know")
    return archive


def read_rated(archive: Path) -> list[Rated]:
    """All snippets with their mean rating."""
    with tarfile.open(archive) as outer:
        name = next(each for each in outer.getnames() if each.endswith("hutto_ICWSM_2014.tar.gz"))
        inner = outer.extractfile(name)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as data:
            return [rated for source in SOURCES for rated in _read_source(data, source)]


def _read_source(data: tarfile.TarFile, source: str) -> list[Rated]:
    lines = data.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt")
    assert lines is not None
    fields = [line.split("\t") for line in lines.read().decode("utf-8-sig", "replace").split("\n") if line.strip()]
    return [Rated(text.strip(), float(mean), source) for _, mean, text in fields]


def pairs(rated: list[Rated], count: int, apart: float = 3.0, words: int = 20, seed: int = 0) -> list[Pair]:
    """Pairs from one source each, of short texts whose mean ratings are that far apart, drawn by the seed."""
    rng, found = random.Random(seed), list[Pair]()
    by_source = {
        name: [each for each in rated if each.source == name and len(each.text.split()) <= words] for name in SOURCES
    }
    while len(found) < count:
        one, other = rng.sample(by_source[rng.choice(SOURCES)], 2)
        if abs(one.mean - other.mean) >= apart:
            better, worse = sorted((one, other), key=lambda each: -each.mean)
            found.append(Pair(better.text, worse.text))
    return found

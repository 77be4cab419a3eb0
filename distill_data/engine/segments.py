"""Lines of a journal's segments: how they are framed, checked and taken apart. Knows nothing of their order in time.

    {"k":"<key>","t":"ok","i":"<item>","u":[<prompt>,<completion>,<cached>],"a":<the reply's body>,"c":"<crc>"}
    {"k":"<key>","t":"er","i":"<item>","u":[0,0,0],"a":{"reason":…,"detail":…},"c":"<crc>"}

A line is ASCII; its head has fixed widths, so that it is keyed and checked without parsing JSON.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

OK, ERR = b"ok", b"er"
SECTOR = 512
NOTES = 1 << 16  # bytes that are read at once
_KEY = slice(6, 70)
_SHORT = slice(6, 21)
_TYPE = slice(77, 79)
_OWNER = slice(86, 102)
_USAGE = 109
_TAIL = len(b',"c":"00000000"}\n')
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_SEAM = re.compile(rb',"c":"([0-9a-f]{8})"\}.\{"k":"', re.DOTALL)


def frame(kind: bytes, key: str, owner: str, usage: tuple[int, int, int], body: bytes) -> bytes:
    """One line. `key` has 64 hex digits, `owner` 16; `body` is JSON, kept as it came where it is ASCII on one line.

    Takes whatever `json.loads` takes: a byte order mark, UTF-16 and UTF-32 (seen by their NULs) and raw surrogates too.
    """
    if len(key) != 64 or len(owner) != 16:
        raise ValueError(f"a key has 64 digits and an owner 16, not {len(key)} and {len(owner)}")
    if not body.isascii() or b"\0" in body:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        body = _FOREIGN.sub(lambda found: json.dumps(found[0])[1:-1], text).encode("ascii")
    if b"\n" in body or b"\r" in body:  # between tokens only: inside a string they are escaped
        body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    head = b'{"k":"%s","t":"%s","i":"%s","u":[%d,%d,%d],"a":%s' % (
        key.encode("ascii"), kind, owner.encode("ascii"), *usage, body,
    )  # fmt: skip
    return b'%s,"c":"%08x"}\n' % (head, zlib.crc32(head))


def intact(line: bytes) -> bool:
    """Whether a line is whole and unharmed. Hex digits are compared as bytes: `int(x, 16)` takes more than digits."""
    return line[:6] == b'{"k":"' and line[-_TAIL:] == b',"c":"%08x"}\n' % zlib.crc32(line[:-_TAIL])


def glued(line: bytes) -> bool:
    """Whether a bad line begins with a whole one: then a line break was harmed, which no interrupted write does."""
    crc = start = 0
    for seam in _SEAM.finditer(line):
        crc, start = zlib.crc32(memoryview(line)[start : seam.start()], crc), seam.start()
        if seam[1] == b"%08x" % crc:
            return True
    return False


def holed(line: bytes, offset: int) -> bool:
    """Whether all that a bad line lacks are whole sectors, from the end of what was synced before it or from their own
    beginning. A power cut leaves that where a batch's later pages came to the disk before the earlier ones.
    """
    runs = list(re.finditer(rb"\0+", line))
    return bool(runs) and all(
        (not run.start() or (offset + run.start()) % SECTOR == 0) and (offset + run.end()) % SECTOR == 0 for run in runs
    )


def torn(segment: Path, offset: int, line: bytes, *, last: bool) -> bool:
    """Whether a bad line is what an interrupted write leaves: half of a last one, or a hole in what was not synced."""
    if last and not glued(line):
        return True
    return holed(line, offset) and offset >= synced_end(segment.with_suffix(".sent"))


def short_key(key: str) -> int:
    """What an index keeps of a key: 60 bits, an int of 32 bytes. Whoever finds a line by it compares the whole key."""
    return int(key[:15], 16)


def usage_of(line: bytes) -> tuple[int, int, int] | None:
    """The tokens of an intact line's answer; None where it is a failure."""
    if line[_TYPE] == ERR:
        return None
    prompt, completion, cached = line[_USAGE : line.index(b"]", _USAGE)].split(b",")
    return int(prompt), int(completion), int(cached)


def key_of(line: bytes) -> int:
    """The beginning of an intact line's key."""
    return int(line[_SHORT], 16)


def owner_of(line: bytes) -> str:
    """The item that an intact line belongs to."""
    return line[_OWNER].decode("ascii")


def body_of(line: bytes, key: str) -> bytes | None:
    """The body of an intact line, or None where it belongs to another key."""
    return line[line.index(b',"a":', _USAGE) + 5 : -_TAIL] if line[_KEY] == key.encode("ascii") else None


def read_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with its offset and whether it is the last."""
    with path.open("rb", buffering=1 << 20) as stream:
        offset, line = 0, stream.readline()
        while line:
            following = stream.readline()
            yield offset, line, not following
            offset += len(line)
            line = following


def pack(number: int, offset: int) -> int:
    """Segment and offset as one int, of 32 bytes for a million segments of a terabyte."""
    return number << 40 | offset


def unpack(place: int) -> tuple[int, int]:
    return place >> 40, place & (1 << 40) - 1


def count_owners(paths: Sequence[Path], index: Mapping[int, int]) -> Counter[int]:
    """How many of the lines that an index leads to belong to each item, in segments numbered from 0."""
    owned: Counter[int] = Counter()
    for number, path in enumerate(paths):
        for offset, line, _ in read_lines(path):
            if intact(line) and index.get(key_of(line)) == pack(number, offset):
                owned[int(owner_of(line), 16)] += 1
    return owned


def line_at(segment: BinaryIO, offset: int, *, growing: bool) -> bytes:
    """The line that begins at an offset. What was read ahead serves the next one, but not where the file is growing."""
    if growing:
        segment.seek(0, os.SEEK_END)  # lets go of it, as no other way to seek does
    segment.seek(offset)
    return segment.readline()


def sent_line(key: str, prompt_tokens: int, completion_tokens: int) -> bytes:
    return b"S %s %d %d\n" % (key[:16].encode("ascii"), prompt_tokens, completion_tokens)


def unpaid_line(key: str) -> bytes:
    return b"E %s\n" % key[:16].encode("ascii")


def synced_line(end: int) -> bytes:
    return b"D %d\n" % end


_SENT = re.compile(rb"(?:S ([0-9a-f]{15})[0-9a-f] (\d{1,18}) (\d{1,18})|E ([0-9a-f]{15})[0-9a-f])\n")
"""Looked for at the end of a line, for a whole note may follow a torn one."""
_SYNCED = re.compile(rb"D (\d{1,18})\n")


def follow_sent(waiting: dict[int, list[int]], sent: Path, answered: Iterable[int]) -> None:
    """Bring `waiting` forward by one segment: how many requests of a key have no known end, and their tokens at most.

    A request is in doubt where its key was sent more often than it was answered or known to be unpaid. That may stand
    in a later segment than the sending: a full disk starts a new one under requests in flight.
    """
    ends = Counter(answered)  # first, so that an answered request takes no place in `waiting`
    for left, prompt_tokens, completion_tokens, unpaid in _notes(sent, _SENT):
        key = int(left or unpaid, 16)
        if unpaid:
            ends[key] += 1
        elif ends[key] > 0:
            ends[key] -= 1
        else:
            entry = waiting.setdefault(key, [0, 0, 0])
            entry[:] = entry[0] + 1, int(prompt_tokens), int(completion_tokens)
    for key in ends.keys() & waiting.keys():
        waiting[key][0] -= ends[key]
        if waiting[key][0] <= 0:
            del waiting[key]


def synced_end(sent: Path) -> int:
    """Up to which byte of the segment its notes say that it came to the disk; 0 where they do not say it."""
    return max(map(int, _notes(sent, _SYNCED)), default=0)


def _notes(sent: Path, kind: re.Pattern[bytes]) -> Iterator[Any]:
    """What the pattern, which ends in a line's end, finds: text where it has one group, else a tuple."""
    if sent.exists():
        with sent.open("rb") as stream:
            while lines := stream.readlines(NOTES):
                yield from kind.findall(b"".join(lines))

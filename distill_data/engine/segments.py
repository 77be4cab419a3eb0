"""Lines of a journal's segments: how they are framed, checked and taken apart. Knows nothing of their order in time.

    {"k":"<key>","t":"ok","i":"<item>","u":[<prompt>,<completion>,<cached>],"a":<the reply's body>,"c":"<crc>"}
    {"k":"<key>","t":"er","i":"<item>","u":[0,0,0],"a":{"reason":…,"detail":…},"c":"<crc>"}

A line is ASCII; its head has fixed widths, so that it is keyed and checked without parsing JSON.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OK, ERR = b"ok", b"er"
_KEY = slice(6, 70)
_TYPE = slice(77, 79)
_OWNER = slice(86, 102)
_USAGE = 109
_TAIL = len(b',"c":"00000000"}\n')
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Line:
    """What stands in a line's head. The body is taken out by `body_of`, when somebody wants it."""

    key: int
    """The first 64 bits of the request's key."""
    owner: str
    failed: bool
    usage: tuple[int, int, int]


def frame(kind: bytes, key: str, owner: str, usage: tuple[int, int, int], body: bytes) -> bytes:
    """One line. `key` has 64 hex digits, `owner` 16; `body` is JSON, kept as it came where it is ASCII on one line."""
    if not body.isascii():
        body = _FOREIGN.sub(lambda found: json.dumps(found[0])[1:-1], body.decode("utf-8")).encode("ascii")
    if b"\n" in body or b"\r" in body:  # between tokens only: inside a string they are escaped
        body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    head = b'{"k":"%s","t":"%s","i":"%s","u":[%d,%d,%d],"a":%s' % (
        key.encode("ascii"), kind, owner.encode("ascii"), *usage, body,
    )  # fmt: skip
    return b'%s,"c":"%08x"}\n' % (head, zlib.crc32(head))


def intact(line: bytes) -> bool:
    """Whether a line is whole and unharmed. Hex digits are compared as bytes: `int(x, 16)` takes more than digits."""
    return line[-1:] == b"\n" and line[-_TAIL:] == b',"c":"%08x"}\n' % zlib.crc32(line[:-_TAIL])


def short_key(key: str) -> int:
    """What an index keeps of a key: 64 bits. Whoever finds a line by it compares the whole key."""
    return int(key[:16], 16)


def head_of(line: bytes) -> Line:
    """The head of an intact line."""
    prompt, completion, cached = line[_USAGE : line.index(b"]", _USAGE)].split(b",")
    usage = (int(prompt), int(completion), int(cached))
    return Line(int(line[_KEY][:16], 16), line[_OWNER].decode("ascii"), line[_TYPE] == ERR, usage)


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


def pack(number: int, offset: int, length: int) -> int:
    """Segment, offset and length as one int, which takes less memory than a tuple."""
    return number << 72 | offset << 32 | length


def unpack(place: int) -> tuple[int, int, int]:
    return place >> 72, place >> 32 & (1 << 40) - 1, place & (1 << 32) - 1


def sent_line(key: str, prompt_tokens: int, completion_tokens: int) -> bytes:
    return b"S %s %d %d\n" % (key[:16].encode("ascii"), prompt_tokens, completion_tokens)


def unpaid_line(key: str) -> bytes:
    return b"E %s\n" % key[:16].encode("ascii")


_SENT = re.compile(rb"([SE]) ([0-9a-f]{16})(?: (\d+) (\d+))?")


def follow_sent(waiting: dict[int, list[int]], sent: Path, answered: Iterable[int]) -> None:
    """Bring `waiting` forward by one segment: how many requests of a key have no known end, and their tokens at most.

    A request is in doubt where its key was sent more often than it was answered or known to be unpaid. That may stand
    in a later segment than the sending: a full disk starts a new one under requests in flight.
    """
    for line in sent.read_bytes().split(b"\n") if sent.exists() else []:
        found = _SENT.fullmatch(line)
        if found is None:
            continue
        entry = waiting.setdefault(int(found[2], 16), [0, 0, 0])
        if found[1] == b"S":
            entry[:] = entry[0] + 1, int(found[3] or 0), int(found[4] or 0)
        else:
            entry[0] -= 1
    for key in answered:
        if key in waiting:
            waiting[key][0] -= 1
    for key in [key for key, entry in waiting.items() if entry[0] <= 0]:
        del waiting[key]

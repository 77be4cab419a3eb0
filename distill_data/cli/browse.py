"""Browsing rows with single keys on a terminal: what is shown, what a key does. Knows no file and no format."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from distill_data.errors import UsageError
from distill_data.reporting.browsing import Line, answer_lines, columns_of, lines_of, wrap
from distill_data.reporting.parts import parts_of
from distill_data.reporting.plain import plain

if TYPE_CHECKING:
    from distill_data.commands.view import Book, Shelf

CLEAR, PLAIN = "\x1b[2J\x1b[H", "\x1b[0m"
STYLES = {"head": "\x1b[1m", "label": "\x1b[36m", "quiet": "\x1b[2m"}
ARROWS = {"\x1b[A": "p", "\x1b[D": "p", "\x1b[B": "n", "\x1b[C": "n", "\x1b[5~": "b", "\x1b[6~": " ", "\x1b": "q"}
"""What a key with a sequence of its own stands for."""
KEYS = "n next  p back  7 row 7  / search  N again  r reject  R reject back  a answers  space more  b less  q end"
LONGEST = 16
"""Bytes of the sequence of a key."""
Read = Callable[[], str]


@dataclass(slots=True)
class Place:
    """Where somebody is."""

    row: int = 1
    reject: int = 0
    rejects: bool = False
    """Whether a reject is shown."""
    answers: bool = False
    """Whether the raw answers are shown."""
    top: int = 0
    """The first line on the screen."""
    said: str = ""
    """What the status says once."""
    wanted: str = ""
    """What was searched for last."""
    lines: Sequence[Line] = field(default=())


def browse(book: "Book", *, rejects: bool) -> None:
    """Show one row at a time until q is pressed. Needs a terminal on both ends."""
    place = Place()
    if rejects:
        _reject(book, place, 1)
    with _keys() as read:
        _draw(book, place, new=True)
        while (key := _meaning(read())) not in ("q", "\x04", ""):
            new = _press(book, place, key, read)
            _draw(book, place, new=new)
        sys.stdout.write("\n")


def _meaning(key: str) -> str:
    """The letter that an arrow and the like stands for; any other sequence asks for help."""
    return ARROWS.get(key, "?" if key.startswith("\x1b") else key)


def _press(book: "Book", place: Place, key: str, read: Read) -> bool:
    """What a key does; whether there is something else to show than before."""
    height = _height()
    match key:
        case " " | "f" if place.top + height < len(place.lines):
            place.top += height - 1
        case "b":
            place.top = max(0, place.top - height + 1)
        case "n" | "p" | "\r" | "\n" | " " | "f":
            return _row(book, place, place.row + (-1 if key == "p" else 1))
        case "g":
            return _row(book, place, 1)
        case "G":
            return _row(book, place, book.rows.count)
        case "r" | "R":
            return _reject(book, place, 1 if key == "r" else -1)
        case "a":
            place.answers, place.top = not place.answers, 0
            return True
        case "/" | "N":
            return _search(book, place, _ask("search: ", "", read) if key == "/" else place.wanted)
        case _ if key.isdecimal() and key.isascii():
            number = _ask("row: ", key, read)
            return number.isdecimal() and _row(book, place, int(number[:18]))
        case _:
            place.said = KEYS
    return False


def _row(book: "Book", place: Place, number: int) -> bool:
    if not 1 <= number <= book.rows.count:
        place.said = "this is the last row" if number > book.rows.count else "this is the first row"
        return False
    place.row, place.rejects, place.answers, place.top = number, False, False, 0
    return True


def _reject(book: "Book", place: Place, by: int) -> bool:
    """The next reject, or the one that was left; around the end."""
    count = book.rejects.count
    if not count:
        place.said = f"no rejects: {book.rejects.name} is not there, or empty"
        return False
    place.reject = (place.reject - 1 + by) % count + 1 if place.reject else (1 if by > 0 else count)
    place.rejects, place.answers, place.top = True, False, 0
    return True


def _search(book: "Book", place: Place, wanted: str) -> bool:
    """The next row, or reject where rejects are shown, that holds the text."""
    if not wanted:
        return False
    place.wanted = wanted
    shelf, number = (book.rejects, place.reject) if place.rejects else (book.rows, place.row)
    found = next(shelf.search(wanted, number), None)
    if found is None:
        place.said = f"nothing holds {wanted!r}"
        return False
    if place.rejects:
        place.reject, place.answers, place.top = found, False, 0
        return True
    return _row(book, place, found)


def _draw(book: "Book", place: Place, *, new: bool) -> None:
    """The screen: as many lines as fit, and the status under them."""
    size = shutil.get_terminal_size()
    if new or not place.lines:
        place.lines = _lines(book, place, size.columns)
    height = _height()
    shown = place.lines[place.top : place.top + height]
    at = f"{place.reject:,}/{book.rejects.count:,} rejects" if place.rejects else f"{place.row:,}/{book.rows.count:,}"
    more = len(place.lines) - place.top - len(shown)
    status = f" {at} · {f'{more:,} more lines: space · ' if more else ''}{place.said or 'n p r / a q, ? keys'} "
    place.said = ""
    bar = _fitting(plain(status, one_line=True), size.columns)
    sys.stdout.write(CLEAR + "\n".join(map(_styled, shown)) + f"\n\x1b[7m{bar}{PLAIN}")
    sys.stdout.flush()


def _lines(book: "Book", place: Place, width: int) -> list[Line]:
    """What is shown, or why it cannot be."""
    shelf: Shelf = book.rejects if place.rejects else book.rows
    number = place.reject if place.rejects else place.row
    try:
        row = shelf.row(number)
    except UsageError as error:
        return [Line("head", piece) for piece in wrap(plain(str(error), one_line=True), width)]
    if place.answers:
        prompt = [part for part in parts_of(row).texts if part.column == "prompt"]
        return [Line("head", f"raw answers · {shelf.place(number)}"), *answer_lines(prompt, book.answers(row), width)]
    return lines_of(row, shelf.place(number), width)


def _styled(line: Line) -> str:
    style = "" if "NO_COLOR" in os.environ else STYLES.get(line.style, "")
    return f"{style}{line.text}{PLAIN}" if style else line.text


def _fitting(text: str, width: int) -> str:
    columns = 0
    for index, character in enumerate(text):
        columns += columns_of(character)
        if columns >= width:
            return text[:index]
    return text


def _height() -> int:
    return max(2, shutil.get_terminal_size().lines - 1)


def _ask(prompt: str, typed: str, read: Read) -> str:
    """A line that is typed after the status; "" where it is given up."""
    while True:
        sys.stdout.write(f"\r\x1b[2K{prompt}{plain(typed, one_line=True)}")
        sys.stdout.flush()
        match read():
            case "\r" | "\n":
                return typed
            case "\x7f" | "\x08":
                typed = typed[:-1]
            case "\x1b" | "\x04" | "":
                return ""
            case key if key.isprintable():
                typed += key


@contextmanager
def _keys() -> Iterator[Read]:
    """A function that waits for one key: a character, or the whole sequence of an arrow and the like."""
    import select
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> str:
        key = os.read(descriptor, 1)
        while key and (key[0] >= 0xC0 or key[-1] >= 0x80) and not _whole(key):
            key += os.read(descriptor, 1)
        if key == b"\x1b" and select.select([descriptor], [], [], 0.05)[0]:
            key += os.read(descriptor, 1)
            while key[1:2] in (b"[", b"O") and (len(key) == 2 or not 0x40 <= key[-1] <= 0x7E) and len(key) < LONGEST:
                key += os.read(descriptor, 1)
        return key.decode("utf-8", "replace")

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _whole(key: bytes) -> bool:
    """Whether the bytes are a whole character, or none that could become one."""
    try:
        key.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return True

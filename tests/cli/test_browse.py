"""Browsing rows on a real terminal: keys do what the help says, and no row commands the terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.poison import payloads
from tests.system.command import DISTILL, environment

OWN = re.compile(r"\x1b\[(?:2J|H|0m|1m|2m|7m|36m|2K)")
"""The sequences that the program itself may write."""
ROWS, COLUMNS = 24, 70


class Screen:
    """The other end of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.written = ""

    def wait(self, wanted: str, seconds: float = 20) -> str:
        """What was written since the last screen began, once it holds this."""
        deadline = time.monotonic() + seconds
        while True:
            last = self.written.rpartition("\x1b[2J")[2]
            if wanted in last:
                return last
            assert time.monotonic() < deadline, f"{wanted!r} did not come; the screen:\n{last}"
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    self.written += os.read(self.descriptor, 1 << 16).decode("utf-8", "replace")
                except OSError:  # the other end has closed
                    assert wanted in self.written, self.written
                    return self.written

    def press(self, keys: str, wanted: str) -> str:
        """Press keys, and wait for what they lead to on a screen that is drawn anew."""
        self.written = ""
        os.write(self.descriptor, keys.encode())
        return self.wait(wanted)


@contextmanager
def viewing(*arguments: str | Path) -> Iterator[tuple[Screen, subprocess.Popen[bytes]]]:
    """The command on a terminal of its own."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    before = termios.tcgetattr(far)
    process = subprocess.Popen(
        [*DISTILL, "view", *map(str, arguments)], stdin=far, stdout=far, stderr=far, start_new_session=True,
        env={**environment(), "COLUMNS": "", "LINES": ""},
    )  # fmt: skip
    try:
        yield Screen(near), process
        assert process.wait(20) == 0
        assert termios.tcgetattr(far) == before, "the terminal is left as it was found"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(near)
        os.close(far)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_keys_do_what_the_help_says(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", [{"text": f"this is number {n}"} for n in range(1, 31)])
    rejects = [
        {
            "item": f"i{n}",
            "outcome": "rejected",
            "reason": f"reason-{n}",
            "detail": "",
            "answers": [f"raw {n}"],
            "seed": "{}",
        }
        for n in range(2)
    ]
    write(tmp_path / "d.rejects.jsonl", rejects)
    with viewing(dataset) as (screen, _):
        screen.wait("1/30")
        screen.press("n", "this is number 2\r\n")
        screen.press("\r", "this is number 3\r\n")
        screen.press("\x1b[B", "this is number 4\r\n")
        screen.press("p", "this is number 3\r\n")
        screen.press("\x1b[D", "this is number 2\r\n")
        screen.press("p", "this is number 1\r\n")
        screen.press("p", "this is the first row")
        screen.press("27\r", "this is number 27\r\n")
        screen.press("G", "this is number 30\r\n")
        screen.press("n", "this is the last row")
        screen.press("99\r", "this is the last row")
        screen.press("g", "this is number 1\r\n")
        screen.press("/NUMBER 2\r", "this is number 2\r\n")
        screen.press("N", "this is number 20\r\n")
        screen.press("/zzz\r", "nothing holds 'zzz'")
        screen.press("/ab\x7f\x7f\x7f\x1b", "20/30")
        screen.press("r", "reason-0")
        screen.press("a", "raw 0")
        screen.press("r", "reason-1")
        screen.press("r", "reason-0")
        screen.press("R", "reason-1")
        screen.press("a", "raw 1")
        screen.press("n", "this is number 21\r\n")
        screen.press("a", "no raw answer is known")
        screen.press("?", "n next")
        screen.press("é", "n next")
        os.write(screen.descriptor, b"q")


def test_long_rows_are_shown_by_the_screen(tmp_path: Path) -> None:
    text = "\n".join(f"line {n} of a long text" for n in range(60))
    dataset = write(tmp_path / "d.jsonl", [{"text": text}, {"text": "the second row"}])
    with viewing(dataset) as (screen, _):
        first = screen.wait("more lines")
        assert first.count("\r\n") <= ROWS - 1 and "line 50" not in first
        screen.press(" ", "line 30 ")
        screen.press(" ", "line 59 ")
        screen.press("b", "line 30 ")
        screen.press(" ", "line 59 ")
        screen.press(" ", "the second row")
        os.write(screen.descriptor, b"\x04")


def test_no_text_commands_the_terminal(tmp_path: Path) -> None:
    texts = [
        *payloads(),
        "\x1b]52;c;aGk=\x07",
        "\x1b[?1049h\x1bc",
        "\x9b31m\x90x\x9c",
        "\x08" * 9,
        "\x1b[201~",
        "\x1bP+q\x1b\\",
    ]
    rows: list[dict[str, object]] = [
        {"id": text, "kind": text, text: 1.5, "text": text, "meta": {text: text}} for text in texts
    ]
    dataset = write(tmp_path / "d\x1b[31m\x9b.jsonl", rows)
    written = ""
    with viewing(dataset) as (screen, _):
        screen.wait(f"1/{len(rows)}")
        for number in range(2, len(rows) + 1):
            screen.press("n", f" {number}/{len(rows)} ·")
            written += screen.written
        screen.press("r", "no rejects")
        written += screen.written
        screen.press("/\u202ezzqq\x01\x1b[A\r", "nothing holds 'zzqq'")
        written += screen.written
        os.write(screen.descriptor, b"q")
    left = set(OWN.sub("", written))
    assert not left & {"\x1b", "\x9b", "\x90", "\x07", "\x08", "\x00", "\u202e", "\u2067"}


def test_a_row_that_is_none_is_told_and_passed(tmp_path: Path) -> None:
    dataset = tmp_path / "d.jsonl"
    dataset.write_bytes(b'{"text": "a"}\n{"text": \n{"text": "third"}\n')
    with viewing(dataset) as (screen, _):
        screen.wait("1/3")
        screen.press("n", "row 2 cannot be read")
        screen.press("n", "third")
        screen.press("r", "no rejects")
        os.write(screen.descriptor, b"\x1b")


def test_rejects_alone_are_browsed_too(tmp_path: Path) -> None:
    write(tmp_path / "d.partial.rejects.jsonl", [{"item": "i", "outcome": "failed", "reason": "no-tag", "detail": ""}])
    with viewing(tmp_path / "d.partial.jsonl", "--rejects") as (screen, _):
        screen.wait("no-tag")
        os.write(screen.descriptor, b"q")


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", [{"text": "a"}])
    near, far = pty.openpty()
    before = termios.tcgetattr(far)
    process = subprocess.Popen(
        [*DISTILL, "view", str(dataset)], stdin=far, stdout=far, stderr=far, start_new_session=True, env=environment()
    )
    Screen(near).wait("1/1")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert termios.tcgetattr(far) == before
    os.close(near)
    os.close(far)

"""Fenced code blocks of a Markdown text. Knows nothing of what stands inside.

CommonMark's rules, but for one: a fence may be indented by any number of spaces, as it is inside a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})([^\n]*)$")


@dataclass(slots=True)
class Fence:
    """One fenced block."""

    indent: int
    mark: str
    language: str
    """The first word after the opening fence, or empty."""
    lines: list[str]
    """Those between the fences, without the opening fence's indent."""
    closed: bool = False
    """Stays False for a last block that runs to the end of the text, as a truncated reply's does."""

    @property
    def code(self) -> str:
        return "\n".join(self.lines)


def split_lines(text: str) -> list[str]:
    """Lines end with a line feed alone; a carriage return before it is dropped."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def fence_of_each(lines: list[str]) -> list[Fence | None]:
    """The fence that each line belongs to, its two fence lines included, or None."""
    fences: list[Fence | None] = []
    fence: Fence | None = None
    for line in lines:
        if fence is None:
            match = _OPENING.match(line)
            fence = match and Fence(len(match[1]), match[2], (match[3].split(maxsplit=1) or [""])[0], [])
            fences.append(fence)
            continue
        fences.append(fence)
        fence.closed = _closes(line, fence.mark)
        if fence.closed:
            fence = None
        else:
            fence.lines.append(line[min(fence.indent, len(line) - len(line.lstrip(" "))) :])
    return fences


def fenced_blocks(text: str) -> list[Fence]:
    """The blocks in the text's order."""
    return list({id(fence): fence for fence in fence_of_each(split_lines(text)) if fence is not None}.values())


def _closes(line: str, mark: str) -> bool:
    bare = line.strip(" \t")
    return len(bare) >= len(mark) and not bare.strip(mark[0])

"""A disk that loses power: what a run really wrote and synced, and every state that it may find afterwards.

    disk = Disk(root)
    with disk.recording(monkeypatch):
        ...                                  # files and folders below `root`
    for state in disk.states(): ...          # each distinct tree, with what had been promised by then

The model is POSIX's, which is stricter than most file systems: content is on the disk once the file was synced, a name
once its directory was. What was not may be there, or not, or in part: cut short, zeros in its place, a page of it
missing; names come in any prefix of their order, alone, or all but one. A rename is one step. Knows nothing about what
is in the files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PAGE = 4096
NAME_CALLS = ("open", "mkdir", "rmdir", "unlink", "replace", "rename")
DATA_CALLS = ("write", "pwrite", "ftruncate", "truncate", "posix_fallocate")
SYNC_CALLS = ("fsync", "fdatasync")

Tree = dict[str, bytes | None]
"""Path below the root to the content of the file; None is a directory."""
Names = dict[str, int]
"""What is in one directory: name to inode."""


class State(NamedTuple):
    """What may be on the disk after a power cut."""

    tree: Tree
    promised: frozenset[str]
    """What the program had acknowledged by then."""
    after: str
    """The last call before the cut, with its number."""


class Step(NamedTuple):
    """Names of one directory that changed at once: new inodes, None where the name went away."""

    directory: int
    changes: dict[str, int | None]


@dataclass
class Moment:
    """The disk after one call."""

    call: str
    written: dict[int, bytes]
    synced: dict[int, bytes]
    names: dict[int, Names]
    """Directory to its names that are durable."""
    steps: tuple[Step, ...]
    """Changes of names that are not, in order."""
    promised: frozenset[str]


@dataclass
class Disk:
    """One directory tree under observation."""

    root: Path
    moments: list[Moment] = field(default_factory=list)
    promised: set[str] = field(default_factory=set)
    _seen: dict[int, Names] = field(default_factory=dict)
    _names: dict[int, Names] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)
    _written: dict[int, bytes] = field(default_factory=dict)
    _synced: dict[int, bytes] = field(default_factory=dict)
    _titles: dict[int, str] = field(default_factory=dict)
    _held: dict[int, int] = field(default_factory=dict)
    """Inode to a descriptor, so that no number is given away twice and what is unlinked can still be read."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def promise(self, what: str) -> None:
        """Note that the program said so. Counts from the next call on, and at the end."""
        with self._lock:
            self.promised.add(what)
            self._keep(f"promise {what}")

    @contextmanager
    def recording(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Observe every call of `os` that changes files, and what buffered streams wrote in between."""
        self._look()
        self._names = {directory: dict(names) for directory, names in self._seen.items()}
        self._synced = dict(self._written)
        self._steps.clear()
        with patch.context() as context:
            for name in (*NAME_CALLS, *DATA_CALLS, *SYNC_CALLS):
                context.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield
        self._observe("end")
        for fd in self._held.values():
            os.close(fd)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **kwargs)
            with self._lock:
                if name in SYNC_CALLS:
                    self._observe(f"buffer {self._called(args[0])}")
                result = call(*args, **kwargs)
                if name in SYNC_CALLS:
                    self._sync(os.fstat(args[0]).st_ino)
                self._observe(f"{name} {self._called(args[0])}")
            return result

        return observed

    def _called(self, where: Any) -> str:
        """The last part of a path, or of the name under which a descriptor's file was found."""
        return self._titles.get(os.fstat(where).st_ino, "") if isinstance(where, int) else Path(where).name

    def _sync(self, inode: int) -> None:
        if inode in self._written:
            self._synced[inode] = self._written[inode]
        elif inode in self._seen:
            self._names[inode] = dict(self._seen[inode])
            self._steps = [step for step in self._steps if step.directory != inode]

    def _observe(self, call: str) -> None:
        before = {directory: dict(names) for directory, names in self._seen.items()}
        self._look()
        for directory, names in self._seen.items():
            old = before.get(directory, {})
            changes = {name: names.get(name) for name in old.keys() | names.keys() if old.get(name) != names.get(name)}
            if call.startswith(("replace", "rename")):
                self._steps += [Step(directory, changes)] if changes else []
            else:
                self._steps += [Step(directory, {name: changes[name]}) for name in sorted(changes)]
        self._keep(call)

    def _keep(self, call: str) -> None:
        self.moments.append(
            Moment(
                call,
                dict(self._written),
                dict(self._synced),
                {directory: dict(names) for directory, names in self._names.items()},
                tuple(self._steps),
                frozenset(self.promised),
            )
        )

    def _look(self) -> None:
        """Bring what is visible up to date."""
        self._seen[self.root.stat().st_ino] = self._listed(str(self.root))
        for inode, fd in self._held.items():
            size = os.fstat(fd).st_size
            self._written[inode] = os.pread(fd, size, 0)

    def _listed(self, directory: str) -> Names:
        names: Names = {}
        for entry in os.scandir(directory):
            inode = names[entry.name] = entry.stat(follow_symlinks=False).st_ino
            self._titles[inode] = entry.name
            if entry.is_dir():
                self._seen[inode] = self._listed(entry.path)
                self._names.setdefault(inode, {})
            elif inode not in self._held:
                self._held[inode] = OPEN(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                self._synced.setdefault(inode, b"")
        return names

    # What a cut leaves

    def states(self) -> list[State]:
        """Every distinct tree, with all that had been promised when it was possible for the last time."""
        found: dict[frozenset[tuple[str, bytes | None]], State] = {}
        root = self.root.stat().st_ino
        for number, moment in enumerate(self.moments):
            names, contents = list(_names(moment)), list(_contents(moment))
            pairs = [*product(names, contents[:2]), *product([names[0], names[-1]], contents[2:])]
            trees = {_tree(root, *pair) for pair in pairs}
            found |= {tree: State(dict(tree), moment.promised, f"{number}: {moment.call}") for tree in trees}
        return list(found.values())


OPEN = os.open


def _tree(root: int, names: dict[int, Names], contents: dict[int, bytes]) -> frozenset[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = []
    waiting = [("", root)]
    while waiting:
        path, directory = waiting.pop()
        for name, inode in names.get(directory, {}).items():
            found.append((path + name, contents.get(inode)))
            if inode not in contents:
                waiting.append((f"{path}{name}/", inode))
    return frozenset(found)


def _names(moment: Moment) -> Iterator[dict[int, Names]]:
    """The directories with none of the steps not yet synced, each one alone, all but each, the first ones, and all."""
    steps, count = moment.steps, len(moment.steps)
    prefixes = [range(length) for length in range(count + 1)]
    alone = [[one] for one in range(count)]
    without = [[each for each in range(count) if each != one] for one in range(count)]
    for chosen in dict.fromkeys(tuple(numbers) for numbers in ([], *alone, *without, *prefixes[1:])):
        names = {directory: dict(entries) for directory, entries in moment.names.items()}
        for directory, changes in (steps[number] for number in chosen):
            for name, inode in changes.items():
                if inode is None:
                    names[directory].pop(name, None)
                else:
                    names[directory][name] = inode
        yield names


def _contents(moment: Moment) -> Iterator[dict[int, bytes]]:
    """All as synced, all as written, and one file after the other in each way that it may be between these."""
    yield moment.synced
    yield moment.written
    for inode, written in moment.written.items():
        for content in between(moment.synced[inode], written):
            yield moment.synced | {inode: content}
            yield moment.written | {inode: content}


def between(synced: bytes, written: bytes) -> Iterator[bytes]:
    """What a file may hold that was not synced since it held `synced`."""
    if written == synced:
        return
    yield synced
    yield written
    if not written.startswith(synced):
        yield bytes(len(written))
        return
    start, more = len(synced), len(written) - len(synced)
    line = written.find(b"\n", start) + 1 or len(written)
    for cut in sorted({start + 1, start + more // 2, line, len(written) - 1}):
        yield written[:cut]
        yield written[:cut] + bytes(len(written) - cut)
    yield synced + bytes(more)
    page = -(-(start + 1) // PAGE) * PAGE
    if page < len(written):  # the later page made it, the earlier one did not
        yield synced + bytes(page - start) + written[page:]
        yield written[:page] + bytes(len(written) - page)


def materialise(tree: Tree, root: Path) -> None:
    """Make the tree below a new directory."""
    root.mkdir()
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

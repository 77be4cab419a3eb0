"""The run directory: its lock, and `run.json`, which says what the run is about. Knows nothing else about the run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from distill_data.engine.durable import disk_error, make_directory, remove_leftovers, write_atomically
from distill_data.errors import DamageError, LockedError, UsageError

FORMAT = 1
_BEGUN = re.compile(r"lock|journal|stdin\.(jsonl|txt|tmp)|\.run\.json\.[0-9-]+\.tmp")
"""What lies in a run's directory before its `run.json` does."""
FORGOTTEN = ("lock", "stdin.jsonl", "stdin.txt")
"""What of it a run that is abandoned needs no more."""
SCRATCH = ("spill", "journal/reserve", "blobs/reserve")
"""What means nothing once the process is dead that made it."""
LOOKS, LOOK_SECONDS = 5, 0.01
"""How often a lock is tried again, and when: `holder` takes it for a moment, and who abandons a run removes it."""


class RunDirectory:
    """A directory that one process at a time works in. The lock dies with its holder; the lock file means nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def batches(self) -> Path:
        return self.path / "batch"

    @property
    def spill(self) -> Path:
        return self.path / "spill"

    @property
    def places(self) -> Path:
        """Where a shard keeps the positions of its rows."""
        return self.path / "places"

    def claim(self) -> None:
        """Make the directory and take its lock. Raises LockedError, DiskError, or UsageError for a symbolic link."""
        if self.path.is_symlink():
            raise UsageError(f"{self.path} is a symbolic link; a run directory must be a real one. Remove the link.")
        try:
            holder = self._take()
            for _ in range(LOOKS):
                if holder:
                    time.sleep(LOOK_SECONDS)
                    holder = self._take()
            if holder:
                raise LockedError(
                    f"{self.path}: another process ({holder}) works on this run. Wait for it or stop it; nothing was "
                    "read or sent."
                )
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
            for name in SCRATCH:
                (self.path / name).unlink(missing_ok=True)
            remove_leftovers(self.path / "run.json")
        except OSError as error:
            self.release()
            raise disk_error(error, self.path) from error

    def _take(self) -> str:
        """Open and lock the lock file; who holds it where that fails, else nothing. Raises OSError and UsageError."""
        if not self._is_ours():
            raise UsageError(f"{self.path} exists and is not a run's directory; name another by --run, or another -o.")
        make_directory(self.path)
        lock, holder = self.path / "lock", ""
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(self._lock), lock.stat()):
                return ""
        except FileNotFoundError:
            pass  # removed by another process, which abandons the run
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
        self.release()
        return holder or "of unknown number"

    def _is_ours(self) -> bool:
        """Whether this is a run's directory, or could become one without touching anybody's files."""
        try:
            names = {path.name for path in self.path.iterdir()}
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            return not self.path.exists()
        return "run.json" in names or all(map(_BEGUN.fullmatch, names))

    def holder(self) -> str:
        """The number of the process that works in it now; empty if none does."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return ""
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "of unknown number"
        finally:
            os.close(fd)
        return ""

    def abandon(self) -> None:
        """Release it, and remove it before that if there is nothing in it but the lock and a copy of piped seeds."""
        with suppress(OSError):
            files = sorted(self.path.iterdir(), reverse=True)  # the lock last
            if self._lock >= 0 and all(path.name in FORGOTTEN for path in files):
                for path in files:
                    path.unlink()
                self.path.rmdir()
        self.release()

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def load(self) -> dict[str, Any]:
        """`run.json`, or an empty mapping for a new run. Raises DamageError where it makes no sense, and DiskError
        where it cannot be read."""
        file = self.path / "run.json"
        try:
            stored = orjson.loads(file.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise disk_error(error, file) from error
        except orjson.JSONDecodeError as error:
            raise DamageError(
                f"{file}: cannot be read: {error}. Restore it from a copy, or use another output."
            ) from None
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            raise DamageError(
                f"{file}: was written in a format that this version does not know; use the newer version."
            )
        digest = stored.pop("digest", None)
        if digest is not None and digest != _digest(stored):  # at first there was none
            raise DamageError(
                f"{file}: was changed since it was written. Restore it from a copy, or use another output."
            )
        return stored

    def save(self, facts: dict[str, Any]) -> None:
        """Write `run.json` if it says something new."""
        stored = {"format": FORMAT, **facts}
        if self.load() != stored:
            sealed = {**stored, "digest": _digest(stored)}
            data = orjson.dumps(sealed, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
            write_atomically(self.path / "run.json", data)


def _digest(facts: dict[str, Any]) -> str:
    """What tells that `run.json` was edited, or harmed where it still is JSON."""
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

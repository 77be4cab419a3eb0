"""Bringing bytes and names to the disk for good. Knows nothing about what they mean."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from distill_data.errors import DiskError, OutOfMemory

_WAYS_OUT = dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n) or lower --concurrency")
_TEMPORARY = re.compile(r"\.(.+)\.([0-9]{1,9})(?:-([0-9]{1,19}))?\.tmp", re.DOTALL)


def reserve_space(path: Path, size: int) -> None:
    """A file that takes space, to be removed when the disk is full, so that what is in flight still lands.

    Raises OSError where there is no room for it; a file system that cannot set space aside is no error.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        os.close(fd)


def disk_error(error: OSError, path: Path) -> DiskError:
    if error.errno == errno.ENOMEM:  # also a file can be what no memory was left for
        return OutOfMemory(str(path))
    what = os.strerror(error.errno) if error.errno else error
    way_out = _WAYS_OUT.get(error.errno or 0, "make room or give another output")
    return DiskError(
        f"{path}: {what}. What was acknowledged before is safe; {way_out}, and run the same command again."
    )


def write_fully(fd: int, data: bytes) -> None:
    """Write all of `data`: near a full disk the system takes a part, and complains only about the rest."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_data(fd: int) -> None:
    """Bring a file's bytes to the disk; on macOS fsync alone leaves them in the drive's cache."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def refuse_deleted(fd: int) -> None:
    """Raise FileNotFoundError where an open file has no name any more: nobody will read what is written to it."""
    if not os.fstat(fd).st_nlink:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    """Make names created or renamed in a directory durable. Some file systems cannot; they say EINVAL."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory and those above it that are missing, and bring their names to the disk. Raises OSError."""
    known, made = path.exists(), [path, *(each for each in path.parents if not each.exists())]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for each in reversed(made):  # also where it was there: whoever made it may have died before this
        try:
            sync_directory(each.parent)
        except PermissionError:
            if not known:
                raise
            # Above a directory that was there may stand one of somebody else, which cannot be opened.


def temporary_of(path: Path) -> Path:
    """The name beside a file, with nothing there, under which this process writes a new version. Raises OSError."""
    remove_leftovers(path)
    return path.with_name(f".{path.name}.{os.getpid()}-{_birth(os.getpid())}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove new versions of a file that were not finished, by this process or by ones that are dead on this machine.

    Whoever is killed leaves its own behind. Raises OSError.
    """
    for other in path.parent.iterdir() if path.parent.is_dir() else ():
        found = _TEMPORARY.fullmatch(other.name)
        if found and found[1] == path.name and not _is_alive(int(found[2]), int(found[3] or 0)):
            remove(other)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_alive(process: int, birth: int) -> bool:
    """Whether it is another process that lives. Numbers come again: in containers all have the same few."""
    if process == os.getpid():
        return False
    now = _birth(process)
    if birth and now:
        return birth == now
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _birth(process: int) -> int:
    """When a process began, in the kernel's ticks; 0 where there is none, or nobody tells."""
    try:
        return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file as a whole: a reader, or a crash, sees the old bytes or the new ones. Raises DiskError."""
    temporary = None
    try:
        temporary = temporary_of(path)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(fd)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error

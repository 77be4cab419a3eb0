"""The child process behind `tests`: it shuts itself in, runs an answer and its unit tests, and tells if all passed.

Run by its path in an empty directory; knows nothing of this package. On stdin come the settings (a length in 4 bytes,
then JSON: `code`, `tests`, the test `functions` and `methods`, the limits), then a token. To stdout go a line that
names what is shut off, then the token when every test has passed, or else the error.

Two processes: this one, which stays outside and watches the clock, and its child, which runs the code.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import ModuleType, TracebackType
from typing import Any

PROCESSES = 16
"""Processes and threads that the code may have at once."""

FILE_BYTES = 64 << 20
"""Bytes of one file, and of all files together where the file system is shut off."""

OPEN_FILES = 64
LONGEST_ERROR = 500
TIME_IS_OVER, CRASHED = 3, 4
"""Exit statuses; 0 when the code came to an end of its own."""

NEW_MOUNTS, NEW_USER, NEW_PROCESSES, NEW_IPC, NEW_NETWORK = 0x20000, 0x10000000, 0x20000000, 0x08000000, 0x40000000
READ_FILES = 1 << 2
"""The capability to read every file. Root keeps it, for Python itself may lie where only root can read."""

Settings = dict[str, Any]


def main() -> None:
    """Shut in, run, wait, clean up, leave."""
    settings = read_settings()
    shut = shut_off() if settings["namespaces"] else []
    user = free_user() if os.geteuid() == 0 else None
    if shut:
        shut += shut_files(user)
    if user is not None and "files" not in shut:
        os.chown(".", user, user)
    with suppress(OSError):
        system("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what the code leaves behind becomes ours
    os.write(1, (" ".join(shut) + "\n").encode())
    child = os.fork()
    if child == 0:
        run(settings, user, counted_apart=user is not None or (bool(shut) and kernel() >= (5, 14)))
    status = wait(child, 2 * settings["seconds"])
    kill_all(child)
    os._exit(status)


def read_settings() -> Settings:
    """The settings and not a byte more: the token is not for this moment."""
    size, text = int.from_bytes(os.read(0, 4), "big"), b""
    while len(text) < size:
        text += os.read(0, size - len(text))
    settings: Settings = json.loads(text)
    return settings


def system(name: str, *arguments: Any) -> None:
    """Call the C library. Raises OSError, also where it has no such function."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None or function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def kernel() -> tuple[int, ...]:
    """Its version. From 5.14 on, a user namespace counts its processes by itself."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def shut_off() -> list[str]:
    """Enter namespaces with no network and no other processes, where the kernel allows it."""
    user, group = os.geteuid(), os.getegid()
    flags = NEW_NETWORK | NEW_PROCESSES | NEW_IPC | NEW_MOUNTS
    try:
        system("unshare", flags if user == 0 else flags | NEW_USER)
    except OSError:
        return []
    if user != 0:
        for name, text in ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
    return ["network"]


def shut_files(user: int | None) -> list[str]:
    """Make every file system read-only but the working directory, which becomes a small one in memory."""
    here = os.getcwd().encode()  # noqa: PTH109
    owner = f",uid={user},gid={user}" if user is not None else ""
    try:
        system("mount", None, b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE: nothing of this shows outside
        system("mount", b"tmpfs", here, b"tmpfs", 6, f"size={FILE_BYTES},nr_inodes=1000,mode=700{owner}".encode())
        # mount_setattr: read-only from the root down, then the new one writable again.
        system("syscall", 442, -100, b"/", 0x8000, (ctypes.c_uint64 * 4)(1, 0, 0, 0), 32)
        system("syscall", 442, -100, here, 0, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32)
        os.chdir(here)
    except OSError:
        return []
    return ["files"]


def free_user() -> int:
    """A user id for this run alone, of those that systemd draws for services."""
    return 61184 + os.getpid() % 4000


def run(settings: Settings, user: int | None, counted_apart: bool) -> None:
    """In the child: limit, run answer and tests, send the token. Does not return."""
    token, report, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    processes = PROCESSES if counted_apart else PROCESSES + tasks_of_this_user()
    if user is not None:
        leave_root(user)
    for call in ("prctl", 38, 1, 0, 0, 0), ("prctl", 1, 9, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG
        with suppress(OSError):
            system(*call)
    keep_capabilities(READ_FILES if user is not None else 0)
    limit(settings, processes)
    os.environ.clear()
    with ExitStack() as stack:
        stack.push(make_report(report))
        judge(settings, token, report)
    os._exit(1)


def leave_root(user: int) -> None:
    """Become a user who owns nothing. What may be kept of root's capabilities is decided after this."""
    with suppress(OSError):
        system("prctl", 8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def keep_capabilities(kept: int) -> None:
    """Hold no capability but these, and none at all where these are not ours to keep."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    for mask in (kept, 0):
        with suppress(OSError):
            return system("capset", header, (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0))
    return None


def limit(settings: Settings, processes: int) -> None:
    """Set every limit, for good."""
    memory = settings["memory_mb"] << 20
    for what, most in (
        (resource.RLIMIT_CPU, settings["seconds"]),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def tasks_of_this_user() -> int:
    """Processes and threads of this user: where the kernel counts the code's among them, its share comes on top."""
    count = 0
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:  # noqa: PTH208, PTH112
        with suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():  # noqa: PTH116
                count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return count


def make_report(
    target: int,
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], bool]:
    """What sends the error that ended the code to the parent, which shows it and believes none of it."""

    def report(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        text = f"{kind.__name__}: {error}"[:LONGEST_ERROR] if kind else ""
        place = ""
        while trace:
            code = trace.tb_frame.f_code
            if code.co_filename in ("answer.py", "tests.py"):
                place = f" ({code.co_filename}, line {trace.tb_lineno})"
            trace = trace.tb_next
        os.write(target, (text.rstrip(": ") + place).encode("utf-8", "replace"))
        return True

    return report


def judge(settings: Settings, token: int, report: int) -> None:
    """Run the answer, the tests among its names, each test function and method; then pass the token on."""
    read, write, leave = os.read, os.write, os._exit
    module = sys.modules["answer"] = ModuleType("answer")
    names = vars(module)
    for name in ("answer", "tests"):
        exec(compile(settings["code" if name == "answer" else name], f"{name}.py", "exec", dont_inherit=True), names)  # noqa: S102
    for function in settings["functions"]:
        names[function]()
    for case, method in settings["methods"]:
        names[case](method).debug()
    write(report, read(token, 64))
    leave(0)


def wait(child: int, seconds: float) -> int:
    """The exit status to leave with: how the child ended, or that it is still there after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended:
            if ended.si_code == os.CLD_EXITED:
                return 0
            return TIME_IS_OVER if ended.si_status in (signal.SIGKILL, signal.SIGXCPU) else CRASHED
        time.sleep(0.002)
    return TIME_IS_OVER


def kill_all(child: int) -> None:
    """End the child and what it started. In its own namespace the kernel does that; elsewhere they are looked for."""
    end = time.monotonic() + 2
    os.kill(child, signal.SIGKILL)
    with suppress(ChildProcessError):
        while time.monotonic() < end:
            with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
                for process in file.read().split():
                    os.kill(int(process), signal.SIGKILL)
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.001)


if __name__ == "__main__":
    main()

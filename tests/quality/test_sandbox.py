"""`tests`: code that solves its task passes, and code that does anything else neither passes nor gets out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import SeedError, UsageError, VerifierFailed
from distill_data.quality import SLOW, make_verifier, sandbox
from distill_data.quality.sandbox import Limits, TestRun, protection, read_tests, run_tests

QUICK = Limits(seconds=1, memory_mb=256)
BOTH = pytest.mark.parametrize("namespaces", [True, False])
"""With all that the kernel gives, and without its namespaces."""


def run(code: str, unit_tests: str = "assert add(1, 2) == 3", namespaces: bool = True) -> TestRun:
    return run_tests(code, unit_tests, QUICK, namespaces=namespaces)


def holds(code: str, namespaces: bool = True) -> bool:
    """Whether a last assert in the code holds: the code looks around and says what it sees by passing."""
    return run(code, "assert seen", namespaces).passed


SUM, TEST = "def add(a, b): return a + b", "assert add(1, 2) == 3"


@BOTH
@pytest.mark.parametrize(
    ("code", "unit_tests", "error"),
    [
        (SUM, TEST, ""),
        (SUM, "def test_sum():\n    assert add(1, 2) == 4", "AssertionError (tests.py, line 2)"),
        ("def add(a, b): return a - b", TEST, "AssertionError (tests.py, line 1)"),
        ("def add(a, b): return a / 0", TEST, "ZeroDivisionError: division by zero (answer.py, line 1)"),
        ("def add(a, b) return", TEST, "SyntaxError: expected ':' (answer.py, line 1)"),
        ("", TEST, "NameError: name 'add' is not defined (tests.py, line 1)"),
        ("x = 'é\U0001f600'", "assert len(x) == 2", ""),
        ("x = '\udc80'", "assert len(x) == 1", "UnicodeEncodeError"),
        ("if __name__ == '__main__': raise SystemExit(1)", "assert True", ""),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int' = 1", "import answer; answer.P()", ""),
    ],
)
def test_code_passes_when_its_tests_do(code: str, unit_tests: str, error: str, namespaces: bool) -> None:
    ended = run(code, unit_tests, namespaces)
    assert ended.passed is (error == "")
    assert ended.error.startswith(error)


def test_test_cases_are_run_with_their_set_up() -> None:
    cases = (
        "import unittest\nclass Sum(unittest.TestCase):\n    def setUp(self): self.three = 3\n"
        "    def test_sum(self): self.assertEqual(add(1, 2), self.three)\n"
    )
    assert run("def add(a, b): return a + b", cases).passed
    assert run("def add(a, b): return a", cases).error.startswith("AssertionError: 1 != 3")


@BOTH
@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit(0)",
        "import sys; [sys.stdout.write('0' * 32 + 'passed OK True\\n') for _ in range(1000)]",
        "import builtins; builtins.AssertionError = type('Quiet', (), {}); AssertionError = None",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import sys; sys.excepthook = lambda *a: None; sys.exit = lambda *a: None",
        "import atexit, os; atexit.register(os._exit, 0); raise Exception",
        "import os\nif os.fork(): os._exit(0)",
        "import threading, os; threading.Timer(0.01, os._exit, [0]).start()\nimport time; time.sleep(0.2)",
        "def add(a, b): raise SystemExit(0)",
        "def add(a, b): return add(a, b)",
        "print(input())",
        "import os; os.closerange(0, 64)",
        "def test_mine(): pass",
    ],
)
def test_only_passed_tests_pass(code: str, namespaces: bool) -> None:
    assert not run(code, namespaces=namespaces).passed


@BOTH
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import signal; [signal.signal(n, signal.SIG_IGN) for n in (15, 24)]\nwhile 1: pass", "it took too long"),
        ("x = bytearray(10 ** 9)", "MemoryError"),
        ("x = [0]\nwhile True: x += x", "MemoryError"),
        ("f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 20))", ("OSError: [Errno 27]", "OSError: [Errno 28]")),
        ("x = [open('/dev/null') for _ in range(99)]", "OSError: [Errno 24]"),
        ("import ctypes; ctypes.string_at(0)", "it crashed Python"),
        ("import sys; sys.setrecursionlimit(10**9)\ndef add(a, b): max([1], key=lambda x: add(a, b))", "it crash"),
    ],
)  # fmt: skip
def test_what_it_may_use_is_limited(code: str, error: str | tuple[str, ...], namespaces: bool) -> None:
    ended = run(code, namespaces=namespaces)
    assert not ended.passed
    assert ended.error.startswith(error)


def test_what_sleeps_is_ended_by_the_clock() -> None:
    started = time.monotonic()
    assert run("import time; time.sleep(60)").error == "it took too long"
    assert 2 <= time.monotonic() - started < 8


@BOTH
def test_a_fork_bomb_is_stopped_by_the_count_and_ended(namespaces: bool) -> None:
    bomb = (
        "import os, time\n"
        "for n in range(40):\n"
        "    try:\n        if os.fork() == 0: time.sleep(30)\n"
        "    except BlockingIOError:\n        seen = n < 20; break\n"
    )
    assert holds(NAMED + bomb, namespaces)
    assert NAME not in commands()


@BOTH
def test_what_outlives_it_is_ended(namespaces: bool) -> None:
    leave = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0: time.sleep(60)\n"
        "    os._exit(0)\n"
        "time.sleep(0.5); seen = True"
    )
    ended, most = threading.Event(), [0]

    def watch() -> None:
        while not ended.is_set():
            most[0] = max(most[0], commands().count(NAME))

    watching = threading.Thread(target=watch)
    watching.start()
    assert holds(NAMED + leave, namespaces)
    ended.set()
    watching.join()
    assert most[0] >= 2
    assert NAME not in commands()


NAME = f"sandbox{os.getpid()}"
NAMED = f"import ctypes; ctypes.CDLL(None).prctl(15, {NAME.encode()!r}, 0, 0, 0)\n"


def commands() -> list[str]:
    """The names of all processes; those of the code under test call themselves NAME."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            found.append(path.read_text().strip())
    return found


@BOTH
def test_it_starts_with_nothing(namespaces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert holds("import os; seen = dict(os.environ) == {} and os.listdir() == []", namespaces)
    assert holds("import os; seen = 'secret' not in open('/proc/self/environ').read()", namespaces)
    assert holds("try: import pytest\nexcept ImportError: seen = True", namespaces)
    assert holds("try: input()\nexcept EOFError: seen = True", namespaces)


@BOTH
def test_the_working_directory_can_be_written_and_is_gone_afterwards(
    namespaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert holds("open('a', 'w').write('b'); seen = open('a').read() == 'b'", namespaces)
    assert holds("import os; os.mkdir('a'); os.symlink('/', 'a/b'); seen = True", namespaces)
    if namespaces and protection().files:
        assert holds("import os\nfor n in range(900): os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0); seen = True")
    place.rmdir()


def test_namespaces_cut_network_files_and_other_processes(tmp_path: Path) -> None:
    shut = protection()
    if not shut.network:
        assert run("x = 1", "assert x").protection == shut
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0)
        call = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nseen = True"
        assert not holds(call)
        assert holds(call, namespaces=False)
        server.accept()[0].close()
    assert holds(
        f"import os\nseen = os.getppid() == 0\ntry: seen = bool(open('/proc/{os.getpid()}/environ').read()) and 0\n"
        "except PermissionError: pass"
    )
    if shut.files:
        target = tmp_path / "file"
        target.write_text("kept")
        os.chmod(target, 0o666)
        for path in target, tmp_path / "new", Path("/tmp/new"):
            assert holds(f"try: open({str(path)!r}, 'w')\nexcept OSError: seen = True")
        assert target.read_text() == "kept"


def test_under_root_it_is_nobody_who_runs() -> None:
    assert holds(f"import os; seen = os.getuid() != 0 or {os.getuid()} != 0")
    assert holds(
        "held = [l for l in open('/proc/self/status') if 'CapEff' in l]; seen = int(held[0][7:], 16) in (0, 4)"
    )


def test_a_flood_of_forged_reports_is_read_no_further_than_needed() -> None:
    write = "try: os.write(fd, b'0' * 32)\n        except OSError: pass"
    assert not run(f"import os\nwhile True:\n    for fd in range(3, 20):\n        {write}").passed


def test_errors_are_one_short_line_and_the_same_in_every_run() -> None:
    code = "class A: pass\nraise ValueError(f'{A()}\\n' * 1000)"
    first, second = run(code).error, run(code).error
    assert first == second
    assert first.startswith("ValueError: <answer.A object at 0x…> <answer.A") and "\n" not in first and len(first) < 600
    assert run("raise ValueError({*'abcdefgh'})").error == run("raise ValueError({*'abcdefgh'})").error


@pytest.mark.parametrize(
    ("unit_tests", "message"),
    [
        ("", "test nothing"),
        ("def check(candidate):\n    assert candidate(1) == 2", "test nothing"),
        ("async def test_it():\n    assert False", "test nothing"),
        ("x = 1", "test nothing"),
        ("def test_it(tmp_path): pass", "test_it with parameters"),
        ("assert (", "no Python"),
        ("(" * 5000, "no Python"),
        ("assert 1\0", "no Python"),
        ("# " + "x" * 100_000, "more than 100000 characters"),
    ],
)
def test_gold_that_tests_nothing_is_the_rows_fault(unit_tests: str, message: str) -> None:
    with pytest.raises(SeedError, match=message):
        run("x = 1", unit_tests)


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_any_gold_is_tests_or_an_error(text: str) -> None:
    try:
        functions, methods = read_tests(text)
    except SeedError:
        return
    assert isinstance(functions, list) and isinstance(methods, list)


def test_an_answer_that_is_too_long_is_wrong() -> None:
    assert run("#" * 100_001, "assert True").error == "it has more than 100000 characters"
    assert run("#" + "é" * 99_999, "assert True").passed


LOOKED_INTO = """
import ctypes, os
from distill_data.quality import make_verifier, sandbox
{make}
libc, user = ctypes.CDLL(None), 54321
print(libc.prctl(3, 0, 0, 0, 0))
if os.getuid() == 0:
    os.setresuid(user, user, user)

def environment_seen():
    # By another process of the same user.
    mine, child = os.getpid(), os.fork()
    if child == 0:
        try:
            os._exit(b"SECRET=" in open(f"/proc/{{mine}}/environ", "rb").read())
        except PermissionError:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

libc.prctl(4, 1, 0, 0, 0)
print(environment_seen())
sandbox.hide_environment()
print(environment_seen())
"""
"""Prints whether the process can be looked into, and whether another one can read its environment before and after that
is hidden."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the setting")
@pytest.mark.parametrize(
    ("make", "seen"),
    [("", ["1", "1", "2"]), ("make_verifier('tests', None, allow_code=True)", ["0", "1", "2"])],
)
def test_no_process_of_the_same_user_reads_our_environment(make: str, seen: list[str]) -> None:
    script = [sys.executable, "-c", LOOKED_INTO.format(make=make)]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(script, env={"SECRET": "key", "PYTHONPATH": root}, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (seen, "")


def test_where_the_network_is_open_the_user_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for network in (True, False):
        monkeypatch.setattr(sandbox, "try_out", lambda _, network=network: sandbox.Protection(network, network))
        verify = make_verifier("tests", {"seconds": 1, "memory_mb": 256}, allow_code=True)
        assert verify(SUM, TEST) and verify(SUM, TEST)
        told = [record.getMessage() for record in caplog.records if record.name == sandbox.__name__]
        assert [("has the network" in message) for message in told] == [True] * (not network)


def test_what_is_left_behind_at_exit_is_removed(tmp_path: Path) -> None:
    script = (
        "import threading, time\nfrom pathlib import Path\nfrom distill_data.quality.sandbox import Limits, run_tests\n"
        "arguments = ('import time; time.sleep(60)', 'assert True', Limits(seconds=1))\n"
        "threading.Thread(target=run_tests, args=arguments, daemon=True).start()\n"
        f"while not list(Path({str(tmp_path)!r}).iterdir()): time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
    )
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])


def test_it_is_off_until_the_user_says_so() -> None:
    with pytest.raises(UsageError, match="--allow-code"):
        make_verifier("tests", None)
    with pytest.raises(UsageError, match="no setting of verifier 'tests' called 'allowed'"):
        make_verifier("tests", {"allowed": True}, allow_code=True)
    with pytest.raises(UsageError, match="1 or more"):
        make_verifier("tests", {"seconds": 0}, allow_code=True)
    with pytest.raises(UsageError, match="memory_mb"):
        make_verifier("tests", {"memory_mb": 8}, allow_code=True)
    verify = make_verifier("tests", {"seconds": 1, "memory_mb": 256}, allow_code=True)
    assert verify("def add(a, b): return a + b", "assert add(1, 2) == 3") is True
    assert verify("def add(a, b): return a * b", "assert add(1, 2) == 3") is False
    assert "tests" in SLOW


def test_a_sandbox_that_cannot_be_set_up_fails_the_item_and_not_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "executable", "/bin/false")
    with pytest.raises(VerifierFailed, match="could not be set up"):
        run("x = 1", "assert x")
    with pytest.raises(UsageError, match="cannot run code here"):
        make_verifier("tests", None, allow_code=True)

"""Mutants of the engine, each of which a test must kill: `python -m tests.mutations`.

For each line of the table a copy of the package is changed in one place, which must be there exactly once, and the
tests named for it run until the first fails. A mutant that lives means that a test is missing: exit code 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", "slow or not slow")
COPIED = ("distill_data", "tests", "prompts", "seeds", "pyproject.toml")


class Mutation(NamedTuple):
    """One thing that the package does no more."""

    name: str
    path: str
    """Below `distill_data`."""
    old: str
    new: str
    tests: str
    """Arguments for pytest."""


CUT = "tests/engine/test_power_cut.py -k batch_and_its_arrays"
PUBLISHED = "tests/engine/test_power_cut.py -k old_or_new"
MUTATIONS = [
    Mutation("no fdatasync", "engine/durable.py", "        os.fdatasync(fd)", "        pass", CUT),
    Mutation(
        "no fsync of a directory",
        "engine/durable.py",
        "    try:\n        os.fsync(fd)\n",
        "    try:\n        pass\n",
        CUT,
    ),
    Mutation(
        "answers are synced before they are written",
        "engine/appender.py",
        "            write_fully(self._fd, data)\n            sync_data(self._fd)\n",
        "            sync_data(self._fd)\n            write_fully(self._fd, data)\n",
        CUT,
    ),
    Mutation(
        "the journal's directory has no durable name", "engine/appender.py", "make_directory(self.directory)",
        "self.directory.mkdir(mode=0o700, exist_ok=True)", "tests/engine/test_power_cut.py -k names_and_content",
    ),
    Mutation("arrays are not synced", "engine/blobs.py", "        sync_data(self._fd)\n", "", CUT),
    Mutation(
        "a dataset is renamed before it is synced", "engine/publish.py",
        "        os.fsync(self._stream.fileno())\n", "", PUBLISHED,
    ),
    Mutation(
        "a manifest may be older than its names", "engine/publish.py",
        "            sync_directory(directory)\n", "            pass\n", PUBLISHED,
    ),
    Mutation("no lock", "engine/rundir.py", "fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass",
        "tests/engine/test_rundir.py",
    ),
    Mutation(
        "no checksum", "engine/segments.py",
        """ and line[-_TAIL:] == b',"c":"%08x"}\\n' % zlib.crc32(line[:-_TAIL])""", """ and line.endswith(b"\\n")""",
        "tests/engine/test_journal.py -k flipped",
    ),
    Mutation(
        "torn tails are not counted", "engine/journal.py", "self.totals.torn_tails += 1", "pass",
        "tests/engine/test_journal.py -k cut_anywhere",
    ),
    Mutation(
        "holes are damage", "engine/segments.py", "return holed(line, offset) and", "return False and",
        "tests/engine/test_journal_edges.py -k hole",
    ),
    Mutation(
        "holes are never damage", "engine/segments.py",
        ' and offset >= synced_end(segment.with_suffix(".sent"))', "",
        "tests/engine/test_journal_edges.py -k hole",
    ),
    Mutation(
        "damage is a torn tail", "engine/segments.py", "last and not glued(line)", "True",
        "tests/engine/test_journal.py -k flipped",
    ),
    Mutation(
        "an empty quota is a full queue", "engine/retry.py", '    "insufficient_quota": _QUOTA,\n', "",
        "tests/engine/test_retry.py tests/engine/test_send.py",
    ),
    Mutation(
        "nobody says what was sent", "engine/send.py",
        "await self.journal.note_sent(call.key, call.prompt_tokens, call.completion_tokens)", "pass",
        "tests/engine/test_send.py",
    ),
    Mutation(
        "what was refused stays in doubt", "engine/send.py",
        "        else:\n            self.journal.note_unpaid(call.key)\n", "        else:\n",
        "tests/engine/test_send.py",
    ),
    Mutation(
        "nothing is set aside", "engine/send.py", "self.budget.reserve(expected, call.cost)", "pass",
        "tests/engine/test_send.py",
    ),
    Mutation(
        "all samples share a key", "engine/ask.py", "% (identity, sample, body)", "% (identity, 0, body)",
        "tests/engine/test_ask.py",
    ),
    Mutation(
        "equal requests in flight are bought twice", "engine/ask.py", "            if waiting is None:\n",
        "            if True:\n", "tests/engine/test_ask.py",
    ),
    Mutation(
        "keys are not redacted", "teachers/endpoint.py", 'data = data.replace(mark, b"[redacted]")', "pass",
        "tests/teachers/test_endpoint.py tests/teachers/test_openai_wire.py",
    ),
    Mutation(
        "a reply to nothing is the next request's", "teachers/connections.py", "wire.usable and wire.is_silent()",
        "wire.usable", "tests/teachers/test_connections.py -k reply_to_nothing",
    ),
    Mutation(
        "what follows a reply is kept", "teachers/wire.py", "is None:\n            self.abort()\n",
        "is None:\n            pass\n", "tests/teachers/test_wire.py -k follows",
    ),
    Mutation(
        "a reset is no doubt", "teachers/wire.py", "error is None or isinstance(error, BrokenPipeError)", "True",
        "tests/teachers/test_wire.py -k swallowed",
    ),
    Mutation(
        "no certificate is verified", "teachers/connections.py", "ssl.create_default_context()",
        "ssl._create_unverified_context()", "tests/teachers/test_openai_losses.py -k does_not_verify",
    ),
    Mutation(
        "the loop never has its turn", "engine/schedule.py", "if monotonic() < ends:", "if True:",
        "tests/engine/test_schedule.py -k turn",
    ),
    Mutation(
        "what was read ahead of a growing file counts", "engine/segments.py", "if growing:", "if False:",
        "tests/engine/test_journal_edges.py -k short_memory",
    ),
    Mutation(
        "the library asks again by itself", "teachers/batch.py", "max_retries=0", "max_retries=2",
        "tests/teachers/test_one_retry_layer.py",
    ),
    Mutation(
        "a prompt may have any length", "recipes/sandbox.py", "if self.characters < 0:", "if False:",
        "tests/recipes/test_template_attacks.py",
    ),
    Mutation(
        "the loops of a prompt take any time", "recipes/sandbox.py", "if self.steps < 0:", "if False:",
        "tests/recipes/test_template_attacks.py",
    ),
    Mutation(
        "a manifest of another plan counts", "engine/publish.py",
        """manifest["result"].get("plan") != plan or """, "", "tests/engine/test_publish.py",
    ),
    Mutation(
        "an edited run.json counts", "engine/rundir.py", "digest is not None and digest != _digest(stored)", "False",
        "tests/engine/test_rundir.py",
    ),
    Mutation(
        "a shard takes rows of another", "data/seeds.py", "shard is not None and not shard.holds(mark)", "False",
        "tests/commands/test_survey.py -k row_of_another",
    ),
]  # fmt: skip


def copy_into(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


def write(path: Path, text: str) -> None:
    """Write a module, and take its byte code away: two texts of a size in one second look the same to Python."""
    path.write_text(text, encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def kill(mutation: Mutation, folder: Path) -> tuple[str, float]:
    """The first test that fails, "" where none does, and the seconds that took. The copy is whole again afterwards."""
    path = folder / "distill_data" / mutation.path
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutation.old) != 1:
        raise SystemExit(
            f"{mutation.name}: in {mutation.path} the text stands {whole.count(mutation.old)} times, not once"
        )
    write(path, whole.replace(mutation.old, mutation.new))
    began = time.monotonic()
    done = subprocess.run(
        [*PYTEST, *mutation.tests.split(maxsplit=2)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    write(path, whole)
    failed = re.search(r"^(?:FAILED|ERROR) \S*?([^/\s]+::\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutation.name}: the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1] if failed else "", time.monotonic() - began


def main() -> int:
    alive = 0
    with tempfile.TemporaryDirectory(prefix="mutants") as name:
        copy_into(Path(name))
        for mutation in MUTATIONS:
            killer, seconds = kill(mutation, Path(name))
            alive += not killer
            print(f"{mutation.name:45} {seconds:5.1f} s  {killer or 'LIVES'}", flush=True)
    print(f"{len(MUTATIONS)} mutants, {alive} alive")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())

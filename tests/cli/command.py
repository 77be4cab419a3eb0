"""Running the command line as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURES = re.compile("OPENAI_|DISTILL_|HF_|PYTHONDONTWRITEBYTECODE|(http|https|all|no)_proxy$", re.IGNORECASE)


def run(*arguments: str | bytes | Path, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not CONFIGURES.match(name)}
    return subprocess.run(
        [sys.executable, "-m", "distill_data", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        check=False,
    )


def paragraph(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What a failed command said, after a check that it is one paragraph and no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("distill-data: ")
    assert "\n\n" not in done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())

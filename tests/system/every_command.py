"""Every command of the command line, ready to be run in a folder, and a way to run one that costs no new interpreter.

The table must name each command of `cli.app`, so one that is added there fails the tests that go over all of them until
it stands here too. Knows nothing of what the tests look for.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import uvloop  # noqa: F401 - so that forks need not import it

import distill_data.commands
import distill_data.commands.label
import distill_data.teachers.openai
from distill_data.cli import main
from distill_data.cli.app import COMMANDS
from distill_data.engine import batch_jobs, send
from tests.system.command import environment

NAMES = sorted([*(name for group in COMMANDS.values() for name, *_ in group), "models"])
MODEL = "openai/test-model"
FEW = ("--limit", "2")
ASK = {
    "label": ("label", "seeds.jsonl", "-r", "answer"),
    "expand": ("expand", "seeds.jsonl", "-r", "self-instruct", "--rows", "1", "--max-candidates", "8"),
    "curate": ("curate", "seeds.jsonl", "-r", "topics", "--rows", "1", "--max-candidates", "8"),
    "feature": ("feature", "seeds.jsonl", "-r", "sampled", *FEW),
    "feedback": ("feedback", "seeds.jsonl", "-r", "rate", "-s", MODEL, *FEW),
    "self-knowledge": ("self-knowledge", "seeds.jsonl", "-r", "majority", "-s", MODEL, *FEW),
    "score": ("score", "seeds.jsonl", "-r", "quality", *FEW),
    "evaluate": ("evaluate", MODEL, "--task", "seeds.jsonl", "--metric", "exact", *FEW),
}
"""Commands that ask a model, without their teacher and output."""
LOOK: dict[str, tuple[tuple[str, ...], ...]] = {
    "stats": (("stats", "DATA"), ("stats", "DATA", "--json")),
    "view": (("view", "DATA"), ("view", "DATA", "--row", "1"), ("view", "DATA", "--rejects")),
    "report": (("report", "DATA", "-o", "page.html"),),
    "diff": (("diff", "DATA", "other.jsonl"), ("diff", "DATA", "other.jsonl", "--json")),
    "filter": (
        ("filter", "DATA", "-c", "length:1,5", "-o", "f.jsonl"),
        ("filter", "DATA", "-c", "nope", "-o", "g.jsonl"),
    ),
    "dedup": (("dedup", "DATA", "-o", "u.jsonl"), ("dedup", "DATA", "-o", "u2.jsonl", "--json")),
    "decontaminate": (("decontaminate", "DATA", "--against", "other.jsonl", "-o", "c.jsonl"),),
    "select": (("select", "DATA", "--how", "top", "--by", "nope", "--budget", "1", "-o", "s.jsonl"),),
    "sample": (("sample", "DATA", "--rows", "2", "-o", "sample.jsonl"),),
    "split": (("split", "DATA", "--into", "a=0.5", "--into", "b=0.5", "-o", "parts.jsonl"),),
    "merge": (("merge", "DATA", "other.jsonl", "-o", "all.jsonl"),),
    "check": (("check", "DATA", "--for", "trl-sft"), ("check", "DATA", "--for", "alpaca", "--json")),
    "export": (("export", "DATA", "--to", "trl-sft", "-o", "train.jsonl"),),
    "card": (("card", "DATA"), ("card", "MADE"), ("card", "MADE", "-o", "CARD.md")),
    "push": (
        ("push", "MADE", "--to", "me/data", "--dry-run"),
        ("push", "MADE", "--to", "me/data", "--endpoint", "URL"),
        ("push", "DATA", "--to", "me/data", "--dry-run"),
    ),
    "verify": (("verify", "DATA"), ("verify", "MADE", "--json")),
    "recipes": (("recipes",),),
    "show": (("show", "answer", "--seeds", "seeds.jsonl"), ("show", "answer", "--seeds", "seeds.jsonl", "--json")),
    "check-recipe": (("check-recipe", "RECIPE"), ("check-recipe", "DATA")),
    "status": (("status", "DATA"), ("status", "DATA", "--json"), ("status", "MADE")),
    "publish": (("publish", "DATA"),),
    "models": (("models", "pull", "DATA"),),
    "train": (
        ("train", "DATA", "-s", "tiny", "--objective", "dpo", "-o", "student"),
        ("train", "DATA", "-s", "nobody", "--objective", "sft", "-o", "student"),
    ),
}
"""Commands that ask no model. DATA, MADE (what a command wrote), RECIPE and URL stand for what a test has."""


FRONT = """---
about: X.
columns: {instruction: required}
parser: text
sampling: {max_tokens: 8}
record: {kind: sft, completion: {content: text}}
---
"""
"""The head of a recipe file; a body follows."""


class Ended(NamedTuple):
    """How a command ended in a fork of this process."""

    args: tuple[str, ...]
    code: int
    out: bytes
    err: bytes


def asking(name: str, url: str, *options: str) -> tuple[str, ...]:
    """The command against this server, with what makes it short."""
    teacher = () if name in ("self-knowledge", "evaluate") else ("-t", MODEL)
    output = "evaluate.json" if name == "evaluate" else f"{name}.jsonl"
    return (*ASK[name], *teacher, "--base-url", url, "-o", output, "--timeout", "2", "-v", *options)


def doctor(url: str, *options: str) -> tuple[str, ...]:
    return ("doctor", "-t", MODEL, "--base-url", url, *options)


def looking(name: str, data: str, made: str, recipe: str, url: str) -> Iterator[tuple[str, ...]]:
    stands_for = {"DATA": data, "MADE": made, "RECIPE": recipe, "URL": url}
    for args in LOOK[name]:
        yield tuple(stands_for.get(arg, arg) for arg in args)


def write_seeds(folder: Path, text: str, rows: int = 12) -> None:
    """`seeds.jsonl`, which every command of `ASK` can begin with; the text stands in every column."""
    columns = ("instruction", "question", "answer", "topic", "prompt", "completion")
    lines = [json.dumps({name: f"{text} {number} {name}" for name in columns}) for number in range(rows)]
    (folder / "seeds.jsonl").write_text("\n".join(lines) + "\n")


def warm_up() -> None:
    """Import what commands import late, once and not in every fork. Worth its second for more than a few commands."""
    for module in pkgutil.iter_modules(distill_data.commands.__path__):
        importlib.import_module(f"distill_data.commands.{module.name}")
    for name in ("openai", "regex", "uvloop", "distill_data.teachers.batch", "distill_data.methods.feedback"):
        importlib.import_module(name)


def forked(
    args: tuple[str, ...],
    folder: Path,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Ended:
    """Run a command in a fork, in this folder, with clean variables and these. `before` is called in the fork first."""
    streams = [folder / f".{name}.{os.getpid()}" for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        _run(args, folder, streams, env, before)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (path.read_bytes() for path in streams)
    for path in streams:
        path.unlink()
    return Ended(args, code, out, err)


def _run(
    args: tuple[str, ...],
    folder: Path,
    streams: list[Path],
    env: Mapping[str, str] | None,
    before: Callable[[], None] | None,
) -> None:
    """In the fork. Does not return."""
    code = 1
    try:
        for number, path in enumerate(streams, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(each, "w"), "utf-8", write_through=True) for each in (1, 2)
        )
        clean = environment(env)
        os.environ.clear()
        os.environ.update(clean)
        os.chdir(folder)
        warnings.simplefilter("default")
        send.backoff = batch_jobs.backoff = lambda *_: 0.0  # what is asked again is asked again at once
        if before is not None:
            before()
        code = main(args)
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its top
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

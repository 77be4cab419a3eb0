"""Small jobs to be killed: what each reads, whom it asks, and how its answers are known on disk and in the ledger."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distill_data.data.seeds import make_items, open_seeds, read_rows
from tests import annotators, faultserver, scoring_server
from tests.crash import Fork
from tests.crash.deaths import Asked, Job, Line
from tests.system.command import Output, marked, write_seeds

ROWS, CONCURRENCY = 12, 4
_ID = re.compile(rb'"id":"([0-9a-f]{64})"')
_OWNER = re.compile(rb'"i":"([0-9a-f]{16})"')
POOL = """\
---
about: Four new tasks beside two shown ones, and an answer to each that is new.
strategy: demonstrations
columns: {instruction: required}
settings: {round: 8, per_call: 4, rouge: 0.7, human: 2, machine: 1}
parser: list
sampling: {temperature: 0.7, max_tokens: 200}
stages:
  answer: {parser: text, sampling: {max_tokens: 100}}
record: {kind: sft, completion: {content: text}}
example:
  row: {instruction: Name three rivers.}
  x: {instruction: Name three lakes.}
  reply: "1. Name three lakes of the north."
---
{% block main %}
Write more tasks:
{% for shown in demonstrations %}
- {{ shown.instruction }}
{% endfor %}
{% endblock %}
{% block answer %}
{{ x.instruction }}
{% endblock %}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One job, as often as wanted."""

    serve: Callable[[], contextlib.AbstractContextManager[Asked]]
    prepare: Callable[[Path], None]
    """Write into a directory what the command reads."""
    args: tuple[str, ...]
    bought: Callable[[Line], str]
    """Which answer a line of the ledger bought; empty for none."""
    on_disk: Callable[[Path], set[str]]
    """The answers in the journal of a directory's run, named alike."""

    def new_job(self, fork: Fork, server: Asked, directory: Path) -> Job:
        """The job in a directory of its own."""
        directory.mkdir(parents=True)
        self.prepare(directory)
        args = [*self.args, "--base-url", server.url, "-o", "out.jsonl", "--concurrency", str(CONCURRENCY)]
        out = Output(directory / "out.jsonl")
        return Job(fork, server, args, out, CONCURRENCY, lambda: self.on_disk(directory), self.bought)


def answers(directory: Path) -> Iterator[bytes]:
    """The journal's lines with answers."""
    for path in (directory / "out.run" / "journal").glob("*.jsonl"):
        yield from (line for line in path.read_bytes().split(b"\n")[:-1] if b'"t":"ok"' in line)


def ids(directory: Path) -> set[str]:
    """The ids of the answers, which the server makes of the requests."""
    return {found[1].decode() for line in answers(directory) if (found := _ID.search(line))}


def digest(line: Line) -> str:
    return str(line["digest"]) if line["paid"] else ""


def prepare_label(directory: Path) -> None:
    write_seeds(directory / "seeds.jsonl", marked(ROWS))


def prepare_expand(directory: Path) -> None:
    write_seeds(directory / "seeds.jsonl", [f"Seed {n}: say what you know of {n * n} apples" for n in range(6)])
    (directory / "pool.jinja").write_text(POOL)


def prepare_kinds(directory: Path) -> None:
    rows = [{"question": f"row-{n:05d}: How much is {7 * n} plus {n}?", "answer": str(8 * n)} for n in range(5)]
    (directory / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "models.toml").write_text(annotators.SEEDED)


def prepare_feature(directory: Path) -> None:
    rows = [{"text": f"row-{n:05d}: tea and {n % 7} cups"} for n in range(ROWS)]
    (directory / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def scored(line: Line) -> str:
    return str(line["row"]) if line["body"].get("prompt_logprobs") is not None else ""


def scored_on_disk(directory: Path) -> set[str]:
    """The marks of the rows with scores, which the journal knows by their item."""
    owners = {found[1].decode() for line in answers(directory) if (found := _OWNER.search(line))}
    items = make_items(read_rows(open_seeds(directory / "seeds.jsonl")), 0)
    return {str(item.row["text"])[:9] for item in items if item.id in owners}


def serve_tasks() -> contextlib.AbstractContextManager[Asked]:
    return faultserver.serve(plan={"markers": {"Write more tasks": "tasks"}})


SCENES = {
    "label": Scene(
        faultserver.serve,
        prepare_label,
        ("label", "seeds.jsonl", "-r", "answer", "-t", "openai/test-model"),
        digest,
        ids,
    ),
    "expand": Scene(
        serve_tasks,
        prepare_expand,
        ("expand", "seeds.jsonl", "-r", "./pool.jinja", "-t", "openai/test-model", "--rows", "10"),
        digest,
        ids,
    ),
    "feature": Scene(
        scoring_server.serve,
        prepare_feature,
        ("feature", "seeds.jsonl", "-r", "topk", "-t", "openai/toy", "--set", "k=5"),
        scored,
        scored_on_disk,
    ),
    "kinds": Scene(
        annotators.serve,
        prepare_kinds,
        ("self-knowledge", "seeds.jsonl", "-r", "rest", "-s", "student", "-n", "4", "--round", "1", "--set", "seed=0",
         "--config", "models.toml", "--kind", "preference=preference.jsonl", "--kind", "unpaired=unpaired.jsonl"),
        digest,
        ids,
    ),
}  # fmt: skip
"""One that asks once a row, one that grows in rounds, one with arrays, and one that publishes several files."""

"""`--pilot K`: the first items are paid once, the forecast is held against what the run then costs."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.expand import expand
from distill_data.commands.label import label
from distill_data.commands.options import Options
from distill_data.commands.status import status
from distill_data.errors import UsageError
from distill_data.reporting import closing_lines
from tests.faultserver import serve as serve_faults
from tests.provider import serve
from tests.system.command import Output, marked, run, write_seeds

PRICE = {"big": (1000.0, 4000.0, 1000.0)}
LEAST = 0.5
"""Of the interval's half, how far the truth may lie outside: one run in ten lies outside at all."""

GROWN = """\
---
about: Eight new tasks beside three shown ones, and an answer to each.
strategy: demonstrations
columns: {instruction: required}
settings: {round: 16, per_call: 8, rouge: 0.7, human: 3, machine: 1}
parser: list
sampling: {temperature: 0.7, max_tokens: 400}
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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "distill.toml"
    path.write_text('[models.big]\nmodel = "openai/big"\nprice = { input = 1000, output = 4000 }\n')
    return path


def uneven(prompt: str, before: int) -> str:
    return "word " * random.Random(prompt).randrange(5, 60)


def within(truth: float, range_: Any) -> bool:
    slack = LEAST * (range_["high"] - range_["low"])
    return bool(range_["low"] - slack <= truth <= range_["high"] + slack)


def test_the_first_items_are_paid_once_and_the_rest_is_foreseen(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(200))
    whole = Output(tmp_path / "whole.jsonl")
    with serve(uneven, latency=0.002) as provider:
        options = Options(teachers=("big",), base_url=provider.url, config=config)

        def make(to: Output, chosen: Options) -> Any:
            return label(str(seeds), recipe="answer", output=str(to.path), options=chosen)

        tried = make(out, replace(options, pilot=25))
        assert (tried.status, tried.exit_code, len(provider.ledger)) == ("pilot", 0, 25)
        assert not out.path.exists() and out.partial.rows() == [text[:9] for text in marked(25)]
        paid = provider.bill(PRICE)
        forecast = tried.history["forecast"]
        assert (forecast["unit"], forecast["of"], forecast["done"]) == ("items", 200, 25)
        assert forecast["rest"]["requests"] == {"expected": 175.0, "low": 175.0, "high": 175.0}
        again = make(out, replace(options, pilot=25))
        assert len(provider.ledger) == 25
        assert again.history["forecast"]["whole"]["cost"] == forecast["whole"]["cost"]
        assert any("still to do" in line for line in closing_lines(status(str(out.path))))
        done = make(out, options)
        assert done.status == "published" and len(provider.ledger) == 200
        assert within(provider.bill(PRICE), forecast["whole"]["cost"])
        assert within(provider.bill(PRICE) - paid, forecast["rest"]["cost"])
        assert within(sum(each.completion_tokens for each in provider.ledger), forecast["whole"]["completion_tokens"])
        assert not out.partial.path.exists()
        make(whole, options)
    assert whole.path.read_bytes() == out.path.read_bytes()


def test_what_is_begun_is_not_foreseen_again_and_limits_bound_the_time(
    tmp_path: Path, config: Path, out: Output
) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(60))
    with serve() as provider:
        options = Options(teachers=("openai/x",), base_url=provider.url, settings={"max_tokens": "8"})

        def make(chosen: Options) -> Any:
            return label(str(seeds), recipe="answer", output=str(out.path), options=chosen)

        make(replace(options, max_tokens_total=300, concurrency=1))
        begun = len(provider.ledger)
        assert 12 < begun < 60
        forecast = make(replace(options, pilot=10, rpm=30.0)).history["forecast"]
        assert len(provider.ledger) == begun
        assert forecast["whole"]["requests"]["expected"] == 60
        assert forecast["rest"]["requests"]["expected"] == 60 - begun
        assert forecast["whole"]["cost"] is None, "no price is known"
        assert forecast["whole"]["seconds"] is None, "nothing was sent"
        fresh = Output(tmp_path / "fresh.jsonl")
        told = label(
            str(seeds), recipe="answer", output=str(fresh.path), options=replace(options, pilot=2, rpm=60.0)
        ).history["forecast"]
        assert told["whole"]["seconds"]["expected"] == pytest.approx(60, rel=0.01)


def test_a_pilot_of_what_works_in_rounds_is_the_beginning_of_the_run(tmp_path: Path, out: Output) -> None:
    recipe = tmp_path / "grow.jinja"
    recipe.write_text(GROWN)
    few = write_seeds(tmp_path / "few.jsonl", [f"Seed {n}: say what you know of {n * n} apples" for n in range(9)])
    with serve_faults(plan={"markers": {"Write more tasks": "tasks"}}) as server:
        options = Options(teachers=("openai/x",), base_url=server.url, rows=40)

        def make(chosen: Options) -> Any:
            return expand(str(few), recipe=str(recipe), output=str(out.path), options=chosen)

        tried = make(replace(options, pilot=8))
        first = [line["digest"] for line in server.ledger()]
        forecast = tried.history["forecast"]
        assert (tried.status, forecast["unit"], forecast["of"]) == ("pilot", "rows", 40)
        assert 0 < forecast["done"] == len(out.partial.records()) < 40
        assert "the forecast is the least" in tried.message
        assert make(options).status == "published"
        asked = [line["digest"] for line in server.ledger()]
    assert len(asked) == len(set(asked)), "what the pilot paid was bought again"
    assert forecast["whole"]["requests"]["expected"] - len(first) == pytest.approx(
        forecast["rest"]["requests"]["expected"]
    )
    assert len(asked) >= 0.8 * forecast["whole"]["requests"]["expected"]


@pytest.mark.slow
def test_shards_take_along_what_a_pilot_paid(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(12))
    with serve(uneven) as provider:
        job: list[str | Path] = ["label", seeds, "-r", "answer", "-t", "big", "--config", config]
        job += ["--base-url", provider.url, "-o", out.path]
        run(*job, "--pilot", "4").ended(0)
        paid = provider.bill(PRICE)
        assert f"--reuse {out.run}" in run(*job, "--shards", "2").ended(5).err.replace("\n", " ")
        run(*job, "--shards", "2", "--reuse", out.run).ended(0)
        assert len(provider.ledger) == 12 and not out.partial.path.exists()
        told = json.loads(run("status", out.path, "--json").ended(0).out)
        assert told["cost"] == out.manifest()["history"]["cost"] == pytest.approx(provider.bill(PRICE) - paid, rel=1e-9)


def test_a_pilot_is_no_dry_run(tmp_path: Path, out: Output) -> None:
    for other in ({"dry_run": True}, {"replay": tmp_path}, {"lane": "batch"}, {"shards": 2}):
        with pytest.raises(UsageError, match="--pilot"):
            label("@sentiment", recipe="annotate", output=str(out.path), options=Options(pilot=3, **other))


@pytest.mark.slow
def test_a_pilot_from_a_shell(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(50))
    with serve(uneven) as provider:
        job: list[str | Path] = ["label", seeds, "-r", "answer", "-t", "big", "--config", config]
        job += ["--base-url", provider.url, "-o", out.path, "--pilot", "10"]
        done = run(*job).ended(0)
        for word in ("pilot: 10 of 50 items", "whole run", "still to do", "cost", "in flight", "without --pilot"):
            assert word in done.err
        told = json.loads(run("status", out.path, "--json").ended(0).out)
        assert told["forecast"]["whole"]["requests"]["expected"] == 50
        assert run(*job[:-2], "-o", "-", "--pilot", "10").ended(0).out == ""

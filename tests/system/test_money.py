"""What a run says that it cost, beside the bill of the server that it asked."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.label import label
from distill_data.commands.options import Options, Summary
from distill_data.commands.status import status
from distill_data.errors import UsageError
from tests.provider import Provider, serve
from tests.system.command import Output, marked, run, signal_all, start, write_seeds

Prices = Mapping[str, tuple[float, float, float]]
BIG: Prices = {"big": (1000.0, 4000.0, 100.0)}
BOTH: Prices = {**BIG, "small": (10.0, 40.0, 1.0)}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "distill.toml"
    table = '[models.{0}]\nmodel = "openai/{0}"\nprice = {{ input = {1}, output = {2}, cached = {3} }}\n'
    path.write_text("".join(table.format(name, *price) for name, price in BOTH.items()))
    return path


def options(config: Path, provider: Provider, *teachers: str, **more: Any) -> Options:
    return Options(teachers=teachers or ("big",), base_url=provider.url, config=config, **more)


def asked(seeds: Path, out: Output, chosen: Options) -> Summary:
    return label(str(seeds), recipe="answer", output=str(out.path), options=chosen)


def test_cached_tokens_are_counted_at_their_price(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(30))
    with serve() as provider:
        done = asked(seeds, out, options(config, provider))
        history = out.manifest()["history"]
        assert history["cost"] == done.history["cost"] == pytest.approx(provider.bill(BIG), rel=1e-9)
        assert history["cached_tokens"] == sum(each.cached_tokens for each in provider.ledger) > 0
    assert history["prices"] == {"teacher": {"prompt": 1000.0, "completion": 4000.0, "cached": 100.0, "source": "user"}}
    assert status(str(out.path)).history["cost"] == history["cost"]


def test_each_of_two_teachers_is_counted_at_its_own_price(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(12))
    with serve() as provider:
        both = options(config, provider, "big", "small", settings={"max_tokens": "8"})
        capped = asked(seeds, out, replace(both, max_tokens_total=300))
        assert capped.exit_code == 4 and 0 < len(provider.ledger) < 24
        assert capped.history["cost"] == pytest.approx(provider.bill(BOTH), rel=1e-9)
        done = asked(seeds, out, both)
        assert done.exit_code == 0 and len(provider.ledger) == 24
        assert done.history["cost"] == pytest.approx(provider.bill(BOTH), rel=1e-9)
        assert status(str(out.path)).history["cost"] == pytest.approx(provider.bill(BOTH), rel=1e-9)


def test_what_one_model_was_paid_stays_so_when_another_takes_its_role(
    tmp_path: Path, config: Path, out: Output
) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(12))
    with serve() as provider:

        def make(*teachers: str, **more: Any) -> Summary:
            done = asked(seeds, out, options(config, provider, *teachers, **more))
            bill = pytest.approx(provider.bill(BOTH), rel=1e-9)
            assert done.history["cost"] == bill == status(str(out.path)).history["cost"]
            return done

        make("big", limit=6)
        make("small", limit=6, accept_drift=True)
        make("small", "big", limit=6)
        make("small", limit=6)
        bought = len(provider.ledger)
        capped = make("small", max_cost=0.9 * provider.bill(BOTH))
        assert capped.exit_code == 4 and len(provider.ledger) == bought == 12
        replayed = replace(options(config, provider), limit=6, replay=out.run)
        told = asked(seeds, Output(tmp_path / "again.jsonl"), replayed)
        assert told.history["cost"] == pytest.approx(provider.bill(BOTH), rel=1e-9)


def test_no_cap_on_what_an_unpriced_model_was_paid(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(4))
    with serve() as provider:
        asked(seeds, out, options(config, provider, "openai/unpriced", limit=2))
        with pytest.raises(UsageError, match="asked openai/unpriced"):
            asked(seeds, out, options(config, provider, "big", max_cost=1.0, accept_drift=True))
        assert len(provider.ledger) == 2
        assert asked(seeds, out, options(config, provider, "big", accept_drift=True)).history["cost"] is None


def test_a_cap_that_is_no_number_is_none() -> None:
    with pytest.raises(UsageError, match="--max-cost nan"):
        label("@sentiment", recipe="annotate", output="x.jsonl", options=Options(max_cost=math.nan))


def test_a_cap_holds_with_sixty_four_in_flight(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(400))
    cap = 8.0
    with serve(latency=0.02) as provider:
        ended = asked(seeds, out, options(config, provider, max_cost=cap, concurrency=64, settings={"max_tokens": "8"}))
        bill = provider.bill(BIG)
    assert ended.exit_code == 4 and "--max-cost" in ended.message
    assert 0.95 * cap < bill <= cap
    assert ended.history["cost"] == pytest.approx(bill, rel=1e-9)


def test_samples_that_wait_when_the_vote_is_decided_are_not_bought(tmp_path: Path, config: Path, out: Output) -> None:
    """A wave of sixteen, four at a time: the lead decides after four."""
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"question": f"row-{n:05d}: what is {n} + 1?"}) + "\n" for n in range(3)))
    wide = Output(tmp_path / "wide.jsonl")
    with serve(lambda prompt, before: "<reasoning>So it is.</reasoning><answer>7</answer>", latency=0.01) as provider:
        chosen = options(config, provider, samples=16, settings={"waves": "[16]", "max_tokens": "20"})

        def vote(to: Output, **more: Any) -> Summary:
            options = replace(chosen, **more)
            return label(str(seeds), recipe="self-consistency", output=str(to.path), options=options)

        done = vote(out, concurrency=4)
        assert done.exit_code == 0 and 12 <= len(provider.ledger) < 36
        assert done.history["bought"] == len(provider.ledger) and done.history["in_doubt"] == 0
        assert done.history["cost"] == pytest.approx(provider.bill(BIG), rel=1e-9)
        vote(wide, concurrency=64)
        bought = len(provider.ledger)
        again = Output(tmp_path / "again.jsonl")
        vote(again, reuse=(wide.run,))
        assert len(provider.ledger) == bought
    assert out.path.read_bytes() == wide.path.read_bytes() == again.path.read_bytes()


@pytest.mark.slow
def test_what_a_kill_leaves_in_doubt_is_counted_and_shown(tmp_path: Path, config: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(120))
    with serve(latency=0.05) as provider:
        job: list[str | Path] = ["label", seeds, "-r", "answer", "-t", "big", "--config", config]
        job += ["--base-url", provider.url, "-o", out.path, "--concurrency", "16"]
        process = start(*job)
        while len(provider.ledger) < 60:
            assert process.poll() is None
            time.sleep(0.002)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        bill = provider.bill(BIG)
        told = json.loads(run("status", out.path, "--json").ended(0).out)
        assert 0 < told["in_doubt"] <= 20
        assert told["cost"] - told["cost_in_doubt"] < bill <= told["cost"]
        done = run(*job).ended(0)
        history = out.manifest()["history"]
        assert history["in_doubt"] == told["in_doubt"]
        assert history["cost"] - history["cost_in_doubt"] < provider.bill(BIG) <= history["cost"]
    assert re.search(r"requests: .*, \d+ in doubt", done.err)
    assert re.search(r"cost: \$.*, of it \$.* in doubt", done.err)

"""Any history of a run against a small model of it: resumed, killed, limited, drifted, its seeds edited, its samples
raised, exported. What the model says is on disk is on disk, and nothing on disk is bought again."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from distill_data.commands import Options, Summary, export, label
from distill_data.commands.replies import replies_of
from distill_data.engine import send
from distill_data.engine.journal import Journal
from distill_data.errors import DriftError
from distill_data.teachers import BACKENDS
from tests.engine.scripted_backend import SCRIPTS, Asked, Script, said
from tests.system.command import write_seeds

ROWS = [f"row-{number}" for number in range(5)] + ["row-refuse1", "row-refuse2"]
CONCURRENCY = 3
AT_RISK = CONCURRENCY * 5 // 4
"""Requests that a kill may cost: those that are out, and as many answers on their way to the disk."""
MANY = int(os.environ.get("DISTILL_HISTORIES", "0"))
HISTORIES = settings(
    max_examples=MANY or 60,
    stateful_step_count=15,
    deadline=None,
    # To make a failure small takes minutes, which is time where somebody asked for many.
    phases=[phase for phase in Phase if MANY or phase not in (Phase.shrink, Phase.explain)],
)


@dataclass(frozen=True)
class Plan:
    """All that decides what is asked."""

    rows: tuple[str, ...]
    model: str = "scripted/a"
    temperature: float = 0.7
    samples: int = 1

    def asks(self, row: str) -> list[Asked]:
        return [(row, self.model, self.temperature, sample) for sample in range(self.samples)]

    def kept(self) -> list[Asked]:
        return [asked for row in self.rows if "refuse" not in row for asked in self.asks(row)]


@dataclass
class Model:
    """What is known of a run: the answers on disk, what it was last begun with, and what it published last."""

    disk: set[Asked] = field(default_factory=set)
    begun: Plan = Plan(())
    published: Plan = Plan(())
    doubt: int = 0
    """Requests that may have been paid and never came to the disk."""

    def buys(self, plan: Plan) -> set[Asked]:
        return set(plan.kept()) - self.disk if plan != self.published else set()

    def refused(self, plan: Plan) -> set[Asked]:
        rows = [row for row in plan.rows if "refuse" in row] if plan != self.published else []
        return {asked for row in rows for asked in plan.asks(row)}

    def drifts(self, plan: Plan) -> bool:
        """Whether answers on disk would go unused while new ones of the same row are bought."""
        if plan in (self.begun, self.published):
            return False
        same = (plan.model, plan.temperature) == (self.begun.model, self.begun.temperature)
        for row in plan.rows:
            owned, wanted = {asked for asked in self.disk if asked[0] == row}, plan.asks(row)
            there = [asked in owned for asked in wanted]
            new = [number for number, found in enumerate(there) if not found and not (same and any(there[:number]))]
            if new and len(owned) > sum(there):
                return True
        return False


class History(RuleBasedStateMachine):
    """One run directory, whatever happens to it."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="history"))
        self.root, self.seeds = self.folder / "out", self.folder / "seeds.jsonl"
        self.root.mkdir()
        self.model, self.plan = Model(), Plan(("row-0", "row-1"))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def label(self, script: Script, *, accept: bool = False) -> Summary:
        SCRIPTS.append(script)
        options = Options(
            teachers=(self.plan.model,),
            samples=self.plan.samples,
            settings={"temperature": str(self.plan.temperature)},
            concurrency=CONCURRENCY,
            max_failed=1,
            accept_drift=accept,
        )
        write_seeds(self.seeds, self.plan.rows)
        return label(str(self.seeds), recipe="answer", output=str(self.root / "out.jsonl"), options=options)

    def run(self, limited: int = 0, kill_at: int = 0) -> None:
        """Give the command, accept a drift where there must be one, and compare with the model."""
        model, plan, script = self.model, self.plan, Script(self.root, limited, kill_at)
        drifts = model.drifts(plan)
        if drifts:
            silent = Script(self.root)
            with pytest.raises(DriftError):
                self.label(silent)
            assert not silent.paid
        summary = self.label(script, accept=drifts)
        wanted, bought = model.buys(plan), set(script.paid)
        assert len(bought) == len(script.paid) and not bought & model.disk, "bought twice"
        if script.end():
            there, doubt = self.on_disk()
            assert model.disk <= there <= model.disk | bought
            assert bought <= wanted and len(bought - there) <= AT_RISK
            assert len(bought - there) <= doubt - model.doubt <= AT_RISK
            model.disk, model.begun, model.doubt = there, plan, doubt
            return
        assert bought == wanted
        assert set(script.refused) == model.refused(plan)
        model.disk, model.begun = model.disk | bought, model.begun if plan == model.published else plan
        self.compare(summary)

    def compare(self, summary: Summary) -> None:
        """What was published is what the plan says, in its order."""
        kept, result = self.plan.kept(), summary.result
        assert summary.exit_code == (0 if kept else 3)
        if kept:
            self.model.published = self.plan
            assert self.dataset() == [said(asked) for asked in kept]
        items = len(self.plan.rows)
        failed = sum("refuse" in row for row in self.plan.rows)
        sums = [result[name] for name in ("items", "kept", "rejected", "failed", "pending", "records")]
        assert sums == [items, items - failed, 0, failed, 0, len(kept)]

    def dataset(self) -> list[str]:
        lines = (self.root / "out.jsonl").read_bytes().splitlines()
        return [json.loads(line)["completion"][0]["content"] for line in lines]

    def on_disk(self) -> tuple[set[Asked], int]:
        """The answers of all intact lines, after a scan, and how many requests are in doubt."""
        journal = Journal(self.root / "out.run" / "journal")
        contents = [
            reply.body()["choices"][0]["message"]["content"]
            for reply in replies_of(self.root / "out.run")
            if not reply.failed
        ]
        assert len(journal) == len(contents) == len(set(contents))
        return {read_back(content) for content in contents}, journal.totals.doubt.requests

    @invariant()
    def what_the_model_says_is_on_disk(self) -> None:
        assert self.on_disk() == (self.model.disk, self.model.doubt)

    @rule(limited=st.integers(0, 2))
    def resume(self, limited: int) -> None:
        self.run(limited)

    @rule(at=st.integers(1, 6), limited=st.integers(0, 1))
    def kill(self, at: int, limited: int) -> None:
        self.run(limited, at)

    @rule(rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=5, unique=True))
    def edit_seeds(self, rows: list[str]) -> None:
        self.plan = replace(self.plan, rows=tuple(rows))

    @rule(row=st.sampled_from(ROWS))
    def append(self, row: str) -> None:
        self.plan = replace(self.plan, rows=tuple(dict.fromkeys([*self.plan.rows, row])))

    @rule(data=st.data())
    def reorder(self, data: st.DataObject) -> None:
        self.plan = replace(self.plan, rows=tuple(data.draw(st.permutations(self.plan.rows))))

    @rule(model=st.sampled_from(["scripted/a", "scripted/b"]))
    def change_the_model(self, model: str) -> None:
        self.plan = replace(self.plan, model=model)

    @rule(temperature=st.sampled_from([0.5, 0.7]))
    def change_the_prompt(self, temperature: float) -> None:
        self.plan = replace(self.plan, temperature=temperature)

    @rule(samples=st.integers(1, 3))
    def change_samples(self, samples: int) -> None:
        self.plan = replace(self.plan, samples=samples)

    @precondition(lambda self: self.model.published.rows)
    @rule()
    def export(self) -> None:
        target = Path(tempfile.mkdtemp(dir=self.folder)) / "exported.jsonl"
        export(str(self.root / "out.jsonl"), to="trl-sft", output=str(target))
        assert len(target.read_bytes().splitlines()) == len(self.model.published.kept())


def read_back(content: str) -> Asked:
    """The question of an answer."""
    row, model, temperature, sample = re.fullmatch(r"answer to (.+) by (.+) at (.+) the (\d+)th time", content).groups()
    return row, model, float(temperature), int(sample)


@pytest.mark.slow
def test_any_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "scripted", "tests.engine.scripted_backend")
    monkeypatch.setattr(send, "backoff", lambda attempt, floor, draw: 0.0)
    run_state_machine_as_test(History, settings=HISTORIES)

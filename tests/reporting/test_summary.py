"""The closing lines say what became of every item, and what it cost."""

from __future__ import annotations

from dataclasses import replace

from distill_data.commands.options import Summary
from distill_data.reporting import closing_lines

RESULT = {
    "items": 2000,
    "kept": 1990,
    "rejected": 7,
    "failed": 2,
    "pending": 1,
    "records": 1991,
    "reasons": {"no-tag": 7, "status-400": 2},
    "dropped": {"same-\x1breasoning": 1234},
    "files": {"dataset": {"name": "out.jsonl", "rows": 1991}, "rejects": {"name": "out.rejects.jsonl", "rows": 9}},
    "gold": {
        "compared": 84,
        "equal": 80,
        "by": {"zh": {"compared": 42, "equal": 39}, "en": {"compared": 42, "equal": 41}},
    },
}
HISTORY = {
    "bought": 1800,
    "reused": 200,
    "retried": 12,
    "in_doubt": 3,
    "bought_twice": 0,
    "prompt_tokens": 120331,
    "completion_tokens": 40112,
    "cost": 0.01234,
    "seconds": 12.5,
}
DONE = Summary("published", 0, output="data/out.jsonl", result=RESULT, history=HISTORY, message="Done.")


def test_a_published_run() -> None:
    assert closing_lines(DONE) == [
        "2,000 items = 1,990 kept + 7 rejected + 2 failed + 1 pending; 1,991 records",
        "rejected or failed:",
        "  7  no-tag",
        "  2  status-400",
        "samples dropped in kept items:",
        "  1,234  same-\\x1breasoning",
        "agreement with gold: 95.2 % (80 of 84); en 97.6 % (41 of 42), zh 92.9 % (39 of 42)",
        "requests: 1,800 bought, 200 reused, 12 retried, 3 in doubt",
        "tokens: 120,331 in prompts, 40,112 in answers",
        "cost: $0.0123",
        "written: data/out.jsonl, data/out.rejects.jsonl",
        "Done.",
    ]


def test_an_unknown_price_is_never_zero() -> None:
    assert "cost: unknown" in closing_lines(replace(DONE, history={**HISTORY, "cost": None}))
    assert "cost: unknown" in closing_lines(replace(DONE, history={"bought": 1}))
    assert "cost: $0.00" in closing_lines(replace(DONE, history={**HISTORY, "cost": 0.0}))
    assert "cost: $1,234.50" in closing_lines(replace(DONE, history={**HISTORY, "cost": 1234.5}))


def test_what_was_bought_twice_is_said() -> None:
    lines = closing_lines(replace(DONE, history={**HISTORY, "bought_twice": 4}))
    assert "requests: 1,800 bought, 200 reused, 12 retried, 3 in doubt, 4 bought twice" in lines


def test_an_unchanged_run_says_that_nothing_was_sent() -> None:
    lines = closing_lines(replace(DONE, status="unchanged", message=""))
    assert lines[-2:] == ["nothing was sent; every answer is on disk", "data/out.jsonl is as it was"]
    assert not [line for line in lines if "bought" in line]


def test_no_gold_no_line() -> None:
    for gold in ({}, {"compared": 0, "equal": 0, "by": {}}):
        assert not [line for line in closing_lines(replace(DONE, result={**RESULT, "gold": gold})) if "gold" in line]


def test_a_plan() -> None:
    plan = Summary(
        "planned",
        0,
        message="",
        result={"items": 2000},
        history={
            "to_send": 1800,
            "answered": 200,
            "estimated_prompt_tokens": 120331.4,
            "estimated_completion_tokens": 40112,
            "estimated_cost": None,
        },
        first_prompt=({"role": "system", "content": "Be\n\nbrief."}, {"role": "user", "content": "user:\n\x1b[2J"}),
    )
    assert closing_lines(plan) == [
        "a dry run; nothing was sent",
        "items: 2,000",
        "requests: 1,800 to send, 200 already answered",
        "estimate: 120,331 tokens in prompts, 40,112 in answers, cost unknown",
        "first prompt:",
        "  system:",
        "      Be",
        "",
        "      brief.",
        "  user:",
        "      user:",
        "      \\x1b[2J",
    ]


def test_foreign_names_and_messages_are_plain() -> None:
    lines = closing_lines(replace(DONE, output="\x1b]0;x\x07\nout", message="a\x9bb\nc"))
    assert "written: \\x1b]0;x\\x07\\x0aout, out.jsonl, out.rejects.jsonl" in lines
    assert lines[-2:] == ["a\\x9bb", "c"]


def test_verbose_adds_all_that_there_is() -> None:
    text = "\n".join(closing_lines(DONE, verbose=True))
    assert '"seconds": 12.5' in text and '"records": 1991' in text
    assert text.startswith("\n".join(closing_lines(DONE)))


def test_what_was_written_about_is_counted() -> None:
    facts = {"command": "curate", "seeds": {"rows": 60}, "coverage": {"sources": 12, "kept": {"a": 3}}}
    assert "coverage: 12 of 60 rows of data gave what was kept" in closing_lines(replace(DONE, result=RESULT | facts))
    assert not [line for line in closing_lines(DONE) if "coverage" in line]

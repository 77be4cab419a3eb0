"""What may change between two runs of `feedback` and `self-knowledge`, and what several kinds in one run amount to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.annotators import SEEDED, serve
from tests.faultserver import Server
from tests.system.command import run
from tests.system.test_annotation import COMPARE, CORRECT, RATE, REST, ROWS, Place, place, told, write_rows

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

__all__ = ["place"]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def asked_of(place: Place, recipe: str, url: str, name: str, *options: str | Path) -> list[str | Path]:
    """A recipe over the tasks, without a kind."""
    who = ("-s", "student") if recipe == "contrast" else ("-s", "student", "-t", "judge")
    where = ["-o", place.out(name).path, "--base-url", url, "--config", place.path / "models.toml"]
    return ["feedback", place.path / "tasks.jsonl", "-r", recipe, *who, "--set", "seed=0", *where, *options]


@pytest.mark.parametrize("recipe", ["compare", "rate", "rubric", "best-of-n", "contrast"])
def test_more_samples_are_no_drift(recipe: str, server: Server, place: Place) -> None:
    do = asked_of(place, recipe, server.url, "out")
    few, many = ("2", "3") if recipe != "contrast" else ("1", "2")
    run(*do, "-n", few).ended(0)
    before = server.asked()
    run(*do, "-n", many).ended(0)
    again = place.out("whole")
    run(*asked_of(place, recipe, server.url, "whole", "-n", many)).ended(0)
    assert place.out("out").path.read_bytes() == again.path.read_bytes()
    assert server.asked() > before


def test_another_student_is_no_drift_and_another_criterion_is(server: Server, place: Place) -> None:
    do = asked_of(place, "compare", server.url, "out")
    run(*do).ended(0)
    run(*do, "-s", "parrot").ended(0)
    asked = server.asked()
    run(*do, "-s", "parrot", "--set", "criterion=Better is the longer one.").complained(5, "drift|changed")
    assert server.asked() == asked


def test_more_samples_hide_no_other_change(server: Server, place: Place) -> None:
    do = asked_of(place, "compare", server.url, "out")
    run(*do, "-n", "2").ended(0)
    asked = server.asked()
    run(*do, "-n", "3", "--set", "criterion=Better is the longer one.").complained(5, "changed")
    do[do.index("judge")] = "gullible"
    run(*do, "-n", "3").complained(5, "changed")
    assert server.asked() == asked


def test_a_judge_of_several_that_takes_an_item_over_is_drift(server: Server, place: Place) -> None:
    """The repairer is drawn for each item, so another judge would leave repairs unused."""
    do = place.do(CORRECT, server.url, place.out())
    run(*do).ended(0)
    run(*do, "-t", "gullible").complained(5, "changed")


@pytest.mark.parametrize("more", [("-s", "parrot"), ("-n", "3")], ids=["student", "samples"])
def test_what_came_to_a_run_and_was_stopped_goes_on(more: tuple[str, str], server: Server, place: Place) -> None:
    do = asked_of(place, "compare", server.url, "out")
    run(*do).ended(0)
    run(*do, *more, "--max-tokens-total", "1").ended(4)
    run(*do, *more).ended(0)


def test_a_run_that_lost_what_it_reused_is_told(server: Server, place: Place) -> None:
    run(*asked_of(place, "compare", server.url, "a")).ended(0)
    do = asked_of(place, "compare", server.url, "b", "--set", "criterion=Better is the longer one.")
    reuse = ("--reuse", place.out("a").run)
    run(*do, *reuse, "--max-tokens-total", "1500").ended(4)
    asked = server.asked()
    run(*do).complained(5, "changed")
    assert server.asked() == asked
    run(*do, *reuse).ended(0)


def test_a_file_of_somebody_else_is_left_alone(server: Server, place: Place) -> None:
    mine = [place.path / name for name in ("mine.jsonl", "mine.partial.jsonl")]
    for path in mine:
        path.write_text("mine\n")
    kinds = ("--kind", "ranked", "--kind", f"preference={mine[0]}", "--set", "margin=2")
    run(*asked_of(place, "compare", server.url, "out", *kinds)).ended(0)
    assert [path.read_text() for path in mine] == ["mine\n", "mine\n"]


def test_rounds_count_up(server: Server, place: Place) -> None:
    first, second = place.out("r1"), place.out("r2")
    run(*place.do(REST, server.url, first, "--round", "4")).complained(2, "--previous")
    run(*place.do(REST, server.url, first)).ended(0)
    run(*place.do(REST, server.url, second, "--round", "1", "--previous", first.path)).complained(2, "round 1 already")


def test_kinds_without_a_row_are_told(server: Server, place: Place) -> None:
    """As dropped, where another kind has rows; as the end, where the output has none."""
    out, ranked = place.out(), place.path / "elsewhere" / "ranked.jsonl"
    kinds = ("--kind", "preference", "--kind", f"ranked={ranked}")
    run(*asked_of(place, "compare", server.url, "out", *kinds, "-n", "3", "--set", "margin=1")).ended(0)
    result = out.manifest()["result"]
    lost = {reason: count for reason, count in result["dropped"].items() if reason.startswith("preference: ")}
    assert result["records"] + sum(lost.values()) == result["kept"] == ROWS and lost

    done = run(*asked_of(place, "compare", server.url, "none", *kinds, "-n", "3", "--set", "margin=2"))
    said = told(done.ended(3))
    assert "No row of the kind preference" in said and "preference: below-margin" in said
    partial = ranked.with_name("ranked.partial.jsonl")
    assert f"written: {place.path / 'none.partial.rejects.jsonl'}" in said and str(partial) in said
    assert partial.read_bytes().count(b"\n") == ROWS and not place.out("none").path.exists()


def test_a_kind_that_lost_its_rows_loses_its_file(server: Server, place: Place) -> None:
    pairs = place.path / "pairs.jsonl"
    do = asked_of(place, "compare", server.url, "out", "--kind", "ranked", "--kind", f"preference={pairs}")
    run(*do).ended(0)
    assert pairs.is_file()
    run(*do, "--set", "margin=2").ended(0)
    assert not pairs.exists() and place.out().manifest()["result"]["files"]["preference"] is None


def test_measures_are_of_the_output_alone(server: Server, place: Place) -> None:
    run(*place.do(REST, server.url, place.out("one"))).ended(0)
    run(*place.do_all(REST, server.url, place.out("all"))).ended(0)
    assert place.out("one").manifest()["result"]["diversity"] == place.out("all").manifest()["result"]["diversity"]


def test_a_round_that_is_told_by_the_one_before_counts(server: Server, place: Place) -> None:
    first, second = place.out("r1"), place.out("r2")
    run(*place.do(REST, server.url, first, "--round", "1")).ended(0)
    run(*place.do(REST, server.url, second, "--previous", first.path)).ended(0)
    details = [json.loads(record["meta"]["details"]) for record in second.records()]
    assert {each["round"] for each in details} == {second.manifest()["result"]["round"]} == {2}
    assert {each["threshold"] for each in details} == {0.5}


def test_who_answers_is_part_of_a_run_to_stdout(server: Server, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.path)
    (place.path / "models.toml").write_text(SEEDED)
    do = [*place.do(RATE, server.url, place.out()), "--limit", "2"]
    do[do.index("-o") + 1], do[do.index("preference")] = "-", "ranked"
    one = run(*do).ended(0)
    do[do.index("student")] = "parrot"
    assert run(*do).ended(0).out != one.out


def test_an_edited_verifier_judges_again_and_pays_nothing(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.path)
    do = place.do(REST, server.url, place.out(), "--verifier", "mine:f")
    (place.path / "mine.py").write_text("def f(answer, gold):\n    return True\n")
    run(*do).ended(0)
    asked, lenient = server.asked(), place.out().manifest()["result"]["records"]
    (place.path / "mine.py").write_text("def f(answer, gold):\n    return answer == gold\n")
    run(*do).ended(0)
    assert server.asked() == asked and place.out().manifest()["result"]["records"] < lenient


def test_options_that_would_do_nothing_are_refused(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.path)
    (place.path / "mine.py").write_text("def f(answer, gold):\n    return True\n")
    do = place.do(COMPARE, server.url, place.out())
    run(*do, "--verifier", "mine:f").complained(2, "--verifier")
    seeds = write_rows(place.path / "given.jsonl", [{"instruction": "one", "told": ["a", "b"]}])
    given = ["feedback", seeds, "-r", "compare", "--answers", "told", "-s", "openai/student", "-t", "openai/judge"]
    run(*given, "--base-url", server.url, "-o", place.out().path).complained(2, "--answers")
    assert server.asked() == 0

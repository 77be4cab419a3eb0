"""The experiments' frame: the page is what the results give, intervals are right, and every Makefile can be read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.figure import draw
from experiments.page import NAMES, page
from experiments.results import FOLDER, interval, read_about, read_results
from experiments.teacher import GREEDY

ROOT = FOLDER.parent
RUN = [name for name in NAMES if read_results(name)]


def test_the_page_is_what_the_results_give() -> None:
    assert (ROOT / "docs" / "does-it-teach.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", RUN)
def test_a_figure_is_drawn_from_the_results(name: str) -> None:
    about, found = read_about(name), read_results(name)
    picture = draw(
        f"{name}: {about['title']}", found["arms"], about["metric"], about.get("axis", ""), about.get("log", True)
    )
    assert (FOLDER / name / f"{name}.svg").read_text(encoding="utf-8") == picture


@pytest.mark.parametrize("name", RUN)
def test_results_claim_what_the_experiment_asks_and_name_no_place(name: str) -> None:
    found = read_results(name)
    assert [claim["text"] for claim in found["claims"]] == [claim["text"] for claim in read_about(name)["claims"]]
    assert all(len(arm["values"]) == arm["seeds"] for arm in found["arms"])
    assert not re.search(r'"/|/home|/tmp|/work', json.dumps(found))


def make(name: str, *arguments: str | Path) -> str:
    """What make prints for the experiment."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "-C", FOLDER / name, f"PYTHON={sys.executable}", *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_makefile_can_be_read(name: str) -> None:
    shown = make(name, "--dry-run", "--always-make", "W=/nowhere")
    assert "distill_data" in shown
    assert re.search(rf"experiments\.(collect --experiment {name}|{name}\.collect)", shown)
    assert f"--command 'make -C experiments/{name}'" in shown


@pytest.mark.parametrize(("name", "told"), [("E1", ""), ("E2", " TEACHER=openai/m"), ("E7", "")])
def test_results_name_the_seeds_and_the_teacher_of_their_run(name: str, told: str) -> None:
    shown = make(name, "--dry-run", "--always-make", "W=/nowhere", "SEEDS=0", "TEACHER=openai/m")
    assert f"--command 'make -C experiments/{name}{told} SEEDS=\"0\"'" in shown


def test_a_second_start_asks_a_scripted_teacher_that_has_another_port(tmp_path: Path) -> None:
    labelled = tmp_path / "labelled-gold-0.jsonl"
    make("E1", f"W={tmp_path}", "MOST=3", labelled)
    first = labelled.read_bytes()
    labelled.unlink()
    make("E1", f"W={tmp_path}", "MOST=3", labelled)
    assert labelled.read_bytes() == first


@pytest.mark.parametrize("name", NAMES)
def test_results_of_one_number_a_seed_have_the_intervals_that_these_numbers_give(name: str) -> None:
    for arm in read_results(name)["arms"]:
        if arm["rows"] == 1:
            found = interval([[value] for value in arm["values"]])
            assert (arm["low"], arm["high"]) == pytest.approx((found.low, found.high), abs=3e-4)


def test_an_interval_holds_the_mean_and_nothing_scatters_where_all_are_equal() -> None:
    assert interval([[1.0, 1.0], [1.0, 1.0]]) == pytest.approx((1.0, 1.0, 1.0))
    found = interval([[0.0, 1.0] * 200, [1.0, 0.0] * 200])
    assert found.mean == 0.5
    # Two standard errors of a proportion of 0.5 of 800 scores, some more for the seeds.
    assert 0.02 < found.high - 0.5 < 0.06
    assert 0.02 < 0.5 - found.low < 0.06


def test_a_difference_is_paired_by_row() -> None:
    rows = [float(row % 2) for row in range(100)]
    better = [[min(1.0, score + 0.1) for score in rows]] * 2
    apart = interval(better, [rows] * 2)
    alone = interval(better)
    assert apart.mean == pytest.approx(0.05)
    assert apart.high - apart.low < (alone.high - alone.low) / 2
    assert apart.low > 0


def test_arms_of_other_rows_are_compared_unpaired() -> None:
    found = interval([[1.0] * 10, [1.0] * 10], [[0.0, 1.0] * 30])
    assert found.mean == 0.5
    assert found.low < 0.5 < found.high


def test_a_scripted_teacher_is_asked_over_http_for_the_length_of_a_command() -> None:
    asking = (
        "import json, sys, urllib.request\n"
        "for temperature in (0.7, 0.7, 0):\n"
        "    body = {'model': 'm', 'temperature': temperature, 'messages': [{'role': 'user', 'content': '2 and 2'}]}\n"
        "    request = urllib.request.Request(sys.argv[1] + '/chat/completions', json.dumps(body).encode())\n"
        "    with urllib.request.urlopen(request, timeout=10) as reply:\n"
        "        print(json.load(reply)['choices'][0]['message']['content'])\n"
        "sys.exit(3)\n"
    )
    teacher = [sys.executable, "-m", "experiments.teacher", "tests.experiments.parrot", "--"]
    done = subprocess.run([*teacher, sys.executable, "-c", asking, "{url}"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split("\n") == ["m 2 and 2 0", "m 2 and 2 1", f"m 2 and 2 {GREEDY}", ""], done.stderr
    assert done.returncode == 3

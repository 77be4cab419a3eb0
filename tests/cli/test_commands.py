"""Commands as processes: what they print where, and the code they end with."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from distill_data import __version__
from distill_data.cli import main
from tests.cli.command import ROOT, paragraph, run

SECRET = "sk-CANARY-7f3a9c51e2"


def test_the_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"distill-data {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lable"], "label"),
        (["label", "s.jsonl", "-r", "answer"], "--output"),
        (["label", "-o", "o.jsonl", "-r", "answer"], "SEEDS"),
        (["label", "s.jsonl", "-r", "answer", "-o", "o", "--concurency", "3"], "--concurrency"),
        (["label", "s.jsonl", "-r", "answer", "-o", "o", "--concurrency", "x"], "'x' is not a whole number"),
        (["label", "s.jsonl", "-r", "answer", "-o", "o", "--concurrency", "-3"], "--concurrency -3"),
        (["label", "s.jsonl", "-r", "answer", "-o", "o", "--limit", "0"], "--limit 0"),
        (["label", "s.jsonl", "-r", "answer", "-o", "o", "--set", "x"], "KEY=VALUE"),
        (["show", "answer", "--row", "0"], "--row 0"),
        (["doctor", "-t", "echo", "-t", "echo"], "one teacher"),
        (["recipes", "\x1b[31m"], r"\\x1b"),
    ],
)
def test_a_mistake_is_told_in_one_paragraph(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    told = paragraph(done, 2)
    assert says.replace("\\\\", "\\") in told
    assert done.stdout == ""


def test_options_are_read_without_pydantic() -> None:
    script = (
        "import sys; from distill_data.cli import main; code = main(sys.argv[1:]); sys.exit('pydantic' in sys.modules)"
    )
    arguments = ["show", "answer", "--seed", "3", "--set", "temperature=0", "-t", "echo"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_key_as_an_argument_is_refused_with_the_reason() -> None:
    told = paragraph(run("label", "s.jsonl", "-r", "answer", "-o", "o.jsonl", "--api-key", SECRET), 2)
    assert "process" in told and "--api-key-env" in told
    assert SECRET not in told


def test_recipes_are_listed_a_line_each() -> None:
    done = run("recipes")
    assert done.returncode == 0 and done.stderr == ""
    listed = [(line.split()[0], line.split()[2]) for line in done.stdout.rstrip("\n").split("\n")]
    assert listed == sorted((path.parent.name, path.stem) for path in (ROOT / "prompts").glob("*/*.jinja"))


def test_recipes_as_json() -> None:
    found = {recipe["name"]: recipe for recipe in json.loads(run("recipes", "--json").stdout)}
    assert set(found["annotate"]) == {"name", "command", "strategy", "columns", "about", "paper"}
    assert found["annotate"]["columns"] == {"text": "required", "label": "optional", "language": "optional"}


def test_a_good_recipe_is_ok_and_a_bad_one_is_told(tmp_path: Path) -> None:
    good, bad = ROOT / "prompts" / "label" / "answer.jinja", tmp_path / "bad.jinja"
    bad.write_text("---\nabout: x\n---\n{{ nothing }}\n")
    done = run("check-recipe", good, bad)
    assert done.returncode == 2
    first, *problems = done.stdout.rstrip("\n").split("\n")
    assert first == f"ok {good}"
    assert problems and all(str(bad) in problem for problem in problems)
    assert run("check-recipe", good).returncode == 0


def test_a_recipe_cannot_command_the_terminal(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jinja"
    bad.write_text('---\n"about\\e[31m": x\n---\n')
    done = run("check-recipe", bad)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr


def test_a_file_name_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    done = run("check-recipe", os.fsencode(tmp_path) + b"/\xff.jinja", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_doctor_finds_nothing_for_echo(tmp_path: Path) -> None:
    done = run("doctor", "-t", "echo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert {finding["name"] for finding in json.loads(done.stdout)} >= {"python", "teacher", "disk"}


def test_doctor_ends_with_2_for_what_would_keep_a_run_from_working(tmp_path: Path) -> None:
    done = run("doctor", "-t", "opnai/x", cwd=tmp_path)
    assert done.returncode == 2
    assert [line for line in done.stdout.split("\n") if line.startswith("NO ") and "opnai" in line]


def test_doctor_never_shows_a_value(tmp_path: Path) -> None:
    done = run("doctor", "-t", "echo", cwd=tmp_path, DISTILL_SECRET=SECRET)
    assert "DISTILL_SECRET" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_show_prints_roles_messages_and_parameters() -> None:
    done = run("show", "answer", "--seeds", "@instructions", "-t", "echo")
    assert done.returncode == 0, done.stderr
    assert "user:\n    " in done.stdout
    parameters = json.loads(done.stdout.partition("parameters:\n")[2])
    assert "max_tokens" in json.dumps(parameters)
    bodies = json.loads(run("show", "answer", "--seeds", "@instructions", "-t", "echo", "--json").stdout)
    assert bodies[0]["messages"][-1]["role"] == "user"


def test_seeds_are_not_typed() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "distill_data", "label", "-", "-r", "answer", "-t", "echo", "-o", "-"],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert "terminal" in paragraph(done, 2)


def test_a_reader_who_goes_away_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "distill_data", "recipes"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(path: str, command: str) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("distill_data.commands.check_recipe"), "check_recipe", interrupted)
    assert main(["check-recipe", "x.jinja"]) == 130
    assert capsys.readouterr().err == "distill-data: interrupted\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str, command: str) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr(import_module("distill_data.commands.check_recipe"), "check_recipe", broken)
    with pytest.raises(ZeroDivisionError):
        main(["check-recipe", "x.jinja"])

"""`evaluate` in this process: figures by hand, what is asked how often, and mistakes that cost nothing."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from tests.annotators import SEEDED, serve
from tests.faultserver import Server
from tests.provider import serve as serve_billed

NOBODY = "http://127.0.0.1:9/v1"
"""Where no server is: whoever asks there fails with another code than 2."""
SUMS = [{"prompt": f"What is {n} plus {2 * n + 1}?", "answer": 3 * n + 1} for n in range(2, 14)]
WORTHS = [{"prompt": f"Say something, the {n}th time."} for n in range(12)]
FILES = {"out.json", "out.jsonl", "out.rejects.jsonl", "out.manifest.json", "out.run"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(bodies=True) as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "no-key")
    monkeypatch.delenv("DISTILL_TEACHER", raising=False)
    Path("distill.toml").write_text(SEEDED, encoding="utf-8")


def write(rows: list[dict[str, Any]]) -> str:
    Path("task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "task.jsonl"


def evaluate(*arguments: str | Path, url: str = NOBODY, out: str = "out.json") -> int:
    end = [] if {"--replay", "echo"} & {*arguments} else ["--base-url", url]
    return main(["evaluate", *map(str, arguments), "--task", "task.jsonl", "-o", out, *end])


def rows_of(out: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out).read_text(encoding="utf-8").splitlines()]


def results(out: str = "out.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out).read_text(encoding="utf-8"))
    return found


def snapshot() -> dict[str, tuple[int, bytes]]:
    return {each: (Path(each).stat().st_mtime_ns, Path(each).read_bytes()) for each in FILES - {"out.run"}}


def test_models_are_measured_on_the_same_answers_by_several_metrics(server: Server, capsys: Any) -> None:
    write(SUMS)
    before = server.asked()
    job = ("student", "--baseline", "parrot", "--metric", "numeric", "--metric", "exact")
    assert evaluate(*job, url=server.url) == 0
    assert server.asked() - before == 2 * len(SUMS), "one answer of each model for all metrics"
    bodies = [line["body"] for line in server.ledger()[before:]]
    assert all((body["temperature"], body["max_tokens"]) == (0, 512) and "top_p" not in body for body in bodies)
    assert {path.name for path in Path().glob("out.*")} == FILES
    right = []
    for row, record in zip(SUMS, rows_of(), strict=True):
        assert record["prompt"] == [{"role": "user", "content": row["prompt"]}]
        assert record["reference"] == record["answer"] == str(row["answer"])
        said = re.search(r"<answer>(\d+)</answer>", record["model"]["answer"])
        right.append(float(said is not None and int(said[1]) == row["answer"]))
        assert record["model"]["numeric"] == record["model"]["exact"] == right[-1]
        assert record["baseline"]["numeric"] == record["baseline"]["exact"] == 0.0
    share = round(sum(right) / len(right), 6)
    assert 0 < share < 1
    for figure in (results()["figures"]["numeric"], results()["figures"]["exact"]):
        assert figure["model"]["value"] == figure["difference"]["value"] == share
        assert figure["model"]["low"] < share < figure["model"]["high"]
        assert figure["baseline"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert figure["difference"]["above_0"] > 0.99
    shown = capsys.readouterr().out
    assert "student" in shown and "parrot" in shown and f"{share:.3f} [" in shown and f"{share:+.3f} [" in shown


def test_equal_input_leaves_all_files_untouched_and_another_metric_asks_nobody(server: Server) -> None:
    write(SUMS)
    assert evaluate("student", url=server.url) == 0
    asked, first = server.asked(), snapshot()
    assert evaluate("student", url=server.url) == 0
    assert snapshot() == first and results()["settings"]["metrics"] == ["numeric"]
    assert evaluate("student", "--metric", "exact", "--metric", "rouge-l", url=server.url) == 0
    assert server.asked() == asked
    assert set(results()["figures"]) == {"exact", "rouge-l"}
    assert set(rows_of()[0]["model"]) == {"answer", "exact", "rouge-l"}


@pytest.mark.slow
def test_without_an_output_metrics_of_the_same_answers_share_a_run(server: Server) -> None:
    write(SUMS[:4])
    ends = ["--task", "task.jsonl", "--base-url", server.url, "-q"]
    assert main(["evaluate", "student", *ends]) == 0
    asked = server.asked()
    assert main(["evaluate", "student", "--metric", "exact", *ends]) == 0
    assert server.asked() == asked and len(list(Path(".distill").glob("*/evaluation.json"))) == 1
    assert main(["evaluate", "student", "--max-tokens", "9", *ends]) == 0
    assert server.asked() == asked + 4


def test_a_judge_compares_with_the_baseline_in_both_orders(server: Server, capsys: Any) -> None:
    write(WORTHS)  # no right answers, and none are needed
    before = server.asked()
    assert evaluate("student", "--baseline", "parrot", "--judge", "judge", url=server.url) == 0
    assert server.asked() - before == 4 * len(WORTHS), "an answer of each, and a verdict in each order"
    verdicts = []
    for record in rows_of():
        found = re.search(r"worth (\d)", record["model"]["answer"])
        assert found is not None
        value = int(found[1])  # the parrot's is 3
        verdict = "win" if value > 3 else "tie" if value == 3 else "loss"
        assert record["judge"] == {"verdict": verdict, "orders": [verdict, verdict]}
        verdicts.append(verdict)
    figure = results()["figures"]["judge"]
    rate = round((verdicts.count("win") + verdicts.count("tie") / 2) / len(verdicts), 6)
    assert figure["model"]["value"] == rate
    assert figure["baseline"]["value"] == pytest.approx(1 - rate, abs=1e-6)
    assert figure["difference"]["value"] == pytest.approx(2 * rate - 1, abs=2e-6)
    counts = [verdicts.count(name) for name in ("win", "tie", "loss")]
    assert [figure[name] for name in ("wins", "ties", "losses", "flips", "unread")] == [*counts, 0, 0]
    assert results()["models"] == {"model": "student", "baseline": "parrot", "judge": "judge"}
    assert f"wins {counts[0]}" in capsys.readouterr().out


def test_a_replay_asks_nobody_and_gives_the_same_bytes(server: Server) -> None:
    write(SUMS[:5])
    job = ("student", "--baseline", "parrot", "--judge", "judge")
    assert evaluate(*job, url=server.url) == 0
    asked = server.asked()
    assert evaluate(*job, "--replay", "out.run", out="again.json") == 0
    assert server.asked() == asked
    for ending in (".json", ".jsonl"):
        assert Path(f"again{ending}").read_bytes() == Path(f"out{ending}").read_bytes()


@pytest.mark.slow
def test_a_replay_names_the_same_models(server: Server, capsys: Any) -> None:
    write(SUMS[:2])
    assert evaluate("student", url=server.url) == 0
    assert evaluate("parrot", "--replay", "out.run", out="again.json") == 2
    assert "that run asked student, and not parrot" in capsys.readouterr().err


FIRST_PLACE = re.compile(r'"mark": "(\w+)".*"better": "(\w)" or', re.DOTALL)


def biased(prompt: str, before: int) -> str:
    """A model that says the same to all, and as a judge prefers whatever stands first."""
    found = FIRST_PLACE.search(prompt)
    return json.dumps({"mark": found[1], "rationale": "", "better": found[2]}) if found else "Something."


def test_verdicts_that_turn_with_the_order_are_ties(capsys: Any) -> None:
    write([{"prompt": f"Say {n}.", "completion": f"It is {n}."} for n in range(3)])
    with serve_billed(biased) as billed:
        assert evaluate("openai/a", "--judge", "openai/b", "--metric", "judge", url=billed.url) == 0
        assert len(billed.ledger) == 3 * 3
    assert {tuple(record["judge"]["orders"]) for record in rows_of()} == {("win", "loss")}
    figure = results()["figures"]["judge"]
    assert (figure["flips"], figure["ties"], figure["model"]["value"]) == (3, 3, 0.5)
    assert "against the reference" in capsys.readouterr().out


def hesitant(prompt: str, before: int) -> str:
    """A judge that prefers the reference where it stands first, and else cannot decide."""
    if not (found := FIRST_PLACE.search(prompt)):
        return "I think.\n</think>\n\nSomething."
    assert "I think" not in prompt, "a judge sees no reasoning"
    reference_first = prompt.index("It is") < prompt.index("Something.")
    return json.dumps({"mark": found[1], "rationale": "", "better": found[2] if reference_first else "tie"})


def test_a_verdict_that_turns_into_a_tie_has_turned_and_reasoning_is_not_judged() -> None:
    write([{"prompt": "Say it.", "completion": "It is."}])
    with serve_billed(hesitant) as billed:
        assert evaluate("openai/a", "--judge", "openai/b", "--metric", "judge", url=billed.url) == 0
    assert rows_of()[0]["judge"] == {"verdict": "tie", "orders": ["tie", "loss"]}
    assert (results()["figures"]["judge"]["flips"], results()["figures"]["judge"]["ties"]) == (1, 1)


def test_a_baseline_that_was_measured_before_is_bought_no_more() -> None:
    write(PAIR)
    with serve_billed() as billed:
        assert evaluate("openai/b", url=billed.url) == 0
        job = ("openai/a", "--baseline", "openai/b", "--reuse", "out.run")
        assert evaluate(*job, url=billed.url, out="other.json") == 0
        assert [each.model for each in billed.ledger] == ["b", "a"]


@pytest.mark.slow
def test_verdicts_that_cannot_be_read_count_for_nothing(capsys: Any) -> None:
    write([{"prompt": "Say it.", "completion": "It."}])
    with serve_billed() as billed:
        assert evaluate("openai/a", "--judge", "openai/b", "--metric", "judge", url=billed.url) == 0
    assert rows_of()[0]["judge"] == {"verdict": "none", "orders": ["not-json", "not-json"]}
    assert results()["figures"]["judge"]["unread"] == 1 and "model" not in results()["figures"]["judge"]
    assert "no verdict" in capsys.readouterr().out


def test_a_dry_run_counts_and_writes_nothing(capsys: Any) -> None:
    write(SUMS)
    assert evaluate("openai/a", "--dry-run") == 0
    shown = capsys.readouterr()
    assert "12 to send" in shown.err and not shown.out and not list(Path().glob("out*"))


def test_json_is_what_the_file_holds(capsys: Any) -> None:
    write([{"prompt": "a", "answer": "a"}])
    assert evaluate("echo", "--json") == 0
    assert json.loads(capsys.readouterr().out) == results()


def test_a_folder_takes_the_files() -> None:
    write([{"prompt": "a", "answer": "a"}])
    assert evaluate("echo", out="made/here") == 0
    assert results("made/here/evaluation.json")["rows"] == len(rows_of("made/here/evaluation.jsonl")) == 1


@pytest.mark.slow
def test_rows_that_stand_twice_are_told_of_and_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    write([{"prompt": "a", "answer": "a"}, {"prompt": "b", "answer": "b"}, {"prompt": "a", "answer": "a"}])
    logging.getLogger("distill_data").propagate = True
    with serve_billed() as billed, caplog.at_level(logging.WARNING):
        from distill_data.commands import Options
        from distill_data.commands import evaluate as run

        done = run("openai/a", task="task.jsonl", output="out.json", options=Options(base_url=billed.url))
        assert len(billed.ledger) == 2
    assert done.results["rows"] == 3
    assert "task.jsonl:3: this row stands there before; of 3 rows 1 repeat others" in caplog.text


PAIR = [{"prompt": "a", "answer": "b"}]


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        ([], ("openai/a",), "task.jsonl: no rows in this file"),
        ([*PAIR, {"prompt": "a"}], ("openai/a",), "task.jsonl:2: a right answer is wanted: answer or label"),
        ([*PAIR, {"answer": "a"}], ("openai/a",), "task.jsonl:2: there is no prompt in this row; there are: answer"),
        (
            [{**PAIR[0], "choices": ["'b'", "b"], "answer": 1}],
            ("openai/a", "--metric", "exact"),
            "cannot be told apart",
        ),
        (
            [{**PAIR[0], "choices": ["b", "!"]}],
            ("openai/a", "--metric", "exact"),
            "task.jsonl:1: the metric exact cannot",
        ),
        (PAIR, ("openai/a", "--metric", "choice"), "task.jsonl:1: the metric choice needs the column choices"),
        ([{**PAIR[0], "choices": ["x", "y"]}], ("openai/a",), "task.jsonl:1: the right answer 'b' is none of"),
        (PAIR, ("openai/a", "--metric", "numeric"), "task.jsonl:1: the right answer 'b' holds no number"),
        (PAIR, ("openai/a", "--metric", "bleu"), "there are exact, numeric, rouge-l, choice, perplexity, judge"),
        (PAIR, ("openai/a", "--metric", "judge"), "name who judges, --judge MODEL"),
        (PAIR, ("openai/a", "--baseline", "openai/a"), "--baseline openai/a: is the model itself"),
        (PAIR, ("echo", "--metric", "perplexity"), "echo: cannot score a given text; a model that runs here can"),
        (PAIR, ("students/none",), "students/none: there is no such folder"),
        (PAIR, ("none",), "there is no profile of this name"),
        (PAIR, ("openai/a", "--max-tokens", "0"), "--max-tokens 0: must be at least 1"),
        (PAIR, ("openai/a", "--set", "samples=2"), "evaluate has no such setting"),
        (PAIR, ("openai/a", "--set", "criterion=x"), "is for a judge, and none is asked"),
        (PAIR, ("openai/a", "--set", "soft=true"), "evaluate has no such setting"),
        (PAIR, ("openai/a", "--map", "answer=nothing"), "nothing"),
    ],
)
def test_mistakes_are_said_before_anybody_is_asked(
    rows: list[dict[str, Any]], arguments: tuple[str, ...], said: str, capsys: Any
) -> None:
    write(rows)
    assert evaluate(*arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err and not shown.out and "Traceback" not in shown.err
    assert not Path("out.jsonl").exists() and not Path("out.json").exists()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("out.jsonl", "ends in .json"),
        ("out.csv", "ends in .json"),
        ("-", "--json prints"),
        ("distill.toml/", "or a folder"),
    ],
)
def test_an_output_is_json_or_a_folder(out: str, said: str, capsys: Any) -> None:
    write(PAIR)
    assert evaluate("echo", out=out) == 2
    assert said in capsys.readouterr().err


def test_files_of_others_are_not_replaced(capsys: Any) -> None:
    write(PAIR)
    Path("notes.json").write_text('{"mine": 1}', encoding="utf-8")
    Path("s/a").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        Path("s/a", name).write_text("{}", encoding="utf-8")
    manifest = json.dumps({"result": {"command": "train"}, "history": {}})
    Path("s/a.manifest.json").write_text(manifest, encoding="utf-8")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for out, said in (
        ("notes.json", "notes.json: is there already, and holds no figures"),
        ("s/a", "s/a is the folder of a model"),
        ("s/a/b/c.json", "s/a is the folder of a model"),
        ("s/a.json", "s/a.manifest.json tells how the student beside it was trained"),
    ):
        assert evaluate("echo", out=out) == 2
        assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_task_is_a_file(capsys: Any) -> None:
    assert main(["evaluate", "echo", "--task", "-"]) == 2
    assert "give a file" in capsys.readouterr().err
    assert main(["evaluate", "echo", "--task", "gone.jsonl"]) == 2
    assert "gone.jsonl" in capsys.readouterr().err

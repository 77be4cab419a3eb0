"""Shards by hand and `publish`: the bytes of a run in one piece, whatever the cut, and refusals that cost nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from distill_data.commands import Options, Summary, label, publish, status
from distill_data.commands.plan import Seeds
from distill_data.commands.shards import cut_budget, cut_limits
from distill_data.commands.task import Task, read_task
from distill_data.data.shard import Shard, parse_shard
from distill_data.errors import DamageError, DriftError, ShardError, UsageError
from distill_data.teachers.protocol import Profile

ECHO = Options(teachers=("echo",))
TEXTS = ["one", "two", "one", "three", "four", "one", "five", "six", "seven", "two"]
"""Ten rows, seven of them different."""

PICKY = """\
---
about: The text is the answer, where it is one.
columns: {text: required, label: optional, language: optional}
sampling: {max_tokens: 8}
parser: {choice: [positive, negative]}
gold: label
gold_by: language
verifier: normalised
record: {kind: sft, completion: {content: answer}, answer: answer}
example:
  row: {text: negative, label: negative}
  reply: negative
---
{% message "user" %}
{{ text }}
{% endmessage %}
"""


def write(path: Path, texts: Iterable[str]) -> str:
    path.write_text("".join(f'{{"instruction": "say {text}"}}\n' for text in texts))
    return str(path)


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("whole", "cut"):
        Path(name).mkdir()
    return write(Path("s.jsonl"), TEXTS)


def one(seeds: str, number: int, of: int, options: Options = ECHO) -> Summary:
    return label(seeds, recipe="answer", output="cut/o.jsonl", options=replace(options, shard=Shard(number, of)))


def every(seeds: str, of: int, options: Options = ECHO) -> list[Summary]:
    return [one(seeds, number, of, options) for number in range(1, of + 1)]


def result(path: str) -> str:
    """The manifest's deterministic part, in its order."""
    return json.dumps(json.loads(Path(path).read_bytes())["result"])


def same(ending: str) -> bool:
    return Path(f"cut/o.{ending}").read_bytes() == Path(f"whole/o.{ending}").read_bytes()


@pytest.mark.parametrize("of", [1, 2, 3, 11])
def test_any_cut_gives_the_bytes_of_one_piece(seeds: str, of: int) -> None:
    whole = label(seeds, recipe="answer", output="whole/o.jsonl", options=ECHO)
    assert sum(int(str(done.history["bought"])) for done in every(seeds, of)) == whole.history["bought"] == 7
    done = publish("cut/o.jsonl")
    assert (done.status, done.exit_code, done.history["bought"]) == ("published", 0, 7)
    assert same("jsonl")
    assert same("rejects.jsonl")
    assert result("cut/o.manifest.json") == result("whole/o.manifest.json")
    changed = Path("cut/o.jsonl").stat().st_mtime_ns
    assert publish("cut/o.jsonl").status == "unchanged"
    assert label(seeds, recipe="answer", output="cut/o.jsonl", options=ECHO).status == "unchanged"
    assert Path("cut/o.jsonl").stat().st_mtime_ns == changed


def test_rejects_and_agreement_are_those_of_one_piece(seeds: str) -> None:
    Path("r.jinja").write_text(PICKY)
    words = ["positive", "dull", "negative", *map(str, range(9)), "positive"]
    row = '{{"text": "{}", "label": "positive", "language": "l{}"}}\n'
    Path("g.jsonl").write_text("".join(row.format(word, n % 2) for n, word in enumerate(words)))
    for output, shards in (("whole/o.jsonl", [None]), ("cut/o.jsonl", [Shard(1, 2), Shard(2, 2)])):
        for shard in shards:
            label("g.jsonl", recipe="./r.jinja", output=output, options=replace(ECHO, shard=shard))
    done = publish("cut/o.jsonl")
    assert (done.result["kept"], done.result["rejected"]) == (3, 10)
    by = {"l0": {"compared": 7, "equal": 2}, "l1": {"compared": 6, "equal": 0}}
    assert done.result["gold"] == {"compared": 13, "equal": 2, "by": by}
    assert same("jsonl")
    assert same("rejects.jsonl")
    assert result("cut/o.manifest.json") == result("whole/o.manifest.json")


def test_a_row_that_comes_or_goes_leaves_the_others_in_their_shards(seeds: str) -> None:
    every(seeds, 3)
    write(Path("s.jsonl"), ["new", *TEXTS[:0:-1]])
    assert sum(int(str(done.history["bought"])) for done in every(seeds, 3)) == 1
    label(seeds, recipe="answer", output="whole/o.jsonl", options=ECHO)
    publish("cut/o.jsonl")
    assert same("jsonl")


def test_what_is_missing_or_unfinished_is_named_and_partial_takes_the_rest(seeds: str) -> None:
    with pytest.raises(UsageError, match="there are no shards of it"):
        publish("cut/o.jsonl")
    one(seeds, 1, 3)
    stopped = one(seeds, 2, 3, replace(ECHO, max_tokens_total=30))
    assert (stopped.status, stopped.exit_code) == ("partial", 4)
    with pytest.raises(UsageError, match=r"2/3 is unfinished, 3/3 is missing"):
        publish("cut/o.jsonl")
    assert not Path("cut/o.jsonl").exists()
    done = publish("cut/o.jsonl", partial=True)
    assert (done.status, done.exit_code) == ("partial", 0)
    assert done.result["items"] == 10
    assert int(str(done.result["pending"])) > 0
    label(seeds, recipe="answer", output="whole/o.jsonl", options=ECHO)
    whole = Path("whole/o.jsonl").read_bytes().split(b"\n")
    there = Path("cut/o.partial.jsonl").read_bytes().split(b"\n")
    assert [line for line in whole if line in there] == there
    every(seeds, 3)
    assert publish("cut/o.jsonl", partial=True).status == "published", "all there is was the whole"
    assert same("jsonl")
    assert not Path("cut/o.partial.jsonl").exists()
    Path("cut/o.partial.manifest.json").write_text("{}")
    assert publish("cut/o.jsonl").status == "unchanged"
    assert not Path("cut/o.partial.manifest.json").exists()


@pytest.mark.parametrize("shard", [None, Shard(1, 1)])
def test_rows_that_come_while_others_are_worked_on_are_not_bought(
    seeds: str, shard: Shard | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = Seeds.survey

    def survey_and_grow(self: Seeds, recipe: Any, *before: Any) -> None:
        survey(self, recipe, *before)
        write(Path(seeds), [*TEXTS, *map(str, range(20))])

    monkeypatch.setattr(Seeds, "survey", survey_and_grow)
    done = label(seeds, recipe="answer", output="cut/o.jsonl", options=replace(ECHO, shard=shard))
    assert (done.status, done.exit_code, done.history["bought"]) == ("partial", 5, 7)
    assert "the seeds changed while they were being worked on" in done.message


@pytest.mark.parametrize(
    "options", [["-o", "o\udcff.jsonl"], ["-o", "o.jsonl", "--seed", "9" * 30], ["-o", "o.jsonl", "--set", "a=\udcff"]]
)
def test_what_no_manifest_can_say_is_refused_before_it_costs(
    seeds: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", seeds, "-r", "answer", "-t", "echo", *options]) == 2
    assert "64 bits" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["cut", "s.jsonl", "whole"]


@pytest.mark.parametrize("what", ["seeds", "recipe", "teacher"])
def test_shards_of_different_jobs_are_refused(seeds: str, what: str) -> None:
    one(seeds, 1, 2)
    other = {"seeds": ECHO, "recipe": replace(ECHO, settings={"temperature": "0.5"})}.get(what, ECHO)
    if what == "teacher":
        Path("distill.toml").write_text('[models.second]\nmodel = "echo"\n')
        other = Options(teachers=("second",))
    one(write(Path("other.jsonl"), TEXTS[:5]) if what == "seeds" else seeds, 2, 2, other)
    with pytest.raises(DriftError, match="1/2 and 2/2 are of different jobs") as raised:
        publish("cut/o.jsonl")
    assert raised.value.exit_code == 5
    assert {"recipe": "settings", "teacher": "teachers"}.get(what, what) in str(raised.value)
    assert not Path("cut/o.jsonl").exists()


def test_another_number_of_shards_takes_the_answers_along_or_is_refused(seeds: str) -> None:
    every(seeds, 2)
    with pytest.raises(DriftError, match=r"--reuse cut/o.shards/1-of-2.run --reuse cut/o.shards/2-of-2.run"):
        one(seeds, 1, 3)
    with pytest.raises(DriftError, match="one piece"):
        label(seeds, recipe="answer", output="cut/o.jsonl", options=ECHO)
    assert {path.name[:6] for path in Path("cut/o.shards").iterdir()} == {"1-of-2", "2-of-2"}
    Path("cut/o.shards/1-of-3.run").mkdir()  # of one that was killed while it read its seeds
    assert publish("cut/o.jsonl").history["shards"]["of"] == 2  # type: ignore[index]
    before = replace(ECHO, reuse=tuple(sorted(Path("cut/o.shards").glob("*-of-2.run"))))
    assert {done.history["bought"] for done in every(seeds, 3, before)} == {0}
    with pytest.raises(DriftError, match="into 2 and into 3"):
        publish("cut/o.jsonl")
    assert publish("cut/o.jsonl", of=3).history["shards"]["of"] == 3  # type: ignore[index]


def test_answers_of_a_run_in_one_piece_are_not_bought_again(seeds: str) -> None:
    label(seeds, recipe="answer", output="cut/o.jsonl", options=ECHO)
    with pytest.raises(DriftError, match=r"--reuse cut/o\.run"):
        one(seeds, 1, 2)
    assert one(seeds, 1, 2, replace(ECHO, accept_drift=True)).status == "published"


@pytest.mark.parametrize("name", ["jsonl", "rejects.jsonl", "order.txt"])
def test_a_changed_file_of_a_shard_is_damage(seeds: str, name: str) -> None:
    every(seeds, 2)
    path = Path(f"cut/o.shards/2-of-2.{name}")
    path.write_bytes(path.read_bytes().replace(b"1", b"2") or b"{}\n")
    with pytest.raises(DamageError, match=r"[rR]un the shard"):
        publish("cut/o.jsonl")
    assert not Path("cut/o.jsonl").exists()


def test_a_manifest_of_another_shape_is_none_and_seeds_among_the_shards_are_refused(seeds: str) -> None:
    every(seeds, 2)
    path = Path("cut/o.shards/2-of-2.manifest.json")
    for harmed in ({"result": {}}, {"result": json.loads(path.read_bytes())["result"] | {"shard": 3}, "history": {}}):
        path.write_text(json.dumps(harmed))
        with pytest.raises(UsageError, match="2/2 is unfinished"):
            publish("cut/o.jsonl")
    taken = Path("cut/o.shards/1-of-2.jsonl")
    before = taken.read_bytes()
    with pytest.raises(UsageError, match="its shards would lie where"):
        one(str(taken), 1, 2)
    assert taken.read_bytes() == before


def test_status_knows_a_shard(seeds: str) -> None:
    one(seeds, 1, 2)
    known = status("cut/o.shards/1-of-2.jsonl")
    assert known.status == "published"
    assert known.result["shard"] == {"number": 1, "of": 2, "kinds": {}}
    some = status("cut/o.jsonl")
    assert (some.status, some.message) == ("partial", "1 of 2 shards are done; 2/2 not begun.")
    one(seeds, 2, 2)
    assert "distill-data publish cut/o.jsonl" in status("cut/o.jsonl").message
    publish("cut/o.jsonl")
    whole = status("cut/o.jsonl")
    assert (whole.status, whole.history["bought"], whole.result["kept"]) == ("published", 7, 10)


def test_what_all_may_spend_is_shared_out() -> None:
    options = cut_budget(Options(shard=Shard(1, 4), max_cost=2.0, max_tokens_total=10))
    assert (options.max_cost, options.max_tokens_total) == (0.5, 2)
    limits = cut_limits(
        {"teacher": Profile("m", "echo", concurrency=6, rpm=60, tpm=1000, enqueued_tokens=9)}, Shard(1, 4)
    )["teacher"]
    assert limits.enqueued_tokens == 2
    assert (limits.concurrency, limits.rpm, limits.tpm) == (1, 15, 250)
    assert cut_limits({"teacher": Profile("m", "echo", concurrency=2)}, Shard(3, 4))["teacher"].concurrency == 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "1/2/3", "-1/2", "1/0", " 1/2"])
def test_a_shard_is_a_number_of_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="I/N"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--shard", "1/2", "--shards", "2"], "exclude each other"),
        (["--shard", "1/2", "-o", "-"], "give -o OUT.jsonl"),
        (["--shard", "1/2", "--replay", "x"], "a replay sends nothing"),
        (["--shards", "2", "--run", "x"], "a run directory of its own"),
        (["--engine", "ray"], "needs --shards"),
        (["--shards", "2", "--engine", "slurm"], "the only one is ray"),
        (["--shards", "0"], "at least 1"),
    ],
)
def test_options_that_do_not_go_together(
    seeds: str, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", seeds, "-r", "answer", "-t", "echo", "-o", "o.jsonl", *options]) == 2
    assert says in capsys.readouterr().err.replace("\n", " ")
    assert sorted(path.name for path in Path().iterdir()) == ["cut", "s.jsonl", "whole"]


@pytest.mark.parametrize("command", ["expand", "curate"])
@pytest.mark.parametrize("option", [("--shard", "1/2"), ("--shards", "2")])
def test_what_works_in_rounds_is_not_cut(
    seeds: str, command: str, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {"expand": "self-instruct", "curate": "textbook"}[command]
    assert main([command, seeds, "-r", recipe, "-t", "echo", "--rows", "3", "-o", "o.jsonl", *option]) == 2
    assert "depends on all that earlier rounds kept" in capsys.readouterr().err.replace("\n", " ")
    assert not list(Path().glob("o.*"))


def test_failures_are_counted_over_all_shards(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One of 13 items fails: of its shard's that is more than a tenth."""
    Path("r.jinja").write_text(
        PICKY.replace("sampling:", "settings: {says: {a: positive}}\nsampling:").replace(
            "{{ text }}", "{{ says[text] }}"
        )
    )
    Path("g.jsonl").write_text("".join(f'{{"text": "{word}"}}\n' for word in ["a"] * 12 + ["b"]))
    for options in (replace(ECHO, shard=Shard(1, 2)), replace(ECHO, shard=Shard(2, 2))):
        assert label("g.jsonl", recipe="./r.jinja", output="cut/o.jsonl", options=options).status == "published"
    assert main(["publish", "cut/o.jsonl"]) == 3
    told = capsys.readouterr().err
    assert "1 of 13 items failed" in told
    assert "with --retry-failed" in told.replace("\n", " ")
    assert not Path("cut/o.jsonl").exists()
    label("g.jsonl", recipe="./r.jinja", output="whole/o.jsonl", options=ECHO)
    assert same("partial.jsonl")
    assert same("partial.rejects.jsonl")
    assert result("cut/o.partial.manifest.json") == result("whole/o.partial.manifest.json")
    assert main(["publish", "cut/o.jsonl", "--max-failed", "10%"]) == 0
    assert not Path("cut/o.partial.jsonl").exists()
    assert main(["publish", "cut/o.jsonl", "--max-failed", "2"]) == 2
    assert "from 0 to 1" in capsys.readouterr().err


def test_a_worker_that_always_dies_is_given_up(
    seeds: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path("dies").write_text("#!/bin/sh\nkill -9 $$\n")
    Path("dies").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(Path("dies").resolve()))
    with pytest.raises(ShardError, match=r"Shard 1/2: .* died by SIGKILL, 4 times") as raised:
        label(seeds, recipe="answer", output="cut/o.jsonl", options=replace(ECHO, shards=2))
    assert raised.value.exit_code == 1
    assert caplog.text.count("is started again") == 6


def test_a_task_is_the_same_in_another_process() -> None:
    """Every option has a value of its own, so one that is added and does not come through shows here."""
    of_a_type: dict[str, Any] = {
        "int": 3, "int | None": 4, "float": 0.5, "float | None": 0.25, "bool": True, "str": "word",
        "Path | None": Path("p"), "tuple[str, ...]": ("a", "b"), "tuple[Path, ...]": (Path("q"), Path("r")),
        "Mapping[str, str]": {"k": "v"}, "Mapping[str, Path]": {"sft": Path("x.jsonl")}, "Shard | None": Shard(2, 3),
    }  # fmt: skip
    options = Options(**{each.name: of_a_type[str(each.type)] for each in fields(Options)})
    task = Task("label", "s", "r", "o", options, True)
    assert read_task(task.to_json()) == task
    assert b"\n" not in task.to_json()

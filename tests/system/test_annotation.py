"""`feedback` and `self-knowledge` as a user runs them: any concurrency, kills, several kinds, planted answers, rounds.

Students and judges are those of tests.annotators. The server's ledger says what was asked.
"""

from __future__ import annotations

import csv
import json
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.annotators import SEEDED, serve
from tests.faultserver import Server
from tests.system.command import (
    Done,
    Output,
    finish,
    read_jsonl,
    run,
    signal_all,
    start,
    wait_for_requests,
)

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

ROWS, CONCURRENCY, KILLS = 16, 8, 5
ASKED = re.compile(rb'"id":"([0-9a-f]{64})"')


class Job(NamedTuple):
    """A recipe, and who is asked."""

    command: str
    recipe: str
    kind: str
    """Of the output."""
    others: tuple[str, ...]
    """Kinds that are written beside it."""
    options: tuple[str, ...] = ()

    @property
    def who(self) -> tuple[str, ...]:
        return ("-s", "student", "-t", "judge") if self.command == "feedback" else ("-s", "student")


COMPARE = Job("feedback", "compare", "preference", ("ranked", "unpaired", "sft"), ("-n", "3"))
RATE = Job("feedback", "rate", "preference", ("ranked", "sft", "unpaired"), ("-n", "2", "--set", "pairs=best-worst"))
RUBRIC = Job("feedback", "rubric", "critique", ("ranked", "preference"), ("-n", "2"))
CORRECT = Job("feedback", "correct", "sft", ("preference",))
MAJORITY = Job("self-knowledge", "majority", "sft", ("preference",))
STAR = Job("self-knowledge", "star", "sft", ("ranked",), ("-n", "2"))
REST = Job("self-knowledge", "rest", "sft", ("preference", "unpaired"), ("-n", "4"))
KILLED = [RATE, STAR, COMPARE, RUBRIC, CORRECT, MAJORITY, REST]


def named(job: Job) -> str:
    return f"{job.command} {job.recipe}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def slow_server() -> Iterator[Server]:
    with serve(latency=0.02) as running:
        yield running


class Place(NamedTuple):
    """A folder with seeds for every job and the configuration of its models."""

    path: Path

    def seeds(self, job: Job) -> Path:
        return self.path / ("tasks.jsonl" if job.recipe in ("compare", "rate", "rubric") else "sums.jsonl")

    def out(self, name: str = "out") -> Output:
        return Output(self.path / f"{name}.jsonl")

    def do(self, job: Job, url: str, out: Output, *options: str | Path) -> list[str | Path]:
        """The arguments of a job with its first kind alone."""
        where: list[str | Path] = ["-o", out.path, "--base-url", url, "--config", self.path / "models.toml"]
        asked = [job.command, self.seeds(job), "-r", job.recipe, *job.who, "--set", "seed=0", "--kind", job.kind]
        return [*asked, *where, *job.options, *options]

    def do_all(self, job: Job, url: str, out: Output, *options: str | Path) -> list[str | Path]:
        """The same with a file for each further kind."""
        kinds = [part for kind in job.others for part in ("--kind", f"{kind}={out.beside(f'{kind}.jsonl')}")]
        return [*self.do(job, url, out), *kinds, *options]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "models.toml").write_text(SEEDED)
    write_tasks(tmp_path / "tasks.jsonl", ROWS)
    sums = [(7 * n + 3, 5 * n + 11) for n in range(ROWS)]
    rows = [
        # Every fourth row of `rest` has no gold: the student judges itself there.
        {"question": f"row-{n:05d}: How much is {a} plus {b}?", "answer": str(a + b)}
        for n, (a, b) in enumerate(sums)
    ]
    write_rows(tmp_path / "sums.jsonl", rows)
    write_rows(tmp_path / "some.jsonl", [row if n % 4 else {**row, "answer": ""} for n, row in enumerate(rows)])
    return Place(tmp_path)


def write_tasks(path: Path, count: int) -> Path:
    return write_rows(path, [{"instruction": f"row-{n:05d}: describe this number"} for n in range(count)])


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def bytes_of(job: Job, out: Output) -> tuple[object, ...]:
    """All that a run publishes, but for the history."""
    others = [out.beside(f"{kind}.jsonl").read_bytes() for kind in job.others]
    return out.path.read_bytes(), *others, out.beside("rejects.jsonl").read_bytes(), _unnamed(out)


def _unnamed(out: Output) -> object:
    """The manifest's result without the names of the files, which differ from one output to the next."""
    result = out.manifest()["result"]
    files = {kind: {**file, "name": ""} for kind, file in result["files"].items() if file}
    return {**result, "files": files}


def on_disk(out: Output) -> set[str]:
    """Digests of the requests whose answers are in the journal."""
    lines = (line for part in out.run.glob("journal/*.jsonl") for line in part.read_bytes().split(b"\n")[:-1])
    return {found[1].decode() for line in lines if b'"t":"ok"' in line and (found := ASKED.search(line))}


def digests(server: Server, since: int = 0) -> list[str]:
    return [str(line["digest"]) for line in server.ledger()[since:]]


# -- the same bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [COMPARE, RATE, RUBRIC, CORRECT, MAJORITY, STAR, REST], ids=named)
def test_every_kind_has_the_same_bytes_at_any_concurrency(job: Job, server: Server, place: Place) -> None:
    outs = {concurrency: place.out(f"at-{concurrency}") for concurrency in ("1", "8", "64")}
    started = [start(*place.do_all(job, server.url, out, "--concurrency", each)) for each, out in outs.items()]
    for process in started:
        finish(process).ended(0)
    out, *others = outs.values()
    assert [bytes_of(job, other) for other in others] == [bytes_of(job, out)] * 2
    result = out.accounted(ROWS)
    assert all(result["files"][name]["rows"] for name in ("dataset", *job.others))
    assert result["kept"] > ROWS / 4
    asked = digests(server)
    assert {asked.count(each) for each in set(asked)} == {3}, "a run asks nothing twice, and every run asks the same"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("job", KILLED, ids=named)
def test_kills_change_nothing_and_nothing_on_disk_is_asked_again(job: Job, slow_server: Server, place: Place) -> None:
    rng, out, whole = random.Random(7), place.out("killed"), place.out("whole")
    in_flight = CONCURRENCY * (job.who.count("-s") + job.who.count("-t")) * 5 // 4
    do = place.do_all(job, slow_server.url, out, "--concurrency", str(CONCURRENCY))
    killed = 0
    for _ in range(KILLS):
        before, asked = on_disk(out), slow_server.asked()
        process = start(*do)
        wait_for_requests(slow_server, asked + rng.randrange(1, 2 + ROWS // 4), process)
        time.sleep(rng.random() * 0.03)
        if process.poll() is None:
            signal_all(process, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        again = digests(slow_server, asked)
        assert not before & set(again), "an answer on disk was asked again"
        assert before <= on_disk(out), "an answer on disk went away"
        assert len(set(again) - on_disk(out)) <= in_flight, "more was lost than was in flight"
    before, asked = on_disk(out), slow_server.asked()
    assert before and killed > 2
    run(*do).ended(0)
    assert not before & set(digests(slow_server, asked))
    bought = digests(slow_server)
    assert len(bought) - len(set(bought)) <= KILLS * in_flight
    run(*place.do_all(job, slow_server.url, whole, "--concurrency", str(CONCURRENCY))).ended(0)
    assert bytes_of(job, out) == bytes_of(job, whole)


def test_a_student_without_gold_judges_itself(server: Server, place: Place) -> None:
    out = place.out()
    run(*place.do(REST, server.url, out)).ended(0)
    verified, asked = out.records(), server.asked()
    place.path.joinpath("some.jsonl").replace(place.seeds(REST))
    half = place.out("half")
    run(*place.do(REST, server.url, half, "--set", "threshold=0.5")).ended(0)
    assert server.asked() - asked == 4 * ROWS + 4 * ROWS // 4, "each solution of a row without gold is judged"
    assert [record["answer"] for record in half.records()] == [record["answer"] for record in verified]
    assert half.manifest()["result"]["gold"]["compared"] == ROWS * 3 // 4


# -- several kinds -----------------------------------------------------------------------------------------------------


def test_several_kinds_are_one_run_with_one_manifest(server: Server, place: Place) -> None:
    out = place.out()
    do = place.do_all(RATE, server.url, out)
    done = run(*do).ended(0)
    result, asked = out.manifest()["result"], server.asked()
    assert set(result["files"]) == {"dataset", *RATE.others, "rejects"}
    for name, described in result["files"].items():
        path = out.path if name == "dataset" else out.beside(f"{name}.jsonl")
        rows = read_jsonl(path)
        assert (described["name"], described["rows"]) == (path.name, len(rows))
        assert name == "rejects" or {row["kind"] for row in rows} == {RATE.kind if name == "dataset" else name}
        assert path.name in done.err
    assert len(list(place.path.glob("*.manifest.json"))) == 1
    before = bytes_of(RATE, out)
    assert "nothing was sent" in run(*do).ended(0).err
    out.beside("sft.jsonl").unlink()
    run(*do).ended(0)
    with out.beside("unpaired.jsonl").open("ab") as stream:
        stream.write(b"{}\n")
    run(*do).ended(0)
    assert bytes_of(RATE, out) == before
    assert server.asked() == asked


def test_a_kind_without_a_row_is_no_file(server: Server, place: Place) -> None:
    out = place.out()
    rate = RATE._replace(kind="ranked", others=("sft", "preference"))
    do = place.do_all(rate, server.url, out, "--set", "margin=4.5")
    run(*do).ended(0)
    assert out.manifest()["result"]["files"]["preference"] is None
    assert not out.beside("preference.jsonl").exists()
    assert "nothing was sent" in run(*do).ended(0).err


def test_what_an_interrupted_run_leaves_is_partial_in_every_kind(slow_server: Server, place: Place) -> None:
    out, files = place.out(), ("out", *(f"out.{kind}" for kind in RATE.others))
    do = place.do_all(RATE, slow_server.url, out, "--concurrency", "4")
    process = start(*do)
    wait_for_requests(slow_server, ROWS * 5, process)
    process.send_signal(signal.SIGINT)
    finish(process).ended(130)
    assert not [name for name in files if (place.path / f"{name}.jsonl").exists()]
    partial = [place.path / f"{name}.partial.jsonl" for name in files]
    assert all(map(read_jsonl, partial))
    assert {file["name"] for file in out.partial.manifest()["result"]["files"].values()} >= {p.name for p in partial}
    run(*do).ended(0)
    assert not list(place.path.glob("*partial*"))
    assert len(set(digests(slow_server))) == len(digests(slow_server))


@pytest.mark.parametrize("job", [COMPARE, STAR], ids=named)
def test_another_kind_later_costs_nothing(job: Job, server: Server, place: Place) -> None:
    out = place.out()
    run(*place.do_all(job, server.url, out)).ended(0)
    asked = server.asked()
    for option in ("--reuse", "--replay"):
        later = place.out(f"later{option}")
        last = job._replace(kind=job.others[-1])
        run(*place.do(last, server.url, later, option, out.run)).ended(0)
        assert later.path.read_bytes() == out.beside(f"{job.others[-1]}.jsonl").read_bytes()
    assert server.asked() == asked


# -- before anything is paid -------------------------------------------------------------------------------------------


def told(done: Done) -> str:
    return " ".join(done.err.split())


def test_a_dry_run_counts_and_sends_nothing(server: Server, place: Place) -> None:
    out = place.out()
    done = run(*place.do(RATE, server.url, out, "--canaries", "10%", "--dry-run")).ended(0)
    assert f"requests: {2 * ROWS} to send" in done.err
    assert "verdicts" in told(done) and "4 items' answers one more is planted" in told(done)
    assert server.asked() == 0
    assert not out.path.exists() and not out.run.exists()
    run(*place.do(RATE, server.url, out)).ended(0)
    asked = server.asked()
    done = run(*place.do(RATE, server.url, out, "--canaries", "10%", "--dry-run")).ended(0)
    assert f"requests: 4 to send, {6 * ROWS} already answered" in done.err, "only the planted answers are new"
    assert server.asked() == asked


# -- planted answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [COMPARE, RATE], ids=named)
@pytest.mark.parametrize("judge", ["judge", "gullible"])
def test_canaries_tell_a_good_judge_from_a_bad_one(judge: str, job: Job, place: Place) -> None:
    write_tasks(place.seeds(job), 20)
    out = place.out()
    kinds = [part for kind in job.others for part in ("--kind", f"{kind}={out.beside(f'{kind}.jsonl')}")]
    with serve(bodies=True) as server:
        do = [judge if part == "judge" else part for part in place.do(job, server.url, out, "--canaries", "5%", *kinds)]
        done = run(*do).ended(0)
        real = {reply_text(line["body"]) for line in server.ledger() if line["body"]["model"] == "student"}
        shown = {text for line in server.ledger() for text in shown_answers(line["body"])}
        again = run(*do).ended(0)
    result = out.manifest()["result"]
    caught = result["measures"]["canaries_caught"]
    assert (result["canaries"], caught["of"]) == (4, 4), "5 % of 20 are fewer than 4"
    assert result["measures"]["injections_caught"]["of"] <= 4
    bad = judge == "gullible"
    assert caught["count"] == (0 if bad else 4)
    assert (result.get("judge") == "unreliable") is bad
    for said in (told(done), told(again)):
        assert ("took 4 of 4 planted bad answers for good ones: do not rely on its scores" in said) is bad
    planted = shown - real
    assert len(planted) == 4
    files = b"".join(path.read_bytes() for path in place.path.glob("out*.jsonl"))
    assert not [text for text in planted if json.dumps(text)[1:-1].encode() in files or text.encode() in files]


def reply_text(body: dict[str, Any]) -> str:
    from tests.annotators import reply

    return reply(body)


def shown_answers(body: dict[str, Any]) -> list[str]:
    """What a request shows in fences."""
    from tests.annotators import FENCED

    found = [FENCED.search(str(message["content"])) for message in body["messages"]]
    return [json.loads(each[3]) for each in found if each]


# -- answers that are there already ------------------------------------------------------------------------------------

GIVEN = [["Sure: ban dort are worth 2.", "Sure: fosk gel are worth 5.", "Mine."], ["Sure: mul are worth 4.", "No."]]
TASKS = ["row-00000: one", "row-00001: two"]


def test_answers_may_be_a_column_of_lists(server: Server, place: Place) -> None:
    lists = write_rows(
        place.path / "given.jsonl",
        [{"instruction": task, "told": said} for task, said in zip(TASKS, GIVEN, strict=True)],
    )
    table = place.path / "given.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["instruction", "told"])
        writer.writerows([task, json.dumps(said)] for task, said in zip(TASKS, GIVEN, strict=True))
    made = []
    for seeds, out in ((lists, place.out("lists")), (table, place.out("table"))):
        column = ["feedback", seeds, "-r", "rate", "--answers", "told", "-t", "openai/judge", "--base-url", server.url]
        run(*column, "-o", out.path).ended(0)
        made.append([(record["responses"], record["scores"]) for record in out.records()])
    best_first = [[GIVEN[0][1], GIVEN[0][0], GIVEN[0][2]], GIVEN[1]]
    assert made[0] == made[1] == list(zip(best_first, [[5.0, 2.0, 1.0], [4.0, 1.0]], strict=True))
    assert out.manifest()["result"]["teachers"] == {"teacher": "openai/judge"}
    assert "told" not in str(out.records()[0]["prompt"])


def test_answers_may_be_a_column_of_texts(server: Server, place: Place) -> None:
    rows = [{"instruction": task, "told": said[0]} for task, said in zip(TASKS, GIVEN, strict=True)]
    seeds, out = write_rows(place.path / "given.jsonl", rows), place.out()
    column = ["feedback", seeds, "-r", "rubric", "--answers", "told", "-t", "openai/judge", "--base-url", server.url]
    run(*column, "--kind", "unpaired", "-o", out.path).ended(0)
    assert [(record["completion"][0]["content"], record["label"]) for record in out.records()] == [
        (GIVEN[0][0], False),
        (GIVEN[1][0], True),
    ]
    assert server.asked() == 2


@pytest.mark.parametrize("gap", ["", [], None, ["one", " "], ["one", 2]])
def test_a_row_without_answers_costs_nothing(gap: Any, server: Server, place: Place) -> None:
    rows = [{"instruction": "one", "told": "Mine."}, {"instruction": "two", "told": gap}]
    seeds = write_rows(place.path / "given.jsonl", rows)
    column = ["feedback", seeds, "-r", "rubric", "--answers", "told", "-t", "openai/judge", "--base-url", server.url]
    run(*column, "-o", place.out().path).complained(2, r"given\.jsonl:2", "told")
    assert server.asked() == 0


# -- rounds ------------------------------------------------------------------------------------------------------------


def test_rounds_have_a_lineage_and_a_collapse_is_told(server: Server, place: Place) -> None:
    outs, one_each = [place.out(f"r{number}") for number in (1, 2, 3)], ("--set", "keep=1")
    run(*place.do(REST, server.url, outs[0], "--round", "1", *one_each)).ended(0)
    do = place.do(REST, server.url, outs[1], "--round", "2", "--previous", outs[0].path, *one_each)
    do[do.index("seed=0")] = "seed=9"
    assert "alarm" not in run(*do).ended(0).err
    results = [out.manifest()["result"] for out in outs[:2]]
    first = {"name": "r1.jsonl", "sha256": results[0]["files"]["dataset"]["sha256"]}
    assert (results[0]["round"], results[1]["round"], results[1]["lineage"]) == (1, 2, [first])
    assert {json.loads(record["meta"]["details"])["round"] for record in outs[1].records()} == {2}
    assert results[1]["diversity"]["mean_words"] > 10, "the reasoning counts, and not the bare number"

    sums = [(n, 99 - n) for n in range(ROWS)]
    write_rows(place.seeds(REST), [{"question": f"How much is {a} plus {b}?", "answer": "99"} for a, b in sums])
    do = place.do(REST, server.url, outs[2], "--previous", outs[1].path, *one_each)
    do[do.index("student")] = "parrot"
    for _ in range(2):
        said = told(run(*do).ended(0))
        assert "Self-BLEU rose" in said and "alarm" in said
    result = outs[2].manifest()["result"]
    assert (result["round"], [each["name"] for each in result["lineage"]]) == (3, ["r1.jsonl", "r2.jsonl"])


def test_another_dataset_under_the_same_name_is_another_round(server: Server, place: Place) -> None:
    before, out = place.out("r1"), place.out("r2")
    run(*place.do(STAR, server.url, before, "--round", "1")).ended(0)
    do = place.do(STAR, server.url, out, "--previous", before.path)
    run(*do).ended(0)
    first, asked = out.manifest()["result"], server.asked()
    run(*place.do(STAR, server.url, before, "--round", "1", "--limit", "8")).ended(0)
    assert server.asked() == asked
    run(*do).ended(0)
    second = out.manifest()["result"]
    assert first["lineage"] != second["lineage"]
    assert second["lineage"][0]["sha256"] == before.manifest()["result"]["files"]["dataset"]["sha256"]
    assert server.asked() == asked


@pytest.mark.parametrize("damage", ["changed", "gone", "no manifest"])
def test_a_round_before_that_is_not_what_it_was_is_refused(damage: str, server: Server, place: Place) -> None:
    before, out = place.out("r1"), place.out("r2")
    run(*place.do(STAR, server.url, before)).ended(0)
    asked = server.asked()
    if damage == "changed":
        with before.path.open("ab") as stream:
            stream.write(b"{}\n")
    else:
        (before.path if damage == "gone" else before.beside("manifest.json")).unlink()
    done = run(*place.do(STAR, server.url, out, "--round", "2", "--previous", before.path))
    done.complained(2, r"--previous .*r1\.jsonl")
    assert server.asked() == asked and not out.path.exists()


def test_a_later_round_names_the_one_before(server: Server, place: Place) -> None:
    run(*place.do(STAR, server.url, place.out(), "--round", "2")).complained(2, "--previous")
    assert server.asked() == 0

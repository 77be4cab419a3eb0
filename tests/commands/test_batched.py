"""The Batch lane against a server that misbehaves: every row accounted for, every answer paid once, equal bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import Options, Summary, label, status
from distill_data.engine import batch_jobs, send
from tests.batchserver import Fault, Outcome, Script, Server, answered, refused, serving, undone

ROWS = 12


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """As new, and in an empty working directory with seeds. Waits are short."""
    fresh = Server(running.url)
    for name in fresh.__dataclass_fields__:
        setattr(running, name, getattr(fresh, name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_jobs, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(batch_jobs, "SOON", 0.0)
    monkeypatch.setattr(batch_jobs, "SELDOM", 0.0)
    monkeypatch.setattr(batch_jobs, "backoff", lambda *_: 0.0)
    monkeypatch.setattr(send, "backoff", lambda *_: 0.0)
    write_seeds(ROWS)
    return running


def write_seeds(rows: int) -> None:
    Path("s.jsonl").write_text("".join(f'{{"instruction": "row-{n:05d}: say something"}}\n' for n in range(rows)))


def run(server: Server, output: str = "o.jsonl", **more: Any) -> Summary:
    options = Options(teachers=("openai/m",), base_url=server.url, lane="batch", max_failed=1.0)
    return label("s.jsonl", recipe=more.pop("recipe", "answer"), output=output, options=replace(options, **more))


def online(server: Server, **more: Any) -> bytes:
    """What an online run publishes."""
    assert run(server, "online.jsonl", lane="online", **more).exit_code == 0
    return Path("online.jsonl").read_bytes()


def result(output: str = "o") -> dict[str, Any]:
    return dict(json.loads(Path(f"{output}.manifest.json").read_bytes())["result"])


def batches_of(summary: Summary) -> dict[str, Any]:
    found = summary.history["batches"]
    assert isinstance(found, dict)
    return found


def test_a_batch_gives_the_bytes_of_an_online_run_and_pays_each_request_once(server: Server) -> None:
    done = run(server)
    assert (done.status, done.exit_code, done.history["bought"], done.history["reused"]) == ("published", 0, ROWS, 0)
    assert set(server.paid.values()) == {1}
    assert (len(server.paid), len(server.created), server.online) == (ROWS, 1, Counter())
    assert Path("o.jsonl").read_bytes() == online(server)
    assert result() == {**result("online"), "files": result()["files"]}
    assert run(server).status == "unchanged"
    assert len(server.created) == 1


def test_what_stands_in_a_batch_and_its_metadata(server: Server) -> None:
    run(server)
    lines = server.requests("batch_1")
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert {len(line["custom_id"]) for line in lines} == {64}
    shard = server.batches["batch_1"]["metadata"]["distill_data_shard"]
    assert server.files["file-1"][0] == f"{shard}.jsonl"
    assert len(server.batches["batch_1"]["metadata"]["distill_data_run"]) == 16
    keys = {json.loads(line)["k"] for line in Path("o.run/journal/000001.jsonl").read_bytes().split(b"\n") if line}
    assert keys == {line["custom_id"] for line in lines}


def test_the_headers_tell_nothing_but_the_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("MY_KEY", "sk-of-this-run")
    run(server, api_key_env="MY_KEY")
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-of-this-run"}
    assert not [call for call in server.calls if "elsewhere" in str(call.headers)]
    assert {name for call in server.calls for name in call.headers if name.startswith("x-")} <= {
        "x-stainless-raw-response"
    }


def reversed_order(outcome: Outcome) -> Outcome:
    outcome.output.reverse()
    return outcome


def duplicated(outcome: Outcome) -> Outcome:
    first = outcome.output[0]
    again = answered(first["custom_id"], {**first["response"]["body"], "choices": []})
    outcome.output.append(again)
    return outcome


def with_unknown(outcome: Outcome) -> Outcome:
    outcome.output += [answered("f" * 64, {"choices": []}), answered("", {})]
    return outcome


def with_rubbish(outcome: Outcome) -> Outcome:
    outcome.raw = b'not json\n[]\n{"custom_id": 7}\n{"custom_id": "x", "response": {"status_code": NaN}}\n'
    return outcome


def missing_some(outcome: Outcome) -> Outcome:
    del outcome.output[:5]
    return outcome


def half_expired(outcome: Outcome) -> Outcome:
    outcome.status = "expired"
    outcome.errors = [undone(line["custom_id"]) for line in outcome.output[1::2]]
    outcome.output = outcome.output[::2]
    return outcome


def cancelled(outcome: Outcome) -> Outcome:
    outcome.status = "cancelled"
    outcome.errors = [undone(line["custom_id"], "batch_cancelled") for line in outcome.output[3:]]
    outcome.output = outcome.output[:3]
    return outcome


def only_errors(file: str | None) -> Script:
    def script(outcome: Outcome) -> Outcome:
        outcome.errors = [refused(line["custom_id"], 500, "internal") for line in outcome.output]
        outcome.output, outcome.output_file = [], file
        return outcome

    return script


def nothing_at_all(outcome: Outcome) -> Outcome:
    return Outcome([], output_file=None, error_file="", completed=0)


def half_empty(outcome: Outcome) -> Outcome:
    for line in outcome.output[:4]:
        line["response"]["body"] = {"choices": []}
    return outcome


def broken_half_way(outcome: Outcome) -> Outcome:
    """Failed as a whole, because too much waits, after some were answered."""
    wrong = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]
    return Outcome(outcome.output[:6], status="failed", wrong=wrong)


@pytest.mark.parametrize(
    ("script", "batches", "odd", "paid"),
    [
        (reversed_order, 1, {}, ROWS),
        (duplicated, 1, {"duplicate": 1}, ROWS),
        (with_unknown, 1, {"unknown": 2}, ROWS),
        (with_rubbish, 1, {"unreadable": 4}, ROWS),
        (missing_some, 2, {"missing": 5}, ROWS),
        (half_expired, 2, {"expired": 6}, ROWS),
        (cancelled, 2, {"expired": 9}, ROWS),
        (only_errors(None), 2, {}, ROWS),
        (only_errors(""), 2, {}, ROWS),
        (nothing_at_all, 2, {"missing": ROWS}, ROWS),
        (half_empty, 2, {}, ROWS + 4),
        (broken_half_way, 2, {"missing": 6}, ROWS),
    ],
    ids=lambda value: value.__qualname__.partition(".")[0] if callable(value) else "",
)
def test_whatever_comes_back_is_joined_and_the_rest_is_asked_again(
    script: Callable[[Outcome], Outcome], batches: int, odd: dict[str, int], paid: int, server: Server
) -> None:
    server.script.append(script)
    done = run(server)
    assert (done.exit_code, done.status) == (0, "published"), done.message
    assert len(server.created) == batches
    assert server.paid.total() == paid
    assert batches_of(done)["odd"] == odd
    assert (batches_of(done)["open"], done.history["bought_twice"]) == (0, 0)
    assert (done.history["in_doubt"], done.history["bought"]) == (paid - ROWS, ROWS)
    assert Path("o.jsonl").read_bytes() == online(server)


def test_refusals_of_rows_are_rejects_with_a_reason(server: Server) -> None:
    def some_refused(outcome: Outcome) -> Outcome:
        outcome.errors = [
            refused(outcome.output[0]["custom_id"], 400, "context_length_exceeded"),
            refused(outcome.output[1]["custom_id"], 400, "content_policy_violation"),
        ]
        del outcome.output[:2]
        return outcome

    server.script.append(some_refused)
    done = run(server)
    assert (done.exit_code, len(server.created)) == (0, 1)
    assert result()["reasons"] == {"content-policy": 1, "context-length": 1}
    assert (result()["kept"], result()["failed"]) == (ROWS - 2, 2)
    again = run(server, retry_failed=True)
    assert (again.status, len(server.created), server.paid.total()) == ("published", 2, ROWS)
    assert Path("o.jsonl").read_bytes() == online(server)


def test_trouble_that_does_not_pass_ends_the_row_after_three_batches(server: Server) -> None:
    def first_fails(outcome: Outcome) -> Outcome:
        rows = {line["custom_id"]: line for line in outcome.output}
        unlucky = next(key for key, line in rows.items() if "row-00000" in str(line))
        outcome.errors = [refused(unlucky, 500, "internal")]
        outcome.output = [line for key, line in rows.items() if key != unlucky]
        return outcome

    server.script += [first_fails] * 3
    done = run(server)
    assert (done.exit_code, len(server.created)) == (0, 3)
    assert result()["reasons"] == {"server-error": 1}
    assert done.history["retried"] == 2


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "model_not_found"])
def test_a_line_that_says_that_nothing_more_can_be_had_stops_the_run(code: str, server: Server) -> None:
    def spent(outcome: Outcome) -> Outcome:
        outcome.errors = [refused(line["custom_id"], 429, code) for line in outcome.output[6:]]
        del outcome.output[6:]
        return outcome

    server.script.append(spent)
    done = run(server)
    assert (done.exit_code, done.status, len(server.created)) == (4, "partial", 1)
    assert code in done.message
    assert result("o.partial")["kept"] == 6
    assert run(server).exit_code == 0
    assert (server.paid.total(), len(server.paid)) == (ROWS, ROWS)


def test_a_batch_that_fails_its_validation_stops_the_run_and_says_why(server: Server) -> None:
    wrong = [{"code": "invalid_json_line", "message": "Line 3 is \x1b[31mno JSON."}]
    server.script.append(lambda _: Outcome([], status="failed", output_file=None, wrong=wrong))
    done = run(server)
    assert (done.exit_code, len(server.created)) == (4, 1)
    assert r"Line 3 is \x1b[31mno JSON" in done.message
    assert run(server).exit_code == 0
    assert len(server.created) == 2


def test_a_queue_that_stays_full_is_told(server: Server) -> None:
    wrong = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]
    server.script += [lambda _: Outcome([], status="failed", output_file=None, wrong=wrong)] * 3
    done = run(server)
    assert (done.exit_code, len(server.created)) == (4, 3)
    assert "Enqueued token limit reached. Set enqueued_tokens" in done.message


def test_twenty_refusals_and_no_answer_are_no_matter_of_rows(server: Server) -> None:
    def all_refused(outcome: Outcome) -> Outcome:
        return Outcome([], [refused(line["custom_id"], 400, "bad") for line in outcome.output], output_file="")

    write_seeds(20)
    server.script.append(all_refused)
    done = run(server)
    assert done.exit_code == 4
    assert "mistake is in the recipe" in done.message


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/files$", "drop"),
        Fault("POST", "/files$", "lose"),
        Fault("POST", "/files$", 500),
        Fault("POST", "/files$", 429),
        Fault("POST", "/files$", "cut"),
        Fault("POST", "/files$", "html"),
        Fault("POST", "/batches$", "drop"),
        Fault("POST", "/batches$", "lose"),
        Fault("POST", "/batches$", 503),
        Fault("POST", "/batches$", "cut"),
        Fault("GET", "/batches/batch_1$", 500, 9),
        Fault("GET", "/batches/batch_1$", 429),
        Fault("GET", "/batches/batch_1$", 404, 2),
        Fault("GET", "/batches/batch_1$", "drop", 9),
        Fault("GET", "/batches/batch_1$", "html", 2),
        Fault("GET", "/batches/batch_1$", "cut"),
        Fault("GET", "/content$", "cut", 2),
        Fault("GET", "/content$", "drop", 9),
        Fault("GET", "/content$", 500, 9),
        Fault("GET", "/content$", 404, 2),
    ],
    ids=lambda fault: f"{fault.method} {fault.path.strip('/$')} {fault.what}".replace("/", " "),
)
@pytest.mark.parametrize("keeps_metadata", [True, False], ids=["", "without metadata"])
def test_trouble_with_a_call_is_borne_and_no_batch_is_created_twice(
    fault: Fault, keeps_metadata: bool, server: Server
) -> None:
    server.faults.append(fault)
    server.keeps_metadata = keeps_metadata
    done = run(server)
    assert done.exit_code == 0, done.message
    assert not server.faults
    assert len(server.created) == 1
    assert server.paid.total() == ROWS


def test_what_was_created_is_found_among_many_on_the_third_page(server: Server) -> None:
    foreign = b'{"custom_id": "x", "url": "/u", "method": "POST", "body": {"model": "m", "prompt": "p"}}'
    for number in range(5):
        file = server.keep(f"foreign-{number}.jsonl", foreign)
        server.create({"input_file_id": file, "endpoint": "/u", "completion_window": "24h"})
    server.page = 2
    server.faults += [Fault("POST", "/files$", "lose"), Fault("POST", "/batches$", "lose")]
    done = run(server)
    assert (done.exit_code, len(server.created), server.asked("POST", "/files")) == (0, 6, 1)


@pytest.mark.parametrize(("what", "path"), [(400, "/files$"), (401, "/files$"), (403, "/batches$"), (404, "/batches$")])
def test_a_refused_call_stops_the_run_and_the_same_command_goes_on(what: int, path: str, server: Server) -> None:
    server.faults.append(Fault("POST", path, what))
    done = run(server)
    assert (done.exit_code, done.status) == (4, "partial")
    assert str(what) in done.message
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


def test_a_key_that_is_refused_while_polling_stops_the_run_and_not_the_batch(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    done = run(server)
    assert done.exit_code == 4
    assert "go on at the provider" in done.message
    assert status("o.jsonl").history["batches"] == batches_of(done)
    assert (batches_of(done)["open"], done.history["in_doubt"]) == (1, ROWS)
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)

"""The Batch lane against a server that misbehaves: every row accounted for, every answer paid once, equal bytes."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import Options, Summary, batched, curate, label, score, status
from distill_data.data.shard import Shard
from distill_data.engine import batch_input, batch_jobs, send
from distill_data.engine.batch_output import Ingested
from distill_data.errors import DamageError, DriftError, UsageError
from tests.batchserver import Fault, Outcome, Script, Server, answered, completion, refused, serving, undone

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
    monkeypatch.setattr(batched, "SELDOM", 0.0)
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


def test_a_server_that_never_answered_is_given_a_few_tries(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    waits: list[Any] = []
    monkeypatch.setattr(batch_jobs, "backoff", lambda *given: waits.append(given) or 0.0)
    done = run(server, base_url=dead)
    assert (done.exit_code, len(waits)) == (4, 2)
    assert "Check that the server runs" in done.message


def test_what_stands_in_a_batch_and_its_metadata(server: Server) -> None:
    run(server)
    lines = server.requests("batch_1")
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert {len(line["custom_id"]) for line in lines} == {64}
    upload = server.batches["batch_1"]["metadata"]["distill_data_upload"]
    assert server.files["file-1"][0] == f"{upload}.jsonl"
    assert len(server.batches["batch_1"]["metadata"]["distill_data_run"]) == 16
    keys = {json.loads(line)["k"] for line in Path("o.run/journal/000001.jsonl").read_bytes().split(b"\n") if line}
    assert keys == {line["custom_id"] for line in lines}


def test_the_key_travels_alone_and_stays_nowhere(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("MY_KEY", "sk-of-this-run")
    server.answer = lambda body: completion(body, "somebody told me: sk-of-this-run")
    run(server, api_key_env="MY_KEY")
    assert not [path for path in Path().rglob("*") if path.is_file() and b"sk-of" in path.read_bytes()]
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-of-this-run"}
    assert not [call for call in server.calls if "elsewhere" in str(call.headers)]
    assert {name for call in server.calls for name in call.headers if name.startswith("x-")} <= {
        "x-stainless-raw-response"
    }


def jumbled(outcome: Outcome) -> Outcome:
    """In another order, with a line twice, lines of nobody's, and lines that are none."""
    outcome.output.reverse()
    first = outcome.output[0]
    outcome.output.append(answered(first["custom_id"], {**first["response"]["body"], "choices": []}))
    outcome.output += [answered("f" * 64, {"choices": []}), answered("", {})]
    outcome.raw = b'not json\n[]\n{"custom_id": 7}\n{"custom_id": "x", "response": {"status_code": NaN}}\n\n'
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


def test_lines_in_any_order_are_joined_and_what_is_no_answer_is_counted(server: Server) -> None:
    server.script.append(jumbled)
    done = run(server)
    assert (done.exit_code, len(server.created), server.paid.total()) == (0, 1, ROWS)
    assert batches_of(done)["odd"] == {"duplicate": 1, "unknown": 2, "unreadable": 4}
    assert Path("o.jsonl").read_bytes() == online(server)


@pytest.mark.parametrize(
    ("scripts", "odd", "unusable"),
    [
        ([missing_some, half_expired, cancelled], {"missing": 5, "expired": 2}, 0),
        ([cancelled, half_expired], {"expired": 13}, 0),
        ([only_errors(None), nothing_at_all, half_empty], {"missing": ROWS}, 4),
        ([only_errors(""), broken_half_way], {"missing": 6}, 0),
    ],
    ids=["missing", "cancelled and expired", "nothing and nothing usable", "errors and failed"],
)
def test_whatever_does_not_come_is_asked_again_and_nothing_else(
    scripts: list[Script], odd: dict[str, int], unusable: int, server: Server
) -> None:
    server.script += scripts
    done = run(server)
    assert (done.exit_code, done.status) == (0, "published"), done.message
    assert len(server.created) >= len(scripts) + (unusable > 0)
    assert (server.paid.total(), len(server.paid)) == (ROWS + unusable, ROWS)
    assert batches_of(done)["odd"] == odd
    assert (batches_of(done)["open"], done.history["bought_twice"]) == (0, 0)
    assert (done.history["in_doubt"], done.history["bought"]) == (unusable, ROWS)
    assert done.history["served"] == {"teacher": {"m": ROWS}}
    assert Path("o.jsonl").read_bytes() == online(server)


def test_results_without_a_last_newline_or_statuses_are_whole(server: Server) -> None:
    def bare(outcome: Outcome) -> Outcome:
        for line in outcome.output:
            del line["response"]["status_code"]
        outcome.raw, outcome.completed = json.dumps(outcome.output.pop()).encode(), ROWS
        return outcome

    server.script.append(bare)
    assert run(server).exit_code == 0
    assert (server.asked("GET", "/content$"), len(server.created)) == (1, 1)


def test_results_of_nobodys_are_not_bought_again_and_again(server: Server) -> None:
    def renamed(outcome: Outcome) -> Outcome:
        for line in outcome.output:
            line["custom_id"] = line["custom_id"][:32]
        return outcome

    server.script.append(renamed)
    done = run(server)
    assert (done.exit_code, len(server.created), done.history["in_doubt"]) == (4, 1, ROWS)
    assert "names a request of it" in done.message


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


@pytest.mark.slow
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


def test_auto_sends_online_what_a_broken_batch_was_about(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batched, "FEW", 2)
    wrong = [{"code": "model_not_supported", "message": "Not by batch."}]
    server.script.append(lambda _: Outcome([], status="failed", output_file=None, wrong=wrong))
    assert run(server, lane="auto").exit_code == 0
    assert (len(server.created), server.online.total()) == (1, ROWS)
    assert "model_not_supported: Not by batch." in caplog.text


def test_a_crash_while_answers_are_taken_in_leaves_all_that_it_takes_to_go_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Ingested, "doubt_missing", crash)
        with pytest.raises(ZeroDivisionError):
            run(server)
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


def test_an_open_batch_whose_keys_are_gone_is_damage(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    for path in Path("o.run/batch").glob("*.keys"):
        path.unlink()
    with pytest.raises(DamageError, match="Restore the file from a copy"):
        run(server)


@pytest.mark.slow
def test_a_queue_that_stays_full_is_told(server: Server) -> None:
    wrong = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]
    server.script += [lambda _: Outcome([], status="failed", output_file=None, wrong=wrong)] * 3
    done = run(server)
    assert (done.exit_code, len(server.created)) == (4, 3)
    assert "Enqueued token limit reached. Set enqueued_tokens" in done.message


@pytest.mark.slow
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
        Fault("GET", "/batches/batch_1$", 404, 7),
        Fault("GET", "/batches/batch_1$", "drop", 9),
        Fault("GET", "/batches/batch_1$", "html", 2),
        Fault("GET", "/batches/batch_1$", "cut"),
        Fault("GET", "/content$", "cut", 2),
        Fault("GET", "/content$", "drop", 9),
        Fault("GET", "/content$", 500, 9),
        Fault("GET", "/content$", 404, 7),
    ],
    ids=lambda fault: f"{fault.method} {fault.path.strip('/$')} {fault.what}".replace("/", " "),
)
def test_trouble_with_a_call_is_borne_and_no_batch_is_created_twice(fault: Fault, server: Server) -> None:
    server.faults.append(fault)
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
    server.page, server.keeps_metadata = 2, False
    server.faults += [Fault("POST", "/files$", "lose"), Fault("POST", "/batches$", "lose")]
    done = run(server)
    assert (done.exit_code, len(server.created), server.asked("POST", "/files")) == (0, 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "path"), [(400, "/files$"), (307, "/files$"), (403, "/batches$"), (404, "/batches$")])
def test_a_refused_call_stops_the_run_and_the_same_command_goes_on(what: int, path: str, server: Server) -> None:
    server.faults.append(Fault("POST", path, what))
    done = run(server)
    assert (done.exit_code, done.status) == (4, "partial")
    assert str(what) in done.message
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


@pytest.mark.parametrize("days", [19, 21])
def test_answers_that_a_provider_will_not_keep_much_longer_are_urged(days: int, server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    run(server)
    (requests,) = Path("o.run/batch").glob("*.in")
    before = time.time() - days * 24 * 3600 - 60
    os.utime(requests, (before, before))
    assert ("A batch was handed in 21 days ago" in status("o.jsonl").message) == (days > 20)
    assert run(server).exit_code == 0
    assert "handed in" not in status("o.jsonl").message


def test_answers_for_a_shard_are_urged_by_the_status_of_the_whole(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    run(server, shard=Shard(1, 2))
    (requests,) = Path("o.shards").glob("**/*.in")
    before = time.time() - 21 * 24 * 3600 - 60
    os.utime(requests, (before, before))
    assert status("o.jsonl").message.startswith("0 of 2 shards are done; ")
    assert ". A batch was handed in 21 days ago" in status("o.jsonl").message
    assert run(server, shard=Shard(1, 2)).exit_code == run(server, shard=Shard(2, 2)).exit_code == 0
    assert status("o.jsonl").message == "2 of 2 shards are done. This unites them: distill-data publish o.jsonl"


def test_a_key_that_is_refused_while_polling_stops_the_run_and_not_the_batch(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    done = run(server)
    assert done.exit_code == 4
    assert "go on at the provider" in done.message
    assert status("o.jsonl").history["batches"] == batches_of(done)
    assert (batches_of(done)["open"], done.history["in_doubt"]) == (1, ROWS)
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


@pytest.mark.parametrize("what", [429, 503, "drop"])
def test_a_list_that_is_refused_is_not_believed_to_be_empty(what: int | str, server: Server) -> None:
    server.faults += [Fault("POST", "/batches$", "lose"), Fault("GET", "/batches\\?", what)]
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


@pytest.mark.parametrize("path", ["/files$", "/batches$"])
def test_a_server_without_batches_is_asked_online_as_the_message_says(path: str, server: Server) -> None:
    server.faults.append(Fault("POST", path, 404))
    done = run(server)
    assert done.exit_code == 4
    assert "--lane online asks it" in done.message
    assert (batches_of(done)["open"] if "batches" in done.history else 0, done.history["in_doubt"]) == (0, 0)
    assert run(server, lane="online").exit_code == 0
    assert (server.online.total(), server.created) == (ROWS, [])


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/files$", "/batches$"])
def test_what_was_not_begun_is_no_longer_meant_where_the_next_command_wants_less(path: str, server: Server) -> None:
    server.faults.append(Fault("POST", path, 503, 99))
    assert run(server).exit_code == 4
    server.faults.clear()
    assert run(server, limit=2).exit_code == 0
    assert server.paid.total() == 2


def test_a_batch_that_was_created_unseen_is_found_before_anything_else_is_done(server: Server) -> None:
    server.faults += [Fault("POST", "/batches$", "lose"), Fault("GET", "/batches\\?", 401)]
    done = run(server)
    assert (done.exit_code, done.history["in_doubt"]) == (4, ROWS)
    with pytest.raises(UsageError, match="are open, with 12 requests"):
        run(server, lane="online")
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


@pytest.mark.parametrize("what", [400, *(pytest.param(each, marks=pytest.mark.slow) for each in (429, 503))])
def test_where_no_more_can_be_submitted_what_is_there_makes_room(
    what: int, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_input, "MOST_LINES", 8)

    def full(number: int) -> None:
        waiting = len(server.created) == 1 and not server.asked("GET", "/content$")
        server.faults[:] = [Fault("POST", "/batches$", what)] if waiting else []

    server.after = full
    done = run(server)
    assert done.exit_code == 0, done.message
    assert ([len(server.requests(batch)) for batch in server.created], server.paid.total()) == ([8, 4], ROWS)


# What is lost


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["/batches/batch_1$", "/content$"])
def test_what_the_server_knows_no_more_is_bought_again_only_on_demand(gone: str, server: Server) -> None:
    server.faults.append(Fault("GET", gone, 404, 16))
    done = run(server)
    assert (done.exit_code, done.status) == (4, "partial")
    assert "batch_1" in done.message
    assert "--rebuy-lost" in done.message
    assert (batches_of(done)["lost"], batches_of(done)["open"], done.history["in_doubt"]) == (1, 1, ROWS)
    assert run(server).exit_code == 4, "still gone"
    assert len(server.created) == 1
    server.faults = [Fault("GET", gone, 404, 8)]
    again = run(server, rebuy_lost=True)
    assert (again.exit_code, len(server.created), server.paid.total()) == (0, 2, 2 * ROWS)
    assert (batches_of(again)["given_up"], again.history["in_doubt"]) == (1, ROWS)
    assert Path("o.jsonl").read_bytes() == online(server)


def test_a_batch_that_was_away_for_a_while_is_fetched_after_all(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/batch_1$", 404, 8))
    assert run(server).exit_code == 4
    done = run(server)
    assert (done.exit_code, len(server.created), batches_of(done)["lost"], done.history["in_doubt"]) == (0, 1, 0, 0)


@pytest.mark.slow
def test_a_server_without_lists_is_not_believed_to_have_nothing(server: Server) -> None:
    server.faults += [Fault("POST", "/batches$", "lose"), Fault("GET", "/batches\\?", 404)]
    done = run(server)
    assert (done.exit_code, len(server.created)) == (4, 1)
    assert "--rebuy-lost submits it anew" in done.message
    assert run(server).exit_code == 0, "it has a list now"
    assert (len(server.created), server.paid.total()) == (1, ROWS)


def test_what_cannot_be_looked_up_is_given_up_on_demand_and_stays_in_doubt(server: Server) -> None:
    server.faults += [Fault("POST", "/batches$", "lose"), Fault("GET", "/batches\\?", 404)]
    done = run(server, rebuy_lost=True)
    assert (done.exit_code, len(server.created), done.history["in_doubt"]) == (0, 2, ROWS)


@pytest.mark.slow
def test_results_that_stay_shorter_than_they_were_counted_are_taken_as_they_are(server: Server) -> None:
    def short(outcome: Outcome) -> Outcome:
        del outcome.output[3:]
        outcome.completed = ROWS
        return outcome

    server.script.append(short)
    done = run(server)
    assert (done.exit_code, len(server.created), server.asked("GET", "/content")) == (0, 2, 4)
    assert batches_of(done)["odd"] == {"missing": ROWS - 3}
    assert done.history["in_doubt"] == ROWS - 3


# Other lanes, and changes between runs


def test_open_batches_are_not_asked_online(server: Server) -> None:
    server.polls = 1
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    with pytest.raises(UsageError, match="are open, with 12 requests"):
        run(server, lane="online")
    assert not server.online
    assert run(server, lane="auto").exit_code == 0
    assert (server.paid.total(), server.online) == (ROWS, Counter())


@pytest.mark.slow
def test_new_seeds_go_into_a_batch_of_their_own_while_another_is_open(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    write_seeds(ROWS + 5)
    assert run(server).exit_code == 0
    assert [len(server.requests(batch)) for batch in server.created] == [ROWS, 5]
    assert server.paid.total() == ROWS + 5


def test_answers_that_were_taken_in_before_a_crash_are_no_drift(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Ingested, "doubt_missing", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(server)
    write_seeds(ROWS + 5)
    assert run(server).exit_code == 0
    assert server.paid.total() == ROWS + 5


def test_another_model_in_one_of_two_seats_is_drift(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server, teachers=("openai/m", "openai/n")).exit_code == 4
    with pytest.raises(DriftError, match="12 requests in them would be paid for and not used"):
        run(server, teachers=("openai/m", "openai/k"))
    assert len(server.created) == 2
    assert run(server, teachers=("openai/n",)).exit_code == 0, "batches of who is gone are fetched all the same"
    assert server.paid.total() == 2 * ROWS


def test_batches_at_another_server_are_not_looked_for_here(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(UsageError, match=r"are open at .*, with 12 requests"):
        run(server, base_url=elsewhere, accept_drift=True)
    assert run(server).exit_code == 0
    assert (len(server.created), server.paid.total()) == (1, ROWS)


def test_a_dry_run_does_not_count_what_a_batch_is_answering(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    write_seeds(ROWS + 5)
    planned = run(server, dry_run=True).history
    assert (planned["to_send"], planned["in_doubt"]) == (5, ROWS)


def test_another_question_while_a_batch_is_open_is_drift(server: Server) -> None:
    server.faults.append(Fault("GET", "/batches/", 401))
    assert run(server).exit_code == 4
    with pytest.raises(DriftError, match="12 requests in them would be paid for and not used, and 12 new ones"):
        run(server, settings={"temperature": "0.1"})
    assert len(server.created) == 1
    done = run(server, settings={"temperature": "0.1"}, accept_drift=True)
    assert (done.exit_code, len(server.created)) == (0, 2)


def test_auto_sends_what_a_batch_left_over(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "FEW", 2)

    def some_refused(outcome: Outcome) -> Outcome:
        outcome = half_expired(outcome)
        outcome.errors[0] = refused(outcome.errors[0]["custom_id"], 400, "context_length_exceeded")
        outcome.errors[1] = refused(outcome.errors[1]["custom_id"], 500, "internal")
        return outcome

    server.script.append(some_refused)
    done = run(server, lane="auto")
    assert (done.exit_code, len(server.created), server.paid.total()) == (0, 1, 6)
    assert server.online.total() == 5, "what was refused for good is not asked again"
    assert (done.history["bought"], done.history["reused"], result()["kept"]) == (11, 0, 11)


def test_auto_goes_on_by_batch_while_requests_wait_for_room(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "FEW", 2)
    monkeypatch.setattr(batch_input, "WAVE", 7)
    server.script += [missing_some, missing_some]
    assert run(server, lane="auto").exit_code == 0
    assert [len(server.requests(batch)) for batch in server.created] == [7, 7, 7]
    assert (server.paid.total(), server.online.total()) == (2 + 2 + 7, 1)


def test_auto_leaves_a_few_requests_to_the_ordinary_way(server: Server) -> None:
    assert run(server, lane="auto").exit_code == 0
    assert (server.created, server.online.total()) == ([], ROWS)
    assert not list(Path("o.run/batch").glob("*.in"))


@pytest.mark.slow
def test_answers_of_a_batch_serve_an_online_run_and_the_other_way_round(server: Server) -> None:
    assert run(server, limit=5).exit_code == 0
    assert run(server, lane="online", limit=8).exit_code == 0
    assert run(server).exit_code == 0
    assert (server.online.total(), server.paid.total()) == (3, 9)


# Methods of several steps


def questions_or_an_answer(body: dict[str, Any]) -> dict[str, Any]:
    """For the recipe `topics`: three questions, unlike all others, or an answer to one."""
    drawn = hashlib.sha256(str(body["messages"]).encode()).hexdigest()
    asked = [f"{n}. How do {drawn[n : n + 9]}, {drawn[-n - 9 : -n]} and {drawn[3 * n : 20]} differ?" for n in (1, 2, 3)]
    text = "\n".join(asked) if "Topic:" in str(body) else f"They are {drawn} at heart, and nothing else."
    return completion(body, text)


@pytest.mark.slow
def test_each_step_of_a_method_takes_a_batch(server: Server) -> None:
    server.answer = questions_or_an_answer
    Path("s.jsonl").write_text("".join(f'{{"topic": "topic {n}"}}\n' for n in range(4)))
    options = Options(teachers=("openai/x",), answer_teacher="openai/y", base_url=server.url, lane="batch", rows=20)
    done = curate("s.jsonl", recipe="topics", output="o.jsonl", options=options)
    assert done.exit_code == 0, (done.message, done.result)
    assert set(server.paid.values()) == {1}
    assert [server.requests(batch)[0]["body"]["model"] for batch in server.created] == ["x", "y"]
    done = curate("s.jsonl", recipe="topics", output="l.jsonl", options=replace(options, lane="online"))
    assert Path("o.jsonl").read_bytes() == Path("l.jsonl").read_bytes()


@pytest.mark.slow
def test_samples_go_together_and_an_unreadable_reply_is_asked_again_in_the_next_batch(server: Server) -> None:
    def sometimes_odd(body: dict[str, Any]) -> dict[str, Any]:
        often = seen[str(body["messages"])] = seen[str(body["messages"])] + 1
        return completion(body, "who knows" if often == 1 else "positive")

    seen: Counter[str] = Counter()
    server.answer = sometimes_odd
    Path("s.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' for n in range(4)))
    done = run(server, recipe="annotate", samples=3, settings={"temperature": "0.7"})
    assert done.exit_code == 0, done.message
    assert len(server.requests("batch_1")) == 12, "the samples of an item do not wait for each other"
    assert [len(server.requests(batch)) for batch in server.created] == [12, 4]
    assert set(server.paid.values()) == {1}


def test_texts_are_embedded_by_a_batch(server: Server) -> None:
    Path("s.jsonl").write_text("".join(f'{{"prompt": "row {n}", "completion": "text {n}"}}\n' for n in range(5)))
    options = Options(teachers=("openai/m",), base_url=server.url, lane="batch")
    done = score("s.jsonl", recipe="embedding", output="o.jsonl", options=options)
    assert done.exit_code == 0, done.message
    assert {line["url"] for line in server.requests("batch_1")} == {"/v1/embeddings"}


# Limits


@pytest.mark.slow
def test_files_of_requests_end_before_they_are_too_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "MOST_LINES", 5)
    assert run(server).exit_code == 0
    assert [len(server.requests(batch)) for batch in server.created] == [5, 5, 2]
    monkeypatch.setattr(batch_input, "MOST_LINES", 1000)
    size = max(len(content) for name, content in server.files.values() if name.endswith(".jsonl")) // 5
    monkeypatch.setattr(batch_input, "MOST_BYTES", 4 * size + size // 2)
    assert run(server, "p.jsonl").exit_code == 0
    assert [len(server.requests(batch)) for batch in server.created[3:]] == [4, 4, 4]
    assert Path("p.jsonl").read_bytes() == Path("o.jsonl").read_bytes()


@pytest.mark.slow
def test_more_requests_than_are_held_in_memory_go_in_waves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "WAVE", 7)
    assert run(server).exit_code == 0
    assert [len(server.requests(batch)) for batch in server.created] == [7, 5]


@pytest.mark.slow
def test_no_more_tokens_wait_at_the_provider_than_it_takes(server: Server) -> None:
    Path("distill.toml").write_text('[models.big]\nmodel = "openai/m"\nenqueued_tokens = 200\n')
    assert run(server, teachers=("big",)).exit_code == 0
    sizes = [len(server.requests(batch)) for batch in server.created]
    assert (sum(sizes), len(sizes) > 2, max(sizes) - min(sizes[:-1])) == (ROWS, True, 0)


PRICED = '[models.big]\nmodel = "openai/m"\nprice = { input = 1000.0, output = 1000.0 }\n'


def test_answers_of_batches_cost_half_and_the_sums_hold_over_invocations(server: Server) -> None:
    Path("distill.toml").write_text(PRICED)
    assert run(server, teachers=("big",), limit=4).exit_code == 0
    done = run(server, teachers=("big",), limit=6, lane="online")
    each = (7 + 9) * 1e-3
    assert done.history["cost"] == pytest.approx(4 * each / 2 + 2 * each)
    assert status("o.jsonl").history["cost"] == done.history["cost"]
    done = run(server, teachers=("big",))
    assert done.history["cost"] == pytest.approx(10 * each / 2 + 2 * each)
    assert done.history["cost_in_doubt"] == 0


def test_what_batches_brought_keeps_its_price_when_another_model_goes_on(server: Server) -> None:
    Path("distill.toml").write_text(
        PRICED + PRICED.replace("big", "small").replace("1000.0", "1.0").replace("/m", "/n")
    )
    run(server, teachers=("big",), limit=4)
    done = run(server, teachers=("small",), limit=6, lane="online", accept_drift=True)
    each = (7 + 9) * 1e-6
    assert done.history["cost"] == pytest.approx(4 * 1000 * each / 2 + 6 * each)


@pytest.mark.slow
def test_what_an_open_batch_may_cost_is_in_doubt_until_it_is_fetched(server: Server) -> None:
    Path("distill.toml").write_text(PRICED)
    planned = run(server, teachers=("big",), dry_run=True)
    dear = run(server, teachers=("big",), dry_run=True, lane="online")
    assert planned.history["estimated_cost"] == dear.history["estimated_cost"] / 2
    server.faults.append(Fault("GET", "/batches/", 401))
    open_ = run(server, teachers=("big",))
    assert open_.history["cost_in_doubt"] == open_.history["cost"] == pytest.approx(planned.history["estimated_cost"])
    done = run(server, teachers=("big",))
    assert (done.history["cost"], done.history["cost_in_doubt"]) == (pytest.approx(ROWS * 0.008), 0)


@pytest.mark.slow
def test_no_more_is_submitted_than_the_budget_allows(server: Server) -> None:
    """Each request may cost 0.28 USD at half the price, and costs 0.008."""
    Path("distill.toml").write_text(PRICED)
    done = run(server, teachers=("big",), max_cost=0.6)
    assert [len(server.requests(batch)) for batch in server.created][:3] == [2, 2, 2]
    created, total = len(server.created), server.paid.total()
    assert (total, created > 6) == (ROWS, True), "less fits the more is spent"
    assert (done.exit_code, done.history["cost"]) == (0, pytest.approx(ROWS * 0.008))
    done = run(server, "p.jsonl", teachers=("big",), max_cost=0.2)
    assert (done.exit_code, len(server.created)) == (4, created)
    assert "--max-cost" in done.message


# Who has no batch endpoint


@pytest.mark.parametrize(
    ("teachers", "lane", "says"),
    [
        (("echo",), "batch", "echo runs in this process"),
        (("echo",), "auto", "echo runs in this process"),
        (("openai/m", "echo"), "batch", "or take --lane auto"),
        (("openai/m",), "slow", "must be one of online, batch, auto"),
    ],
)
def test_who_cannot_be_asked_by_batch_is_refused_before_anything_is_sent(
    teachers: tuple[str, ...], lane: str, says: str, server: Server
) -> None:
    with pytest.raises(UsageError, match=says):
        run(server, teachers=teachers, lane=lane)
    assert not server.calls
    assert not Path("o.run").exists()


def test_auto_asks_here_who_is_here_and_by_batch_who_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "FEW", 2)
    done = run(server, teachers=("openai/m", "echo"), lane="auto")
    assert (done.exit_code, len(server.created), server.paid.total(), server.online.total()) == (0, 1, ROWS, 0)
    assert done.result["records"] == 2 * ROWS

"""The faults of a network, a provider and a wrong setting, each driven through the real command line.

docs/faults.md numbers them and names the test that proves each; a test here keeps that table true. One run meets most
of them, a row each; what stops a run has a run of its own. The ledger of the server tells what was asked and paid.
"""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from typing import Any, NamedTuple

import pytest

from tests.faultserver import ROOT, Line, Server, serve
from tests.system.command import Done, Output, label, marked, run, start, wait_for_requests, write_seeds

FAULTS_PAGE = ROOT / "docs" / "faults.md"


class Case(NamedTuple):
    """A row whose request meets a fault, and how it ends."""

    fault: str
    once: bool = False
    """The fault comes the first time only."""
    outcome: str = "kept"
    reason: str = ""
    asked: int = 1
    paid: int = 1
    doubt: int = 0


def passing(fault: str, paid: int = 1, doubt: int = 0) -> Case:
    """A fault that is over when the same is asked again."""
    return Case(fault, once=True, asked=2, paid=paid, doubt=doubt)


def in_vain(fault: str, reason: str, paid: int = 3) -> Case:
    """A fault that stays: three times may have been billed, and that is enough."""
    return Case(fault, outcome="failed", reason=reason, asked=3, paid=paid, doubt=3)


CASES = {
    case.fault: case
    for case in (
        *map(passing, ("429_none", "429", "429_fraction", "429_ms", "429_past", "429_future", "429_garbage")),
        *map(passing, ("429_reset", "500", "502_html", "503_none", "503", "520_html", "529", "408", "409", "425")),
        passing("504_html", doubt=1),
        passing("late_reset", doubt=1),
        passing("half_head", paid=2, doubt=1),
        passing("cut", paid=2, doubt=1),
        passing("cut_chunks", paid=2, doubt=1),
        Case("then_close"),
        Case("forget"),
        in_vain("hang", "lost", paid=0),
        in_vain("slowloris", "lost"),
        *(
            Case(fault, outcome="failed", reason="too-long-reply", doubt=1)
            for fault in ("huge", "gzip_bomb", "endless")
        ),
        Case("no_content_length"),
        Case("forged"),
        Case("bom"),
        *(in_vain(fault, "not-json") for fault in ("truncated", "trailing", "bad_utf8", "utf16", "nan", "deep")),
        in_vain("cut_stream", "not-json"),
        Case("surrogate", outcome="rejected", reason="not-unicode", asked=2, paid=2),
        Case("separators"),
        Case("duplicate"),
        in_vain("huge_int", "not-json"),
        in_vain("error_in_200", "error-body"),
        in_vain("empty", "no-choices"),
        in_vain("html", "web-page"),
        Case("two_choices"),
        Case("parts"),
        Case("think"),
        Case("code_think"),
        Case("reasoning"),
        Case("other_model"),
        Case("null", outcome="rejected", reason="empty", asked=2, paid=2),
        Case("blank", outcome="rejected", reason="empty", asked=2, paid=2),
        Case("refusal", outcome="rejected", reason="refusal"),
        Case("length", outcome="rejected", reason="truncated"),
        Case("content_filter", outcome="rejected", reason="content-filter"),
        Case("finish_null"),
        Case("finish_odd"),
        Case("unclosed_think", outcome="rejected", reason="truncated"),
        Case("tool_calls", outcome="rejected", reason="tool-calls"),
        Case("too_long", outcome="failed", reason="context-length", paid=0),
        Case("400", outcome="failed", reason="bad-request", paid=0),
    )
}
ROWS = 80


class Met(NamedTuple):
    """What became of the run that met them all."""

    done: Done
    out: Output
    ledger: list[Line]
    again: list[Line]
    """What a second start asked."""
    ended: dict[str, tuple[str, str]]
    """Row mark to outcome and reason."""
    history: dict[str, Any]


def row_of(fault: str) -> str:
    return f"row-{ROWS - 1 - list(CASES).index(fault):05d}"


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Met:
    """One run over rows without a fault and a row for each, started twice."""
    folder = tmp_path_factory.mktemp("catalogue")
    out = Output(folder / "out.jsonl")
    texts = marked(ROWS)
    for fault in CASES:
        number = int(row_of(fault)[4:])
        texts[number] = f"{texts[number]} <{fault}>"
    plan: dict[str, Any] = {"markers": {}, "once": {}}
    for fault, case in CASES.items():
        plan["once" if case.once else "markers"][f"<{fault}>"] = fault
    seeds = write_seeds(folder / "seeds.jsonl", texts)
    with serve(plan=plan) as server:
        job = label(seeds, server.url, out, "--timeout", "2", "--max-failed", "1")
        done = run(*job)
        ledger = server.ledger()
        ended = dict.fromkeys(out.rows(), ("kept", ""))
        for each in out.rejects():
            found = re.search(r"row-\d+", each["seed"])
            assert found is not None
            ended[found.group()] = (each["outcome"], each["reason"])
        history = out.manifest()["history"]
        run(*job, "--retry-failed")
        again = server.ledger()[len(ledger) :]
    return Met(done, out, ledger, again, ended, history)


@pytest.mark.slow
@pytest.mark.parametrize("fault", CASES)
def test_a_fault_ends_its_own_row_as_the_table_says(met: Met, fault: str) -> None:
    """Asked twice where the reply is empty or no text: that is another sample, which --resample allows once."""
    case, lines = CASES[fault], [line for line in met.ledger if line["row"] == row_of(fault)]
    assert met.ended[row_of(fault)] == (case.outcome, case.reason)
    assert (len(lines), sum(line["paid"] for line in lines)) == (case.asked, case.paid)


@pytest.mark.slow
def test_the_faults_leave_the_sums_right_and_the_other_rows_alone(met: Met) -> None:
    met.done.ended(0)
    met.out.accounted(ROWS)
    expected = sum(case.doubt for case in CASES.values())
    # A connection that is closed while its next request is on the way may be reset, and then nobody can tell.
    assert expected <= met.history["in_doubt"] <= expected + 2
    plain = [f"row-{number:05d}" for number in range(ROWS - len(CASES))]
    assert {met.ended[mark] for mark in plain} == {("kept", "")}
    assert Counter(line["row"] for line in met.ledger if line["row"] in plain) == Counter(plain)


@pytest.mark.slow
def test_what_is_on_disk_is_not_asked_again_and_what_failed_is(met: Met) -> None:
    failed = {row_of(fault) for fault, case in CASES.items() if case.outcome == "failed"}
    assert {line["row"] for line in met.again} == failed


@pytest.mark.slow
def test_texts_arrive_as_they_were_said(met: Met) -> None:
    texts = {
        found.group(): each["completion"][0]
        for each in met.out.records()
        if (found := re.search(r"row-\d+", str(each["prompt"])))
    }
    said = {fault: texts[row_of(fault)]["content"] for fault, case in CASES.items() if case.outcome == "kept"}
    assert said["separators"].startswith("a\u2028b\u0085c\x00d\re ")
    assert said["parts"] == "answer in parts"
    assert said["think"] == "answer after thinking"
    assert said["code_think"] == "```\n<think>\n```\nanswer about a tag"
    assert said["reasoning"] == "answer with reasons"
    assert all(said[each].startswith("answer to row-") for each in ("two_choices", "duplicate", "forged", "bom", "cut"))


@pytest.mark.slow
def test_two_served_models_are_counted_and_told(met: Met) -> None:
    served = met.history["served"]["teacher"]
    assert set(served) == {"test-model", "newer"}
    assert served["newer"] == 1
    assert "several models" in met.done.err
    assert "newer (1)" in met.done.err


@pytest.mark.slow
def test_an_unusable_reply_leaves_evidence(met: Met) -> None:
    details = {re.search(r"row-\d+", each["seed"])[0]: each["detail"] for each in met.out.rejects()}  # type: ignore[index]
    assert "<html><h1>Log in</h1></html>" in details[row_of("html")]
    assert "data: {" in details[row_of("cut_stream")]
    assert r"answ\xff\xfe" in details[row_of("bad_utf8")]
    assert "16777216 bytes" in details[row_of("endless")]


# What stops a run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("insufficient_quota", "quota"),
        ("402", "quota"),
        ("401", "key"),
        ("403", "key"),
        ("404", "model's name"),
        ("redirect", "base-url"),
        ("429_tomorrow", "24 h 0 min"),
    ],
)
def test_what_concerns_all_requests_is_asked_once(
    fault: str, says: str, server: Server, seeds: Path, out: Output
) -> None:
    server.replan({"rates": {fault: 1.0}})
    run(*label(seeds, server.url, out, "--concurrency", "1")).complained(4, says, server.url)
    assert [line["path"] for line in server.ledger()] == ["/v1/chat/completions"]
    assert not any(line["paid"] for line in server.ledger())


@pytest.mark.slow
def test_a_page_in_the_api_s_place_stops_the_run_soon(server: Server, seeds: Path, out: Output) -> None:
    server.replan({"always": "html"})
    run(*label(seeds, server.url, out, "--concurrency", "4")).complained(4, "login page", "Log in", server.url)
    assert server.asked() <= 3 * (2 * 4)


@pytest.mark.slow
def test_a_wrong_base_url_is_shown(server: Server, seeds: Path, out: Output) -> None:
    wrong = server.url.removesuffix("/v1")
    run(*label(seeds, wrong + "/", out, "--concurrency", "1")).complained(4, "/v1", f"{wrong}: ")
    assert [line["path"] for line in server.ledger()] == ["/chat/completions"]


@pytest.mark.slow
def test_a_model_that_goes_half_way_leaves_a_partial_output(server: Server, seeds: Path, out: Output) -> None:
    server.replan({"first": {"ok": 100, "404": 10**6}})
    job = label(seeds, server.url, out, "--concurrency", "8")
    run(*job).complained(4, "model's name")
    assert len(out.partial.records()) == 100
    server.replan({})
    run(*job).ended(0)
    assert Counter(line["row"] for line in server.ledger() if line["paid"]) == Counter(t[:9] for t in marked(300))


@pytest.mark.slow
def test_a_key_that_is_rotated_in_a_run_is_read_again(tmp_path: Path, out: Output) -> None:
    secret, config = tmp_path / "key", tmp_path / "d.toml"
    secret.write_text("sk-the-first-key")
    secret.chmod(0o600)
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(200))
    with serve(latency=0.05, plan={"keys": ["sk-the-first-key"]}) as server:
        config.write_text(
            f'[models.m]\nmodel = "openai/test-model"\nbase_url = "{server.url}"\napi_key_file = "{secret}"\n'
        )
        job = ["label", seeds, "-r", "answer", "-t", "m", "--config", config, "-o", out.path, "--concurrency", "4"]
        process = start(*job)
        wait_for_requests(server, 40, process)
        secret.write_text("sk-the-second-key")
        server.replan({"keys": ["sk-the-second-key"]})
        assert process.wait(60) == 0, process.communicate()[1].decode()
        process.communicate()
        ledger = server.ledger()
    out.accounted(200)
    assert Counter(line["row"] for line in ledger if line["paid"]) == Counter(text[:9] for text in marked(200))
    assert 1 <= sum(line["status"] == 401 for line in ledger) <= 4, "one each, at most, of those in flight"


# Certificates


def certificates(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Name to certificate and key: of a private authority, and of servers that it signed, one way or another."""

    def openssl(*args: str | Path) -> None:
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=folder)

    def request(name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
        if name in ("authority", "self-signed"):
            use = ["-addext", "subjectAltName=IP:127.0.0.1"] if name == "self-signed" else []
            openssl("req", "-x509", "-days", "2", *kind, *use, "-keyout", key, "-out", certificate)
        else:
            openssl("req", *kind, "-keyout", key, "-out", folder / f"{name}.csr")
        return certificate, key

    made = {name: request(name) for name in ("authority", "self-signed", "trusted", "other-host", "expired")}
    for name, host in (("trusted", "IP:127.0.0.1"), ("other-host", "DNS:other.example"), ("expired", "IP:127.0.0.1")):
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        # A negative number of days is what old and new versions both take for a time that is over.
        age = "-1" if name == "expired" else "2"
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", made["authority"][0], "-CAkey", made["authority"][1]),
            *("-CAcreateserial", "-days", age, "-extfile", f"{name}.ext", "-out", made[name][0]),
        )
    return made


def serve_tls(certificate: Path, key: Path) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTPS server, and all that it could read from its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    read: list[bytes] = []
    body = b'{"choices":[{"index":0,"message":{"content":"fine"},"finish_reason":"stop"}]}'
    with create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as client:
                        while data := client.recv(65536):
                            read.append(data)
                            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                except OSError:
                    connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1", read
        listener.shutdown(2)
    thread.join(5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with the openssl program")
def test_only_a_certificate_that_verifies_gets_the_key(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    trust = {"OPENAI_API_KEY": "sk-for-the-right-server", "SSL_CERT_FILE": str(made["authority"][0])}
    for name in ("self-signed", "other-host", "expired", "trusted"):
        out = Output(tmp_path / f"{name}.jsonl")
        seeds = write_seeds(tmp_path / "seeds.jsonl", marked(3))
        for url, read in serve_tls(*made[name]):
            done = run(*label(seeds, url, out, "--concurrency", "1"), env=trust)
            if name == "trusted":
                done.ended(0)
                assert b"Bearer sk-for-the-right-server" in b"".join(read)
            else:
                done.complained(4, "certificate", "SSL_CERT_FILE")
                assert not read, "nothing was sent to whom nobody vouches for"
    done = run(*label(seeds, url, Output(tmp_path / "late.jsonl")), env={"SSL_CERT_FILE": str(tmp_path / "none")})
    done.ended(4)


# The page


def rows_of_the_page() -> dict[str, str]:
    """Number to what the page names as its proof."""
    lines = FAULTS_PAGE.read_text(encoding="utf-8").split("\n")
    return {
        cells[1].strip(): cells[-2]
        for line in lines
        if len(cells := line.split("|")) >= 5 and cells[1].startswith(" F")
    }


def test_the_page_names_a_test_for_each_fault() -> None:
    proofs = rows_of_the_page()
    assert sorted(proofs) == [f"F{number}" for number in range(28, 58)]
    for number, named in proofs.items():
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", named)
        assert tests, f"{number} has no test"
        for path, name in tests:
            assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{number}: {path} has no {name}"


def test_the_page_names_each_case_of_the_table() -> None:
    page = FAULTS_PAGE.read_text(encoding="utf-8")
    assert not [fault for fault in CASES if f"`{fault}`" not in page]

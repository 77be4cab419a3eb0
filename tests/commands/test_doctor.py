"""What `doctor` finds, and what it never shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distill_data.commands.doctor import Finding, doctor

KEY = "sk-hunter22-hunter22"
UNSET = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DISTILL_TEACHER", "DISTILL_CONFIG", "HTTP_PROXY", "http_proxy")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


Serve = Callable[[int, bytes], str]


class Listing(ThreadingHTTPServer):
    """Answers every GET alike, and keeps what was asked."""

    status = 200
    body = b""
    asked: list[tuple[str, str | None]]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listing)
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Listing]:
    with Listing(("127.0.0.1", 0), Handler) as listing:
        listing.asked = []
        listing.body = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()
        thread = threading.Thread(target=listing.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield listing
        listing.shutdown()
        thread.join()


def url(server: Listing) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1"


def endpoint(findings: list[Finding]) -> Finding:
    (found,) = (finding for finding in findings if finding.name.startswith("endpoint"))
    return found


def named(findings: list[Finding], name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


def test_a_server_that_lists_the_model(server: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    found = endpoint(doctor("openai/m", base_url=url(server)))
    assert (found.ok, found.value) == (True, "reachable, 1 models")
    assert server.asked == [("/v1/models", f"Bearer {KEY}")]


def test_a_server_without_a_key_is_asked_without_one(server: Listing) -> None:
    assert endpoint(doctor(base_url=url(server))).ok
    assert server.asked == [("/v1/models", None)]


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_header_may_hold_the_key(server: Listing, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("BASIC", "Basic abc")
    assert endpoint(doctor(base_url=url(server), headers={name: "BASIC"})).ok
    assert server.asked == [("/v1/models", "Basic abc")]


def test_a_model_that_is_not_listed(server: Listing) -> None:
    found = endpoint(doctor("openai/n", base_url=url(server)))
    assert not found.ok
    assert (found.value, found.advice) == ("reachable, but does not list n", "It lists: m")


@pytest.mark.parametrize(
    ("status", "ok", "said"),
    [(401, False, "401"), (404, True, "lists no models"), (500, False, "500"), (307, False, "307")],
)
def test_a_server_that_refuses(server: Listing, status: int, ok: bool, said: str) -> None:
    server.status = status
    found = endpoint(doctor("openai/m", base_url=url(server)))
    assert found.ok is ok
    assert said in found.value
    assert len(server.asked) == 1  # neither retried nor redirected


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": null}', b'{"data": [1]}', b"[]"])
def test_a_server_that_says_something_else(server: Listing, body: bytes) -> None:
    server.body = body
    found = endpoint(doctor("openai/m", base_url=url(server)))
    assert not found.ok
    assert "not with a list of models" in found.value


def test_a_server_that_is_not_there() -> None:
    found = endpoint(doctor("openai/m", base_url="http://127.0.0.1:1/v1"))
    assert not found.ok
    assert "cannot be reached" in found.value


def test_the_environment_s_endpoint_is_looked_at_too(server: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [finding for finding in doctor("echo") if finding.name.startswith("endpoint")]
    monkeypatch.setenv("OPENAI_BASE_URL", url(server))
    assert endpoint(doctor("echo")).ok


def test_values_of_variables_are_never_shown(server: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DISTILL_SOMETHING", KEY)
    server.status = 401
    server.body = KEY.encode()
    findings = doctor("openai/m", base_url=url(server))
    assert "DISTILL_SOMETHING" in named(findings, "variables set").value
    assert "OPENAI_API_KEY" in named(findings, "variables set").value
    assert KEY not in repr(findings)


def test_mistakes_are_findings(tmp_path: Path) -> None:
    assert "opneai" in named(doctor("opneai/m"), "teacher").advice
    assert "OPENAI_API_KEY" in endpoint(doctor("openai/m", base_url="https://api.openai.com/v1")).advice
    (tmp_path / "distill.toml").write_text("[models.m]\ntimeout = 0\n")
    found = named(doctor(), "teacher")
    assert not found.ok
    assert "distill.toml" in found.advice


def test_weights_matter_only_to_who_would_ask_them() -> None:
    missing = named(doctor(), "weights of smollm2")
    assert not missing.ok
    assert "models pull smollm2" in missing.advice
    assert named(doctor("echo"), "weights of smollm2").ok


def test_versions_seeds_and_disk() -> None:
    findings = doctor("echo")
    assert named(findings, "httptools").value[0].isdigit()
    assert named(findings, "seeds").value[0].isdigit()
    assert named(findings, "disk").value.endswith("ms for a durable write here")
    assert all(finding.ok for finding in findings if finding.name != "prompts")
    assert not list(Path().iterdir())  # nothing is left behind


def test_the_profiles_are_listed(tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text('[models.mine]\nmodel = "echo"\n')
    findings = doctor("mine")
    assert named(findings, "profiles").value == "mine"
    assert named(findings, "teacher").value == "echo"

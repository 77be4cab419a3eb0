"""Pushing to a Hub on the loopback interface: its ledger and its commits tell what was sent, and how often."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.cli import main
from distill_data.commands import uploading
from distill_data.commands.push import Pushed, push
from distill_data.commands.uploading import Place
from distill_data.errors import DamageError, TeacherError, UsageError
from distill_data.reporting.card import Wishes
from tests.cli.command import run
from tests.fixtures import FIXTURES
from tests.hubserver import TOKEN, Fault, Hub, Repository, serving

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
"""Of the form of a key, and of nobody."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(uploading, "PAUSE", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if constants := sys.modules.get("huggingface_hub.constants"):  # another test may have loaded it offline
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serving() as server:
        yield server


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A dataset of these rows with a manifest that fits, and rejects."""
    files = {}
    for name, target, content in (
        ("dataset", path, rows),
        ("rejects", path.with_suffix(".rejects.jsonl"), [{"row": KEY}]),
    ):
        data = b"".join(orjson.dumps(row) + b"\n" for row in content)
        target.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[name] = {"name": target.name, "rows": len(content), "bytes": len(data), "sha256": digest}
    manifest = {"result": {"command": "label", "kept": len(rows), "files": files}, "history": {}}
    path.with_suffix(".manifest.json").write_bytes(orjson.dumps(manifest))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The committed run over `@sentiment`, as a run leaves it."""
    for name in ("out.jsonl", "out.rejects.jsonl"):
        (tmp_path / name).write_bytes((FIXTURES / "sentiment" / name).read_bytes())
    result = orjson.loads((FIXTURES / "sentiment" / "out.result.json").read_bytes())
    (tmp_path / "out.manifest.json").write_bytes(orjson.dumps({"result": result, "history": {}}))
    return tmp_path / "out.jsonl"


def send(hub: Hub, dataset: Path, **options: Any) -> Pushed:
    return push(str(dataset), **{"to": "me/moods", "endpoint": hub.url, **options})


def holds(repository: Repository, dataset: Path, *others: str) -> None:
    """A check of the last commit: the dataset, its manifest, the card and these, byte for byte, and nothing else."""
    named = [dataset.name, f"{dataset.stem}.manifest.json", *others]
    files = dict(repository.files)
    assert files.pop("README.md").startswith(b"---\npretty_name: ")
    assert files.pop(".gitattributes")
    assert files == {name: dataset.with_name(name).read_bytes() for name in named}


def keeps_secrets(hub: Hub) -> None:
    """A check of the ledger: the token is in the Authorization header and nowhere else."""
    assert hub.ledger
    for asked in hub.ledger:
        assert TOKEN not in asked.path
        assert TOKEN.encode() not in asked.body
        if not asked.path.startswith("/lfs/"):
            assert asked.authorization == f"Bearer {TOKEN}"


@pytest.mark.datasets
def test_a_dataset_arrives_in_one_commit_and_only_once(hub: Hub, dataset: Path) -> None:
    first = send(hub, dataset, private=True)
    repository = hub.repositories["me/moods"]
    holds(repository, dataset)
    assert repository.private
    assert len(repository.commits) == 2  # the Hub's own and ours
    assert (first.status, first.commit, first.url) == (
        "pushed",
        repository.commits[1][0],
        f"{hub.url}/datasets/me/moods",
    )
    keeps_secrets(hub)
    asked = len(hub.asked("POST", "/preupload/|/commit/|/create"))
    again = send(hub, dataset, private=True)
    assert (again.status, again.commit) == ("unchanged", first.commit)
    assert len(hub.asked("POST", "/preupload/|/commit/|/create")) == asked
    other = send(hub, dataset, wishes=Wishes(license="cc0-1.0"))
    assert other.status == "pushed"
    lines = [json.loads(line) for line in hub.asked("POST", "/commit/")[-1].body.splitlines()]
    assert [line["value"].get("path") for line in lines] == [None, "README.md"]  # only what differs
    holds(repository, dataset)


@pytest.mark.datasets
def test_what_was_pushed_can_be_read_as_seeds_and_fits_its_card(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    send(hub, dataset)
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    done = run("filter", "hf/me/moods:train", "-c", "regex@answer:.", "-o", "-", **settings)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        json.loads(line) for line in dataset.read_bytes().splitlines()
    ]


@pytest.mark.datasets
@pytest.mark.parametrize("what", [500, 503, "drop", "lose"])
@pytest.mark.parametrize("path", ["/commit/main", "/revision/main", "/paths-info/"])
def test_what_passes_is_tried_again_and_never_committed_twice(
    hub: Hub, dataset: Path, path: str, what: int | str
) -> None:
    hub.create("me/moods", {".gitattributes": b"x"})
    hub.faults += [Fault(method, path, what) for method in ("GET", "POST")]
    done = send(hub, dataset)
    assert done.status == "pushed"
    assert len(hub.faults) == 1  # one of the two methods is the path's
    repository = hub.repositories["me/moods"]
    assert len(repository.commits) == 2
    assert done.commit == repository.commits[1][0]
    holds(repository, dataset)
    keeps_secrets(hub)


@pytest.mark.datasets
def test_what_was_there_is_unchanged_also_after_a_second_try(hub: Hub, dataset: Path) -> None:
    first = send(hub, dataset)
    hub.faults.append(Fault("GET", "/revision/main", 503))
    assert send(hub, dataset) == first._replace(status="unchanged")


@pytest.mark.datasets
def test_a_hub_that_stays_down_is_left_after_some_tries(hub: Hub, dataset: Path) -> None:
    hub.create("me/moods", {".gitattributes": b"x"})
    hub.faults += [Fault("POST", "/commit/", 503)] * 9
    with pytest.raises(TeacherError, match=r"answered 503, 4 times\. Try later\. The same command goes on") as stopped:
        send(hub, dataset)
    assert len(hub.faults) == 5
    assert TOKEN not in str(stopped.value)
    hub.faults.clear()
    assert send(hub, dataset).status == "pushed"
    assert len(hub.repositories["me/moods"].commits) == 2


@pytest.mark.datasets
def test_a_commit_of_somebody_else_in_between_is_seen(hub: Hub, dataset: Path) -> None:
    repository = hub.create("me/moods", {".gitattributes": b"x", "kept.txt": b"theirs"})
    hub.faults.append(Fault("POST", "/commit/", 412))
    assert send(hub, dataset).status == "pushed"
    assert repository.files["kept.txt"] == b"theirs"
    assert len(repository.commits) == 2


@pytest.mark.datasets
@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault("POST", "/commit/", 401), TeacherError, r"the token in HF_TOKEN is not accepted \(401\)\. Make one"),
        (Fault("POST", "/preupload/", 403), TeacherError, r"may not write there \(403\)\. Give it write access to me,"),
        (Fault("POST", "/commit/", 404), UsageError, r"has no branch main, or there is no such user"),
        (Fault("POST", "/repos/create", 403), TeacherError, r"\(403\)"),
        (Fault("POST", "/commit/", 422), UsageError, r"is refused \(422\)"),
    ],
)
def test_a_refusal_ends_it_with_what_to_do(
    hub: Hub, dataset: Path, fault: Fault, error: type[Exception], said: str
) -> None:
    hub.faults += [fault] * 4
    with pytest.raises(error, match=said) as refused:
        send(hub, dataset)
    assert TOKEN not in str(refused.value)
    assert refused.value.__cause__ is None
    assert not [asked for repository in hub.repositories.values() for asked in repository.commits[1:]]


@pytest.mark.datasets
def test_wrong_token_missing_branch_public_place_and_no_network(
    hub: Hub, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.create("me/open", {".gitattributes": b"x"})
    for name in ("me/open", "me/new"):
        with pytest.raises(UsageError, match="has no branch next"):
            send(hub, dataset, to=name, revision="next")
    assert list(hub.repositories) == ["me/open"]  # nothing is made that stays empty
    with pytest.raises(UsageError, match="there already and public, and --private makes new ones only"):
        send(hub, dataset, to="me/open", private=True)
    with pytest.raises(TeacherError, match="cannot be reached, or the connection broke"):
        send(hub, dataset, endpoint="http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "other" * 6)
    for name in ("me/new", "me/open"):
        with pytest.raises(TeacherError, match="401"):
            send(hub, dataset, to=name)
    assert [len(each.commits) for each in hub.repositories.values()] == [1]


@pytest.mark.datasets
def test_a_redirection_to_another_machine_does_not_take_the_token_along(
    hub: Hub, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("location", hub.url + self.path)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    hub.create("me/open", {".gitattributes": b"x"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with pytest.raises((TeacherError, UsageError)):
            send(hub, dataset, to="me/open", endpoint=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert hub.ledger
    assert {asked.authorization for asked in hub.ledger} == {""}
    assert len(hub.repositories["me/open"].commits) == 1


@pytest.mark.datasets
def test_large_files_go_beside_the_commit_and_only_once(hub: Hub, dataset: Path) -> None:
    hub.large = 5000
    settings = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    for said in ("sent:", "unchanged; all of it is there:"):
        done = run("push", dataset, "--to", "me/moods", "--endpoint", hub.url, "--license", "mit", **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{hub.url}/datasets/me/moods\n"
        assert done.stderr.startswith(f"{said}\n")
        assert TOKEN not in done.stdout + done.stderr
    assert [len(each.body) for each in hub.asked("PUT", "/lfs/")] == [dataset.stat().st_size]
    assert [each.authorization for each in hub.asked("PUT", "/lfs/")] == [""]
    holds(hub.repositories["me/moods"], dataset)
    keeps_secrets(hub)


@pytest.mark.datasets
def test_rejects_and_a_card_of_ones_own_go_where_they_are_asked_for(hub: Hub, dataset: Path) -> None:
    own = dataset.with_name("mine.md")
    own.write_text("---\npretty_name: mine\n---\n# Mine\n")
    send(hub, dataset, card=own, with_rejects=True)
    holds(hub.repositories["me/moods"], dataset, "out.rejects.jsonl")
    assert hub.repositories["me/moods"].files["README.md"] == own.read_bytes()


def test_a_dry_run_needs_no_token_and_sends_nothing(hub: Hub, dataset: Path) -> None:
    done = run("push", dataset, "--to", "me/moods", "--endpoint", hub.url, "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    planned = json.loads(done.stdout)
    assert planned["status"] == "planned"
    assert [each["name"] for each in planned["files"]] == ["out.jsonl", "out.manifest.json", "README.md"]
    assert planned["files"][0]["bytes"] == dataset.stat().st_size
    assert hub.ledger == []


@pytest.mark.parametrize(
    "row",
    [
        {"completion": f"use {KEY} now"},
        {"meta": {"details": json.dumps({"answer": f"line\n{KEY}"})}},
        {"meta": json.dumps({"a": json.dumps({"b": f"\t{KEY}\n"})})},
        {"deep": [[{"x": "-----BEGIN RSA PRIVATE KEY-----\nabc"}]]},
        {f"{KEY}": 1},
        {"meta": json.dumps({"a": json.dumps({"b": f"\u4e2d{KEY}"})})},
    ],
)
def test_a_row_with_a_key_stops_it_before_anything_is_sent(hub: Hub, tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"s\.jsonl:2: holds what looks like a key, so nothing is sent") as refused:
        send(hub, write(tmp_path / "s.jsonl", [{"text": "sk-short and hf_x are none"}, row]))
    assert KEY not in str(refused.value)
    assert hub.ledger == []


def test_a_key_that_readers_of_json_do_not_see_is_seen(hub: Hub, tmp_path: Path) -> None:
    hidden = b'{"text":"%s","text":"fine"}\n' % KEY.encode()
    for line in (hidden, b'{"text":"\\u0041KIA%s"}\n' % KEY[4:].encode()):
        path = write(tmp_path / "s.jsonl", [{"text": "fine"}])
        manifest, before = tmp_path / "s.manifest.json", path.read_bytes()
        result = manifest.read_bytes().replace(
            hashlib.sha256(before).hexdigest().encode(), hashlib.sha256(line).hexdigest().encode()
        )
        manifest.write_bytes(result.replace(b'"bytes":%d' % len(before), b'"bytes":%d' % len(line), 1))
        path.write_bytes(line)
        with pytest.raises(UsageError, match=r"s\.jsonl:1: holds what looks like a key"):
            send(hub, path, dry_run=True)


def test_keys_in_rejects_card_and_manifest_are_seen_too(hub: Hub, tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", [{"text": "fine"}])
    assert send(hub, path, dry_run=True).status == "planned"
    with pytest.raises(UsageError, match=r"s\.rejects\.jsonl:1: holds what looks like a key"):
        send(hub, path, with_rejects=True, dry_run=True)
    (tmp_path / "c.md").write_text(f"# {KEY}\n")
    with pytest.raises(UsageError, match=r"c\.md:1: holds what looks like a key"):
        send(hub, path, card=tmp_path / "c.md")
    (tmp_path / "c.md").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"c\.md: is not UTF-8"):
        send(hub, path, card=tmp_path / "c.md")
    manifest = tmp_path / "s.manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"label"', b'"label","settings":{"k":"%s"}' % KEY.encode()))
    with pytest.raises(UsageError, match=r"s\.manifest\.json:1: holds what looks like a key"):
        send(hub, path)
    assert hub.ledger == []


def test_what_is_damaged_partial_or_without_a_manifest_is_not_sent(hub: Hub, dataset: Path) -> None:
    with pytest.raises(UsageError, match="not whole"):
        send(hub, dataset.with_name("out.partial.jsonl"))
    with pytest.raises(UsageError, match="there is no manifest"):
        send(hub, dataset.with_name("gone.jsonl"))
    (dataset.parent / "out.rejects.jsonl").write_bytes(b"{}\n")
    with pytest.raises(DamageError, match=r"out\.rejects\.jsonl: has 3 bytes, and the manifest says 0"):
        send(hub, dataset)
    (dataset.parent / "out.rejects.jsonl").write_bytes(b"")
    dataset.write_bytes(dataset.read_bytes()[:-9])
    with pytest.raises(DamageError, match="is not as it was written, so nothing is sent"):
        send(hub, dataset)
    assert hub.ledger == []


def test_a_token_is_never_an_argument_and_never_in_the_clear(
    hub: Hub, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str, **variables: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(["push", str(dataset), "--to", "me/moods", "--endpoint", hub.url, *options])
        shown = capsys.readouterr()
        assert (code, shown.out) == (2, "")
        assert TOKEN not in shown.err
        return shown.err

    assert "--token is refused" in said("--token", TOKEN)
    assert "must name an environment variable" in said("--token-env", "hf_not-a-name")
    assert "the environment variable HF_TOKEN is not set" in said(HF_TOKEN="")
    assert "the environment variable MINE is not set" in said("--token-env", "MINE")
    assert "characters that no token has" in said(HF_TOKEN=f"{TOKEN} x")
    assert "plain http to another machine" in said("--endpoint", "http://example.com")
    assert "holds a user name or password" in said("--endpoint", f"https://me:{TOKEN}@example.com")
    assert "is asked through a proxy, which would see the token" in said(http_proxy="http://127.0.0.1:9", no_proxy="")
    assert "--endpoint: is no URL of a Hub" in said("--endpoint", "http://[bad")
    for name in ("moods", "me/mo..ods", "me/mo--ods", "me/moods.git", "me/moods.", "me/a/b", "../moods"):
        assert f"--to {name}: must be ORG/NAME" in said("--to", name)
    assert hub.ledger == []
    assert TOKEN not in repr(Place("https://x", "a/b", "main", TOKEN, "HF_TOKEN"))

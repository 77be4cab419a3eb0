"""A Hugging Face Hub on the loopback interface, as much of it as `datasets` and `huggingface_hub` ask for.

It keeps repositories of datasets in memory. Its ledger of requests and its commits are what tests believe. A fault is
planted for the next request that fits: a status, or a connection dropped before or after the work is done.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_" + "loopbackloopbackloopback"
"""What writes need. Too short a tail for what looks for keys in rows."""


class Asked(NamedTuple):
    """A line of the ledger."""

    method: str
    path: str
    authorization: str
    body: bytes


class Fault(NamedTuple):
    method: str
    path: str
    """A regular expression that is looked for."""
    what: int | str
    """A status, `drop` before anything is done, or `lose` the reply to what is done."""


@dataclass
class Repository:
    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    """Digest and all files after it, oldest first."""
    messages: list[str] = field(default_factory=list)

    def commit(self, changed: Mapping[str, bytes], message: str) -> str:
        files = {**(self.commits[-1][1] if self.commits else {}), **changed}
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, files))
        self.messages.append(message)
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


@dataclass
class Hub:
    """The server: what it holds, what it was asked, what it does wrong next."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    ledger: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files, by their SHA-256."""
    large: int = 1 << 40
    """Files of as many bytes are asked for as large ones."""

    def create(self, name: str, files: Mapping[str, bytes], private: bool = False) -> Repository:
        self.repositories[name] = Repository(private)
        self.repositories[name].commit(files, "initial commit")
        return self.repositories[name]

    def asked(self, method: str, path: str) -> list[Asked]:
        return [each for each in self.ledger if each.method == method and re.search(path, each.path)]


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


def told(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json"})


def refused(status: int, code: str = "") -> Reply:
    return Reply(status, json.dumps({"error": code or "no"}).encode(), {"x-error-code": code} if code else {})


def described(path: str, content: bytes, large: int) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if len(content) >= large:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def answer(hub: Hub, asked: Asked, headers: Mapping[str, str]) -> Reply:
    """What the Hub says. Writes need the token; so does whatever is private."""
    path = unquote(urlsplit(asked.path).path)
    if path.startswith("/lfs/"):
        hub.stored[path[5:]] = asked.body
        return Reply(200)
    allowed = asked.authorization == f"Bearer {TOKEN}"
    if path == "/api/repos/create":
        return create(hub, json.loads(asked.body)) if allowed else refused(401)
    if path == "/api/validate-yaml":
        return told({"errors": [], "warnings": []})
    found = re.match(r"/(?:api/)?datasets/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/(.*))?$", path)
    repository = hub.repositories.get(found[1]) if found else None
    if found is None or repository is None or (repository.private and not allowed):
        return refused(404 if allowed else 401, "RepoNotFound")
    if asked.method in ("POST", "PUT") and not allowed:
        return refused(401)
    what, _, rest = (found[2] or "revision/main").partition("/")
    return WAYS[what](hub, found[1], rest, asked, headers)


def create(hub: Hub, wanted: Mapping[str, Any]) -> Reply:
    name = f"{wanted['organization']}/{wanted['name']}"
    assert wanted["type"] == "dataset"
    if name in hub.repositories:
        return refused(409)
    hub.create(name, {".gitattributes": b"*.parquet filter=lfs\n"}, wanted.get("visibility") == "private")
    return told({"url": f"{hub.url}/datasets/{name}", "name": name})


def revision(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    repository = hub.repositories[name]
    commit = repository.at(rest)
    if commit is None:
        return refused(404, "RevisionNotFound")
    siblings = [{"rfilename": path} for path in commit[1]]
    return told({"id": name, "sha": commit[0], "private": repository.private, "siblings": siblings, "tags": []})


def tree(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    at, _, folder = rest.partition("/")
    commit = hub.repositories[name].at(at)
    files = commit[1] if commit else {}
    below = [path for path in files if not folder or path.startswith(f"{folder}/")]
    if commit is None or (folder and not below):
        return refused(404, "EntryNotFound")
    folders = {path.rpartition("/")[0] for path in below} - {"", folder}
    listed = [{"type": "directory", "path": each, "size": 0, "oid": "0" * 40} for each in sorted(folders)]
    return told([*listed, *(described(path, files[path], hub.large) for path in below)])


def paths_info(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    commit = hub.repositories[name].at(rest)
    if commit is None:
        return refused(404, "RevisionNotFound")
    wanted = parse_qs(asked.body.decode())["paths"]
    return told([described(path, commit[1][path], hub.large) for path in wanted if path in commit[1]])


def resolve(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    at, _, path = rest.partition("/")
    commit = hub.repositories[name].at(at)
    if commit is None or path not in commit[1]:
        return refused(404, "EntryNotFound")
    content = commit[1][path]
    said = {"x-repo-commit": commit[0], "etag": f'"{hashlib.sha1(content).hexdigest()}"', "accept-ranges": "bytes"}
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range") or "")
    if part is None:
        return Reply(200, content, said)
    start, end = int(part[1]), int(part[2] or len(content) - 1)
    said["content-range"] = f"bytes {start}-{end}/{len(content)}"
    return Reply(206, content[start : end + 1], said)


def preupload(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    def mode(each: Mapping[str, Any]) -> str:
        return "lfs" if each["size"] >= hub.large else "regular"

    listed = json.loads(asked.body)["files"]
    return told({"files": [{"path": each["path"], "uploadMode": mode(each), "shouldIgnore": False} for each in listed]})


def batch(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    objects = [
        {
            **each,
            **({} if each["oid"] in hub.stored else {"actions": {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}}),
        }
        for each in json.loads(asked.body)["objects"]
    ]
    return told({"transfer": "basic", "objects": objects})


def commit(hub: Hub, name: str, rest: str, asked: Asked, headers: Mapping[str, str]) -> Reply:
    repository = hub.repositories[name]
    lines = [json.loads(line) for line in asked.body.splitlines()]
    header = lines[0]["value"]
    if rest != "main":
        return refused(404, "RevisionNotFound")
    if header.get("parentCommit") not in (None, repository.commits[-1][0]):
        return refused(412)
    changed: dict[str, bytes] = {}
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            changed[value["path"]] = base64.b64decode(value["content"])
        else:
            changed[value["path"]] = hub.stored[value["oid"]]
            assert hashlib.sha256(changed[value["path"]]).hexdigest() == value["oid"]
    sha = repository.commit(changed, header["summary"])
    return told({"commitUrl": f"{hub.url}/datasets/{name}/commit/{sha}", "commitOid": sha})


WAYS = {
    "revision": revision,
    "tree": tree,
    "paths-info": paths_info,
    "resolve": resolve,
    "preupload": preupload,
    "info": batch,
    "commit": commit,
}


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that answers until the end of the block."""
    hub, lock = Hub(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("transfer-encoding") == "chunked":
                body = b"".join(self._chunks())
            asked = Asked(self.command, self.path, self.headers.get("authorization") or "", body)
            with lock:
                hub.ledger.append(asked)
                fault = next(
                    (f for f in hub.faults if f.method == asked.method and re.search(f.path, asked.path)), None
                )
                if fault is not None:
                    hub.faults.remove(fault)
                wrong = fault.what if fault else "nothing"
                if isinstance(wrong, int):
                    reply = refused(wrong)
                else:
                    reply = Reply(500) if wrong == "drop" else answer(hub, asked, self.headers)
            if wrong in ("drop", "lose"):
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "content-length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

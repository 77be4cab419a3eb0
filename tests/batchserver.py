"""A server with file and batch endpoints on the loopback interface, that misbehaves on order, with a ledger of its own.

    with serving() as server:
        server.script.append(half_expired)                       # what comes of the first batch
        server.faults.append(Fault("POST", "/batches", "lose"))  # the first to be created is, and the reply is lost
        ...
        server.paid, server.created, server.calls                # what tests believe, told by the server

Batches are worked on when they are created; a batch tells so after `polls` retrievals. The same answers are given
online. Knows nothing about distill-data.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

Line = dict[str, Any]


class Call(NamedTuple):
    """A line of the ledger."""

    method: str
    path: str
    headers: dict[str, str]


class Fault(NamedTuple):
    """What the next requests that fit meet."""

    method: str
    path: str
    """A regular expression that is looked for in the path."""
    what: int | str
    """A status; `drop` before anything is done, `lose` the reply to what is done, `cut` it in the middle, or `html`."""
    times: int = 1


@dataclass
class Outcome:
    """What comes of a batch. What was answered is paid, whether its line is given or not."""

    output: list[Line]
    errors: list[Line] = field(default_factory=list)
    status: str = "completed"
    output_file: str | None = ""
    """Told in place of a file's id where there is none."""
    error_file: str | None = None
    completed: int | None = None
    """Told in place of the number of lines."""
    wrong: list[dict[str, str]] = field(default_factory=list)
    """Why a batch failed as a whole."""
    raw: bytes = b""
    """At the end of the output, as it is."""


Script = Callable[[Outcome], Outcome]


def completion(body: dict[str, Any], text: str = "") -> dict[str, Any]:
    """An answer; where its text is not given the right one, by the request's body alone."""
    if "input" in body:
        vector = [{"object": "embedding", "index": 0, "embedding": [0.5, len(body["input"][0]) / 100]}]
        return {"object": "list", "model": body["model"], "data": vector, "usage": {"prompt_tokens": 4}}
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    text = text or f"answer to {asked[:60]}"
    said = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, **said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(asked) // 4 + 1, "completion_tokens": len(text) // 4 + 1},
    }


@dataclass
class Server:
    url: str = ""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Id to name and content."""
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    script: list[Script] = field(default_factory=list)
    """What becomes of the outcomes of the next batches."""
    faults: list[Fault] = field(default_factory=list)
    polls: int = 0
    page: int = 20
    """How many a list tells at once."""
    keeps_metadata: bool = True
    answer: Callable[[dict[str, Any]], dict[str, Any]] = completion
    calls: list[Call] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    """Requests that a batch answered, by id."""
    online: Counter[str] = field(default_factory=Counter)
    """Requests that were answered online, by what they asked."""
    before: Callable[[int], None] = lambda number: None
    """Is called with the number of each call before anything is done about it, counted from 1."""
    after: Callable[[int], None] = lambda number: None
    """And when all is done and nothing is answered yet."""

    @property
    def created(self) -> list[str]:
        """Ids of all batches, oldest first."""
        return list(self.batches)

    def asked(self, method: str, path: str) -> int:
        return sum(each.method == method and re.search(path, each.path) is not None for each in self.calls)

    def requests(self, batch: str) -> list[Line]:
        """What a batch was about."""
        content = self.files[self.batches[batch]["input_file_id"]][1]
        return [json.loads(line) for line in content.split(b"\n") if line]

    def keep(self, name: str, content: bytes) -> str:
        identity = f"file-{len(self.files) + 1}"
        self.files[identity] = (name, content)
        return identity

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Work a file of requests off."""
        name = f"batch_{len(self.batches) + 1}"
        batch: dict[str, Any] = {"id": name, "object": "batch", "endpoint": wanted["endpoint"], "polls": self.polls}
        batch |= {"input_file_id": wanted["input_file_id"], "completion_window": wanted["completion_window"]}
        batch |= {"metadata": wanted.get("metadata") if self.keeps_metadata else None, "created_at": 0}
        self.batches[name] = batch
        lines = self.requests(name)
        assert {line["url"] for line in lines} == {wanted["endpoint"]}
        assert all(line["method"] == "POST" for line in lines)
        assert len({line["body"]["model"] for line in lines}) == 1, "one model a batch"
        right = [answered(line["custom_id"], self.answer(line["body"])) for line in lines]
        outcome = self.script.pop(0)(Outcome(right)) if self.script else Outcome(right)
        known = {line["custom_id"] for line in lines}
        self.paid.update({line["custom_id"] for line in outcome.output} & known)
        batch["final"] = self._ended(outcome, len(lines))
        return batch

    def _ended(self, outcome: Outcome, total: int) -> dict[str, Any]:
        """The part of a batch that is told once it has ended."""
        output, errors = (
            b"".join(json.dumps(line).encode() + b"\n" for line in part) for part in (outcome.output, outcome.errors)
        )
        completed = len(outcome.output) if outcome.completed is None else outcome.completed
        return {
            "status": outcome.status,
            "output_file_id": self.keep("out", output + outcome.raw) if output or outcome.raw else outcome.output_file,
            "error_file_id": self.keep("err", errors) if errors else outcome.error_file,
            "request_counts": {"total": total, "completed": completed, "failed": len(outcome.errors)},
            "errors": {"object": "list", "data": outcome.wrong} if outcome.wrong else None,
        }

    def told(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as it stands."""
        shown = {name: value for name, value in batch.items() if name not in ("final", "polls")}
        return {**shown, "status": "in_progress", "output_file_id": None} | (
            batch["final"] if not batch["polls"] else {}
        )

    def listed(self, found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        """A page of a list, newest first."""
        newest = found[::-1]
        start = next((n for n, each in enumerate(newest, 1) if each["id"] == query.get("after")), 0)
        size = min(self.page, int(query.get("limit", 20)))
        data = newest[start : start + size]
        return {"object": "list", "data": data, "has_more": start + size < len(newest)}


def answered(key: str, body: Any, status: int = 200) -> Line:
    """A line of an output or error file."""
    return {
        "id": f"batch_req_{key[:8]}",
        "custom_id": key,
        "response": {"status_code": status, "request_id": "r", "body": body},
        "error": None,
    }


def refused(key: str, status: int, code: str) -> Line:
    return answered(key, {"error": {"message": f"it is {code}", "type": "error", "code": code}}, status)


def undone(key: str, code: str = "batch_expired") -> Line:
    """A line for a request that was not worked on."""
    error = {"code": code, "message": "This request was not executed in time."}
    return {"id": "batch_req_x", "custom_id": key, "response": None, "error": error}


def answer_call(server: Server, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    """What the server says."""
    parts = urlsplit(path)
    query, words = dict(parse_qsl(parts.query)), parts.path.removeprefix("/v1/").split("/")
    if method == "POST" and words[0] in ("chat", "completions", "embeddings"):
        asked = json.loads(body)
        server.online[body.decode()] += 1
        return 200, json.dumps(server.answer(asked)).encode()
    if words == ["files"] and method == "POST":
        fields = read_form(headers["content-type"], body)
        assert fields["purpose"][1] == b"batch"
        identity = server.keep(*fields["file"])
        return 200, json.dumps({"id": identity, "object": "file", "filename": fields["file"][0]}).encode()
    if words == ["files"]:
        found = [{"id": each, "object": "file", "filename": name} for each, (name, _) in server.files.items()]
        return 200, json.dumps(server.listed(found, query)).encode()
    if words[0] == "files" and words[1] in server.files:
        return 200, server.files[words[1]][1]
    if words == ["batches"] and method == "POST":
        return 200, json.dumps(server.told(server.create(json.loads(body)))).encode()
    if words == ["batches"]:
        return 200, json.dumps(server.listed([server.told(each) for each in server.batches.values()], query)).encode()
    if words[0] == "batches" and words[1] in server.batches:
        batch = server.batches[words[1]]
        shown = server.told(batch)
        batch["polls"] = max(0, batch["polls"] - 1)
        return 200, json.dumps(shown).encode()
    return 404, b'{"error": {"message": "no such thing", "code": "not_found"}}'


def read_form(kind: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The parts of a multipart form: file name and content by the part's name."""
    message = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    parts = {}
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        parts[str(part.get_param("name", header="content-disposition"))] = (part.get_filename() or "", content)
    return parts


@contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the end of the block."""
    server, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                server.calls.append(Call(self.command, self.path, headers))
                number = len(server.calls)
                server.before(number)
                wrong = self._wrong()
                if isinstance(wrong, int):
                    status, content = wrong, b'{"error": {"message": "no", "code": "planted"}}'
                elif wrong == "html":
                    status, content = 200, b"<html>log in</html>"
                elif wrong == "drop":
                    status, content = 500, b""
                else:
                    status, content = answer_call(server, self.command, self.path, headers, body)
                server.after(number)
            if wrong in ("drop", "lose"):
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if wrong == "cut" else content)
            self.close_connection = self.close_connection or wrong == "cut"

        def do_POST(self) -> None:
            self.do_GET()

        def _wrong(self) -> int | str:
            for place, fault in enumerate(server.faults):
                if fault.method == self.command and re.search(fault.path, self.path):
                    server.faults[place : place + 1] = [fault._replace(times=fault.times - 1)] * (fault.times > 1)
                    return fault.what
            return "nothing"

        def log_message(self, *_: object) -> None: ...

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, OSError):
                return  # the client is gone, as was intended

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

"""The file and batch endpoints of an OpenAI-shaped server, one call each: upload, create, look up, list, download.

The `openai` package talks; nothing is retried here, and every call gives a value, `Refused` or `Lost`. The same key,
the same hosts and the same proxy as online. Does not know what is in the files, nor when to call.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

import orjson

from distill_data import __version__
from distill_data.data.exchange import Lost, Reply
from distill_data.data.transports import hush_transports
from distill_data.teachers.endpoint import Credentials, base_url_of, proxy_of, read_credentials
from distill_data.teachers.protocol import Profile

WINDOW = "24h"
"""The only time frame that there is."""
RUN, UPLOAD = "distill_data_run", "distill_data_upload"
"""Keys of a batch's metadata."""
PAGE = 100
LONG = 64 * 2**20
"""Bytes of a line from which it is no answer, and is not held in memory."""
_KEPT = (
    "accept", "connection", "content-length", "content-type", "host", "transfer-encoding", "x-stainless-raw-response",
)  # fmt: skip
"""Headers of the package that travel: those of the transport, and one by which it knows what to return."""


class Refused(Exception):
    """The server said no, or something that makes no sense under a success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"status {reply.status}")
        self.reply = reply


class Batch(NamedTuple):
    """A batch as the server tells it."""

    id: str
    status: str
    output_file: str = ""
    error_file: str = ""
    completed: int = 0
    failed: int = 0
    errors: tuple[tuple[str, str], ...] = ()
    """Code and message of each, where it failed as a whole."""


class BatchEndpoint:
    """The two endpoints of one server, for one profile. Belongs to the event loop that first calls."""

    def __init__(self, profile: Profile) -> None:
        self.name = profile.name
        self._profile = profile
        self.address = base_url_of(profile)
        self._client: Any = None

    async def upload(self, name: str, path: Path) -> str:
        """Upload a file of requests under this name; its id."""
        with path.open("rb") as stream:
            found = await self._call("files", "create", file=(name, stream, "application/jsonl"), purpose="batch")
        return _identity(found)

    async def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name; None where there is none."""
        async for each in self._list("files", purpose="batch"):
            if each.get("filename") == name:
                return _identity(each)
        return None

    async def create(self, file: str, url: str, metadata: Mapping[str, str]) -> Batch:
        """Have the server answer a file of requests."""
        made = await self._call(
            "batches", "create", input_file_id=file, endpoint=url, completion_window=WINDOW, metadata=dict(metadata)
        )
        return _read_batch(made)

    async def find_batch(self, file: str, upload: str) -> Batch | None:
        """The batch of this upload, by its metadata or by its file, since not every server keeps metadata."""
        async for each in self._list("batches"):
            metadata = each.get("metadata")
            told = metadata.get(UPLOAD) if isinstance(metadata, dict) else None
            if told == upload or each.get("input_file_id") == file:
                return _read_batch(each)
        return None

    async def retrieve(self, batch: str) -> Batch:
        return _read_batch(await self._call("batches", "retrieve", batch_id=batch))

    async def download(self, file: str, target: BinaryIO) -> int:
        """Write a file's bytes; how many lines they are. A last line that was cut counts as none."""
        lines = 0
        with self._told() as hide:
            streaming = self._connect().files.with_streaming_response
            async with streaming.content(file_id=file) as response:
                rest = b""
                async for piece in response.iter_bytes(1 << 20):
                    whole, newline, rest = (rest + piece).rpartition(b"\n")
                    lines += whole.count(b"\n") + len(newline)
                    target.write(hide.redact(whole + newline))
                    if len(rest) > LONG:
                        target.write(hide.redact(rest))
                        rest = b""
                target.write(hide.redact(rest))
        return lines + _is_object(rest)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _list(self, resource: str, **more: str) -> AsyncIterator[dict[str, Any]]:
        """All there is, page by page, whatever the server makes of `after`."""
        seen: set[str] = set()
        after: dict[str, str] = {}
        while True:
            page = await self._call(resource, "list", limit=PAGE, **more, **after)
            each: list[dict[str, Any]] = [one for one in page.get("data") or () if isinstance(one, dict)]
            fresh = [one for one in each if str(one.get("id")) not in seen]
            for one in fresh:
                yield one
            seen.update(str(one.get("id")) for one in fresh)
            if not fresh or not page.get("has_more"):
                return
            after = {"after": str(each[-1].get("id"))}

    async def _call(self, resource: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """One call; the object that came back. Raises Refused and Lost."""
        with self._told():
            raw = getattr(getattr(self._connect(), resource).with_raw_response, verb)
            response = await raw(**arguments)
        content: bytes = self._credentials.redact(response.content)
        with contextlib.suppress(orjson.JSONDecodeError):
            found = orjson.loads(content)
            if isinstance(found, dict) and not found.get("error"):
                return found
        raise Lost(f"the reply to {resource} is not what an API says: {content[:200]!r}", sent=True)

    @contextlib.contextmanager
    def _told(self) -> Iterator[Credentials]:
        """What the package and its transport raise, as what the engine judges. No traceback shows a request."""
        import httpx2
        import openai

        self._connect()
        hide = self._credentials
        raised: Exception
        try:
            yield hide
            return
        except openai.APIStatusError as error:
            headers = {name.lower(): hide.redact_text(value) for name, value in error.response.headers.items()}
            raised = Refused(Reply(error.status_code, headers, hide.redact_refusal(error.response.content)))
        except openai.APIConnectionError as error:
            raised = _lost(error.__cause__ or error, hide)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raised = _lost(error, hide)
        except (httpx2.HTTPError, openai.OpenAIError) as error:
            raised = Lost(f"{type(error).__name__}: {hide.redact_text(str(error))}", sent=True)
        raise raised

    def _connect(self) -> Any:
        if self._client is None:
            import openai

            hush_transports()
            self._credentials = read_credentials(self._profile, self.address)
            secure = urlsplit(self.address).scheme == "https"
            timeout = self._profile.timeout
            self._client = openai.AsyncOpenAI(
                api_key="see _sign",
                base_url=self.address,
                max_retries=0,
                timeout=timeout,
                http_client=openai.DefaultAsyncHttpxClient(
                    follow_redirects=False,
                    trust_env=False,
                    verify=ssl.create_default_context() if secure else False,
                    proxy=proxy_of(self.address),
                    timeout=timeout,
                    event_hooks={"request": [self._sign]},
                ),
            )
        return self._client

    async def _sign(self, request: Any) -> None:
        """Leave out what tells of this machine, and whatever key the package found, and say who we are."""
        for name in [name for name in request.headers if name.lower() not in _KEPT]:
            del request.headers[name]
        request.headers.update({"User-Agent": f"distill-data/{__version__}", **self._credentials.headers})


def _lost(error: BaseException, hide: Credentials) -> Lost:
    import httpx2

    unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ProxyError)
    text = hide.redact_text(str(error)) or type(error).__name__
    return Lost(text, sent=not unsent, permanent="CERTIFICATE_VERIFY_FAILED" in text)


def _identity(found: Mapping[str, Any]) -> str:
    identity = found.get("id")
    if not isinstance(identity, str) or not identity:
        raise Lost("the reply names no id", sent=True)
    return identity


def _read_batch(found: Mapping[str, Any]) -> Batch:
    """Whatever is missing, null or of another type is as if it were not told."""
    counts = found.get("request_counts")
    counted = counts if isinstance(counts, dict) else {}
    errors = found.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else errors
    return Batch(
        _identity(found),
        _text(found.get("status")),
        _text(found.get("output_file_id")),
        _text(found.get("error_file_id")),
        _count(counted.get("completed")),
        _count(counted.get("failed")),
        tuple(
            (_text(each.get("code")), _text(each.get("message")))
            for each in (listed if isinstance(listed, list) else ())
            if isinstance(each, dict)
        ),
    )


def _is_object(text: bytes) -> bool:
    """Whether it is the whole of a JSON object, which no beginning of one is."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0

"""What a teacher is. Knows nothing about how one is reached, nor about methods, recipes and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from distill_data.data.exchange import Reply, Request
from distill_data.teachers.prices import Price

CONCURRENCY = 64
"""Requests in flight at most, where nobody named a number."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model's endpoint can do. Resolved once, stored in the run, so that a replay lowers as the original did."""

    choice: Literal["grammar", "json_schema", "guided_choice", "none"] = "none"
    """How a closed set of answers is enforced."""
    json_schema: bool = False
    """Whether `response_format` takes a JSON schema."""
    seed: bool = False
    """Whether a sampling seed may be sent."""
    logprobs: bool = False
    vision: bool = False
    """Whether messages may hold images."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    scoring: Literal["none", "local", "prompt_logprobs", "echo"] = "none"
    """How log-probabilities of a given text are had: `local` is a forward pass here, the others are a server's ways."""
    layers: int = 0
    """Of a model that runs here: its transformer layers; 0 where nobody knows. Hidden states are numbered 0 (the
    embeddings) to `layers`."""
    tokenizer: Mapping[str, Any] | None = None
    """The tokenizer's fingerprint, resolved where text is to be scored: `name`, `vocab_size` (0 is unknown), `template`
    and `probe`, 16 hex digits over the chat template and over the ids of a fixed text."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A model as the user described it: a `backend/model` name, or a `[models.NAME]` table of `distill.toml`."""

    name: str
    """What the user typed; shown to people and stored in records."""
    model: str
    """`backend/model`."""
    base_url: str = ""
    base_url_from: str = ""
    """The file that chose the base URL: `named` by the user or merely `found`; empty where a flag or $OPENAI_BASE_URL
    did. It decides which key may be sent there."""
    api_key_env: str = ""
    api_key_file: str = ""
    """A file that holds the key and nothing else; read again when the key is refused, in case it was rotated."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header name to the *environment variable* that holds its value."""
    timeout: float = 600.0
    """Seconds for one request, all in."""
    concurrency: int | None = None
    """Upper bound of requests in flight; None where nobody named one, which then is CONCURRENCY."""
    rpm: float | None = None
    tpm: float | None = None
    price: Price | None = None
    """None is unknown, never free."""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    """What the user declares; anything absent is resolved by the backend."""
    enqueued_tokens: int | None = None
    """Tokens in prompts that the provider lets wait in batches at once."""
    insecure_http: bool = False
    """Allows a key over plain http to another machine."""


class Teacher(Protocol):
    """A model that answers."""

    identity: Mapping[str, str]
    """What besides the body changes an answer: base URL and API kind; weight digest, engine and version."""

    def lower(self, request: Request) -> dict[str, Any]:
        """The body for the wire. Pure: depends on the request, the model's name and its capabilities alone.

        Raises UsageError for a request that this teacher cannot express.
        """
        ...

    async def send(self, body: bytes) -> Reply:
        """Ask once. Whatever the server says is a Reply, whose body of a success is an OpenAI
        completion, chat or raw as the request was.

        Raises Lost where no reply came.
        """
        ...

    async def aclose(self) -> None:
        """Let connections and engines go."""
        ...

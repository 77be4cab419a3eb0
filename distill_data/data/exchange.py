"""Request, Reply and Answer: what passes between a method and a teacher. Knows neither of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from distill_data.errors import DamageError

Message = dict[str, Any]
Kind = Literal["chat", "complete", "score", "embed"]


class Request(NamedTuple):
    """One question to one model for one sample: the unit that is keyed, journalled and paid for."""

    messages: list[Message]
    """What is said so far. Of a request of kind `embed` the one message whose content is the text."""
    sampling: Mapping[str, Any] = MappingProxyType({})
    """temperature, top_p, max_tokens, stop, seed, … and `extra_body`, a mapping sent as it is."""
    kind: Kind = "chat"
    choices: tuple[str, ...] = ()
    """A closed set of answers. A teacher constrains decoding to it where it can; the parser checks it anyway."""
    schema: Mapping[str, Any] | None = None
    """A JSON schema for the answer, on the same terms."""
    sample: int = 0
    """Which of several samples of the same question this is. Part of the key, never sent."""
    completion: tuple[Message, ...] = ()
    """y, where it is given: what a request of kind `score` is about. Without `messages` its text is scored as it is."""
    feature: Mapping[str, Any] | None = None
    """φ, for a request of kind `score`: what the teacher is to give of itself, such as `{"of": "topk", "k": 64}`."""


RESAMPLED = 1 << 20
"""Samples from this number on were asked because an earlier reply could not be read; more samples never meet them."""


class Reply(NamedTuple):
    """What came back over the wire, unjudged."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    blob: bytes = b""
    """Arrays that belong to it, one after the other; the body's `feature.arrays` says which."""


EXCERPT = 300
"""Bytes of an unusable reply that are shown."""


REMEDY = (
    "Restore the file from a copy; or name another output and take this run by --reuse: what of it is whole costs "
    "nothing, and the rest is asked again."
)


class Blob(NamedTuple):
    """Bytes of arrays in a file, found again by place and known by their digest."""

    path: Path
    offset: int
    length: int
    sha256: str

    def read(self) -> bytes:
        """The bytes. Raises DamageError where they are not the ones that were written."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = os.pread(fd, self.length, self.offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise DamageError(
                f"{self.path}: arrays that the journal names cannot be read: {error.strerror}."
            ) from error
        if hashlib.sha256(found).hexdigest() != self.sha256:
            raise DamageError(
                f"{self.path}: the {self.length} bytes at {self.offset} are not those that the journal names. {REMEDY}"
            )
        return found

    def check(self) -> None:
        """Raise DamageError where its file cannot hold it: is missing, or too short. Reads none of it."""
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise DamageError(
                f"{self.path}: the arrays of this run are not there: {error.strerror}. {REMEDY}"
            ) from error
        if size < self.offset + self.length:
            raise DamageError(f"{self.path}: has {size} bytes, and the journal names more. {REMEDY}")


class Answer(NamedTuple):
    """A chat completion, read from a reply's body."""

    text: str
    reasoning: str
    """What a reasoning model thought, from its own field or from a leading `<think>` block; else empty."""
    finish: str
    """`stop`, `length`, `content_filter`, `refusal`, `tool_calls` or what the server said."""
    model: str
    """The model that the server says it used."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    logprobs: Any = None
    feature: Mapping[str, Any] | None = None
    """Of a request of kind `score`: what the teacher says about its arrays, as the body's `feature`."""
    blob: Blob | None = None
    """Where these arrays are."""
    embedding: tuple[float, ...] = ()
    """Of a request of kind `embed`: the text's vector, as the model gave it; empty where the reply holds none."""


class Lost(Exception):
    """A request that got no reply. `sent` tells whether the server may have seen, and billed, it."""

    def __init__(
        self, detail: str, *, sent: bool, permanent: bool = False, kind: Literal["", "stale", "too-long"] = ""
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent
        self.permanent = permanent
        """True where asking again cannot help, such as a certificate that does not verify."""
        self.kind = kind
        """`stale`: a kept connection that the server had closed meanwhile. `too-long`: a reply that had to be cut."""


Wanted = Callable[[], bool]
"""Whether an answer is still wanted."""


def always() -> bool:
    return True


class Unwanted(Exception):
    """An answer that was no longer wanted when its turn came. Nothing was sent."""


class Ask(Protocol):
    """What a method is given: ask a question of a role (`teacher`, `teacher-2`, `student`, …), get the durable answer.

    `wanted` is asked once more when everything is ready to send; where it says no, Unwanted is raised and nothing is
    sent. Raises `AnswerFailed` where the teacher refuses this request for good. Other exceptions end the run or park
    the item and are none of a method's business: it must not catch them.
    """

    async def __call__(self, request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer: ...

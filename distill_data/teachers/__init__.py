"""The backends that there are, and how a profile becomes a teacher. Knows no wire: each backend's module does.

To add one: write `teachers/NAME.py` with the three functions of `Backend`, and name it in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from distill_data.data.exchange import Lost, Reply
from distill_data.teachers.protocol import CONCURRENCY, Capabilities, Profile, Teacher
from distill_data.teachers.replies import BadReply, read_answer

__all__ = [
    "BACKENDS",
    "BadReply",
    "ProbeFailed",
    "Resolved",
    "bound_concurrency",
    "open_teacher",
    "read_answer",
    "resolve",
]

BACKENDS: Mapping[str, str] = {
    "openai": "distill_data.teachers.openai",
    "local": "distill_data.teachers.local",
    "transformers": "distill_data.teachers.transformers",
    "echo": "distill_data.teachers.echo",
}
"""Backend name to the module that speaks for it; imported when a profile names it."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What has been found out about a teacher. Stored in the run, so that a replay needs neither key nor engine."""

    identity: Mapping[str, str]
    capabilities: Capabilities

    def to_json(self) -> dict[str, Any]:
        capabilities = asdict(self.capabilities)
        for name, absent in (("vision", False), ("scoring", "none"), ("layers", 0), ("tokenizer", None)):
            if capabilities[name] == absent:
                del capabilities[name]  # runs from before there was this one keep their plan's digest
        return {"identity": dict(self.identity), "capabilities": capabilities}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Resolved:
        return cls(dict(stored["identity"]), Capabilities(**stored["capabilities"]))


class ProbeFailed(Exception):
    """A capability probe that came to nothing: neither "can" nor "cannot". `result` is what came back instead."""

    def __init__(self, result: Reply | Lost) -> None:
        super().__init__(result.detail if isinstance(result, Lost) else f"status {result.status}")
        self.result = result


class Backend(Protocol):
    """What a backend's module offers."""

    async def resolve(self, profile: Profile, needs: frozenset[str]) -> Resolved: ...

    def open_teacher(self, profile: Profile, resolved: Resolved) -> Teacher: ...

    def slots(self, profile: Profile, resolved: Resolved) -> int | None:
        """How many requests it can have in flight; None for any number."""
        ...


def _backend(profile: Profile) -> Backend:
    return cast(Backend, import_module(BACKENDS[profile.model.partition("/")[0]]))


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    """Identity and capabilities of the model. `needs` is a subset of choice, json_schema, logprobs, seed, vision,
    score, tokenizer, and of embed and reward, which nothing is found out about.

    Sends at most one tiny request, and only where a need is not declared in the profile. Raises UsageError where a
    key, a package or weights are missing, ProbeFailed where the probe got no usable reply.
    """
    return await _backend(profile).resolve(profile, needs)


def open_teacher(profile: Profile, resolved: Resolved) -> Teacher:
    """A teacher that lowers at once and connects, or loads its engine, at its first `send`."""
    return _backend(profile).open_teacher(profile, resolved)


def bound_concurrency(profile: Profile, resolved: Resolved) -> int:
    """How many requests to have in flight at most: the profile's bound, or the engine's slots if they are fewer."""
    bound = profile.concurrency or CONCURRENCY
    return min(bound, _backend(profile).slots(profile, resolved) or bound)

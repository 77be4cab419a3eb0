"""A backend for tests in this process: answers by rule, keeps its own ledger, and can take the run's power away.

Its module goes into `BACKENDS` as any backend does. A kill is a copy of what is on the disk at that moment, which is
what SIGKILL leaves; nothing that is sent afterwards counts, and the copy is put back once the run is over.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.exchange import Lost, Reply, Request
from distill_data.teachers import Resolved
from distill_data.teachers.protocol import Capabilities, Profile

Asked = tuple[str, str, float, int]
"""Row, model, temperature and sample, which this backend says on the wire."""


def said(asked: Asked) -> str:
    """What is answered."""
    return "answer to {} by {} at {} the {}th time".format(*asked)


@dataclass
class Script:
    """What the server does during one run, and what it saw."""

    root: Path
    limited: int = 0
    """So many requests are refused for their rate first."""
    kill_at: int = 0
    """The request, from 1, at which the run dies; 0 is never."""
    paid: list[Asked] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)
    """Requests that are refused for good, and cost nothing."""
    dead: bool = False

    @property
    def copy(self) -> Path:
        return self.root.with_name(f"{self.root.name}.killed")

    def answer(self, asked: Asked) -> Reply:
        if self.dead:
            raise Lost("dead", sent=False, permanent=True)
        if self.limited:
            self.limited -= 1
            return Reply(429, {}, b"{}")
        if "refuse" in asked[0]:
            self.refused.append(asked)
            return Reply(400, {}, b"{}")
        self.paid.append(asked)
        if len(self.paid) == self.kill_at:
            self.dead = True
            shutil.copytree(self.root, self.copy)
            raise Lost("dead", sent=True, permanent=True)
        choice = {"message": {"content": said(asked)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return Reply(200, {}, orjson.dumps({"model": asked[1], "choices": [choice], "usage": usage}))

    def end(self) -> bool:
        """Whether the run was killed; if so, what it left is put in place."""
        if self.dead:
            shutil.rmtree(self.root)
            self.copy.rename(self.root)
        return self.dead


SCRIPTS: list[Script] = []
"""The last is the present one."""


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    return Resolved({"engine": "scripted", "model": profile.model}, Capabilities())


def open_teacher(profile: Profile, resolved: Resolved) -> ScriptedTeacher:
    return ScriptedTeacher(dict(resolved.identity))


def slots(profile: Profile, resolved: Resolved) -> None:
    return None


class ScriptedTeacher:
    def __init__(self, identity: dict[str, str]) -> None:
        self.identity = identity

    def lower(self, request: Request) -> dict[str, Any]:
        return {"messages": request.messages, **request.sampling, "sample": request.sample}

    async def send(self, body: bytes) -> Reply:
        request = orjson.loads(body)
        await asyncio.sleep(0)
        row = re.findall(r"row-\w+", request["messages"][-1]["content"])[0]
        return SCRIPTS[-1].answer((row, self.identity["model"], request["temperature"], request["sample"]))

    async def aclose(self) -> None:
        """Nothing is open."""

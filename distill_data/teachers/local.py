"""GGUF models in this process, on llama.cpp through xllamacpp. Knows the engine; nothing about runs.

The engine batches the calls of its slots, so as many threads wait in it as it has slots. Its answers are repeatable
for one request at a time; in a full batch, sums of floats come in another order and near-ties may fall differently.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import Resolved
from distill_data.teachers.lowering import chat_body
from distill_data.teachers.protocol import Capabilities, Profile, Teacher
from distill_data.teachers.weights import WEIGHTS, fingerprint, locate

SLOTS = 4
"""Requests that are answered at the same time."""
CONTEXT = 2048
"""Tokens of prompt and answer, for each slot."""
_RANDOM_SEED = 0xFFFFFFFF
"""The engine takes this value for "draw one"; seeds stay below it."""


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    """See `distill_data.teachers.resolve`. Everything is known; nothing is probed, and no engine is loaded."""
    path = locate(_model(profile))
    known = {"choice": "grammar", "json_schema": True, "seed": True, "logprobs": True, **profile.capabilities}
    identity = await asyncio.to_thread(_identify, profile, path)
    return Resolved(identity, Capabilities(**{**known, "seed": True}))


def open_teacher(profile: Profile, resolved: Resolved) -> Teacher:
    return LocalTeacher(profile, resolved)


def slots(profile: Profile, resolved: Resolved) -> int:
    return SLOTS


class LocalTeacher:
    """One GGUF file. The engine is loaded by the first `send`, in about a second."""

    def __init__(self, profile: Profile, resolved: Resolved) -> None:
        self.identity: Mapping[str, str] = resolved.identity
        self._profile = profile
        self._capabilities = resolved.capabilities
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="local-teacher")
        self._loading = threading.Lock()
        self._engine: Any = None

    def lower(self, request: Request) -> dict[str, Any]:
        body = chat_body(self._profile.name, self._capabilities, request)
        body["seed"] = body.get("seed", request.sample) % _RANDOM_SEED
        return body

    async def send(self, body: bytes) -> Reply:
        """Answer in a thread. What the engine refuses is a Reply with its status. The timeout does not apply."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, body)

    async def aclose(self) -> None:
        """Wait for the answers being made, then let the engine go."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine = None

    def _answer(self, body: bytes) -> Reply:
        with self._loading:
            if self._engine is None:
                self._engine = _load(self._profile, self.identity)
        try:
            request = orjson.loads(body)
            engine = self._engine
            ask = engine.handle_completions if "prompt" in request else engine.handle_chat_completions
            result = ask(request)
        except (RuntimeError, TypeError, ValueError) as error:  # its ways to refuse a request that it cannot read
            result = {"error": {"code": 400, "message": str(error), "type": "invalid_request_error"}}
        if "error" in result:
            code = result["error"].get("code")
            return _reply(code if type(code) is int else 500, result)
        lasting = {name: result[name] for name in ("object", "choices", "usage") if name in result}
        # What a slot still had cached depends on the order of requests.
        lasting.get("usage", {}).pop("prompt_tokens_details", None)
        return _reply(200, {**lasting, "model": _label(self._profile)})


def _load(profile: Profile, identity: Mapping[str, str]) -> Any:
    path = locate(_model(profile))
    if _identify(profile, path) != identity:
        raise UsageError(
            f"{profile.name}: this run was made with other weights or another version of xllamacpp "
            f"({dict(identity)}). Bring them back, or write to a new output."
        )
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx = SLOTS, CONTEXT * SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.n_gpu_layers = 0
    params.use_jinja, params.warmup, params.verbosity = True, False, 0
    # The engine opens a port on the loopback interface, come what may; this keeps other users of the machine out.
    params.port, params.ui, params.api_keys = 0, False, [secrets.token_urlsafe(24)]
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{profile.name}: the engine cannot load {path}: {error}.") from None


def _threads() -> int:
    """Half of the CPUs that this process may use.

    The engine's threads spin while they wait for one another: with one on every CPU, any neighbour that takes a CPU
    makes all of them wait. Two threads on two busy CPUs took six times as long as one, and five times its CPU time.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // 2)


def _identify(profile: Profile, path: Path) -> dict[str, str]:
    """Engine, version and weights. Raises UsageError where one is missing."""
    try:
        version = metadata.version("xllamacpp")
    except metadata.PackageNotFoundError:
        raise UsageError(f"{profile.name} needs the extra `local` (in a checkout: pip install '.[local]').") from None
    try:
        return {"engine": "xllamacpp", "version": version, "weights": fingerprint(path)}
    except OSError as error:
        model = _model(profile)
        advice = f"Run: distill-data models pull {model}" if model in WEIGHTS else "Is the path right?"
        raise UsageError(f"{profile.name}: there are no weights at {path} ({error.strerror}). {advice}") from None


def _model(profile: Profile) -> str:
    return profile.model.partition("/")[2]


def _label(profile: Profile) -> str:
    """The model's name without the folders of this machine."""
    return Path(_model(profile)).name


def _reply(status: int, body: Mapping[str, Any]) -> Reply:
    return Reply(status, {"content-type": "application/json"}, orjson.dumps(body))

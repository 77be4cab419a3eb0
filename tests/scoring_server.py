"""A loopback OpenAI-compatible server that scores given texts, of one toy model, in the formats that real servers use.

    with serve("prompt_logprobs") as server:      # or "echo", "none"
        ...                                       # the base URL is server.url
        server.ledger()                           # what was asked, told by the server and not by the client

The toy's tokens are bytes and four special ones; its distribution is drawn from a hash of the last three tokens, so it
is the same in every way of asking and in every process. `answer` is the server without a wire. Knows no distill-data.

`python -m tests.scoring_server --ways echo` prints its port as JSON and serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>")
IM_START, IM_END, BOS, EOS = range(256, 256 + len(SPECIAL))
VOCAB_SIZE = 256 + len(SPECIAL)
ROW = re.compile(rb"row-\d+")
_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")


def encode(text: str) -> list[int]:
    """The toy's ids of a text, special tokens found as such."""
    ids: list[int] = []
    for piece in _SPECIAL.split(text):
        ids += [256 + SPECIAL.index(piece)] if piece in SPECIAL else piece.encode()
    return ids


def say(number: int) -> str:
    """What one token says; a part of a character is the replacement character, as real servers have it."""
    return SPECIAL[number - 256] if number >= 256 else bytes([number]).decode("utf-8", "replace")


@lru_cache(maxsize=100_000)
def _logprobs(context: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    seed = int.from_bytes(hashlib.sha256(bytes(str(context), "ascii")).digest()[:8])
    logits = np.random.default_rng(seed).normal(0, 3, VOCAB_SIZE)
    return np.asarray(logits - np.log(np.exp(logits).sum()))


def distribution(ids: list[int], at: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log-probabilities of all tokens at a place, given those before it."""
    return _logprobs(tuple(ids[max(0, at - 3) : at]))


def render(messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
    """The toy's chat template, with a line break behind the token that ends a turn."""
    turns = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages)
    return turns + ("<|im_start|>assistant\n" if add_generation_prompt else "")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server can do."""

    ways: str = "prompt_logprobs"
    context: int = 4096
    """Tokens."""
    most: int = 64
    """The largest k."""
    bos: bool = False
    """Whether raw text gets a token before it."""


def answer(path: str, asked: Mapping[str, Any], settings: Settings) -> tuple[int, dict[str, Any]]:
    """Status and body for a post to a path that ends in /completions."""
    chat = path.endswith("/chat/completions")
    if chat:
        ids = encode(render(asked["messages"], asked.get("add_generation_prompt", True)))
    else:
        ids = [BOS] * (settings.bos and asked.get("add_special_tokens", True)) + encode(asked["prompt"])
    if len(ids) + 1 > settings.context:
        said = f"This model's maximum context length is {settings.context} tokens. However, you requested more: "
        return refused(f"{said}{len(ids)} in the prompt and 1 in the completion.")
    wanted = asked.get("prompt_logprobs" if settings.ways == "prompt_logprobs" else "logprobs") or 0
    if type(wanted) is int and wanted > settings.most:
        return refused(f"Requested prompt logprobs of {wanted}, which is greater than max allowed: {settings.most}")
    made = [*ids, int(distribution(ids, len(ids)).argmax())]
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": say(made[-1])}} if chat else {"text": say(made[-1])}
    body: dict[str, Any] = {"id": "x", "object": "chat.completion" if chat else "text_completion", "model": "toy"}
    beside = body if chat else choice
    if settings.ways == "prompt_logprobs":
        if asked.get("return_token_ids"):
            beside["prompt_token_ids"] = ids
        if asked.get("prompt_logprobs") is not None:
            beside["prompt_logprobs"] = prompt_logprobs(ids, asked["prompt_logprobs"])
    elif settings.ways == "echo" and asked.get("echo") and not chat:
        choice["text"] = asked["prompt"] + choice["text"]
        if asked.get("logprobs") is not None:
            choice["logprobs"] = echoed(made, asked["logprobs"], bool(asked.get("return_tokens_as_token_ids")))
    usage = {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(made)}
    return 200, {**body, "choices": [choice], "usage": usage}


def refused(message: str) -> tuple[int, dict[str, Any]]:
    return 400, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


def likely(ids: list[int], at: int, k: int) -> dict[int, float]:
    """The token itself first, then the k most likely: k entries, or one more where it is none of them."""
    found = distribution(ids, at)
    best = np.argsort(-found, kind="stable")[:k].tolist()
    return {number: float(found[number]) for number in [ids[at], *best]}


def prompt_logprobs(ids: list[int], k: int) -> list[dict[str, Any] | None]:
    told: list[dict[str, Any] | None] = [None]
    for at in range(1, len(ids)):
        ranks = (-distribution(ids, at)).argsort(kind="stable").argsort(kind="stable") + 1
        told.append(
            {
                str(number): {"logprob": value, "rank": int(ranks[number]), "decoded_token": say(number)}
                for number, value in likely(ids, at, k).items()
            }
        )
    return told


def echoed(ids: list[int], k: int, as_ids: bool) -> dict[str, Any]:
    name = (lambda number: f"token_id:{number}") if as_ids else say
    tables = [likely(ids, at, k) for at in range(1, len(ids))]
    return {
        "text_offset": [0] * len(ids),
        "tokens": [name(number) for number in ids],
        "token_logprobs": [None, *(table[number] for table, number in zip(tables, ids[1:], strict=True))],
        "top_logprobs": [None, *({name(number): value for number, value in table.items()} for table in tables)],
    }


# -- as a process of its own -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    """The base URL that a client is given, `/v1` included."""
    ledger_path: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def ledger(self) -> list[dict[str, Any]]:
        """Every request so far, as it arrived: n, path, digest, row (`row-N` in the body, or empty), status, body."""
        return [json.loads(line) for line in self.ledger_path.read_bytes().split(b"\n") if line]

    def asked(self) -> int:
        """How many requests arrived so far."""
        return self.ledger_path.read_bytes().count(b"\n")


@contextlib.contextmanager
def serve(ways: str = "prompt_logprobs", *, latency: float = 0.0, ledger: Path | None = None) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1 for the length of a `with` block. `latency` is seconds before an answer."""
    with tempfile.TemporaryDirectory(prefix="scoring-server-") as directory:
        ledger = ledger or Path(directory) / "ledger.jsonl"
        options = ["--ways", ways, "--latency", str(latency), "--ledger", str(ledger)]
        command = [sys.executable, "-m", "tests.scoring_server", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, "the scoring server did not start: see its message above"
            yield Server(f"http://127.0.0.1:{json.loads(ready)['port']}/v1", ledger, process)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def listen(settings: Settings, latency: float, ledger: Path) -> None:
    """Print the port and answer until the process ends. A line of the ledger is written before its answer."""
    from aiohttp import web

    lines = ledger.open("ab", buffering=0)
    arrived = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal arrived
        body = await request.read()
        if request.path.endswith("/completions"):
            status, said = answer(request.path, json.loads(body), settings)
        else:
            status, said = 404, {"detail": "Not Found"}
        row = ROW.search(body)
        line = {
            "n": arrived,
            "path": request.path,
            "digest": hashlib.sha256(body).hexdigest(),
            "row": row.group().decode() if row else "",
            "status": status,
            "body": json.loads(body) if body else None,
        }
        arrived += 1
        lines.write(json.dumps(line).encode() + b"\n")
        await asyncio.sleep(latency)
        return web.json_response(said, status=status)

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scoring_server")
    parser.add_argument("--ways", choices=("prompt_logprobs", "echo", "none"), default="prompt_logprobs")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--context", type=int, default=4096, help="tokens")
    parser.add_argument("--ledger", type=Path, default=Path(os.devnull), help="JSONL file, appended to")
    options = parser.parse_args()
    asyncio.run(listen(Settings(options.ways, options.context), options.latency, options.ledger))


if __name__ == "__main__":
    main()

"""How fast `distill-data` asks where a server has limits that nobody told it, measured on the server's side.

    python benchmarks/adaptive.py               all but tokens, in about a minute
    python benchmarks/adaptive.py rate slots    some of: rate tokens slots queue random outage
    python benchmarks/adaptive.py rate --rows 18000     for longer: here for three minutes

Each runs the real command line against a server on this machine with a hard limit: 6,000 requests a minute, 300,000
tokens a minute, 16 slots that refuse what is more, 16 slots that let it wait (without `--concurrency`, which would be
kept whatever the latency), none, but one request in twenty refused at random, or an outage of five seconds.
The figures are the server's own: answers, refusals, how many it held at once, how long it took. Floors: at least 95 %
of the limit with less than 2 % refused, near the slots, and no stall after the outage, whose 503 count as refused.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson
from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.engine import ENV  # noqa: E402

LATENCY = 0.2
RATE, TOKENS, SLOTS = 100.0, 5_000.0, 16
OUTAGE = (4.0, 9.0)
TOKENS_EACH = 50
RANDOM = 0.05
Answer = Callable[[], web.Response]


class Event(NamedTuple):
    """One request: when it came, when it was answered, and whether with an answer."""

    came: float
    ended: float
    answered: bool


class Limited:
    """A server with one limit; keeps what happened."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.events: list[Event] = []
        self.busy = 0
        self.level, self.stamp = {"rate": RATE, "tokens": TOKENS}.get(kind, 0.0), 0.0
        self.turn = asyncio.Semaphore(SLOTS)
        self.began = 0.0
        self.chance = random.Random(1)

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        now = asyncio.get_running_loop().time()
        self.began = self.began or now
        self.busy += 1
        try:
            refusal = self.refuses(now)
            if refusal is None:
                await self.work()
        finally:
            self.busy -= 1
        ended = asyncio.get_running_loop().time()
        self.events.append(Event(now - self.began, ended - self.began, refusal is None))
        return refusal or web.json_response(ANSWER)

    def refuses(self, now: float) -> web.Response | None:
        if self.kind == "outage" and OUTAGE[0] <= now - self.began < OUTAGE[1]:
            return web.Response(status=503, text="down")
        if self.kind == "random" and self.chance.random() < RANDOM:
            return limited()
        if self.kind == "slots" and self.busy > SLOTS:
            return limited()
        full, amount = {"rate": (RATE, 1), "tokens": (TOKENS, TOKENS_EACH)}.get(self.kind, (0.0, 0))
        self.level, self.stamp = min(full, self.level + (now - (self.stamp or now)) * full), now
        if self.level < amount:
            return limited()
        self.level -= amount
        return None

    async def work(self) -> None:
        if self.kind == "queue":
            async with self.turn:
                await asyncio.sleep(LATENCY)
        else:
            await asyncio.sleep(LATENCY)


def limited() -> web.Response:
    return web.json_response(
        {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}},
        status=429,
        headers={"retry-after": "1"},
    )


ANSWER = orjson.loads(
    b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"an answer"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":40,"completion_tokens":10}}'
)


async def measure(kind: str, rows: int, concurrency: int | None) -> Limited:
    """Run the command to its end against such a server."""
    server = Limited(kind)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    with tempfile.TemporaryDirectory(prefix="adaptive-") as folder:
        seeds, out = Path(folder) / "seeds.jsonl", Path(folder) / "out.jsonl"
        seeds.write_text("".join(f'{{"instruction": "row-{n}: tell me a thing"}}\n' for n in range(rows)))
        job = ["label", seeds, "-r", "answer", "-t", "openai/m", "--base-url", url, "-o", out]
        limit = [] if concurrency is None else ["--concurrency", concurrency]
        process = await asyncio.create_subprocess_exec(
            *map(str, (sys.executable, "-m", "distill_data", *job, *limit)),
            env=ENV,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        if process.returncode:
            raise SystemExit(f"{kind}: the command ended with {process.returncode}:\n{said.decode()}")
    await runner.cleanup()
    answered = sum(event.answered for event in server.events)
    if answered != rows:
        raise SystemExit(f"{kind}: {rows} rows, but {answered} answers")
    return server


def show(kind: str, server: Limited) -> None:
    events = server.events
    answers = [event for event in events if event.answered]
    end = max(event.ended for event in answers)
    refused = len(events) - len(answers)
    start = 20.0 if kind == "queue" else 3.0  # after the search, and after what was tried
    late = [event for event in answers if event.came >= start]
    rate = len(late) / (end - start)
    after = sum(not event.answered and event.came >= start for event in events)
    text = f"{kind:7} {len(answers):6,} answers in {end:5.1f} s, refused {refused / len(events):6.2%}"
    text += f" ({after / (after + len(late)):6.2%} after {start:.0f} s)"
    if kind in ("rate", "tokens"):
        most = RATE if kind == "rate" else TOKENS / TOKENS_EACH
        text += f", {rate / most:6.1%} of the limit"
    if kind in ("slots", "queue"):
        held = sum(event.ended - event.came for event in late) / (end - start)
        took = statistics.mean(event.ended - event.came for event in late)
        text += f", {held:4.1f} at once for {SLOTS} slots, latency x {took / LATENCY:.2f}, "
        text += f"{rate / (SLOTS / LATENCY):6.1%} of what the slots can do"
    if kind == "random":
        text += f", {rate / ((1 - RANDOM) * 64 / LATENCY):6.1%} of what 64 at once can do"
    if kind == "outage":
        before = [event for event in answers if 2.0 <= event.ended < OUTAGE[0]]
        first = min(event.ended for event in answers if event.came >= OUTAGE[1]) - OUTAGE[1]
        after = [event for event in answers if OUTAGE[1] + 1.5 <= event.ended < OUTAGE[1] + 4.5]
        share = len(after) / 3.0 / (len(before) / (OUTAGE[0] - 2.0))
        text += f", first answer {first:.2f} s after it, then {share:6.1%} of the rate before"
    print(text, flush=True)


JOBS = {
    "rate": (3000, 64),
    "tokens": (1200, 64),
    "slots": (900, 64),
    "queue": (2400, None),
    "random": (6000, 64),
    "outage": (1400, 32),
}
"""Rows and --concurrency, None for the default."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of: {' '.join(JOBS)}")
    parser.add_argument("--rows", type=int, help="else as many as take less than half a minute")
    options = parser.parse_args()
    for kind in options.kinds or [kind for kind in JOBS if kind != "tokens"]:
        rows, concurrency = JOBS[kind]
        show(kind, asyncio.run(measure(kind, options.rows or rows, concurrency)))


if __name__ == "__main__":
    main()

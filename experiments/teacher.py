"""A scripted teacher on a loopback port for the length of one command, so that an experiment costs nothing.

    python -m experiments.teacher experiments.E3.teacher -- distill-data label … --base-url {url}

The module that is named has `reply(model, text, sample) -> str`: the model's name, the text of the messages, and the
number of the sample, which is how often this very request came before (`GREEDY` at temperature 0). It is real HTTP
through our own client; what it knows and how it errs is in the script alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import orjson

from tests.faultserver.faults import FAULTS, Exchange, Fault, completion, response
from tests.faultserver.server import Plan, Service

Reply = Callable[[str, str, int], str]
GREEDY = -1
"""The number of the sample at temperature 0."""


def as_fault(reply: Reply) -> Fault:
    """The script as an entry of the loopback server's table, paid as any right answer."""
    arrived: Counter[bytes] = Counter()

    def write(exchange: Exchange) -> None:
        payload = exchange.payload
        sample = GREEDY if payload.get("temperature") == 0 else arrived[exchange.body]
        arrived[exchange.body] += 1
        text = "\n".join(str(message["content"]) for message in payload["messages"])
        message = {"role": "assistant", "content": reply(str(payload["model"]), text, sample)}
        exchange.write(response(200, orjson.dumps(completion(exchange, message=message))))

    return Fault(200, True, write)


def serve(reply: Reply, told: Callable[[str], None]) -> None:
    """Serve until the process ends; `told` gets the base URL."""

    async def listen() -> None:
        service = Service(0.0, Plan(rates={"script": 1.0}), Path(os.devnull))
        server = await asyncio.get_running_loop().create_server(service.connection, "127.0.0.1", 0, backlog=4096)
        told(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await server.serve_forever()

    FAULTS["script"] = as_fault(reply)
    asyncio.run(listen())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.teacher", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("script", help="a module with `reply`")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and what to run; {url} stands for the base URL")
    options = parser.parse_args()
    urls: list[str] = []
    ready = threading.Event()

    def told(url: str) -> None:
        urls.append(url)
        ready.set()

    threading.Thread(target=serve, args=(import_module(options.script).reply, told), daemon=True).start()
    if not ready.wait(30):
        raise SystemExit("the scripted teacher did not start: see its message above")
    command = [part.replace("{url}", urls[0]) for part in options.command if part != "--"]
    sys.exit(subprocess.run(command, env={**os.environ, "OPENAI_API_KEY": "scripted"}).returncode)


if __name__ == "__main__":
    main()

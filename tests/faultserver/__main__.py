"""`python -m tests.faultserver`: parse options, print the port as JSON on stdout, serve until killed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

import uvloop

from tests.faultserver.server import Plan, Service


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faultserver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--plan", type=Path, help="JSON file that says which faults happen; none without it")
    parser.add_argument("--ledger", type=Path, help="JSONL file, appended to; no ledger without it")
    options = parser.parse_args()
    plan = Plan(**json.loads(options.plan.read_bytes())) if options.plan else Plan()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, Service(options.latency, plan, options.ledger or Path(os.devnull))))


async def serve(port: int, service: Service) -> None:
    """Listen until the process ends."""
    listener = await asyncio.get_running_loop().create_server(service.connection, "127.0.0.1", port, backlog=4096)
    print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
    await listener.serve_forever()


main()

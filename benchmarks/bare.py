"""The least that anybody would write: read JSONL, post each row with aiohttp, parse, write JSONL.

    python benchmarks/bare.py SEEDS URL OUT CONCURRENCY

No keys, no retries, no journal, no resume, no record format. `engine.py` measures distill-data against it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import aiohttp


async def main(seeds: str, url: str, out: str, concurrency: int) -> None:
    with open(seeds, encoding="utf-8") as source, open(out, "w", encoding="utf-8") as target:
        rows = map(json.loads, source)
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(work(session, f"{url}/chat/completions", rows, target) for _ in range(concurrency)))


async def work(session: aiohttp.ClientSession, url: str, rows: Iterator[dict[str, Any]], target: TextIO) -> None:
    for row in rows:
        messages = [{"role": "user", "content": row["instruction"]}]
        async with session.post(url, json={"model": "test-model", "messages": messages}) as response:
            answer = json.loads(await response.read())["choices"][0]["message"]
        target.write(json.dumps({"prompt": messages, "completion": [answer]}) + "\n")


if __name__ == "__main__":
    _, seeds, url, out, concurrency = sys.argv
    asyncio.run(main(seeds, url, out, int(concurrency)))

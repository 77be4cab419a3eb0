"""What distill-data costs beside the least that anybody would write, measured in one run on one machine.

    python benchmarks/overhead.py              CPU, wall and memory a request: `bare.py` and `distill-data label`
    python benchmarks/overhead.py --one        a job of one row: what starting costs
    python benchmarks/overhead.py --memory     peak memory at 10,000 and at 100,000 rows
    python benchmarks/overhead.py --help-cost  CPU seconds of `distill-data --help`

Both sides are whole processes against the same loopback server without latency, and take turns. CPU is user and system
time of the process and of all that it started, as the kernel counts it: starting Python and publishing are in.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faultserver import Server, serve  # noqa: E402

ENV = {name: value for name, value in os.environ.items() if name not in {"PYTHONDONTWRITEBYTECODE", "OPENAI_API_KEY"}}
ENV["PYTHONPATH"] = str(ROOT)
CONCURRENCY = 64
Command = Callable[[Path, Server, Path], list[str]]


class Cost(NamedTuple):
    """What one process took."""

    cpu: float
    """Seconds, user and system."""
    wall: float
    """Seconds."""
    peak: float
    """Resident memory in MB, at most at any time."""


def bare(seeds: Path, server: Server, out: Path) -> list[str]:
    return [str(ROOT / "benchmarks" / "bare.py"), str(seeds), server.url, str(out), str(CONCURRENCY)]


def ours(seeds: Path, server: Server, out: Path) -> list[str]:
    job = ["-m", "distill_data", "label", str(seeds), "-r", "answer", "-t", "openai/test-model"]
    return [*job, "--base-url", server.url, "-o", str(out), "--concurrency", str(CONCURRENCY)]


def cost(args: list[str], log: Path) -> Cost:
    """Run Python with these arguments. Stops the benchmark where it fails, with what it said."""
    with log.open("wb") as stream:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *args], env=ENV, stdout=stream, stderr=stream)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(args)} ended with {process.returncode}:\n{log.read_text()}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / scale)


def job(command: Command, rows: int, server: Server) -> Cost:
    """The cost of one job of so many rows in a fresh directory, after a check that it asked and wrote each row once."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as directory:
        seeds, out = Path(directory) / "seeds.jsonl", Path(directory) / "out.jsonl"
        with seeds.open("w") as stream:
            stream.writelines(f'{{"instruction": "row-{n:06d}: tell me a thing about it"}}\n' for n in range(rows))
        asked = server.asked()
        spent = cost(command(seeds, server, out), Path(directory) / "log")
        written = out.read_bytes().count(b"\n")
        if (server.asked() - asked, written) != (rows, rows):
            raise SystemExit(f"{rows} rows, but {server.asked() - asked} requests and {written} records")
        return spent


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def alternate(rows: int, repeats: int, server: Server) -> list[tuple[Cost, Cost]]:
    """The bare script and ours in turns, so that a slow minute hits both. The first pair warms up and is left out."""
    return [(job(bare, rows, server), job(ours, rows, server)) for _ in range(repeats + 1)][1:]


def show_overhead(rows: int, repeats: int, server: Server) -> None:
    pairs = alternate(rows, repeats, server)
    print(f"\n{rows:,} rows, concurrency {CONCURRENCY}, medians of {repeats}; the ratio is that of each pair\n")
    print("|              | CPU ms a request | wall s | peak MB |")
    print("|--------------|-----------------:|-------:|--------:|")
    for name, costs in zip(("bare script", "distill-data"), zip(*pairs, strict=True), strict=True):
        spent = median(costs)
        print(f"| {name:12} | {spent.cpu / rows * 1000:16.3f} | {spent.wall:6.2f} | {spent.peak:7.1f} |")
    ratios = [Cost(our.cpu / theirs.cpu, our.wall / theirs.wall, our.peak / theirs.peak) for theirs, our in pairs]
    ratio, spread = median(ratios), [each.cpu for each in ratios]
    print(f"| ratio        | {ratio.cpu:16.2f} | {ratio.wall:6.2f} | {ratio.peak:7.2f} |")
    print(f"\nratio of CPU from {min(spread):.2f} to {max(spread):.2f}")


def show_one(rows: int, repeats: int, server: Server) -> None:
    theirs, our = (median(costs) for costs in zip(*alternate(1, repeats, server), strict=True))
    print(f"\none row, medians of {repeats}: bare {theirs.wall:.3f} s, distill-data {our.wall:.3f} s wall, ", end="")
    print(f"difference {our.wall - theirs.wall:.3f} s; CPU {theirs.cpu:.3f} s and {our.cpu:.3f} s")


def show_memory(rows: int, repeats: int, server: Server) -> None:
    small, large = job(ours, rows, server), job(ours, 10 * rows, server)
    print(f"\npeak memory: {small.peak:.1f} MB at {rows:,} rows, {large.peak:.1f} MB at {10 * rows:,}, ", end="")
    print(f"growth {large.peak - small.peak:.1f} MB; wall {small.wall:.1f} s and {large.wall:.1f} s")


def show_help(rows: int, repeats: int, server: Server) -> None:
    with tempfile.TemporaryDirectory(prefix="overhead-") as directory:
        log = Path(directory) / "log"
        costs = {args: median([cost(list(args), log) for _ in range(repeats + 1)][1:]) for args in HELP}
    for args, spent in costs.items():
        print(f"python {' '.join(args)}: {spent.cpu:.3f} CPU-s, {spent.wall:.3f} s wall")


HELP = (("-c", "pass"), ("-m", "distill_data", "--help"), ("-m", "distill_data", "label", "--help"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    for flag, show in (("--one", show_one), ("--memory", show_memory), ("--help-cost", show_help)):
        what.add_argument(flag, dest="show", action="store_const", const=show)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    compileall.compile_dir(ROOT / "distill_data", quiet=1)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}")
    with serve() as server:
        (options.show or show_overhead)(options.rows, options.repeats, server)


if __name__ == "__main__":
    main()

"""What the engine costs, each figure beside its floor, measured in one run on one machine.

    python benchmarks/engine.py                        all parts, about a quarter of an hour
    python benchmarks/engine.py --part cpu             CPU, wall and memory a request: `bare.py`, `distill-data label`
    python benchmarks/engine.py --part start           a job of one row, and `distill-data --help`
    python benchmarks/engine.py --part latency         wall against rows / concurrency * latency
    python benchmarks/engine.py --part million         a million rows: wall, CPU and peak memory
    python benchmarks/engine.py --part replay          the same command again, all answers on disk, publishing anew; by
                                                       one process and by as many as there are processors
    python benchmarks/engine.py --part reopen          reading that run's journal

`--rows` changes the size of `cpu` and of the last three, `--repeats` how often `cpu` and `start` measure. All are whole
processes against the loopback server of lean.py. Where two are compared they take turns and medians are shown, so that
a slow minute hits both. CPU is user and system time of the process and of all that it started, as the kernel counts
it: starting Python and publishing are in. A job that did not ask and write each row exactly once stops the benchmark.
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

from benchmarks.lean import Teacher, teacher  # noqa: E402

ENV = {name: value for name, value in os.environ.items() if name not in {"PYTHONDONTWRITEBYTECODE", "OPENAI_API_KEY"}}
ENV["PYTHONPATH"] = str(ROOT)
WIDTH, TIMES = 64, 3
LATENCIES = ((64, 0.05, 10_000, "-"), (64, 0.05, 100_000, "95%"), (1_000, 1.0, 100_000, "90%"))
"""Concurrency, seconds of latency, rows, and the part of the ideal that is wanted: of a rate, so not of a short run, of
which starting Python and growing to 64 at once are a part."""
HELP = ("-m", "distill_data", "--help")
FLOORS = {
    "replay": """
import orjson, sys
with open(sys.argv[1], "rb") as seeds, open(sys.argv[2], "rb") as answers, open(sys.argv[3], "wb") as out:
    for seed, line in zip(seeds, answers):
        message = orjson.loads(line)["a"]["choices"][0]["message"]
        prompt = {"role": "user", "content": orjson.loads(seed)["instruction"]}
        out.write(orjson.dumps({"prompt": [prompt], "completion": [message]}) + b"\\n")
""",
    "reopen": """
import sys, zlib
with open(sys.argv[2], "rb") as answers:
    print(len({line[6:21]: zlib.crc32(line) for line in answers}))
""",
    "scan": """
import sys, pathlib
from distill_data.engine.journal import Journal
print(len(Journal(pathlib.Path(sys.argv[2]).parent)))
""",
}
"""The least that reads seeds and answers and writes records; the least that reads and sums a journal; and ours."""
SAID = {"replay": "parse and write", "reopen": "read and sum", "scan": "distill-data"}
RATE = ("rows/s", "CPU s", "wall s", "peak MB")
Command = Callable[[Path, Teacher, Path, int], list[str]]


class Cost(NamedTuple):
    """What one process took."""

    cpu: float
    """Seconds, user and system."""
    wall: float
    """Seconds."""
    peak: float
    """Resident memory in MB, at most at any time."""


def bare(seeds: Path, server: Teacher, out: Path, width: int) -> list[str]:
    return [str(ROOT / "benchmarks" / "bare.py"), str(seeds), server.url, str(out), str(width)]


def ours(seeds: Path, server: Teacher, out: Path, width: int) -> list[str]:
    job = ["-m", "distill_data", "label", str(seeds), "-r", "answer", "-t", "openai/test-model"]
    return [*job, "--base-url", server.url, "-o", str(out), "--concurrency", str(width)]


SIDES: dict[str, Command] = {"bare script": bare, "distill-data": ours}


def cost(args: Sequence[str], log: Path) -> Cost:
    """Run Python with these arguments. Stops the benchmark where it fails, with what it said."""
    with log.open("wb") as stream:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *args], env=ENV, stdout=stream, stderr=stream)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(args[:4])} … ended with {process.returncode}:\n{log.read_text()}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / scale)


def write_seeds(path: Path, rows: int) -> Path:
    with path.open("w") as stream:
        stream.writelines(f'{{"instruction": "row-{n:07d}: tell me a thing about it"}}\n' for n in range(rows))
    return path


def job(command: Command, rows: int, server: Teacher, width: int, folder: Path) -> Cost:
    """The cost of one job of so many rows, after a check that it asked and wrote each row once."""
    seeds, out = write_seeds(folder / "seeds.jsonl", rows), folder / "out.jsonl"
    before = server.asked().requests
    spent = cost(command(seeds, server, out, width), folder / "log")
    asked, written = server.asked(), count_lines(out)
    if (asked.requests - before, asked.rows >= rows, written) != (rows, True, rows):
        raise SystemExit(f"{rows} rows, but {asked.requests - before} requests and {written} records")
    return spent


def count_lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(piece.count(b"\n") for piece in iter(lambda: stream.read(1 << 20), b""))


def fresh(command: Command, rows: int, server: Teacher, width: int = WIDTH) -> Cost:
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        return job(command, rows, server, width, Path(folder))


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def in_turns(rows: int, repeats: int) -> dict[str, list[Cost]]:
    """Both sides in turns. The first pair warms up and is left out."""
    with teacher() as server:
        pairs = [[fresh(side, rows, server) for side in SIDES.values()] for _ in range(repeats + 1)][1:]
    return dict(zip(SIDES, map(list, zip(*pairs, strict=True)), strict=True))


def table(title: str, *columns: str) -> None:
    print(f"\n{title}\n\n| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}", flush=True)


def line(name: str, *cells: str) -> None:
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def show_cpu(rows: int, repeats: int) -> None:
    found = in_turns(rows, repeats)
    table(
        f"`--part cpu`: {rows:,} rows, {WIDTH} at once, medians of {repeats}", "CPU ms a request", "wall s", "peak MB"
    )
    for name, costs in found.items():
        spent = median(costs)
        line(name, f"{spent.cpu / rows * 1000:.3f}", f"{spent.wall:.2f}", f"{spent.peak:.1f}")
    ratios = [
        Cost(*(a / b for a, b in zip(our, least, strict=True))) for least, our in zip(*found.values(), strict=True)
    ]
    ratio, spread = median(ratios), [each.cpu for each in ratios]
    line(
        "ratio of a pair",
        f"{ratio.cpu:.2f} ({min(spread):.2f} to {max(spread):.2f})",
        f"{ratio.wall:.2f}",
        f"{ratio.peak:.2f}",
    )


def show_start(rows: int, repeats: int) -> None:
    found = {name: median(costs) for name, costs in in_turns(1, repeats).items()}
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        log = Path(folder) / "log"
        for name, args in (("python -c pass", ("-c", "pass")), ("distill-data --help", HELP)):
            found[name] = median([cost(args, log) for _ in range(repeats + 1)][1:])
    table(f"`--part start`: one row, medians of {repeats}", "CPU s", "wall s")
    for name, spent in found.items():
        line(name, f"{spent.cpu:.3f}", f"{spent.wall:.3f}")


def show_latency(rows: int, repeats: int) -> None:
    table("`--part latency`: wall s, and the part of the ideal", "ideal", *SIDES, "wanted")
    for width, latency, count, wanted in LATENCIES:
        ideal, cells = count / width * latency, []
        with teacher(latency) as server:
            for side in SIDES.values():
                wall = fresh(side, count, server, width).wall
                cells.append(f"{wall:.2f} ({ideal / wall:.1%})")
        name = f"{count:,} rows, {width:,} at once, {latency * 1000:.0f} ms"
        line(name, f"{ideal:.2f}", *cells, wanted)


def show_long(rows: int, parts: Sequence[str]) -> None:
    """A long run, and what is measured on its journal."""
    with teacher() as server, tempfile.TemporaryDirectory(prefix="engine-") as name:
        folder = Path(name)
        if "million" in parts:
            floor = [("bare script", rows, fresh(bare, rows, server))]
            floor.append((f"distill-data, {rows // 10:,} rows", rows // 10, fresh(ours, rows // 10, server)))
        spent = job(ours, rows, server, WIDTH, folder)
        if "million" in parts:
            show_million(rows, [*floor, ("distill-data", rows, spent)])
        if "replay" in parts:
            show_replay(rows, folder, server)
        if "reopen" in parts:
            table(f"`--part reopen`: a journal of {rows:,} answers (wanted: 15 s a million)", *RATE)
            for side in ("reopen", "scan"):
                show_rate(SAID[side], rows, ["-c", FLOORS[side], "", answers(folder)], folder)


def show_million(rows: int, runs: Sequence[tuple[str, int, Cost]]) -> None:
    table(f"`--part million`: {rows:,} rows, {WIDTH} at once", "CPU ms a request", "CPU s", "wall s", "peak MB")
    for name, count, spent in runs:
        cells = (spent.cpu / count * 1000, spent.cpu, spent.wall, spent.peak)
        line(name, f"{cells[0]:.3f}", *(f"{cell:.1f}" for cell in cells[1:]))


def show_replay(rows: int, folder: Path, server: Teacher) -> None:
    """Publish the answers again, from the journal alone."""
    runs = f"medians of {TIMES}, one run of shards"
    table(f"`--part replay`: {rows:,} finished rows published again, {runs} (wanted: 25,000 rows/s)", *RATE)
    seeds, out, before = folder / "seeds.jsonl", folder / "out.jsonl", server.asked()
    floor = ["-c", FLOORS["replay"], str(seeds), answers(folder), f"{folder}/floor"]
    show_rate(SAID["replay"], rows, floor, folder, TIMES)
    published = [folder / f"out{end}" for end in (".jsonl", ".rejects.jsonl", ".manifest.json")]
    show_rate("distill-data", rows, ours(seeds, server, out, WIDTH), folder, TIMES, published)
    if (count_lines(out), server.asked()) != (rows, before):
        raise SystemExit("the replay asked again, or did not write every row")
    if (processes := os.cpu_count() or 1) > 1:
        show_sharded_replay(rows, folder, server, processes)


def show_sharded_replay(rows: int, folder: Path, server: Teacher, processes: int) -> None:
    """The same with a process for each processor, of answers that these have asked for."""
    out = folder / "cut.jsonl"
    command = [*ours(folder / "seeds.jsonl", server, out, WIDTH), "--shards", str(processes)]
    cost(command, folder / "log")
    before = server.asked()
    for path in (*folder.glob("cut*"), *(folder / "cut.shards").iterdir()):
        if path.is_file():
            path.unlink()
    show_rate(f"distill-data --shards {processes}", rows, command, folder)
    if (count_lines(out), server.asked()) != (rows, before):
        raise SystemExit("the sharded replay asked again, or did not write every row")


def show_rate(
    name: str, rows: int, args: Sequence[str], folder: Path, times: int = 1, first_remove: Sequence[Path] = ()
) -> None:
    """The median of so many runs, each without these files."""
    costs = []
    for _ in range(times):
        for path in first_remove:
            path.unlink()
        costs.append(cost(args, folder / "log"))
    spent = median(costs)
    line(name, f"{rows / spent.wall:,.0f}", f"{spent.cpu:.1f}", f"{spent.wall:.1f}", f"{spent.peak:.1f}")


def answers(folder: Path) -> str:
    return str(folder / "out.run" / "journal" / "000001.jsonl")


PARTS = ("cpu", "start", "latency", "million", "replay", "reopen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    parts = options.part or PARTS
    compileall.compile_dir(ROOT / "distill_data", quiet=1)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}")
    for part, show in (("cpu", show_cpu), ("start", show_start), ("latency", show_latency)):
        if part in parts:
            show(options.rows or 10_000, options.repeats)
    if {"million", "replay", "reopen"} & set(parts):
        show_long(options.rows or 1_000_000, parts)


if __name__ == "__main__":
    main()

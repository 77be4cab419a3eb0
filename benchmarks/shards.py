"""What shards cost and give: several processes beside one, reading seeds once for each, and uniting what they wrote.

    python benchmarks/shards.py             wall and CPU of 1, 2, … processes; bytes a row on disk
    python benchmarks/shards.py --alone     the same with the teacher `echo`; then all rows published again
    python benchmarks/shards.py --publish   rows a second and peak memory of `publish`, by rows and number of shards
    python benchmarks/shards.py --seeds     seconds and memory of each shard before it asks: it reads all rows

Where all processes ask one loopback server, itself a Python process that takes a core, it is what ends the scaling on a
machine of few cores; `--alone` has none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.engine import Cost, cost  # noqa: E402
from distill_data.commands.shards import path_of, shard_facts  # noqa: E402
from distill_data.data.shard import Shard  # noqa: E402
from distill_data.engine.publish import Count, files_of, publish  # noqa: E402
from tests.faultserver import Server, serve  # noqa: E402

CONCURRENCY, LATENCY = 256, 0.05
RECORD = b'{"id":"%016x","kind":"sft","prompt":"%s","completion":"%s","meta":{"recipe":"answer"}}\n'


def write_seeds(path: Path, rows: int) -> Path:
    with path.open("w") as stream:
        stream.writelines(f'{{"instruction": "row-{n:09d}: tell me a thing about it"}}\n' for n in range(rows))
    return path


def label(seeds: Path, url: str, out: Path, *options: str) -> list[str]:
    job = ["-m", "distill_data", "label", str(seeds), "-r", "answer", "-t", "openai/test-model", "-o", str(out), "-q"]
    return [*job, "--base-url", url, "--concurrency", str(CONCURRENCY), *options]


def cpu_of(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows_of(path: Path) -> int:
    """Line by line: a process that starts others hands its own peak on to them."""
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def show_scaling(rows: int) -> None:
    ideal = rows * LATENCY / CONCURRENCY
    print(
        f"{rows:,} rows, {CONCURRENCY} requests in flight, {LATENCY * 1000:.0f} ms each: {ideal:.1f} s at the least\n"
    )
    print("| processes | wall s | rows/s | CPU s to start | then CPU ms a row | peak MB, one | server's CPU s |")
    print("|-----------|-------:|-------:|---------------:|------------------:|-------------:|---------------:|")
    with tempfile.TemporaryDirectory(prefix="shards-") as directory, serve(latency=LATENCY) as server:
        seeds = write_seeds(Path(directory) / "seeds.jsonl", rows)
        few = write_seeds(Path(directory) / "few.jsonl", 8)
        for of in (1, 2, 4)[: 3 if (os.cpu_count() or 1) > 2 else 2]:
            cut, log = ["--shards", str(of)] * (of > 1), Path(directory) / "log"
            started = cost(label(few, server.url, Path(directory) / f"{of}-few.jsonl", *cut), log)
            out, before = Path(directory) / f"{of}.jsonl", cpu_of(server)
            spent = cost(label(seeds, server.url, out, *cut), log)
            if rows_of(out) != rows:
                raise SystemExit(f"{of} processes did not write every row")
            served = cpu_of(server) - before
            each = (spent.cpu - started.cpu) / rows * 1000
            row = f"| {of:<9} | {spent.wall:6.2f} | {rows / spent.wall:6,.0f} | {started.cpu:14.2f} | {each:17.3f} "
            print(f"{row}| {spent.peak:12.1f} | {served:14.1f} |")
        folder = Path(directory) / "2.shards"
        parts = {
            "seeds": seeds.stat().st_size,
            "journal": size(folder, "*.run/journal/*.jsonl"),
            "sent lines": size(folder, "*.run/journal/*.sent"),
            "dataset, in shards": size(folder, "?-of-?.jsonl"),
            "order": size(folder, "*.order.txt"),
            "dataset, united": out.stat().st_size,
        }
        print("\nbytes a row: " + ", ".join(f"{name} {total / rows:.0f}" for name, total in parts.items()))


def show_alone(rows: int) -> None:
    """Asking `echo` and writing the journal; then publishing anew from the journal alone."""
    print("| processes | asked: wall s | rows/s | CPU s | published again: wall s | rows/s | CPU s |")
    print("|-----------|--------------:|-------:|------:|------------------------:|-------:|------:|")
    with tempfile.TemporaryDirectory(prefix="shards-") as directory:
        folder = Path(directory)
        seeds, log = write_seeds(folder / "seeds.jsonl", rows), folder / "log"
        for of in range(1, (os.cpu_count() or 1) + 1):
            out = folder / f"{of}.jsonl"
            job = ["-m", "distill_data", "label", str(seeds), "-r", "answer", "-t", "echo", "-o", str(out), "-q"]
            job += ["--shards", str(of)] * (of > 1)
            cells = []
            for _ in range(2):
                spent = cost(job, log)
                if rows_of(out) != rows:
                    raise SystemExit(f"{of} processes did not write every row")
                cells.append(f"{spent.wall:.2f} | {rows / spent.wall:,.0f} | {spent.cpu:.2f}")
                unpublish(folder, of)
            print(f"| {of:<9} | {' | '.join(cells)} |", flush=True)


def unpublish(folder: Path, of: int) -> None:
    """Remove what was published, of the whole and of its shards; journals stay."""
    for where, stem in ((folder, str(of)), (folder / f"{of}.shards", f"*-of-{of}")):
        for ending in (".jsonl", ".rejects.jsonl", ".manifest.json", ".order.txt"):
            for path in where.glob(f"{stem}{ending}"):
                path.unlink()


def make_shards(output: Path, rows: int, of: int) -> None:
    """Shards as runs would have published them, of records as long as a short answer."""
    text = b"x" * 240
    for number in range(1, of + 1):
        shard = Shard(number, of)
        places = range(number - 1, rows, of)
        count = Count(len(places))
        count.statuses["kept"] = count.records = len(places)
        blobs = (b"kept\n" + RECORD % (place, text, text) for place in places)
        facts = {"plan": "p", "command": "label", "seeds": {"rows": rows}, "shard": shard_facts(output, shard, {})}
        output.parent.joinpath(f"{output.stem}.shards").mkdir(exist_ok=True)
        publish(blobs, files_of(path_of(output, shard), order=True), count, facts, {"seconds": 1.0}, places)


def show_publish(rows: int) -> None:
    print("| rows      | shards | seconds | rows/s  | MB/s | CPU s | peak MB |")
    print("|-----------|-------:|--------:|--------:|-----:|------:|--------:|")
    for some, of in ((rows // 10, 4), (rows, 4), (rows, 64), (rows, 1000)):
        with tempfile.TemporaryDirectory(prefix="shards-") as directory:
            out = Path(directory) / "out.jsonl"
            elsewhere = multiprocessing.Process(target=make_shards, args=(out, some, of))
            elsewhere.start()
            elsewhere.join()
            spent: Cost = cost(["-m", "distill_data", "publish", str(out), "-q"], Path(directory) / "log")
            written = out.stat().st_size
            if rows_of(out) != some:
                raise SystemExit("not every row was written")
        speed, megabytes = some / spent.wall, written / spent.wall / 1e6
        row = f"| {some:9,} | {of:6} | {spent.wall:7.2f} | {speed:7,.0f} | {megabytes:4.0f} "
        print(f"{row}| {spent.cpu:5.2f} | {spent.peak:7.1f} |")


def show_seeds(rows: int) -> None:
    """A dry run reads and checks all rows and asks nobody; a shard of a thousand has next to nothing to do after it."""
    print("| rows      | shard    | seconds | us a row | peak MB |")
    print("|-----------|----------|--------:|---------:|--------:|")
    with tempfile.TemporaryDirectory(prefix="shards-") as directory:
        for some in (rows // 10, rows):
            seeds = write_seeds(Path(directory) / f"{some}.jsonl", some)
            for shard in ("1/1000", "1/2"):
                job = ["-m", "distill_data", "label", str(seeds), "-r", "answer", "-t", "echo", "--dry-run", "-q"]
                spent = cost([*job, "-o", f"{directory}/o.jsonl", "--shard", shard], Path(directory) / "log")
                each = spent.cpu / some * 1e6
                print(f"| {some:9,} | {shard:8} | {spent.wall:7.2f} | {each:8.1f} | {spent.peak:7.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    for flag, show in (("--alone", show_alone), ("--publish", show_publish), ("--seeds", show_seeds)):
        what.add_argument(flag, dest="show", action="store_const", const=show)
    parser.add_argument(
        "--rows", type=int, default=0, help="else 10,000; with --alone 200,000, with --publish and --seeds 1,000,000"
    )
    options = parser.parse_args()
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(ROOT / "distill_data")], check=True)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}\n")
    show = options.show or show_scaling
    show(options.rows or {show_scaling: 10_000, show_alone: 200_000}.get(show, 1_000_000))


if __name__ == "__main__":
    main()

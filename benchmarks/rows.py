"""What commands on datasets cost, each beside a bare loop that does the same work and nothing around it.

    python benchmarks/rows.py dedup                     1,000,000 short texts, as the defaults compare them
    python benchmarks/rows.py dedup --ngram 3 --threshold 0.8
    python benchmarks/rows.py dedup --rows 200000 --runs 3
    python benchmarks/rows.py filter                    and export, split: beside rows read and written by orjson

Every measurement is a process of its own. Printed are wall seconds, rows a second and the most memory that was
resident. The texts come from a seeded generator and lie in a file; making them is not timed.

To add a command: write a function that does it, one that does the bare work, and a line in `PAIRS`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.rouge import spelled  # noqa: E402
from distill_data.quality.language import FUNCTION_WORDS  # noqa: E402

VOCABULARY = 50_000
COPIES = 0.2
PERMUTATIONS = 128

Work = Callable[[Path, Path, argparse.Namespace], int]
"""(the dataset, a folder to write into, the options) to the number of rows that are kept."""


def texts(rows: int, seed: int = 1) -> Iterator[str]:
    """Texts of 12 to 20 words: the frequent ones are function words, frequencies fall off as in natural text.

    One in five is an earlier text with at most three words replaced.
    """
    rng = random.Random(seed)
    names = [*sorted(FUNCTION_WORDS["en"]), *(spelled(rank + 26) for rank in range(VOCABULARY))]
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(names))))
    recent: list[list[str]] = []
    for _ in range(rows):
        if recent and rng.random() < COPIES:
            text = list(rng.choice(recent))
            for _ in range(rng.randrange(4)):
                text[rng.randrange(len(text))] = rng.choice(names)
        else:
            text = rng.choices(names, cum_weights=weights, k=rng.randint(12, 20))
            recent.append(text)
        yield " ".join(text)


def write_dataset(path: Path, rows: int) -> None:
    """A dataset of prompts and completions, and beside it the bare texts, a line each."""
    with path.open("wb") as stream, path.with_suffix(".txt").open("w", encoding="utf-8") as bare:
        for number, text in enumerate(texts(rows)):
            row = {
                "id": f"r{number}",
                "prompt": [{"role": "user", "content": text}],
                "completion": [{"role": "assistant", "content": f"Answer {number}."}],
            }
            stream.write(orjson.dumps(row) + b"\n")
            bare.write(f"{text}\n")


def dedup(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """The command, from file to files."""
    from distill_data.commands.dedup import Matching
    from distill_data.commands.dedup import dedup as run

    matching = Matching("fuzzy", threshold=options.threshold, ngram=options.ngram)
    return int(run(str(source), matching, output=str(folder / "kept.jsonl")).result["kept"])


def bare_dedup(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """The loop over rensa: n-grams by `split`, sketch, query, insert. Verifies and writes nothing; reads only texts."""
    from rensa import RMinHash, RMinHashLSH

    from distill_data.quality.bands import MISSED
    from distill_data.quality.minhash import rows_of_band

    bands = PERMUTATIONS // rows_of_band(options.threshold, PERMUTATIONS, MISSED)
    permutations = PERMUTATIONS // bands * bands
    lsh = RMinHashLSH(threshold=options.threshold, num_perm=permutations, num_bands=bands)
    kept, size = 0, options.ngram
    with source.with_suffix(".txt").open(encoding="utf-8") as stream:
        for number, text in enumerate(stream):
            words = text.split()
            grams = [" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))]
            minhash = RMinHash(num_perm=permutations, seed=1)
            minhash.update(grams)
            kept += not lsh.query(minhash)
            lsh.insert(number, minhash)
    return kept


def bare(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """Every row read and written again by orjson."""
    kept = 0
    with source.open("rb") as rows, (folder / "kept.jsonl").open("wb") as out:
        for kept, line in enumerate(rows, 1):  # noqa: B007 - counted
            out.write(orjson.dumps(orjson.loads(line)) + b"\n")
    return kept


def filter_rows(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """The command with two checks, which some rows fail."""
    from distill_data.commands import filter_rows as run

    return int(
        run(str(source), checks=["length@x:20,", "words:1,50"], output=str(folder / "kept.jsonl")).result["kept"]
    )


def export(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """The command, to rows that are made anew."""
    from distill_data.commands import export as run

    return int(run(str(source), to="trl-sft", output=str(folder / "kept.jsonl")).result["rows"])


def split(source: Path, folder: Path, options: argparse.Namespace) -> int:
    """The command, into two parts."""
    from distill_data.commands import split as run

    return int(run(str(source), into={"a": 0.9, "b": 0.1}, output=str(folder / "kept.jsonl")).result["rows"])


PAIRS: dict[str, tuple[Work, Work]] = {
    "dedup": (bare_dedup, dedup),
    "filter": (bare, filter_rows),
    "export": (bare, export),
    "split": (bare, split),
}
"""Command to the bare work and the command."""


def measure(options: argparse.Namespace, which: int) -> None:
    """Do one of a pair here, and say what it took."""
    source = Path(options.source)
    began = time.perf_counter()
    kept = PAIRS[options.command][which](source, source.parent, options)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    said = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "GiB": used.ru_maxrss / (1 << 20), "kept": kept}
    print(orjson.dumps(said).decode())


def compare(options: argparse.Namespace, arguments: list[str]) -> None:
    """Both of a pair, turn by turn. All is done in fresh processes, as one that forks lends its memory to the count."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.jsonl"
        start = [sys.executable, __file__, *arguments, "--source", str(source), "--measure"]
        subprocess.run([*start, "-1"], check=True)
        print(f"{options.command}, {options.rows:,} rows, {source.stat().st_size >> 20} MiB, {' '.join(arguments)}")
        best: list[dict[str, float]] = [{}, {}]
        for which in [0, 1] * options.runs:
            done = subprocess.run([*start, str(which)], capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            for made in Path(folder).glob("kept.*"):
                made.unlink()
            said = orjson.loads(done.stdout)
            best[which] = {name: min(said[name], best[which].get(name, said[name])) for name in ("seconds", "cpu")}
            rate = options.rows / said["seconds"]
            figures = f"{said['seconds']:8.2f} s {rate:10,.0f} rows/s {said['cpu']:8.2f} CPU s {said['GiB']:6.2f} GiB"
            print(f"  {('bare loop', 'command')[which]:10}{figures}   {said['kept']:,} kept", flush=True)
        ratios = {name: best[1][name] / best[0][name] for name in best[0]}
        print(f"  ratio     {ratios['seconds']:8.2f} of wall time, {ratios['cpu']:.2f} of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=PAIRS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=0.6)
    parser.add_argument("--ngram", type=int, default=1)
    parser.add_argument("--source", default="", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is None:
        compare(options, sys.argv[1:])
    elif options.measure < 0:
        write_dataset(Path(options.source), options.rows)
    else:
        measure(options, options.measure)


if __name__ == "__main__":
    main()

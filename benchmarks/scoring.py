"""What `topk` costs over a bare forward loop, and whether memory grows with the rows.

    python benchmarks/scoring.py                        speed, 200 rows on the embedded SmolLM2, one thread
    python benchmarks/scoring.py --rows 60 --model transformers/FOLDER
    python benchmarks/scoring.py --memory               peak memory for 50 and for 200 rows, each in its own process

Speed: our whole way (template, tokens, batches by length, forward pass, the k, arrays as bytes) against a loop that
anybody would write: token ids at hand, sorted by length, padded, all logits, log_softmax, topk. The loop runs at its
best batch size, found first on the rows of middling length. Then both take turns on each quarter of the rows, so that
what else the machine does falls on both. Texts come from seeds/.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from distill_data.teachers.batching import cut  # noqa: E402
from distill_data.teachers.loading import Loaded, load  # noqa: E402
from distill_data.teachers.protocol import Profile  # noqa: E402
from distill_data.teachers.scoring import Prepared, prepare, run  # noqa: E402
from distill_data.teachers.transformers import SCORED, SLOTS  # noqa: E402

K = 64
SIZES = (1, 2, 4, 8, 16, 32)
TURNS = 4
FEATURE = {"of": "topk", "k": K, "temperature": 1.0, "truncate": True, "max_length": 0}


def bodies(rows: int) -> Iterator[dict[str, Any]]:
    """Instructions with pieces of texts as answers, 5 to 120 words; the lengths come again every 50 rows."""
    instructions = [each["instruction"] for each in read("instructions")]
    words = " ".join([each["text"] for each in read("documents")] + [each["code"] for each in read("code")]).split(" ")
    lengths = [random.Random(at).randint(5, 120) for at in range(50)]
    for at in range(rows):
        first = 97 * at % (len(words) - 120)
        answer = " ".join(words[first : first + lengths[at % 50]])
        yield {
            "messages": [{"role": "user", "content": instructions[at % len(instructions)]}],
            "completion": [{"role": "assistant", "content": answer}],
            "feature": FEATURE,
        }


def read(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (ROOT / "seeds" / f"{name}.jsonl").read_bytes().split(b"\n") if line]


class Waiting(NamedTuple):
    """A prepared row, as the teacher's worker holds it."""

    prepared: Prepared
    group: str
    length: int
    budget: int


def ours(loaded: Loaded, asked: Sequence[dict[str, Any]]) -> int:
    """Bytes of arrays. As many rows as the teacher has slots are cut into batches together."""
    made = 0
    for first in range(0, len(asked), SLOTS):
        found = [prepare(loaded, body) for body in asked[first : first + SLOTS]]
        rows = [
            Waiting(row, row.group, row.length, SCORED[loaded.device]) for row in found if isinstance(row, Prepared)
        ]
        for places in cut(rows):
            made += sum(len(reply.blob) for reply in run(loaded, [rows[place].prepared for place in places]))
    return made


def bare(model: Any, rows: Sequence[list[int]], size: int) -> None:
    ordered = sorted(rows, key=len)
    for first in range(0, len(rows), size):
        batch = ordered[first : first + size]
        longest = max(map(len, batch))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
        with torch.inference_mode():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
            torch.log_softmax(logits.float(), -1).topk(K)


def seconds(work: Any, *given: Any) -> float:
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def speed(loaded: Loaded, rows: int) -> None:
    asked = list(bodies(rows))
    ids = [row.ids for row in (prepare(loaded, body) for body in asked) if isinstance(row, Prepared)]
    total, middle = sum(map(len, ids)), max(0, len(ids) - max(SIZES)) // 2
    part = sorted(ids, key=len)[middle : middle + max(SIZES)]  # neighbours in length, as batches of all rows have them
    bare(loaded.model, part[:2], 2)
    ours(loaded, asked[:2])
    tried = {size: seconds(bare, loaded.model, part, size) for size in SIZES}
    best = min(tried, key=lambda size: tried[size])
    for size, spent in tried.items():
        print(f"  bare loop, batches of {size:2}: {sum(map(len, part)) / spent:7.1f} tokens/s")
    took = {"bare": 0.0, "ours": 0.0}
    for turn in range(TURNS):
        mine = [("bare", bare, loaded.model, ids[turn::TURNS], best), ("ours", ours, loaded, asked[turn::TURNS])]
        for name, *work in mine if turn % 2 else reversed(mine):
            took[name] += seconds(*work)
    print(f"{len(ids)} rows, {total:,} tokens, k = {K}, {torch.get_num_threads()} thread(s), {loaded.device}")
    print(f"  bare loop (batches of {best}) {total / took['bare']:7.1f} tokens/s")
    print(f"  ours                     {total / took['ours']:7.1f} tokens/s")
    print(f"  ratio                    {took['bare'] / took['ours']:7.2f}   (target: 0.9 or more)")


def memory(model: str, rows: int, threads: int) -> None:
    """Peak resident memory of a process that scores these many rows, and of one that scores a quarter of them."""
    for count in (rows // 4, rows):
        command = [sys.executable, __file__, "--model", model, "--threads", str(threads), "--once", str(count)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(said.strip())


def once(loaded: Loaded, rows: int) -> None:
    before, made, waiting = peak(), 0, bodies(rows)
    while window := [body for _, body in zip(range(SLOTS), waiting, strict=False)]:
        made += ours(loaded, window)
    print(f"  {rows:5} rows: peak {peak():7.1f} MB, {before:.1f} MB after loading; {made:,} bytes of arrays")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--model", default="transformers/smollm2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        memory(options.model, options.rows, options.threads)
        return
    loaded = load(Profile(name=options.model, model=options.model))
    if options.once:
        once(loaded, options.once)
    else:
        speed(loaded, options.rows)


if __name__ == "__main__":
    main()

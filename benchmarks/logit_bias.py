"""What a student learns of a teacher's distribution: the k most likely tokens against tokens drawn from it, and which
divergence covers the teacher's modes or seeks one of them (benchmarks/divergences.py).

    python benchmarks/logit_bias.py                  four tables, in seconds
    python benchmarks/logit_bias.py --plots docs/    and the two pictures of docs/distributions.md

The teacher is Zipf's law with exponent 1.1 over 2,000 tokens, and the seed is fixed. The student is a softmax over as
many free logits, trained by gradient descent from the uniform distribution on the cross-entropy with each row's
target. Nothing here knows how knowledge is stored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.divergences import divergences_plot, seeking  # noqa: E402
from benchmarks.plots import Axis, Line, plot  # noqa: E402

Array = NDArray[np.float64]

TOKENS, EXPONENT = 2_000, 1.1
KEPT = (12, 20, 50)
ROWS = 2_000
STEPS = (100, 1_000, 10_000)
"""Steps of training after which the student is looked at; one row a step."""
AVERAGED = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
SEED = 20_250_321


# -- targets -----------------------------------------------------------------------------------------------------------


def zipf(tokens: int = TOKENS, exponent: float = EXPONENT) -> Array:
    """Probabilities proportional to rank^-exponent, most likely first."""
    mass = np.arange(1, tokens + 1) ** -exponent
    return np.asarray(mass / mass.sum())


def renormalised(p: Array, k: int) -> Array:
    """The k most likely tokens (the first k), divided by their mass; all others 0."""
    return np.asarray(np.where(np.arange(len(p)) < k, p, 0) / p[:k].sum())


def bucketed(p: Array, k: int, shape: Array) -> Array:
    """The first k as they are, and the tail's mass spread over the others in proportion to `shape`."""
    return np.concatenate([p[:k], shape[k:] * (p[k:].sum() / shape[k:].sum())])


def draws_of(p: Array, rows: int, draws: int, seed: int = SEED) -> NDArray[np.int64]:
    """(rows, draws) token ids drawn from p with replacement."""
    upto = np.cumsum(p)
    return np.searchsorted(upto / upto[-1], np.random.default_rng(seed).random((rows, draws)), side="right")


def frequencies(drawn: NDArray[np.int64], tokens: int) -> Array:
    """What `drawn` says that the probabilities are: counts divided by their sum."""
    return np.bincount(drawn.ravel(), minlength=tokens) / drawn.size


def distance(one: Array, other: Array) -> float:
    """L1: 0 where both are equal, 2 where nothing is shared."""
    return float(np.abs(one - other).sum())


def average_error(p: Array, rows: int, draws: int, repetitions: int = 40) -> float:
    """Mean L1 distance of p from the average of `rows` sampled targets.

    The sum of independent rows is one multinomial draw, which is how it is made.
    """
    total = rows * draws
    made = np.random.default_rng([SEED, rows, draws]).multinomial(total, p, repetitions) / total
    return float(np.abs(made - p).sum(axis=1).mean())


# -- the student of a categorical teacher ------------------------------------------------------------------------------

Target = Callable[[Array], Array]
"""From the student's probabilities to what the next row says they should be."""


class Learned(NamedTuple):
    """A student after some steps."""

    divergence: float
    """KL(teacher || student), in nats."""
    error: float
    """L1 distance from the teacher."""
    tail: float
    """Its mass outside the teacher's 50 most likely tokens."""


def rows_of(drawn: NDArray[np.int64], tokens: int) -> Target:
    """Each row of draws once, in order, and again from the first."""

    def rows() -> Iterator[Array]:
        while True:
            yield from (frequencies(row, tokens) for row in drawn)

    following = rows()
    return lambda q: next(following)


def targets(p: Array, steps: int) -> dict[str, Target]:
    """Name to target, for so many steps. A bucket says how much the tail is, and leaves its shape to the student."""
    cut = renormalised(p, 50)
    fifty = draws_of(p, steps, 50)
    return {
        "all probabilities": lambda q: p,
        "top-50, renormalised": lambda q: cut,
        "top-50 and tail bucket": lambda q: bucketed(p, 50, q),
        "50 draws, new each row": rows_of(fifty, len(p)),
        "12 draws, new each row": rows_of(draws_of(p, steps, 12), len(p)),
        "1 draw, new each row": rows_of(draws_of(p, steps, 1), len(p)),
        "50 draws, one row for ever": rows_of(fifty[:1], len(p)),
    }


def learn(p: Array, target: Target, steps: Sequence[int] = STEPS, rate: float = 1.0) -> list[Learned]:
    """The student after each of `steps`. The gradient of the cross-entropy in the logits is student less target."""
    logits, q, found = np.zeros(len(p)), np.full(len(p), 1 / len(p)), []
    for step in range(1, steps[-1] + 1):
        logits -= rate * (q - target(q))
        q = np.exp(logits - logits.max())
        q /= q.sum()
        if step in steps:
            found.append(Learned(float(p @ np.log(p / q)), distance(p, q), float(q[50:].sum())))
    return found


# -- what is shown -----------------------------------------------------------------------------------------------------


def storing(p: Array) -> Iterator[str]:
    """How far a row's target, and the average over rows, is from the teacher."""
    yield f"| target of a row | ids | L1, one row | L1, mean of {ROWS:,} rows | L1, tail as one outcome |"
    yield "|---|---:|---:|---:|---:|"

    def line(name: str, ids: float, rows: Array, mean: Array, k: int) -> str:
        head, tail = distance(p[:k], mean[:k]), abs(float(p[k:].sum() - mean[k:].sum()))
        error = float(np.abs(rows - p).sum(axis=1).mean())
        return f"| {name} | {ids:.3g} | {error:.3f} | {distance(p, mean):.3f} | {head + tail:.3f} |"

    for k in KEPT:
        cut = renormalised(p, k)
        yield line(f"top-{k}, renormalised (keeps {p[:k].sum():.3f})", k, cut[None], cut, k)
    for k in KEPT:
        spread = bucketed(p, k, np.ones(len(p)))
        yield line(f"top-{k} and tail bucket, spread evenly", k, spread[None], spread, k)
    for draws in KEPT:
        drawn = draws_of(p, ROWS, draws)
        rows = np.stack([frequencies(row, len(p)) for row in drawn])
        unique = float((rows > 0).sum(axis=1).mean())
        yield line(f"{draws} draws", unique, rows, frequencies(drawn, len(p)), draws)


def averaging(p: Array) -> Iterator[str]:
    """How the error of an average of sampled rows falls."""
    yield "| rows averaged | " + " | ".join(f"{rows:,}" for rows in AVERAGED) + " |"
    yield "|---|" + "---:|" * len(AVERAGED)
    for draws in (1, 12, 50):
        errors = (f"{average_error(p, rows, draws):.3f}" for rows in AVERAGED)
        yield f"| L1, {draws} draw{'s' if draws > 1 else ''} a row | {' | '.join(errors)} |"


def learning(p: Array, steps: Sequence[int] = STEPS) -> Iterator[str]:
    """What a student learns."""
    after = " | ".join(f"KL after {step:,}" for step in steps)
    yield f"| target | {after} | L1 at the end | student's mass outside the 50 |"
    yield "|---|" + "---:|" * (len(steps) + 2)
    for name, target in targets(p, steps[-1]).items():
        found = learn(p, target, steps)
        cells = " | ".join(f"{each.divergence:.3f}" for each in found)
        yield f"| {name} | {cells} | {found[-1].error:.3f} | {found[-1].tail:.3f} |"


def bias_plot(p: Array) -> str:
    """Error of the averaged target over the rows averaged."""
    flat: dict[str, tuple[float, dict[str, Any]]] = {}
    for k, colour in zip(KEPT, ("#e6a15c", "#cc6f1d", "#8a4208"), strict=True):
        flat[f"top-{k}, renormalised"] = distance(p, renormalised(p, k)), {"colour": colour}
    spread = bucketed(p, 50, np.ones(len(p)))
    flat["top-50, tail bucket"] = distance(p, spread), {"colour": "#8a4208", "dash": "7 4"}
    lines = [Line(name, (1, 10_000), (error, error), **style) for name, (error, style) in flat.items()]
    for draws, colour in ((1, "#9db8d2"), (12, "#4f83b6"), (50, "#1b4a7a")):
        errors = [average_error(p, rows, draws) for rows in AVERAGED]
        lines.append(Line(f"{draws} draw{'s' if draws > 1 else ''} a row", AVERAGED, errors, colour))
    return plot(
        "Distance of the mean target from the teacher",
        Axis("rows averaged", 1, 10_000, (1, 10, 100, 1_000, 10_000), log=True),
        Axis("L1 distance", 0.02, 2.2, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2), log=True),
        lines,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write topk-bias.svg and divergences.svg there")
    folder = parser.parse_args().plots
    p = zipf()
    print(f"Zipf's law, exponent {EXPONENT}, over {TOKENS:,} tokens\n")
    print(*storing(p), "", *averaging(p), "", sep="\n")
    print("One row a step, rate 1; KL(teacher || student) in nats\n")
    print(*learning(p), "", sep="\n")
    print("One Gaussian fitted to 0.6 N(3, 1) + 0.4 N(-3, 1)\n")
    print(*seeking(), sep="\n")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "topk-bias.svg").write_text(bias_plot(p), encoding="utf-8")
        (folder / "divergences.svg").write_text(divergences_plot(), encoding="utf-8")


if __name__ == "__main__":
    main()

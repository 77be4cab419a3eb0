"""`split`: a dataset in parts, by seed, so that no part has been seen in another. Asks no model.

What part a group of rows goes to is a function of the group's name and the random seed, so rows that are appended move
no others.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from distill_data.commands.rows import Done, Emit, Step, opened, publish_rows, with_place
from distill_data.data.shares import make_place
from distill_data.engine.publish import files_of
from distill_data.errors import UsageError, YieldError
from distill_data.quality.groups import make_group

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TAKEN = frozenset({"rejects", "manifest", "partial", "run"})
"""Names that files beside a dataset have."""


def split(source: str, *, into: Mapping[str, float], output: str, by: str = "", seed: int = 0) -> Done:
    """Write each part with a manifest of its own: of `-o data.jsonl` the parts data.train.jsonl, data.test.jsonl, of a
    folder (it is there, or ends in /) its train.jsonl, test.jsonl. Rows are written byte for byte.

    `into` is part to share of the groups, together at most 1; the rest is left out. Rows of one group go to one part:
    those of one seed (`quality.groups`), or of one text in the column `by`. Shares are met as well as chance does: a
    group of many rows goes as a whole.

    Raises UsageError, SeedError with the place of a row without a group, YieldError where a part would be empty.
    """
    bounds = _bounds(into)
    names = [*into, ""]
    outputs: dict[str, Path | None] = {name: _path_of(output, name) for name in into}
    group, place = make_group(by), make_place("split", seed)

    def fill(emit: Emit) -> Mapping[str, Any]:
        counts = dict.fromkeys(names, 0)
        for line, key in with_place(sources[0], group):
            name = names[bisect_right(bounds, place(key))]
            counts[name] += 1
            if name:
                emit(name, line.raw)
        rows, left = sum(counts.values()), counts.pop("")
        empty = [name for name, count in counts.items() if not count]
        if empty:
            raise YieldError(
                f"{sources[0].file.name}: of {rows:,} rows none went to {' and '.join(empty)}; nothing was written. "
                "Take another --seed or a larger share; there may be too few groups."
            )
        return {"rows": rows, "left_out": left, "parts": counts}

    with opened(source) as sources:
        settings = {"into": dict(into), "by": by, "seed": seed}
        return publish_rows(Step("split", sources, settings, outputs, parts=True), fill)


def _bounds(into: Mapping[str, float]) -> list[float]:
    """Where each part ends. Raises UsageError for names and shares that cannot be."""
    if not into:
        raise UsageError("no part is named: give --into train=0.9 --into test=0.1, for example.")
    for name, share in into.items():
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise UsageError(
                f"--into {name}: a part's name is letters, digits, - and _, and not {', '.join(sorted(_TAKEN))}."
            )
        if not 0 < share <= 1:
            raise UsageError(f"--into {name}={share:g}: a share is above 0 and at most 1.")
    bounds = list(accumulate(into.values()))
    if math.isclose(bounds[-1], 1):
        bounds[-1] = 1.0  # 0.7 + 0.2 + 0.1 is a little less
    if bounds[-1] > 1:
        raise UsageError(f"the shares of --into are {bounds[-1]:g} together; they must be at most 1.")
    return bounds


def _path_of(output: str, name: str) -> Path:
    """Where a part lies. Raises UsageError."""
    if output == "-":
        raise UsageError("-o -: a split is several files; name a folder or a .jsonl.")
    try:
        if output.endswith("/") or (output and Path(output).is_dir()):
            return Path(output) / f"{name}.jsonl"
    except OSError as error:
        raise UsageError(f"-o {output}: {error.strerror}.") from error
    return files_of(Path(output)).dataset.with_suffix(f".{name}.jsonl")

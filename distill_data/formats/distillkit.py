"""Stored distributions as DistillKit's offline dataset: token ids with compressed log-probabilities, in Arrow.

Row j of a record holds what the teacher expected after token j, so there is one row fewer than there are tokens, and
the last token is left out, as DistillKit's own capture leaves it. Log-probabilities are kept exact, float32 (exact_k =
k), ids take as many bits as the vocabulary needs, the highest first.

DistillKit uses a row where the label of the *same* position is not masked. So labels stand from the last token of the
prompt on, where what is expected is y's first token; everything before is masked and its rows are fillers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from distill_data.errors import UsageError
from distill_data.formats.kd import NOTHING, Facts, Row, distributions_of, fill

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

MASKED = -100
UNKNOWN = 1 << 18
"""Taken for a vocabulary of unknown size: no tokenizer in use has more ids."""
BATCH = 32
"""Records that are in memory at once."""
DATA = "data-00000-of-00001.arrow"


def write_distillkit(rows: Iterator[Row], path: Path, facts: Facts) -> Mapping[str, Any]:
    """A folder as `datasets.load_from_disk` reads it; the settings of DistillKit's configuration.

    Raises UsageError where the extra `data` is missing, the temperature is not 1, or records have no distributions.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError("DistillKit reads Arrow, which needs the extra `data` (pip install '.[data]')") from error
    if facts.temperature != 1:
        raise UsageError(
            f"DistillKit takes stored distributions at temperature 1, and these are at {facts.temperature}."
        )
    path.mkdir()
    nested = pyarrow.list_(pyarrow.list_(pyarrow.uint8()))
    types = {"input_ids": pyarrow.list_(pyarrow.uint64()), "labels": pyarrow.list_(pyarrow.int64())}
    schema = pyarrow.schema({**types, "compressed_logprobs": nested, "bytepacked_indices": nested})
    vocab_size = facts.vocab_size or UNKNOWN
    with pyarrow.OSFile(str(path / DATA), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as stream:
        while batch := [distillkit_row(row, facts.k, vocab_size) for row in islice(rows, BATCH)]:
            columns = [_column(pyarrow, [row[name] for row in batch]) for name in schema.names]
            stream.write_batch(pyarrow.RecordBatch.from_arrays(columns, schema=schema))
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    unset = ("_format_columns", "_format_type", "_split")
    state = {"_data_files": [{"filename": DATA}], "_fingerprint": digest, **dict.fromkeys(unset)}
    state |= {"_format_kwargs": {}, "_output_all_columns": False}
    (path / "state.json").write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2) + b"\n")
    (path / "dataset_info.json").write_bytes(b"{}\n")
    return _settings(facts, vocab_size)


def _settings(facts: Facts, vocab_size: int) -> dict[str, Any]:
    compressor = {
        "d": vocab_size,
        "k": facts.k,
        "exact_k": facts.k,
        "exact_dtype": "float32",
        "polynomial_terms": None,
        "residual_bins": [],
        "delta_encoding": False,
        "error_diffusion": False,
    }
    return {
        "dataset": {"train_dataset": {"disk_path": str(facts.output)}, "prepacked": True},
        "teacher": {"kind": "dataset", "logprob_compressor": compressor},
    }


def distillkit_row(row: Row, k: int, vocab_size: int) -> dict[str, Array]:
    """input_ids and labels (L,), compressed_logprobs (L, 4 k) and bytepacked_indices (L, bytes) of a record."""
    import numpy as np

    found = distributions_of(row)
    length = row.start + len(found.tokens) - 1
    ids = np.tile(np.arange(k), (length, 1))
    logprobs = np.full((length, k), NOTHING, "<f4")
    ids[row.start - 1 :], logprobs[row.start - 1 :] = fill(found, k)
    if ids.max(initial=0) >= vocab_size:
        raise UsageError(f"{row.where}: has the id {ids.max()}, and the vocabulary has {vocab_size}.")
    tokens = np.array(row.ids[:length], np.uint64)
    labels = tokens.astype(np.int64)
    labels[: row.start - 1] = MASKED
    return {
        "input_ids": tokens,
        "labels": labels,
        "compressed_logprobs": logprobs.view(np.uint8).reshape(length, 4 * k),
        "bytepacked_indices": pack_bits(ids, max(1, (vocab_size - 1).bit_length())),
    }


def pack_bits(ids: Array, bits: int) -> Array:
    """(L, k) ids as (L, bytes): `bits` of each, the highest first, and zeros behind the last."""
    import numpy as np

    each = (ids[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(len(ids), -1).astype(np.uint8), axis=1)


def _column(pyarrow: Any, arrays: list[Array]) -> Any:
    """Arrays of a batch as one list column, of lists where they are two-dimensional."""
    import numpy as np

    if arrays[0].ndim == 1:
        return pyarrow.ListArray.from_arrays(_offsets(arrays), np.concatenate(arrays))
    flat = np.concatenate(arrays)
    width = np.arange(0, flat.size + 1, flat.shape[1], dtype=np.int32)
    inner = pyarrow.ListArray.from_arrays(width, flat.ravel())
    return pyarrow.ListArray.from_arrays(_offsets(arrays), inner)


def _offsets(arrays: list[Array]) -> Array:
    import numpy as np

    return np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)

"""A dataset's arrays as one .npz file: each an array of its own, named as in the side files, `<record id>.<array>`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distill_data.formats.kd import Facts, Row


def write_npz(rows: Iterator[Row], path: Path, facts: Facts) -> Mapping[str, Any]:
    """One array at a time is in memory. There are no settings to give."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row in rows:
            for name, array in row.arrays.items():
                entry = zipfile.ZipInfo(f"{row.record['id']}.{name}.npy")  # dated 1980: equal arrays, equal bytes
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
    return {}

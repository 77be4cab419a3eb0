"""The Vendi score: how many different things are in a set, as an effective number. Knows only vectors.

Friedman and Dieng 2022, arXiv 2210.02410. Needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def vendi_score(vectors: Sequence[Sequence[float]]) -> float:
    """exp of the entropy of the eigenvalues of K/n, where K holds the cosines of all pairs.

    From 1.0, all the same, to n, all at right angles. A vector of zeros is like nothing, itself included. Takes
    (n or dimensions, the smaller)³. 0.0 for no vectors. Raises ValueError for vectors of different lengths.
    """
    import numpy as np

    if not len(vectors):
        return 0.0
    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 2:
        raise ValueError("vectors of one length are wanted")
    largest = np.abs(found).max(axis=1, keepdims=True, initial=0.0)
    found = found / np.where(largest == 0, 1.0, largest)  # no square of it overflows or vanishes
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit = found / np.where(lengths == 0, 1.0, lengths)
    wide = unit.shape[0] <= unit.shape[1]
    kernel = unit @ unit.T if wide else unit.T @ unit  # of the same eigenvalues, but for zeros
    values = np.linalg.eigvalsh(kernel / len(unit))
    values = values[values > 0]
    return math.exp(float(-(values * np.log(values)).sum()))

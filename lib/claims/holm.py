"""Holm's correction: which of several findings survive when they are judged together."""

from collections.abc import Sequence

import numpy as np

from ..intervals import LEVEL


def holm(p_values: Sequence[float], level: float = 1 - LEVEL) -> list[bool]:
    """Say which of several findings survive when they are judged together, by Holm's correction: with m of
    them, the smallest p must be at most level / m, the next level / (m - 1), and so on until one is not.

    Args: p_values: two-sided, as from `lib.tables.rows.p_value`; NaN (never tested) does not count.
    Returns: one per p-value, in their order. The chance that any of those that survive is wrong is at most
        `level`.
    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics
        6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])  # 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2
        [True, False, False]
    """
    p = np.asarray(p_values, np.float64)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"Expected `p_values` to lie in 0..1, but got {p_values}.")
    survives, left = [False] * len(p), int((~np.isnan(p)).sum())
    for i in np.argsort(p, kind="stable")[:left]:
        if p[i] > level / left:
            break
        survives[i] = True
        left -= 1
    return survives

"""Cells that another processor may print differently: those near an edge of rounding, and those whose verdict
hangs on a thousandth of a point. They are listed, never changed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .text import LABELS

WITHIN = 0.001  # points; between one and two threads, or two processors, numbers differ by 0.0005
SLACK = 1e-9  # of the arithmetic here: 2.051 is 0.001 from 2.05
NUMBERS = ("measured", "low", "high")


def near_rounding(table: pd.DataFrame, within: float = WITHIN) -> pd.DataFrame:
    """List numbers so near the middle between two printed ones that they may be printed as either.

    Args:
        table: tidy, as `lib.report.read_table` returns it; numbers are printed with one decimal.
        within: in points.

    Returns: method, backbone, setting, metric; `cell`, one of measured, low and high; `value`; `edge`, the
        middle between two printed numbers that it is near.
    """
    edge = lambda value: np.floor(value * 10) / 10 + 0.05  # the one in the value's own tenth
    return _list(table, NUMBERS, edge, within)


def near_verdict(
    table: pd.DataFrame, bounds: Sequence[float] = (0.0,), within: float = WITHIN
) -> pd.DataFrame:
    """List ends of the intervals of changes that are so near a bound that the verdict may be another.

    Args:
        table: tidy; changes are the rows whose metric ends in "change".
        bounds: in points; a verdict asks on which side of them an interval lies.
        within: in points.

    Returns: as `near_rounding`, `edge` being the bound.
    """
    changes = table[table["metric"].str.endswith("change")]
    bounds = np.array(bounds, float)
    nearest = lambda value: bounds[np.abs(value.to_numpy()[:, None] - bounds).argmin(1)]
    return _list(changes, ("low", "high"), nearest, within)


def _list(table: pd.DataFrame, cells: Sequence[str], edge_of, within: float) -> pd.DataFrame:
    """List the cells that are within so many points of their edge, in the order of the table."""
    labels = [*LABELS, "metric"]
    lines = table.melt(labels, list(cells), "cell", "value", ignore_index=False).dropna(subset="value")
    lines["edge"] = edge_of(lines["value"]) if len(lines) else []
    near = (lines["value"] - lines["edge"]).abs() <= within + SLACK
    return lines[near].sort_index(kind="stable").reset_index(drop=True)

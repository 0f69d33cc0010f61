"""Rounding as table.csv has it, and the cells that are near an edge."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import agreement, edges
from lib.paths import ROOT
from lib.report import COLUMNS
from lib.report.edges import near_rounding, near_verdict
from lib.text import rounded

NAN = float("nan")


def table(*lines):
    return pd.DataFrame([("m", "b", "", *line, NAN) for line in lines], columns=list(COLUMNS))


@pytest.mark.parametrize(
    "value, expected",
    [
        (96.94979, 97.0),  # 96.950 in the CSV
        (77.05044, 77.0),  # 77.050 there, which is 77.0 in binary
        (77.0506, 77.1),
        (41.25, 41.2),
        (-1.25, -1.2),
        (-0.04, 0.0),
        (0.0, 0.0),
        (100.0, 100.0),
    ],
)
def test_one_decimal_is_made_of_the_three_in_the_csv(value, expected):
    assert rounded(value) == expected and not np.signbit(rounded(-0.01))
    assert rounded(round(value, 3)) == expected
    assert np.isnan(rounded(NAN))


def test_cells_near_an_edge_of_rounding_are_listed():
    found = near_rounding(
        table(("mIoU", 48.051, 48.0521, NAN), ("mVC8", 48.1, -0.0491, -1.25), ("wIoU", 100.0, NAN, NAN))
    )
    cells = found[["metric", "cell", "value", "edge"]].itertuples(index=False, name=None)
    assert [(*labels, round(edge, 3)) for *labels, edge in cells] == [
        ("mIoU", "measured", 48.051, 48.05),
        ("mVC8", "low", -0.0491, -0.05),
        ("mVC8", "high", -1.25, -1.25),
    ]
    assert near_rounding(table()).empty


def test_verdicts_near_a_bound_are_listed():
    changes = table(
        ("mIoU change", 1.0, 0.0009, 2.0),
        ("mVC8 change", 1.0, 0.0011, 0.4995),
        ("mVC8", 1.0, 0.0, 0.0),  # a level has no verdict
        ("wIoU change", 0.0, NAN, NAN),  # no interval, no verdict
    )
    assert near_verdict(changes)[["metric", "cell", "edge"]].values.tolist() == [["mIoU change", "low", 0.0]]
    both = near_verdict(changes, (0.0, 0.5, -0.5))[["metric", "cell", "edge"]].values.tolist()
    assert both == [["mIoU change", "low", 0.0], ["mVC8 change", "high", 0.5]]


def test_all_reports_of_mini_are_read(capsys):
    """What is near an edge is said, not failed."""
    edges.main([str(ROOT / "reports" / "mini")])
    assert "cells within 0.001 points of an edge of rounding" in capsys.readouterr().out
    wide, _ = edges.listed(ROOT / "reports" / "mini", within=0.05)
    assert {"table1", "table2", "table3", "table4", "claims"} <= set(wide["report"]) and len(wide) > 300
    with pytest.raises(SystemExit, match="make reports"):
        edges.listed(ROOT / "tests")


def test_environments_are_compared_cell_by_cell(monkeypatch, capsys):
    one = table(("mIoU", 50.0, 49.0, 51.0), ("mVC8", 90.0, NAN, NAN))
    near, far = one.assign(low=[49.01, NAN]), one.assign(low=[49.02, NAN])
    lacking = one.assign(low=[NAN, NAN])
    found = agreement.differences({"a": one, "b": near, "c": far, "d": lacking})
    assert found["environment"].tolist() == ["b", "c", "d"] and set(found["cells"]) == {4}
    assert found["largest"].tolist() == pytest.approx([0.01, 0.02, float("inf")])
    with pytest.raises(ValueError, match="rows of 'b'"):
        agreement.differences({"a": one, "b": one.iloc[:1]})

"""Findings in words, by hand."""

import pandas as pd
import pytest

from lib.intervals import BLOCKS
from lib.report.text import COLUMNS, METRICS
from lib.tables import findings
from lib.tables.result import Gain, Result

NAN = float("nan")


def gain(change, low, high, n=10, **more):
    return Gain(change, low, high, n, **more)


def lines_of(rows):
    """A tidy table from {(method, backbone, setting): level of every metric}."""
    lines = [(*row, m, level, NAN, NAN, NAN) for row, level in rows.items() for m in METRICS]
    return pd.DataFrame(lines, columns=list(COLUMNS))


@pytest.fixture
def result():
    """Two base models, refined, and two controls, of which one is of a kind that findings do not know."""
    rows = {
        ("A", "N0", ""): 40.0,
        ("SAM2-A", "N0", ""): 43.0,
        ("B", "N1", ""): 60.0,
        ("SAM2-B", "N1", ""): 61.0,
    }
    rows |= {("Sliding-A", "N0", ""): 41.5, ("TrueRegions-A", "N0", ""): 50.0, ("Sliding-B", "N1", ""): 63.0}
    changes = {
        ("A", "N0"): dict.fromkeys(METRICS, gain(3, 1, 5)),
        ("B", "N1"): dict.fromkeys(METRICS, gain(1, -1, 3)),
    }
    return Result("Table 1", lines_of(rows), differences=changes)


def test_a_change_is_told_by_its_verdict():
    said = lambda **changes: findings.change_sentence("mIoU", changes)
    up, down, open_ = gain(2.0, 1, 3), gain(-2.0, -3, -1), gain(0.5, -1, 2)
    assert said(A=up) == "**mIoU** rises for A, by +2.0 [+1.0, +3.0] points."
    assert said(A=down) == "**mIoU** falls for A, by -2.0 [-3.0, -1.0] points."
    assert said(A=open_) == "**mIoU** cannot be said to change for A +0.5 [-1.0, +2.0]."
    both = "**mIoU** rises for all 2 base models, by 2.0 to 3.0 points (least: A +2.0 [+1.0, +3.0])."
    assert said(A=up, B=gain(3, 2, 4)) == both
    mixed = said(A=up, B=open_, C=down)
    assert mixed == (
        "**mIoU** rises for 1 of 3 base models, by +2.0 [+1.0, +3.0] points; falls for 1 of 3 base models, "
        "by -2.0 [-3.0, -1.0] points; it cannot be said for B +0.5 [-1.0, +2.0]."
    )


def test_where_nothing_is_judged_it_says_why():
    few, block = gain(2, 1, 3, n=4), gain(2, 1, 3, n=4, unit=BLOCKS)
    assert "+2.0 [+1.0, +3.0] points (too few clips (n = 4))" in findings.change_sentence("mIoU", {"A": few})
    assert "rises" not in findings.change_sentence("mIoU", {"A": few})
    assert "(within this sequence, no verdict)" in findings.change_sentence("mIoU", {"A": block})


def test_refiner_findings_name_extent_changes_and_controls(result):
    text = findings.refiner_findings(result, "10 clips, 320 frames")
    assert text.startswith("- Measured on 10 clips, 320 frames") and "fewer than 6 clips" in text
    assert (
        "- **mIoU** rises for 1 of 2 base models, by +3.0 [+1.0, +5.0] points; it cannot be said for B N1"
        in text
    )
    assert "beside **Sliding**" in text and "mIoU -2.0 to +1.5" in text
    assert "would change mIoU by another +7.0 points" in text and "not a bound" in text
    assert "any steadying raises it" in text


def test_without_a_control_that_steadies_nothing_is_said_of_it(result):
    rows = result.table[~result.table["method"].str.startswith("Sliding")]
    text = findings.refiner_findings(Result("Table 1", rows, differences=result.differences))
    assert "steadying" not in text and "TrueRegions" in text and "Measured on 10 clips:" in text


def test_other_comparisons_are_told_apart(result):
    named = {(*key, "refined minus base"): row for key, row in result.differences.items()}
    named["A", "N0", "sliding minus base"] = dict.fromkeys(METRICS, gain(9, 8, 10))
    text = findings.refiner_findings(result, "x")
    assert findings.refiner_findings(Result("", result.table, differences=named), "x") == text
    named["A", "N0", "refined minus sliding"] = dict.fromkeys(METRICS, gain(2, 1, 3))
    more = findings.refiner_findings(Result("", result.table, differences=named), "x").splitlines()
    new = [line for line in more if line not in text.splitlines()]
    assert len(new) == len(findings.READ)
    assert "beside **Sliding**" in text and "beside **Sliding**" not in "".join(
        more
    )  # once, and with intervals
    assert new[0] == "- Refined minus sliding: **mIoU** is above zero for A N0, by +2.0 [+1.0, +3.0] points."


def test_nothing_measured_is_said():
    empty = Result("", lines_of({("A", "N0", ""): NAN}))
    nothing = "- Nothing was measured here."
    assert findings.refiner_findings(empty) == findings.segmentor_findings(empty) == nothing
    assert findings.ablation_findings(4, empty) == nothing
    assert findings.cross_findings(empty, None) == nothing and findings.cross_frames(None) == []
    assert findings.extent_of(None) == ""


def test_clip_findings_are_differences():
    scores = pd.DataFrame({"mIoU": [40.0, 43.25], "mVC8_eq4": [90.0, 89.0]}, index=["base", "refined"])
    text = findings.clip_findings(scores)
    assert "mIoU +3.2, mVC8 by Eq. 4 -1.0" in text and "n = 1" in text


def test_ablation_findings_give_the_range_and_the_reason():
    levels = {("SAM2-A", "N0", "8"): 44.0, ("SAM2-A", "N0", "16"): 45.5, ("A", "N0", "base"): 10.0}
    block = gain(2, 1, 3, n=4, unit=BLOCKS)
    changes = {(v, "base"): dict.fromkeys(METRICS, block) for v in ("8", "16")}
    changes["8", "default"] = dict.fromkeys(METRICS, block)
    one = Result("Table 5", lines_of(levels), differences=changes)
    text = findings.ablation_findings(5, one, "1 clip, 32 frames")
    assert "- Measured on 1 clip, 32 frames; intervals are over 4 blocks within this sequence." in text
    assert "**mIoU** lies between 44.0 and 45.5 at every value of the points per side of the grid" in text
    assert text.endswith("within this sequence, no verdict.")
    judged = {key: dict.fromkeys(METRICS, gain(0.1, 0, 0.2)) for key in changes}
    text = findings.ablation_findings(5, Result("Table 5", lines_of(levels), differences=judged))
    assert "mIoU stays within 0.5 points of grid 16. Here: 8: +0.1. This holds." in text


def test_segmentor_findings_put_differences_beside_claims():
    row = {"mIoU": gain(5, 3, 7), "mBIoU": gain(-5, -7, 3)}
    one = Result("Table 3", lines_of({}), differences={("below", "I-SAM2 minus A", "N0"): row})
    text = findings.segmentor_findings(one, "10 clips")
    assert (
        "Here, **I-SAM2 minus A N0**: mIoU +5.0 [+3.0, +7.0] (above zero), mBIoU -5.0 [-7.0, +3.0] (cannot be said)."
        in text
    )


def test_a_base_that_was_stopped_early_judges_nothing():
    row = {"mIoU": gain(5, 3, 7), "mBIoU": gain(-5, -7, 3)}
    one = Result("Table 3", lines_of({}), differences={("below", "I-SAM2 minus A", "N0"): row})
    why = lambda method, backbone: "after 250 steps" if (method, backbone) == ("A", "N0") else ""
    text = findings.segmentor_findings(one, "10 clips", why)
    assert "above zero" not in text and "cannot be said" not in text
    assert "not judged, because A N0 was stopped early on purpose (after 250 steps)" in text


def test_claims_are_counted_and_named():
    verdicts = ["holds; without A", "does not hold", "not run: no data", "too few clips (n = 4)"]
    ledger = pd.DataFrame(
        {"claim": ["a", "b", "b", "c"], "metric": ["mIoU", "mIoU", "mVC8", "mVC8"], "verdict": verdicts}
    )
    text = findings.claims_findings(ledger).splitlines()
    assert text[0] == "- 1 of 4 claims, each about one metric, hold here."
    assert text[1:] == [
        "- **Holds** (1): a (mIoU).",
        "- **Does not hold** (1): b (mIoU).",
        "- **Not run** (1): b (mVC8).",
        "- **Too few clips (n = 4)** (1): c (mVC8).",
    ]


def test_cost_findings_leave_out_what_is_not_predicted():
    stages = {"ms_tracking": (60, 90), "ms_vote": (40, 60), "ms_metrics": (900, NAN)}
    lines = [
        (method, "micro", "window 32", stage, values[k], NAN, NAN, NAN)
        for k, method in enumerate(("Measured", "Predicted"))
        for stage, values in stages.items()
    ]
    text = findings.cost_findings(Result("Cost", pd.DataFrame(lines, columns=list(COLUMNS))))
    assert "At window 32 a frame takes 100 ms, 60 % of it tracking; predicted were 1.50 times that." in text


def test_one_reason_is_one_line():
    rows = {("A", "B0", ""): NAN, ("SAM2-A", "B0", ""): NAN, ("I-C_base", "B1", ""): NAN}
    table = lines_of(rows).assign(paper=1.5)
    why = {row: f"the mini profile has no {name}" for row, name in zip(rows, ("A B0", "A B0", "C B1"))}
    assert (
        findings.not_run(Result("", table, why)) == "3 rows were not run: the mini profile has no such model."
    )
    other = findings.not_run(Result("", table, {**why, ("I-C_base", "B1", ""): "no weights"}))
    assert other.splitlines() == [
        "- 2 rows were not run (A B0): the mini profile has no such model.",
        "- 1 row was not run (C B1): no weights.",
    ]
    assert findings.not_run(Result("", table)) == "Every row was run."
    printed = findings.paper_rows(Result("", table, why))
    assert list(printed) == ["method", "backbone", *(f"{m} (paper)" for m in METRICS)] and len(printed) == 3


def test_small_print_leaves_out_verdicts():
    one = Result("", lines_of({}), make_notes=lambda: ["On <x> | y.", "The paper's claim that so: holds."])
    assert findings.small_print(one) == "- On \\<x> \\| y."

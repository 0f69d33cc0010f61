"""The forest plot: what is drawn in which row, from invented changes."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from lib import plots
from lib.plots.claims import HEAD_PX, ROW_PX, SIDE, VERDICTS

NAN = float("nan")
HOLDS, FAILS, OPEN = (2.0, 1.0, 3.0), (-20.0, -25.0, -15.0), (0.3, -0.5, 1.1)
ROWS = [
    ("refinement raises the score", "mIoU: A, worst of 2", "cannot be said", [OPEN, HOLDS]),
    ("refinement raises the score", "mBIoU: A", "holds", [HOLDS]),
    ("I-SAM2 is far below", "mIoU: A", "does not hold", [FAILS]),
]


def markers(ax):
    """Values drawn: {(x, marker): (row, colour, filled)}."""
    return {
        (float(a.get_xdata()[0]), a.get_marker()): (
            float(a.get_ydata()[0]),
            to_hex(a.get_color()).upper(),
            a.get_markerfacecolor() != "none",
        )
        for a in ax.lines
        if a.get_marker() not in ("None", None, "")
    }


def intervals(ax):
    return {
        tuple(map(float, a.get_xdata()))
        for a in ax.lines
        if len(a.get_xdata()) == 2 and a.get_ydata()[0] == a.get_ydata()[1]
    }


def texts(fig):
    return [t.get_text() for t in fig.texts]


def test_verdicts_have_their_colour_marker_and_row():
    fig = plots.forest(ROWS, "Claims, mini")
    _, ax = fig.axes
    drawn = markers(ax)
    first, second, third = HEAD_PX + ROW_PX / 2 - 4, HEAD_PX + 1.5 * ROW_PX, 2 * HEAD_PX + 2.5 * ROW_PX
    assert drawn[0.3, "o"] == (first, "#777777", False)
    assert drawn[2.0, "D"] == (second, "#0072B2", True)
    assert drawn[-20.0, "X"] == (third, "#D55E00", True)
    y, colour, _ = drawn[2.0, "o"]  # the other model
    assert first < y < first + ROW_PX / 2 + 4 and colour == "#999999"
    assert intervals(ax) == {HOLDS[1:], FAILS[1:], OPEN[1:]} and len(drawn) == 4
    low, high = ax.get_xlim()
    assert low < -25 and high > 3 and ax.get_ylim()[0] == 2 * HEAD_PX + 3 * ROW_PX


def test_texts():
    fig = plots.forest(ROWS, "Claims, mini", extent="2 clips")
    assert texts(fig)[:2] == ["Claims, mini", "Change, in points; 2 clips; lines: 95 % interval over clips"]
    assert texts(fig).count("Refinement raises the score") == 1
    assert {"mIoU: A, worst of 2", "+0.3 [-0.5, +1.1]", "cannot be said", "-20.0 [-25.0, -15.0]"} <= set(
        texts(fig)
    )
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["holds", "does not hold", "cannot be said"]
    # never by colour alone
    assert len({(m, filled) for _, m, filled in VERDICTS.values()}) == len(VERDICTS) == 8


def sides(ax):
    """What is shaded in a panel: [(left, right, colour)] from the top down."""
    areas = [
        a for a in ax.collections if len(a.get_facecolor()) and to_hex(a.get_facecolor()[0]).upper() == SIDE
    ]
    return [(*sorted({round(x, 6) for x in a.get_paths()[0].vertices[:, 0]}),) for a in areas]


def test_the_side_that_is_claimed_is_shaded_and_the_margin_drawn():
    rows = [
        ("a", f"{kind}: window 32 - 1", "holds", [HOLDS], kind)
        for kind in ("rises", "falls", "same", "balance")
    ]
    fig = plots.forest([*rows, ("b", "unclaimed", "holds", [HOLDS])], margin=0.4)
    ax = fig.axes[1]
    low, high = (round(x, 6) for x in ax.get_xlim())
    assert sides(ax) == [(0, high), (low, 0), (-0.4, 0.4), (low, 0.4)]
    dashed = [a for a in ax.collections if hasattr(a, "get_segments") and a.get_linestyle()[0][1] is not None]
    assert [sorted(segment[0][0] for segment in a.get_segments()) for a in dashed if a.get_segments()] == [
        [-0.4, 0.4],
        [0.4],
    ]
    assert "same: window 32 vs 1" in texts(fig)
    assert fig.legends[0].get_texts()[-1].get_text() == "where the claim puts it; dashed: 0.4 points"


def test_one_clip_has_no_intervals():
    fig = plots.forest([("it rises", "mIoU: A", "one clip, no interval", [(1.0, NAN, NAN)])])
    assert texts(fig)[1].endswith("no intervals: one clip") and intervals(fig.axes[1]) == set()
    assert {"+1.0", "one clip"} <= set(texts(fig)) and [t.get_text() for t in fig.legends[0].get_texts()] == [
        "one clip, no interval"
    ]


def test_nothing_measured():
    fig = plots.forest([], "Claims, vspw")
    assert fig.axes == [] and texts(fig) == ["Claims, vspw", "Nothing was measured here"]


def test_what_is_no_row_is_refused():
    with pytest.raises(ValueError, match="a verdict of holds, .*'maybe'"):
        plots.forest([("a", "b", "maybe", [HOLDS])])
    with pytest.raises(ValueError, match="0 changes"):
        plots.forest([("a", "b", "holds", [])])
    with pytest.raises(ValueError, match="claims to be of rises, .*'up'"):
        plots.forest([("a", "b", "holds", [HOLDS], "up")])


def test_nothing_runs_out_of_the_picture():
    long = [
        (
            "a claim with a name about as long as the ledger has, in bold at the left edge",
            "mVC16: I-SAM2 with Segformer MiT-N1, worst of 5",
            "does not hold",
            [(-41.5, -43.5, -39.5), *[HOLDS] * 4],
        )
    ]
    picture = io.BytesIO()
    plots.forest(long * 3, "Claims").savefig(picture, format="png", dpi=100)
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert (pixels[:, -8:] > 230).all() and (pixels[-3:] > 230).all() and (pixels < 100).any()

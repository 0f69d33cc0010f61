"""Ablation curves: what is drawn where, from invented tables."""

import io

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from lib import plots
from lib.report.text import COLUMNS
from lib.tables import Gain

NAN = float("nan")
REFINED, GREY = "#0072B2", "#777777"
VALUES = ("1", "8", "32")
CHANGES = {
    ("1", "default"): {"mIoU": (-1.0, -2.0, -0.5)},
    ("8", "default"): {"mIoU": (0.5, 0.2, 0.9)},
    ("8", "base"): {"mIoU": (99.0, 98.0, 100.0)},
}


def rows(method, measured, paper, width=2.0):
    """The base and three values; each number follows from its place."""
    names = [(method, "base"), *((f"SAM2-{method}", v) for v in VALUES)]
    return [
        (name, "N1", value, "mIoU", measured + i, measured + i - width, measured + i + width, paper + i)
        for i, (name, value) in enumerate(names)
    ]


def apart():
    """Measured on one model, printed for another; the metrics that no one has are absent."""
    measured, printed = (
        rows("Segformer", 60, NAN),
        [(m, "B1", s, k, NAN, NAN, NAN, p) for m, _, s, k, *_, p in rows("CFFM", NAN, 40)],
    )
    return pd.DataFrame(measured + printed, columns=COLUMNS)


def curves(ax):
    """The lines that join the settings: {filled: (x, y, colour)}; hollow is what the paper prints."""
    joined = [a for a in ax.lines if len(a.get_xdata()) == len(VALUES) and a.get_marker() == "None"]
    return {
        a.get_linestyle() == "-": (list(a.get_xdata()), list(a.get_ydata()), to_hex(a.get_color()).upper())
        for a in joined
    }


def hollow(ax):
    """Heights of the hollow markers."""
    return [
        float(a.get_ydata()[0])
        for a in ax.lines
        if a.get_marker() == "D" and a.get_markerfacecolor() == "none"
    ]


def bars(ax):
    return {
        float(a.get_xdata()[0]): tuple(map(float, a.get_ydata()))
        for a in ax.lines
        if len(a.get_xdata()) == 2 and a.get_xdata()[0] == a.get_xdata()[1]
    }


def texts(fig):
    return [text.get_text() for text in fig.texts]


def test_measured_and_printed_changes_stand_in_one_panel_over_the_margin():
    fig = plots.ablation_curve(
        apart(),
        "Table 4, mini",
        CHANGES,
        "window, in frames",
        "32",
        metrics=("mIoU",),
        extent="2 clips",
        margin=0.4,
    )
    (ax,) = fig.axes
    assert curves(ax) == {True: ([0, 1, 2], [-1, 0.5, 0], REFINED), False: ([0, 1, 2], [-2, -1, 0], GREY)}
    assert hollow(ax) == [-2, -1, 0] and bars(ax) == {0: (-2, -0.5), 1: (0.2, 0.9)}
    assert [t.get_text() for t in ax.get_xticklabels()] == list(VALUES)
    assert texts(fig) == [
        "Table 4, mini",
        "Change against 32, in points; 2 clips; lines: 95 % interval over clips",
        "mIoU",
        "at 32: 63.0 %, base: 60.0 %",
        "window, in frames",
    ]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == [
        "measured here, Segformer N1",
        "printed in the paper, CFFM B1 on VSPW",
        "within 0.4 points: no change",
        "the default, 32",
    ]
    margin, default = ax.patches
    assert (margin.get_y(), margin.get_height()) == (-0.4, 0.8)
    assert default.get_x() < 2 < default.get_x() + default.get_width()


def test_without_differences_the_scores_are_subtracted():
    fig = plots.ablation_curve(apart(), default="32", metrics=("mIoU",))
    assert curves(fig.axes[0])[True][1] == [-2, -1, 0] and bars(fig.axes[0]) == {}
    assert plots.ablation_curve(apart(), metrics=("mIoU",)).texts[1].get_text() != ""


def test_panels_share_a_scale_and_none_is_empty():
    both = pd.concat(
        [apart(), apart().assign(metric="mVC8", measured=lambda t: 3 * t["measured"], paper=NAN)]
    )
    first, second = plots.ablation_curve(both, metrics=("mIoU", "mBIoU", "mVC8")).axes
    assert first.get_ylim() == second.get_ylim() and first.get_ylim()[0] < -6
    assert curves(second).keys() == {True}  # measured, but not printed


def test_one_clip_has_no_interval_and_says_so():
    table = apart()
    table[["low", "high"]] = NAN
    single = {key: {"mIoU": (row["mIoU"][0], NAN, NAN)} for key, row in CHANGES.items()}
    fig = plots.ablation_curve(table, "", single, default="32", metrics=("mIoU",))
    assert bars(fig.axes[0]) == {} and curves(fig.axes[0])[True][1] == [-1, 0.5, 0]
    assert texts(fig)[1] == "Change against 32, in points; no intervals: one clip"


def test_what_intervals_are_over_stands_in_the_heading():
    """Clips by number; or blocks of one sequence, which are not clips."""
    table = apart()
    for over, (n, unit) in {
        "10 clips": (10, "clips"),
        "4 blocks within this sequence": (4, "blocks"),
    }.items():
        gains = {key: {"mIoU": Gain(*row["mIoU"], n, unit)} for key, row in CHANGES.items()}
        fig = plots.ablation_curve(table.assign(over=over), "", gains, default="32", metrics=("mIoU",))
        assert f"lines: 95 % interval over {over}" in texts(fig)[1]


def test_nothing_measured_leaves_the_papers_curve():
    table = apart()
    fig = plots.ablation_curve(table[table["measured"].isna()], "T", {}, metrics=("mIoU",))
    assert texts(fig)[1] == "Nothing was measured here" and curves(fig.axes[0]).keys() == {False}
    assert plots.ablation_curve(table[:0])._repr_png_()


def test_two_models_in_one_curve_are_refused():
    both = pd.concat([apart(), pd.DataFrame(rows("CFFM", 50, NAN), columns=COLUMNS)])
    with pytest.raises(
        ValueError, match="one model in column `measured` of `table`, but got Segformer N1, CFFM N1"
    ):
        plots.ablation_curve(both)


def test_is_the_width_of_all_figures_and_stays_readable():
    png = plots.ablation_curve(apart(), "T", CHANGES, "window", "32")._repr_png_()
    width, height = Image.open(io.BytesIO(png)).size
    assert width == 1020 and height < 500

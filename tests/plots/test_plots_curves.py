"""Ablation curves: what is drawn where, from invented tables."""

import io

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from lib import plots
from lib.tables import COLUMNS

NAN = float("nan")
BASE, REFINED = "#D55E00", "#0072B2"
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


def curve(ax):
    """The one line that joins the settings: (x, y, colour, filled)."""
    (line,) = [a for a in ax.lines if a.get_marker() == "D"]
    return (
        list(line.get_xdata()),
        list(line.get_ydata()),
        to_hex(line.get_color()).upper(),
        to_hex(line.get_markerfacecolor()) != "#ffffff",
    )


def bars(ax):
    return {
        float(a.get_xdata()[0]): tuple(map(float, a.get_ydata()))
        for a in ax.lines
        if len(a.get_xdata()) == 2 and a.get_xdata()[0] == a.get_xdata()[1]
    }


def levels(ax):
    """Horizontal lines across the panel: {y: colour}."""
    return {
        float(a.get_ydata()[0]): to_hex(a.get_color()).upper()
        for a in ax.lines
        if len(a.get_xdata()) == 2 and a.get_ydata()[0] == a.get_ydata()[1]
    }


def texts(fig):
    return [text.get_text() for text in fig.texts]


def test_measured_changes_and_printed_are_three_panels_apart():
    fig = plots.ablation_curve(
        apart(), "Table 4, mini", CHANGES, "window, in frames", "32", metrics=("mIoU",)
    )
    measured, change, paper = fig.axes
    assert curve(measured) == ([0, 1, 2], [61, 62, 63], REFINED, True) and bars(measured) == {
        0: (59, 63),
        1: (60, 64),
        2: (61, 65),
    }
    assert levels(measured) == {60: BASE}
    assert curve(change) == ([0, 1, 2], [-1, 0.5, 0], REFINED, True) and bars(change) == {
        0: (-2, -0.5),
        1: (0.2, 0.9),
    }
    assert list(levels(change)) == [0]
    assert (
        curve(paper) == ([0, 1, 2], [41, 42, 43], REFINED, False)
        and bars(paper) == {}
        and levels(paper) == {40: BASE}
    )
    assert (
        [t.get_text() for t in measured.get_xticklabels()] == list(VALUES)
        and paper.get_xlabel() == "window, in frames"
        and measured.get_xlabel() == ""
    )
    assert texts(fig) == [
        "Table 4, mini",
        "Measured here, Segformer N1, in percent (bars: 95 % interval, bootstrap over clips)",
        "Measured here, minus 32, in points (bars: 95 % interval, paired over clips)",
        "Paper, VSPW, CFFM B1: printed numbers, in percent (no intervals)",
    ]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == [
        "refined",
        "base, not refined",
        "the default, 32",
    ]
    assert not measured.get_shared_y_axes().joined(measured, paper)
    assert measured.get_ylim()[0] < 58.5 and paper.get_ylim()[0] < 39.9, (
        "the base's level lies inside the panel"
    )
    (band,) = measured.patches
    assert band.get_x() < 2 < band.get_x() + band.get_width()


def test_on_the_same_data_they_share_a_scale():
    measured, paper = plots.ablation_curve(
        pd.DataFrame(rows("CFFM", 38, 39), columns=COLUMNS), metrics=("mIoU",)
    ).axes
    assert measured.get_shared_y_axes().joined(measured, paper) and measured.get_ylim() == paper.get_ylim()
    assert measured.get_ylim()[0] < 37 and measured.get_ylim()[1] > 43, (
        "wide enough for both, and for the intervals"
    )


def test_every_metric_has_its_panel_and_what_was_not_printed_says_so():
    fig = plots.ablation_curve(apart(), metrics=("mIoU", "mBIoU"))
    assert [ax.get_title() for ax in fig.axes] == ["mIoU", "mBIoU"] * 2
    assert [t.get_text() for ax in fig.axes for t in ax.texts] == ["none", "not printed"]


def test_one_clip_has_no_interval_and_says_so():
    table = apart()
    table[["low", "high"]] = NAN
    single = {key: {"mIoU": (row["mIoU"][0], NAN, NAN)} for key, row in CHANGES.items()}
    fig = plots.ablation_curve(table, "", single, default="32", metrics=("mIoU",))
    assert bars(fig.axes[0]) == bars(fig.axes[1]) == {} and curve(fig.axes[1])[1] == [-1, 0.5, 0]
    assert (
        "no intervals: they need two clips or more" in texts(fig)[1]
        and texts(fig)[2] == "Measured here, minus 32, in points"
    )


def test_nothing_measured_leaves_the_papers_curve():
    table = apart()
    fig = plots.ablation_curve(table[table["measured"].isna()], "T", {}, metrics=("mIoU",))
    assert (
        len(fig.axes) == 1
        and texts(fig)[1] == "Nothing was measured here"
        and curve(fig.axes[0])[1] == [41, 42, 43]
    )
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
    assert width == 1020 and height < 1020

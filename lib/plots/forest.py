"""Claims become a forest plot: one row each, its changes with their intervals, and the verdict by colour
and marker."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..report.text import shown
from .charts import dot
from .style import GREY, INK, ROLES, STYLE, WIDTH_PX, add_axes, new_figure, write

VERDICTS = {  # verdict: (colour, marker, filled)
    "holds": (ROLES["refined"][2], "D", True),
    "does not hold": (ROLES["base"][2], "X", True),
    "cannot be said": (GREY, "o", False),
    "one clip, no interval": (GREY, "s", False),
}
# the last two from the right: numbers, verdicts
ROW_PX, HEAD_PX, LEFT_PX, RIGHT_PX, VERDICT_PX = 36, 52, 640, 530, 220
# points: up to here the scale is linear, then logarithmic, so that changes of 0.5 and of 30 points share it
LINEAR = 2.0
TICKS = (-50, -20, -5, -2, -1, 0, 1, 2, 5, 20, 50)
Row = tuple[str, str, str, Sequence[tuple[float, float, float]]]


@style.context(STYLE)
def forest(rows: Sequence[Row], title: str = "") -> Figure:
    """Plot what bears on each claim.

    Args:
        rows: (claim, label, verdict, changes): changes are (value, low, high) in points, NaN bounds where
            there is one clip, the one that decides first; rows of one claim that follow each other stand
            below one heading.
        title: names the profile.

    Returns: the deciding change in the verdict's colour and marker, with its number; the others thin and grey
        below it.
    Raises: ValueError for a verdict that is none, or a row without changes.
    """
    for claim, label, verdict, changes in rows:
        if verdict not in VERDICTS or not len(changes):
            raise ValueError(
                f"Expected a verdict of {', '.join(VERDICTS)} and changes for {claim!r}, {label!r}, but got {verdict!r} and {len(changes)} changes."
            )
    groups = [(claim, list(found)) for claim, found in groupby(rows, key=lambda row: row[0])]
    y = 64 if title else 16
    known = any(np.isfinite(change[1]) for *_, changes in rows for change in changes)
    note = "lines: 95 % interval, paired over clips" if known else "no intervals: they need two clips or more"
    height = sum(HEAD_PX + ROW_PX * len(found) for _, found in groups)
    fig = new_figure(y + 60 + height + 140, title)
    write(
        fig,
        16,
        y,
        f"Change, in points ({note}; thin and grey: other models or settings of the claim)"
        if rows
        else "Nothing was measured here",
        fontsize=13,
    )
    if not rows:
        return fig
    behind = add_axes(fig, 0, y + 50, WIDTH_PX, height, ylim=(height, 0))
    behind.set_axis_off()
    ax = add_axes(
        fig, LEFT_PX, y + 50, WIDTH_PX - LEFT_PX - RIGHT_PX, height, ylim=(height, 0), facecolor="none"
    )
    _scale(
        ax, [value for *_, changes in rows for change in changes for value in change if np.isfinite(value)]
    )
    at = 0
    for k, (claim, found) in enumerate(groups):
        if k % 2 == 0:
            behind.axhspan(at + 4, at + HEAD_PX + ROW_PX * len(found) + 4, color="#F4F4F4", linewidth=0)
        write(fig, 16, y + 50 + at + 16, claim[0].upper() + claim[1:], fontweight="bold")
        at += HEAD_PX
        ax.vlines(ax.get_xticks(), at, at + ROW_PX * len(found), color="#DDDDDD", linewidth=1, zorder=0)
        # no line crosses a heading
        ax.vlines(0, at, at + ROW_PX * len(found), color=INK, linewidth=1.5, zorder=0.5)
        for _, label, verdict, changes in found:
            _row(ax, at + ROW_PX / 2, verdict, changes)
            write(fig, 44, y + 50 + at + ROW_PX / 2, label, va="center")
            write(fig, WIDTH_PX - RIGHT_PX + 20, y + 50 + at + ROW_PX / 2, shown(changes[0]), va="center")
            write(
                fig, WIDTH_PX - VERDICT_PX, y + 50 + at + ROW_PX / 2, verdict.partition(",")[0], va="center"
            )
            at += ROW_PX
    present = [verdict for verdict in VERDICTS if verdict in {row[2] for row in rows}]
    handles = [
        Line2D(
            [],
            [],
            color=c,
            marker=m,
            markersize=9,
            markerfacecolor=c if full else "white",
            markeredgewidth=1.8,
            linewidth=3.5 * known,
            label=v,
        )
        for v in present
        for c, m, full in [VERDICTS[v]]
    ]
    fig.legend(handles=handles, loc="lower center", ncols=4, handlelength=1.8, columnspacing=1.8)
    return fig


def _scale(ax, values: Sequence[float]) -> None:
    """Make the scale of changes, as far as they go to either side."""
    low, high = min(min(values), -0.5) * 1.3, max(max(values), 0.5) * 1.3
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.8)
    ax.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0, colors=INK, pad=6)
    ax.set_xlabel(f"linear up to {LINEAR:g} points from zero, logarithmic beyond", color=INK)


def _row(ax, y: float, verdict: str, changes: Sequence[tuple[float, float, float]]) -> None:
    """Draw the deciding change, and the others below it."""
    others = changes[1:]
    for i, (value, low, high) in enumerate(others):
        below = y + 2 + 8 * (i + 1) / len(others)
        if np.isfinite([low, high]).all():
            ax.plot([low, high], [below, below], color="#999999", linewidth=1, solid_capstyle="butt")
        ax.plot(value, below, "o", color="#999999", markersize=3)
    colour, marker, filled = VERDICTS[verdict]
    dot(ax, y - 4 * bool(others), changes[0], colour, marker, hollow=not filled)

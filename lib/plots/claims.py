"""Claims become a forest plot: one row each, its changes with their intervals, the side that the paper
claims shaded, and the verdict by colour and marker."""

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..intervals import over
from .blocks import dot, intervals_over, key, lead, legend, shown, top_of
from .style import BAND, GREY, GRID, INK, ROLES, SMALL, STYLE, WIDTH_PX, add_axes, new_figure, write

VERDICTS = {  # verdict: (colour, marker, filled)
    "holds": (ROLES["refined"][2], "D", True),
    "does not hold": (ROLES["base"][2], "X", True),
    "cannot be said": (GREY, "o", False),
    "one clip, no interval": (GREY, "s", False),
    "too few clips": (GREY, "^", False),  # followed by their number, as the next
    "no interval": (GREY, "D", False),
    "within this sequence, no verdict": (GREY, "v", False),
    "base stopped early, no verdict": (GREY, "P", False),
}
SHORT = {  # beside a row there is little room; the legend has the whole
    "within this sequence, no verdict": "one sequence",
    "base stopped early, no verdict": "stopped early",
    "one clip, no interval": "one clip",
}
CLAIMED = {  # what is claimed of a change: the side it must lie on, in points
    "rises": lambda margin: (0, np.inf),
    "falls": lambda margin: (-np.inf, 0),
    "same": lambda margin: (-margin, margin),
    "balance": lambda margin: (-np.inf, margin),
}
SIDE = "#CFE6D4"  # green: neither the colour of a rise nor that of a fall
# the last two from the right: numbers, verdicts
ROW_PX, HEAD_PX, RIGHT_PX, VERDICT_PX = 36, 52, 530, 220
# points: up to here the scale is linear, then logarithmic, so that changes of 0.5 and of 30 points share it
LINEAR = 2.0
TICKS = (-50, -20, -5, -2, -1, 0, 1, 2, 5, 20, 50)
Change = tuple[float, float, float]
Row = tuple[str, str, str, Sequence[Change]] | tuple[str, str, str, Sequence[Change], str]


@style.context(STYLE)
def forest(
    rows: Sequence[Row], title: str = "", extent: str = "", interval: str = "", margin: float = 0.5
) -> Figure:
    """Plot what bears on each claim.

    Args:
        rows: (claim, label, verdict, changes) and, to shade the side that is claimed, "rises", "falls",
            "same" or "balance": changes are (value, low, high) in points, NaN bounds where there is one clip,
            the one that decides first; rows of one claim that follow each other stand below one heading.
        title: names the profile; extent: on how much was measured; interval: what a line is.
        margin: in points, what "same" allows to either side, and "balance" to gain.

    Returns: the deciding change in the verdict's colour and marker, with its number; the others thin and grey
        below it. A label "32 - 1" is written "32 vs 1".
    Raises: ValueError for a verdict or a claimed side that is none, or a row without changes.
    """
    rows = [(*row, "")[:5] for row in rows]
    for claim, label, verdict, changes, side in rows:
        if _kind(verdict) not in VERDICTS or not len(changes):
            raise ValueError(
                f"Expected a verdict of {', '.join(VERDICTS)} and changes for {claim!r}, {label!r}, "
                f"but got {verdict!r} and {len(changes)} changes."
            )
        if side and side not in CLAIMED:
            raise ValueError(
                f"Expected what {claim!r} claims to be of {', '.join(CLAIMED)}, but got {side!r}."
            )
    top, groups = top_of(title), [(claim, list(own)) for claim, own in groupby(rows, key=lambda row: row[0])]
    height = sum(HEAD_PX + ROW_PX * len(own) for _, own in groups)
    fig = new_figure(top + 96 + height + 176 if rows else top + 60, title)
    if not rows:
        write(fig, 16, top, "Nothing was measured here", fontsize=13)
        return fig
    known = any(np.isfinite(change[1]) for _, _, _, changes, _ in rows for change in changes)
    changes = [change for row in rows for change in row[3] if np.isfinite(change[1])]
    own = intervals_over(over(*change[3:5]) for change in changes if len(change) > 3)
    lead(fig, top, "Change, in points", extent, interval or own, known)
    note = "Large: the model or setting that decides. Thin and grey: the others that the claim speaks of."
    write(fig, 16, top + 34, note, fontsize=SMALL)
    _groups(fig, top + 86, height, groups, margin)
    present = [verdict for verdict in VERDICTS if verdict in {_kind(row[2]) for row in rows}]
    looks = {verdict: VERDICTS[verdict] for verdict in present}
    handles = [key(v, c, m, line=known, hollow=not full) for v, (c, m, full) in looks.items()]
    sides = {row[4] for row in rows} - {""}
    if sides:
        edge = f"; dashed: {margin} points" * bool(sides & {"same", "balance"})
        handles.append(Patch(color=SIDE, label=f"where the claim puts it{edge}"))
    legend(fig, handles, columns=3, handlelength=1.8)
    return fig


def _kind(verdict: str) -> str:
    """Leave out the number that may follow a verdict in brackets."""
    return verdict.partition(" (")[0]


def _groups(fig: Figure, y: float, height: float, groups: Sequence, margin: float) -> None:
    """Draw the claims below each other, each with its heading and rows."""
    behind = add_axes(fig, 0, y, WIDTH_PX, height, ylim=(height, 0))
    behind.set_axis_off()
    left = min(820, max(620, 74 + 13.4 * max(len(label) for _, own in groups for _, label, *_ in own)))
    width = WIDTH_PX - left - RIGHT_PX
    ax = add_axes(fig, left, y, width, height, ylim=(height, 0), facecolor="none")
    _scale(
        ax, [v for _, own in groups for row in own for change in row[3] for v in change[:3] if np.isfinite(v)]
    )
    at = 0
    for k, (claim, own) in enumerate(groups):
        if k % 2 == 0:
            behind.axhspan(at + 4, at + HEAD_PX + ROW_PX * len(own) + 4, color=BAND, linewidth=0)
        write(fig, 16, y + at + 16, claim[0].upper() + claim[1:], fontweight="bold")
        at += HEAD_PX
        # no line crosses a heading
        ax.vlines(ax.get_xticks(), at, at + ROW_PX * len(own), color=GRID, linewidth=1, zorder=0.2)
        ax.vlines(0, at, at + ROW_PX * len(own), color=INK, linewidth=1.5, zorder=0.5)
        for _, label, verdict, changes, side in own:
            middle = y + at + ROW_PX / 2
            if side:
                _side(ax, at, CLAIMED[side](margin))
            _row(ax, at + ROW_PX / 2, verdict, changes)
            write(fig, 44, middle, re.sub(r"(\S+) - (\S+)", r"\1 vs \2", label), va="center")
            write(fig, WIDTH_PX - RIGHT_PX + 20, middle, shown(changes[0]), va="center")
            write(fig, WIDTH_PX - VERDICT_PX, middle, SHORT.get(_kind(verdict), _kind(verdict)), va="center")
            at += ROW_PX


def _side(ax, at: float, ends: tuple[float, float]) -> None:
    """Shade one row where the claim puts its change; an end that is not zero is drawn too."""
    low, high = np.clip(ends, *ax.get_xlim())
    ax.fill_betweenx([at, at + ROW_PX], low, high, color=SIDE, alpha=0.75, zorder=0.1, linewidth=0)
    margins = [end for end in ends if end and np.isfinite(end)]
    ax.vlines(margins, at, at + ROW_PX, color="#2E7D4F", linewidth=1.2, linestyle=(0, (3, 2)), zorder=0.4)


def _scale(ax, values: Sequence[float]) -> None:
    """Make the scale of changes, as far as they go to either side, and a little beyond any margin."""
    low, high = min(min(values), -0.75) * 1.3, max(max(values), 0.75) * 1.3
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.8)
    ax.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0, colors=INK, pad=6)
    ax.set_xlabel(f"linear up to {LINEAR:g} points from zero, logarithmic beyond", color=INK)


def _row(ax, y: float, verdict: str, changes: Sequence[Change]) -> None:
    """Draw the deciding change, and the others below it."""
    others = changes[1:]
    for i, (value, low, high, *_) in enumerate(others):
        below = y + 2 + 8 * (i + 1) / len(others)
        if np.isfinite([low, high]).all():
            ax.plot([low, high], [below, below], color="#999999", linewidth=1, solid_capstyle="butt")
        ax.plot(value, below, "o", color="#999999", markersize=3)
    colour, marker, filled = VERDICTS[_kind(verdict)]
    dot(ax, y - 4 * bool(others), changes[0], colour, marker, hollow=not filled)

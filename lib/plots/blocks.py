"""What several charts share: a panel, a dot with its interval, rows across panels, a legend, and the line
that says on how much was measured and what an interval is."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..text import shown, signed
from .style import AFTER, BAND, BEFORE, DPI, GREY, GRID, HEAD, INK, SMALL, add_axes, write

INTERVAL = "95 % interval over clips"  # what the lines of all charts are, unless a caller says otherwise
NO_INTERVAL = "no intervals: one clip"
Numbers = tuple[float, float, float]  # value, low, high; NaN bounds where there is no interval

__all__ = ["shown", "signed"]  # how changes are written, for the charts


def about_intervals(table: pd.DataFrame) -> str:
    """Say what the lines of a tidy table's measurements are, from its column `over` if it has one."""
    known = table[table["measured"].notna() & table["low"].notna()]
    return INTERVAL if "over" not in known or known.empty else intervals_over(known["over"])


def intervals_over(what: Iterable[str]) -> str:
    """Say what lines are: 95 % intervals over "10 clips", or over "4 blocks within this sequence"."""
    return "95 % interval over " + (" or ".join(dict.fromkeys(filter(None, what))) or "clips")


def lead(fig: Figure, y: float, what: str, extent: str = "", interval: str = INTERVAL, known: bool = True):
    """Write the line below a title: what is shown, on how much (`extent`), and what its lines are."""
    note = f"lines: {interval}" if known else NO_INTERVAL
    return headline(fig, y, what, extent, note)


def headline(fig: Figure, y: float, *parts: str):
    """Write parts of a line, in smaller letters if it is long."""
    text = "; ".join(filter(None, parts))
    return write(fig, 16, y, text, fontsize=HEAD if len(text) <= 106 else 11 if len(text) <= 126 else SMALL)


def top_of(title: str) -> int:
    """Where the line below a title begins, in pixels."""
    return 64 if title else 16


def panel(
    fig: Figure, x: float, y: float, width: float, height: float, title: str = "", grid: str = "x", ticks=3
):
    """Make axes at (x, y) pixels with grid lines across one axis and no tick marks."""
    ax = add_axes(fig, x, y, width, height, facecolor="none")
    ax.set_title(title)
    ax.tick_params(length=0, colors=INK, pad=6)
    if grid:
        ax.grid(axis=grid, color=GRID, linewidth=1)
        (ax.xaxis if grid == "x" else ax.yaxis).set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    ax.set(axisbelow=True)
    return ax


def row_panel(fig: Figure, x: float, y: float, width: float, height: float, title: str = ""):
    """Make a panel whose rows are measured in pixels from its top."""
    ax = panel(fig, x, y, width, height, title)
    ax.set(ylim=(height, 0), yticks=[], xmargin=0.14)
    return ax


def stripes(fig: Figure, y: float, heights: Sequence[float]) -> None:
    """Lay a band across the figure behind every other row."""
    total = fig.get_figheight() * DPI
    for top, height in list(zip(np.cumsum([0, *heights]), heights))[::2]:
        band = (0, 1 - (y + top + height) / total), 1, height / total
        fig.add_artist(Rectangle(*band, facecolor=BAND, linewidth=0, zorder=-1, transform=fig.transFigure))


def clear(ax, top: float, bottom: float) -> None:
    """Keep grid lines out of a heading between rows."""
    ax.axhspan(top, bottom, color="white", linewidth=0, zorder=0.8)


def centres(heights: Sequence[float]) -> list[float]:
    """Return the middle of each row, in pixels from the top of the first."""
    return [float(bottom - height / 2) for bottom, height in zip(np.cumsum(heights), heights)]


def dot(
    ax,
    y: float,
    numbers: Sequence[float],
    colour: str,
    marker: str,
    hollow: bool = False,
    size: float = 8,
    upright: bool = False,
) -> None:
    """Draw (value, low, high) in row y, the interval as a line where there is one; a hollow marker lets
    through what lies behind it; `upright` draws it in column y."""
    value, *interval = numbers[:3]
    turned = slice(None, None, -1 if upright else 1)
    if np.isfinite(interval).all():
        ax.plot(*(interval, [y, y])[turned], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="butt")
    face = "none" if hollow else colour
    ax.plot(
        *(value, y)[turned], marker, color=colour, markersize=size, markerfacecolor=face, markeredgewidth=1.8
    )


def certain(low: float, high: float) -> str:
    """Return the colour of a change: that of a rise or a fall if its interval leaves zero out, else grey."""
    return AFTER if low > 0 else BEFORE if high < 0 else GREY


def change(ax, y: float, numbers: Sequence[float], marker: str = "D", upright: bool = False) -> None:
    """Draw a change in the colour of what is certain of it, with its number above."""
    value, low, high = numbers[:3]
    dot(ax, y, numbers, certain(low, high), marker, upright=upright)
    place = (y, np.nanmax([value, high])) if upright else (value, y)
    ax.annotate(signed(value), place, (0, 9), textcoords="offset points", ha="center", fontsize=SMALL)


def key(label: str, colour: str, marker: str, line: bool = False, hollow: bool = False) -> Line2D:
    """Make an entry of a legend: a marker, with the line of its interval."""
    face = "white" if hollow else colour
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=8,
        markerfacecolor=face,
        markeredgewidth=1.8,
        linewidth=3.5 * line,
        label=label,
    )


def legend(fig: Figure, handles: Iterable, columns: int = 4, **options) -> None:
    """Put a legend at the foot of a figure."""
    settings = {"handlelength": 1.6, "columnspacing": 1.6, "borderaxespad": 0.3} | options
    fig.legend(handles=list(handles), loc="lower center", ncols=columns, **settings)

"""How many pixels are right by distance to the true boundary, before and after refinement."""

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from .blocks import INTERVAL, change, dot, key, lead, legend, panel, top_of
from .style import GRID, HEAD, INK, ROLES, STYLE, WIDTH_PX, new_figure, nothing, write

KINDS = ("base", "refined")
UPPER_PX, LOWER_PX = 330, 250  # height of the panels


@style.context(STYLE)
def accuracy_by_distance(
    table: pd.DataFrame, title: str = "", extent: str = "", interval: str = INTERVAL
) -> Figure:
    """Plot how many pixels are right by distance to the true boundary, before and after refinement, and
    below it the paired change.

    Args:
        table: model, distance, share, then base, refined and change with _low and _high, as
            `lib.tables.where` measures.
        extent: on how much was measured; interval: what a line is.

    Returns: two panels per model, all on the same bins; below a bin stands what share of the pixels it holds.
    """
    if table.empty:
        return nothing(title)
    models, top = list(dict.fromkeys(table["model"])), top_of(title)
    fig, known = new_figure(top + 960, title), bool(table["change_low"].notna().any())
    lead(fig, top, "Pixels that are right, by distance to the true boundary", extent, interval, known)
    note = " (paired over clips; grey: the interval holds zero)" * known
    write(fig, 16, top + 478, f"Refined minus base, in points{note}", fontsize=HEAD)
    width, axes = (WIDTH_PX - 76) / len(models), []
    for k, model in enumerate(models):
        rows, x = table[table["model"] == model], 110 + k * width
        upper = panel(fig, x, top + 86, width - 50, UPPER_PX, model, "y", ticks=4)
        lower = panel(fig, x, top + 530, width - 50, LOWER_PX, "", "y", ticks=4)
        _accuracies(upper, rows)
        _changes(lower, rows)
        axes.append((upper, lower))
    for upper, lower in axes[1:]:
        upper.sharey(axes[0][0])
        lower.sharey(axes[0][1])
        for ax in (upper, lower):
            ax.tick_params(labelleft=False)
    axes[0][0].set_ylabel("right, in percent", color=INK)
    axes[0][1].set_ylabel("change, in points", color=INK)
    label = "distance to the true boundary, in pixels; below it the share of all pixels"
    write(fig, WIDTH_PX / 2, top + 530 + LOWER_PX + 76, label, ha="center")
    legend(fig, [key(ROLES[r][1], *ROLES[r][2:], line=known) for r in KINDS])
    return fig


def _accuracies(ax, rows: pd.DataFrame) -> None:
    """Draw base and refined side by side in each bin, between thin lines that part the bins."""
    for role, offset in zip(KINDS, (-0.14, 0.14)):
        for i, numbers in enumerate(rows[[role, f"{role}_low", f"{role}_high"]].to_numpy()):
            dot(ax, i + offset, numbers, *ROLES[role][2:], upright=True)
    for i in range(1, len(rows)):
        ax.axvline(i - 0.5, color=GRID, linewidth=1, zorder=0)
    ax.set(xlim=(-0.5, len(rows) - 0.5), ymargin=0.12)
    ax.set_xticks(range(len(rows)), [""] * len(rows))


def _changes(ax, rows: pd.DataFrame) -> None:
    """Draw the paired change in each bin, with the bins and their share of the pixels below."""
    ax.axhline(0, color=INK, linewidth=1.5)
    for i, numbers in enumerate(rows[["change", "change_low", "change_high"]].to_numpy()):
        change(ax, i, numbers, upright=True)
    for i in range(1, len(rows)):
        ax.axvline(i - 0.5, color=GRID, linewidth=1, zorder=0)
    shares = [f"{share:.0f} %" if share >= 0.5 else "<1 %" for share in rows["share"]]
    ax.set(xlim=(-0.5, len(rows) - 0.5), ymargin=0.25)
    ax.set_xticks(np.arange(len(rows)), [f"{name}\n{share}" for name, share in zip(rows["distance"], shares)])

"""What refinement changes for each class, in order, with intervals."""

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from .blocks import INTERVAL, centres, certain, dot, lead, row_panel, signed, stripes, top_of
from .style import INK, SMALL, STYLE, WIDTH_PX, class_name, new_figure, nothing, write

ROW_PX, HEAD_PX, PER_LINE = 36, 132, 2  # PER_LINE: models side by side
TEXTS = (("change", 84), ("IoU, %", 204), ("pixels", 306), ("clips", 378))  # right edges, from the chart


@style.context(STYLE)
def gain_by_class(
    table: pd.DataFrame, title: str = "", at_most: int = 40, extent: str = "", interval: str = INTERVAL
) -> Figure:
    """Plot the change of each class's IoU, for each model from its largest gain to its largest loss.

    Args:
        table: model, class, share (of the truth's pixels, in percent), clips (that show it), base, refined,
            as `lib.tables.where` measures; with change_low and change_high, in points, there are intervals.
        at_most: of more classes, the most frequent are shown, and the heading says so.
        extent: on how much was measured; interval: what a line is.

    Returns: a panel per model, each in its own order; beside a row the change in points, the IoU before and
        after, the share of pixels and the number of clips that show the class.
    """
    if table.empty:
        return nothing(title)
    frequent = table.groupby("class", sort=False)["share"].first().nlargest(at_most).index
    n_all, n = table["class"].nunique(), len(frequent)
    table = table.assign(change=table["refined"] - table["base"])
    table = table.reindex(columns=[*table.columns.union(["change_low", "change_high"], sort=False)])
    models = list(dict.fromkeys(table["model"]))
    which = f"The {n} most frequent of {n_all} classes. " if n_all > n else ""
    top, heights = top_of(title), [ROW_PX] * n
    lines = -(-len(models) // PER_LINE)
    fig = new_figure(top + 30 + lines * (HEAD_PX + sum(heights) + 60), title)
    known = bool(table["change_low"].notna().any())
    lead(fig, top, "Change of the IoU by refinement, in points", extent, interval, known)
    note = (
        f"{which}Blue: a rise, orange: a fall whose interval leaves zero out. "
        "Pixels: share of all. Clips: that show the class."
    )
    write(fig, 16, top + 38, note, fontsize=SMALL)
    values = table.loc[table["class"].isin(frequent), ["change", "change_low", "change_high"]].to_numpy()
    bounds = np.nanmin([*values.ravel(), 0]), np.nanmax([*values.ravel(), 0])
    width = WIDTH_PX / min(PER_LINE, len(models))
    for k, model in enumerate(models):
        x, y = k % PER_LINE * width, top + 30 + k // PER_LINE * (HEAD_PX + sum(heights) + 60) + HEAD_PX
        rows = table[(table["model"] == model) & table["class"].isin(frequent)]
        if k % PER_LINE == 0:
            stripes(fig, y, heights)
        _model(fig, x, y, width, model, rows.sort_values("change", ascending=False, kind="stable"), bounds)
    return fig


def _model(fig: Figure, x: float, y: float, width: float, model: str, rows: pd.DataFrame, bounds) -> None:
    """Draw the classes of one model, in the order of `rows`."""
    names = [class_name(name) for name in rows["class"]]
    left = 44 + 13.5 * max(map(len, names))
    middle, right = centres([ROW_PX] * len(rows)), x + width - TEXTS[-1][1] - 24
    ax = row_panel(fig, x + left, y, max(120, right - x - left), ROW_PX * len(rows))
    span = bounds[1] - bounds[0] or 1
    ax.set_xlim(bounds[0] - 0.08 * span, bounds[1] + 0.08 * span)
    ax.axvline(0, color=INK, linewidth=1.2, zorder=0.5)
    ax.set_yticks(middle, names)
    write(fig, x + left, y - 66, model, fontsize=13, fontweight="bold")
    # from the right: clips, pixels, IoU before and after, change
    edges = {name: x + width - 20 - TEXTS[-1][1] + edge for name, edge in TEXTS}
    for name, edge in edges.items():
        write(fig, edge, y - 30, name, ha="right", fontsize=SMALL)
    for at, row in zip(middle, rows.itertuples()):
        colour = certain(row.change_low, row.change_high)
        dot(ax, at, (row.change, row.change_low, row.change_high), colour, "D")
        texts = {
            "change": signed(row.change),
            "IoU, %": f"{row.base:.0f} → {row.refined:.0f}",
            "pixels": f"{row.share:.1f} %" if row.share >= 0.05 else "<0.1 %",
            "clips": str(row.clips),
        }
        for name, text in texts.items():
            weight = "bold" if name == "change" else "normal"
            write(fig, edges[name], y + at, text, ha="right", va="center", fontsize=11, fontweight=weight)

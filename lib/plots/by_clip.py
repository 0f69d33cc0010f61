"""Each clip's score before refinement against its score after."""

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .blocks import key, legend, panel, signed, top_of
from .style import GREY, HEAD, INK, STYLE, WIDTH_PX, new_figure, nothing, write

COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of models, in their order
MARKERS = ("D", "o", "^", "s", "P")


@style.context(STYLE)
def score_by_clip(table: pd.DataFrame, title: str = "", extent: str = "") -> Figure:
    """Plot each clip as a point, its score before refinement against that after: above the diagonal it gains.

    Args:
        table: model, clip, metric, base, refined, as `lib.tables.where` measures.
        extent: on how much was measured; "" counts the clips.

    Returns: a square panel per metric, all models in it; the clips that gain most and least are ringed and
        named.
    """
    if table.empty:
        return nothing(title)
    models, metrics = (list(dict.fromkeys(table[name])) for name in ("model", "metric"))
    n, top = table["clip"].nunique(), top_of(title)
    side = min(640, (WIDTH_PX - 40) / len(metrics) - 130)
    fig = new_figure(top + 90 + side + 150, title)
    on = extent or f"{n} clip{'s' * (n != 1)}"
    write(fig, 16, top, f"A point is a clip: score refined against base, in percent; {on}", fontsize=HEAD)
    look = {model: (COLOURS[i % 5], MARKERS[i % 5]) for i, model in enumerate(models)}
    gap = (WIDTH_PX - len(metrics) * side) / (len(metrics) + 1)
    for k, metric in enumerate(metrics):
        rows = table[table["metric"] == metric]
        ax = panel(fig, gap + k * (side + gap), top + 90, side, side, metric, "both", ticks=5)
        low, high = rows[["base", "refined"]].min().min(), rows[["base", "refined"]].max().max()
        margin = 0.08 * (high - low) or 1
        ends = low - margin, high + margin
        # the triangle in which a clip gains
        ax.fill_between(ends, ends, ends[1], color="#EEF4F9", zorder=0, linewidth=0)
        ax.plot(ends, ends, color=GREY, linewidth=1.5, zorder=0.5)
        sns.scatterplot(
            rows,
            x="base",
            y="refined",
            hue="model",
            style="model",
            palette={model: colour for model, (colour, _) in look.items()},
            markers={model: marker for model, (_, marker) in look.items()},
            s=90 if n <= 40 else 30,
            alpha=0.85,
            legend=False,
            ax=ax,
        )
        ticks = MaxNLocator(6, steps=[1, 2, 4, 5, 10]).tick_values(*ends)
        ax.set(xticks=ticks, yticks=ticks, xlim=ends, ylim=ends)
        ax.set_xlabel("base", color=INK)
        ax.set_ylabel("refined", color=INK)
        _extremes(ax, rows, models)
    legend(fig, [key(model, *look[model]) for model in models])
    return fig


def _extremes(ax, rows: pd.DataFrame, models: Sequence[str]) -> None:
    """Ring the clip that gains most and the one that gains least; the corners name them, and say how many
    clips of each model gain."""
    gain = rows["refined"] - rows["base"]
    most, least = gain.idxmax(), gain.idxmin()
    for i in (most, least):
        ax.plot(rows["base"][i], rows["refined"][i], "o", color=INK, markersize=17, markerfacecolor="none")
    name = lambda i: f"{rows['clip'][i]} {signed(gain[i])}"
    lines = [f"{'largest loss' if gain[least] < 0 else 'smallest gain'}: {name(least)}"]
    for model in models:
        own = rows[rows["model"] == model]
        lines.append(f"{model}: {(own['refined'] > own['base']).sum()} of {len(own)} clips gain")
    corner = {"transform": ax.transAxes, "fontsize": 11}
    ax.text(0.02, 0.97, f"largest gain: {name(most)}", ha="left", va="top", **corner)
    ax.text(0.98, 0.03, "\n".join(lines), ha="right", va="bottom", **corner)

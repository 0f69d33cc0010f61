"""What refinement costs, as a chart: measured stages stacked, the prediction as a line over them."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .blocks import headline, key, legend, panel, top_of
from .style import INK, SMALL, STYLE, WIDTH_PX, new_figure, write

STAGE_COLOURS = {"encoder": "#56B4E9", "proposals": "#E69F00", "tracking": "#0072B2", "vote": "#009E73"}
SWEEPS = {"objects": "objects tracked", "window": "window, in frames"}


def _sweep(table: pd.DataFrame, method: str, name: str) -> pd.DataFrame:
    """Pick the settings "<name> N" of a method: a line per N in ascending order, a column per metric."""
    rows = table[(table["method"] == method) & table["setting"].str.startswith(f"{name} ")]
    wide = rows.assign(n=rows["setting"].str.removeprefix(f"{name} ").astype(int)).pivot(
        index="n", columns="metric", values="measured"
    )
    return wide.sort_index()


@style.context(STYLE)
def cost(table: pd.DataFrame, title: str = "", machine: str = "", extent: str = "") -> Figure:
    """Plot the time per frame by stage, against the number of objects and against the window.

    Args:
        table: tidy, as `lib.cost.cost_table` makes it; title: names the profile.
        machine: on what was measured, "Xeon, 2 cores"; extent: on which frames, "first 32 frames of val_000".

    Returns: a panel per sweep on one scale; bars are measured, with the peak memory on top, the line is
        predicted.
    """
    top, stages = top_of(title), [f"ms_{stage}" for stage in STAGE_COLOURS]
    fig = new_figure(top + 680, title)
    headline(fig, top, "Time per frame by stage, above it the peak memory", extent, machine)
    width, axes, ratios = (WIDTH_PX - 40) / len(SWEEPS), [], []
    for k, (name, label) in enumerate(SWEEPS.items()):
        ax = panel(fig, 140 + k * width, top + 56, width - 150, 390, "", "y", ticks=5)
        measured, predicted = (_sweep(table, method, name) for method in ("Measured", "Predicted"))
        predicted = predicted.reindex(measured.index)[stages].sum(axis=1)
        _bars(ax, measured, predicted)
        ratios += [*(predicted / measured[stages].sum(axis=1))]
        ax.set_xlabel(label, color=INK)
        axes.append(ax)
    axes[1].sharey(axes[0])
    highest = max(patch.get_y() + patch.get_height() for ax in axes for patch in ax.patches)
    lines = [value for ax in axes for line in ax.lines for value in line.get_ydata()]
    axes[0].set_ylim(0, 1.12 * max([highest, *lines]))
    axes[0].set_ylabel("milliseconds per frame", color=INK)
    write(fig, 16, top + 540, _why(ratios), fontsize=11, linespacing=1.4)
    handles = [Patch(color=colour, label=f"{stage}, measured") for stage, colour in STAGE_COLOURS.items()]
    handles.append(key("predicted, all stages", INK, "D", hollow=True))
    legend(fig, handles, columns=len(handles))
    return fig


def _bars(ax, measured: pd.DataFrame, predicted: pd.Series) -> None:
    """Stack the stages of each setting, write the peak memory above them, and lay the prediction over."""
    # the first stage lies lowest
    long = pd.concat(
        [
            pd.DataFrame(
                {"place": np.arange(len(measured)), "ms": measured[f"ms_{s}"].to_numpy(), "stage": s}
            )
            for s in STAGE_COLOURS
        ]
    )
    sns.histplot(
        long,
        x="place",
        weights="ms",
        hue="stage",
        hue_order=[*STAGE_COLOURS][::-1],
        palette=STAGE_COLOURS,
        multiple="stack",
        discrete=True,
        shrink=0.6,
        alpha=1,
        linewidth=0,
        legend=False,
        ax=ax,
    )
    ax.plot(
        np.arange(len(predicted)),
        predicted,
        "D--",
        color=INK,
        markersize=8,
        linewidth=2,
        markerfacecolor="white",
        markeredgewidth=1.8,
    )
    totals = measured[[f"ms_{s}" for s in STAGE_COLOURS]].sum(axis=1)
    for i, (n, total) in enumerate(totals.items()):
        peak = measured.loc[n].get("peak_MB", np.nan)
        text = "" if np.isnan(peak) else f"{peak / 1000:.2f} GB"
        above = max(total, predicted[n])
        ax.annotate(text, (i, above), (0, 12), textcoords="offset points", ha="center", fontsize=SMALL)
    ax.set_xticks(range(len(measured)), [str(n) for n in measured.index])
    ax.set(xlim=(-0.5, len(measured) - 0.5), ylabel="")


def _why(ratios: list[float]) -> str:
    """Say what the prediction counts, and how it compares with what was measured."""
    low, high = min(ratios), max(ratios)
    lines = [
        "Predicted: the operations (FLOP) of stock sam2 at this machine's rate; "
        f"{low:.1f} to {high:.1f} times the time measured."
    ]
    if high > 1.05:
        lines.append(
            "The line lies above the bars where this code does fewer operations than stock sam2, "
            "as when its tracker shares work between objects."
        )
    elif high < 0.95:
        lines.append("The machine was slower than that rate, as when other programs use it too.")
    return "\n".join(lines)

"""What refinement costs, as a chart: measured stages stacked, the prediction as a line over them."""

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from .style import FONT, INK, STYLE, WIDTH_PX, add_axes, new_figure, write

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
def cost(table: pd.DataFrame, title: str = "") -> Figure:
    """Plot the time per frame by stage, against the number of objects and against the window.

    Args: table: tidy, as `lib.tables.cost_table` makes it; title: names the profile.
    Returns: a panel per sweep, each with its own scale; bars are measured, the line is predicted.
    """
    fig, y = new_figure(660 if title else 612, title), 64 if title else 16
    write(fig, 16, y, "Milliseconds per frame: bars measured, line predicted", fontsize=13)
    width, handles = (WIDTH_PX - 40) / len(SWEEPS), {}
    for k, (name, label) in enumerate(SWEEPS.items()):
        ax = add_axes(fig, 100 + k * width, y + 56, width - 110, 370)
        measured, predicted = (_sweep(table, method, name) for method in ("Measured", "Predicted"))
        places, foot = np.arange(len(measured)), np.zeros(len(measured))
        for stage, colour in STAGE_COLOURS.items():
            values = measured[f"ms_{stage}"].to_numpy()
            handles[stage] = ax.bar(places, values, 0.6, foot, color=colour)
            foot += values
        total = predicted[[f"ms_{stage}" for stage in STAGE_COLOURS]].sum(axis=1)
        (handles["predicted, all stages"],) = ax.plot(
            places,
            total.loc[measured.index],
            "D--",
            color=INK,
            markersize=8,
            linewidth=2,
            markerfacecolor="white",
            markeredgewidth=1.8,
        )
        ax.set_xticks(places, measured.index)
        ax.set_ylim(0, 1.08 * max(foot.max(), total.max()))
        ax.set_xlabel(label, color=INK, fontsize=FONT["font.size"])
        ax.tick_params(length=0, colors=INK, labelsize=FONT["font.size"])
        ax.grid(axis="y", color="#DDDDDD", linewidth=1)
        ax.set_axisbelow(True)
    fig.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="lower center",
        ncols=len(handles),
        columnspacing=1.6,
    )
    return fig

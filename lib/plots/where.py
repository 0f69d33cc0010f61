"""Where refinement helps and where it hurts: charts by class, by clip and by distance to the true
boundary."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..report.text import signed
from .charts import dot
from .style import GREY, INK, ROLES, STYLE, WIDTH_PX, add_axes, class_name, new_figure, nothing, write

BEFORE, AFTER = ROLES["base"][2], ROLES["refined"][2]
CHANGE_PX = 84  # for the change, right of each panel


def _axes(fig: Figure, x: float, y: float, width: float, height: float, title: str, grid: str):
    """Make a panel with grid lines across one axis and no ticks."""
    ax = add_axes(fig, x, y, width, height)
    ax.set_title(title)
    ax.tick_params(length=0, colors=INK, pad=6)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=1)
    ax.set(axisbelow=True)
    (ax.xaxis if grid == "x" else ax.yaxis).set_major_locator(
        MaxNLocator(3 if grid == "x" else 4, steps=[1, 2, 5, 10])
    )
    return ax


def _legend(fig: Figure, line: str = "") -> None:
    handles = [
        Line2D(
            [],
            [],
            color=ROLES[r][2],
            marker=ROLES[r][3],
            markersize=8,
            linewidth=3.5 * bool(line),
            label=ROLES[r][1],
        )
        for r in ("base", "refined")
    ]
    fig.legend(handles=handles, loc="lower center", ncols=2, handlelength=1.6, columnspacing=1.6)


def _dumbbells(ax, before: Sequence[float], after: Sequence[float], row_px: float) -> None:
    """Draw a row per pair, the line in the colour of the change, and the change in points beside it where
    there is room."""
    small = min(1, row_px / 28)
    for i, (a, b) in enumerate(zip(before, after)):
        if not (np.isfinite(a) and np.isfinite(b)):
            continue
        colour = GREY if round(b - a, 1) == 0 else AFTER if b > a else BEFORE
        ax.plot([a, b], [i, i], color=colour, linewidth=max(1, 4 * small), alpha=0.55, solid_capstyle="butt")
        for value, role in ((a, "base"), (b, "refined")):
            ax.plot(value, i, ROLES[role][3], color=ROLES[role][2], markersize=max(2, 8 * small))
        if row_px >= 28:
            ax.annotate(
                signed(b - a),
                (1, i),
                (0.48 * (CHANGE_PX - 8), 0),
                xycoords=ax.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                va="center",
                color=colour if colour != GREY else INK,
            )
    n = len(before)
    ax.set(ylim=(n - 0.5, -0.5), xmargin=0.08)
    for i in range(0, n, 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", zorder=0, linewidth=0)


def _sorted_rows(table: pd.DataFrame, key: str) -> list[str]:
    """Order what stands in the rows by the mean change over all models, the largest gain first."""
    change = (table["refined"] - table["base"]).groupby(table[key], sort=False).mean()
    return change.sort_values(ascending=False, kind="stable").index.tolist()


@style.context(STYLE)
def gain_by_class(table: pd.DataFrame, title: str = "", at_most: int = 40) -> Figure:
    """Plot the IoU of each class before and after refinement, from the largest gain to the largest loss,
    beside how frequent it is.

    Args: table: model, class, share (of the truth's pixels, in percent), clips (that show it), base, refined,
        as `lib.tables.where` measures;
        at_most: of more classes, the most frequent are shown, and the heading says so.
    Returns: a panel per model; the number beside a row is the change in points.
    """
    if table.empty:
        return nothing(title)
    frequent = table.groupby("class", sort=False)["share"].first().nlargest(at_most).index
    names = _sorted_rows(table[table["class"].isin(frequent)], "class")
    n_all, models, row_px, top = (
        table["class"].nunique(),
        list(dict.fromkeys(table["model"])),
        40,
        64 if title else 16,
    )
    fig = new_figure(top + 100 + row_px * len(names) + 100, title)
    which = f"the {len(names)} most frequent of {n_all} classes, " if n_all > len(names) else ""
    write(
        fig,
        16,
        top,
        f"IoU by class, in percent ({which}largest mean gain of the models first; beside a row the change in points)",
        fontsize=13,
    )
    left, share_px = 50 + 14 * max(map(len, names)), 290
    first = table.drop_duplicates("class").set_index("class").loc[names]
    ax = _axes(fig, left, top + 86, share_px - 40, row_px * len(names), "share of pixels", "x")
    ax.barh(range(len(names)), first["share"], color="#BBBBBB", height=0.6)
    for i, (share, clips) in enumerate(zip(first["share"], first["clips"])):
        text = (
            f"{share:.1f} %, {clips} clip{'s' * (clips != 1)}"
            if share >= 0.05
            else f"<0.1 %, {clips} clip{'s' * (clips != 1)}"
        )
        ax.annotate(text, (share, i), (4, 0), textcoords="offset points", va="center", fontsize=11)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 3.2 * first["share"].max()), xticks=[])
    ax.set_yticks(range(len(names)), [class_name(name) for name in names])
    width = (WIDTH_PX - left - share_px - 16) / len(models)
    for k, model in enumerate(models):
        rows = table[table["model"] == model].set_index("class").reindex(names)
        panel = _axes(
            fig,
            left + share_px + k * width,
            top + 86,
            width - CHANGE_PX - 12,
            row_px * len(names),
            model,
            "x",
        )
        _dumbbells(panel, rows["base"], rows["refined"], row_px)
        panel.set(yticks=[], xlim=(-4, 104))
    _legend(fig)
    return fig


@style.context(STYLE)
def score_by_clip(table: pd.DataFrame, title: str = "") -> Figure:
    """Plot the scores of each clip before and after refinement, from the largest gain in the first metric
    to the largest loss.

    Args: table: model, clip, metric, base, refined, as `lib.tables.where` measures.
    Returns: a panel per model and metric; the number beside a row is the change in points. Beyond 40 clips
        rows are thin and nameless.
    """
    if table.empty:
        return nothing(title)
    models, metrics = (list(dict.fromkeys(table[name])) for name in ("model", "metric"))
    clips, top = _sorted_rows(table[table["metric"] == metrics[0]], "clip"), 64 if title else 16
    row_px = 40 if len(clips) <= 40 else max(4, 1600 // len(clips))
    fig = new_figure(top + 126 + row_px * len(clips) + 100, title)
    write(
        fig,
        16,
        top,
        f"Scores by clip, in percent (largest mean gain in {metrics[0]} of the models first; {len(clips)} clip{'s' * (len(clips) != 1)})",
        fontsize=13,
    )
    named = row_px >= 28
    left = 50 + 14 * max(map(len, clips)) * named
    width = (WIDTH_PX - left - 16) / (len(models) * len(metrics))
    for k, (model, metric) in enumerate((model, metric) for model in models for metric in metrics):
        rows = table[(table["model"] == model) & (table["metric"] == metric)].set_index("clip").reindex(clips)
        ax = _axes(
            fig,
            left + k * width,
            top + 112,
            width - (CHANGE_PX if named else 0) - 20,
            row_px * len(clips),
            f"{model}\n{metric}",
            "x",
        )
        _dumbbells(ax, rows["base"], rows["refined"], row_px)
        ax.set_yticks(range(len(clips)) if named and k == 0 else [], clips if named and k == 0 else [])
    _legend(fig)
    return fig


@style.context(STYLE)
def accuracy_by_distance(table: pd.DataFrame, title: str = "") -> Figure:
    """Plot how many pixels are right by distance to the true boundary, before and after refinement, and
    below it the paired change.

    Args: table: model, distance, share, then base, refined and change with _low and _high, as
        `lib.tables.where` measures.
    Returns: two panels per model; each bin says what share of the pixels it holds.
    """
    if table.empty:
        return nothing(title)
    models, top = list(dict.fromkeys(table["model"])), 64 if title else 16
    fig, known = new_figure(top + 960, title), table["change_low"].notna().any()
    note = (
        "lines: 95 % interval, bootstrap over clips" if known else "no intervals: they need two clips or more"
    )
    write(fig, 16, top, f"Right pixels by distance to the true boundary, in percent ({note})", fontsize=13)
    write(
        fig,
        16,
        top + 490,
        "Refined minus base, in points" + " (paired over clips; grey: the interval holds zero)" * bool(known),
        fontsize=13,
    )
    width, upper, lower = (WIDTH_PX - 16) / len(models), [], []
    for k, (model, rows) in enumerate(table.groupby("model", sort=False)):
        x = 84 + k * width
        upper.append(_accuracies(_axes(fig, x, top + 86, width - 84, 330, model, "y"), rows))
        lower.append(_changes(_axes(fig, x, top + 546, width - 84, 230, "", "y"), rows))
    for axes in (upper, lower):
        for ax in axes[1:]:
            ax.sharey(axes[0])
    _legend(fig, "intervals" if known else "")
    return fig


def _accuracies(ax, rows: pd.DataFrame):
    """Draw base and refined side by side in each bin, joined from bin to bin."""
    for role, offset in (("base", -0.12), ("refined", 0.12)):
        places = np.arange(len(rows)) + offset
        ax.plot(places, rows[role], color=ROLES[role][2], linewidth=1.5, alpha=0.6)
        for x, numbers in zip(places, rows[[role, f"{role}_low", f"{role}_high"]].to_numpy()):
            dot(ax, x, numbers, *ROLES[role][2:], upright=True)
    ax.set(xlim=(-0.5, len(rows) - 0.5), ymargin=0.12)
    ax.set_xticks(range(len(rows)), rows["distance"])
    return ax


def _changes(ax, rows: pd.DataFrame):
    """Draw the paired change in each bin, blue where it is certainly up, orange where it is certainly
    down."""
    ax.axhline(0, color=INK, linewidth=1.5)
    for x, (value, low, high) in enumerate(rows[["change", "change_low", "change_high"]].to_numpy()):
        dot(ax, x, (value, low, high), AFTER if low > 0 else BEFORE if high < 0 else GREY, "D", upright=True)
        ax.annotate(
            signed(value),
            (x, np.nanmax([value, high])),
            (0, 10),
            zorder=1,
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    ax.set(xlim=(-0.5, len(rows) - 0.5), ymargin=0.25)
    ax.set_xlabel("distance in px; below it the share of all pixels", color=INK, labelpad=8)
    ax.set_xticks(
        range(len(rows)),
        [
            f"{name}\n{share:.0f} %" if share >= 0.5 else f"{name}\n<1 %"
            for name, share in zip(rows["distance"], rows["share"])
        ],
    )
    return ax

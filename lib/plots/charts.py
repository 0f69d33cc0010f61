"""Tables become charts: before and after; what other charts share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import FONT, GREY, INK, ROLES, STYLE, WIDTH_PX, add_axes, new_figure, write


def _by_model(
    table: pd.DataFrame, column: str
) -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """Sort the numbers of a tidy table: {model: {role: {metric: (value, low, high)}}}; only what was
    measured has an interval."""
    found = {}
    for row in table[table[column].notna()].itertuples(index=False):
        role = next(
            (r for r, (prefix, *_) in ROLES.items() if prefix and row.method.startswith(prefix)), "base"
        )
        model = " ".join(filter(None, (row.method.removeprefix(ROLES[role][0]), row.backbone, row.setting)))
        interval = (row.low, row.high) if column == "measured" else (np.nan, np.nan)
        found.setdefault(model, {}).setdefault(role, {})[row.metric] = getattr(row, column), *interval
    return found


def panels(
    fig: Figure, y: float, row_px: float, models: Sequence[str], metrics: Sequence[str], left: float
) -> list:
    """Make a panel per metric, side by side, with a row per model."""
    width, axes = (WIDTH_PX - left - 24) / len(metrics), []
    for k, metric in enumerate(metrics):
        ax = add_axes(
            fig, left + k * width, y, width - 28, row_px * len(models), ylim=(len(models) - 0.5, -0.5)
        )
        ax.set_title(metric)
        ax.set_yticks(range(len(models)), models if k == 0 else [""] * len(models))
        ax.tick_params(
            length=0, colors=INK, pad=6, labelsize=FONT["font.size"], labelfontfamily=FONT["font.family"]
        )
        ax.grid(axis="x", color="#DDDDDD", linewidth=1)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.set(axisbelow=True, xmargin=0.12)
        for i in range(0, len(models), 2):
            ax.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", zorder=0, linewidth=0)
        axes.append(ax)
    return axes


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
    """Draw (value, low, high) in row y, the interval as a line where there is one; `upright` draws it in
    column y."""
    value, *interval = numbers
    turned = slice(None, None, -1 if upright else 1)
    if np.isfinite(interval).all():
        ax.plot(*(interval, [y, y])[turned], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="butt")
    ax.plot(
        *(value, y)[turned],
        marker,
        color=colour,
        markersize=size,
        markerfacecolor="white" if hollow else colour,
        markeredgewidth=1.8,
    )


@style.context(STYLE)
def before_after(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    title: str = "",
    paper_data: str = "VSPW",
) -> Figure:
    """Plot base, refined and the controls of each measured model with their intervals; hollow, what the
    paper prints for it, and apart from them the paper's other models.

    Args: table: tidy, as `lib.report` takes it, with methods named `X`, `SAM2-X`, `Majority-X`,
        `TrueRegions-X`; title: names the profile;
        paper_data: what the printed numbers were measured on.
    Returns: a panel per metric, each with its own scale; the two blocks share it only if some row is both
        measured and printed, that is, on the same data.
    """
    measured = _by_model(table, "measured")
    printed = _by_model(table, "paper")
    paper = {
        model: found
        for model, found in printed.items()
        if {"base", "refined"} <= found.keys() and model not in measured
    }
    both = printed.keys() & measured.keys()
    roles = [role for role in ROLES if any(role in found for found in (*measured.values(), *paper.values()))]
    with_interval = table.loc[table["measured"].notna(), "low"].notna().any()
    note = (
        "lines: 95 % interval, bootstrap over clips"
        if with_interval
        else "no intervals: they need two clips or more"
    )
    blocks = [
        (
            f"Measured here, in percent ({note})" if measured else "Nothing was measured here",
            measured,
            34 * len(roles) + 28,
        )
    ]
    others = ", models not measured here" if both else ""
    blocks += [
        (f"Paper, {paper_data}{others}: printed numbers, in percent (no intervals)", paper, 44)
    ] * bool(paper)
    y = 64 if title else 16
    fig = new_figure(
        y + sum(row_px * len(rows) + (150 if rows else 48) for _, rows, row_px in blocks) + 60, title
    )
    left = 50 + 14 * max((len(model) for _, rows, _ in blocks for model in rows), default=0)
    same_data, above = (table["measured"].notna() & table["paper"].notna()).any(), []
    for heading, rows, row_px in blocks:
        write(fig, 16, y, heading, fontsize=13)
        axes = panels(fig, y + 86, row_px, list(rows), metrics, left) if rows else []
        for ax, metric in zip(axes, metrics):
            for i, (model, found) in enumerate(rows.items()):
                drawn = {role: found[role][metric] for role in roles if metric in found.get(role, {})}
                if rows is paper:
                    ax.plot(
                        [value for value, *_ in drawn.values()],
                        [i] * len(drawn),
                        color="#999999",
                        linewidth=1.5,
                    )
                for role, numbers in drawn.items():
                    offset = 0 if rows is paper else (roles.index(role) - (len(roles) - 1) / 2) * 34 / row_px
                    if rows is measured and metric in printed.get(model, {}).get(role, {}):
                        dot(
                            ax,
                            i + offset,
                            printed[model][role][metric],
                            *ROLES[role][2:],
                            hollow=True,
                            size=11,
                        )
                    dot(ax, i + offset, numbers, *ROLES[role][2:], hollow=rows is paper)
        for ax, other in zip(axes, above if same_data else []):
            ax.sharex(other)
        above, y = axes, y + row_px * len(rows) + (150 if rows else 48)
    handles = [
        Line2D(
            [],
            [],
            color=ROLES[r][2],
            marker=ROLES[r][3],
            markersize=8,
            linewidth=3.5 * with_interval,
            label=ROLES[r][1],
        )
        for r in roles
    ]
    if both:
        handles.append(
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                markerfacecolor="white",
                markersize=11,
                linewidth=0,
                label="hollow: printed in the paper",
            )
        )
    fig.legend(handles=handles, loc="lower center", ncols=4, handlelength=1.6, columnspacing=1.6)
    return fig

"""Ablations become curves: a score over a setting, what that changes against the default, and apart from
both the paper's curve."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .style import INK, ROLES, STYLE, WIDTH_PX, add_axes, new_figure, write

BAND = "#E8E8E8"  # behind the default
BLOCK_PX, PANEL_PX = 390, 230  # height of a row of panels with its heading, and of the panels alone
Numbers = Mapping[str, Mapping[str, tuple[float, float, float]]]  # {setting: {metric: (value, low, high)}}


def _curves(table: pd.DataFrame, column: str) -> tuple[str, Numbers]:
    """Take one curve from a tidy table: the model's name, and {setting: {metric: (value, low, high)}};
    only what was measured has an interval."""
    rows = table[table[column].notna()]
    found, names = (
        {},
        dict.fromkeys(
            " ".join(filter(None, (r.method.removeprefix(ROLES["refined"][0]), r.backbone)))
            for r in rows.itertuples()
        ),
    )
    if len(names) > 1:
        raise ValueError(f"Expected one model in column `{column}` of `table`, but got {', '.join(names)}.")
    for r in rows.itertuples():
        interval = (r.low, r.high) if column == "measured" else (np.nan, np.nan)
        found.setdefault(r.setting, {})[r.metric] = (getattr(r, column), *interval)
    return "".join(names), found


def _panel(ax, settings: Sequence[str], default: str, title: str) -> None:
    """Give a panel the settings as even steps, grid lines, and a band behind the default."""
    ax.set_title(title)
    ax.set_xticks(range(len(settings)), settings)
    ax.set_xlim(-0.5, len(settings) - 0.5)
    ax.tick_params(length=0, colors=INK, pad=6)
    ax.grid(axis="y", color="#DDDDDD", linewidth=1)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    ax.set(axisbelow=True, ymargin=0.15)
    if default in settings:
        i = settings.index(default)
        ax.axvspan(i - 0.4, i + 0.4, color=BAND, zorder=0, linewidth=0)


def _draw(ax, settings: Sequence[str], numbers: Numbers, metric: str, hollow: bool = False) -> None:
    """Draw one curve with its intervals, and the base's level if there is one."""
    _, _, colour, marker = ROLES["refined"]
    found = {i: numbers[s][metric] for i, s in enumerate(settings) if metric in numbers.get(s, {})}
    for i, (_, low, high) in found.items():
        if np.isfinite([low, high]).all():
            ax.plot([i, i], [low, high], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="butt")
    ax.plot(
        list(found),
        [value for value, *_ in found.values()],
        color=colour,
        linewidth=1.5,
        marker=marker,
        markersize=8,
        markerfacecolor="white" if hollow else colour,
        markeredgewidth=1.8,
    )
    if "base" in numbers and metric in numbers["base"]:
        level = numbers["base"][metric][0]
        # unlike axhline it counts for the scale
        ax.plot(
            [-0.5, len(settings) - 0.5],
            [level, level],
            color=ROLES["base"][2],
            linewidth=2,
            linestyle=(0, (5, 3)),
        )
    if not found:
        ax.text(0.5, 0.5, "not printed" if hollow else "none", transform=ax.transAxes, ha="center", color=INK)
        ax.set_yticks([])


@style.context(STYLE)
def ablation_curve(
    table: pd.DataFrame,
    title: str = "",
    differences: Mapping | None = None,
    label: str = "",
    default: str = "",
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    paper_data: str = "VSPW",
) -> Figure:
    """Plot an ablation of one model: scores over the setting with the base's level; below them what each
    value changes; apart, hollow, the paper's curve.

    Args:
        table: tidy, as `lib.report` takes it; `setting` is a value as text, or "base".
        title: names the profile.
        differences: {(value, "default"): {metric: (change, low, high)}}, paired over clips, other keys
            ignored; None leaves that row out.
        label: what the settings are, written below them.
        default: the setting that gets a band behind it, and zero change.
        metrics: a panel each.
        paper_data: what the printed numbers were measured on.

    Returns: settings are even steps in the table's order. Every panel has its own scale; measured and printed
        share it only if some row has both, that is, on the same data.
    Raises: ValueError for a table of more than one measured, or more than one printed model.
    """
    settings = [s for s in dict.fromkeys(table["setting"]) if s != "base"]
    (model, measured), (printed_model, printed) = _curves(table, "measured"), _curves(table, "paper")
    known = table.loc[table["measured"].notna(), "low"].notna().any()
    note = (
        "bars: 95 % interval, bootstrap over clips" if known else "no intervals: they need two clips or more"
    )
    changes = {value: row for (value, other), row in (differences or {}).items() if other == "default"}
    blocks = [
        (
            f"Measured here, {model}, in percent ({note})" if measured else "Nothing was measured here",
            measured,
            "measured",
        )
    ]
    if measured and changes:
        changes[default] = dict.fromkeys(metrics, (0.0, np.nan, np.nan))
        blocks.append(
            (
                f"Measured here, minus {default}, in points"
                + " (bars: 95 % interval, paired over clips)" * bool(known),
                changes,
                "change",
            )
        )
    if printed:
        blocks.append(
            (
                f"Paper, {paper_data}, {printed_model}: printed numbers, in percent (no intervals)",
                printed,
                "paper",
            )
        )
    y, rows = 64 if title else 16, {}
    fig = new_figure(y + sum(BLOCK_PX if numbers else 48 for _, numbers, _ in blocks) + 76, title)
    width = (WIDTH_PX - 24) / len(metrics)
    for heading, numbers, kind in blocks:
        write(fig, 16, y, heading, fontsize=13)
        rows[kind] = [
            add_axes(fig, 96 + k * width, y + 86, width - 120, PANEL_PX)
            for k in range(len(metrics) if numbers else 0)
        ]
        for ax, metric in zip(rows[kind], metrics):
            _panel(ax, settings, default if any(metric in row for row in numbers.values()) else "", metric)
            _draw(ax, settings, numbers, metric, hollow=kind == "paper")
            if kind == "change":
                ax.axhline(0, color=INK, linewidth=1.5, zorder=1)
        y += BLOCK_PX if numbers else 48
    if (table["measured"].notna() & table["paper"].notna()).any():
        for ax, metric, other in zip(rows["paper"], metrics, rows["measured"]):
            if any(metric in row for row in printed.values()):
                ax.sharey(other)
    for ax in list(rows.values())[-1]:
        ax.set_xlabel(label, color=INK)
    _, _, colour, marker = ROLES["refined"]
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=8, linewidth=1.5, label="refined"),
        Line2D([], [], color=ROLES["base"][2], linewidth=2, linestyle=(0, (5, 3)), label="base, not refined"),
    ]
    handles += [Patch(color=BAND, label=f"the default, {default}")] * bool(default)
    fig.legend(handles=handles, loc="lower center", ncols=3, handlelength=2.4, columnspacing=1.6)
    return fig

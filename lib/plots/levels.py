"""Table 1 and Table 2 as one row of panels: for each metric the scores of each model before and after
refinement, with the controls, and beside them what refinement changes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .blocks import (
    Numbers,
    about_intervals,
    centres,
    change,
    clear,
    dot,
    key,
    lead,
    legend,
    row_panel,
    stripes,
    top_of,
)
from .style import GREY, INK, ROLES, SMALL, STYLE, WIDTH_PX, new_figure, write

LINE_PX, PAPER_PX, HEAD_PX = 26, 32, 50  # height of a marker's line, of a printed model, of a heading between
NAN = float("nan")
REFINED = ((), ("refined minus base",))  # what a key of the differences may add to a model's name
STEADIED = ("sliding vote minus base",)
Models = dict[str, dict[str, dict[str, Numbers]]]  # {model: {role: {metric: (value, low, high)}}}


def by_model(table: pd.DataFrame, column: str) -> Models:
    """Sort the numbers of a tidy table by model, role and metric; only what was measured has an interval."""
    models = {}
    for row in table[table[column].notna()].itertuples(index=False):
        role = next((r for r, (start, *_) in ROLES.items() if start and row.method.startswith(start)), "base")
        model = " ".join(filter(None, (row.method.removeprefix(ROLES[role][0]), row.backbone, row.setting)))
        interval = (row.low, row.high) if column == "measured" else (NAN, NAN)
        models.setdefault(model, {}).setdefault(role, {})[row.metric] = getattr(row, column), *interval
    return models


def paper_heading(paper_data: str, others: bool) -> str:
    """Name the block of printed numbers."""
    return f"Printed in the paper, on {paper_data}{', models not measured here' if others else ''}"


@style.context(STYLE)
def before_after(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    title: str = "",
    paper_data: str = "VSPW",
    differences: Mapping[tuple[str, str], Mapping[str, Numbers]] | None = None,
    extent: str = "",
    interval: str = "",
) -> Figure:
    """Plot what refinement changes, beside the scores of base, refined and the controls; hollow, what the
    paper prints.

    Args:
        table: tidy, as `lib.report` takes it, with methods named `X`, `SAM2-X`, `SlidingVote-X`,
            `Majority-X`, `TrueRegions-X`.
        title: names the profile; paper_data: what the printed numbers were measured on.
        differences: {(method, backbone, "refined minus base"): {metric: (change, low, high)}}, paired over
            clips, and perhaps the same of "sliding vote minus base", as Table 1 gives them (others are not
            drawn); without them the change stands without an interval.
        extent: on how much was measured, "10 clips, 320 frames"; interval: what a line is, if the table does not say.

    Returns: for each metric that is there two panels, scores in percent and changes in points. All rows of a
        panel share its scale.
    """
    measured, printed = by_model(table, "measured"), by_model(table, "paper")
    paper = {m: row for m, row in printed.items() if {"base", "refined"} <= row.keys() and m not in measured}
    beside = printed.keys() & measured.keys()
    roles = [r for r in ROLES if any(r in row for row in (*measured.values(), *paper.values()))]
    metrics = [
        m
        for m in metrics
        if any(m in row for of in (measured, paper) for r in of.values() for row in r.values())
    ]
    known = bool(table.loc[table["measured"].notna(), "low"].notna().any())
    heights = [LINE_PX * len(roles) + 22] * len(measured)
    heights += [HEAD_PX, *[PAPER_PX] * len(paper)] if paper else []
    notes = _notes(measured, metrics)
    top, height = top_of(title), sum(heights)
    fig = new_figure(top + 118 + height + 134 + 30 * len(notes), title)
    if measured:
        lead(
            fig,
            top,
            "Measured here, in percent; beside it the change, in points",
            extent,
            interval or about_intervals(table),
            known,
        )
    else:
        write(fig, 16, top, "Nothing was measured here", fontsize=13)
    y, middle = top + 118, centres(heights)
    names = [*measured, *([""] if paper else []), *paper]
    left = 46 + 13 * max(map(len, names), default=0)
    if height:
        n = len(measured)  # the heading between measured and printed rows has no band
        stripes(fig, y, heights[:n])
        stripes(fig, y + sum(heights[: n + 1]), heights[n + 1 :])
    width = (WIDTH_PX - left - 8) / max(1, len(metrics))
    for k, metric in enumerate(metrics if height else ()):
        x = left + k * width
        levels = row_panel(fig, x, y, 0.57 * width - 34, height, "percent")
        changes = row_panel(fig, x + 0.57 * width, y, 0.43 * width - 34, height, "change")
        # the lowest number would run into the last one of the panel beside it
        changes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], prune="lower"))
        write(fig, x + width / 2 - 17, top + 46, metric, ha="center", fontsize=13, fontweight="bold")
        for ax in (levels, changes):
            ax.title.set_fontsize(11)
            if paper:
                clear(ax, middle[len(measured)] - HEAD_PX / 2, middle[len(measured)] + HEAD_PX / 2)
        rows = [(model, middle[i]) for i, model in enumerate(names)]
        for model, at in rows[: len(measured)]:
            _levels(levels, at, measured[model], metric, roles, printed.get(model, {}))
            own = {} if differences is None else differences
            paired = {" ".join(filter(None, key[:2])): g for key, g in own.items() if key[2:] in REFINED}.get(
                model, {}
            )
            steadied = {" ".join(filter(None, key[:2])): g for key, g in own.items() if key[2:] == STEADIED}
            vote = steadied.get(model, {}).get(metric)
            if (gain := paired.get(metric) or _change(measured[model], metric)) is not None:
                change(changes, at - (vote is not None) * LINE_PX / 2, gain)
            if vote is not None:
                dot(changes, at + LINE_PX, vote, *ROLES["sliding"][2:])
            if (gain := _change(printed.get(model, {}), metric)) is not None:
                dot(changes, at, gain, INK, "D", hollow=True, size=11)
        for model, at in rows[len(names) - len(paper) :]:
            _printed(levels, changes, at, paper[model], metric)
        changes.axvline(0, color=INK, linewidth=1.2, zorder=0.9)
        low, high = changes.get_xlim()
        changes.set_xlim(min(low, -0.2 * high), high)
        if k == 0:
            levels.set_yticks([at for name, at in rows if name], [name for name in names if name])
    if paper:
        at = y + middle[len(measured)]
        write(fig, 16, at, paper_heading(paper_data, bool(beside)), va="center", fontsize=12, style="italic")
    handles = [key(ROLES[r][1], *ROLES[r][2:], line=known) for r in roles]
    handles += [key("hollow: printed in the paper", GREY, "o", hollow=True)] * bool(paper or beside)
    legend(fig, handles, columns=3)
    for i, note in enumerate(notes):
        write(fig, 16, y + height + 44 + 30 * i, note, fontsize=SMALL)
    return fig


def _notes(measured: Models, metrics: Sequence[str]) -> list[str]:
    """Say what the chart alone would not: colours of changes, a control that is steady by construction."""
    notes = ["Change: blue is a rise and orange a fall whose interval leaves zero out; grey is neither."]
    steady = [
        m
        for m in metrics
        if m.startswith("mVC")
        and (values := [row["majority"][m][0] for row in measured.values() if m in row.get("majority", {})])
        and min(values) > 99.95
    ]
    if steady:
        are = "is" if len(steady) == 1 else "are"
        notes.append(
            f"The {' and '.join(steady)} of the majority {are} 100 by construction: "
            "it gives every frame of a window the same labels."
        )
    return notes if measured else []


def _levels(ax, at: float, model: dict, metric: str, roles: Sequence[str], printed: dict) -> None:
    """Draw the scores of a measured model one below the other, base and refined first; hollow behind them
    what the paper prints for the same row."""
    for i, role in enumerate(roles):
        y = at + (i - (len(roles) - 1) / 2) * LINE_PX
        if metric in printed.get(role, {}):
            dot(ax, y, printed[role][metric], *ROLES[role][2:], hollow=True, size=11)
        if metric in model.get(role, {}):
            dot(ax, y, model[role][metric], *ROLES[role][2:])


def _printed(levels, changes, at: float, model: dict, metric: str) -> None:
    """Draw a model that the paper alone has: base and refined joined, and the change."""
    pair = [(role, model[role][metric]) for role in ("base", "refined") if metric in model[role]]
    levels.plot([numbers[0] for _, numbers in pair], [at] * len(pair), color="#999999", linewidth=1.5)
    for role, numbers in pair:
        dot(levels, at, numbers, *ROLES[role][2:], hollow=True, size=6.5)
    if (gain := _change(model, metric)) is not None:
        dot(changes, at, gain, INK, "D", hollow=True, size=6.5)


def _change(model: dict, metric: str) -> Numbers | None:
    """Return refined minus base, without an interval, if there are both."""
    if any(metric not in model.get(role, {}) for role in ("base", "refined")):
        return None
    return float(np.round(model["refined"][metric][0] - model["base"][metric][0], 6)), NAN, NAN

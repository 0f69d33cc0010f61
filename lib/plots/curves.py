"""Ablations as one row of panels: what each value of a setting changes against the default, beside what
the paper prints for it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .blocks import Numbers, about_intervals, dot, key, lead, legend, panel, top_of
from .style import GREY, INK, ROLES, SMALL, STYLE, WIDTH_PX, new_figure, write

MARGIN_BAND, DEFAULT_BAND = "#DCEBF5", "#E8E8E8"
PANEL_PX, NAN = 300, float("nan")
Curve = Mapping[str, Mapping[str, Numbers]]  # {setting: {metric: (value, low, high)}}


def _curve(table: pd.DataFrame, column: str) -> tuple[str, dict]:
    """Take one curve from a tidy table: the model's name, and {setting: {metric: value}}."""
    rows, curve = table[table[column].notna()], {}
    names = dict.fromkeys(
        " ".join(filter(None, (r.method.removeprefix(ROLES["refined"][0]), r.backbone)))
        for r in rows.itertuples()
    )
    if len(names) > 1:
        raise ValueError(f"Expected one model in column `{column}` of `table`, but got {', '.join(names)}.")
    for r in rows.itertuples():
        curve.setdefault(r.setting, {})[r.metric] = getattr(r, column)
    return "".join(names), curve


def _against(curve: Mapping, default: str) -> Curve:
    """Subtract the default's score from each value's; no intervals."""
    origin = curve.get(default, {})
    return {
        value: {m: (score - origin[m], NAN, NAN) for m, score in row.items() if m in origin}
        for value, row in curve.items()
        if value != "base"
    }


@style.context(STYLE)
def ablation_curve(
    table: pd.DataFrame,
    title: str = "",
    differences: Mapping[tuple[str, str], Mapping[str, Numbers]] | None = None,
    label: str = "",
    default: str = "",
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    paper_data: str = "VSPW",
    extent: str = "",
    interval: str = "",
    margin: float = 0.5,
) -> Figure:
    """Plot what each value of a setting changes against the default, measured (filled) and printed (hollow).

    Args:
        table: tidy, as `lib.report` takes it; `setting` is a value as text, or "base".
        title: names the profile.
        differences: {(value, "default"): {metric: (change, low, high)}}, paired over clips, other keys
            ignored; None subtracts the scores of `table`, without intervals.
        label: what the settings are, written below them.
        default: the setting that changes are against; "" for the last.
        metrics: a panel each, but those that nobody measured or printed.
        paper_data: what the printed numbers were measured on.
        extent: on how much was measured; interval: what a line is.
        margin: in points, what verdicts take for no change.

    Returns: settings are even steps in the table's order; all panels share one scale. Below the name of a
        metric stand the measured scores of the default and of the base.
    Raises: ValueError for a table of more than one measured, or more than one printed model.
    """
    settings = [s for s in dict.fromkeys(table["setting"]) if s != "base"]
    default = default or (settings[-1] if settings else "")
    (model, measured), (printed_model, printed) = _curve(table, "measured"), _curve(table, "paper")
    changes, paper = _against(measured, default), _against(printed, default)
    if differences is not None:
        changes |= {value: row for (value, other), row in differences.items() if other == "default"}
    shown = [m for m in metrics if any(m in row for row in (*changes.values(), *paper.values()))]
    known = any(np.isfinite(numbers[1]) for row in changes.values() for numbers in row.values())
    top = top_of(title)
    fig = new_figure(top + (PANEL_PX + 284 if shown else 48), title)
    if measured:
        what = f"Change against {default}, in points"
        lead(fig, top, what, extent, interval or about_intervals(table), known)
    else:
        write(fig, 16, top, "Nothing was measured here", fontsize=13)
    width, axes = (WIDTH_PX - 104) / max(1, len(shown)), []
    for k, metric in enumerate(shown):
        ax = panel(fig, 124 + k * width, top + 116, width - 36, PANEL_PX, "", "y", ticks=6)
        write(fig, 124 + k * width, top + 48, metric, fontsize=13, fontweight="bold")
        write(fig, 124 + k * width, top + 80, _scores(measured, metric, default), fontsize=SMALL)
        _bands(ax, settings, default, margin)
        _draw(ax, settings, paper, metric, hollow=True)
        _draw(ax, settings, changes, metric)
        axes.append(ax)
    for ax in axes[1:]:
        ax.sharey(axes[0])
        ax.tick_params(labelleft=False)
    if axes:
        axes[0].set_ylabel("change, in points", color=INK)
        write(fig, WIDTH_PX / 2, top + 116 + PANEL_PX + 46, label, ha="center")
    _, _, colour, marker = ROLES["refined"]
    handles = [key(f"measured here, {model}", colour, marker, line=known)] * bool(measured)
    handles += [
        key(f"printed in the paper, {printed_model} on {paper_data}", GREY, marker, hollow=True)
    ] * bool(printed)
    handles += [Patch(color=MARGIN_BAND, label=f"within {margin} points: no change")] if shown else []
    handles += [Patch(color=DEFAULT_BAND, label=f"the default, {default}")] if shown else []
    legend(fig, handles, columns=2)
    return fig


def _scores(measured: Mapping, metric: str, default: str) -> str:
    """Write the scores that a change stands on."""
    parts = (
        f"{name}: {measured[row][metric]:.1f} %"
        for name, row in ((f"at {default}", default), ("base", "base"))
        if metric in measured.get(row, {})
    )
    return ", ".join(parts)


def _bands(ax, settings: Sequence[str], default: str, margin: float) -> None:
    """Lay the settings out as even steps, over the band of no change and the one of the default."""
    ax.axhspan(-margin, margin, color=MARGIN_BAND, zorder=0, linewidth=0)
    ax.axhline(0, color=INK, linewidth=1.2, zorder=1)
    if default in settings:
        i = settings.index(default)
        ax.axvspan(i - 0.4, i + 0.4, color=DEFAULT_BAND, zorder=-1, linewidth=0)
    ax.set_xticks(range(len(settings)), settings)
    ax.set(xlim=(-0.5, len(settings) - 0.5), ymargin=0.12)


def _draw(ax, settings: Sequence[str], curve: Curve, metric: str, hollow: bool = False) -> None:
    """Draw one curve with its intervals."""
    _, _, colour, marker = ROLES["refined"]
    colour = GREY if hollow else colour
    places = {i: curve[s][metric] for i, s in enumerate(settings) if metric in curve.get(s, {})}
    line = "--" if hollow else "-"
    ax.plot([*places], [value for value, *_ in places.values()], line, color=colour, linewidth=1.5)
    for i, numbers in places.items():
        dot(ax, i, numbers, colour, marker, hollow=hollow, upright=True)

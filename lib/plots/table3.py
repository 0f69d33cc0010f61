"""Table 3 as one row of panels: what classifying masklets leaves of a base model, and what SAM 2's own
features reach."""

from collections.abc import Sequence

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from .blocks import about_intervals, centres, clear, dot, key, lead, legend, row_panel, stripes, top_of
from .levels import HEAD_PX, NAN, paper_heading
from .style import GREY, ROLES, STYLE, WIDTH_PX, new_figure, write

LINE_PX = 24  # height of a marker's line
WAYS = {  # how a row is made: (legend, colour, marker), from the top down in a group
    "base": ("base model as predicted", *ROLES["base"][2:]),
    "filled": ("masklets classified, filled by the base", "#56B4E9", "P"),
    "plain": ("masklets classified, unfilled", "#CC79A7", "s"),
    "bound": ("perfect classifier, unfilled", *ROLES["regions"][2:]),
}
SAM_GROUP = "SAM 2"


def _split(method: str, backbone: str) -> tuple[str, str]:
    """Tell the group and the way of a row: "I-CFFM_base", "MiT-B1" -> "CFFM MiT-B1", "filled"."""
    if method.startswith("TrueLabels-"):
        return SAM_GROUP, "bound"
    way = "filled" if method.endswith("_base") else "plain" if method.startswith("I-") else "base"
    name = method.removeprefix("I-").removesuffix("_base")
    return SAM_GROUP if name == "SAM2" else f"{name} {backbone}".strip(), way


def _groups(table: pd.DataFrame, column: str) -> dict:
    """Sort the numbers of a tidy table: {group: {way: {metric: (value, low, high)}}}, SAM 2 last."""
    groups = {}
    for row in table[table[column].notna()].itertuples(index=False):
        group, way = _split(row.method, row.backbone)
        interval = (row.low, row.high) if column == "measured" else (NAN, NAN)
        groups.setdefault(group, {}).setdefault(way, {})[row.metric] = getattr(row, column), *interval
    return dict(sorted(groups.items(), key=lambda item: item[0] == SAM_GROUP))


@style.context(STYLE)
def segmentor(
    table: pd.DataFrame,
    title: str = "",
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    paper_data: str = "VSPW",
    extent: str = "",
    interval: str = "",
) -> Figure:
    """Plot the rows of Table 3, grouped by the encoder whose features are classified, with their
    intervals; below, hollow, those that the paper prints.

    Args:
        table: tidy, as `lib.report` takes it, with methods named `X`, `I-X`, `I-X_base`, `I-SAM2`,
            `I-SAM2_base`, `TrueLabels-SAM2`.
        title: names the profile; paper_data: what the printed numbers were measured on.
        extent: on how much was measured, "10 clips, 320 frames"; interval: what a line is, if the table does not say.

    Returns: a panel per metric; measured and printed rows share its scale.
    """
    measured, printed = _groups(table, "measured"), _groups(table, "paper")
    ways = [way for way in WAYS if any(way in g for g in (*measured.values(), *printed.values()))]
    metrics = [m for m in metrics if m in set(table["metric"])]
    known = bool(table["low"].notna().any())
    # a group of rows is as high as what it holds, so that nothing stands empty
    blocks = [(name, group, False) for name, group in measured.items()]
    blocks += [("", {}, True)] * bool(printed) + [(name, group, True) for name, group in printed.items()]
    heights = [LINE_PX * len(group) + 18 if group else HEAD_PX for _, group, _ in blocks]
    top, height, middle = top_of(title), sum(heights), centres(heights)
    fig = new_figure(top + 88 + height + 128, title)
    if measured:
        lead(fig, top, "Measured here, in percent", extent, interval or about_intervals(table), known)
    else:
        write(fig, 16, top, "Nothing was measured here", fontsize=13)
    y, left = top + 88, 40 + 14 * max((len(name) for name, *_ in blocks), default=0)
    if height:
        stripes(fig, y, heights)
    width = (WIDTH_PX - left - 8) / max(1, len(metrics))
    for k, metric in enumerate(metrics if height else ()):
        ax = row_panel(fig, left + k * width, y, width - 28, height, metric)
        if printed:
            clear(ax, middle[len(measured)] - HEAD_PX / 2, middle[len(measured)] + HEAD_PX / 2)
        for (_, group, hollow), at in zip(blocks, middle):
            for i, way in enumerate(way for way in ways if way in group):
                if metric in group[way]:
                    line = at + (i - (len(group) - 1) / 2) * LINE_PX
                    dot(ax, line, group[way][metric], *WAYS[way][1:], hollow=hollow)
        if k == 0:
            named = [(at, name) for (name, *_), at in zip(blocks, middle) if name]
            ax.set_yticks(*zip(*named))
    if printed:
        write(
            fig, 16, y + middle[len(measured)], paper_heading(paper_data, False), va="center", style="italic"
        )
    handles = [key(WAYS[way][0], *WAYS[way][1:], line=known) for way in ways]
    handles += [key("hollow: printed in the paper", GREY, "o", hollow=True)] * bool(printed)
    legend(fig, handles, columns=3)
    return fig

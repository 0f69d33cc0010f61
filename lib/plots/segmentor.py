"""Table 3 becomes a chart: what classifying masklets leaves of a base model, and what SAM 2's own features
reach."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .charts import dot, panels
from .style import ROLES, STYLE, new_figure, write

WAYS = {  # how a row is made: (legend, colour, marker), from the top down in a group
    "base": ("base model as predicted", *ROLES["base"][2:]),
    "filled": ("masklets classified, the rest filled by the base", "#56B4E9", "P"),
    "plain": ("masklets classified, the rest left empty", "#CC79A7", "s"),
    "bound": ("perfect classifier: masklets with their true class", *ROLES["regions"][2:]),
}
SAM_GROUP = "SAM 2"


def _split(method: str, backbone: str) -> tuple[str, str]:
    """Tell the group and the way of a row: "I-CFFM_base", "MiT-B1" -> "CFFM MiT-B1", "filled"."""
    if method.startswith("TrueLabels-"):
        return SAM_GROUP, "bound"
    way = "filled" if method.endswith("_base") else "plain" if method.startswith("I-") else "base"
    name = method.removeprefix("I-").removesuffix("_base")
    return SAM_GROUP if name == "SAM2" else f"{name} {backbone}".strip(), way


@style.context(STYLE)
def segmentor(
    table: pd.DataFrame,
    title: str = "",
    metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"),
    paper_data: str = "VSPW",
) -> Figure:
    """Plot the rows of Table 3, grouped by the encoder whose features are classified, with their
    intervals; below, hollow, those that the paper prints.

    Args: table: tidy, as `lib.report` takes it, with methods named `X`, `I-X`, `I-X_base`, `I-SAM2`,
        `I-SAM2_base`, `TrueLabels-SAM2`; title: names the profile; paper_data: what the printed numbers were
        measured on.
    Returns: a panel per metric; each of the two blocks has its own scale.
    """
    blocks, known = [], table["low"].notna().any()
    for column in ("measured", "paper"):
        found = {}
        for row in table[table[column].notna()].itertuples(index=False):
            group, way = _split(row.method, row.backbone)
            interval = (row.low, row.high) if column == "measured" else (np.nan, np.nan)
            found.setdefault(group, {}).setdefault(way, {})[row.metric] = (getattr(row, column), *interval)
        # SAM 2 last
        blocks.append({group: found[group] for group in sorted(found, key=lambda group: group == SAM_GROUP)})
    ways = [way for way in WAYS if any(way in group for found in blocks for group in found.values())]
    note = (
        "lines: 95 % interval, bootstrap over clips" if known else "no intervals: they need two clips or more"
    )
    heads = [
        f"Measured here, in percent ({note})" if blocks[0] else "Nothing was measured here",
        f"Paper, {paper_data}: printed numbers, in percent (no intervals)",
    ]
    row_px, y = 28 * len(ways) + 24, 64 if title else 16
    fig = new_figure(y + sum(row_px * len(found) + (150 if found else 48) for found in blocks) + 80, title)
    left = 50 + 14 * max((len(group) for found in blocks for group in found), default=0)
    for head, found, hollow in zip(heads, blocks, (False, True)):
        if hollow and not found:
            continue
        write(fig, 16, y, head, fontsize=13)
        for ax, metric in zip(
            panels(fig, y + 86, row_px, list(found), metrics, left) if found else [], metrics
        ):
            for i, group in enumerate(found.values()):
                for way in group:
                    if metric in group[way]:
                        dot(
                            ax,
                            i + (ways.index(way) - (len(ways) - 1) / 2) * 28 / row_px,
                            group[way][metric],
                            *WAYS[way][1:],
                            hollow=hollow,
                        )
        y += row_px * len(found) + (150 if found else 48)
    handles = [
        Line2D(
            [], [], color=WAYS[w][1], marker=WAYS[w][2], markersize=8, linewidth=3.5 * known, label=WAYS[w][0]
        )
        for w in ways
    ]
    fig.legend(handles=handles, loc="lower center", ncols=2, handlelength=1.6, columnspacing=1.6)
    return fig

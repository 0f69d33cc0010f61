"""Clips and tables become figures: fixed size, one palette everywhere, readable where a README shows them at half size.

    labels = {"base": predictions, "refined": refined, "truth": clip.truth}
    plots.strip(clip, 22, labels, zoom=True)             # frame | base | refined | truth
    plots.before_after(table, title="Table 1, mini")

style.py   what all share
clips.py   pictures of clips
charts.py  charts of tables

Knows nothing of models. Figures never enter pyplot's registry, so there is none to close; a notebook shows the one that ends a cell.
"""

from lib.plots.charts import before_after, differences
from lib.plots.clips import largest_difference, masklet_overlay, masklet_sheet, overlay, sheet, strip, viewer
from lib.plots.style import CLASS_COLOURS, ROLES, class_palette

__all__ = ["CLASS_COLOURS", "ROLES", "before_after", "class_palette", "differences", "largest_difference", "masklet_overlay", "masklet_sheet",
           "overlay", "sheet", "strip", "viewer"]

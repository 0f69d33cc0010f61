"""Clips and tables become figures: fixed size, one palette everywhere, readable where a README shows them
at half size.

    labels = {"base": predictions, "refined": refined, "truth": clip.truth}
    plots.strip(clip, 22, labels, zoom=True)             # frame | base | refined | truth
    plots.before_after(table, title="Table 1, mini")

style.py   what all share
clips.py   pictures of clips
charts.py  charts of tables
curves.py  ablations
cost.py    time per frame
segmentor.py Table 3
where.py   where refinement helps and where it hurts
forest.py  claims

Knows nothing of models. Figures never enter pyplot's registry, so there is none to close; a notebook shows
the one that ends a cell.
"""

from .charts import before_after
from .clips import gallery, largest_difference, masklet_overlay, masklet_sheet, overlay, sheet, strip, viewer
from .cost import cost
from .curves import ablation_curve
from .forest import forest
from .segmentor import segmentor
from .style import CLASS_COLOURS, ROLES, class_palette
from .where import accuracy_by_distance, gain_by_class, score_by_clip

__all__ = [
    "CLASS_COLOURS",
    "ROLES",
    "ablation_curve",
    "accuracy_by_distance",
    "before_after",
    "class_palette",
    "cost",
    "forest",
    "gain_by_class",
    "gallery",
    "largest_difference",
    "masklet_overlay",
    "masklet_sheet",
    "overlay",
    "score_by_clip",
    "segmentor",
    "sheet",
    "strip",
    "viewer",
]

"""Clips and tables become figures: fixed size, one palette everywhere, readable where a README shows them
at half size.

    labels = {"base": predictions, "refined": refined, "truth": clip.truth}
    plots.strip(clip, 22, labels, zoom="mended")         # frame | base | refined | truth
    plots.before_after(table, title="Table 1, mini", differences=differences, extent=study.extent)

style.py     width, fonts, colours          blocks.py    what several charts share
clips.py     frames beside label maps       overlays.py  label maps and masklets as pixels
words.py     what refinement did, in words  slider.py    a slider over frames
levels.py    Tables 1 and 2                 by_class.py, by_clip.py, distance.py  where refinement helps
table3.py    Table 3                        curves.py    Tables 4 to 7
stages.py    time per frame                 claims.py    what the paper claims

Knows nothing of models. A chart says on how much was measured (`extent`) and what its lines are (`interval`).
Figures never enter pyplot's registry, so there is none to close; a notebook shows the one that ends a cell.
A name is loaded when it is first asked for: whoever needs a colour does not wait for seaborn. No file has the
name of one of these functions, or the one would hide the other.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "blocks": ["INTERVAL"],
        "by_class": ["gain_by_class"],
        "by_clip": ["score_by_clip"],
        "clips": ["gallery", "masklet_sheet", "sheet", "strip"],
        "stages": ["cost"],
        "curves": ["ablation_curve"],
        "distance": ["accuracy_by_distance"],
        "claims": ["forest"],
        "levels": ["before_after"],
        "overlays": ["largest_difference", "largest_gain", "masklet_overlay", "overlay", "twins"],
        "table3": ["segmentor"],
        "style": ["CLASS_COLOURS", "ROLES", "class_palette"],
        "slider": ["viewer"],
        "words": ["in_words"],
    },
)

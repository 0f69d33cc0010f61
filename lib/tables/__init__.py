"""The tables: which rows a table has, what is measured for each, and what the numbers say in words.

    result = tables.refiner_table(study)          # what 01_refiner shows
    result.measured(), result.gains(), result.printed()
    result.save(out, figure)

result.py     a table with all that belongs to it     rows.py   tidy lines, paired differences, provenance
refiner.py    Table 1                                 cross.py  Table 2
segmentor.py  Table 3 (segmentor_scores.py: its rows)   ablation.py Tables 4 to 7 (ablation_scores.py)
where.py      where refinement helps and hurts        paper.py  the paper's printed numbers
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "result": ["Gain", "Result"],
        "rows": [
            "MARGIN",
            "NO_INTERVAL",
            "at_level",
            "contrast",
            "p_value",
            "paired",
            "record",
            "setting_note",
            "tidy",
            "verdict",
        ],
        "refiner": ["COMPARED", "LABELS", "refiner_notes", "refiner_rows", "refiner_table"],
        "cross": ["cross_example", "cross_notes", "cross_table", "open_cross", "void_share", "void_table"],
        "segmentor": ["CLAIMS", "segmentor_notes", "segmentor_record", "segmentor_table"],
        "segmentor_scores": ["SegmentorSettings", "segmentor_labels", "segmentor_rows"],
        "ablation": [
            "ablation_claims",
            "ablation_notes",
            "ablation_record",
            "ablation_table",
            "not_better",
            "together",
        ],
        "ablation_scores": [
            "ABLATIONS",
            "Ablation",
            "ablation_clips",
            "ablation_counts",
            "ablation_of",
            "ablation_settings",
            "masklet_density",
        ],
        "where": ["Details", "detail_notes", "details", "examples"],
    },
)

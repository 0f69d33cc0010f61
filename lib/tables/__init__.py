"""The tables: which rows a table has, what is measured for each, and what the numbers say in words. One
file per kind of table.

    table, not_run, differences = tables.refiner_table(study)          # what 01_refiner shows

rows.py     what all tables share: tidy lines, paired differences, provenance
refiner.py  Table 1
cross.py    Table 2
segmentor.py Table 3
ablation.py Tables 4 to 7
where.py    where refinement helps and where it hurts
cost.py     time and memory, measured and predicted; shortcuts.py  what approximations save and cost
changes.py  what all tables measure, as changes; claims.py  the paper's claims held against them
"""

from importlib import import_module

from ..report.text import COLUMNS, METRICS
from ..study.controls import true_regions
from .ablation import (
    ABLATIONS,
    Ablation,
    ablation_claims,
    ablation_clips,
    ablation_counts,
    ablation_notes,
    ablation_of,
    ablation_record,
    ablation_settings,
    ablation_table,
    masklet_density,
    not_better,
    together,
)
from .cross import cross_example, cross_notes, cross_table, open_cross, void_share, void_table
from .refiner import LABELS, refiner_notes, refiner_rows, refiner_table
from .rows import MARGIN, paired, record, setting_note, tidy, verdict
from .segmentor import (
    CLAIMS,
    SegmentorSettings,
    segmentor_labels,
    segmentor_notes,
    segmentor_record,
    segmentor_rows,
    segmentor_table,
)
from .where import Details, detail_notes, details, examples

__all__ = [
    "cross_example",
    "cross_notes",
    "cross_table",
    "open_cross",
    "void_share",
    "void_table",
    "ABLATIONS",
    "Ablation",
    "COLUMNS",
    "LABELS",
    "MARGIN",
    "METRICS",
    "cost_table",
    "paired",
    "record",
    "refiner_notes",
    "refiner_rows",
    "refiner_table",
    "setting_note",
    "tidy",
    "true_regions",
    "verdict",
    "ablation_claims",
    "ablation_clips",
    "ablation_counts",
    "ablation_notes",
    "ablation_of",
    "ablation_record",
    "ablation_settings",
    "ablation_table",
    "masklet_density",
    "not_better",
    "together",
    "CLAIMS",
    "SegmentorSettings",
    "segmentor_labels",
    "segmentor_notes",
    "segmentor_record",
    "segmentor_rows",
    "segmentor_table",
    "shortcuts_table",
    "Details",
    "detail_notes",
    "details",
    "examples",
    "claims_notes",
    "claims_table",
    "forest_rows",
    "judge",
    "ledger",
    "measured_changes",
]

# cost and claims stand on the tables: their names are handed on here, and loaded when asked for
_LATER = {
    "measured_changes": "claims.changes",
    **dict.fromkeys(("claims_notes", "claims_table", "forest_rows", "judge", "ledger"), "claims.ledger"),
    "shortcuts_table": "cost.shortcuts",
    "cost_table": "cost.table",
}


def __getattr__(name: str):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"..{_LATER[name]}", __name__), name)

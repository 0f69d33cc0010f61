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

from ..claims.changes import measured_changes
from ..claims.ledger import claims_notes, claims_table, forest_rows, judge, ledger
from ..cost.shortcuts import shortcuts_table
from ..cost.table import cost_table
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
from .rows import MARGIN, Gain, at_level, p_value, paired, record, setting_note, tidy, verdict
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
    "Gain",
    "at_level",
    "p_value",
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

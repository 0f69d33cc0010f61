"""The tables: which rows a table has, what is measured for each, and what the numbers say in words. One file per kind of table.

    table, not_run, differences = tables.refiner_table(study)          # what 01_refiner shows

rows.py     what all tables share: tidy lines, paired differences, provenance
refiner.py  Table 1
"""

from lib.report import COLUMNS, METRICS
from lib.tables.refiner import LABELS, refined, refiner_notes, refiner_rows, refiner_table, true_regions
from lib.tables.rows import paired, record, setting_note, tidy, verdict

__all__ = ["COLUMNS", "LABELS", "METRICS", "paired", "record", "refined", "refiner_notes", "refiner_rows", "refiner_table", "setting_note", "tidy", "true_regions", "verdict"]

"""The numbers printed in the paper, kept in data/paper/ and quoted beside what is measured here, never in its place."""

import pandas as pd

from lib.paths import ROOT

TABLES = range(1, 8)
_LABELS = ("method", "backbone", "setting")


def read_paper_table(number: int) -> pd.DataFrame:
    """Read one of the paper's seven result tables, a row for each printed row, in the printed order.

    Args:
        number: the paper's own table number, 1 to 7.

    Returns:
        The labels as text: `method` and `backbone` (Tables 1 and 3; "" where the paper prints a dash), `method` (2) or `setting` (4 to 7).
        Then the metrics as floats in percent, NaN where the paper prints a dash: mIoU, wIoU, mBIoU, mVC8, mVC16, less wIoU in Table 2
        and less mBIoU in Tables 4 to 7.

    Raises:
        ValueError: the paper has no table of that number.

    Source: paper Tables 1 to 7; data/paper/README.md says how they were copied.
    """
    if number not in TABLES:
        raise ValueError(f"Expected argument `number` to be the number of a table of the paper, 1 to 7, but got {number!r}")
    # ROOT, not DATA: whoever keeps the data sets on another disk still finds the quoted numbers in the project.
    table = pd.read_csv(ROOT / "data" / "paper" / f"table{number}.csv", dtype={label: str for label in _LABELS})
    return table.fillna({label: "" for label in _LABELS if label in table})

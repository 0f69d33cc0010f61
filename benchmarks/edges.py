"""List the printed cells of a profile's reports that are within 0.001 points of an edge of rounding, and the
verdicts that are as near zero or the margin of "same".

    python -m benchmarks.edges reports/mini

Nothing fails: these are the cells that may differ on another machine. Times of `cost` are left out.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from lib.paths import REPORTS
from lib.report import read_table
from lib.report.edges import WITHIN, near_rounding, near_verdict
from lib.tables import MARGIN


def listed(folder: Path, within: float = WITHIN) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Collect what `near_rounding` and `near_verdict` list of every table.csv in a profile's folder."""
    rounding, verdicts = [], []
    for path in sorted(folder.glob("*/table.csv")):
        if path.parent.name == "cost":
            continue
        table = read_table(path)
        rounding.append(near_rounding(table, within).assign(report=path.parent.name))
        verdicts.append(near_verdict(table, (0.0, MARGIN, -MARGIN), within).assign(report=path.parent.name))
    if not rounding:
        raise SystemExit(f"{folder}: no table.csv in its folders. Run `make reports` first.")
    return pd.concat(rounding, ignore_index=True), pd.concat(verdicts, ignore_index=True)


def main(arguments=None) -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    options.add_argument("folder", type=Path, nargs="?", default=REPORTS / "mini")
    options.add_argument("--within", type=float, default=WITHIN, help="points")
    options = options.parse_args(arguments)
    for what, lines in zip(
        ("an edge of rounding", "a bound of a verdict"), listed(options.folder, options.within)
    ):
        print(f"{len(lines)} cells within {options.within} points of {what}")
        if len(lines):
            columns = ["report", *lines.columns.drop("report")]
            print(lines[columns].to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())

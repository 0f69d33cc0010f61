"""The numbers printed in the paper, kept in data/paper/ and quoted beside what is measured here, never in
its place."""

from collections.abc import Mapping

import pandas as pd

from ..config import MaskletSettings
from ..paths import ROOT

TABLES = range(1, 8)
ABLATED = {4: "window", 5: "grid", 6: "iou", 7: "stability"}  # which of MaskletSettings a table varies
# what those tables refine, Sec. 4.1.2; also what fills for I-SAM2, Sec. 4.2
ABLATED_MODEL = ("CFFM", "MiT-B1")
VIPSEG_ROWS = {
    "SAM2-CAVIS": "CAVIS (R50)",
    "SAM2-DVIS++": "DVIS++ (R50)",
    "SAM2-DVIS": "DVIS (Swin-L)",
    "SAM2-DVIS (offline)": "DVIS (Swin-L, offline)",
}
_LABELS = ("method", "backbone", "setting")


def read_paper_table(number: int) -> pd.DataFrame:
    """Read one of the paper's seven result tables, a row for each printed row, in the printed order.

    Args:
        number: the paper's own table number, 1 to 7.

    Returns:
        The labels as text: `method` and `backbone` (Tables 1 and 3; "" where the paper prints a dash),
            `method` (2) or `setting` (4 to 7).
        Then the metrics as floats in percent, NaN where the paper prints a dash: mIoU, wIoU, mBIoU, mVC8,
            mVC16, less wIoU in Table 2
        and less mBIoU in Tables 4 to 7.

    Raises:
        ValueError: the paper has no table of that number.

    Source: paper Tables 1 to 7; data/paper/README.md says how they were copied.
    """
    if number not in TABLES:
        raise ValueError(
            f"Expected argument `number` to be the number of a table of the paper, 1 to 7, but got {number!r}"
        )
    # ROOT, not DATA: whoever keeps the data sets on another disk still finds the quoted numbers in the
    # project.
    table = pd.read_csv(
        ROOT / "data" / "paper" / f"table{number}.csv", dtype={label: str for label in _LABELS}
    )
    return table.fillna({label: "" for label in _LABELS if label in table})


def read_paper() -> dict[int, pd.DataFrame]:
    """Read all seven tables: {number: as `read_paper_table`}."""
    return {number: read_paper_table(number) for number in TABLES}


def apart(row: tuple[str, str, str], data: str = "VSPW") -> tuple[str, str, str]:
    """Name the row of a printed number where a row of the same name was measured on another data set: the two
    do not stand in one row."""
    return *row[:2], ", ".join(filter(None, (row[2], f"paper, {data}")))


def default_setting(number: int) -> str:
    """Name the row of Tables 4 to 7 that has the paper's default settings (Sec. 3.1)."""
    return str(getattr(MaskletSettings(), ABLATED[number]))


def vipseg_name(method: str, backbone: str) -> str:
    """Name a base model as the paper's Table 2 does: "DVIS (offline)", "Swin-L" is "DVIS (Swin-L,
    offline)"."""
    printed = VIPSEG_ROWS.get(f"SAM2-{method}", "")
    return printed if f"({backbone}" in printed else f"{method} ({backbone})"


def printed_changes(tables: Mapping[int, pd.DataFrame]) -> dict[str, dict[tuple[str, str], dict[str, float]]]:
    """Work out the changes that the paper's words speak of from its printed numbers.

    Args: tables: as `read_paper` gives them.
    Returns: {what is compared: {(model, setting): {metric: change in points}}}, rounded to the two decimals
        that are printed at most; a dash gives no
        change. What is compared: "refiner" (Table 1, refined minus base), "cross" (Table 2, the same),
            "window" (Table 4, longest minus shortest),
        "grid", "iou", "stability" (Tables 5 to 7, each other value minus the default), and of Table 3 "below"
        (I-SAM2 minus CFFM), "fill" (with base fill minus without), "encoder" (I-CFFM minus I-SAM2), "trained"
        (I-CFFM minus CFFM). The first two also have "mBIoU - mIoU".
    """
    one, two, three = (
        tables[1].set_index(["method", "backbone"]),
        tables[2].set_index("method"),
        tables[3].set_index(["method", "backbone"]),
    )
    backbones = [backbone for method, backbone in three.index if method == "I-CFFM"]
    sam, sam_filled = three.loc[("I-SAM2", "")], three.loc[("I-SAM2_base", "")]
    changes = {
        "refiner": {
            (f"{m.removeprefix('SAM2-')} {b}", ""): _minus(row, one.loc[(m.removeprefix("SAM2-"), b)])
            for (m, b), row in one.iterrows()
            if m.startswith("SAM2-")
        },
        "cross": {
            (base, ""): _minus(two.loc[refined], two.loc[base]) for refined, base in VIPSEG_ROWS.items()
        },
        "below": {(f"CFFM {b}", ""): _minus(sam, three.loc[("CFFM", b)]) for b in backbones},
        "fill": {(f"I-SAM2 with {' '.join(ABLATED_MODEL)}", ""): _minus(sam_filled, sam)}
        | {
            (f"I-CFFM {b}", ""): _minus(three.loc[("I-CFFM_base", b)], three.loc[("I-CFFM", b)])
            for b in backbones
        },
        "encoder": {(f"I-CFFM {b}", ""): _minus(three.loc[("I-CFFM", b)], sam) for b in backbones},
        "trained": {
            (f"CFFM {b}", ""): _minus(three.loc[("I-CFFM", b)], three.loc[("CFFM", b)]) for b in backbones
        },
    }
    for row in (*changes["refiner"].values(), *changes["cross"].values()):
        row["mBIoU - mIoU"] = round(row["mBIoU"] - row["mIoU"], 2)
    for number, name in ABLATED.items():
        rows, default = tables[number].set_index("setting"), default_setting(number)
        pairs = (
            [(rows.index[-1], rows.index[0])]
            if name == "window"
            else [(value, default) for value in rows.index if value != default]
        )
        changes[name] = {
            (" ".join(ABLATED_MODEL), f"{after} - {before}"): _minus(rows.loc[after], rows.loc[before])
            for after, before in pairs
        }
    return changes


def _minus(after: pd.Series, before: pd.Series) -> dict[str, float]:
    """Subtract two printed rows, metric by metric, where both print a number."""
    return {
        metric: round(float(change), 2) for metric, change in (after - before).items() if pd.notna(change)
    }

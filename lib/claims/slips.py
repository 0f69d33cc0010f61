"""Where the paper's printed numbers disagree with one another or with its own words, found by comparing them.

inconsistencies(read_paper())        # one line per disagreement
statements(read_paper())             # every statement of the text that its tables can confirm, confirmed
or not
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

import pandas as pd

from ..tables.paper import ABLATED, ABLATED_MODEL, default_setting, printed_changes

COLUMNS = ("what", "where", "values", "difference")
STEP = 0.1  # points: the smallest change that one printed decimal can show
SMALL = 1.0  # points: what "negligible", "minimal" and "competitive" may mean, as the text gives no number
# the data set that a caption names; those of Tables 4 to 7 name none
CAPTIONED = {1: "VSPW", 2: "VIPSeg", 3: "VSPW"}

Tables = Mapping[int, pd.DataFrame]


@dataclass(frozen=True)
class Statement:
    """A sentence of the paper and the printed numbers that it is about."""

    section: str
    says: str  # in the paper's words
    meaning: str  # what the numbers must satisfy
    values: tuple[float, ...]
    least: float = -inf
    most: float = inf

    def __post_init__(self):
        if not self.values:
            raise ValueError(f"Expected printed numbers for the statement {self.says!r}, but got none.")

    @property
    def miss(self) -> float:
        """How far the worst value lies outside; 0 if all agree."""
        return round(max(0.0, self.least - min(self.values), max(self.values) - self.most), 2)


def inconsistencies(tables: Tables) -> pd.DataFrame:
    """Find what cannot all be right.

    Args: tables: as `lib.tables.paper.read_paper` gives them.
    Returns: columns COLUMNS, a line each for a quantity printed with two values, a number with other decimals
        than the rest, and a statement of the text that its tables contradict; `difference` is largest minus
        smallest value, what the extra decimals add, or how far a statement misses.
    Raises: ValueError if a table lacks the row of the default settings.
    """
    lines = [*_two_values(tables), *_odd_decimals(tables)]
    for s in _statements(tables):
        if s.miss:
            lines.append((f'"{s.says}"', f"Sec. {s.section}: {s.meaning}", _shown(s.values), s.miss))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def statements(tables: Tables) -> pd.DataFrame:
    """List the statements of the text that the tables can confirm: section, says, meaning, values and
    agrees ("yes" or by how much not)."""
    lines = [
        (s.section, s.says, s.meaning, _shown(s.values), f"no, by {s.miss:g}" if s.miss else "yes")
        for s in _statements(tables)
    ]
    return pd.DataFrame(lines, columns=["section", "says", "meaning", "values", "agrees"])


def _printed(tables: Tables) -> Iterator[tuple[str, str, int, float]]:
    """Yield (row, metric, table, number) of every printed number; rows of one name print one quantity,
    wherever they stand."""
    ablated = "SAM2-" + " ".join(ABLATED_MODEL)
    for number, table in tables.items():
        labels = [name for name in ("method", "backbone", "setting") if name in table]
        for row in table.to_dict("records"):
            name = " ".join(filter(None, (row[label] for label in labels)))
            if number in ABLATED:
                is_default = row["setting"] == default_setting(number)
                name = ablated if is_default else f"{ablated}, {ABLATED[number]} {row['setting']}"
            yield from (
                (name, m, number, row[m])
                for m in table.columns.difference(labels, sort=False)
                if pd.notna(row[m])
            )


def _two_values(tables: Tables) -> Iterator[tuple]:
    """Find quantities that several tables print, with different values."""
    for number in ABLATED:
        if default_setting(number) not in set(tables[number]["setting"]):
            raise ValueError(
                f"Expected Table {number} to have a row {default_setting(number)}, the default, but got {list(tables[number]['setting'])}."
            )
    found: dict[tuple[str, str], dict[float, list[int]]] = {}
    for row, metric, number, value in _printed(tables):
        found.setdefault((row, metric), {}).setdefault(value, []).append(number)
    for (row, metric), values in found.items():
        if len(values) > 1:
            places = {
                value: ("Table " if len(numbers) == 1 else "Tables ") + ", ".join(map(str, numbers))
                for value, numbers in values.items()
            }
            said = ", ".join(f"{value:g} ({place})" for value, place in places.items())
            yield f"{metric} of {row}", "; ".join(places.values()), said, round(max(values) - min(values), 2)


def _odd_decimals(tables: Tables) -> Iterator[tuple]:
    """Find numbers with more decimals than the one that the tables print."""
    for row, metric, number, value in _printed(tables):
        if value != round(value, 1):
            yield (
                f"{metric} of {row} has more than one decimal",
                f"Table {number}",
                f"{value:g}",
                round(abs(value - round(value, 1)), 3),
            )


def _shown(values: tuple[float, ...]) -> str:
    """Write a few values as they are, and many by their range."""
    values = [round(value, 1) + 0.0 for value in values]
    return (
        ", ".join(f"{value:g}" for value in values)
        if len(values) <= 6
        else f"{min(values):g} to {max(values):g} ({len(values)} numbers)"
    )


def _statements(tables: Tables) -> list[Statement]:
    """Read the text against the tables, in the order of the text; each sentence that speaks of printed
    numbers stands here."""
    changes = printed_changes(tables)

    def change(part: str, *metrics: str) -> tuple[float, ...]:
        return tuple(
            row[m]
            for row in changes[part].values()
            for m in (metrics or row)
            if m in row and (metrics or "-" not in m)
        )

    window = tables[4].drop(columns="setting")
    other_sets = len({data for data in CAPTIONED.values()} - {"VSPW"})
    rivals = [
        min(row.values())
        for part in ("iou", "stability")
        for row in changes[part].values()
        if any(row.values())
    ]
    worst = tables[3].set_index("method")[["mIoU", "wIoU", "mBIoU", "mVC8", "mVC16"]]
    gaps = worst.loc["I-SAM2_base"] - worst[~worst.index.str.startswith("I-SAM2")]
    return [
        Statement(
            "Abstract",
            "enhances overall performance in VSS, primarily due to its precise predictions of object boundaries",
            "Tables 1 and 2: mBIoU gains more than mIoU",
            change("refiner", "mBIoU - mIoU") + change("cross", "mBIoU - mIoU"),
            least=STEP,
        ),
        Statement(
            "4",
            "All experiments were performed using the VSPW dataset",
            "no caption names another data set",
            (other_sets,),
            most=0,
        ),
        Statement(
            "4.1",
            "enhancing the overall performance of the models across all evaluation metrics",
            "Table 1: every score rises",
            change("refiner"),
            least=STEP,
        ),
        Statement(
            "4.1",
            "consistent improvement in visual consistency across various VSS backbones and their variants",
            "Table 1: mVC8 and mVC16 rise",
            change("refiner", "mVC8", "mVC16"),
            least=STEP,
        ),
        Statement(
            "4.1.1",
            "consistently improves boundary accuracy",
            "Table 2: mBIoU rises",
            change("cross", "mBIoU"),
            least=STEP,
        ),
        Statement(
            "4.1.1",
            "maintaining competitive performance on other metrics",
            f"Table 2: mIoU and mVC lose no more than {SMALL:g}",
            change("cross", "mIoU", "mVC8", "mVC16"),
            least=-SMALL,
        ),
        Statement(
            "4.1.2",
            "negligible impact on the quantitative quality of the segmentation masks (mIoU)",
            f"Table 4: mIoU stays within {SMALL:g} of window 1",
            tuple(window["mIoU"] - window["mIoU"].iloc[0]),
            -SMALL,
            SMALL,
        ),
        Statement(
            "4.1.2",
            "a consistent improvement in visual consistency",
            "Table 4: mVC8 and mVC16 rise from each window to the next",
            tuple(window[["mVC8", "mVC16"]].diff().iloc[1:].round(2).to_numpy().ravel()),
            least=STEP,
        ),
        Statement(
            "4.1.2",
            "minimal differences in performance across various prompt sizes",
            f"Table 5: every score stays within {SMALL:g} of grid 16",
            change("grid"),
            -SMALL,
            SMALL,
        ),
        Statement(
            "4.1.2",
            "0.6 for confidence and 0.8 for stability to establish an optimal balance",
            "Tables 6 and 7: each other threshold loses in some metric what it may gain in others",
            tuple(rivals),
            most=-STEP,
        ),
        Statement(
            "4.2",
            "even with assistance from the segmentors in the base mode, which has the worst performance compared to other methods",
            "Table 3: I-SAM2_base is below every row of CFFM and I-CFFM, in every metric",
            tuple(gaps.to_numpy().ravel().round(2)),
            most=-STEP,
        ),
        *_ten_percent(tables[3]),
        Statement(
            "4.2",
            "a drastic decline in visual consistency",
            "Table 3: I-CFFM is below CFFM in mVC8 and mVC16",
            change("trained", "mVC8", "mVC16"),
            most=-STEP,
        ),
        Statement(
            "6",
            "consistent improvements in mBIoU across different methods and datasets",
            "Tables 1 and 2: mBIoU rises",
            change("refiner", "mBIoU") + change("cross", "mBIoU"),
            least=STEP,
        ),
    ]


def _ten_percent(table: pd.DataFrame) -> list[Statement]:
    """Read "at least 10 %" in each way that it can be meant: with and without base fill, in percent of
    CFFM's mIoU and in points."""
    miou = table.set_index(["backbone", "method"])["mIoU"].unstack().dropna(subset="CFFM")
    says, found = (
        "a drop of at least 10% in the quantitative accuracy of predictions, measured by mIoU values",
        [],
    )
    for method in ("I-CFFM", "I-CFFM_base"):
        points = miou["CFFM"] - miou[method]
        for drop, unit in ((100 * points / miou["CFFM"], "percent of CFFM"), (points, "points")):
            found.append(
                Statement(
                    "4.2",
                    says,
                    f"Table 3: mIoU drop from CFFM to {method}, in {unit}, is 10 or more",
                    tuple(drop),
                    least=10,
                )
            )
    return found

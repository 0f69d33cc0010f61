"""What the paper's text says about its printed numbers, each sentence held against the tables.

statements(read_paper())             # confirmed or not
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf

import pandas as pd

from ..tables.paper import printed_changes

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


def statements(tables: Tables) -> pd.DataFrame:
    """List the statements of the text that the tables can confirm: section, says, meaning, values and
    agrees ("yes" or by how much not)."""
    lines = [
        (s.section, s.says, s.meaning, range_text(s.values), f"no, by {s.miss:g}" if s.miss else "yes")
        for s in read_statements(tables)
    ]
    return pd.DataFrame(lines, columns=["section", "says", "meaning", "values", "agrees"])


def range_text(values: tuple[float, ...]) -> str:
    """Write a few values as they are, and many by their range."""
    values = [round(value, 1) + 0.0 for value in values]
    return (
        ", ".join(f"{value:g}" for value in values)
        if len(values) <= 6
        else f"{min(values):g} to {max(values):g} ({len(values)} numbers)"
    )


def read_statements(tables: Tables) -> list[Statement]:
    """Read the text against the tables, in the order of the text; each sentence that speaks of printed
    numbers stands here."""
    changes = printed_changes(tables)
    change = partial(_changes, changes)
    return [*_of_refiner(change), *_of_ablations(tables, changes), *_of_segmentor(tables, change)]


def _changes(changes: Mapping, part: str, *metrics: str) -> tuple[float, ...]:
    """Return the printed changes of a part, of all metrics or of those named."""
    return tuple(
        row[m]
        for row in changes[part].values()
        for m in (metrics or row)
        if m in row and (metrics or "-" not in m)
    )


def _of_refiner(change: Callable[..., tuple[float, ...]]) -> list[Statement]:
    """Read the abstract and Sec. 4 to 4.1.1, on Tables 1 and 2."""
    other_sets = len({data for data in CAPTIONED.values()} - {"VSPW"})
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
    ]


def _of_ablations(tables: Tables, changes: Mapping) -> list[Statement]:
    """Read Sec. 4.1.2, on Tables 4 to 7."""
    window = tables[4].drop(columns="setting")
    rivals = [
        min(row.values())
        for part in ("iou", "stability")
        for row in changes[part].values()
        if any(row.values())
    ]
    return [
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
            _changes(changes, "grid"),
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
    ]


def _of_segmentor(tables: Tables, change: Callable[..., tuple[float, ...]]) -> list[Statement]:
    """Read Sec. 4.2 and 6, on Table 3 and on all."""
    worst = tables[3].set_index("method")[["mIoU", "wIoU", "mBIoU", "mVC8", "mVC16"]]
    gaps = worst.loc["I-SAM2_base"] - worst[~worst.index.str.startswith("I-SAM2")]
    return [
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
    says = "a drop of at least 10% in the quantitative accuracy of predictions, measured by mIoU values"
    readings = []
    for method in ("I-CFFM", "I-CFFM_base"):
        points = miou["CFFM"] - miou[method]
        for drop, unit in ((100 * points / miou["CFFM"], "percent of CFFM"), (points, "points")):
            readings.append(
                Statement(
                    "4.2",
                    says,
                    f"Table 3: mIoU drop from CFFM to {method}, in {unit}, is 10 or more",
                    tuple(drop),
                    least=10,
                )
            )
    return readings

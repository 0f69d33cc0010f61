"""A table with all that belongs to it: why rows were not run, what changed, notes, where it comes from. It
prints itself for a notebook and saves itself as a report.

    result = refiner_table(study)
    result.measured(), result.gains(), result.printed()
    result.save(out, figure)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..intervals import CLIPS, over
from ..report.png import as_png, write_together
from ..report.text import LABELS, Row, as_csv, gains, markdown, rows_of, wide


class Gain(NamedTuple):
    """A change in points, its 95 % interval, paired over clips, and how many those are; NaN bounds where there
    is no interval. `unit` and `skew` as for `lib.intervals.Interval`."""

    change: float
    low: float
    high: float
    n: int
    unit: str = CLIPS
    skew: float = 0.0

    @property
    def over(self) -> str:
        """What the interval is over, "10 clips"; "" where there is none."""
        return "" if np.isnan(self.low) else over(self.n, self.unit)

    def __neg__(self) -> "Gain":
        """The change the other way round."""
        return Gain(-self.change, -self.high, -self.low, self.n, self.unit, -self.skew)


@dataclass(frozen=True)
class Result:
    """A table with all that belongs to it."""

    title: str  # plain text that names the profile
    table: pd.DataFrame  # tidy, columns `lib.report.text.COLUMNS` and `OVER`
    not_run: Mapping[Row, str] = field(default_factory=dict)  # why, for rows without a measurement
    # what changed, {key: {metric: change}}, paired over clips; `compared` names the parts of a key
    differences: Mapping[tuple[str, ...], Mapping[str, Gain]] = field(default_factory=dict)
    compared: tuple[str, ...] = ("method", "backbone")
    # Notes and provenance are made when they are asked for: notes may read many masklets, and provenance holds
    # the seconds of all work up to then.
    make_notes: Callable[[], Sequence[str]] = tuple
    make_record: Callable[[], Mapping] = dict
    # {heading: table whose cells are all text} to stand before the numbers
    front: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the table was measured on and what it says, one plain sentence or more each."""
        return tuple(self.make_notes())

    @property
    def record(self) -> dict:
        """What the table came from, as `lib.report.provenance.provenance` says it."""
        return dict(self.make_record())

    def wide(self) -> pd.DataFrame:
        """Lay all rows out as rounded text, those that were not run with the reason."""
        return wide(self.table, self.not_run)

    def measured(self) -> pd.DataFrame:
        """Lay the rows that were run out as rounded text."""
        return wide(self._lines(ran=True), {})

    def printed(self) -> pd.DataFrame:
        """Lay the rows that were not run out as rounded text: the paper's numbers, and why not."""
        return wide(self._lines(ran=False), self.not_run)

    def gains(self) -> pd.DataFrame:
        """Lay out what changed, in points, with its interval paired over clips."""
        return gains(self.differences, self.compared)

    def _lines(self, ran: bool) -> pd.DataFrame:
        return self.table[[(row not in self.not_run) == ran for row in rows_of(self.table)]]

    def with_more(
        self, notes: Sequence[str] = (), front: Mapping[str, pd.DataFrame] | None = None
    ) -> "Result":
        """Return the same result with more notes at the end, and more tables of text."""
        return replace(self, make_notes=lambda: (*self.notes, *notes), front={**self.front, **(front or {})})

    def save(self, out: str | Path, figure: Figure | None = None) -> None:
        """Write table.csv, table.md, figure.png and run.json into a folder, all or none; equal tables give
        equal CSV bytes.

        Args: out: the folder, "" to write nothing; figure: None for no figure.
        Raises: ValueError as `lib.report.text.wide` does, and for a record that JSON cannot hold; then earlier
            files are as they were.
        """
        if not str(out):
            return
        reasons = [dict(zip(LABELS, row, strict=True), why=why) for row, why in self.not_run.items()]
        record = {"title": self.title, **self.record, "not_run": reasons}
        page = markdown(self.table, self.not_run, self.title, self.notes, self.front)
        contents = {
            "table.md": page.encode(),
            "table.csv": as_csv(self.table).encode(),
            "run.json": (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        }
        if figure is not None:
            contents["figure.png"] = as_png(figure)
        write_together(Path(out), contents)
        if figure is None:
            Path(out, "figure.png").unlink(missing_ok=True)  # one of an earlier run would look fresh

"""A table becomes a report folder: table.csv, table.md, figure.png and run.json, all or none."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from matplotlib.figure import Figure

from .png import as_png, write_together
from .text import LABELS, Row, as_csv, markdown


def save(
    out: str | Path,
    table: pd.DataFrame,
    not_run: Mapping[Row, str],
    figure: Figure | None,
    title: str,
    notes: Sequence[str],
    provenance: Mapping,
    front: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> None:
    """Write table.csv, table.md, figure.png and run.json into a folder, all or none; equal tables give
    equal CSV bytes.

    Args: out: the folder, "" to write nothing; table, not_run, title, notes, front: as for `markdown`;
        figure: None for no figure;
        provenance: the dict of that function. run.json holds it with the title and the reasons of `not_run`.
    Raises: ValueError as `wide` does, and for values that JSON lacks; then earlier files are as they were.
    """
    if not str(out):
        return
    reasons = [dict(zip(LABELS, row, strict=True), why=why) for row, why in not_run.items()]
    record = {"title": title, **provenance, "not_run": reasons}
    contents = {
        "table.md": markdown(table, not_run, title, notes, front).encode(),
        "table.csv": as_csv(table).encode(),
        "run.json": (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    if figure is not None:
        contents["figure.png"] = as_png(figure)
    write_together(Path(out), contents)
    if figure is None:
        Path(out, "figure.png").unlink(missing_ok=True)  # one of an earlier run would look fresh

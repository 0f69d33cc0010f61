"""A tidy table as people read it and machines check it: rounded text, Markdown, CSV. Knows nothing of models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from ..intervals import CLIPS, over
from ..text import DECIMALS, rounded, shown

LABELS = ("method", "backbone", "setting")
COLUMNS = (*LABELS, "metric", "measured", "low", "high", "paper")
METRICS = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16", "mVC8_eq4", "mVC16_eq4")
OVER = "over"  # a column that may follow: what the interval is over, as `lib.intervals.over` writes it
Row = tuple[str, str, str]  # method, backbone, setting


def rows_of(table: pd.DataFrame) -> list[Row]:
    """List the (method, backbone, setting) of each line of a table."""
    return list(table[list(LABELS)].itertuples(index=False, name=None))


def check_tidy(table: pd.DataFrame, not_run: Mapping[Row, str]) -> None:
    """Refuse a table that is not tidy, and reasons that do not fit it."""
    if tuple(table.columns) not in (COLUMNS, (*COLUMNS, OVER)):
        raise ValueError(
            f"Expected the columns of `table` to be {COLUMNS}, and perhaps {OVER!r}, but got {tuple(table.columns)}."
        )
    labels = (*LABELS, "metric")
    for name in (*labels, *table.columns[len(COLUMNS) :]):
        if bad := [value for value in table[name] if not isinstance(value, str)]:
            raise ValueError(
                f"Expected column `{name}` of `table` to hold text ('' for none), but got {bad[0]!r}."
            )
    if (twice := table.duplicated(list(labels))).any():
        raise ValueError(
            f"Expected one line per row and metric, but got two for {tuple(table.loc[twice, list(labels)].iloc[0])}."
        )
    ran = table[["measured", "low", "high"]].notna().any(axis=1)
    rows, measured = set(rows_of(table)), set(rows_of(table[ran]))
    if unknown := [row for row in not_run if row not in rows]:
        raise ValueError(f"Expected every key of `not_run` to be a row of `table`, but {unknown[0]} is none.")
    for row, why in not_run.items():
        if not isinstance(why, str) or not why.strip():
            raise ValueError(f"Expected `not_run` to say why {row} was not run, but got {why!r}.")
        if row in measured:
            raise ValueError(f"{row} is in `not_run`, but `table` holds a measurement of it.")


def metrics_of(table: pd.DataFrame) -> list[str]:
    """List the metrics of a table: the study's own in their order, others after them as they come."""
    present = list(dict.fromkeys(table["metric"]))
    return [m for m in METRICS if m in present] + [m for m in present if m not in METRICS]


def _about_intervals(table: pd.DataFrame) -> str:
    """Say what the intervals of a table are, and over how many clips."""
    known = table[table["low"].notna()]
    if known.empty:
        return "One clip alone: there is no interval."
    what = " or ".join(dict.fromkeys(known[OVER])) if OVER in known else CLIPS
    return f"In brackets the 95 % interval over {what}."


def _number(value: float) -> str:
    """Write a number with one decimal, NaN as nothing and minus zero as zero."""
    return "" if np.isnan(value) else f"{rounded(value):.1f}"


def _as_printed(value: float) -> str:
    """Write a number of the paper with the digits that it prints: one decimal, or more where it has more."""
    text = _number(value)
    exact = np.isnan(value) or abs(round(value, DECIMALS) - float(text)) < 10.0 ** -(DECIMALS + 1)
    return text if exact else f"{value:.{DECIMALS}f}".rstrip("0")


def _measured(measured: float, low: float, high: float) -> str:
    """Write a measurement and its interval; without the one there is no other."""
    if np.isnan(measured) or np.isnan(low) or np.isnan(high):
        return _number(measured)
    return f"{_number(measured)} [{_number(low)}, {_number(high)}]"


def wide(table: pd.DataFrame, not_run: Mapping[Row, str]) -> pd.DataFrame:
    """Lay a tidy table out for people, as rounded text that compares equal from run to run.

    Args:
        table: the columns COLUMNS, and perhaps OVER; measured, low, high and paper are floats in percent, NaN where there is
            none.
        not_run: {(method, backbone, setting): why} for the rows that were not run.

    Returns:
        One line per (method, backbone, setting), in the order of their first appearance. Columns: `method`,
        then `backbone` and `setting` unless empty throughout; for each metric its measurement, `41.2 [39.8,
        42.6]`, and `<metric> (paper)` if the paper prints it; last `note`, "not run: why". Every cell is
        text, "" where there is nothing to say.

    Raises: ValueError if the table is not tidy, or `not_run` names no row of it or a measured one.
    """
    check_tidy(table, not_run)
    lines: dict[Row, dict[str, str]] = {}
    for row in table.itertuples(index=False):
        key = (row.method, row.backbone, row.setting)
        line = lines.setdefault(key, dict(zip(LABELS, key, strict=True)))
        line[row.metric] = _measured(row.measured, row.low, row.high)
        line[f"{row.metric} (paper)"] = _as_printed(row.paper)
    for key, why in not_run.items():
        lines[key]["note"] = f"not run: {why}"
    columns = [name for name in LABELS if name == "method" or any(line[name] for line in lines.values())]
    for metric in metrics_of(table):
        columns.append(metric)
        if table.loc[table["metric"] == metric, "paper"].notna().any():
            columns.append(f"{metric} (paper)")
    columns.append("note")
    return pd.DataFrame(
        [[line.get(name, "") for name in columns] for line in lines.values()], columns=columns, dtype=str
    )


def escape(text: str) -> str:
    """Keep what Markdown would take for a tag, emphasis or a line's end; code spans stay as they are."""
    text = " ".join(text.split())
    return re.sub(r"(`[^`]*`)|([<*])", lambda found: found[1] or "\\" + found[2], text)


def _pipe_table(lines: pd.DataFrame, of_text: bool = False) -> list[str]:
    """Write a frame of text as a Markdown table, numbers to the right."""
    rows = [
        [escape(text).replace("|", r"\|") for text in row]
        for row in [list(lines.columns), *lines.values.tolist()]
    ]
    rule = ["---" if of_text or name in LABELS else "---:" for name in lines.columns]
    return ["| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]]]


def _list_rows(rows: Iterable[Row]) -> str:
    """Name rows in one line: "CFFM (MiT-B0, MiT-B1), CAVIS"."""
    heads: dict[str, list[str]] = {}
    for row in rows:
        *head, last = [label for label in row if label] or ["(unnamed)"]
        heads.setdefault(" ".join(head), []).append(last)
    return ", ".join(
        f"{head} ({', '.join(last)})" if head else ", ".join(last) for head, last in heads.items()
    )


def markdown(
    table: pd.DataFrame,
    not_run: Mapping[Row, str],
    title: str,
    notes: Sequence[str] = (),
    front: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> str:
    """Write a table as a Markdown page: what was measured, then what the paper prints for rows not run and
    why, then notes.

    Args: table, not_run: as for `wide`; title: plain text that names the profile; notes: one plain sentence
        or more each; front: {heading: table whose cells are all text} to stand before the numbers.
    Returns: the page, ending in a newline. A paper number stands under "(paper)" or in the section of rows
        that were not run.
    Raises: ValueError as `wide` does.
    """
    check_tidy(table, not_run)
    skipped = np.array([row in not_run for row in rows_of(table)], bool)
    ran, rest = table[~skipped], table[skipped]
    page = [f"# {escape(title)}", ""]
    for heading, lines in front.items():
        page += [
            f"## {escape(heading)}",
            "",
            *(_pipe_table(lines, of_text=True) if len(lines) else ["None."]),
            "",
        ]
    page += ["## Numbers", ""] if front else []
    if ran.empty:
        page += ["Nothing was measured here.", ""]
    else:
        page += [*_pipe_table(wide(ran, {}).drop(columns="note")), ""]
        if set(ran["metric"]) <= set(METRICS):
            page += [f"In percent. {_about_intervals(ran)}", ""]
    page += _not_run_section(rest, not_run) if not_run else []
    if notes:
        page += ["## Notes", "", *(f"- {escape(note)}" for note in notes), ""]
    return "\n".join(page)


def _not_run_section(rest: pd.DataFrame, not_run: Mapping[Row, str]) -> list[str]:
    """Write what the paper prints for rows that were not run, and why they were not."""
    printed = wide(rest[rest["paper"].notna()], {})
    columns = {f"{metric} (paper)": metric for metric in metrics_of(rest)}
    section = ["## " + ("Printed in the paper, not run here" if len(printed) else "Not run here"), ""]
    if len(printed):
        columns_shown = [name for name in printed.columns if name in LABELS or name in columns]
        section += [*_pipe_table(printed[columns_shown].rename(columns=columns)), ""]
    reasons: dict[str, list[Row]] = {}
    for row in dict.fromkeys(rows_of(rest)):
        reasons.setdefault(escape(not_run[row]), []).append(row)
    return section + [
        "Why not:",
        "",
        *(f"- {why.rstrip('.')}: {escape(_list_rows(rows))}." for why, rows in reasons.items()),
        "",
    ]


def as_csv(table: pd.DataFrame) -> str:
    """Write a tidy table with three decimals, the columns COLUMNS, rows in order of appearance and metrics in
    theirs. What the intervals are over stands in the page, not here: these columns are an interface."""
    metrics, numbers = metrics_of(table), list(COLUMNS[4:])
    row = table.groupby(list(LABELS), sort=False).ngroup().to_numpy()
    table = table.iloc[np.lexsort((table["metric"].map(metrics.index), row))][list(COLUMNS)].copy()
    table[numbers] = table[numbers].astype(float).round(DECIMALS) + 0.0  # minus zero is zero
    return table.to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table.csv as `save` wrote it: labels as text, "" for none, numbers as floats in percent, NaN
    for none."""
    numbers = dict.fromkeys(COLUMNS[4:], float)
    return pd.read_csv(
        path,
        dtype={**dict.fromkeys(COLUMNS, str), **numbers},
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )


def gains(
    differences: Mapping[tuple[str, ...], Mapping[str, Sequence]],
    labels: Sequence[str] = ("method", "backbone"),
) -> pd.DataFrame:
    """Lay out what changed, in points: one line per key (by default a base model), `+1.2 [+0.4, +2.0]` per
    metric, paired over clips, and over how many.

    Args: differences: {(method, backbone): {metric: (after minus before, low, high, n, unit, ...)}}, as
        `lib.tables.rows.Gain`, NaN bounds where there is no interval; labels: names of the key's parts.
    """
    lines = []
    for key, row in differences.items():
        line = {
            **dict(zip(labels, key, strict=True)),
            **{metric: shown(gain) for metric, gain in row.items()},
        }
        line[OVER] = " or ".join(dict.fromkeys(over(*gain[3:5]) for gain in row.values()))
        lines.append(line)
    return pd.DataFrame(lines)

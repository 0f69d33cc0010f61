"""Where the paper's printed numbers disagree with one another or with its own words, found by comparing them.

inconsistencies(read_paper())        # one line per disagreement
"""

from collections.abc import Iterator

import pandas as pd

from ..tables.paper import ABLATED, ABLATED_MODEL, default_setting
from .statements import Tables, range_text, read_statements

COLUMNS = ("what", "where", "values", "difference")


def inconsistencies(tables: Tables) -> pd.DataFrame:
    """Find what cannot all be right.

    Args: tables: as `lib.tables.paper.read_paper` gives them.
    Returns: columns COLUMNS, a line each for a quantity printed with two values, a number with other decimals
        than the rest, and a statement of the text that its tables contradict; `difference` is largest minus
        smallest value, what the extra decimals add, or how far a statement misses.
    Raises: ValueError if a table lacks the row of the default settings.
    """
    lines = [*_two_values(tables), *_odd_decimals(tables)]
    for s in read_statements(tables):
        if s.miss:
            lines.append((f'"{s.says}"', f"Sec. {s.section}: {s.meaning}", range_text(s.values), s.miss))
    return pd.DataFrame(lines, columns=list(COLUMNS))


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
    printed: dict[tuple[str, str], dict[float, list[int]]] = {}
    for row, metric, number, value in _printed(tables):
        printed.setdefault((row, metric), {}).setdefault(value, []).append(number)
    for (row, metric), values in printed.items():
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

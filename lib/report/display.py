"""How notebooks show tables: whole cells, all rows, whatever pandas would cut."""

import pandas as pd
from IPython.display import display

WHOLE = ("display.max_colwidth", None, "display.max_rows", None, "display.max_columns", None)


def show(table: pd.DataFrame) -> None:
    """Display a table with all that stands in it."""
    with pd.option_context(*WHOLE):
        display(table)

"""How numbers and changes are written everywhere: in tables, figures and sentences."""

from collections.abc import Sequence

import numpy as np

# of numbers in table.csv: processors differ in the fourth. One decimal is made of these three, so that all that
# is printed follows from the CSV.
DECIMALS = 3


def rounded(value: float) -> float:
    """Round a number to one decimal by the digits that table.csv holds; minus zero is zero."""
    return round(round(value, DECIMALS), 1) + 0.0


def signed(change: float) -> str:
    """Write a change in points as all reports do: "+1.2", and "+0.0" also for what rounds to zero from
    below."""
    return f"{rounded(change):+.1f}"


def shown(change: Sequence) -> str:
    """Write (change, low, high, ...) with its interval, if it has one: "+1.2 [+0.4, +2.0]"."""
    value, low, high = change[:3]
    return signed(value) if np.isnan(low) else f"{signed(value)} [{signed(low)}, {signed(high)}]"

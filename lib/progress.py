"""The one progress bar, quiet under CI and when nobody watches, as in notebooks that are compared; durations in words."""

import os
import sys

from tqdm import tqdm


def quiet() -> bool:
    """Say whether progress bars should stay away."""
    return bool(os.environ.get("CI")) or not sys.stderr.isatty()


def progress(
    steps=None, desc: str | None = None, total: int | None = None, unit: str = "frame", initial: int = 0
):
    """Wrap an iterable (or nothing, for a bar that is updated by hand) in a progress bar."""
    return tqdm(steps, desc=desc, total=total, unit=unit, initial=initial, disable=quiet())


def duration(seconds: float) -> str:
    """Round a duration as one would say it: "40 s", "12 minutes", "3.5 hours", "4 days"."""
    for unit, length, most in (("s", 1, 90), ("minutes", 60, 90), ("hours", 3600, 48)):
        if seconds < most * length:
            return (
                f"{seconds / length:.2g} {unit}"
                if seconds < 10 * length
                else f"{seconds / length:.0f} {unit}"
            )
    return f"{seconds / 86400:.0f} days"

"""The one progress bar: quiet under CI and when nobody watches, as in notebooks that are compared."""

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

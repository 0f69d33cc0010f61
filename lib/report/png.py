"""Figures as files of a report."""

import io
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ..files import replacing
from ..plots.style import small_png

DPI = 150


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put files in place when all are written."""
    with ExitStack() as all_or_none:
        for name, content in contents.items():
            all_or_none.enter_context(replacing(folder / name)).write_bytes(content)


def as_png(figure: Figure) -> bytes:
    """Draw a figure as a report keeps it, in 256 colours: reports are committed."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return small_png(Image.open(picture))


def save_figure(out: str | Path, figure: Figure, name: str = "figure.png") -> None:
    """Write one figure into a report folder, "" to write nothing."""
    if str(out):
        write_together(Path(out), {name: as_png(figure)})

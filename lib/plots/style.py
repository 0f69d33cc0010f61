"""What all figures share: one width, one font, one palette, and pixels from the top left corner as the
unit of layout.

A README shows a figure at half of its width: 10.5 pt here are 8 pt there, and no text is smaller.
"""

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..clips.clip import Clip
from ..clips.datasets import VSPW_CLASSES
from ..config import VOID

__all__ = ["Clip"]  # what pictures need of the other parts comes from here
WIDTH_PX, DPI, GAP = 1700, 150, 8  # twice the width that a README shows; GAP between pictures, in pixels
INK, GREY, GRID, BAND = "#333333", "#777777", "#DDDDDD", "#F4F4F4"
SMALL, HEAD = 10.5, 13  # points: the smallest text, and that of headings
FONT = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 13,
    "legend.fontsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 12,
    "legend.frameon": False,
    "text.color": INK,
}
# whatever style a notebook has set
STYLE = ["default", FONT | {f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")}]
# What meets in streets and parks differs in lightness too: it stays apart under simulated red, green and blue
# blindness (tested)
CLASS_COLOURS = {
    "sky": "#A6DCFF",
    "mountain": "#A87FD4",
    "building": "#B08059",
    "tree": "#004A22",
    "grass": "#9ECD59",
    "path": "#D4D2A1",
    "road": "#768486",
    "water": "#1858CB",
    "car": "#D84000",
    "person": "#9E1783",
    "ball": "#FFD000",
    "pole": "#FFFFFF",
    "trash_can": "#25007D",
    # CamVid's own names
    "pavement": "#D4D2A1",
    "sign": "#FFD000",
    "fence": "#A87FD4",
    "pedestrian": "#9E1783",
    "cyclist": "#25007D",
    "ground": "#9B7B5E",
    "sand": "#E9D8A6",
    "crosswalk": "#C9D1D3",
    "house": "#8A5238",
    "wall": "#C7B299",
    "floor": "#A8978A",
    "river": "#3F7FE0",
    "sea": "#0A3A8F",
    "lake": "#2B66B8",
    "other_plant": "#4F8A3A",
    "flower": "#FF9EC4",
    "bus": "#FF8A4C",
    "truck": "#A83200",
}
# what the prefix of a method's name makes it: (prefix, legend, colour, marker), from the top down in a row
ROLES = {
    "base": ("", "base", "#D55E00", "o"),
    "refined": ("SAM2-", "refined", "#0072B2", "D"),
    "sliding": ("SlidingVote-", "control: sliding vote over 9 frames, no masks", "#8C5FA8", "s"),
    "majority": ("Majority-", "control: per-pixel majority of the window", GREY, "v"),
    "regions": ("TrueRegions-", "control: perfect regions as masklets", "#009E73", "^"),
}
BEFORE, AFTER = ROLES["base"][2], ROLES["refined"][2]  # also of what falls and what rises


class NotebookFigure(Figure):
    """A Figure that a notebook shows without pyplot, in 256 colours: notebooks are committed with their
    pictures."""

    def _repr_png_(self, dpi: int = 90) -> bytes:
        full = io.BytesIO()
        self.savefig(full, format="png", dpi=dpi)
        return small_png(Image.open(full))


def small_png(picture: Image.Image) -> bytes:
    """Write a picture as PNG in 256 colours: white, and those that serve a sample of its pixels best,
    small classes too (as median cut would not)."""
    pixels = np.asarray(picture.convert("RGB"))
    sample = np.random.default_rng(0).choice(pixels.reshape(-1, 3), 30000)
    few = Image.fromarray(sample[None]).quantize(255, Image.Quantize.MAXCOVERAGE, kmeans=1)
    palette = (few.getpalette() + [0] * 765)[:765] + [255, 255, 255]
    few.putpalette(palette)
    ids = np.array(Image.fromarray(pixels).quantize(palette=few, dither=Image.Dither.NONE))
    ids[(pixels == 255).all(2)] = 255  # not the nearest to white, but white
    out, small = Image.fromarray(ids), io.BytesIO()
    out.putpalette(palette)
    out.save(small, format="PNG", optimize=True)
    return small.getvalue()


def new_figure(height_px: float, title: str = "") -> NotebookFigure:
    """Make an empty figure of the width that all have."""
    fig = NotebookFigure(figsize=(WIDTH_PX / DPI, round(height_px) / DPI), dpi=DPI, facecolor="white")
    write(fig, 16, 16, title, fontsize=14, fontweight="bold")
    return fig


def nothing(title: str = "") -> NotebookFigure:
    """Make the figure of a report that measured nothing."""
    fig = new_figure(120, title)
    write(fig, 16, 64, "Nothing was measured here", fontsize=HEAD)
    return fig


def add_axes(fig: Figure, x: float, y: float, width: float, height: float, **options):
    """Add axes at (x, y) pixels from the figure's top left corner."""
    total = fig.get_figheight() * DPI
    return fig.add_axes((x / WIDTH_PX, 1 - (y + height) / total, width / WIDTH_PX, height / total), **options)


def write(fig: Figure, x: float, y: float, text: str, **options):
    """Write at (x, y) pixels from the figure's top left corner."""
    return fig.text(x / WIDTH_PX, 1 - y / (fig.get_figheight() * DPI), text, **{"va": "top", **options})


def spread(i: int) -> tuple[int, int, int]:
    """Colour i of an endless fixed list: hues by the golden ratio, so that neighbours differ, in lightness
    too."""
    rgb = colorsys.hls_to_rgb(
        (0.11 + i * 0.6180339887) % 1, (0.62, 0.36, 0.76, 0.48)[i % 4], (0.85, 0.6, 0.75)[i % 3]
    )
    return tuple(round(255 * c) for c in rgb)


def class_palette(classes: Sequence[str] = VSPW_CLASSES) -> np.ndarray:
    """Return the colours of class ids, (256, 3) uint8 RGB; they go by name, so that a car is the same in
    every data set. VOID is black."""
    palette = np.array([spread(i) for i in range(VOID)] + [(0, 0, 0)], np.uint8)
    for i, name in enumerate(classes):
        if name in CLASS_COLOURS:
            palette[i] = tuple(bytes.fromhex(CLASS_COLOURS[name][1:]))
    return palette


def class_name(name: str) -> str:
    """Write a class's name for people: "handrail_or_fence" becomes "handrail / fence"."""
    return name.replace("_or_", " / ").replace("_", " ")

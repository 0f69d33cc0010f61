"""Clips become pictures: frames beside label maps, and masklets.

A column of labels is a function of the frame number, such as `clip.truth`, or what is indexed by it: a list,
`Predictions`.
"""

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..masklets import Masklets
from .blocks import legend
from .overlays import TWINS, largest_difference, largest_gain, masklet_overlay, overlay, twins
from .style import (
    DPI,
    GAP,
    GREY,
    SMALL,
    STYLE,
    VOID,
    VSPW_CLASSES,
    WIDTH_PX,
    Clip,
    add_axes,
    class_name,
    class_palette,
    new_figure,
    nothing,
    write,
)
from .words import in_words

Columns = Mapping[str, Callable[[int], np.ndarray] | Sequence[np.ndarray]]
JUDGED = ("base", "refined", "truth")  # the columns that a sentence is made from
LINE_PX, CAPTION = 28, 150  # height of a line beside a picture, and its length in characters


def _picture(
    fig: Figure, x: float, y: float, size: tuple[float, float], pixels: np.ndarray, title: str = "", **options
):
    """Show pixels in axes of `size` (height, width)."""
    ax = add_axes(fig, x, y, size[1], size[0], xticks=[], yticks=[])
    ax.imshow(pixels, aspect="auto", **options)
    ax.set_title(title, pad=5)
    return ax


@style.context(STYLE)
def gallery(
    rows: Sequence[tuple[str, Clip, int, Columns]],
    *,
    zoom: bool | str | tuple[str, str] = False,
    classes: Sequence[str] = VSPW_CLASSES,
    alpha: float = 1,
    title: str = "",
    caption: bool = True,
) -> Figure:
    """Show frames in rows, each beside its label maps, with a legend of the classes (of more than 24, the
    largest).

    Args:
        rows: what stands above the row, clip, frame number, {title: label maps}, all with the titles of the
            first.
        zoom: as for `sheet`; classes: names by class id; title: names the profile.
        alpha: as for `overlay`; at 1 colours are those of the legend.
        caption: say above each row what is right and what is wrong, if "base", "refined" and "truth" are
            among the columns.

    Raises: ValueError as `sheet` does.
    Source: after the qualitative figure of the paper (Fig. 3).
    """
    if not rows:
        return nothing(title)
    columns = list(rows[0][3])
    compared = _compared(zoom, columns)
    maps = [
        {name: of[name](t) if callable(of[name]) else of[name][t] for name in columns} for _, _, t, of in rows
    ]
    heads = [label.replace("\n", ", ") for label, *_ in rows]
    words = [
        wrap(in_words(*(row[name] for name in JUDGED), classes), CAPTION)
        if caption and {*JUDGED} <= {*columns}
        else []
        for row in maps
    ]
    present, names = _classes_in(maps, classes)
    in_line = max(1, min(len(names), WIDTH_PX // (17 * max(map(len, names)) + 70)))
    width = (WIDTH_PX - GAP) / (1 + len(columns)) - GAP
    sizes = [(width * clip.size[0] / clip.size[1], width) for _, clip, *_ in rows]
    above = [LINE_PX * (1 + len(text)) + 14 + 34 * (r == 0) for r, text in enumerate(words)]
    row_px = [a + (size[0] + GAP) * (2 if compared else 1) + 2 * GAP for a, size in zip(above, sizes)]
    head = 64 if title else 12
    fig = new_figure(head + sum(row_px) + 36 * -(-len(names) // in_line) + 14, title)
    for r, ((_, clip, t, _), row, size) in enumerate(zip(rows, maps, sizes)):
        y = head + sum(row_px[:r])
        write(fig, GAP + 4, y, heads[r], fontweight="bold")
        for i, line in enumerate(words[r]):
            write(fig, GAP + 4, y + LINE_PX * (1 + i) + 2, line, fontsize=SMALL)
        image = clip.image(t)
        pictures = {"frame": image} | {
            name: overlay(image, labels, alpha, classes) for name, labels in row.items()
        }
        crop = _crop(row, compared) if compared else ()
        for c, (heading, pixels) in enumerate(pictures.items()):
            x = GAP + c * (width + GAP)
            ax = _picture(
                fig, x, y + above[r], size, pixels, heading if r == 0 else "", interpolation="nearest"
            )
            if compared:
                _frame(ax, *crop)
                zoomed = pixels[crop]
                _picture(fig, x, y + above[r] + size[0] + GAP, size, zoomed, interpolation="nearest")
    handles = [
        Patch(facecolor=class_palette(classes)[i] / 255, edgecolor=GREY, linewidth=0.8, label=name)
        for i, name in zip(present, names)
    ]
    sizes = {"handlelength": 1.3, "handleheight": 1.0, "columnspacing": 1.3, "handletextpad": 0.5}
    legend(fig, handles, in_line, **sizes, labelspacing=0.35, borderpad=0.2, borderaxespad=0.2)
    return fig


def _compared(zoom: bool | str | tuple[str, str], columns: Sequence[str]) -> str | tuple[str, str]:
    """Return what a zoom is chosen by: two columns that differ, "mended" or "spoiled"; "" for no zoom."""
    if isinstance(zoom, str) and zoom not in ("", "mended", "spoiled"):
        raise ValueError(
            f"Expected `zoom` to be 'mended', 'spoiled', a flag or two columns, but got {zoom!r}."
        )
    needed = JUDGED if isinstance(zoom, str) and zoom else ("base", "refined") if zoom is True else zoom or ()
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"Expected `zoom` to name two of the columns {columns}, but {missing[0]!r} is none.")
    return zoom if isinstance(zoom, str) else tuple(needed)


def _crop(row: Mapping[str, np.ndarray], compared: str | tuple[str, str]) -> tuple[slice, slice]:
    """Choose the crop of a row that the zoom shows."""
    if compared == "mended":
        return largest_gain(row["base"], row["refined"], row["truth"])
    if compared == "spoiled":
        return largest_gain(row["refined"], row["base"], row["truth"])
    return largest_difference(*(row[name] for name in compared))


def _classes_in(
    maps: Sequence[Mapping[str, np.ndarray]], classes: Sequence[str]
) -> tuple[list[int], list[str]]:
    """List the ids that label maps show, of more than 24 the largest, and their names for a legend."""
    counts = sum(np.bincount(labels.ravel(), minlength=256) for row in maps for labels in row.values())
    present = sorted(i for i in np.argsort(-counts, kind="stable")[:24] if counts[i])
    return present, [
        "void" if i == VOID else class_name(classes[i]) if i < len(classes) else str(i) for i in present
    ]


def _frame(ax, rows: slice, cols: slice) -> None:
    """Outline a crop, the whole line inside it, so that it stays inside the frame too."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    box = ax.get_position()
    per_point = [  # pixels of the image that a point of the figure covers, across and down
        (right - left) / (box.width * WIDTH_PX) * DPI / 72,
        (bottom - top) / (box.height * ax.figure.get_figheight() * DPI) * DPI / 72,
    ]
    for colour, linewidth, inset in (("black", 4, 2), ("white", 2, 2)):
        x, y = (inset * each for each in per_point)
        corner = cols.start - 0.5 + x, rows.start - 0.5 + y
        size = cols.stop - cols.start - 2 * x, rows.stop - rows.start - 2 * y
        ax.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=linewidth, joinstyle="miter")
        )


def sheet(clip: Clip, frames: Sequence[int], columns: Columns, **options) -> Figure:
    """Show frames of a clip in rows, each beside its label maps, with a legend of the classes (of more
    than 24, the largest).

    Args:
        clip: its frames are the first column; frames: frame numbers, a row each.
        columns: {title: label maps} of the other columns, `{"base": ..., "refined": ..., "truth": ...}`.
        zoom: show under each row one crop of every column: "mended" or "spoiled" where refinement puts most
            right or spoils most; two titles where those columns differ most, True for ("base", "refined").
        classes, alpha, caption, title: as for `gallery`.

    Raises: ValueError for no frame or column, a zoom on columns that are not there, labels of another size
        than the frame.
    """
    if not len(frames) or not columns:
        raise ValueError(
            f"Expected at least one frame and one column, but got {len(frames)} and {len(columns)}."
        )
    return gallery([(f"{clip.name}, frame {t}", clip, t, columns) for t in frames], **options)


def strip(clip: Clip, t: int, columns: Columns, **options) -> Figure:
    """Show one frame beside its label maps, `{"base": ..., "refined": ..., "truth": ...}`; options as for
    `sheet`."""
    return sheet(clip, [t], columns, **options)


@style.context(STYLE)
def masklet_sheet(clip: Clip, masklets: Masklets, frames: Sequence[int], title: str = "") -> Figure:
    """Show the masklets of some frames, two or three side by side; a masklet keeps its colour from frame to
    frame, and twins, masklets of the same pixels, share one."""
    n, head = {1: 1, 2: 2, 4: 2}.get(len(frames), 3), 48
    width = (WIDTH_PX - GAP) / n - GAP
    size = width * clip.size[0] / clip.size[1], width
    top, group = 56 if title else 8, twins(masklets, frames)
    fig = new_figure(top + (size[0] + head) * -(-len(frames) // n) + GAP + 44, title)
    for k, t in enumerate(frames):
        masks, found = masklets.masks(t), masklets.frames[t]
        ids = [i for i, mask in zip(found.ids, masks) if mask.any()]
        several, distinct = len(ids), len({group[i] for i in ids})
        heading = f"frame {t}: {several} masklet{'s' * (several != 1)}"
        heading += f", {distinct} distinct" * (distinct != several)
        heading += ", proposed" * (t == found.start)
        pixels = masklet_overlay(clip.image(t), masks, [group[i] for i in found.ids])
        x, y = GAP + k % n * (width + GAP), top + head - 8 + k // n * (size[0] + head)
        _picture(fig, x, y, size, pixels, heading)
    note = (
        f"{clip.name}. Equal colour: the same masklet, or twins "
        f"(mask IoU above {TWINS:g} over these frames). "
        "Dark: no masklet."
    )
    fig.text(0.5, 12 / (fig.get_figheight() * DPI), note, ha="center", va="bottom", fontsize=11)
    return fig

"""Clips become pictures: frames beside label maps, masklets, and a viewer with a slider.

A column of labels is a function of the frame number, such as `clip.truth`, or what is indexed by it: a list,
    `Predictions`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import ipywidgets
import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..clips.clip import Clip
from ..clips.datasets import VSPW_CLASSES
from ..config import VOID
from ..masklets import Masklets
from .style import (
    GAP,
    GREY,
    STYLE,
    WIDTH_PX,
    add_axes,
    class_name,
    class_palette,
    new_figure,
    nothing,
    spread,
    write,
)

Columns = Mapping[str, Callable[[int], np.ndarray] | Sequence[np.ndarray]]


def _blend(image: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """Mix two pictures, rounded to uint8."""
    return (image * np.float32(1 - alpha) + colours * np.float32(alpha) + np.float32(0.5)).astype(np.uint8)


def overlay(
    image: np.ndarray, labels: np.ndarray, alpha: float = 0.6, classes: Sequence[str] = VSPW_CLASSES
) -> np.ndarray:
    """Lay class colours over a frame.

    Args: image: (H, W, 3) uint8 RGB; labels: (H, W) uint8, class ids or VOID; alpha: 0 the frame alone .. 1
        the colours alone.
    Returns: (H, W, 3) uint8. Raises: ValueError if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(
            f"Expected `labels` to be of the frame's size {image.shape[:2]}, but got {labels.shape}."
        )
    return _blend(image, class_palette(classes)[labels], alpha)


def masklet_overlay(
    image: np.ndarray, masks: np.ndarray, ids: Sequence[int], alpha: float = 0.6
) -> np.ndarray:
    """Lay masklets over a frame, each in the colour of its id with a thin white outline; smaller ones lie
    on top, as in the refiner.

    Args: image: (H, W, 3) uint8 RGB; masks: (N, H, W) bool; ids: N ints from 0; alpha: as for `overlay`.
    Returns: (H, W, 3) uint8; where there is no masklet, the frame, darker. Raises: ValueError if shapes or
        counts differ.
    """
    if masks.shape != (len(ids), *image.shape[:2]):
        raise ValueError(
            f"Expected `masks` to be of shape {(len(ids), *image.shape[:2])}, but got {masks.shape}."
        )
    top = np.full(image.shape[:2], -1)
    for i in np.argsort([-np.count_nonzero(m) for m in masks], kind="stable"):
        top[masks[i]] = i
    # -1, no masklet, takes the last
    colours = np.array([spread(i) for i in ids] + [(0, 0, 0)], np.uint8)[top]
    out = _blend(image, colours, alpha)
    out[:-1][top[:-1] != top[1:]] = 255
    out[:, :-1][top[:, :-1] != top[:, 1:]] = 255
    return out


def largest_difference(a: np.ndarray, b: np.ndarray, magnify: int = 4) -> tuple[slice, slice]:
    """Find the crop, 1/`magnify` of the frame, in which two (H, W) label maps differ in most pixels, the
    first of equals; if in none, the centre."""
    (height, width), h, w = a.shape, max(1, a.shape[0] // magnify), max(1, a.shape[1] // magnify)
    total = np.pad((a != b).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    # differing pixels of every crop
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = (
        np.unravel_index(inside.argmax(), inside.shape)
        if inside.any()
        else ((height - h) // 2, (width - w) // 2)
    )
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)


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
    zoom: bool | tuple[str, str] = False,
    classes: Sequence[str] = VSPW_CLASSES,
    alpha: float = 0.8,
    title: str = "",
) -> Figure:
    """Show frames in rows, each beside its label maps, with a legend of the classes (of more than 24, the
    largest).

    Args: rows: what stands beside the row, clip, frame number, {title: label maps}, all with the titles of
        the first; title: names the profile; others as for `sheet`.
    Raises: ValueError as `sheet` does.
    Source: after the qualitative figure of the paper (Fig. 3).
    """
    compared = ("base", "refined") if zoom is True else zoom or ()
    if not rows:
        return nothing(title)
    columns = list(rows[0][3])
    if missing := [name for name in compared if name not in columns]:
        raise ValueError(f"Expected `zoom` to name two of the columns {columns}, but {missing[0]!r} is none.")
    maps = [
        {name: of[name](t) if callable(of[name]) else of[name][t] for name in columns} for _, _, t, of in rows
    ]
    present, names = _classes_in(maps, classes)
    in_line = max(1, min(len(names), WIDTH_PX // (17 * max(map(len, names)) + 70)))

    head, side = (
        92 if title else 44,
        20 + 28 * max(1 + label.count("\n") for label, *_ in rows) if len(rows) > 1 else GAP,
    )
    width = (WIDTH_PX - side) / (1 + len(columns)) - GAP
    sizes = [(width * clip.size[0] / clip.size[1], width) for _, clip, *_ in rows]
    row_px = [(size[0] + GAP) * (2 if compared else 1) + (GAP if len(rows) > 1 else 0) for size in sizes]
    fig = new_figure(head + sum(row_px) + 36 * -(-len(names) // in_line) + 14, title)
    for r, ((label, clip, t, _), row, size) in enumerate(zip(rows, maps, sizes)):
        image, y = clip.image(t), head + sum(row_px[:r])
        pictures = {"frame": image} | {
            name: overlay(image, labels, alpha, classes) for name, labels in row.items()
        }
        crop = largest_difference(*(row[name] for name in compared)) if compared else ()
        if len(rows) > 1:
            write(
                fig,
                side / 2,
                y + row_px[r] / 2 - GAP,
                label,
                rotation=90,
                ha="center",
                va="center",
                ma="center",
            )
        for c, (heading, pixels) in enumerate(pictures.items()):
            x = side + c * (width + GAP)
            ax = _picture(fig, x, y, size, pixels, heading if r == 0 else "")
            if compared:
                _frame(ax, *crop)
                _picture(fig, x, y + size[0] + GAP, size, pixels[crop], interpolation="nearest")
    handles = [
        Patch(facecolor=class_palette(classes)[i] / 255, edgecolor=GREY, linewidth=0.8, label=name)
        for i, name in zip(present, names)
    ]
    fig.legend(
        handles=handles,
        loc="lower center",
        ncols=in_line,
        handlelength=1.3,
        handleheight=1.0,
        columnspacing=1.3,
        handletextpad=0.5,
        labelspacing=0.35,
        borderpad=0.2,
        borderaxespad=0.2,
    )
    return fig


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
    """Outline a crop."""
    box = (cols.start - 0.5, rows.start - 0.5), cols.stop - cols.start, rows.stop - rows.start
    ax.add_patch(Rectangle(*box, fill=False, edgecolor="black", linewidth=4))
    ax.add_patch(Rectangle(*box, fill=False, edgecolor="white", linewidth=2))


def sheet(clip: Clip, frames: Sequence[int], columns: Columns, **options) -> Figure:
    """Show frames of a clip in rows, each beside its label maps, with a legend of the classes (of more
    than 24, the largest).

    Args: clip: its frames are the first column; frames: frame numbers, a row each; columns: {title: label
        maps} of the other columns, `{"truth": clip.truth, "base": ..., "refined": ...}`; zoom: show under
        each row one crop of every column, where two columns
        differ most: those titled so, True for ("base", "refined"); classes: names by class id; alpha: as for
            `overlay`.
    Raises: ValueError for no frame or column, a zoom on columns that are not there, labels of another size
        than the frame.
    """
    if not len(frames) or not columns:
        raise ValueError(
            f"Expected at least one frame and one column, but got {len(frames)} and {len(columns)}."
        )
    return gallery([(f"frame {t}", clip, t, columns) for t in frames], **options)


def strip(clip: Clip, t: int, columns: Columns, **options) -> Figure:
    """Show one frame beside its label maps, `{"base": ..., "refined": ..., "truth": ...}`; options as for
    `sheet`."""
    return sheet(clip, [t], columns, **options)


@style.context(STYLE)
def masklet_sheet(clip: Clip, masklets: Masklets, frames: Sequence[int]) -> Figure:
    """Show the masklets of some frames, two or three side by side; a masklet keeps its colour from frame
    to frame."""
    n, head = {1: 1, 2: 2, 4: 2}.get(len(frames), 3), 48
    width = (WIDTH_PX - GAP) / n - GAP
    size = width * clip.size[0] / clip.size[1], width
    fig = new_figure((size[0] + head) * -(-len(frames) // n) + GAP)
    for k, t in enumerate(frames):
        masks = masklets.masks(t)
        seen = int(masks.any((1, 2)).sum())
        title = f"frame {t}: {seen} masklet{'s' * (seen != 1)}" + (
            ", proposed" if t == masklets.frames[t].start else ""
        )
        pixels = masklet_overlay(clip.image(t), masks, masklets.frames[t].ids)
        _picture(fig, GAP + k % n * (width + GAP), head + k // n * (size[0] + head), size, pixels, title)
    return fig


class _Viewer(ipywidgets.VBox):
    """A slider over pictures. Where no widget can live, on a static page, the picture itself stands; its
    text is the same in every run."""

    def _repr_mimebundle_(self, **options) -> dict:
        slider, image = self.children
        still = {
            "text/plain": f"frame {slider.value} of 0..{slider.max}",
            "image/png": base64.b64encode(image.value).decode(),
        }
        return super()._repr_mimebundle_(**options) | still


def viewer(clip: Clip, columns: Columns, **options) -> ipywidgets.Widget:
    """Make a slider over the frames of a clip, from the middle one, each drawn as by `strip` (options too)
    when it is first asked for.

    Returns: a widget to end a cell with; on a page without widgets it is the picture of the middle frame.
    """
    draw = lru_cache(maxsize=128)(lambda t: strip(clip, t, columns, **options)._repr_png_(dpi=110))
    slider = ipywidgets.IntSlider(
        value=len(clip) // 2, min=0, max=len(clip) - 1, description="frame", layout={"width": "60%"}
    )
    image = ipywidgets.Image(
        value=draw(slider.value), format="png", layout={"width": "100%", "max_width": f"{WIDTH_PX}px"}
    )
    slider.observe(lambda change: image.set_trait("value", draw(change["new"])), "value")
    return _Viewer([slider, image])

"""Clips and tables become figures: fixed size, one palette everywhere, readable where a README shows them at half size.

    labels = {"base": predictions, "refined": refined, "truth": clip.truth}
    plots.strip(clip, 22, labels, zoom=True)             # frame | base | refined | truth
    plots.before_after(table, title="Table 1, mini")

A column of labels is a function of the frame number, such as `clip.truth`, or what is indexed by it: a list, `Predictions`. Knows nothing
of models. Figures never enter pyplot's registry, so there is none to close; a notebook shows the one that ends a cell.
"""

import base64
import colorsys
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from lib.data import VOID, VSPW_CLASSES, Clip
from lib.masklets import Masklets

WIDTH_PX, DPI, GAP = 1700, 150, 8  # twice the width that a README shows; GAP between pictures, in pixels
INK, GREY = "#333333", "#777777"
FONT = {"font.family": "DejaVu Sans", "font.size": 12, "axes.titlesize": 13, "legend.fontsize": 12, "legend.frameon": False, "text.color": INK}
STYLE = ["default", FONT | {f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")}]  # whatever style a notebook has set
Columns = Mapping[str, Callable[[int], np.ndarray] | Sequence[np.ndarray]]
# What meets in streets and parks differs in lightness too: it stays apart under simulated red, green and blue blindness (tested)
CLASS_COLOURS = {
    "sky": "#A6DCFF", "mountain": "#A87FD4", "building": "#B08059", "tree": "#004A22", "grass": "#9ECD59", "path": "#D4D2A1", "road": "#768486",
    "water": "#1858CB", "car": "#D84000", "person": "#9E1783", "ball": "#FFD000", "pole": "#FFFFFF", "trash_can": "#25007D",
    "pavement": "#D4D2A1", "sign": "#FFD000", "fence": "#A87FD4", "pedestrian": "#9E1783", "cyclist": "#25007D",  # CamVid's own names
    "ground": "#9B7B5E", "sand": "#E9D8A6", "crosswalk": "#C9D1D3", "house": "#8A5238", "wall": "#C7B299", "floor": "#A8978A", "river": "#3F7FE0",
    "sea": "#0A3A8F", "lake": "#2B66B8", "other_plant": "#4F8A3A", "flower": "#FF9EC4", "bus": "#FF8A4C", "truck": "#A83200",
}  # fmt: skip
ROLES = {  # what the prefix of a method's name makes it: (prefix, legend, colour, marker), from the top down in a row
    "base": ("", "base", "#D55E00", "o"),
    "majority": ("Majority-", "control: per-pixel majority of the window", GREY, "v"),
    "refined": ("SAM2-", "refined", "#0072B2", "D"),
    "regions": ("TrueRegions-", "bound: true regions as masklets", "#009E73", "^"),
}


class NotebookFigure(Figure):
    """A Figure that a notebook shows without pyplot, in 256 colours: notebooks are committed with their pictures."""

    def _repr_png_(self, dpi: int = 90) -> bytes:
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=dpi)
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
        return small.getvalue()


def _figure(height_px: float, title: str = "") -> NotebookFigure:
    """Make an empty figure of the width that all have."""
    fig = NotebookFigure(figsize=(WIDTH_PX / DPI, round(height_px) / DPI), dpi=DPI, facecolor="white")
    _text(fig, 16, 16, title, fontsize=14, fontweight="bold")
    return fig


def _axes(fig: Figure, x: float, y: float, width: float, height: float, **options):
    """Add axes at (x, y) pixels from the figure's top left corner."""
    total = fig.get_figheight() * DPI
    return fig.add_axes((x / WIDTH_PX, 1 - (y + height) / total, width / WIDTH_PX, height / total), **options)


def _text(fig: Figure, x: float, y: float, text: str, **options) -> None:
    """Write at (x, y) pixels from the figure's top left corner."""
    fig.text(x / WIDTH_PX, 1 - y / (fig.get_figheight() * DPI), text, **{"va": "top", **options})


def _spread(i: int) -> tuple[int, int, int]:
    """Colour i of an endless fixed list: hues by the golden ratio, so that neighbours differ, in lightness too."""
    rgb = colorsys.hls_to_rgb((0.11 + i * 0.6180339887) % 1, (0.62, 0.36, 0.76, 0.48)[i % 4], (0.85, 0.6, 0.75)[i % 3])
    return tuple(round(255 * c) for c in rgb)


def class_palette(classes: Sequence[str] = VSPW_CLASSES) -> np.ndarray:
    """Return the colours of class ids, (256, 3) uint8 RGB; they go by name, so that a car is the same in every data set. VOID is near black."""
    palette = np.array([_spread(i) for i in range(VOID)] + [(20, 20, 20)], np.uint8)
    for i, name in enumerate(classes):
        if name in CLASS_COLOURS:
            palette[i] = tuple(bytes.fromhex(CLASS_COLOURS[name][1:]))
    return palette


def _blend(image: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """Mix two pictures, rounded to uint8."""
    return (image * np.float32(1 - alpha) + colours * np.float32(alpha) + np.float32(0.5)).astype(np.uint8)


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.6, classes: Sequence[str] = VSPW_CLASSES) -> np.ndarray:
    """Lay class colours over a frame.

    Args: image: (H, W, 3) uint8 RGB; labels: (H, W) uint8, class ids or VOID; alpha: 0 the frame alone .. 1 the colours alone.
    Returns: (H, W, 3) uint8. Raises: ValueError if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"Expected `labels` to be of the frame's size {image.shape[:2]}, but got {labels.shape}.")
    return _blend(image, class_palette(classes)[labels], alpha)


def masklet_overlay(image: np.ndarray, masks: np.ndarray, ids: Sequence[int], alpha: float = 0.6) -> np.ndarray:
    """Lay masklets over a frame, each in the colour of its id with a thin white outline; smaller ones lie on top, as in the refiner.

    Args: image: (H, W, 3) uint8 RGB; masks: (N, H, W) bool; ids: N ints from 0; alpha: as for `overlay`.
    Returns: (H, W, 3) uint8; where there is no masklet, the frame, darker. Raises: ValueError if shapes or counts differ.
    """
    if masks.shape != (len(ids), *image.shape[:2]):
        raise ValueError(f"Expected `masks` to be of shape {(len(ids), *image.shape[:2])}, but got {masks.shape}.")
    top = np.full(image.shape[:2], -1)
    for i in np.argsort([-np.count_nonzero(m) for m in masks], kind="stable"):
        top[masks[i]] = i
    colours = np.array([_spread(i) for i in ids] + [(0, 0, 0)], np.uint8)[top]  # -1, no masklet, takes the last
    out = _blend(image, colours, alpha)
    out[:-1][top[:-1] != top[1:]] = 255
    out[:, :-1][top[:, :-1] != top[:, 1:]] = 255
    return out


def largest_difference(a: np.ndarray, b: np.ndarray, magnify: int = 4) -> tuple[slice, slice]:
    """Find the crop, 1/`magnify` of the frame, in which two (H, W) label maps differ in most pixels, the first of equals; if in none, the centre."""
    (height, width), h, w = a.shape, max(1, a.shape[0] // magnify), max(1, a.shape[1] // magnify)
    total = np.pad((a != b).astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]  # differing pixels of every crop
    y, x = np.unravel_index(inside.argmax(), inside.shape) if inside.any() else ((height - h) // 2, (width - w) // 2)
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)


def _picture(fig: Figure, x: float, y: float, size: tuple[float, float], pixels: np.ndarray, title: str = "", **options):
    """Show pixels in axes of `size` (height, width)."""
    ax = _axes(fig, x, y, size[1], size[0], xticks=[], yticks=[])
    ax.imshow(pixels, aspect="auto", **options)
    ax.set_title(title, pad=5)
    return ax


@style.context(STYLE)
def sheet(clip: Clip, frames: Sequence[int], columns: Columns, *, zoom: bool | tuple[str, str] = False,
          classes: Sequence[str] = VSPW_CLASSES, alpha: float = 0.8) -> Figure:
    """Show frames of a clip in rows, each beside its label maps, with a legend of the classes (of more than 24, the largest).

    Args: clip: its frames are the first column; frames: frame numbers, a row each; columns: {title: label maps} of the other columns,
        `{"truth": clip.truth, "base": ..., "refined": ...}`; zoom: show under each row one crop of every column, where two columns
        differ most: those titled so, True for ("base", "refined"); classes: names by class id; alpha: as for `overlay`.
    Raises: ValueError for no frame or column, a zoom on columns that are not there, labels of another size than the frame.
    Source: after the qualitative figure of the paper (Fig. 3).
    """
    compared = ("base", "refined") if zoom is True else zoom or ()
    if not len(frames) or not columns:
        raise ValueError(f"Expected at least one frame and one column, but got {len(frames)} and {len(columns)}.")
    if missing := [title for title in compared if title not in columns]:
        raise ValueError(f"Expected `zoom` to name two of the columns {list(columns)}, but {missing[0]!r} is none.")
    maps = [{title: labels(t) if callable(labels) else labels[t] for title, labels in columns.items()} for t in frames]
    counts = sum(np.bincount(labels.ravel(), minlength=256) for row in maps for labels in row.values())
    present = sorted(i for i in np.argsort(-counts, kind="stable")[:24] if counts[i])
    names = ["void" if i == VOID else classes[i].replace("_or_", " / ").replace("_", " ") if i < len(classes) else str(i) for i in present]
    in_line = max(1, min(len(names), WIDTH_PX // (17 * max(map(len, names)) + 70)))

    head, side = 44, 48 if len(frames) > 1 else GAP
    width = (WIDTH_PX - side) / (1 + len(columns)) - GAP
    size = width * clip.size[0] / clip.size[1], width
    row_px = (size[0] + GAP) * (2 if compared else 1) + (GAP if len(frames) > 1 else 0)
    fig = _figure(head + row_px * len(frames) + 36 * -(-len(names) // in_line) + 14)
    for r, (t, row) in enumerate(zip(frames, maps)):
        image, y = clip.image(t), head + row_px * r
        pictures = {"frame": image} | {title: overlay(image, labels, alpha, classes) for title, labels in row.items()}
        if len(frames) > 1:
            _text(fig, side / 2, y + row_px / 2 - GAP, f"frame {t}", rotation=90, ha="center", va="center")
        for c, (title, pixels) in enumerate(pictures.items()):
            x = side + c * (width + GAP)
            ax = _picture(fig, x, y, size, pixels, title if r == 0 else "")
            if compared:
                rows, cols = crop = largest_difference(row[compared[0]], row[compared[1]])
                box = (cols.start - 0.5, rows.start - 0.5), cols.stop - cols.start, rows.stop - rows.start
                ax.add_patch(Rectangle(*box, fill=False, edgecolor="black", linewidth=4))
                ax.add_patch(Rectangle(*box, fill=False, edgecolor="white", linewidth=2))
                _picture(fig, x, y + size[0] + GAP, size, pixels[crop], interpolation="nearest")
    handles = [Patch(facecolor=class_palette(classes)[i] / 255, edgecolor=GREY, linewidth=0.8, label=name) for i, name in zip(present, names)]
    fig.legend(handles=handles, loc="lower center", ncols=in_line, handlelength=1.3, handleheight=1.0, columnspacing=1.3,
               handletextpad=0.5, labelspacing=0.35, borderpad=0.2, borderaxespad=0.2)
    return fig


def strip(clip: Clip, t: int, columns: Columns, **options) -> Figure:
    """Show one frame beside its label maps, `{"base": ..., "refined": ..., "truth": ...}`; options as for `sheet`."""
    return sheet(clip, [t], columns, **options)


@style.context(STYLE)
def masklet_sheet(clip: Clip, masklets: Masklets, frames: Sequence[int]) -> Figure:
    """Show the masklets of some frames, two or three side by side; a masklet keeps its colour from frame to frame."""
    n, head = {1: 1, 2: 2, 4: 2}.get(len(frames), 3), 48
    width = (WIDTH_PX - GAP) / n - GAP
    size = width * clip.size[0] / clip.size[1], width
    fig = _figure((size[0] + head) * -(-len(frames) // n) + GAP)
    for k, t in enumerate(frames):
        masks = masklets.masks(t)
        seen = int(masks.any((1, 2)).sum())
        title = f"frame {t}: {seen} masklet{'s' * (seen != 1)}" + (", proposed" if t == masklets.frames[t].start else "")
        pixels = masklet_overlay(clip.image(t), masks, masklets.frames[t].ids)
        _picture(fig, GAP + k % n * (width + GAP), head + k // n * (size[0] + head), size, pixels, title)
    return fig


class _Viewer(ipywidgets.VBox):
    """A slider over pictures. Where no widget can live, on a static page, the picture itself stands; its text is the same in every run."""

    def _repr_mimebundle_(self, **options) -> dict:
        slider, image = self.children
        still = {"text/plain": f"frame {slider.value} of 0..{slider.max}", "image/png": base64.b64encode(image.value).decode()}
        return super()._repr_mimebundle_(**options) | still


def viewer(clip: Clip, columns: Columns, **options) -> ipywidgets.Widget:
    """Make a slider over the frames of a clip, from the middle one, each drawn as by `strip` (options too) when it is first asked for.

    Returns: a widget to end a cell with; on a page without widgets it is the picture of the middle frame.
    """
    draw = lru_cache(maxsize=128)(lambda t: strip(clip, t, columns, **options)._repr_png_(dpi=110))
    slider = ipywidgets.IntSlider(value=len(clip) // 2, min=0, max=len(clip) - 1, description="frame", layout={"width": "60%"})
    image = ipywidgets.Image(value=draw(slider.value), format="png", layout={"width": "100%", "max_width": f"{WIDTH_PX}px"})
    slider.observe(lambda change: image.set_trait("value", draw(change["new"])), "value")
    return _Viewer([slider, image])


def _by_model(table: pd.DataFrame, column: str) -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """Sort the numbers of a tidy table: {model: {role: {metric: (value, low, high)}}}; only what was measured has an interval."""
    found = {}
    for row in table[table[column].notna()].itertuples(index=False):
        role = next((r for r, (prefix, *_) in ROLES.items() if prefix and row.method.startswith(prefix)), "base")
        model = " ".join(filter(None, (row.method.removeprefix(ROLES[role][0]), row.backbone, row.setting)))
        interval = (row.low, row.high) if column == "measured" else (np.nan, np.nan)
        found.setdefault(model, {}).setdefault(role, {})[row.metric] = getattr(row, column), *interval
    return found


def _panels(fig: Figure, y: float, row_px: float, models: Sequence[str], metrics: Sequence[str], left: float) -> list:
    """Make a panel per metric, side by side, with a row per model."""
    width, axes = (WIDTH_PX - left - 24) / len(metrics), []
    for k, metric in enumerate(metrics):
        ax = _axes(fig, left + k * width, y, width - 28, row_px * len(models), ylim=(len(models) - 0.5, -0.5))
        ax.set_title(metric)
        ax.set_yticks(range(len(models)), models if k == 0 else [""] * len(models))
        ax.tick_params(length=0, colors=INK, pad=6, labelsize=FONT["font.size"], labelfontfamily=FONT["font.family"])
        ax.grid(axis="x", color="#DDDDDD", linewidth=1)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.set(axisbelow=True, xmargin=0.12)
        for i in range(0, len(models), 2):
            ax.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", zorder=0, linewidth=0)
        axes.append(ax)
    return axes


def _dot(ax, y: float, numbers: tuple[float, float, float], colour: str, marker: str, hollow: bool = False) -> None:
    """Draw a value, and its interval as a line where it has one."""
    value, *interval = numbers
    if np.isfinite(interval).all():
        ax.plot(interval, [y, y], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="butt")
    ax.plot(value, y, marker, color=colour, markersize=8, markerfacecolor="white" if hollow else colour, markeredgewidth=1.8)


@style.context(STYLE)
def before_after(table: pd.DataFrame, metrics: Sequence[str] = ("mIoU", "mBIoU", "mVC8", "mVC16"), title: str = "", paper_data: str = "VSPW") -> Figure:
    """Plot base, refined and the controls of each measured model with their intervals; apart from them, hollow, the paper's base and refined.

    Args: table: tidy, as `lib.report` takes it, with methods named `X`, `SAM2-X`, `Majority-X`, `TrueRegions-X`; title: names the profile;
        paper_data: what the printed numbers were measured on.
    Returns: a panel per metric, each with its own scale; measured and printed share it only if some row has both, that is, on the same data.
    """
    measured = _by_model(table, "measured")
    paper = {model: found for model, found in _by_model(table, "paper").items() if {"base", "refined"} <= found.keys()}
    roles = [role for role in ROLES if any(role in found for found in (*measured.values(), *paper.values()))]
    with_interval = table.loc[table["measured"].notna(), "low"].notna().any()
    note = "lines: 95 % interval, bootstrap over clips" if with_interval else "no intervals: they need two clips or more"
    blocks = [(f"Measured here, in percent ({note})" if measured else "Nothing was measured here", measured, 34 * len(roles) + 28)]
    blocks += [(f"Paper, {paper_data}: printed numbers, in percent (no intervals)", paper, 44)] * bool(paper)
    y = 64 if title else 16
    fig = _figure(y + sum(row_px * len(rows) + (150 if rows else 48) for _, rows, row_px in blocks) + 60, title)
    left = 50 + 14 * max((len(model) for _, rows, _ in blocks for model in rows), default=0)
    same_data, above = (table["measured"].notna() & table["paper"].notna()).any(), []
    for heading, rows, row_px in blocks:
        _text(fig, 16, y, heading, fontsize=13)
        axes = _panels(fig, y + 86, row_px, list(rows), metrics, left) if rows else []
        for ax, metric in zip(axes, metrics):
            for i, found in enumerate(rows.values()):
                drawn = {role: found[role][metric] for role in roles if metric in found.get(role, {})}
                if rows is paper:
                    ax.plot([value for value, *_ in drawn.values()], [i] * len(drawn), color="#999999", linewidth=1.5)
                for role, numbers in drawn.items():
                    offset = 0 if rows is paper else (roles.index(role) - (len(roles) - 1) / 2) * 34 / row_px
                    _dot(ax, i + offset, numbers, *ROLES[role][2:], hollow=rows is paper)
        for ax, other in zip(axes, above if same_data else []):
            ax.sharex(other)
        above, y = axes, y + row_px * len(rows) + (150 if rows else 48)
    handles = [Line2D([], [], color=ROLES[r][2], marker=ROLES[r][3], markersize=8, linewidth=3.5 * with_interval, label=ROLES[r][1]) for r in roles]
    fig.legend(handles=handles, loc="lower center", ncols=4, handlelength=1.6, columnspacing=1.6)
    return fig


@style.context(STYLE)
def differences(paired: Mapping, title: str = "", metrics: Sequence[str] = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")) -> Figure:
    """Plot what refinement changed, in points: blue where the interval lies above zero, orange below, grey where nothing is certain.

    Args: paired: {(method, backbone): {metric: (after - before, low, high)}}, intervals paired over clips; title: names the profile.
    Returns: a panel per metric, all with the same scale.
    """
    rows, y, row_px = {" ".join(filter(None, key)): found for key, found in paired.items()}, 64 if title else 16, 76
    fig = _figure(y + 86 + row_px * len(rows) + 70, title)
    known = any(np.isfinite(low) for found in rows.values() for _, low, _ in found.values())
    note = "lines: 95 % interval, paired over clips; grey: it holds zero" if known else "no intervals: they need two clips or more"
    _text(fig, 16, y, f"Refined minus base, in points ({note})", fontsize=13)
    axes = _panels(fig, y + 86, row_px, list(rows), metrics, 50 + 14 * max(map(len, rows), default=0)) if rows else []
    for ax, metric in zip(axes, metrics):
        ax.axvline(0, color=INK, linewidth=1.5)
        for i, found in enumerate(rows.values()):
            value, low, high = found.get(metric, (np.nan,) * 3)
            if np.isfinite(value):
                _dot(ax, i + 0.16, (value, low, high), ROLES["refined"][2] if low > 0 else ROLES["base"][2] if high < 0 else GREY, "D")
                ax.annotate(f"{value:+.1f}", (value, i + 0.16), (0, 9), textcoords="offset points", ha="center",
                            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    for ax in axes[1:]:
        ax.sharex(axes[0])
    return fig

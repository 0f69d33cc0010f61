import base64
import io
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_hex
from PIL import Image
from pycocotools import mask as coco

from lib import plots
from lib.clips.clip import Clip
from lib.clips.datasets import CAMVID_CLASSES, VSPW_CLASSES, read_vspw
from lib.config import VOID, MaskletSettings
from lib.masklets import FrameMasklets, Masklets
from lib.mini.sprites import COLOURS as MINI
from lib.paths import EMBEDDED
from lib.plots.style import small_png
from lib.tables import COLUMNS, LABELS

SIZE = (13, 17)
NAN = float("nan")
BASE, REFINED = "#D55E00", "#0072B2"


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    assert plt.get_fignums() == []


def truth(t):
    """Sky over road, a car that drives right, a void corner."""
    labels = np.full(SIZE, VSPW_CLASSES.index("sky"), np.uint8)
    labels[7:] = VSPW_CLASSES.index("road")
    labels[6:9, t : t + 4] = VSPW_CLASSES.index("car")
    labels[12, 0] = VOID
    return labels


def base(t):
    """The truth without the car's left half, and one wrong pixel far away."""
    labels = truth(t)
    labels[6:9, t : t + 2] = VSPW_CLASSES.index("road")
    labels[0, 16] = VSPW_CLASSES.index("tree")
    return labels


@pytest.fixture
def clip():
    image = lambda t: np.random.default_rng(t).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Clip("drive", tuple(f"{t:08d}" for t in range(9)), lambda: SIZE, image, truth)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def titles(fig):
    return [ax.get_title() for ax in fig.axes]


# ---------------------------------------------------------------- colours


def simulate(rgb, machado):
    """CIE Lab of sRGB colours as a dichromat sees them. Source: Machado et al. 2009, severity 1."""
    rgb = np.asarray(rgb) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(machado).T, 0, 1)
    xyz = (
        linear
        @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
        / [0.9505, 1, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize(
    "machado",
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ],
    ids=["all colours", "no red", "no green", "no blue"],
)
@pytest.mark.parametrize(
    "classes, used", [(VSPW_CLASSES, tuple(MINI)), (CAMVID_CLASSES, CAMVID_CLASSES)], ids=["mini", "camvid"]
)
def test_classes_that_meet_stay_apart_for_every_eye(classes, used, machado):
    palette = plots.class_palette(classes)
    lab = simulate(palette[[classes.index(name) for name in used] + [VOID]], machado)
    nearest = min(
        (np.linalg.norm(a - b), i, j) for (i, a), (j, b) in combinations(zip((*used, "void"), lab), 2)
    )
    assert nearest[0] > 15, nearest


def test_palette_is_fixed_distinct_and_goes_by_name():
    palette = plots.class_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert len(np.unique(palette[[*range(len(VSPW_CLASSES)), VOID]], axis=0)) == len(VSPW_CLASSES) + 1
    assert palette[VOID].max() < 30
    assert tuple(palette[VSPW_CLASSES.index("car")]) == (0xD8, 0x40, 0x00)
    camvid = plots.class_palette(CAMVID_CLASSES)
    for name in ("sky", "building", "road", "tree", "car", "pole"):
        assert (camvid[CAMVID_CLASSES.index(name)] == palette[VSPW_CLASSES.index(name)]).all()
    palette[:] = 0  # the caller's own copy
    assert plots.class_palette().any()


def test_every_named_colour_belongs_to_a_class():
    assert set(plots.CLASS_COLOURS) <= {*VSPW_CLASSES, *CAMVID_CLASSES}
    assert set(MINI) <= set(plots.CLASS_COLOURS)


def test_overlay_by_hand():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[28, 28, VOID], [0, 28, 28]], np.uint8)
    assert VSPW_CLASSES[28] == "sky"
    out = plots.overlay(image, labels)
    assert out.shape == (2, 3, 3) and out.dtype == np.uint8
    assert out[0, 0].tolist() == [140, 172, 193]  # 0.4 * 100 + 0.6 * (166, 220, 255)
    assert out[0, 2].tolist() == [52, 52, 52]  # 0.4 * 100 + 0.6 * 20
    assert (plots.overlay(image, labels, alpha=0) == image).all()
    assert (plots.overlay(image, labels, alpha=1) == plots.class_palette()[labels]).all()
    assert out.tobytes() == plots.overlay(image, labels).tobytes()
    with pytest.raises(ValueError, match=r"size \(2, 3\), but got \(3, 2\)"):
        plots.overlay(image, labels.T)


def test_masklet_keeps_its_colour_whatever_the_order_and_smaller_lies_on_top():
    image = np.full((9, 9, 3), 200, np.uint8)
    masks = np.zeros((2, 9, 9), bool)
    masks[0, 1:8, 1:8], masks[1, 3:6, 3:6] = True, True
    out = plots.masklet_overlay(image, masks, (7, 8), alpha=1)
    assert (out == plots.masklet_overlay(image, masks[::-1], (8, 7), alpha=1)).all()
    small = plots.masklet_overlay(image, masks[1:], (8,), alpha=1)
    assert (out[4, 4] == small[4, 4]).all() and (out[4, 4] != out[6, 6]).any()
    assert out[2, 4].tolist() == [255, 255, 255]  # the outline of the small one
    assert out[0, 4].tolist() == [255, 255, 255]  # and of the large one
    # no masklet: the frame, darker
    assert plots.masklet_overlay(image, masks, (7, 8))[8, 0].tolist() == [80, 80, 80]
    with pytest.raises(ValueError, match=r"shape \(1, 9, 9\), but got \(2, 9, 9\)"):
        plots.masklet_overlay(image, masks, (7,))


def test_no_masklets_leave_a_dark_frame():
    image = np.full((*SIZE, 3), 100, np.uint8)
    assert (plots.masklet_overlay(image, np.zeros((0, *SIZE), bool), ()) == 40).all()


# ---------------------------------------------------------------- clips


@pytest.mark.parametrize("size", [SIZE, (16, 24), (1, 1), (3, 40)])
def test_zoom_finds_the_largest_difference(size):
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = rng.integers(0, 3, size, dtype=np.uint8)
        b = np.where(rng.random(size) < 0.1, rng.integers(0, 3, size), a).astype(np.uint8)
        rows, cols = plots.largest_difference(a, b)
        h, w = max(1, size[0] // 4), max(1, size[1] // 4)
        best = (-1, None)
        for y in range(size[0] - h + 1):
            for x in range(size[1] - w + 1):
                best = max(best, (int((a[y : y + h, x : x + w] != b[y : y + h, x : x + w]).sum()), (-y, -x)))
        if best[0]:
            assert (-rows.start, -cols.start) == best[1]
        assert (rows.stop - rows.start, cols.stop - cols.start) == (h, w)


def test_zoom_without_difference_is_the_centre():
    same = np.zeros((16, 24), np.uint8)
    assert plots.largest_difference(same, same) == (slice(6, 10), slice(9, 15))


def test_sheet_shows_rows_columns_and_the_classes_seen(clip):
    fig = plots.sheet(
        clip, [0, 4, 8], {"truth": truth, "base": [base(t) for t in range(9)], "refined": truth}, zoom=True
    )
    assert len(fig.axes) == 3 * 2 * 4
    assert titles(fig)[:8] == ["frame", "", "truth", "", "base", "", "refined", ""] and not any(
        titles(fig)[8:]
    )
    assert [text.get_text() for text in fig.texts if text.get_text()] == ["frame 0", "frame 4", "frame 8"]
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert sorted(names) == ["car", "road", "sky", "tree", "void"] and names[-1] == "void"
    for handle, name in zip(fig.legends[0].legend_handles, names):
        class_id = VOID if name == "void" else VSPW_CLASSES.index(name)
        assert to_hex(handle.get_facecolor()) == "#" + bytes(plots.class_palette()[class_id].tolist()).hex()


def test_zoom_is_the_same_crop_of_every_column(clip):
    fig = plots.sheet(
        clip, [4], {"truth": truth, "base": base, "refined": truth}, zoom=("base", "refined"), alpha=1
    )
    rows, cols = plots.largest_difference(base(4), truth(4))
    assert rows.start >= 4 and cols.start <= 6 <= cols.stop  # the car, not the lone pixel in the corner
    full, zoomed = fig.axes[::2], fig.axes[1::2]
    for large, small in zip(full, zoomed, strict=True):
        assert (small.images[0].get_array() == large.images[0].get_array()[rows, cols]).all()
        assert large.patches[0].get_xy() == (cols.start - 0.5, rows.start - 0.5)
    assert (zoomed[0].images[0].get_array() == clip.image(4)[rows, cols]).all()
    assert (zoomed[2].images[0].get_array() == plots.class_palette()[base(4)[rows, cols]]).all()


def test_sheet_of_many_classes_and_of_void_alone(clip):
    many = np.resize(np.arange(60, dtype=np.uint8), SIZE)
    names = [text.get_text() for text in plots.strip(clip, 0, {"base": [many]}).legends[0].get_texts()]
    assert len(names) == 24 and names[0] == "wall" and "handrail / fence" in names
    alone = plots.strip(clip, 0, {"base": np.full((1, *SIZE), VOID, np.uint8)}, classes=CAMVID_CLASSES)
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["void"]


def test_sheet_refuses_what_it_cannot_show(clip):
    with pytest.raises(ValueError, match="at least one frame and one column, but got 0 and 1"):
        plots.sheet(clip, [], {"truth": truth})
    with pytest.raises(ValueError, match="one column, but got 1 and 0"):
        plots.strip(clip, 0, {})
    with pytest.raises(ValueError, match="'refined' is none"):
        plots.strip(clip, 0, {"base": base}, zoom=True)
    with pytest.raises(ValueError, match="the frame's size"):
        plots.strip(clip, 0, {"base": lambda t: base(t).T})


def test_figures_look_the_same_whatever_the_notebook_has_set(clip):
    draw = lambda: (
        plots.strip(clip, 4, {"base": base, "truth": truth})._repr_png_()
        + plots.before_after(table(), title="T")._repr_png_()
    )
    plain = draw()
    with matplotlib.rc_context(
        {
            "font.size": 30,
            "axes.facecolor": "red",
            "font.family": "monospace",
            "axes.grid": True,
            "figure.dpi": 40,
        }
    ):
        assert draw() == plain


def test_strip_of_an_embedded_clip_fits_a_readme():
    clip = read_vspw(EMBEDDED / "mini", "val").clips[0]
    fig = plots.strip(clip, 22, {"base": clip.truth, "refined": clip.truth, "truth": clip.truth}, zoom=True)
    assert titles(fig)[::2] == ["frame", "base", "refined", "truth"]
    height, width, _ = pixels(fig._repr_png_()).shape
    assert width == 1020 and 240 < height < 420


def test_a_notebook_shows_a_figure_that_ends_a_cell(clip):
    data, _ = DisplayFormatter().format(plots.strip(clip, 0, {"truth": truth}))
    assert pixels(data["image/png"]).shape[1] == 1020
    assert data["text/plain"].startswith("<NotebookFigure size 1700x") and " at 0x" not in data["text/plain"]


def test_gallery_shows_frames_of_several_clips_in_their_own_shape(clip):
    wide = Clip(
        "wide",
        ("0",),
        lambda: (13, 34),
        lambda t: np.zeros((13, 34, 3), np.uint8),
        lambda t: np.hstack([truth(t)] * 2),
    )
    rows = [
        ("drive, frame 4\n+3.0", clip, 4, {"base": base, "refined": truth}),
        ("wide", wide, 0, {"base": wide.truth, "refined": [wide.truth(0)]}),
    ]
    fig = plots.gallery(rows, zoom=True, title="Two clips")
    assert [text.get_text() for text in fig.texts] == ["Two clips", "drive, frame 4\n+3.0", "wide"]
    height, width = (lambda box: (box.height * fig.get_figheight(), box.width * fig.get_figwidth()))(
        fig.axes[0].get_position()
    )
    assert height / width == pytest.approx(13 / 17)
    other = fig.axes[6].get_position()
    assert other.height * fig.get_figheight() / (other.width * fig.get_figwidth()) == pytest.approx(13 / 34)
    assert any("Nothing was measured" in text.get_text() for text in plots.gallery([], title="T").texts)


def test_256_colours_keep_a_small_class_and_white():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    photo[:, :40] = 255
    photo[50:60, 100:120] = (37, 0, 125)  # a rare class in 0.3 % of the picture
    small = np.asarray(Image.open(io.BytesIO(small_png(Image.fromarray(photo)))).convert("RGB")).astype(int)
    assert (small[:, :40] == 255).all()
    assert abs(small[50:60, 100:120] - (37, 0, 125)).max() < 20
    flat = (
        np.where(np.arange(100)[:, None, None] < 50, (213, 94, 0), (0, 114, 178))
        .astype(np.uint8)
        .repeat(40, 1)
    )
    assert (np.asarray(Image.open(io.BytesIO(small_png(Image.fromarray(flat)))).convert("RGB")) == flat).all()


def masklets_of(clip):
    """A car in frames 0..4, none at all later."""
    rle = lambda t: coco.encode(np.asfortranarray(truth(t) == VSPW_CLASSES.index("car")).astype(np.uint8))
    some = [FrameMasklets(0, (0,), (rle(t),), (0.9,), (0.9,)) for t in range(5)]
    return Masklets(clip.name, SIZE, MaskletSettings(), (*some, *[FrameMasklets(5, (), (), (), ())] * 4))


def test_masklet_sheet_counts_and_keeps_colours(clip):
    fig = plots.masklet_sheet(clip, masklets_of(clip), [0, 3, 5, 8])
    assert titles(fig) == [
        "frame 0: 1 masklet, proposed",
        "frame 3: 1 masklet",
        "frame 5: 0 masklets, proposed",
        "frame 8: 0 masklets",
    ]
    boxes = [ax.get_position().bounds for ax in fig.axes]
    # two by two
    assert boxes[0][0] == boxes[2][0] and boxes[0][1] > boxes[2][1] and boxes[0][0] < boxes[1][0]


def test_viewer_draws_lazily_and_leaves_a_still(clip):
    seen = []
    widget = plots.viewer(clip, {"truth": lambda t: seen.append(t) or truth(t)})
    slider, image = widget.children
    assert seen == [4] and (slider.min, slider.max) == (0, 8)
    bundle = widget._repr_mimebundle_()
    assert bundle["text/plain"] == "frame 4 of 0..8"
    assert (
        base64.b64decode(bundle["image/png"]) == image.value
        and "application/vnd.jupyter.widget-view+json" in bundle
    )
    middle = image.value
    slider.value = 7
    assert seen == [4, 7] and image.value != middle
    slider.value = 4
    assert seen == [4, 7] and image.value == middle  # kept, not drawn anew
    assert pixels(middle).shape[1] < 1700


# ---------------------------------------------------------------- tables


def line(method, backbone, measured=NAN, low=NAN, high=NAN, paper=NAN, metric="mIoU"):
    return (method, backbone, "", metric, measured, low, high, paper)


def table(*more):
    rows = [
        line(LABELS[kind].format("Segformer"), "MiT-N0", value, value - 2, value + 3)
        for kind, value in (("base", 60.0), ("refined", 65.0), ("majority", 55.0), ("regions", 75.0))
    ]
    rows += [
        line("CFFM", "MiT-B0", paper=35.4),
        line("SAM2-CFFM", "MiT-B0", paper=36.7),
        line("Segformer", "MiT-B0", paper=32.9),
        *more,
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def dots(ax):
    """{x: (colour, filled)} of the markers in a panel."""
    found = [a for a in ax.lines if a.get_marker() not in ("None", None)]
    return {
        float(a.get_xdata()[0]): (to_hex(a.get_color()).upper(), to_hex(a.get_markerfacecolor()) != "#ffffff")
        for a in found
    }


def spans(ax):
    return [
        tuple(map(float, a.get_xdata()))
        for a in ax.lines
        if a.get_marker() == "None" and len(a.get_xdata()) == 2
    ]


def test_measured_is_filled_and_printed_is_hollow_and_apart():
    fig = plots.before_after(table(), metrics=("mIoU",), title="Table 1, mini")
    measured, paper = fig.axes
    assert dots(measured) == {
        60: (BASE, True),
        65: (REFINED, True),
        55: ("#777777", True),
        75: ("#009E73", True),
    }
    assert sorted(spans(measured)) == [(53, 58), (58, 63), (63, 68), (73, 78)]
    # without a refined one Segformer's says nothing of before and after
    assert dots(paper) == {35.4: (BASE, False), 36.7: (REFINED, False)}
    assert [t.get_text() for t in measured.get_yticklabels()] == ["Segformer MiT-N0"]
    assert [t.get_text() for t in paper.get_yticklabels()] == ["CFFM MiT-B0"]
    texts = [text.get_text() for text in fig.texts]
    assert texts == [
        "Table 1, mini",
        "Measured here, in percent (lines: 95 % interval, bootstrap over clips)",
        "Paper, VSPW: printed numbers, in percent (no intervals)",
    ]
    assert not measured.get_shared_x_axes().joined(measured, paper)


def test_every_metric_has_its_panel():
    fig = plots.before_after(table(line("Segformer", "MiT-N0", 30.0, 29.0, 31.0, metric="mVC8")))
    assert titles(fig) == ["mIoU", "mBIoU", "mVC8", "mVC16"] * 2
    assert list(dots(fig.axes[2])) == [30] and dots(fig.axes[1]) == {}


def test_one_clip_has_no_interval_and_says_so():
    rows = table()
    rows[["low", "high"]] = NAN
    fig = plots.before_after(rows, metrics=("mIoU",))
    assert spans(fig.axes[0]) == [] and len(dots(fig.axes[0])) == 4
    assert any("no intervals: they need two clips" in text.get_text() for text in fig.texts)


def test_measured_and_printed_share_a_scale_only_on_the_same_data():
    rows = table(
        line("CFFM", "MiT-B1", 38.0, 37.0, 39.0, 38.5), line("SAM2-CFFM", "MiT-B1", 40.0, 39.0, 41.0, 40.3)
    )
    fig = plots.before_after(rows, metrics=("mIoU",))
    measured, paper = fig.axes
    assert (
        measured.get_xlim() == paper.get_xlim()
        and measured.get_xlim()[0] < 35.4
        and measured.get_xlim()[1] > 78
    )
    assert list(dots(paper)) == [35.4, 36.7] and spans(paper) == [(35.4, 36.7)]  # joined, no intervals
    assert {x: dots(measured)[x] for x in (38, 40, 38.5, 40.3)} == {
        38: (BASE, True),
        40: (REFINED, True),
        38.5: (BASE, False),
        40.3: (REFINED, False),
    }
    # printed beside what was measured
    (row,) = {float(a.get_ydata()[0]) for a in measured.lines if list(a.get_xdata()) in ([38.5], [38.0])}
    assert fig.legends[0].get_texts()[-1].get_text() == "hollow: printed in the paper"
    assert any("models not measured here" in text.get_text() for text in fig.texts)


def test_a_table_without_measurements_or_without_printed_numbers():
    rows = table()
    printed = plots.before_after(rows[rows["paper"].notna()], metrics=("mIoU",), paper_data="VIPSeg")
    assert len(printed.axes) == 1 and [t.get_text() for t in printed.texts][1:] == [
        "Nothing was measured here",
        "Paper, VIPSeg: printed numbers, in percent (no intervals)",
    ]
    assert len(plots.before_after(rows[rows["measured"].notna()], metrics=("mIoU",)).axes) == 1
    assert plots.before_after(rows[:0])._repr_png_()

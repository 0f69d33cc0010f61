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
from matplotlib.text import Text
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
from lib.report.text import COLUMNS
from lib.tables import LABELS

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
    assert palette[VOID].max() == 0
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
    assert out[0, 2].tolist() == [0, 0, 0]  # void is black, unblended
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
    assert [text.get_text() for text in fig.texts if text.get_text()][::2] == [
        "drive, frame 0",
        "drive, frame 4",
        "drive, frame 8",
    ]
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
        left, top = large.patches[0].get_xy()
        assert cols.start - 0.5 < left < cols.start + 0.5 and rows.start - 0.5 < top < rows.start + 0.5
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
    with pytest.raises(ValueError, match="'mended', 'spoiled', .*'gained'"):
        plots.strip(clip, 0, {"base": base, "refined": truth, "truth": truth}, zoom="gained")
    with pytest.raises(ValueError, match="'truth' is none"):
        plots.strip(clip, 0, {"base": base, "refined": truth}, zoom="mended")
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
    assert width == 1020 and 240 < height < 450


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
    assert [text.get_text() for text in fig.texts] == ["Two clips", "drive, frame 4, +3.0", "wide"]
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
    assert any("twins (mask IoU above 0.9" in text.get_text() for text in fig.texts)
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


def test_twins_share_a_colour_and_are_counted_once(clip):
    """Two masklets of the car, one of which lacks a pixel once, and one of the sky."""
    encode = lambda mask: coco.encode(np.asfortranarray(mask).astype(np.uint8))
    car = lambda t: truth(t) == VSPW_CLASSES.index("car")
    less = lambda t: car(t) & ~((np.indices(SIZE)[0] == 6) & (np.indices(SIZE)[1] == t) & (t == 0))
    sky = lambda t: truth(t) == VSPW_CLASSES.index("sky")
    frame = lambda t: FrameMasklets(
        0, (3, 1, 2), tuple(encode(m(t)) for m in (car, sky, less)), (0.9,) * 3, (0.9,) * 3
    )
    found = Masklets(clip.name, SIZE, MaskletSettings(), tuple(frame(t) for t in range(9)))
    # in frame 0 the IoU is 11/12, in all it is higher still
    assert plots.twins(found, [0, 4]) == {1: 1, 2: 2, 3: 2}
    assert plots.twins(found, [0], least=11 / 12 + 1e-9) == {1: 1, 2: 2, 3: 3}
    assert plots.twins(found, [0, 4], least=22 / 24) == {1: 1, 2: 2, 3: 2}  # pooled: 23/24
    fig = plots.masklet_sheet(clip, found, [0, 4], title="T")
    assert titles(fig) == ["frame 0: 3 masklets, 2 distinct, proposed", "frame 4: 3 masklets, 2 distinct"]


def test_twins_of_twins_are_twins_and_empty_masks_have_none(clip):
    strips = [np.zeros(SIZE, bool) for _ in range(4)]
    for i in range(3):
        strips[i][:, i : i + 14] = (
            True  # each shares 13 of 15 columns with the next, 12 of 16 with the one after
        )
    rles = tuple(coco.encode(np.asfortranarray(m).astype(np.uint8)) for m in strips)
    found = Masklets(clip.name, SIZE, None, (FrameMasklets(0, (4, 5, 6, 7), rles, (1,) * 4, (1,) * 4),))
    assert plots.twins(found, [0], least=0.8) == {4: 4, 5: 4, 6: 4, 7: 7}
    assert plots.twins(found, [0]) == {4: 4, 5: 5, 6: 6, 7: 7}


# ---------------------------------------------------------------- words


SKY, ROAD, CAR = (VSPW_CLASSES.index(name) for name in ("sky", "road", "car"))


def test_a_frame_in_words_by_hand():
    true = np.repeat(np.array([SKY, ROAD, CAR], np.uint8), 10).reshape(3, 10)
    before, after = true.copy(), true.copy()
    before[1, :4] = CAR  # mended
    after[0] = ROAD  # the whole sky spoiled
    before[2, 0], after[2, 0] = SKY, ROAD  # wrong before and after, for one pixel of the car
    assert plots.in_words(before, after, true) == (
        "Mended 13 % of the frame (mostly road, was car), spoiled 33 % (the whole sky is now road), "
        "left 3.3 % wrong (mostly car, taken for road)."
    )
    after[0, 5:] = SKY
    assert "spoiled 17 % (mostly sky, now road)" in plots.in_words(before, after, true)
    after[0, :3] = VOID
    after[0, 3:5] = CAR
    after[1, 9] = SKY
    assert "spoiled 20 % (often sky, now void)" in plots.in_words(before, after, true)
    assert plots.in_words(true, true, true) == "Changed nothing, as nothing was wrong."


def test_words_judge_nothing_where_the_truth_is_void():
    true = np.full((2, 5), VOID, np.uint8)
    true[0] = SKY
    wrong = np.full((2, 5), ROAD, np.uint8)
    right = np.where(true == VOID, CAR, true).astype(np.uint8)
    assert plots.in_words(wrong, right, true) == "Mended 100 % of the frame (the whole sky, was road)."
    assert plots.in_words(right, right, np.full((2, 5), VOID, np.uint8)).startswith("Changed nothing")


def test_a_picture_says_in_words_what_is_right_and_wrong(clip):
    columns = {"base": base, "refined": truth, "truth": truth}
    texts = lambda fig: " ".join(text.get_text() for text in fig.texts)
    assert plots.in_words(base(4), truth(4), truth(4)) in texts(plots.strip(clip, 4, columns))
    assert "Mended" not in texts(plots.strip(clip, 4, columns, caption=False))
    assert "Mended" not in texts(plots.strip(clip, 4, {"base": base, "truth": truth}))


def test_flat_colours_are_those_of_the_legend(clip):
    fig = plots.strip(clip, 4, {"truth": truth})
    shown = {tuple(rgb) for rgb in fig.axes[1].images[0].get_array().reshape(-1, 3).tolist()}
    of_legend = {
        tuple(round(255 * c) for c in handle.get_facecolor()[:3]) for handle in fig.legends[0].legend_handles
    }
    assert shown == of_legend


def test_zoom_where_refinement_mends_or_spoils(clip):
    true, before, after = (np.zeros((16, 24), np.uint8) for _ in range(3))
    before[0:3, 0:3] = 1  # 9 px mended in the corner
    after[12:16, 18:24] = 1  # 24 px spoiled in the other
    mends, spoils = plots.largest_gain(before, after, true), plots.largest_gain(after, before, true)
    assert mends[0].start == 0 and mends[1].start <= 0 and spoils == (slice(12, 16), slice(18, 24))
    assert plots.largest_difference(before, after) == spoils
    void = np.where(after == 1, VOID, true).astype(np.uint8)
    assert plots.largest_gain(after, before, void) != spoils  # nothing is judged there
    one = Clip("one", ("0",), lambda: (16, 24), lambda t: np.zeros((16, 24, 3), np.uint8), lambda t: true)
    columns = {"base": [before], "refined": [after], "truth": [true]}
    for zoom, crop in (("mended", mends), ("spoiled", spoils), (True, spoils)):
        zoomed = plots.strip(one, 0, columns, zoom=zoom).axes[3].images[0].get_array()
        assert (zoomed == plots.class_palette()[before[crop]]).all(), zoom


def test_the_outline_of_a_zoom_stays_inside_the_frame(clip):
    corner = np.zeros(SIZE, np.uint8)
    corner[0, 0] = 1
    fig = plots.strip(clip, 0, {"base": [corner], "refined": [corner * 0]}, zoom=True)
    canvas = fig.canvas.get_renderer() if hasattr(fig.canvas, "get_renderer") else None
    ax = fig.axes[0]
    for patch in ax.patches:
        box, frame = patch.get_window_extent(canvas), ax.get_window_extent(canvas)
        half = patch.get_linewidth() / 72 * fig.dpi / 2
        assert box.x0 - half >= frame.x0 - 0.5 and box.y1 + half <= frame.y1 + 0.5


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
        float(a.get_xdata()[0]): (to_hex(a.get_color()).upper(), a.get_markerfacecolor() != "none")
        for a in found
    }


def spans(ax):
    return [
        tuple(map(float, a.get_xdata()))
        for a in ax.lines
        if a.get_marker() == "None" and len(a.get_xdata()) == 2 and a.get_alpha()
    ]


def texts(fig):
    return [text.get_text() for text in fig.texts]


GAINS = {("Segformer", "MiT-N0"): {"mIoU": (5.0, 2.0, 7.0)}}


def test_the_change_stands_with_its_interval_beside_the_scores():
    fig = plots.before_after(
        table(), metrics=("mIoU",), title="Table 1, mini", differences=GAINS, extent="2 clips"
    )
    scores, change = fig.axes
    assert dots(scores) == {
        60: (BASE, True),
        65: (REFINED, True),
        55: ("#777777", True),
        75: ("#009E73", True),
        35.4: (BASE, False),
        36.7: (REFINED, False),
    }
    assert sorted(spans(scores)) == [(53, 58), (58, 63), (63, 68), (73, 78)]
    assert dots(change) == {5: (REFINED, True), 1.3: ("#333333", False)} and spans(change) == [(2, 7)]
    assert [text.get_text() for text in change.texts] == ["+5.0"]
    # base and refined are neighbours, the controls come after
    rows = {
        float(a.get_xdata()[0]): float(a.get_ydata()[0])
        for a in scores.lines
        if a.get_marker() not in ("None", None)
    }
    assert rows[60] < rows[65] < rows[55] < rows[75] < rows[35.4] == rows[36.7]
    # without a refined one Segformer's printed row says nothing of before and after
    assert [t.get_text() for t in scores.get_yticklabels()] == ["Segformer MiT-N0", "CFFM MiT-B0"]
    assert texts(fig) == [
        "Table 1, mini",
        "Measured here, in percent; beside it the change, in points; 2 clips; lines: 95 % interval over clips",
        "mIoU",
        "Printed in the paper, on VSPW",
        "Change: blue is a rise and orange a fall whose interval leaves zero out; grey is neither.",
    ]
    assert fig.legends[0].get_texts()[-1].get_text() == "hollow: printed in the paper"


@pytest.mark.parametrize(
    "gain, colour", [((-3, -4, -1), BASE), ((1, -1, 2), "#777777"), ((1, NAN, NAN), "#777777")]
)
def test_a_change_has_the_colour_of_what_is_certain(gain, colour):
    fig = plots.before_after(
        table(), metrics=("mIoU",), differences={("Segformer", "MiT-N0"): {"mIoU": gain}}
    )
    assert dots(fig.axes[1])[gain[0]] == (colour, True)


def test_without_differences_the_change_has_no_interval():
    assert dots(plots.before_after(table(), metrics=("mIoU",)).axes[1])[5] == ("#777777", True)


def test_every_metric_has_its_two_panels():
    fig = plots.before_after(table(line("Segformer", "MiT-N0", 30.0, 29.0, 31.0, metric="mVC8")))
    assert titles(fig) == ["percent", "change"] * 2  # nobody has mBIoU or mVC16
    assert list(dots(fig.axes[2])) == [30] and dots(fig.axes[3]) == {}
    assert [text for text in texts(fig) if text.startswith("m")] == ["mIoU", "mVC8"]


def test_a_majority_that_is_steady_by_construction_is_said():
    steady = lambda value: line(LABELS["majority"].format("Segformer"), "MiT-N0", value, metric="mVC8")
    said = (
        "The mVC8 of the majority is 100 by construction: it gives every frame of a window the same labels."
    )
    assert said in texts(plots.before_after(table(steady(100.0))))
    assert not any("by construction" in text for text in texts(plots.before_after(table(steady(99.0)))))


def test_the_sliding_vote_has_its_change_beside_the_refined_one():
    rows = table(line(LABELS["sliding"].format("Segformer"), "MiT-N0", 61.0))
    changed = {
        "refined minus base": (5.0, 3.0, 7.0),
        "sliding vote minus base": (1.0, 0.5, 1.5),
        "refined minus sliding vote": (4.0, 2.0, 6.0),
    }
    differences = {("Segformer", "MiT-N0", what): {"mIoU": gain} for what, gain in changed.items()}
    fig = plots.before_after(rows, metrics=("mIoU",), differences=differences)
    drawn = lambda: plots.before_after(rows, metrics=("mIoU",), differences=differences).axes[1]
    assert 61 in dots(fig.axes[0]) and {1, 5} <= dots(drawn()).keys() and 4 not in dots(drawn())
    assert any("sliding vote" in text.get_text() for text in fig.legends[0].get_texts())
    assert (3.0, 7.0) in spans(drawn()) and (0.5, 1.5) in spans(drawn())
    del differences["Segformer", "MiT-N0", "sliding vote minus base"]
    assert 5 in dots(drawn()) and 1 not in dots(drawn())


def test_one_clip_has_no_interval_and_says_so():
    rows = table()
    rows[["low", "high"]] = NAN
    fig = plots.before_after(rows, metrics=("mIoU",))
    assert spans(fig.axes[0]) == [] and len(dots(fig.axes[0])) == 6
    assert any("no intervals: one clip" in text for text in texts(fig))


def test_what_is_printed_of_a_measured_model_stands_in_its_row():
    rows = table(
        line("CFFM", "MiT-B1", 38.0, 37.0, 39.0, 38.5), line("SAM2-CFFM", "MiT-B1", 40.0, 39.0, 41.0, 40.3)
    )
    fig = plots.before_after(rows, metrics=("mIoU",))
    scores, change = fig.axes
    assert {x: dots(scores)[x] for x in (38, 40, 38.5, 40.3)} == {
        38: (BASE, True),
        40: (REFINED, True),
        38.5: (BASE, False),
        40.3: (REFINED, False),
    }
    (row,) = {float(a.get_ydata()[0]) for a in scores.lines if list(a.get_xdata()) in ([38.5], [38.0])}
    assert dots(change)[1.8] == ("#333333", False)
    assert any("models not measured here" in text for text in texts(fig))


def test_a_table_without_measurements_or_without_printed_numbers():
    rows = table()
    printed = plots.before_after(rows[rows["paper"].notna()], metrics=("mIoU",), paper_data="VIPSeg")
    assert len(printed.axes) == 2 and texts(printed)[1:] == [
        "Nothing was measured here",
        "mIoU",
        "Printed in the paper, on VIPSeg",
    ]
    alone = plots.before_after(rows[rows["measured"].notna()], metrics=("mIoU",))
    assert not any("rinted" in text for text in texts(alone))
    assert plots.before_after(rows[:0])._repr_png_()


# ---------------------------------------------------------------- cost


def cost_rows(faster=1.0):
    rows = []
    for sweep, numbers in (("objects", (1, 8)), ("window", (4, 32))):
        for n in numbers:
            for stage in ("encoder", "proposals", "tracking", "vote"):
                rows += [
                    ("Measured", "micro", f"{sweep} {n}", f"ms_{stage}", 10.0 * n, NAN, NAN, NAN),
                    ("Predicted", "micro", f"{sweep} {n}", f"ms_{stage}", faster * 10.0 * n, NAN, NAN, NAN),
                ]
            rows.append(("Measured", "micro", f"{sweep} {n}", "peak_MB", 1000.0 + n, NAN, NAN, NAN))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_cost_says_units_machine_memory_and_what_is_predicted():
    fig = plots.cost(cost_rows(1.5), "Cost", machine="a CPU, 2 cores", extent="clip a")
    left, right = fig.axes
    tops = {patch.get_x() + patch.get_width() / 2: 0.0 for patch in left.patches}
    for patch in left.patches:
        middle = patch.get_x() + patch.get_width() / 2
        tops[middle] = max(tops[middle], patch.get_y() + patch.get_height())
    assert {round(x): y for x, y in tops.items()} == {0: 40, 1: 320}
    lowest = min(left.patches, key=lambda patch: (patch.get_y(), patch.get_x()))
    assert lowest.get_y() == 0 and to_hex(lowest.get_facecolor()) == "#56b4e9"  # the encoder
    assert list(left.lines[0].get_ydata()) == [60, 480]
    assert left.get_ylim() == right.get_ylim() and left.get_ylabel() == "milliseconds per frame"
    assert [text.get_text() for text in right.texts] == ["1.00 GB", "1.03 GB"]
    assert texts(fig)[1].endswith("clip a; a CPU, 2 cores")
    assert (
        "stock sam2" in texts(fig)[2]
        and "1.5 to 1.5 times" in texts(fig)[2]
        and "above the bars" in texts(fig)[2]
    )
    slow = texts(plots.cost(cost_rows(0.9)))[2]
    assert "above the bars" not in slow and "slower than that rate" in slow


# ---------------------------------------------------------------- all


def every_figure(clip):
    columns = {"base": base, "refined": truth, "truth": truth}
    yield plots.before_after(table(), title="T", differences=GAINS, extent="10 clips, 320 frames")
    classes = [("A", f"class_{i}", 50 - i, 2, 50.0, 51.0) for i in range(42)]
    yield plots.gain_by_class(
        pd.DataFrame(classes, columns=["model", "class", "share", "clips", "base", "refined"]),
        extent="343 clips, 24502 frames",
    )
    yield plots.segmentor(table(line("I-SAM2", "", 30.0, 29.0, 31.0)), "T", extent="10 clips, 320 frames")
    yield plots.cost(
        cost_rows(1.5), "T", "AMD Ryzen Threadripper PRO 5995WX 64-Cores, 64 cores", "first window of val_000"
    )
    yield plots.strip(clip, 4, columns, zoom="mended", title="T")
    yield plots.masklet_sheet(clip, masklets_of(clip), [0, 3, 5, 8], title="T")


def beyond(fig):
    """Labels of ticks that lie outside their panel, which matplotlib keeps but does not draw."""
    for ax in fig.axes:
        for axis, ends in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            yield from (t.label1 for t in axis.get_major_ticks() if not ends[0] <= t.get_loc() <= ends[1])


def test_no_text_is_small_or_runs_out_of_its_figure(clip):
    for fig in every_figure(clip):
        fig.savefig(io.BytesIO(), format="png")
        width, height = fig.get_figwidth() * fig.dpi, fig.get_figheight() * fig.dpi
        undrawn = {*beyond(fig)}
        for text in fig.findobj(Text):
            if not text.get_text().strip() or not text.get_visible() or text in undrawn:
                continue
            # 10.24 points are 8 points where a README shows 1700 pixels in 850
            assert text.get_fontsize() >= 10.24, text
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text


def test_a_function_is_not_hidden_by_the_file_it_is_in():
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(plots.__path__):
        importlib.import_module(f"lib.plots.{module.name}")
    assert all(not isinstance(getattr(plots, name), type(plots)) for name in plots.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        plots.nonsense  # noqa: B018

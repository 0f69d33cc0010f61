"""Where refinement helps: what is measured by class, clip and distance, the examples chosen, and the
charts of it."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from toy import clip_of

from lib import paths, plots, study
from lib.clips.clip import Dataset, Predictions
from lib.config import VOID
from lib.masklets import FrameMasklets, Masklets
from lib.metrics import count_clip, per_class, per_clip
from lib.study.profiles import PROFILES
from lib.tables import where as tables_where
from lib.tables.where import Details, by_class, by_clip, by_distance, detail_notes, details, examples

SIZE, N, CLASSES = (13, 17), 20, ("road", "car", "pole", "sky")
BASE, REFINED, GREY = "#D55E00", "#0072B2", "#777777"


def truths(seed):
    """A road, a car that drives, a void corner; with seed 1 a pole too."""
    found = []
    for t in range(N):
        labels = np.zeros(SIZE, np.uint8)
        labels[4:9, (t + seed) % 9 : (t + seed) % 9 + 6] = 1
        if seed == 1:
            labels[:, 16] = 2
        labels[12, 0] = VOID
        found.append(labels)
    return found


def noisy(labels, share, seed):
    rng = np.random.default_rng(seed)
    return [np.where(rng.random(SIZE) < share, 0, frame).astype(np.uint8) for frame in labels]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Three clips; base models "a" and "b" whose predictions are noisy truths, "absent" without any;
    masklets that cover nothing."""
    clips = tuple(clip_of(truths(i), f"clip{i}") for i in range(3))
    predictions = {
        name: {
            c.name: Predictions(c.name, c.frames, noisy(truths(i), share, i).__getitem__)
            for i, c in enumerate(clips)
        }
        for name, share in (("a", 0.3), ("b", 0.1))
    }

    def predictions_of(_, name):
        if name not in predictions:
            raise study.NotRun(f"no {name}")
        return predictions[name]

    empty = {c.name: Masklets(c.name, SIZE, None, (FrameMasklets(0, (), (), (), ()),) * N) for c in clips}
    files = {c.name: tmp_path / c.name for c in clips}
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(tables_where, "predictions_of", predictions_of)
    monkeypatch.setattr(tables_where, "cut", lambda run, settings: {settings[0]: files})
    monkeypatch.setattr(tables_where, "masklets_of", lambda run, clip, settings: empty[clip.name])
    monkeypatch.setattr("lib.tables.refiner.read_masklets", lambda path: empty[path.name])
    profile = PROFILES["mini"].__class__(
        "toy",
        "toy",
        "vspw",
        "",
        models=(("absent", "Absent", "B0"), ("a", "A", "B1"), ("b", "B", "B2"), ("c", "C", "B3")),
    )
    return study.Study(profile, tmp_path, Dataset("toy", "val", CLASSES, clips), "micro")


def counted(shares):
    return {
        kind: [count_clip(f"clip{i}", truths(i), noisy(truths(i), share, i), 4) for i in range(3)]
        for kind, share in shares.items()
    }


def test_by_class_is_the_iou_with_the_share_and_the_clips():
    counts = counted({"base": 0.3, "refined": 0.1})
    found = by_class({"A": counts}, CLASSES)
    assert found["class"].tolist() == ["road", "car", "pole"]  # the truth has no sky
    np.testing.assert_allclose(found["base"], per_class(counts["base"])[:3])
    np.testing.assert_allclose(found["refined"], per_class(counts["refined"])[:3])
    assert found["clips"].tolist() == [3, 3, 1]
    pole = 100 * 13 * N / (3 * N * (13 * 17 - 1))
    assert found["share"].iloc[2] == pytest.approx(pole) and found["share"].sum() == pytest.approx(100)


def test_by_clip_drops_clips_that_the_protocol_leaves_out():
    counts = counted({"base": 0.3, "refined": 0.1})
    for kind in counts:
        counts[kind].append(count_clip("short", truths(0)[:5], truths(0)[:5], 4))
    found = by_clip({"A": counts})
    assert found["clip"].tolist() == ["clip0", "clip0", "clip1", "clip1", "clip2", "clip2"]
    assert found["refined"].tolist() == [
        per_clip(counts["refined"])[c][m] for c, m in zip(found["clip"], found["metric"])
    ]
    assert by_class({"A": counts}, CLASSES)["share"].sum() == pytest.approx(100)


def test_by_distance_names_bins_and_pairs_the_change():
    near = {
        "base": [np.array([[10, 0, 0, 0, 0, 0, 4], [20, 0, 0, 0, 0, 0, 4]])] * 2,
        "refined": [np.array([[15, 0, 0, 0, 0, 0, 4], [20, 0, 0, 0, 0, 0, 4]])] * 2,
    }
    found = by_distance({"A": near})
    assert found["distance"].tolist() == ["0-1", "32+"]
    assert found[["base", "refined", "change", "change_low", "change_high"]].values.tolist() == [
        [50, 75, 25, 25, 25],
        [100, 100, 0, 0, 0],
    ]
    assert found["share"].tolist() == [100 * 20 / 24, 100 * 4 / 24]


def test_where_takes_the_first_and_last_models_that_can_be_run(run):
    found = details(run)
    assert found.names == ("a", "b") and found.by_clip["model"].unique().tolist() == ["A B1", "B B2"]
    assert (found.by_clip["base"] == found.by_clip["refined"]).all()  # no masklet, no change
    base = per_clip(
        [count_clip(c.name, truths(i), noisy(truths(i), 0.1, i), 4) for i, c in enumerate(run.dataset.clips)]
    )
    rows = found.by_clip[(found.by_clip["model"] == "B B2") & (found.by_clip["metric"] == "mIoU")]
    assert rows["base"].tolist() == [base[c]["mIoU"] for c in rows["clip"]]
    assert details(run, models=("b",)).names == ("b",)
    with pytest.raises(study.NotRun, match="no absent"):
        details(run, models=("absent",))
    assert any(
        "mIoU rises in 0 of 3 clips" in note and "at none for certain" in note for note in detail_notes(found)
    )


def test_notes_say_what_the_figures_show():
    table = pd.DataFrame(
        [("A", "x", "mIoU", 50.0, 49.0), ("A", "y", "mIoU", 40.0, 45.0)],
        columns=["model", "clip", "metric", "base", "refined"],
    )
    (note,) = detail_notes(Details(("a",), classes_table(), table, distance_table()))
    assert note == (
        "A: mIoU rises in 1 of 2 clips; of the classes car gains most (+10.0) and handrail_or_fence loses most (-10.0). "
        "By distance to the true boundary, accuracy rises at 0-1 px and falls at 32+ px."
    )


def test_examples_are_the_best_the_median_and_the_worst_clip(run, monkeypatch):
    """A refiner that mends frame 7 of clip2, spoils frame 3 of clip0, and swaps pixels for nothing in
    frame 5 of clip1."""
    base = {c.name: noisy(truths(i), 0.3, i) for i, c in enumerate(run.dataset.clips)}

    def refine(predictions, _):
        after = [predictions[t].copy() for t in range(N)]
        if predictions.name == "clip2":
            after[7] = truths(2)[7]
        if predictions.name == "clip0":
            after[3][:] = 3
        if predictions.name == "clip1":
            after[5][4:9, 4:9] = 3
        return after

    monkeypatch.setattr(tables_where, "refine_clip", refine)
    kinds = {"base": [base[c.name] for c in run.dataset.clips]}
    kinds["refined"] = [
        refine(tables_where.predictions_of(run, "a")[c.name], None) for c in run.dataset.clips
    ]
    counts = {
        kind: [count_clip(c.name, truths(i), maps[i], 4) for i, c in enumerate(run.dataset.clips)]
        for kind, maps in kinds.items()
    }
    found = Details(("a",), by_class({"A": counts}, CLASSES), by_clip({"A": counts}), pd.DataFrame())
    chosen = examples(run, found)
    assert [(clip.name, t) for _, clip, t, _ in chosen] == [("clip2", 7), ("clip1", 5), ("clip0", 3)]
    assert chosen[0][0].startswith("clip2, frame 7\nA, mIoU +") and "mIoU -" in chosen[2][0]
    assert (chosen[0][3]["refined"][7] == chosen[0][3]["truth"][7]).all() and (
        chosen[0][3]["base"][7] == base["clip2"][7]
    ).all()
    assert plots.gallery(chosen, zoom=True, classes=CLASSES)._repr_png_()


# ---------------------------------------------------------------- charts


def dots(ax):
    """[(x, y, colour)] of the markers in a panel."""
    return [
        (float(a.get_xdata()[0]), float(a.get_ydata()[0]), to_hex(a.get_color()).upper())
        for a in ax.lines
        if a.get_marker() not in ("None", None)
    ]


def classes_table():
    rows = [
        ("A", "road", 60.0, 9, 80.0, 81.0),
        ("A", "car", 5.0, 3, 50.0, 60.0),
        ("A", "handrail_or_fence", 0.01, 1, 30.0, 20.0),
    ]
    return pd.DataFrame(rows, columns=["model", "class", "share", "clips", "base", "refined"])


def test_gain_by_class_is_sorted_by_gain_with_the_frequency():
    fig = plots.gain_by_class(classes_table(), "Table 1, mini")
    share, panel = fig.axes
    assert [label.get_text() for label in share.get_yticklabels()] == ["car", "road", "handrail / fence"]
    assert [text.get_text() for text in share.texts] == [
        "5.0 %, 3 clips",
        "60.0 %, 9 clips",
        "<0.1 %, 1 clip",
    ]
    assert dots(panel) == [
        (50, 0, BASE),
        (60, 0, REFINED),
        (80, 1, BASE),
        (81, 1, REFINED),
        (30, 2, BASE),
        (20, 2, REFINED),
    ]
    assert [(text.get_text(), to_hex(text.get_color()).upper()) for text in panel.texts] == [
        ("+10.0", REFINED),
        ("+1.0", REFINED),
        ("-10.0", BASE),
    ]
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the largest gain on top


def test_of_many_classes_the_most_frequent_are_shown_and_it_says_so():
    fig = plots.gain_by_class(classes_table(), at_most=2)
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["car", "road"]
    assert any("the 2 most frequent of 3 classes" in text.get_text() for text in fig.texts)


def test_score_by_clip_has_a_panel_per_model_and_metric():
    rows = [
        ("A", "x", "mIoU", 50.0, 49.0),
        ("A", "x", "mVC8", 90.0, 95.0),
        ("A", "y", "mIoU", 40.0, 45.0),
        ("A", "y", "mVC8", 80.0, 80.01),
    ]
    fig = plots.score_by_clip(pd.DataFrame(rows, columns=["model", "clip", "metric", "base", "refined"]))
    assert [ax.get_title() for ax in fig.axes] == ["A\nmIoU", "A\nmVC8"]
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["y", "x"]
    assert [text.get_text() for text in fig.axes[1].texts] == ["+0.0", "+5.0"]
    assert dots(fig.axes[0])[:2] == [(40, 0, BASE), (45, 0, REFINED)]


def test_hundreds_of_clips_fit_without_names():
    rows = [("A", f"c{i}", "mIoU", 50.0, 50.0 + i) for i in range(343)]
    fig = plots.score_by_clip(pd.DataFrame(rows, columns=["model", "clip", "metric", "base", "refined"]))
    assert (
        fig.get_figheight() * fig.dpi < 2000
        and not fig.axes[0].get_yticklabels()
        and len(dots(fig.axes[0])) == 686
    )


def distance_table(low=True):
    nan = float("nan")
    bounds = lambda value: (value, value - 1, value + 1) if low else (value, nan, nan)
    rows = [
        ("A", "0-1", 5.2, *bounds(50), *bounds(55), *bounds(5)),
        ("A", "32+", 0.2, *bounds(98), *bounds(94), *bounds(-4)),
        ("A", "1-2", 94.6, *bounds(70), *bounds(70.5), *bounds(0.5)),
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "model",
            "distance",
            "share",
            *(f"{k}{e}" for k in ("base", "refined", "change") for e in ("", "_low", "_high")),
        ],
    )


def test_accuracy_by_distance_colours_the_change_by_what_is_certain():
    above, below = plots.accuracy_by_distance(distance_table(), "T").axes
    assert [(round(x, 2), y, c) for x, y, c in dots(above)][:4] == [
        (-0.12, 50, BASE),
        (0.88, 98, BASE),
        (1.88, 70, BASE),
        (0.12, 55, REFINED),
    ]
    assert dots(below) == [(0, 5, REFINED), (1, -4, BASE), (2, 0.5, GREY)]
    assert [label.get_text() for label in below.get_xticklabels()] == ["0-1\n5 %", "32+\n<1 %", "1-2\n95 %"]
    upright = [a for a in below.lines if a.get_marker() == "None" and list(a.get_xdata()) == [0, 0]]
    assert [list(a.get_ydata()) for a in upright] == [[4, 6]]


def test_one_clip_has_no_intervals_and_says_so():
    fig = plots.accuracy_by_distance(distance_table(low=False))
    assert any("no intervals: they need two clips" in text.get_text() for text in fig.texts)
    assert {c for *_, c in dots(fig.axes[1])} == {GREY}


def test_what_was_not_measured_is_said():
    empty = Details((), by_class({}, CLASSES), by_clip({}), by_distance({}))
    for fig in (
        plots.gain_by_class(empty.by_class, "T"),
        plots.score_by_clip(empty.by_clip, "T"),
        plots.accuracy_by_distance(empty.by_distance, "T"),
    ):
        assert [text.get_text() for text in fig.texts] == ["T", "Nothing was measured here"]
    assert detail_notes(empty) == [] and examples(None, empty) == []


def test_figures_have_the_width_of_all_figures():
    for fig in (plots.gain_by_class(classes_table(), "T"), plots.accuracy_by_distance(distance_table(), "T")):
        assert Image.open(io.BytesIO(fig._repr_png_())).width == 1020

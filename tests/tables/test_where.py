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
from lib.intervals import class_intervals
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
    monkeypatch.setattr(tables_where, "masklet_paths", lambda run: files)
    monkeypatch.setattr(tables_where, "masklets_of", lambda run, clip: empty[clip.name])
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
    assert found[["change_low", "change_high"]].isna().to_numpy().all()  # too few clips show any
    pole = 100 * 13 * N / (3 * N * (13 * 17 - 1))
    assert found["share"].iloc[2] == pytest.approx(pole) and found["share"].sum() == pytest.approx(100)


def test_by_class_has_the_interval_of_the_change():
    counts = {
        kind: [count_clip(f"c{i}", truths(i % 7), noisy(truths(i % 7), s, i), 4) for i in range(7)]
        for kind, s in (("base", 0.3), ("refined", 0.1))
    }
    found = by_class({"A": counts}, CLASSES).set_index("class")
    expected = class_intervals(counts["refined"], counts["base"])
    for name, of_class in (("road", expected[0]), ("car", expected[1])):
        row = found.loc[name]
        assert (row["change_low"], row["change_high"]) == of_class[:2]
        assert of_class.low < row["refined"] - row["base"] < of_class.high
    assert np.isnan(found.loc["pole", "change_low"]), "one clip shows it"


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
        "mIoU rises in 0 of 3 clips" in note and "not judged: too few clips (n = 3)" in note
        for note in detail_notes(found)
    )


def test_notes_say_what_the_figures_show():
    table = pd.DataFrame(
        [("A", "x", "mIoU", 50.0, 49.0), *[("A", f"y{i}", "mIoU", 40.0, 45.0) for i in range(5)]],
        columns=["model", "clip", "metric", "base", "refined"],
    )
    (note,) = detail_notes(Details(("a",), classes_table(), table, distance_table()))
    assert note == (
        "A: mIoU rises in 5 of 6 clips; of the classes car gains most (+10.0) and handrail_or_fence loses most (-10.0). "
        "By distance to the true boundary, accuracy rises at 0-1 px and falls at 32+ px."
    )
    (note,) = detail_notes(Details(("a",), classes_table(), table[:5], distance_table()))
    assert note.endswith("accuracy is not judged: too few clips (n = 5).")


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
    assert chosen[0][0].startswith("clip2, frame 7\nA, clip mIoU +") and "clip mIoU -" in chosen[2][0]
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


def texts(fig):
    return [text.get_text() for text in fig.texts]


def test_gain_by_class_is_in_the_order_of_each_models_own_gain():
    other = classes_table().assign(model="B", base=[50.0, 60.0, 70.0], refined=[60.0, 61.0, 72.0])
    fig = plots.gain_by_class(pd.concat([classes_table(), other]), "Table 1, mini", extent="9 clips")
    first, second = fig.axes
    names = lambda ax: [label.get_text() for label in ax.get_yticklabels()]
    assert names(first) == ["car", "road", "handrail / fence"] and names(second) == [
        "road",
        "handrail / fence",
        "car",
    ]
    assert [(x, c) for x, _, c in dots(first)] == [(10, GREY), (1, GREY), (-10, GREY)]
    assert first.get_ylim()[0] > first.get_ylim()[1] and first.get_xlim() == second.get_xlim()
    assert texts(fig)[1] == "Change of the IoU by refinement, in points; 9 clips; no intervals: one clip"
    assert {"+10.0", "50 → 60", "5.0 %", "3", "<0.1 %", "A", "B"} <= set(texts(fig))


def test_gain_by_class_draws_intervals_and_colours_what_is_certain():
    table = classes_table().assign(change_low=[-1.0, 8.0, -12.0], change_high=[3.0, 12.0, -8.0])
    fig = plots.gain_by_class(table)
    (ax,) = fig.axes
    assert [c for *_, c in dots(ax)] == [REFINED, GREY, BASE]
    spans = [tuple(a.get_xdata()) for a in ax.lines if a.get_marker() == "None" and a.get_alpha() == 0.55]
    assert spans == [(8, 12), (-1, 3), (-12, -8)]
    assert "lines: 95 % interval over clips" in texts(fig)[0] + texts(fig)[1]


def test_of_many_classes_the_most_frequent_are_shown_and_it_says_so():
    fig = plots.gain_by_class(classes_table(), at_most=2)
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["car", "road"]
    assert any(text.startswith("The 2 most frequent of 3 classes. ") for text in texts(fig))


def points(ax):
    return [
        tuple(map(float, xy)) for a in ax.collections for xy in a.get_offsets() if len(a.get_offsets()) > 1
    ]


def test_score_by_clip_is_base_against_refined_with_the_diagonal():
    rows = [
        ("A", "x", "mIoU", 50.0, 49.0),
        ("A", "x", "mVC8", 90.0, 95.0),
        ("A", "y", "mIoU", 40.0, 45.0),
        ("A", "y", "mVC8", 80.0, 80.01),
        ("B", "x", "mIoU", 60.0, 61.0),
    ]
    table = pd.DataFrame(rows, columns=["model", "clip", "metric", "base", "refined"])
    fig = plots.score_by_clip(table, "T")
    miou, mvc = fig.axes
    assert [ax.get_title() for ax in fig.axes] == ["mIoU", "mVC8"] and miou.get_xlim() == miou.get_ylim()
    assert points(miou) == [(50, 49), (40, 45), (60, 61)] and points(mvc) == [(90, 95), (80, 80.01)]
    diagonal = miou.lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == list(miou.get_xlim())
    assert [text.get_text() for text in miou.texts] == [
        "largest gain: y +5.0",
        "largest loss: x -1.0\nA: 1 of 2 clips gain\nB: 1 of 1 clips gain",
    ]
    assert mvc.texts[1].get_text().startswith("smallest gain: y +0.0")
    assert texts(fig)[1].endswith("2 clips") and (miou.get_xlabel(), miou.get_ylabel()) == ("base", "refined")
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["A", "B"]


def test_hundreds_of_clips_fit():
    rows = [("A", f"c{i}", "mIoU", 50.0, 50.0 + i / 10) for i in range(343)]
    fig = plots.score_by_clip(pd.DataFrame(rows, columns=["model", "clip", "metric", "base", "refined"]))
    assert fig.get_figheight() * fig.dpi < 1000 and len(points(fig.axes[0])) == 343


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
    fig = plots.accuracy_by_distance(distance_table(), "T", extent="3 clips")
    above, below = fig.axes
    assert [(round(x, 2), y, c) for x, y, c in dots(above)][:4] == [
        (-0.14, 50, BASE),
        (0.86, 98, BASE),
        (1.86, 70, BASE),
        (0.14, 55, REFINED),
    ]
    assert dots(below) == [(0, 5, REFINED), (1, -4, BASE), (2, 0.5, GREY)]
    assert [label.get_text() for label in below.get_xticklabels()] == ["0-1\n5 %", "32+\n<1 %", "1-2\n95 %"]
    assert not any(label.get_text() for label in above.get_xticklabels())
    assert sum("distance to the true boundary, in pixels" in text for text in texts(fig)) == 1
    assert (above.get_ylabel(), below.get_ylabel()) == ("right, in percent", "change, in points")
    assert "3 clips; lines: 95 % interval over clips" in texts(fig)[1]
    upright = [a for a in below.lines if a.get_marker() == "None" and list(a.get_xdata()) == [0, 0]]
    assert [list(a.get_ydata()) for a in upright] == [[4, 6]]
    # points of neighbouring bins are not joined
    assert all(len(set(map(float, a.get_xdata()))) == 1 or not a.get_alpha() for a in above.lines)
    assert max(len(a.get_xdata()) for a in above.lines) == 2


def test_one_clip_has_no_intervals_and_says_so():
    fig = plots.accuracy_by_distance(distance_table(low=False))
    assert any("no intervals: one clip" in text for text in texts(fig))
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

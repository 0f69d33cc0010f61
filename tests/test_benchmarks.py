"""The benchmarks with the smallest settings: tables of the right shape, and results of ours that equal
those they are compared with. Never the time."""

import json
import math

import numpy as np
import pytest
from oracles import mean_boundary_iou, mean_iou, refine, script_vc, weighted_iou
from test_metrics import count, random_clip

from benchmarks import ablations, common, coverage, memory, panoptic, peak, predicting, tracking, voting
from benchmarks.__main__ import main as show
from lib import intervals as intervals_file
from lib.config import MaskletSettings
from lib.intervals import intervals


def run(benchmark, tmp_path, *options):
    """Run a benchmark on the CPU; returns its table after checking that the file holds the same."""
    table = benchmark.main([*options, "--device", "cpu", "--out", str(tmp_path)])
    name = benchmark.__name__.rpartition(".")[2]
    written = json.loads((tmp_path / f"{name}_cpu.json").read_text())
    assert (
        written["command"].startswith(f"python -m benchmarks.{name} {options[0]}")
        and written["machine"]["gpu"] is False
        and written["machine"]["threads"] >= 1
    )
    assert [list(row) for row in written["table"]] == [list(table.columns)] * len(table) and len(table) > 0
    return table


def test_tracking(tmp_path):
    """Ours, stock and legacy cut the same masks, automatic ones and given ones."""
    table = run(tracking, tmp_path, "--rounds", "1", "--frames", "2", "--objects", "0", "2", "--grid", "6")
    assert table["who"].tolist() == ["ours", "stock", "legacy"] * 2
    assert (
        table["masks"].tolist() == ["automatic"] * 3 + ["given"] * 3
        and table["objects"].tolist()[3:] == [2] * 3
    )
    assert table["objects"][0] >= 3 and set(table["objects"][:3]) == {table["objects"][0]}
    assert table["worst_iou"].min() >= 0.999 and table["covered"].between(0.01, 0.9).all()
    assert (
        (table[table["who"] == "stock"]["times_faster"] == 1).all()
        and (table["least_s"] <= table["median_s"]).all()
        and (table["least_s"] > 0).all()
    )


def test_ablations(tmp_path):
    """Every printed row is counted, each setting is run alone once, and the shared run gives the same
    masklets."""
    table = run(ablations, tmp_path, "--frames", "1", "--rounds", "1", "--largest-grid", "8").set_index("who")
    rows = [
        "default",
        "shared",
        "reruns",
        *(f"  {ablations.label(s)}" for s in ablations.ablation_settings() if s.grid == 8),
    ]
    assert table.index.tolist() == rows == ["default", "shared", "reruns", "  grid 8"]
    assert table["worst_iou"].iloc[2:].min() >= 0.999


def test_ablations_leave_reruns_out_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations.segmenting, "segment", lambda *_: None)
    monkeypatch.setattr(ablations.segmenting, "segment_all", lambda sam, clip, settings: settings)
    table = run(ablations, tmp_path, "--frames", "1", "--rounds", "1", "--no-reruns")
    assert table["who"].tolist() == ["default", "shared"] and table["settings"].tolist() == [1, 23], (
        "the paper's four tables print 23 rows"
    )


def test_predicting(tmp_path):
    table = run(predicting, tmp_path, "--rounds", "1", "--frames", "5", "--models", "cffm-n0")
    assert (
        table["who"].tolist() == ["one call per target", "each frame once", "backbone alone"]
        and table["pixels_agree"][1] > 0.999
    )


def test_panoptic(tmp_path):
    """Longer clips need no more memory: what is known of each frame goes to disk."""
    table = run(
        panoptic,
        tmp_path,
        "--models",
        "dvis-plus-n1",
        "--frames",
        "2",
        "12",
        "--size",
        "96",
        "160",
        "--threads",
        "1",
    )
    assert (
        table["frames"].tolist() == [2, 12]
        and table["tubes"].min() >= 1
        and (table["gflop_per_frame"] > 1).all()
    )
    assert table["MB_more_per_frame"][1] < 4


def test_voting(tmp_path):
    table = run(
        voting,
        tmp_path,
        "--rounds",
        "1",
        "--frames",
        "18",
        "--size",
        "48",
        "86",
        "--masks",
        "5",
        "--voted",
        "2",
    )
    assert table["what"].tolist() == ["vote + paint"] * 2 + ["metrics"] * 4
    assert (table["largest_difference"][:2] == 0).all() and table["largest_difference"].max() < 1e-9
    assert (table[table["who"] == "ours"]["ours_faster"] == 1).all()


def test_loops_that_ours_is_timed_against_are_right():
    """The loops of the benchmark, fast enough for whole clips, against those that go pixel by pixel."""
    truth, predicted = voting.labels(18, (24, 37))
    truth[0, 10:14, 5:9] = 255
    masks = voting.ellipses(6, (24, 37))
    assert (voting.refine_loop(predicted[0], masks) == refine(predicted[0], masks)).all()
    scores, clips = voting.metrics_loop(truth, predicted, range(124)), [(truth, predicted)]
    expected = {
        "mIoU": mean_iou(clips, 124),
        "wIoU": weighted_iou(clips, 124),
        "mBIoU": mean_boundary_iou(clips, 124),
        "mVC8": script_vc(clips, 8),
    }
    assert {metric: scores[metric] for metric in expected} == pytest.approx(
        {metric: 100 * score for metric, score in expected.items()}
    )
    assert 0.1 < expected["mIoU"] < 0.99, "neither everything nor nothing may be right"


def test_memory(tmp_path):
    table = run(
        memory,
        tmp_path,
        "--frames",
        "2",
        "--objects",
        "3",
        "--object-frames",
        "1",
        "--length-objects",
        "1",
        "--window",
        "2",
        "--grid",
        "2",
    )
    assert table[["varied", "frames", "objects"]].values.tolist() == [["frames", 2, 1], ["objects", 1, 3]]
    assert table["process_MB"].between(100, 20_000).all() and (table["times_first"] == 1).all()


def test_peak(tmp_path):
    """Operations are those of the table: two frames encoded, and each object decoded twice, remembered
    once and attended to once."""
    table = run(peak, tmp_path, "--rounds", "1", "--frames", "2", "--objects", "1", "3", "--side", "64")
    flops = peak.flops_of("micro")
    of_object = 2 * flops.decoder + flops.memory_encoder + flops.attention + flops.memory + flops.pointer
    assert table["gflop"].tolist() == pytest.approx([2 * flops.encoder + n * of_object for n in (1, 3)])
    assert (table["percent_of_peak"] > 0).all()


def test_contestants_take_turns():
    order = []
    contestants = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    results, times = common.alternate(contestants, 2, "cpu", warm_up=False)
    assert (
        "".join(order) == "abccba"
        and results == {"a": 6, "b": 5, "c": 4}
        and all(t.shape == (2,) and (t >= 0).all() for t in times.values())
    )
    common.alternate(contestants, 1, "cpu")
    assert "".join(order[6:]) == "cbaabc", "a round that is not timed comes first"
    with pytest.raises(ValueError, match="`rounds`"):
        common.alternate(contestants, 0, "cpu")


def test_ratios_are_taken_within_rounds():
    """The second round was slow for both: their ratio is not disturbed."""
    slow, fast = np.array([4.0, 40.0, 6.0]), np.array([2.0, 20.0, 2.0])
    assert common.faster(fast, slow) == 2 and common.spread(slow) == {
        "median_s": 6,
        "least_s": 4,
        "most_s": 40,
    }


def test_worst_iou():
    a = np.zeros((2, 3, 4), bool)
    a[0, 0, :4] = True
    b = a.copy()
    b[0, 0, 3] = False
    assert common.worst_iou([a, a], [a, b]) == 0.75 and common.worst_iou([a], [a]) == 1
    assert math.isnan(common.worst_iou([a], [a[:1]])) and math.isnan(common.worst_iou([], []))


def test_given_objects_are_tracked_instead_of_proposals():
    clip, setting = common.drawn(2), MaskletSettings(window=2, grid=2)
    propose = common.tracker.propose
    with common.given(5, setting, clip.size) as cells:
        frames = [frame for (frame,) in common.tracker.track(common.load("micro", "cpu"), clip, setting)]
    assert (
        cells.shape == (5, *clip.size)
        and [len(frame.ids) for frame in frames] == [5, 5]
        and common.tracker.propose is propose
    )
    assert common.worst_iou([frames[0].masks(clip.size)], [cells]) > 0.8, (
        "on the prompted frame a mask is its prompt, at SAM 2's resolution"
    )


def test_drawn_clip_goes_to_and_fro():
    clip = common.drawn(7, 3)
    assert len(clip) == 7 and clip.size == clip.image(0).shape[:2] == clip.truth(6).shape
    same = lambda i, j: (clip.image(i) == clip.image(j)).all() and (clip.truth(i) == clip.truth(j)).all()
    assert same(4, 0) and same(3, 1) and same(6, 2) and not same(0, 1) and not same(1, 2)


def test_results_as_markdown(tmp_path, capsys):
    show(tmp_path)
    assert "No results" in capsys.readouterr().out
    options = common.parse(
        common.parser("Of a test.", rounds=1), "example", ["--device", "cpu", "--out", str(tmp_path)]
    )
    common.finish(
        "example",
        options,
        [{"who": "ours", "seconds": 0.123456}, {"who": "theirs", "seconds": float("nan")}],
        ["A note."],
    )
    capsys.readouterr()
    show(tmp_path)
    shown = capsys.readouterr().out
    assert (
        shown.startswith("## example, cpu\n")
        and "| who | seconds |\n| --- | ---: |\n| ours | 0.1235 |\n| theirs |  |\n\n- A note." in shown
    )


def paired_clips(n, seed):
    """Counts before and after of n clips that differ, of five classes."""
    lengths = [17 + i % 3 for i in range(n)]
    before, after = (
        count([random_clip(k, seed + i, share_wrong=wrong + i / 40) for i, k in enumerate(lengths)])
        for wrong in (0.3, 0.1)
    )
    return after, before


def test_coverage_scores_what_the_library_scores():
    """A sample that holds some clips twice has the interval that the library gives for that list of clips."""
    population, times = coverage.slim(paired_clips(4, 0)), np.array([[2.0, 0, 3, 1], [1, 1, 1, 3]])
    low, high = coverage.contestants(population, times, 0, 0, np.random.default_rng(0))[coverage.OURS]
    for row, *bounds in zip(times.astype(int), low, high):
        chosen = [[c for c, k in zip(counts, row) for _ in range(k)] for counts in population]
        found = intervals(chosen[0], other=chosen[1], protocol="vspw")
        assert np.array(bounds).T == pytest.approx(np.array([found[m][:2] for m in coverage.MEASURES]))


def test_coverage_bootstraps():
    """Of 999 values without bias or skewness BCa is the percentile interval; t is resampled with its sign turned."""
    values = np.linspace(-1, 1, 999)[None, :, None]
    none = np.zeros((1, 1))
    low, high = coverage.bias_corrected(none, none, values)
    assert (low, high) == (pytest.approx(-0.95, abs=0.003), pytest.approx(0.95, abs=0.003))
    low, _ = coverage.bias_corrected(none, none + 0.1, values)
    assert low > -0.93, "skewed to above: the lower bound is nearer"
    skewed = np.where(values > 0, 3 * values, values)
    low, high = coverage.studentised(none, none + 2, skewed, np.ones_like(skewed))
    assert low == pytest.approx(-2 * 2.85, abs=0.02) and high == pytest.approx(2 * 0.95, abs=0.02)
    low, high = coverage.studentised(none, none + 2, skewed, np.zeros_like(skewed))
    assert (low, high) == (-np.inf, np.inf), "resamples without any error say nothing"


def test_coverage(tmp_path, monkeypatch):
    measured = {coverage.MIXED: paired_clips(6, 0), "single": paired_clips(4, 50)}
    monkeypatch.setattr(coverage, "populations", lambda: measured)
    monkeypatch.setattr(coverage, "SIZES", (4, 30))
    options = ("--rounds", "100", "--resamples", "40", "--studentised", "20")
    table = run(coverage, tmp_path, *options)
    assert table["n"].tolist() == [4] * 6 + [30] * 6 and set(table["interval"][:6]) == set(
        table["interval"][6:]
    )
    rows = table.set_index(["n", "interval"])
    assert rows["covers"].between(30, 100).all()
    assert rows["covers"].to_numpy() == pytest.approx(
        (100 - rows["holds_falsely"] - rows["fails_falsely"]).to_numpy()
    )
    assert rows["covers"].to_numpy() == pytest.approx(rows[list(coverage.MEASURES)].mean(axis=1).to_numpy())
    assert rows["covers"][4, coverage.OURS] > rows["covers"][4, coverage.PERCENTILE], "few clips"
    assert len(coverage.summary(table.to_dict("records"))) == 4


def test_the_documented_coverage_is_the_measured_one():
    """The docstring holds the table of the committed result, and the result what the docstring says of it."""
    table = json.loads((common.RESULTS / "coverage_cpu.json").read_text())["table"]
    assert "\n".join(f"    {line}" for line in coverage.summary(table)) in intervals_file.__doc__
    ours = {row["n"]: row for row in table if row["interval"] == coverage.OURS}
    assert tuple(ours) == coverage.SIZES == (4, 6, 10, 30, 343)
    for n in (6, 10, 30, 343):
        assert all(93.5 <= ours[n][m] <= 98 for m in coverage.MEASURES) and 93.5 <= ours[n]["single"] <= 97
    assert ours[4]["least"] < 90 and intervals_file.MIN_CLIPS == 6

"""Measured cost: the stages are all the time there is, and the table holds measured beside predicted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco
from toy import make_dataset

from lib import paths, sam
from lib.config import MaskletSettings, Shortcuts
from lib.cost import flops, shortcuts_table, timing
from lib.cost import measure as measuring
from lib.cost import table as costs
from lib.plots import cost as cost_figure
from lib.report.text import COLUMNS, markdown
from lib.sam import track as tracker
from lib.study.study import open_study

LOOSE = MaskletSettings(window=2, grid=2, iou=0.0, stability=0.0)


@pytest.fixture(scope="module")
def micro():
    return sam.load("micro", "cpu")


def test_stages_are_all_the_time_there_is(micro):
    clip = make_dataset(frames=3).clips[0]
    found = measuring.measure(micro, clip, LOOSE, 2, n_objects=3)
    assert (found.frames, found.masklets) == (2, 3) and all(
        found.seconds[stage] > 0 for stage in measuring.TIMED
    )
    assert 0.7 * found.whole_s < sum(found.seconds.values()) <= found.whole_s
    assert np.isnan(found.peak_bytes) or found.peak_bytes > 1e8


def test_measures_the_masklets_that_the_tracker_finds(micro):
    clip = make_dataset(frames=2).clips[0]
    (frame, _) = (found for (found,) in tracker.track(micro, clip, LOOSE))
    assert measuring.measure(micro, clip, LOOSE, 2).masklets == len(frame.ids) > 0
    nothing = measuring.measure(micro, clip, replace(LOOSE, iou=1.0), 2)
    assert nothing.masklets == 0 and nothing.seconds["tracking"] < nothing.seconds["encoder"]


def test_wrong_number_of_objects(micro):
    with pytest.raises(ValueError, match="n_objects"):
        measuring.measure(micro, make_dataset().clips[0], LOOSE, 2, n_objects=0)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_grid_cells_are_apart_and_hold_pixels(n):
    masks = coco.decode(measuring.grid_cells(n, (13, 17)))
    assert masks.shape == (13, 17, n) and masks.any((0, 1)).all() and masks.sum(2).max() == 1


def test_peak_memory_is_of_this_measurement_alone():
    measuring.reset_peak()
    before = measuring.read_peak()
    if np.isnan(before):
        pytest.skip("the system tells no peak")
    held = np.ones(50_000_000, np.uint8)
    assert measuring.read_peak() - before > 4e7
    del held
    measuring.reset_peak()
    assert measuring.read_peak() - before < 4e7


def test_masklets_that_the_papers_speed_leaves_room_for():
    """At that many masklets the predicted speed is the paper's."""
    low, high = costs.implied_masklets(1.1, MaskletSettings())
    cost = costs.predict_cost(
        [32], (480, 853), MaskletSettings(), "large", high, flops.of_peak(312, 0.31, "an A100")
    )
    assert low < high and 32 / cost.total_s == pytest.approx(1.1)


def test_table_and_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(sam, "has_gpu", lambda: False)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    run = open_study("mini")
    run = run.on(make_dataset(frames=2, size=(26, 34)).clips).under(LOOSE)
    result = costs.cost_table(run, [1, 2], [1], 2)
    table, not_run, notes = result.table, result.not_run, result.notes
    assert tuple(table.columns) == COLUMNS and set(table.method) == {"Measured", "Predicted", "Paper"}
    rows = {key: part.set_index("metric").measured for key, part in table.groupby(["method", "setting"])}
    for setting in ("objects 1", "objects 2", "window 1"):
        measured, predicted = rows["Measured", setting], rows["Predicted", setting]
        stages = [f"ms_{stage}" for stage in measuring.STAGES]
        assert measured.fps == pytest.approx(
            1000 / measured[stages].sum()
        ) and predicted.fps == pytest.approx(1000 / predicted[stages].sum())
        assert (
            measured.masklets == predicted.masklets
            and "ms_metrics" in measured
            and "ms_metrics" not in predicted
        )
    assert [rows["Measured", f"objects {n}"].masklets for n in (1, 2)] == [1, 2]
    assert table[table.method == "Paper"].paper.tolist() == [1.1, 3.5] and set(not_run) == {
        ("Paper", "A100", label) for label in costs.PAPER_FPS
    }
    page = markdown(table, not_run, "Cost", notes)
    assert (
        "In percent" not in page
        and "| Measured | micro | objects 2 |" in page
        and "an A100" in notes[-1]
        and "Predicted over measured time" in page
    )
    left, right = cost_figure(table, "Cost").axes
    assert [t.get_text() for t in left.get_xticklabels()] == ["1", "2"] and [
        t.get_text() for t in right.get_xticklabels()
    ] == ["1"]
    total = sum(rows["Measured", "objects 2"][stages])
    assert max(bar.get_y() + bar.get_height() for bar in left.patches) == pytest.approx(
        max(total, sum(rows["Measured", "objects 1"][stages]))
    )
    assert left.lines[0].get_ydata()[1] == pytest.approx(sum(rows["Predicted", "objects 2"][stages]))
    monkeypatch.setattr(timing, "measure", None)
    # times are kept: a second run takes none
    pd.testing.assert_frame_equal(costs.cost_table(run, [1, 2], [1], 2).table, table)


def test_shortcuts_beside_exact(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    run = open_study("mini")
    run = replace(run, profile=replace(run.profile, example="", models=()))
    run = run.on(make_dataset(frames=3, size=(26, 34)).clips).under(LOOSE)
    table, note = shortcuts_table(run, (Shortcuts(input_px=64), Shortcuts(memories=1, every=2)), 3)
    table = table.set_index("masklets")
    assert "3 frames" in note and "the truth" in note and "no interval" in note
    assert list(table.index) == ["base model", "exact", "input_px = 64", "memories = 1, every = 2"]
    assert (
        table.loc["exact", "times faster"] == "1.00"
        and float(table.loc["memories = 1, every = 2", "times faster"]) > 0
    )
    # the truth, where no base model can be run
    assert table.loc["base model", "s a frame"] == "" and table.loc["base model", "mIoU"] == "100.00"
    monkeypatch.setattr(sam, "load", None)
    again, _ = shortcuts_table(run, (Shortcuts(input_px=64), Shortcuts(memories=1, every=2)), 3)
    pd.testing.assert_frame_equal(again.set_index("masklets"), table)

import time

import numpy as np
import pytest
from test_metrics import PREDICTED, TRUTH, clip, count
from toy import random_clip

from lib.intervals import bootstrap, draw, interval, resample
from lib.metrics import count_clip, summarise
from lib.report.text import shown, signed


def test_counts_must_go_together():
    two, three = count_clip("a", [TRUTH], [TRUTH], 2), count_clip("b", [TRUTH], [TRUTH], 3)
    with pytest.raises(ValueError, match="protocol"):
        bootstrap([two], protocol="coco")
    with pytest.raises(ValueError, match="at least one clip"):
        bootstrap([])
    with pytest.raises(ValueError, match="same classes and windows"):
        bootstrap([two, two], other=[three, three])
    with pytest.raises(ValueError, match=r"same clips in order, but got None for \('a', 1\)"):
        bootstrap([two, two], other=[two])
    with pytest.raises(ValueError, match="same clips in order"):
        bootstrap([], other=[two])


def test_bootstrap_against_a_loop():
    counts = count(
        [random_clip(n_frames, seed, share_wrong=seed / 9) for seed, n_frames in enumerate((17, 19, 18, 25))]
    )
    better = count(
        [(truth, truth) for truth, _ in (random_clip(n, seed) for seed, n in enumerate((17, 19, 18, 25)))]
    )
    times = np.random.default_rng(7).multinomial(4, [0.25] * 4, 50)
    drawn = [
        [summarise([c for c, k in zip(some, row, strict=True) for _ in range(k)]) for row in times]
        for some in (counts, better)
    ]
    for other in (None, better):
        intervals = bootstrap(counts, 50, seed=7, other=other)
        for metric, found in intervals.items():
            values = [a[metric] - (b[metric] if other else 0) for a, b in zip(*drawn, strict=True)]
            assert found == pytest.approx(np.percentile(values, (2.5, 97.5)))
    assert intervals["mIoU"][1] < 0  # worse than the perfect prediction in every draw
    assert set(bootstrap(counts, other=counts).values()) == {(0, 0)}


def test_bootstrap_needs_two_clips():
    one, short = count([random_clip(17, 0), random_clip(10, 1)])
    assert np.isnan(list(bootstrap([one]).values())).all()
    defined = {metric for metric, (low, _) in bootstrap([one, short]).items() if not np.isnan(low)}
    assert defined == {"mVC8_eq4"}  # the script leaves out the short clip, and 16 frames do not fit it


def test_draws_are_of_the_same_clips_for_all_metrics_and_predictions():
    counts = count([random_clip(17, 0), random_clip(18, 1), random_clip(19, 2)])
    better = [count_clip(c.name, *[random_clip(17 + i, i)[0]] * 2, 5) for i, c in enumerate(counts)]
    drawn, paired = resample(counts, 20, seed=3), resample(better, 20, seed=3, other=counts)
    for i, times in enumerate(draw(3, 20, seed=3)):
        clips = [c for c, k in zip(counts, times, strict=True) for _ in range(int(k))]
        scores = summarise(clips)
        assert {m: values[i] for m, values in drawn.items()} == pytest.approx(scores)
        assert paired["mIoU"][i] == pytest.approx(100 - scores["mIoU"])


def test_interval_of_the_draws_that_are_defined():
    assert interval(np.array([np.nan, *range(41), np.nan])) == (1, 39)
    assert np.isnan(interval(np.full(3, np.nan))).all() and np.isnan(interval(np.zeros(0))).all()


def test_bootstrap_is_fast():
    counts = [count_clip(f"{i}", *clip(TRUTH, PREDICTED, 17), 124) for i in range(343)]
    start = time.process_time()
    bootstrap(counts)
    assert time.process_time() - start < 2


def test_changes_are_written_one_way():
    assert [signed(value) for value in (1.25, -3.0, -0.04, 0.0)] == ["+1.2", "-3.0", "+0.0", "+0.0"]
    assert shown((1.0, -0.04, 2.0)) == "+1.0 [+0.0, +2.0]" and shown((-1.0, np.nan, np.nan)) == "-1.0"

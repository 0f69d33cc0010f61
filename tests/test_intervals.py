import time
from dataclasses import replace

import numpy as np
import pytest
from test_metrics import PREDICTED, TRUTH, clip, count, random_clip

from lib.claims.holm import holm
from lib.intervals import BLOCKS, CLIPS, class_intervals, interval, intervals, leave_one_out, rescore
from lib.metrics import ClipCounts, count_clip, per_class, summarise
from lib.text import shown, signed

# Student's t at 97.5 % by degrees of freedom, from a printed table
STUDENT = {
    1: 12.7062047364,
    2: 4.30265272991,
    3: 3.18244630528,
    5: 2.57058183661,
    7: 2.36462425101,
    9: 2.26215716280,
}


def test_counts_must_go_together():
    two, three = count_clip("a", [TRUTH], [TRUTH], 2), count_clip("b", [TRUTH], [TRUTH], 3)
    with pytest.raises(ValueError, match="protocol"):
        intervals([two], protocol="coco")
    with pytest.raises(ValueError, match="at least one clip"):
        intervals([])
    with pytest.raises(ValueError, match="same classes and windows"):
        intervals([two, two], other=[three, three])
    with pytest.raises(ValueError, match=r"same clips in order, but got None for \('a', 1, 0\)"):
        intervals([two, two], other=[two])
    with pytest.raises(ValueError, match="same clips in order"):
        intervals([], other=[two])


def test_the_interval_of_a_mean_by_hand():
    """2, 4 and 6: mean 4, without each in turn 5, 4 and 3; of a mean it is Student's own interval."""
    low, high, n, unit, skew = interval(np.array([4.0, 5.0, 4.0, 3.0]))
    half = STUDENT[2] * 2 / 3**0.5  # standard deviation 2
    assert (low, high) == pytest.approx((4 - half, 4 + half)) and (n, unit, skew) == (3, "clips", 0)
    means = leave_one_out(3) @ [2, 4, 6] / leave_one_out(3).sum(1)
    assert interval(means)[:3] == pytest.approx((low, high, 3))
    assert leave_one_out(2).tolist() == [[1, 1], [0, 1], [1, 0]]
    assert interval(np.array([7.0, 7.0, 7.0]))[:3] == (7, 7, 2)


def slow_bounds(value, pseudo_values, t):
    """Student's t of Tukey's pseudo-values, each bound moved out by Hall's cubic, which is inverted by bisection."""
    n, error = len(pseudo_values), np.std(pseudo_values, ddof=1) / len(pseudo_values) ** 0.5
    if error < 1e-9:
        return value, value
    apart = np.array(pseudo_values) - np.mean(pseudo_values)
    bend = np.mean(apart**3) / np.mean(apart**2) ** 1.5 / n**0.5
    cubic = lambda x: x + bend * x**2 / 3 + bend**2 * x**3 / 27 + bend / 6
    reached = []
    for aim in (t, -t):
        low, high = -1e4, 1e4
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if cubic(middle) < aim else (low, middle)
        reached.append(low)
    return value - max(t, reached[0]) * error, value + max(t, -reached[1]) * error


def test_skewed_clips_have_a_longer_arm_by_hand():
    """1, 1, 1 and 5: mean 2, standard error 1, skewness 2 / 3**0.5; the arm towards 5 is the long one."""
    low, high, n, _, skew = interval(np.array([2, 7 / 3, 7 / 3, 7 / 3, 1]))
    assert (n, skew) == (4, pytest.approx(2 / 3**0.5))
    bend = 1 / 3**0.5
    arm = 3 / bend * (1 + (bend * (STUDENT[3] + bend / 6) - 1) ** (1 / 3))
    assert low == pytest.approx(2 - STUDENT[3]) and high == pytest.approx(2 + arm) and 10 < arm < 10.5
    down, up, *_ = interval(np.array([-2, -7 / 3, -7 / 3, -7 / 3, -1]))
    assert (down, up) == pytest.approx((-high, -low))


@pytest.mark.parametrize("seed", range(3))
def test_intervals_against_a_loop(seed):
    """The slow way: clips left out one by one, and Tukey's pseudo-values."""
    lengths = (17, 19, 18, 25, 10, 40)  # the script leaves out the fifth, Eq. 4 only for windows of 16
    clips = [random_clip(n, 10 * seed + i, share_wrong=i / 9) for i, n in enumerate(lengths)]
    counts = count(clips)
    better = count([random_clip(n, 10 * seed + i, share_wrong=i / 20) for i, n in enumerate(lengths)])
    better = [replace(b, name=c.name) for b, c in zip(better, counts)]
    for other in (None, better):
        change = lambda chosen: {
            m: score - (summarise([other[i] for i in chosen])[m] if other else 0)
            for m, score in summarise([counts[i] for i in chosen]).items()
        }
        found = intervals(counts, other=other)
        whole = change(range(6))
        assert list(found) == list(whole)
        for metric, (low, high, n, unit, _) in found.items():
            used = {"mVC8_eq4": range(6)}.get(metric, (0, 1, 2, 3, 5))
            pseudo = [
                len(used) * whole[metric] - (len(used) - 1) * change([j for j in range(6) if j != i])[metric]
                for i in used
            ]
            t = STUDENT[5] if n == 6 else 2.7764451052
            bounds = np.array(slow_bounds(whole[metric], pseudo, t))
            if other is None:
                bounds = np.clip(bounds, 0, 100)
            assert (low, high) == pytest.approx(tuple(bounds)), metric
            assert (n, unit) == (len(used), "clips")
    assert set(intervals(counts, other=counts).values()) == {(0, 0, 5, "clips", 0), (0, 0, 6, "clips", 0)}


def test_leaving_out_the_only_clip_of_a_class_leaves_out_the_class():
    truths = [np.full((4, 4), c, np.uint8) for c in (0, 0, 1)]
    wrong = truths[2].copy()
    wrong[:2] = 0
    counts = [
        count_clip(f"{i}", [t] * 17, [p] * 17, 2)
        for i, (t, p) in enumerate(zip(truths, [*truths[:2], wrong]))
    ]
    # class 0: 32 right pixels, 8 more predicted; class 1: 8 of 16
    whole, first, second, third = rescore(counts)["mIoU"]
    assert whole == pytest.approx(50 * (32 / 40 + 1 / 2)) and third == 100
    assert first == second == pytest.approx(50 * (16 / 24 + 1 / 2))


def test_two_clips_are_needed():
    one, short = count([random_clip(17, 0), random_clip(10, 1)])
    assert all(np.isnan(i.low) for i in intervals([one]).values())
    found = intervals([one, short])
    assert {m for m, i in found.items() if not np.isnan(i.low)} == {"mVC8_eq4"}
    # the script leaves out the short clip, and 16 frames do not fit it
    assert {m: i.n for m, i in found.items()} == {
        **dict.fromkeys(("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16", "mVC16_eq4"), 1),
        "mVC8_eq4": 2,
    }


def test_a_number_that_rests_on_one_clip_has_no_interval():
    assert np.isnan(interval(np.array([50.0, 50.0, np.nan]))[:2]).all()
    assert np.isnan(interval(np.array([np.nan] * 3))[:2]).all()


def test_one_clip_alone_has_intervals_over_its_blocks():
    clips = [random_clip(44, 3, share_wrong=share) for share in (0.3, 0.1)]
    before, after = (count_clip("a", *c, 5, block_frames=8) for c in clips)
    for other in (None, [before]):
        found = intervals([after], other=other)
        for metric, (low, high, n, unit, _) in found.items():
            pseudo = []
            whole = summarise([after])[metric] - (summarise([before])[metric] if other else 0)
            for i in range(6):
                a, b = (
                    summarise([_added([c for j, c in enumerate(counts.blocks) if j != i])])[metric]
                    for counts in (after, before)
                )
                pseudo.append(6 * whole - 5 * (a - (b if other else 0)))
            bounds = slow_bounds(whole, pseudo, STUDENT[5])
            assert (low, high) == pytest.approx(tuple(bounds if other else np.clip(bounds, 0, 100))), metric
            assert (n, unit) == (6, "blocks")
    several = intervals([after, replace(after, name="b")])  # as soon as there are two clips, over those
    assert {i.unit for i in several.values()} == {"clips"}
    with pytest.raises(ValueError, match=r"got \('a', 44, 0\) for \('a', 44, 6\)"):
        intervals([after], other=[replace(before, blocks=())])


def _added(blocks):
    fields = [name for name in vars(blocks[0]) if name not in ("name", "n_frames", "windows", "blocks")]
    return replace(blocks[0], **{name: sum(getattr(b, name) for b in blocks) for name in fields})


def test_intervals_are_fast_and_the_same_every_time():
    counts = [count_clip(f"{i}", *clip(TRUTH, PREDICTED, 17), 124) for i in range(343)]
    start = time.process_time()
    first = intervals(counts)
    assert time.process_time() - start < 1
    assert first == intervals(counts)


def skewed(n, rng):
    """Counts of n clips before and after, of a change of 1 on average, smaller in most and larger in some."""
    changes = rng.gamma(4, 0.25, n)
    levels = rng.uniform(40, 60, n)
    zeros = np.zeros(2, np.int64)
    of = lambda score: ClipCounts(
        "",
        32,
        (8, 16),
        np.array([round(1000 * score)]),
        np.array([100_000]),
        np.array([round(1000 * score)]),
        1,
        score / 100,
        zeros + 1,
        np.full(2, score / 100),
        zeros,
        np.zeros(2),
    )
    return [of(s + c) for s, c in zip(levels, changes)], [of(s) for s in levels]


def test_small_samples_are_covered_where_the_percentile_bootstrap_does_not():
    """Six clips, 1,000 times: an interval that says 95 % holds the true change in about as many cases."""
    rng, covered = np.random.default_rng(1), {"ours": 0, "percentile bootstrap": 0}
    for _ in range(1000):
        after, before = skewed(6, rng)
        low, high, *_ = intervals(after, other=before)["mBIoU"]
        covered["ours"] += low <= 1 <= high
        changes = np.array([100 * (a.boundary_iou - b.boundary_iou) for a, b in zip(after, before)])
        low, high = np.percentile(changes[rng.integers(0, 6, (400, 6))].mean(1), (2.5, 97.5))
        covered["percentile bootstrap"] += low <= 1 <= high
    assert covered["ours"] >= 910 and covered["percentile bootstrap"] <= 880, covered


def test_holm_by_hand():
    """Four: 0.01 <= 0.05 / 4 survives, 0.015 <= 0.05 / 3 too, 0.03 > 0.05 / 2 does not, nor what follows."""
    assert holm([0.015, 0.04, 0.01, 0.03]) == [True, False, True, False]
    assert holm([0.01, 0.04, 0.03]) == [True, False, False], (
        "0.04 would do alone, but 0.03 > 0.05 / 2 stops it"
    )
    assert holm([0.0125] * 4) == [True] * 4 and holm([0.0126] * 4) == [False] * 4
    assert holm([0.02, float("nan"), 0.03]) == [True, False, True], "what was never tested does not count"
    assert holm([]) == [] and holm([0.3, 0.2], level=0.5) == [True, True]
    with pytest.raises(ValueError, match="0..1"):
        holm([1.5])


def test_changes_are_written_one_way():
    assert [signed(value) for value in (1.25, -3.0, -0.04, 0.0)] == ["+1.2", "-3.0", "+0.0", "+0.0"]
    assert shown((1.0, -0.04, 2.0)) == "+1.0 [+0.0, +2.0]" and shown((-1.0, np.nan, np.nan)) == "-1.0"


def test_class_intervals_against_oracle():
    """The change of each class scored anew without each clip; none where the truth lacks the class or few show it."""
    rng, clips = np.random.default_rng(5), {"new": [], "old": []}
    for i in range(8):
        truth = rng.choice([0, 1, 4, 255], (20, 5, 7)).astype(np.uint8)
        if i < 5:
            truth[rng.random(truth.shape) < 0.1] = 2
        for kind, wrong in (("new", 0.2), ("old", 0.5)):
            guess = np.where(rng.random(truth.shape) < wrong * rng.random(), 1, truth).astype(np.uint8)
            clips[kind].append(count_clip(f"c{i}", truth, guess, 5))
    found = class_intervals(clips["new"], clips["old"])
    change = lambda keep: per_class(keep(clips["new"])) - per_class(keep(clips["old"]))
    value = change(list)
    without = [change(lambda of: [*of[:i], *of[i + 1 :]]) for i in range(8)]
    for c in (0, 1, 4):
        pseudo_values = [8 * value[c] - 7 * left[c] for left in without]
        assert found[c][:2] == pytest.approx(slow_bounds(value[c], pseudo_values, STUDENT[7]))
        assert found[c].n == 8 and found[c].unit == CLIPS
    assert all(np.isnan(found[c][:2]).all() for c in (2, 3))
    with pytest.raises(ValueError, match="same clips in order"):
        class_intervals(clips["new"], clips["old"][::-1])


def test_class_intervals_of_one_clip_are_over_its_blocks():
    truth = np.random.default_rng(6).integers(0, 2, (24, 5, 7)).astype(np.uint8)
    counted = lambda guess: [count_clip("c", truth, guess, 2, block_frames=8)]
    after, before = (
        counted(truth),
        counted(np.where(np.arange(24)[:, None, None] < 9, 0, truth).astype(np.uint8)),
    )
    found = class_intervals(after, before)
    assert [i.unit for i in found] == [BLOCKS] * 2 and found[0].n == 3 and found[1].low < found[1].high

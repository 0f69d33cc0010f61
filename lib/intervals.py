"""Intervals of scores and of their paired changes, over the clips of a data set: Student's t on the jackknife,
widened where the clips are skewed.

    intervals(counts)["mIoU"]                      # Interval(low, high, n, unit), in percent
    intervals(refined, other=base)["mIoU"]         # of refined minus base, in points

Method. A data set's score is made of all its clips together, so it is computed again without each clip in turn:
the jackknife (Tukey 1958). That gives the standard error of any such number, ratios of sums included, a class
that one clip alone shows among them, which goes when that clip goes. The interval is the number and so many
standard errors down and up as Student's t of n - 1 degrees says; where the clips are skewed, a few gaining far
more than the rest, more on one side by Hall's correction (1992), never less. It is exact arithmetic: no draws, no
seed. Whole clips are left out, never frames: the frames of a clip are alike, and intervals over them would be too
narrow. Of one clip alone there are intervals over blocks of consecutive frames; they speak of that sequence and no
other, and nothing is judged by them.

Coverage, in percent of samples of n clips, as `python -m benchmarks.coverage` measures it for paired changes on the
mini profile: the percentile bootstrap, which stood here before, and these intervals on a mixed population of fifty
clips, then the range of these over five measures; how often, at a true change of zero, a rise is said to hold (2.5
is right; bootstrap -> ours); coverage of single populations of ten clips, and of the worst one and measure.

    | n | percentile | ours | by measure | holds falsely | single | least |
    | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
    | 4 | 77.8 | 96.2 | 95.2 to 97.0 | 10.5 -> 1.3 | 78.3 -> 95.0 | 73.6 -> 89.8 |
    | 6 | 85.5 | 96.3 | 95.7 to 97.5 | 6.2 -> 1.1 | 82.7 -> 95.4 | 70.6 -> 92.2 |
    | 10 | 90.1 | 95.7 | 94.9 to 96.7 | 4.0 -> 1.5 | 86.3 -> 94.6 | 70.2 -> 84.6 |
    | 30 | 93.5 | 95.6 | 94.9 to 95.8 | 3.2 -> 1.8 | 93.4 -> 95.7 | 91.6 -> 94.3 |
    | 343 | 94.3 | 95.0 | 94.8 to 95.4 | 2.5 -> 2.4 | 95.1 -> 95.4 | 93.2 -> 94.9 |

The last column at n = 10 is a population in which one clip of ten goes against all others: a third of the samples
lack it, and no interval over them can know. Below `MIN_CLIPS` there is no verdict: at n = 4 the worst populations are
covered in less than 90 %, and where fewer than six clips all go one way, chance alone does that in more than 2.5 %
(2**-5 = 3.1 %), so that a verdict would rest on an assumed shape.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from .metrics import ClipCounts, add_blocks, check_counts, left_out, weighted_class_iou, weighted_scores

LEVEL = 0.95
MIN_CLIPS = 6  # below, no interval is trusted with a verdict
CLIPS, BLOCKS = "clips", "blocks"  # what an interval is over


class Interval(NamedTuple):
    """A 95 % interval in percent or points, NaN where there is none, and how many clips it is over; or
    blocks of frames of one clip alone, when it says nothing beyond that clip."""

    low: float
    high: float
    n: int
    unit: str = CLIPS
    skew: float = 0.0  # of the clips' contributions, see `reach`


def intervals(
    counts: Sequence[ClipCounts], *, other: Sequence[ClipCounts] | None = None, protocol: str = "both"
) -> dict[str, Interval]:
    """Give the 95 % interval of every score.

    Args:
        counts: one per clip. One clip alone has intervals over its blocks, if it was counted with them.
        other: counts of another prediction of the same clips in the same order; the intervals are then of the
            paired change, `counts` minus `other`.
        protocol: as for `lib.metrics.summarise`. Each metric takes the clips that it is defined on.

    Returns:
        {metric: interval}; bounds of a score that lie beyond 0 and 100 are cut to them; NaN below two clips,
        and where a score rests on one clip alone.

    Raises:
        ValueError: no clips, clips counted differently, an unknown protocol, or `other` of other clips.

    Example:
        >>> from .metrics import count_clip
        >>> frame = lambda right: np.repeat([[0, 1]], [right, 10 - right], 1).astype(np.uint8)
        >>> truth = np.repeat([[0, 1]], 5, 1).astype(np.uint8)
        >>> counts = [count_clip(f"clip {n}", [truth], [frame(n)], 2) for n in (4, 5, 6)]
        >>> intervals(counts, protocol="paper")["mIoU"].n
        3
    """
    unit, found = unit_of(counts), {}
    for metric, scores in rescore(counts, other=other, protocol=protocol).items():
        found[metric] = interval(scores)._replace(unit=unit)
        if other is None:
            low, high = np.clip(found[metric][:2], 0, 100).tolist()
            found[metric] = found[metric]._replace(low=low, high=high)
    return found


def rescore(
    counts: Sequence[ClipCounts],
    *,
    other: Sequence[ClipCounts] | None = None,
    protocol: str = "both",
    score: Callable = weighted_scores,
) -> dict[str, np.ndarray]:
    """Score the data set, and what is left of it without each of its clips in turn, as `interval` takes it.

    Args: as for `intervals`; score: `lib.metrics.weighted_scores`, or `weighted_class_iou` for {class: ...}.
    Returns: {metric: (1 + n,)} in percent or points; entry 0 is of all clips, entry i without the i-th of those
        that the metric is defined on, which for mIoU, wIoU and mBIoU are the same. Of one clip that has
        blocks: without each of its blocks.
    """
    check_counts([*counts, *(other or ())], protocol)
    if other is None:
        return _rescored(counts, protocol, score)
    ours, theirs = ([(c.name, c.n_frames, len(c.blocks)) for c in clips] for clips in (counts, other))
    if ours != theirs:
        odd = next(pair for pair in zip_longest(ours, theirs) if pair[0] != pair[1])
        raise ValueError(f"Expected `other` to hold the same clips in order, but got {odd[1]} for {odd[0]}")
    after, before = _rescored(counts, protocol, score), _rescored(other, protocol, score)
    return {metric: scores - before[metric] for metric, scores in after.items()}


def class_intervals(
    counts: Sequence[ClipCounts], other: Sequence[ClipCounts], protocol: str = "both"
) -> list[Interval]:
    """Give the 95 % interval of the paired change of each class's IoU, `counts` minus `other`, by the jackknife.

    Args: as for `intervals`.
    Returns: one per class, in points. NaN where the truth lacks the class, or would without one of the clips, and
        where fewer than `MIN_CLIPS` clips show it: the others say next to nothing of it.
    """
    scores = rescore(counts, other=other, protocol=protocol, score=weighted_class_iou)
    short, unit, found = left_out(counts, protocol), unit_of(counts), []
    for c, of_class in scores.items():
        few = unit == CLIPS and sum(bool(k.truth_px[c]) for k in counts if k.name not in short) < MIN_CLIPS
        found.append(interval(of_class * np.nan if few else of_class)._replace(unit=unit))
    return found


def _rescored(counts: Sequence[ClipCounts], protocol: str, score: Callable) -> dict:
    if unit_of(counts) == CLIPS:
        return score(counts, protocol, leave_one_out)
    blocks = counts[0].blocks
    without = [add_blocks([*blocks[:i], *blocks[i + 1 :]]) for i in range(len(blocks))]
    scores = [score([c], protocol, lambda n: np.ones((1, n))) for c in (counts[0], *without)]
    return {metric: np.concatenate([score[metric] for score in scores]) for metric in scores[0]}


def unit_of(counts: Sequence[ClipCounts]) -> str:
    """Say what intervals of these counts are over: `CLIPS`, or the `BLOCKS` of the only one."""
    return BLOCKS if len(counts) == 1 and len(counts[0].blocks) > 1 else CLIPS


def leave_one_out(n: int) -> np.ndarray:
    """How often each of n clips counts: once each, then all but the first, all but the second, ...: (1 + n, n)
    float64.

    Example:
        >>> leave_one_out(2).tolist()
        [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    """
    return np.vstack([np.ones((1, n)), 1 - np.eye(n)])


def interval(scores: np.ndarray) -> Interval:
    """Give the 95 % interval of any number that is made of clips, such as a ratio of sums over them.

    Args: scores: (1 + n,): of all n clips, then without each in turn, as weighted by `leave_one_out`.
    Returns: the number, minus and plus so many of the jackknife's standard errors as `reach` says; NaN bounds
        below two clips, or if it is undefined without one of them.
    Source: Tukey 1958; Efron and Stein, The jackknife estimate of variance, Annals of Statistics 9, 1981.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0])  # of four clips, whose mean is judged: Student's t
        >>> scores = leave_one_out(4) @ values / leave_one_out(4).sum(1)
        >>> [round(bound, 3) for bound in interval(scores)[:2]]
        [0.446, 4.554]
    """
    value, without = float(scores[0]), np.asarray(scores[1:], np.float64)
    n = len(without)
    if n < 2 or np.isnan(value) or np.isnan(without).any():
        return Interval(np.nan, np.nan, n)
    apart = without.mean() - without  # a clip that raises the score is above zero
    spread = np.mean(apart**2)
    error = np.sqrt((n - 1) * spread)
    # less than a billionth of a point is rounding, which has no shape
    skew = float(np.mean(apart**3) / spread**1.5) if error > 1e-9 else 0.0
    down, up = reach(n, skew)
    return Interval(float(value - down * error), float(value + up * error), n, skew=skew)


def reach(n: int, skew: np.ndarray | float, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Say how many standard errors an interval over n clips goes down and up: Student's t of n - 1 degrees, or more
    on a side where, by Hall's correction, the skewness of the clips asks for more; never less.

    Args: skew: of the clips' contributions, mean cube over standard deviation cubed.
    Source: Hall, On the removal of skewness by transformation, Journal of the Royal Statistical Society B 54, 1992.
    """
    t, bend = stdtrit(n - 1, (1 + level) / 2), np.asarray(skew, np.float64) / np.sqrt(n)
    bend = np.where(abs(bend) < 1e-6, 1e-6, bend)  # where there is none, the limit
    corrected = lambda x: 3 / bend * (np.cbrt(1 + bend * (x - bend / 6)) - 1)
    return np.maximum(t, corrected(t)), np.maximum(t, -corrected(-t))


def over(n: int, unit: str) -> str:
    """Write what an interval is over: "10 clips", or "4 blocks within this sequence"."""
    return f"{n} clip{'s' * (n != 1)}" if unit == CLIPS else f"{n} {BLOCKS} within this sequence"

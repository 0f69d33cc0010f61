"""Intervals of scores and of their paired differences, by resampling the clips of a data set (bootstrap).

    bootstrap(counts)["mIoU"]                 # (low, high), in percent
    bootstrap(refined, other=base)["mIoU"]    # refined minus base, in points, both scored on the same draws

Whole clips are drawn, never frames: the frames of a clip are alike, and drawing them would make the intervals
too narrow. Since the counts of clips add up, a draw costs one weighted sum, whatever the size of the clips.
"""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from .metrics import ClipCounts, check_counts, weighted_scores


def bootstrap(
    counts: Sequence[ClipCounts],
    n: int = 1000,
    seed: int = 0,
    *,
    other: Sequence[ClipCounts] | None = None,
    protocol: str = "both",
) -> dict[str, tuple[float, float]]:
    """Give 95 % intervals by drawing clips with replacement.

    Args:
        counts: one per clip.
        n, seed: number of resamples, and what seeds them.
        other: counts of another prediction of the same clips in the same order; the intervals are then of the
            paired difference `counts` minus `other`, both scored on the same draws.
        protocol: as for `lib.metrics.summarise`. Each metric draws from the clips it is defined on.

    Returns:
        {metric: (low, high)}, the 2.5th and 97.5th percentile, in percent or points; (nan, nan) below two
        clips.

    Raises:
        ValueError: no clips, clips counted differently, an unknown protocol, or `other` of other clips.
    """
    return {
        metric: interval(values)
        for metric, values in resample(counts, n, seed, other=other, protocol=protocol).items()
    }


def resample(
    counts: Sequence[ClipCounts],
    n: int = 1000,
    seed: int = 0,
    *,
    other: Sequence[ClipCounts] | None = None,
    protocol: str = "both",
) -> dict[str, np.ndarray]:
    """Score the draws that `bootstrap` takes its intervals from: {metric: (n,)}; entry i of mIoU, wIoU and
    mBIoU is of the same clips."""
    check_counts([*counts, *(other or ())], protocol)
    if other is not None:
        ours, theirs = ([(c.name, c.n_frames) for c in clips] for clips in (counts, other))
        if ours != theirs:
            odd = next(pair for pair in zip_longest(ours, theirs) if pair[0] != pair[1])
            raise ValueError(
                f"Expected `other` to hold the same clips in order, but got {odd[1]} for {odd[0]}"
            )
    weigh = lambda n_clips: draw(n_clips, n, seed)
    scores = weighted_scores(counts, protocol, weigh)
    if other is None:
        return scores
    scores_of_other = weighted_scores(other, protocol, weigh)
    return {metric: values - scores_of_other[metric] for metric, values in scores.items()}


def draw(n_clips: int, n: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw `n_clips` of as many clips with replacement, `n` times: how often each is drawn, (n, n_clips)
    float64; NaN below two clips."""
    if n_clips < 2:
        return np.full((n, n_clips), np.nan)
    return (
        np.random.default_rng(seed).multinomial(n_clips, np.full(n_clips, 1 / n_clips), n).astype(np.float64)
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """Give the 2.5th and 97.5th percentile of the scores of draws (n,), of those that are defined; (nan,
    nan) where none is."""
    defined = values[~np.isnan(values)]
    return tuple(np.percentile(defined, (2.5, 97.5)).tolist()) if defined.size else (np.nan, np.nan)

"""Accuracy of a prediction by distance to the true boundary: where refinement helps, and where it hurts.

base, refined = zip(*[accuracy_by_distance(truths, (predictions, after)) for each clip])
share, low, high = accuracy(base)                      # in percent, by bin
change, low, high = accuracy(refined, other=base)      # in points, paired over clips
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from .clips.images import classes_in
from .config import VOID
from .intervals import interval, leave_one_out

# upper edges of the bins but the last: (0, 1], (1, 2], ... (16, 32], more than 32
EDGES_PX = (1, 2, 4, 8, 16, 32)


def distance_to_boundary(truth: np.ndarray, within_px: float = np.inf) -> np.ndarray:
    """Return how far each pixel lies from the nearest pixel of another class.

    Args:
        truth: (H, W) uint8, class ids or 255 = void.
        within_px: larger distances may come out as infinite; each class is then measured in a box around it,
            which is several times faster.

    Returns:
        (H, W) float32, Euclidean, in pixels: 1 beside another class; infinite in a frame of one class; NaN
        for void, which is no boundary either: distances reach across it, and neither it nor the frame's edge
        is another class.

    Example:
        >>> truth = np.array([[0, 0, 0, 1, 1, 255]], np.uint8)
        >>> distance_to_boundary(truth).tolist()
        [[3.0, 2.0, 1.0, 1.0, 2.0, nan]]
    """
    distance = np.full(truth.shape, np.nan, np.float32)
    margin = int(min(within_px, max(truth.shape))) + 1
    for c in classes_in(truth):
        x, y, width, height = cv2.boundingRect(cv2.compare(truth, int(c), cv2.CMP_EQ))
        box = slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)
        own = truth[box] == c
        other = ~own & (truth[box] != VOID)
        if other.any():
            nearest = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # squares are whole; cv2 is off in the last bit, which would move pixels between bins
            distance[box][own] = np.sqrt(np.rint(nearest[own] ** 2))
        else:
            distance[box][own] = np.inf
    return distance


def accuracy_by_distance(
    truths: Iterable[np.ndarray],
    predictions: Sequence[Iterable[np.ndarray]],
    edges_px: Sequence[float] = EDGES_PX,
) -> np.ndarray:
    """Count a clip's right pixels, and all that are judged, by distance to the true boundary.

    Args:
        truths: frames (H, W) uint8 in order, class ids or 255 = void.
        predictions: P predictions of the clip, each as many frames (H, W) uint8, class ids or 255 = nothing
            predicted.
        edges_px: B - 1 rising distances; bin b holds distances above edge b - 1 up to edge b, the last all
            beyond.

    Returns:
        (P, 2, B) int64: right pixels, all pixels.

    Raises:
        ValueError: differing numbers or sizes of frames, edges that do not rise.

    Example:
        >>> truth = np.array([[0, 0, 0, 1, 1, 255]], np.uint8)
        >>> predicted = np.array([[0, 0, 1, 1, 1, 1]], np.uint8)  # wrong beside the boundary
        >>> accuracy_by_distance([truth], [[predicted]], edges_px=(1, 2)).tolist()
        [[[1, 2, 1], [2, 2, 1]]]
    """
    edges = np.asarray(edges_px, np.float32)
    if edges.ndim != 1 or (np.diff(edges) <= 0).any():
        raise ValueError(f"Expected `edges_px` to rise, but got {tuple(edges_px)}.")
    counts = np.zeros((len(predictions), 2, len(edges) + 1), np.int64)
    for truth, *predicted in zip(truths, *predictions, strict=True):
        judged = truth != VOID
        bins = np.searchsorted(
            edges, distance_to_boundary(truth, float(edges[-1]) if len(edges) else 0.0)[judged], side="left"
        )
        for labels, count in zip(predicted, counts):
            if labels.shape != truth.shape:
                raise ValueError(
                    f"Expected predictions of the truth's size {truth.shape}, but got {labels.shape}."
                )
            right = (truth == labels)[judged]
            count += (
                np.bincount(bins[right], minlength=len(edges) + 1),
                np.bincount(bins, minlength=len(edges) + 1),
            )
    return counts


def accuracy(counts: Sequence[np.ndarray], *, other: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Pool clips into accuracy by distance, with 95 % intervals over clips (`lib.intervals.interval`).

    Args:
        counts: of one prediction, per clip as from `accuracy_by_distance`, (2, B).
        other: counts of another prediction of the same clips; the result is then the paired difference
            `counts` minus `other`.

    Returns:
        (3, B): value, low, high, in percent, cut to 0 and 100, or points; NaN where no pixel lies, and bounds
        NaN where fewer than two clips have one.

    Example:
        >>> right_of_all = [np.array([[1, 2], [2, 2]]), np.array([[3, 4], [4, 4]])]  # two clips, two bins
        >>> accuracy(right_of_all)[0].round(1).tolist()
        [66.7, 100.0]
    """
    if not counts:
        raise ValueError("Expected counts of at least one clip, but got none.")
    if other is not None and not np.array_equal([c[1] for c in counts], [c[1] for c in other]):
        raise ValueError("Expected `other` to judge the same pixels of the same clips.")
    weights = leave_one_out(len(counts))
    pooled = _percent(weights, counts) - (0 if other is None else _percent(weights, other))
    bounds = np.array([interval(scores)[:2] for scores in pooled.T]).T
    return np.vstack([pooled[:1], np.clip(bounds, 0, 100) if other is None else bounds])


def _percent(weights: np.ndarray, counts: Sequence[np.ndarray]) -> np.ndarray:
    """Score R weighted data sets: weights (R, clips) -> accuracy (R, B), NaN where no pixel lies."""
    right, judged = (weights @ np.array([c[i] for c in counts], np.float64) for i in (0, 1))
    return 100 * np.divide(right, judged, out=np.full(right.shape, np.nan), where=judged > 0)

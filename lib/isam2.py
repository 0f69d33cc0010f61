"""SAM 2 as segmentor (I-SAM2): the mean feature of each masklet is classified by an MLP. Source: paper
Sec. 3.1.2, Eq. 3.

    encoder = features.of_sam("micro")                        # of lib.study.features; or of_base(name, weights)
    classes = classify(encoder, classifier, clip, masklets)   # classifier: of lib.classifier
    labels = paint_classes(masklets, classes)                 # uncovered pixels: 255, or those of `base`
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pycocotools import mask as coco

from .clips.clip import Clip
from .config import NO_CLASS, VOID, VoteSettings
from .masklets import Masklets
from .refiner import by_columns, paint, vote

if TYPE_CHECKING:
    from .classifier import Classifier

BATCH = 4  # frames encoded together; changes memory, not results


def mask_means(features: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Average a feature map over masks: v of paper Eq. 3.

    A feature map is coarser than the frame. It is taken as constant within each of its cells, and a cell
    counts by the area of the mask in it, in fractions of a pixel where a cell ends within one; so nothing is
    resized, neither features nor masks.

    Args:
        features: (d, h, w), covering the whole frame.
        masks: (N, H, W) bool, of the frame.

    Returns:
        (N, d) float32; NaN for a mask without area.

    Raises:
        ValueError: other shapes or dtypes.

    Example:
        >>> features = np.array([[[1.0, 3.0]]])  # one channel, two cells
        >>> mask_means(features, np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]]], bool)).tolist()  # 2 px a cell
        [[1.0], [2.0]]
    """
    features, masks = np.asarray(features, np.float32), np.asarray(masks)
    if features.ndim != 3 or masks.ndim != 3 or masks.dtype != bool:
        raise ValueError(
            f"Expected `features` (d, h, w) and `masks` (N, H, W) bool, but got {features.shape} and {masks.dtype} {masks.shape}."
        )
    (d, h, w), (n, height, width) = features.shape, masks.shape
    # how much of each pixel lies in each row and column of cells
    rows, columns, turned = _overlaps(h, height), _overlaps(w, width), by_columns(masks)
    down, across = (columns, rows) if turned else (rows, columns)
    # the area of each mask in each cell, and in all, in pixels
    areas, totals = np.zeros((n, h, w), np.float32), np.zeros((n, 1))
    for i, mask in enumerate(masks.transpose(0, 2, 1) if turned else masks):
        x, y, wide, tall = cv2.boundingRect(mask.view(np.uint8))
        if tall:
            inside = mask[y : y + tall, x : x + wide].astype(np.float32)
            in_cells = down[:, y : y + tall] @ (inside @ across[:, x : x + wide].T)
            areas[i] = in_cells.T if turned else in_cells
            totals[i] = inside.sum(dtype=np.float64)
    # Eq. 3: the mean of the features, weighted by those areas; all masks at once, because features are many
    # numbers to read
    sums = areas.reshape(n, h * w) @ features.reshape(d, -1).T
    return np.divide(sums, totals, out=np.full((n, d), np.nan), where=totals > 0).astype(np.float32)


def _overlaps(n_cells: int, n_px: int) -> np.ndarray:
    """Return how much of each pixel lies in each of `n_cells` equal cells along one side: (n_cells, n_px)
    float32, columns sum to 1."""
    # on the grid that divides both
    cells, pixels = np.arange(n_cells)[:, None] * n_px, np.arange(n_px) * n_cells
    shared = np.minimum(cells + n_px, pixels + n_cells) - np.maximum(cells, pixels)
    return (shared.clip(min=0) / n_cells).astype(np.float32)


@dataclass(frozen=True)
class Encoder:
    """Where features come from."""

    name: str  # "sam", or a base model's name
    digest: str  # of its weights
    # frames (H, W, 3) uint8 -> (n, d, h, w) float32
    encode: Callable[[Sequence[np.ndarray]], np.ndarray] = field(repr=False)


def _encoded(encoder: Encoder, clip: Clip) -> Iterator[np.ndarray]:
    """Encode a clip, a few frames at a time: (d, h, w) per frame."""
    for start in range(0, len(clip), BATCH):
        yield from encoder.encode([clip.image(t) for t in range(start, min(start + BATCH, len(clip)))])


def classify(
    encoder: Encoder, classifier: "Classifier", clip: Clip, masklets: Masklets, scope: str = "frame"
) -> list[np.ndarray]:
    """Return the class of each masklet in each frame.

    Args:
        encoder: of `lib.study.features`.
        classifier: one that knows its vectors.
        scope: "frame": a masklet is classified anew in each frame (the paper's large loss in mVC suggests
            it); "masklet": once, by its mean over all its frames, each weighted by its area. As in
            `VoteSettings`.

    Returns:
        For each frame (N,) int64, -1 for a masklet that is not seen there (or, with "masklet", nowhere).

    Source: paper Sec. 3.1.2.
    """
    # scope "frame": each frame by itself
    if scope == "frame":
        return [
            classifier.predict(mask_means(features, masklets.masks(t)))
            for t, features in enumerate(_encoded(encoder, clip))
        ]
    # scope "masklet": average each masklet's vectors over its frames, weighted by area, then classify once
    sums, areas = {}, {}
    for t, features in enumerate(_encoded(encoder, clip)):
        masks = masklets.masks(t)
        for i, vector, area in zip(masklets.frames[t].ids, mask_means(features, masks), masks.sum((1, 2))):
            if area:
                sums[i], areas[i] = sums.get(i, 0) + vector.astype(np.float64) * area, areas.get(i, 0) + area
    means = np.array([sums[i] / areas[i] for i in sums]).reshape(-1, classifier.dim)
    chosen = dict(zip(sums, classifier.predict(means)))
    return [np.array([chosen.get(i, NO_CLASS) for i in frame.ids], np.int64) for frame in masklets.frames]


def true_classes(clip: Clip, masklets: Masklets) -> list[np.ndarray]:
    """Return the class that the truth gives most pixels of each masklet in each frame: (N,) int64, -1 where
    it gives none."""
    return [majority(clip.truth(t), masklets.masks(t)) for t in range(len(clip))]


def majority(truth: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the class of most pixels of each mask, void not counted: (N,) int64, the lowest of equals, -1
    for void alone.

    Example:
        >>> majority(np.array([[3, 3, 255]], np.uint8), np.array([[[1, 1, 1]], [[0, 0, 1]]], bool)).tolist()
        [3, -1]
    """
    votes = vote(truth, masks)
    return np.where(votes.any(1), votes.argmax(1), NO_CLASS)


def paint_classes(
    masklets: Masklets,
    classes: Sequence[np.ndarray],
    base: Sequence[np.ndarray] | None = None,
    votes: VoteSettings = VoteSettings(),
) -> Iterator[np.ndarray]:
    """Paint masklets with their classes.

    Args:
        classes: for each frame (N,), -1 for none.
        base: (H, W) uint8 labels per frame for the pixels that no classified masklet covers ("base mode");
            None leaves them 255, that is, predicted as nothing.
        votes: `overlap` says which masklet is painted over which.

    Yields:
        (H, W) uint8 per frame.

    Example:
        >>> from .masklets import example
        >>> [frame.tolist() for frame in paint_classes(example(), [np.array([7])])]
        [[[7, 7, 7]]]
    """
    for t, (frame, ids) in enumerate(zip(masklets.frames, classes, strict=True)):
        under = np.full(masklets.size, VOID, np.uint8) if base is None else base[t]
        # one vote a masklet, for its class; none leaves it unpainted
        chosen = np.zeros((len(ids), 256), np.int64)
        chosen[np.flatnonzero(ids >= 0), ids[ids >= 0]] = 1
        scores = np.array(frame.iou) if votes.overlap == "score" else None
        yield paint(under, masklets.masks(t), chosen, scores)


def coverage(masklets: Masklets) -> float:
    """Return the share of a clip's pixels that lie in at least one masklet, 0..1.

    Example:
        >>> from .masklets import example
        >>> coverage(example())
        1.0
    """
    covered = sum(float(coco.area(coco.merge(list(frame.rles)))) for frame in masklets.frames if frame.rles)
    return covered / (len(masklets) * masklets.size[0] * masklets.size[1])

"""SAM 2 as refiner: each masklet takes the class that most of its pixels have in the base prediction.
Source: paper Eq. 1-2."""

from collections.abc import Iterator

import cv2
import numpy as np

from .config import VOID, VoteSettings
from .masklets import Masklets


def vote(semantic: np.ndarray, masks: np.ndarray, boxes: list | None = None) -> np.ndarray:
    """Count the classes inside each mask.

    Args:
        semantic: (H, W) uint8, class ids; `VOID` (255) is no class.
        masks: (N, H, W) bool.
        boxes: what `_boxes(masks)` gives, if it is known already.

    Returns:
        (N, 256) int64 votes; void pixels cast none, so column 255 is zero.

    Source: the sum in paper Eq. 2.
    """
    votes = np.zeros((len(masks), 256), np.int64)
    for i, (mask, box) in enumerate(zip(masks, boxes or _boxes(masks))):
        # OpenCV counts in float32, which is exact up to 2**24 pixels of one class in one mask
        if mask[box].size:
            inside = np.ascontiguousarray(mask[box]).view(np.uint8)
            votes[i] = cv2.calcHist(
                [np.ascontiguousarray(semantic[box])], [0], inside, [256], [0, 256]
            ).ravel()
    votes[:, VOID] = 0
    return votes


def paint(
    semantic: np.ndarray,
    masks: np.ndarray,
    votes: np.ndarray,
    scores: np.ndarray | None = None,
    boxes: list | None = None,
) -> np.ndarray:
    """Give every mask its class: R of paper Eq. 1.

    Args:
        semantic: (H, W) uint8 base prediction S, kept outside all masks.
        masks: (N, H, W) bool, in any order.
        votes: (N, 256); the highest count wins, the lowest class id in a tie; a mask without votes leaves S
            as it is.
        scores: None: larger masks are painted first and smaller ones over them, so that small objects
            survive. (N,): lower scores first instead. Equal masks are painted with the lowest class last, so
            the order of `masks` never matters.
        boxes: what `_boxes(masks)` gives, if it is known already.

    Returns:
        (H, W) uint8.
    """
    refined, boxes = semantic.copy(), boxes or _boxes(masks)
    classes = votes.argmax(1)  # numpy takes the first of equals: the lowest class id
    rank = (
        -np.array([np.count_nonzero(m[box]) for m, box in zip(masks, boxes)])
        if scores is None
        else np.asarray(scores)
    )
    for i in np.lexsort((-classes, rank)):
        if votes[i, classes[i]] > 0:
            np.copyto(refined[boxes[i]], np.uint8(classes[i]), where=masks[i][boxes[i]])
    return refined


def refine_frame(semantic: np.ndarray, masks: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Refine one frame with the masklets seen in it.

    Args:
        semantic: (H, W) uint8, class ids, 255 where nothing was predicted.
        masks: (N, H, W) bool in any order.
        scores: predicted IoU (N,), only to let it decide overlaps instead of area.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: wrong dtype or shape.

    Source: paper Eq. 1-2; the vote is per frame, overlaps go to the smaller mask.
    """
    masks = np.asarray(masks)
    if semantic.ndim != 2 or semantic.dtype != np.uint8:
        raise ValueError(
            f"Expected `semantic` to be (H, W) uint8, but got shape {semantic.shape}, dtype {semantic.dtype}."
        )
    if masks.dtype != bool or masks.ndim != 3 or masks.shape[1:] != semantic.shape:
        raise ValueError(
            f"Expected `masks` to be bool of shape (N, {semantic.shape[0]}, {semantic.shape[1]}), but got {masks.dtype} of shape {masks.shape}."
        )
    boxes = _boxes(masks)
    return paint(semantic, masks, vote(semantic, masks, boxes), scores, boxes)


def refine_clip(
    predictions, masklets: Masklets, settings: VoteSettings = VoteSettings()
) -> Iterator[np.ndarray]:
    """Refine a clip frame by frame.

    Args:
        predictions: the base model's (H, W) uint8 labels, `len(masklets)` of them, by index.
        masklets: the clip's masklets.
        settings: who wins an overlap, and whether a masklet votes per frame or once for all its frames.

    Yields:
        (H, W) uint8 per frame.
    """
    if len(predictions) != len(masklets):
        raise ValueError(
            f"Expected one prediction per frame of {masklets.clip} ({len(masklets)}), but got {len(predictions)}."
        )
    whole: dict[int, np.ndarray] = {}
    if settings.scope == "masklet":
        for t, frame in enumerate(masklets.frames):
            for i, counts in zip(frame.ids, vote(predictions[t], masklets.masks(t))):
                whole[i] = whole.get(i, 0) + counts
    for t, frame in enumerate(masklets.frames):
        semantic, masks = predictions[t], masklets.masks(t)
        boxes = frame.boxes()
        votes = (
            np.stack([whole[i] for i in frame.ids]) if whole and frame.ids else vote(semantic, masks, boxes)
        )
        yield paint(
            semantic, masks, votes, np.array(frame.iou) if settings.overlap == "score" else None, boxes
        )


def by_columns(masks: np.ndarray) -> bool:
    """Say whether masks (N, H, W) lie in memory column after column, as pycocotools decodes them: then
    what reads them had better go that way."""
    return not masks.flags.c_contiguous and masks.transpose(0, 2, 1).flags.c_contiguous


def _boxes(masks: np.ndarray) -> list[tuple[slice, slice]]:
    """The smallest box around each mask; an empty one for an empty mask."""
    turned = by_columns(masks)
    found = [cv2.boundingRect((mask.T if turned else mask).view(np.uint8)) for mask in masks]
    rows_first = [(x, y, width, height) if turned else (y, x, height, width) for x, y, width, height in found]
    return [(slice(y, y + height), slice(x, x + width)) for y, x, height, width in rows_first]

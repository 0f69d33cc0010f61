"""SAM 2 as refiner: each masklet takes the class that most of its pixels have in the base prediction.
Source: paper Eq. 1-2."""

from collections.abc import Iterator

import cv2
import numpy as np

from .config import VOID, VoteSettings
from .masklets import Masklets


def vote(semantic: np.ndarray, masks: np.ndarray, boxes: list | None = None) -> np.ndarray:
    """Return how many pixels of each class lie inside each mask.

    Args:
        semantic: (H, W) uint8, class ids; `VOID` (255) is no class.
        masks: (N, H, W) bool.
        boxes: the result of `_boxes(masks)`, if there is one already.

    Returns:
        (N, 256) int64 votes; void pixels cast none, so column 255 is zero.

    Source: the sum in paper Eq. 2.

    Example:
        >>> semantic = np.array([[0, 0, 1], [0, 2, 255]], np.uint8)
        >>> vote(semantic, np.array([[[1, 1, 1], [1, 0, 1]]], bool))[0, :3].tolist()  # void casts no vote
        [3, 1, 0]
    """
    votes = np.zeros((len(masks), 256), np.int64)
    for i, (mask, box) in enumerate(zip(masks, boxes or _boxes(masks))):
        # every pixel inside the mask votes for its class in the base prediction
        if mask[box].size:
            inside = np.ascontiguousarray(mask[box]).view(np.uint8)
            labels = np.ascontiguousarray(semantic[box])
            # OpenCV counts in float32, which is exact up to 2**24 pixels of one class in one mask
            votes[i] = cv2.calcHist([labels], [0], inside, [256], [0, 256]).ravel()
    # void is no class
    votes[:, VOID] = 0
    return votes


def paint(
    semantic: np.ndarray,
    masks: np.ndarray,
    votes: np.ndarray,
    scores: np.ndarray | None = None,
    boxes: list | None = None,
) -> np.ndarray:
    """Return the base prediction with every mask painted in its class: R of paper Eq. 1.

    Args:
        semantic: (H, W) uint8 base prediction S, kept outside all masks.
        masks: (N, H, W) bool, in any order.
        votes: (N, 256); the highest count wins, the lowest class id in a tie; a mask without votes leaves S
            as it is.
        scores: None: larger masks are painted first and smaller ones over them, so that small objects
            survive. (N,): lower scores first instead. Equal masks are painted with the lowest class last, so
            the order of `masks` never matters.
        boxes: the result of `_boxes(masks)`, if there is one already.

    Returns:
        (H, W) uint8.

    Example:
        >>> semantic, masks = np.zeros((1, 3), np.uint8), np.array([[[1, 1, 1]], [[0, 0, 1]]], bool)
        >>> paint(semantic, masks, np.eye(256, dtype=int)[[4, 7]]).tolist()  # the smaller mask wins
        [[4, 4, 7]]
    """
    refined, boxes = semantic.copy(), boxes or _boxes(masks)
    # the class of a mask: the argmax of Eq. 2; numpy takes the first of equals, the lowest class id
    classes = votes.argmax(1)
    # what is painted later wins an overlap: small masks over large ones, or high scores over low ones
    if scores is None:
        rank = -np.array([np.count_nonzero(mask[box]) for mask, box in zip(masks, boxes)])
    else:
        rank = np.asarray(scores)
    # pixels outside all masks, and masks without a vote, keep the base prediction
    for i in np.lexsort((-classes, rank)):
        if votes[i, classes[i]] > 0:
            np.copyto(refined[boxes[i]], np.uint8(classes[i]), where=masks[i][boxes[i]])
    return refined


def refine_frame(semantic: np.ndarray, masks: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Return one frame's prediction refined with its masklets.

    Args:
        semantic: (H, W) uint8, class ids, 255 where nothing was predicted.
        masks: (N, H, W) bool in any order.
        scores: predicted IoU (N,), only to let it decide overlaps instead of area.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: wrong dtype or shape.

    Source: paper Eq. 1-2; the vote is per frame, overlaps go to the smaller mask.

    Example:
        >>> semantic = np.array([[0, 0, 1], [0, 2, 255]], np.uint8)
        >>> refine_frame(semantic, np.array([[[1, 1, 1], [1, 0, 1]]], bool)).tolist()
        [[0, 0, 0], [0, 2, 0]]
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

    Example:
        >>> from .masklets import example
        >>> [frame.tolist() for frame in refine_clip([np.array([[5, 5, 6]], np.uint8)], example())]
        [[[5, 5, 5]]]
    """
    if len(predictions) != len(masklets):
        raise ValueError(
            f"Expected one prediction per frame of {masklets.clip} ({len(masklets)}), but got {len(predictions)}."
        )
    # scope "masklet": add up the votes of each masklet over all its frames first
    votes_of: dict[int, np.ndarray] = {}
    if settings.scope == "masklet":
        for t, frame in enumerate(masklets.frames):
            for i, votes in zip(frame.ids, vote(predictions[t], masklets.masks(t))):
                votes_of[i] = votes_of.get(i, 0) + votes
    for t, frame in enumerate(masklets.frames):
        semantic, masks, boxes = predictions[t], masklets.masks(t), frame.boxes()
        # Eq. 2: the votes of each masklet, in this frame or in all
        if votes_of and frame.ids:
            votes = np.stack([votes_of[i] for i in frame.ids])
        else:
            votes = vote(semantic, masks, boxes)
        # Eq. 1: paint each masklet with the class that won
        scores = np.array(frame.iou) if settings.overlap == "score" else None
        yield paint(semantic, masks, votes, scores, boxes)


def by_columns(masks: np.ndarray) -> bool:
    """Return whether masks (N, H, W) lie in memory column after column, as pycocotools decodes them: reading
    them that way is faster."""
    return not masks.flags.c_contiguous and masks.transpose(0, 2, 1).flags.c_contiguous


def _boxes(masks: np.ndarray) -> list[tuple[slice, slice]]:
    """Return the smallest box around each mask, rows and columns; an empty one for an empty mask."""
    turned = by_columns(masks)
    boxes = []
    for mask in masks.transpose(0, 2, 1) if turned else masks:
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        box = slice(y, y + height), slice(x, x + width)
        boxes.append(box[::-1] if turned else box)
    return boxes

"""Label maps and masklets as pixels: colours over a frame, twins in one colour, and the crop worth a zoom."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco

from ..masklets import Masklets
from .style import VOID, VSPW_CLASSES, class_palette, spread

TWINS = 0.9  # mask IoU above which two masklets are twins


def _blend(image: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """Mix two pictures, rounded to uint8."""
    return (image * np.float32(1 - alpha) + colours * np.float32(alpha) + np.float32(0.5)).astype(np.uint8)


def overlay(
    image: np.ndarray, labels: np.ndarray, alpha: float = 0.6, classes: Sequence[str] = VSPW_CLASSES
) -> np.ndarray:
    """Lay class colours over a frame; void is black, never blended.

    Args: image: (H, W, 3) uint8 RGB; labels: (H, W) uint8, class ids or VOID; alpha: 0 the frame alone .. 1
        the colours alone.
    Returns: (H, W, 3) uint8. Raises: ValueError if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(
            f"Expected `labels` to be of the frame's size {image.shape[:2]}, but got {labels.shape}."
        )
    palette = class_palette(classes)
    out = _blend(image, palette[labels], alpha)
    if alpha > 0:
        out[labels == VOID] = palette[VOID]
    return out


def masklet_overlay(
    image: np.ndarray, masks: np.ndarray, ids: Sequence[int], alpha: float = 0.6
) -> np.ndarray:
    """Lay masklets over a frame, each in the colour of its id with a thin white outline; smaller ones lie
    on top, as in the refiner.

    Args: image: (H, W, 3) uint8 RGB; masks: (N, H, W) bool; ids: N ints from 0, twice the same for two that
        share a colour; alpha: as for `overlay`.
    Returns: (H, W, 3) uint8; where there is no masklet, the frame, darker. Raises: ValueError if shapes or
        counts differ.
    """
    if masks.shape != (len(ids), *image.shape[:2]):
        raise ValueError(
            f"Expected `masks` to be of shape {(len(ids), *image.shape[:2])}, but got {masks.shape}."
        )
    top = np.full(image.shape[:2], -1)
    for i in np.argsort([-np.count_nonzero(m) for m in masks], kind="stable"):
        top[masks[i]] = ids[i]
    shown, colour_of = np.unique(top, return_inverse=True)
    colours = np.array([spread(i) if i >= 0 else (0, 0, 0) for i in shown], np.uint8)
    out = _blend(image, colours[colour_of.reshape(top.shape)], alpha)
    out[:-1][top[:-1] != top[1:]] = 255
    out[:, :-1][top[:, :-1] != top[:, 1:]] = 255
    return out


def twins(masklets: Masklets, frames: Sequence[int], least: float = TWINS) -> dict[int, int]:
    """Find masklets that cover the same pixels: {id: the first id of its twins, itself if it has none}.

    Args: frames: where they are compared; least: two are twins if their IoU, pooled over those of the frames
        in which both are present, exceeds it. Twins of twins count as twins.
    """
    common, area = {}, {}
    for t in frames:
        found = masklets.frames[t]
        seen = [(i, rle) for i, rle in zip(found.ids, found.rles) if coco.area(rle)]
        if not seen:
            continue
        ids, rles = zip(*seen)
        px = coco.area(list(rles)).astype(np.float64)
        iou = coco.iou(list(rles), list(rles), [0] * len(rles))
        both = iou * (px[:, None] + px) / (1 + iou)  # the intersection, as IoU = both / (a + b - both)
        for a, b in zip(*np.nonzero(np.triu(both, 1))):
            pair = ids[a], ids[b]
            common[pair] = common.get(pair, 0) + both[a, b]
            area[pair] = area.get(pair, 0) + px[a] + px[b]
    first = {i: i for t in frames for i in masklets.frames[t].ids}
    for (a, b), both in common.items():
        if both > least * (area[a, b] - both):
            low, high = sorted((first[a], first[b]))
            first = {i: low if group == high else group for i, group in first.items()}
    return first


def best_crop(weight: np.ndarray, magnify: int = 4) -> tuple[slice, slice]:
    """Find the crop, 1/`magnify` of the frame, over which (H, W) weights sum to most, the first of equals;
    if all are zero, the centre."""
    (height, width), h, w = (
        weight.shape,
        max(1, weight.shape[0] // magnify),
        max(1, weight.shape[1] // magnify),
    )
    total = np.pad(weight.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]  # the sum over every crop
    y, x = (
        np.unravel_index(inside.argmax(), inside.shape)
        if weight.any()
        else ((height - h) // 2, (width - w) // 2)
    )
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)


def largest_difference(a: np.ndarray, b: np.ndarray, magnify: int = 4) -> tuple[slice, slice]:
    """Find the crop, 1/`magnify` of the frame, in which two (H, W) label maps differ in most pixels, the
    first of equals; if in none, the centre."""
    return best_crop(a != b, magnify)


def largest_gain(
    base: np.ndarray, refined: np.ndarray, truth: np.ndarray, magnify: int = 4
) -> tuple[slice, slice]:
    """Find the crop in which refinement puts most pixels right, less those that it spoils; swap the first two
    for the crop in which it spoils most."""
    judged = truth != VOID
    right = [((labels == truth) & judged).astype(np.int64) for labels in (refined, base)]
    return best_crop(right[0] - right[1], magnify)

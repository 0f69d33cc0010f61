"""Controls of Table 1: the best simple things a sceptic would try in the place of SAM 2's masklets."""

from collections.abc import Iterator

import cv2
import numpy as np

from ..clips.clip import Clip, Predictions
from ..clips.images import classes_in
from ..config import VOID
from ..masklets import Masklets


def per_pixel_majority(predictions, masklets: Masklets) -> Iterator[np.ndarray]:
    """Control without masks: each pixel takes the class it has in most frames of its window (ties: lowest
    id; void does not vote).

    What a plain vote over time already gives a flickering base; a refiner that does not beat it on moving
    scenes shows nothing.
    """
    starts = sorted({f.start for f in masklets.frames})
    for start, end in zip(starts, starts[1:] + [len(masklets)]):
        labels = np.stack([predictions[t] for t in range(start, end)])
        classes = classes_in(labels)
        if len(classes) == 0:
            yield from labels
            continue
        winner = classes[np.stack([(labels == c).sum(0, np.uint32) for c in classes]).argmax(0)].astype(
            np.uint8
        )
        winner[(labels == VOID).all(0)] = VOID
        for _ in range(end - start):
            yield winner


def true_regions(clip: Clip, predictions: Predictions) -> Iterator[np.ndarray]:
    """Control: the vote over the truth's own regions (8-connected parts of a class), the bound of what
    masks can do for this base."""
    for t in range(len(clip)):
        truth, base = clip.truth(t), predictions[t]
        regions, n = np.zeros(truth.shape, np.int32), 1  # numbered from 1; 0 is void
        for c in classes_in(truth):
            own = cv2.compare(truth, int(c), cv2.CMP_EQ)
            x, y, width, height = cv2.boundingRect(own)
            box = slice(y, y + height), slice(x, x + width)
            n_parts, parts = cv2.connectedComponents(own[box], connectivity=8)
            np.copyto(regions[box], parts + (n - 1), where=parts > 0)
            n += n_parts - 1
        votes = np.bincount(regions.ravel() * 256 + base.ravel(), minlength=256 * n).reshape(n, 256)
        votes[0] = votes[:, VOID] = 0
        winner = votes.argmax(1).astype(np.uint8)  # the lowest class id of equals
        yield np.where(votes.any(1)[regions], winner[regions], base)

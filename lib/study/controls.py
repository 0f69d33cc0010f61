"""Controls of Table 1: the simple things a sceptic would try in the place of SAM 2's masklets. The bar is
`sliding_vote`, which steadies a base without any mask."""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from ..clips.clip import Clip, Predictions
from ..clips.images import classes_in
from ..config import VOID
from ..masklets import Masklets

SLIDING_FRAMES = 9  # of the sliding vote in Table 1


def sliding_vote(predictions: Sequence[np.ndarray], n_frames: int = SLIDING_FRAMES) -> Iterator[np.ndarray]:
    """Control without masks: each pixel takes the class it has in most of the frames centred on it.

    What SAM 2 has to beat: any steadying of a flickering base raises mVC by the VSPW script, which compares a
    prediction with itself. What SAM 2 adds must show in mIoU, mBIoU and mVC by Eq. 4.

    Args:
        predictions: (H, W) uint8 each; `VOID` (255) is no class.
        n_frames: odd, 1..127, the frame itself among them; at the clip's ends there are fewer.

    Returns:
        (H, W) uint8 for each frame. In a tie the frame keeps its own label; if that is not among the equals, the
        lowest class id wins. Void does not vote; a pixel that is void in all of the frames stays void.

    Raises: ValueError for another `n_frames`.
    """
    if n_frames % 2 == 0 or not 1 <= n_frames <= 127:
        raise ValueError(f"Expected `n_frames` to be odd and in 1..127, but got {n_frames}")
    half, n = n_frames // 2, len(predictions)
    near: dict[int, np.ndarray] = {}  # the frames within reach
    votes: dict[int, np.ndarray] = {}  # by class: in how many of those each pixel has it
    for t in range(-half, n):
        if t + half < n:
            near[t + half] = predictions[t + half]
            _count(votes, near[t + half], cv2.add)
        if t - half > 0:
            _count(votes, near.pop(t - half - 1), cv2.subtract)
        if t >= 0:
            yield _most_votes(votes, near[t])


def _count(votes: dict[int, np.ndarray], labels: np.ndarray, add: Callable) -> None:
    """Add the votes of a frame, or take them back."""
    for c in classes_in(labels).tolist():
        has = (labels == c).view(np.uint8)
        votes[c] = add(votes.get(c, np.zeros_like(has)), has)


def _most_votes(votes: dict[int, np.ndarray], own: np.ndarray) -> np.ndarray:
    """Return the class with most votes at each pixel; of equals the frame's own, then the lowest."""
    best = np.zeros(own.shape, np.uint16)  # votes, own or not, and 255 - class, in 7, 1 and 8 bits
    for c, of_class in votes.items():
        rank = of_class.astype(np.uint16)
        rank <<= 1
        rank |= own == c
        rank <<= 8
        rank |= VOID - c
        rank[of_class == 0] = 0
        best = cv2.max(best, rank)
    return (VOID - (best & 255)).astype(np.uint8)  # no vote at all: 255, void


def per_pixel_majority(predictions, masklets: Masklets) -> Iterator[np.ndarray]:
    """Control without masks: each pixel takes the class it has in most frames of its window (ties: lowest
    id; void does not vote).

    Not a bar to beat: one map for a whole window is perfectly steady by construction (mVC 100 by the VSPW
    script) and must lose mIoU where things move. It shows that this mVC can be had for nothing.
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
    """Control: the vote over the truth's own regions (8-connected parts of a class): what perfect regions
    would give this base.

    Not a bound on what masks can do: of a true region in which the base is right in 4 of 10 pixels and wrong
    alike in the others, its vote leaves none right, while one mask over six pixels, those four among them, makes
    six right.
    """
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

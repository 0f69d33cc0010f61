"""Scores of a video segmentation: mIoU, weighted IoU, mBIoU and mVC, from counts that stream over the
frames of a clip.

`count_clip` reads a clip once, frame by frame, and keeps a few small sums; every score, and every interval of
one (intervals.py), is arithmetic on those sums. Labels are uint8: a class id, or 255, which means void in the
truth (not judged) and nothing in a prediction (a miss for the truth, a false positive for no class).

Two protocols, because published numbers and the paper's equations disagree:
  "vspw"   the script VC_perclip.py of the VSPW data set, from which published numbers come. Clips of 16
           frames or fewer are left out of every score. mVC compares the prediction with itself, never with
           the truth: whatever steadies a prediction raises it, and a constant wrong one has 100.
  "paper"  the equations of the paper. No clip is left out; mVC is Eq. 4: agreement with the truth.
  "both"   mIoU, wIoU, mBIoU and mVC by the script, and Eq. 4 beside them as mVC8_eq4, mVC16_eq4.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import zip_longest

import cv2
import numpy as np

from .config import VOID
from .consistency import Consistency

logger = logging.getLogger(__name__)

PROTOCOLS = ("vspw", "paper", "both")
POOLS = ("pixels", "classes")
VSPW_LONGEST_LEFT_OUT = 16  # frames; fixed in the script, whatever the window
CV2_EXACT_PX = 2**24  # cv2 counts histograms in float32


@dataclass(frozen=True, eq=False)
class ClipCounts:
    """What one clip contributes to every score. C classes, one entry of the window arrays per length in
    `windows`."""

    name: str
    n_frames: int
    windows: tuple[int, ...]  # frames
    correct_px: np.ndarray  # (C,) int64: prediction equals truth
    truth_px: np.ndarray  # (C,) int64: truth has the class
    predicted_px: np.ndarray  # (C,) int64: prediction has the class, where truth is not void
    boundary_frames: int  # frames with a boundary
    boundary_iou: float  # sum over those frames
    vspw_windows: np.ndarray  # (W,) int64: windows of the script that have a common area
    vspw_vc: np.ndarray  # (W,) float64: sum of their scores
    eq4_windows: np.ndarray  # (W,) int64: the same two by Eq. 4
    eq4_vc: np.ndarray  # (W,) float64
    # the same of each block of consecutive frames, if `count_clip` was asked for them; they add up to the clip,
    # whose `n_frames` each of them carries
    blocks: tuple["ClipCounts", ...] = ()


def count_clip(
    name: str,
    truths: Iterable[np.ndarray],
    predictions: Iterable[np.ndarray],
    n_classes: int,
    windows: Sequence[int] = (8, 16),
    *,
    boundary_px: int = 5,
    pool: str = "pixels",
    block_frames: int = 0,
) -> ClipCounts:
    """Count one clip in one pass; memory depends on the frame size alone (and, a little, on the blocks).

    Args:
        name: of the clip, for messages and tables.
        truths: frames (H, W) uint8 in order, class ids 0..n_classes-1 or 255 = void.
        predictions: as many frames (H, W) uint8, class ids 0..n_classes-1 or 255 = nothing predicted.
        n_classes: 1..255.
        windows: lengths in frames for mVC, each 1..255.
        boundary_px: odd side of the square that erodes each class. What it removes is boundary; neither the
            frame's edge nor void removes anything, and void is no boundary.
        pool: mBIoU in a frame: "pixels", one IoU of all classes together, or "classes", mean over those in
            it.
        block_frames: count blocks of so many consecutive frames beside, 0 for none. A window of mVC belongs
            to the block in which it starts; the last block may be shorter.

    Raises:
        ValueError: differing numbers or sizes of frames, no frame, another dtype, an id that is no class.

    Source: paper Eq. 4-6, section 3.3; VC_perclip.py of VSPW, whose mVC takes void (and nothing, in a
        prediction) for a class, and loses the last window, as its windows start in range(L - n).

    Example:
        >>> truth, predicted = np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
        >>> counts = count_clip("street", [truth], [predicted], n_classes=2)
        >>> counts.correct_px.tolist(), counts.truth_px.tolist(), counts.predicted_px.tolist()
        ([1, 1], [2, 1], [1, 2])
    """
    windows = tuple(int(n) for n in windows)
    if not windows or not all(1 <= n <= 255 for n in (*windows, n_classes)):
        raise ValueError(
            f"Expected `n_classes` and `windows` to be in 1..255, but got {n_classes} and {windows}"
        )
    if boundary_px < 1 or boundary_px % 2 == 0:
        raise ValueError(f"Expected `boundary_px` to be odd and positive, but got {boundary_px}")
    if pool not in POOLS:
        raise ValueError(f"Expected `pool` to be one of {POOLS}, but got {pool!r}")
    if block_frames < 0:
        raise ValueError(f"Expected `block_frames` to be 0 or more, but got {block_frames}")
    tallies: list[_Tally] = []  # one per block
    consistency = Consistency(windows)
    square = np.ones((boundary_px, boundary_px), np.uint8)
    shape, n_frames = None, 0
    for truth, predicted in zip_longest(truths, predictions):
        # one frame of each, checked
        place = f"clip {name!r}, frame {n_frames}"
        if truth is None or predicted is None:
            short = "truth" if truth is None else "prediction"
            raise ValueError(
                f"{place}: expected as many predictions as truth frames, but the {short} ends here"
            )
        shape = truth.shape if shape is None else shape
        truth, predicted = (_checked(labels, shape, place) for labels in (truth, predicted))
        # mIoU and wIoU: count the pairs of labels
        joint = _joint_histogram(truth, predicted)
        if joint[n_classes:VOID].any() or joint[:, n_classes:VOID].any():
            what, labels = ("truth", truth) if joint[n_classes:VOID].any() else ("prediction", predicted)
            odd = labels[(labels >= n_classes) & (labels < VOID)].max()
            raise ValueError(
                f"{place}: expected class ids 0..{n_classes - 1} or {VOID} in the {what}, but got {odd}"
            )
        if not tallies or (block_frames and n_frames % block_frames == 0):
            tallies.append(_Tally(len(windows)))
        # IoU: pixels by label of truth and of prediction
        tallies[-1].confusion += joint
        # void in the truth is not judged
        judged = cv2.threshold(truth, VOID - 1, 255, cv2.THRESH_BINARY_INV)[1]
        agree = cv2.bitwise_and(cv2.compare(truth, predicted, cv2.CMP_EQ), judged)
        # mBIoU: one IoU for each frame that has a boundary
        tallies[-1].boundary_ious += _boundary_iou(truth, predicted, judged, agree, square, pool)
        # mVC: score the windows that end with this frame; they belong to the block in which they start
        for kind, i, start, vc in consistency.add(truth, predicted, judged, agree):
            tallies[start // block_frames if block_frames else 0].windows[kind, :, i] += 1, vc
        n_frames += 1
        if block_frames and n_frames % block_frames == 0:
            tallies[-1].pool(n_classes)
    if n_frames == 0:
        raise ValueError(f"clip {name!r}: expected at least one frame, but got none")
    tallies[-1].pool(n_classes)
    blocks = tuple(tally.counts(name, n_frames, windows) for tally in tallies)
    return add_blocks(blocks) if block_frames else blocks[0]


class _Tally:
    """What a run of frames contributes, while it is being counted."""

    def __init__(self, n_windows: int):
        # pixels by label of truth, of prediction; integers, exact in float64
        self.confusion = np.zeros((256, 256))
        self.pooled: tuple[np.ndarray, ...] = ()  # correct, truth and predicted pixels by class
        self.boundary_ious: list[float] = []
        # by script and by Eq. 4; number of windows and sum of their scores; by length
        self.windows = np.zeros((2, 2, n_windows))

    def pool(self, n_classes: int) -> None:
        """Keep of the confusion what scores need: it is large, and blocks may be many."""
        if not self.pooled:
            confusion = self.confusion[:n_classes].astype(np.int64)
            self.pooled = confusion.diagonal().copy(), confusion.sum(1), confusion.sum(0)[:n_classes]
            self.confusion = np.zeros(0)

    def counts(self, name: str, n_frames: int, windows: tuple[int, ...]) -> ClipCounts:
        (n_script, script), (n_eq4, eq4) = self.windows
        return ClipCounts(
            name,
            n_frames,
            windows,
            *self.pooled,
            len(self.boundary_ious),
            sum(self.boundary_ious, 0.0),
            n_script.astype(np.int64),
            script,
            n_eq4.astype(np.int64),
            eq4,
        )


ADDED = tuple(f.name for f in fields(ClipCounts) if f.name not in ("name", "n_frames", "windows", "blocks"))


def add_blocks(blocks: Sequence[ClipCounts]) -> ClipCounts:
    """Add blocks of one clip up to it, or to what is left of it without some; it carries them."""
    sums = {name: sum(getattr(b, name) for b in blocks) for name in ADDED}
    return replace(blocks[0], **sums, blocks=tuple(blocks))


def _checked(labels: np.ndarray, shape: tuple[int, ...], place: str) -> np.ndarray:
    """Return labels contiguous, or raise for a wrong dtype or shape."""
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"{place}: expected labels (H, W) uint8, but got {labels.shape} {labels.dtype}")
    if labels.shape != shape:
        raise ValueError(
            f"{place}: expected the size of the first truth frame, {shape}, but got {labels.shape}"
        )
    return np.ascontiguousarray(labels)  # one copy of a view, instead of one in every call of cv2


def _joint_histogram(truth: np.ndarray, predicted: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Count pairs of labels, (256, 256); cv2 takes as long for pairs as for single labels, numpy far
    longer."""
    if truth.size >= CV2_EXACT_PX:
        pairs = truth.astype(np.int64) * 256 + predicted
        pairs = pairs.ravel() if mask is None else pairs[mask > 0]
        return np.bincount(pairs, minlength=65536).reshape(256, 256)
    return cv2.calcHist([truth, predicted], [0, 1], mask, [256, 256], [0, 256, 0, 256])


def _boundary_iou(truth, predicted, judged, agree, square, pool: str) -> list[float]:
    """Return the IoU on the truth's boundary in one frame, nothing where it has none."""
    # A pixel is eroded from its class when another class lies in its window, so when the window's lowest and
    # highest class differ. Void is 255 for the minimum and 0 for the maximum and so decides neither; cv2 pads
    # likewise.
    lowest, highest = cv2.erode(truth, square), cv2.dilate(cv2.bitwise_and(truth, judged), square)
    boundary = cv2.bitwise_and(cv2.compare(lowest, highest, cv2.CMP_NE), judged)
    n_truth = cv2.countNonZero(boundary)
    if n_truth == 0:
        return []
    if pool == "pixels":
        nothing = cv2.threshold(predicted, VOID - 1, 255, cv2.THRESH_BINARY)[1]
        n_predicted = n_truth - cv2.countNonZero(cv2.bitwise_and(boundary, nothing))
        n_correct = cv2.countNonZero(cv2.bitwise_and(boundary, agree))
        return [n_correct / (n_truth + n_predicted - n_correct)]
    joint = _joint_histogram(truth, predicted, boundary)[:VOID, :].astype(np.float64)
    n_truth, n_predicted, n_correct = joint.sum(1), joint.sum(0)[:VOID], joint.diagonal()
    present = n_truth > 0
    return [float((n_correct / np.maximum(n_truth + n_predicted - n_correct, 1))[present].mean())]


def left_out(counts: Sequence[ClipCounts], protocol: str = "both") -> tuple[str, ...]:
    """Name the clips left out of mIoU, wIoU, mBIoU and the script's mVC: of 16 frames or fewer, unless
    "paper".

    Example:
        >>> truth, predicted = np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> counts = [count_clip("street", [truth], [predicted], n_classes=2)]
        >>> left_out(counts, "vspw")  # of one frame: the script drops clips of 16 or fewer
        ('street',)
    """
    check_counts(counts, protocol)
    return tuple(c.name for c in counts if not _kept([c], protocol))


def summarise(counts: Sequence[ClipCounts], protocol: str = "both") -> dict[str, float]:
    """Score a data set, in percent; NaN where nothing is left to score.

    Args:
        counts: one per clip, of the same classes and windows (written 8 and 16 below).
        protocol: "vspw" gives mIoU, wIoU, mBIoU, mVC8, mVC16 without clips of 16 frames or fewer; "paper"
            gives mIoU, wIoU, mBIoU of all clips and mVC8_eq4, mVC16_eq4 of every clip of 8 or 16 frames or
            more; "both" gives "vspw" and the two of Eq. 4. If all clips are left out, a warning is logged.

    Returns:
        {metric: percent}. mIoU: one count over the data set, mean over classes present in the truth. wIoU:
        classes weighted by their pixels in the truth. mBIoU: mean over all frames that have a boundary. mVC:
        windows without a common area do not count; by script, the mean over all windows of all clips, by
        Eq. 4 over windows, then clips.

    Source: paper section 3.3, Eq. 4-6; VC_perclip.py of VSPW.

    Example:
        >>> truth, predicted = np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> counts = [count_clip("street", [truth], [predicted], n_classes=2)]
        >>> summarise(counts, "paper")["mIoU"]
        50.0
    """
    check_counts(counts, protocol)
    if not _kept(counts, protocol):
        logger.warning(
            "the VSPW protocol leaves out clips of %d frames or fewer, and all clips here (%d) are: "
            "mIoU, wIoU, mBIoU and its mVC are undefined. Choose protocol 'paper' to score every clip.",
            VSPW_LONGEST_LEFT_OUT,
            len(counts),
        )
    return _totals(counts, protocol)


def per_clip(counts: Sequence[ClipCounts], protocol: str = "both") -> dict[str, dict[str, float]]:
    """Score each clip as a data set of its own: {clip: as `summarise`}; a clip left out by the protocol
    has NaN.

    Example:
        >>> truth, predicted = np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> counts = [count_clip("street", [truth], [predicted], n_classes=2)]
        >>> per_clip(counts, "paper")["street"]["mIoU"]
        50.0
    """
    check_counts(counts, protocol)
    return {c.name: _totals([c], protocol) for c in counts}


def per_class(counts: Sequence[ClipCounts], protocol: str = "both") -> np.ndarray:
    """Score each class: IoU (C,) in percent, NaN where the truth lacks it, of the clips that make up mIoU,
    its mean.

    Example:
        >>> truth, predicted = np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> counts = [count_clip("street", [truth], [predicted], n_classes=2)]
        >>> per_class(counts, "paper").tolist()
        [50.0, 50.0]
    """
    check_counts(counts, protocol)
    return np.concatenate([*weighted_class_iou(counts, protocol, lambda n: np.ones((1, n))).values()])


def check_counts(counts: Sequence[ClipCounts], protocol: str) -> None:
    """Raise ValueError unless the counts go together and the protocol exists."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"Expected `protocol` to be one of {PROTOCOLS}, but got {protocol!r}")
    if not counts:
        raise ValueError("Expected counts of at least one clip, but got none")
    kinds = {(len(c.truth_px), c.windows) for c in counts}
    if len(kinds) > 1:
        raise ValueError(
            f"Expected all clips counted with the same classes and windows, but got {sorted(kinds)}"
        )


def _kept(counts: Sequence[ClipCounts], protocol: str) -> list[ClipCounts]:
    """Return the clips that count for all but Eq. 4."""
    return [c for c in counts if protocol == "paper" or c.n_frames > VSPW_LONGEST_LEFT_OUT]


def _totals(counts: Sequence[ClipCounts], protocol: str) -> dict[str, float]:
    """Score one data set in which every clip counts once."""
    scores = weighted_scores(counts, protocol, lambda n_clips: np.ones((1, n_clips)))
    return {metric: float(value[0]) for metric, value in scores.items()}


def weighted_scores(
    counts: Sequence[ClipCounts], protocol: str, weigh: Callable[[int], np.ndarray]
) -> dict[str, np.ndarray]:
    """Score R weighted data sets at once: weigh(k) -> (R, k), how often each of k clips counts; each score
    is (R,)."""
    kept = _kept(counts, protocol)
    weights = weigh(len(kept))
    iou, share = _class_iou(kept, weights, len(counts[0].truth_px))
    present = ~np.isnan(iou)
    known = np.where(present, iou, 0)

    def mean(sums_and_numbers):  # in percent
        return 100 * _ratio(*(weights @ np.reshape(sums_and_numbers, (len(kept), 2))).T)

    scores = {
        "mIoU": _ratio(known.sum(1), present.sum(1)),
        "wIoU": np.where(present.any(1), (known * share).sum(1), np.nan),
        "mBIoU": mean([(c.boundary_iou, c.boundary_frames) for c in kept]),
    }
    if protocol != "paper":
        for i, n in enumerate(counts[0].windows):
            scores[f"mVC{n}"] = mean([(c.vspw_vc[i], c.vspw_windows[i]) for c in kept])
    if protocol != "vspw":
        for i, n in enumerate(counts[0].windows):
            vc = np.array([c.eq4_vc[i] / c.eq4_windows[i] for c in counts if c.eq4_windows[i]])
            weights_of_vc = weigh(len(vc))
            scores[f"mVC{n}_eq4"] = 100 * _ratio(weights_of_vc @ vc, weights_of_vc.sum(1))
    return scores


def weighted_class_iou(counts: Sequence[ClipCounts], protocol: str, weigh: Callable) -> dict[int, np.ndarray]:
    """Score the classes as `weighted_scores` does: {class: (R,)}, NaN where the truth lacks it."""
    kept = _kept(counts, protocol)
    return dict(enumerate(_class_iou(kept, weigh(len(kept)), len(counts[0].truth_px))[0].T))


def _class_iou(kept: list[ClipCounts], weights: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU in percent (R, C), NaN where the truth lacks the class, and each class's share of the
    truth (R, C)."""
    correct, truth, predicted = (
        weights @ np.array([getattr(c, field) for c in kept], np.float64).reshape(-1, n_classes)
        for field in ("correct_px", "truth_px", "predicted_px")
    )
    iou = np.where(truth > 0, 100 * _ratio(correct, truth + predicted - correct), np.nan)
    return iou, _ratio(truth, truth.sum(1, keepdims=True))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where the whole is not positive."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)

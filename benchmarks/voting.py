"""Vote + paint, and the metrics, against loops.

    python -m benchmarks.voting

Vote + paint (`lib.refiner.refine_frame`) against one numpy pass a mask. Metrics (`lib.metrics.count_clip` and
`summarise`: all scores of both protocols) against the per-window loop of the VSPW script, which gives mVC8
and mVC16 alone, and against loops for all scores: one class at a time for the IoU and the boundary, one
window at a time for mVC by the script and by Eq. 4. Everything is numpy or OpenCV on one array at a time; no
loop goes over pixels in Python.
"""

import cv2
import numpy as np

from benchmarks.common import SEED, alternate, drawn, faster, finish, parse, parser, spread
from lib.clips.datasets import VSPW_CLASSES
from lib.config import VOID
from lib.metrics import count_clip, summarise
from lib.refiner import refine_frame
from tests.oracles import eq4_windows, script_windows

N_CLASSES = len(VSPW_CLASSES)


def labels(n_frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A drawn clip's truth and a prediction of it, shifted and flickering in blocks: two (T, H, W) uint8."""
    clip, rng = drawn(n_frames), np.random.default_rng(SEED)
    truth = np.stack(
        [cv2.resize(clip.truth(t), size[::-1], interpolation=cv2.INTER_NEAREST) for t in range(n_frames)]
    )
    truth[:, :4] = VOID
    predicted = np.roll(truth, 3, axis=2)
    blocks = [
        cv2.resize(
            (rng.random((size[0] // 16, size[1] // 16)) < 0.05).astype(np.uint8),
            size[::-1],
            interpolation=cv2.INTER_NEAREST,
        )
        for _ in truth
    ]
    predicted[np.stack(blocks) > 0] = 0
    return truth, predicted


def ellipses(n: int, size: tuple[int, int]) -> np.ndarray:
    """Random ellipses, (N, H, W) bool: masks of all sizes that overlap."""
    rng, masks = np.random.default_rng(SEED), np.zeros((n, *size), np.uint8)
    for mask in masks:
        centre, axes = (
            rng.integers(0, size[::-1]).tolist(),
            (min(size) * rng.uniform(0.02, 0.35, 2)).astype(int).tolist(),
        )
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    return masks.astype(bool)


def refine_loop(semantic: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Vote and paint mask after mask on whole frames."""
    refined = semantic.copy()
    for mask in sorted(masks, key=np.count_nonzero, reverse=True):
        votes = np.bincount(semantic[mask], minlength=256)
        votes[VOID] = 0
        if votes.any():
            refined[mask] = votes.argmax()
    return refined


def metrics_loop(truth: np.ndarray, predicted: np.ndarray, classes) -> dict[str, float]:
    """All scores of one clip, in percent, class after class (boundaries of `classes` are looked for in
    every frame) and window after window."""
    square, judged, present = (
        np.ones((5, 5), np.uint8),
        truth != VOID,
        [c for c in np.unique(truth) if c != VOID],
    )
    ious = [
        (judged & (truth == c) & (predicted == c)).sum() / (judged & ((truth == c) | (predicted == c))).sum()
        for c in present
    ]
    weights = [(truth == c).sum() for c in present]
    boundary_ious = []
    for m, o in zip(truth, predicted):
        boundary = np.zeros(m.shape, bool)
        for c in classes:
            own = m == c
            boundary |= own & (cv2.erode((own | (m == VOID)).astype(np.uint8), square) == 0)
        if boundary.any():
            right = (boundary & (m == o)).sum()
            boundary_ious.append(right / (boundary.sum() + (boundary & (o != VOID)).sum() - right))
    scores = {
        "mIoU": np.mean(ious),
        "wIoU": np.average(ious, weights=weights),
        "mBIoU": np.mean(boundary_ious),
    }
    scores |= {f"mVC{n}_eq4": np.nanmean(eq4_windows(truth, predicted, n)) for n in (8, 16)}
    return {metric: 100 * float(score) for metric, score in scores.items()} | windows_loop(truth, predicted)


def windows_loop(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """mVC as the VSPW script computes it, in percent: every window compares all its frames with its first."""
    return {f"mVC{n}": 100 * float(np.nanmean(script_windows(truth, predicted, n))) for n in (8, 16)}


def main(arguments=None):
    options = parser(__doc__, rounds=3)
    options.add_argument("--frames", type=int, default=71, help="of the clip, more than 16")
    options.add_argument("--size", type=int, nargs=2, default=(480, 853), metavar=("H", "W"))
    options.add_argument("--masks", type=int, default=40)
    options.add_argument("--voted", type=int, default=10, help="frames voted on")
    options = parse(options, "voting", arguments)
    size = tuple(options.size)
    (truth, predicted), masks = labels(options.frames, size), ellipses(options.masks, size)
    n_voted, lines = min(options.voted, options.frames), []

    def compare(what: str, n_frames: int, contestants: dict, differ) -> None:
        results, times = alternate(contestants, options.rounds, "cpu")
        for who, result in results.items():
            lines.append(
                {
                    "what": what,
                    "who": who,
                    **spread(times[who]),
                    "frames_per_s": n_frames / float(np.median(times[who])),
                    "ours_faster": faster(times["ours"], times[who]),
                    "largest_difference": differ(results["ours"], result),
                }
            )

    compare(
        "vote + paint",
        n_voted,
        {
            "ours": lambda: [refine_frame(frame, masks) for frame in predicted[:n_voted]],
            "loop over masks": lambda: [refine_loop(frame, masks) for frame in predicted[:n_voted]],
        },
        lambda ours, theirs: float(np.mean(np.stack(ours) != np.stack(theirs))),
    )
    compare(
        "metrics",
        options.frames,
        {
            "ours": lambda: summarise([count_clip("drawn", truth, predicted, N_CLASSES)]),
            "loop over windows, mVC of the VSPW script alone": lambda: windows_loop(truth, predicted),
            f"loops over all {N_CLASSES} classes and windows, all scores": lambda: metrics_loop(
                truth, predicted, range(N_CLASSES)
            ),
            "loops over the clip's classes and windows, all scores": lambda: metrics_loop(
                truth, predicted, np.unique(truth[truth != VOID])
            ),
        },
        lambda ours, theirs: max(abs(ours[metric] - score) for metric, score in theirs.items()),
    )
    notes = [
        f"Frames of {size[0]}x{size[1]} pixels; {len(masks)} masks, each {100 * masks.mean():.0f} % of the frame on average; a clip of {options.frames} frames for the metrics; {options.rounds} alternating rounds. On the CPU whatever the device.",
        "largest_difference from ours: share of pixels that differ, or points of the score that differs most. ours_faster: how many times, median of the ratios within a round.",
    ]
    return finish("voting", options, lines, notes)


if __name__ == "__main__":
    main()

"""Windows of frames as they stream by: the counts behind mVC, by the VSPW script and by the paper's Eq. 4."""

import cv2
import numpy as np

SCRIPT, EQ4 = 0, 1  # the two kinds of mVC


class Consistency:
    """mVC sums of one clip, from how many frames each pixel has been constant (uint8, saturating at 255)."""

    def __init__(self, windows: tuple[int, ...]):
        self.windows = windows
        self.pending: list[tuple[int, int, int, float]] = []
        self.n_frames = 0
        # frame before: labels of truth, of prediction, and three runs
        self.last: tuple[np.ndarray, ...] | None = None

    def add(self, truth, predicted, judged, agree) -> list[tuple[int, int, int, float]]:
        """Take the next frame, and score every window that ends at it (no run is longer than the clip so
        far).

        Returns: those that count from now on: (`SCRIPT` or `EQ4`, index of the length, first frame, score).
        """
        # The script loses the window that ends with the clip: a window is counted only once a further frame
        # comes.
        counted, self.pending = self.pending, []
        one = np.ones_like(truth)
        self.last = self.last or (truth, predicted, *[one - one] * 3)
        last_truth, last_predicted, truth_run, predicted_run, agree_run = self.last
        truth_run = cv2.add(cv2.bitwise_and(truth_run, cv2.compare(truth, last_truth, cv2.CMP_EQ)), one)
        predicted_run = cv2.add(
            cv2.bitwise_and(predicted_run, cv2.compare(predicted, last_predicted, cv2.CMP_EQ)), one
        )
        agree_run = cv2.bitwise_and(cv2.add(agree_run, one), agree)
        # Copies: a caller may refill one buffer, and the comparison above needs the frame as it was.
        self.last = (truth.copy(), predicted.copy(), truth_run, predicted_run, agree_run)
        judged_run = cv2.bitwise_and(truth_run, judged)
        both_run, right_run = cv2.min(truth_run, predicted_run), cv2.min(truth_run, agree_run)
        for i, n in enumerate(self.windows):
            start = self.n_frames - n + 1
            if common := _at_least(truth_run, n):
                self.pending.append((SCRIPT, i, start, _at_least(both_run, n) / common))
            if common := _at_least(judged_run, n):
                counted.append((EQ4, i, start, _at_least(right_run, n) / common))
        self.n_frames += 1
        return counted


def _at_least(run: np.ndarray, n: int) -> int:
    """Count the pixels of a uint8 array that are n or more."""
    return cv2.countNonZero(cv2.threshold(run, n - 1, 255, cv2.THRESH_BINARY)[1])

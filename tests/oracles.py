"""Slow, obvious reference versions of the metrics: whole clips in memory, explicit windows, one class at a
time.

A clip is a pair of arrays (T, H, W) uint8, truth and prediction; scores are fractions, not percent.
"""

import numpy as np

VOID = 255


def class_iou(clips, n_classes):
    """IoU of each class over all clips, NaN where the truth lacks it, and each class's number of truth
    pixels."""
    ious, sizes = [], []
    for c in range(n_classes):
        inter = union = size = 0
        for truth, predicted in clips:
            for m, o in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
                if m == VOID:
                    continue
                inter += m == c and o == c
                union += m == c or o == c
                size += m == c
        ious.append(inter / union if size else np.nan)
        sizes.append(size)
    return np.array(ious), np.array(sizes)


def mean_iou(clips, n_classes):
    ious, sizes = class_iou(clips, n_classes)
    return np.mean(ious[sizes > 0]) if sizes.any() else np.nan


def weighted_iou(clips, n_classes):
    ious, sizes = class_iou(clips, n_classes)
    return (
        sum(ious[c] * sizes[c] for c in range(n_classes) if sizes[c]) / sizes.sum() if sizes.any() else np.nan
    )


def boundary(truth, n_classes, side=5):
    """Pixels of each class that erosion of that class by a square removes; void and the frame's edge erode
    nothing."""
    height, width = truth.shape
    removed = np.zeros(truth.shape, bool)
    for c in range(n_classes):
        for y in range(height):
            for x in range(width):
                if truth[y, x] != c:
                    continue
                for v in range(y - side // 2, y + side // 2 + 1):
                    for u in range(x - side // 2, x + side // 2 + 1):
                        inside = 0 <= v < height and 0 <= u < width
                        if inside and truth[v, u] != c and truth[v, u] != VOID:
                            removed[y, x] = True
    return removed


def mean_boundary_iou(clips, n_classes, side=5, pool="pixels"):
    frames = []
    for clip in clips:
        for truth, predicted in zip(*clip, strict=True):
            b = boundary(truth, n_classes, side)
            if not b.any():
                continue
            inter, size_m, size_o = (np.zeros(n_classes) for _ in range(3))
            for c in range(n_classes):
                m, o = (truth == c) & b, (predicted == c) & b
                inter[c], size_m[c], size_o[c] = (m & o).sum(), m.sum(), o.sum()
            if pool == "pixels":
                frames.append(inter.sum() / (size_m.sum() + size_o.sum() - inter.sum()))
            else:
                frames.append(
                    np.mean(
                        [inter[c] / (size_m[c] + size_o[c] - inter[c]) for c in range(n_classes) if size_m[c]]
                    )
                )
    return np.mean(frames) if frames else np.nan


def script_windows(truth, predicted, n):
    """Score each window of n frames as VSPW's script does: only with itself is the prediction compared."""
    scores = []
    for start in range(len(truth) - n):
        same_truth = same_prediction = np.ones(truth.shape[1:], bool)
        for i in range(start + 1, start + n):
            same_truth = same_truth & (truth[i] == truth[start])
            same_prediction = same_prediction & (predicted[i] == predicted[start])
        scores.append((same_truth & same_prediction).sum() / same_truth.sum() if same_truth.any() else np.nan)
    return scores


def script_vc(clips, n):
    scores = [score for clip in clips if len(clip[0]) > 16 for score in script_windows(*clip, n)]
    return np.nanmean(scores) if not np.isnan(scores).all() else np.nan


def eq4_windows(truth, predicted, n):
    """Score each window of n frames by the paper's Eq. 4: agreement with a truth that stays one class."""
    scores = []
    for start in range(len(truth) - n + 1):
        window = range(start, start + n)
        common = np.logical_and.reduce([(truth[i] == truth[start]) & (truth[i] != VOID) for i in window])
        right = np.logical_and.reduce([predicted[i] == truth[i] for i in window])
        scores.append((common & right).sum() / common.sum() if common.any() else np.nan)
    return scores


def eq4_vc(clips, n):
    of_clip = [np.nanmean(s) for clip in clips if (s := eq4_windows(*clip, n)) and not np.isnan(s).all()]
    return np.mean(of_clip) if of_clip else np.nan


def summary(clips, n_classes, protocol="both", **boundary_options):
    """All scores in percent, under the keys of `lib.metrics.summarise`."""
    kept = [clip for clip in clips if protocol == "paper" or len(clip[0]) > 16]
    scores = {
        "mIoU": mean_iou(kept, n_classes),
        "wIoU": weighted_iou(kept, n_classes),
        "mBIoU": mean_boundary_iou(kept, n_classes, **boundary_options),
    }
    if protocol != "paper":
        scores |= {"mVC8": script_vc(kept, 8), "mVC16": script_vc(kept, 16)}
    if protocol != "vspw":
        scores |= {"mVC8_eq4": eq4_vc(clips, 8), "mVC16_eq4": eq4_vc(clips, 16)}
    return {metric: 100 * score for metric, score in scores.items()}


def count_votes(semantic, mask):
    """Votes by class inside one mask; void casts none."""
    votes = {}
    for value, inside in zip(semantic.ravel().tolist(), mask.ravel().tolist(), strict=True):
        if inside and value != VOID:
            votes[value] = votes.get(value, 0) + 1
    return votes


def refine(semantic, masks, votes=None, scores=None):
    """Ask of every pixel which mask decides it: of those that have a vote and cover it, the smallest (or
    that of the highest score)."""
    votes = votes or [count_votes(semantic, mask) for mask in masks]
    refined = semantic.copy()
    for y, x in np.ndindex(semantic.shape):
        claims = []
        for i, mask in enumerate(masks):
            if mask[y, x] and votes[i]:
                winner = min(votes[i], key=lambda c: (-votes[i][c], c))
                claims.append((mask.sum() if scores is None else -scores[i], winner))
        if claims:
            refined[y, x] = min(claims)[1]
    return refined


def sliding_vote(labels, n_frames):
    """Ask of every pixel of every frame which label most of the frames around it give: of equals its own, else
    the lowest; VOID if none gives any."""
    half, out = n_frames // 2, np.full(labels.shape, VOID, np.uint8)
    for t, y, x in np.ndindex(labels.shape):
        around = [int(c) for c in labels[max(0, t - half) : t + half + 1, y, x] if c != VOID]
        if around:
            most = max(map(around.count, around))
            equals = {c for c in around if around.count(c) == most}
            own = int(labels[t, y, x])
            out[t, y, x] = own if own in equals else min(equals)
    return out


def majority(labels):
    """Each pixel's most frequent class over the frames of one window (T, H, W), the lowest in a tie, VOID
    if it has none."""
    out = np.full(labels.shape[1:], VOID, np.uint8)
    for y, x in np.ndindex(out.shape):
        votes = count_votes(labels[:, y, x], np.ones(len(labels), bool))
        if votes:
            out[y, x] = min(votes, key=lambda c: (-votes[c], c))
    return out

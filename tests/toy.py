"""What several tests share: a data set of pictures drawn when asked for (dark on the left, bright on the
right, the border moving), random labels, masklets, and clips as files."""

from functools import partial

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from lib.clips.clip import Clip, Dataset
from lib.clips.images import write_labels
from lib.config import VOID, MaskletSettings
from lib.masklets import FrameMasklets, Masklets, as_text


def picture(i, size=(64, 96)):
    image = np.zeros((*size, 3), np.uint8)
    image[:, size[1] // 2 + 4 * i :, 0] = 255
    return image


def truth(i, size=(64, 96)):
    label = (picture(i, size)[..., 0] > 0).astype(np.uint8)
    label[:2] = VOID
    return label


def make_dataset(clips=1, frames=5, size=(64, 96)):
    made = tuple(
        Clip(
            f"clip{c}",
            tuple(f"{i:05d}" for i in range(frames)),
            partial(tuple, size),
            partial(picture, size=size),
            partial(truth, size=size),
        )
        for c in range(clips)
    )
    return Dataset("toy", "train", ("dark", "bright"), made)


def clip_of(truths, name="drawn"):
    """A clip of given truths, without pictures."""
    frames = tuple(f"{i:03d}" for i in range(len(truths)))
    image = lambda i: np.repeat(truths[i][..., None], 3, 2)
    return Clip(name, frames, lambda: truths[0].shape, image, lambda i: truths[i])


def make_masklets(windows, settings=MaskletSettings(), clip="street"):
    """Masklets of a list of windows, each a list of (N, H, W) bool arrays, one a frame."""
    frames, first_id = [], 0
    for window in windows:
        start, n = len(frames), len(window[0])
        for masks in window:
            rles = tuple(as_text(coco.encode(np.asfortranarray(mask, np.uint8))) for mask in masks)
            ids = tuple(range(first_id, first_id + n))
            frames.append(
                FrameMasklets(
                    start,
                    ids,
                    rles,
                    tuple(0.95 - 0.1 * i for i in range(n)),
                    tuple(0.9 + 0.01 * i for i in range(n)),
                )
            )
        first_id += n
    return Masklets(clip, windows[0][0].shape[1:], settings, tuple(frames))


def random_clip(n_frames, seed, shape=(13, 17), share_wrong=0.15):
    """Blocks of classes that change a little from frame to frame, with void, and predictions with 255."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.choice([0, 1, 2, 4, VOID], (4, 5), p=[0.3, 0.3, 0.2, 0.1, 0.1]), np.ones((4, 4), int))
    truth = np.resize(truth, shape).astype(np.uint8)
    predicted = np.where(
        rng.random(shape) < share_wrong, rng.choice([0, 1, 2, 3, 4, VOID], shape), truth
    ).astype(np.uint8)
    frames = []
    for _ in range(n_frames):
        for frame in (truth, predicted):
            moved = rng.random(shape) < 0.02
            frame[moved] = rng.choice([0, 1, 2, 4, VOID], moved.sum())
        frames.append((truth.copy(), predicted.copy()))
    return tuple(np.stack(part) for part in zip(*frames, strict=True))


def write_clips(root, clips):
    """Write {name: (truths, predictions)} in VSPW layout and as a prediction folder; returns the two
    folders."""
    truth_root, predictions_root = root / "truth", root / "predictions"
    for name, (truths, predictions) in clips.items():
        for i, (truth, predicted) in enumerate(zip(truths, predictions, strict=True)):
            write_labels(
                truth_root / "data" / name / "mask" / f"{i:08d}.png",
                np.where(truth == 255, 255, truth + 1).astype(np.uint8),
            )
            write_labels(predictions_root / name / f"{i:08d}.png", predicted)
            image = truth_root / "data" / name / "origin" / f"{i:08d}.jpg"
            image.parent.mkdir(exist_ok=True)
            Image.fromarray(np.stack([truth] * 3, 2)).save(image)
    (truth_root / "val.txt").write_text("\n".join(clips) + "\n")
    return predictions_root, truth_root


def film(frames):
    """A clip of given pictures, without truth."""
    names = tuple(f"{i:03d}" for i in range(len(frames)))
    return Clip("drawn", names, lambda: frames[0].shape[:2], lambda i: frames[i])


def ious(ours, theirs):
    """The IoU of each of (N, H, W) bool masks with its counterpart; two empty masks agree."""
    union = (ours | theirs).sum((1, 2))
    return np.where(union, (ours & theirs).sum((1, 2)) / np.maximum(union, 1), 1.0)

"""A data set of pictures that are drawn when asked for: dark on the left, bright on the right, the border
moving."""

from functools import partial

import numpy as np

from lib.clips.clip import Clip, Dataset
from lib.config import VOID


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

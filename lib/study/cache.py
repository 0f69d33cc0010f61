"""The one place where cached results get their names: a key of all that a result depends on, and the
versions that a change of our code raises."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from ..clips.clip import Clip, Predictions, what_is_read

# Raise a version when results of its kind change although their inputs do not: what was cached is then
# computed anew. What a key holds besides is said where it is made.
VERSIONS = {
    "clips": 1,  # rendered by lib.mini.vipseg, scenes, sprites and tubes
    "masklets": 4,  # segmented and tracked by lib.sam
    "predictions": 1,  # of a base model
    "training": 1,  # of a base model on the train split
    "counts": 1,  # of lib.metrics
    "boundary": 1,  # of lib.boundary
    "vectors": 1,  # of masks, on which classifiers are fitted
    "classifiers": 1,
    "classes": 1,  # of masklets
    "times": 3,  # measured by lib.cost
}


def key(*made_of, digits: int = 16) -> str:
    """Return the key of a result: so many hexadecimal digits of the hash of all that it depends on.

    Args: made_of: values that JSON can hold, in an order that must not change; the version is among them.
    """
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:digits]


@lru_cache(maxsize=4096)
def content(labels: Predictions | Clip) -> str:
    """Name a clip's predictions, or its truth, by content; read once per process."""
    digest = hashlib.sha256()
    for frame in what_is_read(labels.read_truth if isinstance(labels, Clip) else labels.read, len(labels)):
        digest.update(frame)
    return digest.hexdigest()[:16]


def content_of_frames(chosen: Sequence[tuple[Clip, Sequence[int]]]) -> str:
    """Name some frames of some clips, and their labels, by content."""
    each = "".join(_content_of_frames(clip, tuple(frames)) for clip, frames in chosen)
    return hashlib.sha256(each.encode()).hexdigest()[:16]


@cache
def _content_of_frames(clip: Clip, frames: tuple[int, ...]) -> str:
    """Name some frames of a clip and their labels by content; read once per process."""
    digest = hashlib.sha256(json.dumps([clip.name, [clip.frames[t] for t in frames]]).encode())
    for t in frames:
        digest.update(np.ascontiguousarray(clip.image(t)))
        digest.update(np.ascontiguousarray(clip.truth(t)))
    return digest.hexdigest()

"""Segment a clip into masklets: what `lib.sam.track` yields frame by frame, collected."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ..clips.clip import Clip
from ..config import MaskletSettings
from ..masklets import Masklets


def segment(
    sam,
    clip: Clip,
    settings: MaskletSettings = MaskletSettings(),
    progress: Callable | None = None,
    **options,
) -> Masklets:
    """Cut one clip into masklets and collect them. `options` are `every` of `segment_all`, and those of
    `lib.sam.track.track`."""
    return segment_all(sam, clip, (settings,), progress, **options)[0]


def segment_all(
    sam,
    clip: Clip,
    settings: tuple[MaskletSettings, ...],
    progress: Callable | None = None,
    every: int = 1,
    **options,
) -> list[Masklets]:
    """Cut one clip into masklets under several settings at the cost of the work they do not share.

    Args:
        progress: wraps the frames.
        every: `Shortcuts.every`; windows must be multiples of it.

    Raises: ValueError for windows that are not.
    """
    from .track import track  # here, so that reading masklets needs no torch

    if any(s.window % every for s in settings):
        raise ValueError(
            f"Expected windows to be multiples of `every`, but got {', '.join(str(s.window) for s in settings)} and {every}."
        )
    seen = replace(clip, frames=clip.frames[::every], read_image=partial(_image_of_every, clip, every))
    frames = (
        found
        for found in track(sam, seen, [replace(s, window=s.window // every) for s in settings], **options)
        for _ in range(every)
    )
    frames = itertools.islice(frames, len(clip))
    per_setting = zip(*(progress(frames) if progress else frames))
    return [
        Masklets(clip.name, clip.size, s, tuple(replace(f, start=f.start * every) for f in found))
        for s, found in zip(settings, per_setting)
    ]


def _image_of_every(clip: Clip, every: int, i: int) -> np.ndarray:
    return clip.image(i * every)

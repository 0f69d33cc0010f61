"""Segment a clip into masklets: collect what `lib.sam.track` yields frame by frame."""

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
    """Segment one clip into masklets.

    Args:
        sam: a model of `lib.sam.load`.
        clip: frames are read in order, one at a time.
        settings: window, click grid and thresholds; the paper's by default.
        progress: wraps the frames, to show a bar.
        options: `every` of `segment_all`; `known`, `objects_per_batch`, `autocast` of `lib.sam.track.track`.

    Returns:
        `Masklets` of all frames.
    """
    return segment_all(sam, clip, (settings,), progress, **options)[0]


def segment_all(
    sam,
    clip: Clip,
    settings: tuple[MaskletSettings, ...],
    progress: Callable | None = None,
    every: int = 1,
    **options,
) -> list[Masklets]:
    """Segment one clip under several settings, at the cost of the work that they do not share.

    Args:
        sam, clip, progress, options: as for `segment`.
        settings: one or more.
        every: `Shortcuts.every`: SAM 2 sees every n-th frame, and the frames between take its masks.

    Returns:
        `Masklets` of each setting.

    Raises:
        ValueError: a window that is no multiple of `every`.
    """
    from .track import track  # here, so that reading masklets needs no torch

    # SAM 2 sees a thinner clip, with windows as much shorter
    if any(s.window % every for s in settings):
        raise ValueError(
            f"Expected windows to be multiples of `every`, but got {', '.join(str(s.window) for s in settings)} and {every}."
        )
    seen = replace(clip, frames=clip.frames[::every], read_image=partial(_image_of_every, clip, every))
    shorter = [replace(s, window=s.window // every) for s in settings]
    # each seen frame stands for the unseen ones after it
    frames = (frame for frame in track(sam, seen, shorter, **options) for _ in range(every))
    frames = itertools.islice(frames, len(clip))
    if progress:
        frames = progress(frames)
    # from frames of all settings to all frames of each
    return [
        Masklets(clip.name, clip.size, s, tuple(replace(f, start=f.start * every) for f in of_setting))
        for s, of_setting in zip(settings, zip(*frames))
    ]


def _image_of_every(clip: Clip, every: int, i: int) -> np.ndarray:
    return clip.image(i * every)

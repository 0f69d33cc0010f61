"""What the shortcuts of `lib.config.Shortcuts` save and what they cost, side by side."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import pandas as pd

from .. import sam
from ..clips.clip import Clip
from ..config import Shortcuts
from ..masklets import FrameMasklets, Masklets
from ..refiner import refine_clip
from ..sam.checkpoints import weights_of
from ..sam.segment import segment
from ..study.predictions import example
from ..study.scores import compare
from ..study.study import NotRun, Study, find_clip
from ..workers import keep_memory
from .table import timed_on

FRAMES = 18  # of the example clip; the VSPW script leaves out clips of 16 or fewer


def shortcuts_table(
    study: Study, tried: Sequence[Shortcuts] | None = None, frames: int = FRAMES
) -> tuple[pd.DataFrame, str]:
    """Segment the first frames of the example clip exactly and by each shortcut, refine its base model's
    predictions, and score them.

    Args: tried: None for a half of the input size, for one memory, and for every second frame.
    Returns: a row for the base model, for exact masklets and for each shortcut, all cells text: seconds to
        segment a frame, times faster than exact, and scores in percent. And a note on what it was measured.
    """
    try:
        clip, model, base = example(study)
    except NotRun:  # then the truth stands in for predictions, and what it loses is what counts
        clip, model = find_clip(study), "the truth"
        base = [clip.truth(t) for t in range(len(clip))]
    clip, labels, seconds = (
        replace(clip, frames=clip.frames[:frames]),
        {"base model": [base[t] for t in range(min(frames, len(clip)))]},
        {},
    )
    if tried is None:
        half_px = 128 if weights_of(study.checkpoint).suffix == ".safetensors" else 512  # micro, official
        tried = Shortcuts(input_px=half_px), Shortcuts(memories=1), Shortcuts(every=2)
    for shortcuts in (Shortcuts(), *tried):
        name = ", ".join(f"{key} = {value}" for key, value in shortcuts.taken.items()) or "exact"
        masklets, seconds[name] = _segment_timed(study, clip, shortcuts)
        labels[name] = list(refine_clip(labels["base model"], masklets))
    scores, taken = compare(study, clip, labels), pd.Series(seconds)
    table = pd.concat(
        [(taken / len(clip)).rename("s a frame"), (taken["exact"] / taken).rename("times faster"), scores],
        axis=1,
    ).reindex(scores.index)
    note = (
        f"Shortcuts: {len(clip)} frames of {clip.name}, predictions of {model}. Each way is timed once, after its first two frames, which are not timed; "
        "the scores are of one clip alone, so there is no interval."
    )
    return table.map(lambda value: "" if pd.isna(value) else f"{value:.2f}").reset_index(
        names="masklets"
    ), note


def _segment_timed(study: Study, clip: Clip, shortcuts: Shortcuts) -> tuple[Masklets, float]:
    """Return the masklets of a clip and the seconds that they took, cached."""
    settings = study.settings

    def work() -> dict:
        keep_memory()
        model = sam.load(study.checkpoint, shortcuts=shortcuts)
        # the first run of a process allocates
        segment(model, replace(clip, frames=clip.frames[:2]), settings)
        begun = time.perf_counter()
        masklets = segment(model, clip, settings, every=shortcuts.every)
        return {
            "seconds": time.perf_counter() - begun,
            "frames": [asdict(frame) for frame in masklets.frames],
        }

    cached = study.cached(
        "shortcuts", [*timed_on(study, clip), asdict(settings), asdict(shortcuts)], work, "shortcuts"
    )
    frames = tuple(
        FrameMasklets(frame["start"], *(tuple(frame[key]) for key in ("ids", "rles", "iou", "stability")))
        for frame in cached["frames"]
    )
    return Masklets(clip.name, clip.size, settings, frames), cached["seconds"]

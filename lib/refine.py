"""Refine folders: the work behind `python -m lib refine`."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from lib import masklets as masklet_files
from lib.config import MaskletSettings, VoteSettings
from lib.data import VOID, Clip, DataError, read_frames, read_predictions, write_labels
from lib.masklets import Masklets
from lib.refiner import refine_clip

log = logging.getLogger(__name__)


def refine_folder(
    frames: str | Path,
    predictions: str | Path,
    out: str | Path,
    load_sam: Callable,
    settings: MaskletSettings = MaskletSettings(),
    votes: VoteSettings = VoteSettings(),
    *,
    masklets: str | Path | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
    **options,
) -> list[str]:
    """Refine a model's predictions for one clip or a folder of clips, clip by clip, and resume where an earlier run stopped.

    Args:
        frames: as for `lib.data.read_frames`: a folder of frames, a folder of such folders, or a video.
        predictions: `<clip>/<frame>.png` with class ids 0..254 (255: nothing predicted), the PNGs of a single clip, or a panoptic folder.
        out: receives `<clip>/<frame>.png`, 8-bit palette PNGs. Must not be the folder of the predictions: inputs are never changed.
        load_sam: called once, and only if there is work, to load the model.
        settings, votes: how to cut and how to vote.
        masklets: also save each clip's masklets here, `<clip>.json`; those already there under equal settings are used again.
        progress: wraps the frames of each clip; called as progress(frames, desc=..., total=...).
        options: for `lib.tracker.track`.

    Returns:
        The names of the clips that were refined now; a clip whose frames are all there is left alone.

    Raises:
        DataError, DataMissingError: before anything is computed, if names do not match; on reading a frame, if its content is wrong.
    """
    out, predictions = Path(out), Path(predictions)
    if out.resolve() in (predictions.resolve(), Path(frames).resolve()):
        raise DataError(f"{out}: expected a folder of its own for the output, but found the input. Remedy: choose another folder.")
    clips = read_frames(frames)
    pairs = [(clip, read_predictions(predictions, clip, VOID, flat=len(clips) == 1)) for clip in clips]
    sam, done = None, []
    for clip, prediction in pairs:
        folder = out / clip.name
        if all((folder / f"{frame}.png").exists() for frame in clip.frames):
            log.info("%s: all %d frames are there; left alone", clip.name, len(clip))
            continue
        saved = Path(masklets) / f"{clip.name}.json" if masklets else None
        found = _saved(saved, clip, settings)
        if found is None:
            sam = sam or load_sam()
            wrap = lambda steps: progress(steps, desc=clip.name, total=len(clip))
            found = masklet_files.segment(sam, clip, settings, progress=wrap, **options)
            if saved:
                found.save(saved)
        for frame, refined in zip(clip.frames, refine_clip(prediction, found, votes)):
            write_labels(folder / f"{frame}.png", refined)
        empty = sum(not f.ids for f in found.frames)
        if empty:
            log.warning("%s: SAM 2 found no masklet in %d of %d frames; they keep their predictions", clip.name, empty, len(clip))
        done.append(clip.name)
    return done


def _saved(path: Path | None, clip: Clip, settings: MaskletSettings) -> Masklets | None:
    """Masklets of an earlier run, or None; a file of other settings or another clip is an error, not something to overwrite."""
    if path is None or not path.exists():
        return None
    found = masklet_files.read(path)
    if found.settings != settings or len(found) != len(clip) or found.size != clip.size:
        raise DataError(
            f"{path}: expected masklets of {clip.name} ({len(clip)} frames of {clip.size[0]}x{clip.size[1]}) under {settings}; found {len(found)} frames of "
            f"{found.size[0]}x{found.size[1]} under {found.settings}. Remedy: choose another folder with --masklets, or delete the file."
        )
    return found

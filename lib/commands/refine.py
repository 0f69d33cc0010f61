"""Refine folders: the work behind `python -m lib refine`."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from .. import masklets as masklet_files
from ..clips.clip import Clip
from ..clips.errors import DataError
from ..clips.folders import read_frames, read_predictions
from ..clips.images import write_labels
from ..config import VOID, MaskletSettings, Shortcuts, VoteSettings
from ..files import write_json
from ..masklets import Masklets
from ..refiner import refine_clip
from ..sam import segment as segmenting

log = logging.getLogger(__name__)
REFINED, MASKLETS = "_refined.json", "_masklets.json"  # beside the results: how they were made


def refine_folder(
    frames: str | Path,
    predictions: str | Path,
    out: str | Path,
    load_sam: Callable,
    settings: MaskletSettings = MaskletSettings(),
    votes: VoteSettings = VoteSettings(),
    shortcuts: Shortcuts = Shortcuts(),
    *,
    checkpoint: str = "",
    masklets: str | Path | None = None,
    progress: Callable | None = None,
    forecast: Callable | None = None,
    **options,
) -> list[str]:
    """Refine a model's predictions for one clip or a folder of clips, clip by clip, and resume where an
    earlier run stopped.

    Args:
        frames: as for `lib.clips.folders.read_frames`: a folder of frames, a folder of such folders, or a video.
        predictions: `<clip>/<frame>.png` with class ids 0..254 (255: nothing predicted), the PNGs of a single
            clip, or a panoptic folder.
        out: receives `<clip>/<frame>.png`, 8-bit palette PNGs, and `_refined.json`, which says how they were
            made. Inputs are never changed: it must be a folder of its own, and one for each choice of
            settings.
        load_sam: called once, and only if there is work, to load the model, with the shortcuts that change
            it.
        settings, votes: how to cut and how to vote.
        shortcuts: approximations to take.
        checkpoint: what `load_sam` loads, for the record in `_refined.json`.
        masklets: also save each clip's masklets here, `<clip>.json`; those already there are used again.
        progress: wraps the frames of each clip; called as progress(frames, desc=..., total=...).
        forecast: called once as forecast(sam, clips to cut, settings, **options), as `lib.cost.forecast` is;
            what it returns is logged before the first cut.
        options: for `lib.sam.track.track`.

    Returns:
        The names of the clips that were refined now; a clip whose frames are all there is left alone.

    Raises:
        DataError, DataMissingError: before anything is computed or written, if names do not match, if `out`
            is an input, or if `out` or `masklets` hold results of other settings; on reading a frame, if its
            content is wrong.
    """
    out, frames, predictions = Path(out), Path(frames), Path(predictions)
    clips = read_frames(frames)
    pairs = [(clip, read_predictions(predictions, clip, VOID, flat=len(clips) == 1)) for clip in clips]
    inputs = {
        path.resolve()
        for root in (frames, predictions, predictions / "pan_pred")
        for path in (root, *(root / clip.name for clip in clips))
    }
    for folder in (out, *(out / clip.name for clip in clips), *([Path(masklets)] if masklets else [])):
        # there, the next run would take it for a clip
        if folder.resolve() in inputs or folder.resolve().parent == frames.resolve():
            raise DataError(
                f"{folder}: expected an output folder apart from the inputs, but found one of them, or one among them. Remedy: choose another folder."
            )
    cutting = {
        "checkpoint": str(checkpoint),
        "bf16": bool(options.get("autocast")),
        **asdict(settings),
        **shortcuts.taken,
    }
    _compare(out / REFINED, {**cutting, **asdict(votes)})
    if masklets:
        _compare(Path(masklets) / MASKLETS, cutting)
    sam, done = None, []
    for clip, prediction in pairs:
        folder = out / clip.name
        if _finished(clip, out):
            log.info("%s: all %d frames are there; left alone", clip.name, len(clip))
            continue
        saved = Path(masklets) / f"{clip.name}.json" if masklets else None
        found = _saved(saved, clip, settings)
        if found is None:
            if sam is None:
                sam = load_sam()
                if forecast:
                    log.info(
                        "%s%s",
                        forecast(sam, _uncut(pairs, out, masklets), settings, **options),
                        ", without the shortcuts" if shortcuts.taken else "",
                    )
            wrap = (lambda steps: progress(steps, desc=clip.name, total=len(clip))) if progress else None
            found = segmenting.segment(sam, clip, settings, progress=wrap, every=shortcuts.every, **options)
            if saved:
                write_json(saved.with_name(MASKLETS), cutting)
                found.save(saved)
        # only now: a run that fails before its first result leaves nothing behind
        write_json(out / REFINED, {**cutting, **asdict(votes)})
        for frame, refined in zip(clip.frames, refine_clip(prediction, found, votes)):
            write_labels(folder / f"{frame}.png", refined)
        empty = sum(not f.ids for f in found.frames)
        if empty:
            log.warning(
                "%s: SAM 2 found no masklet in %d of %d frames; they keep their predictions",
                clip.name,
                empty,
                len(clip),
            )
        log.info(
            "%s: %d frames refined, %.1f masklets a frame",
            clip.name,
            len(clip),
            sum(len(f.ids) for f in found.frames) / len(clip),
        )
        done.append(clip.name)
    return done


def _finished(clip: Clip, out: Path) -> bool:
    return all((out / clip.name / f"{frame}.png").exists() for frame in clip.frames)


def _uncut(pairs: list, out: Path, masklets: str | Path | None) -> list[Clip]:
    """The clips that still need masklets."""
    return [
        clip
        for clip, _ in pairs
        if not _finished(clip, out) and not (masklets and (Path(masklets) / f"{clip.name}.json").exists())
    ]


def _compare(path: Path, record: dict) -> None:
    """Refuse a folder that holds results made otherwise: to leave finished clips alone must never mix
    settings."""
    try:
        found = json.loads(path.read_text()) if path.exists() else record
    except ValueError as error:
        raise DataError(
            f"{path}: expected the settings of an earlier run; found {error}. Remedy: choose another folder, or delete this one."
        ) from error
    if found != record:
        differ = (
            [k for k in {**record, **found} if found.get(k) != record.get(k)]
            if isinstance(found, dict)
            else list(record)
        )
        was, now = ({k: r.get(k) for k in differ} if isinstance(r, dict) else r for r in (found, record))
        raise DataError(
            f"{path}: expected results of {now}; found some of {was}. Remedy: choose another folder, or delete this one."
        )


def _saved(path: Path | None, clip: Clip, settings: MaskletSettings) -> Masklets | None:
    """Masklets of an earlier run, or None; a file of other settings or another clip is an error, not
    something to overwrite."""
    if path is None or not path.exists():
        return None
    found = masklet_files.read(path)
    if found.settings != settings or len(found) != len(clip) or found.size != clip.size:
        raise DataError(
            f"{path}: expected masklets of {clip.name} ({len(clip)} frames of {clip.size[0]}x{clip.size[1]}) under {settings}; found {len(found)} frames of "
            f"{found.size[0]}x{found.size[1]} under {found.settings}. Remedy: choose another folder with --masklets, or delete the file."
        )
    return found

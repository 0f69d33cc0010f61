"""What `refine` reads: clips and their predictions, every name checked before any picture is read."""

import logging
from pathlib import Path

from ..clips.clip import Clip, Predictions
from ..clips.datasets import read_dataset
from ..clips.errors import DataError, DataMissingError, all_of, problem
from ..clips.folders import has_predictions, read_frames, read_predictions
from ..config import VOID

log = logging.getLogger(__name__)


def read_pairs(
    frames: Path, predictions: Path, split: str, dataset: str, skip_missing: bool
) -> list[tuple[Clip, Predictions]]:
    """Find clips and their predictions.

    Args: as for `lib.commands.refine.refine_folder`.
    Raises: DataError, DataMissingError: one error for all names that do not fit, and one for all clips that have
        no predictions.
    """
    if not split and (
        (frames / "VSPW_480p").is_dir() or ((frames / "data").is_dir() and any(frames.glob("*.txt")))
    ):
        raise problem(
            DataError,
            frames,
            expected="a clip or a folder of clips",
            found="the folder of a data set",
            remedy="Add --split val, or the split that the predictions are of.",
        )
    if split:
        data = read_dataset(dataset, frames, split)
        clips, n_classes = data.clips, len(data.classes)
    else:
        clips, n_classes = read_frames(frames), VOID
    if not predictions.is_dir():
        raise problem(
            DataMissingError,
            predictions,
            expected="a folder of predictions",
            found="no such folder",
            remedy="Check the path.",
        )
    flat = len(clips) == 1
    absent = [clip.name for clip in clips if not has_predictions(predictions, clip, flat=flat)]
    if absent and (not skip_missing or len(absent) == len(clips)):
        there = sorted(p.name for p in predictions.iterdir() if p.is_dir())
        raise problem(
            DataMissingError,
            predictions,
            expected=f"predictions for each of {len(clips)} clips, in a folder of the clip's name",
            found=f"none for {len(absent)}: {_first(absent)} (it holds {_first(there) or 'no folder'})",
            remedy="Add them, or leave these clips out with --skip-missing.",
        )
    if absent:
        log.warning(
            "%d of %d clips skipped, they have no predictions: %s", len(absent), len(clips), _first(absent)
        )
    pairs, errors = [], []
    for clip in clips:
        if clip.name not in absent:
            try:
                pairs.append((clip, read_predictions(predictions, clip, n_classes, flat=flat)))
            except (DataError, DataMissingError) as error:
                errors.append(error)
    if errors:
        raise all_of(errors)
    return pairs


def _first(names: list[str]) -> str:
    """Name the first three."""
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def keep_apart(frames: Path, predictions: Path, clips: list[str], written: tuple[Path | None, ...]) -> None:
    """Refuse an output folder that is an input, or that lies where the next run would take it for a clip."""
    roots = (frames, predictions, predictions / "pan_pred")
    inputs = {path.resolve() for root in roots for path in (root, *(root / name for name in clips))}
    out, masklets = written
    if out and (out / "pred.json").exists():
        raise problem(
            DataError,
            out / "pred.json",
            expected="no panoptic predictions in a folder of refined label maps",
            found="some, which readers would take first",
            remedy="Choose another folder.",
        )
    for folder in (out, *(out / name for name in clips), *([masklets] if masklets else [])):
        if folder.resolve() in inputs or folder.resolve().parent == frames.resolve():
            raise problem(
                DataError,
                folder,
                expected="an output folder apart from the inputs",
                found="one of them, or one among them",
                remedy="Choose another folder.",
            )

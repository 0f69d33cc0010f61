"""`python -m lib refine`: refine any model's predictions with SAM 2, clip by clip."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import masklets as masklet_files
from ..clips.clip import Clip, Predictions
from ..clips.datasets import read_dataset
from ..clips.digests import digests, frames_digest, predictions_digest
from ..clips.errors import DataError, DataMissingError, all_of, problem
from ..clips.folders import has_predictions, read_frames, read_predictions
from ..clips.headers import check_headers
from ..clips.images import write_labels
from ..config import VOID, MaskletSettings, Shortcuts, VoteSettings
from ..masklets import Masklets
from ..refiner import refine_clip
from ..sam import segment as segmenting
from ..study.segment import TRACKER_VERSION
from . import options
from .records import Record, compare, recorded

log = logging.getLogger(__name__)
REFINED, MASKLETS = "_refined.json", "_masklets.json"  # beside the results: what they were made of
UNFINISHED = ".masklets"  # in OUT: masklets of clips that are not refined yet
REFINE_VERSION = 1  # raise it when refined predictions change although masklets and predictions do not

EXAMPLES = """examples:
  python -m lib refine street.mp4 predictions/street refined --checkpoint large --bf16
  python -m lib refine VSPW_480p cffm-b1 refined/cffm-b1 --split val --checkpoint large --masklets masklets
  python -m lib refine VSPW_480p tv3s-b1 refined/tv3s-b1 --split val --checkpoint large --masklets masklets

The third line segments nothing: masklets do not depend on the base model.
Run again after an interruption: finished clips are left alone.
OUT/_refined.json records what the results were made of; a run that would mix others among them is refused.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "frames",
        metavar="FRAMES",
        help="one clip (a folder of JPEG or PNG frames, or a video), a folder of such folders, "
        "or with --split the folder of a data set",
    )
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        help="<clip>/<frame>.png with class ids, 255 where nothing is predicted; the PNGs themselves for one "
        "clip; or a panoptic folder with pred.json",
    )
    parser.add_argument("out", metavar="OUT", help="folder to write <clip>/<frame>.png into")
    parser.add_argument("--split", help="FRAMES is a data set: refine this split, val say")
    parser.add_argument(
        "--dataset", choices=options.DATASETS, help="FRAMES is a data set of this layout (with --split: vspw)"
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="leave out clips without predictions instead of stopping"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="tiny|small|base-plus|large|micro|PATH",
        help="SAM 2 to use: SAM 2.1 by size, fetched from the hub; or a file; or micro, which is embedded and "
        "made for the drawn clips (default: that of OUT's record, else large on a GPU, tiny on a CPU)",
    )
    parser.add_argument(
        "--masklets", metavar="DIR", help="keep each clip's masklets here as <clip>.json, and use those there"
    )
    options.add_overwrite(parser)
    options.add_settings(parser)
    options.add_device(parser, "bfloat16: faster on a GPU, not bit-equal")
    parser.add_argument(
        "--objects-per-batch",
        type=int,
        metavar="N",
        help="objects tracked at a time: fewer need less memory (default: 32 on a CPU, else 64)",
    )


def run(args: argparse.Namespace) -> int:
    """Refine a folder of predictions."""
    from ..cost.forecast import forecast
    from ..progress import progress
    from ..workers import keep_memory

    if args.objects_per_batch is not None and args.objects_per_batch < 1:
        raise ValueError(f"Expected --objects-per-batch to be 1 or more, but got {args.objects_per_batch}.")
    settings, votes, shortcuts = options.settings_of(args)

    def load_sam(checkpoint: str):
        from .. import sam  # here, so that wrong input is reported before torch is loaded

        keep_memory()
        return sam.load(checkpoint, options.device_of(args.device), shortcuts)

    done = refine_folder(
        args.frames,
        args.predictions,
        args.out,
        load_sam,
        settings,
        votes,
        shortcuts,
        choose_sam=lambda recorded: choose_sam(args.checkpoint, recorded, args.device),
        split=args.split or ("val" if args.dataset else ""),
        dataset=args.dataset or "vspw",
        skip_missing=args.skip_missing,
        masklets=args.masklets,
        overwrite=args.overwrite,
        progress=progress,
        forecast=None if os.environ.get("CI") else forecast,  # the time of another machine is no news there
        objects_per_batch=args.objects_per_batch,
        autocast=args.bf16,
    )
    print(f"{args.out}: clips refined: {len(done)}" + ("" if done else " (all were there)"))
    return 0


def choose_sam(asked: str | None, recorded: str, device: str | None = None) -> tuple[str, str]:
    """Choose the SAM 2 and say which: the one asked for, else that of an earlier run into the same folder, else
    an official one.

    Returns: (checkpoint, digest of its weights).
    Raises: DataMissingError if there are no such weights, or if they cannot be fetched.
    """
    from ..sam.checkpoints import OFFICIAL, default_checkpoint, is_micro, weights_of

    chosen = asked or recorded
    if not chosen:
        on_gpu = options.device_of(device) != "cpu"
        chosen = default_checkpoint(on_gpu)
        log.info(
            "SAM 2: %s of SAM 2.1, the default on a %s; --checkpoint takes another",
            chosen,
            "GPU" if on_gpu else "CPU",
        )
    elif not asked:
        log.info("SAM 2: %s, as recorded by the run before", chosen)
    if is_micro(chosen):
        log.warning("SAM 2 micro was made for the drawn clips of this project: on real video it does harm")
    weights = weights_of(chosen)
    named = chosen in OFFICIAL or chosen == "micro"
    return (chosen if named else str(weights.resolve())), digests([weights])[0]


@dataclass(frozen=True)
class Folders:
    """Where results go, and the records beside them."""

    out: Path
    masklets: Path
    keep: bool  # masklets stay when their clip is done
    refined: Record
    segmented: Record

    def finished(self, clip: Clip) -> bool:
        """Say whether all refined frames of a clip are there and made as this run would make them."""
        whole = all((self.out / clip.name / f"{frame}.png").exists() for frame in clip.frames)
        return whole and self.refined.done(clip.name)

    def saved(self, clip: Clip) -> Path:
        """The file of a clip's masklets."""
        return self.masklets / f"{clip.name}.json"

    def segmented_before(self, clip: Clip) -> bool:
        """Say whether masklets of a clip are there, made as this run would make them."""
        return self.segmented.done(clip.name) and self.saved(clip).exists()


def refine_folder(
    frames: str | Path,
    predictions: str | Path,
    out: str | Path,
    load_sam: Callable,
    settings: MaskletSettings = MaskletSettings(),
    votes: VoteSettings = VoteSettings(),
    shortcuts: Shortcuts = Shortcuts(),
    *,
    choose_sam: Callable[[str], tuple[str, str]] = choose_sam,
    split: str = "",
    dataset: str = "vspw",
    skip_missing: bool = False,
    masklets: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable | None = None,
    forecast: Callable | None = None,
    **track_options,
) -> list[str]:
    """Refine a model's predictions for one clip, a folder of clips or a data set's split, and resume where an
    earlier run stopped.

    Args:
        frames: as for `lib.clips.folders.read_frames`; with `split`, the root of a data set.
        predictions: as for `lib.clips.folders.read_predictions`: class ids 0..254 (255: nothing predicted).
        out: receives `<clip>/<frame>.png`, 8-bit palette PNGs, and `_refined.json`, which records what they
            were made of. Inputs are never changed: it must be a folder of its own.
        load_sam: called once as load_sam(checkpoint), and only if there is something to segment.
        settings, votes: how to segment and how to vote.
        shortcuts: approximations to take.
        choose_sam: called once as choose_sam(recorded), after the inputs were checked, with the checkpoint
            that an earlier run recorded ("" for none); returns (checkpoint, digest of its weights).
        split, dataset: as for `lib.clips.datasets.read_dataset`; split "" for plain frames.
        skip_missing: leave out clips that have no predictions; otherwise they are an error.
        masklets: also keep each clip's masklets here, `<clip>.json`; those already there are used again.
        overwrite: replace results in `out` and `masklets` that this run would make otherwise.
        progress: wraps the frames of each clip; called as progress(frames, desc=..., total=...).
        forecast: called once as forecast(sam, clips to segment, settings, **track_options), as
            `lib.cost.forecast` is; what it returns is logged before the first clip.
        track_options: for `lib.sam.track.track`.

    Returns: the names of the clips that were refined now.

    Raises: DataError, DataMissingError, before anything costly and before anything is written: if files are
        missing, damaged or of another size, if `out` is an input, or if `out` or `masklets` hold results made
        otherwise.
    """
    frames, predictions = Path(frames), Path(predictions)
    pairs = _read(frames, predictions, split, dataset, skip_missing)
    _keep_apart(frames, predictions, [c.name for c, _ in pairs], (Path(out), masklets and Path(masklets)))
    if errors := check_headers(pairs):
        raise all_of(errors)

    folders, checkpoint = _folders(
        pairs, Path(out), masklets, overwrite, choose_sam, settings, votes, shortcuts, track_options
    )
    compare([folders.refined, folders.segmented])

    sam, done = None, []
    for clip, prediction in pairs:
        if folders.finished(clip):
            log.info("%s: all %d frames are there; left alone", clip.name, len(clip))
            continue
        if folders.segmented_before(clip):
            found = _saved(folders.saved(clip), clip, settings)
        else:
            if sam is None:
                sam = load_sam(checkpoint)
                if forecast:
                    left = [
                        c for c, _ in pairs if not folders.finished(c) and not folders.segmented_before(c)
                    ]
                    text = forecast(sam, left, settings, **track_options)
                    log.info("forecast: %s%s", text, ", without the shortcuts" if shortcuts.taken else "")
            wrap = (lambda steps: progress(steps, desc=clip.name, total=len(clip))) if progress else None
            found = segmenting.segment(
                sam, clip, settings, progress=wrap, every=shortcuts.every, **track_options
            )
            _keep(folders, clip, found)
        with _masklets_kept(folders, clip):
            _write(folders, clip, prediction, found, votes)
        done.append(clip.name)
    return done


def _read(
    frames: Path, predictions: Path, split: str, dataset: str, skip_missing: bool
) -> list[tuple[Clip, Predictions]]:
    """Find clips and their predictions. All names are checked; all that do not fit are one error."""
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


def _keep_apart(frames: Path, predictions: Path, clips: list[str], written: tuple[Path | None, ...]) -> None:
    """Refuse an output folder that is an input, or that lies where the next run would take it for a clip."""
    roots = (frames, predictions, predictions / "pan_pred")
    inputs = {path.resolve() for root in roots for path in (root, *(root / name for name in clips))}
    out, masklets = written
    for folder in (out, *(out / name for name in clips), *([masklets] if masklets else [])):
        if folder.resolve() in inputs or folder.resolve().parent == frames.resolve():
            raise problem(
                DataError,
                folder,
                expected="an output folder apart from the inputs",
                found="one of them, or one among them",
                remedy="Choose another folder.",
            )


def _folders(
    pairs: list, out: Path, masklets, overwrite: bool, choose_sam, settings, votes, shortcuts, track_options
) -> tuple[Folders, str]:
    """Say what the results of this run are made of; return that with the checkpoint to load."""
    kept = Path(masklets) if masklets else out / UNFINISHED
    before = recorded(out / REFINED, "checkpoint") or recorded(kept / MASKLETS, "checkpoint")
    checkpoint, weights = choose_sam(before)
    if len(pairs) * max(len(clip) for clip, _ in pairs) > 2000:
        log.info("reading the files of %d clips, to record what the results are made of", len(pairs))
    of_frames = {clip.name: {"frames": frames_digest(clip)} for clip, _ in pairs}
    of_both = {
        clip.name: {**of_frames[clip.name], "predictions": predictions_digest(prediction)}
        for clip, prediction in pairs
    }
    segmenting_by = {
        "checkpoint": checkpoint,
        "weights": weights,
        "bf16": bool(track_options.get("autocast")),
        **asdict(settings),
        **shortcuts.taken,
    }
    refined = Record(
        out / REFINED,
        {**segmenting_by, **asdict(votes), "version": f"{TRACKER_VERSION}.{REFINE_VERSION}"},
        of_both,
        lambda name: any((out / name).glob("*.png")),
        overwrite,
    )
    segmented = Record(
        kept / MASKLETS,
        {**segmenting_by, "version": f"{TRACKER_VERSION}"},
        of_frames,
        lambda name: (kept / f"{name}.json").exists(),
        overwrite,
    )
    return Folders(out, kept, bool(masklets), refined, segmented), checkpoint


def _keep(folders: Folders, clip: Clip, found: Masklets) -> None:
    """Save a clip's masklets and record what they were made of; stale ones go first."""
    for name in folders.segmented.stale():
        (folders.masklets / f"{name}.json").unlink()
    folders.segmented.write(clip.name, done=True)  # without the file, this says nothing
    found.save(folders.saved(clip))


@contextmanager
def _masklets_kept(folders: Folders, clip: Clip) -> Iterator[None]:
    """Say where a clip's masklets are if refining fails; remove them after it if they were not asked for."""
    try:
        yield
    except BaseException:
        if not folders.keep:
            log.warning("%s: its masklets are kept in %s for the next run", clip.name, folders.saved(clip))
        raise
    if not folders.keep:
        folders.saved(clip).unlink()
        if not any(folders.masklets.glob("[!_.]*.json")):
            (folders.masklets / MASKLETS).unlink()
            folders.masklets.rmdir()


def _write(
    folders: Folders, clip: Clip, prediction: Predictions, found: Masklets, votes: VoteSettings
) -> None:
    """Refine one clip and write its frames; record it before and after."""
    for name in folders.refined.stale():  # with --overwrite: nothing may mix with what comes now
        for old in (folders.out / name).glob("*.png"):
            old.unlink()
    folders.refined.write(clip.name, done=False)
    for frame, refined in zip(clip.frames, refine_clip(prediction, found, votes)):
        write_labels(folders.out / clip.name / f"{frame}.png", refined)
    folders.refined.write(clip.name, done=True)
    if empty := sum(not frame.ids for frame in found.frames):
        log.warning(
            "%s: SAM 2 found no masklet in %d of %d frames; they keep their predictions",
            clip.name,
            empty,
            len(clip),
        )
    n_masklets = sum(len(frame.ids) for frame in found.frames) / len(clip)
    log.info("%s: %d frames refined, %.1f masklets a frame", clip.name, len(clip), n_masklets)


def _saved(path: Path, clip: Clip, settings: MaskletSettings) -> Masklets:
    """Read masklets of an earlier run; a file of other settings or another clip is an error."""
    found = masklet_files.read(path)
    if found.settings != settings or len(found) != len(clip) or found.size != clip.size:
        raise problem(
            DataError,
            path,
            expected=f"masklets of {clip.name} ({len(clip)} frames of {clip.size[0]}x{clip.size[1]}) under {settings}",
            found=f"{len(found)} frames of {found.size[0]}x{found.size[1]} under {found.settings}",
            remedy="Delete the file, or choose another folder with --masklets.",
        )
    return found

"""`python -m lib refine`: refine any model's predictions with SAM 2, clip by clip."""

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path

from ..clips.digests import digests
from ..clips.errors import all_of
from ..clips.headers import check_headers
from ..config import MaskletSettings, Shortcuts, VoteSettings
from ..sam import segment as segmenting
from . import options
from .inputs import keep_apart, read_pairs
from .records import compare
from .results import recorded_checkpoint, results_of

log = logging.getLogger(__name__)

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
    frames, predictions, out = Path(frames), Path(predictions), Path(out)
    masklets = Path(masklets) if masklets else None
    # cheap checks first, of all clips
    pairs = read_pairs(frames, predictions, split, dataset, skip_missing)
    keep_apart(frames, predictions, [clip.name for clip, _ in pairs], (out, masklets))
    if errors := check_headers(pairs):
        raise all_of(errors)
    # then what earlier runs left: nothing made otherwise may mix with what comes
    checkpoint, weights = choose_sam(recorded_checkpoint(out, masklets))
    results = results_of(
        pairs,
        out,
        masklets,
        (checkpoint, weights),
        settings,
        votes,
        shortcuts,
        bf16=bool(track_options.get("autocast")),
        overwrite=overwrite,
    )
    compare([results.refined, results.segmented])

    sam, done = None, []
    for clip, prediction in pairs:
        if results.finished(clip):
            log.info("%s: all %d frames are there; left alone", clip.name, len(clip))
            continue
        if results.segmented_before(clip):
            found = results.read_masklets(clip, settings)
        else:
            if sam is None:
                sam = load_sam(checkpoint)
                if forecast:
                    left = [c for c, _ in pairs if results.to_segment(c)]
                    text = forecast(sam, left, settings, **track_options)
                    log.info("forecast: %s%s", text, ", without the shortcuts" if shortcuts.taken else "")
            wrap = (lambda steps: progress(steps, desc=clip.name, total=len(clip))) if progress else None
            found = segmenting.segment(
                sam, clip, settings, progress=wrap, every=shortcuts.every, **track_options
            )
            results.keep_masklets(clip, found)
        results.write(clip, prediction, found, votes)
        done.append(clip.name)
    return done

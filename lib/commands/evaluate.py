"""`python -m lib evaluate`: score any model's predictions against a data set."""

import argparse
import logging
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ..clips.clip import Dataset
from ..clips.datasets import read_dataset
from ..clips.errors import DataError, DataMissingError, all_of
from ..clips.folders import read_predictions
from ..clips.headers import check_headers
from ..files import write_json
from ..metrics import (
    PROTOCOLS,
    VSPW_LONGEST_LEFT_OUT,
    ClipCounts,
    count_clip,
    left_out,
    per_class,
    per_clip,
    summarise,
)
from ..progress import progress
from . import options

logger = logging.getLogger(__name__)

EXAMPLES = """examples:
  python -m lib evaluate refined --truth VSPW_480p
  python -m lib evaluate refined --truth CamVid --dataset camvid --protocol paper --json scores.json

--protocol vspw scores as the script of VSPW does, from which published numbers come, and drops clips of 16
frames or fewer; paper takes Eq. 4 literally; both prints both.
"""

MEANINGS = {
    "mIoU": "IoU, mean over the classes in the truth",
    "wIoU": "IoU, classes weighted by their pixels",
    "mBIoU": "IoU on class boundaries (5x5 erosion), mean over frames",
    "mVC": "prediction constant where the truth is, {n} frames (VSPW script)",
    "mVC_eq4": "prediction right where the truth is constant, {n} frames (paper Eq. 4)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        help="<clip>/<frame>.png with class ids, or a panoptic folder with pred.json",
    )
    options.add_data(parser, "--truth")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="both", help="see below (default: %(default)s)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the scores here, per class and per clip too"
    )


def run(args: argparse.Namespace) -> int:
    """Score a folder of predictions."""
    result = evaluate(
        args.predictions,
        args.truth,
        args.split,
        args.dataset,
        args.protocol,
        progress=partial(progress, unit="clip"),
    )
    if args.json:
        write_json(args.json, result)
    print(format_scores(result))
    return 0


def count_predictions(
    predictions_root: str | Path, dataset: Dataset, *, progress: Callable[[Iterable], Iterable] = iter
) -> list[ClipCounts]:
    """Count every clip of a data set against a prediction folder, reading frame by frame.

    Args:
        predictions_root: `<clip>/<frame>.png` with class ids (VSPW: 0..123, already shifted; 255 = nothing),
            or a panoptic folder with `pred.json`, as `lib.clips.folders.read_predictions` takes it.
        dataset: clips that have truth.
        progress: wraps the iterable of clips, for a progress bar.

    Returns: one ClipCounts per clip, for `lib.metrics`.
    Raises: DataMissingError, DataError. All names, headers and sizes are checked before the first frame is
        read.
    """
    n_classes, single = len(dataset.classes), len(dataset.clips) == 1
    if blind := [clip.name for clip in dataset.clips if not clip.has_truth]:
        raise DataMissingError(
            f"{dataset.name} {dataset.split}, clip {blind[0]}: expected labels to score against, but found none "
            f"({len(blind)} of {len(dataset.clips)} clips have none). Choose a split with labels, such as val."
        )
    pairs, errors = [], []
    for clip in dataset.clips:
        try:
            pairs.append((clip, read_predictions(predictions_root, clip, n_classes, flat=single)))
        except (DataError, DataMissingError) as error:
            errors.append(error)
            if not Path(predictions_root).is_dir():  # or every clip would say the same
                break
    if errors := errors or check_headers(pairs):
        raise all_of(errors)
    counts = []
    for clip, predictions in progress(pairs):
        truths = (clip.truth(i) for i in range(len(clip)))
        counts.append(count_clip(clip.name, truths, predictions, n_classes))
        logger.info("%s: %d frames counted", clip.name, len(clip))
    return counts


def evaluate(
    predictions_root: str | Path,
    truth_root: str | Path,
    split: str = "val",
    dataset: str = "vspw",
    protocol: str = "both",
    *,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict:
    """Score a prediction folder.

    Args:
        predictions_root, progress: as for `count_predictions`.
        truth_root, split: as for `lib.clips.datasets.read_dataset`.
        dataset: "vspw", "vipseg" or "camvid".
        protocol: "vspw", "paper" or "both", as for `lib.metrics.summarise`, which says what each metric is.

    Returns:
        A dict that JSON can hold, scores in percent at full precision, None where undefined:
        "dataset", "split", "protocol"; "n_clips", "n_frames" (all that were read);
        "mIoU", "wIoU", "mBIoU" always, "mVC8", "mVC16" under "vspw" and "both", "mVC8_eq4", "mVC16_eq4" under
        "paper" and "both": a metric that the protocol does not define has no key; "left_out": names of clips
        of 16 frames or fewer, which "vspw" and "both" leave out of all but Eq. 4; "classes": {name: IoU},
        None where the truth lacks the class; "clips": {name: {"frames": number, metric: the clip scored
        alone, None where it is left out}}.

    Raises: ValueError for an unknown protocol or data set; DataMissingError, DataError.
    """
    if protocol not in PROTOCOLS:  # before minutes of reading
        raise ValueError(f"Expected `protocol` to be one of {PROTOCOLS}, but got {protocol!r}")
    data = read_dataset(dataset, truth_root, split)
    counts = count_predictions(predictions_root, data, progress=progress)
    scores_of_clip = per_clip(counts, protocol)
    return _without_nan(
        {
            "dataset": data.name,
            "split": data.split,
            "protocol": protocol,
            "n_clips": len(counts),
            "n_frames": sum(c.n_frames for c in counts),
            **summarise(counts, protocol),
            "left_out": list(left_out(counts, protocol)),
            "classes": dict(zip(data.classes, per_class(counts, protocol).tolist(), strict=True)),
            "clips": {c.name: {"frames": c.n_frames, **scores_of_clip[c.name]} for c in counts},
        }
    )


def _without_nan(value):
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def format_scores(result: dict) -> str:
    """Lay out the scores of `evaluate` as text, with what each means and which clips were left out."""
    lines = [
        f"{result['dataset']} {result['split']}: {_plural(result['n_clips'], 'clip')}, "
        f"{_plural(result['n_frames'], 'frame')}, protocol {result['protocol']}",
        "",
        "metric       percent",
    ]
    metrics = [key for key in result if key in MEANINGS or key.startswith("mVC")]
    for metric in metrics:
        n = "".join(filter(str.isdigit, metric.partition("_")[0]))
        meaning = MEANINGS[metric.replace(n, "", 1)].format(n=n)
        score = "-" if result[metric] is None else f"{result[metric]:.2f}"
        lines.append(f"{metric:<11} {score:>8}   {meaning}")
    if out := result["left_out"]:
        n_clips = _plural(result["n_clips"], "clip")
        names = ", ".join(f"{name} ({_plural(result['clips'][name]['frames'], 'frame')})" for name in out[:3])
        more = f" and {len(out) - 3} more" if len(out) > 3 else ""
        lines += [
            "",
            f"Left out of mIoU, wIoU, mBIoU, mVC8, mVC16: {len(out)} of {n_clips}, {names}{more}.",
            f"The VSPW protocol drops clips of {VSPW_LONGEST_LEFT_OUT} frames or fewer; --protocol paper drops none.",
        ]
    if any(result[metric] is None for metric in metrics):
        lines += ["", "- : undefined, as no clip that counts is long enough or no class is in its truth"]
    return "\n".join(lines)


def _plural(n: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

"""The tables: which rows a study's table has, what is measured for each, and what the numbers say in words."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib.config import MaskletSettings, VoteSettings
from lib.data import VOID, Clip, Predictions
from lib.metrics import ClipCounts, bootstrap, summarise
from lib.paper import read_paper_table
from lib.paths import DATA
from lib.provenance import provenance
from lib.refiner import paint, per_pixel_majority, refine_clip, vote
from lib.report import COLUMNS, METRICS
from lib.study import NotRun, Study, cut, predictions_of, read_masklets, score

LABELS = {"base": "{}", "refined": "SAM2-{}", "majority": "Majority-{}", "regions": "TrueRegions-{}"}


def true_regions(clip: Clip, predictions: Predictions) -> Iterator[np.ndarray]:
    """Control: the vote over the truth's own regions (8-connected parts of a class), the bound of what masks can do for this base."""
    for t in range(len(clip)):
        truth = clip.truth(t)
        masks = []
        for c in np.unique(truth[truth != VOID]):
            n, parts = cv2.connectedComponents((truth == c).astype(np.uint8), connectivity=8)
            masks += [parts == i for i in range(1, n)]
        masks = np.stack(masks) if masks else np.zeros((0, *truth.shape), bool)
        yield paint(predictions[t], masks, vote(predictions[t], masks))


def tidy(method: str, backbone: str, setting: str, counts: list[ClipCounts] | None, paper: dict[str, float]) -> list[dict]:
    """One row of a table as tidy lines, one per metric; NaN where nothing was measured or printed."""
    measured = summarise(counts) if counts else {}
    intervals = bootstrap(counts) if counts else {}
    nan = float("nan")
    return [
        dict(zip(COLUMNS, (method, backbone, setting, m, measured.get(m, nan), *intervals.get(m, (nan, nan)), paper.get(m, nan))))
        for m in METRICS
    ]


def refiner_rows(study: Study, name: str, settings: MaskletSettings = MaskletSettings(), votes: VoteSettings = VoteSettings()) -> dict[str, list[ClipCounts]]:
    """Score a base model before and after refinement, and the two controls.

    Returns:
        {"base", "refined", "majority", "regions"}: counts by clip.

    Raises:
        NotRun: the base model's predictions are absent.
    """
    predictions = predictions_of(study, name)
    found = {clip: read_masklets(path) for clip, path in cut(study, (settings,))[settings].items()}
    return {
        "base": score(study, lambda clip: (predictions[clip.name][t] for t in range(len(clip)))),
        "refined": score(study, lambda clip: refine_clip(predictions[clip.name], found[clip.name], votes)),
        "majority": score(study, lambda clip: per_pixel_majority(predictions[clip.name], found[clip.name])),
        "regions": score(study, lambda clip: true_regions(clip, predictions[clip.name])),
    }


def refiner_table(study: Study, settings: MaskletSettings = MaskletSettings()) -> tuple[pd.DataFrame, dict, dict]:
    """Table 1: every row of the paper's table beside what was measured here, and the two controls for each base model.

    Returns:
        table: tidy, columns `COLUMNS`.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(method, backbone): {metric: (after - before, low, high)}}, paired over clips.
    """
    printed = {(r.method, r.backbone): {m: getattr(r, m) for m in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")} for r in read_paper_table(1).itertuples()}
    lines, not_run, differences, reasons = [], {}, {}, {}
    for name, method, backbone in study.profile.models:
        try:
            rows = refiner_rows(study, name, settings)
        except NotRun as reason:
            reasons[method, backbone] = str(reason)
            continue
        for kind, counts in rows.items():
            key = LABELS[kind].format(method), backbone
            lines += tidy(*key, "", counts, printed.pop(key, {}))
        before, after, interval = summarise(rows["base"]), summarise(rows["refined"]), bootstrap(rows["refined"], other=rows["base"])
        differences[method, backbone] = {m: (after[m] - before[m], *interval[m]) for m in METRICS}
    for (method, backbone), paper in printed.items():
        lines += tidy(method, backbone, "", None, paper)
        base = method.removeprefix("SAM2-")
        why = reasons.get((base, backbone), f"the {study.profile.name} profile has no {base} {backbone}")
        not_run[method, backbone, ""] = why
    return pd.DataFrame(lines, columns=list(COLUMNS)), not_run, differences


def refiner_notes(study: Study, settings: MaskletSettings, differences: dict) -> list[str]:
    """Say in words what the refiner changed here, whether that holds the paper's claim, and what the numbers are not."""
    clips = study.dataset.clips
    notes = [
        f"{len(clips)} clips, {sum(map(len, clips))} frames; SAM 2 checkpoint {Path(study.checkpoint).name}; window {settings.window}, grid {settings.grid}x{settings.grid}, "
        f"predicted IoU {settings.iou}, stability {settings.stability} at offset {settings.stability_offset}."
    ]
    if study.checkpoint == "micro":
        notes.append("Measured with the project's own micro SAM 2, trained on drawn scenes: these are not results of the released SAM 2 models.")
    for (method, backbone), gain in differences.items():
        said = []
        for metric in ("mIoU", "mBIoU", "mVC8", "mVC16"):
            change, low, high = gain[metric]
            verdict = "one clip, no interval" if np.isnan(low) else "holds" if low > 0 else "does not hold" if high < 0 else "cannot be said"
            said.append(f"{metric} {change:+.1f} ({verdict})")
        notes.append(f"The paper's claim that refinement raises every score, for {method} {backbone}: " + ", ".join(said) + ".")
    return notes


def record(study: Study, settings: MaskletSettings) -> dict:
    """Provenance of a table: what it was made from, and the seconds of the work that was done (work found in the cache takes none)."""
    from lib import sam

    inputs = [sam.weights_of(study.checkpoint)]
    inputs += [path for name, *_ in study.profile.models if (path := DATA / study.profile.name / "weights" / f"{name}.safetensors").exists()]
    seconds = {stage: round(value, 1) for stage, value in study.timings_s.items()}
    return provenance(study.profile.name, {"checkpoint": study.checkpoint, **asdict(settings)}, inputs, seconds)

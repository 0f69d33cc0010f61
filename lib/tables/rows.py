"""What all tables share: tidy lines, paired differences, what they say of a claim, and provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..intervals import bootstrap, interval, resample
from ..metrics import ClipCounts, summarise
from ..report.provenance import provenance
from ..report.text import COLUMNS, METRICS
from ..sam.checkpoints import weights_of
from ..study.predictions import weights_file
from ..study.study import Study
from .result import Gain

NO_INTERVAL = "one clip, no interval"  # what stands for a verdict there
# points: "alone", "hardly", "competitive", as the paper gives no number; so far apart are the mIoU of Table
# 5, which it calls minimal
MARGIN = 0.5


def tidy(
    method: str, backbone: str, setting: str, counts: list[ClipCounts] | None, paper: dict[str, float]
) -> list[dict]:
    """One row of a table as tidy lines, one per metric; NaN where nothing was measured or printed."""
    measured = summarise(counts) if counts else {}
    intervals = bootstrap(counts) if counts else {}
    nan = float("nan")
    return [
        dict(
            zip(
                COLUMNS,
                (
                    method,
                    backbone,
                    setting,
                    m,
                    measured.get(m, nan),
                    *intervals.get(m, (nan, nan)),
                    paper.get(m, nan),
                ),
            )
        )
        for m in METRICS
    ]


def paired(after: list[ClipCounts], before: list[ClipCounts]) -> dict[str, Gain]:
    """What changed, in points: {metric: (after - before, low, high)}, the 95 % interval paired over clips."""
    new, old, intervals = summarise(after), summarise(before), bootstrap(after, other=before)
    return {m: (new[m] - old[m], *intervals[m]) for m in METRICS}


def contrast(after: list[ClipCounts], before: list[ClipCounts], metric: str, other: str) -> Gain:
    """How much more one metric changed than another, in points, both of mIoU, wIoU and mBIoU: ((after -
    before) of `metric` minus that of `other`, low, high)."""
    new, old, drawn = summarise(after), summarise(before), resample(after, other=before)
    low, high = interval(drawn[metric] - drawn[other])  # both of the same draws of clips
    return new[metric] - old[metric] - (new[other] - old[other]), low, high


def verdict(gain: Gain, claim: str = "rises", margin: float = MARGIN) -> str:
    """Judge a claim by the 95 % interval of a paired difference.

    Args:
        claim: "rises" and "falls" hold if the whole interval lies on that side of zero and fail if it lies on
            the other; "same" holds if the whole interval lies within `margin` of zero, and fails if all of it
            lies outside.
        margin: in points.

    Returns:
        "holds", "does not hold" or "cannot be said"; `NO_INTERVAL` where there is none.
    """
    _, low, high = gain
    if claim not in ("rises", "falls", "same"):
        raise ValueError(f"Expected `claim` to be 'rises', 'falls' or 'same', but got {claim!r}.")
    if np.isnan(low):
        return NO_INTERVAL
    if claim == "same":
        return (
            "holds"
            if -margin <= low and high <= margin
            else "does not hold"
            if low > margin or high < -margin
            else "cannot be said"
        )
    if claim == "falls":
        low, high = -high, -low
    return "holds" if low > 0 else "does not hold" if high < 0 else "cannot be said"


def setting_note(study: Study) -> list[str]:
    """Say what a table was measured on."""
    settings = study.settings
    notes = [
        f"{study.extent}; SAM 2 checkpoint {Path(study.checkpoint).name}; window {settings.window}, grid {settings.grid}x{settings.grid}, "
        f"predicted IoU {settings.iou}, stability {settings.stability} at offset {settings.stability_offset}."
    ]
    if study.checkpoint == "micro":
        notes.append(
            "Measured with the project's own micro SAM 2, trained on drawn scenes: these are not results of the released SAM 2 models."
        )
    return notes


def record(study: Study, inputs: Sequence[Path] = (), parameters: Mapping | None = None) -> dict:
    """Provenance of a table: what it was made from, and the seconds of the work that was done (work found
    in the cache takes none).

    Args: inputs, parameters: those of this table alone.
    """
    files = [weights_of(study.checkpoint)]
    files += [
        path for name, *_ in study.profile.models if (path := weights_file(study.profile, name)).exists()
    ]
    seconds = {stage: round(value, 1) for stage, value in study.timings_s.items()}
    return provenance(
        study.profile.name,
        {"checkpoint": study.checkpoint, **asdict(study.settings), **(parameters or {})},
        [*files, *inputs],
        seconds,
    )

"""What all tables share: tidy lines, paired differences, what they say of a claim, and provenance."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lib.config import MaskletSettings
from lib.metrics import ClipCounts, bootstrap, summarise
from lib.paths import DATA
from lib.provenance import provenance
from lib.report import COLUMNS, METRICS
from lib.study import Study

Gain = tuple[float, float, float]  # change, low, high, in points; NaN bounds where there is one clip


def tidy(method: str, backbone: str, setting: str, counts: list[ClipCounts] | None, paper: dict[str, float]) -> list[dict]:
    """One row of a table as tidy lines, one per metric; NaN where nothing was measured or printed."""
    measured = summarise(counts) if counts else {}
    intervals = bootstrap(counts) if counts else {}
    nan = float("nan")
    return [
        dict(zip(COLUMNS, (method, backbone, setting, m, measured.get(m, nan), *intervals.get(m, (nan, nan)), paper.get(m, nan))))
        for m in METRICS
    ]


def paired(after: list[ClipCounts], before: list[ClipCounts]) -> dict[str, Gain]:
    """What changed, in points: {metric: (after - before, low, high)}, the 95 % interval paired over clips."""
    new, old, interval = summarise(after), summarise(before), bootstrap(after, other=before)
    return {m: (new[m] - old[m], *interval[m]) for m in METRICS}


def verdict(gain: Gain) -> str:
    """Judge the claim that something rises by its paired interval."""
    _, low, high = gain
    return "one clip, no interval" if np.isnan(low) else "holds" if low > 0 else "does not hold" if high < 0 else "cannot be said"


def setting_note(study: Study, settings: MaskletSettings) -> list[str]:
    """Say what a table was measured on."""
    clips = study.dataset.clips
    notes = [
        f"{len(clips)} clips, {sum(map(len, clips))} frames; SAM 2 checkpoint {Path(study.checkpoint).name}; window {settings.window}, grid {settings.grid}x{settings.grid}, "
        f"predicted IoU {settings.iou}, stability {settings.stability} at offset {settings.stability_offset}."
    ]
    if study.checkpoint == "micro":
        notes.append("Measured with the project's own micro SAM 2, trained on drawn scenes: these are not results of the released SAM 2 models.")
    return notes


def record(study: Study, settings: MaskletSettings) -> dict:
    """Provenance of a table: what it was made from, and the seconds of the work that was done (work found in the cache takes none)."""
    from lib import sam

    inputs = [sam.weights_of(study.checkpoint)]
    inputs += [path for name, *_ in study.profile.models if (path := DATA / study.profile.name / "weights" / f"{name}.safetensors").exists()]
    seconds = {stage: round(value, 1) for stage, value in study.timings_s.items()}
    return provenance(study.profile.name, {"checkpoint": study.checkpoint, **asdict(settings)}, inputs, seconds)

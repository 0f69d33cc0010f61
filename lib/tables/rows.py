"""What all tables share: tidy lines, paired differences, what they say of a claim, and provenance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..intervals import CLIPS, MIN_CLIPS, interval, intervals, over, reach, rescore, unit_of
from ..metrics import ClipCounts, summarise
from ..report.provenance import provenance
from ..report.text import COLUMNS, METRICS, OVER
from ..sam.checkpoints import weights_of
from ..study.predictions import weights_file
from ..study.study import Study
from .result import Gain

NO_INTERVAL = "one clip, no interval"  # what stands for a verdict there
WITHIN = "within this sequence, no verdict"  # and where there are only intervals over blocks of one clip
TOO_FEW = "too few clips"  # followed by their number
UNDEFINED = "no interval"  # the same: the number is undefined without one of the clips
# points: "alone", "hardly", "competitive", as the paper gives no number; so far apart are the mIoU of Table
# 5, which it calls minimal
MARGIN = 0.5
SCORES = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")  # "every score": those that the paper prints
JUDGED_AS = ("holds", "does not hold", "cannot be said")


def tidy(
    method: str, backbone: str, setting: str, counts: list[ClipCounts] | None, paper: dict[str, float]
) -> list[dict]:
    """One row of a table as tidy lines, one per metric; NaN where nothing was measured or printed."""
    measured = summarise(counts) if counts else {}
    found = intervals(counts) if counts else {}
    over_what = {m: over(i.n, i.unit) for m, i in found.items() if not np.isnan(i.low)}
    nan = float("nan")
    return [
        dict(
            zip(
                (*COLUMNS, OVER),
                (
                    method,
                    backbone,
                    setting,
                    m,
                    measured.get(m, nan),
                    *found.get(m, (nan, nan))[:2],
                    paper.get(m, nan),
                    over_what.get(m, ""),
                ),
            )
        )
        for m in METRICS
    ]


def paired(after: list[ClipCounts], before: list[ClipCounts]) -> dict[str, Gain]:
    """What changed, in points: {metric: after - before}, the 95 % interval paired over clips."""
    new, old, found = summarise(after), summarise(before), intervals(after, other=before)
    return {m: Gain(new[m] - old[m], *found[m]) for m in METRICS}


def contrast(after: list[ClipCounts], before: list[ClipCounts], metric: str, other: str) -> Gain:
    """How much more one metric changed than another, in points, both of mIoU, wIoU and mBIoU: (after -
    before) of `metric` minus that of `other`."""
    changes = rescore(after, other=before)
    scores = changes[metric] - changes[other]  # both without the same clip in turn
    return Gain(float(scores[0]), *interval(scores)._replace(unit=unit_of(after)))


def no_verdict(gain: Gain) -> str:
    """Say why nothing can be judged by an interval; "" if it can."""
    if gain.unit != CLIPS:
        return WITHIN
    if gain.n == 1:
        return NO_INTERVAL
    if gain.n < MIN_CLIPS:
        return f"{TOO_FEW} (n = {gain.n})"
    if np.isnan(gain.low):
        return f"{UNDEFINED} (n = {gain.n})"
    return ""


def verdict(gain: Gain, claim: str = "rises", margin: float = MARGIN) -> str:
    """Judge a claim by the 95 % interval of a paired difference.

    Args:
        claim: "rises" and "falls" hold if the whole interval lies on that side of zero and fail if it lies on
            the other; "same" holds if the whole interval lies within `margin` of zero, and fails if all of it
            lies outside.
        margin: in points.

    Returns:
        "holds", "does not hold" or "cannot be said"; what `no_verdict` says where nothing can be judged, which
            includes all below `MIN_CLIPS` clips.
    """
    if claim not in ("rises", "falls", "same"):
        raise ValueError(f"Expected `claim` to be 'rises', 'falls' or 'same', but got {claim!r}.")
    if why := no_verdict(gain):
        return why
    if claim == "falls":
        gain = -gain
    holds, fails = gain.low > 0, gain.high < 0
    if claim == "same":
        holds = -margin <= gain.low and gain.high <= margin
        fails = gain.low > margin or gain.high < -margin
    return "holds" if holds else "does not hold" if fails else "cannot be said"


def at_level(gain: Gain, level: float) -> Gain:
    """Return the same change with its interval at another confidence level than 0.95."""
    if np.isnan(gain.low):
        return gain
    down, up = (new / old for new, old in zip(reach(gain.n, gain.skew, level), reach(gain.n, gain.skew)))
    low, high = gain.change - down * (gain.change - gain.low), gain.change + up * (gain.high - gain.change)
    return gain._replace(low=float(low), high=float(high))


def p_value(said_at: Callable[[float], str]) -> float:
    """Find the p-value of a verdict: the smallest p for which intervals of level 1 - p decide, so that below 0.05
    the verdict at 95 % is "holds" or "does not hold". For one change of clips that are not skewed it is that of the
    two-sided t test.

    Args: said_at: confidence level -> verdict, from one change or many, such as `lambda level:
        verdict(at_level(gain, level))`; wider intervals must not decide what narrower ones leave open.
    Returns: 0..1, never below 1e-12, which `lib.claims.holm.holm` takes; NaN where there is no verdict.
    """
    decides = lambda log_p: said_at(1 - 10**log_p) in ("holds", "does not hold")
    if (said := said_at(0.0)) not in JUDGED_AS:
        return float("nan")
    if said == "cannot be said":
        return 1.0
    low, high = -12.0, 0.0  # powers of ten: at `high` it decides
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return 10**high


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


def seen_note(study: Study) -> list[str]:
    """Say what clips were looked at while the SAM 2 that is used here was made; nothing for another."""
    if study.checkpoint != "micro" or not study.profile.looked_at:
        return []
    return [
        "These clips were looked at while the micro SAM 2 was developed (six revisions), so they are not held out in that sense. "
        "The quality figures of its masks are of clips never looked at: same generator, same look."
    ]


def restart_note(study: Study) -> list[str]:
    """Say where no clip is longer than a window, so that none is ever restarted."""
    longest = max(map(len, study.dataset.clips))
    if longest > study.settings.window:
        return []
    note = (
        f"No clip is longer than the window ({longest} frames at most), so no window restarts in this table."
    )
    return [note + " In Table 4 shorter windows do restart: see its row 16." * (longest > 16)]


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

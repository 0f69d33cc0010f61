"""Table 1: SAM 2 as refiner, with three controls of our own; the sliding vote is the bar."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..clips.clip import Predictions
from ..config import VoteSettings
from ..metrics import ClipCounts
from ..refiner import refine_clip
from ..report.text import COLUMNS, OVER
from ..study.cache import content
from ..study.controls import SLIDING_FRAMES, per_pixel_majority, sliding_vote, true_regions
from ..study.predictions import predictions_of
from ..study.scores import Labels, score
from ..study.segment import masklet_paths, read_masklets
from ..study.study import NotRun, Study
from ..text import signed
from .paper import apart, read_paper_table
from .result import Gain, Result
from .rows import SCORES, paired, record, restart_note, seen_note, setting_note, tidy, verdict

LABELS = {
    "base": "{}",
    "refined": "SAM2-{}",
    "sliding": "SlidingVote-{}",
    "majority": "Majority-{}",
    "regions": "TrueRegions-{}",
}
# what is compared, for each base model: (rows of `refiner_rows`, how the tables call it)
REFINED, STEADIED, BEYOND = "refined minus base", "sliding vote minus base", "refined minus sliding vote"
COMPARED = {REFINED: ("refined", "base"), STEADIED: ("sliding", "base"), BEYOND: ("refined", "sliding")}
SAID = (*SCORES, "mVC8_eq4", "mVC16_eq4")  # what the notes say of the sliding vote


COMPARED_BY = ("method", "backbone", "difference")
Difference = tuple[str, str, str]


def refiner_rows(
    study: Study, name: str, votes: VoteSettings = VoteSettings()
) -> dict[str, list[ClipCounts]]:
    """Score a base model before and after refinement, and the three controls.

    Returns:
        {"base", "refined", "sliding", "majority", "regions"}: counts by clip.

    Raises:
        NotRun: the base model's predictions are absent.
    """
    predictions = predictions_of(study, name)
    files = masklet_paths(study)
    of = lambda clip: predictions[clip.name]
    masklets = lambda clip: read_masklets(files[clip.name])
    return {
        "base": score(study, *base_labels(predictions)),
        "refined": score(study, *refined_labels(predictions, files, votes)),
        "sliding": score(
            study,
            lambda clip: sliding_vote(of(clip)),
            lambda clip: f"sliding vote {SLIDING_FRAMES} {content(of(clip))}",
        ),
        "majority": score(
            study,
            lambda clip: per_pixel_majority(of(clip), masklets(clip)),
            lambda clip: f"majority {content(of(clip))} {study.settings.window}",
        ),
        "regions": score(
            study, lambda clip: true_regions(clip, of(clip)), lambda clip: f"regions {content(of(clip))}"
        ),
    }


def base_labels(predictions: dict[str, Predictions]) -> Labels:
    """Return a base model's predictions by clip, as `lib.study.scores` counts them."""
    return lambda clip: predictions[clip.name], lambda clip: f"base {content(predictions[clip.name])}"


def refined_labels(
    predictions: dict[str, Predictions], files: dict[str, Path], votes: VoteSettings = VoteSettings()
) -> Labels:
    """Return predictions refined with the masklets in `files`, both by clip, as `lib.study.scores` counts them."""
    return (
        lambda clip: refine_clip(predictions[clip.name], read_masklets(files[clip.name]), votes),
        lambda clip: f"refined {content(predictions[clip.name])} {files[clip.name].name} {votes}",
    )


def refiner_table(study: Study) -> Result:
    """Table 1: every row of the paper's table beside what was measured here, and the three controls for each
    base model.

    Returns: differences as `beside_paper` gives them.
    """
    printed = {
        (r.method, r.backbone): {m: getattr(r, m) for m in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")}
        for r in read_paper_table(1).itertuples()
    }
    table, not_run, differences = beside_paper(study, printed, study.profile.of_paper)
    return Result(
        f"Table 1 on {study.title}",
        table,
        not_run,
        differences,
        COMPARED_BY,
        make_notes=lambda: refiner_notes(study, differences),
        make_record=lambda: record(study),
    )


def beside_paper(
    study: Study, printed: Mapping[tuple[str, str], Mapping[str, float]], same_data: bool, data: str = "VSPW"
) -> tuple[pd.DataFrame, dict, dict[Difference, dict[str, Gain]]]:
    """Measure every base model of a study before and after refinement, and the three controls, beside
    printed rows.

    Args:
        printed: {(method, backbone): {metric: the paper's number}}, refined rows named `SAM2-<method>`.
        same_data: the study's data set is that of the printed rows, so that they stand in the same rows;
            otherwise they have their own. data: its name.

    Returns:
        table: tidy, columns `COLUMNS` and `OVER`.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(method, backbone, one of `COMPARED`): {metric: (after - before, low, high)}}, paired over
            clips.
    """
    printed, lines, not_run, differences, reasons = dict(printed), [], {}, {}, {}
    measured: set[tuple[str, str]] = set()
    for name, method, backbone in study.profile.models:
        try:
            rows = refiner_rows(study, name)
        except NotRun as reason:
            reasons[method, backbone] = str(reason)
            continue
        for kind, counts in rows.items():
            key = LABELS[kind].format(method), backbone
            measured.add(key)
            lines += tidy(*key, "", counts, printed.pop(key, {}) if same_data else {})
        for what, (after, before) in COMPARED.items():
            differences[method, backbone, what] = paired(rows[after], rows[before])
    for (method, backbone), paper in printed.items():
        row, base = (method, backbone, ""), method.removeprefix("SAM2-")
        why = reasons.get((base, backbone), f"the {study.profile.name} profile has no {base} {backbone}")
        if (method, backbone) in measured:
            row, why = apart(row, data), f"printed for {data}, which this is not"
        lines += tidy(*row, None, paper)
        not_run[row] = why
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, differences


def refiner_notes(study: Study, differences: Mapping[Difference, Mapping[str, Gain]]) -> list[str]:
    """Say in words what the refiner changed here, whether that holds the paper's claim, how much of it any
    steadying would give, and what the numbers are not."""
    notes = [*setting_note(study), *seen_note(study), *restart_note(study)]
    for (method, backbone, what), gain in differences.items():
        if what == REFINED:
            said = ", ".join(f"{m} {signed(gain[m][0])} ({verdict(gain[m])})" for m in SCORES)
            notes.append(
                f"The paper's claim that refinement raises every score, for {method} {backbone}: {said}."
            )
    return notes + control_notes(differences)


def control_notes(differences: Mapping[Difference, Mapping[str, Gain]]) -> list[str]:
    """Say what the controls are, and what SAM 2 adds over the sliding vote."""
    if not differences:
        return []
    notes = [
        f"SlidingVote gives each pixel the class that it has in most of the {SLIDING_FRAMES} frames around it; it knows no masks. "
        "It is the bar: mVC by the VSPW script compares a prediction with itself, so a base that is steadied by anything gains it. "
        "What SAM 2 adds over steadying must show in mIoU, mBIoU and mVC by Eq. 4.",
        "Majority gives all frames of a window one map: mVC by the script is 100 by construction and mIoU falls where things move. It is no bar. "
        "TrueRegions is what perfect regions would give; it does not bound what masks can do, because other masks can leave more pixels right.",
    ]
    for (method, backbone, what), gain in differences.items():
        if what == STEADIED:
            beyond = differences[method, backbone, BEYOND]
            notes.append(
                f"{method} {backbone}: the sliding vote alone changes "
                + ", ".join(f"{m} {signed(gain[m][0])}" for m in SAID)
                + "; SAM 2 minus the sliding vote: "
                + ", ".join(f"{m} {signed(beyond[m][0])} ({above(beyond[m])})" for m in SAID)
                + "."
            )
    return notes


def above(gain: Gain) -> str:
    """Say on which side of zero a whole interval lies."""
    said = verdict(gain)
    return {"holds": "above", "does not hold": "below"}.get(said, said)

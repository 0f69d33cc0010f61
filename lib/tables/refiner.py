"""Table 1: SAM 2 as refiner, with two controls of our own."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..clips.clip import Predictions
from ..config import VoteSettings
from ..intervals import signed
from ..metrics import ClipCounts
from ..refiner import refine_clip
from ..report.text import COLUMNS, OVER
from ..study.cache import content
from ..study.controls import per_pixel_majority, true_regions
from ..study.predictions import predictions_of
from ..study.scores import Labels, score
from ..study.segment import masklet_paths, read_masklets
from ..study.study import NotRun, Study
from .paper import read_paper_table
from .result import Gain, Result
from .rows import paired, record, setting_note, tidy, verdict

LABELS = {"base": "{}", "refined": "SAM2-{}", "majority": "Majority-{}", "regions": "TrueRegions-{}"}


def refiner_rows(
    study: Study, name: str, votes: VoteSettings = VoteSettings()
) -> dict[str, list[ClipCounts]]:
    """Score a base model before and after refinement, and the two controls.

    Returns:
        {"base", "refined", "majority", "regions"}: counts by clip.

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
    """Table 1: every row of the paper's table beside what was measured here, and the two controls for each
    base model.

    Returns: differences as `beside_paper` gives them.
    """
    printed = {
        (r.method, r.backbone): {m: getattr(r, m) for m in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")}
        for r in read_paper_table(1).itertuples()
    }
    table, not_run, differences = beside_paper(study, printed)
    return Result(
        f"Table 1 on {study.profile.title}",
        table,
        not_run,
        differences,
        make_notes=lambda: refiner_notes(study, differences),
        make_record=lambda: record(study),
    )


def beside_paper(
    study: Study, printed: Mapping[tuple[str, str], Mapping[str, float]]
) -> tuple[pd.DataFrame, dict, dict]:
    """Measure every base model of a study before and after refinement, and the two controls, beside
    printed rows.

    Args: printed: {(method, backbone): {metric: the paper's number}}, refined rows named `SAM2-<method>`.

    Returns:
        table: tidy, columns `COLUMNS` and `OVER`.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(method, backbone): {metric: (after - before, low, high)}}, paired over clips.
    """
    printed, lines, not_run, differences, reasons = dict(printed), [], {}, {}, {}
    for name, method, backbone in study.profile.models:
        try:
            rows = refiner_rows(study, name)
        except NotRun as reason:
            reasons[method, backbone] = str(reason)
            continue
        for kind, counts in rows.items():
            key = LABELS[kind].format(method), backbone
            lines += tidy(*key, "", counts, printed.pop(key, {}))
        differences[method, backbone] = paired(rows["refined"], rows["base"])
    for (method, backbone), paper in printed.items():
        lines += tidy(method, backbone, "", None, paper)
        base = method.removeprefix("SAM2-")
        why = reasons.get((base, backbone), f"the {study.profile.name} profile has no {base} {backbone}")
        not_run[method, backbone, ""] = why
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, differences


def refiner_notes(study: Study, differences: Mapping[tuple[str, str], Mapping[str, Gain]]) -> list[str]:
    """Say in words what the refiner changed here, whether that holds the paper's claim, and what the
    numbers are not."""
    notes = setting_note(study)
    for (method, backbone), gain in differences.items():
        said = []
        for metric in ("mIoU", "mBIoU", "mVC8", "mVC16"):
            said.append(f"{metric} {signed(gain[metric][0])} ({verdict(gain[metric])})")
        notes.append(
            f"The paper's claim that refinement raises every score, for {method} {backbone}: "
            + ", ".join(said)
            + "."
        )
    return notes

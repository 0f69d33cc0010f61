"""The rows of Tables 4 to 7: one setting of the masklets varied, all else at its default. The settings of all
four tables are segmented together."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as coco

from ..clips.clip import Predictions
from ..config import MaskletSettings
from ..metrics import ClipCounts
from ..report.text import COLUMNS, METRICS, OVER
from ..study.predictions import predictions_of
from ..study.scores import score
from ..study.segment import read_masklets, segment_clips
from ..study.study import NotRun, Study
from .paper import ABLATED_MODEL, apart, read_paper_table
from .refiner import LABELS, base_labels, refined_labels
from .result import Gain
from .rows import paired, tidy

DEFAULT = MaskletSettings()
PAPER_MODEL = ("cffm-b1", *ABLATED_MODEL)  # what the paper's ablations refine


@dataclass(frozen=True)
class Ablation:
    """One ablation of the paper."""

    table: int  # its number in the paper
    field: str  # of MaskletSettings
    label: str  # what a figure writes below its axis
    values: tuple[int | float, ...]

    def __post_init__(self):
        if self.field not in {f.name for f in fields(MaskletSettings)}:
            raise ValueError(f"Expected `field` to be one of MaskletSettings, but got {self.field!r}.")

    @property
    def settings(self) -> dict[str, MaskletSettings]:
        """{value as the paper prints it: setting}, in the paper's order."""
        return {str(value): replace(DEFAULT, **{self.field: value}) for value in self.values}

    @property
    def default(self) -> str:
        return str(getattr(DEFAULT, self.field))


ABLATIONS = {
    a.table: a
    for a in (
        Ablation(4, "window", "window, in frames", (1, 2, 4, 8, 10, 16, 32)),
        Ablation(5, "grid", "points per side of the grid", (8, 16, 32, 64)),
        Ablation(6, "iou", "threshold on the predicted IoU", (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        Ablation(7, "stability", "threshold on the stability", (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
    )
}


def ablation_of(number: int) -> Ablation:
    """Look an ablation up by the number of its table.

    Raises:
        ValueError: the paper's table of that number is no ablation.
    """
    if number not in ABLATIONS:
        raise ValueError(
            f"Expected `number` to be a table of ablations, {min(ABLATIONS)} to {max(ABLATIONS)}, but got {number!r}."
        )
    return ABLATIONS[number]


def ablation_settings() -> tuple[MaskletSettings, ...]:
    """List the distinct settings of all four tables, the default first: 23 printed rows, of which four are
    the default."""
    return tuple(dict.fromkeys([DEFAULT, *(s for a in ABLATIONS.values() for s in a.settings.values())]))


def ablation_clips(study: Study, clips: int = 0) -> Study:
    """The same study on the first clips that its ablations run on: `clips` of them, 0 for as many as its
    profile says."""
    return study.first(clips or study.profile.ablation_clips)


def _model(study: Study, model: str) -> tuple[str, str, dict[str, Predictions]]:
    """Choose what is refined, the paper's model before the profile's others unless one is named: its
    method, backbone and predictions."""
    names, reasons = {name: labels for name, *labels in study.profile.models}, []
    for name in [model] if model else sorted(names, key=lambda name: name != PAPER_MODEL[0]):
        try:
            return *names.get(name, (name, "")), predictions_of(study, name)
        except NotRun as reason:
            reasons.append(f"{name}: {reason}")
    raise NotRun("; ".join(reasons))


def _why_not(study: Study, model: str) -> str:
    """Say why the paper's own model was not refined."""
    name, method, backbone = PAPER_MODEL
    if PAPER_MODEL not in study.profile.models:
        return f"the {study.profile.name} profile has no {method} {backbone}"
    try:
        predictions_of(study, name)
    except NotRun as reason:
        return str(reason)
    return f"{model} was asked for"


def ablation_counts(
    study: Study, number: int, model: str = "", clips: int = 0
) -> dict[str, list[ClipCounts]]:
    """Score an ablation.

    Args:
        study: of the whole profile: the predictions of all its clips are cached together.
        number: of the paper's table, 4 to 7.
        model: the base model; "" for the paper's CFFM MiT-B1, or the profile's first model that can be run.
        clips: how many first clips; 0 for the profile's `ablation_clips`.

    Returns:
        {"base": counts by clip before refinement, "1": refined under the first value, ...}, values as the
        paper prints them.

    Raises:
        NotRun: the model, or every model of the profile, lacks its inputs.  ValueError: no ablation has that
            number.
    """
    return _counts(ablation_clips(study, clips), ablation_of(number).table, _model(study, model)[-1])


def _counts(study: Study, number: int, predictions: dict[str, Predictions]) -> dict[str, list[ClipCounts]]:
    """Score the base and each value on the clips of `study`."""
    labels = {
        "base": base_labels(predictions),
        **{value: refined_labels(predictions, files) for value, files in _files(study, number).items()},
    }
    return {kind: score(study, *of) for kind, of in labels.items()}


def _files(study: Study, number: int) -> dict[str, dict[str, Path]]:
    """Find the masklets of one ablation, {value: {clip: file}}; whichever of the four comes first segments
    for all, which shares their work."""
    files = segment_clips(study, ablation_settings())
    return {value: files[setting] for value, setting in ablation_of(number).settings.items()}


def ablation_lines(
    study: Study, number: int, model: str = "", clips: int = 0
) -> tuple[pd.DataFrame, dict, dict[tuple[str, str], dict[str, Gain]]]:
    """Measure the base and each value, beside the paper's numbers.

    The paper's numbers stand in the same rows if CFFM MiT-B1 is refined on the paper's data set, as there, and
    in rows of their own otherwise.

    Args: as for `ablation_counts`.

    Returns:
        table: tidy, columns `COLUMNS` and `OVER`; setting is the value as text, or "base". The paper's base is quoted
            from its Table 1.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(value, "default"): {metric: (change, low, high)}} for every value but the default
            itself, then {(value, "base"): ...} for every value; in points, paired over clips.

    Raises:
        NotRun: `model` was named and lacks its inputs.  ValueError: no ablation has that number.
    """
    default, printed, lines, not_run, differences = ablation_of(number).default, _printed(number), [], {}, {}
    try:
        method, backbone, predictions = _model(study, model)
    except NotRun:
        if model:  # whoever names one wants to hear; otherwise every row says why
            raise
    else:
        counts = _counts(ablation_clips(study, clips), number, predictions)
        for value, of_clips in counts.items():
            row = LABELS["base" if value == "base" else "refined"].format(method), backbone, value
            paper = printed.pop(row, {})
            if paper and not study.profile.of_paper:
                printed[apart(row)], paper = paper, {}
            lines += tidy(*row, of_clips, paper)
        base = counts.pop("base")
        differences = {(v, "default"): paired(c, counts[default]) for v, c in counts.items() if v != default}
        differences |= {(v, "base"): paired(c, base) for v, c in counts.items()}
    for row, paper in printed.items():
        lines += tidy(*row, None, paper)
        measured_too = row[2].endswith(apart(("", "", ""))[2])
        not_run[row] = "printed for VSPW, which this is not" if measured_too else _why_not(study, model)
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, differences


def _printed(number: int) -> dict[tuple[str, str, str], dict[str, float]]:
    """Read the paper's rows: {(method, backbone, setting): {metric: percent}}, and first the base model's,
    which stands in Table 1."""
    printed, (_, method, backbone) = read_paper_table(number), PAPER_MODEL
    metrics = [m for m in METRICS if m in printed]
    table = read_paper_table(1)
    base = table[(table["method"] == method) & (table["backbone"] == backbone)].iloc[0]
    rows = {(method, backbone, "base"): base[metrics].to_dict()}
    return rows | {
        (LABELS["refined"].format(method), backbone, r["setting"]): r[metrics].to_dict()
        for _, r in printed.iterrows()
    }


def masklet_density(study: Study, number: int, clips: int = 0) -> dict[str, tuple[float, float]]:
    """Say how many masklets each value gives: {value: (visible masklets per frame, percent of the pixels
    that lie in one)}, means over frames."""
    study, density = ablation_clips(study, clips), {}
    for value, files in _files(study, number).items():
        numbers = []
        for clip in study.dataset.clips:
            masklets = read_masklets(files[clip.name])
            for frame in masklets.frames:
                areas = coco.area(list(frame.rles)) if frame.rles else np.zeros(0)
                covered = int(coco.area(coco.merge(list(frame.rles)))) if frame.rles else 0
                numbers.append(
                    (np.count_nonzero(areas), 100 * covered / (masklets.size[0] * masklets.size[1]))
                )
        density[value] = tuple(np.mean(numbers, axis=0).tolist())
    return density

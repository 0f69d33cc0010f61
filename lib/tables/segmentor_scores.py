"""The rows of Table 3: which there are, what is measured for each, and which are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..clips.clip import Clip, Predictions
from ..config import ClassifierConfig, VoteSettings
from ..isam2 import paint_classes
from ..metrics import ClipCounts
from ..report.text import COLUMNS, OVER
from ..study.cache import content
from ..study.classifiers import Classes, predicted_classes, true_classes
from ..study.fitting import SAM, models_of
from ..study.predictions import predictions_of
from ..study.scores import score
from ..study.segment import masklet_paths, read_masklets
from ..study.study import NotRun, Study
from .paper import apart, read_paper_table
from .refiner import base_labels
from .result import Gain
from .rows import paired, tidy

I_SAM2, I_SAM2_BASE, BOUND = "I-SAM2", "I-SAM2_base", "TrueLabels-SAM2"
PAPER_FILL = "cffm-b1"  # what fills I-SAM2_base in the paper (Sec. 4.2)
PARTS = ("below", "trained", "encoder", "fill")  # what is compared: see `lib.tables.segmentor.CLAIMS`

Row = tuple[str, str]  # method, backbone
Difference = tuple[str, str, str]  # claim, what minus what, backbone


@dataclass(frozen=True)
class SegmentorSettings:
    """What Table 3 is made with, besides the masklets of the study."""

    # who wins an overlap; whether a masklet is classified per frame or once
    votes: VoteSettings = VoteSettings()
    classifier: ClassifierConfig = ClassifierConfig()
    # base model that fills I-SAM2_base; "": the paper's if the profile has it, else the profile's last
    fill: str = ""
    # base models whose encoders are tried; (): those of CFFM, as in the paper, or all if the profile has none
    models: tuple[str, ...] = ()


def fill_of(study: Study, fill: str = "") -> tuple[str, str, str]:
    """Choose the (name, method, backbone) of the base model that fills I-SAM2_base.

    Raises:
        ValueError: the profile has no such model.
    """
    models = {name: (name, method, backbone) for name, method, backbone in study.profile.models}
    if fill and fill not in models:
        raise ValueError(f"Expected `fill` to be one of {', '.join(models)}, but got {fill!r}.")
    return models[fill] if fill else models.get(PAPER_FILL, next(reversed(models.values())))


def segmentor_labels(study: Study, clip: Clip, settings: SegmentorSettings = SegmentorSettings()) -> dict:
    """Return the label maps of one clip for a picture, by frame: "I-SAM2", "I-SAM2_base", the base model
    that fills, "truth"; those without inputs are left out."""
    files = masklet_paths(study, (clip,))
    name, *words = fill_of(study, settings.fill)
    base = attempt(lambda: predictions_of(study, name)[clip.name])
    classes = attempt(lambda: classes_of(study.on((clip,)), SAM, files, settings)[clip.name])
    below = {I_SAM2: None, I_SAM2_BASE: base}
    painted = {
        row: list(paint_classes(read_masklets(files[clip.name]), classes, under, settings.votes))
        for row, under in below.items()
        if not isinstance(classes, NotRun) and not isinstance(under, NotRun)
    }
    return {**painted, **({} if isinstance(base, NotRun) else {" ".join(words): base}), "truth": clip.truth}


def segmentor_rows(
    study: Study, settings: SegmentorSettings = SegmentorSettings()
) -> tuple[dict[Row, list[ClipCounts]], dict[Row, str]]:
    """Score every row that has its inputs, and say why the others were not.

    Returns:
        counts by clip: each base model, I-<base>, I-<base>_base; then I-SAM2, I-SAM2_base and `BOUND`: the
            masklets of I-SAM2 with the class that the truth gives most of their pixels, nothing elsewhere,
            which a perfect classifier would reach.
        reasons: for the rows that were not run.
    """
    files, rows, reasons = masklet_paths(study), {}, {}
    fill = fill_of(study, settings.fill)[1:]
    models = dict.fromkeys([*models_of(study, settings.models), fill_of(study, settings.fill)])
    bases = {
        (method, backbone): attempt(lambda: predictions_of(study, name)) for name, method, backbone in models
    }
    for row, base in bases.items():
        if isinstance(base, NotRun):
            reasons[row] = str(base)
        else:
            rows[row] = score(study, *base_labels(base))
    sources = [
        (name, f"I-{method}", backbone, bases[method, backbone])
        for name, method, backbone in models_of(study, settings.models)
    ]
    for features, method, backbone, base in [*sources, (SAM, I_SAM2, "", bases[fill])]:
        classes = attempt(lambda: classes_of(study, features, files, settings))
        for row, below in (((method, backbone), None), ((f"{method}_base", backbone), base)):
            lacking = [reason for reason in (classes, below) if isinstance(reason, NotRun)]
            if lacking:
                reasons[row] = str(lacking[0])
            else:
                rows[row] = _score(study, files, classes, below, settings.votes)
    rows[BOUND, ""] = _score(study, files, true_classes(study, files), None, settings.votes)
    return rows, reasons


def segmentor_lines(
    study: Study, settings: SegmentorSettings = SegmentorSettings()
) -> tuple[pd.DataFrame, dict, dict[Difference, dict[str, Gain]]]:
    """Measure every row of the paper's table that can be, beside the paper's numbers, and the perfect
    classifier. Off the paper's data set, its numbers have rows of their own.

    Returns:
        table: tidy, columns `COLUMNS` and `OVER`.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(one of `PARTS`, "I-SAM2 minus <base>" and so on, backbone): {metric: (change, low,
            high)}}, paired over clips.
    """
    printed = {
        (r.method, r.backbone): {m: getattr(r, m) for m in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")}
        for r in read_paper_table(3).itertuples()
    }
    counts, reasons = segmentor_rows(study, settings)
    # of a model without any input no row is shown, unless the paper prints it
    models = {_model_behind(row) for row in counts}
    wanted = [
        row for row in _order(study, settings) if row in printed or _model_behind(row) in models or not row[1]
    ]
    lines, not_run = [], {}
    for row in [*wanted, *(row for row in printed if row not in wanted)]:
        together = study.profile.of_paper or row not in wanted
        lines += tidy(*row, "", counts.get(row), printed.get(row, {}) if together else {})
        if row not in counts:
            not_run[*row, ""] = (
                reasons.get(row) or f"the {study.profile.name} profile has no {' '.join(_model_behind(row))}"
            )
    for row in (row for row in printed if row in wanted and not study.profile.of_paper):
        lines += tidy(*apart((*row, "")), None, printed[row])
        not_run[apart((*row, ""))] = "printed for VSPW, which this is not"
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, _differences(study, settings, counts)


def attempt(work: Callable):
    """Do the work, or return why not."""
    try:
        return work()
    except NotRun as reason:
        return reason


def classes_of(
    study: Study, features: str, files: dict[str, Path], settings: SegmentorSettings
) -> dict[str, Classes]:
    """Return the classes of masklets by clip, from some features."""
    return predicted_classes(study, features, files, settings.classifier, settings.votes.scope)


def _score(
    study: Study,
    files: dict[str, Path],
    classes: dict[str, Classes],
    base: dict[str, Predictions] | None,
    votes: VoteSettings,
) -> list[ClipCounts]:
    """Score masklets painted with their classes."""

    def made_of(clip: Clip) -> str:
        below = content(base[clip.name]) if base else "nothing"
        return f"classes {[of_frame.tolist() for of_frame in classes[clip.name]]} {files[clip.name].name} {votes.overlap} over {below}"

    return score(
        study,
        lambda clip: paint_classes(
            read_masklets(files[clip.name]), classes[clip.name], base and base[clip.name], votes
        ),
        made_of,
    )


def _order(study: Study, settings: SegmentorSettings) -> list[Row]:
    """List the rows of the table in the order of the paper."""
    chosen = models_of(study, settings.models)
    models = [
        (prefix + method + suffix, backbone)
        for _, method, backbone in chosen
        for prefix, suffix in (("", ""), ("I-", ""), ("I-", "_base"))
    ]
    models += [fill_of(study, settings.fill)[1:]] * (fill_of(study, settings.fill) not in chosen)
    return [*models, (I_SAM2, ""), (I_SAM2_BASE, ""), (BOUND, "")]


def _model_behind(row: Row) -> Row:
    """Name the base model behind a row."""
    return row[0].removeprefix("I-").removesuffix("_base"), row[1]


def _differences(
    study: Study, settings: SegmentorSettings, counts: dict[Row, list[ClipCounts]]
) -> dict[Difference, dict[str, Gain]]:
    """Compare the rows that the paper compares, if both were measured, and I-SAM2 with the base model that
    fills it too."""
    fill = fill_of(study, settings.fill)
    pairs = [("fill", (I_SAM2_BASE, ""), (I_SAM2, ""))] + [("below", (I_SAM2, ""), fill[1:])] * (
        fill not in models_of(study, settings.models)
    )
    for _, method, backbone in models_of(study, settings.models):
        base, plain, filled = (method, backbone), (f"I-{method}", backbone), (f"I-{method}_base", backbone)
        pairs += [
            ("below", (I_SAM2, ""), base),
            ("trained", plain, base),
            ("encoder", plain, (I_SAM2, "")),
            ("fill", filled, plain),
        ]
    pairs.sort(key=lambda pair: PARTS.index(pair[0]))
    return {
        (claim, f"{a[0]} minus {b[0]}", a[1] or b[1]): paired(counts[a], counts[b])
        for claim, a, b in pairs
        if a in counts and b in counts
    }

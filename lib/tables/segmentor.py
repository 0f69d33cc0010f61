"""Table 3: SAM 2 as segmentor (I-SAM2), the same with the features of base models (I-<base>), and what a
perfect classifier would reach."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..clips.clip import Clip, Predictions
from ..config import ClassifierConfig, MaskletSettings, VoteSettings
from ..intervals import signed
from ..isam2 import coverage, paint_classes
from ..metrics import ClipCounts
from ..report.text import COLUMNS, OVER
from ..study.classifiers import SAM, Classes, classifier_of, models_of, predicted_classes, true_classes
from ..study.predictions import predictions_of
from ..study.scores import content, score
from ..study.segment import cut, read_masklets
from ..study.study import NotRun, Study
from .paper import read_paper_table
from .refiner import of_base
from .rows import Gain, paired, record, setting_note, tidy, verdict

I_SAM2, I_SAM2_BASE, BOUND = "I-SAM2", "I-SAM2_base", "TrueLabels-SAM2"
PAPER_FILL = "cffm-b1"  # what fills I-SAM2_base in the paper (Sec. 4.2)
CLAIMS = {  # what the paper says of these rows (Sec. 4.2), and which way a difference goes if it is so
    "below": ("I-SAM2 falls far below the base models", "falls"),
    "trained": (
        "classifying masklets costs even when the features are those of the trained base model",
        "falls",
    ),
    "encoder": ("features of a trained base model are better for it than those of SAM 2", "rises"),
    "fill": ("filling what masklets leave uncovered with a base model helps", "rises"),
}

Row = tuple[str, str]  # method, backbone
Difference = tuple[str, str, str]  # claim, what minus what, backbone


@dataclass(frozen=True)
class SegmentorSettings:
    """What Table 3 is made with."""

    masklets: MaskletSettings = MaskletSettings()
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
    """Make the label maps of one clip for a picture, by frame: "I-SAM2", "I-SAM2_base", the base model
    that fills, "truth"; those without inputs are left out."""
    files = cut(study, (settings.masklets,), (clip,))[settings.masklets]
    name, *words = fill_of(study, settings.fill)
    base = _attempt(lambda: predictions_of(study, name)[clip.name])
    classes = _attempt(
        lambda: _classes(replace(study, dataset=replace(study.dataset, clips=(clip,))), SAM, files, settings)[
            clip.name
        ]
    )
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
        counts by clip: each base model, I-<base>, I-<base>_base; then I-SAM2, I-SAM2_base and `BOUND`, the
            masklets of I-SAM2 with the class
        that the truth gives most of their pixels, nothing elsewhere: what a perfect classifier would reach.
        reasons: for the rows that were not run.
    """
    files, rows, reasons = cut(study, (settings.masklets,))[settings.masklets], {}, {}
    fill = fill_of(study, settings.fill)[1:]
    models = dict.fromkeys([*models_of(study, settings.models), fill_of(study, settings.fill)])
    bases = {
        (method, backbone): _attempt(lambda: predictions_of(study, name)) for name, method, backbone in models
    }
    for row, base in bases.items():
        if isinstance(base, NotRun):
            reasons[row] = str(base)
        else:
            rows[row] = score(study, *of_base(base))
    sources = [
        (name, f"I-{method}", backbone, bases[method, backbone])
        for name, method, backbone in models_of(study, settings.models)
    ]
    for features, method, backbone, base in [*sources, (SAM, I_SAM2, "", bases[fill])]:
        classes = _attempt(lambda: _classes(study, features, files, settings))
        for row, below in (((method, backbone), None), ((f"{method}_base", backbone), base)):
            lacking = [reason for reason in (classes, below) if isinstance(reason, NotRun)]
            if lacking:
                reasons[row] = str(lacking[0])
            else:
                rows[row] = _score(study, files, classes, below, settings.votes)
    rows[BOUND, ""] = _score(study, files, true_classes(study, files), None, settings.votes)
    return rows, reasons


def segmentor_table(
    study: Study, settings: SegmentorSettings = SegmentorSettings()
) -> tuple[pd.DataFrame, dict, dict]:
    """Table 3: every row of the paper's table beside what was measured here, and the perfect classifier.

    Returns:
        table: tidy, columns `COLUMNS` and `OVER`.
        not_run: {(method, backbone, setting): why} for rows without a measurement.
        differences: {(claim of `CLAIMS`, "I-SAM2 minus <base>" and so on, backbone): {metric: (change, low,
            high)}}, paired over clips.
    """
    printed = {
        (r.method, r.backbone): {m: getattr(r, m) for m in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")}
        for r in read_paper_table(3).itertuples()
    }
    counts, reasons = segmentor_rows(study, settings)
    # of a model without any input no row is shown, unless the paper prints it
    models = {_base_of(row) for row in counts}
    wanted = [
        row for row in _order(study, settings) if row in printed or _base_of(row) in models or not row[1]
    ]
    lines, not_run = [], {}
    for row in [*wanted, *(row for row in printed if row not in wanted)]:
        lines += tidy(*row, "", counts.get(row), printed.get(row, {}))
        if row not in counts:
            not_run[*row, ""] = (
                reasons.get(row) or f"the {study.profile.name} profile has no {' '.join(_base_of(row))}"
            )
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, _differences(study, settings, counts)


def segmentor_notes(
    study: Study, settings: SegmentorSettings, differences: dict[Difference, dict[str, Gain]]
) -> list[str]:
    """Say in words how good masks and classifiers are, what fills, and whether the paper's claims hold
    here."""
    name, method, backbone = fill_of(study, settings.fill)
    files = cut(study, (settings.masklets,))[settings.masklets]
    covered = np.average(
        [coverage(read_masklets(files[clip.name])) for clip in study.dataset.clips],
        weights=[len(clip) for clip in study.dataset.clips],
    )
    notes = setting_note(study, settings.masklets)
    notes.append(
        f"{I_SAM2_BASE} is filled by {method} {backbone}"
        + ("." if name == PAPER_FILL else "; by CFFM MiT-B1 in the paper.")
    )
    if study.profile.name != "vspw":
        notes.append(
            "Numbers of the paper were measured on VSPW, also where they stand beside a row of the same name."
        )
    notes.append(
        f"Masklets cover {100 * covered:.1f} % of the pixels. {BOUND} gives each the class that most of its pixels truly have: what lacks there is lost by "
        f"the masks, what {I_SAM2} lacks beyond it by the features and the classifier."
    )
    for features, label in [
        (SAM, "SAM 2"),
        *((n, f"{m} {b}") for n, m, b in models_of(study, settings.models)),
    ]:
        notes += _accuracy_note(study, settings, files, features, label)
    for (claim, difference, backbone), gain in differences.items():
        words, direction = CLAIMS[claim]
        said = ", ".join(
            f"{metric} {signed(gain[metric][0])} ({verdict(gain[metric], direction)})"
            for metric in ("mIoU", "mBIoU", "mVC8", "mVC16")
        )
        notes.append(
            f"The paper's claim that {words}, for {' '.join(filter(None, (difference, backbone)))}: {said}."
        )
    return notes


def segmentor_record(study: Study, settings: SegmentorSettings) -> dict:
    """Provenance of Table 3: that of every table, and the classifiers."""
    names = [SAM, *(name for name, *_ in models_of(study, settings.models))]
    files = [
        found[1]
        for name in names
        if not isinstance(found := _attempt(lambda: classifier_of(study, name, settings.classifier)), NotRun)
    ]
    choices = {
        "fill": fill_of(study, settings.fill)[0],
        "models": names[1:],
        **asdict(settings.votes),
        "classifier": asdict(settings.classifier),
    }
    return record(study, settings.masklets, files, choices)


def _attempt(work: Callable):
    """Do the work, or return why not."""
    try:
        return work()
    except NotRun as reason:
        return reason


def _classes(
    study: Study, features: str, files: dict[str, Path], settings: SegmentorSettings
) -> dict[str, Classes]:
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
        return f"classes {[found.tolist() for found in classes[clip.name]]} {files[clip.name].name} {votes.overlap} over {below}"

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


def _base_of(row: Row) -> Row:
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
    pairs.sort(key=lambda pair: list(CLAIMS).index(pair[0]))
    return {
        (claim, f"{a[0]} minus {b[0]}", a[1] or b[1]): paired(counts[a], counts[b])
        for claim, a, b in pairs
        if a in counts and b in counts
    }


def _accuracy_note(
    study: Study, settings: SegmentorSettings, files: dict[str, Path], features: str, label: str
) -> list[str]:
    """Say how often a classifier is right; nothing if there is none."""
    classes = _attempt(lambda: _classes(study, features, files, settings))
    if isinstance(classes, NotRun):
        return []
    flat = lambda by_clip: np.concatenate(
        [frame for clip in study.dataset.clips for frame in by_clip[clip.name]]
    )
    guess, truth = flat(classes), flat(true_classes(study, files))
    found, _ = classifier_of(study, features, settings.classifier)
    right = f"{100 * (guess == truth)[truth >= 0].mean():.1f}" if (truth >= 0).any() else "0.0"
    return [
        f"Classifier on features of {label}: right for {right} % of the masklets here, frame by frame, and for "
        f"{100 * float(found.about['val_accuracy']):.1f} % of the masks of {found.about['val_clips']} train clips held out; "
        f"fitted on {found.about['train_vectors']} masks, class balance {found.config.class_balance}."
    ]

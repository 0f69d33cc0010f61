"""Table 3: SAM 2 as segmentor (I-SAM2), the same with the features of base models (I-<base>), and what a
perfect classifier would reach."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..isam2 import coverage
from ..study.classifiers import classifier_of, true_classes
from ..study.fitting import SAM, models_of
from ..study.segment import masklet_paths, read_masklets
from ..study.study import NotRun, Study
from ..text import signed
from .result import Gain, Result
from .rows import SCORES, record, restart_note, seen_note, setting_note, verdict
from .segmentor_scores import (
    BOUND,
    I_SAM2,
    I_SAM2_BASE,
    PAPER_FILL,
    Difference,
    SegmentorSettings,
    attempt,
    classes_of,
    fill_of,
    segmentor_lines,
)

CLAIMS = {  # what the paper says of these rows (Sec. 4.2), and which way a difference goes if it is so
    "below": ("I-SAM2 falls below the base models", "falls"),  # "far" below: that is not judged
    "trained": (
        "classifying masklets costs even when the features are those of the trained base model",
        "falls",
    ),
    "encoder": ("features of a trained base model are better for it than those of SAM 2", "rises"),
    "fill": ("filling what masklets leave uncovered with a base model helps", "rises"),
}


def segmentor_table(study: Study, settings: SegmentorSettings = SegmentorSettings()) -> Result:
    """Table 3: every row of the paper's table beside what was measured here, and the perfect classifier.

    Returns: differences of {(claim of `CLAIMS`, "I-SAM2 minus <base>" and so on, backbone): {metric: (change,
        low, high)}}, paired over clips.
    """
    table, not_run, differences = segmentor_lines(study, settings)
    return Result(
        f"Table 3 on {study.title}",
        table,
        not_run,
        differences,
        ("claim", "difference", "backbone"),
        make_notes=lambda: segmentor_notes(study, settings, differences),
        make_record=lambda: segmentor_record(study, settings),
    )


def segmentor_notes(
    study: Study, settings: SegmentorSettings, differences: Mapping[Difference, Mapping[str, Gain]]
) -> list[str]:
    """Say in words how good masks and classifiers are, what fills, and whether the paper's claims hold
    here."""
    name, method, backbone = fill_of(study, settings.fill)
    files = masklet_paths(study)
    covered = np.average(
        [coverage(read_masklets(files[clip.name])) for clip in study.dataset.clips],
        weights=[len(clip) for clip in study.dataset.clips],
    )
    notes = [*setting_note(study), *seen_note(study), *restart_note(study)]
    notes.append(
        f"{I_SAM2_BASE} is filled by {method} {backbone}"
        + ("." if name == PAPER_FILL else "; by CFFM MiT-B1 in the paper.")
    )
    if not study.profile.of_paper:
        notes.append(
            "Numbers of the paper were measured on VSPW and stand in rows of their own; they do not compare with what was measured here."
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
        stopped = stopped_early(study.profile.why_stopped, claim, difference, backbone)
        said = ", ".join(
            f"{m} {signed(gain[m][0])}" + ("" if stopped else f" ({verdict(gain[m], direction)})")
            for m in SCORES
        )
        notes.append(
            f"The paper's claim that {words}, for {' '.join(filter(None, (difference, backbone)))}: {said}"
            + (f"; not judged, because {stopped}" if stopped else "")
            + "."
        )
    if any(claim == "below" for claim, *_ in differences):
        notes.append('The paper says "far" below. "Below" is judged, "far" is not; the change says how far.')
    return notes


def stopped_early(why_stopped: Callable[[str, str], str], claim: str, difference: str, backbone: str) -> str:
    """Say which base model of a difference was stopped early on purpose, and why; "" if none was, or where both
    sides share it."""
    model = difference.removeprefix("I-SAM2 minus ").partition(" minus ")[0].removeprefix("I-")
    why = why_stopped(model, backbone) if claim != "fill" else ""
    return f"{model} {backbone} was stopped early on purpose ({why})" if why else ""


def segmentor_record(study: Study, settings: SegmentorSettings) -> dict:
    """Provenance of Table 3: that of every table, and the classifiers."""
    names = [SAM, *(name for name, *_ in models_of(study, settings.models))]
    fitted = [attempt(lambda: classifier_of(study, name, settings.classifier)) for name in names]
    files = [made[1] for made in fitted if not isinstance(made, NotRun)]
    choices = {
        "fill": fill_of(study, settings.fill)[0],
        "models": names[1:],
        **asdict(settings.votes),
        "classifier": asdict(settings.classifier),
    }
    return record(study, files, choices)


def _accuracy_note(
    study: Study, settings: SegmentorSettings, files: dict[str, Path], features: str, label: str
) -> list[str]:
    """Say how often a classifier is right; nothing if there is none."""
    classes = attempt(lambda: classes_of(study, features, files, settings))
    if isinstance(classes, NotRun):
        return []
    flat = lambda by_clip: np.concatenate(
        [frame for clip in study.dataset.clips for frame in by_clip[clip.name]]
    )
    guess, truth = flat(classes), flat(true_classes(study, files))
    fitted, _ = classifier_of(study, features, settings.classifier)
    right = f"{100 * (guess == truth)[truth >= 0].mean():.1f}" if (truth >= 0).any() else "0.0"
    return [
        f"Classifier on features of {label}: right for {right} % of the masklets here, frame by frame, and for "
        f"{100 * float(fitted.about['val_accuracy']):.1f} % of the masks of {fitted.about['val_clips']} train clips held out; "
        f"fitted on {fitted.about['train_vectors']} masks, class balance {fitted.config.class_balance}."
    ]

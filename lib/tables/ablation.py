"""Tables 4 to 7: one setting of the masklets varied, all else at its default. The settings of all four
tables are cut together."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as coco

from ..clips.clip import Predictions
from ..config import MaskletSettings
from ..intervals import shown, signed
from ..metrics import ClipCounts
from ..report.text import COLUMNS, METRICS, OVER
from ..study.predictions import predictions_of
from ..study.scores import score
from ..study.segment import cut, read_masklets
from ..study.study import NotRun, Study
from .paper import ABLATED_MODEL, read_paper_table
from .refiner import LABELS, of_base, of_refined
from .rows import JUDGED_AS, MARGIN, Gain, no_verdict, paired, record, setting_note, tidy, verdict

DEFAULT = MaskletSettings()
PAPER_MODEL = ("cffm-b1", *ABLATED_MODEL)  # what the paper's ablations refine
JUDGED = ("mIoU", "mVC8", "mVC16")  # what the paper's words on the ablations speak of


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
        "base": of_base(predictions),
        **{value: of_refined(predictions, files) for value, files in _files(study, number).items()},
    }
    return {kind: score(study, *of) for kind, of in labels.items()}


def _files(study: Study, number: int) -> dict[str, dict[str, Path]]:
    """Find the masklets of one ablation, {value: {clip: file}}; whichever of the four comes first cuts for
    all, which shares their work."""
    files = cut(study, ablation_settings())
    return {value: files[setting] for value, setting in ablation_of(number).settings.items()}


def ablation_table(
    study: Study, number: int, model: str = "", clips: int = 0
) -> tuple[pd.DataFrame, dict, dict]:
    """Tables 4 to 7: a row for the base, one for each value, and the paper's beside them.

    The paper's numbers stand in the same rows if CFFM MiT-B1 is refined, as there, and in rows of their own
    if it is another model.

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
            lines += tidy(*row, of_clips, printed.pop(row, {}))
        base = counts.pop("base")
        differences = {(v, "default"): paired(c, counts[default]) for v, c in counts.items() if v != default}
        differences |= {(v, "base"): paired(c, base) for v, c in counts.items()}
    for row, paper in printed.items():
        lines += tidy(*row, None, paper)
        not_run[row] = _why_not(study, model)
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), not_run, differences


def _printed(number: int) -> dict[tuple[str, str, str], dict[str, float]]:
    """Read the paper's rows: {(method, backbone, setting): {metric: percent}}, and first the base model's,
    which stands in Table 1."""
    found, (_, method, backbone) = read_paper_table(number), PAPER_MODEL
    metrics = [m for m in METRICS if m in found]
    table = read_paper_table(1)
    base = table[(table["method"] == method) & (table["backbone"] == backbone)].iloc[0]
    rows = {(method, backbone, "base"): base[metrics].to_dict()}
    return rows | {
        (LABELS["refined"].format(method), backbone, r["setting"]): r[metrics].to_dict()
        for _, r in found.iterrows()
    }


def masklet_density(study: Study, number: int, clips: int = 0) -> dict[str, tuple[float, float]]:
    """Say how many masklets each value gives: {value: (visible masklets per frame, percent of the pixels
    that lie in one)}, means over frames."""
    study, found = ablation_clips(study, clips), {}
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
        found[value] = tuple(np.mean(numbers, axis=0).tolist())
    return found


def not_better(gains: dict[str, Gain]) -> str:
    """Judge the claim that another value is no better than the default, by its scores minus the default's:
    it gains next to nothing, or loses in one."""
    judged = [gains[m] for m in JUDGED]
    if why := next(filter(None, map(no_verdict, judged)), ""):
        return why
    if all(gain.high <= MARGIN for gain in judged) or any(gain.high < 0 for gain in judged):
        return "holds"
    return "does not hold" if any(gain.low > MARGIN for gain in judged) else "cannot be said"


def together(verdicts: list[str]) -> str:
    """Judge a claim that speaks of several values: it holds if it does for all, and fails if it does for
    one; of a value without a verdict, it says why there is none."""
    reasons = [verdict for verdict in verdicts if verdict not in JUDGED_AS]
    if reasons:
        return reasons[0]
    return next((v for v in ("does not hold", "cannot be said") if v in verdicts), "holds")


def ablation_claims(
    number: int, differences: dict[tuple[str, str], dict[str, Gain]]
) -> list[tuple[str, str, str]]:
    """What the paper says of the table, what was measured, and whether it holds: (claim, measured,
    verdict); nothing if nothing was run.

    Source: paper Sec. 4.1.2.
    """
    default = ablation_of(number).default
    against = {value: gains for (value, other), gains in differences.items() if other == "default"}
    by_value = lambda metric: ", ".join(
        f"{value}: {signed(gains[metric][0])}" for value, gains in against.items()
    )
    if not against:
        return []
    if number == 4:
        rise = {m: -against["1"][m] for m in ("mVC8", "mVC16")}
        alone = together([verdict(gains["mIoU"], "same") for gains in against.values()])
        return [
            *(
                (f"a longer window raises {m}", f"window {default} minus 1: {shown(gain)}", verdict(gain))
                for m, gain in rise.items()
            ),
            (
                f"the window leaves mIoU alone (within {MARGIN} points of window {default})",
                by_value("mIoU"),
                alone,
            ),
        ]
    if number == 5:
        same = f"the grid hardly matters: {{}} stays within {MARGIN} points of grid {default}"
        return [
            (same.format(m), by_value(m), together([verdict(gains[m], "same") for gains in against.values()]))
            for m in JUDGED
        ]
    balance = together([not_better(gains) for gains in against.values()])
    claim = f"{default} is a good balance: no other value gains more than {MARGIN} points in mIoU or mVC, unless it loses in another of them"
    return [(claim, "; ".join(f"{m} {by_value(m)}" for m in JUDGED), balance)]


def ablation_notes(
    study: Study, number: int, differences: dict[tuple[str, str], dict[str, Gain]], clips: int = 0
) -> list[str]:
    """Say in words what was varied on what, how many masklets that gives, and whether the paper's words
    hold here."""
    on, chosen = ablation_clips(study, clips), ablation_of(number)
    notes = setting_note(on, DEFAULT)
    notes.append(
        f"Each row changes one setting alone ({chosen.label}), on the first {len(on.dataset.clips)} of {len(study.dataset.clips)} clips."
    )
    if not differences:
        return notes
    density = masklet_density(study, number, clips)
    notes.append(
        "Masklets per frame (share of the frame in a masklet): "
        + ", ".join(f"{v}: {n:.1f} ({covered:.0f} %)" for v, (n, covered) in density.items())
        + "."
    )
    notes += [
        f"The paper's claim that {claim}: {said} ({judged})."
        for claim, said, judged in ablation_claims(number, differences)
    ]
    if number in (6, 7):
        masklets = [n for n, _ in density.values()]
        falls = all(after <= before for before, after in pairwise(masklets))
        seen = f"{masklets[0]:.1f} to {masklets[-1]:.1f} a frame ({'holds' if falls else 'does not hold'})"
        notes.append(f"The paper's claim that a higher threshold leaves fewer masklets: {seen}.")
    return notes


def ablation_record(study: Study, number: int, clips: int = 0) -> dict:
    """Provenance of an ablation: as of any table, with all its values and the number of its clips."""
    found, chosen = record(study, DEFAULT), ablation_of(number)
    varied = {chosen.field: list(chosen.values), "clips": len(ablation_clips(study, clips).dataset.clips)}
    return {**found, "parameters": {**found["parameters"], **varied}}

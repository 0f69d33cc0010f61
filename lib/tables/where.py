"""Where refinement helps and where it hurts: by class, by clip, by distance to the true boundary, and in
examples."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from ..boundary import EDGES_PX, accuracy
from ..clips.clip import Clip, Predictions
from ..intervals import MIN_CLIPS, class_intervals
from ..metrics import ClipCounts, left_out, per_class, per_clip
from ..refiner import refine_clip
from ..study.predictions import predictions_of
from ..study.scores import score, score_near_boundary
from ..study.segment import masklet_paths, masklets_of
from ..study.study import NotRun, Study
from .refiner import base_labels, refined_labels
from .rows import TOO_FEW

KINDS = ("base", "refined")
Counts = dict[str, dict[str, list]]  # {model: {"base", "refined": an entry per clip}}


@dataclass(frozen=True)
class Details:
    """What `lib.plots.gain_by_class`, `score_by_clip` and `accuracy_by_distance` draw; scores in percent,
    changes in points."""

    names: tuple[str, ...]  # of the base models, as `lib.segmentors.build` takes them
    by_class: pd.DataFrame  # model, class, share, clips, base, refined, change_low, change_high
    by_clip: pd.DataFrame  # model, clip, metric, base, refined
    by_distance: pd.DataFrame  # model, distance, share, then base, refined, change with _low and _high


def details(study: Study, models: Sequence[str] = ()) -> Details:
    """Measure where refinement changes a base model's predictions, and to what end.

    Args:
        models: names of base models; () for the profile's first and last that can be run.

    Raises:
        NotRun: a model that is named lacks its inputs.
    """
    labels = {name: f"{method} {backbone}" for name, method, backbone in study.profile.models}
    if models:
        predictions = {name: predictions_of(study, name) for name in models}
    else:  # the table says why others cannot be run
        predictions = {
            name: by_clip
            for names in (labels, reversed(labels))
            for name, by_clip in islice(_runnable(study, names), 1)
        }
    files = masklet_paths(study) if predictions else {}
    judged = [
        kind
        for of_model in predictions.values()
        for kind in (base_labels(of_model), refined_labels(of_model, files))
    ]
    counts, near = [score(study, *kind) for kind in judged], score_near_boundary(study, judged)
    by_model = lambda scores: {
        labels.get(name, name): dict(zip(KINDS, pair))
        for name, pair in zip(predictions, zip(scores[::2], scores[1::2]))
    }
    return Details(
        tuple(predictions),
        by_class(by_model(counts), study.dataset.classes),
        by_clip(by_model(counts)),
        by_distance(by_model(near)),
    )


def _runnable(study: Study, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Predictions]]]:
    """The base models that have their inputs, and their predictions by clip."""
    for name in names:
        with suppress(NotRun):
            yield name, predictions_of(study, name)


def by_class(counts: dict[str, dict[str, list[ClipCounts]]], classes: Sequence[str]) -> pd.DataFrame:
    """IoU of each class that the truth has, its share of the truth's pixels, the number of clips that show it,
    and the 95 % interval of its change (NaN where too few show it)."""
    lines = []
    for model, kinds in counts.items():
        iou = {kind: per_class(kinds[kind]) for kind in KINDS}
        change, short = class_intervals(kinds["refined"], kinds["base"]), left_out(kinds["base"])
        pixels = np.array([c.truth_px for c in kinds["base"] if c.name not in short])
        for c in np.flatnonzero(~np.isnan(iou["base"])):
            line = {"share": 100 * pixels[:, c].sum() / pixels.sum(), "clips": int((pixels[:, c] > 0).sum())}
            line |= {kind: iou[kind][c] for kind in KINDS}
            line |= {"change_low": change[c].low, "change_high": change[c].high}
            lines.append({"model": model, "class": classes[c], **line})
    columns = ["model", "class", "share", "clips", *KINDS, "change_low", "change_high"]
    return pd.DataFrame(lines, columns=columns)


def by_clip(
    counts: dict[str, dict[str, list[ClipCounts]]], metrics: Sequence[str] = ("mIoU", "mVC8")
) -> pd.DataFrame:
    """Scores of each clip alone; a clip that the protocol leaves out has none."""
    lines = []
    for model, kinds in counts.items():
        scores = {kind: per_clip(kinds[kind]) for kind in KINDS}
        lines += [
            {"model": model, "clip": clip, "metric": m, **{kind: scores[kind][clip][m] for kind in KINDS}}
            for clip in scores["base"]
            for m in metrics
        ]
    return pd.DataFrame(lines, columns=["model", "clip", "metric", *KINDS]).dropna()


def by_distance(near: dict[str, dict[str, list[np.ndarray]]]) -> pd.DataFrame:
    """Accuracy by distance to the true boundary in pixels, and its paired change, with 95 % intervals over
    clips; bins without a pixel are left out."""
    names = [f"{low}-{high}" for low, high in zip((0, *EDGES_PX), EDGES_PX)] + [f"{EDGES_PX[-1]}+"]
    lines = []
    for model, kinds in near.items():
        judged = np.sum([c[1] for c in kinds["base"]], axis=0)
        accuracies = {
            **{kind: accuracy(kinds[kind]) for kind in KINDS},
            "change": accuracy(kinds["refined"], other=kinds["base"]),
        }
        for b in np.flatnonzero(judged):
            values = {
                f"{kind}{end}": table[i, b]
                for kind, table in accuracies.items()
                for i, end in enumerate(("", "_low", "_high"))
            }
            lines.append(
                {"model": model, "distance": names[b], "share": 100 * judged[b] / judged.sum(), **values}
            )
    columns = [f"{kind}{end}" for kind in (*KINDS, "change") for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=["model", "distance", "share", *columns])


def examples(study: Study, measured: Details) -> list[tuple[str, Clip, int, dict]]:
    """Choose frames that show the refiner at its best, in the middle and at its worst, for
    `lib.plots.gallery`.

    Returns:
        The clips whose mIoU gains most, the median one and the one that gains least, under the first model of
        `measured`; of each the frame
        in which right pixels grow most, change most and shrink most: (label, clip, frame number, {"base",
            "refined", "truth"}).
    """
    if not measured.names:
        return []
    model = measured.by_clip["model"].iloc[0] if len(measured.by_clip) else None
    rows = measured.by_clip[(measured.by_clip["model"] == model) & (measured.by_clip["metric"] == "mIoU")]
    gain = (rows["refined"] - rows["base"]).set_axis(rows["clip"]).sort_values(ascending=False, kind="stable")
    picks = sorted({0, len(gain) // 2, len(gain) - 1}) if len(gain) else []
    clips, predictions = (
        {clip.name: clip for clip in study.dataset.clips},
        predictions_of(study, measured.names[0]),
    )
    chosen = []
    for place, (name, points) in zip(picks, gain.iloc[picks].items()):
        clip, base = clips[name], predictions[name]
        after = list(refine_clip(base, masklets_of(study, clip)))
        truths = [clip.truth(t) for t in range(len(clip))]
        grown = np.array(
            [
                np.count_nonzero(after[t] == truth) - np.count_nonzero(base[t] == truth)
                for t, truth in enumerate(truths)
            ]
        )
        t = int(np.argmax(grown if place == 0 else -grown if place == len(gain) - 1 else abs(grown)))
        chosen.append(
            (
                f"{name}, frame {t}\n{model}, clip mIoU {points:+.1f}",
                clip,
                t,
                {"base": base, "refined": after, "truth": truths},
            )
        )
    return chosen


def detail_notes(measured: Details) -> list[str]:
    """Say in words what the figures show."""
    notes = []
    for model, rows in measured.by_distance.groupby("model", sort=False):
        certain = {
            word: rows[mask]["distance"].tolist()
            for word, mask in (("rises", rows["change_low"] > 0), ("falls", rows["change_high"] < 0))
        }
        said = " and ".join(f"{word} at {', '.join(bins)} px" for word, bins in certain.items() if bins)
        by_class = measured.by_class[measured.by_class["model"] == model].set_index("class")
        gain = (by_class["refined"] - by_class["base"]).sort_values(kind="stable")
        scores = measured.by_clip[
            (measured.by_clip["model"] == model) & (measured.by_clip["metric"] == "mIoU")
        ]
        up = int((scores["refined"] > scores["base"]).sum())
        ends = [
            f"{name} {word} most ({change:+.1f})"
            for word, ranked in (("gains", gain[gain >= 0.05][::-1]), ("loses", gain[gain <= -0.05]))
            for name, change in ranked[:1].items()
        ]
        classes = f"; of the classes {' and '.join(ends)}" if ends else ""
        said = said or "changes at none for certain"
        if len(scores) < MIN_CLIPS:
            said = f"is not judged: {TOO_FEW} (n = {len(scores)})"
        notes.append(
            f"{model}: mIoU rises in {up} of {len(scores)} clips{classes}. By distance to the true boundary, accuracy "
            f"{said}."
        )
    return notes

"""Base models' predictions for a study's clips: the user's folders, else made here from weights and cached."""

import hashlib
import json
import os
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from .. import paths
from ..clips.clip import Clip, Predictions, Remembered, fingerprint
from ..clips.datasets import read_dataset
from ..clips.folders import read_predictions
from ..files import digest
from ..mini import stand_in as panoptic_stand_in
from .profiles import Profile
from .study import NotRun, Study, find_clip, is_small, log

CAMVID_TRAINING = {"steps": 1200, "seed": 0}  # of the base model, on the train split
PREDICT_VERSION = 1  # raise it when a base model's predictions change although weights and frames do not


def predictions_of(study: Study, name: str) -> dict[str, Predictions]:
    """A base model's predictions by clip: from the user's folder, else from our own weights, made now and
    cached.

    Looks in DATA/predictions/<profile>/<name> first, then for weights in
    DATA/<profile>/weights/<name>.safetensors or .pth; on `camvid` the model is trained on the train split
    when there are none. The panoptic stand-in is made of the weights of its base segmentor.

    Raises:
        NotRun: neither is there.
    """
    folder, n_classes = paths.DATA / "predictions" / study.profile.name / name, len(study.dataset.classes)
    if not (is_theirs := folder.is_dir()):
        base = name.removeprefix(panoptic_stand_in.PREFIX)
        try:
            weights = base_weights(study, base)
        except NotRun as reason:
            raise NotRun(f"no predictions in {shown(folder)} and {reason}") from None
        version = PREDICT_VERSION if base == name else panoptic_stand_in.version()
        key = hashlib.sha256(
            json.dumps([digest(weights), version, *map(fingerprint, study.dataset.clips)]).encode()
        ).hexdigest()[:16]
        folder = study.cache / "predictions" / f"{name}_{key}"
        # written last; without it, the frames that are missing are predicted
        done = folder.with_name(f"{folder.name}.done")
        if not (done.exists() and folder.is_dir()):
            with study.alone(f"predictions/{name}"):
                if not (done.exists() and folder.is_dir()):
                    _predict(study, name, base, weights, folder)
                    done.touch()
    if is_theirs or not is_small(study.dataset.clips):
        return {
            clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in study.dataset.clips
        }
    return _remembered(folder, study.dataset.clips, n_classes)


def _predict(study: Study, name: str, base: str, weights: Path, folder: Path) -> None:
    """Predict all clips by a base model, or by the panoptic stand-in made of it."""
    from .. import (
        sam,
        segmentors,  # torch only where it is needed
    )
    from ..segmentors import predict as semantic

    begun = time.perf_counter()
    predict = semantic.predict if base == name else panoptic_stand_in.predict
    predict(segmentors.load(base, weights).to(sam.default_device()), study.dataset, folder)
    study.clock(f"predict {name}", begun)


@lru_cache(maxsize=8)
def _remembered(folder: Path, clips: tuple[Clip, ...], n_classes: int) -> dict[str, Predictions]:
    """Read our own predictions, which never change, and keep them in memory."""
    found = {clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in clips}
    return {
        name: replace(predictions, read=Remembered(predictions.read)) for name, predictions in found.items()
    }


def base_weights(study: Study, name: str) -> Path:
    """Find a base model's weights, by `weights_file`; on `camvid` train them when there are none.

    Raises:
        NotRun: there are none, or `name` is a model that the library does not build.
    """
    if (weights := weights_file(study.profile, name)).exists():
        return weights
    from .. import segmentors  # torch only where it is needed

    if name not in segmentors.names():
        raise NotRun(f"{name} is no model that the library builds")
    if study.profile.name == "camvid":
        key = hashlib.sha256(str(study.root.resolve()).encode()).hexdigest()[:8]
        weights = study.cache / f"{name}_{key}.safetensors"
        with study.alone(name):
            if not weights.exists():
                _train_base(study, name, weights)
    if not weights.exists():
        raise NotRun(f"no weights {shown(weights)} (or .pth)")
    return weights


def weights_file(profile: Profile, name: str) -> Path:
    """Where a base model's weights are looked for: .safetensors, else a released .pth; those of the
    panoptic stand-in are its base segmentor's."""
    ours = profile.home / "weights" / f"{name.removeprefix(panoptic_stand_in.PREFIX)}.safetensors"
    released = ours.with_suffix(".pth")
    return released if released.exists() and not ours.exists() else ours


def example(study: Study, clip: str = "", model: str = "") -> tuple[Clip, str, Predictions]:
    """Choose a clip and a base model by name, by default the profile's example and its first model that
    can be run.

    Raises:
        ValueError: no such clip.  NotRun: the model, or every model of the profile, lacks its inputs.
    """
    chosen, reasons = find_clip(study, clip), []
    for name in [model] if model else [name for name, *_ in study.profile.models]:
        try:
            return chosen, name, predictions_of(study, name)[chosen.name]
        except NotRun as reason:
            reasons.append(f"{name}: {reason}")
    raise NotRun("; ".join(reasons))


def _train_base(study: Study, name: str, out: Path) -> None:
    from .. import sam
    from ..segmentors.train import default_config, train

    begun = time.perf_counter()
    log.warning(
        "no weights for %s: training it on the train split of %s, a quarter of an hour on two cores",
        name,
        study.root,
    )
    train(
        name,
        read_dataset(study.profile.dataset, study.root, "train"),
        out,
        default_config(name, **CAMVID_TRAINING),
        threads=os.cpu_count(),
        device=sam.default_device(),
    )
    study.clock(f"train {name}", begun)


def shown(path: Path) -> str:
    """A path as a reader of a report should see it: relative to the project."""
    for folder in (paths.EMBEDDED, paths.DATA):
        if path.is_relative_to(folder):
            return f"data/{path.relative_to(folder)}"
    return path.name

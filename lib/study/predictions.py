"""Base models' predictions for a study's clips: the user's folders, else made here from weights and cached."""

import os
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from .. import paths, sam, segmentors
from ..clips.clip import Clip, Predictions, Remembered, fingerprint
from ..clips.datasets import read_dataset
from ..clips.errors import DataMissingError
from ..clips.folders import read_predictions
from ..files import digest
from .cache import VERSIONS, content_of_frames, key
from .profiles import Profile
from .study import NotRun, Study, find_clip, is_small, log, read_train_split

TRAINING_SEED = 0  # of a base model that a profile trains itself


def predictions_of(study: Study, name: str) -> dict[str, Predictions]:
    """Return a base model's predictions by clip: from the user's folder, else from our own weights, made now
    and cached.

    Looks in DATA/predictions/<profile>/<name> first, then for weights in
    DATA/<profile>/weights/<name>.safetensors or .pth; a profile with `training_steps` trains the model when
    there are none. A panoptic model writes tubes in its authors' format, which is read as classes.

    Raises:
        NotRun: neither is there.
    """
    theirs, n_classes = paths.DATA / "predictions" / study.profile.name / name, len(study.dataset.classes)
    folder = theirs if theirs.is_dir() else _predicted(study, name, theirs)
    if folder == theirs or not is_small(study.dataset.clips):
        return {
            clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in study.dataset.clips
        }
    return _remembered(folder, study.dataset.clips, n_classes)


def _predicted(study: Study, name: str, theirs: Path) -> Path:
    """Return the folder in the cache with our own predictions; predict what is missing."""
    try:
        weights = base_weights(study, name)
    except NotRun as reason:
        raise NotRun(f"no predictions in {path_text(theirs)} and {reason}") from None
    version = VERSIONS["predictions"]
    made_of = key(digest(weights), version, *map(fingerprint, study.dataset.clips))
    folder = study.cache / "predictions" / f"{name}_{made_of}"
    # written last; without it, the frames that are missing are predicted
    done = folder.with_name(f"{folder.name}.done")
    is_done = lambda: done.exists() and folder.is_dir()
    if not is_done():
        with study.locked(f"predictions/{name}"):
            if not is_done():
                _predict(study, name, weights, folder)
                done.touch()
    return folder


def _predict(study: Study, name: str, weights: Path, folder: Path) -> None:
    """Predict all clips by a base model."""
    from ..segmentors.panoptic import predict as panoptic

    begun = time.perf_counter()
    predict = panoptic.predict if name in segmentors.panoptic.names() else segmentors.predict.predict
    predict(segmentors.load(name, weights).to(sam.default_device()), study.dataset, folder)
    study.clock(f"predict {name}", begun)


@lru_cache(maxsize=8)
def _remembered(folder: Path, clips: tuple[Clip, ...], n_classes: int) -> dict[str, Predictions]:
    """Read our own predictions, which never change, and keep them in memory."""
    by_clip = {clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in clips}
    return {
        name: replace(predictions, read=Remembered(predictions.read)) for name, predictions in by_clip.items()
    }


def base_weights(study: Study, name: str) -> Path:
    """Find a base model's weights, by `weights_file`; a profile with `training_steps` trains them when there
    are none.

    Raises:
        NotRun: there are none, or `name` is a model that the library does not build.
    """
    if (weights := weights_file(study.profile, name)).exists():
        return weights
    if name not in segmentors.names():
        raise NotRun(f"{name} is no model that the library builds")
    if study.profile.training_steps:
        made_of = VERSIONS["training"], _train_content(study), study.profile.training_steps, TRAINING_SEED
        weights = study.cache / f"{name}_{key(*made_of)}.safetensors"
        with study.locked(name):
            if not weights.exists():
                _train_base(study, name, weights)
    if not weights.exists():
        raise NotRun(f"no weights {path_text(weights)} (or .pth)")
    return weights


def _train_content(study: Study) -> str:
    """Name the frames and labels of the train split by content; read once per process."""
    try:
        clips = read_train_split(study.profile.dataset, study.root).clips
    except DataMissingError as error:
        raise NotRun(f"no train split to train on: {error}") from None
    return content_of_frames([(clip, range(len(clip))) for clip in clips])


def weights_file(profile: Profile, name: str) -> Path:
    """Return where a base model's weights are looked for: .safetensors, else a released .pth."""
    ours = profile.home / "weights" / f"{name}.safetensors"
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
    """Train a base model on the profile's train split."""
    begun = time.perf_counter()
    log.warning(
        "no weights for %s: training it on the train split of %s, a quarter of an hour on two cores",
        name,
        study.root,
    )
    train = read_dataset(study.profile.dataset, study.root, "train")
    steps = study.profile.training_steps
    config = segmentors.train.default_config(name, steps=steps, seed=TRAINING_SEED)
    segmentors.train.train(name, train, out, config, threads=os.cpu_count(), device=sam.default_device())
    study.clock(f"train {name}", begun)


def path_text(path: Path) -> str:
    """Return a path as a reader of a report should see it: relative to the project."""
    for folder in (paths.EMBEDDED, paths.DATA):
        if path.is_relative_to(folder):
            return f"data/{path.relative_to(folder)}"
    return path.name

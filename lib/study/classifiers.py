"""The classifiers of a study: found or fitted, and applied to its masklets.

classifier_of(study, "sam")                            # from data/<profile>/weights, else fitted now and
                                                       # cached
predicted_classes(study, "sam", files)                 # {clip: classes of its masklets, by frame}
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import classifier as mlp
from .. import isam2
from ..clips.clip import Clip
from ..config import ClassifierConfig
from ..files import digest
from ..sam.checkpoints import weights_of
from .cache import VERSIONS, content, content_of_frames, key
from .fitting import SAM, encoder_of, encoder_weights, encoders, fit, train_frames
from .predictions import path_text
from .segment import read_masklets
from .study import NotRun, Study

log = logging.getLogger(__name__)
Classes = list[np.ndarray]  # for each frame (N,) int64, -1 for none


def weights_file(study: Study, name: str) -> Path:
    """Where a profile keeps the classifier of some features."""
    return study.profile.home / "weights" / f"isam2-{name}.safetensors"


def classifier_of(
    study: Study, name: str, config: ClassifierConfig = ClassifierConfig()
) -> tuple[mlp.Classifier, Path]:
    """Find a classifier and its file: that of `weights_file` if it was fitted under `config`, else one
    fitted now and cached.

    Raises:
        NotRun: its file belongs to other weights of SAM 2 or of the base model; or there is none, and no
            train split to fit one on.
    """
    path, now = weights_file(study, name), _digests(study, name)
    if path.exists() and (fitted := mlp.load(path)).config == config:
        if differing := [what for what, value in now.items() if fitted.about.get(what) != value]:
            whose = "SAM 2" if "masks_digest" in differing or name == SAM else name
            raise NotRun(
                f"{path_text(path)} was fitted with other weights of {whose} than those used here; fit it again: "
                f"python -m lib fit --profile {study.profile.name} --features {name}"
            )
        if fitted.n_classes != len(study.dataset.classes):
            raise NotRun(
                f"{path_text(path)} knows {fitted.n_classes} classes, but {study.dataset.name} has {len(study.dataset.classes)}"
            )
        return fitted, path
    cached = _cache_file(study, name, config)
    if not cached.exists():
        with study.locked("classifiers"):
            _fit_missing(study, name, config)
    return mlp.load(cached), cached


def _fit_missing(study: Study, name: str, config: ClassifierConfig) -> None:
    """Fit a classifier and those that Table 3 asks for beside it, together, as most of the time goes into
    proposing masks; what is there is left."""
    path = weights_file(study, name)
    lacking = [
        n
        for n in dict.fromkeys([*encoders(study), name])
        if not _cache_file(study, n, config).exists() and (n == name or not weights_file(study, n).exists())
    ]
    if name not in lacking:
        return
    why = f"{path_text(path)} was fitted otherwise" if path.exists() else f"there is no {path_text(path)}"
    log.warning("%s: fitting on the train split, with features of %s", why, ", ".join(lacking))
    for other, fitted in fit(study, lacking, config).items():
        fitted.save(_cache_file(study, other, config))


def predicted_classes(
    study: Study,
    name: str,
    files: dict[str, Path],
    config: ClassifierConfig = ClassifierConfig(),
    scope: str = "frame",
) -> dict[str, Classes]:
    """Return the classes of the masklets in `files` (by clip) of every clip, cached.

    Args: name: the features, as for `fit`; scope: as for `lib.isam2.classify`.
    Raises: NotRun as `classifier_of`.
    """
    fitted, path = classifier_of(study, name, config)
    encoder = lru_cache(lambda: encoder_of(study, name))
    work = lambda clip, masklets: isam2.classify(encoder(), fitted, clip, masklets, scope)
    return {
        clip.name: _cached_classes(study, clip, files[clip.name], f"{digest(path)} {scope}", work)
        for clip in study.dataset.clips
    }


def true_classes(study: Study, files: dict[str, Path]) -> dict[str, Classes]:
    """Return the class that the truth gives most pixels of each masklet in `files`, cached."""
    return {
        clip.name: _cached_classes(
            study, clip, files[clip.name], f"truth {content(clip)}", isam2.true_classes
        )
        for clip in study.dataset.clips
    }


def _cached_classes(study: Study, clip: Clip, file: Path, what: str, work: Callable) -> Classes:
    """Return work(clip, masklets), cached; `file` holds the masklets, and its name depends on the frames."""
    classes = study.cached(
        "classes",
        [VERSIONS["classes"], file.name, what],
        lambda: [of_frame.tolist() for of_frame in work(clip, read_masklets(file))],
        "encode and classify",
    )
    return [np.array(of_frame, np.int64) for of_frame in classes]


def _cache_file(study: Study, name: str, config: ClassifierConfig) -> Path:
    """Where the cache keeps a classifier."""
    train = content_of_frames(train_frames(study))
    made_of = key(VERSIONS["classifiers"], _digests(study, name), repr(config), train)
    return study.cache / "isam2" / f"isam2-{name}_{made_of}.safetensors"


def _digests(study: Study, name: str) -> dict[str, str]:
    """What a classifier must have been fitted with to be of use here."""
    return {
        "features_digest": digest(encoder_weights(study, name)),
        "masks_digest": digest(weights_of(study.checkpoint)),
    }

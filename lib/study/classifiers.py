"""The classifiers of a study: fit them, find them, apply them. The work behind `python -m lib fit`.

fit(study, ["sam"])                                    # data/<profile>/weights/isam2-sam.safetensors and
.csv classifier_of(study, "sam")                            # from there, else fitted now and kept in the
cache predicted_classes(study, "sam", files)                 # {clip: classes of its masklets, by frame}
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import isam2
from ..clips.clip import Clip, Dataset
from ..clips.datasets import read_dataset
from ..clips.errors import DataMissingError
from ..config import ClassifierConfig
from ..files import digest, read_arrays, write_arrays
from ..mini.vspw import CLIPS, write_split
from ..progress import progress
from ..sam.checkpoints import weights_of
from .predictions import base_weights, shown
from .scores import content
from .segment import load_cached_sam, read_masklets
from .study import NotRun, Study

if TYPE_CHECKING:
    from ..classifier import Classifier

log = logging.getLogger(__name__)
SAM = "sam"  # the features of SAM 2's own image encoder; other features go by the base model's name
PAPER_METHOD = "CFFM"  # whose encoders the paper tries (Table 3)
FRAMES = 3  # of each train clip
VERSION = 1  # raise it when vectors change although weights and frames do not

Classes = list[np.ndarray]  # for each frame (N,) int64, -1 for none


def train_split(study: Study) -> Dataset:
    """Read the profile's train split; that of mini is drawn when it is needed.

    Raises:
        NotRun: there is none.
    """
    root = study.root
    if study.profile.name == "mini" and not (root / "train.txt").exists():
        root = study.cache.parent / "mini_train"
        if not (root / "train.txt").exists():
            log.warning("drawing the train split of mini, some minutes")
            write_split(root, "train", *CLIPS["train"])
    try:
        return read_dataset(study.profile.dataset, root, "train")
    except DataMissingError as error:
        raise NotRun(f"no train split to fit on: {error}") from None


def fit(
    study: Study,
    names: Sequence[str],
    config: ClassifierConfig = ClassifierConfig(),
    clips: int | None = None,
    frames: int = FRAMES,
) -> dict[str, "Classifier"]:
    """Fit a classifier for each kind of features on masks that SAM 2 proposes on train frames, in one pass
    over them.

    Args:
        names: `SAM`, or names of base models.
        clips: of the train split, evenly chosen; 0 for all; None for as many as the profile says.
        frames: of each clip.

    Raises:
        NotRun: no train split, or no weights of a base model.
    """
    from .. import classifier as mlp  # torch only where it is needed

    begun = time.perf_counter()
    weights = {name: _weights(study, name) for name in names}
    chosen = isam2.spread(train_split(study), study.profile.fit_clips if clips is None else clips, frames)
    frame_digest = hashlib.sha256(
        "".join(_frames_digest(clip, tuple(at)) for clip, at in chosen).encode()
    ).hexdigest()[:16]
    masks_digest = digest(weights_of(study.checkpoint))
    files = {}
    for name in names:
        key = hashlib.sha256(
            json.dumps([VERSION, masks_digest, digest(weights[name]), frame_digest]).encode()
        ).hexdigest()[:16]
        files[name] = study.cache / "isam2" / f"vectors_{name}_{key}.npz"
    missing = [name for name in names if not files[name].exists()]
    if missing:
        log.info(
            "vectors of %s from %d frames of %d clips",
            ", ".join(missing),
            sum(len(at) for _, at in chosen),
            len(chosen),
        )
        bar = progress(chosen, desc="vectors", total=len(chosen), unit="clip")
        from .features import proposals

        samples = isam2.gather(
            [_encoder(study, name) for name in missing], bar, proposals(load_cached_sam(study.checkpoint))
        )
        for name in missing:
            write_arrays(
                files[name], vectors=samples.vectors[name], labels=samples.labels, clips=samples.clips
            )
    fitted = {}
    for name in names:
        saved = read_arrays(files[name])
        found = mlp.fit(saved["vectors"], saved["labels"], saved["clips"], len(study.dataset.classes), config)
        about = {
            "features": name,
            "features_digest": digest(weights[name]),
            "masks_digest": masks_digest,
            "frames_digest": frame_digest,
            "dataset": study.dataset.name,
            **found.about,
        }
        fitted[name] = replace(found, about=about)
        log.info(
            "classifier of %s: %s masks of %s clips; right for %.1f %% there and %.1f %% on %s clips held out",
            name,
            about["train_vectors"],
            int(about["clips"]) - int(about["val_clips"]),
            100 * float(about["train_accuracy"]),
            100 * float(about["val_accuracy"]),
            about["val_clips"],
        )
    study.clock("fit classifiers", begun)
    return fitted


def models_of(study: Study, models: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    """Choose the (name, method, backbone) of the base models whose encoders are tried.

    Raises:
        ValueError: the profile has no such model.
    """
    known = {name: (name, method, backbone) for name, method, backbone in study.profile.models}
    if unknown := [name for name in models if name not in known]:
        raise ValueError(f"Expected `models` to be among {', '.join(known)}, but got {', '.join(unknown)}.")
    chosen = [known[name] for name in models] or [
        model for model in known.values() if model[1] == PAPER_METHOD
    ]
    return chosen or list(known.values())


def encoders(study: Study) -> list[str]:
    """Name the features that Table 3 asks for: `SAM`, and of `models_of` those whose weights are there."""
    names = [SAM]
    for name, *_ in models_of(study):
        try:
            base_weights(study, name)
            names.append(name)
        except NotRun:
            continue
    return names


def weights_file(study: Study, name: str) -> Path:
    """Where a profile keeps the classifier of some features."""
    return study.profile.home / "weights" / f"isam2-{name}.safetensors"


def classifier_of(
    study: Study, name: str, config: ClassifierConfig = ClassifierConfig()
) -> tuple["Classifier", Path]:
    """Find a classifier and its file: that of `weights_file` if it was fitted under `config`, else one
    fitted now and kept in the cache.

    Raises:
        NotRun: its file belongs to other weights of SAM 2 or of the base model; or there is none, and no
            train split to fit one on.
    """
    from .. import classifier as mlp

    path, now = weights_file(study, name), _digests(study, name)
    if path.exists() and (found := mlp.load(path)).config == config:
        if differing := [what for what, value in now.items() if found.about.get(what) != value]:
            whose = "SAM 2" if "masks_digest" in differing or name == SAM else name
            raise NotRun(
                f"{shown(path)} was fitted with other weights of {whose} than those used here; fit it again: "
                f"python -m lib fit --profile {study.profile.name} --features {name}"
            )
        if found.n_classes != len(study.dataset.classes):
            raise NotRun(
                f"{shown(path)} knows {found.n_classes} classes, but {study.dataset.name} has {len(study.dataset.classes)}"
            )
        return found, path
    cached = _cached(study, name, config)
    if not cached.exists():
        with study.alone("classifiers"):
            _fit_missing(study, name, config)
    return mlp.load(cached), cached


def _fit_missing(study: Study, name: str, config: ClassifierConfig) -> None:
    """Fit a classifier and those that Table 3 asks for beside it, together, as most of the time goes into
    proposing masks; what is there is left."""
    path = weights_file(study, name)
    lacking = [
        n
        for n in dict.fromkeys([*encoders(study), name])
        if not _cached(study, n, config).exists() and (n == name or not weights_file(study, n).exists())
    ]
    if name not in lacking:
        return
    why = f"{shown(path)} was fitted otherwise" if path.exists() else f"there is no {shown(path)}"
    log.warning("%s: fitting on the train split, with features of %s", why, ", ".join(lacking))
    for other, fitted in fit(study, lacking, config).items():
        fitted.save(_cached(study, other, config))


def predicted_classes(
    study: Study,
    name: str,
    files: dict[str, Path],
    config: ClassifierConfig = ClassifierConfig(),
    scope: str = "frame",
) -> dict[str, Classes]:
    """Classify the masklets in `files` (by clip) of every clip, or find that in the cache.

    Args: name: the features, as for `fit`; scope: as for `lib.isam2.classify`.
    Raises: NotRun as `classifier_of`.
    """
    found, path = classifier_of(study, name, config)
    encoder = lru_cache(lambda: _encoder(study, name))
    work = lambda clip, masklets: isam2.classify(encoder(), found, clip, masklets, scope)
    return {
        clip.name: _kept(study, clip, files[clip.name], f"{digest(path)} {scope}", work)
        for clip in study.dataset.clips
    }


def true_classes(study: Study, files: dict[str, Path]) -> dict[str, Classes]:
    """The class that the truth gives most pixels of each masklet in `files`, or find that in the cache."""
    return {
        clip.name: _kept(study, clip, files[clip.name], f"truth {content(clip)}", isam2.true_classes)
        for clip in study.dataset.clips
    }


def _kept(study: Study, clip: Clip, file: Path, what: str, work: Callable) -> Classes:
    """Do work(clip, masklets) once and keep the classes in the cache; `file` holds the masklets, and its
    name depends on the frames."""
    classes = study.kept(
        "classes",
        [VERSION, file.name, what],
        lambda: [found.tolist() for found in work(clip, read_masklets(file))],
        "encode and classify",
    )
    return [np.array(found, np.int64) for found in classes]


def _cached(study: Study, name: str, config: ClassifierConfig) -> Path:
    """Where the cache keeps a classifier."""
    key = json.dumps(
        [VERSION, _digests(study, name), repr(config), str(study.root.resolve()), study.profile.fit_clips]
    )
    return study.cache / "isam2" / f"isam2-{name}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"


def _digests(study: Study, name: str) -> dict[str, str]:
    """What a classifier must have been fitted with to be of use here."""
    return {
        "features_digest": digest(_weights(study, name)),
        "masks_digest": digest(weights_of(study.checkpoint)),
    }


def _weights(study: Study, name: str) -> Path:
    """Find the weights of an encoder."""
    return weights_of(study.checkpoint) if name == SAM else base_weights(study, name)


def _encoder(study: Study, name: str) -> isam2.Encoder:
    """Load an encoder."""
    from . import features as encoders

    return (
        encoders.of_sam(study.checkpoint, load_cached_sam(study.checkpoint))
        if name == SAM
        else encoders.of_base(name, base_weights(study, name))
    )


@cache
def _frames_digest(clip: Clip, frames: tuple[int, ...]) -> str:
    """Name some frames of a clip and their labels by content; read once per process."""
    found = hashlib.sha256(json.dumps([clip.name, [clip.frames[t] for t in frames]]).encode())
    for t in frames:
        found.update(np.ascontiguousarray(clip.image(t)))
        found.update(np.ascontiguousarray(clip.truth(t)))
    return found.hexdigest()

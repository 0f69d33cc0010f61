"""Fitting the classifiers of a study on its train split: the work behind `python -m lib fit`.

fit(study, ["sam"])          # {"sam": a classifier on features of SAM 2's own image encoder}
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import classifier as mlp
from .. import isam2
from ..clips.clip import Dataset
from ..clips.errors import DataMissingError
from ..config import ClassifierConfig
from ..files import digest, read_arrays, write_arrays
from ..mini.vspw import CLIPS, write_split
from ..progress import progress
from ..sam.checkpoints import weights_of
from . import features
from .cache import VERSIONS, content_of_frames, key
from .predictions import base_weights
from .samples import gather, spread
from .segment import load_cached_sam
from .study import NotRun, Study, read_train_split

log = logging.getLogger(__name__)
SAM = "sam"  # the features of SAM 2's own image encoder; other features go by the base model's name
PAPER_METHOD = "CFFM"  # whose encoders the paper tries (Table 3)
FRAMES = 3  # of each train clip


def train_split(study: Study) -> Dataset:
    """Read the profile's train split; a profile that draws it does so now, if it is not there.

    Raises:
        NotRun: there is none.
    """
    root = study.root
    if study.profile.draws_train and not (root / "train.txt").exists():
        root = study.cache.parent / f"{study.profile.name}_train"
        if not (root / "train.txt").exists():
            log.warning("drawing the train split of %s, some minutes", study.profile.name)
            write_split(root, "train", *CLIPS["train"])
    try:
        return read_train_split(study.profile.dataset, root)
    except DataMissingError as error:
        raise NotRun(f"no train split to fit on: {error}") from None


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


def train_frames(study: Study, clips: int | None = None, frames: int = FRAMES) -> list:
    """Choose the clips and frames that classifiers are fitted on; arguments and errors as of `fit`."""
    return spread(train_split(study), study.profile.fit_clips if clips is None else clips, frames)


def fit(
    study: Study,
    names: Sequence[str],
    config: ClassifierConfig = ClassifierConfig(),
    clips: int | None = None,
    frames: int = FRAMES,
) -> dict[str, mlp.Classifier]:
    """Fit a classifier for each kind of features on masks that SAM 2 proposes on train frames, in one pass
    over them.

    Args:
        names: `SAM`, or names of base models.
        clips: of the train split, evenly chosen; 0 for all; None for as many as the profile says.
        frames: of each clip.

    Raises:
        NotRun: no train split, or no weights of a base model.
    """
    begun = time.perf_counter()
    weights = {name: encoder_weights(study, name) for name in names}
    chosen = train_frames(study, clips, frames)
    digests = {
        "masks_digest": digest(weights_of(study.checkpoint)),
        "frames_digest": content_of_frames(chosen),
    }
    vectors = _vectors(study, weights, chosen, *digests.values())
    fitted = {}
    for name in names:
        saved = read_arrays(vectors[name])
        made = mlp.fit(saved["vectors"], saved["labels"], saved["clips"], len(study.dataset.classes), config)
        about = {"features": name, "features_digest": digest(weights[name]), **digests}
        fitted[name] = replace(made, about={**about, "dataset": study.dataset.name, **made.about})
        _log_fitted(name, fitted[name].about)
    study.clock("fit classifiers", begun)
    return fitted


def _vectors(
    study: Study, weights: dict[str, Path], chosen: list, masks_digest: str, frames_digest: str
) -> dict[str, Path]:
    """Return the files of vectors of the masks on the chosen frames, {features: file}; encode what is not
    cached, in one pass."""
    files = {}
    for name, path in weights.items():
        made_of = key(VERSIONS["vectors"], masks_digest, digest(path), frames_digest)
        files[name] = study.cache / "isam2" / f"vectors_{name}_{made_of}.npz"
    missing = [name for name in files if not files[name].exists()]
    if missing:
        n_frames = sum(len(at) for _, at in chosen)
        log.info("vectors of %s from %d frames of %d clips", ", ".join(missing), n_frames, len(chosen))
        bar = progress(chosen, desc="vectors", total=len(chosen), unit="clip")
        propose = features.proposals(load_cached_sam(study.checkpoint))
        samples = gather([encoder_of(study, name) for name in missing], bar, propose)
        for name in missing:
            write_arrays(
                files[name], vectors=samples.vectors[name], labels=samples.labels, clips=samples.clips
            )
    return files


def _log_fitted(name: str, about: dict[str, str]) -> None:
    log.info(
        "classifier of %s: %s masks of %s clips; right for %.1f %% there and %.1f %% on %s clips held out",
        name,
        about["train_vectors"],
        int(about["clips"]) - int(about["val_clips"]),
        100 * float(about["train_accuracy"]),
        100 * float(about["val_accuracy"]),
        about["val_clips"],
    )


def encoder_weights(study: Study, name: str) -> Path:
    """Find the weights of an encoder.

    Raises: NotRun as `base_weights`.
    """
    return weights_of(study.checkpoint) if name == SAM else base_weights(study, name)


def encoder_of(study: Study, name: str) -> isam2.Encoder:
    """Load an encoder."""
    if name == SAM:
        return features.of_sam(study.checkpoint, load_cached_sam(study.checkpoint))
    return features.of_base(name, base_weights(study, name))

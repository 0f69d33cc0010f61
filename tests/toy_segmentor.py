"""A study of two drawn clips, its train split, a stand-in for SAM 2 that finds dark and bright, and
encoders that see grey levels."""

from functools import partial

import numpy as np
from pycocotools import mask as coco

from lib import isam2, paths, study
from lib.clips.clip import Clip, Dataset, Predictions
from lib.clips.datasets import VSPW_CLASSES
from lib.files import digest
from lib.masklets import FrameMasklets, Masklets, as_text
from lib.study import classifiers
from lib.study import features as encoders
from lib.study import fitting as fit
from lib.study import segment as segmenting
from lib.study.profiles import Profile

SIZE, FRAMES = (13, 17), 18
MODELS = (("segformer-n0", "Segformer", "MiT-N0"), ("segformer-n1", "Segformer", "MiT-N1"))


def border(clip, t):
    return 4 + (clip + t) % 9


def image(clip, t):
    bright = np.arange(17) >= border(clip, t)
    return np.broadcast_to((bright * 200)[None, :, None], (*SIZE, 3)).astype(np.uint8)


def truth(clip, t):
    return (image(clip, t)[..., 0] > 0).astype(np.uint8)


def dataset(split, n, frames=FRAMES):
    clips = (
        Clip(
            f"{split}{c}",
            tuple(f"{t:03d}" for t in range(frames)),
            partial(tuple, SIZE),
            partial(image, c),
            partial(truth, c),
        )
        for c in range(n)
    )
    return Dataset("toy", split, VSPW_CLASSES, tuple(clips))


def masks(picture):
    """Dark and bright, less the two top rows, which no mask covers."""
    below = np.arange(13)[:, None] >= 2
    return np.stack([(picture[..., 0] == 0) & below, (picture[..., 0] > 0) & below])


def segment_clip(job):
    clip, _, files, *_ = job
    for settings, path in files.items():
        frames = []
        for t in range(len(clip)):
            rles = tuple(
                as_text(coco.encode(np.asfortranarray(m.astype(np.uint8)))) for m in masks(clip.image(t))
            )
            frames.append(FrameMasklets(0, (0, 1), rles, (0.9, 0.9), (0.9, 0.9)))
        Masklets(clip.name, clip.size, settings, tuple(frames)).save(path)


def wrong_at_the_top(clip, t):
    """A base model that is wrong in the second row."""
    labels = clip.truth(t).copy()
    labels[1] = 1 - labels[1]
    return labels


def make(tmp_path, monkeypatch, models=MODELS):
    """Make the study, and a list that grows by the encoder's name whenever one is called."""
    encoded = []

    def encoder(run, name):
        def encode(images):
            encoded.append(name)
            return np.stack([i[:, :, 0].astype(np.float32)[None] * (1, -1)[name == "sam"] for i in images])

        return isam2.Encoder(name, digest(fit.encoder_weights(run, name)), encode)

    (tmp_path / "sam.safetensors").write_bytes(b"one")
    (tmp_path / "data" / "toy" / "weights").mkdir(parents=True)
    for name, *_ in models:
        (tmp_path / "data" / "toy" / "weights" / f"{name}.safetensors").write_bytes(name.encode())
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "EMBEDDED", tmp_path / "data")
    monkeypatch.setattr(segmenting, "_segment_clip", segment_clip)
    monkeypatch.setattr(fit, "load_cached_sam", lambda checkpoint: None)
    monkeypatch.setattr(fit, "encoder_of", encoder)
    monkeypatch.setattr(classifiers, "encoder_of", encoder)
    monkeypatch.setattr(fit, "train_split", lambda run: dataset("train", 6, 4))
    monkeypatch.setattr(encoders, "proposals", lambda model: masks)
    run = study.Study(
        Profile("toy", "toy", "vspw", "", models=models, fit_clips=4),
        tmp_path,
        dataset("val", 2),
        str(tmp_path / "sam.safetensors"),
    )
    return run, encoded


def predictions(run, name):
    return {
        clip.name: Predictions(clip.name, clip.frames, partial(wrong_at_the_top, clip))
        for clip in run.dataset.clips
    }

"""The MLP learns, holds out whole clips, stops early, repeats itself, and survives its file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import classifier
from lib.classifier import Classifier
from lib.clips.errors import DataError, DataMissingError
from lib.config import ClassifierConfig

SMALL = ClassifierConfig(hidden=16, epochs=30, patience=5, batch=16, lr=1e-2)


def blobs(n=240, n_clips=8, seed=0):
    """Three classes around three points, far from zero and of unequal scale."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    vectors = np.array([[0, 0], [4, 0], [0, 4]])[labels] + rng.normal(0, 0.7, (n, 2))
    return (
        (vectors * [1, 1000] + [50, -9000]).astype(np.float32),
        labels,
        np.array([f"c{i % n_clips}" for i in range(n)]),
    )


def test_learns_what_can_be_learnt():
    vectors, labels, clips = blobs()
    found = classifier.fit(vectors, labels, clips, 5, SMALL)
    fresh, truth, _ = blobs(seed=1)
    assert (found.predict(fresh) == truth).mean() > 0.95
    assert (found.dim, found.n_classes) == (2, 5)
    assert (
        float(found.about["val_accuracy"]) > 0.9
        and found.about["train_vectors"] == "180"
        and found.about["val_clips"] == "2"
    )
    assert found.log[0].keys() == set(classifier.LOG) and found.log[0]["val_loss"] > found.log[-1]["val_loss"]


def test_equal_seeds_give_equal_weights_whatever_the_state_of_torch():
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        runs.append(classifier.fit(*blobs(), 3, SMALL))
        assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(*(r.network.state_dict().values() for r in runs)))
    assert runs[0].log == runs[1].log


def test_whole_clips_are_held_out():
    """Vectors say only which clip they are of, labels are random by clip: nothing can be learnt about
    clips not seen."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(20), 15)
    vectors, labels = np.eye(20, dtype=np.float32)[which], rng.integers(2, size=20)[which]
    found = classifier.fit(
        vectors, labels, which, 2, ClassifierConfig(hidden=32, epochs=60, patience=60, lr=1e-2, batch=16)
    )
    assert found.log[-1]["train_loss"] < 0.1 and found.log[-1]["val_loss"] > 0.4
    assert found.about["val_clips"] == "4" and found.about["val_vectors"] == "60"


def test_keeps_the_best_epoch_and_stops():
    rng = np.random.default_rng(0)
    # noise: more epochs only hurt
    vectors, labels, clips = rng.normal(size=(120, 8)), rng.integers(3, size=120), np.arange(120) // 12
    config = ClassifierConfig(hidden=64, epochs=80, patience=4, lr=1e-2, batch=8)
    found = classifier.fit(vectors, labels, clips, 3, config)
    best = min(found.log, key=lambda line: line["val_loss"])
    assert len(found.log) == best["epoch"] + 4 < 80 and found.about["epoch"] == str(best["epoch"])
    assert float(found.about["val_accuracy"]) == pytest.approx(best["val_accuracy"], abs=1e-6)
    shorter = classifier.fit(vectors, labels, clips, 3, replace(config, epochs=best["epoch"]))
    assert all(
        torch.equal(a, b) for a, b in zip(*(f.network.state_dict().values() for f in (found, shorter)))
    )


def test_balance_lifts_rare_classes():
    rng = np.random.default_rng(0)
    labels = (rng.random(600) < 0.05).astype(int)
    vectors, clips = rng.normal(0, 1, (600, 1)) + labels[:, None] * 1.5, np.arange(600) % 10
    plain, balanced = (
        classifier.fit(
            vectors, labels, clips, 2, ClassifierConfig(hidden=8, epochs=30, class_balance=b, lr=1e-2)
        )
        for b in ("none", "inverse-sqrt")
    )
    assert (balanced.predict(vectors) == 1).sum() > 1.5 * (plain.predict(vectors) == 1).sum()
    weights = classifier._weights(torch.tensor([0, 0, 0, 0, 1]), 3, "inverse-sqrt")
    assert (
        weights[2] == 1
        and (weights[0] * 4 + weights[1]) / 5 == pytest.approx(1)
        and weights[1] / weights[0] == pytest.approx(2)
    )


def test_vectors_with_nan_have_no_class():
    found = classifier.fit(*blobs(), 3, SMALL)
    assert found.predict(np.array([[np.nan, 0.0], [50, -9000]])).tolist() == [-1, 0]
    assert found.predict(np.zeros((0, 2))).shape == (0,)


def test_a_number_that_never_varies_does_no_harm():
    vectors, labels, clips = blobs()
    found = classifier.fit(np.column_stack([vectors, np.full(len(vectors), 3.0)]), labels, clips, 3, SMALL)
    assert float(found.about["val_accuracy"]) > 0.9


def test_file_brings_all_back(tmp_path):
    vectors, labels, clips = blobs()
    found = classifier.fit(vectors, labels, clips, 3, SMALL)
    found.save(path := tmp_path / "deep" / "c.safetensors")
    again = classifier.load(path)
    assert isinstance(again, Classifier) and again.config == SMALL and again.about == found.about
    assert (again.predict(vectors) == found.predict(vectors)).all()
    lines = path.with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,val_loss,val_accuracy" and len(lines) == 1 + len(found.log)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataMissingError, match="lib fit"):
        classifier.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"none of this")
    with pytest.raises(DataError, match="bad.safetensors"):
        classifier.load(tmp_path / "bad.safetensors")
    from lib.sam.checkpoints import MICRO_WEIGHTS

    with pytest.raises(DataError, match="classifier"):
        classifier.load(MICRO_WEIGHTS)


def test_wrong_input_is_refused():
    vectors, labels, clips = blobs()
    for bad, message in (
        ((vectors, labels + 1, clips, 3), "0..2"),
        ((vectors, labels, np.zeros(len(labels)), 3), "two clips"),
        ((np.where(vectors > 50, np.nan, vectors), labels, clips, 3), "NaN"),
        ((vectors, labels[1:], clips, 3), "labels"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.fit(*bad, SMALL)
    with pytest.raises(ValueError, match="class_balance"):
        ClassifierConfig(class_balance="full")
    with pytest.raises(ValueError, match="val_frac"):
        ClassifierConfig(val_frac=1)
    with pytest.raises(ValueError, match="2"):
        classifier.fit(vectors, labels, clips, 3, SMALL).predict(np.zeros((1, 3)))

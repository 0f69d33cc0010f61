"""The masklet file: SA-V's JSON there and back, and what happens to damaged ones."""

import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco
from toy import make_masklets

from lib import masklets
from lib.clips.errors import DataError, DataMissingError
from lib.config import MaskletSettings


@pytest.fixture
def found():
    """Two windows: two masklets, one of them out of sight in frame 1; then none; then one."""
    masks = np.zeros((4, 2, 13, 17), bool)
    masks[:, 0, 2:5, 3:9], masks[::2, 1, 7:, 12:] = True, True
    nothing = np.zeros((0, 13, 17), bool)
    return make_masklets(
        [[*masks[:2]], [nothing], [masks[3][:1], masks[2][:1]]], MaskletSettings(window=2, grid=3, iou=0.61)
    )


def test_round_trip(tmp_path, found):
    found.save(path := tmp_path / "new" / "street.json")
    again = masklets.read(path)
    assert again == found and os.listdir(path.parent) == ["street.json"]
    assert [len(again.masks(t)) for t in range(5)] == [2, 2, 0, 1, 1]
    for t in range(5):
        assert again.masks(t).dtype == bool and again.masks(t).shape[1:] == (13, 17)
        np.testing.assert_array_equal(again.masks(t), found.masks(t))
    assert again.masks(0)[0].sum() == 18 and not again.masks(1)[1].any()


def test_file_is_sa_v(tmp_path, found):
    found.save(path := tmp_path / "street.json")
    content = json.loads(path.read_text())
    assert {
        k: content[k]
        for k in (
            "video_id",
            "video_height",
            "video_width",
            "video_frame_count",
            "masklet_num",
            "masklet_id",
            "masklet_type",
        )
    } == {
        "video_id": "street",
        "video_height": 13,
        "video_width": 17,
        "video_frame_count": 5,
        "masklet_num": 3,
        "masklet_id": [0, 1, 2],
        "masklet_type": "auto",
    }
    assert content["masklet_first_appeared_frame"] == [0, 0, 3] and content["masklet_frame_count"] == [
        2,
        1,
        2,
    ]
    assert content["masklet_size_abs"] == [18, 30, 18] and content["masklet_size_rel"] == pytest.approx(
        [18 / 221, 30 / 221, 18 / 221]
    )
    assert content["masklet_stability_score"] == [0.9, 0.91, 0.9]
    # frames x masklets, all readable by pycocotools
    areas = np.array([[coco.area(rle) for rle in frame] for frame in content["masklet"]])
    assert areas.tolist() == [[18, 30, 0], [18, 0, 0], [0, 0, 0], [0, 0, 18], [0, 0, 18]]
    assert all(coco.decode(rle).shape == (13, 17) for frame in content["masklet"] for rle in frame)


def _cut(text):
    return text[: len(text) // 2]


def _without(*keys):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k not in keys})


def _with(**values):
    return lambda text: json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda text: "",
        lambda text: "[1, 2]",
        _without("masklet"),
        _without("settings"),
        _with(frame_window_start=[0]),
        _with(masklet_stability_score=[]),
        _with(masklet=[[], [], [], [], []]),
        _with(settings={"window": 0}),
        _with(settings={"windows": 32}),
        _with(settings=None),
    ],
)
def test_damaged_file_is_named(tmp_path, found, damage):
    found.save(path := tmp_path / "street.json")
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=r"street\.json: expected a masklet JSON.*found .*Delete"):
        masklets.read(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataMissingError, match=r"street\.json.*no such file.*Run"):
        masklets.read(tmp_path / "street.json")


def test_interrupted_write_leaves_the_old_file(tmp_path, found, monkeypatch):
    found.save(path := tmp_path / "street.json")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace(found, clip="park").save(path)
    monkeypatch.undo()
    broken = replace(
        found,
        frames=(
            *found.frames[:3],
            replace(found.frames[3], rles=({"size": [13, 17], "counts": b"not text"},)),
        ),
    )
    with pytest.raises((TypeError, ValueError)):
        broken.save(path)
    assert masklets.read(path) == found


def test_reading_a_long_clip_keeps_its_empty_masks_once(tmp_path):
    """250 frames x 250 masklets: 62,500 RLEs in the file, of which 250 say something."""
    make_masklets([[np.ones((1, 13, 17), bool)]] * 250).save(path := tmp_path / "long.json")
    tracemalloc.start()
    found = masklets.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.ids for f in found.frames] == [(i,) for i in range(250)] and found.masks(249).all()
    assert peak < 4 * path.stat().st_size, "text and bytes of the file, and little else"

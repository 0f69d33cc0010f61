"""The panoptic stand-in: the form that DVIS writes, tubes that follow things, holes where it is unsure."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from toy import make_dataset

from lib.clips.datasets import VSPW_CLASSES
from lib.clips.folders import read_predictions
from lib.config import VOID
from lib.mini import stand_in
from lib.mini.tubes import Tubes

CAR, PERSON, ROAD, GRASS = (VSPW_CLASSES.index(name) for name in ("car", "person", "road", "grass"))


class Toy(torch.nn.Module):
    """Takes red for a car and the rest for road; of the topmost rows it is unsure."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        small = F.avg_pool2d(images, 4)
        logits = torch.zeros(len(images), 124, *small.shape[2:])
        red = small[:, 0] > 0
        logits[:, CAR], logits[:, ROAD] = 20.0 * red, 20.0 * ~red
        logits[:, :, : logits.shape[2] // 4] = 0
        return logits


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    dataset, out = make_dataset(clips=2, frames=3), tmp_path_factory.mktemp("stand_in") / "out"
    assert stand_in.predict(Toy().eval(), dataset, out) and not stand_in.predict(None, dataset, out)
    return dataset, out


def test_readers_of_dvis_read_it(written):
    dataset, out = written
    for clip in dataset.clips:
        predictions = read_predictions(out, clip, 124, flat=False)
        for t in range(len(clip)):
            labels, red = predictions[t], clip.image(t)[..., 0] > 0
            assert labels.shape == clip.size and (labels[:12] == VOID).all()
            assert (labels[20:][red[20:]] == CAR).mean() > 0.95 and (
                labels[20:][~red[20:]] == ROAD
            ).mean() > 0.95


def test_the_json_has_the_fields_of_dvis(written):
    dataset, out = written
    content = json.loads((out / "pred.json").read_text())
    assert set(content) == {"annotations"} and [v["video_id"] for v in content["annotations"]] == [
        c.name for c in dataset.clips
    ]
    for clip, video in zip(dataset.clips, content["annotations"]):
        assert [f["file_name"] for f in video["annotations"]] == [f"{name}.png" for name in clip.frames]
        tubes = {}
        for frame in video["annotations"]:
            assert set(frame) == {"file_name", "segments_info"}
            rgb = np.array(Image.open(out / "pan_pred" / clip.name / frame["file_name"])).astype(int)
            ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
            assert {s["id"] for s in frame["segments_info"]} == set(np.unique(ids)) - {0} and (ids == 0).any()
            for s in frame["segments_info"]:
                rows, cols = np.nonzero(ids == s["id"])
                assert (
                    s["bbox"] == [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
                    and s["area"] == len(rows)
                    and s["iscrowd"] == 0
                )
                assert tubes.setdefault(s["id"], s["category_id"]) == s["category_id"]
        assert sorted(tubes.values()) == sorted([CAR, ROAD])  # the car moves, and stays one tube


def follow(*frames):
    """Tube numbers of frames of class ids."""
    found, stuff, last, out = Tubes(), {}, np.zeros(frames[0].shape, np.uint16), []
    for classes in frames:
        last = stand_in.link(found, stuff, last, classes)
        out.append(last)
    return found, out


def frame(*things):
    """Road with things (class, column, width) on it, the right edge void."""
    classes = np.full((13, 17), ROAD, np.uint8)
    for c, x, width in things:
        classes[3:9, x : x + width] = c
    classes[:, 16] = VOID
    return classes


def test_two_cars_stay_two_and_a_person_is_never_a_car():
    found, (a, b, c) = follow(
        frame((CAR, 1, 4), (CAR, 8, 4)), frame((CAR, 2, 4), (CAR, 9, 4)), frame((PERSON, 2, 4), (CAR, 10, 4))
    )
    left, right = a[4, 2], a[4, 9]
    assert left != right and (b[4, 3], b[4, 10]) == (left, right) and c[4, 11] == right
    assert c[4, 3] not in (left, right) and found.classes[c[4, 3]] == PERSON
    assert a[0, 0] == b[0, 0] == c[12, 0] and (a[:, 16] == 0).all()


def test_the_better_overlap_goes_on_and_the_other_begins():
    _, (a, b) = follow(frame((CAR, 3, 8)), frame((CAR, 1, 3), (CAR, 5, 6)))
    assert b[4, 6] == a[4, 4] and b[4, 1] not in (a[4, 4], 0)


def test_what_moves_too_far_begins_anew():
    _, (a, b) = follow(frame((CAR, 1, 4)), frame((CAR, 10, 4)))
    assert a[4, 1] != b[4, 10] != 0


def test_stuff_is_one_segment_and_specks_are_void(monkeypatch):
    monkeypatch.setattr(stand_in, "SPECK_FRAC", 5 / (13 * 17))
    classes = frame((GRASS, 5, 2), (CAR, 10, 3))
    classes[0, 0], classes[11:13, 0:2] = GRASS, CAR
    found, (numbers,) = follow(classes)
    assert (
        numbers[0, 0] == numbers[4, 5]
        and (numbers[11:13, 0:2] == 0).all()
        and numbers[4, 11] > 0
        and sorted(found.classes[1:]) == sorted([GRASS, ROAD, CAR])
    )

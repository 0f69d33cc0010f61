"""The second drawn domain: VIPSeg's files, the renderer's labels, tubes that keep their colour."""

import json

import numpy as np
import pytest
from PIL import Image

from lib import study, tables
from lib.clips.datasets import VSPW_CLASSES, read_vipseg
from lib.clips.images import PALETTE
from lib.config import VOID
from lib.metrics import VSPW_LONGEST_LEFT_OUT
from lib.mini import tubes, vipseg
from lib.mini.scenes import SEEDS, SIZE, Look, _recolour, make_scene, render
from lib.mini.tubes import THINGS, Tubes

N_FRAMES = 3  # enough for two things of one class in this scene


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("vipseg")
    vipseg.write_vipseg(root, 1, N_FRAMES)
    return root


@pytest.fixture(scope="module")
def scene():
    return make_scene(SEEDS["vipseg"], vipseg.LOOK, N_FRAMES)


def decode(path):
    """Segment ids of a panoptic PNG, pixel by pixel as panopticapi's rgb2id has it."""
    r, g, b = (np.array(Image.open(path))[..., i].astype(int) for i in range(3))
    return r + 256 * g + 65536 * b


def test_truth_is_what_the_renderer_draws_enlarged(root, scene):
    (clip,) = read_vipseg(root).clips
    assert (clip.name, len(clip), clip.size) == ("vipseg_000", N_FRAMES, (720, 1281))
    for t in range(N_FRAMES):
        image, labels, _ = render(scene, t)
        np.testing.assert_array_equal(clip.truth(t), labels.repeat(3, 0).repeat(3, 1))
        # every third pixel is one of the small picture; JPEG
        assert np.abs(clip.image(t)[1::3, 1::3].astype(int) - image).mean() < 6


def test_json_lists_what_the_pngs_hold(root, scene):
    content = json.loads((root / "panoptic_gt_VIPSeg_val.json").read_text())
    kinds = {c["id"]: c for c in content["categories"]}
    assert {c["name"] for c in kinds.values() if c["isthing"]} == set(THINGS) and all(
        VSPW_CLASSES[i] == c["name"] for i, c in kinds.items()
    )
    (video,), (annotated,) = content["videos"], content["annotations"]
    assert video["video_id"] == annotated["video_id"] == "vipseg_000"
    assert [(i["id"], i["width"], i["height"]) for i in video["images"]] == [
        (f"{t:08d}", 1281, 720) for t in range(N_FRAMES)
    ]
    for t, frame in enumerate(annotated["annotations"]):
        assert (
            frame["image_id"] == video["images"][t]["id"]
            and frame["file_name"] == video["images"][t]["file_name"] == f"{t:08d}.png"
        )
        ids, segments = (
            decode(root / "panomasksRGB" / "vipseg_000" / frame["file_name"]),
            frame["segments_info"],
        )
        assert {s["id"]: s["area"] for s in segments} == {
            i: (ids == i).sum() for i in np.unique(ids[ids > 0])
        }
        assert all(set(s) == {"id", "category_id", "iscrowd", "area"} and s["iscrowd"] == 0 for s in segments)
        stuff = [s["category_id"] for s in segments if not kinds[s["category_id"]]["isthing"]]
        assert len(set(stuff)) == len(stuff)


def test_an_instance_is_a_thing_of_the_scene_and_keeps_its_colour(root, scene):
    colour_of = {}
    for t in range(N_FRAMES):
        _, _, regions = render(scene, t)
        ids = decode(root / "panomasksRGB" / "vipseg_000" / f"{t:08d}.png")[1::3, 1::3]
        for region in np.unique(regions):
            (colour,) = np.unique(ids[regions == region])
            key = region if scene.classes[region] in THINGS else scene.classes[region]
            assert colour_of.setdefault(key, colour) == colour
    assert (
        len(set(colour_of.values()))
        == len(colour_of)
        > len(set(scene.classes[r] for r in np.unique(regions)))
    )


def test_clips_are_long_enough_and_of_their_own_seeds():
    assert vipseg.N_FRAMES > VSPW_LONGEST_LEFT_OUT
    assert len({seed // 10_000 for seed in SEEDS.values()}) == len(SEEDS)


def test_another_look_turns_colours_and_leaves_grey():
    third_of_a_turn = _recolour(Look(hue_deg=120))
    np.testing.assert_allclose(third_of_a_turn @ [10, 20, 30], [30, 10, 20], atol=1e-4)
    np.testing.assert_allclose(_recolour(Look(saturation=0)) @ [10, 20, 30], [20, 20, 20], atol=1e-4)
    np.testing.assert_allclose(_recolour(vipseg.LOOK) @ [90, 90, 90], [90, 90, 90], atol=1e-4)
    plain, other = (
        render(make_scene(SEEDS["vipseg"], look), 0)[0].astype(int) for look in (Look(), Look(hue_deg=90))
    )
    assert np.abs(plain - other).mean() > 5 and plain.shape == (*SIZE, 3)


def test_tubes_by_hand(tmp_path):
    found = Tubes()
    car, other, sky = (found.new(VSPW_CLASSES.index(name)) for name in ("car", "car", "sky"))
    assert (car, other, sky) == (1, 2, 3) and found.ids[car] == PALETTE[VSPW_CLASSES.index("car") + 1].astype(
        int
    ) @ [1, 256, 65536]
    numbers = np.array([[3, 3, 3, 0], [0, 2, 2, 0], [0, 0, 2, 0]], np.uint16)
    sky_info, car_info = sorted(found.write(tmp_path / "v" / "f.png", numbers), key=lambda s: s["bbox"][1])
    assert car_info == {
        "id": found.ids[2],
        "category_id": VSPW_CLASSES.index("car"),
        "iscrowd": 0,
        "bbox": [1, 1, 2, 2],
        "area": 3,
    }
    assert sky_info["bbox"] == [0, 0, 3, 1]
    np.testing.assert_array_equal(decode(tmp_path / "v" / "f.png"), np.array(found.ids)[numbers])


def test_many_tubes_of_one_class_have_a_colour_each_and_none_is_black():
    found = Tubes()
    numbers = [found.new(0) for _ in range(300)]
    assert len({found.ids[n] for n in numbers} | {0}) == 301


def test_what_is_interrupted_leaves_nothing_and_what_is_there_is_left_alone(tmp_path, monkeypatch):
    calls = []

    def write(root, n_clips, n_frames):
        calls.append((n_clips, n_frames))
        (root / "half").touch()
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(vipseg, "write_vipseg", write)
    with pytest.raises(KeyboardInterrupt):
        vipseg.draw(tmp_path / "clips")
    assert list(tmp_path.iterdir()) == []
    root = vipseg.draw(tmp_path / "clips")
    assert (
        root == vipseg.draw(tmp_path / "clips")
        and len(calls) == 2
        and list(root.iterdir()) == [root / "half"]
        and list(tmp_path.iterdir()) == [root]
    )


def test_who_comes_second_takes_what_is_there(tmp_path):
    with tubes.whole(tmp_path / "clips") as late:
        (late / "mine").touch()
        with tubes.whole(tmp_path / "clips") as early:
            (early / "theirs").touch()
    assert [p.name for p in (tmp_path / "clips").iterdir()] == ["theirs"]


def test_mini_finds_its_second_data_set(root, monkeypatch):
    monkeypatch.setattr(vipseg, "draw", lambda folder: root)
    second, why = tables.open_cross(study.open_study("mini"))
    assert (
        not why
        and second.dataset.name == "vipseg"
        and second.profile.name == "mini-vipseg"
        and second.checkpoint == "micro"
    )
    assert second.dataset.clips[0].truth(0).max() < VOID

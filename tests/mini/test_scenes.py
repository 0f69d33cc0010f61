"""The drawn clips: seeded, exactly labelled, and in motion."""

import numpy as np
import pytest

from lib.clips.datasets import read_vspw
from lib.mini.scenes import CLASS_ID, SEEDS, SIZE, Look, make_scene, render
from lib.mini.vspw import CLIPS, write_clip
from lib.paths import ROOT

_, N_FRAMES, PAN_FRAMES = CLIPS["val"]


@pytest.fixture(scope="module")
def scene():
    return make_scene(SEEDS["val"] + 3, n_frames=N_FRAMES)


def test_frame(scene):
    image, labels, regions = render(scene, 7)
    assert image.shape == (*SIZE, 3) == (240, 427, 3)
    assert labels.shape == regions.shape == SIZE
    assert {a.dtype for a in (image, labels, regions)} == {np.dtype(np.uint8)}
    assert image.std() > 20 and len(np.unique(labels)) >= 5


def test_regions_carry_the_labels(scene):
    _, labels, regions = render(scene, 0)
    for region in np.unique(regions):
        assert np.unique(labels[regions == region]).tolist() == [CLASS_ID[scene.classes[region]]]
    assert len(np.unique(regions)) > len(np.unique(labels))  # things of one class are told apart


def test_a_seed_is_a_clip(scene):
    drawn = [a.tobytes() for a in render(scene, 5)]
    assert [a.tobytes() for a in render(make_scene(SEEDS["val"] + 3, n_frames=N_FRAMES), 5)] == drawn
    render(scene, 6)
    assert [a.tobytes() for a in render(scene, 5)] == drawn  # frames may be drawn in any order
    assert all(
        a != b.tobytes() for a, b in zip(drawn, render(make_scene(SEEDS["val"] + 4, n_frames=N_FRAMES), 5))
    )


@pytest.mark.parametrize("seed", [SEEDS["val"], SEEDS["val"] + 1, SEEDS["train"] + 5])
def test_things_move_and_classes_are_vspws(seed):
    scene = make_scene(seed, n_frames=N_FRAMES)
    first, later = (render(scene, t)[1] for t in (0, 20))
    assert (first != later).mean() > 0.03
    assert set(np.unique([first, later])) <= set(CLASS_ID.values()) and len(CLASS_ID) == 13
    assert (CLASS_ID["sky"], CLASS_ID["road"], CLASS_ID["person"]) == (28, 18, 60)


def test_wild_looks_change_colours_but_not_what_a_label_means():
    image, labels, regions = render(scene := make_scene(SEEDS["train"], Look(wild=1.0)), 0)
    plain = render(make_scene(SEEDS["train"], Look(wild=0.0)), 0)[0]
    assert (image != plain).mean() > 0.5
    np.testing.assert_array_equal(labels, np.array([CLASS_ID[name] for name in scene.classes])[regions])


def test_splits_share_no_seed():
    seeds = {split: range(SEEDS[split], SEEDS[split] + 10_000) for split in CLIPS}
    assert set(seeds["train"]).isdisjoint(seeds["val"])
    assert all(n_clips <= 10_000 for n_clips, *_ in CLIPS.values())


@pytest.mark.parametrize("number", [0, 6])
def test_embedded_clip_is_what_the_renderer_draws(number):
    clip = read_vspw(ROOT / "data" / "mini").clips[number]
    assert (clip.name, len(clip), clip.size) == (f"val_{number:03d}", N_FRAMES, SIZE)
    scene = make_scene(SEEDS["val"] + number, n_frames=PAN_FRAMES)
    for t in (0, 31):
        image, labels, _ = render(scene, t)
        np.testing.assert_array_equal(clip.truth(t), labels)
        assert np.abs(clip.image(t).astype(int) - image).mean() < 6  # JPEG


def test_write_clip(tmp_path):
    write_clip(tmp_path, "val_003", SEEDS["val"] + 3, 2, PAN_FRAMES)
    (tmp_path / "val.txt").write_text("val_003\n")
    (clip,) = read_vspw(tmp_path).clips
    scene = make_scene(SEEDS["val"] + 3, n_frames=PAN_FRAMES)
    assert clip.frames == ("00000000", "00000001")
    for t in range(2):
        np.testing.assert_array_equal(clip.truth(t), render(scene, t)[1])

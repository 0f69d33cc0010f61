"""The trainer of the micro SAM 2 at toy size, and what the committed weights are held to."""

import copy
import csv
import json

import numpy as np
import pytest
import torch

from lib import sam
from lib.mini.scenes import SEEDS, make_scene, render
from lib.mini.training import pool, quality, train_sam
from lib.mini.training.train_sam import Phase
from lib.sam.checkpoints import MICRO_WEIGHTS


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    pool.draw_pool(folder / "frames_4", 4, workers=1)
    return folder


def test_rank_loss_is_what_the_kept_mask_lacks():
    """Per click: the best true IoU among all masks of its region in its picture, less that of the mask
    with the highest prediction."""
    rng = np.random.default_rng(0)
    predicted, true, ids = rng.random((2, 5, 3)), rng.random((2, 5, 3)), rng.integers(0, 2, (2, 5))
    lost = []
    for b, k in np.ndindex(2, 5):
        rivals = [
            (predicted[b, j, m], true[b, j, m]) for j in range(5) for m in range(3) if ids[b, j] == ids[b, k]
        ]
        lost.append(max(t for _, t in rivals) - max(rivals)[1])
    found = train_sam.rank_loss(*map(torch.from_numpy, (predicted, true, ids)), sharpness=1e6)
    assert found.item() == pytest.approx(np.mean(lost), abs=1e-9)


def test_ranks_are_learned():
    """The choice has a gradient; after some steps the best mask is the one kept."""
    generator = torch.Generator().manual_seed(0)
    true, ids = torch.rand(3, 6, 3, generator=generator), torch.randint(0, 2, (3, 6), generator=generator)
    predicted = torch.rand(3, 6, 3, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([predicted], 0.02)
    before = train_sam.rank_loss(predicted, true, ids).item()
    for _ in range(100):
        optimizer.zero_grad()
        train_sam.rank_loss(predicted, true, ids).backward()
        optimizer.step()
    assert train_sam.rank_loss(predicted, true, ids).item() < 0.1 * before


def test_training_writes_weights_that_load_and_resumes(work, caplog):
    phases = (
        Phase("clicks", 64, 0.03, 1e-3, images=2, clicks=3, attention=0.5),
        Phase("both", 64, 0.03, 1e-3, images=2, clicks=3, clips=1, objects=2, frames=3),
    )
    out = work / "micro.safetensors"
    train_sam.train(out, phases[:1], n_scenes=4, work=work, threads=1)
    first = torch.load(work / "checkpoint.pt", weights_only=True)["state"]
    train_sam.train(out, phases, n_scenes=4, work=work, threads=1)
    state = torch.load(work / "checkpoint.pt", weights_only=True)["state"]
    assert first["phase"] == 1 and state["phase"] == 2 and state["step"] > first["step"] > 0
    model = sam.load(out, "cpu")
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.2e6, rel=0.02)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_fresh_pool_shares_no_scene_with_the_first(work):
    first, fresh = (
        pool.draw_pool(work / name, 4, new, workers=1)[1]
        for name, new in (("frames_4", False), ("fresh_4", True))
    )
    assert first.shape == fresh.shape and not any(
        np.array_equal(a, b) for a in first[:, 0] for b in fresh[:, 0]
    )


def test_no_scene_of_a_fresh_pool_is_wild(monkeypatch):
    looks, draw = [], pool.make_scene
    monkeypatch.setattr(
        pool, "make_scene", lambda seed, look, **rest: looks.append(look.wild) or draw(seed, look, **rest)
    )
    for i, fresh in ((4, False), (4, True), (5, False), (5, True)):
        pool._draw_one(i, fresh)
    assert looks[0] > 0 and looks[1:] == [0, 0, 0]


def test_clicks_lie_in_their_regions():
    regions = np.zeros((13, 17), np.uint8)
    regions[:, 9:], regions[4:9, 2:7] = 3, 7
    square = regions[:13, :13]
    xy, ids = pool.pick_clicks(square, 30, np.random.default_rng(0))
    assert (square[xy[:, 1].astype(int), xy[:, 0].astype(int)] == ids).all() and set(ids) == {0, 3, 7}


def test_mask_loss_is_zero_for_the_truth_and_iou_is_the_iou():
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    sure = torch.nn.functional.avg_pool2d(target * 40 - 20, 2)[:, None]
    loss, iou = train_sam.mask_loss(sure, target, 1.0)
    assert iou.item() == 1.0 and loss.item() < 0.5
    worse, none = train_sam.mask_loss(-sure, target, 1.0)
    assert none.item() == 0.0 and worse.item() > 10
    assert torch.equal(train_sam.mask_loss(3 * sure, target, 3.0)[0], loss)


def test_steepen_multiplies_the_mask_logits():
    model = sam.micro(64).eval()
    click = torch.zeros(1, 1, 128), torch.zeros(1, 128, 4, 4)
    maps = [torch.randn(1, c, s, s) for c, s in ((16, 16), (32, 8), (128, 4))]
    masks = lambda: model.sam_mask_decoder.predict_masks(
        maps[2], model.sam_prompt_encoder.get_dense_pe(), *click, False, maps[:2]
    )[0]
    with torch.no_grad():
        before = masks()
        train_sam.steepen(model, 2.5)
        assert torch.allclose(masks(), 2.5 * before, atol=1e-4)


def test_pick_objects_prefers_those_that_leave():
    regions = np.zeros((3, 32, 32), np.uint8)
    regions[:, :8], regions[0, 20:28, 4:12] = 1, 2  # 2 is gone in the last frame
    picked = lambda leaving: pool.pick_objects(regions, 200, leaving, np.random.default_rng(0))
    assert (picked(1.0) == 2).all() and 0 < (picked(0.0) == 2).mean() < 0.5 < (picked(0.5) == 2).mean() < 1
    # nothing leaves: any
    assert set(pool.pick_objects(regions[:1], 50, 1.0, np.random.default_rng(0))) == {0, 1, 2}


def test_attention_supervision_falls_when_the_click_is_looked_at():
    """Its gradient step raises the logit of the clicked cell."""
    torch.manual_seed(0)
    model = sam.micro(64).train()
    train_sam.start_local(model, torch.Generator().manual_seed(0))
    watch = train_sam.ClickAttention(model)
    images, regions = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.uint8)
    batch = images, regions, torch.tensor([[[40.0, 20.0]]]), torch.zeros(1, 1, dtype=torch.long)
    optimizer, cell = torch.optim.SGD(model.parameters(), 0.05), torch.tensor([20 // 16 * 4 + 40 // 16])
    losses = []
    for _ in range(3):
        train_sam.click_step(model, watch, train_sam.PHASES[0], *batch, 0.0)
        losses.append(watch.loss(cell))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[2] < losses[0]


def test_committed_weights_come_with_log_and_quality():
    rows = list(csv.DictReader(open(MICRO_WEIGHTS.with_suffix(".csv"))))
    figures = json.loads(MICRO_WEIGHTS.with_suffix(".json").read_text())
    assert (
        MICRO_WEIGHTS.stat().st_size < 10e6
        and len(rows) > 10
        and int(rows[-1]["step"]) > int(rows[0]["step"])
    )
    assert figures["number of clips"] == 30 and 0 < figures["coverage"] <= 1
    assert "val seeds 100 to 129, never looked at" in figures["clips"], "not those of the mini profile"
    gone, absent = (figures[f"region-frames out of sight{called}"] for called in ("", ", called absent"))
    assert figures["regions out of sight called absent"] == round(absent / gone, 4) and absent < gone
    assert 0 <= figures["region-frames out of sight, hidden"] <= gone


def test_absence_is_counted_by_hand():
    """Region 0 is out of sight on frames 1 and 2, region 1 from frame 2 on; region 2 stays."""
    seen = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0, 1]], bool)
    absent = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]], bool)
    found = quality._absence([(seen, absent), (np.ones((4, 1), bool), np.zeros((4, 1), bool))])
    assert found == {
        "regions out of sight called absent": 0.75,
        "region-frames out of sight": 4,
        "region-frames out of sight, called absent": 3,
        "regions once out of sight": 2,
    }
    assert np.isnan(quality._absence([])["regions out of sight called absent"])


def test_a_region_behind_another_is_hidden_and_one_outside_is_not():
    """Of two things of one picture, one stands before the other, which then leaves the frame."""
    scene = make_scene(SEEDS["val"] + 2)
    far = next(t for t in scene.things if (render(scene, 0)[2] == t.region).sum() > 0.01 * 240 * 427)
    near = copy.copy(far)
    near.region, scene.things = scene.new_region(far.name), [far, near]
    assert not (render(scene, 0)[2] == far.region).any() and quality._in_picture(scene, far.region, 0)
    far.x += 10_000
    assert not quality._in_picture(scene, far.region, 0)


def test_hidden_region_frames_are_counted(monkeypatch):
    """A thing of the first frame that another covers from frame 1 on, and one that is away then."""
    pictures = np.zeros((3, 4, 4), int)
    pictures[0, 0], pictures[0, 1] = 1, 2
    monkeypatch.setattr(quality, "AFTER", (1, 2))
    monkeypatch.setattr(quality, "render", lambda scene, t: (None, None, pictures[t]))
    monkeypatch.setattr(quality, "_in_picture", lambda scene, region, t: (region, t) != (2, 2))
    assert quality.hidden([None]) == {"region-frames out of sight, hidden": 3}


def test_committed_weights_find_and_track_regions_of_a_held_out_clip():
    """A floor, not the figure itself: that stands in micro_sam2.json."""
    model, scenes = sam.load("micro", "cpu"), [make_scene(SEEDS["val"] + 2)]
    found = quality.masks_quality(model, scenes, frames=(0,))
    assert (
        found["masks per frame"] >= 5
        and found["coverage"] > 0.9
        and found["mean best IoU of true regions"] > 0.6
    )

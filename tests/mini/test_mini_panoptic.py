"""The micro panoptic model: the set loss, what it is trained on, its training, and how it is measured."""

import itertools
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib import segmentors
from lib.clips.datasets import VSPW_CLASSES
from lib.mini.training import panoptic_pool, panoptic_quality, train_panoptic
from lib.mini.training.panoptic_pool import NOTHING, augment, draw_pool, targets
from lib.segmentors.panoptic import trace
from lib.segmentors.panoptic.classes import CLASS_IDS, MODEL_CLASSES
from lib.segmentors.panoptic.loss import CLASS, DICE, MASK, NO_OBJECT, match, same_loss, set_loss
from lib.segmentors.panoptic.stream import segment

pytestmark = pytest.mark.usefixtures("one_thread")
CAR = VSPW_CLASSES.index("car")


def problem_of(q=4, k=3, cells=15, n_classes=6):
    generator = torch.Generator().manual_seed(0)
    logits, masks = (
        torch.randn(q, n_classes + 1, generator=generator),
        3 * torch.randn(q, cells, generator=generator),
    )
    return (
        logits,
        masks,
        torch.randint(n_classes, (k,), generator=generator),
        (torch.rand(k, cells, generator=generator) > 0.6).float(),
    )


def cost_of(logits, mask, c, target):
    """What it costs one query to stand for one object."""
    p = mask.sigmoid()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return (
        -CLASS * logits.softmax(0)[c] + MASK * F.binary_cross_entropy_with_logits(mask, target) + DICE * dice
    )


def test_match_is_the_cheapest_of_all():
    logits, masks, classes, wanted = problem_of()
    total = lambda order: sum(
        cost_of(logits[q], masks[q], c, t) for q, c, t in zip(order, classes, wanted)
    ).item()
    best = min(itertools.permutations(range(4), 3), key=total)
    assert match(logits, masks, classes, wanted).tolist() == list(best) and list(best) != [0, 1, 2]


def test_set_loss_equals_the_literal_sum():
    logits, masks, classes, wanted = problem_of()
    loss, query = set_loss(logits, masks, classes, wanted)
    label = {q: c for q, c in zip(query.tolist(), classes.tolist())}
    weight = [1.0 if q in label else NO_OBJECT for q in range(4)]
    said = [-w * logits[q].log_softmax(0)[label.get(q, 6)] for q, w in enumerate(weight)]
    literal = CLASS * sum(said) / sum(weight) + MASK * F.binary_cross_entropy_with_logits(
        masks[query], wanted
    )
    for q, target in zip(query, wanted):
        p = masks[q].sigmoid()
        literal = literal + DICE * (1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)) / 3
    torch.testing.assert_close(loss, literal)
    empty, query = set_loss(logits, masks, classes[:0], wanted[:0])
    assert len(query) == 0 and empty.item() == pytest.approx(
        CLASS * F.cross_entropy(logits, torch.full((4,), 6)).item()
    )


def test_same_loss_wants_pairs_alike():
    first = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([3, 0, 4, 1, 2])
    right, wrong = (
        torch.stack([order, torch.arange(5)], 1),
        torch.stack([torch.arange(5), torch.arange(5)], 1),
    )
    assert same_loss(first, first[order], right) < 0.1 < 3 < same_loss(first, first[order], wrong)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return draw_pool(tmp_path_factory.mktemp("pool") / "clips", 2)


def test_pool_tells_things_apart_and_joins_stuff(pool):
    images, objects, classes = pool
    assert images.shape[:2] == objects.shape[:2] == (2, panoptic_pool.FRAMES) and images.dtype == np.uint8
    for i in range(2):
        seen = np.unique(objects[i])
        names = [VSPW_CLASSES[c] for c in classes[i][: seen.max() + 1]]
        stuff = [name for name in names if name not in ("car", "person", "ball")]
        assert len(stuff) == len(set(stuff)) and "car" in names and seen.max() < 60
    assert (np.asarray(images[0]) != np.asarray(images[1])).any()


def test_targets_are_shares_of_cells():
    objects, classes = np.full((2, 8, 12), 1, np.uint8), np.zeros(256, np.uint8)
    objects[0, 2:8, :6], objects[:, :, 8:] = 0, NOTHING  # 36 pixels in the first frame
    objects[1, 0, 0] = 2  # too small
    classes[:3] = CAR, VSPW_CLASSES.index("road"), CAR
    kinds, masks, numbers = targets(objects, classes, 5)
    assert numbers.tolist() == [1] and CLASS_IDS[kinds[0]] == VSPW_CLASSES.index("road")
    objects[0, :8, :8] = 0
    kinds, masks, numbers = targets(objects, classes, 5)
    assert sorted(numbers.tolist()) == [0] + [1] * (1 in numbers) and masks.shape[1:] == (2, 2, 3)
    car = masks[numbers.tolist().index(0)]
    assert (
        car[0].tolist() == [[1, 1, 0], [1, 1, 0]]
        and not car[1].any()
        and kinds[numbers.tolist().index(0)] == MODEL_CLASSES[CAR]
    )
    assert len(targets(objects, classes, 1)[2]) == 1


def test_augment_moves_pictures_and_objects_alike(pool):
    objects = np.asarray(pool[1][0, :2])
    images = np.repeat(objects[..., None], 3, 3) * 8
    for seed in range(4):
        shown, ids = augment(images, objects, (48, 80), 0.5, np.random.default_rng(seed))
        assert shown.shape == (2, 48, 80, 3) and shown.dtype == np.uint8
        assert np.corrcoef(shown[..., 1].ravel(), ids.ravel())[0, 1] > 0.9


def test_training_goes_on_and_its_files_load(tmp_path, caplog):
    tiny = dict(minutes=0.02, shown=(60, 107), size=(64, 128), clips=1)
    phases = tuple(replace(p, **tiny) for p in (train_panoptic.PHASES[0], train_panoptic.PHASES[2]))
    out = tmp_path / "dvis-plus-n1.safetensors"
    options = dict(n_scenes=2, work=tmp_path / "work")
    with caplog.at_level(logging.INFO):
        train_panoptic.train(out, phases[:1], **options)
        first = segmentors.load(
            "dvis-plus-n1-offline", tmp_path / "dvis-plus-n1-offline.safetensors"
        ).state_dict()
        assert "going on" not in caplog.text
        train_panoptic.train(out, phases, **options)
    assert "going on at step" in caplog.text
    online, offline = (
        segmentors.load(name, tmp_path / f"{name}.safetensors")
        for name in ("dvis-plus-n1", "dvis-plus-n1-offline")
    )
    changed = {
        key.split(".")[0] for key, value in offline.state_dict().items() if not torch.equal(value, first[key])
    }
    assert changed == {"tracker", "refiner"}  # the video phase leaves the segmenter as it is
    assert all(torch.equal(value, offline.state_dict()[key]) for key, value in online.state_dict().items())
    assert out.with_suffix(".csv").read_text().startswith("step,phase,minutes,frame,same,tracked,refined\n")


class Tubes:
    """Two cars: their regions are 1 and 2 in every frame."""

    things = {1: CAR, 2: CAR}

    def __init__(self):
        self.regions = [np.zeros((20, 30), np.uint8) for _ in range(3)]
        for t, regions in enumerate(self.regions):
            regions[2:10, 2 + t : 10 + t], regions[12:18, 18:28] = 1, 2


def test_things_that_keep_their_tube():
    drawn, classes = Tubes(), np.array([255, CAR, CAR, CAR, VSPW_CLASSES.index("road")], np.uint8)
    same = [r.astype(np.uint16) for r in drawn.regions]
    assert panoptic_quality.things_kept(drawn, same, classes).tolist() == [6, 6, 4, 4]
    switched = [same[0], np.array([0, 2, 1])[same[1]], same[2]]
    assert panoptic_quality.things_kept(drawn, switched, classes).tolist() == [6, 6, 4, 0]
    half = [same[0], np.where(np.arange(30) < 4, same[1], 0), same[2]]
    assert panoptic_quality.things_kept(drawn, half, classes).tolist() == [6, 4, 2, 2]
    road = [np.where(r == 1, 4, 3 * (r == 2)) for r in same]
    assert panoptic_quality.things_kept(drawn, road, classes).tolist() == [6, 3, 2, 2]


@torch.no_grad()
def test_the_video_parts_begin_as_the_segmenter():
    """Before any training: the same classes and nearly the same masks, up to the scale that a longer norm gives them."""
    torch.manual_seed(0)
    model = segmentors.build(train_panoptic.NAME).eval()
    frames = torch.randn(2, 3, 64, 128)
    similar = lambda a, b: torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]

    def masks_and_classes():
        found = trace(model, frames, [2])
        return found, [
            (similar(found[f"{part}_pred_masks"][0, :, 0], found["seg_pred_masks"][0, :, 0])).item()
            for part in ("trk", "ref")
        ]

    _, before = masks_and_classes()
    train_panoptic.start_video(model)
    found, after = masks_and_classes()
    assert max(before) < 0.6 and min(after) > 0.9
    agree = (
        (found["trk_pred_logits"][0, 0].argmax(1) == found["seg_pred_logits"][0, 0].argmax(1)).float().mean()
    )
    assert agree > 0.8


@pytest.mark.parametrize("name", ["dvis-plus-n1", "dvis-plus-n1-offline"])
def test_the_embedded_weights_know_the_drawn_classes(name):
    model = segmentors.load(name, panoptic_quality.WEIGHTS / f"{name}.safetensors")
    drawn = panoptic_quality.Drawn(panoptic_quality.FIRST + 900, 4)
    frames = list(segment(model, drawn.clip))
    labels = np.stack([classes[numbers] for numbers, classes in frames])
    assert (labels == np.stack(drawn.truths)).mean() > 0.75
    found = panoptic_quality.things_kept(drawn, [numbers for numbers, _ in frames], frames[0][1])
    assert found[1] >= 1 and found[3] >= 0.8 * found[2]

"""Eq. 3 against plain loops, the encoders, and how classes of masklets become labels."""

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from toy import clip_of, make_dataset, picture

from lib import isam2, sam
from lib.classifier import Classifier
from lib.config import VOID, ClassifierConfig, MaskletSettings, VoteSettings
from lib.files import digest
from lib.masklets import FrameMasklets, Masklets, as_text
from lib.paths import EMBEDDED
from lib.sam.checkpoints import MICRO_WEIGHTS
from lib.sam.models import encode
from lib.sam.pixels import as_video_predictor
from lib.study import features as encoders
from lib.study import samples as samples_file

SIZE = (13, 17)


def slow_means(features, masks):
    """Eq. 3 on the finest grid that divides both pixels and cells, cell by cell."""
    (d, h, w), (_, height, width) = features.shape, masks.shape
    fine_h, fine_w = math.lcm(h, height), math.lcm(w, width)
    means = []
    for mask in masks:
        total, area = np.zeros(d), 0
        for y in range(fine_h):
            for x in range(fine_w):
                if mask[y * height // fine_h, x * width // fine_w]:
                    total += features[:, y * h // fine_h, x * w // fine_w]
                    area += 1
        means.append(total / area if area else np.full(d, np.nan))
    return np.array(means)


@pytest.mark.parametrize("grid", [(3, 5), (13, 17), (1, 1), (20, 4)])
def test_means_equal_those_of_the_common_grid(grid):
    rng = np.random.default_rng(0)
    features, masks = (
        rng.normal(size=(4, *grid)).astype(np.float32),
        rng.random((3, *SIZE)) < [[[0.5]], [[0.05]], [[0]]],
    )
    masks[1, 7:9, 3:12] = True
    found = isam2.mask_means(torch.from_numpy(features), masks)
    np.testing.assert_allclose(found, slow_means(features, masks), rtol=2e-5, atol=2e-6)
    assert found.dtype == np.float32 and np.isnan(found[2]).all() and not np.isnan(found[:2]).any()


def test_a_cell_within_a_pixel_counts_in_part():
    """Three cells over two pixels: of the left pixel, two thirds lie in the first cell and one third in
    the second."""
    found = isam2.mask_means(np.array([[[3.0, 6.0, 100.0]]]), np.array([[[True, False]]]))
    assert found[0, 0] == pytest.approx(3 * 2 / 3 + 6 / 3)


def test_no_masks_and_wrong_input():
    assert isam2.mask_means(np.zeros((4, 3, 5)), np.zeros((0, *SIZE), bool)).shape == (0, 4)
    with pytest.raises(ValueError, match="bool"):
        isam2.mask_means(np.zeros((4, 3, 5)), np.zeros((2, *SIZE), np.uint8))


def test_sam_encoder_gives_the_map_that_the_tracker_sees():
    model = sam.load("micro", "cpu")
    encoder = encoders.of_sam("micro", model)
    found = encoder.encode([picture(0), picture(3)])
    with torch.inference_mode():
        features, _, sizes = encode(model, as_video_predictor(picture(3), model.image_size))
    np.testing.assert_allclose(found[1], features[-1][:, 0].T.reshape(-1, *sizes[-1]), atol=1e-4)
    assert (
        found.shape == (2, 128, 16, 16) and encoder.name == "sam" and encoder.digest == digest(MICRO_WEIGHTS)
    )


def test_base_encoder_gives_all_scales_at_an_eighth():
    from lib import segmentors
    from lib.segmentors.predict import normalise

    path = EMBEDDED / "mini" / "weights" / "segformer-n0.safetensors"
    encoder, model = encoders.of_base("segformer-n0", path), segmentors.load("segformer-n0", path)
    found = encoder.encode([picture(1)])
    with torch.inference_mode():
        c1, c2, _, _ = model.backbone(normalise(picture(1)[None]))
    assert found.shape == (1, 8 + 16 + 48 + 96, 8, 12)
    np.testing.assert_allclose(found[0, 8:24], c2[0], atol=1e-5)
    np.testing.assert_allclose(found[0, :8, 2, 3], c1[0, :, 4:6, 6:8].mean((1, 2)), atol=1e-4)


def test_base_encoder_of_any_model_and_of_its_decoder():
    from lib import segmentors
    from lib.segmentors.predict import normalise

    path = EMBEDDED / "mini" / "weights" / "tv3s-n0.safetensors"
    model = segmentors.load("tv3s-n0", path)
    with torch.inference_mode():
        fused = model.decode_head.fuse(model.backbone(normalise(picture(1)[None])))
    encoder = encoders.of_base("tv3s-n0", path, "decoder")
    np.testing.assert_allclose(encoder.encode([picture(1)]), fused, atol=1e-5)
    assert encoder.name == "tv3s-n0 decoder" and encoders.of_base("tv3s-n0", path).encode(
        [picture(1)]
    ).shape == (1, 8 + 16 + 48 + 96, 8, 12)
    with pytest.raises(ValueError, match="'backbone' or 'decoder'"):
        encoders.of_base("tv3s-n0", path, "head")


def sign_classifier():
    """Class 0 for a negative number, 1 for a positive one."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 2))
    network[0].weight.data, network[0].bias.data = torch.tensor([[-1.0], [1.0]]), torch.zeros(2)
    return Classifier(network, torch.zeros(1), torch.ones(1), ClassifierConfig())


def made(masks_by_frame, ids_by_frame, starts):
    frames = []
    for masks, ids, start in zip(masks_by_frame, ids_by_frame, starts):
        rles = tuple(as_text(coco.encode(np.asfortranarray(m.astype(np.uint8)))) for m in masks)
        frames.append(
            FrameMasklets(start, ids, rles, tuple(0.9 - 0.1 * k for k in range(len(ids))), (1.0,) * len(ids))
        )
    return Masklets("drawn", SIZE, MaskletSettings(), tuple(frames))


def halves(*columns):
    """Masks of the columns before and after each given one."""
    return [
        np.broadcast_to(np.arange(17) < c if left else np.arange(17) >= c, SIZE).copy()
        for c in columns
        for left in (True, False)
    ]


@pytest.fixture
def scene():
    """Three frames, a new window in the third; the left half turns positive in the second frame, over a
    smaller area."""
    values = [
        np.where(np.arange(17) < 9, -3.0, 4.0),
        np.where(np.arange(17) < 4, 5.0, 4.0),
        np.where(np.arange(17) < 9, 2.0, -2.0),
    ]
    clip = clip_of([np.full(SIZE, t, np.uint8) for t in range(3)])
    encoder = isam2.Encoder(
        "toy", "", lambda images: np.stack([np.broadcast_to(values[i[0, 0, 0]], (1, *SIZE)) for i in images])
    )
    masklets = made(
        [halves(9), halves(4), [*halves(9), np.zeros(SIZE, bool)]], [(0, 1), (0, 1), (2, 3, 4)], [0, 0, 2]
    )
    return encoder, clip, masklets


def test_a_masklet_is_classified_in_each_frame_or_once(scene):
    encoder, clip, masklets = scene
    assert [c.tolist() for c in isam2.classify(encoder, sign_classifier(), clip, masklets)] == [
        [0, 1],
        [1, 1],
        [1, 0, -1],
    ]
    # masklet 0: -3 over 9 columns, then 5 over 4
    assert [c.tolist() for c in isam2.classify(encoder, sign_classifier(), clip, masklets, "masklet")] == [
        [0, 1],
        [0, 1],
        [1, 0, -1],
    ]


def test_frames_are_encoded_in_their_order(scene, monkeypatch):
    encoder, clip, masklets = scene
    monkeypatch.setattr(isam2, "BATCH", 2)
    assert [c.tolist() for c in isam2.classify(encoder, sign_classifier(), clip, masklets)] == [
        [0, 1],
        [1, 1],
        [1, 0, -1],
    ]


def test_smaller_is_painted_over_larger_and_the_rest_is_nothing_or_base():
    large, small, unseen = np.zeros((3, *SIZE), bool)
    large[2:12, 2:12], small[4:6, 4:6], unseen[0, 0] = True, True, True
    masklets = made([[small, large, unseen]], [(0, 1, 2)], [0])
    classes = [np.array([7, 5, -1])]
    expected = np.full(SIZE, VOID, np.uint8)
    expected[2:12, 2:12] = 5
    expected[4:6, 4:6] = 7
    (plain,) = isam2.paint_classes(masklets, classes)
    np.testing.assert_array_equal(plain, expected)
    (filled,) = isam2.paint_classes(masklets, classes, [np.full(SIZE, 3, np.uint8)])
    np.testing.assert_array_equal(filled, np.where(expected == VOID, 3, expected))
    (by_score,) = isam2.paint_classes(
        made([[large, small]], [(0, 1)], [0]), [np.array([5, 7])], None, VoteSettings(overlap="score")
    )
    assert by_score[4, 4] == 5
    assert isam2.coverage(masklets) == pytest.approx(101 / (13 * 17))


def test_true_classes_are_the_majority_without_void():
    truth = np.full(SIZE, VOID, np.uint8)
    truth[0, :3], truth[1, :2] = 4, 2
    masks = np.zeros((3, *SIZE), bool)
    masks[0, :2], masks[1, 5:], masks[2, :2, :2] = True, True, True
    assert isam2.majority(truth, masks).tolist() == [4, -1, 2]  # 3 against 2 pixels; void alone; 2 against 2
    assert [c.tolist() for c in isam2.true_classes(clip_of([truth]), made([masks], [(0, 1, 2)], [0]))] == [
        [4, -1, 2]
    ]


def test_samples_are_labelled_and_spread():
    dataset = make_dataset(clips=5, frames=7, size=SIZE)
    chosen = samples_file.spread(dataset, 2, 3)
    assert [(clip.name, frames) for clip, frames in chosen] == [("clip0", [1, 3, 5]), ("clip2", [1, 3, 5])]
    assert len(samples_file.spread(dataset, 0, 1)) == len(samples_file.spread(dataset, 9, 1)) == 5
    void, mixed = np.zeros((2, *SIZE), bool)
    void[:2], mixed[5:] = True, True
    bright = isam2.Encoder(
        "bright", "", lambda images: np.stack([i.transpose(2, 0, 1).astype(np.float32) for i in images])
    )
    samples = samples_file.gather(
        [bright], [(dataset.clips[0], [0]), (dataset.clips[1], [2])], lambda image: np.stack([void, mixed])
    )
    assert samples.labels.tolist() == [1, 0] and samples.clips.tolist() == ["clip0", "clip1"]
    np.testing.assert_allclose(samples.vectors["bright"][:, 0], [255 * 9 / 17, 255 * 1 / 17], rtol=1e-5)

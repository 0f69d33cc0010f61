"""Equations 1 and 2 by hand, and against an oracle that asks each pixel."""

from itertools import permutations

import numpy as np
import oracles
import pytest
from pycocotools import mask as coco
from toy import make_masklets

from lib import refiner
from lib.config import VoteSettings
from lib.masklets import FrameMasklets, as_text
from lib.refiner import refine_clip, refine_frame
from lib.study.controls import per_pixel_majority, sliding_vote

H, W = 13, 17


def random_labels(rng, n=1):
    """(n, H, W): blocks of few classes, the ends of the range among them, and void."""
    blocks = rng.choice(np.array([0, 3, 123, 254, 255], np.uint8), (n, 4, 5))
    labels = blocks.repeat(4, 1)[:, :H].repeat(4, 2)[:, :, :W]
    speckle = rng.random(labels.shape) < 0.2
    return np.where(speckle, rng.choice(np.array([0, 7, 255], np.uint8), labels.shape), labels)


def random_masks(rng, n):
    """(n, H, W) boxes and speckles; often two of equal area, sometimes one that is empty or full."""
    masks = np.zeros((n, H, W), bool)
    for mask in masks:
        y, x = rng.integers(0, (H, W))
        mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
    if n > 1:
        masks[1] = np.roll(masks[0], rng.integers(-4, 5, 2), (0, 1))
    if n > 3:
        masks[2], masks[3] = rng.random((H, W)) < 0.3, rng.random() < 0.5
    return masks


@pytest.mark.parametrize("seed", range(12))
def test_refine_frame_against_oracle(seed):
    rng = np.random.default_rng(seed)
    for n in (0, 1, 2, 5):
        (semantic,), masks = random_labels(rng), random_masks(rng, n)
        before = semantic.copy(), masks.copy()
        refined = refine_frame(semantic, masks)
        assert refined.dtype == np.uint8
        np.testing.assert_array_equal(refined, oracles.refine(semantic, masks))
        # views, too
        np.testing.assert_array_equal(
            refine_frame(semantic[::-1, ::-1], masks[:, ::-1, ::-1]), refined[::-1, ::-1]
        )
        scores = rng.choice([0.6, 0.7, 0.9], n)
        np.testing.assert_array_equal(
            refine_frame(semantic, masks, scores), oracles.refine(semantic, masks, scores=scores)
        )
        np.testing.assert_array_equal(semantic, before[0])  # inputs stay
        np.testing.assert_array_equal(masks, before[1])


@pytest.mark.parametrize("seed", range(4))
def test_order_of_masks_never_matters(seed):
    rng = np.random.default_rng(seed)
    (semantic,), masks = random_labels(rng), random_masks(rng, 4)
    masks[3] = np.roll(masks[0], 2, 1)  # three of nearly equal area
    results = {refine_frame(semantic, masks[list(order)]).tobytes() for order in permutations(range(4))}
    assert len(results) == 1


def test_by_hand():
    semantic = np.array([[1, 1, 2], [3, 2, 255]], np.uint8)
    large = np.array([[1, 1, 1], [0, 1, 1]], bool)  # 1 twice, 2 twice, void once: a tie, so 1
    small = np.array([[0, 0, 1], [0, 0, 1]], bool)  # 2 once
    np.testing.assert_array_equal(refine_frame(semantic, np.stack([small, large])), [[1, 1, 2], [3, 1, 2]])
    np.testing.assert_array_equal(
        refine_frame(semantic, np.stack([small, large]), np.array([0.7, 0.9])), [[1, 1, 1], [3, 1, 1]]
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([5, 5, 3, 3], 3),  # a tie goes to the lowest class id
        ([3, 5, 5, 255], 5),
        ([255, 255, 255, 9], 9),  # void does not vote
        ([255, 255, 255, 255], 255),  # void alone leaves S as it is
        ([254, 254, 254, 0], 254),
    ],
)
def test_one_mask(labels, expected):
    semantic = np.array([[*labels, 8]], np.uint8)
    masks = np.array([[[1, 1, 1, 1, 0]]], bool)
    assert refine_frame(semantic, masks).tolist() == [[expected] * 4 + [8]]


def test_a_mask_of_void_alone_hides_nothing_below():
    semantic = np.array([[4, 4, 4, 255]], np.uint8)
    masks = np.array([[[0, 0, 0, 1]], [[1, 1, 1, 1]]], bool)
    assert refine_frame(semantic, masks).tolist() == [[4, 4, 4, 4]]


@pytest.mark.parametrize(
    ("semantic", "masks"),
    [
        (np.zeros((H, W), np.int64), np.zeros((2, H, W), bool)),
        (np.zeros((1, H, W), np.uint8), np.zeros((2, H, W), bool)),
        (np.zeros((H, W), np.uint8), np.zeros((2, H, W), np.uint8)),
        (np.zeros((H, W), np.uint8), np.zeros((2, W, H), bool)),
        (np.zeros((H, W), np.uint8), np.zeros((H, W), bool)),
        (np.zeros((H, W), np.uint8), np.zeros((0, 0, 0), bool)),
    ],
)
def test_wrong_dtype_or_shape(semantic, masks):
    with pytest.raises(ValueError, match="Expected `(semantic|masks)` to be .* but got"):
        refine_frame(semantic, masks)


@pytest.mark.parametrize("scope", ["frame", "masklet"])
@pytest.mark.parametrize("overlap", ["area", "score"])
def test_refine_clip_against_oracle(scope, overlap):
    rng = np.random.default_rng(5)
    predictions = random_labels(rng, 5)
    windows = [[random_masks(rng, 4) for _ in range(3)], [random_masks(rng, 2) for _ in range(2)]]
    found = make_masklets(windows)
    refined = list(refine_clip(predictions, found, VoteSettings(overlap, scope)))
    t = 0
    for masks_of in windows:
        span = range(t, t + len(masks_of))
        scores = found.frames[t].iou if overlap == "score" else None
        votes = None
        if scope == "masklet":
            votes = [
                oracles.count_votes(
                    np.stack([predictions[u] for u in span]), np.stack([m[i] for m in masks_of])
                )
                for i in range(len(masks_of[0]))
            ]
        for u, masks in zip(span, masks_of):
            np.testing.assert_array_equal(refined[u], oracles.refine(predictions[u], masks, votes, scores))
        t = span.stop
    assert t == len(refined) == 5


def test_refine_clip_without_masklets_and_with_a_missing_prediction():
    predictions = random_labels(np.random.default_rng(0), 2)
    none = make_masklets([[np.zeros((0, H, W), bool)] * 2])
    for scope in ("frame", "masklet"):
        np.testing.assert_array_equal(
            list(refine_clip(predictions, none, VoteSettings(scope=scope))), predictions
        )
    with pytest.raises(ValueError, match=r"one prediction per frame of street \(2\), but got 1"):
        next(refine_clip(predictions[:1], none))


def test_per_pixel_majority_against_oracle():
    rng = np.random.default_rng(3)
    predictions = random_labels(rng, 8)
    predictions[5:, :4] = 255
    found = make_masklets([[random_masks(rng, 1)] * n for n in (3, 2, 3)])
    expected = [
        oracles.majority(predictions[start:end])
        for start, end in ((0, 3), (3, 5), (5, 8))
        for _ in range(start, end)
    ]
    np.testing.assert_array_equal(list(per_pixel_majority(predictions, found)), expected)
    assert (expected[-1][:4] == 255).all() and (expected[0] != 255).any()
    np.testing.assert_array_equal(
        list(per_pixel_majority(np.full_like(predictions, 255), found)), np.full_like(predictions, 255)
    )


@pytest.mark.parametrize("n_frames, n", [(9, 14), (9, 5), (5, 12), (3, 1), (1, 4)])
def test_sliding_vote_against_oracle(n_frames, n):
    """Of clips longer and shorter than the vote, with void, where ties are many."""
    predictions = random_labels(np.random.default_rng(n), n)
    predictions[n // 2 :, :4] = 255
    found = list(sliding_vote(predictions, n_frames))
    np.testing.assert_array_equal(found, oracles.sliding_vote(predictions, n_frames))
    assert len(found) == n and all(frame.dtype == np.uint8 for frame in found)
    if n_frames == 1:
        np.testing.assert_array_equal(found, predictions)


def test_sliding_vote_by_hand():
    """One row of pixels over five frames, vote over three: a flicker goes, an edge that moves stays, ties keep the
    frame's own label, void takes what its neighbours say, and void in all of them stays."""
    flicker, moves, tie, hole, void, equal = (
        [3, 7, 3, 3, 3],
        [1, 1, 2, 2, 2],
        [5, 4, 6, 4, 5],
        [8, 255, 8, 8, 8],
        [255] * 5,
        [9, 255, 2, 2, 255],
    )
    frames = np.array([flicker, moves, tie, hole, void, equal], np.uint8).T[:, None]
    found = np.array(list(sliding_vote(frames, 3)))[:, 0].T.tolist()
    assert found == [
        [3, 3, 3, 3, 3],
        [1, 1, 2, 2, 2],
        [5, 4, 4, 4, 5],
        [8, 8, 8, 8, 8],
        [255] * 5,
        [9, 2, 2, 2, 2],
    ]
    for wrong in (0, 4, 129):
        with pytest.raises(ValueError, match="odd and in 1..127"):
            next(sliding_vote(frames, wrong))


def test_boxes_by_any_way(rng=np.random.default_rng(3)):
    """From masks by rows, from masks by columns, and from RLEs: the same boxes, an empty one for an empty
    mask."""
    masks = np.zeros((6, 23, 31), bool)
    for mask in masks[:5]:
        y, x = rng.integers(0, 23), rng.integers(0, 31)
        mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
    rles = tuple(as_text(coco.encode(np.asfortranarray(mask, np.uint8))) for mask in masks)
    frame = FrameMasklets(0, tuple(range(6)), rles, (1.0,) * 6, (1.0,) * 6)
    by_columns = frame.masks((23, 31))
    assert by_columns.dtype == bool and (by_columns == masks).all() and not by_columns.flags.c_contiguous
    for boxes in (refiner._boxes(masks), refiner._boxes(by_columns), frame.boxes()):
        for mask, (rows, columns) in zip(masks, boxes, strict=True):
            inside = mask[rows, columns]
            assert inside.sum() == mask.sum() and (
                inside.size == 0
                if not mask.any()
                else all((inside.any(0)[[0, -1]], inside.any(1)[[0, -1]])[i].all() for i in (0, 1))
            )
    assert refiner._boxes(np.zeros((0, 4, 4), bool)) == FrameMasklets(0, (), (), (), ()).boxes() == []

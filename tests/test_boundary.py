"""Accuracy by distance to the true boundary, against a hand count and a slow oracle."""

import numpy as np
import pytest

from lib.boundary import accuracy, accuracy_by_distance, distance_to_boundary
from lib.config import VOID


def slow_distance(truth):
    """Every pixel against every pixel of another class."""
    found = np.full(truth.shape, np.nan)
    pixels = [(y, x) for y in range(truth.shape[0]) for x in range(truth.shape[1]) if truth[y, x] != VOID]
    for y, x in pixels:
        others = [((y - v) ** 2 + (x - u) ** 2) ** 0.5 for v, u in pixels if truth[v, u] != truth[y, x]]
        found[y, x] = min(others, default=np.inf)
    return found


def slow_counts(truths, predictions, edges):
    lows, highs = (0, *edges), (*edges, np.inf)
    counts = np.zeros((2, len(highs)), int)
    for truth, predicted in zip(truths, predictions):
        distance = slow_distance(truth)
        for y, x in np.ndindex(truth.shape):
            for b, (low, high) in enumerate(zip(lows, highs)):
                if truth[y, x] != VOID and low < distance[y, x] <= high:
                    counts[:, b] += truth[y, x] == predicted[y, x], 1
    return counts


def blobs(rng, size=(13, 17), classes=4):
    """Patches of a few classes with a void patch, as truths have them."""
    labels = np.repeat(np.repeat(rng.integers(0, classes, (4, 4)), 5, 0), 5, 1)[: size[0], : size[1]].astype(
        np.uint8
    )
    y, x = rng.integers(0, 9, 2)
    labels[y : y + 4, x : x + 5] = VOID
    return labels


def test_by_hand():
    truth = np.array([[0, 0, 0, 1, VOID, 0]], np.uint8)
    assert distance_to_boundary(truth)[0, [0, 1, 2, 3, 5]].tolist() == [3, 2, 1, 1, 2]  # the last across void
    assert np.isnan(distance_to_boundary(truth)[0, 4])
    # wrong at distance 2, 1 and, with nothing predicted, 2
    predicted = np.array([[0, 5, 0, 0, 1, VOID]], np.uint8)
    assert accuracy_by_distance([truth] * 2, [[predicted] * 2, [truth] * 2], (1, 2)).tolist() == [
        [[2, 0, 2], [4, 4, 2]],
        [[4, 4, 2]] * 2,
    ]


def test_a_diagonal_neighbour_is_further_than_one_pixel():
    truth = np.zeros((3, 3), np.uint8)
    truth[0, 0] = 7
    assert distance_to_boundary(truth)[1, 1] == pytest.approx(2**0.5)
    assert accuracy_by_distance([truth], [[truth]], (1, 2)).tolist() == [[[3, 3, 3]] * 2]


def test_equals_the_slow_oracle():
    rng = np.random.default_rng(0)
    truths = [blobs(rng) for _ in range(4)]
    predictions = [np.where(rng.random(t.shape) < 0.3, blobs(rng), t) for t in truths]
    for truth in truths:
        np.testing.assert_allclose(distance_to_boundary(truth), slow_distance(truth), rtol=1e-6)
    for edges in ((1, 2, 4), (1.5, 3), (2,), ()):
        assert (
            accuracy_by_distance(truths, [predictions], edges)[0].tolist()
            == slow_counts(truths, predictions, edges).tolist()
        )


def test_measured_in_boxes_near_distances_are_the_same():
    rng = np.random.default_rng(1)
    for within in (1, 4, 7.5):
        truth = blobs(rng, (60, 80))
        near, full = distance_to_boundary(truth, within), distance_to_boundary(truth)
        assert (
            np.array_equal(near[full <= within], full[full <= within])
            and (near[full > within] > within).all()
        )
        assert np.array_equal(np.isnan(near), truth == VOID)


def test_a_distance_of_whole_pixels_is_exact():
    """It is an edge between bins, and cv2 rounds."""
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 35:] = 1
    assert distance_to_boundary(truth)[0, :35].tolist() == list(range(35, 0, -1))


@pytest.mark.parametrize(
    "truth", [np.full((5, 7), 3, np.uint8), np.pad(np.full((5, 7), 3, np.uint8), 2, constant_values=VOID)]
)
def test_without_a_boundary_every_pixel_is_beyond(truth):
    assert accuracy_by_distance([truth], [[truth]], (1, 32)).tolist() == [[[0, 0, 35]] * 2]


def test_void_alone_judges_nothing():
    truth = np.full((5, 7), VOID, np.uint8)
    (counts,) = accuracy_by_distance([truth], [[truth]])
    assert not counts.any() and np.isnan(accuracy([counts])).all()


def test_refuses_what_does_not_fit():
    frame = np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        accuracy_by_distance([frame, frame], [[frame]])
    with pytest.raises(ValueError, match=r"size \(3, 4\), but got \(4, 3\)"):
        accuracy_by_distance([frame], [[frame.T]])
    with pytest.raises(ValueError, match=r"to rise, but got \(2, 1\)"):
        accuracy_by_distance([frame], [[frame]], (2, 1))
    with pytest.raises(ValueError, match="same pixels"):
        accuracy([np.array([[1], [2]])], other=[np.array([[1], [3]])])


def test_clips_are_pooled_and_differences_paired():
    base = [np.array([[5, 0], [10, 0]]), np.array([[80, 3], [90, 4]]), np.array([[1, 1], [20, 4]])]
    # 10 points more in every clip
    refined = [c + np.array([[d, 0], [0, 0]]) for c, d in zip(base, (1, 9, 2))]
    value, low, high = accuracy(base)
    assert value.tolist() == [100 * 86 / 120, 50] and low[0] < value[0] < high[0]
    value, low, high = accuracy(refined, other=base)
    # paired: the difference is the same in every draw
    np.testing.assert_allclose([value[0], low[0], high[0]], 10)
    np.testing.assert_allclose([value[1], low[1], high[1]], 0)


def test_one_clip_has_no_interval():
    value, low, high = accuracy([np.array([[1], [2]])])
    assert value == 50 and np.isnan([low, high]).all()

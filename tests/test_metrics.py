import logging
import tracemalloc

import numpy as np
import oracles
import pytest
from toy import random_clip

from lib import metrics
from lib.metrics import count_clip, left_out, per_class, per_clip, summarise

V = 255  # void in the truth, nothing in a prediction
N = 5  # classes of the random clips, of which the truth lacks class 3


def labels(*rows):
    return np.array(rows, np.uint8)


def clip(truth, predicted, n_frames=1):
    """Repeat one frame."""
    return np.stack([truth] * n_frames), np.stack([predicted] * n_frames)


def count(clips, n_classes=N, **options):
    return [count_clip(f"clip{i}", *c, n_classes, **options) for i, c in enumerate(clips)]


def assert_same(scores, expected):
    assert list(scores) == list(expected)
    for metric in expected:
        assert scores[metric] == pytest.approx(expected[metric], abs=1e-9, nan_ok=True), metric


# Worked by hand. Class 0: truth 3 pixels, 1 found, predicted 1. Class 1: truth 2, both found, predicted 3.
# The prediction
# on void does not count. All 5 labelled pixels are boundary, and one of them is predicted as nothing.
TRUTH = labels([0, 0, 1], [0, 1, V])
PREDICTED = labels([0, 1, 1], [V, 1, 0])


def test_iou_by_hand():
    counts = count([clip(TRUTH, PREDICTED)], 3)
    assert per_class(counts, "paper") == pytest.approx([100 / 3, 200 / 3, np.nan], nan_ok=True)
    scores = summarise(counts, "paper")
    assert scores["mIoU"] == pytest.approx(50)
    assert scores["wIoU"] == pytest.approx(100 * (3 / 5 * 1 / 3 + 2 / 5 * 2 / 3))


def test_boundary_by_hand():
    assert summarise(count([clip(TRUTH, PREDICTED)], 2), "paper")["mBIoU"] == pytest.approx(
        100 * 3 / (5 + 4 - 3)
    )
    # One row: the border between columns 2 and 3 reaches two pixels to each side; the frame's edge is no
    # border.
    truth, predicted = labels([0, 0, 0, 1, 1, 1, 1]), labels([1, 0, 1, 1, 1, 1, 0])
    count_row = count_clip("row", [truth], [predicted], 2)
    assert (count_row.boundary_frames, count_row.boundary_iou) == (1, pytest.approx(3 / (4 + 4 - 3)))
    by_class = count_clip("row", [truth], [predicted], 2, pool="classes")
    assert by_class.boundary_iou == pytest.approx((1 / (2 + 1 - 1) + 2 / (2 + 3 - 2)) / 2)
    narrow = count_clip("row", [truth], [predicted], 2, boundary_px=3)
    assert narrow.boundary_iou == pytest.approx(1 / (2 + 2 - 1))


def test_void_is_no_boundary_and_erodes_nothing():
    # the classes are three pixels apart, one more than the square reaches
    far = labels([0, 0, 0, V, V, 1, 1])
    assert count_clip("a", [far], [far], 2).boundary_frames == 0
    # columns 2 and 4 see each other; the prediction on the void between is free
    near = labels([0, 0, 0, V, 1, 1])
    counts = count_clip("a", [near], [labels([0, 0, 0, 1, 1, 0])], 2)
    assert (counts.boundary_frames, counts.boundary_iou) == (1, 1)


def test_consistency_by_hand():
    truth = np.stack([TRUTH, TRUTH, labels([1, 0, 1], [0, 1, V])])
    predicted = np.stack(
        [labels([0, 0, 1], [1, 1, 0]), labels([0, 1, 1], [1, 1, 0]), labels([0, 1, 1], [0, 1, 1])]
    )
    counts = count_clip("a", truth, predicted, 2, windows=(2,))
    # Script: the last window is lost; void is in the common area, and there as elsewhere a constant mistake
    # is right.
    assert (counts.vspw_windows[0], counts.vspw_vc[0]) == (1, pytest.approx(5 / 6))
    assert (counts.eq4_windows[0], counts.eq4_vc[0]) == (2, pytest.approx(3 / 5 + 2 / 4))
    assert summarise([counts], "paper")["mVC2_eq4"] == pytest.approx(55)


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
@pytest.mark.parametrize("options", [{}, {"pool": "classes"}, {"boundary_px": 3}])
def test_against_oracle(protocol, options):
    clips = [random_clip(n_frames, seed) for seed, n_frames in enumerate((17, 21, 16, 10, 7))]
    renamed = {"side" if key == "boundary_px" else key: value for key, value in options.items()}
    assert_same(summarise(count(clips, **options), protocol), oracles.summary(clips, N, protocol, **renamed))


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 4), (3, 29)])
def test_against_oracle_on_slim_frames(shape):
    clips = [random_clip(18, 3, shape), random_clip(9, 4, shape)]
    assert_same(summarise(count(clips)), oracles.summary(clips, N))


def test_every_window_length_in_one_pass():
    truth, predicted = random_clip(23, 5)
    windows = (1, 2, 8, 16, 22, 23, 24)
    counts = count_clip("a", truth, predicted, N, windows)
    for i, n in enumerate(windows):
        script, eq4 = oracles.script_windows(truth, predicted, n), oracles.eq4_windows(truth, predicted, n)
        assert (counts.vspw_windows[i], counts.eq4_windows[i]) == (max(23 - n, 0), max(24 - n, 0))
        assert (counts.vspw_vc[i], counts.eq4_vc[i]) == (pytest.approx(sum(script)), pytest.approx(sum(eq4)))


def test_runs_saturate_beyond_255_frames():
    counts = count_clip("a", *clip(TRUTH, PREDICTED, 300), 2, windows=(8, 255))
    assert counts.vspw_windows.tolist() == counts.vspw_vc.tolist() == [292, 45]
    assert counts.eq4_windows.tolist() == [293, 46]
    assert counts.eq4_vc == pytest.approx([293 * 3 / 5, 46 * 3 / 5])


def test_windows_without_common_area_do_not_count():
    other = np.where(TRUTH == V, 0, 1 - TRUTH).astype(np.uint8)  # no pixel keeps its label
    truth = np.stack([TRUTH, TRUTH, other, other, TRUTH, TRUTH])
    counts = count_clip("a", truth, truth, 2, windows=(2, 3))
    assert counts.vspw_windows.tolist() == counts.vspw_vc.tolist() == [2, 0]
    assert counts.eq4_windows.tolist() == counts.eq4_vc.tolist() == [3, 0]


def test_views_are_taken_as_they_are():
    clips = [tuple(part[:, ::-1, 1::2] for part in random_clip(18, 9))]
    assert_same(summarise(count(clips)), oracles.summary(clips, N))


def test_per_class_and_per_clip():
    clips = [random_clip(n_frames, seed) for seed, n_frames in enumerate((17, 10, 20))]
    counts = count(clips)
    assert per_class(counts, "paper") == pytest.approx(100 * oracles.class_iou(clips, N)[0], nan_ok=True)
    assert np.isnan(per_class(counts)[3])
    for protocol in metrics.PROTOCOLS:
        assert np.nanmean(per_class(counts, protocol)) == pytest.approx(summarise(counts, protocol)["mIoU"])
        for c, one in zip(counts, clips, strict=True):
            assert_same(per_clip(counts, protocol)[c.name], oracles.summary([one], N, protocol))


def test_void_only():
    scores = summarise(count([clip(np.full((13, 17), V, np.uint8), np.zeros((13, 17), np.uint8), 17)]))
    undefined = {metric for metric, score in scores.items() if np.isnan(score)}
    assert undefined == {"mIoU", "wIoU", "mBIoU", "mVC8_eq4", "mVC16_eq4"}
    assert scores["mVC8"] == scores["mVC16"] == 100  # to the script void is a class like any other


def test_constant_wrong_prediction():
    truth = np.zeros((13, 17), np.uint8)
    truth[:, 8:] = 1
    scores = summarise(count([clip(truth, np.full_like(truth, 2), 20)]))
    assert (scores["mVC8"], scores["mVC16"]) == (100, 100)
    assert (
        scores["mIoU"] == scores["wIoU"] == scores["mBIoU"] == scores["mVC8_eq4"] == scores["mVC16_eq4"] == 0
    )


def test_nothing_predicted_is_a_miss_but_no_false_positive():
    truth, predicted = labels([0, 0, 1, 1]), labels([0, V, 1, 1])
    scores = summarise(count([clip(truth, predicted, 17)], 2))
    assert scores["mIoU"] == 75
    assert scores["mBIoU"] == 75
    assert scores["mVC8_eq4"] == 75
    assert summarise(count([clip(truth, np.full_like(truth, V))]), "paper")["mIoU"] == 0


def test_clip_of_16_and_of_17_frames(caplog):
    short, long = count([clip(TRUTH, PREDICTED, 16), clip(TRUTH, PREDICTED, 17)], 2)
    assert (left_out([short, long]), left_out([short, long], "paper")) == ((short.name,), ())
    assert summarise([short, long], "vspw") == summarise([long], "vspw")
    assert long.vspw_windows.tolist() == [9, 1]
    assert short.eq4_windows.tolist() == [9, 1]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        scores = summarise([short, short])
    assert "all clips here (2)" in caplog.text and "'paper'" in caplog.text
    assert [metric for metric, score in scores.items() if not np.isnan(score)] == ["mVC8_eq4", "mVC16_eq4"]
    assert np.isnan(per_class([short, short])).all() and not np.isnan(per_class([short], "paper")).any()


@pytest.mark.parametrize(("n_frames", "n_windows"), [(7, 0), (8, 1)])
def test_clip_as_long_as_the_window(n_frames, n_windows):
    counts = count_clip("a", *clip(TRUTH, TRUTH, n_frames), 2)
    assert counts.eq4_windows.tolist() == [n_windows, 0]
    assert summarise([counts], "paper")["mVC8_eq4"] == pytest.approx(
        100 if n_windows else np.nan, nan_ok=True
    )


def test_buffers_may_be_reused():
    truth, predicted = random_clip(18, 6)

    def refilled(frames):
        buffer = np.empty_like(frames[0])
        for frame in frames:
            buffer[:] = frame
            yield buffer

    assert_same(
        summarise([count_clip("a", refilled(truth), refilled(predicted), N)]),
        oracles.summary([(truth, predicted)], N),
    )


def test_frames_too_large_for_cv2_counts(monkeypatch):
    truth, predicted = random_clip(18, 7)
    expected = [summarise(count([(truth, predicted)], pool=pool)) for pool in metrics.POOLS]
    monkeypatch.setattr(metrics, "CV2_EXACT_PX", 1)
    monkeypatch.setattr(metrics.cv2, "calcHist", None)
    assert [summarise(count([(truth, predicted)], pool=pool)) for pool in metrics.POOLS] == expected


def test_memory_does_not_grow_with_the_clip():
    def peak(n_frames):
        (truth,), (predicted,) = random_clip(1, 8, (120, 160))
        tracemalloc.start()
        count_clip(
            "a", (truth.copy() for _ in range(n_frames)), (predicted.copy() for _ in range(n_frames)), N
        )
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    assert 120 * 160 < peak(200) <= 1.1 * peak(20)


@pytest.mark.parametrize(
    ("truth", "predicted", "n_classes", "message"),
    [
        ([TRUTH], [PREDICTED + 2], 3, "frame 0: expected class ids 0..2 or 255 in the prediction, but got 3"),
        (
            [TRUTH, TRUTH],
            [TRUTH, TRUTH],
            1,
            "frame 0: expected class ids 0..0 or 255 in the truth, but got 1",
        ),
        (
            [TRUTH, TRUTH],
            [TRUTH],
            2,
            "frame 1: expected as many predictions as truth frames, but the prediction ends",
        ),
        ([TRUTH], [TRUTH, TRUTH], 2, "the truth ends here"),
        ([TRUTH], [TRUTH.T], 2, r"expected the size of the first truth frame, \(2, 3\), but got \(3, 2\)"),
        ([TRUTH], [TRUTH.astype(int)], 2, r"expected labels \(H, W\) uint8, but got \(2, 3\) int64"),
        ([], [], 2, "at least one frame"),
        ([TRUTH], [TRUTH], 256, "1..255"),
    ],
)
def test_bad_frames(truth, predicted, n_classes, message):
    with pytest.raises(ValueError, match=message):
        count_clip("a", truth, predicted, n_classes)


@pytest.mark.parametrize(
    "options", [{"windows": (0,)}, {"windows": ()}, {"windows": (256,)}, {"boundary_px": 4}, {"pool": "x"}]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="Expected `"):
        count_clip("a", [TRUTH], [TRUTH], 2, **options)


def test_counts_must_go_together():
    two, three = count_clip("a", [TRUTH], [TRUTH], 2), count_clip("b", [TRUTH], [TRUTH], 3)
    for wrong in ([], [two, three], [two, count_clip("b", [TRUTH], [TRUTH], 2, windows=(8,))]):
        with pytest.raises(ValueError, match="Expected"):
            summarise(wrong)
    with pytest.raises(ValueError, match="protocol"):
        summarise([two], "coco")


def test_blocks_are_what_their_frames_and_windows_give():
    """Against the oracles, frame by frame and window by window: a window belongs to the block it starts in."""
    truth, predicted = clip = random_clip(27, 5)
    whole = count_clip("a", *clip, N)
    counts = count_clip("a", *clip, N, block_frames=8)
    assert len(counts.blocks) == 4 and whole.blocks == () and {b.n_frames for b in counts.blocks} == {27}
    for name in metrics.ADDED:
        np.testing.assert_allclose(getattr(counts, name), getattr(whole, name), rtol=1e-12)
    for i, block in enumerate(counts.blocks):
        frames = slice(8 * i, 8 * i + 8)
        alone = count_clip("a", truth[frames], predicted[frames], N)
        for name in ("correct_px", "truth_px", "predicted_px", "boundary_frames", "boundary_iou"):
            np.testing.assert_allclose(getattr(block, name), getattr(alone, name), rtol=1e-12, err_msg=name)
        for k, n in enumerate((8, 16)):
            for kind, windows in (("vspw", oracles.script_windows), ("eq4", oracles.eq4_windows)):
                known = [vc for vc in windows(*clip, n)[frames] if not np.isnan(vc)]
                assert getattr(block, f"{kind}_windows")[k] == len(known)
                assert getattr(block, f"{kind}_vc")[k] == pytest.approx(sum(known))
    assert counts.blocks[2].vspw_windows.tolist() == [3, 0], "the clip ends: starts 16, 17, 18, and none"


def test_blocks_add_up_with_one_left_out():
    clip = random_clip(20, 6)
    counts = count_clip("a", *clip, N, block_frames=8)
    without = metrics.add_blocks(counts.blocks[1:])
    assert (without.truth_px + counts.blocks[0].truth_px).tolist() == counts.truth_px.tolist()
    assert without.n_frames == 20, "so that the protocol leaves out the whole clip or nothing of it"
    assert len(count_clip("a", *clip, N, block_frames=50).blocks) == 1
    with pytest.raises(ValueError, match="`block_frames` to be 0 or more, but got -1"):
        count_clip("a", *clip, N, block_frames=-1)

"""Predicted cost: by hand on small numbers, and larger where there is more to do."""

from dataclasses import replace

import numpy as np
import pytest
from toy import make_dataset, make_masklets

from lib import cost as rooms
from lib import paths
from lib.config import MaskletSettings
from lib.cost import flops, parts
from lib.cost import forecast as cost
from lib.cost.forecast import predict_cost

RATE = flops.Rate(model=10, clicks=5, masks=2, votes=4, how="10 GFLOP/s by decree")
TOY = flops.Flops(
    encoder=100,
    decoder=1,
    attention=20,
    memory=5,
    pointer=0.5,
    memory_encoder=3,
    n_memories=2,
    n_pointers=3,
    params=1,
    image_px=64,
    width=8,
    memory_width=4,
)
SETTINGS = MaskletSettings(window=4, grid=2)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(flops.FLOPS, "toy", TOY)


def predict(lengths=(6,), masklets=3.0, size=(1000, 1000), settings=SETTINGS, sam="micro", **options):
    return predict_cost(list(lengths), size, settings, sam, masklets, RATE, **options)


def test_windows_of_clips():
    assert cost.window_lengths([6, 4, 3], 4) == {4: 2, 2: 1, 3: 1}
    assert cost.window_lengths([2, 2], 1) == {1: 4}


def test_operations_by_hand(toy):
    """Six frames are a window of four and one of two; three objects; four clicks a window."""
    found = predict(sam="toy")
    assert (
        found.frames == 6
        and found.gflop["encoder"] == 6 * 100
        and found.gflop["proposals"] == 2 * (100 + 4 * 1)
    )
    two = 2 * 1 + 3 + (20 + 5 + 0.5)  # two decoders, one memory encoded, one memory attended to
    # at most two memories, three pointers
    four = 4 * 1 + 3 * 3 + (20 + 5 + 0.5) + (20 + 10 + 1.0) + (20 + 10 + 1.5)
    assert found.gflop["tracking"] == pytest.approx(3 * (two + four))


def test_seconds_by_hand(toy):
    """Frames of a million pixels: three masks a click are enlarged, then each masklet once a frame."""
    found = predict(sam="toy")
    assert found.seconds["encoder"] == pytest.approx(600 / 10)
    assert found.seconds["proposals"] == pytest.approx(2 * (100 / 10 + 4 / 5 + 4 * 3 / 2))
    assert found.seconds["tracking"] == pytest.approx(found.gflop["tracking"] / 10 + 6 * 3 / 2)
    assert found.seconds["vote"] == pytest.approx(6 * 3 / 4) and found.total_s == pytest.approx(
        sum(found.seconds.values())
    )


def test_mean_over_a_window_of_the_released_models():
    """558 GFLOP per object-frame were counted over a window of 32 frames."""
    assert cost.object_gflop(flops.FLOPS["large"], 32) / 32 == pytest.approx(558, rel=0.02)


@pytest.mark.parametrize(
    "more",
    [
        {"masklets": 4.0},
        {"lengths": (7,)},
        {"lengths": (6, 1)},
        {"settings": replace(SETTINGS, grid=3)},
        {"sam": "tiny"},
    ],
)
def test_more_work_costs_more(more):
    less, found = predict(), predict(**more)
    assert found.total_s > less.total_s and sum(found.gflop.values()) > sum(less.gflop.values())


def test_memory_grows_with_what_is_held():
    """With the objects up to a batch, slower beyond it; with the window until no memory is kept longer;
    never with the clip."""
    long, peak = (
        [100],
        lambda n, w=32, **options: (
            predict([100], n, (240, 427), MaskletSettings(window=w), **options).memory_bytes
        ),
    )
    assert peak(16.0) < peak(32.0) < peak(64.0) and peak(64.0) - peak(32.0) < peak(32.0) - peak(16.0)
    assert peak(64.0, 1) < peak(64.0, 4) < peak(64.0, 8) == peak(64.0, 32)
    assert (
        predict(long * 9, settings=MaskletSettings()).memory_bytes
        == predict(long, settings=MaskletSettings()).memory_bytes
    )
    # clicks that go together on either device
    few = lambda **options: predict([100], 8.0, (240, 427), MaskletSettings(grid=5), **options).memory_bytes
    assert few() - few(on_gpu=True) == cost.PROCESS_BYTES and peak(64.0, objects_per_batch=8) < peak(64.0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lengths": ()}, "lengths"),
        ({"lengths": (3, 0)}, "lengths"),
        ({"masklets": -1.0}, "masklets"),
        ({"masklets": np.nan}, "masklets"),
        ({"sam": "huge"}, "huge"),
    ],
)
def test_wrong_arguments(wrong, told):
    with pytest.raises(ValueError, match=told):
        predict(**wrong)


def test_expected_masklets_are_those_of_the_cache_under_the_same_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    assert cost.expected_masklets("micro", SETTINGS, "mini") == (cost.ASSUMED["micro"], "assumed")
    assert cost.expected_masklets("large", SETTINGS) == (cost.ASSUMED_RELEASED, "assumed")
    masks = np.ones((4, 6, 13, 17), bool)
    make_masklets([masks, masks[:, :2]], SETTINGS).save(tmp_path / "mini/masklets/a.json")
    make_masklets([masks[:, :1]], replace(SETTINGS, grid=9)).save(tmp_path / "mini/masklets/b.json")
    (tmp_path / "mini/masklets/c.json").write_text("{}")
    assert cost.expected_masklets("micro", SETTINGS, "mini") == (4.0, "mean of 1 clips in the cache")


@pytest.fixture
def decreed(monkeypatch):
    """A machine of known rate, without a GPU."""
    from lib import sam

    monkeypatch.setattr(rooms, "calibrate", lambda *_: RATE)
    monkeypatch.setattr(sam, "has_gpu", lambda: False)


def test_expectation_is_what_is_predicted(decreed):
    clips = make_dataset(clips=3, frames=40).clips
    lines = cost.expectation(clips, MaskletSettings(), "large")
    found = predict_cost([40] * 3, (64, 96), MaskletSettings(), "large", cost.ASSUMED_RELEASED, RATE)
    assert [line.partition(":")[0] for line in lines] == ["frames", "masklets", "time", "memory"]
    assert lines[0] == "frames: 120 in 3 clips of 64x96" and "about 60 a frame (assumed)" in lines[1]
    assert (
        f"about {cost.duration(found.total_s)} " in lines[2]
        and "estimated" in lines[2]
        and RATE.how in lines[2]
    )
    assert f"about {found.memory_bytes / 1e9:.1f} GB" in lines[3]


def test_forecast_is_one_line(decreed):
    line = cost.forecast(parts.build("micro"), make_dataset(clips=2, frames=5).clips, MaskletSettings())
    assert (
        line.startswith("10 frames in 2 clips to segment: about ")
        and " GB with 31 masklets a frame (assumed)" in line
        and "\n" not in line
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0.4 s"),
        (40.2, "40 s"),
        (89.9, "90 s"),
        (150, "2.5 minutes"),
        (3000, "50 minutes"),
        (9000, "2.5 hours"),
        (864000, "10 days"),
    ],
)
def test_durations(seconds, said):
    assert cost.duration(seconds) == said

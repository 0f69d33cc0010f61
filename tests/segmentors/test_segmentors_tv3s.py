"""TV3S against digests of the authors' network and a slow oracle, and what those do not show."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from seeded import assert_digest, seeded, seeded_features, seeded_head

from lib.clips.errors import DataError
from lib.segmentors import build, load, names
from lib.segmentors.tv3s import Mamba, VideoStates, by_doubling, in_turn, scan, sequences

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.no_grad()
def test_head_equals_the_original_in_all_modes():
    head, features = seeded_head("tv3s-b1"), seeded_features("b1", 4, (256, 384))
    # theirs has an unused classifier of 128 channels
    assert sum(p.numel() for p in head.parameters()) + 124 * 129 == 4109940
    assert len(head.state_dict()) + 2 == 101
    first, second, _, fourth = head.stream(features, {}).split(1)
    assert first.shape == (1, 124, 64, 96)
    # mode 0, see test_stream
    assert_digest(fourth, -0.015031, 0.832739, 1.30945, [1.32859, 1.32431, 1.22941, 0.33551])
    assert_digest(first, -0.019449, 0.833295, 1.14678, [0.69333, 0.89908, 1.27817, 2.42375])  # modes 1 and 2
    assert_digest(second, -0.026734, 0.822502, 1.50140, [1.83711, 1.23857, 0.48181, 0.60961])  # mode 2


def loop(u, dt, rates, b, c, state):
    """The recurrence, one token, channel vector and state at a time."""
    outputs = []
    for t in range(u.shape[1]):
        state = torch.stack(
            [
                torch.exp(dt[:, t] * rates[n]) * state[:, n] + dt[:, t] * u[:, t] * b[:, t, n, None]
                for n in range(len(rates))
            ],
            1,
        )
        outputs.append(sum(state[:, n] * c[:, t, n, None] for n in range(len(rates))))
    return torch.stack(outputs, 1), state


def scan_inputs(length, step=0.1):
    generator = torch.Generator().manual_seed(length)
    u, dt = (
        torch.randn(3, length, 5, generator=generator),
        step * torch.rand(3, length, 5, generator=generator),
    )
    b, c = torch.randn(2, 3, length, 4, generator=generator)
    return u, dt, -torch.arange(1.0, 5)[:, None].repeat(1, 5), b, c, torch.randn(3, 4, 5, generator=generator)


@pytest.mark.parametrize("solve", [in_turn, by_doubling])
@pytest.mark.parametrize("length, chunk", [(1, 16), (13, 1), (13, 4), (37, 16), (32, 16), (50, 64)])
@torch.no_grad()
def test_scan_equals_the_loop(solve, length, chunk):
    inputs = scan_inputs(length)
    y, state = scan(*inputs, chunk=chunk, solve=solve)
    expected, last = loop(*inputs)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("solve", [in_turn, by_doubling])
@torch.no_grad()
def test_scan_survives_large_steps(solve):
    inputs = scan_inputs(40, 100.0)
    torch.testing.assert_close(scan(*inputs, solve=solve)[0], loop(*inputs)[0], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("solve", [in_turn, by_doubling])
def test_scan_has_the_gradient_of_the_loop(solve):
    inputs = [x.double().requires_grad_() for x in scan_inputs(11)]
    found = torch.autograd.grad(scan(*inputs, chunk=4, solve=solve)[0].square().sum(), inputs)
    for gradient, expected in zip(
        found, torch.autograd.grad(loop(*inputs)[0].square().sum(), inputs), strict=True
    ):
        torch.testing.assert_close(gradient, expected)


@torch.no_grad()
def test_a_sequence_can_be_read_in_pieces():
    mamba, x = seeded(Mamba(32), "mixer."), torch.randn(2, 45, 32, generator=torch.Generator().manual_seed(0))
    whole, memory = mamba(x)
    pieces, carried = [], None
    for piece in x.split([1, 2, 20, 22], 1):
        y, carried = mamba(piece, carried)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-5, rtol=1e-5)
    for found, expected in zip(carried, memory, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def by_rolling(layers, norm, frames):
    """The layers as they are described: all frames at once, each window one sequence over time, odd layers
    rolled and cut into nine groups."""
    x = frames
    height, width = x.shape[1:3]
    for i, layer in enumerate(layers):
        normed, shift = layer.norm(x), 10 * (i % 2)
        rolled, out = normed.roll((-shift, -shift), (1, 2)), torch.zeros_like(x)
        rows, columns = (
            (list(range(0, n - 20 * (shift > 0), 20)) + ([n - 20, n - 10] if shift else []), n)
            for n in (height, width)
        )
        for top, left in itertools.product(rows[0], columns[0]):
            bottom = top + (10 if shift and top >= height - 20 else 20)
            right = left + (10 if shift and left >= width - 20 else 20)
            window = rolled[:, top:bottom, left:right]
            out[:, top:bottom, left:right] = layer.mixer(window.reshape(1, -1, window.shape[3]))[0].view(
                window.shape
            )
        x = x + out.roll((shift, shift), (1, 2))
    return norm(x)


@pytest.mark.parametrize("size", [(20, 20), (40, 60)])
@torch.no_grad()
def test_frame_by_frame_equals_all_frames_as_one_sequence(size):
    states = seeded(VideoStates(16, 2), "vs.")
    frames, memory = torch.randn(3, *size, 16, generator=torch.Generator().manual_seed(1)), {}
    found = torch.cat([states(frame, memory) for frame in frames.split(1)])
    torch.testing.assert_close(found, by_rolling(states.layers, states.norm_f, frames), atol=1e-4, rtol=1e-4)
    fresh = torch.cat([states(frame, {}) for frame in frames.split(1)])
    torch.testing.assert_close(fresh[:1], found[:1])
    assert (fresh[1:] - found[1:]).abs().max() > 1e-2  # memory matters
    both = states(frames[[1, 2]], {})  # clips side by side do not see each other
    torch.testing.assert_close(
        both, torch.cat([states(frames[[1]], {}), states(frames[[2]], {})]), atol=1e-5, rtol=1e-5
    )


def test_windows():
    groups, order = sequences(40, 60, True)
    assert [tuple(group.shape) for group in groups] == [(4, 100), (4, 200), (2, 200), (2, 400)]
    assert torch.equal(torch.cat([group.flatten() for group in groups])[order], torch.arange(2400))
    assert groups[3][1, 0] == 10 * 60 + 30 and groups[3][1, -1] == 29 * 60 + 49
    assert [tuple(group.shape) for group in sequences(40, 60, False)[0]] == [(6, 400)]


@torch.no_grad()
def test_stream():
    model = seeded(build("tv3s-n0", 7), "")
    images = torch.randn(6, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    logits = model.stream(images)
    assert logits.shape == (6, 7, 16, 24)
    state = {}
    pieces = [model.stream(piece, state) for piece in images.split([1, 5])]
    torch.testing.assert_close(torch.cat(pieces), logits, atol=1e-4, rtol=1e-4)
    # mode 0: four frames from fresh states
    torch.testing.assert_close(model(images[2:6]), model.stream(images[2:6])[3:], atol=1e-4, rtol=1e-4)
    assert (model(images[2:6]) - logits[5:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["tv3s-n0", "tv3s-n1"])
def test_micro_widths_train(name):
    model = build(name, 7)
    assert model.scale is None and build("tv3s-b1").scale == (853, 480)
    sequences.cache_clear()
    with torch.inference_mode():
        model(torch.randn(4, 3, 32, 64))  # leaves nothing behind that cannot be trained with
    model(torch.randn(4, 3, 32, 64)).square().mean().backward()
    assert {key for key, value in model.named_parameters() if value.grad is None} == {
        "decode_head.linear_pred.weight",
        "decode_head.linear_pred.bias",
    }
    assert all(
        value.grad.isfinite().all() and value.grad.any()
        for key, value in model.named_parameters()
        if ".vs." in key
    )


def test_new_step_sizes_are_those_of_mamba():
    dt = F.softplus(Mamba(64).dt_proj.bias)
    assert 0.001 <= dt.min() < dt.max() < 0.101


def test_names_are_those_of_released_checkpoints(tmp_path):
    assert {"tv3s-n0", "tv3s-b1", "tv3s-b5"} <= set(names()) and "tv3s-b0" not in names()
    model = build("tv3s-n0", 5)
    mixer = "decode_head.vs.layers.1.mixer."
    for key, shape in (
        ("in_proj.weight", (256, 64)),
        ("conv1d.weight", (128, 1, 4)),
        ("x_proj.weight", (36, 128)),
        ("dt_proj.weight", (128, 4)),
        ("A_log", (128, 16)),
        ("D", (128,)),
        ("out_proj.weight", (64, 128)),
    ):
        assert model.state_dict()[mixer + key].shape == shape
    torch.save(
        {"state_dict": model.state_dict() | {"decode_head.conv_seg.weight": torch.zeros(5, 128, 1, 1)}},
        tmp_path / "tv3s.pth",
    )
    loaded = load("tv3s-n0", tmp_path / "tv3s.pth")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    torch.save(
        {key: value for key, value in model.state_dict().items() if not key.endswith("A_log")},
        tmp_path / "cut.pth",
    )
    with pytest.raises(
        DataError, match="cut.pth: expected the weights of tv3s-n0, but found tensors 2 missing"
    ):
        load("tv3s-n0", tmp_path / "cut.pth")

"""Seeded weights and inputs, and digests of what the authors' networks make of them: equality without
their code or weights."""

import zlib

import numpy as np
import pytest
import torch

from lib.segmentors import build
from lib.segmentors.mit import WIDTHS


def random_state(key, seed):
    return np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)


def seeded_input(key, shape):
    return torch.from_numpy(random_state(key, 1).standard_normal(shape).astype(np.float32))


def seeded_features(width, n_frames, size):
    """c1..c4 of a MiT for frames of `size`; the first frame is the same for any number of frames."""
    return [
        seeded_input(f"c{i + 1}", (n_frames, dim, size[0] // 4 >> i, size[1] // 4 >> i))
        for i, dim in enumerate(WIDTHS[width].dims)
    ]


def seeded_weight(key, shape):
    random = random_state(key, 0)
    if key.endswith("running_var"):
        return 0.5 + random.random_sample(shape)
    z = random.standard_normal(shape)
    if key.endswith("running_mean"):
        return 0.1 * z
    if key.endswith("A_log"):
        return np.log(np.arange(1, shape[1] + 1)) + 0.1 * z
    if key.endswith(".D"):
        return 1 + 0.1 * z
    if key.endswith("dt_proj.bias"):
        return -4 + 0.5 * z
    if "relative_position_bias" in key:
        return 0.5 * z
    if len(shape) == 1:
        return (1 if key.endswith("weight") else 0) + 0.1 * z
    return z / np.sqrt(np.prod(shape[1:]))


def seeded(module, prefix):
    state = {
        key: torch.from_numpy(np.float32(seeded_weight(prefix + key, tuple(value.shape))))
        if value.is_floating_point()
        else value
        for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def seeded_head(name, **options):
    """The decode head of a model with seeded weights."""
    with torch.device("meta"):  # the backbone and first values are not needed
        head = build(name, **options).decode_head
    return seeded(head.to_empty(device="cpu"), "decode_head.")


def assert_digest(tensor, mean, std, projection, first):
    tensor = tensor.double()
    weights = np.random.RandomState(7).standard_normal(tensor.shape)
    assert tensor.mean().item() == pytest.approx(mean, abs=1e-4)
    assert tensor.std().item() == pytest.approx(std, abs=1e-4)
    assert (tensor.numpy() * weights).sum() / np.sqrt(tensor.numel()) == pytest.approx(projection, abs=1e-3)
    assert tensor.flatten()[:4].tolist() == pytest.approx(first, abs=1e-4)

"""The table of operations against torch's counter, and the rate of this machine."""

import numpy as np
import pytest
import torch
from torch import nn

from lib.cost import flops, parts, rate

# What was counted independently, in GFLOP: encoder by size; memory attention with 1, 4 and 7 memories, memory
# encoder, mask decoder of the released sizes.
ENCODERS = {"tiny": 291, "small": 359, "base-plus": 645, "large": 1821}
PARTS = {1: 186, 4: 396, 7: 606}


@pytest.mark.parametrize("name", ["micro", "tiny"])
def test_table_is_what_torch_counts(name):
    found = parts.count(name)
    for field, value in vars(flops.FLOPS[name]).items():
        assert getattr(found, field) == pytest.approx(value, rel=1e-4), field


def test_table_agrees_with_an_independent_count():
    for name, encoder in ENCODERS.items():
        row = flops.FLOPS[name]
        assert row.encoder == pytest.approx(encoder, rel=0.02)
        assert {n: row.attention + n * (row.memory + row.pointer) for n in PARTS} == pytest.approx(
            PARTS, rel=0.02
        )
        assert (row.memory_encoder, row.decoder) == pytest.approx((11.6, 3.6), rel=0.02)
        assert 256 * row.decoder == pytest.approx(930, rel=0.02)


def test_attention_is_linear_in_memories_and_pointers():
    sam = parts.build("micro").to("meta")
    row = flops.FLOPS["micro"]
    counted = parts.gflop(lambda: parts.attend(sam, 16, 3, 4, 2))
    assert counted == pytest.approx(3 * (row.attention + 4 * row.memory + 2 * row.pointer), rel=1e-4)


def test_gflop_of_a_layer_by_hand():
    layer = nn.Linear(7, 11, device="meta")
    assert parts.gflop(lambda: layer(torch.empty(5, 7, device="meta"))) == pytest.approx(2 * 5 * 7 * 11 / 1e9)


def test_names_and_sizes():
    assert flops.flops_of("sam2.0-large") is flops.FLOPS["large"]
    assert flops.size_of(parts.build("micro")) == "micro"
    with pytest.raises(ValueError, match="'huge'"):
        flops.flops_of("huge")
    with pytest.raises(ValueError, match="0.0 M parameters"):
        flops.size_of(nn.Linear(3, 3))


def test_rates():
    found = rate.calibrate("micro", (13, 17), "cpu")
    assert (
        0 < found.model < 1e5
        and 0 < found.clicks < 1e5
        and 0 < found.masks < np.inf
        and 0 < found.votes < np.inf
    )
    assert "CPU" in found.how and f"{found.model:.0f} GFLOP/s" in found.how
    assert flops.of_peak(312, 0.25, "an A100") == flops.Rate(
        78000, 78000, np.inf, np.inf, "25% of the 312 TFLOP/s of an A100"
    )
    with pytest.raises(ValueError, match="'huge'"):
        rate.calibrate("huge", (13, 17))

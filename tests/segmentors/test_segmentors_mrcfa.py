"""MRCFA against digests of the authors' network, and what the digests do not show."""

import numpy as np
import pytest
import torch
from seeded import assert_digest, seeded_features, seeded_head

from lib.clips.errors import DataError
from lib.segmentors import build, load, names
from lib.segmentors.mrcfa import select, take

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "width, n_parameters, digest",
    [
        ("b0", 1978596, (-0.040015, 0.601533, 0.74700, [-0.48848, -0.36962, -0.13191, -0.18055])),
        ("b1", 3186231, (-0.042533, 0.588193, 0.80260, [0.22277, 0.31630, 0.50336, 0.58684])),
        ("b2", 3186052, (-0.043417, 0.587698, 0.65435, [0.09439, 0.18458, 0.36497, 0.45785])),
    ],
)
@torch.no_grad()
def test_head_equals_the_original(width, n_parameters, digest):
    head = seeded_head(f"mrcfa-{width}")
    unused = 124 * 129 + 3 * 124 * 257  # theirs has a classifier of 128 channels and three of 256
    assert sum(p.numel() for p in head.parameters()) + unused == n_parameters
    logits = head(seeded_features(width, 4, (96, 160)))
    assert logits.shape == (1, 124, 24, 40)
    assert_digest(logits, *digest)


@torch.no_grad()
def test_frames_are_prepared_once_for_all_targets_and_clips_are_independent():
    head = seeded_head("mrcfa-n1", n_classes=5)
    features = seeded_features("n1", 6, (96, 64))
    alone = [head([c[start : start + 4] for c in features]) for start in range(3)]
    prepared = head.prepare(features)
    together = head.decode(
        [torch.stack([part[start : start + 4] for start in range(3)]) for part in prepared], (24, 16)
    )
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    # the earlier frames are a set, the target is not one of them
    shuffled = head([c[[2, 0, 1, 3]] for c in features])
    torch.testing.assert_close(shuffled, alone[0], atol=1e-5, rtol=0)
    assert (alone[0] - head([c[[3, 0, 1, 2]] for c in features])).abs().max() > 1e-3


def test_select_keeps_the_tokens_with_the_best_five_affinities():
    affinity = np.random.default_rng(0).standard_normal((2, 3, 7, 13)).astype(np.float32)
    chosen = select(torch.from_numpy(affinity), 0.5)
    assert chosen.shape == (2, 3, 3)
    for b in range(2):
        for frame in range(3):
            scores = [sum(sorted(affinity[b, frame, token])[-5:]) for token in range(7)]
            assert set(chosen[b, frame].tolist()) == set(np.argsort(scores)[-3:])
    assert select(torch.zeros(1, 3, 1, 1), 0.5).shape == (1, 3, 1)  # a single token is kept
    values = torch.arange(2 * 3 * 7 * 4).view(2, 3, 7, 4)
    assert torch.equal(take(values, chosen)[1, 2, 0], values[1, 2, chosen[1, 2, 0]])


@pytest.mark.parametrize("name", ["mrcfa-n0", "mrcfa-n1"])
def test_micro_widths_train(name):
    model = build(name, 7)
    assert model.scale is None and build("mrcfa-b0").scale == (853, 480)
    logits = model(torch.randn(4, 3, 64, 96))
    assert logits.shape == (1, 7, 16, 24) and model(torch.randn(4, 3, 32, 32)).shape == (1, 7, 8, 8)
    logits.square().mean().backward()
    assert {key for key, value in model.named_parameters() if value.grad is None} == {
        "decode_head.linear_pred.weight",
        "decode_head.linear_pred.bias",
    }
    assert all(
        value.grad.any()
        for key, value in model.named_parameters()
        if key.endswith(("q1.weight", "k3.weight", "sr2.weight"))
    )


def test_names_are_those_of_released_checkpoints(tmp_path):
    assert {"mrcfa-n0", "mrcfa-b0", "mrcfa-b5"} <= set(names()) and "mrcfa-b4" not in names()
    model = build("mrcfa-n1", 5)
    for key in (
        "hypercorre_module.hpn.encoder_layer4.0.conv2.weight",
        "hypercorre_module.hpn.encoder_layer3to2.4.bias",
        "sr1_feat.bias",
        "hypercorre_module.q3.weight",
        "hypercorre_module.k1.bias",
        "deco4.smalldecoder.1.weight",
    ):
        assert f"decode_head.{key}" in model.state_dict()
    released = model.state_dict() | {
        f"decode_head.{key}.weight": torch.zeros(5, 64, 1, 1)
        for key in ("conv_seg", "deco1.smalldecoder.1", "deco3.smalldecoder.1")
    }
    torch.save({"state_dict": released}, tmp_path / "mrcfa.pth")
    loaded = load("mrcfa-n1", tmp_path / "mrcfa.pth")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    torch.save(build("cffm-n1", 5).state_dict(), tmp_path / "cffm.pth")
    with pytest.raises(
        DataError, match="cffm.pth: expected the weights of mrcfa-n1, but found tensors .* missing .* unknown"
    ):
        load("mrcfa-n1", tmp_path / "cffm.pth")

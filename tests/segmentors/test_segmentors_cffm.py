"""CFFM against digests of the authors' network, and what the digests do not show."""

import pytest
import torch
from seeded import assert_digest, seeded, seeded_features, seeded_head, seeded_input

from lib.clips.errors import DataError
from lib.segmentors import build, load, names
from lib.segmentors.cffm import bias_index, fine_offsets, gather, square

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "width, n_parameters, digest",
    [
        ("b0", 1353135, (0.044092, 0.757864, -0.10356, [0.32477, 0.50783, 0.87395, 1.13512])),
        ("b1", 2331114, (0.134013, 0.880714, -0.88327, [1.49012, 1.41767, 1.27278, 1.19683])),
        ("b5", 4024928, (0.153630, 1.213837, -0.78589, [1.19443, 1.06566, 0.80812, 0.70047])),
    ],
)
@torch.no_grad()
def test_head_equals_the_original(width, n_parameters, digest):
    head = seeded_head(f"cffm-{width}")
    # theirs has an unused classifier of 128 channels
    assert sum(p.numel() for p in head.parameters()) + 124 * 129 == n_parameters
    logits = head(seeded_features(width, 4, (96, 160)))
    assert logits.shape == (1, 124, 24, 40)
    assert_digest(logits, *digest)


@torch.no_grad()
def test_network_equals_the_original_at_test_size():
    with torch.device("meta"):
        model = build("cffm-b1")
    logits = seeded(model.to_empty(device="cpu"), "")(seeded_input("img", (4, 3, 480, 864)))
    assert logits.shape == (1, 124, 120, 216)
    assert_digest(logits, 0.198855, 1.173982, 1.37268, [0.94347, 1.05185, 1.26860, 1.35210])


@torch.no_grad()
def test_frames_are_prepared_once_for_all_targets_and_clips_are_independent():
    head = seeded_head("cffm-n1", n_classes=5)
    features = seeded_features("n1", 6, (96, 64))
    alone = [head([c[start : start + 4] for c in features]) for start in range(3)]
    (fused,) = head.prepare(features)
    together = head.decode([torch.stack([fused[start : start + 4] for start in range(3)])], (24, 16))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    # the order of frames counts
    assert (alone[0] - head([c[[1, 0, 2, 3]] for c in features])).abs().max() > 1e-3


def test_fine_keys_are_those_of_rolled_maps():
    """Oracle: roll the map, cut windows, drop what the window itself has, as the method is described."""
    cells = torch.arange(14 * 21 * 2.0).view(1, 14, 21, 2)
    found = gather(cells, fine_offsets(), 7, (2, 3))
    row, col = torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")
    corners = {
        (-3, -3): (row < 4) & (col < 4),
        (-3, 3): (row < 4) & (col >= 3),
        (3, -3): (row >= 3) & (col < 4),
        (3, 3): (row >= 3) & (col >= 3),
    }
    for window in range(6):
        y, x = 7 * (window // 3), 7 * (window % 3)
        expected = [cells[0, y : y + 7, x : x + 7].reshape(49, 2)]
        expected += [
            cells.roll(roll, (1, 2))[0, y : y + 7, x : x + 7][~dropped] for roll, dropped in corners.items()
        ]
        assert torch.equal(found[0, window], torch.cat(expected))


def test_coarse_keys_are_those_of_unfold():
    cells = torch.randn(2, 4, 6, 3, generator=torch.Generator().manual_seed(0))
    found = gather(torch.nn.functional.pad(cells, (0, 0, 2, 2, 2, 2)), square(5), 2, (2, 3))
    expected = (
        torch.nn.functional.unfold(cells.permute(0, 3, 1, 2), 5, padding=2, stride=2)
        .unflatten(1, (3, 25))
        .permute(0, 3, 2, 1)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_bias_index(side):
    index = bias_index(side)
    assert index.shape == (49, side * side)
    for query, key in ((0, 0), (48, 0), (13, side * side - 1)):
        dy, dx = query // 7 - key // side, query % 7 - key % side
        assert index[query, key] == (dy + side - 1) * (side + 6) + dx + side - 1
    assert index.min() == 0 and index.max() == (side + 6) ** 2 - 1


@pytest.mark.parametrize("name", ["cffm-n0", "cffm-n1"])
def test_micro_widths_train(name):
    model = build(name, 7)
    assert model.scale is None and build("cffm-b0").scale == (853, 480)
    logits = model(torch.randn(4, 3, 64, 96))
    assert logits.shape == (1, 7, 16, 24)
    logits.square().mean().backward()
    unused = {key for key, value in model.named_parameters() if value.grad is None}
    # of the per-frame path
    assert unused == {"decode_head.linear_pred.weight", "decode_head.linear_pred.bias"}
    assert all(value.grad.any() for key, value in model.named_parameters() if "decoder_focal" in key)


def test_names_are_those_of_released_checkpoints(tmp_path):
    assert {"cffm-n0", "cffm-b0", "cffm-b5"} <= set(names()) and "cffm-b3" not in names()
    model = build("cffm-n0", 5)
    block = "decode_head.decoder_focal.blocks.0."
    for key in (
        "attn.relative_position_bias_table_to_windows_clips.2",
        "attn.qkv.bias",
        "pool_layers.0.weight",
        "pool_layers_clips.1.bias",
        "mlp.fc1.weight",
    ):
        assert block + key in model.state_dict()
    released = model.state_dict() | {
        "decode_head.conv_seg.weight": torch.zeros(5, 128, 1, 1),
        block + "attn.valid_ind_rolled": torch.arange(132),
        block + "attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64),
        block + "attn.relative_position_index_clips_2": torch.zeros(49, 9),
    }
    torch.save({"state_dict": released}, tmp_path / "cffm.pth")
    loaded = load("cffm-n0", tmp_path / "cffm.pth")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    torch.save(build("segformer-n0", 5).state_dict(), tmp_path / "segformer.pth")
    with pytest.raises(
        DataError,
        match=r"segformer.pth: expected the weights of cffm-n0, but found tensors \d+ missing \(decode_head.decoder_focal",
    ):
        load("cffm-n0", tmp_path / "segformer.pth")
    with pytest.raises(DataError, match="of another shape"):
        load("cffm-n0", save(build("cffm-n1", 5), tmp_path / "n1.pth"))


def save(model, path):
    torch.save(model.state_dict(), path)
    return path

"""The networks and their weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from seeded import assert_digest, seeded, seeded_features, seeded_head, seeded_input

from lib.clips.errors import DataError, DataMissingError
from lib.segmentors import build, load, names, semantic_names, start_from
from lib.segmentors.mit import WIDTHS, MiT
from lib.segmentors.segformer import MLPDecoder

pytestmark = pytest.mark.usefixtures("one_thread")

# What the authors' per-frame decoders give: mean, standard deviation, projection, first values.
B0_BY_FRAME = 0.022537, 0.632701, 0.03695, [0.81296, 1.15263, 1.25450, 1.40855]
B1_BY_FRAME = 0.030325, 0.629065, 0.27493, [0.56572, 0.47589, 0.62266, 0.79992]


# --- equality with the authors' networks ---


@torch.no_grad()
def test_mit_equals_the_original():
    image = seeded_input("img", (1, 3, 96, 160))
    c1, c2, c3, c4 = seeded(MiT("b0"), "backbone.")(image)
    assert [tuple(c.shape) for c in (c1, c2, c3, c4)] == [
        (1, 32, 24, 40),
        (1, 64, 12, 20),
        (1, 160, 6, 10),
        (1, 256, 3, 5),
    ]
    assert_digest(c1, -0.044544, 1.012050, -0.67922, [1.64481, 1.71993, 0.61380, -0.32083])
    assert_digest(c4, 0.008260, 0.995807, 0.64129, [-1.10902, -1.78801, -1.73686, -1.70649])
    with torch.device("meta"):  # its 81 M weights need no first values
        b5 = MiT("b5")
    c4 = seeded(b5.to_empty(device="cpu"), "backbone.")(image)[3]
    assert_digest(c4, 0.000187, 0.997890, -0.79895, [-0.47735, 0.15054, 0.19500, 0.20468])


@pytest.mark.parametrize("width, digest", [("b0", B0_BY_FRAME), ("b1", B1_BY_FRAME)])
@torch.no_grad()
def test_decoder_equals_the_original(width, digest):
    dims = WIDTHS[width].dims
    logits = seeded(MLPDecoder(dims), "decode_head.")(seeded_features(width, 1, (96, 160)))
    assert logits.shape == (1, 124, 24, 40)
    assert_digest(logits, *digest)


@pytest.mark.parametrize(
    "name, digest", [("cffm-b0", B0_BY_FRAME), ("mrcfa-b1", B1_BY_FRAME), ("tv3s-b1", B1_BY_FRAME)]
)
@torch.no_grad()
def test_start_of_a_clip_is_segmented_frame_by_frame(name, digest):
    head, features = seeded_head(name), seeded_features(name.partition("-")[2], 5, (96, 160))
    assert_digest(head([c[:1] for c in features]), *digest)
    for n_frames in (2, 3, 5):
        logits = head([c[:n_frames] for c in features])
        torch.testing.assert_close(
            logits, head([c[n_frames - 1 : n_frames] for c in features]), atol=1e-5, rtol=0
        )


@torch.no_grad()
def test_fuse_equals_the_literal_decoder():
    dims = (3, 5, 7, 9)
    decoder = seeded(MLPDecoder(dims, 6, 4), "")
    features = [torch.randn(2, dim, 16 >> i, 24 >> i) for i, dim in enumerate(dims)]
    scales = []
    for i in (4, 3, 2, 1):
        c = (
            getattr(decoder, f"linear_c{i}")
            .proj(features[i - 1].flatten(2).transpose(1, 2))
            .transpose(1, 2)
            .reshape(2, 6, *features[i - 1].shape[2:])
        )
        scales.append(F.interpolate(c, (16, 24), mode="bilinear"))
    literal = decoder.linear_pred(
        F.relu(decoder.linear_fuse.bn(decoder.linear_fuse.conv(torch.cat(scales, 1))))
    )
    torch.testing.assert_close(decoder(features), literal, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "width, count", [("b0", 3319392), ("b1", 13151424), ("b2", 24196288), ("b5", 81443008)]
)
def test_mit_has_the_published_number_of_parameters(width, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in MiT(width).parameters()) == count


def test_names_of_parameters_are_those_of_released_checkpoints():
    keys = build("segformer-b0").state_dict().keys()
    for key in (
        "backbone.patch_embed1.proj.weight",
        "backbone.block1.0.attn.q.weight",
        "backbone.block1.0.attn.sr.bias",
        "backbone.block4.1.attn.kv.bias",
        "backbone.block2.1.mlp.dwconv.dwconv.weight",
        "backbone.norm4.weight",
        "decode_head.linear_c4.proj.weight",
        "decode_head.linear_fuse.conv.weight",
        "decode_head.linear_fuse.bn.running_var",
        "decode_head.linear_pred.bias",
    ):
        assert key in keys
    assert "backbone.block4.0.attn.sr.weight" not in keys and "decode_head.linear_fuse.conv.bias" not in keys


@pytest.mark.parametrize("name", ["segformer-n0", "segformer-n1"])
@torch.no_grad()
def test_micro_widths(name):
    model = build(name, 7).eval()
    assert model.scale is None and build("segformer-b0").scale == (853, 480)
    images = torch.randn(3, 3, 64, 96)
    logits = model(images)
    assert logits.shape == (3, 7, 16, 24)
    # frames do not see each other
    torch.testing.assert_close(model(images[1:2])[0], logits[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["segformer-n0", "cffm-n0", "mrcfa-n0", "tv3s-n0"])
@torch.no_grad()
def test_bfloat16_autocast(name, recwarn):
    model, images = (
        seeded(build(name, 5), ""),
        torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(0)),
    )
    labels = model(images).argmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images)
    assert half.dtype == torch.bfloat16 and (half.argmax(1) == labels).float().mean() > 0.9
    assert not recwarn.list


def test_all_names_build():
    for name in semantic_names():
        with torch.device("meta"):
            model = build(name)
        assert [child for child, _ in model.named_children()] == ["backbone", "decode_head"]
        assert (model.scale is None) == ("-n" in name) and model.n_frames == (
            1 if name.startswith("segformer") else 4
        )


def test_unknown_names_are_refused():
    for name in ("segformer-b9", "segformer", "upernet-b1", "b1", ""):
        with pytest.raises(ValueError, match="segformer-n0, segformer-n1, segformer-b0"):
            build(name)
    with pytest.raises(ValueError, match="1..255"):
        build("segformer-n0", 300)
    assert "segformer-b5" in names()


# --- weights ---


def test_load_reads_safetensors_and_released_checkpoints(tmp_path):
    model = seeded(build("segformer-n0", 5), "")
    state = model.state_dict()
    save_file(state, tmp_path / "own.safetensors")
    released = {f"module.{key}": value for key, value in state.items()}
    released["module.decode_head.conv_seg.weight"] = torch.zeros(124, 128, 1, 1)
    meta = {"CLASSES": ["wall"], "PALETTE": np.zeros((5, 3), np.uint8), "loss": np.float64(1), "iter": 160000}
    torch.save(
        {"meta": meta, "state_dict": released, "optimizer": {"state": {}}}, tmp_path / "iter_160000.pth"
    )
    torch.save(state, tmp_path / "bare.pth")
    for file in ("own.safetensors", "iter_160000.pth", "bare.pth"):
        loaded = load("segformer-n0", tmp_path / file)
        assert not loaded.training and loaded.decode_head.n_classes == 5
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


class Evil:
    def __reduce__(self):
        return print, ("ran",)


def test_wrong_files_are_refused(tmp_path, capsys):
    with pytest.raises(DataMissingError, match="absent.pth"):
        load("segformer-n0", tmp_path / "absent.pth")
    for file in ("text.pth", "text.safetensors"):
        (tmp_path / file).write_text("not weights")
        with pytest.raises(DataError, match=f"{file}: expected weights"):
            load("segformer-n0", tmp_path / file)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match="evil.pth"):
        load("segformer-n0", tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""
    torch.save({"mIoU": 36.5}, tmp_path / "results.pth")
    with pytest.raises(DataError, match="found none"):
        load("segformer-n0", tmp_path / "results.pth")
    state = build("segformer-n0").state_dict()
    torch.save(
        state | {"decode_head.decoder_focal.blocks.0.norm1.weight": torch.ones(4)}, tmp_path / "cffm.pth"
    )
    with pytest.raises(
        DataError, match=r"weights of segformer-n0, but found tensors 1 unknown \(decode_head.decoder_focal"
    ):
        load("segformer-n0", tmp_path / "cffm.pth")
    torch.save(
        {key: value for key, value in state.items() if key != "backbone.norm1.weight"}, tmp_path / "cut.pth"
    )
    with pytest.raises(DataError, match=r"1 missing \(backbone.norm1.weight\)"):
        load("segformer-n0", tmp_path / "cut.pth")
    torch.save(state, tmp_path / "n0.pth")
    with pytest.raises(DataError, match="of another shape"):
        load("segformer-n1", tmp_path / "n0.pth")


def test_backbone_alone(tmp_path):
    backbone = seeded(MiT("n0"), "")
    torch.save(
        backbone.state_dict() | {"head.weight": torch.zeros(1000, 96), "head.bias": torch.zeros(1000)},
        tmp_path / "mit.pth",
    )
    model = build("segformer-n0")
    start_from(model, tmp_path / "mit.pth")
    assert all(
        torch.equal(value, backbone.state_dict()[key]) for key, value in model.backbone.state_dict().items()
    )
    with pytest.raises(DataError, match="the model's MiT"):
        start_from(build("segformer-n1"), tmp_path / "mit.pth")


def test_a_video_model_starts_from_a_per_frame_model(tmp_path):
    plain = seeded(build("segformer-n0", 7), "")
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    model = build("mrcfa-n0", 7)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, tmp_path / "plain.pth")
    taken = plain.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, taken.get(key, fresh[key])), key
    with pytest.raises(DataError, match="the width of this CFFM"):
        start_from(build("cffm-n1", 7), tmp_path / "plain.pth")
    cut = {key: value for key, value in taken.items() if "linear_fuse.bn" not in key}
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(DataError, match="missing"):
        start_from(model, tmp_path / "cut.pth")

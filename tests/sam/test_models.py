"""Loading SAM 2: by name, from official files and from broken ones. No test goes to the network."""

import copy
import pickle
import re

import huggingface_hub
import pytest
import torch
from hydra import compose
from safetensors.torch import save_file
from sam2.modeling.sam2_utils import LayerNorm2d

from lib import sam
from lib.clips.errors import DataError, DataMissingError
from lib.config import Shortcuts
from lib.sam import checkpoints, fast, models

NAMES = ["tiny", "small", "base-plus", "large"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def unreachable(repository, file, **_):
        raise ConnectionError(f"no network in tests: {repository} {file}\nand a second line")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """SAM 2.1 tiny with seeded weights, and its file in the official format."""
    torch.manual_seed(0)
    model = sam.official("tiny")
    path = tmp_path_factory.mktemp("official") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": model.state_dict()}, path)
    yield model, path
    path.unlink()


def test_names():
    assert list(checkpoints.OFFICIAL) == NAMES + [f"sam2.0-{name}" for name in NAMES]
    assert checkpoints.OFFICIAL["base-plus"] == (
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "facebook/sam2.1-hiera-base-plus",
        "sam2.1_hiera_base_plus.pt",
    )
    assert checkpoints.OFFICIAL["sam2.0-tiny"] == (
        "configs/sam2/sam2_hiera_t.yaml",
        "facebook/sam2-hiera-tiny",
        "sam2_hiera_tiny.pt",
    )
    with pytest.raises(ValueError, match="tiny, small, base-plus, large.*'huge'"):
        sam.official("huge")


def test_official_file_loads(tiny):
    model, path = tiny
    loaded = sam.load(path, "cpu")
    assert not loaded.training and loaded.image_size == 1024 and loaded.no_obj_embed_spatial is not None
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys() and all(torch.equal(expected[k], found[k]) for k in expected)


@pytest.mark.parametrize("name", checkpoints.OFFICIAL)
def test_configuration_is_read_off_the_tensors(name):
    """Names and shapes as the configuration inside sam2 makes them; building the large models would take
    long."""
    config = compose(config_name=checkpoints.OFFICIAL[name][0]).model
    trunk = config.image_encoder.trunk
    tensors = {
        "image_encoder.trunk.patch_embed.proj.weight": torch.empty(trunk.embed_dim, 3, 7, 7, device="meta")
    }
    for i in range(sum(trunk.get("stages", (2, 3, 16, 3)))):
        tensors[f"image_encoder.trunk.blocks.{i}.norm1.weight"] = torch.empty(trunk.embed_dim, device="meta")
    if config.get("no_obj_embed_spatial"):
        tensors["no_obj_embed_spatial"] = torch.empty(1, 64, device="meta")
    assert models._name_of(tensors, "file") == name and not models._is_micro(tensors)


def test_those_names_and_shapes_are_the_built_models(tiny):
    tensors = tiny[0].state_dict()
    assert tensors["image_encoder.trunk.patch_embed.proj.weight"].shape == (96, 3, 7, 7)
    assert {f"image_encoder.trunk.blocks.{i}.norm1.weight" in tensors for i in range(12)} == {True}
    assert "image_encoder.trunk.blocks.12.norm1.weight" not in tensors and "no_obj_embed_spatial" in tensors
    assert models._name_of(tensors, "file") == "tiny"


def test_micro_file_loads_at_full_size(tmp_path, monkeypatch):
    torch.manual_seed(0)
    small = sam.micro(64)
    path = tmp_path / "micro.safetensors"
    save_file(
        {
            k: v.half().contiguous() if v.is_floating_point() else v.contiguous()
            for k, v in small.state_dict().items()
        },
        path,
    )
    monkeypatch.setattr(checkpoints, "MICRO_WEIGHTS", path)
    for loaded in (sam.load("micro", "cpu"), sam.load(str(path), "cpu")):
        assert loaded.image_size == models.MICRO_SIZE and not loaded.training
        assert all(p.dtype == torch.float32 for p in loaded.parameters())
        torch.testing.assert_close(
            dict(loaded.named_parameters()), dict(small.named_parameters()), rtol=1e-3, atol=1e-4
        )
    assert 3e6 < sum(p.numel() for p in small.parameters()) < 5e6


def test_shortcuts_that_change_an_official_model(tiny):
    exact, less = tiny[0], sam.load(tiny[1], "cpu", Shortcuts(input_px=512, memories=2))
    assert (less.image_size, less.num_maskmem, less.max_obj_ptrs_in_encoder) == (
        512,
        3,
        exact.max_obj_ptrs_in_encoder,
    )
    ages = exact.maskmem_tpos_enc
    # the last two frames, and the prompted one
    assert torch.equal(less.maskmem_tpos_enc, torch.stack([ages[0], ages[1], ages[6]]))
    with pytest.raises(ValueError, match="at most 6"):
        sam.load(tiny[1], "cpu", Shortcuts(memories=7))


class Code:
    """Pickles to a call, as a malicious checkpoint would."""

    def __reduce__(self):
        return open, ("never.txt", "w")


def _zip(content):
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("text.pt", lambda path: path.write_text("not a checkpoint")),
        ("empty.pt", lambda path: path.write_bytes(b"")),
        ("code.pt", _zip({"model": Code()})),
        ("code.pkl", lambda path: path.write_bytes(pickle.dumps({"model": Code()}, protocol=2))),
        ("list.pt", _zip([torch.zeros(2)])),
        ("bare.pt", _zip({"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(96, 3, 7, 7)})),
        ("number.pt", _zip({"model": 3})),
        ("epochs.pt", _zip({"model": {"epoch": 3}})),
        ("resnet.pt", _zip({"model": {"conv1.weight": torch.zeros(64, 3, 7, 7)}})),
        (
            "width.pt",
            _zip({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(97, 3, 7, 7)}}),
        ),
        (
            "part.pt",
            _zip({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(32, 3, 7, 7)}}),
        ),
        ("text.safetensors", lambda path: path.write_text("not a checkpoint")),
        ("other.safetensors", lambda path: save_file({"backbone.x": torch.zeros(2)}, path)),
    ],
)
def test_wrong_file_is_one_clear_error(tmp_path, monkeypatch, name, write):
    monkeypatch.chdir(tmp_path)
    write(path := tmp_path / name)
    with pytest.raises(
        DataError, match=f"^{re.escape(str(path))}: expected .*, but found .*. (Use|Fetch) [^\n]*$"
    ):
        sam.load(path, "cpu")
    assert not (tmp_path / "never.txt").exists()


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.001])
def test_truncated_file(tmp_path, tiny, keep):
    data = tiny[1].read_bytes()
    (path := tmp_path / "cut.pt").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match="cut.pt: expected .* Fetch it again"):
        sam.load(path, "cpu")


def test_missing_file_and_unreachable_hub(tmp_path, monkeypatch):
    with pytest.raises(
        DataMissingError,
        match="huge: expected a SAM 2 checkpoint file, or one of micro, tiny.*Check the path",
    ):
        sam.load("huge", "cpu")
    monkeypatch.setattr(checkpoints, "MICRO_WEIGHTS", tmp_path / "micro.safetensors")
    with pytest.raises(DataMissingError, match="micro.safetensors"):
        sam.load("micro", "cpu")
    with pytest.raises(
        DataMissingError,
        match=r"^sam2.1_hiera_large.pt: .*facebook/sam2.1-hiera-large, .*\(ConnectionError\). Fetch sam2.1_hiera_large.pt",
    ):
        sam.load("large", "cpu")


def test_hub_gives_the_file_of_the_name(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *names: asked.append(names) or str(tiny[1])
    )
    assert checkpoints.weights_of("tiny") == tiny[1]
    assert asked == [("facebook/sam2.1-hiera-tiny", "sam2.1_hiera_tiny.pt")]


def test_quickened_is_equal_up_to_rounding(monkeypatch):
    """Memory encoder, mask decoder and memory attention give what sam2's own classes give, for the channel
    counts of micro, official included."""
    torch.manual_seed(0)
    for channels in (4, 16, 64, 256):
        stock, x = LayerNorm2d(channels), torch.randn(2, channels, 9, 11)
        torch.nn.init.normal_(stock.weight), torch.nn.init.normal_(stock.bias)
        fused = fast.FusedLayerNorm2d(channels)
        fused.load_state_dict(stock.state_dict())
        for laid_out in (x, x.to(memory_format=torch.channels_last)):
            assert torch.allclose(fused(laid_out), stock(x), atol=1e-5)
    stock = sam.micro(128).eval()
    quick = fast.quicken(copy.deepcopy(stock))
    frame, masks = torch.randn(1, 128, 8, 8).expand(3, -1, -1, -1), 20 * torch.rand(3, 1, 128, 128) - 10
    with torch.inference_mode():
        expected, found = (
            m.memory_encoder(frame, masks, skip_mask_sigmoid=True)["vision_features"] for m in (stock, quick)
        )
    assert torch.allclose(found, expected, atol=1e-4) and not torch.equal(
        expected, torch.zeros_like(expected)
    )
    clicks, maps = (
        torch.randn(3, 2, 128),
        [torch.randn(1, c, s, s) for c, s in ((16, 32), (32, 16), (128, 8))],
    )
    with torch.inference_mode():
        expected, found = (
            m.sam_mask_decoder.predict_masks(
                maps[2],
                m.sam_prompt_encoder.get_dense_pe(),
                clicks,
                torch.zeros(3, 128, 8, 8),
                True,
                maps[:2],
            )[0]
            for m in (stock, quick)
        )
    assert torch.allclose(found, expected, atol=1e-4) and expected.std() > 0.01
    frame, memories, turned = (
        torch.randn(3, 64, 128),
        torch.randn(3, 3 * 64 + 8, 32),
        {"num_k_exclude_rope": 8},
    )
    for side, many in ((8, 256), (8, 5), (4, 256)):  # 4: frames of another size than the model was built for
        monkeypatch.setattr(fast, "QUERIES_AT_ONCE", many)
        n, keys = side**2, [*range(3 * side**2), *range(192, 200)]
        with torch.inference_mode():
            layers = (m.memory_attention.layers[0] for m in (stock, quick))
            expected, found = (
                layer.cross_attn_image(frame[:, :n], memories[:, keys] + 1, memories[:, keys], **turned)
                for layer in layers
            )
        assert torch.allclose(found, expected, atol=1e-5) and expected.std() > 0.01
    assert {type(m) for m in quick.modules()} - {type(m) for m in stock.modules()} == {
        fast.FusedLayerNorm2d,
        fast.FewKeysAttention,
        fast.NarrowMemoryAttention,
    }
    assert quick.state_dict().keys() == stock.state_dict().keys()

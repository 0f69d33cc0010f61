"""Loading SAM 2: the official configurations by plain names, and the project's own micro one. The only
file that builds sam2 models.

The released models assume 1024-pixel input in several places; `micro` sets each of them for its own size.
"""

import logging
import pickle
from functools import partial
from pathlib import Path

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base

from ..clips.errors import DataError, problem
from ..config import Shortcuts
from .checkpoints import OFFICIAL, weights_of
from .fast import look_back_less, quicken

log = logging.getLogger(__name__)


MICRO_SIZE = 256  # input pixels of the micro model
# small shares tiny's width and has 16 blocks instead of 12
_EMBED_DIM = {96: "tiny", 112: "base-plus", 144: "large"}
# What sam2's own video predictor sets, except its hole filling: that depends on whether a CUDA extension
# happens to be built.
_VIDEO_OVERRIDES = [
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
    "++model.binarize_mask_from_pts_for_mem_enc=true",
]


def load(
    checkpoint: str | Path = "micro",
    device: str | torch.device | None = None,
    shortcuts: Shortcuts = Shortcuts(),
    *,
    exact_stock: bool = False,
) -> SAM2Base:
    """Load a SAM 2 model, ready for `lib.sam.track.track`.

    Args:
        checkpoint: `micro` (embedded), `tiny`, `small`, `base-plus`, `large` (SAM 2.1, fetched from the hub
            through huggingface_hub's cache), the same with the prefix `sam2.0-`, or the path of a checkpoint
            file: an official `.pt` of either version, whose configuration is read off its tensors, or a micro
            `.safetensors`.
        device: where to run; default: the GPU if there is one, else the CPU.
        shortcuts: `input_px` and `memories` change the model; `every` is for `lib.sam.segment.segment`.
        exact_stock: leave sam2's modules as they are, which takes longer; every change to them is in
            `lib.sam.fast`.

    Raises:
        ValueError: more memories than the model has, or fewer together with `exact_stock`.
        DataMissingError: no such file, or the hub cannot be reached.
        DataError: the file is no SAM 2 checkpoint.
    """
    if exact_stock and shortcuts.memories:
        raise ValueError(f"Expected no `memories` with `exact_stock`, but got {shortcuts.memories}.")
    device = torch.device(device or default_device())
    path = weights_of(checkpoint)
    tensors = _read(path)
    size = {"image_size": shortcuts.input_px} if shortcuts.input_px else {}
    model = micro(**size) if _is_micro(tensors) else official(_name_of(tensors, path), **size)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise problem(
            DataError,
            path,
            expected="the tensors of a SAM 2 model",
            found=f"others ({str(error).splitlines()[1].strip()[:160]})",
            remedy="Use an unchanged checkpoint.",
        ) from error
    if shortcuts.memories:
        look_back_less(model, shortcuts.memories)
    if not exact_stock:
        quicken(model)
    return model.to(device).eval()


load_sam = load  # its name in `lib`


def has_gpu() -> bool:
    """Return whether models run on a GPU unless told otherwise."""
    return torch.cuda.is_available()


def default_device() -> str:
    """Return where models run unless told otherwise."""
    return "cuda" if has_gpu() else "cpu"


def official(name: str, cls: str = "sam2.modeling.sam2_base.SAM2Base", image_size: int = 1024) -> SAM2Base:
    """Build an official architecture with random weights, by its plain name (a key of `OFFICIAL`). The
    weights do not depend on `image_size`."""
    if name not in OFFICIAL:
        raise ValueError(f"Expected `name` to be one of {', '.join(OFFICIAL)}, but got {name!r}.")
    config = compose(
        config_name=OFFICIAL[name][0],
        overrides=[f"++model._target_={cls}", f"++model.image_size={image_size}", *_VIDEO_OVERRIDES],
    )
    OmegaConf.resolve(config)
    return instantiate(config.model, _recursive_=True)


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint's tensors as float32; never unpickles code."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)["model"]
        return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        LookupError,
        EOFError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"
        raise problem(
            DataError,
            path,
            expected="an official SAM 2 .pt (a dict with the key 'model') or a .safetensors",
            found=f"a file that does not read so ({why})",
            remedy="Fetch it again.",
        ) from error


def _is_micro(tensors) -> bool:
    weight = tensors.get("image_encoder.trunk.patch_embed.proj.weight")
    return weight is not None and weight.shape[0] == 32


def _name_of(tensors, path) -> str:
    """Return the official configuration that the tensors' names and shapes belong to."""
    weight = tensors.get("image_encoder.trunk.patch_embed.proj.weight")
    if weight is None or weight.shape[0] not in _EMBED_DIM:
        raise problem(
            DataError,
            path,
            expected="a SAM 2 or 2.1 checkpoint",
            found="no trunk of a known width in it",
            remedy="Use an unchanged official file.",
        )
    size = _EMBED_DIM[weight.shape[0]]
    if size == "tiny" and "image_encoder.trunk.blocks.15.norm1.weight" in tensors:
        size = "small"
    return size if "no_obj_embed_spatial" in tensors else f"sam2.0-{size}"


def micro(image_size: int = MICRO_SIZE, cls: type = SAM2Base, **kwargs) -> SAM2Base:
    """Build the micro SAM 2 (about 4 M parameters) with random weights, from sam2's own classes.

    The weights do not depend on `image_size` (a multiple of 64): train small, use larger.
    """
    s, d, mem = image_size // 16, 128, 32
    sine = partial(PositionEmbeddingSine, normalize=True, scale=None, temperature=10000)
    rope = partial(
        RoPEAttention,
        rope_theta=10000.0,
        feat_sizes=[s, s],
        embedding_dim=d,
        num_heads=1,
        downsample_rate=1,
        dropout=0.0,
    )
    trunk = Hiera(
        embed_dim=32,
        num_heads=1,
        stages=(1, 2, 4, 1),
        window_spec=(8, 4, s, s // 2),
        global_att_blocks=(),
        window_pos_embed_bkg_spatial_size=(7, 7),
    )
    neck = FpnNeck(
        sine(num_pos_feats=d),
        d_model=d,
        backbone_channel_list=trunk.channel_list,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=256,
        dropout=0.0,
        d_model=d,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=rope(),
        cross_attention=rope(rope_k_repeat=True, kv_in_dim=mem),
    )
    memory_encoder = MemoryEncoder(
        out_dim=mem,
        in_dim=d,
        position_encoding=sine(num_pos_feats=mem),
        mask_downsampler=MaskDownSampler(d, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(d, layer_scale_init_value=0.1), num_layers=2),
    )
    return cls(
        image_encoder=ImageEncoder(trunk, neck, scalp=1),
        memory_encoder=memory_encoder,
        memory_attention=MemoryAttention(d, pos_enc_at_input=True, layer=layer, num_layers=2),
        num_maskmem=4,
        max_obj_ptrs_in_encoder=4,
        image_size=image_size,
        sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0,
        use_mask_input_as_output_without_sam=True,
        directly_add_no_mem_embed=True,
        no_obj_embed_spatial=True,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=False,
        only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        use_mlp_for_obj_ptr_proj=True,
        **kwargs,
    )


def encode(sam, image: torch.Tensor):
    """Encode one (3, S, S) frame: features, positions and sizes, flat and not yet expanded to objects."""
    _, features, positions, sizes = sam._prepare_backbone_features(sam.forward_image(image[None]))
    return features, positions, sizes

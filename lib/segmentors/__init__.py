"""Base segmentors: build one by name, load its weights.

mit.py        MiT, the backbone of all
segformer.py  the MLP decoder that every head contains, and SegFormer, the per-frame model
cffm.py       CFFM: the target attends to ever coarser maps of itself and of three earlier frames
mrcfa.py      MRCFA: the target gathers the tokens of three earlier frames that matter most to it
tv3s.py       TV3S: state space models read each window through time
predict.py    the one predict loop
crops.py      what a training sees
train.py      the one trainer, behind `python -m lib train`
"""

import pickle
import re
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..clips.errors import DataError, DataMissingError, problem
from .cffm import CFFM
from .mrcfa import MRCFA
from .segformer import SegFormer
from .tv3s import TV3S

# each is called with (width, n_classes, **options)
MODELS = {"segformer": SegFormer, "cffm": CFFM, "mrcfa": MRCFA, "tv3s": TV3S}
# In released checkpoints, but no part of any network here: a classifier that mmsegmentation adds to every
# head, decoders that serve MRCFA's training
# alone, and index tables that CFFM stores.
UNUSED = re.compile(
    r"decode_head\.(conv_seg\.|deco[123]\.|decoder_focal\.blocks\.\d+\.(attn\.)?(relative_position_index|valid_ind_rolled))"
)
# mmcv keeps class palettes as numpy arrays beside the weights; weights_only refuses those unless told that
# they are harmless.
ARRAYS = [
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    np._core.multiarray._reconstruct,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np._core.multiarray.scalar,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"]},
]


def names():
    """List the names that `build` knows."""
    return tuple(f"{model}-{width}" for model, kind in MODELS.items() for width in kind.widths)


def known(name):
    """Return a name that `build` knows, or raise ValueError."""
    if name not in names():
        raise ValueError(f"Expected `name` to be one of {', '.join(names())}, but got {name!r}.")
    return name


def build(name, n_classes=124, **options):
    """Build a base segmentor with fresh weights.

    Args:
        name: model and MiT width, as in "segformer-b1"; `names()` lists them.
        n_classes: number of classes, 1..255.
        options: passed to the model (`drop_path`).

    Returns:
        nn.Module with children `backbone` and `decode_head`, named within as in released checkpoints, and
        attribute `scale` (see `predict`).

    Raises:
        ValueError: for an unknown name or number of classes.
    """
    model, _, width = known(name).partition("-")
    if not 1 <= n_classes <= 255:
        raise ValueError(f"Expected `n_classes` to be in 1..255, but got {n_classes}.")
    return MODELS[model](width, n_classes, **options)


def read_weights(path):
    """Read the weights in a safetensors file or in a PyTorch checkpoint as mmcv writes it.

    Returns:
        {name: tensor} on the CPU, without a leading "module." and without `UNUSED`.

    Raises:
        DataMissingError: if there is no such file.
        DataError: if it is no file of weights. Code inside a checkpoint is never run.
    """
    path = Path(path)
    if not path.is_file():
        raise problem(
            DataMissingError,
            path,
            expected="a file of weights",
            found="no such file",
            remedy="Check the path, or fetch the weights again.",
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals(ARRAYS):
                state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state) if isinstance(state, dict) else {}
        state = {
            str(key).removeprefix("module."): value
            for key, value in state.items()
            if isinstance(value, torch.Tensor)
        }
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        raise problem(
            DataError,
            path,
            expected="weights (safetensors, or a PyTorch checkpoint of plain tensors)",
            found=f"something else ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            remedy="The file is damaged or of another kind: fetch it again.",
        ) from error
    state = {key: value for key, value in state.items() if not UNUSED.match(key)}
    if not state:
        raise problem(
            DataError,
            path,
            expected="named tensors",
            found="none",
            remedy="Pass a file of weights, not of results or settings.",
        )
    return state


def fill(module, state, path, what):
    """Load weights into a module; every name and shape must match.

    Raises:
        DataError: naming the file, `what` the module is, and the first few differences.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    left = [key for key in state if key not in own]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    found = [
        f"{len(keys)} {kind} ({', '.join(keys[:2])}{', ...' if len(keys) > 2 else ''})"
        for kind, keys in (("missing", missing), ("unknown", left), ("of another shape", reshaped))
        if keys
    ]
    if found:
        raise problem(
            DataError,
            path,
            expected=f"the weights of {what}",
            found="tensors " + "; ".join(found),
            remedy="Pass the file that belongs to this model, or the name that belongs to this file.",
        )
    module.load_state_dict({**{key: own[key] for key in own if key not in state}, **state}, strict=True)


def load(name, path):
    """Build a base segmentor and load its weights; the file says how many classes there are.

    Args:
        name: see `build`.
        path: .safetensors, or a released .pth checkpoint.

    Returns:
        The model on the CPU, float32, in evaluation mode.

    Raises:
        ValueError: for an unknown name.
        DataMissingError, DataError: see `read_weights` and `fill`.
    """
    known(name)
    state = read_weights(path)
    classifier = state.get("decode_head.linear_pred.bias")
    model = build(name) if classifier is None else build(name, len(classifier))
    fill(model, state, path, name)
    return model.eval()


def start_from(model, path):
    """Load a MiT alone, as trained on ImageNet, or a per-frame model into the parts that a model has in
    common with it.

    A MiT's classifier `head.*` is dropped. Of a model, its backbone and its MLP decoder must fit; what else
    `model` has keeps its fresh weights.

    Raises:
        DataMissingError, DataError: see `read_weights` and `fill`.
    """
    state = read_weights(path)
    if any(key.startswith("decode_head.") for key in state):
        shared = (
            "backbone.",
            *(
                f"decode_head.{part}."
                for part in ("linear_c1", "linear_c2", "linear_c3", "linear_c4", "linear_fuse", "linear_pred")
            ),
        )
        own = {key: value for key, value in model.state_dict().items() if not key.startswith(shared)}
        fill(model, {**own, **state}, path, f"a per-frame model of the width of this {type(model).__name__}")
        return
    state = {
        key.removeprefix("backbone."): value for key, value in state.items() if not key.startswith("head.")
    }
    fill(model.backbone, state, path, "the model's MiT")

"""Weights of base models: read a file of them without running any code in it, and fill a network strictly."""

import pickle
import re
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..clips.errors import DataError, DataMissingError, problem

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
            # under mmcv's key, detectron2's, or none
            state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else {}
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

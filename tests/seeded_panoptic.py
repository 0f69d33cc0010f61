"""Seeded weights for the panoptic models, and small members of the family for tests of what does not depend
on size.
"""

import numpy as np
import torch
from seeded import random_state, seeded_weight

from lib.segmentors.panoptic import Config, VideoPanoptic, build

QUIETER = ("out_proj.weight", "linear2.weight", "output_proj.weight", "ctx_query_embed.weight")
LOUDER = ("query_feat.weight", "query_embed.weight")  # CAVIS' ctx_query_embed is among both


def seeded_value(key, shape):
    """Plain random weights make all queries equal: what ends a residual branch is made quieter, the queries
    louder.
    """
    value = np.float32(seeded_weight(key, shape))
    if key.endswith(QUIETER) or (
        key.startswith("backbone.") and key.endswith(("attn.proj.weight", "mlp.fc2.weight"))
    ):
        value = value * np.float32(0.25)
    return torch.from_numpy(value * np.float32(16) if key.endswith(LOUDER) else value)


def fill(model):
    model.load_state_dict(
        {
            key: seeded_value(key, tuple(v.shape)) if v.is_floating_point() else v
            for key, v in model.state_dict().items()
        }
    )
    return model.eval()


def seeded_model(name, **options):
    with torch.device("meta"):  # no first values
        model = build(name, **options)
    return fill(model.to_empty(device="cpu"))


def small_config(tracker="dvis", **options):
    """A model of all parts that runs in milliseconds."""
    sizes = dict(
        queries=7,
        dim=32,
        heads=4,
        encoder_layers=1,
        encoder_hidden=32,
        decoder_layers=3,
        hidden=32,
        video_layers=2,
        short_px=64,
        long_px=96,
    )
    return Config(tracker, "n1", **{**sizes, "object_threshold": 0.02, "overlap_threshold": 0.1, **options})


def small_model(tracker="dvis", **options):
    return fill(VideoPanoptic(small_config(tracker, **options), options.pop("n_classes", 124)))


def z(seed, key, shape):
    return torch.from_numpy(random_state(key, seed).standard_normal(shape).astype(np.float32))


def digest(tensor):
    """Mean, standard deviation, projection on seeded noise, first values."""
    tensor = torch.as_tensor(np.asarray(tensor, np.float64))
    noise = np.random.RandomState(7).standard_normal(tensor.shape)
    return (
        tensor.mean().item(),
        tensor.std().item(),
        (tensor.numpy() * noise).sum() / np.sqrt(tensor.numel()),
        *tensor.flatten()[:4].tolist(),
    )


def assert_digest(tensor, shape, expected, fine=2e-4, coarse=2e-3):
    """`coarse` is for the projection, the third of `expected`."""
    assert tuple(tensor.shape) == shape
    off = np.abs(np.array(digest(tensor)) - np.array(expected))
    assert off[[0, 1, *range(3, len(expected))]].max() <= fine and off[2] <= coarse, off

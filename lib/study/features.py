"""Where the features of I-SAM2 come from: the encoder of SAM 2 or of a base model."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .. import sam, segmentors
from ..files import digest
from ..isam2 import Encoder
from ..sam.checkpoints import weights_of
from ..sam.pixels import as_video_predictor
from ..sam.propose import proposals  # noqa: F401  classifiers are fitted on features of these masks
from ..segmentors.predict import normalise, to_network_size


def of_sam(checkpoint: str | Path = "micro", model=None) -> Encoder:
    """SAM 2's image encoder: its last map, at stride 16 (256 channels; micro: 128), of the frame as the
    video predictor sees it.

    Args: checkpoint: as for `lib.sam.load`; model: the loaded model, if it is there already.
    """
    model = model or sam.load(checkpoint)

    @torch.inference_mode()
    def encode(images):
        batch = torch.stack([as_video_predictor(image, model.image_size) for image in images])
        return model.image_encoder(batch.to(model.device))["vision_features"].float().cpu().numpy()

    return Encoder("sam", digest(weights_of(checkpoint)), encode)


def of_base(name: str, weights: str | Path, maps: str = "backbone") -> Encoder:
    """A base segmentor's encoder, of a per-frame or a video model; each frame is encoded by itself.

    Args:
        name, weights: as for `lib.segmentors.load`.
        maps: "backbone": its maps c1..c4, resized to an eighth of the network's input and concatenated;
            "decoder": the map that its MLP decoder fuses them into, at a quarter.

    Raises:
        ValueError: other maps; and as `lib.segmentors.load`.
    """
    if maps not in ("backbone", "decoder"):
        raise ValueError(f"Expected `maps` to be 'backbone' or 'decoder', but got {maps!r}.")
    device = sam.default_device()
    model = segmentors.load(name, weights).to(device)

    @torch.inference_mode()
    def encode(images):
        batch = np.stack([to_network_size(image, model.scale) for image in images])
        features = model.backbone(normalise(batch, device))
        if maps == "decoder":
            return model.decode_head.fuse(features).float().cpu().numpy()
        size = batch.shape[1] // 8, batch.shape[2] // 8
        return torch.cat([F.interpolate(c, size, mode="bilinear") for c in features], 1).float().cpu().numpy()

    return Encoder(name if maps == "backbone" else f"{name} {maps}", digest(weights), encode)

"""What a panoptic model computes for each frame, counted by torch on shapes alone."""

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...progress import duration
from .config import CONFIGS
from .decoder import Queries
from .layers import masks_of
from .model import VideoPanoptic
from .stream import network_size

T = 24  # frames of a usual clip, for the refiner's attention through time


@lru_cache(maxsize=32)
def gflop_per_frame(name: str, size: tuple[int, int] = (720, 1280)) -> dict[str, float]:
    """Count the GFLOP (2 x multiply-accumulate) of each part of a model on a frame.

    Args: name: of `build`; size: H, W of the frames, which the model resizes.
    Returns: of `backbone`, `pixel decoder`, `decoder`, `tracker` and, if offline, `refiner`. Sampling between
        cells is not counted.
    """
    config = CONFIGS[name]
    height, width = (-(-side // 32) * 32 for side in network_size(*size, config.short_px, config.long_px))
    with torch.device("meta"):
        model = (
            VideoPanoptic(config).train().requires_grad_(False)
        )  # torch's fused attention of evaluation mode is not counted; nothing else differs
        image = torch.empty(1, 3, height, width)
        x = torch.empty(1, config.queries, config.track)
    found = {}

    def counted(part, work):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            result = work()
        found[part] = counter.get_total_flops() / 1e9
        return result

    features = counted("backbone", lambda: model.backbone(image))
    features, maps = counted("pixel decoder", lambda: model.sem_seg_head.pixel_decoder(features))
    queries: Queries = counted("decoder", lambda: model.sem_seg_head.predictor(features, maps))
    passes = (
        2 if config.tracker == "dvis" and config.offline else 1
    )  # it tracks each frame as if it were the first too
    kernels = torch.empty(1, config.queries, config.dim, device="meta")

    def track():
        for _ in range(passes):
            for i in range(len(model.tracker)):
                model.tracker.layer(i, x, x, x, x)
        return masks_of(kernels, queries.masks.new_empty(1, config.dim, *queries.masks.shape[2:]))

    counted("tracker", track)
    if model.refiner:
        counted("refiner", lambda: model.refiner(x.expand(T, -1, -1), x.expand(T, -1, -1)))
        found["refiner"] /= T
    return found


def forecast(names: tuple[str, ...], n_frames: int, size: tuple[int, int], gflop_per_s: float) -> list[str]:
    """Say for each model, in a line, what predicting some frames takes on a machine of this speed; names of
    no panoptic model are left out.
    """
    lines = []
    for name in (n for n in names if n in CONFIGS):
        parts = gflop_per_frame(name, size)
        total = sum(parts.values())
        shares = ", ".join(f"{part} {100 * n / total:.0f} %" for part, n in parts.items())
        time = duration(n_frames * total / gflop_per_s)
        lines.append(
            f"{name}: {total:,.0f} GFLOP a frame ({shares}), "
            f"about {time} for {n_frames} frames at {gflop_per_s:,.0f} GFLOP/s"
        )
    return lines

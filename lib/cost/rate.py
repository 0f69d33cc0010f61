"""How fast this machine is: the parts of a SAM 2 with random weights, timed in a second or two."""

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco

from .. import sam as models
from ..refiner import refine_frame
from ..sam.fast import quicken
from ..sam.pixels import masks_as_rles
from .flops import Rate, flops_of
from .parts import attend, build, decode, gflop, remember


@lru_cache(maxsize=4)
def calibrate(name: str, size: tuple[int, int], device: str = "", autocast: bool = False) -> Rate:
    """Measure the rate of this machine in a second or two, on the parts of the very model with random
    weights.

    Args:
        name: checkpoint name, as for `flops_of`.
        size: H, W of the frames.
        device: as for `lib.sam.load`.
        autocast: in bfloat16.

    A released model is too large for a CPU to time in that: there, its parts are timed on a map of half the
        side.
    """
    flops_of(name)
    device = torch.device(device or models.default_device())
    sam = quicken(build("micro" if name == "micro" else "tiny")).to(device)
    light = name == "micro" or device.type != "cpu"
    side, n, n_clicks, times = (sam.image_size // 16, 8, 16, 8) if light else (sam.image_size // 32, 1, 4, 1)
    track = lambda: (attend(sam, side, n, 1, 1), remember(sam, side, n), decode(sam, side, n))
    click = lambda: decode(sam, side, n_clicks)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        track_s, click_s = _seconds(track, times), _seconds(click, times)
        masks_s, votes_s, mpx = _masks(size, sam.image_size // 4, device)
    sam.to("meta")
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"this machine's CPU, {torch.get_num_threads()} threads"
    )
    model = gflop(track) / track_s
    return Rate(
        model,
        gflop(click) / click_s,
        mpx / masks_s,
        mpx / votes_s,
        f"{model:.0f} GFLOP/s measured on {where}",
    )


def _masks(size: tuple[int, int], side: int, device, n: int = 16) -> tuple[float, float, float]:
    """Time what follows the model on `n` masks: seconds to enlarge and encode them, seconds to let them
    vote, and their million pixels."""
    blobs = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(device) - 0.5
    logits, labels, rles = (
        F.interpolate(blobs, (side, side), mode="bicubic")[:, 0],
        np.zeros(size, np.uint8),
        [],
    )

    def encode():
        rles[:] = masks_as_rles(logits, size)

    return (
        _seconds(encode),
        _seconds(lambda: refine_frame(labels, coco.decode(rles).transpose(2, 0, 1).astype(bool))),
        n * size[0] * size[1] / 1e6,
    )


def _seconds(work: Callable, times: int = 4) -> float:
    """Time work at its best, so that what only the first run needs does not count."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken)

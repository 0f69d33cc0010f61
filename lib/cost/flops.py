"""What SAM 2 computes: operations of its parts, counted by torch on shapes alone, and how fast a machine
works through them.

    python -m lib.cost.flops          # count them again: the lines of FLOPS
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial

import numpy as np


@dataclass(frozen=True)
class Flops:
    """GFLOP (2 x multiply-accumulate) of the parts of one SAM 2, and the sizes from which its memory
    follows."""

    encoder: float  # per frame
    decoder: float  # mask decoder, per click of the grid and per object-frame
    attention: float  # memory attention per object-frame, without any memory
    memory: float  # and for each memory it attends to
    pointer: float  # and for each object pointer
    memory_encoder: float  # per object-frame
    n_memories: int  # attended to at most
    n_pointers: int
    params: float  # millions
    image_px: int  # side of the input
    width: int  # channels of the features
    memory_width: int  # channels of a memory


# Written by `python -m lib.cost.flops`. The released sizes share everything but the encoder; SAM 2.0 has the same
# parts as 2.1.
FLOPS = {
    "micro": Flops(
        1.23181, 0.0784653, 0.234881, 0.0754975, 0.00117965, 0.268173, 4, 4, 4.22231, 256, 128, 32
    ),
    "tiny": Flops(292.394, 3.63928, 115.964, 69.7932, 0.0681574, 11.6077, 7, 16, 38.9625, 1024, 256, 64),
    "small": Flops(360.071, 3.63928, 115.964, 69.7932, 0.0681574, 11.6077, 7, 16, 46.0604, 1024, 256, 64),
    "base-plus": Flops(646.752, 3.63928, 115.964, 69.7932, 0.0681574, 11.6077, 7, 16, 80.8502, 1024, 256, 64),
    "large": Flops(1822.82, 3.63928, 115.964, 69.7932, 0.0681574, 11.6077, 7, 16, 224.447, 1024, 256, 64),
}


@dataclass(frozen=True)
class Rate:
    """How fast a machine works."""

    model: float  # GFLOP/s in the encoder and in tracking
    clicks: float  # GFLOP/s in the mask decoder on a batch of clicks
    masks: float  # million pixels/s of masks enlarged to the frame, cut at zero and encoded
    votes: float  # million pixels/s of masks decoded, voting and painted
    how: str  # where the numbers come from


def of_peak(tflops: float, fraction: float, device: str) -> Rate:
    """Return the rate of a GPU that is not here, from its peak in TFLOP/s and the fraction of it that SAM
    2 reaches; the model's work alone."""
    return Rate(
        1e3 * tflops * fraction,
        1e3 * tflops * fraction,
        np.inf,
        np.inf,
        f"{fraction:.0%} of the {tflops:g} TFLOP/s of {device}",
    )


def size_of(sam) -> str:
    """Name the size of a loaded model, a key of FLOPS, by its number of parameters.

    Raises: ValueError if it is of no known size.
    """
    params = sum(p.numel() for p in sam.parameters()) / 1e6
    name = min(FLOPS, key=lambda n: abs(FLOPS[n].params - params))
    if abs(FLOPS[name].params - params) > 0.05 * params:
        raise ValueError(
            f"Expected `sam` to be one of the sizes {', '.join(FLOPS)}, but got a model of {params:.1f} M parameters."
        )
    return name


def flops_of(sam: str) -> Flops:
    """Look up a checkpoint name of `lib.sam.load`.

    Raises: ValueError if the table lacks it.
    """
    name = sam.removeprefix("sam2.0-")
    if name not in FLOPS:
        raise ValueError(f"Expected `sam` to be one of {', '.join(FLOPS)}, but got {sam!r}.")
    return FLOPS[name]


def build(name: str):
    """Build a SAM 2 with random weights: what it computes does not depend on them."""
    from .. import sam

    return (sam.micro() if name == "micro" else sam.official(name)).eval()


def attend(sam, side: int, n: int, n_memories: int, n_pointers: int):
    """Run memory attention for `n` objects on a map of side x side features."""
    import torch

    make = lambda tokens, width: torch.zeros(tokens, n, width, device=sam.device)
    # a pointer is cut into tokens as wide as a memory
    n_tokens = n_pointers * (sam.hidden_dim // sam.mem_dim)
    features, memory = (
        make(side * side, sam.hidden_dim),
        make(side * side * n_memories + n_tokens, sam.mem_dim),
    )
    return sam.memory_attention(
        curr=[features], curr_pos=[features], memory=memory, memory_pos=memory, num_obj_ptr_tokens=n_tokens
    )


def remember(sam, side: int, n: int):
    """Run the memory encoder for `n` objects."""
    import torch

    features, masks = (
        torch.zeros(n, sam.hidden_dim, side, side, device=sam.device),
        torch.zeros(n, 1, 16 * side, 16 * side, device=sam.device),
    )
    return sam.memory_encoder(features, masks, skip_mask_sigmoid=True)


def decode(sam, side: int, n: int):
    """Run the mask decoder for `n` clicks on one frame; an object-frame costs the same."""
    import torch

    d, make = sam.hidden_dim, lambda *shape: torch.zeros(shape, device=sam.device)
    image, finer = (
        make(1, d, side, side),
        [make(1, d // 8, 4 * side, 4 * side), make(1, d // 4, 2 * side, 2 * side)],
    )
    return sam.sam_mask_decoder(
        image_embeddings=image,
        image_pe=image,
        sparse_prompt_embeddings=make(n, 2, d),
        dense_prompt_embeddings=make(n, d, side, side),
        multimask_output=True,
        repeat_image=True,
        high_res_features=finer,
    )


def gflop(work: Callable) -> float:
    """Count the GFLOP of work on a model that lies on torch's meta device.

    Meta tensors have shapes and no values, so that a large model takes no time; and on a CPU torch's counter
    misses attention.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / 1e9


def count(name: str) -> Flops:
    """Count what a SAM 2 computes: a key of FLOPS."""
    import torch

    sam = build(name).to("meta")
    side = sam.image_size // 16
    # linear in either
    attention = {key: gflop(partial(attend, sam, side, 1, *key)) for key in ((1, 0), (2, 0), (1, 1))}
    memory = attention[2, 0] - attention[1, 0]
    return Flops(
        encoder=gflop(
            lambda: sam.forward_image(torch.empty(1, 3, sam.image_size, sam.image_size, device="meta"))
        ),
        decoder=gflop(lambda: decode(sam, side, 1)),
        attention=attention[1, 0] - memory,
        memory=memory,
        pointer=attention[1, 1] - attention[1, 0],
        memory_encoder=gflop(lambda: remember(sam, side, 1)),
        n_memories=sam.num_maskmem,
        n_pointers=sam.max_obj_ptrs_in_encoder,
        params=sum(p.numel() for p in sam.parameters()) / 1e6,
        image_px=sam.image_size,
        width=sam.hidden_dim,
        memory_width=sam.mem_dim,
    )


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
    import torch

    from .. import sam as models
    from ..sam.fast import quicken

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
    import torch
    import torch.nn.functional as F
    from pycocotools import mask as coco

    from ..refiner import refine_frame
    from ..sam.pixels import masks_as_rles

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
    import torch

    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken)


if __name__ == "__main__":
    for name in FLOPS:
        found = count(name)
        print(f'    "{name}": Flops({", ".join(f"{getattr(found, f.name):.6g}" for f in fields(Flops))}),')

"""What SAM 2 computes: operations of its parts, as `lib.cost.parts` counts them, and how fast a machine works
through them, as `lib.cost.rate` measures it. Needs no torch."""

from dataclasses import dataclass

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


# Written by `python -m lib.cost.parts`. The released sizes share everything but the encoder; SAM 2.0 has the same
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

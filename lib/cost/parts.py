"""The parts of a SAM 2, run on shapes alone so that torch counts their operations.

python -m lib.cost.parts          # count them again: the lines of FLOPS in lib/cost/flops.py
"""

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from .. import sam as models
from .flops import FLOPS, Flops


def build(name: str):
    """Build a SAM 2 with random weights: what it computes does not depend on them."""
    return (models.micro() if name == "micro" else models.official(name)).eval()


def attend(sam, side: int, n: int, n_memories: int, n_pointers: int):
    """Run memory attention for `n` objects on a map of side x side features."""
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
    features, masks = (
        torch.zeros(n, sam.hidden_dim, side, side, device=sam.device),
        torch.zeros(n, 1, 16 * side, 16 * side, device=sam.device),
    )
    return sam.memory_encoder(features, masks, skip_mask_sigmoid=True)


def decode(sam, side: int, n: int):
    """Run the mask decoder for `n` clicks on one frame; an object-frame costs the same."""
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
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / 1e9


def count(name: str) -> Flops:
    """Count what a SAM 2 computes: a key of FLOPS."""
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


if __name__ == "__main__":
    for name in FLOPS:
        counted = count(name)
        print(f'    "{name}": Flops({", ".join(f"{getattr(counted, f.name):.6g}" for f in fields(Flops))}),')

"""The share of the machine's peak that tracking reaches.

    python -m benchmarks.peak --objects 1 8 32 64

Operations are those of the table of `lib.cost.flops`, which are what stock sam2 does: encoding every frame, and
    memory attention, memory encoder and mask decoder for
every object-frame. The peak is what a product of two large square matrices reaches here, in the same
precision and in the same rounds: what a data sheet promises is higher, and no program sees it. Time is all of
`lib.sam.track.track`, reading frames and writing masks included.
"""

import numpy as np
import torch

from benchmarks.common import add_models, alternate, drawn, finish, given, load, parse, parser, spread
from lib.config import MaskletSettings
from lib.cost.flops import flops_of
from lib.cost.forecast import object_gflop
from lib.sam import track as tracker

SIDES = {"cpu": 2048, "cuda": 8192}  # of the matrices
REPEATS = 4  # products a round, so that a launch does not count


def main(arguments=None):
    options = parser(__doc__, rounds=3)
    add_models(options)
    options.add_argument("--objects", type=int, nargs="+", default=[1, 8, 32, 64])
    options.add_argument("--frames", type=int, default=8)
    options.add_argument(
        "--side", type=int, default=0, help="of the matrices; 0 for one that fits the device"
    )
    options = parse(options, "peak", arguments)
    clip, side, device = drawn(options.frames), options.side or SIDES[options.device], options.device
    setting, lines = MaskletSettings(window=options.frames), []
    for name in options.model:
        sam, flops = load(name, device), flops_of(name)
        for bf16 in (False, True)[: 1 + options.bf16]:
            matrix = torch.rand(side, side, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
            head = {"model": name, "precision": "bf16" if bf16 else "fp32"}
            for n in options.objects:
                with given(n, setting, clip.size):
                    _, times = alternate(
                        {
                            "matrices": lambda: [matrix @ matrix for _ in range(REPEATS)][-1],
                            "tracking": lambda: list(tracker.track(sam, clip, setting, autocast=bf16)),
                        },
                        options.rounds,
                        device,
                    )
                work = {
                    "matrices": REPEATS * 2 * side**3 / 1e9,
                    "tracking": options.frames * flops.encoder + n * object_gflop(flops, options.frames),
                }
                rates = {who: work[who] / taken for who, taken in times.items()}
                lines.append(
                    {
                        **head,
                        "objects": n,
                        "gflop": work["tracking"],
                        **spread(times["tracking"]),
                        **{f"gflop_per_s_{who}": float(np.median(rate)) for who, rate in rates.items()},
                        "percent_of_peak": 100 * float(np.median(rates["tracking"] / rates["matrices"])),
                    }
                )
    notes = [
        f"A window of {options.frames} frames of {clip.size[0]}x{clip.size[1]} pixels, cells of a grid as objects; peak: products of {side}x{side} matrices; {options.rounds} alternating rounds, medians."
    ]
    return finish("peak", options, lines, notes)


if __name__ == "__main__":
    main()

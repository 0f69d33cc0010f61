"""Panoptic models: peak memory against the length of the clip, and time a frame, each point in a process of
its own.

    python -m benchmarks.panoptic --models dvis-r50 dvis-swinl --frames 3 6 12

Random weights, which take as long as trained ones; every query that names a class takes part in the output,
as many as can. Mask features go to disk as for long clips (`--in-memory` keeps them). Frames are drawn once,
three of them, and come to and fro, so that the clip takes no memory.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import torch

from benchmarks.common import drawn, finish, parse, parser
from lib.clips.clip import Clip
from lib.paths import ROOT
from lib.segmentors.panoptic import CONFIGS, VideoPanoptic
from lib.segmentors.panoptic.cost import gflop_per_frame
from lib.segmentors.panoptic.stream import MOST_BYTES, segment
from lib.workers import keep_memory

N_DRAWN = 3


def enlarged(n_frames: int, size: tuple[int, int]) -> Clip:
    """A drawn clip at another size."""
    small = drawn(n_frames, N_DRAWN)
    return Clip("drawn", small.frames, lambda: size, lambda t: cv2.resize(small.image(t), size[::-1]))


def point(
    model: str,
    n_frames: int,
    size: list[int],
    window: int,
    in_memory: bool,
    bf16: bool,
    device: str,
    threads: int,
) -> dict[str, float]:
    """Segment one clip in this process; returns its peak memory in MB, 1e6 bytes, and seconds."""
    if threads:
        torch.set_num_threads(threads)
    keep_memory()
    torch.manual_seed(0)
    net = (
        VideoPanoptic(replace(CONFIGS[model], object_threshold=0.0, overlap_threshold=0.0)).to(device).eval()
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, tubes = time.perf_counter(), 0
    for _, classes in segment(
        net,
        enlarged(n_frames, tuple(size)),
        window=window,
        bf16=bf16,
        most_bytes=MOST_BYTES * 100 if in_memory else 0,
    ):
        tubes = len(classes) - 1
    seconds = time.perf_counter() - begun
    unit = 1 if sys.platform == "darwin" else 1024
    on_gpu = {"gpu_MB": torch.cuda.max_memory_allocated() / 1e6} if device == "cuda" else {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "process_MB": peak * unit / 1e6,
        "model_MB": before * unit / 1e6,
        **on_gpu,
        "seconds": seconds,
        "s_per_frame": seconds / n_frames,
        "tubes": tubes,
    }


def in_a_process(**arguments) -> dict[str, float]:
    """Run `point` where nothing has been allocated before."""
    command = [sys.executable, "-m", "benchmarks.panoptic", "--point", json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    options = parser(__doc__, rounds=1)
    options.add_argument("--models", nargs="+", choices=tuple(CONFIGS), default=["dvis-r50"])
    options.add_argument("--frames", type=int, nargs="+", default=[3, 6, 12], help="lengths of the clip")
    options.add_argument("--size", type=int, nargs=2, default=[720, 1280], metavar=("H", "W"))
    options.add_argument("--window", type=int, default=1, help="frames at a time")
    options.add_argument("--in-memory", action="store_true", help="keep mask features in memory")
    options.add_argument("--bf16", action="store_true")
    options.add_argument(
        "--point", type=json.loads, help="one point as JSON, printed as JSON: what each process runs"
    )
    options = parse(options, "panoptic", arguments)
    if options.point:
        return print(json.dumps(point(**options.point)))
    lines = []
    for model in options.models:
        gflop, first = sum(gflop_per_frame(model, tuple(options.size)).values()), None
        for n in options.frames:
            found = in_a_process(
                model=model,
                n_frames=n,
                size=options.size,
                window=options.window,
                in_memory=options.in_memory,
                bf16=options.bf16,
                device=options.device,
                threads=options.threads,
            )
            peak = found.get("gpu_MB", found["process_MB"])
            first = first or (n, peak)
            grown = (peak - first[1]) / (n - first[0]) if n > first[0] else None
            lines.append(
                {"model": model, "frames": n, **found, "gflop_per_frame": gflop, "MB_more_per_frame": grown}
            )
    where = "memory" if options.in_memory else "files"
    notes = [
        f"Frames of {options.size[0]}x{options.size[1]} pixels, {options.window} at a time; mask features in {where}; "
        "MB_more_per_frame: against the first line of the model."
    ]
    return finish("panoptic", options, lines, notes)


if __name__ == "__main__":
    main()

"""Peak memory against the length of the clip and the number of objects, each point in a process of its own.

    python -m benchmarks.memory --frames 100 300 1000 --objects 1 8 32 64

A point is a whole refinement: propose at every window, track, keep the masklets, vote, paint, score. Frames
    are drawn once, eight of them, and come again and again, so
that the clip itself takes no memory. On a CPU the peak is that of the process (its resident set, Python and
torch included); on a GPU also what torch holds there.
"""

import json
import resource
import subprocess
import sys
import time

import torch

from benchmarks.common import add_models, drawn, finish, given, load, parse, parser
from lib.clips.clip import Predictions
from lib.clips.datasets import VSPW_CLASSES
from lib.config import MaskletSettings
from lib.metrics import count_clip
from lib.paths import ROOT
from lib.refiner import refine_clip
from lib.sam import segment as segmenting
from lib.workers import keep_memory

N_DRAWN = 8


def point(
    model: str, bf16: bool, n_frames: int, n_objects: int, device: str, window: int, grid: int, threads: int
) -> dict[str, float]:
    """Refine one clip in this process and return its peak memory in MB, 1e6 bytes."""
    if threads:
        torch.set_num_threads(threads)
    keep_memory()  # as `python -m lib refine` does
    clip, sam, setting = (
        drawn(n_frames, N_DRAWN),
        load(model, device),
        MaskletSettings(window=window, grid=grid),
    )
    begun = time.perf_counter()
    with given(n_objects, setting, clip.size, proposing=True):
        found = segmenting.segment(sam, clip, setting, autocast=bf16)
    # the truth stands in for a base model: a vote takes as much whatever is voted on
    predictions = Predictions(clip.name, clip.frames, clip.truth)
    count_clip(
        clip.name,
        (clip.truth(t) for t in range(n_frames)),
        refine_clip(predictions, found),
        len(VSPW_CLASSES),
    )
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    on_gpu = {"gpu_MB": torch.cuda.max_memory_allocated() / 1e6} if device == "cuda" else {}
    return {"process_MB": rss / 1e6, **on_gpu, "seconds": time.perf_counter() - begun}


def in_a_process(**arguments) -> dict[str, float]:
    """Run `point` where nothing has been allocated before."""
    command = [sys.executable, "-m", "benchmarks.memory", "--point", json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    options = parser(__doc__, rounds=1)
    add_models(options)
    options.add_argument(
        "--frames",
        type=int,
        nargs="+",
        default=[100, 300, 1000],
        help="lengths of the clip, with --length-objects objects",
    )
    options.add_argument(
        "--objects",
        type=int,
        nargs="+",
        default=[1, 8, 32, 64],
        help="numbers of objects, in a clip of --object-frames",
    )
    options.add_argument("--object-frames", type=int, default=32)
    options.add_argument("--length-objects", type=int, default=4, help="objects in the clips of --frames")
    options.add_argument("--window", type=int, default=32)
    options.add_argument(
        "--grid",
        type=int,
        default=8,
        help="points per side; 8x8 clicks are one batch of the decoder: more take longer, hardly more memory",
    )
    options.add_argument(
        "--point", type=json.loads, help="one point as JSON, printed as JSON: what each process runs"
    )
    options = parse(options, "memory", arguments)
    if options.point:
        return print(json.dumps(point(**options.point)))
    points = [("frames", n, options.length_objects) for n in options.frames] + [
        ("objects", options.object_frames, n) for n in options.objects
    ]
    lines = []
    for model in options.model:
        for bf16 in (False, True)[: 1 + options.bf16]:
            first = {}
            for varied, n_frames, n_objects in points:
                found = in_a_process(
                    model=model,
                    bf16=bf16,
                    n_frames=n_frames,
                    n_objects=n_objects,
                    device=options.device,
                    window=options.window,
                    grid=options.grid,
                    threads=options.threads,
                )
                peak = found.get("gpu_MB", found["process_MB"])
                lines.append(
                    {
                        "model": model,
                        "precision": "bf16" if bf16 else "fp32",
                        "varied": varied,
                        "frames": n_frames,
                        "objects": n_objects,
                        **found,
                        "times_first": peak / first.setdefault(varied, peak),
                    }
                )
    notes = [
        f"Windows of {options.window} frames, a grid of {options.grid}x{options.grid} clicks, frames of 240x427 pixels. times_first: the peak (on a GPU, of its memory) over that of the first line in which the same is varied."
    ]
    return finish("memory", options, lines, notes)


if __name__ == "__main__":
    main()

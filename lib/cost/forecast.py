"""What a run will cost, before it is run: operations from the table of `lib.cost.flops`, seconds from the rate
of the machine, peak memory."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import cost as rooms
from .. import masklets as masklet_files
from .. import paths, sam
from ..clips.clip import Clip
from ..clips.errors import DataError
from ..config import MaskletSettings, batch_size
from ..progress import duration
from .flops import Flops, Rate, flops_of, size_of

STAGES = ("encoder", "proposals", "tracking", "vote")
# Masklets a frame of clips that were never segmented. Assumptions: for micro what `lib.mini.training.quality` counts on thirty
# drawn clips; for real scenes and released
# models the 60 objects between the 40 and 140 that the paper's 3.5 and 1.1 frames/s on an A100 leave room for
# at 28 % of its peak.
ASSUMED = {"micro": 31.0}
ASSUMED_RELEASED = 60.0
PROCESS_BYTES = 750_000_000  # Python with torch and sam2 in it


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take."""

    frames: int
    masklets: float  # per frame
    gflop: dict[str, float]  # by stage
    seconds: dict[str, float]  # by stage; metrics and the base model are not among them
    memory_bytes: int  # at the peak: of the process on a CPU, of the device on a GPU

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def window_lengths(lengths: Sequence[int], window: int) -> Counter:
    """Count the windows of clips by their number of frames: {frames: windows}."""
    windows = Counter()
    for frames in lengths:
        windows[window] += frames // window
        windows[frames % window] += 1
    return Counter({frames: n for frames, n in windows.items() if frames and n})


def object_gflop(flops: Flops, length: int) -> float:
    """Count the GFLOP of tracking one object through a window: no memory on the first frame, then one more
    each frame up to the most."""
    attention = sum(
        flops.attention + flops.memory * min(t, flops.n_memories) + flops.pointer * min(t, flops.n_pointers)
        for t in range(1, length)
    )
    return attention + length * flops.decoder + (length - 1) * flops.memory_encoder


def predict_cost(
    lengths: Sequence[int],
    size: tuple[int, int],
    settings: MaskletSettings,
    sam: str,
    masklets: float,
    rate: Rate,
    *,
    objects_per_batch: int | None = None,
    on_gpu: bool = False,
) -> Cost:
    """Predict what refining clips costs: one pass, of one setting.

    Args:
        lengths: frames of each clip.
        size: H, W of the frames.
        sam: checkpoint name of `lib.sam.load`.
        masklets: expected per frame, as `expected_masklets` says.
        rate: of the machine, as `lib.cost.rate.calibrate` measures it.

    The FLOP are those of stock sam2: a tracker that shares work between objects does fewer.
    Proposals are taken to enlarge all three masks of every click, which is the worst case.

    Raises: ValueError for no frames, a negative number of masklets, or an unknown `sam`.
    """
    if not lengths or min(lengths) < 1:
        raise ValueError(
            f"Expected `lengths` to be frames of one clip or more, each 1 or more, but got {list(lengths)!r}."
        )
    if not masklets >= 0:
        raise ValueError(f"Expected `masklets` to be a number of 0 or more, but got {masklets!r}.")
    flops, windows, frames = flops_of(sam), window_lengths(lengths, settings.window), sum(lengths)
    n_windows, clicks, frame_mpx = sum(windows.values()), settings.grid**2, size[0] * size[1] / 1e6
    gflop = {
        "encoder": frames * flops.encoder,
        # the frame is encoded once more: clicks want it resized differently
        "proposals": n_windows * (flops.encoder + clicks * flops.decoder),
        "tracking": masklets * sum(n * object_gflop(flops, length) for length, n in windows.items()),
        "vote": 0.0,
    }
    seconds = {
        "encoder": gflop["encoder"] / rate.model,
        "proposals": n_windows
        * (
            flops.encoder / rate.model
            + clicks * flops.decoder / rate.clicks
            + 3 * clicks * frame_mpx / rate.masks
        ),
        "tracking": gflop["tracking"] / rate.model + frames * masklets * frame_mpx / rate.masks,
        "vote": frames * masklets * frame_mpx / rate.votes,
    }
    usual = batch_size("cuda" if on_gpu else "cpu")
    memory = _memory(
        flops, settings, size, masklets, min(settings.window, max(lengths)), objects_per_batch or usual, usual
    )
    return Cost(frames, masklets, gflop, seconds, memory + (0 if on_gpu else PROCESS_BYTES))


def _memory(
    flops: Flops,
    settings: MaskletSettings,
    size: tuple[int, int],
    masklets: float,
    window: int,
    objects_per_batch: int,
    clicks_per_batch: int,
) -> int:
    """Bytes beyond the process: weights, the memories of a window's objects, and the stage that needs most
    beside them.

    Counts the large tensors of each stage in float32, with as many copies as were alive at a time when it was
        measured: right within a
    factor of two on the micro model.
    """
    tokens, quarter = (flops.image_px // 16) ** 2, (flops.image_px // 4) ** 2
    clicks, batch = min(clicks_per_batch, settings.grid**2), min(masklets, objects_per_batch)
    n_remembered = min(window, 1 + max(flops.n_memories, flops.n_pointers))
    # bfloat16, and float32 of where they are
    memories = masklets * n_remembered * tokens * flops.memory_width * (2 + 4)
    per_object = 4 * (
        5 * min(window, flops.n_memories) * tokens * flops.width
        + 10 * tokens * flops.width
        + 12 * flops.image_px**2
    )
    per_click = 4 * (10 * tokens * flops.width + quarter * flops.width // 2) + 3 * size[0] * size[1] * 8
    stages = (
        8 * 4 * quarter * flops.width,
        clicks * per_click,
        batch * per_object + 32 * size[0] * size[1] * 8,
    )
    return int(4e6 * flops.params + memories + max(stages))


def expected_masklets(
    sam: str, settings: MaskletSettings, profile: str = "", most_clips: int = 8
) -> tuple[float, str]:
    """Return the expected number of masklets a frame, and where it comes from: the mean of clips that a
    profile's cache holds under the same settings, else an assumption."""
    means = []
    for path in sorted((paths.CACHE / profile / "masklets").glob("*.json")) if profile else ():
        try:
            masklets = masklet_files.read(path)
        except DataError:  # a cache is never needed
            continue
        if masklets.settings == settings and len(masklets):
            means.append(np.mean([len(frame.ids) for frame in masklets.frames]))
        if len(means) == most_clips:
            break
    if means:
        return float(np.mean(means)), f"mean of {len(means)} clips in the cache"
    return ASSUMED.get(sam, ASSUMED_RELEASED), "assumed"


def expectation(
    clips: Sequence[Clip], settings: MaskletSettings, checkpoint: str, profile: str = ""
) -> list[str]:
    """Say in a few lines what a profile's clips will cost on this machine; takes seconds, needs no
    weights."""
    size, (masklets, source) = clips[0].size, expected_masklets(checkpoint, settings, profile)
    rate, on_gpu = rooms.calibrate(checkpoint, size), sam.has_gpu()
    cost = predict_cost(
        [len(clip) for clip in clips], size, settings, checkpoint, masklets, rate, on_gpu=on_gpu
    )
    small = checkpoint == "micro" and not on_gpu  # then clips are segmented in parallel, a process each
    where = (
        f"in each of {min(len(clips), os.cpu_count())} processes"
        if small
        else "on the GPU"
        if on_gpu
        else "of the process"
    )
    shares = ", ".join(f"{stage} {100 * s / cost.total_s:.0f} %" for stage, s in cost.seconds.items())
    tflop = sum(cost.gflop.values()) / 1e3
    return [
        f"frames: {cost.frames} in {len(clips)} clips of {size[0]}x{size[1]}",
        f"masklets: about {masklets:.0f} a frame ({source}); window {settings.window}, grid {settings.grid}x{settings.grid}",
        f"time: about {duration(cost.total_s)} to segment all clips once, for all base models ({shares}), estimated from {tflop:,.0f} TFLOP at {rate.how}",
        f"memory: about {cost.memory_bytes / 1e9:.1f} GB {where}, estimated within a factor of two",
    ]


def forecast(
    model,
    clips: Sequence[Clip],
    settings: MaskletSettings,
    *,
    autocast: bool = False,
    objects_per_batch: int | None = None,
) -> str:
    """Say in one line what to expect of segmenting clips with a loaded model."""
    name = size_of(model)
    size, (masklets, source) = clips[0].size, expected_masklets(name, settings)
    rate = rooms.calibrate(name, size, str(model.device), autocast)
    cost = predict_cost(
        [len(clip) for clip in clips],
        size,
        settings,
        name,
        masklets,
        rate,
        objects_per_batch=objects_per_batch,
        on_gpu=model.device.type == "cuda",
    )
    return (
        f"{cost.frames} frames in {len(clips)} clips to segment: about {duration(cost.total_s)} and {cost.memory_bytes / 1e9:.1f} GB "
        f"with {masklets:.0f} masklets a frame ({source}), at {rate.how}"
    )

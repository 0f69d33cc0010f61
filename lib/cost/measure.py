"""One window of a clip, timed stage by stage, with its peak memory."""

import ctypes
import gc
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco

from ..clips.clip import Clip
from ..config import MaskletSettings, batch_size
from ..metrics import count_clip
from ..refiner import refine_frame
from ..sam import pixels
from ..sam import track as tracker
from .forecast import STAGES

TIMED = (*STAGES, "metrics")


@dataclass
class Measured:
    """One window, timed."""

    frames: int
    masklets: int
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TIMED, 0.0))
    whole_s: float = 0.0  # all of it by one clock; the stages leave out what lies between them
    peak_bytes: float = float("nan")  # of the process, or of the GPU; NaN where the system does not tell

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = now()
        yield
        self.seconds[name] += now() - begun


def measure(
    sam, clip: Clip, settings: MaskletSettings, n_classes: int, n_objects: int | None = None
) -> Measured:
    """Time the first window of a clip, stage by stage: propose, track, vote, paint, score.

    Args:
        sam: a model of `lib.sam.load`.
        clip: annotated. The truth stands in for a base model's predictions: a vote takes as long whatever is
            voted on.
        settings: a window of 32 frames is 32 frames, or the whole of a shorter clip.
        n_objects: track so many cells of a grid instead of what was proposed, as tracking takes as long
            whatever is tracked.

    Returns: seconds and peak memory. `encoder` holds reading the frame; `tracking` writing the masks as RLE;
        `vote` reading those and painting.
    Raises: ValueError if `n_objects` is not 1 or more.
    """
    if n_objects is not None and n_objects < 1:
        raise ValueError(f"Expected `n_objects` to be 1 or more, but got {n_objects!r}.")
    length, refined, truths = min(settings.window, len(clip)), [], []
    reset_peak()
    begun = now()
    with torch.inference_mode():
        timed = Measured(length, 0)
        for t in range(length):
            if t == 0:
                with timed.stage("proposals"):
                    candidates = tracker.propose(sam, clip.image(0), [settings])
                    chosen, rles = tracker.select(candidates, settings), candidates.rles
                if n_objects:
                    chosen, rles = list(range(n_objects)), grid_cells(n_objects, clip.size)
                group, timed.masklets = (
                    tracker.Group(sam, 0, length, chosen, rles, batch_size(sam.device.type))
                    if chosen
                    else None,
                    len(chosen),
                )
            with timed.stage("encoder"):
                encoded = tracker.encode(
                    sam, pixels.as_video_predictor(clip.image(t), sam.image_size).to(sam.device)
                )
            with timed.stage("tracking"):
                masks = group.rles(t, length, encoded, clip.size) if group else []
            with timed.stage("vote"):
                truths.append(clip.truth(t))
                refined.append(refine_frame(truths[t], _decoded(masks, clip.size)))
    with timed.stage("metrics"):
        count_clip(clip.name, truths, refined, n_classes)
    timed.whole_s, timed.peak_bytes = now() - begun, read_peak()
    return timed


def _decoded(rles: list[dict], size: tuple[int, int]) -> np.ndarray:
    return coco.decode(rles).transpose(2, 0, 1).astype(bool) if rles else np.zeros((0, *size), bool)


def grid_cells(n: int, size: tuple[int, int]) -> list[dict]:
    """Cut a frame of H x W pixels into a grid of n cells or more; return the first n as RLE."""
    side = int(np.ceil(np.sqrt(n)))
    rows, columns = (np.arange(length) * side // length for length in size)
    cells = rows[:, None] * side + columns
    return pixels.encode_rles(torch.from_numpy(np.stack([cells == i for i in range(n)])))


def now() -> float:
    """The time when all that was asked of the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_peak() -> None:
    """Let the peak memory start from what is held now: of the GPU if there is one, else of the process,
    where Linux allows it."""
    gc.collect()
    if torch.cuda.is_available():
        return torch.cuda.reset_peak_memory_stats()
    try:
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)  # or what earlier measurements freed would count in this one
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # `read_peak` then says nothing


def read_peak() -> float:
    """Return the peak memory in bytes since `reset_peak`, NaN where the system does not tell."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    try:
        return 1024.0 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    except OSError:
        return float("nan")

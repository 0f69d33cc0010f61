"""What refinement costs: measured window by window, stage by stage, beside what `lib.cost` predicts; and
what the shortcuts save and cost."""

import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.checkpoints import weights_of
from lib.config import MaskletSettings, batch_size
from lib.cost import STAGES, predict_cost
from lib.data import Clip
from lib.files import digest
from lib.flops import calibrate, of_peak, size_of
from lib.metrics import count_clip
from lib.progress import keep_memory
from lib.provenance import device
from lib.reading import fingerprint
from lib.refiner import refine_frame
from lib.report import COLUMNS
from lib.study import TRACKER_VERSION, Study
from lib.tables.rows import setting_note

# Sec. 4.1, "Computational Cost Analysis": VSPW val, one A100
PAPER_FPS = {"scene that is slowest": 1.1, "scene that is fastest": 3.5}
A100 = (312, "an A100")  # its peak in bfloat16, TFLOP/s
PEAK_FRACTIONS = (0.26, 0.31)  # of it that the speeds published for SAM 2 correspond to
TIMED = (*STAGES, "metrics")
VERSION = 3  # raise it when times are taken otherwise


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
        begun = _now()
        yield
        self.seconds[name] += _now() - begun


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
    import torch

    from lib import pixels, tracker

    if n_objects is not None and n_objects < 1:
        raise ValueError(f"Expected `n_objects` to be 1 or more, but got {n_objects!r}.")
    length, refined, truths = min(settings.window, len(clip)), [], []
    reset_peak()
    begun = _now()
    with torch.inference_mode():
        found = Measured(length, 0)
        for t in range(length):
            if t == 0:
                with found.stage("proposals"):
                    candidates = tracker.propose(sam, clip.image(0), [settings])
                    chosen, rles = tracker.select(candidates, settings), candidates.rles
                if n_objects:
                    chosen, rles = list(range(n_objects)), grid_cells(n_objects, clip.size)
                group, found.masklets = (
                    tracker.Group(sam, 0, length, chosen, rles, batch_size(sam.device.type))
                    if chosen
                    else None,
                    len(chosen),
                )
            with found.stage("encoder"):
                encoded = tracker.encode(
                    sam, pixels.as_video_predictor(clip.image(t), sam.image_size).to(sam.device)
                )
            with found.stage("tracking"):
                masks = group.rles(t, length, encoded, clip.size) if group else []
            with found.stage("vote"):
                truths.append(clip.truth(t))
                refined.append(refine_frame(truths[t], _decoded(masks, clip.size)))
    with found.stage("metrics"):
        count_clip(clip.name, truths, refined, n_classes)
    found.whole_s, found.peak_bytes = _now() - begun, read_peak()
    return found


def _decoded(rles: list[dict], size: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as coco

    return coco.decode(rles).transpose(2, 0, 1).astype(bool) if rles else np.zeros((0, *size), bool)


def grid_cells(n: int, size: tuple[int, int]) -> list[dict]:
    """Cut a frame of H x W pixels into a grid of n cells or more; return the first n as RLE."""
    import torch

    from lib.pixels import encode_rles

    side = int(np.ceil(np.sqrt(n)))
    rows, columns = (np.arange(length) * side // length for length in size)
    cells = rows[:, None] * side + columns
    return encode_rles(torch.from_numpy(np.stack([cells == i for i in range(n)])))


def cost_table(
    study: Study,
    settings: MaskletSettings,
    objects: Sequence[int],
    windows: Sequence[int],
    object_window: int,
) -> tuple[pd.DataFrame, dict, list[str]]:
    """Measure the cost on the first clip against the number of objects and against the window, and predict
    it beside.

    Args:
        settings: all but the window.
        objects: numbers of objects, each tracked through a window of `object_window` frames.
        windows: in frames, each with the masklets that the clip has.

    Returns:
        table: tidy, columns `COLUMNS`. Methods: Measured, Predicted, Paper. Setting: "objects 8" or "window
            32". Metrics: fps (without metrics), masklets per frame, ms_<stage> per frame, peak_MB.
        not_run: the paper's rows, which are theirs.
        notes: how the prediction was made, how near it came, and what the paper's speeds mean.
    """
    runs = [(f"window {w}", replace(settings, window=w), None) for w in windows]
    runs += [(f"objects {n}", replace(settings, window=object_window), n) for n in objects]
    found = study.kept(
        "cost",
        [
            *timed_on(study, study.dataset.clips[0]),
            [(label, asdict(setting), n) for label, setting, n in runs],
        ],
        lambda: _measured(study, runs),
        "cost",
    )
    nan, not_run = float("nan"), {}
    lines = [(*line[:4], nan if line[4] is None else line[4], nan, nan, nan) for line in found["lines"]]
    for label, fps in PAPER_FPS.items():
        lines.append(("Paper", "A100", label, "fps", nan, nan, nan, fps))
        not_run["Paper", "A100", label] = "theirs, on VSPW val: it has no number of objects to repeat it with"
    return pd.DataFrame(lines, columns=list(COLUMNS)), not_run, _notes(study, settings, found, object_window)


def timed_on(study: Study, clip: Clip) -> list:
    """Name what a time depends on: model, clip and machine."""
    machine = platform.node(), os.cpu_count(), device(), importlib.metadata.version("torch")
    return [VERSION, TRACKER_VERSION, digest(weights_of(study.checkpoint)), fingerprint(clip), *machine]


def _measured(study: Study, runs: Sequence[tuple[str, MaskletSettings, int | None]]) -> dict:
    """Time the runs, and predict them at the rate of the machine."""
    from lib.sam import has_gpu, load

    sam, clip = load(study.checkpoint), study.dataset.clips[0]
    name = size_of(sam)
    keep_memory()  # as whatever cuts clips does
    rate = calibrate(name, clip.size, str(sam.device))
    lines, ratios = [], []
    # not used: the first run of a process allocates
    measure(sam, clip, replace(runs[0][1], window=1), len(study.dataset.classes))
    for label, setting, n_objects in runs:
        found = measure(sam, clip, setting, len(study.dataset.classes), n_objects)
        cost = predict_cost([found.frames], clip.size, setting, name, found.masklets, rate, on_gpu=has_gpu())
        lines += _lines(
            "Measured", name, label, found.frames, found.masklets, found.seconds, found.peak_bytes
        )
        lines += _lines("Predicted", name, label, cost.frames, cost.masklets, cost.seconds, cost.memory_bytes)
        ratios.append(cost.total_s / sum(found.seconds[stage] for stage in STAGES))
    return {"lines": lines, "rate": rate.how, "ratios": ratios, "day": time.strftime("%Y-%m-%d")}


def _lines(
    method: str,
    backbone: str,
    setting: str,
    frames: int,
    masklets: float,
    seconds: dict[str, float],
    peak_bytes: float,
) -> list[tuple]:
    """One row of the table as tidy lines, None for what the system does not tell."""
    total = sum(seconds[stage] for stage in STAGES)
    peak = None if np.isnan(peak_bytes) else peak_bytes / 1e6
    values = {
        "fps": frames / total,
        "masklets": masklets,
        **{f"ms_{stage}": 1e3 * s / frames for stage, s in seconds.items()},
        "peak_MB": peak,
    }
    return [(method, backbone, setting, metric, value) for metric, value in values.items()]


def _notes(study: Study, settings: MaskletSettings, found: dict, object_window: int) -> list[str]:
    """Say how the prediction was made, how near it came, and what the paper's speeds mean."""
    fewest, most = (implied_masklets(fps, settings) for fps in sorted(PAPER_FPS.values(), reverse=True))
    clip = study.dataset.clips[0]
    slowest, fastest = PAPER_FPS.values()
    how = (
        f"Timed on {found['day']}, which the cache keeps, on clip {clip.name} of {clip.size[0]}x{clip.size[1]} pixels with a grid of {settings.grid}x{settings.grid} clicks. "
        f"Objects are cells of a grid, tracked through a window of {object_window} frames; windows have the masklets of the clip. "
        "Times are per frame of a whole window, proposals shared by its frames; fps leaves out the metrics."
    )
    near = f"Predicted: operations of stock sam2 at {found['rate']}. Predicted over measured time: {min(found['ratios']):.2f} to {max(found['ratios']):.2f}."
    paper = (
        f"The paper's {slowest} to {fastest} frames/s are theirs, on {A100[1]}. By the same table, SAM 2.1 large in bfloat16 at {PEAK_FRACTIONS[0]:.0%} to {PEAK_FRACTIONS[1]:.0%} "
        f"of its peak would reach them with {fewest[0]:.0f} to {fewest[1]:.0f} masklets in the fastest scene and {most[0]:.0f} to {most[1]:.0f} in the slowest."
    )
    return [*setting_note(study, settings)[1:], how, near, paper]


def implied_masklets(fps: float, settings: MaskletSettings, sam: str = "large") -> tuple[float, float]:
    """Work out how many masklets a frame a speed on an A100 leaves room for, at the lower and the upper
    fraction of its peak."""
    found = []
    for fraction in PEAK_FRACTIONS:
        rate = of_peak(A100[0], fraction, A100[1])
        none, one = (
            predict_cost([settings.window], (480, 853), settings, sam, n, rate).total_s / settings.window
            for n in (0, 1)
        )
        found.append((1 / fps - none) / (one - none))
    return tuple(found)


def _now() -> float:
    """The time when all that was asked of the GPU is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_peak() -> None:
    """Let the peak memory start from what is held now: of the GPU if there is one, else of the process,
    where Linux allows it."""
    import torch

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
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    try:
        return 1024.0 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    except OSError:
        return float("nan")

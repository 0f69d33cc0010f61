"""Notebook 08: the cost measured beside the one predicted, against the number of objects and the window."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from ..clips.clip import Clip, fingerprint
from ..config import MaskletSettings
from ..files import digest
from ..report.provenance import device
from ..report.text import COLUMNS
from ..sam.checkpoints import weights_of
from ..study.segment import TRACKER_VERSION
from ..study.study import Study
from ..tables.rows import setting_note
from ..workers import keep_memory
from .flops import calibrate, of_peak, size_of
from .forecast import STAGES, predict_cost
from .measure import measure

# Sec. 4.1, "Computational Cost Analysis": VSPW val, one A100
PAPER_FPS = {"scene that is slowest": 1.1, "scene that is fastest": 3.5}
A100 = (312, "an A100")  # its peak in bfloat16, TFLOP/s
PEAK_FRACTIONS = (0.26, 0.31)  # of it that the speeds published for SAM 2 correspond to
VERSION = 3  # raise it when times are taken otherwise


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
    from ..sam.models import has_gpu, load

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

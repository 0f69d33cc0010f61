"""Notebook 08: the cost measured beside the one predicted, against the number of objects and the window."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace

import pandas as pd

from .. import cost as rooms
from ..clips.clip import Clip, fingerprint
from ..config import MaskletSettings
from ..files import digest
from ..report.provenance import device
from ..report.text import COLUMNS
from ..sam.checkpoints import weights_of
from ..study.cache import VERSIONS
from ..study.study import Study
from ..tables.result import Result
from ..tables.rows import record, setting_note
from .flops import of_peak
from .forecast import predict_cost

# Sec. 4.1, "Computational Cost Analysis": VSPW val, one A100
PAPER_FPS = {"scene that is slowest": 1.1, "scene that is fastest": 3.5}
A100 = (312, "an A100")  # its peak in bfloat16, TFLOP/s
PEAK_FRACTIONS = (0.26, 0.31)  # of it that the speeds published for SAM 2 correspond to


def cost_table(study: Study, objects: Sequence[int], windows: Sequence[int], object_window: int) -> Result:
    """Measure the cost on the first clip against the number of objects and against the window, and predict
    it beside. The times are cached.

    Args:
        study: its settings are used, all but the window.
        objects: numbers of objects, each tracked through a window of `object_window` frames.
        windows: in frames, each with the masklets that the clip has.

    Returns: methods Measured, Predicted, Paper; setting "objects 8" or "window 32"; metrics fps (without
        metrics), masklets per frame, ms_<stage> per frame, peak_MB. The paper's rows, which are theirs, are not
        run. Notes: how the prediction was made, how near it came, and what the paper's speeds mean.
    """
    runs = [(f"window {w}", replace(study.settings, window=w), None) for w in windows]
    runs += [(f"objects {n}", replace(study.settings, window=object_window), n) for n in objects]
    clip, described = study.dataset.clips[0], [(label, asdict(setting), n) for label, setting, n in runs]
    timed = study.cached(
        "cost", [*timed_on(study, clip), described], lambda: rooms.time_runs(study, runs), "cost"
    )
    nan, not_run = float("nan"), {}
    lines = [(*line[:4], nan if line[4] is None else line[4], nan, nan, nan) for line in timed["lines"]]
    for label, fps in PAPER_FPS.items():
        lines.append(("Paper", "A100", label, "fps", nan, nan, nan, fps))
        not_run["Paper", "A100", label] = "theirs, on VSPW val: it has no number of objects to repeat it with"
    return Result(
        f"Cost on {study.title}",
        pd.DataFrame(lines, columns=list(COLUMNS)),
        not_run,
        make_notes=lambda: _notes(study, timed, object_window),
        make_record=lambda: record(study),
    )


def timed_on(study: Study, clip: Clip) -> list:
    """Name what a time depends on: model, clip and machine."""
    machine = platform.node(), os.cpu_count(), device(), importlib.metadata.version("torch")
    versions = VERSIONS["times"], VERSIONS["masklets"]
    return [*versions, digest(weights_of(study.checkpoint)), fingerprint(clip), *machine]


def _notes(study: Study, timed: dict, object_window: int) -> list[str]:
    """Say how the prediction was made, how near it came, and what the paper's speeds mean."""
    settings = study.settings
    fewest, most = (implied_masklets(fps, settings) for fps in sorted(PAPER_FPS.values(), reverse=True))
    clip = study.dataset.clips[0]
    slowest, fastest = PAPER_FPS.values()
    how = (
        f"Timed on {timed['day']}, which the cache keeps, on clip {clip.name} of {clip.size[0]}x{clip.size[1]} pixels with a grid of {settings.grid}x{settings.grid} clicks. "
        f"Objects are cells of a grid, tracked through a window of {object_window} frames; windows have the masklets of the clip. "
        "Times are per frame of a whole window, proposals shared by its frames; fps leaves out the metrics."
    )
    near = f"Predicted: operations of stock sam2 at {timed['rate']}. Predicted over measured time: {min(timed['ratios']):.2f} to {max(timed['ratios']):.2f}."
    paper = (
        f"The paper's {slowest} to {fastest} frames/s are theirs, on {A100[1]}. By the same table, SAM 2.1 large in bfloat16 at {PEAK_FRACTIONS[0]:.0%} to {PEAK_FRACTIONS[1]:.0%} "
        f"of its peak would reach them with {fewest[0]:.0f} to {fewest[1]:.0f} masklets in the fastest scene and {most[0]:.0f} to {most[1]:.0f} in the slowest."
    )
    return [*setting_note(study)[1:], how, near, paper]


def implied_masklets(fps: float, settings: MaskletSettings, sam: str = "large") -> tuple[float, float]:
    """Work out how many masklets a frame a speed on an A100 leaves room for, at the lower and the upper
    fraction of its peak."""
    n_masklets = []
    for fraction in PEAK_FRACTIONS:
        rate = of_peak(A100[0], fraction, A100[1])
        none, one = (
            predict_cost([settings.window], (480, 853), settings, sam, n, rate).total_s / settings.window
            for n in (0, 1)
        )
        n_masklets.append((1 / fps - none) / (one - none))
    return tuple(n_masklets)

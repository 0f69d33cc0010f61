"""Windows of a study's first clip, timed one after the other, with the forecast beside each."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import sam as models
from ..config import MaskletSettings
from ..study.study import Study
from ..workers import keep_memory
from .flops import size_of
from .forecast import STAGES, predict_cost
from .measure import measure
from .rate import calibrate


def time_runs(study: Study, runs: Sequence[tuple[str, MaskletSettings, int | None]]) -> dict:
    """Time runs on the first clip of a study, and predict them at the rate of the machine.

    Args: runs: (label, settings, number of objects or None for the masklets that the clip has).
    Returns: lines of the table, how the rate was found, predicted over measured times, and the day, as JSON.
    """
    sam, clip = models.load(study.checkpoint), study.dataset.clips[0]
    name = size_of(sam)
    keep_memory()  # as whatever segments clips does
    rate = calibrate(name, clip.size, str(sam.device))
    lines, ratios = [], []
    # not used: the first run of a process allocates
    measure(sam, clip, replace(runs[0][1], window=1), len(study.dataset.classes))
    for label, setting, n_objects in runs:
        timed = measure(sam, clip, setting, len(study.dataset.classes), n_objects)
        cost = predict_cost(
            [timed.frames], clip.size, setting, name, timed.masklets, rate, on_gpu=models.has_gpu()
        )
        lines += _lines(
            "Measured", name, label, timed.frames, timed.masklets, timed.seconds, timed.peak_bytes
        )
        lines += _lines("Predicted", name, label, cost.frames, cost.masklets, cost.seconds, cost.memory_bytes)
        ratios.append(cost.total_s / sum(timed.seconds[stage] for stage in STAGES))
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

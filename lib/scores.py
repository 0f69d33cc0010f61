"""Scores of a study's clips: what `lib.metrics` counts, kept in the study's cache so that no table counts the same labels twice."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import Clip, Predictions
from lib.metrics import ClipCounts, count_clip, summarise
from lib.study import Study

SCORE_VERSION = 1  # raise it when counts change although labels do not


def score(study: Study, labels_of: Callable[[Clip], Iterable[np.ndarray]], made_of: Callable[[Clip], str] | None = None) -> list[ClipCounts]:
    """Count every clip of a study against what `labels_of(clip)` yields for it.

    Args:
        labels_of: the label maps of a clip, (H, W) uint8 each; called only if the counts are not cached.
        made_of: text that names all that `labels_of(clip)` depends on (`content` helps); None caches nothing.
    """
    begun, counts = time.perf_counter(), []
    for clip in study.dataset.clips:
        path = None
        if made_of is not None:
            parts = [SCORE_VERSION, len(study.dataset.classes), clip.name, content(clip), made_of(clip)]
            path = study.cache / "counts" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.npz"
        if path and path.exists():
            counts.append(_read(path))
            continue
        counts.append(count_clip(clip.name, (clip.truth(t) for t in range(len(clip))), labels_of(clip), len(study.dataset.classes)))
        if path:
            _write(path, counts[-1])
    study.clock("vote and score", begun)
    return counts


@lru_cache(maxsize=4096)
def content(labels: Predictions | Clip) -> str:
    """Name a clip's predictions, or its truth, by content; read once per process."""
    digest = hashlib.sha256()
    for t in range(len(labels)):
        digest.update(np.ascontiguousarray(labels.truth(t) if isinstance(labels, Clip) else labels[t]))
    return digest.hexdigest()[:16]


def compare(study: Study, clip: Clip, labels: dict[str, Iterable[np.ndarray]]) -> pd.DataFrame:
    """Score several label sequences of one clip: a line each, metrics in percent (clips of any length count)."""
    truths = [clip.truth(t) for t in range(len(clip))]
    scores = {name: summarise([count_clip(clip.name, truths, maps, len(study.dataset.classes))], "paper") for name, maps in labels.items()}
    return pd.DataFrame(scores).T


def _write(path: Path, counts: ClipCounts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    np.savez(part, **{f.name: np.asarray(getattr(counts, f.name)) for f in fields(ClipCounts)})
    os.replace(part, path)


def _read(path: Path) -> ClipCounts:
    with np.load(path, allow_pickle=False) as saved:
        values = {f.name: saved[f.name] for f in fields(ClipCounts)}
    scalars = {name: value.item() for name, value in values.items() if value.ndim == 0}
    return ClipCounts(**{**values, **scalars, "windows": tuple(values["windows"].tolist())})

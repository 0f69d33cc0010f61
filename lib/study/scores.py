"""Scores of a study's clips: what `lib.metrics` counts, cached so that no table counts
the same labels twice."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..boundary import EDGES_PX, accuracy_by_distance
from ..clips.clip import Clip
from ..files import read_arrays, write_arrays
from ..metrics import ADDED, ClipCounts, add_blocks, count_clip, summarise
from ..refiner import vote
from ..workers import side_by_side
from .cache import VERSIONS, content, key
from .study import Study

BLOCK_FRAMES = 8  # about as long as the shorter window of mVC
# the label maps of a clip, and text that names all that they depend on
Labels = tuple[Callable[[Clip], Iterable[np.ndarray]], Callable[[Clip], str]]


def score(
    study: Study,
    labels_of: Callable[[Clip], Iterable[np.ndarray]],
    made_of: Callable[[Clip], str] | None = None,
) -> list[ClipCounts]:
    """Count every clip of a study against what `labels_of(clip)` yields for it; a clip that is alone also by
    blocks of `BLOCK_FRAMES` frames, since its intervals can only be over those.

    Args:
        labels_of: the label maps of a clip, (H, W) uint8 each; called only if the counts are not cached, for
            several clips at the same time.
        made_of: text that names all that `labels_of(clip)` depends on (`content` helps); None caches nothing.
    """
    begun = time.perf_counter()
    block_frames = BLOCK_FRAMES if len(study.dataset.clips) == 1 else 0
    by_block = (f"blocks of {block_frames}",) if block_frames else ()

    def one(clip: Clip) -> ClipCounts:
        path = None
        if made_of is not None:
            n_classes = len(study.dataset.classes)
            path = _cache_file(study, "counts", n_classes, clip.name, content(clip), made_of(clip), *by_block)
        if path and path.exists():
            return _read(path)
        counts = count_clip(
            clip.name,
            (clip.truth(t) for t in range(len(clip))),
            labels_of(clip),
            len(study.dataset.classes),
            block_frames=block_frames,
        )
        if path:
            _write(path, counts)
        return counts

    counts = side_by_side(one, study.dataset.clips)
    study.clock("vote and score", begun)
    return counts


def score_near_boundary(study: Study, labels: Sequence[Labels]) -> list[list[np.ndarray]]:
    """Count right pixels by distance to the true boundary: for each of `labels`, (2, B) for every clip as
    `lib.boundary.accuracy_by_distance` does.

    Args: labels: what `score` takes as `labels_of` and `made_of`. Together, as measuring the distances is
        most of the work.
    """
    begun = time.perf_counter()

    def one(clip: Clip) -> list[np.ndarray]:
        paths = [
            _cache_file(study, "boundary", EDGES_PX, clip.name, content(clip), made_of(clip))
            for _, made_of in labels
        ]
        lacking = [(path, labels_of) for path, (labels_of, _) in zip(paths, labels) if not path.exists()]
        counts = (
            accuracy_by_distance(
                (clip.truth(t) for t in range(len(clip))), [labels_of(clip) for _, labels_of in lacking]
            )
            if lacking
            else ()
        )
        for (path, _), right in zip(lacking, counts):
            write_arrays(path, counts=right)
        return [read_arrays(path)["counts"] for path in paths]

    counts = side_by_side(one, study.dataset.clips)
    study.clock("distance to the boundary", begun)
    return [list(of_labels) for of_labels in zip(*counts)]


def _cache_file(study: Study, kind: str, *made_of) -> Path:
    """Return the file of counts that depend on `made_of`."""
    return study.cache / kind / f"{key(VERSIONS[kind], *made_of, digits=24)}.npz"


def compare(study: Study, clip: Clip, labels: dict[str, Iterable[np.ndarray]]) -> pd.DataFrame:
    """Score several label sequences of one clip: a line each, metrics in percent (clips of any length
    count)."""
    truths = [clip.truth(t) for t in range(len(clip))]
    scores = {
        name: summarise([count_clip(clip.name, truths, maps, len(study.dataset.classes))], "paper")
        for name, maps in labels.items()
    }
    return pd.DataFrame(scores).T


def ballots(study: Study, semantic: np.ndarray, masks: np.ndarray, top: int = 3) -> pd.DataFrame:
    """Show the vote of Eq. 2 in one frame: for each masklet, largest first, its size and its leading
    classes in percent of its pixels."""
    counts, area = vote(semantic, masks), masks.sum((1, 2))
    lines = []
    for i in np.argsort(-area, kind="stable"):
        leading = [c for c in np.argsort(-counts[i], kind="stable")[:top] if counts[i, c]]
        share = ", ".join(f"{study.dataset.classes[c]} {100 * counts[i, c] / area[i]:.0f} %" for c in leading)
        lines.append(
            {
                "masklet": int(i),
                "pixels": int(area[i]),
                "takes": study.dataset.classes[leading[0]] if leading else "",
                "votes": share,
            }
        )
    return pd.DataFrame(lines)


def _write(path: Path, counts: ClipCounts) -> None:
    """Write a clip's counts by field, and those of its blocks one below the other."""
    whole = {f.name: np.asarray(getattr(counts, f.name)) for f in fields(ClipCounts) if f.name != "blocks"}
    of_blocks = {
        f"blocks_{name}": np.array([getattr(block, name) for block in counts.blocks])
        for name in ADDED
        if counts.blocks
    }
    write_arrays(path, **whole, **of_blocks)


def _read(path: Path) -> ClipCounts:
    saved = read_arrays(path)
    values = {f.name: saved[f.name] for f in fields(ClipCounts) if f.name in saved}
    scalars = {name: _plain(value) for name, value in values.items()}
    whole = ClipCounts(**{**scalars, "windows": tuple(values["windows"].tolist())})
    if "blocks_truth_px" not in saved:
        return whole
    rows = zip(*(saved[f"blocks_{name}"] for name in ADDED))
    return add_blocks(
        [replace(whole, **{name: _plain(value) for name, value in zip(ADDED, row)}) for row in rows]
    )


def _plain(value: np.ndarray | np.generic):
    """Turn a scalar that was saved as an array into what it was."""
    return value.item() if value.ndim == 0 else value

"""Masklets of a study's clips, segmented once and cached: they do not depend on the base model."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

import cv2

from .. import masklets as masklet_files
from ..clips.clip import Clip, fingerprint
from ..config import MaskletSettings
from ..files import digest
from ..masklets import Masklets
from ..progress import progress
from ..sam.checkpoints import weights_of
from ..sam.segment import segment_all
from ..workers import keep_memory, workers
from .study import Study

TRACKER_VERSION = 4  # raise it when masklets change although settings, weights and frames do not


@lru_cache(maxsize=1)
def load_cached_sam(checkpoint: str):
    from .. import sam  # torch only where it is needed

    return sam.load(checkpoint)


def _cut(job: tuple[Clip, str, dict[MaskletSettings, Path], Sequence[Path], bool]) -> float:
    """Cut one clip under the settings whose files are missing, given the files that are there; runs in a
    worker process on CPU."""
    clip, checkpoint, files, there, alone = job
    import torch

    keep_memory()
    if not alone:
        torch.set_num_threads(1), cv2.setNumThreads(1)
    begun = time.perf_counter()
    wrap = partial(progress, desc=clip.name, total=len(clip)) if alone else None
    for found in segment_all(
        load_cached_sam(checkpoint), clip, tuple(files), progress=wrap, known=[*map(read_masklets, there)]
    ):
        found.save(files[found.settings])
    return time.perf_counter() - begun


def _shares(missing: dict[MaskletSettings, Path]) -> list[dict[MaskletSettings, Path]]:
    """Split the settings of a clip for several processes, where little is shared: grids have no click in
    common; those of the longest window share tracks, the others proposals. The parts that take longest
    come first."""
    longest = max(s.window for s in missing)
    parts: dict[tuple[bool, int], dict[MaskletSettings, Path]] = {}
    for s, path in missing.items():
        parts.setdefault((s.window < longest, s.grid), {})[s] = path
    return [parts[key] for key in sorted(parts, reverse=True)]


def cut(
    study: Study, settings: Sequence[MaskletSettings] = (MaskletSettings(),), clips: Sequence[Clip] = ()
) -> dict[MaskletSettings, dict[str, Path]]:
    """Make sure that the masklets of `clips` (default: all) are cached under every setting; return
    {setting: {clip: file}}.

    Settings that are missing for a clip are cut together, which shares most of their work, and what those
    that are there have tracked is not tracked again. On a CPU, clips run in parallel processes when the model
    is micro, a few clips of an ablation as two processes each; a large model takes all threads for itself.
    """
    weights = digest(weights_of(study.checkpoint))
    files = {s: {} for s in settings}
    for clip in clips or study.dataset.clips:
        frames = fingerprint(clip)
        for s in settings:
            key = hashlib.sha256(
                json.dumps([TRACKER_VERSION, weights, frames, asdict(s)]).encode()
            ).hexdigest()[:16]
            files[s][clip.name] = study.cache / "masklets" / f"{clip.name}_{key}.json"
    wanted = {clip: {s: files[s][clip.name] for s in settings} for clip in clips or study.dataset.clips}
    if not all(path.exists() for paths in wanted.values() for path in paths.values()):
        with study.alone("masklets"):
            _cut_all(study, wanted)
    return files


def _cut_all(study: Study, wanted: dict[Clip, dict[MaskletSettings, Path]]) -> None:
    """Cut clips under the settings whose files are missing, in parallel processes where that helps."""
    from .. import sam

    missing = {
        clip: absent
        for clip, paths in wanted.items()
        if (absent := {s: path for s, path in paths.items() if not path.exists()})
    }
    n_workers = os.cpu_count()
    small = study.checkpoint == "micro" and not sam.has_gpu()
    # clips: without splitting them a processor would soon have nothing to do
    few = small and len(missing) < 2 * n_workers
    parts = [
        (clip, part) for clip, absent in missing.items() for part in (_shares(absent) if few else [absent])
    ]
    alone = not small or len(parts) == 1
    jobs = [
        (clip, study.checkpoint, part, [path for path in wanted[clip].values() if path.exists()], alone)
        for clip, part in parts
    ]
    begun = time.perf_counter()
    if not alone and jobs:
        with workers(min(len(jobs), n_workers), "lib.sam", "lib.sam.track") as executor:
            list(progress(executor.map(_cut, jobs), desc="masklets", total=len(jobs), unit="part"))
    else:
        for job in jobs:
            _cut(job)
    if jobs:
        study.clock("masklets", begun)


@lru_cache(maxsize=64)
def read_masklets(path: Path) -> Masklets:
    return masklet_files.read(path)


def masklets_of(study: Study, clip: Clip, settings: MaskletSettings = MaskletSettings()) -> Masklets:
    """Cut one clip, or find it in the cache."""
    return read_masklets(cut(study, (settings,), (clip,))[settings][clip.name])

"""Masklets of a study's clips, segmented once and cached: they do not depend on the base model."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

import cv2

from .. import masklets as masklet_files
from .. import sam
from ..clips.clip import Clip, fingerprint
from ..config import MaskletSettings
from ..files import digest
from ..masklets import Masklets
from ..progress import progress
from ..sam.checkpoints import weights_of
from ..sam.segment import segment_all
from ..workers import keep_memory, workers
from .cache import VERSIONS, key
from .study import Study


@lru_cache(maxsize=1)
def load_cached_sam(checkpoint: str):
    return sam.load(checkpoint)


def _segment_clip(job: tuple[Clip, str, dict[MaskletSettings, Path], Sequence[Path], bool]) -> float:
    """Segment one clip under the settings whose files are missing, given the files that are there; runs in a
    worker process on CPU."""
    import torch  # only where something is segmented

    clip, checkpoint, files, there, takes_all_cores = job
    keep_memory()
    if not takes_all_cores:
        torch.set_num_threads(1), cv2.setNumThreads(1)
    begun = time.perf_counter()
    wrap = partial(progress, desc=clip.name, total=len(clip)) if takes_all_cores else None
    for masklets in segment_all(
        load_cached_sam(checkpoint), clip, tuple(files), progress=wrap, known=[*map(read_masklets, there)]
    ):
        masklets.save(files[masklets.settings])
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


def segment_clips(
    study: Study, settings: Sequence[MaskletSettings] = (), clips: Sequence[Clip] = ()
) -> dict[MaskletSettings, dict[str, Path]]:
    """Return the files of masklets, {setting: {clip: file}}; segment what is not cached.

    Settings that are missing for a clip are segmented together, which shares most of their work, and tracks
    of the settings that are cached are used again. On a CPU, clips run in parallel processes when the model
    is micro, a few clips of an ablation as two processes each; a large model takes all threads for itself.

    Args: settings: () for the study's own; clips: () for all.
    """
    weights = digest(weights_of(study.checkpoint))
    settings, clips = settings or (study.settings,), clips or study.dataset.clips
    files = {s: {} for s in settings}
    for clip in clips:
        frames = fingerprint(clip)
        for s in settings:
            made_of = key(VERSIONS["masklets"], weights, frames, asdict(s))
            files[s][clip.name] = study.cache / "masklets" / f"{clip.name}_{made_of}.json"
    wanted = {clip: {s: files[s][clip.name] for s in settings} for clip in clips}
    if not all(path.exists() for by_setting in wanted.values() for path in by_setting.values()):
        with study.locked("masklets"):
            _segment_missing(study, wanted)
    return files


def masklet_paths(study: Study, clips: Sequence[Clip] = ()) -> dict[str, Path]:
    """Return the files of masklets under the study's settings, {clip: file}; segment what is not cached.

    Args: clips: () for all.
    """
    return segment_clips(study, clips=clips)[study.settings]


def _segment_missing(study: Study, wanted: dict[Clip, dict[MaskletSettings, Path]]) -> None:
    """Segment clips under the settings whose files are missing, in parallel processes where that helps."""
    missing = {
        clip: absent
        for clip, by_setting in wanted.items()
        if (absent := {s: path for s, path in by_setting.items() if not path.exists()})
    }
    n_workers = os.cpu_count()
    small = study.checkpoint == "micro" and not sam.has_gpu()
    # clips: without splitting them a processor would soon have nothing to do
    few = small and len(missing) < 2 * n_workers
    parts = [
        (clip, part) for clip, absent in missing.items() for part in (_shares(absent) if few else [absent])
    ]
    one_by_one = not small or len(parts) == 1
    jobs = [
        (clip, study.checkpoint, part, [path for path in wanted[clip].values() if path.exists()], one_by_one)
        for clip, part in parts
    ]
    begun = time.perf_counter()
    if jobs and not one_by_one:
        with workers(min(len(jobs), n_workers), "lib.sam", "lib.sam.track") as executor:
            list(progress(executor.map(_segment_clip, jobs), desc="masklets", total=len(jobs), unit="part"))
    else:
        for job in jobs:
            _segment_clip(job)
    if jobs:
        study.clock("masklets", begun)


@lru_cache(maxsize=64)
def read_masklets(path: Path) -> Masklets:
    return masklet_files.read(path)


def masklets_of(study: Study, clip: Clip) -> Masklets:
    """Return the masklets of one clip under the study's settings; segment it if they are not cached."""
    return read_masklets(masklet_paths(study, (clip,))[clip.name])

"""A profile with its data at hand: its masklets and predictions. Owns the cache, so that nothing is
computed twice.

    study = open_study("mini")
    tables.refiner_table(study).gains()                              # what 01_refiner shows
    tables.refiner_table(study.under(MaskletSettings(window=8)))     # the same, segmented otherwise

Masklets do not depend on the base model: one SAM 2 pass over a clip serves every row of every table.
"""

import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from .. import paths
from ..clips.clip import Clip, Dataset, Remembered
from ..clips.datasets import read_dataset
from ..clips.errors import DataError, DataMissingError
from ..config import MaskletSettings
from ..files import one_at_a_time, write_json
from ..mini import vipseg
from .cache import VERSIONS, key
from .profiles import PROFILES, Profile
from .titles import title_of

log = logging.getLogger(__name__)


# label maps of a data set this small, or of predictions for it, stay in memory: every table counts them anew
IN_MEMORY_BYTES = 2**27


@dataclass(frozen=True)
class Study:
    """A profile with its data at hand."""

    profile: Profile
    root: Path
    dataset: Dataset
    checkpoint: str  # of SAM 2, as `lib.sam.load` takes it
    settings: MaskletSettings = MaskletSettings()  # how its clips are segmented
    n_clips_of_split: int = 0  # of which `dataset` may hold a part; 0 for as many as it holds
    timings_s: dict[str, float] = field(default_factory=dict)  # seconds of work actually done, by stage

    @property
    def cache(self) -> Path:
        return paths.CACHE / self.profile.name

    @property
    def extent(self) -> str:
        """How much there is to study, in words."""
        n = len(self.dataset.clips)
        return f"{n} clip{'s' * (n != 1)}, {sum(map(len, self.dataset.clips))} frames"

    @property
    def title(self) -> str:
        """What was studied, for the title of a report: the data, how much of it, and the SAM 2."""
        return title_of(self.profile, self.dataset, self.checkpoint, self.n_clips_of_split)

    def first(self, n_clips: int) -> "Study":
        """The same study on its first clips alone; 0 for all."""
        return self.on(self.dataset.clips[: n_clips or None])

    def on(self, clips: Sequence[Clip]) -> "Study":
        """The same study on these clips."""
        return replace(self, dataset=replace(self.dataset, clips=tuple(clips)))

    def under(self, settings: MaskletSettings) -> "Study":
        """The same study, its clips segmented under these settings."""
        return replace(self, settings=settings)

    def locked(self, what: str):
        """Keep other processes from the same work; enter it, then look again for what is missing."""
        return one_at_a_time(self.cache / f"{what}.lock")

    def cached(self, folder: str, made_of: Sequence, work: Callable, stage: str = ""):
        """Return what work() returns, as JSON knows it: from the cache, or done now and cached.

        Args: made_of: all that it depends on, as for `lib.study.cache.key`; stage: for `clock`, when work was
            done.
        """
        path = self.cache / folder / f"{key(*made_of, digits=24)}.json"
        if not path.exists():
            begun = time.perf_counter()
            write_json(path, work())
            if stage:
                self.clock(stage, begun)
        return json.loads(path.read_text())

    def clock(self, stage: str, begun: float) -> None:
        self.timings_s[stage] = self.timings_s.get(stage, 0.0) + time.perf_counter() - begun


def open_study(
    profile: str = "mini", data: str = "", checkpoint: str = "", settings: MaskletSettings = MaskletSettings()
) -> Study:
    """Find a profile's data.

    Args:
        profile: name in `lib.study.profiles.PROFILES`.
        data: root of the data set; "" for the embedded clips, or DATA/<data set> where the user put it.
        checkpoint: SAM 2 to use instead of the profile's.
        settings: how to segment its clips.

    Raises:
        ValueError: no such profile.  DataMissingError: no data there; the message says what was expected.
    """
    if profile not in PROFILES:
        raise ValueError(f"Expected `profile` to be one of {', '.join(PROFILES)}, but got {profile!r}.")
    chosen = PROFILES[profile]
    root = root_of(chosen, data)
    try:
        dataset = read_dataset(chosen.dataset, root, chosen.split)
    except (DataError, DataMissingError) as error:
        raise type(error)(f"profile {profile}: {error}") from error
    if is_small(dataset.clips):
        dataset = replace(
            dataset,
            clips=tuple(
                replace(c, read_truth=Remembered(c.read_truth)) if c.has_truth else c for c in dataset.clips
            ),
        )
    return Study(chosen, root, dataset, checkpoint or chosen.sam, settings, len(dataset.clips))


@lru_cache(maxsize=4)
def read_train_split(dataset: str, root: Path) -> Dataset:
    """Read a data set's train split, once per process, so that its frames are named by content once too."""
    return read_dataset(dataset, root, "train")


def root_of(profile: Profile, data: str | Path = "") -> Path:
    """Say where a profile's clips are, `data` if that is given; those that are drawn are drawn now, unless
    they are there."""
    if profile.drawn and not data:
        folder = paths.CACHE / profile.name
        with one_at_a_time(folder / "clips.lock"):
            return vipseg.draw(folder / f"clips_v{VERSIONS['clips']}")
    return Path(data) if data else profile.home


def is_small(clips: Sequence[Clip]) -> bool:
    """Say whether one label map per frame, of all clips, fits into IN_MEMORY_BYTES."""
    n_bytes = itertools.accumulate(len(clip) * math.prod(clip.size) for clip in clips)
    return all(n <= IN_MEMORY_BYTES for n in n_bytes)


class NotRun(Exception):
    """A row whose inputs are absent; the message is the reason that the tables print."""


def find_clip(study: Study, clip: str = "") -> Clip:
    """Find a clip by name, by default the profile's example.

    Raises:
        ValueError: no such clip.
    """
    clips = {c.name: c for c in study.dataset.clips}
    chosen = clip or study.profile.example or next(iter(clips))
    if chosen not in clips:
        raise ValueError(
            f"Expected `clip` to be one of {', '.join(list(clips)[:8])} ..., but got {chosen!r}."
        )
    return clips[chosen]

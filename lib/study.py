"""A profile with its data at hand: its masklets and predictions. Owns the cache, so that nothing is
computed twice.

    study = open_study("mini")
    table, not_run, differences = tables.refiner_table(study)          # what 01_refiner shows

Masklets do not depend on the base model: one SAM 2 pass over a clip serves every row of every table.
"""

import hashlib
import itertools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2

from lib import masklets as masklet_files
from lib.checkpoints import weights_of
from lib.config import PROFILES, MaskletSettings, Profile
from lib.data import Clip, Dataset, Predictions, read_dataset, read_predictions
from lib.files import digest, one_at_a_time, write_json
from lib.masklets import Masklets
from lib.mini import panoptic_stand_in, vipseg
from lib.paths import CACHE, DATA
from lib.progress import keep_memory, progress, workers
from lib.reading import Remembered, fingerprint

log = logging.getLogger(__name__)
CAMVID_TRAINING = {"steps": 1200, "seed": 0}  # of the base model, on the train split
# label maps of a data set this small, or of predictions for it, stay in memory: every table counts them anew
KEPT_BYTES = 2**27
PREDICT_VERSION = 1  # raise it when a base model's predictions change although weights and frames do not
TRACKER_VERSION = 4  # raise it when masklets change although settings, weights and frames do not


@dataclass(frozen=True)
class Study:
    """A profile with its data at hand."""

    profile: Profile
    root: Path
    dataset: Dataset
    checkpoint: str  # of SAM 2, as `lib.sam.load` takes it
    timings_s: dict[str, float] = field(default_factory=dict)  # seconds of work actually done, by stage

    @property
    def cache(self) -> Path:
        return CACHE / self.profile.name

    @property
    def extent(self) -> str:
        """How much there is to study, in words."""
        n = len(self.dataset.clips)
        return f"{n} clip{'s' * (n != 1)}, {sum(map(len, self.dataset.clips))} frames"

    def first(self, n_clips: int) -> "Study":
        """The same study on its first clips alone; 0 for all."""
        return replace(self, dataset=replace(self.dataset, clips=self.dataset.clips[: n_clips or None]))

    def alone(self, what: str):
        """Keep other processes from the same work; enter it, then look again for what is missing."""
        return one_at_a_time(self.cache / f"{what}.lock")

    def kept(self, folder: str, made_of: Sequence, work: Callable, stage: str = ""):
        """Do work() and keep what it returns, as JSON, under a name made of all that it depends on; or
        find that in the cache.

        Args: stage: for `clock`, when work was done.
        """
        path = self.cache / folder / f"{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]}.json"
        if not path.exists():
            begun = time.perf_counter()
            write_json(path, work())
            if stage:
                self.clock(stage, begun)
        return json.loads(path.read_text())

    def clock(self, stage: str, begun: float) -> None:
        self.timings_s[stage] = self.timings_s.get(stage, 0.0) + time.perf_counter() - begun


def open_study(profile: str = "mini", data: str = "", checkpoint: str = "") -> Study:
    """Find a profile's data.

    Args:
        profile: name in `lib.config.PROFILES`.
        data: root of the data set; "" for the embedded clips, or DATA/<data set> where the user put it.
        checkpoint: SAM 2 to use instead of the profile's.

    Raises:
        ValueError: no such profile.  DataMissingError: no data there; the message says what was expected.
    """
    if profile not in PROFILES:
        raise ValueError(f"Expected `profile` to be one of {', '.join(PROFILES)}, but got {profile!r}.")
    chosen = PROFILES[profile]
    root = root_of(chosen, data)
    dataset = read_dataset(chosen.dataset, root, chosen.split)
    if _is_small(dataset.clips):
        dataset = replace(
            dataset,
            clips=tuple(
                replace(c, read_truth=Remembered(c.read_truth)) if c.has_truth else c for c in dataset.clips
            ),
        )
    return Study(chosen, root, dataset, checkpoint or chosen.sam)


def root_of(profile: Profile, data: str | Path = "") -> Path:
    """Say where a profile's clips are, `data` if that is given; those that are drawn are drawn now, unless
    they are there."""
    if profile.drawn and not data:
        with one_at_a_time(CACHE / profile.name / "clips.lock"):
            return vipseg.draw(CACHE / profile.name)
    return Path(data) if data else DATA / (profile.root or profile.name)


def _is_small(clips: Sequence[Clip]) -> bool:
    """Say whether one label map per frame, of all clips, fits into KEPT_BYTES."""
    n_bytes = itertools.accumulate(len(clip) * math.prod(clip.size) for clip in clips)
    return all(n <= KEPT_BYTES for n in n_bytes)


@lru_cache(maxsize=1)
def _load_sam(checkpoint: str):
    from lib import sam  # torch only where it is needed

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
    for found in masklet_files.segment_all(
        _load_sam(checkpoint), clip, tuple(files), progress=wrap, known=[*map(read_masklets, there)]
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
    from lib import sam

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
        with workers(min(len(jobs), n_workers), "lib.sam", "lib.tracker") as executor:
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


class NotRun(Exception):
    """A row whose inputs are absent; the message is the reason that the tables print."""


def predictions_of(study: Study, name: str) -> dict[str, Predictions]:
    """A base model's predictions by clip: from the user's folder, else from our own weights, made now and
    cached.

    Looks in DATA/predictions/<profile>/<name> first, then for weights in
    DATA/<profile>/weights/<name>.safetensors or .pth; on `camvid` the model is trained on the train split
    when there are none. The panoptic stand-in is made of the weights of its base segmentor.

    Raises:
        NotRun: neither is there.
    """
    folder, n_classes = DATA / "predictions" / study.profile.name / name, len(study.dataset.classes)
    if not (is_theirs := folder.is_dir()):
        base = name.removeprefix(panoptic_stand_in.PREFIX)
        try:
            weights = base_weights(study, base)
        except NotRun as reason:
            raise NotRun(f"no predictions in {shown(folder)} and {reason}") from None
        version = PREDICT_VERSION if base == name else panoptic_stand_in.version()
        key = hashlib.sha256(
            json.dumps([digest(weights), version, *map(fingerprint, study.dataset.clips)]).encode()
        ).hexdigest()[:16]
        folder = study.cache / "predictions" / f"{name}_{key}"
        # written last; without it, the frames that are missing are predicted
        done = folder.with_name(f"{folder.name}.done")
        if not (done.exists() and folder.is_dir()):
            with study.alone(f"predictions/{name}"):
                if not (done.exists() and folder.is_dir()):
                    _predict(study, name, base, weights, folder)
                    done.touch()
    if is_theirs or not _is_small(study.dataset.clips):
        return {
            clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in study.dataset.clips
        }
    return _remembered(folder, study.dataset.clips, n_classes)


def _predict(study: Study, name: str, base: str, weights: Path, folder: Path) -> None:
    """Predict all clips by a base model, or by the panoptic stand-in made of it."""
    from lib import sam, segmentors  # torch only where it is needed
    from lib.segmentors import predict as semantic

    begun = time.perf_counter()
    predict = semantic.predict if base == name else panoptic_stand_in.predict
    predict(segmentors.load(base, weights).to(sam.default_device()), study.dataset, folder)
    study.clock(f"predict {name}", begun)


@lru_cache(maxsize=8)
def _remembered(folder: Path, clips: tuple[Clip, ...], n_classes: int) -> dict[str, Predictions]:
    """Read our own predictions, which never change, and keep them in memory."""
    found = {clip.name: read_predictions(folder, clip, n_classes, flat=False) for clip in clips}
    return {
        name: replace(predictions, read=Remembered(predictions.read)) for name, predictions in found.items()
    }


def base_weights(study: Study, name: str) -> Path:
    """Find a base model's weights, by `weights_file`; on `camvid` train them when there are none.

    Raises:
        NotRun: there are none, or `name` is a model that the library does not build.
    """
    if (weights := weights_file(study.profile, name)).exists():
        return weights
    from lib import segmentors  # torch only where it is needed

    if name not in segmentors.names():
        raise NotRun(f"{name} is no model that the library builds")
    if study.profile.name == "camvid":
        key = hashlib.sha256(str(study.root.resolve()).encode()).hexdigest()[:8]
        weights = study.cache / f"{name}_{key}.safetensors"
        with study.alone(name):
            if not weights.exists():
                _train_base(study, name, weights)
    if not weights.exists():
        raise NotRun(f"no weights {shown(weights)} (or .pth)")
    return weights


def weights_file(profile: Profile, name: str) -> Path:
    """Where a base model's weights are looked for: .safetensors, else a released .pth; those of the
    panoptic stand-in are its base segmentor's."""
    ours = (
        DATA
        / (profile.root or profile.name)
        / "weights"
        / f"{name.removeprefix(panoptic_stand_in.PREFIX)}.safetensors"
    )
    released = ours.with_suffix(".pth")
    return released if released.exists() and not ours.exists() else ours


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


def example(study: Study, clip: str = "", model: str = "") -> tuple[Clip, str, Predictions]:
    """Choose a clip and a base model by name, by default the profile's example and its first model that
    can be run.

    Raises:
        ValueError: no such clip.  NotRun: the model, or every model of the profile, lacks its inputs.
    """
    chosen, reasons = find_clip(study, clip), []
    for name in [model] if model else [name for name, *_ in study.profile.models]:
        try:
            return chosen, name, predictions_of(study, name)[chosen.name]
        except NotRun as reason:
            reasons.append(f"{name}: {reason}")
    raise NotRun("; ".join(reasons))


def _train_base(study: Study, name: str, out: Path) -> None:
    from lib import sam
    from lib.segmentors.train import default_config, train

    begun = time.perf_counter()
    log.warning(
        "no weights for %s: training it on the train split of %s, a quarter of an hour on two cores",
        name,
        study.root,
    )
    train(
        name,
        read_dataset(study.profile.dataset, study.root, "train"),
        out,
        default_config(name, **CAMVID_TRAINING),
        threads=os.cpu_count(),
        device=sam.default_device(),
    )
    study.clock(f"train {name}", begun)


def shown(path: Path) -> str:
    """A path as a reader of a report should see it: relative to the project."""
    return f"data/{path.relative_to(DATA)}" if path.is_relative_to(DATA) else path.name

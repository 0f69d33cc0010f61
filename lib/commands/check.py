"""`python -m lib check`: say what a profile needs and what of it is there."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from .. import paths
from ..clips.clip import Dataset
from ..clips.datasets import read_dataset
from ..clips.errors import DataError, DataMissingError
from ..clips.folders import read_predictions
from ..config import MaskletSettings
from ..sam.checkpoints import MICRO_WEIGHTS, OFFICIAL
from ..study.predictions import weights_file
from ..study.profiles import PROFILES, Profile
from ..study.study import root_of
from ..workers import keep_memory
from . import options

EXAMPLES = """examples:
  python -m lib check                                     # the embedded profile
  python -m lib check --profile vspw --data VSPW_480p
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_profile(parser)


def run(args: argparse.Namespace) -> int:
    """Say what a profile needs and what of it is there; return 0 if the refiner can run on it."""
    findings = check(args.profile, args.data)
    for finding in findings:
        state = "there  " if finding.there else "MISSING"
        print(f"{state}  {finding.kind} {finding.name}: {finding.text}")
    if any(finding.there for finding in findings if finding.kind == "data"):
        keep_memory()  # as every process that segments clips does
        print("\nWhat to expect:", *expect(args.profile, args.data), sep="\n  ")
    if not can_run(findings):
        print(f"\nThe refiner cannot run on {args.profile} yet.")
        return 1
    data = f" --data {args.data}" if args.data else ""
    print(f"\nThe refiner can run on {args.profile}: python -m lib run --profile {args.profile}{data}")
    return 0


@dataclass(frozen=True)
class Finding:
    """One thing that a profile needs."""

    kind: str  # "data", "SAM 2" or "base model"
    name: str
    there: bool
    text: str  # what is there, or what is missing and how to get it


def check(profile: str = "mini", data: str | Path = "") -> list[Finding]:
    """Look for everything that a profile needs. Reads names only, computes and fetches nothing (but draws
    the clips of a profile that are drawn).

    Args: as for `lib.study.study.open_study`.
    Returns: findings for the data, SAM 2's weights and each base model, in this order.
    Raises: ValueError for an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"Expected `profile` to be one of {', '.join(PROFILES)}, but got {profile!r}.")
    chosen = PROFILES[profile]
    root, dataset = root_of(chosen, data), None
    try:
        dataset = read_dataset(chosen.dataset, root, chosen.split)
        found = f"{root}: {len(dataset.clips)} clips, {sum(map(len, dataset.clips))} frames of split {dataset.split}"
    except (DataError, DataMissingError) as error:
        found = f"profile {profile}: {error}"
    findings = [Finding("data", chosen.dataset, dataset is not None, found), _sam(chosen)]
    return findings + [
        Finding("base model", name, *_model(chosen, name, dataset, root)) for name, _, _ in chosen.models
    ]


def can_run(findings: list[Finding]) -> bool:
    """Say whether the refiner could run at least one row: data, SAM 2, and any one base model."""
    return {"data", "SAM 2", "base model"} <= {f.kind for f in findings if f.there}


def expect(profile: str = "mini", data: str | Path = "") -> list[str]:
    """Say what a profile will cost on this machine under the default settings: masklets (frames, number,
    time, memory), and each panoptic base model, a line each.

    Takes seconds: it reads one frame and times the parts of a model with random weights, so that SAM 2's own
        need not be there.
    Args: as for `lib.study.study.open_study`.
    Raises: DataError, DataMissingError if the data are not there.
    """
    from ..cost import calibrate
    from ..cost.forecast import expectation
    from ..segmentors.panoptic.config import CONFIGS
    from ..segmentors.panoptic.cost import forecast

    chosen = PROFILES[profile]
    dataset = read_dataset(chosen.dataset, root_of(chosen, data), chosen.split)
    lines = expectation(dataset.clips, MaskletSettings(), chosen.sam, chosen.name)
    panoptic = [name for name, _, _ in chosen.models if name in CONFIGS]
    if panoptic:
        size = dataset.clips[0].size
        lines += forecast(panoptic, sum(map(len, dataset.clips)), size, calibrate(chosen.sam, size).model)
    return lines


def _sam(profile: Profile) -> Finding:
    from huggingface_hub import try_to_load_from_cache

    if profile.sam == "micro":
        text = (
            f"{MICRO_WEIGHTS}"
            if MICRO_WEIGHTS.is_file()
            else (
                f"{MICRO_WEIGHTS}: no such file. It is part of the repository: restore it, or train it again with `python -m lib.mini.training.train_sam --out {MICRO_WEIGHTS}`."
            )
        )
        return Finding("SAM 2", "micro", MICRO_WEIGHTS.is_file(), text)
    _, repository, file = OFFICIAL[profile.sam]
    cached = try_to_load_from_cache(repository, file)
    text = (
        str(cached)
        if isinstance(cached, str)
        else (
            f"{file} is not in the hub's cache. It is fetched from huggingface.co/{repository} when first needed; to fetch it now: "
            f"python -c \"from lib.sam.checkpoints import download; download('{profile.sam}')\""
        )
    )
    return Finding("SAM 2", profile.sam, isinstance(cached, str), text)


def _model(profile: Profile, name: str, dataset: Dataset | None, root: Path) -> tuple[bool, str]:
    """Find a base model's predictions or weights, where `lib.study.predictions.predictions_of` looks for them."""
    folder, weights = paths.DATA / "predictions" / profile.name / name, weights_file(profile, name)
    if folder.is_dir():
        try:
            for clip in dataset.clips if dataset else ():
                read_predictions(folder, clip, len(dataset.classes), flat=False)
        except (DataError, DataMissingError) as error:
            return False, str(error)
        return (
            True,
            f"{folder}: predictions{' for every frame' if dataset else ', not compared with the missing data'}",
        )
    from .. import segmentors

    known = name in segmentors.names()
    if known and weights.is_file():
        return True, f"{weights}: weights"
    if known and profile.training_steps:
        try:
            return (
                True,
                f"trained on {len(read_dataset(profile.dataset, root, 'train').clips)} clips of split train when first needed, a quarter of an hour on two cores",
            )
        except (DataError, DataMissingError) as error:
            return False, f"no {weights}, and none can be trained: {error}"
    way = (
        f", or its weights as {weights} or .pth (data/README.md says where they are published)"
        if known
        else ""
    )
    if profile.dataset == "vipseg":
        way += f"; or put pan_pred/ and pred.json of a panoptic model into {folder}"
    return (
        False,
        f"neither predictions nor weights. Put its predictions into {folder}/<clip>/<frame>.png{way}.",
    )

"""Flags that several commands share: one name for one thing, everywhere."""

import argparse
import json
from dataclasses import fields

from ..config import MaskletSettings, Shortcuts, VoteSettings

DATASETS = ("vspw", "vipseg", "camvid")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a profile and its data."""
    from ..study.profiles import PROFILES

    parser.add_argument("--profile", default="mini", help=f"{', '.join(PROFILES)} (default: %(default)s)")
    parser.add_argument(
        "--data",
        default="",
        metavar="DIR",
        help="the data set (default: the embedded clips, or data/<profile>)",
    )


def add_data(parser: argparse.ArgumentParser, flag: str) -> None:
    """Add the options that name a split of a data set; `flag` takes its folder."""
    parser.add_argument(flag, required=True, metavar="ROOT", help="folder of the data set")
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        default="vspw",
        help="its layout; the embedded clips are vspw (default: %(default)s)",
    )
    parser.add_argument("--split", default="val", help="(default: %(default)s)")


def add_device(parser: argparse.ArgumentParser, bf16: str) -> None:
    """Add the options that say where and how exactly a model runs."""
    parser.add_argument(
        "--device", metavar="D", help="cpu, cuda, cuda:1 ... (default: the GPU if there is one)"
    )
    parser.add_argument("--bf16", action="store_true", help=bf16)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets results be replaced."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace results in OUT that were made of other inputs, weights or settings",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the settings of masklets, of the vote and of the shortcuts; defaults are those of the
    dataclasses."""
    settings, votes = MaskletSettings(), VoteSettings()
    for name, kind, what in (
        ("window", int, "frames from one proposal to the next"),
        ("grid", int, "points per side of the click grid"),
        ("iou", float, "predicted IoU that a mask must exceed"),
        ("stability", float, "stability that it must reach"),
        ("stability-offset", float, "logit offset of the stability score"),
        ("nms", float, "box IoU above which the worse of two masks is dropped"),
        ("clean-px", int, "fill holes and drop specks up to this area"),
    ):
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=getattr(settings, name.replace("-", "_")),
            metavar="N" if kind is int else "X",
            help=f"{what} (default: %(default)s)",
        )
    parser.add_argument(
        "--overlap",
        choices=("area", "score"),
        default=votes.overlap,
        help="who wins where masklets overlap: the smaller, or the one of higher predicted IoU "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--vote",
        choices=("frame", "masklet"),
        default=votes.scope,
        dest="scope",
        help="vote anew in each frame, or once for all frames of a masklet (default: %(default)s)",
    )
    for name, what in (
        ("input-px", "SAM 2 sees frames at this size, 512 say (default: its own, 1024)"),
        ("memories", "earlier frames that a track looks back to (default: 6)"),
        ("every", "SAM 2 sees every n-th frame; those between take its masks (default: 1)"),
    ):
        parser.add_argument(
            f"--{name}",
            type=int,
            default=getattr(Shortcuts(), name.replace("-", "_")),
            metavar="N",
            help=f"shortcut, faster and less exact: {what}",
        )


def settings_of(args: argparse.Namespace) -> tuple[MaskletSettings, VoteSettings, Shortcuts]:
    """Build the three settings from parsed arguments. Raises: ValueError for one out of range."""
    return tuple(
        cls(**{f.name: getattr(args, f.name) for f in fields(cls)})
        for cls in (MaskletSettings, VoteSettings, Shortcuts)
    )


def device_of(name: str | None) -> str:
    """Return the device to use, by default the GPU if there is one; refuse one that torch does not have
    here."""
    import torch  # late: it takes seconds to load

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"Expected --device to be one that torch has here, such as cpu, but got {name!r} ({why})."
        ) from error
    return name


def value_of(text: str):
    """Read a parameter as JSON (number, true, false, null, a list), or else as the text it is."""
    try:
        value = json.loads(text, parse_constant=str)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, dict) else value

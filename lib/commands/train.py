"""`python -m lib train`: train a base model on a data set."""

import argparse
from dataclasses import fields

from ..clips.datasets import read_dataset
from . import options

EXAMPLES = """example:
  python -m lib train --model segformer-b1 --data VSPW_480p --init mit_b1.pth --device cuda --out segformer-b1.safetensors

Settings that are left out are those of `lib.segmentors.train.default_config`. Run again after an interruption:
training goes on from the last checkpoint beside OUT.
"""

# settings of `lib.segmentors.train.TrainConfig` that are one number
NUMBERS = {
    "steps": int,
    "batch": int,
    "lr": float,
    "head-lr-factor": float,
    "weight-decay": float,
    "warmup": int,
    "power": float,
    "clip-norm": float,
    "balance": float,
    "points": int,
    "drop-path": float,
    "per-frame": float,
    "seed": int,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--model", required=True, metavar="NAME", help="such as segformer-b1")
    options.add_data(parser, "--data")
    parser.set_defaults(split="train")
    parser.add_argument("--out", required=True, metavar="FILE", help=".safetensors file to write")
    parser.add_argument(
        "--init",
        metavar="FILE",
        help="weights to start from: of a MiT, or of a per-frame model of the same width",
    )
    parser.add_argument("--minutes", type=float, dest="max_minutes", metavar="X", help="stop after this time")
    for name, kind in NUMBERS.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N" if kind is int else "X")
    parser.add_argument("--crop", type=int, nargs=2, metavar=("H", "W"))
    parser.add_argument("--scales", type=float, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument("--photometric", action=argparse.BooleanOptionalAction)
    parser.add_argument("--half", action="store_true", help="store matrices as float16")
    options.add_device(parser, "bfloat16: faster on a GPU")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that make batches")


def run(args: argparse.Namespace) -> int:
    """Train a base model."""
    dataset = read_dataset(args.dataset, args.data, args.split)

    from ..segmentors.train import TrainConfig, default_config, train  # late: torch takes seconds to load

    changes = {
        field.name: getattr(args, field.name)
        for field in fields(TrainConfig)
        if getattr(args, field.name) is not None
    }
    changes.update({key: tuple(changes[key]) for key in ("crop", "scales") if key in changes})
    train(
        args.model,
        dataset,
        args.out,
        default_config(args.model, **changes),
        init=args.init,
        half=args.half,
        device=options.device_of(args.device),
        bf16=args.bf16,
        threads=args.threads,
        workers=args.workers,
    )
    return 0

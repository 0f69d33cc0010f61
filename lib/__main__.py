"""The command line, `python -m lib COMMAND`: parse, call, print. The work is in the modules that each
command names."""

import argparse
import json
import logging
import sys
from dataclasses import fields
from functools import partial

from .config import ClassifierConfig, MaskletSettings, Shortcuts, VoteSettings
from .progress import progress, quiet
from .study.profiles import PROFILES
from .workers import keep_memory

EXAMPLES = """examples:
  python -m lib check          # is all there that the embedded profile needs?
  python -m lib run            # all tables on the embedded profile, into reports/mini
  python -m lib refine clips predictions refined --checkpoint large
  python -m lib evaluate refined --truth VSPW_480p
"""
REFINE = """examples:
  python -m lib refine street.mp4 predictions/street refined --checkpoint large --bf16
  python -m lib refine clips cffm-b1 refined/cffm-b1 --checkpoint large --masklets masklets
  python -m lib refine clips tv3s-b1 refined/tv3s-b1 --checkpoint large --masklets masklets     # cut once, used twice

Run again after an interruption: finished clips are left alone.
"""
EVALUATE = """examples:
  python -m lib evaluate refined --truth VSPW_480p
  python -m lib evaluate refined --truth CamVid --dataset camvid --protocol paper --json scores.json

--protocol vspw scores as the script of VSPW does, from which published numbers come, and drops clips of 16 frames or fewer;
paper takes Eq. 4 literally; both prints both.
"""
RUN = """examples:
  python -m lib run                                      # every notebook on the embedded profile
  python -m lib run --tables 1 4 --profile vspw --data /data/VSPW_480p
  python -m lib run --tables 0 -p clip_name val_003      # what else can be set: the first cell of each notebook
"""
PREDICT = """example:
  python -m lib predict --model segformer-b1 --checkpoint segformer_b1.pth --data VSPW_480p data/predictions/vspw/segformer-b1"""


def refine(args) -> int:
    """Refine a folder of predictions."""
    from .commands.refine import refine_folder
    from .cost.forecast import forecast

    if args.objects_per_batch is not None and args.objects_per_batch < 1:
        raise ValueError(f"Expected --objects-per-batch to be 1 or more, but got {args.objects_per_batch}.")

    def load_sam():
        from . import sam  # here, so that wrong input is reported before torch is loaded

        keep_memory()
        return sam.load(args.checkpoint, _device(args.device), shortcuts)

    settings, votes, shortcuts = (
        cls(**{f.name: getattr(args, f.name) for f in fields(cls)})
        for cls in (MaskletSettings, VoteSettings, Shortcuts)
    )
    done = refine_folder(
        args.frames,
        args.predictions,
        args.out,
        load_sam,
        settings,
        votes,
        shortcuts,
        checkpoint=args.checkpoint,
        masklets=args.masklets,
        progress=progress,
        forecast=None if quiet() else forecast,
        objects_per_batch=args.objects_per_batch,
        autocast=args.bf16,
    )
    print(f"{args.out}: clips refined: {len(done)}" + ("" if done else " (all were there)"))
    return 0


def evaluate(args) -> int:
    """Score a folder of predictions."""
    from .commands import evaluate as scores
    from .files import write_json

    result = scores.evaluate(
        args.predictions,
        args.truth,
        args.split,
        args.dataset,
        args.protocol,
        progress=partial(progress, unit="clip"),
    )
    if args.json:
        write_json(args.json, result)
    print(scores.format_scores(result))
    return 0


def run(args) -> int:
    """Execute notebooks into reports."""
    from .report import run as runner

    if args.refresh and (args.profile != "mini" or args.data or args.p):
        raise ValueError(
            "--refresh executes the notebooks with their own parameters: leave out --profile, --data and -p."
        )
    try:
        done = (
            runner.refresh(tables=args.tables, jobs=args.jobs)
            if args.refresh
            else runner.run(
                args.profile, args.tables, args.data, {n: _value(v) for n, v in args.p}, jobs=args.jobs
            )
        )
    except runner.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, done)))
    return 0


def predict(args) -> int:
    """Predict a data set with a base model."""
    from . import segmentors
    from .clips.datasets import read_dataset
    from .segmentors import predict as predictor

    dataset, device = read_dataset(args.dataset, args.data, args.split), _device(args.device)
    n_frames = predictor.predict(
        segmentors.load(args.model, args.checkpoint),
        dataset,
        args.out,
        batch=args.batch,
        device=device,
        bf16=args.bf16,
        stream=args.stream,
    )
    print(f"{args.out}: {n_frames} frames predicted, {sum(map(len, dataset.clips)) - n_frames} were there")
    return 0


def fit(args) -> int:
    """Fit the classifiers of SAM 2 as segmentor."""
    from .study import fitting as fitter
    from .study.classifiers import weights_file
    from .study.study import NotRun, open_study

    study = open_study(args.profile, args.data)
    names = args.features or fitter.encoders(study)
    try:
        fitted = fitter.fit(
            study,
            names,
            ClassifierConfig(class_balance=args.class_balance, seed=args.seed),
            args.clips,
            args.frames,
        )
    except NotRun as reason:
        raise ValueError(str(reason)) from None
    for name, found in fitted.items():
        found.save(path := weights_file(study, name))
        print(f"{path}: fitted")
    return 0


def check(args) -> int:
    """Say what a profile needs and what of it is there."""
    from .commands.check import can_run, check, expect

    findings = check(args.profile, args.data)
    for finding in findings:
        print(f"{'there  ' if finding.there else 'MISSING'}  {finding.kind} {finding.name}: {finding.text}")
    if any(finding.there for finding in findings if finding.kind == "data"):
        keep_memory()  # as whatever cuts clips does
        print("\nWhat to expect:", *expect(args.profile, args.data), sep="\n  ")
    ready, command = (
        can_run(findings),
        f"python -m lib run --profile {args.profile}" + (f" --data {args.data}" if args.data else ""),
    )
    print(
        f"\nThe refiner can run on {args.profile}: {command}"
        if ready
        else f"\nThe refiner cannot run on {args.profile} yet."
    )
    return 0 if ready else 1


def _device(name: str | None) -> str:
    """Return the device to use, by default the GPU if there is one; refuse one that torch does not have
    here."""
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Expected --device to be one that torch has here, such as cpu, but got {name!r} ({str(error).splitlines()[0]})."
        ) from error
    return name


def _value(text: str):
    """A parameter as JSON (number, true, false, null, a list), or else as the text it is."""
    try:
        value = json.loads(text, parse_constant=str)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, dict) else value


def parser() -> argparse.ArgumentParser:
    """Build the command line; defaults are those of the settings' dataclasses."""
    main = argparse.ArgumentParser(
        "python -m lib",
        description="SAM 2 as a refiner of video semantic segmentation.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(work, help, epilog=""):
        sub = commands.add_parser(
            work.__name__,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(work=work)
        return sub

    settings, votes = MaskletSettings(), VoteSettings()
    sub = command(refine, "refine any model's predictions with SAM 2", REFINE)
    sub.add_argument(
        "frames",
        metavar="FRAMES",
        help="one clip (a folder of JPEG or PNG frames, or a video) or a folder of such folders",
    )
    sub.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        help="<clip>/<frame>.png with class ids, 255 where nothing is predicted; the PNGs themselves for one clip",
    )
    sub.add_argument("out", metavar="OUT", help="folder to write <clip>/<frame>.png into")
    sub.add_argument(
        "--checkpoint",
        default="micro",
        metavar="micro|tiny|small|base-plus|large|PATH",
        help="SAM 2 to use: micro is embedded and made for the drawn clips; the others are SAM 2.1, fetched from the hub; or a file (default: %(default)s)",
    )
    for name, kind, what in (
        ("window", int, "frames from one proposal to the next"),
        ("grid", int, "points per side of the click grid"),
        ("iou", float, "predicted IoU that a mask must exceed"),
        ("stability", float, "stability that it must reach"),
        ("stability-offset", float, "logit offset of the stability score"),
        ("nms", float, "box IoU above which the worse of two masks goes"),
        ("clean-px", int, "fill holes and drop specks up to this area"),
    ):
        sub.add_argument(
            f"--{name}",
            type=kind,
            default=getattr(settings, name.replace("-", "_")),
            metavar="N" if kind is int else "X",
            help=f"{what} (default: %(default)s)",
        )
    sub.add_argument(
        "--overlap",
        choices=("area", "score"),
        default=votes.overlap,
        help="who wins where masklets overlap: the smaller, or the one of higher predicted IoU (default: %(default)s)",
    )
    sub.add_argument(
        "--vote",
        choices=("frame", "masklet"),
        default=votes.scope,
        dest="scope",
        help="vote anew in each frame, or once for a masklet's whole life (default: %(default)s)",
    )
    for name, what in (
        ("input-px", "SAM 2 sees frames at this size, 512 say (default: its own, 1024)"),
        ("memories", "earlier frames that a track looks back to (default: 6)"),
        ("every", "SAM 2 sees every n-th frame; those between keep its masks (default: 1)"),
    ):
        sub.add_argument(
            f"--{name}",
            type=int,
            default=getattr(Shortcuts(), name.replace("-", "_")),
            metavar="N",
            help=f"shortcut, faster and less exact: {what}",
        )
    sub.add_argument(
        "--masklets",
        metavar="DIR",
        help="keep each clip's masklets here as <clip>.json, and use those that are there",
    )
    sub.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 ... (default: the GPU if there is one)")
    sub.add_argument("--bf16", action="store_true", help="bfloat16: faster on a GPU, not bit-equal")
    sub.add_argument(
        "--objects-per-batch",
        type=int,
        metavar="N",
        help="objects tracked at a time: fewer need less memory (default: 32 on a CPU, else 64)",
    )

    sub = command(evaluate, "score any model's predictions against a data set", EVALUATE)
    sub.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        help="<clip>/<frame>.png with class ids, or a panoptic folder with pred.json",
    )
    _add_data(sub, "--truth")
    sub.add_argument(
        "--protocol",
        choices=("vspw", "paper", "both"),
        default="both",
        help="see below (default: %(default)s)",
    )
    sub.add_argument("--json", metavar="FILE", help="also write the scores here, per class and per clip too")

    sub = command(run, "execute the notebooks and write their reports", RUN)
    _add_profile(sub)
    sub.add_argument("--tables", nargs="+", metavar="N", help="numbers of notebooks (default: all)")
    sub.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter of the notebooks",
    )
    sub.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="notebooks at a time (default: %(default)s)"
    )
    sub.add_argument(
        "--refresh",
        action="store_true",
        help="execute the notebooks in place instead, to renew the outputs kept in them",
    )

    sub = command(
        predict, "predict a data set with a base model; frames that are there are left alone", PREDICT
    )
    sub.add_argument("--model", required=True, metavar="NAME", help="such as segformer-b1")
    sub.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="its weights, .safetensors or a released .pth"
    )
    _add_data(sub, "--data")
    sub.add_argument("out", metavar="OUT", help="folder to write <clip>/<frame>.png into")
    sub.add_argument(
        "--batch", type=int, default=4, metavar="N", help="frames at a time (default: %(default)s)"
    )
    sub.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 ... (default: the GPU if there is one)")
    sub.add_argument("--bf16", action="store_true", help="bfloat16: faster on a GPU")
    sub.add_argument(
        "--stream",
        action="store_true",
        help="TV3S: carry the states through the whole clip (mode 2), not from t-9, t-6, t-3 (mode 0)",
    )

    sub = command(fit, "fit the classifiers of SAM 2 as segmentor (Table 3) into data/<profile>/weights")
    _add_profile(sub)
    sub.add_argument(
        "--features",
        nargs="+",
        metavar="NAME",
        help="sam, or base models such as segformer-n1 (default: sam and those of Table 3 with weights)",
    )
    sub.add_argument(
        "--clips",
        type=int,
        metavar="N",
        help="of the train split, evenly chosen; 0 for all (default: what the profile says)",
    )
    sub.add_argument("--frames", type=int, default=3, metavar="N", help="of each clip (default: %(default)s)")
    sub.add_argument(
        "--class-balance",
        choices=("none", "inverse-sqrt"),
        default="none",
        help="weights of classes in the loss (default: %(default)s)",
    )
    sub.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")

    commands.add_parser("train", help="train a base model: see `python -m lib train --help`", add_help=False)

    _add_profile(command(check, "say what a profile needs and what of it is there"))
    return main


def _add_profile(sub) -> None:
    """Options that name a profile and its data."""
    sub.add_argument("--profile", default="mini", help=f"{', '.join(PROFILES)} (default: %(default)s)")
    sub.add_argument(
        "--data",
        default="",
        metavar="DIR",
        help="the data set (default: the embedded clips, or data/<profile>)",
    )


def _add_data(sub, flag: str) -> None:
    """Options that name a split of a data set."""
    sub.add_argument(flag, required=True, metavar="ROOT", help="folder of the data set")
    sub.add_argument(
        "--dataset",
        choices=("vspw", "vipseg", "camvid"),
        default="vspw",
        help="its layout; the embedded clips are vspw (default: %(default)s)",
    )
    sub.add_argument("--split", default="val", help="(default: %(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code: 2 for wrong input, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(format="%(message)s")
    logging.getLogger("lib").setLevel(logging.INFO)
    try:
        if argv[:1] == ["train"]:
            from .segmentors.train import main as train

            return train(argv[1:]) or 0
        args = parser().parse_args(argv)
        return args.work(args)
    except (ValueError, OSError) as error:  # DataError and DataMissingError are among them
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on with what is left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

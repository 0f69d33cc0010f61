"""`python -m lib fit`: fit the classifiers of SAM 2 as segmentor (Table 3)."""

import argparse

from ..config import ClassifierConfig
from . import options

EXAMPLES = """example:
  python -m lib fit --profile mini --features sam        # into data/mini/weights, replacing what is there
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_profile(parser)
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="NAME",
        help="sam, or base models such as segformer-n1 (default: sam and those of Table 3 with weights)",
    )
    parser.add_argument(
        "--clips",
        type=int,
        metavar="N",
        help="clips of the train split, evenly chosen; 0 for all (default: what the profile says)",
    )
    parser.add_argument(
        "--frames", type=int, default=3, metavar="N", help="frames of each clip (default: %(default)s)"
    )
    parser.add_argument(
        "--class-balance",
        choices=("none", "inverse-sqrt"),
        default="none",
        help="weights of classes in the loss (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Fit the classifiers and save them where Table 3 finds them."""
    from ..study import fitting as fitter
    from ..study.classifiers import weights_file
    from ..study.study import NotRun, open_study

    study = open_study(args.profile, args.data)
    names = args.features or fitter.encoders(study)
    config = ClassifierConfig(class_balance=args.class_balance, seed=args.seed)
    try:
        fitted = fitter.fit(study, names, config, args.clips, args.frames)
    except NotRun as reason:
        raise ValueError(str(reason)) from None
    for name, classifier in fitted.items():
        classifier.save(path := weights_file(study, name))
        print(f"{path}: fitted")
    return 0

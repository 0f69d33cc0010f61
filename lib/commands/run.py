"""`python -m lib run`: execute the notebooks and write their reports."""

import argparse
import sys

from . import options

EXAMPLES = """examples:
  python -m lib run                                      # every notebook on the embedded profile
  python -m lib run --tables 1 4 --profile vspw --data /data/VSPW_480p
  python -m lib run --tables 0 -p clip_name val_003      # what else can be set: the first cell of each notebook
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_profile(parser)
    parser.add_argument("--tables", nargs="+", metavar="N", help="numbers of notebooks (default: all)")
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter of the notebooks",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="notebooks at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="execute the notebooks in place instead, to renew the outputs kept in them",
    )


def run(args: argparse.Namespace) -> int:
    """Execute notebooks into reports; return 1 if one fails."""
    from ..report import run as runner  # late: it loads papermill

    if args.refresh and (args.profile != "mini" or args.data or args.p):
        raise ValueError(
            "--refresh executes the notebooks with their own parameters: leave out --profile, --data and -p."
        )
    try:
        if args.refresh:
            done = runner.refresh(tables=args.tables, jobs=args.jobs)
        else:
            parameters = {name: options.value_of(value) for name, value in args.p}
            done = runner.run(args.profile, args.tables, args.data, parameters, jobs=args.jobs)
    except runner.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, done)))
    return 0

"""The command line, `python -m lib COMMAND`: parse, dispatch. Each command is a file of `lib.commands`."""

import argparse
import importlib
import logging
import sys

from .clips.errors import DataError, DataMissingError

# in the order in which people need them
COMMANDS = {
    "check": "say what a profile needs and what of it is there",
    "predict": "predict a data set with a base model",
    "refine": "refine any model's predictions with SAM 2",
    "evaluate": "score any model's predictions against a data set",
    "run": "execute the notebooks and write their reports",
    "fit": "fit the classifiers of SAM 2 as segmentor (Table 3)",
    "train": "train a base model",
}
EXAMPLES = """examples:
  python -m lib check          # is everything there that the embedded profile needs?
  python -m lib run            # all tables on the embedded profile, into reports/mini
  python -m lib refine VSPW_480p cffm-b1 refined --split val --checkpoint large
  python -m lib evaluate refined --truth VSPW_480p

python -m lib COMMAND --help says more of each.
"""


def parser(chosen: str = "") -> argparse.ArgumentParser:
    """Build the command line, with the arguments of the command that is called: only its file is imported."""
    shape = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    main = argparse.ArgumentParser(
        "python -m lib",
        description="SAM 2 as a refiner of video semantic segmentation.",
        epilog=EXAMPLES,
        **shape,
    )
    subparsers = main.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, what in COMMANDS.items():
        sub = subparsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", **shape)
        if name == chosen:
            command = importlib.import_module(f".commands.{name}", __package__)
            command.add_arguments(sub)
            sub.epilog = command.EXAMPLES
            sub.set_defaults(work=command.run)
    return main


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code: 2 for wrong input, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(format="%(message)s")
    logging.getLogger("lib").setLevel(logging.INFO)
    try:
        line = parser(argv[0] if argv else "")
        args = line.parse_args(argv)
        if args.command is None:
            line.print_help()
            return 2
        return args.work(args)
    except (DataError, DataMissingError) as error:
        # several problems stand on a line each
        print(
            "error:", "\n  ".join(" ".join(line.split()) for line in str(error).splitlines()), file=sys.stderr
        )
        return 2
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on with what is left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

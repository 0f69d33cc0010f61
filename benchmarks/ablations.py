"""All settings of the paper's ablations (Tables 4 to 7, 23 rows of which four are the default) cut
together, against the default alone and naive reruns.

    python -m benchmarks.ablations --frames 32

"default" is one run of the default setting, "shared" one run of all, "reruns" one run after another of every
row of the four tables: what a study without sharing does. `worst_iou` compares each masklet of the shared run
with that of its setting run alone.
"""

from benchmarks.common import alternate, drawn, faster, finish, load, parse, parser, spread, worst_iou
from lib.config import MaskletSettings
from lib.sam import segment as segmenting
from lib.tables.ablation_scores import ABLATIONS, DEFAULT, ablation_settings


def label(setting: MaskletSettings) -> str:
    """Say what a setting changes."""
    return (
        ", ".join(
            f"{name} {value}" for name, value in vars(setting).items() if value != getattr(DEFAULT, name)
        )
        or "default"
    )


def main(arguments=None):
    options = parser(__doc__, rounds=2)
    options.add_argument(
        "--frames",
        type=int,
        default=32,
        help="fewer than 32 cut the longest window short, and what is done once a clip weighs more",
    )
    options.add_argument(
        "--largest-grid", type=int, default=64, help="leave out settings of a finer click grid"
    )
    options.add_argument("--no-reruns", action="store_true", help="leave out what takes longest")
    options = parse(options, "ablations", arguments)
    clip, sam, device = drawn(options.frames), load("micro", options.device), options.device
    settings = [s for s in ablation_settings() if s.grid <= options.largest_grid]
    printed = [s for a in ABLATIONS.values() for s in a.settings.values() if s.grid <= options.largest_grid]
    together = {
        "default": lambda: [segmenting.segment(sam, clip, DEFAULT)],
        "shared": lambda: segmenting.segment_all(sam, clip, settings),
    }
    results, times = alternate(together, options.rounds, device, warm_up=False)
    line = lambda who, n, taken, worst=None: {
        "who": who,
        "settings": n,
        **spread(taken),
        "times_default": 1 / faster(taken, times["default"]),
        "worst_iou": worst,
    }
    by_frame = lambda found: [found.masks(t) for t in range(len(found))]
    rest = []
    if not options.no_reruns:
        alone, taken = alternate(
            {s: lambda s=s: segmenting.segment(sam, clip, s) for s in settings}, 1, device, warm_up=False
        )
        worst = {
            s: worst_iou(by_frame(shared), by_frame(alone[s]))
            for s, shared in zip(settings, results["shared"])
        }
        # The default is a row of each of the four tables: a study of separate runs repeats it.
        rest = [line("reruns", len(printed), sum(taken[s] for s in printed), min(worst.values()))]
        rest += [line(f"  {label(s)}", 1, taken[s], worst[s]) for s in settings]
    lines = [line("default", 1, times["default"]), line("shared", len(printed), times["shared"]), *rest]
    notes = [
        f"Micro model, {options.frames} frames of {clip.size[0]}x{clip.size[1]} pixels; default and shared in {options.rounds} alternating rounds, each rerun once.",
        f"{len(printed)} printed rows are {len(settings)} different settings. times_default: the multiple of what the default alone takes.",
    ]
    return finish("ablations", options, lines, notes)


if __name__ == "__main__":
    main()

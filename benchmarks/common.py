"""What the benchmarks share: alternating timers, the machine, tables and JSON, and clips and objects to
work on."""

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from pycocotools import mask as coco

from lib import sam
from lib.clips.clip import Clip
from lib.config import MaskletSettings
from lib.cost.measure import grid_cells
from lib.files import write_json
from lib.mini.scenes import make_scene, render
from lib.paths import ROOT
from lib.report.provenance import provenance
from lib.sam import fast, pixels
from lib.sam import track as tracker

RESULTS = ROOT / "benchmarks" / "results"
SEED = 20_003  # of the drawn scene


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    options = argparse.ArgumentParser(description=description.partition("\n")[0])
    options.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if sam.has_gpu() else "cpu")
    options.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it as it is")
    options.add_argument(
        "--rounds", type=int, default=rounds, help="timed rounds, in each of which every contestant runs once"
    )
    options.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    return options


def add_models(options: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that run a SAM 2."""
    options.add_argument("--model", nargs="+", choices=("micro", "tiny", "large"), default=["micro"])
    options.add_argument("--bf16", action="store_true", help="in bfloat16 as well as in float32")


def alternate(
    contestants: dict[str, Callable], rounds: int, device: str, *, warm_up: bool = True
) -> tuple[dict, dict[str, np.ndarray]]:
    """Run contestants in turn, so that what slows the machine slows all of them.

    Args:
        contestants: {name: work}.
        rounds: timed rounds; every other one runs in reverse order.
        warm_up: run a first round that is not timed: only the first run allocates, compiles and fills caches.

    Returns:
        What each did last, {name: result}, and its times, {name: (rounds,) seconds}.
    """
    if rounds < 1:
        raise ValueError(f"Expected `rounds` to be 1 or more, but got {rounds}.")
    results, times = dict.fromkeys(contestants), {name: [] for name in contestants}
    for i in range(-warm_up, rounds):
        for name in list(contestants)[:: -1 if i % 2 else 1]:
            begun = now(device)
            results[name] = contestants[name]()
            if i >= 0:
                times[name].append(now(device) - begun)
    return results, {name: np.array(taken) for name, taken in times.items()}


def now(device: str) -> float:
    """The time when all that was asked of the GPU is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(times: np.ndarray) -> dict[str, float]:
    """Columns of one contestant: median, least and most seconds."""
    return {"median_s": float(np.median(times)), "least_s": float(times.min()), "most_s": float(times.max())}


def faster(times: np.ndarray, than: np.ndarray) -> float:
    """How many times faster: the median over rounds of ratios within a round."""
    return float(np.median(than / times))


def finish(
    name: str, options: argparse.Namespace, lines: Sequence[dict], notes: Sequence[str] = ()
) -> pd.DataFrame:
    """Print a table and write it as `<name>_<cpu|cuda>.json`; returns it."""
    table = pd.DataFrame(lines)
    from_where = machine(options.device)
    print(f"{name} on {from_where['device']}, {from_where['threads']} threads, torch {from_where['torch']}")
    print(table.to_string(index=False, na_rep="", float_format="{:.4g}".format), *notes, sep="\n")
    rows = [
        {column: None if pd.isna(value) else value for column, value in line.items()}
        for line in table.to_dict("records")
    ]
    result = {
        "benchmark": name,
        "command": options.command,
        "machine": from_where,
        "notes": list(notes),
        "table": rows,
    }
    write_json(options.out / f"{name}_{options.device}.json", result)
    return table


def parse(options: argparse.ArgumentParser, name: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options and apply those that hold for the whole process."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    found = options.parse_args(arguments)
    found.command = shlex.join(["python", "-m", f"benchmarks.{name}", *arguments])
    if found.threads:
        torch.set_num_threads(found.threads)
    return found


def machine(device: str) -> dict:
    """Say what was measured on: the device, how busy it was, and the code."""
    info = Path("/proc/cpuinfo")
    cpu = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    code = provenance("", {}, (), {})
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu[1] if cpu else "unknown CPU",
        "gpu": device == "cuda",
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        # of the last minute, these benchmarks included
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **{key: code[key] for key in ("date", "commit", "dirty")},
    }


def drawn(n_frames: int, n_drawn: int | None = None) -> Clip:
    """A drawn clip in memory: `n_frames` frames, of which the first `n_drawn` (None for all) are drawn and
    come again and again, to and fro."""
    n_drawn = n_drawn or n_frames
    scene = make_scene(SEED, n_frames=n_drawn)
    frames = [render(scene, t)[:2] for t in range(n_drawn)]
    there_and_back = list(range(n_drawn)) + list(range(n_drawn - 2, 0, -1))
    at = lambda t: frames[there_and_back[t % len(there_and_back)]]
    return Clip(
        "drawn",
        tuple(f"{t:05d}" for t in range(n_frames)),
        lambda: frames[0][1].shape,
        lambda t: at(t)[0],
        lambda t: at(t)[1],
    )


def load(name: str, device: str, cls: str = ""):
    """Load a SAM 2: `micro` with its weights, an official architecture with seeded random ones; as stock's
    predictor `cls`, if one is named."""
    if name == "micro":
        ours = sam.load("micro", device)
        if not cls:
            return ours
        module, _, kind = cls.rpartition(".")
        model = sam.micro(cls=getattr(__import__(module, fromlist=[kind]), kind))
        model.load_state_dict(ours.state_dict())
    else:
        torch.manual_seed(0)
        model = sam.official(name, cls) if cls else fast.quicken(sam.official(name))
    return model.to(device).eval()


@contextmanager
def given(
    n: int, setting: MaskletSettings, size: tuple[int, int], *, proposing: bool = False
) -> Iterator[np.ndarray]:
    """Let `lib.sam.track.track` track n cells of a grid instead of what it proposes, since no clip has
    proposals of every number.

    Args:
        setting: that selects them all.
        size: H, W of the frames.
        proposing: propose all the same, for what that takes, and drop the proposals.

    Yields: the cells, (n, H, W) bool.
    """
    cells, propose = grid_cells(n, size), tracker.propose
    scores = torch.linspace(1, 0.95, n)  # falling, so that selection keeps their order
    masks = coco.decode(cells).transpose(2, 0, 1).astype(bool)
    chosen = tracker.Candidates(
        cells,
        scores,
        {setting.stability_offset: torch.ones(n)},
        pixels.boxes_of(torch.from_numpy(masks)).float(),
    )

    def instead(*arguments, **options):
        if proposing:
            propose(*arguments, **options)
        return chosen

    with mock.patch.object(tracker, "propose", instead):
        yield masks


def worst_iou(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The lowest IoU of a masklet in any frame, from masks (N, H, W) bool by frame; two empty masks agree;
    NaN if their numbers differ or are zero."""
    if [len(masks) for masks in ours] != [len(masks) for masks in theirs] or not sum(map(len, ours)):
        return float("nan")
    worst = 1.0
    for a, b in zip(ours, theirs):
        union = (a | b).sum((1, 2))
        worst = min(
            worst, float(np.where(union, (a & b).sum((1, 2)) / np.maximum(union, 1), 1.0).min(initial=1.0))
        )
    return worst

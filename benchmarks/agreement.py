"""Table 1 of mini under three environments: one thread, two threads, and torch without vector instructions.

    python -m benchmarks.agreement --clips 2

Each environment is a process of its own with an empty cache, so that everything is computed anew: base
predictions, masklets, votes, scores and intervals. Clips are segmented one after another, as clips side by side
have one thread each whatever is set. Exits with 1 if a printed number differs by more than 0.01 points.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lib.paths import ROOT

ENVIRONMENTS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "no vector instructions": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
}
NUMBERS = ["measured", "low", "high"]
TOLERANCE = 0.01  # points


def recompute(out: Path, n_clips: int, n_frames: int, models: list[str]) -> None:
    """Compute Table 1 in this process, as tidy lines with all digits."""
    from lib import study, tables
    from lib.config import MaskletSettings
    from lib.study.segment import segment_clips

    opened = study.open_study("mini").first(n_clips)
    chosen = tuple(model for model in opened.profile.models if model[0] in models)
    clips = tuple(replace(clip, frames=clip.frames[:n_frames]) for clip in opened.dataset.clips)
    dataset = replace(opened.dataset, clips=clips)
    opened = replace(opened, profile=replace(opened.profile, models=chosen), dataset=dataset)
    for clip in opened.dataset.clips:
        segment_clips(opened, (MaskletSettings(),), (clip,))
    table = tables.refiner_table(opened).table
    table[table["measured"].notna()].to_csv(out, index=False)


def differences(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare every environment with the first: a line each, the number of cells and the largest difference
    in points; an interval that one has and the other lacks differs by infinity.

    Args: found: {environment: tidy lines}.
    Raises: ValueError: the lines are not of the same rows.
    """
    (first, reference), *others = found.items()
    labels = ["method", "backbone", "setting", "metric"]
    lines = []
    for name, table in others:
        if not table[labels].astype(str).equals(reference[labels].astype(str)):
            raise ValueError(f"Expected the rows of '{name}' to be those of '{first}', but they differ.")
        far = (table[NUMBERS] - reference[NUMBERS]).abs()
        far = far.mask(table[NUMBERS].isna() != reference[NUMBERS].isna(), float("inf"))
        lines.append(
            {
                "environment": name,
                "against": first,
                "cells": int(far.count().sum()),
                "largest": far.max().max(),
            }
        )
    return pd.DataFrame(lines)


def main(arguments=None) -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--clips", type=int, default=2, help="first clips of mini")
    options.add_argument("--frames", type=int, default=32, help="first frames of each clip, 17 or more")
    options.add_argument("--models", nargs="+", default=["segformer-n0"], help="base models of mini")
    options.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = options.parse_args(arguments)
    if options.worker:
        recompute(options.worker, options.clips, options.frames, options.models)
        return 0
    command = [sys.executable, "-m", "benchmarks.agreement", "--clips", str(options.clips)]
    command += ["--frames", str(options.frames), "--models", *options.models]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, variables) in enumerate(ENVIRONMENTS.items()):
            table, cache = Path(folder, f"{i}.csv"), str(Path(folder, f"cache{i}"))
            environment = {**os.environ, **variables, "SAM2VSS_CACHE": cache}
            subprocess.run([*command, "--worker", str(table)], cwd=ROOT, check=True, env=environment)
            found[name] = pd.read_csv(table)
    compared = differences(found)
    print(compared.to_string(index=False, float_format="{:.6f}".format))
    agrees = bool((compared["largest"] <= TOLERANCE).all() and (compared["cells"] > 0).all())
    print(f"Largest difference allowed: {TOLERANCE} points. {'Agrees.' if agrees else 'DIFFERS.'}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())

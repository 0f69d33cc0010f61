"""Measure the micro DVIS++ on held-out clips of the second domain: its classes, and how many things keep
their tube.

    python -m lib.mini.training.panoptic_quality      # prints the figures and writes
    data/mini/weights/dvis-plus-n1.json

Both outputs of the same network are scored: tubes turned into classes, as Table 2 has them, and "vss".
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ... import segmentors
from ...clips.clip import Clip
from ...clips.datasets import VSPW_CLASSES
from ...files import write_json
from ...metrics import count_clip, summarise
from ...paths import EMBEDDED
from ...segmentors.panoptic.stream import segment
from ..scenes import SEEDS, SIZE, make_scene, render
from ..tubes import THINGS
from ..vipseg import LOOK

WEIGHTS = EMBEDDED / "mini" / "weights"
FIRST = SEEDS["vipseg"] + 1000  # far from the clips that the study draws
THING_FRAC = 0.002  # a thing counts where it covers this share of the frame
SAME_IOU = 0.5  # with a tube of its class: found


class Drawn:
    """A drawn clip in memory: frames, classes and regions."""

    def __init__(self, seed: int, n_frames: int):
        scene = make_scene(seed, LOOK, n_frames)
        self.images, self.truths, self.regions = zip(*(render(scene, t) for t in range(n_frames)))
        self.things = {r: VSPW_CLASSES.index(name) for r, name in enumerate(scene.classes) if name in THINGS}
        frames = tuple(f"{t:08d}" for t in range(n_frames))
        self.clip = Clip(
            f"held_out_{seed}", frames, lambda: SIZE, self.images.__getitem__, self.truths.__getitem__
        )


def things_kept(drawn: Drawn, tubes: list[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """Count things in frames, those of them found, successive finds of one thing, and those by the same tube:
    (4,) int64.

    Found: the tube of the thing's class that overlaps it most has an IoU of at least `SAME_IOU` with it.
    """
    counts, last = np.zeros(4, np.int64), {}
    for regions, numbers in zip(drawn.regions, tubes):
        area = np.bincount(numbers.ravel(), minlength=len(classes))
        for region, class_id in drawn.things.items():
            mask = regions == region
            size = int(mask.sum())
            if size < THING_FRAC * mask.size:
                continue
            shared = np.bincount(numbers[mask], minlength=len(classes)) * (classes == class_id)
            iou = shared / (area + size - shared)
            best = int(iou.argmax())
            found = iou[best] >= SAME_IOU
            counts[:2] += 1, found
            if found:
                if region in last:
                    counts[2:] += 1, last[region] == best
                last[region] = best
    return counts


def score(model, clips: list[Drawn], kind: str = "panoptic") -> dict[str, float]:
    """Score a panoptic model."""
    return _score(
        clips, (list(segment(model, drawn.clip, kind=kind)) for drawn in clips), things=kind == "panoptic"
    )


def _score(clips: list[Drawn], outputs: Iterable, things: bool) -> dict[str, float]:
    """Score label maps, holes as misses, and tubes."""
    counts, kept, holes = [], np.zeros(4, np.int64), []
    for drawn, frames in zip(clips, outputs):
        labels = [classes[numbers] if things else numbers for numbers, classes in frames]
        counts.append(count_clip(drawn.clip.name, drawn.truths, labels, len(VSPW_CLASSES)))
        holes.append(np.mean([np.mean(frame == 255) for frame in labels]))
        if things:
            kept += things_kept(drawn, [numbers for numbers, _ in frames], frames[0][1])
    scores = summarise(counts, "vspw")
    result = {key: scores[key] for key in ("mIoU", "wIoU", "mVC8", "mVC16")} | {
        "holes": 100 * float(np.mean(holes))
    }
    if things:
        result |= {
            "things found": 100 * kept[1] / kept[0],
            "things that keep their tube": 100 * kept[3] / max(kept[2], 1),
            "thing-frames": int(kept[0]),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--weights",
        type=Path,
        default=WEIGHTS / "dvis-plus-n1.safetensors",
        help="beside it lies the offline model",
    )
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=18)
    args = parser.parse_args()
    clips = [Drawn(FIRST + i, args.frames) for i in range(args.clips)]
    figures, about = {}, {"clips": args.clips, "frames": args.frames, "first seed": FIRST}
    for name, path in (
        ("online", args.weights),
        ("offline", args.weights.with_stem(f"{args.weights.stem}-offline")),
    ):
        model = segmentors.load("dvis-plus-n1" + ("-offline" if name == "offline" else ""), path)
        about |= {"queries": model.config.queries, "trained on": trained_on(path)}
        about.setdefault("parameters", {})[name] = sum(value.numel() for value in model.parameters())
        figures |= {name: score(model, clips), f"{name}, vss": score(model, clips, "vss")}
    for name, values in figures.items():
        print(f"{name:14s}", {key: round(value, 2) for key, value in values.items()})
    rounded = {
        name: {key: round(float(value), 2) for key, value in values.items()}
        for name, values in figures.items()
    }
    write_json(args.weights.with_suffix(".json"), about | {"percent": rounded})


def trained_on(path: Path) -> dict[str, int]:
    """Read from a file of weights how many clips it was trained on, and for how many minutes."""
    with safe_open(path, "pt") as file:
        about = {key: json.loads(value) for key, value in file.metadata().items()}
    return {"clips": about["n_scenes"], "minutes": sum(phase["minutes"] for phase in about["phases"])}


if __name__ == "__main__":
    main()

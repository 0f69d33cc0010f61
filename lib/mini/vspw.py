"""Write drawn clips in VSPW's layout, so that the mini profile goes through the very code that reads VSPW.

python -m lib.mini.vspw --split val                              # the embedded clips, data/mini
python -m lib.mini.vspw --split train --out .cache/mini_train    # training clips, drawn when needed
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ..clips.images import write_labels
from ..config import VOID
from ..files import replacing
from ..paths import EMBEDDED
from .scenes import SEEDS, Look, make_scene, render

JPEG_QUALITY = 80
# clips, frames each, frames that the camera pans through each scene
CLIPS = {"val": (10, 32, 45), "train": (120, 15, 15)}


def write_clip(root: Path, name: str, seed: int, n_frames: int, n_scene: int, look: Look = Look()) -> None:
    """Write the first frames of a scene: `data/<name>/origin/<frame>.jpg`, `data/<name>/mask/<frame>.png`
    (0 void, class + 1)."""
    scene = make_scene(seed, look, n_scene)
    origin, mask = root / "data" / name / "origin", root / "data" / name / "mask"
    origin.mkdir(parents=True, exist_ok=True)
    for t in range(n_frames):
        image, labels, _ = render(scene, t)
        cv2.imwrite(str(origin / f"{t:08d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        write_labels(mask / f"{t:08d}.png", np.where(labels == VOID, 0, labels + 1).astype(np.uint8))


def write_split(
    root: Path,
    split: str,
    n_clips: int,
    n_frames: int,
    n_scene: int,
    look: Look = Look(),
    workers: int | None = None,
) -> None:
    """Draw a split and, last of all, its list `<split>.txt`; a split whose list is there is complete and
    left alone."""
    if (root / f"{split}.txt").exists():
        return
    names = [f"{split}_{i:03d}" for i in range(n_clips)]
    with ProcessPoolExecutor(workers or os.cpu_count()) as executor:
        jobs = [
            executor.submit(write_clip, root, name, SEEDS[split] + i, n_frames, n_scene, look)
            for i, name in enumerate(names)
        ]
        for job in jobs:
            job.result()
    with replacing(root / f"{split}.txt") as part:
        part.write_text("".join(f"{n}\n" for n in names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=sorted(CLIPS), default="val")
    parser.add_argument("--out", type=Path, default=EMBEDDED / "mini")
    args = parser.parse_args()
    write_split(args.out, args.split, *CLIPS[args.split])

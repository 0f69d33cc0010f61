"""What the micro panoptic model is trained on: short drawn clips in the looks of both domains, with each
object's class and mask.
"""

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import torch

from ...segmentors.panoptic.classes import MODEL_CLASSES
from ..scenes import CLASS_ID, SEEDS, SIZE, Look, make_scene, render
from ..tubes import THINGS
from ..vipseg import LOOK

log = logging.getLogger(__name__)
FRAMES = 8  # of a clip
NOTHING = 255  # number of the padding beside a picture
SMALLEST = 4  # cells of the mask map; an object that covers less of a clip is not asked for


def draw_pool(
    path: Path, n_scenes: int, first: int = SEEDS["train"], workers: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw clips once; returns images (N, T, H, W, 3), objects (N, T, H, W) and the classes of a clip's
    objects (N, 256), uint8, memory-mapped.

    Things are told apart; all that is of one other class is one object. Every other scene has the look of the
    second domain; none of its scenes is among them (`SEEDS`). Class ids are VSPW's.
    """
    files = [path / f"{name}.npy" for name in ("images", "objects", "classes")]
    if not (path / "done").exists():
        path.mkdir(parents=True, exist_ok=True)
        shapes = (n_scenes, FRAMES, *SIZE, 3), (n_scenes, FRAMES, *SIZE), (n_scenes, 256)
        arrays = [
            np.lib.format.open_memmap(file, "w+", np.uint8, shape) for file, shape in zip(files, shapes)
        ]
        with ProcessPoolExecutor(workers) as executor:
            for i, drawn in enumerate(executor.map(_draw_one, range(n_scenes), repeat(first), chunksize=4)):
                for array, values in zip(arrays, drawn):
                    array[i] = values
                if i % 100 == 0:
                    log.info("drawn %d of %d scenes", i, n_scenes)
        for array in arrays:
            array.flush()
        (path / "done").touch()
    return tuple(np.load(file, mmap_mode="r") for file in files)


def _draw_one(i: int, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw scene i: images, objects, classes."""
    rng = np.random.default_rng(i)
    scene = make_scene(first + i, LOOK if i % 2 else Look(), n_frames=45)
    numbers, classes, found = np.zeros(256, np.uint8), np.zeros(256, np.uint8), {}
    for region, kind in enumerate(scene.classes):
        numbers[region] = found.setdefault((kind, region) if kind in THINGS else kind, len(found))
        classes[numbers[region]] = CLASS_ID[kind]
    stride, start = int(rng.integers(1, 4)), int(rng.integers(0, 20))
    frames = [render(scene, t) for t in range(start, start + stride * FRAMES, stride)]
    return np.stack([f[0] for f in frames]), numbers[np.stack([f[2] for f in frames])], classes


def augment(
    images: np.ndarray, objects: np.ndarray, size: tuple[int, int], whole: float, rng: np.random.Generator
):
    """Cut, flip and recolour T frames alike: (T, H, W, 3), (T, H, W) uint8 -> the same at `size`.

    A picture stays whole with probability `whole`, or a cut of half its side or more is enlarged.
    """
    height, width = objects.shape[1:]
    share = 1.0 if rng.random() < whole else rng.uniform(0.5, 1)
    h, w = int(height * share), int(width * share)
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
    gain, gamma = rng.uniform(0.85, 1.15, 3) * rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.25)
    table = np.clip(255 * (np.arange(256)[:, None] / 255) ** gamma * gain + 0.5, 0, 255).astype(
        np.uint8
    )  # (256, 3)
    cut = (slice(y, y + h), slice(x, x + w))
    shown = [
        cv2.resize(np.ascontiguousarray(f[cut][:, flip]), size[::-1], interpolation=cv2.INTER_AREA)
        for f in images
    ]
    ids = [
        cv2.resize(np.ascontiguousarray(f[cut][:, flip]), size[::-1], interpolation=cv2.INTER_NEAREST)
        for f in objects
    ]
    shown = np.stack(shown)
    return np.stack([table[shown[..., c], c] for c in range(3)], -1), np.stack(ids)


def targets(
    objects: np.ndarray, classes: np.ndarray, most: int
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Describe the objects of T frames, the largest `most` at the most.

    Args: objects: (T, H, W) uint8, numbers into `classes` (256,), VSPW's ids.
    Returns: classes (K,) int64 of the model; masks (K, T, H/4, W/4) float32, the share of each cell; their
        numbers (K,).
    """
    area = np.bincount(objects.ravel(), minlength=256)
    area[NOTHING] = 0
    numbers = np.argsort(-area, kind="stable")[:most]
    numbers = numbers[area[numbers] >= 16 * SMALLEST]
    n, (t, h, w) = len(numbers), objects.shape
    masks = (
        (objects[None] == numbers[:, None, None, None].astype(np.uint8))
        .reshape(n, t, h // 4, 4, w // 4, 4)
        .mean((3, 5), dtype=np.float32)
    )
    return torch.from_numpy(MODEL_CLASSES[classes[numbers]]), torch.from_numpy(masks), numbers

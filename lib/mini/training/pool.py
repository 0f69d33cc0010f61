"""The training data of the micro SAM 2: a pool of drawn frames with their true regions, and clicks on them."""

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from ..scenes import SEEDS, SIZE, Look, make_scene, render

log = logging.getLogger(__name__)
POOL_FRAMES = 8


def draw_pool(
    path: Path, n_scenes: int, fresh: bool = False, workers: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Draw training frames once: images (N, T, H, W, 3) and region ids (N, T, H, W), uint8, memory-mapped.

    Half of the scenes are wild (any colour, texture and outline): a tracker trained on a dozen textures alone
    learns them by heart.
    A fresh pool shares no scene with the first, and none of it is wild: the masks are at their best on what
        looks like the held-out clips.
    """
    images_path, regions_path = path / "images.npy", path / "regions.npy"
    if not (path / "done").exists():
        path.mkdir(parents=True, exist_ok=True)
        shape = (n_scenes, POOL_FRAMES, *SIZE)
        images = np.lib.format.open_memmap(images_path, "w+", np.uint8, (*shape, 3))
        regions = np.lib.format.open_memmap(regions_path, "w+", np.uint8, shape)
        with ProcessPoolExecutor(workers) as executor:
            for i, (image, region) in enumerate(
                executor.map(
                    _draw_one, range(fresh * n_scenes, (1 + fresh) * n_scenes), repeat(fresh), chunksize=8
                )
            ):
                images[i], regions[i] = image, region
                if i % 100 == 0:
                    log.info("drawn %d of %d scenes", i, n_scenes)
        images.flush(), regions.flush()
        (path / "done").touch()
    return np.load(images_path, mmap_mode="r"), np.load(regions_path, mmap_mode="r")


def _draw_one(i: int, fresh: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(i)
    wild = 0.0 if fresh or i % 2 else float(rng.uniform(0.2, 1))
    scene = make_scene(SEEDS["train"] + i, Look(wild=wild, n_things=(6, 18)), n_frames=45)
    stride, start = int(rng.integers(1, 5)), int(rng.integers(0, 12))
    images, regions = [], []
    for t in range(start, start + stride * POOL_FRAMES, stride):
        image, _, region = render(scene, t)
        images.append(image)
        regions.append(region)
    return np.stack(images), np.stack(regions)


def augment(
    images: np.ndarray, regions: np.ndarray, size_px: int, rng: np.random.Generator, whole: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, flip and recolour T frames alike: (T, H, W, 3) and (T, H, W), uint8, to (T, S, S, 3) float
    0..1 and (T, S, S).

    Each side stays whole with probability `whole`, or is cut to a half or more.
    """
    height, width = regions.shape[1:]
    side_y, side_x = (
        int(side * rng.uniform(0.5, 1)) if rng.random() >= whole else side for side in (height, width)
    )
    y, x = int(rng.integers(0, height - side_y + 1)), int(rng.integers(0, width - side_x + 1))
    flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
    gain, gamma = rng.uniform(0.75, 1.25, 3) * rng.uniform(0.8, 1.2), rng.uniform(0.75, 1.35)
    cut = lambda frames: torch.from_numpy(np.array(frames[:, y : y + side_y, x : x + side_x][:, :, flip]))
    # as sam2 sees them
    out = (
        resize(cut(images).permute(0, 3, 1, 2), [size_px, size_px], antialias=True)
        .permute(0, 2, 3, 1)
        .numpy()
    )
    ids = resize(cut(regions), [size_px, size_px], InterpolationMode.NEAREST_EXACT).numpy()
    # (256, 3): of each grey level
    colours = np.clip((np.arange(256)[:, None] / 255.0) ** gamma * gain, 0, 1).astype(np.float32)
    return np.stack([colours[:, c][out[..., c]] for c in range(3)], -1), ids


def normalise(images: np.ndarray) -> torch.Tensor:
    """(..., H, W, 3) in 0..1 to (..., 3, H, W) as SAM 2 expects it."""
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return torch.from_numpy(np.moveaxis((images - mean) / std, -1, -3).copy())


def pick_clicks(
    regions: np.ndarray, n: int, rng: np.random.Generator, by_region: float = 1 / 3, smallest: float = 0.002
) -> tuple[np.ndarray, np.ndarray]:
    """Choose n clicks on one (S, S) region map: a share `by_region` uniform over regions of at least
    `smallest` of the map, which favours small ones; the others over pixels, as the grid clicks.

    Returns xy (n, 2) pixels, float32, and the clicked region ids (n,).
    """
    s = regions.shape[0]
    area = np.bincount(regions.ravel(), minlength=256)
    big = np.flatnonzero(area >= max(6, smallest * s * s))
    xy, ids = np.zeros((n, 2), np.float32), np.zeros(n, np.int64)
    for i in range(n):
        y, x = rng.integers(0, s, 2)
        if rng.random() < by_region or area[regions[y, x]] < 6:
            at = np.flatnonzero(regions.ravel() == rng.choice(big))
            y, x = divmod(int(rng.choice(at)), s)
        xy[i], ids[i] = (x, y), regions[y, x]
    return xy, ids


def pick_objects(regions: np.ndarray, n: int, leaving: float, rng: np.random.Generator) -> np.ndarray:
    """Choose n region ids of the first of (T, S, S) region maps; each with probability `leaving` one that
    the last map lacks, if there is one."""
    ids = pick_clicks(regions[0], n, rng)[1]
    area = np.bincount(regions[0].ravel(), minlength=256)
    gone = np.setdiff1d(np.flatnonzero(area >= 0.002 * regions[0].size), regions[-1])
    chosen = rng.random(n) < leaving
    if len(gone):
        ids[chosen] = rng.choice(gone, int(chosen.sum()))
    return ids

"""Measure the micro SAM 2 on held-out clips: what its automatic masks cover, and how well it tracks.

python -m lib.mini.training.quality      # prints the figures and writes data/mini/weights/micro_sam2.json
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...config import MaskletSettings, batch_size
from ...files import write_json
from ...sam.checkpoints import MICRO_WEIGHTS
from ...sam.models import encode, load
from ...sam.pixels import as_video_predictor, encode_rles
from ...sam.propose import proposals
from ...sam.track import Group
from ..scenes import SEEDS, make_scene, render

log = logging.getLogger(__name__)
REGION_FRAC = 0.01  # a true region counts from this share of the frame
AFTER = (16, 31)  # frames after the prompt


def masks_quality(
    sam, scenes, frames=(0, 15, 30), settings: MaskletSettings = MaskletSettings()
) -> dict[str, float]:
    """Compare automatic masks with the true regions of at least 1 % of the frame."""
    masks_of, counts, coverage, best = proposals(sam, settings), [], [], []
    for scene in scenes:
        for t in frames:
            image, _, regions = render(scene, t)
            masks = masks_of(image)
            counts.append(len(masks))
            coverage.append(masks.any(0).mean() if len(masks) else 0.0)
            for region in _large(regions):
                true = regions == region
                best.append(max([(m & true).sum() / (m | true).sum() for m in masks], default=0.0))
    best = np.array(best)
    return {
        "masks per frame": float(np.mean(counts)),
        "coverage": float(np.mean(coverage)),
        "mean best IoU of true regions": float(best.mean()),
        "true regions with IoU above 0.5": float((best > 0.5).mean()),
    }


@torch.inference_mode()
def tracking_quality(sam, scenes) -> dict[str, float]:
    """Prompt every true region of frame 0 by its mask; IoU after 16 and 31 frames, and how often a region
    that left is called absent."""
    ious, absent = {n: [] for n in AFTER}, []
    for scene in scenes:
        image, _, regions = render(scene, 0)
        members = _large(regions)
        rles = encode_rles(torch.from_numpy(np.stack([regions == r for r in members])))
        group = Group(sam, 0, max(AFTER) + 1, list(range(len(members))), rles, batch_size(sam.device.type))
        for t in range(max(AFTER) + 1):
            image, _, regions = render(scene, t)
            logits = group.step(
                t, max(AFTER) + 1, encode(sam, as_video_predictor(image, sam.image_size).to(sam.device))
            )
            masks = (
                F.interpolate(logits[:, None], regions.shape, mode="bilinear", align_corners=False)[:, 0] > 0
            )
            for mask, region in zip(masks.cpu().numpy(), members):
                true = regions == region
                if true.sum() >= 0.002 * true.size and t in AFTER:
                    ious[t].append((mask & true).sum() / (mask | true).sum())
                elif not true.any():
                    absent.append(not mask.any())
    result = {f"tracked IoU after {n} frames": float(np.mean(v)) for n, v in ious.items()}
    return {
        **result,
        "regions that left called absent": float(np.mean(absent)) if absent else float("nan"),
        "frames of regions that left": len(absent),
    }


def _large(regions: np.ndarray) -> list[int]:
    """Return the ids of regions of at least 1 % of the frame."""
    return np.flatnonzero(np.bincount(regions.ravel()) >= REGION_FRAC * regions.size).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS)
    parser.add_argument("--clips", type=int, default=30, help="the first ten are those of the mini profile")
    args = parser.parse_args()
    sam = load(args.weights)
    scenes = [make_scene(SEEDS["val"] + i) for i in range(args.clips)]
    figures = {**masks_quality(sam, scenes), **tracking_quality(sam, scenes)}
    for name, value in figures.items():
        print(f"{name:36s} {value:8.3f}")
    write_json(
        args.weights.with_suffix(".json"),
        {"held-out clips": args.clips, **{k: round(v, 4) for k, v in figures.items()}},
    )


if __name__ == "__main__":
    main()

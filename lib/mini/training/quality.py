"""Measure the micro SAM 2 on clips never looked at: what its automatic masks cover, and how well it tracks.

python -m lib.mini.training.quality      # prints the figures and writes data/mini/weights/micro_sam2.json

The clips are those of val seeds 100 and up: the generator and the look of the mini profile's clips, so the
figures say nothing of another look or of real video. The profile's own clips are val seeds 0 to 9; they, and
10 to 29, were measured again and again while the model was made, and are not used here.
"""

import argparse
import copy
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
from ..scenes import SEEDS, Scene, make_scene, render

log = logging.getLogger(__name__)
REGION_FRAC = 0.01  # a true region counts from this share of the frame
AFTER = (16, 31)  # frames after the prompt
FIRST = 100  # val seeds from here on were not looked at while the model was made


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
    that is out of sight is called absent.

    A region is out of sight on a frame of which it has no pixel: it left the picture, or something hides it
    (`hidden` counts those). Counts are of region-frames, one for each region and frame.
    """
    ious, gone = {n: [] for n in AFTER}, []
    for scene in scenes:
        image, _, regions = render(scene, 0)
        members = _large(regions)
        rles = encode_rles(torch.from_numpy(np.stack([regions == r for r in members])))
        seen = np.zeros((max(AFTER) + 1, len(members)), bool)
        absent = np.zeros_like(seen)
        group = Group(sam, 0, max(AFTER) + 1, list(range(len(members))), rles, batch_size(sam.device.type))
        for t in range(max(AFTER) + 1):
            image, _, regions = render(scene, t)
            logits = group.step(
                t, max(AFTER) + 1, encode(sam, as_video_predictor(image, sam.image_size).to(sam.device))
            )
            masks = (
                F.interpolate(logits[:, None], regions.shape, mode="bilinear", align_corners=False)[:, 0] > 0
            )
            for i, (mask, region) in enumerate(zip(masks.cpu().numpy(), members)):
                true = regions == region
                seen[t, i], absent[t, i] = true.any(), not mask.any()
                if true.sum() >= 0.002 * true.size and t in AFTER:
                    ious[t].append((mask & true).sum() / (mask | true).sum())
        gone.append((seen, absent))
    result = {f"tracked IoU after {n} frames": float(np.mean(v)) for n, v in ious.items()}
    return {**result, **_absence(gone)}


def _absence(clips: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Count the region-frames out of sight, and how many of them are called absent.

    Args: clips: (seen, absent) of each, (T, regions) bool: a pixel of the region is visible; its mask is
        empty.
    """
    gone = sum(int((~seen).sum()) for seen, _ in clips)
    called = sum(int((~seen & absent).sum()) for seen, absent in clips)
    return {
        "regions out of sight called absent": called / gone if gone else float("nan"),
        "region-frames out of sight": gone,
        "region-frames out of sight, called absent": called,
        "regions once out of sight": sum(int((~seen).any(0).sum()) for seen, _ in clips),
    }


def hidden(scenes) -> dict[str, int]:
    """Count the region-frames out of sight whose region is in the picture, behind something; asks nothing of
    the model."""
    count = 0
    for scene in scenes:
        members = _large(render(scene, 0)[2])
        for t in range(max(AFTER) + 1):
            visible = set(np.unique(render(scene, t)[2]).tolist())
            count += sum(_in_picture(scene, region, t) for region in members if region not in visible)
    return {"region-frames out of sight, hidden": count}


def _in_picture(scene: Scene, region: int, t: int) -> bool:
    """Say whether a region would have a pixel if nothing stood before it."""
    things = [thing for thing in scene.things if thing.region == region]
    layers = [layer for layer in scene.layers if (layer[2] == region).any()]
    alone = copy.copy(scene)
    alone.things, alone.layers = things, layers[:1] if not things else scene.layers
    return bool((render(alone, t)[2] == region).any())


def _large(regions: np.ndarray) -> list[int]:
    """Return the ids of regions of at least 1 % of the frame."""
    return np.flatnonzero(np.bincount(regions.ravel()) >= REGION_FRAC * regions.size).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS)
    parser.add_argument("--clips", type=int, default=30, help=f"val seeds {FIRST} and up")
    args = parser.parse_args()
    sam = load(args.weights)
    seeds = range(SEEDS["val"] + FIRST, SEEDS["val"] + FIRST + args.clips)
    scenes = [make_scene(seed) for seed in seeds]
    figures = {**masks_quality(sam, scenes), **tracking_quality(sam, scenes), **hidden(scenes)}
    for name, value in figures.items():
        print(f"{name:52s} {value:{'9d' if isinstance(value, int) else '9.3f'}}")
    about = {
        "clips": f"val seeds {FIRST} to {FIRST + args.clips - 1}, never looked at while the model was made; "
        "same generator, same look as the mini profile's clips",
        "number of clips": args.clips,
    }
    write_json(args.weights.with_suffix(".json"), {**about, **{k: round(v, 4) for k, v in figures.items()}})


if __name__ == "__main__":
    main()

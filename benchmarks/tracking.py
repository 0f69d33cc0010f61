"""Tracking against stock sam2: the same frames, the same masks, the same weights.

    python -m benchmarks.tracking --objects 1 8 32 64                                       # micro model
    python -m benchmarks.tracking --device cuda --model tiny large --bf16                   # official architectures, random weights

One window. "automatic" is all of it: propose on the first frame, select, track what was found. "given" starts
from n masks, the cells of a grid, so that n is what it says. Ours is `lib.sam.track.track`; stock is
`SAM2AutomaticMaskGenerator` and the video predictor of today, which takes object after object; legacy is the
same with the predictor of before, which takes all objects at once. All read the same JPEG files.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.common import (
    add_models,
    alternate,
    drawn,
    faster,
    finish,
    given,
    load,
    parse,
    parser,
    spread,
    worst_iou,
)
from lib.clips.clip import Clip
from lib.clips.folders import read_frames
from lib.config import MaskletSettings
from lib.sam import track as tracker
from tests import stock

PREDICTORS = {
    "stock": "sam2.sam2_video_predictor.SAM2VideoPredictor",
    "legacy": "sam2.sam2_video_predictor_legacy.SAM2VideoPredictor",
}


def propagate(predictor, folder: Path, prompts) -> list[np.ndarray]:
    """Track masks (H, W) bool through a folder of JPEGs as stock sam2 is meant to; returns (N, H, W) bool
    by frame."""
    if len(prompts) == 0:  # stock raises then
        return []
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        state = predictor.init_state(str(folder))
        for i, mask in enumerate(prompts):
            predictor.add_new_mask(state, 0, i, torch.from_numpy(mask))
        return [(logits[:, 0] > 0).cpu().numpy() for _, _, logits in predictor.propagate_in_video(state)]


def compare(name: str, bf16: bool, n: int, clip: Clip, folder: Path, options) -> list[dict]:
    """One line per contestant; n is the number of objects, 0 for automatic masks."""
    setting = MaskletSettings(window=len(clip), grid=options.grid)
    if name != "micro" and not n:  # random weights are not sure of anything: take what they find
        setting = MaskletSettings(window=len(clip), grid=options.grid, iou=0.0, stability=0.0)
    ours, predictors = (
        load(name, options.device),
        {who: load(name, options.device, cls) for who, cls in PREDICTORS.items()},
    )
    context = given(n, setting, clip.size) if n else contextlib.nullcontext()
    with context as cells, torch.autocast(options.device, torch.bfloat16, enabled=bf16):
        prompts = lambda predictor: (
            cells
            if n
            else [found["segmentation"] for found in stock.propose(predictor, clip.image(0), setting)]
        )
        contestants = {
            "ours": lambda: [frame for (frame,) in tracker.track(ours, clip, setting, autocast=bf16)]
        }
        contestants |= {
            who: lambda p=predictor: propagate(p, folder, prompts(p)) for who, predictor in predictors.items()
        }
        results, times = alternate(contestants, options.rounds, options.device)
    results["ours"] = [frame.masks(clip.size) for frame in results["ours"]]
    head = {"model": name, "precision": "bf16" if bf16 else "fp32", "masks": "given" if n else "automatic"}
    return [
        {
            **head,
            "objects": len(masks[0]) if masks else 0,
            "who": who,
            **spread(times[who]),
            "times_faster": faster(times[who], times["stock"]),
            "worst_iou": worst_iou(masks, results["stock"]),
            "covered": float(np.mean([m.mean() for m in masks])) if masks else None,
        }
        for who, masks in results.items()
    ]


def main(arguments=None):
    options = parser(__doc__, rounds=3)
    add_models(options)
    options.add_argument(
        "--objects", type=int, nargs="+", default=[0, 1, 8, 32, 64], help="0 for automatic masks"
    )
    options.add_argument("--frames", type=int, default=8)
    options.add_argument("--grid", type=int, default=16, help="points per side, for automatic masks")
    options = parse(options, "tracking", arguments)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        scene = drawn(options.frames)
        for t in range(options.frames):
            Image.fromarray(scene.image(t)).save(Path(folder, f"{t:05d}.jpg"), quality=95)
        (clip,) = read_frames(folder)
        for name in options.model:
            for bf16 in (False, True)[: 1 + options.bf16]:
                for n in options.objects:
                    lines += compare(name, bf16, n, clip, Path(folder), options)
    notes = [
        f"A window of {options.frames} frames of {scene.size[0]}x{scene.size[1]} pixels; {options.rounds} alternating rounds.",
        "times_faster: than stock in the same round, median; worst_iou: of any masklet in any frame, with stock's, empty where the numbers of masks differ;",
        "covered: share of the frame in a masklet, mean over masklets and frames (masks of all or nothing compare nothing).",
    ]
    return finish("tracking", options, lines, notes)


if __name__ == "__main__":
    main()

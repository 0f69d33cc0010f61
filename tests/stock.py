"""Stock sam2 as it is meant to be used, for comparison: automatic masks on the first frame of a window,
one video predictor pass."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

from lib.config import MaskletSettings


def propose(sam, image: np.ndarray, setting: MaskletSettings) -> list[dict]:
    """Masks of `SAM2AutomaticMaskGenerator`, best predicted IoU first."""
    generator = SAM2AutomaticMaskGenerator(
        sam,
        points_per_side=setting.grid,
        pred_iou_thresh=setting.iou,
        stability_score_thresh=setting.stability,
        stability_score_offset=setting.stability_offset,
        box_nms_thresh=setting.nms,
    )
    s = sam.image_size
    # it assumes 1024 pixels
    generator.predictor._bb_feat_sizes = [(s // 4, s // 4), (s // 8, s // 8), (s // 16, s // 16)]
    try:
        return generator.generate(image)
    except (RuntimeError, KeyError) as error:  # it cannot handle "nothing found"
        print(f"stock proposes nothing: {error}", file=sys.stderr)
        return []


def track(predictor, frames: list[np.ndarray], setting: MaskletSettings, folder: Path) -> list[np.ndarray]:
    """Masks (N, H, W) bool of every frame, by `add_new_mask` for each proposal and `propagate_in_video`,
    window after window.

    Args:
        predictor: a `SAM2VideoPredictor`.
        folder: an empty folder; stock reads a clip only from integer-named files that end in .jpg. PNG bytes
            under that name keep the pixels equal.
    """
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg", format="PNG")
    state = predictor.init_state(str(folder))
    out = []
    for start in range(0, len(frames), setting.window):
        length = min(setting.window, len(frames) - start)
        proposals = propose(predictor, frames[start], setting)
        if not proposals:
            out += [np.zeros((0, *frames[0].shape[:2]), bool)] * length
            continue
        predictor.reset_state(state)
        for i, proposal in enumerate(proposals):
            predictor.add_new_mask(state, start, i, torch.from_numpy(proposal["segmentation"]))
        for _, _, logits in predictor.propagate_in_video(
            state, start_frame_idx=start, max_frame_num_to_track=length - 1
        ):
            out.append((logits[:, 0] > 0).cpu().numpy())
    return out

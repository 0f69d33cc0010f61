"""Proposals: click a grid on one frame, keep what the thresholds and NMS keep, as sam2's automatic mask generator does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torchvision.ops import nms

from ..config import MaskletSettings, batch_size
from .fast import once, seeing_no_click
from .models import encode
from .pixels import above, areas_of, as_image_predictor, boxes_of, enlarge, masks_as_rles

ENLARGED_AT_ONCE = 16  # masks at the frame's size that a CPU's cache still holds
ENLARGED_PX = 2**28  # on a GPU: pixels of the masks that are enlarged together, 1 GB


@dataclass(frozen=True)
class Candidates:
    """What a click grid finds on one frame and at least one setting selects; N masks in the order of the
    grid, three per click."""

    rles: list  # N COCO RLEs at the frame's size
    iou: torch.Tensor  # (N,) predicted IoU
    stability: dict[float, torch.Tensor]  # stability score (N,) for each logit offset asked for
    boxes: torch.Tensor  # (N, 4) x0 y0 x1 y1


@torch.inference_mode()
def propose(
    sam: SAM2Base, image: np.ndarray, settings: Sequence[MaskletSettings], clicks_per_batch: int | None = None
) -> Candidates:
    """Click a grid on a frame and keep every mask that at least one setting selects.

    Args:
        sam: the model.
        image: (H, W, 3) uint8 RGB.
        settings: one or more settings with the same `grid`.
        clicks_per_batch: clicks decoded together, None for what suits the device; changes memory, not
            results.

    Source: sam2's `SAM2AutomaticMaskGenerator` without crops. Differs: predicted IoU is tested before masks
        are enlarged, and RLE written of those alone that are selected.
    """
    height, width = image.shape[:2]
    size = sam.image_size
    features, _, sizes = encode(sam, as_image_predictor(image, size).to(sam.device))
    features[-1] = features[-1] + sam.no_mem_embed
    maps = [f.permute(1, 2, 0).unflatten(2, s) for f, s in zip(features, sizes)]
    steps = (np.arange(settings[0].grid) + 0.5) / settings[0].grid
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    # stock rounds to float32 in pixels
    points = torch.as_tensor(grid * (width, height), dtype=torch.float32, device=sam.device)
    points = points / torch.tensor([width, height], device=sam.device) * size
    lowest_iou, offsets = min(s.iou for s in settings), sorted({s.stability_offset for s in settings})
    found, ious, stabilities, boxes = [], [], {o: [] for o in offsets}, []
    for batch in points.split(clicks_per_batch or batch_size(sam.device.type)):
        labels = torch.ones(len(batch), 1, dtype=torch.int, device=sam.device)
        sparse, dense = sam.sam_prompt_encoder(points=(batch[:, None], labels), boxes=None, masks=None)
        with once(*seeing_no_click(sam)):
            low, iou, _, _ = sam.sam_mask_decoder(
                image_embeddings=maps[-1],
                image_pe=sam.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
                repeat_image=True,
                high_res_features=maps[:-1],
            )
        low, iou = low.flatten(0, 1), iou.flatten()
        low, iou = low[iou > lowest_iou], iou[iou > lowest_iou]
        if len(low) == 0:
            continue
        at_once = ENLARGED_AT_ONCE if low.device.type == "cpu" else max(1, ENLARGED_PX // (height * width))
        for some, some_iou in zip(low.split(at_once), iou.split(at_once)):
            logits = enlarge(some.float(), (height, width))
            # NaN, and so dropped, where nothing is on
            scores = {o: areas_of(above(logits, o)) / areas_of(above(logits, -o)) for o in offsets}
            keep = torch.stack(
                [(some_iou > s.iou) & (scores[s.stability_offset] >= s.stability) for s in settings]
            ).any(0)
            if not keep.any():
                continue
            found.append(some[keep])
            ious.append(some_iou[keep])
            boxes.append(boxes_of(above(logits, 0)[keep]))
            for o in offsets:
                stabilities[o].append(scores[o][keep])
    cat = lambda parts, *shape: torch.cat(parts).float().cpu() if parts else torch.zeros(0, *shape)
    passed = Candidates([], cat(ious), {o: cat(s) for o, s in stabilities.items()}, cat(boxes, 4))
    kept = sorted({i for s in settings for i in select(passed, s)})
    rles = masks_as_rles(torch.cat(found)[kept].float(), (height, width)) if kept else []
    return Candidates(
        rles, passed.iou[kept], {o: s[kept] for o, s in passed.stability.items()}, passed.boxes[kept]
    )


def select(candidates: Candidates, setting: MaskletSettings) -> list[int]:
    """Return the candidates a setting keeps, best predicted IoU first: both thresholds, then box NMS
    without classes.

    What NMS drops has no say in what it keeps, so it may be absent.
    """
    passed = (candidates.iou > setting.iou) & (
        candidates.stability[setting.stability_offset] >= setting.stability
    )
    index = passed.nonzero()[:, 0]
    return index[nms(candidates.boxes[index], candidates.iou[index], setting.nms)].tolist()

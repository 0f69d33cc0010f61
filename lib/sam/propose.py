"""Propose masks on one frame as sam2's automatic mask generator does: click a grid, apply the thresholds and
NMS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as coco
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
    """The masks of a click grid on one frame that at least one setting selects: N, in the order of the grid,
    at most three per click."""

    rles: list  # N COCO RLEs at the frame's size
    iou: torch.Tensor  # (N,) predicted IoU
    stability: dict[float, torch.Tensor]  # stability score (N,) for each logit offset asked for
    boxes: torch.Tensor  # (N, 4) x0 y0 x1 y1


@torch.inference_mode()
def propose(
    sam: SAM2Base, image: np.ndarray, settings: Sequence[MaskletSettings], clicks_per_batch: int | None = None
) -> Candidates:
    """Click a grid on a frame and return every mask that at least one setting selects.

    Args:
        sam: the model.
        image: (H, W, 3) uint8 RGB.
        settings: one or more settings with the same `grid`.
        clicks_per_batch: clicks decoded together, None for what suits the device; changes memory, not
            results.

    Source: paper Sec. 3.1.1; sam2's `SAM2AutomaticMaskGenerator` without crops. Differs: predicted IoU is
        tested before masks are enlarged, and only selected masks are encoded as RLE.
    """
    height, width = image.shape[:2]
    # encode the frame once; the decoder reads its maps at three scales
    features, _, sizes = encode(sam, as_image_predictor(image, sam.image_size).to(sam.device))
    features[-1] = features[-1] + sam.no_mem_embed
    maps = [f.permute(1, 2, 0).unflatten(2, s) for f, s in zip(features, sizes)]
    lowest_iou, offsets = min(s.iou for s in settings), sorted({s.stability_offset for s in settings})
    logits, ious, boxes, stabilities = [], [], [], {o: [] for o in offsets}
    points = _grid(settings[0].grid, (height, width), sam)
    for batch in points.split(clicks_per_batch or batch_size(sam.device.type)):
        # three masks a click, each with the IoU that the model predicts for it
        low, iou = _decode(sam, maps, batch)
        # threshold: predicted IoU
        low, iou = low[iou > lowest_iou], iou[iou > lowest_iou]
        if len(low) == 0:
            continue
        on_cpu = low.device.type == "cpu"
        at_once = ENLARGED_AT_ONCE if on_cpu else max(1, ENLARGED_PX // (height * width))
        for some, some_iou in zip(low.split(at_once), iou.split(at_once)):
            # threshold: stability, the IoU of the mask at a higher and at a lower logit; NaN, and so
            # dropped, where nothing is on
            enlarged = enlarge(some.float(), (height, width))
            scores = {o: areas_of(above(enlarged, o)) / areas_of(above(enlarged, -o)) for o in offsets}
            passed = [(some_iou > s.iou) & (scores[s.stability_offset] >= s.stability) for s in settings]
            keep = torch.stack(passed).any(0)
            if not keep.any():
                continue
            logits.append(some[keep])
            ious.append(some_iou[keep])
            boxes.append(boxes_of(above(enlarged, 0)[keep]))
            for o in offsets:
                stabilities[o].append(scores[o][keep])
    cat = lambda parts, *shape: torch.cat(parts).float().cpu() if parts else torch.zeros(0, *shape)
    passed = Candidates([], cat(ious), {o: cat(s) for o, s in stabilities.items()}, cat(boxes, 4))
    # NMS: what no setting selects is not encoded
    kept = sorted({i for s in settings for i in select(passed, s)})
    rles = masks_as_rles(torch.cat(logits)[kept].float(), (height, width)) if kept else []
    stability = {o: s[kept] for o, s in passed.stability.items()}
    return Candidates(rles, passed.iou[kept], stability, passed.boxes[kept])


def _grid(side: int, size: tuple[int, int], sam: SAM2Base) -> torch.Tensor:
    """Place side x side clicks in the middle of equal cells: (side**2, 2) x, y in pixels of the model's
    input."""
    steps = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    # stock rounds to float32 in pixels of the frame
    points = torch.as_tensor(grid * size[::-1], dtype=torch.float32, device=sam.device)
    return points / torch.tensor(size[::-1], device=sam.device) * sam.image_size


def _decode(
    sam: SAM2Base, maps: list[torch.Tensor], points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode three masks for each of n clicks: logits (3 n, S/4, S/4) and predicted IoU (3 n,)."""
    labels = torch.ones(len(points), 1, dtype=torch.int, device=sam.device)
    sparse, dense = sam.sam_prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
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
    return low.flatten(0, 1), iou.flatten()


def select(candidates: Candidates, setting: MaskletSettings) -> list[int]:
    """Return the candidates that a setting selects, best predicted IoU first.

    What NMS drops suppresses nothing itself, so `candidates` may lack it.

    Source: paper Sec. 3.1.1; sam2's `SAM2AutomaticMaskGenerator`.
    """
    # thresholds: predicted IoU and stability
    stability = candidates.stability[setting.stability_offset]
    index = ((candidates.iou > setting.iou) & (stability >= setting.stability)).nonzero()[:, 0]
    # NMS of boxes, without classes: of two that overlap, the one of higher predicted IoU stays
    return index[nms(candidates.boxes[index], candidates.iou[index], setting.nms)].tolist()


def proposals(model, settings: MaskletSettings = MaskletSettings()) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that proposes masks (N, H, W) bool on a single frame, as a window's first frame
    gets them."""

    def masks(image: np.ndarray) -> np.ndarray:
        candidates = propose(model, image, (settings,))
        rles = [candidates.rles[i] for i in select(candidates, settings)]
        if not rles:
            return np.zeros((0, *image.shape[:2]), bool)
        return coco.decode(rles).transpose(2, 0, 1).astype(bool)

    return masks

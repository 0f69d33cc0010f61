"""Pixels on their way into SAM 2 and out of it: frames and prompts at its input size; masks, boxes and RLE
at the frame's size.

On a CPU masks are handled by OpenCV and numpy, one by one, which is several times faster than torch.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as coco
from sam2.utils.amg import batched_mask_to_box
from torchvision.transforms.v2.functional import resize

from ..masklets import as_text

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def as_image_predictor(image: np.ndarray, size: int) -> torch.Tensor:
    """Resize and normalise as sam2's image predictor does: bilinear with antialias on floats."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    return (resize(pixels, [size, size], antialias=True) - MEAN) / STD


def as_video_predictor(image: np.ndarray, size: int) -> torch.Tensor:
    """Resize and normalise as sam2's video predictor does: PIL bicubic on bytes."""
    pixels = np.array(Image.fromarray(image).resize((size, size)))
    return (torch.from_numpy(pixels / 255.0).permute(2, 0, 1).float() - MEAN) / STD


def resize_prompts(masks: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (N, H, W) masks to (N, 1, S, S) binary float, as sam2's `add_new_mask` does."""
    masks = masks[:, None].float()
    if masks.shape[-2:] == (size, size):
        return masks
    return (
        F.interpolate(masks, (size, size), mode="bilinear", align_corners=False, antialias=True) >= 0.5
    ).float()


def enlarge(logits: torch.Tensor, size: tuple[int, int], is_prompt: bool = False) -> torch.Tensor:
    """Resize mask logits (N, h, w) to (N, H, W), bilinear.

    On a CPU by OpenCV, five times faster than torch and equal up to rounding. That is not enough for the
    logits that stand for a prompt, which are exactly zero along its border.
    """
    if is_prompt or logits.device.type != "cpu":
        return F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    enlarged = np.empty((len(logits), *size), np.float32)
    for mask, room in zip(logits.numpy(), enlarged):
        cv2.resize(mask, size[::-1], room, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(enlarged)


def above(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return where logits (N, H, W) exceed a threshold, bool; on a CPU by numpy, four times faster than
    torch."""
    if logits.device.type != "cpu":
        return logits > threshold
    return torch.from_numpy(logits.numpy() > threshold)


def prompts_as_output(masks: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, 1, S/4, S/4) that sam2 gives for binary prompts (N, 1, S, S)
    (`SAM2Base._use_mask_as_output`)."""
    quarter = masks.shape[-1] // 4
    return F.interpolate(
        20 * masks - 10, (quarter, quarter), mode="bilinear", align_corners=False, antialias=True
    )


def areas_of(masks: torch.Tensor) -> torch.Tensor:
    """Count the pixels of (N, H, W) bool masks."""
    if masks.device.type != "cpu":
        return masks.sum((1, 2))
    # three times faster than torch's sum of bools on a CPU
    return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()])


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Return boxes (N, 4) x0 y0 x1 y1 of (N, H, W) bool masks, x1 and y1 inclusive; zeros for an empty mask."""
    if masks.device.type != "cpu":
        return batched_mask_to_box(masks)
    x, y, width, height = (
        torch.tensor([cv2.boundingRect(mask) for mask in masks.numpy().view(np.uint8)]).view(-1, 4).unbind(1)
    )
    return torch.stack([x, y, x + (width - 1).clamp(min=0), y + (height - 1).clamp(min=0)], 1)


def masks_as_rles(logits: torch.Tensor, size: tuple[int, int], is_prompt: bool = False) -> list[dict]:
    """Enlarge mask logits (N, h, w) to frames of `size`, (H, W), and encode what is above zero as COCO
    RLE; `is_prompt` as for `enlarge`."""
    return [rle for part in logits.split(32) for rle in encode_rles(above(enlarge(part, size, is_prompt), 0))]


def encode_rles(masks: torch.Tensor) -> list[dict]:
    """Encode (N, H, W) bool masks as COCO RLE with text counts, which JSON can hold."""
    if len(masks) == 0:
        return []
    columns = np.empty((len(masks), *masks.shape[:0:-1]), np.uint8)
    for mask, room in zip(masks.cpu().numpy().view(np.uint8), columns):
        cv2.transpose(mask, room)
    # (H, W, N), each mask by columns, as pycocotools wants it
    return [as_text(rle) for rle in coco.encode(columns.transpose(2, 1, 0))]


def clean(mask: np.ndarray, area_px: int) -> np.ndarray:
    """Fill holes and drop specks of at most `area_px` pixels (8-connected) in one (H, W) uint8 mask; the
    largest part always stays."""
    mask = mask.astype(np.uint8)
    for value in (0, 1):  # holes first, then specks
        n, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == value).astype(np.uint8), connectivity=8
        )
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = [
            i + 1 for i in range(n - 1) if areas[i] <= area_px and (value == 0 or areas[i] < areas.max())
        ]
        mask[np.isin(labels, small)] = 1 - value
    return mask

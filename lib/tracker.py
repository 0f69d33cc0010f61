"""Cut a clip into masklets with SAM 2: propose on the first frame of each window, select, track all selected masks together.

Equal to stock sam2 (`SAM2AutomaticMaskGenerator`, then `SAM2VideoPredictor.add_new_mask` for every mask and `propagate_in_video`), but
all objects of a window pass through the model as one batch, frames are read one at a time, and several settings share what they have
in common. Two facts make the sharing exact: objects do not see each other, and a track of 16 frames is the start of one of 32.
What depends on the frame alone is computed once for all objects.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as coco
from sam2.modeling.sam2_base import SAM2Base
from torchvision.ops import nms
from torchvision.transforms.v2.functional import resize

from lib.config import MaskletSettings, batch_size
from lib.data import Clip
from lib.masklets import FrameMasklets, as_text

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
ENLARGED_AT_ONCE = 16  # masks at the frame's size that a CPU's cache still holds
ENLARGED_PX = 2**28  # on a GPU: pixels of the masks that are enlarged together, 1 GB


@dataclass(frozen=True)
class Candidates:
    """What a click grid finds on one frame, before selection; N masks in the order of the grid, three per click."""

    rles: list  # N COCO RLEs at the frame's size
    iou: torch.Tensor  # (N,) predicted IoU
    stability: dict[float, torch.Tensor]  # stability score (N,) for each logit offset asked for
    boxes: torch.Tensor  # (N, 4) x0 y0 x1 y1


@torch.inference_mode()
def propose(sam: SAM2Base, image: np.ndarray, settings: Sequence[MaskletSettings], clicks_per_batch: int | None = None) -> Candidates:
    """Click a grid on a frame and keep every mask that at least one setting might select.

    Args:
        sam: the model.
        image: (H, W, 3) uint8 RGB.
        settings: one or more settings with the same `grid`.
        clicks_per_batch: clicks decoded together, None for what suits the device; changes memory, not results.

    Source: sam2's `SAM2AutomaticMaskGenerator` without crops. Differs: predicted IoU is tested before masks are enlarged.
    """
    height, width = image.shape[:2]
    size = sam.image_size
    features, _, sizes = encode(sam, _as_image_predictor(image, size).to(sam.device))
    features[-1] = features[-1] + sam.no_mem_embed
    maps = [f.permute(1, 2, 0).unflatten(2, s) for f, s in zip(features, sizes)]
    steps = (np.arange(settings[0].grid) + 0.5) / settings[0].grid
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    points = torch.as_tensor(grid * (width, height), dtype=torch.float32, device=sam.device)  # stock rounds to float32 in pixels
    points = points / torch.tensor([width, height], device=sam.device) * size
    lowest_iou, offsets = min(s.iou for s in settings), sorted({s.stability_offset for s in settings})
    rles, ious, stabilities, boxes = [], [], {o: [] for o in offsets}, []
    for batch in points.split(clicks_per_batch or batch_size(sam.device.type)):
        labels = torch.ones(len(batch), 1, dtype=torch.int, device=sam.device)
        sparse, dense = sam.sam_prompt_encoder(points=(batch[:, None], labels), boxes=None, masks=None)
        low, iou, _, _ = sam.sam_mask_decoder(
            image_embeddings=maps[-1], image_pe=sam.sam_prompt_encoder.get_dense_pe(), sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense, multimask_output=True, repeat_image=True, high_res_features=maps[:-1],
        )  # fmt: skip
        low, iou = low.flatten(0, 1), iou.flatten()
        low, iou = low[iou > lowest_iou], iou[iou > lowest_iou]
        if len(low) == 0:
            continue
        at_once = ENLARGED_AT_ONCE if low.device.type == "cpu" else max(1, ENLARGED_PX // (height * width))
        for low, iou in zip(low.split(at_once), iou.split(at_once)):
            logits = _enlarge(low.float(), (height, width))
            scores = {o: _areas(_above(logits, o)) / _areas(_above(logits, -o)) for o in offsets}  # NaN, and so dropped, where nothing is on
            keep = torch.stack([(iou > s.iou) & (scores[s.stability_offset] >= s.stability) for s in settings]).any(0)
            if not keep.any():
                continue
            found = encode_rles(_above(logits, 0)[keep])
            rles += found
            ious.append(iou[keep])
            boxes.append(_boxes(found))
            for o in offsets:
                stabilities[o].append(scores[o][keep])
    cat = lambda parts, *shape: torch.cat(parts).float().cpu() if parts else torch.zeros(0, *shape)
    return Candidates(rles, cat(ious), {o: cat(s) for o, s in stabilities.items()}, cat(boxes, 4))


def select(candidates: Candidates, setting: MaskletSettings) -> list[int]:
    """Return the candidates a setting keeps, best predicted IoU first: both thresholds, then box NMS without classes."""
    passed = (candidates.iou > setting.iou) & (candidates.stability[setting.stability_offset] >= setting.stability)
    index = passed.nonzero()[:, 0]
    return index[nms(candidates.boxes[index], candidates.iou[index], setting.nms)].tolist()


class Group:
    """Objects that start on the same frame and are tracked equally long, as batches through the model."""

    def __init__(self, sam: SAM2Base, start: int, end: int, members: list[int], rles: list, objects_per_batch: int):
        self.sam, self.start, self.end, self.members = sam, start, end, members
        self.batches = []
        for i in range(0, len(members), objects_per_batch):
            prompts = np.stack([coco.decode(rles[m]) for m in members[i : i + objects_per_batch]])
            self.batches.append((prompts, {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}))

    def step(self, t: int, n_frames: int, encoded) -> torch.Tensor:
        """Advance to frame `t` and return mask logits (N, S/4, S/4), float32."""
        with _once_for_all_objects(self.sam):
            return torch.cat([self._step(t, n_frames, *encoded, *batch) for batch in self.batches])

    def rles(self, t: int, n_frames: int, encoded, size: tuple[int, int]) -> list[dict]:
        """Advance to frame `t` and return the masks as COCO RLE at `size`, (H, W)."""
        return masks_as_rles(self.step(t, n_frames, encoded), size, is_prompt=t == self.start)

    def _step(self, t, n_frames, features, positions, sizes, prompts, history):
        sam, n = self.sam, len(prompts)
        vision, position = [f.expand(-1, n, -1) for f in features], [p.expand(-1, n, -1) for p in positions]
        remember = t + 1 < self.end  # the memory of the last frame would never be read
        if t > self.start:
            out = sam.track_step(t, False, vision, position, sizes, None, None, history, n_frames, run_mem_encoder=remember)
            memory, where = out["maskmem_features"], out["maskmem_pos_enc"]
        else:
            masks = _resize_prompts(torch.from_numpy(prompts).to(sam.device), sam.image_size)
            if not remember and sam.use_mask_input_as_output_without_sam:
                return _prompts_as_output(masks)[:, 0]  # a track of one frame asks nothing of the model
            out = sam.track_step(t, True, vision, position, sizes, None, masks, history, n_frames, run_mem_encoder=False)
            if remember:  # as in stock, the first memory is made of the prompt as the output shows it, at a quarter of the input size
                shown = F.interpolate(out["pred_masks"].float(), (sam.image_size, sam.image_size), mode="bilinear", align_corners=False)
                memory, where = sam._encode_new_memory(vision, sizes, shown, out["object_score_logits"], is_mask_from_pts=True)
        if not remember:
            return out["pred_masks"][:, 0].float()
        kind = "non_cond_frame_outputs" if t > self.start else "cond_frame_outputs"
        history[kind][t] = {"maskmem_features": memory.to(torch.bfloat16), "maskmem_pos_enc": where, "obj_ptr": out["obj_ptr"]}
        for old in [f for f in history["non_cond_frame_outputs"] if f <= t - max(sam.num_maskmem, sam.max_obj_ptrs_in_encoder)]:
            del history["non_cond_frame_outputs"][old]
        return out["pred_masks"][:, 0].float()


@torch.inference_mode()
def track(
    sam: SAM2Base, clip: Clip, settings: MaskletSettings | Sequence[MaskletSettings], *, objects_per_batch: int | None = None, autocast: bool = False
) -> Iterator[tuple[FrameMasklets, ...]]:
    """Cut a clip into masklets under one or several settings, frame by frame.

    Each frame is encoded once for all settings; each grid is proposed once per frame that starts a window; each candidate that any
    setting selects is tracked once from each window start, as long as the longest window that selected it.

    Args:
        sam: a model of `lib.sam.load`.
        clip: frames are read in order, one at a time.
        settings: one setting or several.
        objects_per_batch: objects that pass through the model together, None for what suits the device; bounds memory, does not change results.
        autocast: run in bfloat16 where torch allows; faster on a GPU, not bit-equal.

    Yields:
        For each frame, the masklets of each setting, in the order of `settings`. A window in which nothing was found yields none.
        Memory holds one frame and the memories of the open windows, whatever the clip's length.
    """
    settings = (settings,) if isinstance(settings, MaskletSettings) else tuple(settings)
    groups: list[Group] = []
    chosen: dict[MaskletSettings, tuple[int, list[int], Candidates]] = {}  # the open window of each setting
    first_id = dict.fromkeys(settings, 0)  # masklets of the windows before
    for t in range(len(clip)):
        image = clip.image(t)
        with torch.autocast(sam.device.type, torch.bfloat16, enabled=autocast):
            starting = [s for s in settings if t % s.window == 0]
            groups = [g for g in groups if t < g.end]
            for grid in sorted({s.grid for s in starting}):
                same = [s for s in starting if s.grid == grid]
                candidates = propose(sam, image, same)
                lengths: dict[int, int] = {}
                for s in same:
                    if s in chosen:
                        first_id[s] += len(chosen[s][1])
                    chosen[s] = (t, select(candidates, s), candidates)
                    for member in chosen[s][1]:
                        lengths[member] = max(lengths.get(member, 0), s.window)
                for length in sorted(set(lengths.values())):
                    members = [m for m in lengths if lengths[m] == length]
                    group = Group(sam, t, min(t + length, len(clip)), members, candidates.rles, objects_per_batch or batch_size(sam.device.type))
                    group.candidates = candidates
                    groups.append(group)
            rles = {}
            if groups:
                asked = not sam.use_mask_input_as_output_without_sam or any(g.end - g.start > 1 for g in groups)
                encoded = encode(sam, as_video_predictor(image, sam.image_size).to(sam.device)) if asked else ([], [], [])
                for group in groups:
                    found = group.rles(t, len(clip), encoded, image.shape[:2])
                    rles.update({(id(group.candidates), m): r for m, r in zip(group.members, found)})
        yield tuple(_frame(s, *chosen[s], rles, first_id[s]) for s in settings)


def _frame(setting, start, members, candidates, rles, first_id) -> FrameMasklets:
    """Collect one setting's masklets of the current frame."""
    found = [rles[id(candidates), m] for m in members]
    if setting.clean_px:
        found = [as_text(coco.encode(np.asfortranarray(clean(coco.decode(r), setting.clean_px)))) for r in found]
    ids = tuple(range(first_id, first_id + len(members)))
    iou, stability = candidates.iou[members].tolist(), candidates.stability[setting.stability_offset][members].tolist()
    return FrameMasklets(start, ids, tuple(found), tuple(iou), tuple(stability))


def clean(mask: np.ndarray, area_px: int) -> np.ndarray:
    """Fill holes and drop specks of at most `area_px` pixels (8-connected) in one (H, W) uint8 mask; the largest part always stays."""
    mask = mask.astype(np.uint8)
    for value in (0, 1):  # holes first, then specks
        n, labels, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = [i + 1 for i in range(n - 1) if areas[i] <= area_px and (value == 0 or areas[i] < areas.max())]
        mask[np.isin(labels, small)] = 1 - value
    return mask


def masks_as_rles(logits: torch.Tensor, size: tuple[int, int], is_prompt: bool = False) -> list[dict]:
    """Enlarge mask logits (N, h, w) to frames of `size`, (H, W), and encode what is above zero as COCO RLE; `is_prompt` as for `_enlarge`."""
    return [rle for part in logits.split(32) for rle in encode_rles(_above(_enlarge(part, size, is_prompt), 0))]


def encode_rles(masks: torch.Tensor) -> list[dict]:
    """Encode (N, H, W) bool masks as COCO RLE with text counts, which JSON can hold."""
    if len(masks) == 0:
        return []
    columns = np.stack([cv2.transpose(mask) for mask in masks.cpu().numpy().view(np.uint8)]).transpose(2, 1, 0)  # (H, W, N), as pycocotools wants it
    return [as_text(rle) for rle in coco.encode(columns)]


def encode(sam, image: torch.Tensor):
    """Features, positions and sizes of one (3, S, S) frame, flat and not yet expanded to objects."""
    _, features, positions, sizes = sam._prepare_backbone_features(sam.forward_image(image[None]))
    return features, positions, sizes


def _as_image_predictor(image: np.ndarray, size: int) -> torch.Tensor:
    """Resize and normalise as sam2's image predictor does: bilinear with antialias on floats."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    return (resize(pixels, [size, size], antialias=True) - MEAN) / STD


def as_video_predictor(image: np.ndarray, size: int) -> torch.Tensor:
    """Resize and normalise as sam2's video predictor does: PIL bicubic on bytes."""
    pixels = np.array(Image.fromarray(image).resize((size, size)))
    return (torch.from_numpy(pixels / 255.0).permute(2, 0, 1).float() - MEAN) / STD


def _resize_prompts(masks: torch.Tensor, size: int) -> torch.Tensor:
    """(N, H, W) to (N, 1, S, S) binary float, as `add_new_mask` does."""
    masks = masks[:, None].float()
    if masks.shape[-2:] == (size, size):
        return masks
    return (F.interpolate(masks, (size, size), mode="bilinear", align_corners=False, antialias=True) >= 0.5).float()


def _enlarge(logits: torch.Tensor, size: tuple[int, int], is_prompt: bool = False) -> torch.Tensor:
    """Resize mask logits (N, h, w) to (N, H, W), bilinear.

    On a CPU by OpenCV, five times faster than torch and equal up to rounding. That is not enough for the logits that stand for a prompt,
    which are exactly zero along its border.
    """
    if is_prompt or logits.device.type != "cpu":
        return F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    return torch.from_numpy(np.stack([cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR) for mask in logits.numpy()]))


def _above(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Where logits (N, H, W) exceed a threshold, bool; on a CPU by numpy, four times faster than torch."""
    return logits > threshold if logits.device.type != "cpu" else torch.from_numpy(logits.numpy() > threshold)


def _prompts_as_output(masks: torch.Tensor) -> torch.Tensor:
    """Binary prompts (N, 1, S, S) to the logits (N, 1, S/4, S/4) that sam2 returns for them (`SAM2Base._use_mask_as_output`)."""
    quarter = masks.shape[-1] // 4
    return F.interpolate(20 * masks - 10, (quarter, quarter), mode="bilinear", align_corners=False, antialias=True)


@contextmanager
def _once_for_all_objects(sam: SAM2Base) -> Iterator[None]:
    """Compute for one object, and give to all, what sees the frame but no memory and no mask yet, and so is equal for every object:
    the first self-attention over the frame, and the frame's projection in the memory encoder.
    """
    layer, projection = sam.memory_attention.layers[0], sam.memory_encoder.pix_feat_proj

    def once(function: Callable) -> Callable:
        return lambda *batches: function(*(batch[:1] for batch in batches)).expand(len(batches[0]), *[-1] * (batches[0].dim() - 1))

    layer._forward_sa, projection.forward = once(layer._forward_sa), once(projection.forward)
    try:
        yield
    finally:
        del layer._forward_sa, projection.forward  # the instance's own; the class's remain


def _areas(masks: torch.Tensor) -> torch.Tensor:
    """Count the pixels of (N, H, W) bool masks."""
    if masks.device.type != "cpu":
        return masks.sum((1, 2))
    return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()])  # three times faster than torch's sum of bools on a CPU


def _boxes(rles: list[dict]) -> torch.Tensor:
    """Boxes x0 y0 x1 y1 of masks, x1 and y1 inclusive; zeros for an empty mask, as in sam2."""
    x, y, width, height = torch.from_numpy(coco.toBbox(rles).reshape(-1, 4)).float().unbind(1)
    return torch.stack([x, y, x + (width - 1).clamp(min=0), y + (height - 1).clamp(min=0)], 1)

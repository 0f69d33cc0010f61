"""Cut a clip into masklets with SAM 2: propose on the first frame of each window, select, track all
selected masks together.

Equal to stock sam2 (`SAM2AutomaticMaskGenerator`, then `SAM2VideoPredictor.add_new_mask` for every mask and
`propagate_in_video`), but all objects of a window pass through the model as one batch, frames are read one at
a time, and several settings share what they have
in common. Two facts make the sharing exact: objects do not see each other, and a track of 16 frames is the
    start of one of 32.
What depends on the frame alone is computed once for all objects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco
from sam2.modeling.sam2_base import SAM2Base

from ..clips.clip import Clip
from ..config import MaskletSettings, batch_size
from ..masklets import FrameMasklets, Masklets, as_text
from .fast import once, seeing_no_object
from .models import encode
from .pixels import as_video_predictor, clean, masks_as_rles, prompts_as_output, resize_prompts
from .propose import Candidates, propose, select


class Group:
    """Objects that start on the same frame and are tracked equally long, as batches through the model."""

    def __init__(
        self, sam: SAM2Base, start: int, end: int, members: list[int], rles: list, objects_per_batch: int
    ):
        self.sam, self.start, self.end, self.members = sam, start, end, members
        self.batches = []
        for i in range(0, len(members), objects_per_batch):
            prompts = np.stack([coco.decode(rles[m]) for m in members[i : i + objects_per_batch]])
            self.batches.append((prompts, {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}))

    def step(self, t: int, n_frames: int, encoded) -> torch.Tensor:
        """Advance to frame `t` and return mask logits (N, S/4, S/4), float32."""
        with once(*seeing_no_object(self.sam)):
            return torch.cat([self._step(t, n_frames, *encoded, *batch) for batch in self.batches])

    def rles(self, t: int, n_frames: int, encoded, size: tuple[int, int]) -> list[dict]:
        """Advance to frame `t` and return the masks as COCO RLE at `size`, (H, W)."""
        return masks_as_rles(self.step(t, n_frames, encoded), size, is_prompt=t == self.start)

    def _step(self, t, n_frames, features, positions, sizes, prompts, history):
        sam, n = self.sam, len(prompts)
        vision, position = [f.expand(-1, n, -1) for f in features], [p.expand(-1, n, -1) for p in positions]
        remember = t + 1 < self.end  # the memory of the last frame would never be read
        if t > self.start:
            out = sam.track_step(
                t, False, vision, position, sizes, None, None, history, n_frames, run_mem_encoder=remember
            )
            memory, where = out["maskmem_features"], out["maskmem_pos_enc"]
        else:
            masks = resize_prompts(torch.from_numpy(prompts).to(sam.device), sam.image_size)
            if not remember and sam.use_mask_input_as_output_without_sam:
                return prompts_as_output(masks)[:, 0]  # a track of one frame asks nothing of the model
            out = sam.track_step(
                t, True, vision, position, sizes, None, masks, history, n_frames, run_mem_encoder=False
            )
            # as in stock, the first memory is made of the prompt as the output shows it, at a quarter of the
            # input size
            if remember:
                shown = F.interpolate(
                    out["pred_masks"].float(),
                    (sam.image_size, sam.image_size),
                    mode="bilinear",
                    align_corners=False,
                )
                memory, where = sam._encode_new_memory(
                    vision, sizes, shown, out["object_score_logits"], is_mask_from_pts=True
                )
        if not remember:
            return out["pred_masks"][:, 0].float()
        kind = "non_cond_frame_outputs" if t > self.start else "cond_frame_outputs"
        history[kind][t] = {
            "maskmem_features": memory.to(torch.bfloat16),
            "maskmem_pos_enc": where,
            "obj_ptr": out["obj_ptr"],
        }
        for old in [
            f
            for f in history["non_cond_frame_outputs"]
            if f <= t - max(sam.num_maskmem, sam.max_obj_ptrs_in_encoder)
        ]:
            del history["non_cond_frame_outputs"][old]
        return out["pred_masks"][:, 0].float()


@dataclass(frozen=True)
class Known:
    """Objects that were tracked before: a group whose masks are read off earlier masklets."""

    start: int
    end: int
    members: list[int]
    masklets: Masklets

    def rles(self, t: int, *_) -> list[dict]:
        return list(self.masklets.frames[t].rles)


@torch.inference_mode()
def track(
    sam: SAM2Base,
    clip: Clip,
    settings: MaskletSettings | Sequence[MaskletSettings],
    *,
    known: Sequence[Masklets] = (),
    objects_per_batch: int | None = None,
    autocast: bool = False,
) -> Iterator[tuple[FrameMasklets, ...]]:
    """Cut a clip into masklets under one or several settings, frame by frame.

    Each frame is encoded once for all settings; each grid is proposed once per frame that starts a window;
    each candidate that any setting selects is tracked once from each window start, as long as the longest
    window that selected it.

    Args:
        sam: a model of `lib.sam.load`.
        clip: frames are read in order, one at a time.
        settings: one setting or several.
        known: masklets of the same clip that the same model found under other settings; an object that is
            tracked in them is not tracked again.
        objects_per_batch: objects that pass through the model together, None for what suits the device;
            bounds memory, does not change results.
        autocast: run in bfloat16 where torch allows; faster on a GPU, not bit-equal.

    Yields:
        For each frame, the masklets of each setting, in the order of `settings`. A window in which nothing
        was found yields none. Memory holds one frame and the memories of the open windows, whatever the
        clip's length.
    """
    settings = (settings,) if isinstance(settings, MaskletSettings) else tuple(settings)
    groups: list[tuple[Candidates, Group | Known]] = []
    chosen: dict[MaskletSettings, tuple[int, list[int], Candidates]] = {}  # the open window of each setting
    first_id = dict.fromkeys(settings, 0)  # masklets of the windows before
    for t in range(len(clip)):
        image = clip.image(t)
        with torch.autocast(sam.device.type, torch.bfloat16, enabled=autocast):
            starting = [s for s in settings if t % s.window == 0]
            groups = [(of, g) for of, g in groups if t < g.end]
            for grid in sorted({s.grid for s in starting}):
                same = [s for s in starting if s.grid == grid]
                before = [
                    m
                    for m in known
                    if m.settings.grid == grid and t % m.settings.window == 0 and not m.settings.clean_px
                ]
                candidates = propose(sam, image, same + [m.settings for m in before])
                lengths: dict[int, int] = {}
                for s in same:
                    if s in chosen:
                        first_id[s] += len(chosen[s][1])
                    chosen[s] = (t, select(candidates, s), candidates)
                    for member in chosen[s][1]:
                        lengths[member] = max(lengths.get(member, 0), s.window)
                for masklets in before:
                    members = select(candidates, masklets.settings)
                    # else these are others, say of a machine that rounds otherwise
                    if candidates.iou[members].tolist() == list(masklets.frames[t].iou):
                        groups.append((candidates, Known(t, t + masklets.settings.window, members, masklets)))
                        lengths = {
                            m: n
                            for m, n in lengths.items()
                            if m not in members or n > masklets.settings.window
                        }
                for length in sorted(set(lengths.values())):
                    members = [m for m in lengths if lengths[m] == length]
                    group = Group(
                        sam,
                        t,
                        min(t + length, len(clip)),
                        members,
                        candidates.rles,
                        objects_per_batch or batch_size(sam.device.type),
                    )
                    groups.append((candidates, group))
            rles = {}
            if groups:
                asked = not sam.use_mask_input_as_output_without_sam or any(
                    g.end - g.start > 1 for _, g in groups
                )
                encoded = (
                    encode(sam, as_video_predictor(image, sam.image_size).to(sam.device))
                    if asked
                    else ([], [], [])
                )
                for candidates, group in groups:
                    found = group.rles(t, len(clip), encoded, image.shape[:2])
                    rles.update({(id(candidates), m): r for m, r in zip(group.members, found)})
        yield tuple(_frame(s, *chosen[s], rles, first_id[s]) for s in settings)


def _frame(setting, start, members, candidates, rles, first_id) -> FrameMasklets:
    """Collect one setting's masklets of the current frame."""
    found = [rles[id(candidates), m] for m in members]
    if setting.clean_px:
        found = [
            as_text(coco.encode(np.asfortranarray(clean(coco.decode(r), setting.clean_px)))) for r in found
        ]
    ids = tuple(range(first_id, first_id + len(members)))
    iou, stability = (
        candidates.iou[members].tolist(),
        candidates.stability[setting.stability_offset][members].tolist(),
    )
    return FrameMasklets(start, ids, tuple(found), tuple(iou), tuple(stability))

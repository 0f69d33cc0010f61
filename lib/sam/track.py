"""Track a clip's masklets with SAM 2: propose on the first frame of each window, select, track all selected
masks together.

How settings and objects share work, and why the result is the same:
1. A frame is encoded once, however many objects and settings there are: the image encoder sees no object.
2. Settings that start on the same frame with the same click grid share one `Window`: the grid is clicked
   once, and each setting selects from the same candidates.
3. A candidate that several settings select is tracked once, as long as the longest of them needs, because a
   track of 16 frames is the start of one of 32.
4. Candidates that are tracked equally long form one `Group`, which passes through the model as a batch,
   because objects do not see each other.
5. Masklets of the same clip and model that were segmented before are read, not tracked again.

Equal to stock sam2: `SAM2AutomaticMaskGenerator`, then `SAM2VideoPredictor.add_new_mask` for every mask and
`propagate_in_video`.
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

    @property
    def needs_features(self) -> bool:
        """False for a track of one frame, whose only mask is its prompt."""
        return self.end - self.start > 1 or not self.sam.use_mask_input_as_output_without_sam

    def step(self, t: int, n_frames: int, encoded) -> torch.Tensor:
        """Advance to frame `t` and return mask logits (N, S/4, S/4), float32."""
        with once(*seeing_no_object(self.sam)):
            return torch.cat([self._step(t, n_frames, *encoded, *batch) for batch in self.batches])

    def rles(self, t: int, n_frames: int, encoded, size: tuple[int, int]) -> list[dict]:
        """Advance to frame `t` and return the masks as COCO RLE at `size`, (H, W)."""
        return masks_as_rles(self.step(t, n_frames, encoded), size, is_prompt=t == self.start)

    def _step(self, t, n_frames, features, positions, sizes, prompts, history) -> torch.Tensor:
        """Advance one batch of objects to frame `t`: mask logits (n, S/4, S/4)."""
        sam, n = self.sam, len(prompts)
        # every object sees the same frame
        vision, position = [f.expand(-1, n, -1) for f in features], [p.expand(-1, n, -1) for p in positions]
        remember = t + 1 < self.end  # the memory of the last frame would never be read
        if t > self.start:
            # a later frame: attend to the memories of earlier ones, decode the mask, encode a new memory
            kind = "non_cond_frame_outputs"
            out = sam.track_step(
                t, False, vision, position, sizes, None, None, history, n_frames, run_mem_encoder=remember
            )
            memory, where = out["maskmem_features"], out["maskmem_pos_enc"]
        else:
            # the first frame: the proposed mask is the prompt, and the prompt is the output
            kind = "cond_frame_outputs"
            masks = resize_prompts(torch.from_numpy(prompts).to(sam.device), sam.image_size)
            if not self.needs_features:
                return prompts_as_output(masks)[:, 0]
            out = sam.track_step(
                t, True, vision, position, sizes, None, masks, history, n_frames, run_mem_encoder=False
            )
            if remember:
                memory, where = self._memory_of_prompt(vision, sizes, out)
        if remember:
            history[kind][t] = {
                "maskmem_features": memory.to(torch.bfloat16),
                "maskmem_pos_enc": where,
                "obj_ptr": out["obj_ptr"],
            }
            # forget the frames that the model will not look back to
            recent = history["non_cond_frame_outputs"]
            for old in [f for f in recent if f <= t - max(sam.num_maskmem, sam.max_obj_ptrs_in_encoder)]:
                del recent[old]
        return out["pred_masks"][:, 0].float()

    def _memory_of_prompt(self, vision, sizes, out):
        """Encode the first memory as stock does: from the prompt as the output shows it, at a quarter of the
        input size."""
        side = (self.sam.image_size, self.sam.image_size)
        masks = F.interpolate(out["pred_masks"].float(), side, mode="bilinear", align_corners=False)
        return self.sam._encode_new_memory(
            vision, sizes, masks, out["object_score_logits"], is_mask_from_pts=True
        )


@dataclass(frozen=True)
class Known:
    """Objects that were tracked before: a group whose masks are read off earlier masklets."""

    start: int
    end: int
    members: list[int]
    masklets: Masklets
    needs_features = False

    def rles(self, t: int, *_) -> list[dict]:
        """Return the masks of frame `t` as COCO RLE."""
        return list(self.masklets.frames[t].rles)


class Window:
    """What starts on one frame from one click grid: its candidates, what each setting selects, the tracks."""

    def __init__(self, start: int, candidates: Candidates):
        self.start, self.candidates = start, candidates
        self.selected: dict[MaskletSettings, list[int]] = {}  # candidates, best predicted IoU first
        self.lengths: dict[int, int] = {}  # candidate -> how many frames it is to be tracked
        self.groups: list[Group | Known] = []  # those still tracked
        self.rles: dict[int, dict] = {}  # candidate -> its mask on the current frame

    def select(self, setting: MaskletSettings) -> None:
        """Select a setting's masklets; each is to be tracked as long as the longest setting needs."""
        self.selected[setting] = select(self.candidates, setting)
        for member in self.selected[setting]:
            self.lengths[member] = max(self.lengths.get(member, 0), setting.window)

    def read(self, masklets: Masklets) -> None:
        """Take from earlier masklets what they hold; a candidate is tracked only where it is needed longer."""
        members, length = select(self.candidates, masklets.settings), masklets.settings.window
        # other scores: masklets of another model, or of a machine that rounds otherwise
        if self.candidates.iou[members].tolist() == list(masklets.frames[self.start].iou):
            self.groups.append(Known(self.start, self.start + length, members, masklets))
            held = {m for m in members if self.lengths.get(m, 0) <= length}
            self.lengths = {m: n for m, n in self.lengths.items() if m not in held}

    def begin(self, sam: SAM2Base, n_frames: int, objects_per_batch: int) -> None:
        """Form a group of the candidates of each length."""
        for length in sorted(set(self.lengths.values())):
            members = [m for m in self.lengths if self.lengths[m] == length]
            end = min(self.start + length, n_frames)
            rles = self.candidates.rles
            self.groups.append(Group(sam, self.start, end, members, rles, objects_per_batch))

    def end_tracks(self, t: int) -> bool:
        """Drop the groups that end before frame `t`; return whether any are left."""
        self.groups = [group for group in self.groups if t < group.end]
        return bool(self.groups)

    def advance(self, t: int, n_frames: int, encoded, size: tuple[int, int]) -> None:
        """Track all groups to frame `t`."""
        self.rles = {}
        for group in self.groups:
            self.rles.update(zip(group.members, group.rles(t, n_frames, encoded, size)))

    def frame(self, setting: MaskletSettings, first_id: int) -> FrameMasklets:
        """Collect one setting's masklets of the current frame."""
        members = self.selected[setting]
        rles = [self.rles[m] for m in members]
        if setting.clean_px:
            masks = [clean(coco.decode(rle), setting.clean_px) for rle in rles]
            rles = [as_text(coco.encode(np.asfortranarray(mask))) for mask in masks]
        ids = tuple(range(first_id, first_id + len(members)))
        iou = self.candidates.iou[members].tolist()
        stability = self.candidates.stability[setting.stability_offset][members].tolist()
        return FrameMasklets(self.start, ids, tuple(rles), tuple(iou), tuple(stability))


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
    """Segment a clip into masklets under one or several settings, frame by frame.

    Each frame is encoded once for all settings; each grid is clicked once per frame that starts a window;
    each candidate that any setting selects is tracked once from each window's start, as long as the longest
    window that selected it.

    Args:
        sam: a model of `lib.sam.load`.
        clip: frames are read in order, one at a time.
        settings: one setting or several.
        known: masklets of the same clip and model under other settings; an object that is tracked in them is
            not tracked again.
        objects_per_batch: objects that pass through the model together, None for what suits the device;
            bounds memory, does not change results.
        autocast: run in bfloat16 where torch allows; faster on a GPU, not bit-equal.

    Yields:
        For each frame, the masklets of each setting, in the order of `settings`; no masklets in a window
        whose first frame has no proposal that passes. Memory holds one frame and the memories of the open
        windows, whatever the clip's length.

    Source: paper Sec. 3.1.1.
    """
    settings = (settings,) if isinstance(settings, MaskletSettings) else tuple(settings)
    objects_per_batch = objects_per_batch or batch_size(sam.device.type)
    tracked: list[Window] = []  # windows that still have tracks
    current: dict[MaskletSettings, Window] = {}  # the open window of each setting
    first_id = dict.fromkeys(settings, 0)  # masklets of the windows before
    for t in range(len(clip)):
        image = clip.image(t)
        with torch.autocast(sam.device.type, torch.bfloat16, enabled=autocast):
            # a new window starts anew: its masklets are not those of the window before
            starting = [s for s in first_id if t % s.window == 0]
            for s in starting:
                first_id[s] += len(current[s].selected[s]) if s in current else 0
            tracked = [window for window in tracked if window.end_tracks(t)]
            for grid in sorted({s.grid for s in starting}):
                same = [s for s in starting if s.grid == grid]
                earlier = [m for m in known if _starts(m.settings, t, grid)]
                # propose: click the grid on this frame, once for all settings that share it
                window = Window(t, propose(sam, image, same + [m.settings for m in earlier]))
                # select: each setting applies its own thresholds and NMS
                for s in same:
                    window.select(s)
                    current[s] = window
                # begin a track for each selected mask, unless earlier masklets hold it
                for masklets in earlier:
                    window.read(masklets)
                window.begin(sam, len(clip), objects_per_batch)
                tracked.append(window)
            # encode the frame once for all tracks
            encoded = [], [], []
            if any(group.needs_features for window in tracked for group in window.groups):
                encoded = encode(sam, as_video_predictor(image, sam.image_size).to(sam.device))
            # track: every object of every open window advances to this frame
            for window in tracked:
                window.advance(t, len(clip), encoded, image.shape[:2])
        yield tuple(current[s].frame(s, first_id[s]) for s in settings)


def _starts(known: MaskletSettings, t: int, grid: int) -> bool:
    """Return whether masklets under these settings hold what this grid proposes on frame `t`, uncleaned."""
    return known.grid == grid and t % known.window == 0 and not known.clean_px

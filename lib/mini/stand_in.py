"""PanopticStandIn: what stands where a video panoptic model would, made of this project's own parts. It is
not DVIS, DVIS++ or CAVIS.

A per-frame base segmentor gives the classes; the connected parts of a thing class are its instances, linked
from frame to frame by overlap; pixels of which the segmentor is unsure, and specks, are left void. It writes
the very form that DVIS writes, so that rows of real models take the same way.

Whoever changes what it predicts raises its version in `lib.study.cache`.
"""

from pathlib import Path

import cv2
import numpy as np

from ..clips.clip import Clip, Dataset
from ..clips.datasets import VSPW_CLASSES
from ..config import VOID
from ..files import write_json
from ..progress import progress
from . import tubes
from .tubes import THINGS, Tubes

SCALE = (427, 240)  # long, short side in pixels that a frame is fitted into, as the segmentor was trained
UNSURE = 0.5  # where the largest class probability is below, nothing is predicted
SPECK_FRAC = 0.0005  # of the frame; smaller parts of things are left void
LINK_IOU = 0.1  # with a thing of the frame before; a part that overlaps none so far begins a tube


def predict(model, dataset: Dataset, out: Path) -> bool:
    """Write `<out>/pan_pred/<video>/<frame>.png` and `<out>/pred.json` for all clips, all or none.

    Args: model: of `lib.segmentors.load`; dataset: clips of any size.
    Returns: False if `out` was there already.
    Source: the form of inference/ that VPSEvaluator of DVIS writes.
    """
    if out.is_dir():
        return False
    with tubes.whole(out) as part:
        videos = [
            {"video_id": clip.name, "annotations": predict_clip(model, clip, part / "pan_pred" / clip.name)}
            for clip in dataset.clips
        ]
        write_json(part / "pred.json", {"annotations": videos})
    return True


def predict_clip(model, clip: Clip, folder: Path) -> list[dict]:
    """Write one clip's frames; return its list of `{file_name, segments_info}`."""
    (height, width), segments, stuff, frames = clip.size, Tubes(), {}, []
    # the segments are found at half size, at a quarter of the cost
    last = np.zeros((-(-height // 2), -(-width // 2)), np.uint16)
    for t in progress(range(len(clip)), desc=f"{clip.name}, stand-in", total=len(clip)):
        last = link(segments, stuff, last, _unsure_as_void(model, clip.image(t), last.shape))
        name = f"{clip.frames[t]}.png"
        full = cv2.resize(last, (width, height), interpolation=cv2.INTER_NEAREST)
        frames.append({"file_name": name, "segments_info": segments.write(folder / name, full)})
    return frames


def link(segments: Tubes, stuff: dict[int, int], last: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Number the segments of a frame.

    Args:
        segments, stuff: the clip's tubes so far, and {class: number} of those of stuff; both grow.
        last: (H, W) uint16, tube numbers of the frame before, 0 where void.
        classes: (H, W) uint8, class ids or VOID.

    Returns:
        (H, W) uint16 tube numbers. A thing's part goes on with the tube of its class in `last` that it
        overlaps most, best pairs first.
    """
    numbers, parts = np.zeros(classes.shape, np.uint16), []
    for c in np.flatnonzero(np.bincount(classes.ravel(), minlength=256)[:VOID]):
        mask = classes == c
        if VSPW_CLASSES[c] in THINGS:
            _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
            sized = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= SPECK_FRAC * classes.size) + 1
            parts += [(int(c), labels == i, int(stats[i, cv2.CC_STAT_AREA])) for i in sized]
        else:
            numbers[mask] = stuff.get(c) or stuff.setdefault(c, segments.new(int(c)))
    area, pairs = np.bincount(last.ravel()), []
    for i, (c, mask, size) in enumerate(parts):
        shared = np.bincount(last[mask])
        pairs += [
            (shared[n] / (area[n] + size - shared[n]), i, n)
            for n in np.flatnonzero(shared)
            if n and segments.classes[n] == c
        ]
    mine, taken = {}, set()
    for iou, i, n in sorted(pairs, reverse=True):
        if iou >= LINK_IOU and i not in mine and n not in taken:
            mine[i] = n
            taken.add(n)
    for i, (c, mask, _) in enumerate(parts):
        numbers[mask] = mine[i] if i in mine else segments.new(c)
    return numbers


def _unsure_as_void(model, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Segment one frame as large as the model knows frames: `size` uint8, VOID where it is unsure."""
    import torch
    import torch.nn.functional as F

    from ..segmentors.predict import normalise, to_labels, to_network_size

    with torch.inference_mode():
        batch = to_network_size(image, SCALE)[None]
        logits = model(normalise(batch, next(model.parameters()).device))
        labels = to_labels(logits, batch.shape[1:3], size)[0].cpu().numpy()
        sure = (
            F.interpolate(logits.float().softmax(1).amax(1, keepdim=True), size, mode="bilinear")[0, 0]
            .cpu()
            .numpy()
        )
    return np.where(sure < UNSURE, VOID, labels).astype(np.uint8)

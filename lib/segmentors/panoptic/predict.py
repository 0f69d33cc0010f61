"""Predict a data set with a panoptic model: in the authors' own output format, or as label maps."""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...clips.clip import Clip, Dataset
from ...clips.images import PALETTE, write_labels
from ...clips.panoptic import read_index
from ...files import replacing, write_json
from .model import VideoPanoptic
from .stream import segment

FORMS = ("panoptic", "semantic", "vss")


def predict(
    model: VideoPanoptic,
    dataset: Dataset,
    out: str | Path,
    *,
    form: str = "panoptic",
    window: int = 3,
    device=None,
    bf16: bool = False,
    overwrite: bool = False,
) -> int:
    """Predict every clip of a data set. Clips that are there are left alone, and a clip that was interrupted
    goes on where it stopped.

    Args:
        model: of `build` or `load`; it is put into evaluation mode and, if `device` is given, moved there.
        dataset: `lib.clips.clip.Dataset`; truth is not needed.
        out: folder. It is not known how clips in it were made: give each model and form its own.
        form: "panoptic": `pan_pred/<clip>/<frame>.png` and `pred.json`, as the authors' evaluators write
            them; "semantic": the same tubes as class ids in `<clip>/<frame>.png`, 255 where there is none;
            "vss": see `segment`, also as class ids.
        window, bf16: see `segment`.
        overwrite: predict clips anew that are there.

    Returns: Number of frames predicted.
    Raises: ValueError for an unknown form, and as `segment`.
    """
    if form not in FORMS:
        raise ValueError(f"Expected `form` to be one of {', '.join(FORMS)}, but got {form!r}.")
    out, index = Path(out), Path(out) / "pred.json"
    model = model.to(device).eval() if device else model.eval()
    videos = []
    if form == "panoptic" and index.exists():
        read_index(index)  # one clear error if it is damaged
        videos = json.loads(index.read_text(encoding="utf-8"))["annotations"]
    n_frames = 0
    for clip in dataset.clips:
        folder = (out / "pan_pred" if form == "panoptic" else out) / clip.name
        listed = form != "panoptic" or any(video["video_id"] == clip.name for video in videos)
        there = listed and all((folder / f"{frame}.png").exists() for frame in clip.frames)
        if there and not overwrite:
            continue
        options = {"window": window, "bf16": bf16, "work": out / ".work" / clip.name}
        n_frames += len(clip)
        if form == "panoptic":
            videos = [video for video in videos if video["video_id"] != clip.name]
            videos.append(
                {"video_id": clip.name, "annotations": predict_clip(model, clip, folder, **options)}
            )
            write_json(index, {"annotations": videos})
            continue
        for frame, (numbers, classes) in _named(
            clip, segment(model, clip, kind="vss" if form == "vss" else "panoptic", **options)
        ):
            write_labels(folder / f"{frame}.png", numbers if form == "vss" else classes[numbers])
    if (work := out / ".work").is_dir() and not any(work.iterdir()):
        work.rmdir()
    return n_frames


def predict_clip(model: VideoPanoptic, clip: Clip, folder: str | Path, **options) -> list[dict]:
    """Write one clip's panoptic PNGs into a folder; return its list of `{file_name, segments_info}`, an entry
    of `pred.json`.

    Args: options: see `segment`.
    """
    frames, ids = [], None
    for name, (numbers, classes) in _named(clip, segment(model, clip, **options)):
        ids = segment_ids(classes) if ids is None else ids
        found = write_frame(Path(folder) / f"{name}.png", numbers, ids, classes)
        frames.append({"file_name": f"{name}.jpg", "segments_info": found})
    return frames


def _named(clip: Clip, frames):
    """Pair frame names with what `segment` yields; strict, so that it runs to its end and removes its
    folder.
    """
    return zip(clip.frames, frames, strict=True)


def segment_ids(classes: np.ndarray) -> np.ndarray:
    """Return the id of each tube, (N,) uint32: R + 256 G + 65536 B of a colour of its own, near that of its
    class; 0, black, for no tube.

    Source: IdGenerator of panopticapi; its further colours are random too, so that a colour alone does not
        tell the class.
    """
    ids = [0]
    for n, class_id in enumerate(classes[1:].tolist(), 1):
        rng, base = np.random.default_rng(n), PALETTE[class_id + 1].astype(int)
        colour = base
        while (number := int(colour @ (1, 256, 65536))) in ids:
            colour = np.clip(base + rng.integers(-90, 91, 3), 0, 255)
        ids.append(number)
    return np.array(ids, "<u4")


def write_frame(path: Path, numbers: np.ndarray, ids: np.ndarray, classes: np.ndarray) -> list[dict]:
    """Write a frame's tube numbers (H, W) as an RGB PNG; return its `segments_info`, of the tubes that have
    pixels in it.

    A box is [x, y, last x - x, last y - y], without the usual + 1, as the authors write it.
    """
    rgb = ids[numbers].view(np.uint8).reshape(*numbers.shape, 4)[..., :3]  # lowest byte first: red
    with replacing(path) as part:
        Image.fromarray(np.ascontiguousarray(rgb)).save(part, format="PNG", compress_level=1)
    found = []
    for n in np.flatnonzero(np.bincount(numbers.ravel())):
        if n > 0:
            mask = (numbers == n).view(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            entry = {
                "id": int(ids[n]),
                "category_id": int(classes[n]),
                "iscrowd": 0,
                "bbox": [x, y, w - 1, h - 1],
                "area": cv2.countNonZero(mask),
            }
            found.append(entry)
    return found

"""Masklets of a clip, and their file: SA-V's masklet JSON, which the tools around SAM 2 read.

segmented = lib.segment(lib.load_sam("micro"), clip, MaskletSettings())
segmented.masks(t)                # (N, H, W) bool
segmented.save("clip.json")       # masklets.read("clip.json")
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

from .clips.errors import DataError, DataMissingError, problem
from .config import MaskletSettings, from_dict
from .files import replacing


@dataclass(frozen=True)
class FrameMasklets:
    """The masklets of one frame, N of them, in the order in which they were selected (best predicted IoU
    first)."""

    start: int  # frame on which this window's masklets were proposed
    ids: tuple[int, ...]  # unique in the clip: a new window brings new masklets
    # COCO RLE (counts as text) at the frame's size; an object out of sight is an empty mask
    rles: tuple[dict, ...]
    iou: tuple[float, ...]  # predicted IoU on the window's first frame
    stability: tuple[float, ...]  # stability score there

    def masks(self, size: tuple[int, int]) -> np.ndarray:
        """Return the masks, decoded: (N, H, W) bool."""
        if not self.rles:
            return np.zeros((0, *size), bool)
        return coco.decode(list(self.rles)).transpose(2, 0, 1).view(bool)

    def boxes(self) -> list[tuple[slice, slice]]:
        """Return the smallest box around each mask, rows and columns; an empty one for an empty mask."""
        boxes = coco.toBbox(list(self.rles)).astype(int).reshape(-1, 4).tolist()
        return [(slice(y, y + height), slice(x, x + width)) for x, y, width, height in boxes]


@dataclass(frozen=True)
class Masklets:
    """All masklets of one clip under one setting."""

    clip: str
    size: tuple[int, int]  # H, W
    settings: MaskletSettings
    frames: tuple[FrameMasklets, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def masks(self, t: int) -> np.ndarray:
        """Return the masks of frame `t`, (N, H, W) bool."""
        return self.frames[t].masks(self.size)

    def save(self, path: str | Path) -> None:
        """Write SA-V's masklet JSON (frames x masklets of COCO RLE), frame by frame, whole or not at all.

        A masklet lives in its own window; on all other frames it is an empty mask, so that every frame lists
        every masklet, as in SA-V.
        """
        height, width = self.size
        born, areas, seen = {}, {}, {}
        for frame in self.frames:
            for i, rle, iou, stability in zip(frame.ids, frame.rles, frame.iou, frame.stability):
                area = int(coco.area(rle))
                born.setdefault(i, (frame.start, iou, stability))
                areas[i], seen[i] = areas.get(i, 0) + area, seen.get(i, 0) + (area > 0)
        ids = sorted(born)
        empty = as_text(coco.encode(np.zeros((height, width), np.uint8, order="F")))
        head = {
            "video_id": self.clip,
            "video_height": height,
            "video_width": width,
            "video_frame_count": len(self),
            "masklet_num": len(ids),
            "masklet_id": ids,
            "masklet_type": "auto",
            "masklet_first_appeared_frame": [born[i][0] for i in ids],
            "masklet_frame_count": [seen[i] for i in ids],
            "masklet_size_abs": [areas[i] / max(seen[i], 1) for i in ids],
            "masklet_size_rel": [areas[i] / max(seen[i], 1) / (height * width) for i in ids],
            "masklet_predicted_iou": [born[i][1] for i in ids],
            "masklet_stability_score": [born[i][2] for i in ids],
            "frame_window_start": [frame.start for frame in self.frames],
            "settings": asdict(self.settings),
        }
        with replacing(path) as part, open(part, "w") as file:
            file.write(json.dumps(head)[:-1] + ', "masklet": [')
            for t, frame in enumerate(self.frames):
                here = dict(zip(frame.ids, frame.rles))
                file.write(", " * (t > 0) + json.dumps([here.get(i, empty) for i in ids]))
            file.write("]}")


def read(path: str | Path) -> Masklets:
    """Read a file written by `Masklets.save`.

    Raises:
        DataMissingError: no such file.  DataError: not a masklet JSON of this library.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     example().save(f"{folder}/clip.json")
        ...     read(f"{folder}/clip.json").masks(0).tolist()
        [[[True, True, True]]]
    """
    path, known = Path(path), {}

    def share(entry: dict) -> dict:
        """Hold equal RLEs once: most are empty masks, of each masklet in all frames but its own, and would
        fill the memory on long clips."""
        is_rle = entry.keys() == {"size", "counts"}
        return known.setdefault(str(entry["counts"]), entry) if is_rle else entry

    try:
        content = json.loads(path.read_text(), object_hook=share)
        ids, iou, stability = (
            content[k] for k in ("masklet_id", "masklet_predicted_iou", "masklet_stability_score")
        )
        first = content["masklet_first_appeared_frame"]
        frames = []
        for start, rles in zip(content["frame_window_start"], content["masklet"], strict=True):
            own = [i for i, f in enumerate(first) if f == start]
            pick = lambda values: tuple(values[i] for i in own)
            frames.append(FrameMasklets(start, pick(ids), pick(rles), pick(iou), pick(stability)))
        size = content["video_height"], content["video_width"]
        return Masklets(
            content["video_id"], size, from_dict(MaskletSettings, content["settings"]), tuple(frames)
        )
    except FileNotFoundError as error:
        raise problem(
            DataMissingError,
            path,
            expected="a masklet JSON",
            found="no such file",
            remedy="Run `python -m lib refine` with --masklets.",
        ) from error
    except (LookupError, ValueError, TypeError) as error:
        raise problem(
            DataError,
            path,
            expected="a masklet JSON written by this library",
            found=f"another file ({type(error).__name__}: {error})",
            remedy="Delete the file and run again.",
        ) from error


def as_text(rle: dict) -> dict:
    """Return an RLE of pycocotools, whose counts are bytes, in the form that JSON can hold; pycocotools
    reads both."""
    counts = rle["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    return {"size": [int(n) for n in rle["size"]], "counts": counts}


def example() -> Masklets:
    """Return one masklet over one frame of 1x3 pixels, for the examples of this package.

    Example:
        >>> example().masks(0).shape
        (1, 1, 3)
    """
    rle = as_text(coco.encode(np.ones((1, 3), np.uint8, order="F")))
    frame = FrameMasklets(0, (0,), (rle,), (1.0,), (1.0,))
    return Masklets("clip", (1, 3), MaskletSettings(), (frame,))

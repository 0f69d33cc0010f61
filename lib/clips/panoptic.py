"""Panoptic labels of VIPSeg and of video panoptic models, turned into semantic classes.

The class comes from the numbers in the JSON (or in the raw mask), never from the colour: some classes share a
base colour.
"""

import functools
import json
import os
from pathlib import Path

import cv2
import numpy as np

from ..config import VOID
from .errors import DataError, DataMissingError, problem
from .images import read_png

RGB_EXPECTED = "a panoptic PNG in RGB (id = R + 256 G + 65536 B)"
RGB_REMEDY = "Keep the PNG as the panoptic writer saved it."
N_CLASSES = 124  # VIPSeg has VSPW's classes in VSPW's order
Segments = tuple[tuple[int, int], ...]  # (segment id, class id) of one frame
INDEX_FORM = "{annotations: [{video_id, annotations: [{file_name, segments_info: [{id, category_id}]}]}]}"


def read_index(path: str | Path) -> dict[str, dict[str, Segments]]:
    """Read a panoptic JSON: a truth (`panoptic_gt_VIPSeg_<split>.json`) or a prediction (`pred.json`).

    Returns: {video: {frame stem: segments}}. Read once while the file stays as it is: treat it as read-only.
    Raises: DataMissingError; DataError if it is no JSON, has another form, or names a video or frame twice.
    Source: VIPSeg-Dataset, create_panoptic_video_labels.py; the predictions' form is that of DVIS_Plus.
    """
    if not Path(path).is_file():
        raise problem(
            DataMissingError,
            path,
            expected="the list of segments",
            found="no such file",
            remedy="Copy the JSON beside its PNG folder.",
        )
    stat = os.stat(path)
    return _index(str(path), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)
def _index(path: str, modified: int, n_bytes: int) -> dict[str, dict[str, Segments]]:
    """Parse a panoptic JSON; the other two arguments only tell versions of the file apart."""
    try:
        with open(path, encoding="utf-8") as file:
            videos = json.load(file)["annotations"]
        entries = [
            (
                str(video["video_id"]),
                Path(frame["file_name"]).stem,
                tuple((int(s["id"]), int(s["category_id"])) for s in frame["segments_info"]),
            )
            for video in videos
            for frame in video["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise problem(
            DataError,
            path,
            expected=INDEX_FORM,
            found=f"{type(error).__name__}: {error}",
            remedy="Write the JSON again; a half-written one comes from an interrupted run.",
        ) from error
    index: dict[str, dict[str, Segments]] = {}
    for video, frame, segments in entries:
        if frame in index.setdefault(video, {}):
            raise problem(
                DataError,
                path,
                expected="each frame once",
                found=f"video {video}, frame {frame} twice",
                remedy="Write the JSON again.",
            )
        index[video][frame] = segments
    return index


def check_frames(
    path: str | Path, video: str, listed: dict[str, Segments], frames: list[str] | tuple[str, ...]
) -> None:
    """Raise unless a video's entry in the JSON lists exactly these frames."""
    if missing := [f for f in frames if f not in listed]:
        raise problem(
            DataMissingError,
            path,
            expected=f"segments of video {video}, frame {missing[0]}",
            found=f"none ({len(missing)} of {len(frames)} frames lack them)",
            remedy="Run the model, or prepare the data set, over all frames.",
        )
    if len(listed) > len(frames):
        extra = list(listed.keys() - set(frames))
        raise problem(
            DataError,
            path,
            expected=f"the {len(frames)} frames of video {video}",
            found=f"frame {extra[0]}, which does not exist",
            remedy="Check that the JSON and the frames are of the same data set and split.",
        )


def read_segments(path: str | Path, segments: dict[str, Segments], n_classes: int = N_CLASSES) -> np.ndarray:
    """Read a panoptic RGB PNG (id = R + 256 G + 65536 B, black = nothing) as classes.

    Args: segments: {frame stem: ((id, class id), ...)}; a listed segment without pixels does no harm.
    Returns: (H, W) uint8, class ids 0..n_classes-1 or VOID. Holes stay VOID: in a prediction they count as
        misses.
    Raises: DataMissingError; DataError if the PNG is damaged or not RGB, a class is out of range, or a colour
        is not listed.
    Source: panopticapi rgb2id; VIPSeg category_id is already 0..123 (wall 0, train 123).
    """
    rgb, _ = read_png(path, ("RGB",), RGB_EXPECTED, RGB_REMEDY)
    # the four bytes of a pixel as one number, alpha dropped
    ids = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view("<i4")[..., 0] & 0xFFFFFF
    classes = np.full(ids.shape, VOID, np.uint8)
    listed: dict[int, int] = {}
    for segment, category in segments[Path(path).stem]:
        if not 0 <= category < n_classes or segment <= 0 or listed.setdefault(segment, category) != category:
            raise problem(
                DataError,
                path,
                expected=f"in its JSON, positive ids of one class 0..{n_classes - 1} each",
                found=f"segment {segment} of class {category}",
                remedy="Store category_id as VIPSeg does: wall 0, train 123.",
            )
        np.copyto(classes, np.uint8(category), where=ids == segment)
    unlisted = (classes == VOID) & (ids != 0)
    if unlisted.any():
        raise problem(
            DataError,
            path,
            expected="segments that its JSON lists",
            found=f"{unlisted.sum()} pixels with id {ids[unlisted][0]}, which it does not list",
            remedy="Take the PNGs and the JSON of one and the same run.",
        )
    return classes


def read_raw(path: str | Path) -> np.ndarray:
    """Read a raw VIPSeg mask (`panomasks/`): 0 is void, 1..124 a stuff class, 100 class + instance a thing.

    Returns: (H, W) uint8, class ids 0..123 or VOID.
    Raises: DataMissingError; DataError if it is damaged, of another mode, clipped to 8 bits, or out of range.
    """
    raw, mode = read_png(
        path,
        ("I;16", "I", "L", "P"),
        "a raw VIPSeg mask, one 16-bit channel",
        "Use the PNGs of VIPSeg's `panomasks`; for colours use `panomasksRGB`.",
    )
    raw = raw.astype(np.int32)
    if mode in ("L", "P") and raw.max() > N_CLASSES:  # a frame of stuff alone fits 8 bits, a thing does not
        raise problem(
            DataError,
            path,
            expected="16 bits, which the ids of things need",
            found=f"8 bits and value {raw.max()}",
            remedy="The mask was clipped when it was converted: prepare it again from the original.",
        )
    ids = np.where(raw < 125, raw, raw // 100)
    if ids.min() < 0 or ids.max() > N_CLASSES:
        raise problem(
            DataError,
            path,
            expected=f"classes 1..{N_CLASSES}, things as 100 class + instance",
            found=f"value {raw[(ids < 0) | (ids > N_CLASSES)][0]}",
            remedy="Use the PNGs of VIPSeg's `panomasks` as they were published.",
        )
    return (ids - 1).astype(np.uint8)  # 0 wraps to VOID

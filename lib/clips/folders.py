"""Clips and predictions that lie in plain folders or video files."""

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np

from . import panoptic
from .clip import Clip, Files, Predictions
from .errors import DataError, DataMissingError, problem
from .images import IMAGE_SUFFIXES, image_size, list_files, natural, read_image, read_label
from .video import VIDEO_SUFFIXES, read_video_frame, video_shape


def clip_of_files(
    name: str,
    images: dict[str, str],
    labels: dict[str, str] | None = None,
    read: Callable[[str], np.ndarray] | None = None,
) -> Clip:
    """Return a clip of image files and, with labels, of the function that reads one."""
    size = partial(image_size, next(iter(images.values())))
    truth = None if labels is None else Files(tuple(labels[f] for f in images), read, size)
    return Clip(name, tuple(images), size, Files(tuple(images.values()), read_image, size), truth)


def match_names(
    frames: Collection[str], files: Collection[str], folder: Path, noun: str, extra: type[Exception]
) -> None:
    """Raise unless files (labels or predictions) and frames go by the same names."""
    if missing := [f for f in frames if f not in files]:
        raise problem(
            DataMissingError,
            folder / f"{missing[0]}.png",
            expected=f"a {noun} for every frame",
            found=f"none for {len(missing)} of {len(frames)} frames",
            remedy=f"Add each missing {noun}, named like its frame.",
        )
    known = set(frames)
    if left := [f for f in files if f not in known]:
        raise problem(
            extra,
            folder / f"{left[0]}.png",
            expected=f"a frame for every {noun}",
            found=f"no frame named {left[0]} ({len(left)} such)",
            remedy=f"Restore the frame, or remove the {noun} that belongs to none.",
        )


def frames_in(folder: Path) -> dict[str, str]:
    """List a clip's pictures; at least one."""
    if not (images := list_files(folder)):
        raise problem(
            DataMissingError,
            folder,
            expected=f"frames ({', '.join(IMAGE_SUFFIXES)})",
            found="none",
            remedy="Unpack the clip again, or remove its folder.",
        )
    return images


def read_frames(path: str | Path) -> tuple[Clip, ...]:
    """Read clips without truth: a folder of frames, a folder of such folders (VSPW's data/ too), or one
    video file.

    Args: path: frames are JPEG or PNG of any sortable names ("frame2" comes before "frame10"); a video's
        frames are numbered from 00000.
    Raises: DataMissingError, DataError (also if frames and clip folders stand side by side).
    """
    path = Path(os.path.abspath(path))  # "." needs a name
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        n_frames, *size = video_shape(path)
        return (
            Clip(
                path.stem,
                tuple(f"{i:05d}" for i in range(n_frames)),
                partial(tuple, size),
                partial(read_video_frame, str(path)),
            ),
        )
    remedy = f"Pass a folder of frames ({', '.join(IMAGE_SUFFIXES)}), a folder of such folders, or a video ({', '.join(VIDEO_SUFFIXES)})."
    if not path.is_dir():
        found = "a file of another kind" if path.exists() else "no such file or folder"
        raise problem(
            DataError if path.exists() else DataMissingError,
            path,
            expected="frames",
            found=found,
            remedy=remedy,
        )
    folders = sorted(
        (p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")),
        key=lambda p: natural(p.name),
    )
    if not (images := list_files(path)):
        if not folders:
            raise problem(DataMissingError, path, expected="frames", found="none", remedy=remedy)
        if path / "origin" in folders:  # a clip in VSPW's layout
            return (clip_of_files(path.name, frames_in(path / "origin")),)
        # VSPW's data/
        inner = [folder / "origin" if (folder / "origin").is_dir() else folder for folder in folders]
        return tuple(clip_of_files(folder.name, frames_in(frames)) for folder, frames in zip(folders, inner))
    if beside := [p for p in folders if list_files(p)]:
        raise problem(
            DataError,
            path,
            expected="either frames or clip folders",
            found=f"frames, and {beside[0].name}/ with frames",
            remedy=remedy,
        )
    return (clip_of_files(path.name, images),)


def read_predictions(root: str | Path, clip: Clip, n_classes: int, *, flat: bool = True) -> Predictions:
    """Return a model's predictions for a clip; the names are checked now, size, mode and values when a frame
    is read.

    Args: root: holds `<clip>/<frame>.png` (palette or grey, class ids; 255 nothing predicted); or the PNGs of
        this clip themselves, if `flat` (pass False when scoring several clips, whose frames may go by the
        same names); or, known by its `pred.json`, a panoptic model's `pan_pred/<clip>/<frame>.png`.
    Raises: ValueError for n_classes beyond 1..255; DataMissingError for a missing frame; DataError for one
        that the clip does not have.
    """
    root = Path(root)
    if not 1 <= n_classes <= 255:
        raise ValueError(f"Expected `n_classes` to be in 1..255, but got {n_classes}.")
    if not root.is_dir():
        raise problem(
            DataMissingError,
            root,
            expected="a folder of predictions",
            found="no such folder",
            remedy="Check the path.",
        )
    read = partial(read_label, n_classes=n_classes)
    if (index_file := root / "pred.json").is_file():
        index, folder = panoptic.read_index(index_file), root / "pan_pred" / clip.name
        panoptic.check_frames(index_file, clip.name, index.get(clip.name, {}), clip.frames)
        read = partial(panoptic.read_segments, segments=index.get(clip.name, {}), n_classes=n_classes)
    else:
        folder = root / clip.name
        if not folder.is_dir() and flat and list_files(root, (".png",)):
            folder = root
    if not folder.is_dir():
        there = sorted(p.name for p in root.iterdir() if p.is_dir())
        raise problem(
            DataMissingError,
            folder,
            expected="a folder of predictions for this clip",
            found=f"none ({root} holds {', '.join(there[:3]) or 'no folder'})",
            remedy="Name the folders of predictions like the clips.",
        )
    files = list_files(folder, (".png",))
    match_names(clip.frames, files, folder, "prediction", DataError)
    ordered = tuple(files[f] for f in clip.frames)
    return Predictions(clip.name, clip.frames, Files(ordered, read, clip.read_size))


def has_predictions(root: str | Path, clip: Clip, *, flat: bool = True) -> bool:
    """Say whether a prediction folder knows a clip at all, in one of the forms of `read_predictions`."""
    root = Path(root)
    if (index_file := root / "pred.json").is_file():
        return clip.name in panoptic.read_index(index_file)
    return (root / clip.name).is_dir() or (flat and root.is_dir() and bool(list_files(root, (".png",))))

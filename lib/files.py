"""One file on disk becomes one array, or one clear error: the file, what was expected, what was found, the
remedy."""

import functools
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock, Timeout
from PIL import Image, ImageOps

logger = logging.getLogger(__name__)

VOID = 255  # "no class" in truths, "nothing predicted" in predictions
NO_CLASS = -1  # of a masklet that has none
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
# 16-bit and float pictures would be clipped
COLOUR_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")


class DataError(ValueError):
    """Input that is there but malformed."""


class DataMissingError(FileNotFoundError):
    """Input that is not there."""


def problem(kind: type[Exception], file: object, *, expected: str, found: str, remedy: str) -> Exception:
    """Build the one kind of message that data errors have."""
    return kind(f"{file}: expected {expected}, but found {found}. {remedy}")


def digest(path: str | Path) -> str:
    """Name a file by its content, 16 hexadecimal digits; it is read again only when its size or date
    change."""
    found = Path(path).stat()
    return _digest(Path(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def one_at_a_time(lock: str | Path) -> Iterator[None]:
    """Hold a lock file, so that of several processes that need the same result one computes it and the
    others find it; a killed process lets go."""
    Path(lock).parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process is at work there; waiting for it", lock)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _voc_palette() -> np.ndarray:
    """Spread the bits of each id over the high bits of red, green and blue, as the PASCAL VOC tools do."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _voc_palette()  # (256, 3) uint8
PALETTE.setflags(write=False)


def natural(name: str) -> tuple[str, str]:
    """Sort key that puts frame 2 before frame 10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(20), name), name


def list_files(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, str]:
    """List a folder's files by stem, in natural order; hidden files and other suffixes do not count.

    Returns: {stem: path}.
    Raises: DataMissingError if the folder is absent; DataError if two files share a stem.
    """
    if not Path(folder).is_dir():
        raise problem(
            DataMissingError,
            folder,
            expected=f"a folder of {'/'.join(suffixes)} files",
            found="no such folder",
            remedy="Check the path, or unpack the data set again.",
        )
    with os.scandir(folder) as entries:
        names = [
            e.name
            for e in entries
            if not e.name.startswith(".") and Path(e.name).suffix.lower() in suffixes and not e.is_dir()
        ]
    files: dict[str, str] = {}
    for name in sorted(names, key=natural):
        if (stem := Path(name).stem) in files:
            raise problem(
                DataError,
                Path(folder, name),
                expected="one file per frame",
                found=f"{Path(files[stem]).name} beside it",
                remedy="Remove one of the two.",
            )
        files[stem] = str(Path(folder, name))
    return files


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture; whatever goes wrong up to the end of decoding becomes one error about this file."""
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise problem(
            DataMissingError,
            path,
            expected="an image",
            found="no such file",
            remedy="Restore the file, or list the folder again.",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        # what Pillow raises for broken files
        raise problem(
            DataError,
            path,
            expected="a complete image",
            found=f"one that cannot be decoded ({error})",
            remedy="The file is truncated or damaged: copy or write it again.",
        ) from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a JPEG, 1 for anything else (asking a PNG would decode it)."""
    return image.getexif().get(0x0112, 1) if image.format in ("JPEG", "MPO") else 1


def image_size(path: str | Path) -> tuple[int, int]:
    """Read (H, W) from an image's header, as it is shown (a camera's rotation tag applied)."""
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture.

    Returns: (H, W, 3) uint8 RGB, a camera's rotation tag applied, alpha dropped.
    Raises: DataMissingError; DataError if it is damaged or has more than 8 bits a channel.
    """
    with _opened(path) as image:
        if image.mode not in COLOUR_MODES:
            raise problem(
                DataError,
                path,
                expected="an 8-bit picture",
                found=f"mode {image.mode}",
                remedy="Convert it to 8-bit RGB.",
            )
        shown = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
        return np.array(shown.convert("RGB"))


def read_png(path: str | Path, modes: tuple[str, ...], expected: str, remedy: str) -> tuple[np.ndarray, str]:
    """Read a PNG as stored (palette indices stay indices), refusing all Pillow modes but `modes`; returns
    (array, mode)."""
    with _opened(path) as image:
        if image.format != "PNG" or image.mode not in modes:
            raise problem(
                DataError,
                path,
                expected=expected,
                found=f"a {image.format} of mode {image.mode}",
                remedy=remedy,
            )
        mode, values = image.mode, np.array(image)
    if mode == "L":  # Pillow stretches 2- and 4-bit greys to 0..255; PNG optimisers write such files
        with open(path, "rb") as file:
            depth = file.read(25)[24]
        values //= 255 // (2**depth - 1)
    return values, mode


@functools.lru_cache(maxsize=16)
def _class_table(n_classes: int, first: int, voids: tuple[int, ...]) -> np.ndarray:
    """Map each stored value to a class id or VOID, and to 256 where it is out of range."""
    table = np.full(256, 256, np.uint16)
    table[first : first + n_classes] = np.arange(n_classes)
    table[list(voids)] = VOID
    return table


def read_label(
    path: str | Path, n_classes: int, *, first: int = 0, voids: tuple[int, ...] = (VOID,)
) -> np.ndarray:
    """Read a label map from a palette or grey PNG.

    Args: n_classes: 1..255; first: stored value of class 0; voids: stored values that mean no class.
    Returns: (H, W) uint8, class ids 0..n_classes-1 or VOID.
    Raises: DataMissingError; DataError if it is damaged, of another mode, or holds a value out of range.
    """
    raw, _ = read_png(
        path,
        ("P", "L", "1"),
        "a label map, one 8-bit palette or grey channel",
        "Store class ids, not colours: `lib.data.write_labels` writes such a file.",
    )
    classes = _class_table(n_classes, first, tuple(voids))[raw.astype(np.uint8)]
    if (classes > 255).any():
        bad = np.unique(raw[classes > 255])
        raise problem(
            DataError,
            path,
            expected=f"values {first}..{first + n_classes - 1} for classes and {'/'.join(map(str, voids))} for none",
            found=f"{(classes > 255).sum()} pixels with {', '.join(map(str, bad[:5]))}{' ...' if len(bad) > 5 else ''}",
            remedy="Check that the data set and its number of classes are the right ones, and where the numbering starts.",
        )
    return classes.astype(np.uint8)


def classes_in(labels: np.ndarray) -> np.ndarray:
    """List the class ids of a uint8 label map, ascending, without VOID."""
    # eight times faster than np.unique
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[:VOID])


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary name beside it, which takes its place at the
    end, or is removed if that is not reached.

    Folders are made as needed. The temporary name is hidden, so no folder of frames shows it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_labels(path: str | Path, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write a label map as an 8-bit palette PNG, whole or not at all.

    Args: labels: (H, W) uint8; palette: (256, 3) uint8 RGB, PALETTE when None.
    Raises: ValueError for another shape or dtype; whatever writing raises, with nothing left behind.
    """
    palette = PALETTE if palette is None else np.asarray(palette)
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise ValueError(
            f"{path}: expected `labels` to be (H, W) uint8, but got {labels.shape} {labels.dtype}. Cast class ids to uint8."
        )
    if palette.shape != (256, 3) or palette.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected `palette` to be (256, 3) uint8, but got {palette.shape} {palette.dtype}. Pad it to 256 rows."
        )
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(palette.tobytes())
    with replacing(path) as part:
        image.save(part, format="PNG")


def write_json(path: str | Path, result: dict) -> None:
    """Write a result as JSON, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Write arrays by name as npz, whole or not at all."""
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote; never unpickles."""
    with np.load(path, allow_pickle=False) as saved:
        return dict(saved)


class _Video:
    """An open video and the number of the frame it stands on."""

    def __init__(self, path: str):
        self.path, self.lock = path, threading.Lock()
        self.rewind()

    def rewind(self) -> None:
        self.capture, self.at = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG), -1

    def frame(self, i: int) -> np.ndarray | None:
        """Decode forward to frame i and return it as BGR; None if the video ends before."""
        if i < self.at:
            self.rewind()
        while self.at < i:
            if not self.capture.grab():
                self.rewind()  # what an exhausted capture still holds is not defined
                return None
            self.at += 1
        return self.capture.retrieve()[1]


@functools.lru_cache(maxsize=2)
def _video(path: str, modified: int, process: int) -> _Video:
    """Keep a video open between frames; a changed file and a forked process get their own."""
    return _Video(path)


def video_shape(path: str | Path) -> tuple[int, int, int]:
    """Count a video's frames by decoding it once (containers only estimate) and return (n_frames, H, W)."""
    if not Path(path).is_file():
        raise problem(
            DataMissingError, path, expected="a video", found="no such file", remedy="Check the path."
        )
    video = _Video(str(path))
    first = video.frame(0)
    if first is None:
        raise problem(
            DataError,
            path,
            expected="a video",
            found="no frame that can be decoded",
            remedy="The file is truncated or its codec is unknown: convert it to H.264 mp4, or to a folder of JPEG frames.",
        )
    claimed, n_frames = int(video.capture.get(cv2.CAP_PROP_FRAME_COUNT)), 1
    while video.capture.grab():
        n_frames += 1
    if n_frames < claimed:  # edit lists make this legitimate, truncation does not: say it and go on
        logger.warning(
            "%s: the container announces %d frames, %d can be decoded; the file may be truncated",
            path,
            claimed,
            n_frames,
        )
    return n_frames, *first.shape[:2]


def read_video_frame(path: str | Path, i: int) -> np.ndarray:
    """Read frame i of a video as (H, W, 3) uint8 RGB.

    In order it is one decode a frame. Backwards it starts again from frame 0: seeking by number is wrong for
        some codecs.
    """
    if not Path(path).is_file():
        raise problem(
            DataMissingError, path, expected="a video", found="no such file", remedy="Restore the file."
        )
    video = _video(str(path), os.stat(path).st_mtime_ns, os.getpid())
    with video.lock:
        frame = video.frame(i)
    if frame is None:
        raise problem(
            DataError,
            path,
            expected=f"frame {i}",
            found="a video that ends before it",
            remedy="The file has changed or is damaged: read it again.",
        )
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

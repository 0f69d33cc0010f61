"""One picture or label map on disk becomes one array, or one clear error."""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..config import VOID
from ..files import replacing
from .errors import DataError, DataMissingError, problem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# 16-bit and float pictures would be clipped
COLOUR_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")
LABEL_MODES = ("P", "L", "1")
LABEL_EXPECTED = "a label map, one 8-bit palette or grey channel"
LABEL_REMEDY = "Store class ids, not colours: `lib.clips.images.write_labels` writes such a file."


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


def image_header(path: str | Path) -> tuple[tuple[int, int], str, str]:
    """Read an image's header.

    Returns: ((H, W) as it is shown, a camera's rotation tag applied; Pillow's mode; its format).
    Raises: DataMissingError; DataError if it is no image.
    """
    with _opened(path) as image:
        width, height = image.size
        size = (width, height) if _orientation(image) >= 5 else (height, width)
        return size, image.mode, image.format


def image_size(path: str | Path) -> tuple[int, int]:
    """Read (H, W) from an image's header, as it is shown (a camera's rotation tag applied)."""
    return image_header(path)[0]


def check_picture(path: str | Path, mode: str) -> None:
    """Raise DataError for a picture whose channels have more than 8 bits, which would be clipped."""
    if mode not in COLOUR_MODES:
        raise problem(
            DataError,
            path,
            expected="an 8-bit picture",
            found=f"mode {mode}",
            remedy="Convert it to 8-bit RGB.",
        )


def check_mode(
    path: str | Path,
    form: str,
    mode: str,
    modes: tuple[str, ...],
    expected: str = LABEL_EXPECTED,
    remedy: str = LABEL_REMEDY,
) -> None:
    """Raise DataError for what is no PNG of one of `modes`; by default, for what is no label map."""
    if form != "PNG" or mode not in modes:
        raise problem(DataError, path, expected=expected, found=f"a {form} of mode {mode}", remedy=remedy)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture.

    Returns: (H, W, 3) uint8 RGB, a camera's rotation tag applied, alpha dropped.
    Raises: DataMissingError; DataError if it is damaged or has more than 8 bits a channel.
    """
    with _opened(path) as image:
        check_picture(path, image.mode)
        shown = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
        return np.array(shown.convert("RGB"))


def read_png(path: str | Path, modes: tuple[str, ...], expected: str, remedy: str) -> tuple[np.ndarray, str]:
    """Read a PNG as stored (palette indices stay indices), refusing all Pillow modes but `modes`; returns
    (array, mode)."""
    with _opened(path) as image:
        check_mode(path, image.format, image.mode, modes, expected, remedy)
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
    raw, _ = read_png(path, LABEL_MODES, LABEL_EXPECTED, LABEL_REMEDY)
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

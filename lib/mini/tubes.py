"""Panoptic videos as VIPSeg and DVIS keep them: RGB PNGs whose colours are segment ids, and a JSON that
says what each id is."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..clips.datasets import VSPW_CLASSES
from ..clips.images import PALETTE
from ..config import VOID

# of the drawn classes those that VIPSeg tells apart by instance; the others are stuff, one segment a class
THINGS = ("car", "person", "ball")


class Tubes:
    """The segments of one clip, numbered from 1: each has one class and one colour in all frames. Number 0
    is void, and black.

    A class has its colour; further tubes of it take random ones near it, none twice, so that a colour alone
    does not tell the class.
    Source: IdGenerator of panopticapi.
    """

    def __init__(self):
        self.classes, self.ids = [VOID], [0]

    def new(self, class_id: int) -> int:
        """Begin a tube; returns its number."""
        rng, base = np.random.default_rng(len(self.ids)), PALETTE[class_id + 1].astype(int)
        colour = base
        while (segment := _id(colour)) in self.ids:
            colour = np.clip(base + rng.integers(-90, 91, 3), 0, 255)
        self.classes.append(class_id)
        self.ids.append(segment)
        return len(self.ids) - 1

    def write(self, path: str | Path, numbers: np.ndarray) -> list[dict]:
        """Write one frame, (H, W) tube numbers, as RGB PNG; returns its `segments_info`: id, category_id,
        iscrowd, bbox [x, y, w, h], area in pixels."""
        # lowest byte first: red
        rgb = np.array(self.ids, "<u4")[numbers].view(np.uint8).reshape(*numbers.shape, 4)[..., :3]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(rgb)).save(path, compress_level=1)
        found = []
        for n in np.flatnonzero(np.bincount(numbers.ravel())):
            if n > 0:
                mask = (numbers == n).view(np.uint8)
                entry = {
                    "id": self.ids[n],
                    "category_id": self.classes[n],
                    "iscrowd": 0,
                    "bbox": list(cv2.boundingRect(mask)),
                    "area": cv2.countNonZero(mask),
                }
                found.append(entry)
        return found


def categories(classes: list[int]) -> list[dict]:
    """Describe classes as a panoptic JSON does."""
    return [
        {
            "id": c,
            "name": VSPW_CLASSES[c],
            "isthing": int(VSPW_CLASSES[c] in THINGS),
            "color": PALETTE[c + 1].tolist(),
        }
        for c in classes
    ]


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill and put it in the place of `folder` at the end, so that what stands
    there is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        part = Path(temporary, folder.name)
        part.mkdir()
        yield part
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # another process was faster, with the same content
                raise


def _id(colour: np.ndarray) -> int:
    """Return the number of an RGB colour. Source: panopticapi's rgb2id."""
    return int(colour[0] + 256 * colour[1] + 65536 * colour[2])

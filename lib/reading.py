"""How the frames of a clip are read one at a time: from files, or kept once read; and what was read, to be
hashed."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.files import DataError, problem

if TYPE_CHECKING:
    from lib.data import Clip


class Remembered:
    """Reads each label map of a clip once and keeps it, read-only; a copy sent to another process starts
    empty."""

    def __init__(self, read: Callable[[int], np.ndarray]):
        self.read, self.kept = read, {}

    def __call__(self, i: int) -> np.ndarray:
        if i not in self.kept:
            labels = self.read(i)
            labels.flags.writeable = False
            self.kept[i] = labels
        return self.kept[i]

    def __reduce__(self):
        return Remembered, (self.read,)


@dataclass(frozen=True)
class Files:
    """Reads file i of a clip and holds it to the clip's size."""

    paths: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    size: Callable[[], tuple[int, int]]

    def __call__(self, i: int) -> np.ndarray:
        array = self.read(self.paths[i])
        if array.shape[:2] != (expected := self.size()):
            raise problem(
                DataError,
                self.paths[i],
                expected=f"{expected[0]}x{expected[1]} (height x width), the size of the clip's first frame",
                found=f"{array.shape[0]}x{array.shape[1]}",
                remedy="Resize it (pictures bilinear, labels nearest), or remove it if it does not belong here.",
            )
        return array


def what_is_read(read: Callable[[int], np.ndarray], n: int) -> Iterator[bytes | np.ndarray]:
    """What frames 0..n-1 are, to be hashed. Of files: how they are read, and their bytes, which takes a
    fraction of the time of decoding them."""
    read = read.read if isinstance(read, Remembered) else read
    if not isinstance(read, Files):
        yield from (np.ascontiguousarray(read(i)) for i in range(n))
        return
    how = read.read if isinstance(read.read, partial) else partial(read.read)
    yield repr((how.func.__name__, how.args, sorted(how.keywords.items()))).encode()
    yield from (Path(path).read_bytes() for path in read.paths)


@cache
def fingerprint(clip: "Clip") -> str:
    """Name the frames by content, so that a cache never serves other frames under an old name; read once
    per clip and process."""
    digest = hashlib.sha256(json.dumps([clip.name, clip.frames, clip.size]).encode())
    for frame in what_is_read(clip.read_image, len(clip)):
        digest.update(frame)
    return digest.hexdigest()[:16]

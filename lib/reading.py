"""How the frames of a clip are read one at a time: from files, or kept once read; and what was read, to be hashed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lib.files import DataError, problem


class Remembered:
    """Reads each label map of a clip once and keeps it, read-only; a copy sent to another process starts empty."""

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
            raise problem(DataError, self.paths[i], expected=f"{expected[0]}x{expected[1]} (height x width), the size of the clip's first frame",
                          found=f"{array.shape[0]}x{array.shape[1]}",
                          remedy="Resize it (pictures bilinear, labels nearest), or remove it if it does not belong here.")
        return array


def what_is_read(read: Callable[[int], np.ndarray], n: int) -> Iterator[bytes | np.ndarray]:
    """What frames 0..n-1 are, to be hashed. Of files: how they are read, and their bytes, which takes a fraction of the time of decoding them."""
    read = read.read if isinstance(read, Remembered) else read
    if not isinstance(read, Files):
        yield from (np.ascontiguousarray(read(i)) for i in range(n))
        return
    how = read.read if isinstance(read.read, partial) else partial(read.read)
    yield repr((how.func.__name__, how.args, sorted(how.keywords.items()))).encode()
    yield from (Path(path).read_bytes() for path in read.paths)

"""A clip, its frames and its labels: read one at a time when asked for, checked then, and named by content."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from .errors import DataMissingError, problem, size_problem


@dataclass(frozen=True)
class Clip:
    """One video clip, read frame by frame when asked; it holds no pixels and can be pickled."""

    name: str
    frames: tuple[str, ...]  # frame names (file stems), in order
    read_size: Callable[[], tuple[int, int]] = field(repr=False)
    read_image: Callable[[int], np.ndarray] = field(repr=False)
    read_truth: Callable[[int], np.ndarray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the first frame, which every frame and label must have."""
        return self.read_size()

    @property
    def has_truth(self) -> bool:
        return self.read_truth is not None

    def image(self, i: int) -> np.ndarray:
        """Read frame i: (H, W, 3) uint8 RGB. Raises: DataError, DataMissingError, IndexError."""
        return self.read_image(range(len(self))[i])

    def truth(self, i: int) -> np.ndarray:
        """Read the label of frame i: (H, W) uint8, class ids or VOID. Raises: DataError, DataMissingError,
        IndexError."""
        if self.read_truth is None:
            raise problem(
                DataMissingError,
                f"clip {self.name}",
                expected="labels",
                found="frames alone",
                remedy="Use a split that has labels.",
            )
        return self.read_truth(range(len(self))[i])


@dataclass(frozen=True)
class Dataset:
    """The clips of one split."""

    name: str
    split: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for one clip: p[i] is (H, W) uint8, class ids or 255 where it predicts
    nothing."""

    name: str
    frames: tuple[str, ...]
    read: Callable[[int], np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.read(range(len(self))[i])


class Remembered:
    """Reads each label map of a clip once and caches it, read-only; a copy sent to another process starts
    empty."""

    def __init__(self, read: Callable[[int], np.ndarray]):
        self.read, self.cached = read, {}

    def __call__(self, i: int) -> np.ndarray:
        """Return the label map of frame i."""
        if i not in self.cached:
            labels = self.read(i)
            labels.flags.writeable = False
            self.cached[i] = labels
        return self.cached[i]

    def __reduce__(self):
        return Remembered, (self.read,)


@dataclass(frozen=True)
class Files:
    """Reads file i of a clip and refuses another size than the clip's."""

    paths: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    size: Callable[[], tuple[int, int]]

    def __call__(self, i: int) -> np.ndarray:
        array = self.read(self.paths[i])
        if array.shape[:2] != (expected := self.size()):
            raise size_problem(self.paths[i], expected, array.shape[:2])
        return array


def what_is_read(read: Callable[[int], np.ndarray], n: int) -> Iterator[bytes | np.ndarray]:
    """Yield what frames 0..n-1 are, to be hashed. Of files: how they are read, and their bytes, which takes
    a fraction of the time of decoding them."""
    read = read.read if isinstance(read, Remembered) else read
    if not isinstance(read, Files):
        yield from (np.ascontiguousarray(read(i)) for i in range(n))
        return
    how = read.read if isinstance(read.read, partial) else partial(read.read)
    yield repr((how.func.__name__, how.args, sorted(how.keywords.items()))).encode()
    yield from (Path(path).read_bytes() for path in read.paths)


@cache
def fingerprint(clip: "Clip") -> str:
    """Return a name of the frames by their content, so that a cache never serves other frames under an old
    name; read once per clip and process."""
    digest = hashlib.sha256(json.dumps([clip.name, clip.frames, clip.size]).encode())
    for frame in what_is_read(clip.read_image, len(clip)):
        digest.update(frame)
    return digest.hexdigest()[:16]

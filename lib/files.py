"""Files written whole or not at all, named by content, and locked while one process works on them."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


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

"""What a clip's files hold, as short digests for the record beside a result. Files that did not change are not
read twice: what was read is remembered in the cache, by size and time of change."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .. import paths
from ..files import write_json
from .clip import Clip, Files, Predictions, Remembered, fingerprint
from .video import read_video_frame

log = logging.getLogger(__name__)

# A file that changed so shortly before it was read may change again within the same tick of the clock.
FRESH_NS = 2_000_000_000


def digests(files: Sequence[str | Path]) -> list[str]:
    """Return each file's digest, 16 hexadecimal digits of its SHA-256.

    A file is read only if its size, its time of change or its place differ from those when it was read last.
    """
    files = [Path(os.path.abspath(file)) for file in files]
    known = {folder: _remembered(folder) for folder in {file.parent for file in files}}
    changed, result = set(), []
    for file in files:
        stat, now = file.stat(), time.time_ns()
        # the inode's own time too: a copy that keeps the date of its original is another file
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        *then, name = known[file.parent].get(file.name, [None])
        if then != state:
            with open(file, "rb") as opened:
                name = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
            if now - max(state[1:]) > FRESH_NS:
                known[file.parent][file.name] = [*state, name]
                changed.add(file.parent)
        result.append(name)
    for folder in changed:
        write_json(_memory(folder), {"folder": str(folder), "files": known[folder]})
    return result


def _memory(folder: Path) -> Path:
    """The file in the cache that remembers a folder's digests."""
    return paths.CACHE / "digests" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}.json"


def _remembered(folder: Path) -> dict[str, list]:
    try:
        return json.loads(_memory(folder).read_text())["files"]
    except (OSError, ValueError, LookupError):  # a cache is never needed
        return {}


def frames_digest(clip: Clip) -> str:
    """Name a clip's frames by content: their names, their order and the bytes of their files."""
    read = clip.read_image
    if isinstance(read, Files):
        return _joined([clip.frames, digests(read.paths)])
    if isinstance(read, partial) and read.func is read_video_frame:
        return _joined([clip.frames, digests(read.args)])
    return fingerprint(clip)


def predictions_digest(predictions: Predictions) -> str:
    """Name a clip's predictions by content; of panoptic ones, the classes of their segments too."""
    read = predictions.read.read if isinstance(predictions.read, Remembered) else predictions.read
    if not isinstance(read, Files):
        every = hashlib.sha256()
        for i in range(len(predictions)):
            every.update(predictions[i].tobytes())
        return _joined([predictions.frames, every.hexdigest()])
    segments = read.read.keywords.get("segments") if isinstance(read.read, partial) else None
    return _joined([predictions.frames, digests(read.paths), segments])


def _joined(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

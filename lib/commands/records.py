"""The record beside results: what they were made of. It tells results that can stay from those that are stale."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import paths
from ..clips.errors import DataError, problem
from ..files import one_at_a_time, write_json

NAMES = {"weights": "weights", "version": "version of the code", "scope": "vote"}  # a key in a reader's words


@dataclass
class Record:
    """What the results in one folder are made of: one JSON file beside them.

    The file holds what is common to all clips, and under "clips" what each was made of and whether it is done.
    """

    path: Path
    common: dict  # settings and digests that all clips share
    clips: dict[str, dict]  # of this run: clip -> digests of what is its own
    there: Callable[[str], bool]  # whether the folder holds any result of a clip
    overwrite: bool = False
    ignored: tuple[str, ...] = ("checkpoint", "model")  # names: the digest of the weights decides
    _found: dict | None = field(default=None, init=False)
    _broken: str = field(default="", init=False)

    def __post_init__(self):
        self.common = json.loads(json.dumps(self.common))  # as they come back from the file: no tuples
        try:
            self._found = _read(self.path)
        except ValueError as error:
            self._broken = str(error)

    def differences(self) -> list[str]:
        """Say in words where the folder's results differ from those that this run would make; [] for
        nowhere."""
        if self._broken:
            return [f"a record that cannot be read ({self._broken})"]
        unknown = [name for name in self.clips if name not in self._entries and self.there(name)]
        nothing_known = f"results of {_counted(unknown)} that no record says the making of" if unknown else ""
        if self._found is None:
            return [nothing_known] if unknown else []
        if "clips" not in self._found:
            return ["results of an earlier version of this program, which kept no digests of its inputs"]
        # what is common says nothing of a folder without results, as a run that failed at once leaves it
        results = any(entry.get("done") for entry in self._entries.values()) or any(
            self.there(name) for name in {**self._entries, **self.clips}
        )
        words = [self._in_words(key) for key in self._differing()] if results else []
        kinds = {kind for entry in self.clips.values() for kind in entry}
        for kind in sorted(kinds):
            others = [
                name
                for name, own in self.clips.items()
                if self.there(name)
                and name in self._entries
                and self._entries[name].get(kind) != own.get(kind)
            ]
            if others:
                words.append(f"other {kind} of {_counted(others)}")
        return words + ([nothing_known] if unknown else [])

    def stale(self) -> list[str]:
        """List the clips of this run whose results are there but cannot stay."""
        return [name for name in self.clips if self.there(name) and not self._same(name)]

    def left_behind(self) -> list[str]:
        """List the clips that this run does not have, whose results would become stale by writing others."""
        return [name for name in self._entries if name not in self.clips] if self._differing() else []

    def done(self, name: str) -> bool:
        """Say whether a clip's results are those that this run would make, and complete."""
        return self._same(name) and self._entries[name].get("done", False)

    def write(self, name: str, done: bool) -> None:
        """Record a clip of this run, before its first result is written and after the last.

        Entries that other processes wrote since are kept. Entries made otherwise go: `overwrite` was checked.
        """
        key = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16]
        with one_at_a_time(paths.CACHE / "locks" / f"{key}.lock"):
            try:
                self._found, self._broken = _read(self.path), ""
            except ValueError:
                self._found = None
            if self.differences() and not self.overwrite:
                raise refusal([self])  # another process made others there meanwhile
            kept = {n: e for n, e in self._entries.items() if n not in self.clips or self._same(n)}
            if self._differing():
                kept = {}
            kept[name] = {**self.clips[name], "done": done}
            self._found = {**self.common, "clips": dict(sorted(kept.items()))}
            write_json(self.path, self._found)

    @property
    def _entries(self) -> dict[str, dict]:
        return (self._found or {}).get("clips", {})

    def _differing(self) -> list[str]:
        """Keys of what is common in which the folder's record differs; none if it holds no record."""
        if not self._found:
            return []
        keys = {**self.common, **{k: 0 for k in self._found if k != "clips"}}
        return [k for k in keys if k not in self.ignored and self._found.get(k) != self.common.get(k)]

    def _same(self, name: str) -> bool:
        entry = self._entries.get(name)
        return (
            entry is not None
            and not self._differing()
            and all(entry.get(kind) == value for kind, value in self.clips[name].items())
        )

    def _in_words(self, key: str) -> str:
        was, now = (record.get(key, "not set") for record in (self._found, self.common))
        if key == "weights":
            before, after = (
                next((record[k] for k in self.ignored if k in record), "?")
                for record in (self._found, self.common)
            )
            return f"other weights (of {before}, digest {was}; now {after}, digest {now})"
        return f"another {NAMES.get(key, key)} ({was}; now {now})"


def recorded(path: Path, key: str) -> str:
    """Return one entry of a record that may not be there; "" for none. A damaged record is `compare`'s to
    report."""
    try:
        return str((_read(path) or {}).get(key, ""))
    except ValueError:
        return ""


def _read(path: Path) -> dict | None:
    """Read a record; None if there is none. Raises: ValueError if it is damaged."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("clips", {}), dict):
        raise ValueError("no record")
    return found


def refusal(records: Sequence[Record]) -> Exception:
    """Build the one message for folders that hold results made otherwise."""
    differing = [record for record in records if record.differences()]
    found = "; and in ".join(
        (f"{record.path.parent}: " if i else "") + "; ".join(record.differences())
        for i, record in enumerate(differing)
    )
    return problem(
        DataError,
        differing[0].path,
        expected="results of the same inputs, weights, settings and code",
        found=found,
        remedy="Add --overwrite to replace what differs, or choose another folder.",
    )


def compare(records: Sequence[Record]) -> None:
    """Refuse folders that hold results made otherwise, unless those are to be overwritten.

    Raises: DataError, naming all that differs; also if overwriting would leave results of two kinds in a folder.
    """
    for record in records:
        if record.overwrite and (left := record.left_behind()):
            raise problem(
                DataError,
                record.path,
                expected="--overwrite to replace all results of the folder",
                found=f"{_counted(left)} that this run does not have: {'; '.join(record.differences())}",
                remedy="Choose another folder, or delete this one.",
            )
    if any(record.differences() and not record.overwrite for record in records):
        raise refusal(records)


def _counted(names: Sequence[str]) -> str:
    """Count clips and name the first three: "5 clips (a, b, c ...)"."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} clip{'s' * (len(names) != 1)} ({shown})"

"""What a result came from: code, versions, machine, parameters, inputs."""

import ctypes
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..clips.errors import DataMissingError, problem
from ..paths import ROOT


def _git(*arguments: str) -> str | None:
    """Ask git about the project; None if there is no git, or the project is no checkout of its own."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    """Look up an installed version without importing the package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _may_have_gpu() -> bool:
    """Say whether the driver of a GPU is there: to ask torch takes seconds where it is not loaded, in each
    of ten notebooks."""
    if "torch" in sys.modules or Path("/dev/kfd").exists():
        return True
    try:
        return bool(ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1"))
    except OSError:
        return False


def device() -> str:
    """Name the GPU, or the processor where there is none."""
    if _may_have_gpu():
        try:
            import torch  # here, because a report can be read and written without it

            if torch.cuda.is_available():
                return torch.cuda.get_device_name(0)
        except ImportError:
            pass
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return model[1] if model else platform.processor() or platform.machine()


def _digest(path: Path) -> str:
    """Take the sha256 of a file; of a folder, that of its sorted lines "<sha256 of a file>  <relative
    path>"."""
    if path.is_dir():
        files = sorted(
            (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()
        )
        return hashlib.sha256(
            "".join(f"{_digest(file)}  {name}\n" for name, file in files).encode()
        ).hexdigest()
    if not path.is_file():
        raise problem(
            DataMissingError,
            path,
            expected="an input of this report",
            found="no such file",
            remedy="Name what was read.",
        )
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(
    profile: str, parameters: Mapping, inputs: Iterable[str | Path], seconds: Mapping[str, float]
) -> dict:
    """Record what a result came from.

    Args: parameters: of the notebook, values that JSON can hold; inputs: files or folders that were read;
        seconds: {stage: seconds}.
    Returns: a dict that JSON can hold: profile; date (UTC); commit, and dirty if files other than reports and
        results of benchmarks differ from it (both None outside git); versions; device; cpu_count; parameters;
        inputs {path: sha256}, relative to the project where inside; seconds.
    Raises: DataMissingError for an input that is not there.
    """
    commit = dirty = None
    if (top := _git("rev-parse", "--show-toplevel")) and Path(top).resolve() == ROOT:
        commit, changes = (
            _git("rev-parse", "HEAD"),
            _git("status", "--porcelain", "--", ".", ":(exclude)reports", ":(exclude)benchmarks/results"),
        )
        dirty = None if changes is None else bool(changes)
    digests = {}
    for path in map(Path, inputs):
        inside = path.resolve().is_relative_to(ROOT)
        digests[path.resolve().relative_to(ROOT).as_posix() if inside else str(path)] = _digest(path)
    return {
        "profile": profile,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "numpy", "sam2")},
        },
        "device": device(),
        "cpu_count": os.cpu_count(),
        "parameters": dict(parameters),
        "inputs": digests,
        "seconds": {stage: round(float(value), 3) for stage, value in seconds.items()},
    }

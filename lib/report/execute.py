"""One notebook, executed with papermill into another file or into a report folder, which a failed run leaves as
it was."""

import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill

from .. import paths
from ..paths import ROOT
from ..progress import quiet
from .notebooks import KERNEL, strip

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300  # for a kernel on a busy machine
NO_ANSWER = re.compile(
    "Kernel didn't respond in"
)  # of nbclient, seen once in some hundred starts side by side


@contextmanager
def runners_world(reports: Path) -> Iterator[None]:
    """Give kernels the runner's own Python, `lib` and folders, and keep Jupyter's and the debugger's
    warnings out of outputs."""
    python_path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    values = {
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or a warning about frozen modules
        "JUPYTER_PLATFORM_DIRS": "1",  # or a deprecation warning
        "JUPYTER_PREFER_ENV_PATH": "1",  # or a python3 kernel in the user's home comes first
        "PYTHONPATH": os.pathsep.join(python_path),
        "SAM2VSS_REPORTS": str(reports),
        "SAM2VSS_DATA": str(paths.DATA.resolve()),  # kernels have another working directory
        "SAM2VSS_CACHE": str(paths.CACHE.resolve()),
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def execute(path: Path, output: Path, cwd: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook into another file; if a cell fails, that file shows where. A kernel that never answers
    when it is started, before any cell has run, is started once more."""
    logger.info("%s: started", path.name)
    try:
        _run_cells(path, output, cwd, parameters)
    except RuntimeError as error:
        if not NO_ANSWER.match(str(error)):
            raise
        logger.warning("%s: %s; starting another", path.name, error)
        _run_cells(path, output, cwd, parameters)
    notebook = nbformat.read(output, as_version=4)
    if any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", [])):
        raise RuntimeError("stopped before its end by sys.exit")  # papermill lets an exit without a code pass
    nbformat.write(strip(notebook), output)
    logger.info("%s: done", path.name)


def _run_cells(path: Path, output: Path, cwd: Path, parameters: Mapping[str, Any]) -> None:
    papermill.execute_notebook(
        # papermill formats paths
        *(str(name).replace("{", "{{").replace("}", "}}") for name in (path, output)),
        parameters=dict(parameters),
        kernel_name=KERNEL["name"],
        cwd=str(cwd),
        start_timeout=START_TIMEOUT_S,
        progress_bar=False if quiet() else {"desc": path.stem},
        coalesce_streams=True,
        # or the kernel logs its transport at every start and, now and then, the interrupt that ends it
        extra_arguments=["--log-level=CRITICAL"],
    )


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of an earlier one, whole, so that no two runs mix."""
    old = new.with_suffix(".old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def execute_into(path: Path, folder: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook into a report folder, which is replaced on success and gets failed.ipynb
    otherwise."""
    part = folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.part")
    part.mkdir(parents=True)
    executed = part / "notebook.ipynb"
    try:
        # The working directory is the report itself and `out` is ".": no path of this machine gets into the
        # saved notebook.
        execute(path, executed, part, {**parameters, "out": "."})
        replace_folder(part, folder)
    except Exception:
        if executed.exists():
            folder.mkdir(exist_ok=True)
            os.replace(executed, folder / "failed.ipynb")
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the half-written reports of runs that were killed on this machine."""
    if os.name != "posix":  # elsewhere one cannot ask like this
        return
    for part in folder.glob(f".*.{socket.gethostname()}-*.part"):
        try:
            os.kill(int(part.stem.rpartition("-")[2]), 0)  # signal 0 only asks whether the process is there
        except ProcessLookupError:
            shutil.rmtree(part, ignore_errors=True)
        except (OSError, ValueError):  # somebody else's
            continue

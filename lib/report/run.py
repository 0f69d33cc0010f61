"""Run the notebooks with papermill: each into its report folder, which a failed run leaves as it was."""

import logging
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from ..clips.errors import DataMissingError, problem
from ..files import replacing
from ..paths import REPORTS, ROOT
from ..study.profiles import PROFILES
from ..workers import end_with_parent
from .execute import execute, execute_into, runners_world, sweep
from .html import write_page
from .notebooks import INJECTED, check_parameters, find_notebooks, read_parameters, report_folder
from .pages import profile_readme

logger = logging.getLogger(__name__)


class RunError(RuntimeError):
    """Some notebooks failed; the message names them."""


def _attempt(work: Callable[[Path], None], path: Path) -> str:
    """Do the work for a notebook, whatever happens; return the line of its failure, or nothing."""
    try:
        work(path)
        return ""
    except Exception as error:  # whatever a notebook or its kernel raises is that notebook's failure
        name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
        logger.error("%s: %s: %s", path.name, name, text)  # now: the others may take hours
        return f"{path.name}: {name}: {text}"


def _begin(level: int, threads: int) -> None:
    """Let a worker process log as its parent does, and end with it; torch's threads in the kernels that it
    starts are so many (0: as many as there are cores) and do not spin while they wait, which would take
    the processor from the notebook beside."""
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("lib").setLevel(level)
    end_with_parent()


def _threads(profile: str, checkpoint: str, jobs: int) -> int:
    """Share the cores between notebooks that run side by side where SAM 2 is the micro one; a released
    model takes all of them while the others wait."""
    sam = checkpoint or (PROFILES[profile].sam if profile in PROFILES else "")
    return max(1, os.cpu_count() // jobs) if sam == "micro" else 0


def _each(chosen: Sequence[Path], work: Callable[[Path], None], jobs: int, threads: int) -> list[str]:
    """Do the work for every notebook; return a line for each failure.

    Notebooks run `jobs` at a time, started in their order, each in a process of its own, as papermill changes
    the working directory of a whole process. Those that measure time, which their metadata say, run alone at
    the end.
    """
    timed = [path for path in chosen if nbformat.read(path, as_version=4).metadata.get("timed")]
    others = [path for path in chosen if path not in timed]
    lines = []
    if jobs > 1 and len(others) > 1:
        with ProcessPoolExecutor(
            min(jobs, len(others)),
            multiprocessing.get_context("spawn"),
            _begin,
            (logging.getLogger("lib").level, threads),
        ) as executor:
            begun = {path: executor.submit(_attempt, work, path) for path in others}
            for path, outcome in begun.items():
                try:
                    lines.append(outcome.result())
                except BrokenProcessPool:
                    lines.append(
                        f"{path.name}: not finished, as its process or the one beside it was killed, perhaps for want of memory: try --jobs 1"
                    )
    else:
        timed = list(chosen)
    lines += [_attempt(work, path) for path in timed]
    return [line for line in lines if line]


def _run_one(folder: Path, parameters: Mapping[Path, Mapping[str, Any]], path: Path) -> None:
    execute_into(path, folder / report_folder(path), parameters[path])


def run(
    profile: str,
    tables: Sequence[int | str] | None = None,
    data: str | Path = "",
    parameters: Mapping[str, Any] | None = None,
    notebooks: str | Path = ROOT / "notebooks",
    reports: str | Path = REPORTS,
    jobs: int = 2,
) -> list[Path]:
    """Execute the notebooks on a profile, started in the order of their numbers, each into
    reports/<profile>/<report folder>.

    Args:
        profile: name of a profile, injected as `profile`.
        tables: numbers of the notebooks; None for all.
        data: the user's data folder, injected as an absolute path; "" for the profile's own.
        parameters: {name: JSON scalar or list}, given to the notebooks that know the name.
        notebooks, reports: the folders to read from and to write to.
        jobs: notebooks at a time. What two of them need is computed by one, for which the other waits.

    Returns: the report folders. Each holds notebook.ipynb as executed and what the notebook wrote to `out`,
        its working directory.

    Raises:
        ValueError: a parameter that no chosen notebook knows or JSON cannot hold, a number without notebook,
            a profile that is no
            plain name. DataMissingError: `data` or the notebooks are not there. Nothing has run then.
        RunError: some notebooks failed. The others have run; a failed one left its report as it was, with
            failed.ipynb beside it.
    """
    if not re.fullmatch(r"\w[\w-]*", profile):
        raise ValueError(f"Expected `profile` to be a plain name such as mini, but got {profile!r}.")
    known = {path: read_parameters(path) for path in find_notebooks(Path(notebooks).resolve(), tables)}
    given = dict(parameters or {})
    check_parameters(given, known)
    if str(data) and not Path(data).expanduser().exists():
        raise problem(
            DataMissingError,
            data,
            expected="a data folder",
            found="no such path",
            remedy="Check the path given as data.",
        )
    folder = Path(reports).resolve() / profile
    base = {"profile": profile, "data": str(Path(data).expanduser().resolve()) if str(data) else ""}
    values = {
        path: {**base, **{name: given[name] for name in given if name in known[path]}} for path in known
    }
    sweep(folder)
    with runners_world(folder.parent):
        failures = _each(
            list(known),
            partial(_run_one, folder, values),
            jobs,
            _threads(profile, given.get("checkpoint", ""), jobs),
        )
    profile_readme(folder)
    write_page(folder)
    if failures:
        what = f"{len(failures)} of {len(known)} notebooks failed; see failed.ipynb in their folders in {folder}:"
        raise RunError("\n".join([what, *failures]))
    return [folder / report_folder(path) for path in known]


def _refresh_one(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder, path.name)
        execute(path, executed, path.parent, {})
        with replacing(path) as part:
            shutil.copyfile(executed, part)


def refresh(
    notebooks: str | Path = ROOT / "notebooks", tables: Sequence[int | str] | None = None, jobs: int = 2
) -> list[Path]:
    """Execute the notebooks in place with their default parameters, so that the outputs kept in them are
    fresh.

    Args: as for `run`.
    Returns: the notebooks, rewritten with outputs and execution counts, without times.
    Raises: ValueError if a default is not `profile = "mini"`, `data = ""`, `out = ""`; RunError naming those
        that failed, which are as before.
    """
    chosen = find_notebooks(Path(notebooks).resolve(), tables)
    for path in chosen:
        defaults = read_parameters(path)
        if tuple(map(defaults.get, INJECTED)) != ("mini", "", ""):
            raise ValueError(
                f'{path}: expected the defaults `profile = "mini"`, `data = ""` and `out = ""`, but found {defaults}.'
            )
    with runners_world(REPORTS.resolve()):
        failures = _each(chosen, _refresh_one, jobs, _threads("mini", "", jobs))
    if failures:
        raise RunError(
            "\n".join([f"{len(failures)} of {len(chosen)} notebooks failed and are as before:", *failures])
        )
    return chosen

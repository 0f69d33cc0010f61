"""Notebooks as files: finding them, reading and checking their parameters, and leaving out of them what
differs from run to run."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from ..clips.errors import DataMissingError, problem

INJECTED = ("profile", "data", "out")  # every notebook declares them; the runner sets them
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def find_notebooks(notebooks: str | Path, tables: Sequence[int | str] | None = None) -> list[Path]:
    """Find the notebooks NN_name.ipynb of a folder, in the order of their numbers.

    Args: tables: the numbers wanted (1, "1" and "01" are the same); None for all.
    Raises: DataMissingError if the folder has none; ValueError for a number that none has, or that two have.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        if number := re.match(r"(\d\d)_", path.name):
            if (other := found.setdefault(int(number[1]), path)) != path:
                raise ValueError(
                    f"Expected one notebook per number, but {other.name} and {path.name} share one. Rename one of them."
                )
    if not found:
        raise problem(
            DataMissingError,
            notebooks,
            expected="notebooks NN_name.ipynb",
            found="none",
            remedy="Check the path.",
        )
    if tables is None:
        return list(found.values())
    absent = [number for number in tables if not str(number).isdecimal() or int(number) not in found]
    if absent:
        raise ValueError(
            f"No notebook has the number {', '.join(map(str, absent))}; there are {', '.join(p.stem for p in found.values())}."
        )
    wanted = {int(number) for number in tables}
    return [path for number, path in found.items() if number in wanted]


def read_parameters(path: str | Path) -> dict[str, Any]:
    """Read the names and default values of a notebook's parameters cell.

    Raises: ValueError unless one cell, the first of code, has the tag `parameters` and holds only assignments
        of literals: papermill injects after it, so that a value derived inside it would be stale.
    """
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    tagged = [i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    if tagged != [0]:
        raise ValueError(
            f"{path}: expected the tag `parameters` on the first code cell alone, but found it on {tagged} of {len(cells)} cells."
        )
    values = {}
    try:
        for line in ast.parse(cells[0].source).body:
            (target,) = line.targets
            values[target.id] = ast.literal_eval(line.value)
    except (AttributeError, ValueError, SyntaxError) as error:
        found = error.text if isinstance(error, SyntaxError) else ast.unparse(line)
        raise ValueError(
            f"{path}: expected `name = literal` on each line of the parameters cell, but found `{found}`."
        ) from None
    return values


def is_json(value: Any) -> bool:
    """Tell a finite scalar or a list of such from what papermill would garble: tuples, paths, numpy
    scalars, dicts."""
    if type(value) is list:
        return all(is_json(item) for item in value)
    return value is None or type(value) in (bool, int, str) or type(value) is float and math.isfinite(value)


def check_parameters(given: Mapping[str, Any], known: Mapping[Path, dict[str, Any]]) -> None:
    """Refuse notebooks that lack the runner's parameters, and user parameters that no notebook has or JSON
    cannot hold."""
    for path, names in known.items():
        if lacking := [name for name in INJECTED if name not in names]:
            raise ValueError(
                f"{path}: expected the parameters {', '.join(INJECTED)}, but {', '.join(lacking)} is not among {list(names)}."
            )
    free = sorted({name for names in known.values() for name in names} - set(INJECTED))
    if unknown := [name for name in given if name not in free]:
        raise ValueError(
            f"Unknown parameter {', '.join(map(str, unknown))}. Known to the chosen notebooks are: {', '.join(free) or 'none'}."
        )
    for name, value in given.items():
        if not is_json(value):
            raise ValueError(
                f"Expected parameter `{name}` to be a JSON scalar or list, but got {type(value).__name__} {value!r}."
            )


def report_folder(path: str | Path) -> str:
    """Name the report folder of a notebook: table1 to table7 for 01 to 07, else its name without the
    number."""
    number, _, name = Path(path).stem.partition("_")
    return f"table{int(number)}" if 1 <= int(number) <= 7 else name


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs from run to run: times, paths, random ids and live widgets; outputs and
    execution counts stay."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags", [None]):  # papermill's empty lists
            del cell.metadata["tags"]
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    return notebook

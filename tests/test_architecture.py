"""The plan of the house, read from the imports: who may import what, in which order, and how large it may get."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lib.paths import ROOT

LIB = ROOT / "lib"
METHOD = ("masklets", "refiner", "isam2", "classifier", "metrics", "intervals", "boundary")
STUDY = {"study", "tables", "cost", "claims", "plots", "report", "commands"}
# a room imports only from rooms before it; report/ and plots/ serve tables, cost and claims
ORDER = (
    ("config", "text", "paths", "files", "progress", "workers", "consistency", "metrics"),
    ("clips", "intervals"),
    ("masklets", "boundary", "classifier", "segmentors"),
    ("sam", "refiner"),
    ("isam2", "mini"),
    ("study",),
    ("plots",),
    ("report",),
    ("tables",),
    ("cost",),
    ("claims",),
    ("commands",),
    ("__main__",),
)
MAX_FILES, MAX_METHOD_LINES, MAX_REPOSITORY_MB = 20, 1500, 60


def room(path: Path) -> str:
    return path.relative_to(LIB).with_suffix("").parts[0]


def imports(path: Path, text: str | None = None) -> set[str]:
    """The modules that a file imports, from the top of lib for relative imports ("." first), else in full."""
    depth, out = path.relative_to(LIB).parts, set()
    for node in ast.walk(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            inside = [*depth[: len(depth) - node.level], *filter(None, (node.module or "").split("."))]
            out |= {".".join(["", *inside, alias.name]) for alias in node.names}
            out |= {".".join(["", *inside])} if inside else set()
        elif isinstance(node, ast.ImportFrom):
            out.add(node.module)
    return out


def rooms(path: Path, text: str | None = None) -> set[str]:
    """The other rooms that a file imports."""
    return {name[1:].split(".")[0] for name in imports(path, text) if name.startswith(".")} - {room(path)}


FILES = sorted(LIB.rglob("*.py"))


def test_the_method_knows_no_study():
    """The method, and clips/, import nothing of study, tables, cost, claims, plots, report, commands."""
    method = [path for path in FILES if room(path) in (*METHOD, "consistency", "clips")]
    assert len(method) > len(METHOD)
    wrong = {str(path.relative_to(ROOT)): sorted(rooms(path) & STUDY) for path in method}
    assert not {path: found for path, found in wrong.items() if found}


def test_only_sam_imports_sam2():
    users = {room(path) for path in FILES if any(name.split(".")[0] == "sam2" for name in imports(path))}
    assert users == {"sam"}


def test_imports_follow_the_order():
    place = {name: i for i, level in enumerate(ORDER) for name in level}
    unknown = {room(path) for path in FILES} - place.keys() - {"__init__"}
    assert not unknown, f"say in ORDER where {sorted(unknown)} stands"
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in rooms(path)
        if room(path) != "__init__" and place[name] > place[room(path)]
    }
    assert not wrong


def test_no_circle_of_files():
    """A file that imports nothing left is taken away, until none is left: then there is no circle."""
    names = {".".join(("", *path.relative_to(LIB).with_suffix("").parts)): path for path in FILES}
    left = {name: (imports(path) & names.keys()) - {name} for name, path in names.items()}
    assert sum(map(len, left.values())) > 100
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left


def test_imports_inside_lib_are_relative():
    """So that the folder can be vendored under another name."""
    absolute = [str(p) for p in FILES if any(name.split(".")[0] == "lib" for name in imports(p))]
    assert not absolute


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from ..study import x", {"study"}),
        ("from .. import tables, paths", {"tables", "paths"}),
        ("def f():\n    from ..plots.style import y", {"plots"}),
        ("from . import clip\nimport numpy", set()),
    ],
)
def test_imports_are_read_as_python_reads_them(text, found):
    assert rooms(LIB / "clips" / "clip.py", text) == found


def test_eight_names_load_when_asked_for():
    """`import lib` loads neither torch nor numpy; each name is what its file defines."""
    names = "Clip count_clip load_sam read_frames refine_clip refine_frame segment summarise"
    code = f"""
import sys, lib
assert sorted(lib.__all__) == {names.split()} and not {{"torch", "numpy"}} & sys.modules.keys()
from lib import metrics, refiner
assert lib.count_clip is metrics.count_clip and lib.refine_clip is refiner.refine_clip
assert "torch" not in sys.modules
import lib.sam
assert lib.load_sam is lib.sam.load and lib.segment.__module__ == "lib.sam.segment"
print(*(name for name in lib.__all__ if callable(getattr(lib, name))))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == names.split(), done.stderr


def test_sizes():
    assert len(list(LIB.glob("*.py"))) <= MAX_FILES
    lines = {name: len((LIB / f"{name}.py").read_text().splitlines()) for name in METHOD}
    assert sum(lines.values()) <= MAX_METHOD_LINES, lines


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout of git here")
def test_the_repository_stays_small():
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in names.split("\0") if (ROOT / name).is_file()}
    largest = sorted(sizes, key=sizes.get)[-5:]
    assert 1e6 < sum(sizes.values()) < MAX_REPOSITORY_MB * 1e6, f"the largest: {largest}"

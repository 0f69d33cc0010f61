"""The committed notebooks: executed, thin, with literal parameters. Their outputs are compared by nbval,
which would pass a stripped one."""

import ast
import re

import nbformat
import pytest

from lib.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS][:2] == ["00", "01"]


def test_is_executed_top_to_bottom(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    for cell in code(notebook):
        checked = "nbval-check-output" in cell.metadata.get("tags", [])
        assert cell.outputs or not checked, f"nothing to compare in:\n{cell.source}"
        assert not [o for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert any("nbval-check-output" in cell.metadata.get("tags", []) for cell in code(notebook))


def test_is_thin(notebook):
    assert len(code(notebook)) <= 12
    for cell in code(notebook):
        assert len(cell.source.splitlines()) <= 12
        assert not [
            n
            for n in ast.walk(ast.parse(cell.source))
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.For, ast.While))
        ]
        assert not {"nbval-skip", "raises-exception"} & set(cell.metadata.get("tags", []))


def test_parameters_are_literals_of_the_mini_profile(notebook):
    first = code(notebook)[0]
    assert first.metadata.tags == ["parameters"]
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(first.source).body}
    assert values["profile"] == "mini" and values["data"] == values["out"] == ""
    assert notebook.metadata.kernelspec.name == "python3"


def test_holds_no_path_of_the_machine_that_ran_it(notebook):
    text = nbformat.writes(notebook)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|Users|work)/", re.sub(r'"image/png": "[^"]*"', "", text))

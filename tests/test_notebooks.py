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


def test_the_ablations_are_one_notebook_but_for_the_number_of_their_table():
    sources = {}
    for path in NOTEBOOKS:
        if 4 <= (number := int(path.name[:2])) <= 7:
            cells = code(nbformat.read(path, as_version=4))
            sources[number] = [cell.source.replace(f"table = {number}", "table = N") for cell in cells]
            assert "table = N" in sources[number][0]
    assert list(sources) == [4, 5, 6, 7]
    assert all(cells == sources[4] for cells in sources.values())


def test_says_what_came_out_under_its_figure(notebook):
    cells = code(notebook)
    drawn = next(i for i, cell in enumerate(cells) if cell.source.splitlines()[-1] == "fig")
    assert any("image/png" in output.get("data", {}) for output in cells[drawn].outputs)
    said = cells[drawn + 1]
    assert "findings." in said.source
    assert any(output.get("data", {}).get("text/markdown", "").startswith("- ") for output in said.outputs)
    long = [i for i, cell in enumerate(cells) if "result.measured()" in cell.source]
    assert not long or drawn < long[0]  # the figure comes before the long table


def test_leaves_the_display_of_tables_to_the_library(notebook):
    assert not [cell for cell in code(notebook) if "set_option" in cell.source or "try:" in cell.source]
    printed = [o.text for cell in code(notebook) for o in cell.outputs if o.output_type == "stream"]
    assert max((len(line) for text in printed for line in text.splitlines()), default=0) <= 120


def test_holds_no_path_of_the_machine_that_ran_it(notebook):
    text = nbformat.writes(notebook)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|Users|work)/", re.sub(r'"image/png": "[^"]*"', "", text))

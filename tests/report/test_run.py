import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib import paths
from lib.clips.errors import DataMissingError
from lib.paths import ROOT
from lib.report import execute as executing
from lib.report import run as runner
from lib.report.notebooks import (
    KERNEL,
    WIDGET,
    find_notebooks,
    is_json,
    read_parameters,
    report_folder,
    strip,
)
from lib.report.run import RunError, refresh, run
from lib.report.text import read_table

DEFAULTS = 'profile = "mini"\ndata = ""\nout = ""\n'
SHOW = "print(profile, repr(data), window)\n[profile, window]"
TABLE = """from pathlib import Path
if out:
    Path(out, "table.md").write_text(f"# A table on {profile}\\n\\nwindow {window}\\n")
"""
# as some kernels do that are stopped while they finish a cell
LOG = "get_ipython().kernel.log.error('KeyboardInterrupt caught in kernel.')"


def write_notebook(path, *sources, parameters=DEFAULTS + "window = 32  # frames\n", **metadata):
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, sources),
    ]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"  # random otherwise
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": dict(KERNEL), **metadata}), path)
    return path


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def text_of(path):
    """Join what the cells of a notebook put out."""
    outputs = [
        output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])
    ]
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") or output.get("evalue", "")
        for output in outputs
    )


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "notebooks", tmp_path / "reports"


@pytest.fixture
def no_kernel(monkeypatch):
    """Fail if anything is executed: refusals come first."""
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("a notebook was executed"))


def test_what_a_killed_run_left_is_swept_away(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [
        f".table1.{host}-{pid}.part"
        for host, pid in (
            (socket.gethostname(), dead.pid),
            (socket.gethostname(), os.getpid()),
            ("elsewhere", dead.pid),
        )
    ]
    for name in names:
        (tmp_path / name / "inner").mkdir(parents=True)
    executing.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_report_is_written_and_a_rerun_makes_no_difference(folders, tmp_path, capfd):
    notebooks, reports = folders
    write_notebook(notebooks / "01_refiner.ipynb", SHOW, TABLE, LOG)
    source = contents(notebooks)
    (tmp_path / "user {data}").mkdir()
    results = []
    for _ in range(2):
        written = run("real", [1], tmp_path / "user {data}", {"window": 8}, notebooks, reports)
        assert written == [reports / "real" / "table1"]
        results.append(contents(reports))
        (reports / "real" / "table1" / "stale.csv").write_text("of an earlier run")
    assert results[0] == results[1] and contents(notebooks) == source
    assert set(results[0]) == {
        "real/README.md",
        "real/index.html",
        "real/table1/notebook.ipynb",
        "real/table1/table.md",
    }
    assert (reports / "real" / "table1" / "table.md").read_text() == "# A table on real\n\nwindow 8\n"
    for page in ("README.md", "index.html"):
        assert "A table on real" in (reports / "real" / page).read_text()
    executed = (reports / "real" / "table1" / "notebook.ipynb").read_text()
    assert (
        text_of(reports / "real" / "table1" / "notebook.ipynb")
        == f"real {str(tmp_path / 'user {data}')!r} 8\n['real', 8]"
    )
    assert (
        "papermill" not in executed
        and 'execution":' not in executed
        and "iopub" not in executed
        and str(reports) not in executed
    )
    cells = nbformat.read(reports / "real" / "table1" / "notebook.ipynb", as_version=4).cells
    assert [cell.execution_count for cell in cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert 'out = "."' in cells[2].source
    assert "rozen modules" not in executed and capfd.readouterr() == ("", "")


def test_failure_keeps_the_good_report_and_goes_on(folders):
    notebooks, reports = folders
    write_notebook(notebooks / "02_cross.ipynb", TABLE)
    bad = write_notebook(notebooks / "01_refiner.ipynb", TABLE)
    run("mini", notebooks=notebooks, reports=reports)
    good, stamp = (
        contents(reports / "mini" / "table1"),
        (reports / "mini" / "table1" / "table.md").stat().st_mtime_ns,
    )
    write_notebook(bad, TABLE.replace("A table", "A bad table"), "print('before')", "1 / 0", "print('never')")
    write_notebook(notebooks / "02_cross.ipynb", TABLE.replace("A table", "A newer table"))
    with pytest.raises(
        RunError, match=r"1 of 2 notebooks failed(?s:.*)01_refiner.ipynb: ZeroDivisionError: division by zero"
    ):
        run("mini", notebooks=notebooks, reports=reports)
    after = contents(reports / "mini" / "table1")
    assert "before" in text_of(reports / "mini" / "table1" / "failed.ipynb")
    assert after.pop("failed.ipynb") and after == good
    assert (reports / "mini" / "table1" / "table.md").stat().st_mtime_ns == stamp
    assert "A newer table" in (reports / "mini" / "table2" / "table.md").read_text()
    readme = (reports / "mini" / "README.md").read_text()
    assert "The latest run failed" in readme and "A newer table" in readme and "A bad table" not in readme
    assert not list(reports.rglob("*.part")) and not list(reports.rglob("*.old"))
    write_notebook(bad, TABLE)
    run("mini", ["01"], notebooks=notebooks, reports=reports)
    assert contents(reports / "mini" / "table1") == good  # failed.ipynb went with the report it stood beside


def test_a_killed_process_still_ends_in_a_message_and_a_page(folders):
    notebooks, reports = folders
    write_notebook(notebooks / "01_refiner.ipynb", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    write_notebook(notebooks / "02_cross.ipynb", TABLE)
    with pytest.raises(RunError, match=r"01_refiner.ipynb: not finished, as its process (?s:.*)--jobs 1"):
        run("mini", notebooks=notebooks, reports=reports)
    assert (reports / "mini" / "README.md").exists() and (reports / "mini" / "index.html").exists()


@pytest.mark.parametrize(
    "source, message",
    [("import os; os._exit(3)", "DeadKernel"), ("import sys; sys.exit()", "stopped before")],
)
def test_a_notebook_that_does_not_reach_its_end_has_failed(folders, source, message):
    notebooks, reports = folders
    write_notebook(notebooks / "08_cost.ipynb", TABLE, source, "1")
    with pytest.raises(RunError, match=f"08_cost.ipynb: .*{message}"):
        run("mini", notebooks=notebooks, reports=reports)
    assert os.listdir(reports / "mini" / "cost") == ["failed.ipynb"]


def test_notebooks_run_side_by_side_but_those_that_measure_time_alone_at_the_end(folders, tmp_path):
    notebooks, reports = folders
    wait = """import time
from pathlib import Path
here = Path({here!r})
(here / "begun_{i}").touch()
for _ in range(600):
    if len(list(here.glob("begun_*"))) == 2:
        break
    time.sleep(0.1)
(here / "ended_{i}").touch()
[path.name for path in sorted(here.iterdir()) if path.name.startswith("begun")]
"""
    for i in (2, 3):
        write_notebook(notebooks / f"0{i}_x.ipynb", wait.format(here=str(tmp_path), i=i))
    write_notebook(
        notebooks / "01_time.ipynb",
        f"from pathlib import Path\nsorted(p.name for p in Path({str(tmp_path)!r}).glob('*_[0-9]'))",
        timed=True,
    )
    run("mini", notebooks=notebooks, reports=reports)
    # either waited for the other
    assert "['begun_2', 'begun_3']" in text_of(reports / "mini" / "table2" / "notebook.ipynb")
    assert "['begun_2', 'begun_3', 'ended_2', 'ended_3']" in text_of(
        reports / "mini" / "table1" / "notebook.ipynb"
    )


def test_the_notebook_that_measures_time_says_so():
    timed = {
        path.stem: bool(nbformat.read(path, as_version=4).metadata.get("timed"))
        for path in find_notebooks(ROOT / "notebooks")
    }
    assert [name for name, alone in timed.items() if alone] == ["08_cost"]


def test_failed_replacement_brings_the_old_folder_back(tmp_path, monkeypatch):
    for name in (".table1.1.part", "table1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.md").write_text(name)
    calls = []

    def second_fails(source, target, replace=os.replace):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(executing.os, "replace", second_fails)
    with pytest.raises(OSError, match="no space"):
        executing.replace_folder(tmp_path / ".table1.1.part", tmp_path / "table1")
    assert (tmp_path / "table1" / "table.md").read_text() == "table1"


def test_kernel_sees_the_runners_world(folders, monkeypatch):
    notebooks, reports = folders
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.delenv("PYDEVD_DISABLE_FILE_VALIDATION", raising=False)
    write_notebook(
        notebooks / "00_quickstart.ipynb",
        "import sys, pickle, lib.paths, lib.report.run as run\n"
        "from pathlib import Path\n"
        "Path(out, 'world').write_bytes(pickle.dumps([sys.executable, run.__file__, str(lib.paths.REPORTS), str(lib.paths.DATA)]))",
    )
    run("mini", notebooks=notebooks, reports=os.path.relpath(reports))
    executable, module, seen, data = pickle.loads((reports / "mini" / "quickstart" / "world").read_bytes())
    assert (executable, module, seen) == (sys.executable, runner.__file__, str(reports))
    assert data == str(paths.DATA)
    assert os.environ["JUPYTER_PREFER_ENV_PATH"] == "0" and "PYDEVD_DISABLE_FILE_VALIDATION" not in os.environ


def test_unknown_parameter_is_refused(folders, no_kernel):
    notebooks, reports = folders
    write_notebook(notebooks / "01_refiner.ipynb")
    write_notebook(notebooks / "05_grid.ipynb", parameters=DEFAULTS + "grids = [8, 16]\n")
    with pytest.raises(ValueError, match="Unknown parameter windw. .*: grids, window"):
        run("mini", parameters={"windw": 8}, notebooks=notebooks, reports=reports)
    with pytest.raises(ValueError, match="Unknown parameter window. .*: grids"):
        run("mini", [5], parameters={"window": 8}, notebooks=notebooks, reports=reports)
    with pytest.raises(ValueError, match="Unknown parameter out"):
        run("mini", parameters={"out": "elsewhere"}, notebooks=notebooks, reports=reports)
    assert not reports.exists()


@pytest.mark.parametrize(
    ("profile", "checkpoint", "shared"),
    [("mini", "", True), ("vspw", "", False), ("camvid", "large", False), ("vspw", "micro", True)],
)
def test_notebooks_side_by_side_share_the_cores(folders, monkeypatch, profile, checkpoint, shared):
    """But for a released model, for which the others wait anyway."""
    notebooks, reports = folders
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name in ("04_window", "05_grid"):
        write_notebook(
            notebooks / f"{name}.ipynb",
            "import os\nprint(os.environ.get('OMP_NUM_THREADS', 0))",
            parameters=DEFAULTS + 'checkpoint = ""\n',
        )
    threads = max(1, os.cpu_count() // 2) if shared else 0
    for folder in run(
        profile, parameters={"checkpoint": checkpoint}, notebooks=notebooks, reports=reports, jobs=2
    ):
        assert text_of(folder / "notebook.ipynb") == f"{threads}\n"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_kernel_that_never_answers_is_started_once_more(folders, monkeypatch):
    notebooks, reports = folders
    write_notebook(notebooks / "01_refiner.ipynb")
    tries = []

    def execute(path, output, **_):
        tries.append(path)
        if len(tries) == 1:
            raise RuntimeError("Kernel didn't respond in 300 seconds")
        nbformat.write(nbformat.read(path, as_version=4), output)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    run("mini", notebooks=notebooks, reports=reports, jobs=1)
    assert len(tries) == 2

    def never(path, output, **_):
        tries.append(path)
        raise RuntimeError("Kernel didn't respond in 300 seconds" if len(tries) < 5 else "Kernel died")

    monkeypatch.setattr(papermill, "execute_notebook", never)
    with pytest.raises(RunError, match="didn't respond"):
        run("mini", notebooks=notebooks, reports=reports, jobs=1)
    assert len(tries) == 4, "twice, not for ever"
    with pytest.raises(RunError, match="Kernel died"):  # another failure is none of a slow start
        run("mini", notebooks=notebooks, reports=reports, jobs=1)
    assert len(tries) == 5


def test_parameters_reach_only_who_knows_them(folders, monkeypatch):
    notebooks, reports = folders
    write_notebook(notebooks / "01_refiner.ipynb")
    write_notebook(notebooks / "05_grid.ipynb", parameters=DEFAULTS + "grids = [8, 16]\n")
    given = {}

    def execute(path, output, parameters, **_):
        given[Path(path).name] = parameters
        nbformat.write(nbformat.read(path, as_version=4), output)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    run("mini", parameters={"window": 8, "grids": [4]}, notebooks=notebooks, reports=reports, jobs=1)
    base = {"profile": "mini", "data": "", "out": "."}
    assert given == {"01_refiner.ipynb": base | {"window": 8}, "05_grid.ipynb": base | {"grids": [4]}}
    assert list(given) == ["01_refiner.ipynb", "05_grid.ipynb"]


@pytest.mark.parametrize(
    "value", [(1, 2), Path("x"), {"a": 1}, float("nan"), np.float64(0.5), np.int64(1), [1, (2,)]]
)
def test_only_json_goes_in(folders, no_kernel, value):
    write_notebook(folders[0] / "01_refiner.ipynb")
    with pytest.raises(ValueError, match="`window` to be a JSON scalar or list"):
        run("mini", parameters={"window": value}, notebooks=folders[0], reports=folders[1])


@pytest.mark.parametrize("value", ['it\'s "x" \\ {é}', -1, 0.5, True, None, [], [1, [0.1, "a"]]])
def test_json_arrives_as_it_is(tmp_path, value):
    path = write_notebook(tmp_path / "01_a.ipynb")
    papermill.execute_notebook(
        path, tmp_path / "o.ipynb", {"window": value}, prepare_only=True, kernel_name="python3"
    )
    source = nbformat.read(tmp_path / "o.ipynb", as_version=4).cells[2].source
    scope = {}
    exec(source, scope)
    assert scope["window"] == value and type(scope["window"]) is type(value) and is_json(value)


def test_missing_numbers_data_and_profiles(folders, no_kernel):
    notebooks, reports = folders
    with pytest.raises(DataMissingError, match="notebooks"):
        run("mini", notebooks=notebooks, reports=reports)
    for name in ("00_quickstart", "01_refiner", "draft"):
        write_notebook(notebooks / f"{name}.ipynb")
    for number in (4, "four", -1):
        with pytest.raises(ValueError, match=f"number {number}; there are 00_quickstart, 01_refiner"):
            run("mini", [1, number], notebooks=notebooks, reports=reports)
    with pytest.raises(DataMissingError, match="absent"):
        run("mini", data="absent", notebooks=notebooks, reports=reports)
    with pytest.raises(ValueError, match="plain name"):
        run("../mini", notebooks=notebooks, reports=reports)
    assert [path.name for path in find_notebooks(notebooks, ["1", 0, "01"])] == [
        "00_quickstart.ipynb",
        "01_refiner.ipynb",
    ]
    write_notebook(notebooks / "01_again.ipynb")
    with pytest.raises(ValueError, match="01_again.ipynb and 01_refiner.ipynb"):
        find_notebooks(notebooks)


def test_report_folders():
    names = ["00_quickstart", "01_refiner", "04_window", "07_stability", "08_cost", "09_claims"]
    assert [report_folder(f"{name}.ipynb") for name in names] == [
        "quickstart",
        "table1",
        "table4",
        "table7",
        "cost",
        "claims",
    ]


@pytest.mark.parametrize(
    "parameters, message",
    [
        (DEFAULTS + "window = 4 * 8", r"`window = 4 \* 8`"),
        (DEFAULTS + "import os", "`import os`"),
        (DEFAULTS + "a = b = 1", "`a = b = 1`"),
        (DEFAULTS + "%matplotlib inline", "%matplotlib inline"),
        ('profile = "mini"\nout = ""', "data is not among"),
    ],
)
def test_parameters_cells_that_would_mislead(folders, no_kernel, parameters, message):
    write_notebook(folders[0] / "01_refiner.ipynb", parameters=parameters)
    with pytest.raises(ValueError, match=message):
        run("mini", notebooks=folders[0], reports=folders[1])


def test_parameters_cell_is_the_first(tmp_path):
    path = write_notebook(
        tmp_path / "01_a.ipynb", parameters=DEFAULTS + "windows = [8, -16]  # frames\n# why\niou = 0.6"
    )
    assert read_parameters(path) == {
        "profile": "mini",
        "data": "",
        "out": "",
        "windows": [8, -16],
        "iou": 0.6,
    }
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, new_code_cell("import lib"))
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=r"found it on \[1\] of 2"):
        read_parameters(path)


def test_refresh_writes_outputs_in_place(folders):
    notebooks, _ = folders
    good = write_notebook(
        notebooks / "01_refiner.ipynb", SHOW, "import os; os.getcwd() == " + repr(str(notebooks))
    )
    bad = write_notebook(notebooks / "02_cross.ipynb", "1 / 0")
    cells = nbformat.read(good, as_version=4).cells
    before = bad.read_bytes()
    for _ in range(2):
        with pytest.raises(
            RunError, match="1 of 2 notebooks failed and are as before:\n02_cross.ipynb: ZeroDivisionError"
        ):
            refresh(notebooks)
    assert bad.read_bytes() == before and sorted(os.listdir(notebooks)) == [
        "01_refiner.ipynb",
        "02_cross.ipynb",
    ]
    after = nbformat.read(good, as_version=4)
    assert text_of(good) == "mini '' 32\n['mini', 32]True"
    assert [(cell.id, cell.source, cell.metadata) for cell in after.cells] == [
        (cell.id, cell.source, cell.metadata) for cell in cells
    ]
    assert [cell.execution_count for cell in after.cells[1:]] == [1, 2, 3]
    assert set(after.metadata) == {"kernelspec", "language_info"} and after.metadata.kernelspec == KERNEL
    assert refresh(notebooks, [1]) == [good] and nbformat.read(good, as_version=4) == after


def test_refresh_wants_the_offline_defaults(folders, no_kernel):
    write_notebook(folders[0] / "01_refiner.ipynb", parameters=DEFAULTS.replace("mini", "vspw"))
    with pytest.raises(ValueError, match='profile = "mini"'):
        refresh(folders[0])


def test_strip_leaves_nothing_that_changes():
    cell = new_code_cell(
        "x",
        metadata={"tags": [], "papermill": {}, "execution": {"iopub.status.busy": "now"}},
        outputs=[
            nbformat.v4.new_output("display_data", {WIDGET: {"model_id": "random"}, "text/plain": "a slider"})
        ],
    )
    notebook = new_notebook(
        cells=[cell],
        metadata={"papermill": {}, "widgets": {}, "language_info": {"name": "python", "version": "3.11.4"}},
    )
    strip(notebook)
    assert cell.metadata == {} and cell.outputs[0].data == {"text/plain": "a slider"}
    assert notebook.metadata == {"kernelspec": KERNEL, "language_info": {"name": "python"}}


def test_report_saved_from_a_notebook(folders):
    notebooks, reports = folders
    write_notebook(
        notebooks / "04_window.ipynb",
        """import pandas as pd
from lib import report, tables
table = pd.DataFrame([("SAM2", "", "32", "mIoU", 1.0, 0.5, 1.5, float("nan"))], columns=report.COLUMNS)
tables.Result("Table 4 on mini", table, make_record=lambda: {"profile": profile}).save(out)""",
    )
    run("mini", notebooks=notebooks, reports=reports)
    assert sorted(os.listdir(reports / "mini" / "table4")) == [
        "notebook.ipynb",
        "run.json",
        "table.csv",
        "table.md",
    ]
    assert read_table(reports / "mini" / "table4" / "table.csv")["setting"].tolist() == ["32"]
    assert "## Table 4 on mini" in (reports / "mini" / "README.md").read_text()

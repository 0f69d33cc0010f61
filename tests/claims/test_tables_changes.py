"""The changes that the ledger judges: collected from the tables under the names that the paper's own
changes have."""

import shutil

import pandas as pd
import pytest

from lib import report
from lib.claims import changes
from lib.claims.changes import BORDERS, measured_changes
from lib.claims.ledger import PARTS, judge
from lib.claims.table import claims_table, forest_rows, ledger_table
from lib.paths import EMBEDDED
from lib.study.study import NotRun, open_study
from lib.tables import Gain, Result
from lib.tables.refiner import COMPARED
from lib.tables.rows import SCORES

NAN = float("nan")
UP, STILL = Gain(2.0, 1.0, 3.0, 10), Gain(0.1, -0.2, 0.4, 10)


@pytest.fixture
def study(tmp_path):
    root = tmp_path / "mini"
    for name in ("val_000", "val_001"):
        shutil.copytree(EMBEDDED / "mini" / "data" / name, root / "data" / name)
    (root / "val.txt").write_text("val_000\nval_001\n")
    return open_study("mini", str(root))


def test_changes_are_collected_by_part(study, monkeypatch):
    gains, base = dict.fromkeys(SCORES, UP), ("Segformer", "MiT-N0")
    table = lambda rows: pd.DataFrame(
        [(*row, "mIoU", 1.0, NAN, NAN, NAN) for row in rows], columns=report.COLUMNS
    )
    monkeypatch.setattr(
        changes, "refiner_table", lambda _: Result("", None, {}, {(*base, what): gains for what in COMPARED})
    )
    monkeypatch.setattr(changes, "refiner_rows", lambda *_: {"refined": [], "base": []})
    monkeypatch.setattr(changes, "contrast", lambda *_: STILL)
    monkeypatch.setattr(
        changes,
        "cross_table",
        lambda _: Result(
            "", None, {("CAVIS (R50)", "", ""): "no predictions", ("DVIS++ (R50)", "", ""): "none either"}, {}
        ),
    )
    values = {4: ("1", "8"), 5: ("8", "32"), 6: ("0.4",), 7: ("0.9",)}
    monkeypatch.setattr(
        changes,
        "ablation_table",
        lambda _, number: Result(
            "",
            table([(*base, "base"), ("SAM2-Segformer", "MiT-N0", "8")]),
            {("SAM2-CFFM", "MiT-B1", "8"): "no CFFM"},
            {(v, other): gains for v in values[number] for other in ("default", "base")},
        ),
    )
    monkeypatch.setattr(
        changes,
        "segmentor_table",
        lambda _: Result(
            "",
            None,
            {("I-Segformer", "MiT-N1", ""): "no weights"},
            {
                ("below", "I-SAM2 minus Segformer", "MiT-N0"): gains,
                ("below", "I-SAM2 minus Segformer", "MiT-N1"): gains,
                ("encoder", "I-Segformer minus I-SAM2", "MiT-N0"): gains,
                ("fill", "I-SAM2_base minus I-SAM2", ""): gains,
                ("fill", "I-Segformer_base minus I-Segformer", "MiT-N0"): gains,
            },
        ),
    )
    found, not_run = measured_changes(study)
    assert {part: list(rows) for part, rows in found.items()} == {
        "refiner": [("Segformer MiT-N0", "")],
        "steadied": [("Segformer MiT-N0", "")],
        "beyond": [("Segformer MiT-N0", "")],
        "window": [("Segformer MiT-N0", "32 - 1")],
        "grid": [("Segformer MiT-N0", "8 - 16"), ("Segformer MiT-N0", "32 - 16")],
        "iou": [("Segformer MiT-N0", "0.4 - 0.6")],
        "stability": [("Segformer MiT-N0", "0.9 - 0.8")],
        "below": [("Segformer MiT-N0", "stopped early"), ("Segformer MiT-N1", "")],
        "encoder": [("I-Segformer MiT-N0", "stopped early")],
        "fill": [("I-SAM2 with Segformer MiT-N1", ""), ("I-Segformer MiT-N0", "")],
    }
    assert found["refiner"]["Segformer MiT-N0", ""][BORDERS] == STILL
    # the table has 1 minus 32
    assert found["window"]["Segformer MiT-N0", "32 - 1"]["mVC8"] == Gain(-2.0, -3.0, -1.0, 10)
    assert not_run == {
        "cross": "no predictions, and 1 more like this",
        "trained": "no weights",
        "cost": not_run["cost"],
    }
    assert {f.claim.part for f in judge(found, not_run) if f.verdict == "not run"} == {
        "cross",
        "trained",
        "cost",
    }


def test_a_profile_without_inputs_runs_nothing(monkeypatch):
    def raises(*_):
        raise NotRun("nothing here")

    for name in ("refiner_table", "cross_table", "ablation_table", "segmentor_table"):
        monkeypatch.setattr(changes, name, raises)
    run = open_study("vspw", str(EMBEDDED / "mini"), "micro")
    found, not_run = measured_changes(run)
    assert found == {} and set(not_run) == set(PARTS) and not_run["grid"] == "nothing here"
    findings = judge(found, not_run)
    assert {f.verdict for f in findings} == {"not run"} and forest_rows(findings) == []
    result = claims_table(run, found, not_run)
    assert result.measured().empty and len(result.printed()) == len(PARTS)
    assert result.front["Claims"].equals(ledger_table(findings))
    page = report.markdown(result.table, result.not_run, result.title, result.notes, result.front)
    assert "Nothing was measured here." in page and page.startswith(
        "# Claims on 10 clips of VSPW's 343, micro SAM 2\n"
    )

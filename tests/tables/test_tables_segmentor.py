"""Table 3 on drawn clips, where it is known what every row must be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import toy_segmentor

from lib import plots, study, tables
from lib.config import ClassifierConfig
from lib.study import classifiers
from lib.study import fitting as fit
from lib.tables import segmentor_scores

QUICK = tables.SegmentorSettings(
    classifier=ClassifierConfig(hidden=8, epochs=30, patience=30, lr=0.05, batch=4)
)
PIXELS, TOP = 13 * 17, 2 * 17


@pytest.fixture
def run(tmp_path, monkeypatch):
    made, _ = toy_segmentor.make(tmp_path, monkeypatch)
    monkeypatch.setattr(segmentor_scores, "predictions_of", toy_segmentor.predictions)
    return made


def scores(table, metric="wIoU"):
    lines = table[(table.metric == metric) & (table.setting == "")]
    return {" ".join(filter(None, (r.method, r.backbone))): r.measured for r in lines.itertuples()}


def test_rows_differ_by_what_they_leave_uncovered(run):
    """Classes are found without error here; two of 13 rows have no mask, and in one of these the base is
    wrong."""
    result = tables.segmentor_table(run, QUICK)
    table, not_run, differences = result.table, result.not_run, result.differences
    rows = list(dict.fromkeys(zip(table.method, table.backbone)))
    assert rows[:9] == [
        ("Segformer", "MiT-N0"),
        ("I-Segformer", "MiT-N0"),
        ("I-Segformer_base", "MiT-N0"),
        ("Segformer", "MiT-N1"),
        ("I-Segformer", "MiT-N1"),
        ("I-Segformer_base", "MiT-N1"),
        ("I-SAM2", ""),
        ("I-SAM2_base", ""),
        ("TrueLabels-SAM2", ""),
    ]
    found = scores(table)
    for row in ("I-Segformer MiT-N0", "I-SAM2", "TrueLabels-SAM2"):
        assert found[row] == pytest.approx(100 * 11 / 13)
    assert (
        found["Segformer MiT-N0"] == found["I-Segformer_base MiT-N1"] == found["I-SAM2_base"] > 100 * 11 / 13
    )
    assert (
        len(not_run) == 9 + 2
        and all(row[0].removeprefix("I-").startswith("CFFM") for row in list(not_run)[:9])
        and "toy profile has no CFFM MiT-B2" in not_run["I-CFFM_base", "MiT-B2", ""]
    )
    row = table[(table.method == "I-SAM2") & (table.metric == "mIoU")].iloc[0]
    assert np.isnan(row.paper), "of another data set: a row of its own"
    row = table[(table.setting == "paper, VSPW") & (table.metric == "mIoU")].iloc[0]
    assert row.method == "I-SAM2" and row.paper == 18.03 and np.isnan(row.measured)
    assert not_run["I-SAM2", "", "paper, VSPW"] == "printed for VSPW, which this is not"
    printed = result.printed().set_index(["method", "setting"])["mIoU (paper)"]
    assert printed["I-SAM2", "paper, VSPW"] == "18.03" and printed["I-SAM2_base", "paper, VSPW"] == "20.9"
    of_paper = tables.segmentor_table(replace(run, profile=replace(run.profile, of_paper=True)), QUICK)
    row = of_paper.table[(of_paper.table.method == "I-SAM2") & (of_paper.table.metric == "mIoU")].iloc[0]
    assert row.paper == 18.03 and row.measured > 0 and len(of_paper.not_run) == 9
    assert [key for key in differences if key[2] != "MiT-N0"] == [
        ("below", "I-SAM2 minus Segformer", "MiT-N1"),
        ("trained", "I-Segformer minus Segformer", "MiT-N1"),
        ("encoder", "I-Segformer minus I-SAM2", "MiT-N1"),
        ("fill", "I-SAM2_base minus I-SAM2", ""),
        ("fill", "I-Segformer_base minus I-Segformer", "MiT-N1"),
    ]
    assert (
        differences["below", "I-SAM2 minus Segformer", "MiT-N1"]["mIoU"][0]
        < 0
        < differences["fill", "I-SAM2_base minus I-SAM2", ""]["mIoU"][0]
    )
    assert (
        len(result.measured()) == 9
        and len(result.printed()) == 9 + 2
        and len(result.gains()) == len(differences)
    )
    assert list(result.gains())[:3] == ["claim", "difference", "backbone"]


def test_sam2_alone_is_held_against_the_model_that_fills_it_too(run):
    """Also where that model's own features are not tried."""
    differences = tables.segmentor_table(run, replace(QUICK, models=("segformer-n0",))).differences
    assert [backbone for claim, _, backbone in differences if claim == "below"] == ["MiT-N1", "MiT-N0"]


def test_notes_say_what_was_found(run):
    result = tables.segmentor_table(run, QUICK)
    few = "\n".join(result.notes)
    assert "too few clips (n = 2)" in few and "holds" not in few
    differences = {
        key: {metric: gain._replace(n=10) for metric, gain in gains.items()}
        for key, gains in result.differences.items()
    }
    notes = "\n".join(tables.segmentor_notes(run, QUICK, differences))
    assert "cover 84.6 %" in notes and "filled by Segformer MiT-N1; by CFFM MiT-B1 in the paper" in notes
    assert (
        "features of SAM 2: right for 100.0 % of the masklets" in notes
        and "features of Segformer MiT-N0: right for 100.0 %" in notes
    )
    below, encoder = (
        next(n for n in notes.splitlines() if words in n)
        for words in ("I-SAM2 minus Segformer MiT-N0", "I-Segformer minus I-SAM2 MiT-N0")
    )
    assert "holds" in below and "does not hold" not in below and "mIoU +0.0 (cannot be said)" in encoder


def test_features_that_mislead_cost_but_the_bound_stands(run, monkeypatch):
    """A classifier that takes dark for bright in every frame."""
    right = classifiers.predicted_classes
    wrong = lambda *args: {clip: [1 - frame for frame in frames] for clip, frames in right(*args).items()}
    monkeypatch.setattr(segmentor_scores, "predicted_classes", wrong)
    result = tables.segmentor_table(run, QUICK)
    table = result.table
    assert scores(table)["I-SAM2"] == 0 and scores(table)["TrueLabels-SAM2"] == pytest.approx(100 * 11 / 13)
    assert "features of SAM 2: right for 0.0 % of the masklets" in "\n".join(result.notes)


def test_rows_without_inputs_say_why(run, tmp_path):
    (tmp_path / "data" / "toy" / "weights" / "segformer-n1.safetensors").unlink()
    fit.fit(run, ["sam"], QUICK.classifier)["sam"].save(classifiers.weights_file(run, "sam"))
    (tmp_path / "sam.safetensors").write_bytes(b"another SAM 2")
    result = tables.segmentor_table(run, QUICK)
    table, not_run, differences = result.table, result.not_run, result.differences
    assert (
        "other weights of SAM 2" in not_run["I-SAM2", "", ""]
        and not_run["I-SAM2", "", ""] == not_run["I-SAM2_base", "", ""]
    )
    assert "no weights data/toy/weights/segformer-n1" in not_run["I-Segformer_base", "MiT-N1", ""]
    assert scores(table)["Segformer MiT-N1"] > 0 and np.isnan(scores(table)["I-SAM2"])
    assert [key[0] for key in differences] == ["trained", "fill"]
    notes = "\n".join(result.notes)
    assert "features of SAM 2" not in notes and "features of Segformer MiT-N0" in notes
    record = result.record
    assert [name for name in record["inputs"] if "isam2-" in name] and record["parameters"][
        "fill"
    ] == "segformer-n1"


def test_without_the_base_that_fills_only_the_filled_row_is_missing(run, monkeypatch):
    def lacking(run, name):
        if name == "segformer-n1":
            raise study.NotRun("nobody has it")
        return toy_segmentor.predictions(run, name)

    monkeypatch.setattr(segmentor_scores, "predictions_of", lacking)
    result = tables.segmentor_table(run, QUICK)
    table, not_run = result.table, result.not_run
    assert not_run["I-SAM2_base", "", ""] == "nobody has it" and ("I-SAM2", "", "") not in not_run
    assert scores(table)["I-Segformer MiT-N1"] > 0
    result = tables.segmentor_table(run, replace(QUICK, fill="segformer-n0"))
    assert ("I-SAM2_base", "", "") not in result.not_run


def test_who_fills(run):
    assert (
        segmentor_scores.fill_of(run)[0] == "segformer-n1"
        and segmentor_scores.fill_of(run, "segformer-n0")[2] == "MiT-N0"
    )
    assert segmentor_scores.fill_of(replace(run, profile=study.PROFILES["vspw"]))[1:] == ("CFFM", "MiT-B1")
    with pytest.raises(ValueError, match="segformer-n0, segformer-n1"):
        segmentor_scores.fill_of(run, "cffm-b1")


def test_counts_and_classes_come_from_the_cache(run, monkeypatch):
    first = tables.segmentor_table(run, QUICK).table
    monkeypatch.setattr("lib.study.scores.count_clip", None)
    monkeypatch.setattr(classifiers.isam2, "classify", None)
    again = tables.segmentor_table(run, QUICK).table
    pd.testing.assert_frame_equal(first, again)


def test_pictures_of_a_clip(run):
    clip = run.dataset.clips[1]
    labels = tables.segmentor_labels(run, clip, QUICK)
    assert list(labels) == ["I-SAM2", "I-SAM2_base", "Segformer MiT-N1", "truth"]
    plain, filled, base = (labels[name][3] for name in list(labels)[:3])
    assert (plain[:2] == 255).all() and (plain[2:] == clip.truth(3)[2:]).all() and (filled == base).all()


def test_figure_has_every_row_once(run):
    table = tables.segmentor_table(run, QUICK).table
    fig = plots.segmentor(table, "Table 3, toy")
    panel = fig.axes[0]
    assert [ax.get_title() for ax in fig.axes] == ["mIoU", "mBIoU", "mVC8", "mVC16"]
    assert [t.get_text() for t in panel.get_yticklabels()] == [
        *("Segformer MiT-N0", "Segformer MiT-N1", "SAM 2"),
        *("CFFM MiT-B0", "CFFM MiT-B1", "CFFM MiT-B2", "SAM 2"),
    ]
    dots = [line for line in panel.lines if len(line.get_xdata()) == 1]
    filled = [line.get_xdata()[0] for line in dots if line.get_markerfacecolor() != "none"]
    assert sorted(filled) == sorted(table[(table.metric == "mIoU") & table.measured.notna()].measured)
    assert len(dots) - len(filled) == 11
    assert "perfect classifier, unfilled" in [t.get_text() for t in fig.legends[0].get_texts()]
    assert plots.segmentor(table[table.measured.isna()]).axes


def test_encoders_of_the_papers_method_unless_others_are_asked_for(run):
    models = (
        ("segformer-n0", "Segformer", "MiT-N0"),
        ("cffm-n0", "CFFM", "MiT-N0"),
        ("segformer-n1", "Segformer", "MiT-N1"),
    )
    mixed = replace(run, profile=replace(run.profile, models=models))
    assert fit.models_of(run) == list(run.profile.models) and fit.models_of(mixed) == [models[1]]
    assert fit.models_of(mixed, ("segformer-n1", "cffm-n0")) == [models[2], models[1]]
    with pytest.raises(ValueError, match="got tv3s-b1"):
        fit.models_of(mixed, ("tv3s-b1",))
    result = tables.segmentor_table(mixed, replace(QUICK, models=("segformer-n0",)))
    table, not_run = result.table, result.not_run
    rows = list(dict.fromkeys(zip(table.method, table.backbone)))
    assert rows[:4] == [
        ("Segformer", "MiT-N0"),
        ("I-Segformer", "MiT-N0"),
        ("I-Segformer_base", "MiT-N0"),
        ("Segformer", "MiT-N1"),
    ]
    assert (
        rows[4:7] == [("I-SAM2", ""), ("I-SAM2_base", ""), ("TrueLabels-SAM2", "")]
        and ("I-Segformer", "MiT-N1", "") not in not_run
    )

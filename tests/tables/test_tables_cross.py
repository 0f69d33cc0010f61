"""Table 2: void counts as a miss and is filled by masklets, rows meet the paper's, and nothing runs
without a second data set."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco
from test_intervals import STUDENT, slow_bounds

from lib import paths, report, segmentors, tables
from lib import study as studies
from lib.claims import changes
from lib.clips.clip import Clip, Dataset, Predictions
from lib.clips.errors import DataMissingError
from lib.config import VOID, MaskletSettings
from lib.files import write_json
from lib.masklets import FrameMasklets, Masklets, as_text
from lib.paths import EMBEDDED
from lib.study import predictions as predicting
from lib.study import segment as segmenting
from lib.study.profiles import PROFILES, Profile
from lib.tables import cross, refiner
from lib.tables.paper import read_paper_table, vipseg_name
from lib.tables.rows import Gain

SIZE, N_FRAMES, BUSY = (13, 17), 20, 7  # in frame BUSY the hole is larger


def truth(clip: int, t: int) -> np.ndarray:
    """Class 0 left of a moving border, 1 to its right."""
    return (np.arange(SIZE[1]) > 6 + (clip + t) % 4).astype(np.uint8) * np.ones(SIZE, np.uint8)


def predicted(clip: int, t: int) -> np.ndarray:
    """The truth with a hole of two columns, in one frame of three."""
    labels = truth(clip, t)
    labels[:, : 3 if t == BUSY else 2] = VOID
    return labels


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two drawn clips, holed predictions of one model of the paper, and a masklet over the first six
    columns."""
    asked = []

    def segment_clip(job):
        clip, _, files, *_ = job
        rle = as_text(
            coco.encode(np.asfortranarray(np.tile(np.arange(SIZE[1]) < 6, (SIZE[0], 1)).astype(np.uint8)))
        )
        for settings, path in files.items():
            asked.append(settings)
            Masklets(
                clip.name, SIZE, settings, (FrameMasklets(0, (0,), (rle,), (0.9,), (0.9,)),) * len(clip)
            ).save(path)

    names = tuple(f"{t:03d}" for t in range(N_FRAMES))
    clips = tuple(
        Clip(
            f"clip{c}",
            names,
            lambda: SIZE,
            lambda t, c=c: np.full((*SIZE, 3), 10 * c + t, np.uint8),
            lambda t, c=c: truth(c, t),
        )
        for c in range(2)
    )
    predictions = {
        f"clip{c}": Predictions(f"clip{c}", names, lambda t, c=c: predicted(c, t)) for c in range(2)
    }

    def predictions_of(study, name):
        if name != "cavis-r50":
            raise studies.NotRun(f"no predictions of {name}")
        return predictions

    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(segmenting, "_segment_clip", segment_clip)
    monkeypatch.setattr(segmenting, "workers", lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(predicting, "predictions_of", predictions_of)
    monkeypatch.setattr(refiner, "predictions_of", predictions_of)
    profile = Profile(
        "toy",
        "toy",
        "vipseg",
        "",
        cross="toy",
        models=(("cavis-r50", "CAVIS", "R50"), ("dvis-swinl", "DVIS", "Swin-L")),
    )
    return studies.Study(profile, tmp_path, Dataset("toy", "val", ("left", "right"), clips), "micro"), asked


def test_printed_rows_are_the_papers():
    rows, paper = cross.printed_rows(), read_paper_table(2).set_index("method")
    bases = [("CAVIS", "R50"), ("DVIS++", "R50"), ("DVIS", "Swin-L"), ("DVIS (offline)", "Swin-L")]
    assert list(rows) == bases + [(f"SAM2-{method}", backbone) for method, backbone in bases]
    assert [vipseg_name(*base) for base in bases] == [
        "CAVIS (R50)",
        "DVIS++ (R50)",
        "DVIS (Swin-L)",
        "DVIS (Swin-L, offline)",
    ]
    assert (
        rows["SAM2-DVIS (offline)", "Swin-L"] == paper.loc["SAM2-DVIS (offline)"].to_dict()
        and rows["DVIS++", "R50"]["mIoU"] == 49.9
    )


def test_holes_are_misses_and_masklets_fill_them(run):
    study, asked = run
    result = tables.cross_table(study)
    table, not_run, differences = result.table, result.not_run, result.differences
    assert set(asked) == {MaskletSettings()}
    found = table[table.metric == "mIoU"].set_index(["method", "backbone"])
    n_left = n_hole = 0
    for c in range(2):
        for t in range(N_FRAMES):
            n_left += (truth(c, t) == 0).sum()
            n_hole += (predicted(c, t) == VOID).sum()
    assert found.measured["CAVIS", "R50"] == pytest.approx(100 * (1 + (n_left - n_hole) / n_left) / 2)
    assert (
        found.measured["SAM2-CAVIS", "R50"] == 100
        and found.paper["SAM2-CAVIS", "R50"] == 50.3
        and found.paper["CAVIS", "R50"] == 50.4
    )
    assert {"SlidingVote-CAVIS", "Majority-CAVIS", "TrueRegions-CAVIS"} <= set(table.method)
    assert list(differences) == [("CAVIS", "R50", what) for what in tables.COMPARED]
    refined, steadied, beyond = (gains["mIoU"].change for gains in differences.values())
    assert refined > 0 and beyond == pytest.approx(refined - steadied)
    assert steadied == pytest.approx(
        found.measured["SlidingVote-CAVIS", "R50"] - found.measured["CAVIS", "R50"]
    )
    assert not_run == {
        ("DVIS++", "R50", ""): "the toy profile has no DVIS++ R50",
        ("DVIS", "Swin-L", ""): "no predictions of dvis-swinl",
        ("DVIS (offline)", "Swin-L", ""): "the toy profile has no DVIS (offline) Swin-L",
        ("SAM2-DVIS++", "R50", ""): "the toy profile has no DVIS++ R50",
        ("SAM2-DVIS", "Swin-L", ""): "no predictions of dvis-swinl",
        ("SAM2-DVIS (offline)", "Swin-L", ""): "the toy profile has no DVIS (offline) Swin-L",
    }
    assert len(report.wide(table, not_run)) == 5 + 6


def test_void_has_an_interval_over_clips():
    of = lambda *clips: [
        SimpleNamespace(truth_px=np.array([60, judged - 60]), predicted_px=np.array([judged - void, 0]))
        for void, judged in clips
    ]
    counts = of((18, 100), (42, 200), (60, 300))
    pseudo_values = [3 * 20 - 2 * 100 * share for share in (102 / 500, 78 / 400, 60 / 300)]
    low, high = slow_bounds(20, pseudo_values, STUDENT[2])
    assert tables.void_share(counts) == f"20.0 % [{low:.1f}, {high:.1f}]" and 10 < low < high < 30
    assert tables.void_share(of((0, 100), (30, 200), (90, 300))) == "20.0 % [0.0, 100.0]", (
        "no share lies beyond"
    )
    assert tables.void_share(counts[1:2]) == "21.0 %"  # one clip has no interval


def test_void_is_counted_where_the_truth_is_judged(run):
    study, _ = run
    (line,) = tables.void_table(study).to_dict("records")
    share = 100 * (2 * N_FRAMES + 1) / (17 * N_FRAMES)
    assert line == {
        "method": "CAVIS",
        "backbone": "R50",
        "void, base": f"{share:.1f} % [{share:.1f}, {share:.1f}]",
        "void, refined": "0.0 % [0.0, 0.0]",
    }
    judged = replace(
        study.dataset.clips[0],
        read_truth=lambda t: np.where(predicted(0, t) == VOID, VOID, truth(0, t)).astype(np.uint8),
    )
    (line,) = tables.void_table(replace(study, dataset=replace(study.dataset, clips=(judged,)))).to_dict(
        "records"
    )
    assert line["void, base"] == "0.0 %"


def test_notes_judge_the_papers_claims(run):
    study, _ = run
    notes = tables.cross_notes(
        study,
        {
            ("CAVIS", "R50", "refined minus base"): {
                "mIoU": Gain(2.0, 1.0, 3.0, 10),
                "mBIoU": Gain(2.0, 1.0, 3.0, 10),
                "mVC8": Gain(0.1, -1.0, 1.0, 10),
                "mVC16": Gain(-2.0, -3.0, -1.0, 10),
            }
        },
    )
    assert (
        "no window restarts" in notes[2]
        and "No setting differs" in notes[3]
        and notes[4]
        == "Void in the predictions of CAVIS R50: 12.1 % [12.1, 12.1] of the judged pixels before refinement, 0.0 % [0.0, 0.0] after."
    )
    assert notes[5] == (
        "The paper's claims for CAVIS R50: mIoU +2.0 (leaves it alone: does not hold), mBIoU +2.0 (rises: holds), mVC8 +0.1 (rises: cannot be said), "
        "mVC16 -2.0 (rises: does not hold)."
    )
    assert not any("micro DVIS++" in note for note in notes)  # a user's own models


def test_the_base_models_of_drawn_clips_are_described_by_their_quality_file(run, tmp_path, monkeypatch):
    study = replace(run[0], profile=PROFILES["mini-vipseg"])
    what, _ = cross.own_models(study)
    for name, *_ in study.profile.models:
        model = segmentors.load(name, predicting.weights_file(study.profile, name))
        n = sum(value.numel() for value in model.parameters())
        assert f"{n / 1e6:.1f}" in what and f"of {model.config.queries} queries" in what
    monkeypatch.setattr(paths, "EMBEDDED", tmp_path)
    values = lambda first: {"mIoU": first, "mVC8": first + 1, "holes": first + 2}
    quality = {
        "clips": 3,
        "frames": 7,
        "queries": 5,
        "trained on": {"clips": 40, "minutes": 6},
        "parameters": {"online": 1_230_000, "offline": 4_560_000},
        "percent": {
            "online": values(11),
            "online, vss": values(21),
            "offline": values(31),
            "offline, vss": values(41),
        },
    }
    write_json(tmp_path / "mini" / "weights" / "dvis-plus-n1.json", quality)
    what, differ = cross.own_models(study)
    assert "1.2 million" in what and "(4.6," in what and "of 5 queries" in what
    assert "for 6 minutes on 40 drawn clips" in what and "on 3 other clips of this look, 7 frames" in differ
    assert (
        "online: mIoU 21.0 instead of 11.0, mVC8 22.0 instead of 12.0, 13.0 % of the pixels in no tube; "
        "offline: mIoU 41.0 instead of 31.0, mVC8 42.0 instead of 32.0, 33.0 % of the pixels in no tube"
    ) in differ
    monkeypatch.setattr(cross, "void_table", lambda _: pd.DataFrame())
    assert {what, differ} <= set(tables.cross_notes(study, {}))


def test_the_example_is_where_refinement_changes_most(run):
    clip, t, columns = tables.cross_example(run[0], clip="clip1")
    assert (clip.name, t) == ("clip1", BUSY) and list(columns) == ["base", "refined", "truth"]
    np.testing.assert_array_equal(columns["refined"][t], columns["truth"](t))


def test_the_ledger_has_the_papers_names(run):
    found, _ = changes._cross(run[0])
    assert list(found["cross"]) == [("CAVIS (R50)", "")]


def test_without_a_second_data_set_every_row_says_why(run, tmp_path, monkeypatch):
    single = replace(run[0], profile=replace(run[0].profile, cross=""))
    result = tables.cross_table(single)
    table, not_run, differences = result.table, result.not_run, result.differences
    assert (
        table.measured.isna().all()
        and differences == {}
        and set(not_run.values()) == {"the toy profile has no second data set"}
    )
    assert (
        len(result.printed()) == len(not_run) == 8
        and result.measured().empty
        and list(result.notes) == [*set(not_run.values())]
    )
    assert table.paper.notna().sum() == 8 * 4
    monkeypatch.setattr(paths, "DATA", tmp_path)
    first = replace(studies.open_study("vspw", str(EMBEDDED / "mini")), checkpoint="micro")
    second, why = tables.open_cross(first)
    assert second is None and "check --profile vipseg" in why
    with pytest.raises(DataMissingError, match="nowhere"):  # a folder that was named is not passed over
        tables.open_cross(first, "nowhere")

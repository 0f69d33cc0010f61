"""Tables 4 to 7: which settings, segmented together, in which rows, and what is said of them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from pycocotools import mask as coco

from lib import paths, tables
from lib import study as studies
from lib.clips.clip import Clip, Dataset, Predictions
from lib.config import MaskletSettings
from lib.masklets import FrameMasklets, Masklets, as_text
from lib.metrics import summarise
from lib.study import segment as segmenting
from lib.study.profiles import Profile
from lib.tables import ablation_scores
from lib.tables.paper import read_paper_table
from lib.tables.rows import Gain

NAN = float("nan")
SIZE, N_FRAMES = (13, 17), 20  # 16 frames or fewer would not be scored
SETTINGS = tables.ablation_settings()


def labels(clip: int, t: int, noise: float) -> np.ndarray:
    """Class 0 left of a moving border, 1 to its right, some pixels 2."""
    found = (np.arange(SIZE[1]) > 6 + (clip + t) % 4).astype(np.uint8) * np.ones(SIZE, np.uint8)
    found[np.random.default_rng(100 * clip + t).random(SIZE) < noise] = 2
    return found


def columns(setting: MaskletSettings) -> int:
    """How many columns the invented masklet of a setting covers."""
    return 1 + SETTINGS.index(setting) % 16


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Three drawn clips, predictions of the models b-1 and cffm-b1 alone (of none in a profile that has
    x), and a tracker that notes what it is asked for."""
    jobs = []

    def segment_clip(job):
        clip, _, files, *_ = job
        jobs.append((clip.name, set(files)))
        rle = lambda n: as_text(
            coco.encode(np.asfortranarray(np.tile(np.arange(SIZE[1]) < n, (SIZE[0], 1)).astype(np.uint8)))
        )
        for setting, path in files.items():
            frame = FrameMasklets(0, (0, 1), (rle(columns(setting)), rle(0)), (0.9, 0.8), (0.9, 0.9))
            Masklets(clip.name, SIZE, setting, (frame,) * len(clip)).save(path)

    names = tuple(f"{t:03d}" for t in range(N_FRAMES))
    clips = tuple(
        Clip(
            f"clip{c}",
            names,
            lambda: SIZE,
            lambda t, c=c: np.full((*SIZE, 3), 10 * c + t, np.uint8),
            lambda t, c=c: labels(c, t, 0),
        )
        for c in range(3)
    )
    predictions = {
        f"clip{c}": Predictions(f"clip{c}", names, lambda t, c=c: labels(c, t, 0.2)) for c in range(3)
    }

    def predictions_of(study, name):
        if name in ("b-1", "cffm-b1") and "x" not in {other for other, *_ in study.profile.models}:
            return predictions
        raise studies.NotRun(f"no weights of {name}")

    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(segmenting, "_segment_clip", segment_clip)
    monkeypatch.setattr(segmenting, "workers", lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(ablation_scores, "predictions_of", predictions_of)
    profile = Profile(
        "toy", "toy", "vspw", "", ablation_clips=2, models=(("a-0", "A", "0"), ("b-1", "B", "1"))
    )
    return studies.Study(
        profile, tmp_path, Dataset("toy", "val", ("left", "right", "noise"), clips), "micro"
    ), jobs


def with_models(study, *models):
    return replace(study, profile=replace(study.profile, models=models))


def test_settings_are_those_of_the_printed_tables():
    for number, field in ((4, "window"), (5, "grid"), (6, "iou"), (7, "stability")):
        chosen = tables.ablation_of(number)
        assert (
            list(chosen.settings) == read_paper_table(number)["setting"].tolist()
            and chosen.default in chosen.settings
        )
        for value, setting in chosen.settings.items():
            assert asdict(setting) == asdict(MaskletSettings()) | {field: float(value)}
    assert len(SETTINGS) == len(set(SETTINGS)) == 23 - 3 and SETTINGS[0] == MaskletSettings()
    assert set(SETTINGS) == {
        s for number in (4, 5, 6, 7) for s in tables.ablation_of(number).settings.values()
    }
    with pytest.raises(ValueError, match="4 to 7, but got 3"):
        tables.ablation_of(3)
    with pytest.raises(ValueError, match="MaskletSettings, but got 'windows'"):
        tables.Ablation(4, "windows", "", (1, 2))


def test_whichever_table_comes_first_segments_for_all_four(run):
    study, jobs = run
    tables.ablation_table(study, 6)
    for clip in ("clip0", "clip1"):  # in one job or in several, each setting once
        asked = [s for name, settings in jobs if name == clip for s in settings]
        assert len(asked) == len(SETTINGS) and set(asked) == set(SETTINGS)
    n_jobs = len(jobs)
    assert n_jobs in (2, 10)  # all processors busy with two clips, or each clip by window and grid
    tables.ablation_table(study, 4), tables.ablation_table(study, 7).notes
    assert len(jobs) == n_jobs, "the others find theirs"
    tables.ablation_table(study, 5, clips=3)
    assert {name for name, _ in jobs[n_jobs:]} == {"clip2"}


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_rows_of_another_model_leave_the_papers_apart(run, number):
    study, _ = run
    result = tables.ablation_table(study, number)
    table, not_run, differences = result.table, result.not_run, result.differences
    values = list(tables.ablation_of(number).settings)
    ours, theirs = (
        table[table["method"].isin(["B", "SAM2-B"])],
        table[table["method"].isin(["CFFM", "SAM2-CFFM"])],
    )
    assert list(dict.fromkeys(zip(ours["method"], ours["backbone"], ours["setting"]))) == [
        ("B", "1", "base"),
        *(("SAM2-B", "1", v) for v in values),
    ]
    assert ours["measured"].notna().all() and ours["low"].notna().all() and ours["paper"].isna().all()
    assert theirs["measured"].isna().all() and len(theirs) == len(ours) and len(table) == 2 * len(ours)
    assert set(not_run.values()) == {"the toy profile has no CFFM MiT-B1"}
    assert list(not_run) == [("CFFM", "MiT-B1", "base"), *(("SAM2-CFFM", "MiT-B1", v) for v in values)]
    printed = theirs[theirs["metric"] == "mVC8"].set_index("setting")["paper"]
    assert printed[values].tolist() == read_paper_table(number)["mVC8"].tolist()
    assert printed["base"] == 88.6, "of Table 1"
    default = tables.ablation_of(number).default
    assert list(differences) == [(v, "default") for v in values if v != default] + [
        (v, "base") for v in values
    ]


def test_the_papers_own_model_is_preferred_and_stands_beside_its_numbers(run):
    study, _ = run
    study = with_models(study, ("a-0", "A", "0"), ("cffm-b1", "CFFM", "MiT-B1"))
    of_paper = replace(study, profile=replace(study.profile, of_paper=True))
    result = tables.ablation_table(of_paper, 4)
    table, not_run = result.table, result.not_run
    assert not_run == {} and set(table["method"]) == {"CFFM", "SAM2-CFFM"}
    row = table[(table["setting"] == "32") & (table["metric"] == "mIoU")].iloc[0]
    assert row["paper"] == 40.4 and row["measured"] > 0
    # on other data the numbers of the paper stand apart
    result = tables.ablation_table(study, 4)
    rows = result.table[result.table["metric"] == "mIoU"].set_index("setting")
    assert np.isnan(rows.loc["32", "paper"]) and rows.loc["32, paper, VSPW", "paper"] == 40.4
    assert np.isnan(rows.loc["32, paper, VSPW", "measured"]) and rows["measured"].notna().sum() == 8
    assert set(result.not_run.values()) == {"printed for VSPW, which this is not"}


def test_differences_are_those_of_the_scores(run):
    study, _ = run
    result = tables.ablation_table(study, 5)
    table, differences = result.table, result.differences
    counts = tables.ablation_counts(study, 5)
    scores = {value: summarise(found) for value, found in counts.items()}
    assert list(counts) == ["base", "8", "16", "32", "64"] and [c.name for c in counts["8"]] == [
        "clip0",
        "clip1",
    ]
    assert len({round(row["mIoU"], 6) for row in scores.values()}) == 5, (
        "the settings must differ for this to mean anything"
    )
    for (value, other), gains in differences.items():
        for metric, (change, low, high, *_) in gains.items():
            assert (
                change
                == pytest.approx(
                    scores[value][metric] - scores["16" if other == "default" else other][metric]
                )
                and low <= high
            )
    for row in table[table["measured"].notna()].itertuples():
        assert row.measured == scores[row.setting][row.metric]


def test_without_inputs_every_row_says_why_and_a_named_model_is_asked_for_aloud(run):
    study, jobs = run
    study = with_models(study, ("cffm-b1", "CFFM", "MiT-B1"), ("x", "X", "0"))
    result = tables.ablation_table(study, 4)
    table, not_run, differences = result.table, result.not_run, result.differences
    assert (
        table["measured"].isna().all()
        and differences == {}
        and len(not_run) == 8
        and set(not_run.values()) == {"no weights of cffm-b1"}
        and jobs == []
    )
    assert len(result.notes) == 3 and jobs == []
    with pytest.raises(studies.NotRun, match="x: no weights of x"):
        tables.ablation_table(study, 4, "x")
    with pytest.raises(studies.NotRun, match="cffm-b1: .*; x: "):
        tables.ablation_counts(study, 4)


def test_density_counts_what_is_visible(run):
    study, _ = run
    density = tables.masklet_density(study, 7)
    for value, setting in tables.ablation_of(7).settings.items():
        assert density[value] == pytest.approx((1, 100 * columns(setting) / SIZE[1]))


def test_no_masklets_at_all_cover_nothing(run, monkeypatch):
    study, _ = run
    empty = Masklets("clip0", SIZE, MaskletSettings(), (FrameMasklets(0, (), (), (), ()),) * N_FRAMES)
    monkeypatch.setattr(ablation_scores, "read_masklets", lambda path: empty)
    assert set(tables.masklet_density(study, 4).values()) == {(0, 0)}


def test_the_margin_is_what_the_paper_calls_minimal():
    grids = read_paper_table(5).set_index("setting")
    spread = (
        grids[["mIoU", "wIoU", "mVC8", "mVC16"]]
        .sub(grids.loc["16", ["mIoU", "wIoU", "mVC8", "mVC16"]])
        .abs()
        .max()
        .max()
    )
    assert spread == pytest.approx(tables.MARGIN)


@pytest.mark.parametrize(
    "mIoU, mVC8, said",
    [
        (Gain(0.1, -0.2, 0.4, 10), Gain(0.0, -0.1, 0.1, 10), "holds"),
        (Gain(1, 0.6, 2, 10), Gain(0.0, -0.1, 0.1, 10), "does not hold"),
        (Gain(1, 0.6, 2, 10), Gain(-1.0, -2, -0.1, 10), "holds"),
        (Gain(1, 0.4, 2, 10), Gain(0.0, -0.1, 0.1, 10), "cannot be said"),
        (Gain(1, -0.2, 2, 10), Gain(0.0, -0.1, 0.1, 10), "cannot be said"),
        (Gain(0.3, 0.1, 0.5, 10), Gain(0.0, -0.1, 0.1, 10), "holds"),
        (Gain(1, NAN, NAN, 1), Gain(0.0, NAN, NAN, 1), "one clip, no interval"),
    ],
)
def test_another_value_is_no_better_by_hand(mIoU, mVC8, said):
    assert tables.not_better({"mIoU": mIoU, "mVC8": mVC8, "mVC16": mVC8}) == said


def test_verdicts_together():
    assert tables.together(["holds", "holds"]) == "holds"
    assert tables.together(["holds", "cannot be said"]) == "cannot be said"
    assert tables.together(["cannot be said", "does not hold", "holds"]) == "does not hold"


def test_claims_of_the_window_by_hand():
    same, worse = Gain(0.1, -0.1, 0.2, 10), Gain(-2.0, -3.0, -1.0, 10)
    differences = {(v, "default"): {"mIoU": same, "mVC8": worse, "mVC16": same} for v in ("1", "2", "16")} | {
        ("1", "base"): {"mIoU": Gain(9, 9, 9, 10)}
    }
    eight, sixteen, stays = tables.ablation_claims(4, differences)
    assert eight == ("a longer window raises mVC8", "window 32 minus 1: +2.0 [+1.0, +3.0]", "holds")
    assert sixteen[1:] == ("window 32 minus 1: -0.1 [-0.2, +0.1]", "cannot be said")
    assert stays[1:] == ("1: +0.1, 2: +0.1, 16: +0.1", "holds")
    assert tables.ablation_claims(4, {}) == []


def test_claims_of_grid_and_thresholds_by_hand():
    same, better, worse = Gain(0.1, -0.1, 0.2, 10), Gain(2.0, 1.0, 3.0, 10), Gain(-2.0, -3.0, -1.0, 10)
    grids = tables.ablation_claims(
        5,
        {
            ("8", "default"): {"mIoU": worse, "mVC8": same, "mVC16": same},
            ("64", "default"): {"mIoU": same, "mVC8": same, "mVC16": same},
        },
    )
    assert [(said, judged) for _, said, judged in grids] == [
        ("8: -2.0, 64: +0.1", "does not hold"),
        ("8: +0.1, 64: +0.1", "holds"),
        ("8: +0.1, 64: +0.1", "holds"),
    ]
    one = {"mIoU": better, "mVC8": worse, "mVC16": same}
    assert [c[2] for c in tables.ablation_claims(6, {("0.5", "default"): one})] == ["holds"], (
        "it loses in mVC8"
    )
    assert [
        c[2]
        for c in tables.ablation_claims(
            7, {("0.5", "default"): one, ("0.6", "default"): one | {"mVC8": same}}
        )
    ] == ["does not hold"]


def test_notes_say_what_was_varied_on_what(run):
    study, _ = run
    notes = tables.ablation_table(study, 6).notes
    assert (
        notes[0].startswith("2 clips, 40 frames")
        and "one setting alone (threshold on the predicted IoU), on the first 2 of 3 clips" in notes[2]
    )
    assert notes[3].startswith("Masklets per frame (share of the frame in a masklet): 0.4: 1.0 (")
    assert (
        notes[-1]
        == "The paper's claim that a higher threshold leaves fewer masklets: 1.0 to 1.0 a frame (holds)."
    )
    single = tables.ablation_table(study, 4, clips=1).notes
    assert (
        "on the first 1 of 3 clips" in single[2]
        and sum("within this sequence, no verdict" in note for note in single) == 3
    )


def test_record_lists_the_values(run):
    study, _ = run
    parameters = tables.ablation_table(with_models(study), 7).record["parameters"]
    assert (
        parameters["stability"] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        and parameters["clips"] == 2
        and parameters["window"] == 32
    )

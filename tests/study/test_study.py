"""The cache, the choice of predictions, and the rows of Table 1."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from toy import clip_of, make_dataset

from lib import cost, paths, segmentors, study, tables
from lib.clips.clip import Predictions
from lib.clips.errors import DataMissingError
from lib.clips.images import write_labels
from lib.config import VOID, MaskletSettings
from lib.masklets import FrameMasklets, Masklets
from lib.paths import EMBEDDED, ROOT
from lib.refiner import refine_frame
from lib.report.text import METRICS
from lib.segmentors.panoptic.stream import segment
from lib.study import predictions as predicting
from lib.study import scores
from lib.study import segment as segmenting
from lib.study import study as study_file
from lib.study.controls import true_regions
from lib.study.titles import title_of


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """The embedded profile with two clips, an empty cache, and a tracker that only counts its calls."""
    calls = []

    def segment_clip(job):
        clip, _, files, *_ = job
        for settings, path in files.items():
            calls.append((clip.name, settings))
            Masklets(clip.name, clip.size, settings, (FrameMasklets(0, (), (), (), ()),) * len(clip)).save(
                path
            )

    root = tmp_path / "mini"
    for name in ("val_000", "val_001"):
        shutil.copytree(EMBEDDED / "mini" / "data" / name, root / "data" / name)
    (root / "val.txt").write_text("val_000\nval_001\n")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(segmenting, "_segment_clip", segment_clip)
    monkeypatch.setattr(segmenting, "workers", lambda *_: ThreadPoolExecutor(1))
    return study.open_study("mini", str(root)), calls, root


def test_masklets_are_segmented_once_per_clip_and_setting(mini):
    run, calls, _ = mini
    wide, narrow = MaskletSettings(), MaskletSettings(window=8)
    segmenting.segment_clips(run, (wide,))
    segmenting.segment_clips(run, (wide, narrow))
    assert sorted(calls, key=str) == sorted(
        [(c, s) for c in ("val_000", "val_001") for s in (wide, narrow)], key=str
    )
    assert study.masklets_of(run, run.dataset.clips[0]).settings == wide and len(calls) == 4


def test_a_study_carries_its_settings(mini):
    run, calls, root = mini
    narrow = MaskletSettings(window=8)
    assert (
        study.open_study("mini", str(root), settings=narrow).settings == run.under(narrow).settings == narrow
    )
    clip = run.dataset.clips[0]
    assert study.masklets_of(run.under(narrow), clip).settings == narrow and calls == [(clip.name, narrow)]
    assert list(study.masklet_paths(run.under(narrow))) == ["val_000", "val_001"]
    assert run.settings == MaskletSettings() and run.under(narrow).timings_s is run.timings_s


def test_changed_frames_are_segmented_again(mini):
    run, calls, root = mini
    segmenting.segment_clips(run)
    origin = root / "data" / "val_000" / "origin"
    shutil.copy(origin / "00000020.jpg", origin / "00000021.jpg")
    segmenting.segment_clips(study.open_study("mini", str(root)))
    assert [name for name, _ in calls] == ["val_000", "val_001", "val_000"]


def test_few_clips_of_an_ablation_are_several_jobs_each(mini, monkeypatch):
    """So that no processor is idle; with many clips the work that the settings share counts for more."""
    run, _, _ = mini
    jobs, segment_clip, settings = (
        [],
        segmenting._segment_clip,
        (MaskletSettings(), MaskletSettings(window=8), MaskletSettings(iou=0.5), MaskletSettings(grid=8)),
    )
    monkeypatch.setattr(
        segmenting,
        "_segment_clip",
        lambda job: (jobs.append((job[0].name, tuple(job[2]))), segment_clip(job)),
    )
    monkeypatch.setattr(segmenting.os, "cpu_count", lambda: 2)
    segmenting.segment_clips(run, settings)
    assert jobs == [
        (name, part)
        for name in ("val_000", "val_001")
        for part in (settings[1:2], settings[::2], settings[3:])
    ]
    there = [
        segmenting.segment_clips(run, settings[:1])[settings[0]][name] for name in ("val_000", "val_001")
    ]
    monkeypatch.setattr(segmenting, "_segment_clip", lambda job: (there.remove(*job[3]), segment_clip(job)))
    segmenting.segment_clips(run, (settings[0], MaskletSettings(iou=0.4)))
    assert there == [], "what is there is handed on"
    monkeypatch.setattr(
        segmenting,
        "_segment_clip",
        lambda job: (jobs.append((job[0].name, tuple(job[2]))), segment_clip(job)),
    )
    monkeypatch.setattr(paths, "CACHE", paths.CACHE / "another")
    monkeypatch.setattr(segmenting.os, "cpu_count", lambda: 1)
    segmenting.segment_clips(run, settings)
    assert jobs[6:] == [("val_000", settings), ("val_001", settings)]


def test_workers_end_with_their_parent(tmp_path):
    """A parent that is killed cannot say goodbye: its worker has to notice."""
    script = tmp_path / "parent.py"
    script.write_text("""import os, time
from lib.workers import workers
if __name__ == "__main__":
    with workers(1) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 60)
        time.sleep(60)
""")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # raises if there is no such process
        parent.kill()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by ten seconds")


def test_unknown_profile_and_absent_data():
    with pytest.raises(ValueError, match="mini, camvid, vspw"):
        study.open_study("vsp")
    with pytest.raises(DataMissingError, match="nowhere"):
        study.open_study("vspw", "nowhere")


def test_rows_without_inputs_say_why_and_measure_nothing():
    """The vspw profile on data that is there, but with no predictions of any model."""
    result = tables.refiner_table(study.open_study("vspw", str(EMBEDDED / "mini"), "micro"))
    table, not_run, differences = result.table, result.not_run, result.differences
    assert table.measured.isna().all() and differences == {}
    assert len(not_run) == len(table) / len(METRICS) == 26
    assert "data/predictions/vspw/cffm-b1" in not_run["SAM2-CFFM", "MiT-B1", ""]
    row = table[(table.method == "SAM2-CFFM") & (table.backbone == "MiT-B1")].set_index("metric")
    assert row.paper["mIoU"] == 40.3 and np.isnan(row.paper["mVC8_eq4"])
    with pytest.raises(study.NotRun, match="tv3s-b5"):
        study.example(study.open_study("vspw", str(EMBEDDED / "mini"), "micro"))


def test_true_regions_are_the_vote_of_perfect_regions():
    """Each part of a class votes for itself: a minority error goes, a majority error takes the whole part, of
    which one mask over fewer pixels would have left more right."""
    truth = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [VOID, 0, 0, 1, 1]], np.uint8)
    base = truth.copy()
    base[0, 0], base[0, 3:], base[1, 3:] = 5, 7, 7
    base[2, 0] = 9
    (refined,) = true_regions(clip_of([truth]), [base])
    assert refined.tolist() == [[0, 0, 0, 7, 7], [0, 0, 0, 7, 7], [9, 0, 0, 7, 7]]
    # ten pixels of one region, four of them right: perfect regions leave none, a mask over six makes six right
    truth, base = np.ones((1, 10), np.uint8), np.array([[1] * 4 + [7] * 6], np.uint8)
    (refined,) = true_regions(clip_of([truth]), [base])
    six = np.arange(10)[None, None] < 6
    assert (refined == truth).sum() == 0 and (refine_frame(base, six) == truth).sum() == 6


def test_true_regions_are_masks_that_vote():
    """Against masks of the parts and the refiner itself, where parts are many, touch, tie and are without
    votes."""
    rng = np.random.default_rng(0)
    truths, bases = (
        rng.choice([0, 1, 2, VOID], (6, 9, 11), p=p).astype(np.uint8)
        for p in ((0.4, 0.3, 0.2, 0.1), (0.2, 0.2, 0.1, 0.5))
    )
    for truth, base, found in zip(truths, bases, true_regions(clip_of(truths), bases), strict=True):
        parts = [cv2.connectedComponents((truth == c).astype(np.uint8), connectivity=8)[1] for c in (0, 1, 2)]
        masks = np.stack([part == i for part in parts for i in range(1, part.max() + 1)])
        assert (
            found.dtype == np.uint8 and found.tolist() == refine_frame(base, masks).tolist() != base.tolist()
        )


def test_ballots_show_the_vote(mini):
    run, _, _ = mini
    semantic = np.array([[18, 18, 15], [18, VOID, 15]], np.uint8)
    masks = np.array([[[1, 1, 1], [1, 1, 0]], [[0, 0, 0], [0, 1, 0]]], bool)
    shown = scores.ballots(run, semantic, masks)
    assert (
        shown["takes"].tolist() == ["road", ""]
        and shown["votes"][0] == "road 60 %, grass 20 %"
        and shown["pixels"].tolist() == [5, 1]
    )


def test_compare_scores_label_sequences(mini):
    run, _, _ = mini
    clip = run.dataset.clips[0]
    truth = Predictions(clip.name, clip.frames, clip.truth)
    table = scores.compare(
        run, clip, {"truth": truth, "void": [np.full(clip.size, VOID, np.uint8)] * len(clip)}
    )
    assert table.loc["truth", "mIoU"] == 100 and table.loc["void", "mIoU"] == 0


def test_what_is_cached_is_shown_without_loading_torch(mini, monkeypatch):
    """It takes seconds, and each of ten notebooks would pay them."""
    run, _, root = mini
    empty = lambda run, name, weights, folder: [
        write_labels(folder / clip.name / f"{frame}.png", np.zeros(clip.size, np.uint8))
        for clip in run.dataset.clips
        for frame in clip.frames
    ]
    monkeypatch.setattr(predicting, "_predict", empty)
    tables.refiner_rows(run, "segformer-n0")
    lines = [("Measured", "micro", "window 1", "fps", 2.0)]
    monkeypatch.setattr(
        cost, "time_runs", lambda *_: {"lines": lines, "ratios": [1.0], "rate": "a rate", "day": "today"}
    )
    cost.cost_table(run, [], [1], 2)
    code = f"""if True:
        import sys
        from lib import claims, cost, plots, report, study, tables
        from lib.report import provenance
        provenance._may_have_gpu = lambda: False  # to name one, torch must be asked
        run = study.open_study("mini", {str(root)!r})
        assert len(tables.refiner_rows(run, "segformer-n0")) == 5 and tables.record(run)["device"]
        result = cost.cost_table(run, [], [1], 2)
        assert len(result.measured()) == 1 and len(result.notes) == 4
        print([name for name in ("torch", "torchvision", "sam2") if name in sys.modules])"""
    environ = {**os.environ, "SAM2VSS_CACHE": str(paths.CACHE)}
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environ
        ).stdout.strip()
        == "[]"
    )


def test_label_maps_of_a_small_data_set_are_read_once(mini, monkeypatch):
    run, _, root = mini
    clip = run.dataset.clips[0]
    assert clip.truth(0) is clip.truth(0) and not clip.truth(0).flags.writeable
    assert pickle.loads(pickle.dumps(clip)).truth(0).tolist() == clip.truth(0).tolist()
    monkeypatch.setattr(study_file, "IN_MEMORY_BYTES", 10**6)
    clip = study.open_study("mini", str(root)).dataset.clips[0]
    assert clip.truth(0) is not clip.truth(0)


def test_titles_say_how_much_was_studied_and_with_which_sam(mini):
    """Part of VSPW is not VSPW, and micro is named whatever the profile."""
    run, _, _ = mini
    title = lambda profile, n, split="val", checkpoint="": title_of(
        study.PROFILES[profile],
        replace(run.dataset, split=split, clips=run.dataset.clips[:1] * n),
        checkpoint or study.PROFILES[profile].sam,
    )
    assert run.title == study.PROFILES["mini"].title == "mini: drawn clips, micro SAM 2"
    assert title("vspw", 343) == "VSPW"
    assert title("vspw", 2) == "2 clips of VSPW's 343"
    assert title("vspw", 1, "train") == "1 clip of VSPW's 2806, within this sequence"
    assert title("vspw", 2, checkpoint="micro") == "2 clips of VSPW's 343, micro SAM 2"
    assert title("vipseg", 343, checkpoint="/w/micro.safetensors") == "VIPSeg, micro SAM 2"
    assert title("camvid", 1) == "CamVid: real video, within this sequence, micro SAM 2"
    assert title("camvid", 1, checkpoint="tiny") == "CamVid: real video, within this sequence, SAM 2 tiny"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["dvis-plus-n1", "dvis-plus-n1-offline"])
def test_a_panoptic_base_model_writes_tubes_that_are_read_as_classes(tmp_path, monkeypatch, name):
    """Once for the same weights and frames, and again for others."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    dataset, profile = make_dataset(clips=2, frames=3), study.PROFILES["mini-vipseg"]
    dataset = replace(dataset, classes=tuple(map(str, range(124))))
    run = study.Study(profile, tmp_path, dataset, "micro")
    predicted = study.predictions_of(run, name)
    model = segmentors.load(name, predicting.weights_file(profile, name))
    for clip in dataset.clips:
        tubes = list(segment(model, clip))
        assert len(tubes) == len(clip) == len(predicted[clip.name])
        for t, (numbers, classes) in enumerate(tubes):
            np.testing.assert_array_equal(predicted[clip.name][t], classes[numbers])
    (folder,) = (f for f in (run.cache / "predictions").iterdir() if f.is_dir())
    assert sorted(f.name for f in folder.iterdir()) == ["pan_pred", "pred.json"]
    monkeypatch.setattr(predicting, "_predict", lambda *_: pytest.fail("predicted again"))
    study.predictions_of(replace(run), name)
    other = replace(run, dataset=make_dataset(clips=1, frames=2))
    with pytest.raises(pytest.fail.Exception, match="predicted again"):
        study.predictions_of(other, name)


def test_a_base_model_is_trained_anew_where_the_train_split_is_another(monkeypatch, tmp_path):
    """Not the path but the frames and labels decide: other data at the same place are other data."""
    run = replace(study.open_study("mini"), profile=replace(study.PROFILES["camvid"], training_steps=3))
    trained = []
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(
        predicting, "_train_base", lambda _, name, out: (trained.append(out), write_text(out))
    )
    frames = [np.zeros((4, 6), np.uint8), np.ones((4, 6), np.uint8)]
    for labels in (frames, frames, frames[::-1]):
        split = replace(run.dataset, clips=(clip_of(labels),))
        monkeypatch.setattr(predicting, "read_train_split", lambda *_, split=split: split)
        predicting.base_weights(run, "segformer-n1")
    assert len(trained) == len(set(trained)) == 2


def write_text(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")

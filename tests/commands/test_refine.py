"""Folders in, folders out: names, resuming, and what is refused before anything is computed."""

import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import make_masklets

from lib import masklets
from lib.clips.digests import digests
from lib.clips.errors import DataError, DataMissingError
from lib.clips.images import PALETTE, write_labels
from lib.commands import refine, results
from lib.commands.refine import refine_folder
from lib.config import MaskletSettings, Shortcuts, VoteSettings
from lib.refiner import refine_clip
from lib.study.cache import VERSIONS

pytestmark = pytest.mark.usefixtures("own_cache")

CLIPS = {"street": 5, "park": 3}
SETTINGS = MaskletSettings(window=2)


@pytest.fixture
def folders(tmp_path):
    """Frames and predictions of two clips, 13x17."""
    rng = np.random.default_rng(0)
    for name, n_frames in CLIPS.items():
        for t in range(n_frames):
            frame = tmp_path / "frames" / name / f"frame{t}.png"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8)).save(frame)
            write_labels(
                tmp_path / "predictions" / name / f"frame{t}.png",
                rng.choice(np.array([0, 5, 123, 255], np.uint8), (13, 17)),
            )
    return tmp_path / "frames", tmp_path / "predictions", tmp_path / "out"


def masklets_of(name, n_masks=3, settings=SETTINGS):
    """Masklets of a clip, the same each time."""
    rng = np.random.default_rng(CLIPS[name])
    masks = rng.random((CLIPS[name], n_masks, 13, 17)) < 0.4
    return make_masklets(
        [masks[t : t + settings.window] for t in range(0, len(masks), settings.window)], settings, name
    )


@pytest.fixture
def work(monkeypatch):
    """What was computed: "load" for the model, else the name of the clip that was cut."""
    log = []

    def segment(sam, clip, settings, progress=None, **options):
        assert sam == "sam" and settings == SETTINGS
        log.append(clip.name)
        return masklets_of(clip.name)

    monkeypatch.setattr(refine.segmenting, "segment", segment)
    return log


def test_forecast_comes_once_before_the_first_cut(folders, work, caplog, tmp_path):
    """It is of the clips that need masklets: not of one that is finished, nor of one whose masklets are
    there."""
    asked = []
    forecast = lambda sam, clips, settings, **options: (
        asked.append(([c.name for c in clips], list(work), options)) or f"{sam}: a while"
    )
    caplog.set_level(logging.INFO, "lib")
    go(work, *folders, forecast=forecast, objects_per_batch=3)
    assert (
        asked == [(["park", "street"], ["load"], {"objects_per_batch": 3})]
        and caplog.messages[0] == "forecast: sam: a while"
    )
    go(work, *folders, forecast=forecast)
    (folders[2] / "street" / "frame0.png").unlink()
    go(work, *folders, forecast=forecast)
    assert [clips for clips, *_ in asked] == [["park", "street"], ["street"]]
    go(work, *folders[:2], tmp_path / "first", masklets=tmp_path / "masklets")
    (tmp_path / "masklets/street.json").unlink()
    go(work, *folders[:2], tmp_path / "other", forecast=forecast, masklets=tmp_path / "masklets")
    assert [clips for clips, *_ in asked][2:] == [["street"]]


def go(work, *folders, checkpoint="tiny", weights="", votes=VoteSettings(), settings=SETTINGS, **options):
    """Refine with a SAM 2 that is known by name and by the digest of its weights."""
    return refine_folder(
        *folders,
        lambda name: work.append("load") or "sam",
        settings,
        votes,
        options.pop("shortcuts", Shortcuts()),
        choose_sam=lambda recorded: (checkpoint, weights or f"digest of {checkpoint}"),
        **options,
    )


def hashes(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def labels(folder, name):
    return [np.array(Image.open(folder / name / f"frame{t}.png")) for t in range(CLIPS[name])]


@pytest.mark.parametrize("votes", [VoteSettings(), VoteSettings("score", "masklet")])
def test_writes_palette_pngs_of_equal_names(folders, work, votes):
    frames, predictions, out = folders
    before = hashes(frames), hashes(predictions)
    assert go(work, *folders, votes=votes) == ["park", "street"] and work == ["load", "park", "street"]
    assert (hashes(frames), hashes(predictions)) == before
    assert set(hashes(out)) - {Path("_refined.json")} == set(hashes(predictions))
    for name in CLIPS:
        image = Image.open(out / name / "frame0.png")
        assert image.mode == "P" and image.size == (17, 13)
        np.testing.assert_array_equal(
            np.array(image.getpalette()).reshape(-1, 3), PALETTE[: len(image.getpalette()) // 3]
        )
        expected = list(refine_clip(labels(predictions, name), masklets_of(name), votes))
        np.testing.assert_array_equal(labels(out, name), expected)
        assert (np.array(expected) != labels(predictions, name)).any()


def test_resumes(folders, work):
    out = folders[2]
    go(work, *folders)
    finished = hashes(out)
    work.clear()
    assert go(work, *folders) == [] and work == []
    (out / "street" / "frame3.png").unlink()
    stamp = (out / "park" / "frame0.png").stat().st_mtime_ns
    assert go(work, *folders) == ["street"] and work == ["load", "street"]
    assert hashes(out) == finished and (out / "park" / "frame0.png").stat().st_mtime_ns == stamp


def test_shortcuts_are_remembered_and_not_mixed_with_exact_results(folders, work):
    out = folders[2]
    go(work, *folders, shortcuts=Shortcuts(every=2))
    assert json.loads((out / "_refined.json").read_text())["every"] == 2 and "input_px" not in json.loads(
        (out / "_refined.json").read_text()
    )
    (out / "park" / "frame0.png").unlink()
    with pytest.raises(DataError, match="_refined.json"):
        go(work, *folders)
    assert go(work, *folders, shortcuts=Shortcuts(every=2)) == ["park"]


def test_one_clip_takes_its_own_predictions_folder(folders, work):
    frames, predictions, out = folders
    for given in (predictions, predictions / "street"):
        assert go(work, frames / "street", given, out / given.name) == ["street"]
    assert hashes(out / "predictions") == hashes(out / "street")


@pytest.mark.parametrize(
    ("frames", "predictions", "out"),
    [
        ("frames", "predictions", "predictions"),
        ("frames", "predictions", "frames"),
        ("frames", "predictions", "x/../predictions/"),
        ("frames", "predictions", "link"),
        ("frames/street", "predictions/street", "predictions"),  # would write into predictions/street
        ("frames/street", "predictions/street", "frames"),
        ("frames", "predictions", "frames/out"),
    ],
)
def test_output_never_falls_on_input(folders, work, tmp_path, frames, predictions, out):
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "predictions")
    before = hashes(tmp_path)
    with pytest.raises(DataError, match="apart from the inputs.* Choose another folder"):
        go(work, tmp_path / frames, tmp_path / predictions, f"{tmp_path}/{out}")
    assert hashes(tmp_path) == before and work == []


def test_names_are_checked_before_anything_is_computed(folders, work, tmp_path):
    frames, predictions, out = folders
    (predictions / "street" / "frame4.png").unlink()
    with pytest.raises(DataMissingError, match="frame4"):
        go(work, *folders, masklets=tmp_path / "masklets")
    write_labels(predictions / "street" / "frame4.png", np.zeros((13, 17), np.uint8))
    write_labels(predictions / "street" / "frame5.png", np.zeros((13, 17), np.uint8))
    with pytest.raises(DataError, match="frame5"):
        go(work, *folders, masklets=tmp_path / "masklets")
    with pytest.raises(DataMissingError, match="nowhere"):
        go(work, tmp_path / "nowhere", predictions, out)
    assert work == [] and sorted(p.name for p in tmp_path.iterdir()) == ["frames", "predictions"]


def damage(path, n_bytes):
    """Cut the last bytes off a file."""
    path.write_bytes(path.read_bytes()[:-n_bytes])


def test_files_are_checked_before_anything_is_computed_and_all_problems_come_together(
    folders, work, tmp_path
):
    frames, predictions, out = folders
    write_labels(predictions / "street" / "frame2.png", np.zeros((17, 13), np.uint8))
    damage(predictions / "park" / "frame1.png", 4)
    Image.new("RGB", (17, 13)).save(predictions / "street" / "frame0.png")
    damage(frames / "street" / "frame4.png", 20)
    with pytest.raises(DataError) as error:
        go(work, *folders, masklets=tmp_path / "masklets")
    lines = str(error.value).splitlines()
    assert lines[0] == "4 files are missing or wrong:" and len(lines) == 5
    for path, told in {
        "street/frame2.png": "expected 13x17 .* found 17x13",
        "park/frame1.png": "complete image",
        "street/frame0.png": "label map.* mode RGB",
        "street/frame4.png": "complete image",
    }.items():
        assert sum(bool(re.search(f"{path}: .*{told}", line)) for line in lines) == 1
    assert work == [] and sorted(p.name for p in tmp_path.iterdir()) == ["frames", "predictions"]


def test_ten_problems_stand_in_full_and_the_others_are_counted(folders, work, tmp_path):
    whole = (folders[1] / "park/frame0.png").read_bytes()
    for t in range(12):
        for root in folders[:2]:
            (root / "long").mkdir(exist_ok=True)
            (root / "long" / f"frame{t}.png").write_bytes(whole[:-9])
    with pytest.raises(DataError) as error:
        go(work, *folders)
    lines = str(error.value).splitlines()
    assert len(lines) == 12 and lines[0].startswith("24 files") and lines[-1] == "... and 14 more."


def test_bytes_after_the_end_of_a_picture_do_no_harm(folders, work):
    for path in (folders[0] / "park/frame0.png", folders[1] / "park/frame0.png"):
        path.write_bytes(path.read_bytes() + b"from a camera")
    assert go(work, *folders) == ["park", "street"]


@pytest.mark.parametrize("kept", [False, True])
def test_masklets_survive_when_refining_fails(folders, work, monkeypatch, caplog, tmp_path, kept):
    """An interruption while the first clip is written: the next run segments the second clip alone."""
    options = {"masklets": tmp_path / "masklets"} if kept else {}
    monkeypatch.setattr(results, "write_labels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        go(work, *folders, **options)
    if not kept:
        assert f"park: its masklets are kept in {folders[2] / '.masklets' / 'park.json'}" in caplog.text
        (folders[2] / ".masklets" / ".street.json.1.part").touch()  # as a kill while it is written leaves it
    monkeypatch.setattr(results, "write_labels", write_labels)
    work.clear()
    assert go(work, *folders, **options) == ["park", "street"] and work == ["load", "street"]
    assert not (folders[2] / ".masklets").exists()


@pytest.fixture
def refined(folders, work, tmp_path):
    """Folders with results of a first run in OUT and in the masklets' folder; returns the arguments."""
    go(work, *folders, masklets=tmp_path / "masklets")
    work.clear()
    return folders


def other_frames(folders, monkeypatch):
    """Change one frame: equal name, number, size and date."""
    path = folders[0] / "street" / "frame1.png"
    before = path.stat()
    pixels = np.array(Image.open(path))
    Image.fromarray(255 - pixels).save(path)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_predictions(folders, monkeypatch):
    write_labels(folders[1] / "park" / "frame0.png", np.zeros((13, 17), np.uint8))


def other_version(folders, monkeypatch):
    monkeypatch.setitem(VERSIONS, "masklets", "next")


def other_refiner(folders, monkeypatch):
    monkeypatch.setattr(results, "REFINE_VERSION", "next")


NOTHING = lambda folders, monkeypatch: None
CHANGES = {  # what is changed, how the next run is called, whether masklets depend on it, what is told
    "frames": (other_frames, {}, True, r"other frames of 1 clip \(street\)"),
    "predictions": (other_predictions, {}, False, r"other predictions of 1 clip \(park\)"),
    "weights": (
        NOTHING,
        {"weights": "2"},
        True,
        "other weights .of tiny, digest digest of tiny; now tiny, digest 2",
    ),
    "checkpoint": (NOTHING, {"checkpoint": "large"}, True, "other weights .of tiny, .* now large"),
    "settings": (NOTHING, {"settings": MaskletSettings(window=4)}, True, r"another window \(2; now 4\)"),
    "shortcuts": (NOTHING, {"shortcuts": Shortcuts(every=2)}, True, r"another every \(not set; now 2\)"),
    "bf16": (NOTHING, {"autocast": True}, True, r"another bf16 \(False; now True\)"),
    "votes": (
        NOTHING,
        {"votes": VoteSettings(overlap="score")},
        False,
        r"another overlap \(area; now score\)",
    ),
    "tracker": (other_version, {}, True, "another version of the code"),
    "refiner": (other_refiner, {}, False, "another version of the code"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("kept", [False, True], ids=["out", "masklets"])
def test_stale_results_are_refused_in_one_message(refined, work, tmp_path, monkeypatch, what, kept):
    """Alone, OUT is refused; with another OUT, the masklets are, if they depend on what changed."""
    change, options, masklets_too, told = CHANGES[what]
    change(refined, monkeypatch)
    before = hashes(tmp_path)
    if kept:
        options = {**options, "masklets": tmp_path / "masklets"}
    with pytest.raises(DataError, match=f"_refined.json: .*{told}.* Add --overwrite .* another folder"):
        go(work, *refined, **options)
    if kept and masklets_too:
        with pytest.raises(DataError, match=f"_masklets.json: .*{told}.* Add --overwrite .* another folder"):
            go(work, *refined[:2], tmp_path / "new", **options)
    assert work == [] and hashes(tmp_path) == before
    if kept and not masklets_too:
        assert go(work, *refined[:2], tmp_path / "new", **options) == ["park", "street"] and work == []


@pytest.mark.parametrize("what", CHANGES)
def test_overwrite_makes_anew_what_differs(refined, work, tmp_path, monkeypatch, what):
    change, options, masklets_too, _ = CHANGES[what]
    change(refined, monkeypatch)
    settings = options.get("settings", SETTINGS)
    monkeypatch.setattr(
        refine.segmenting,
        "segment",
        lambda sam, clip, *_, **__: work.append(clip.name) or masklets_of(clip.name, settings=settings),
    )
    options = {**options, "masklets": tmp_path / "masklets"}
    anew = {"frames": ["street"], "predictions": ["park"]}.get(what, ["park", "street"])
    assert go(work, *refined, overwrite=True, **options) == anew
    assert work == (["load", *anew] if masklets_too else [])
    fresh = tmp_path / "fresh"
    go(work, *refined[:2], fresh, **options)
    assert hashes(fresh) == hashes(refined[2])
    work.clear()
    assert go(work, *refined, **options) == [] and work == []


def test_model_b_into_the_folder_of_model_a(refined, work, tmp_path):
    """The case that once said "all were there" and left A's results."""
    other = tmp_path / "model_b"
    for name, n_frames in CLIPS.items():
        for t in range(n_frames):
            write_labels(other / name / f"frame{t}.png", np.full((13, 17), 7, np.uint8))
    with pytest.raises(DataError, match=r"other predictions of 2 clips \(park, street\)"):
        go(work, refined[0], other, refined[2])
    assert go(work, refined[0], other, refined[2], overwrite=True) == ["park", "street"]
    assert all((image == 7).all() for image in labels(refined[2], "park"))


def test_an_interrupted_overwrite_never_leaves_two_models_mixed(refined, work, monkeypatch):
    other_predictions(refined, monkeypatch)
    write_labels(refined[1] / "street" / "frame0.png", np.zeros((13, 17), np.uint8))
    monkeypatch.setattr(results, "write_labels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        go(work, *refined, overwrite=True)
    assert not list(refined[2].glob("*/*.png"))
    monkeypatch.setattr(results, "write_labels", write_labels)
    assert go(work, *refined) == ["park", "street"]


def test_stale_masklets_go_before_their_record_says_otherwise(refined, work, tmp_path, monkeypatch):
    """A kill between the record and the file must not let old masklets pass for new ones."""
    options = {"weights": "2", "masklets": tmp_path / "masklets"}
    with monkeypatch.context() as killed:
        killed.setattr(masklets.Masklets, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(work, *refined[:2], tmp_path / "new", overwrite=True, **options)
    work.clear()
    assert go(work, *refined[:2], tmp_path / "new", **options) == ["park", "street"]
    assert work == ["load", "park", "street"]


def test_clips_of_several_runs_share_a_folder(folders, work):
    """As when each of several processes refines a clip."""
    for name in CLIPS:
        assert go(work, folders[0] / name, folders[1] / name, folders[2]) == [name]
    work.clear()
    assert go(work, *folders) == [] and work == []


def test_a_clip_that_was_broken_off_is_not_taken_for_finished(refined, work, monkeypatch):
    """All its frames are there, but an earlier run stopped while it wrote them anew."""
    (refined[2] / "park" / "frame0.png").unlink()
    whole = lambda path, labels: write_labels(path, labels) if "frame2" not in str(path) else 1 / 0
    monkeypatch.setattr(results, "write_labels", whole)
    with pytest.raises(ZeroDivisionError):
        go(work, *refined)
    monkeypatch.setattr(results, "write_labels", write_labels)
    assert len(list((refined[2] / "park").iterdir())) == 3
    assert go(work, *refined) == ["park"]


def test_overwrite_does_not_orphan_clips_that_the_run_lacks(refined, work):
    before = hashes(refined[2])
    one = {"frames": refined[0] / "street", "predictions": refined[1] / "street"}
    with pytest.raises(
        DataError, match=r"1 clip \(park\) that this run does not have.* Choose another folder"
    ):
        go(work, *one.values(), refined[2], votes=VoteSettings("score"), overwrite=True)
    assert hashes(refined[2]) == before and work == []
    assert go(work, *one.values(), refined[2]) == []


@pytest.mark.parametrize("record", [{"checkpoint": "tiny", "window": 2}, "{", "[]", None])
def test_results_of_which_no_digests_are_known_are_refused(refined, work, tmp_path, record):
    """A record of an earlier version, a damaged one, none at all."""
    for folder, name in ((refined[2], "_refined.json"), (tmp_path / "masklets", "_masklets.json")):
        path = folder / name
        path.unlink() if record is None else path.write_text(
            record if isinstance(record, str) else json.dumps(record)
        )
    told = {dict: "earlier version", str: "cannot be read", type(None): "no record"}[type(record)]
    with pytest.raises(DataError, match=f"_refined.json: .*{told}.* --overwrite"):
        go(work, *refined)
    with pytest.raises(DataError, match=f"_masklets.json: .*{told}.* --overwrite"):
        go(work, *refined[:2], tmp_path / "new", masklets=tmp_path / "masklets")
    options = {"masklets": tmp_path / "masklets", "overwrite": True}
    assert go(work, *refined, **options) == ["park", "street"] and work == ["load", "park", "street"]


def test_unchanged_files_are_not_read_again(folders, work, monkeypatch):
    for path in [p for root in folders[:2] for p in root.rglob("*.png")]:
        os.utime(path, (0, 0))
    monkeypatch.setattr("lib.clips.digests.FRESH_NS", -(10**18))
    go(work, *folders)
    read = []
    monkeypatch.setattr("lib.clips.digests.hashlib.file_digest", lambda *_: read.append(1))
    assert go(work, *folders) == [] and read == []
    monkeypatch.undo()
    other_frames(folders, None)
    assert digests([folders[0] / "street/frame1.png"]) != digests([folders[0] / "street/frame0.png"])


def test_a_data_set_and_its_split(folders, work, tmp_path):
    """The layout of VSPW; clips without predictions are counted, and left out only when asked."""
    root = tmp_path / "VSPW_480p"
    for name in CLIPS:
        (root / "data" / name).mkdir(parents=True)
        (root / "data" / name / "origin").symlink_to(folders[0] / name)
        (root / "data" / name / "mask").symlink_to(folders[1] / name)
    (root / "val.txt").write_text("street\npark\n")
    (root / "train.txt").write_text("street\n")
    with pytest.raises(DataError, match="found the folder of a data set. Add --split val"):
        go(work, root, *folders[1:])
    assert go(work, root, folders[1], tmp_path / "train", split="train") == ["street"]
    assert go(work, root, *folders[1:], split="val") == ["street", "park"]


def test_clips_without_predictions(folders, work, tmp_path, caplog):
    shutil.rmtree(folders[1] / "park")
    with pytest.raises(DataMissingError, match="each of 2 clips.* none for 1: park .* --skip-missing"):
        go(work, *folders)
    assert work == [] and not folders[2].exists()
    assert go(work, *folders, skip_missing=True) == ["street"]
    assert "1 of 2 clips skipped, they have no predictions: park" in caplog.text
    shutil.rmtree(folders[1] / "street")
    with pytest.raises(DataMissingError, match="none for 2: park, street"):
        go(work, *folders, skip_missing=True)


def test_the_choice_of_sam(folders, work, monkeypatch, caplog, tmp_path):
    """Asked for, else recorded, else an official one; micro says what it is made for."""
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    monkeypatch.setattr("lib.sam.checkpoints.download", lambda name: weights)
    caplog.set_level(logging.INFO, "lib")
    name, digest = refine.choose_sam(None, "", "cpu")
    assert name == "tiny" and digest == hashlib.sha256(b"weights").hexdigest()[:16]
    assert "tiny of SAM 2.1, the default on a CPU" in caplog.text and "drawn clips" not in caplog.text
    monkeypatch.setattr(refine.options, "device_of", lambda name: "cuda")
    assert refine.choose_sam(None, "")[0] == "large" and "the default on a GPU" in caplog.text
    assert refine.choose_sam(None, "small")[0] == "small" and "as recorded by the run before" in caplog.text
    assert refine.choose_sam("base-plus", "small")[0] == "base-plus"
    assert refine.choose_sam(str(weights), "")[0] == str(weights)
    assert "drawn clips" not in caplog.text
    refine.choose_sam("micro", "")
    assert caplog.text.count("made for the drawn clips") == 1
    with pytest.raises(DataMissingError, match="none.pt"):
        refine.choose_sam(str(tmp_path / "none.pt"), "")


def test_an_official_sam_that_cannot_be_fetched_says_how_to_get_it(monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(DataMissingError) as error:
        refine.choose_sam(None, "", "cpu")
    for told in (
        "sam2.1_hiera_tiny.pt",
        "facebook/sam2.1-hiera-tiny",
        "--checkpoint PATH",
        "--checkpoint micro",
    ):
        assert told in str(error.value)


def test_a_resumed_run_is_told_the_checkpoint_of_the_record(refined, work):
    told = []
    refine_folder(
        *refined,
        None,
        SETTINGS,
        choose_sam=lambda recorded: (told.append(recorded), ("tiny", "digest of tiny"))[1],
    )
    assert told == ["tiny"]


def test_masklets_are_kept_and_used_again(folders, work, tmp_path):
    frames, predictions, out = folders
    kept = tmp_path / "masklets"
    go(work, *folders, masklets=kept)
    assert not (out / ".masklets").exists()
    assert masklets.read(kept / "street.json") == masklets_of("street")
    work.clear()
    assert go(work, frames, predictions, tmp_path / "again", votes=VoteSettings(), masklets=kept) == [
        "park",
        "street",
    ]
    assert work == [] and hashes(tmp_path / "again") == hashes(out)
    assert (
        go(work, frames, predictions, tmp_path / "by_score", votes=VoteSettings("score"), masklets=kept)
        and work == []
    )


@pytest.mark.parametrize("name, settings", [("park", SETTINGS), ("street", MaskletSettings(window=3))])
def test_masklets_of_another_clip_or_setting_are_refused(folders, work, tmp_path, name, settings):
    """Exchanged behind the record's back."""
    go(work, *folders[:2], tmp_path / "first", masklets=tmp_path / "masklets")
    masklets_of(name, settings=settings).save(tmp_path / "masklets" / "street.json")
    with pytest.raises(DataError, match="street.json: expected masklets of street .* Delete the file"):
        go(work, folders[0] / "street", folders[1], folders[2], masklets=tmp_path / "masklets")
    assert not folders[2].exists()


def test_interruption_leaves_only_whole_frames(folders, work, monkeypatch):
    written = []

    def write(path, labels):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write_labels(path, labels)

    monkeypatch.setattr(results, "write_labels", write)
    with pytest.raises(KeyboardInterrupt):
        go(work, *folders)
    monkeypatch.setattr(results, "write_labels", write_labels)
    work.clear()
    assert go(work, *folders) == ["street"] and work == []


def test_no_masklet_leaves_the_prediction_and_says_so(folders, work, monkeypatch, caplog):
    monkeypatch.setattr(
        refine.segmenting, "segment", lambda sam, clip, settings, **_: masklets_of(clip.name, 0)
    )
    go(work, *folders)
    np.testing.assert_array_equal(labels(folders[2], "street"), labels(folders[1], "street"))
    assert "street: SAM 2 found no masklet in 5 of 5 frames" in caplog.text


def test_with_a_model(folders, tmp_path, caplog):
    """The real tracker, random weights: options, progress and the log reach their places."""
    import torch

    from lib import sam

    torch.manual_seed(0)
    model, bars = sam.micro(64).eval(), []

    def progress(steps, desc, total):
        bars.append((desc, total))
        return steps

    caplog.set_level(logging.INFO, "lib")
    settings = MaskletSettings(window=2, grid=2, iou=0.0, stability=0.0)
    arguments = {
        "settings": settings,
        "masklets": tmp_path / "masklets",
        "progress": progress,
        "objects_per_batch": 2,
        "autocast": False,
    }
    choose = lambda recorded: ("micro", "random")
    assert refine_folder(*folders, lambda name: model, choose_sam=choose, **arguments) == ["park", "street"]
    assert bars == [("park", 3), ("street", 5)] and "street: 5 frames refined, " in caplog.text
    found = masklets.read(tmp_path / "masklets" / "street.json")
    assert all(f.ids for f in found.frames)
    np.testing.assert_array_equal(
        labels(folders[2], "street"), list(refine_clip(labels(folders[1], "street"), found))
    )

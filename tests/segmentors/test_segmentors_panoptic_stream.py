"""Panoptic models on clips: windows, disk, interruptions, output formats, wrong files."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from seeded_panoptic import small_config, small_model
from toy import clip_of, make_dataset

from lib import segmentors
from lib.clips.errors import DataError, DataMissingError
from lib.clips.folders import read_predictions
from lib.commands.predict import predict_folder
from lib.config import VOID
from lib.segmentors.panoptic import VideoPanoptic, build, load, names, trace
from lib.segmentors.panoptic.classes import CLASS_IDS, MODEL_CLASSES, N_THINGS
from lib.segmentors.panoptic.cost import forecast, gflop_per_frame
from lib.segmentors.panoptic.output import panoptic
from lib.segmentors.panoptic.predict import predict, predict_clip, segment_ids
from lib.segmentors.panoptic.stream import Store, network_size, prepare, segment

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = [(tracker, offline) for tracker in ("dvis", "dvis-plus", "cavis") for offline in (False, True)]


@pytest.fixture(scope="module")
def clip():
    return make_dataset(clips=1, frames=5).clips[0]


def numbers_of(model, clip, **options):
    """Class ids and tube numbers of all frames."""
    frames = list(segment(model, clip, **options))
    return np.stack([numbers for numbers, _ in frames]), frames[0][1]


# --- streaming ---


@pytest.mark.parametrize("tracker, offline", KINDS)
def test_windows_and_disk_change_nothing(tracker, offline, clip, tmp_path):
    model = small_model(tracker, offline=offline)
    numbers, classes = numbers_of(model, clip, window=1)
    assert len(classes) > 2 and numbers.max() == len(classes) - 1 and classes[0] == VOID
    for options in (
        {"window": 3},
        {"window": 4},
        {"window": 9},
        {"window": 2, "most_bytes": 0},
        {"window": 2, "work": tmp_path / "work"},
    ):
        others, theirs = numbers_of(model, clip, **options)
        assert np.array_equal(theirs, classes) and (others == numbers).mean() > 0.999
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("tracker, offline", KINDS)
def test_stream_equals_the_whole_clip_at_once(tracker, offline, clip):
    model = small_model(tracker, offline=offline)
    images, sizes = zip(*(prepare(clip.image(t), model.config) for t in range(len(clip))))
    found = trace(model, torch.stack(images), [len(clip)])
    masks = found.get("ref_pred_masks", found["trk_pred_masks"])[0]
    limits = model.config.object_threshold, model.config.overlap_threshold
    ids, tubes = panoptic(
        found["logits"], found.get("aux"), masks, sizes[0].padded, sizes[0].image, clip.size, limits
    )
    numbers, classes = numbers_of(model, clip)
    assert (numbers == ids).mean() > 0.999 and classes[1:].tolist() == [CLASS_IDS[t.class_id] for t in tubes]


class Interrupted(Exception):
    pass


def interrupt(model, after):
    """Let the backbone fail after some windows; returns a list of how many frames it saw."""
    seen = []

    def count(module, inputs):
        if len(seen) == after:
            raise Interrupted
        seen.append(len(inputs[0]))

    return seen, model.backbone.register_forward_pre_hook(count)


@pytest.mark.parametrize("tracker, offline", KINDS)
def test_an_interrupted_clip_goes_on(tracker, offline, clip, tmp_path):
    model, work = small_model(tracker, offline=offline), tmp_path / "work"
    whole, classes = numbers_of(model, clip, window=2)
    _, hook = interrupt(model, 2)
    with pytest.raises(Interrupted):
        numbers_of(model, clip, window=2, work=work)
    hook.remove()
    seen, hook = interrupt(model, -1)
    numbers, theirs = numbers_of(model, clip, window=2, work=work)
    hook.remove()
    assert (
        seen == [1]
        and np.array_equal(theirs, classes)
        and (numbers == whole).mean() > 0.999
        and not work.exists()
    )


def test_what_another_model_left_is_not_taken(clip, tmp_path):
    work = tmp_path / "work"
    model = small_model("dvis", queries=6)
    _, hook = interrupt(model, 1)
    with pytest.raises(Interrupted):
        numbers_of(model, clip, window=2, work=work)
    other = small_model("dvis")
    seen, _ = interrupt(other, -1)
    numbers_of(other, clip, window=2, work=work)
    assert seen == [2, 2, 1]


def test_what_is_left_of_other_frames_is_not_taken(tmp_path):
    """Frames of the same names and sizes, other pictures: nothing of the first run is in the second."""
    model, work = small_model("dvis"), tmp_path / "work"
    before, after = (clip_of([np.full((64, 96), grey, np.uint8) for _ in range(5)]) for grey in (30, 200))
    _, hook = interrupt(model, 1)
    with pytest.raises(Interrupted):
        numbers_of(model, before, window=2, work=work)
    hook.remove()
    seen, hook = interrupt(model, -1)
    numbers_of(model, after, window=2, work=work)
    hook.remove()
    assert seen == [2, 2, 1]


def test_state_is_needed(clip):
    """The tests above would see a state that is lost: without it the last frame comes out otherwise."""
    model = small_model("dvis")
    images = torch.stack([prepare(clip.image(t), model.config)[0] for t in range(len(clip))])
    whole = trace(model, images, [len(clip)])["trk_pred_masks"][:, :, -1]
    assert (whole - trace(model, images[-1:], [1])["trk_pred_masks"][:, :, 0]).abs().max() > 0.1


def test_a_hundred_frames_whole():
    dataset = make_dataset(clips=1, frames=100, size=(96, 160))
    for offline in (False, True):
        model = small_model("dvis-plus", offline=offline)
        frames = list(segment(model, dataset.clips[0], most_bytes=0))
        assert len(frames) == 100 and all(numbers.shape == (96, 160) for numbers, _ in frames)


def test_disk_holds_the_mask_features(clip, monkeypatch):
    """Without a folder they stay in memory if they fit and go to files, removed at the end, if they do
    not.
    """
    used = []
    monkeypatch.setattr(
        Store, "put", lambda self, t, arrays, put=Store.put: (put(self, t, arrays), used.append(self.folder))
    )
    model = small_model("dvis")
    n_bytes = 4 * len(clip) * model.config.dim * (64 // 4) * (96 // 4)
    numbers_of(model, clip, most_bytes=n_bytes)
    assert set(used) == {None}
    numbers_of(model, clip, most_bytes=n_bytes - 1)
    assert used[-1] is not None and not os.path.exists(used[-1])


def test_bfloat16(clip):
    model = small_model("dvis-plus", offline=True)
    ours, classes = numbers_of(model, clip, kind="vss")
    half, _ = numbers_of(model, clip, kind="vss", bf16=True)
    assert (ours == half).mean() > 0.8


def test_wrong_arguments(clip):
    model = small_model()
    for options in ({"window": 0}, {"kind": "instances"}):
        with pytest.raises(ValueError, match="window.*kind"):
            list(segment(model, clip, **options))
    with pytest.raises(ValueError, match="evaluation mode"):
        list(segment(model.train(), clip))
    with pytest.raises(ValueError, match="sum to the 3 frames"):
        trace(small_model(), torch.zeros(3, 3, 64, 96), [2, 2])


# --- frames in ---


@pytest.mark.parametrize(
    "size, expected",
    [
        ((720, 1280), (720, 1280)),
        ((720, 1333), (720, 1333)),
        ((720, 1334), (719, 1333)),
        ((720, 1706), (563, 1333)),
        ((1280, 720), (1280, 720)),
        ((720, 405), (1280, 720)),
        ((720, 540), (960, 720)),
        ((720, 720), (720, 720)),
        # by detectron2's own function: half a pixel, rounded after two scalings
        ((91, 806), (150, 1333)),
        ((105, 1302), (108, 1333)),
    ],
)
def test_network_size(size, expected):
    assert network_size(*size, 720, 1333) == expected


def test_frames_are_padded_after_they_are_normalised():
    config = small_config(short_px=40, long_px=100)
    padded, sizes = prepare(np.full((20, 30, 3), 255, np.uint8), config)
    assert (sizes.padded, sizes.image, sizes.output) == ((64, 64), (40, 60), (20, 30)) and padded.shape == (
        3,
        64,
        64,
    )
    assert (padded[:, 40:] == 0).all() and (padded[:, :, 60:] == 0).all()
    assert padded[:, 0, 0].tolist() == pytest.approx(
        [(255 - 123.675) / 58.395, (255 - 116.28) / 57.12, (255 - 103.53) / 57.375], abs=1e-5
    )


# --- output ---


def test_classes_are_a_permutation():
    assert (
        N_THINGS == 58
        and sorted(CLASS_IDS.tolist()) == list(range(124))
        and (CLASS_IDS[MODEL_CLASSES] == np.arange(124)).all()
    )
    assert CLASS_IDS[[0, 57, 58, 123]].tolist() == [2, 123, 0, 121]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    dataset, out = make_dataset(clips=2, frames=3), tmp_path_factory.mktemp("panoptic")
    model = small_model("dvis-plus", offline=True)
    assert predict(model, dataset, out / "panoptic") == 6
    return model, dataset, out


def test_the_output_format_is_read_back_to_the_same_labels(written):
    model, dataset, out = written
    assert predict(model, dataset, out / "semantic", form="semantic") == 6
    for clip in dataset.clips:
        there = read_predictions(out / "panoptic", clip, 124, flat=False)
        straight = read_predictions(out / "semantic", clip, 124, flat=False)
        for t, (numbers, classes) in enumerate(segment(model, clip)):
            assert np.array_equal(there[t], classes[numbers]) and np.array_equal(straight[t], there[t])
            assert len(np.unique(there[t])) > 2
    assert sorted(path.name for path in (out / "panoptic").iterdir()) == ["pan_pred", "pred.json"]


def test_the_json_has_the_fields_of_the_authors(written):
    _, dataset, out = written
    content = json.loads((out / "panoptic" / "pred.json").read_text())
    assert set(content) == {"annotations"} and [v["video_id"] for v in content["annotations"]] == [
        c.name for c in dataset.clips
    ]
    for clip, video in zip(dataset.clips, content["annotations"]):
        assert [f["file_name"] for f in video["annotations"]] == [f"{name}.jpg" for name in clip.frames]
        for name, frame in zip(clip.frames, video["annotations"]):
            rgb = np.array(Image.open(out / "panoptic" / "pan_pred" / clip.name / f"{name}.png")).astype(int)
            ids = rgb @ (1, 256, 65536)
            assert {s["id"] for s in frame["segments_info"]} == set(np.unique(ids).tolist()) - {0}
            for s in frame["segments_info"]:
                y, x = np.nonzero(ids == s["id"])
                assert (
                    s["bbox"] == [x.min(), y.min(), np.ptp(x), np.ptp(y)]
                    and s["area"] == len(x)
                    and s["iscrowd"] == 0
                )


def test_clips_that_are_there_are_left_alone(written, tmp_path):
    model, dataset, out = written
    assert predict(model, dataset, out / "panoptic") == 0
    _, hook = interrupt(model, 3)  # two frames a window: within the second clip
    with pytest.raises(Interrupted):
        predict(model, dataset, tmp_path, window=2)
    hook.remove()
    assert (
        len(json.loads((tmp_path / "pred.json").read_text())["annotations"]) == 1
        and (tmp_path / ".work").is_dir()
    )
    seen, hook = interrupt(model, -1)
    assert predict(model, dataset, tmp_path, window=2) == 3 and seen == [1]
    hook.remove()
    assert (tmp_path / "pred.json").read_bytes() == (out / "panoptic" / "pred.json").read_bytes() and not (
        tmp_path / ".work"
    ).exists()
    assert predict(model, dataset, tmp_path, window=2, overwrite=True) == 6


def test_a_clip_that_lost_a_frame_is_predicted_again(written, tmp_path):
    model, dataset, out = written
    shutil.copytree(out / "panoptic", tmp_path / "panoptic")
    lost = tmp_path / "panoptic" / "pan_pred" / dataset.clips[1].name / f"{dataset.clips[1].frames[2]}.png"
    kept = lost.read_bytes()
    lost.unlink()
    assert predict(model, dataset, tmp_path / "panoptic") == 3 and lost.read_bytes() == kept


def test_vss_leaves_nothing_out(written):
    model, dataset, out = written
    clip = dataset.clips[0]
    predict(model, dataset, out / "vss", form="vss")
    labels = read_predictions(out / "vss", clip, 124, flat=False)
    tubes = [classes[numbers] for numbers, classes in segment(model, clip)]
    assert all((labels[t] != VOID).all() for t in range(3)) and any((frame == VOID).any() for frame in tubes)
    with pytest.raises(ValueError, match="panoptic, semantic, vss"):
        predict(model, dataset, out / "other", form="boxes")


def test_ids_differ_and_none_is_black():
    ids = segment_ids(np.array([VOID, 3, 3, 3, 3, 55, 55], np.uint8))
    assert len(set(ids.tolist())) == 7 and ids[0] == 0 and (ids[1:] > 0).all()


def test_a_clip_alone(written, tmp_path):
    model, dataset, out = written
    clip = dataset.clips[1]
    frames = predict_clip(model, clip, tmp_path)
    assert frames == json.loads((out / "panoptic" / "pred.json").read_text())["annotations"][1]["annotations"]
    assert sorted(path.stem for path in tmp_path.iterdir()) == list(clip.frames)


def test_the_command_takes_either_kind(written, tmp_path):
    model, dataset, out = written
    weights = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, weights)
    assert predict_folder(model, dataset, tmp_path / "tubes", weights, name="dvis-plus-r50", batch=3) == 6
    assert (tmp_path / "tubes" / "pred.json").read_bytes() == (out / "panoptic" / "pred.json").read_bytes()
    record = json.loads((tmp_path / "tubes" / "_predicted.json").read_text())
    assert "panoptic" in json.dumps(record)
    # the same folder in another form would mix two kinds of results
    with pytest.raises(DataError, match="form"):
        predict_folder(model, dataset, tmp_path / "tubes", weights, name="dvis-plus-r50", form="vss")
    base = segmentors.build("segformer-n0")
    with pytest.raises(ValueError, match="--form"):
        predict_folder(base, dataset, tmp_path / "maps", weights, name="segformer-n0", form="vss")
    with pytest.raises(ValueError, match="--stream"):
        predict_folder(model, dataset, tmp_path / "s", weights, name="dvis-plus-r50", stream=True)


# --- names and weights ---


def test_names_build():
    released = {
        f"{name}{end}"
        for name in ("dvis-swinl", "dvis-r50", "dvis-plus-r50", "cavis-r50")
        for end in ("", "-offline")
    }
    assert released < set(names()) < set(segmentors.names())
    for name in names():
        with torch.device("meta"):
            model = segmentors.build(name, queries=9)
        assert (
            isinstance(model, VideoPanoptic) and model.sem_seg_head.predictor.query_feat.weight.shape[0] == 9
        )
        assert [child for child, _ in model.named_children() if child != "refiner"] == [
            "backbone",
            "sem_seg_head",
            "tracker",
        ]
    with torch.device("meta"):
        queries = {
            name: build(name).config.queries
            for name in ("dvis-swinl", "dvis-swinl-offline", "dvis-plus-r50", "cavis-r50")
        }
    assert queries == {"dvis-swinl": 200, "dvis-swinl-offline": 200, "dvis-plus-r50": 100, "cavis-r50": 100}
    with pytest.raises(ValueError, match="dvis-swinl-offline"):
        build("dvis-vitl")
    with pytest.raises(ValueError, match="1 or more"):
        build("dvis-r50", queries=0)
    with pytest.raises(ValueError, match="segformer-n0"):
        segmentors.known("dvis-r50")  # no trainer for it


def test_released_files_load(tmp_path):
    model = build("dvis-plus-n1-offline", queries=5)
    state = model.state_dict()
    renamed = {key.replace("refiner.", "offline_tracker."): value for key, value in state.items()}
    unused = {
        "criterion.empty_weight": torch.ones(125),
        "sem_seg_head.predictor.laplacian": torch.ones(1, 1, 3, 3),
        "backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(144, 144, dtype=torch.int64),
    }
    torch.save(
        {
            "model": {f"module.{k}": v for k, v in (renamed | unused).items()},
            "optimizer": {"state": {}},
            "iteration": 7,
        },
        tmp_path / "model_final.pth",
    )
    save_file(state, tmp_path / "own.safetensors")
    for file in ("model_final.pth", "own.safetensors"):
        loaded = segmentors.load("dvis-plus-n1-offline", tmp_path / file)
        assert (
            not loaded.training
            and loaded.config.queries == 5
            and all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())
        )


def test_wrong_files_are_refused(tmp_path):
    state = build("dvis-plus-n1-offline").state_dict()
    save_file(state, tmp_path / "offline.safetensors")
    with pytest.raises(
        DataError,
        match=r"offline.safetensors: expected the weights of dvis-plus-n1, but found tensors \d+ unknown \(refiner",
    ):
        load("dvis-plus-n1", tmp_path / "offline.safetensors")
    online = {key: value for key, value in state.items() if not key.startswith("refiner.")}
    save_file(online, tmp_path / "online.safetensors")
    with pytest.raises(DataError, match=r"\d+ missing \(refiner"):
        load("dvis-plus-n1-offline", tmp_path / "online.safetensors")
    torch.save({"model": {"tracker.class_embed.weight": torch.ones(3)}}, tmp_path / "part.pth")
    with pytest.raises(DataError, match="missing.*of another shape"):
        load("dvis-plus-n1", tmp_path / "part.pth")
    with pytest.raises(DataMissingError, match="absent.pth"):
        load("dvis-r50", tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="dvis-r50"):
        load("dvis-vitl", tmp_path / "online.safetensors")
    with pytest.raises(DataError, match="segformer-n0"):
        segmentors.load("segformer-n0", tmp_path / "online.safetensors")


# --- cost ---


def test_cost_of_a_frame():
    parts = gflop_per_frame("dvis-r50-offline", (720, 1280))
    assert list(parts) == ["backbone", "pixel decoder", "decoder", "tracker", "refiner"]
    assert parts["backbone"] == pytest.approx(
        2 * 4.09 * 736 * 1280 / 224**2, rel=0.02
    )  # ResNet-50 has 4.09 G multiply-adds at 224 x 224, less its classifier
    assert gflop_per_frame("dvis-plus-n1", (240, 427))["backbone"] < 2
    (line,) = forecast(("segformer-b1", "dvis-r50-offline"), 100, (720, 1280), 50.0)
    minutes = 100 * sum(parts.values()) / 50 / 60
    assert 10 < minutes < 90  # beyond and below, the unit is another
    assert (
        line.startswith("dvis-r50-offline: ")
        and f"about {minutes:.0f} minutes for 100 frames at 50 GFLOP/s" in line
    )


def test_check_forecasts_each_panoptic_model(monkeypatch):
    import lib.cost
    from lib.commands import check
    from lib.cost.rate import Rate

    rate = Rate(50.0, 50.0, 100.0, 100.0, "made up")
    monkeypatch.setattr(lib.cost, "calibrate", lambda *_: rate)
    monkeypatch.setattr(check, "read_dataset", lambda *_: make_dataset(clips=2, frames=3))
    lines = check.expect("vipseg", "anywhere")
    names = [line.partition(":")[0] for line in lines if "GFLOP a frame" in line]
    assert names == ["cavis-r50", "dvis-plus-r50", "dvis-swinl", "dvis-swinl-offline"]
    assert all("for 6 frames at 50 GFLOP/s" in line for line in lines[-4:])
    assert not any("GFLOP a frame" in line for line in check.expect("mini", "anywhere"))


def test_a_folder_never_holds_tubes_and_label_maps(written, tmp_path):
    """Readers take pred.json first: label maps beside it would never be read."""
    model, dataset, _ = written
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save_file({"a": torch.zeros(1)}, weights)
    predict_folder(model, dataset, out, weights, name="dvis-plus-r50", batch=3)
    base = segmentors.build("segformer-n0", n_classes=124).eval()
    with pytest.raises(DataError, match="--overwrite"):
        predict_folder(base, dataset, out, weights, name="segformer-n0")
    predict_folder(base, dataset, out, weights, name="segformer-n0", overwrite=True)
    assert not (out / "pred.json").exists() and not (out / "pan_pred").exists()
    clip = dataset.clips[0]
    assert (out / clip.name / f"{clip.frames[0]}.png").exists()
    # and back
    predict_folder(model, dataset, out, weights, name="dvis-plus-r50", batch=3, overwrite=True)
    assert (out / "pred.json").exists() and not [*(out / clip.name).glob("*.png")]


def test_tubes_of_clips_that_a_run_does_not_have_are_never_removed(written, tmp_path):
    model, dataset, _ = written
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save_file({"a": torch.zeros(1)}, weights)
    predict(model, dataset, out)
    before = (out / "pred.json").read_bytes()
    base, one = (
        segmentors.build("segformer-n0", n_classes=124).eval(),
        replace(dataset, clips=dataset.clips[:1]),
    )
    with pytest.raises(DataError, match="another folder"):
        predict_folder(base, one, out, weights, name="segformer-n0", overwrite=True)
    assert (out / "pred.json").read_bytes() == before and any((out / "pan_pred").rglob("*.png"))


def test_tubes_without_a_record_are_refused(written, tmp_path):
    model, dataset, _ = written
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save_file({"a": torch.zeros(1)}, weights)
    predict(model, dataset, out)  # as an author's own script leaves them
    base = segmentors.build("segformer-n0", n_classes=124).eval()
    with pytest.raises(DataError, match="no record"):
        predict_folder(base, dataset, out, weights, name="segformer-n0")


def test_a_run_that_fails_at_once_leaves_no_record(written, tmp_path):
    model, dataset, _ = written
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save_file({"a": torch.zeros(1)}, weights)
    base = segmentors.build("segformer-n0", n_classes=124).eval()
    with pytest.raises(ValueError, match="--stream"):
        predict_folder(base, dataset, out, weights, name="segformer-n0", stream=True)
    assert not out.exists() and predict_folder(base, dataset, out, weights, name="segformer-n0") == 6

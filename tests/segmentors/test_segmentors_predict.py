"""The predict loop."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import make_dataset, picture

from lib.clips.errors import DataError
from lib.clips.folders import read_predictions
from lib.clips.images import write_labels
from lib.commands.predict import predict_folder
from lib.progress import quiet
from lib.segmentors import build
from lib.segmentors.predict import (
    contenders,
    normalise,
    predict,
    predict_frames,
    references,
    segment,
    to_labels,
    to_network_size,
)


@pytest.mark.parametrize(
    "size, scale, expected",
    [
        ((480, 853), (853, 480), (480, 864)),
        ((480, 854), (853, 480), (480, 864)),
        ((480, 640), (853, 480), (480, 640)),
        ((853, 480), (853, 480), (864, 480)),
        ((1080, 1920), (853, 480), (480, 864)),
        ((240, 427), None, (256, 448)),
        ((13, 17), None, (32, 32)),
        ((360, 480), (480, 360), (384, 480)),
    ],
)
def test_network_size(size, scale, expected):
    assert to_network_size(np.zeros((*size, 3), np.uint8), scale).shape == (*expected, 3)


def test_network_size_resizes_twice():
    image = np.random.default_rng(0).integers(0, 256, (480, 854, 3), np.uint8)
    twice = cv2.resize(
        cv2.resize(image, (853, 479), interpolation=cv2.INTER_LINEAR),
        (864, 480),
        interpolation=cv2.INTER_LINEAR,
    )
    assert (to_network_size(image, (853, 480)) == twice).all()
    assert (
        to_network_size(image, (853, 480)) != cv2.resize(image, (864, 480), interpolation=cv2.INTER_LINEAR)
    ).any()


def test_normalise():
    image = np.full((1, 2, 3, 3), (124, 116, 104), np.uint8)
    image[0, 1, 2, 0] = 0
    out = normalise(image)
    assert out.shape == (1, 3, 2, 3)
    assert out[0, :, 0, 0].tolist() == pytest.approx(
        [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375], abs=1e-6
    )
    assert out[0, 0, 1, 2].item() == pytest.approx(-123.675 / 58.395, abs=1e-5)


@pytest.mark.parametrize("size", [(32, 64), (29, 61), (13, 17), (101, 333)])
@pytest.mark.parametrize("smooth", [1, 3])
def test_labels_equal_those_of_resizing_all_classes(size, smooth):
    generator = torch.Generator().manual_seed(smooth)
    logits = F.interpolate(
        3 * torch.randn(2, 40, 8 // smooth, 16 // smooth, generator=generator), (8, 16), mode="bilinear"
    )
    logits -= torch.arange(40).view(1, -1, 1, 1) * 0.2
    plain = F.interpolate(F.interpolate(logits, (32, 64), mode="bilinear"), size, mode="bilinear").argmax(1)
    labels = to_labels(logits, (32, 64), size)
    assert labels.dtype == torch.uint8 and labels.shape == (2, *size)
    assert (labels == plain).all()
    assert smooth == 1 or len(contenders(logits[:1])) < 40  # noise saves nothing, smooth maps do


def test_contenders_keep_the_runner_up():
    logits = torch.full((1, 4, 2, 2), -9.0)
    # 2 wins at no corner, but halfway between
    logits[0, 0, 0], logits[0, 1, 1], logits[0, 2], logits[0, 3] = 9.0, 9.0, 4.0, -10.0
    assert contenders(logits).tolist() == [0, 1, 2]
    assert 2 in to_labels(logits, (8, 8), (8, 8))
    assert contenders(torch.zeros(1, 3, 2, 2)).tolist() == [0, 1, 2]
    assert (to_labels(torch.zeros(1, 3, 2, 2), (8, 8), (5, 7)) == 0).all()  # a tie goes to the lowest id


class Brightness(torch.nn.Module):
    """Class 0 where the red channel is below its mean, class 1 above."""

    scale = None

    def __init__(self):
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(()))
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        red = F.avg_pool2d(images[:, :1], 4) + self.zero
        return torch.cat([-red, red], 1)


def test_predict_frames_places_pixels_right():
    model = Brightness().eval()
    images = [picture(i, (61, 93)) for i in range(3)]
    labels = predict_frames(model, np.stack(images))
    assert labels.shape == (3, 61, 93) and labels.dtype == np.uint8
    for i in range(3):
        assert (labels[i] != (images[i][..., 0] > 0)).mean() < 0.02
    assert (predict_frames(model, images, scale=(186, 122))[0] != (images[0][..., 0] > 0)).mean() < 0.02
    assert (predict_frames(model, images, bf16=True) == labels).mean() > 0.99


def test_predict_frames_refuses():
    model = Brightness().eval()
    with pytest.raises(ValueError, match="at least one frame"):
        predict_frames(model, [])
    with pytest.raises(ValueError, match="like those before"):
        predict_frames(model, [picture(0), picture(0, (32, 32))])
    with pytest.raises(ValueError, match="float32"):
        predict_frames(model, [picture(0).astype(np.float32)])
    with pytest.raises(ValueError, match="training mode"):
        predict_frames(model.train(), [picture(0)])
    with pytest.raises(ValueError, match="Brightness"):
        predict_frames(model.eval(), [picture(0)], stream=True)


def test_references():
    """The authors' hard-coded table, then a distance of three frames."""
    table = {
        0: [0],
        1: [1],
        2: [2],
        3: [0, 1, 2, 3],
        4: [0, 2, 3, 4],
        5: [0, 2, 4, 5],
        6: [0, 2, 4, 6],
        7: [0, 3, 5, 7],
        8: [0, 3, 6, 8],
        9: [0, 3, 6, 9],
        10: [1, 4, 7, 10],
        40: [31, 34, 37, 40],
    }
    assert {t: list(references(t, 4)) for t in table} == table
    assert all(references(t, 1) == (t,) for t in table)


@pytest.fixture(scope="module", params=["cffm-n0", "mrcfa-n0", "tv3s-n0"])
def video(request):
    """A video model with seeded weights, 13 frames of a moving picture, and for each frame its labels by
    plain calls of the model."""
    torch.manual_seed(0)
    model = build(request.param, 5).eval()
    with torch.no_grad():
        for parameter in model.decode_head.parameters():
            parameter.mul_(2)  # classes far enough apart for other batches to round alike
    images = [np.roll(picture(i, (61, 93)), i, 1) for i in range(13)]
    slow = []
    for t in range(13):
        seen = np.stack([to_network_size(images[i], None) for i in references(t, 4)])
        with torch.inference_mode():
            slow.append(to_labels(model(normalise(seen)), seen.shape[1:3], (61, 93))[0].numpy())
    return model, images, np.stack(slow)


@pytest.mark.parametrize("batch", [1, 4, 13])
def test_video_models_equal_plain_calls(video, batch):
    model, images, slow = video
    assert len(np.unique(slow)) > 1 and (slow[12] != slow[3]).any()
    assert (predict_frames(model, images, batch=batch) == slow).mean() > 0.9999


def test_video_models_resume_anywhere(video):
    """Targets in the middle read the frames that they look at, each once, and no others."""
    model, images, slow = video
    read = []
    found = dict(segment(model, lambda i: (read.append(i), images[i])[1], [2, 8, 12], batch=2))
    assert read == sorted({2, 0, 3, 6, 8, 9, 12})
    assert list(found) == [2, 8, 12] and all((found[t] == slow[t]).mean() > 0.999 for t in found)


def test_backbone_sees_each_frame_once(video):
    model, images, _ = video
    seen = []
    hook = model.backbone.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    predict_frames(model, images)
    hook.remove()
    assert sum(seen) == 13


def test_stream_carries_states():
    torch.manual_seed(0)
    model, images = build("tv3s-n0", 5).eval(), [picture(i, (61, 93)) for i in range(6)]
    with torch.inference_mode():
        whole = to_labels(
            model.stream(normalise(np.stack([to_network_size(i, None) for i in images]))), (64, 96), (61, 93)
        ).numpy()
    assert (predict_frames(model, images, stream=True, batch=4) == whole).mean() > 0.9999
    assert (predict_frames(model, images) != whole).any()
    # a resumed clip is read from its start
    ((t, last),) = segment(model, images.__getitem__, [5], stream=True, batch=3)
    assert t == 5 and (last == whole[5]).mean() > 0.9999


def test_predict_writes_and_resumes(tmp_path):
    dataset, model = make_dataset(2), Brightness()
    assert predict(model, dataset, tmp_path, batch=2) == 10 and model.calls == 6
    for clip in dataset.clips:
        predictions = read_predictions(tmp_path, clip, 2)
        assert all((predictions[i] == predict_frames(model, [clip.image(i)])[0]).all() for i in range(5))
    kept, gone = tmp_path / "clip0" / "00000.png", tmp_path / "clip1" / "00003.png"
    write_labels(kept, np.full((64, 96), 1, np.uint8))
    marked = kept.read_bytes()
    gone.unlink()
    assert predict(model, dataset, tmp_path) == 1 and gone.exists() and kept.read_bytes() == marked
    assert predict(model, dataset, tmp_path, overwrite=True) == 10 and kept.read_bytes() != marked
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png"]
    with pytest.raises(ValueError, match="batch"):
        predict(model, dataset, tmp_path, batch=0)


def test_predictions_are_recorded_and_never_mixed(tmp_path, own_cache):
    """Other weights, frames, versions or options into the same folder: refused, or made anew."""
    dataset, model, out, weights = make_dataset(2), Brightness(), tmp_path / "out", tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    go = lambda **options: predict_folder(model, dataset, out, weights, name="n0", **options)
    assert go() == 10 and go() == 0
    record = json.loads((out / "_predicted.json").read_text())
    assert record.items() >= {"model": "n0", "scale": None, "bf16": False, "stream": False}.items()
    assert {name: clip["done"] for name, clip in record["clips"].items()} == {"clip0": True, "clip1": True}
    (out / "clip1" / "00003.png").unlink()
    assert go() == 1
    with pytest.raises(DataError, match=r"_predicted.json: .*another bf16 \(False; now True\).* --overwrite"):
        go(bf16=True)
    with pytest.raises(ValueError, match="TV3S alone"):
        go(stream=True)
    model.stream = model.forward  # as a TV3S has
    with pytest.raises(DataError, match=r"another stream \(False; now True\)"):
        go(stream=True)
    model.scale = (853, 480)
    with pytest.raises(DataError, match=r"another scale \(None; now \[853, 480\]\)"):
        go()
    model.scale = None
    weights.write_bytes(b"other")
    with pytest.raises(DataError, match="other weights .of n0"):
        go()
    assert go(overwrite=True) == 10 and go() == 0
    first, second = dataset.clips
    backwards = replace(first, read_image=lambda i: first.image(4 - i))
    dataset = replace(dataset, clips=(backwards, second))
    with pytest.raises(DataError, match=r"other frames of 1 clip \(clip0\)"):
        go()
    assert go(overwrite=True) == 5
    (out / "_predicted.json").unlink()
    with pytest.raises(DataError, match=r"results of 2 clips \(clip0, clip1\) that no record"):
        go()


def test_progress_is_quiet_in_ci(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "1")
    assert quiet()
    monkeypatch.delenv("CI")
    assert not quiet()
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert quiet()

"""The trainer and the crops it sees."""

import csv
import itertools
import logging
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from toy import make_dataset, picture, truth

from lib import __main__ as command
from lib.clips.clip import Clip, Dataset
from lib.clips.errors import DataError
from lib.clips.images import write_labels
from lib.config import VOID
from lib.segmentors import build, load, read_weights
from lib.segmentors import train as trainer
from lib.segmentors.crops import Frames, augment, jitter, make_batch
from lib.segmentors.predict import normalise, predict_frames
from lib.segmentors.train import TrainConfig, default_config, pixel_loss, train

pytestmark = pytest.mark.usefixtures("one_thread")


def augment_one(image, label, config, seed):
    out, out_label = augment(image[None], label[None], config, np.random.default_rng(seed))
    assert len(out) == len(out_label) == 1
    return out[0], out_label[0]


@pytest.mark.parametrize("size", [(13, 17), (64, 96), (200, 120)])
def test_augment_moves_picture_and_label_together(size):
    label = np.zeros(size, np.uint8)
    label[size[0] // 3 :, size[1] // 3 :] = 1
    label[size[0] // 2 :, size[1] // 2 :] = VOID
    grey = np.full(256, 90, np.uint8)
    grey[:2] = 20, 60
    image = np.stack([grey[label]] * 3, 2)
    config = TrainConfig(crop=(64, 96), scales=(0.5, 2.0), photometric=False)
    for seed in range(20):
        out, out_label = augment_one(image, label, config, seed)
        assert (
            out.shape == (64, 96, 3)
            and out_label.shape == (64, 96)
            and out.dtype == out_label.dtype == np.uint8
        )
        inside = out[..., 0] != 124  # what lies beyond the frame is grey and void
        assert inside.any() and (out_label[~inside] == VOID).all()
        agree = (out[..., 0] == grey[out_label])[inside]
        # zoomed edges are blended in the picture alone
        assert agree.mean() > 0.7 and set(np.unique(out_label)) <= {0, 1, VOID}
    assert (augment_one(image, label, config, 3)[0] == augment_one(image, label, config, 3)[0]).all()


def test_augment_without_zoom_is_a_plain_crop():
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (96, 128, 3), np.uint8), rng.integers(0, 5, (96, 128), np.uint8)
    config = TrainConfig(crop=(64, 64), scales=(1, 1), photometric=False)
    windows = np.lib.stride_tricks.sliding_window_view(label, (64, 64))
    flipped = []
    for seed in range(8):
        out, out_label = augment_one(image, label, config, seed)
        for flip in (False, True):
            found = np.argwhere((windows == (out_label[:, ::-1] if flip else out_label)).all((2, 3)))
            if len(found):
                y, x = found[0]
                assert (image[y : y + 64, x : x + 64] == (out[:, ::-1] if flip else out)).all()
                flipped.append(flip)
    assert len(flipped) == 8 and set(flipped) == {False, True}


def test_jitter_changes_colours_within_bounds():
    image = np.full((4, 6, 3), (200, 100, 50), np.uint8)
    outs = [jitter(image, np.random.default_rng(seed)) for seed in range(16)]
    assert all(out.shape == image.shape and out.dtype == np.uint8 for out in outs)
    assert len({tuple(out[0, 0]) for out in outs}) > 8
    assert (np.abs(np.mean([out[0, 0] for out in outs], 0) - (200, 100, 50)) < 60).all()


def test_every_frame_is_seen_once_an_epoch():
    class Recorder(Frames):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    seen = []
    frames, config = Recorder(make_dataset(2, 6)), TrainConfig(batch=4, crop=(32, 32))
    for step in range(6):
        images, labels = make_batch(frames, step, config)
        assert images.shape == (4, 1, 32, 32, 3) and labels.shape == (4, 1, 32, 32)
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12)) and seen[:12] != seen[12:]
    lazy = Frames(make_dataset(2, 6), memory_mb=0)
    assert lazy.kept is None and (make_batch(lazy, 3, config)[0] == make_batch(frames, 3, config)[0]).all()


def test_frames_of_a_clip_stay_together():
    """Four equal frames stay equal through crop, flip and jitter, and a video model's crops are of t-9,
    t-6, t-3, t of one clip."""
    config = TrainConfig(batch=4, crop=(32, 32))
    still, label = np.stack([picture(2)] * 4), np.stack([truth(2)] * 4)
    out, out_label = augment(still, label, config, np.random.default_rng(5))
    assert out.shape == (4, 32, 32, 3) and all(
        (part[0] == part[i]).all() for part in (out, out_label) for i in range(4)
    )
    frames = Frames(make_dataset(2, 12), 4)
    for i, seen in {0: (0, 0, 0, 0), 5: (0, 0, 2, 5), 11: (2, 5, 8, 11), 12 + 10: (13, 16, 19, 22)}.items():
        images, labels = frames.seen(i)
        assert (images == np.stack([frames[j][0] for j in seen])).all() and (
            labels == np.stack([frames[j][1] for j in seen])
        ).all()
    images, labels = make_batch(frames, 0, config)
    assert images.shape == (4, 4, 32, 32, 3) and labels.shape == (4, 4, 32, 32)


@pytest.mark.parametrize("name", ["cffm-n0", "mrcfa-n0", "tv3s-n0"])
def test_loss_of_video_models(name):
    """The last frame's own logits, and half as much the per-frame logits of all frames, both by plain
    calls."""
    torch.manual_seed(0)
    model, config = build(name, 2).eval(), TrainConfig(points=None)
    images, labels = make_batch(Frames(make_dataset(1, 12), 4), 0, TrainConfig(batch=2, crop=(64, 64)))
    features = [model.backbone(normalise(clip)) for clip in images]
    logits = torch.cat([model.decode_head(f) for f in features])
    each = torch.cat([model.decode_head.per_frame(f) for f in features])
    truths = torch.from_numpy(labels).long()
    expected = pixel_loss(logits, truths[:, -1]) + 0.5 * pixel_loss(each, truths.flatten(0, 1))
    loss = trainer.model_loss(model, images, labels, None, config)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)
    loss.backward()
    used = [p.grad is not None for p in model.parameters()]
    assert all(used)
    trainer.model_loss(model.train(), images, labels, None, config)
    # the maps are fused once for both losses
    assert model.decode_head.linear_fuse.bn.num_batches_tracked == 1


def test_video_model_trains_from_a_per_frame_model(tmp_path):
    train("segformer-n0", make_dataset(), tmp_path / "plain.safetensors", SMALL)
    train(
        "cffm-n0", make_dataset(), tmp_path / "video.safetensors", SMALL, init=tmp_path / "plain.safetensors"
    )
    assert load("cffm-n0", tmp_path / "video.safetensors").n_frames == 4


def test_pixel_loss():
    logits = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (2, 32, 48), generator=torch.Generator().manual_seed(1))
    labels[:, :10] = VOID
    full = F.interpolate(logits, (32, 48), mode="bilinear")
    weights = torch.tensor([1.0, 3.0, 0.5])
    seen = list(itertools.product(range(2), range(10, 32), range(48)))
    log_p = full.log_softmax(1)
    values = torch.tensor([-log_p[n, labels[n, y, x], y, x].item() for n, y, x in seen])
    factors = torch.tensor([weights[labels[n, y, x]].item() for n, y, x in seen])
    assert pixel_loss(logits, labels).item() == pytest.approx(values.mean().item(), abs=1e-4)
    assert pixel_loss(logits, labels, weights).item() == pytest.approx(
        ((values * factors).sum() / factors.sum()).item(), abs=1e-4
    )
    assert pixel_loss(logits, labels, None, 20000).item() == pytest.approx(values.mean().item(), abs=0.02)
    logits.requires_grad_()
    void = pixel_loss(logits, torch.full_like(labels, VOID), weights, 50)
    void.backward()
    assert void.item() == 0 and (logits.grad == 0).all()


def test_sampled_points_have_the_values_of_the_resized_map(monkeypatch):
    logits, labels = torch.randn(1, 3, 8, 12), torch.randint(3, (1, 32, 48))
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: torch.arange(32 * 48)[None])
    torch.testing.assert_close(
        pixel_loss(logits, labels, None, 32 * 48), pixel_loss(logits, labels), atol=1e-5, rtol=0
    )


def test_class_weights():
    frames = Frames(make_dataset(1, 4))
    weights = trainer.class_weights(frames, 3, 0.5)
    counts = np.bincount(np.concatenate([frames[i][1].ravel() for i in range(4)]), minlength=256)[:2]
    assert weights[2] == 1 and weights[0] / weights[1] == pytest.approx(
        (counts[1] / counts[0]) ** 0.5, rel=1e-4
    )
    assert (weights[:2].numpy() * counts).sum() == pytest.approx(counts.sum(), rel=1e-4)


SMALL = TrainConfig(steps=6, batch=2, crop=(32, 32), warmup=2, points=64, lr=5e-3, seed=3)


def weights_of(path):
    return {key: value for key, value in read_weights(path).items()}


def test_training_resumes_to_the_same_weights(tmp_path, monkeypatch):
    dataset = make_dataset()
    train("segformer-n0", dataset, tmp_path / "whole.safetensors", SMALL, log_every=2)
    real, calls = trainer.make_batch, itertools.count()

    def fail_later(*args):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(trainer, "make_batch", fail_later)
    with pytest.raises(KeyboardInterrupt):
        train("segformer-n0", dataset, tmp_path / "cut.safetensors", SMALL, checkpoint_every=3, log_every=2)
    assert (tmp_path / "cut.ckpt").exists() and not (tmp_path / "cut.safetensors").exists()
    with pytest.raises(DataError, match="another|very training"):
        train("segformer-n0", dataset, tmp_path / "cut.safetensors", TrainConfig(steps=7))
    train("segformer-n0", dataset, tmp_path / "cut.safetensors", SMALL, log_every=2, workers=3)
    whole, cut = weights_of(tmp_path / "whole.safetensors"), weights_of(tmp_path / "cut.safetensors")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cut.csv",
        "cut.safetensors",
        "whole.csv",
        "whole.safetensors",
    ]
    rows = list(csv.DictReader(open(tmp_path / "whole.csv")))
    assert list(rows[0]) == ["step", "loss", "lr", "seconds"] and [row["step"] for row in rows] == [
        "2",
        "4",
        "6",
    ]
    with safe_open(tmp_path / "whole.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (
        metadata["name"] == "segformer-n0"
        and metadata["n_classes"] == "2"
        and metadata["steps"] == "6"
        and metadata["seed"] == "3"
    )
    assert '"crop": [32, 32]' in metadata["config"]


def test_training_learns(tmp_path):
    dataset = make_dataset()
    config = TrainConfig(
        steps=40, batch=4, crop=(32, 64), lr=5e-3, warmup=5, points=256, photometric=False, balance=0.3
    )
    model = train("segformer-n0", dataset, tmp_path / "toy.safetensors", config, half=True, log_every=10)
    losses = [float(row["loss"]) for row in csv.DictReader(open(tmp_path / "toy.csv"))]
    assert losses[-1] < 0.5 * losses[0]
    stored = weights_of(tmp_path / "toy.safetensors")
    assert (
        stored["backbone.patch_embed1.proj.weight"].dtype == torch.float16
        and stored["backbone.norm1.weight"].dtype == torch.float32
    )
    loaded = load("segformer-n0", tmp_path / "toy.safetensors")
    clip = dataset.clips[0]
    label, image = clip.truth(1), clip.image(1)
    for each in (model, loaded):
        assert next(each.parameters()).dtype == torch.float32
        assert (predict_frames(each, [image])[0] == label)[2:].mean() > 0.9


def test_a_time_budget_ends_training(tmp_path, caplog):
    config = TrainConfig(steps=10**6, max_minutes=0.02, batch=1, crop=(32, 32), points=16)
    with caplog.at_level(logging.INFO):
        train("segformer-n0", make_dataset(), tmp_path / "a.safetensors", config, threads=1, log_every=1)
    rows = [(int(row["step"]), float(row["lr"])) for row in csv.DictReader(open(tmp_path / "a.csv"))]
    assert 1 <= rows[-1][0] < 10**5 and rows[-1][1] < max(lr for _, lr in rows) + 1e-9
    assert f"{rows[-1][0]} steps" in caplog.text


def test_settings():
    assert default_config("segformer-n1", steps=5) == TrainConfig(steps=5)
    assert default_config("segformer-b1").lr == 6e-5 and default_config("segformer-b1", lr=1e-4).lr == 1e-4
    for wrong in ({"steps": 0}, {"crop": (250, 256)}, {"scales": (2, 1)}, {"lr": -1}, {"points": -5}):
        with pytest.raises(ValueError):
            TrainConfig(**wrong)
    with pytest.raises(TypeError):
        TrainConfig(learning_rate=1)


def test_optimizer_groups():
    model = build("segformer-n0", 2)
    groups = trainer.make_optimizer(model, TrainConfig(head_lr_factor=10)).param_groups
    assert [(g["factor"], g["weight_decay"] > 0) for g in groups] == [
        (1, True),
        (1, False),
        (10, True),
        (10, False),
    ]
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    assert any(p is model.backbone.norm1.weight for p in groups[1]["params"])


def test_train_refuses(tmp_path):
    unlabelled = Dataset("toy", "test", ("a",), (Clip("clip0", ("0",), partial(tuple, (64, 96)), picture),))
    with pytest.raises(DataError, match="clip0: expected labels"):
        train("segformer-n0", unlabelled, tmp_path / "a.safetensors", SMALL)
    with pytest.raises(ValueError, match="safetensors"):
        train("segformer-n0", make_dataset(), tmp_path / "a.pth", SMALL)


def test_command_line(tmp_path):
    root = tmp_path / "mini"
    (root / "data" / "v" / "origin").mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(root / "data" / "v" / "origin" / f"{i}.jpg"), picture(i)[..., ::-1])
        write_labels(
            root / "data" / "v" / "mask" / f"{i}.png",
            np.where(truth(i) == VOID, 0, truth(i) + 1).astype(np.uint8),
        )
    (root / "train.txt").write_text("v\n")
    out = tmp_path / "weights" / "n0.safetensors"
    command.main(
        [
            "train",
            "--model",
            "segformer-n0",
            "--dataset",
            "vspw",
            "--data",
            str(root),
            "--out",
            str(out),
            "--steps",
            "2",
            "--batch",
            "2",
            "--crop",
            "32",
            "64",
            "--no-photometric",
            "--minutes",
            "5",
            "--seed",
            "4",
            "--threads",
            "1",
        ]
    )
    assert load("segformer-n0", out).decode_head.n_classes == 124
    with safe_open(out, "pt") as file:
        assert '"max_minutes": 5.0' in file.metadata()["config"] and file.metadata()["seed"] == "4"

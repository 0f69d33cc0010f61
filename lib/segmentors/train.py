"""The one trainer of base segmentors: cross-entropy, resumable, on CPU or GPU; `python -m lib train`."""

import csv
import json
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as to_safetensors

from ..clips.errors import DataError, problem
from ..config import VOID
from ..files import replacing
from ..progress import progress
from .crops import Frames, make_batch
from .models import MODELS, build, known, start_from
from .predict import normalise

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training; the defaults suit the micro widths, trained from scratch on a CPU."""

    steps: int = 2000
    max_minutes: float | None = None  # of training time; the schedule ends then if `steps` have not been done
    batch: int = 8  # crops a step
    crop: tuple[int, int] = (256, 256)  # height, width in pixels, multiples of 32
    scales: tuple[float, float] = (0.5, 2.0)  # range of the random zoom
    photometric: bool = True  # jitter of brightness, contrast, saturation and hue
    lr: float = 2e-3  # peak
    head_lr_factor: float = 1.0  # decoder's learning rate over the backbone's
    weight_decay: float = 0.01  # of matrices and kernels only
    warmup: int = 50  # steps of linear rise
    power: float = 1.0  # of the polynomial decay to zero
    clip_norm: float | None = 1.0  # of the gradient
    balance: float = 0.0  # class weights are frequency ** -balance
    points: int | None = 8192  # random pixels a crop that the loss looks at; None: all
    drop_path: float = 0.0  # see MiT
    # weight of the per-frame logits of all frames beside the video models' own, as CFFM trains
    per_frame: float = 0.5
    seed: int = 0

    def __post_init__(self):
        positive = {
            "steps": self.steps,
            "batch": self.batch,
            "lr": self.lr,
            "head_lr_factor": self.head_lr_factor,
            "smaller scale": self.scales[0],
            "max_minutes": self.max_minutes or 1,
            "points": self.points or 1,
            "clip_norm": self.clip_norm or 1,
        }
        for name, value in positive.items():
            if value <= 0:
                raise ValueError(f"Expected `{name}` to be above 0, but got {value}.")
        if len(self.crop) != 2 or any(side <= 0 or side % 32 for side in self.crop):
            raise ValueError(f"Expected `crop` to be two multiples of 32, but got {self.crop}.")
        if self.scales[0] > self.scales[1]:
            raise ValueError(f"Expected `scales` to rise, but got {self.scales}.")


def default_config(name, **changes):
    """Give the settings for a model: `TrainConfig()` for the micro widths, the published recipe (from
    ImageNet weights) for the others.

    A micro video model is to start from the per-frame model of its width, so it needs fewer and smaller
    steps; each crop counts for four frames.

    Source: SegFormer, and CFFM's VSPW configurations.
    """
    if name.partition("-")[2].startswith("n"):
        video = dict(steps=200, batch=4, lr=5e-4, head_lr_factor=3) if _kind(name).n_frames > 1 else {}
        return TrainConfig(**{**video, **changes})
    published = dict(
        steps=160000,
        crop=(480, 480),
        lr=6e-5,
        head_lr_factor=10,
        warmup=1500,
        clip_norm=None,
        points=None,
        drop_path=0.1,
    )
    return TrainConfig(**{**published, **changes})


def _kind(name):
    """The class of a model that `build` knows."""
    return MODELS[known(name).partition("-")[0]]


def model_loss(model, images, labels, weights, config):
    """Compute the loss of a model on a batch of crops.

    Args:
        images: (N, T, H, W, 3) uint8, T = model.n_frames.
        labels: (N, T, H, W) uint8.
        weights, config: as for `fit`.

    Returns:
        Scalar: `pixel_loss` of the last frame; video models add `config.per_frame` times that of all frames,
            each segmented by itself.

    Source: CFFM, whose auxiliary loss has weight 0.5. MRCFA's three extra decoders, which its authors train
        beside, are left out.
    """
    device = next(model.parameters()).device
    labels = torch.from_numpy(labels).to(device).long()
    images = normalise(images.reshape(-1, *images.shape[2:]), device)
    if model.n_frames == 1:
        return pixel_loss(model(images).float(), labels.flatten(0, 1), weights, config.points)
    features, head = model.backbone(images), model.decode_head
    fused = head.fuse(features)
    parts = [part.unflatten(0, labels.shape[:2]) for part in head.prepare(features, fused)]
    loss = pixel_loss(
        head.decode(parts, features[0].shape[2:]).float(), labels[:, -1], weights, config.points
    )
    return loss + config.per_frame * pixel_loss(
        head.label(fused).float(), labels.flatten(0, 1), weights, config.points
    )


def pixel_loss(logits, labels, weights=None, points=None):
    """Cross-entropy at the resolution of the labels, over labelled pixels.

    Args:
        logits: (N, n_classes, h, w), a quarter of the size of the labels.
        labels: (N, H, W) int64, VOID is ignored.
        weights: (n_classes,) or None.
        points: pixels to look at in each crop, drawn anew each time; None looks at all. A sample costs a
            fraction and is unbiased.

    Returns:
        Scalar: (weighted) mean over labelled pixels; 0 if there are none.
    """
    n, height, width = labels.shape
    if points is None:
        logits = F.interpolate(logits, (height, width), mode="bilinear")
    else:
        at = torch.randint(height * width, (n, points), device=labels.device)
        # (N, 1, points, 2)
        grid = torch.stack([(at % width + 0.5) / width, (at // width + 0.5) / height], 2)[:, None] * 2 - 1
        # the same values as interpolate
        logits = F.grid_sample(logits, grid, padding_mode="border", align_corners=False)
        labels = labels.flatten(1).gather(1, at)[:, None]
    seen = labels[labels != VOID]
    total = F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="sum")
    return total / ((seen.numel() if weights is None else weights[seen].sum()) if seen.numel() else 1)


def class_weights(frames, n_classes, balance):
    """Weigh classes by frequency ** -balance, scaled so that the mean pixel weighs 1; classes that never
    occur weigh 1."""
    counts = np.zeros(256)
    for i in range(0, len(frames), max(1, len(frames) // 400)):
        counts += np.bincount(frames[i][1].ravel(), minlength=256)
    there = counts[:n_classes] > 0
    share = counts[:n_classes][there] / counts[:n_classes].sum()
    weights = np.ones(n_classes, np.float32)
    weights[there] = share**-balance / (share * share**-balance).sum()
    return torch.from_numpy(weights)


def make_optimizer(model, config):
    """AdamW with four groups: backbone and decoder, with and without weight decay."""
    groups = []
    for part, factor in ((model.backbone, 1.0), (model.decode_head, config.head_lr_factor)):
        for matrices in (True, False):
            params = [p for p in part.parameters() if (p.ndim > 1) == matrices]
            groups.append(
                {"params": params, "weight_decay": config.weight_decay * matrices, "factor": factor}
            )
    return torch.optim.AdamW(groups, lr=config.lr)


def write_log(path, rows):
    """Write the log as CSV."""
    with replacing(path) as part, open(part, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("step", "loss", "lr", "seconds"), *rows])


def restore(path, model, optimizer, what):
    """Continue from a checkpoint: returns its step, seconds and log rows; zeros if there is none."""
    if not path.is_file():
        return 0, 0.0, []
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["what"] != what:
        differs = [
            f"{key}: {saved['what'].get(key)} there, {value} now"
            for key, value in what.items()
            if saved["what"].get(key) != value
        ]
        raise problem(
            DataError,
            path,
            expected="a checkpoint of this very training",
            found="; ".join(differs),
            remedy="Continue with the old settings, or delete the checkpoint to begin anew.",
        )
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    logger.info("%s: continuing after step %d", path, saved["step"])
    return saved["step"], saved["seconds"], [tuple(row) for row in saved["rows"]]


def train(
    name,
    dataset,
    out,
    config=None,
    *,
    init=None,
    half=False,
    device="cpu",
    bf16=False,
    threads=None,
    workers=0,
    checkpoint_every=200,
    log_every=20,
):
    """Train a base segmentor.

    An interrupted training continues from `<out>.ckpt` and, unless bound by `max_minutes`, ends with the same
    weights as an uninterrupted one.

    Args:
        name: see `lib.segmentors.build`.
        dataset: `lib.clips.clip.Dataset` with truth.
        out: .safetensors file to write; beside it the log (.csv) and, until the end, the checkpoint (.ckpt).
        config: TrainConfig; None takes `default_config(name)`.
        init: file to start from: the weights of a MiT, or of a per-frame model of the same width, whose
            decoder is taken over too; None starts from scratch.
        half: store matrices and kernels as float16.
        device, bf16: where to train, and whether under bfloat16 autocast.
        threads: CPU threads of torch and OpenCV; None leaves them as they are.
        workers: threads that prepare the next crops meanwhile; 0 prepares them in between.
        checkpoint_every, log_every: in steps.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError, DataError: for an unknown name, a data set without truth, a checkpoint of other settings.
    """
    known(name)
    out, config = Path(out), config or default_config(name)
    if out.suffix != ".safetensors":
        raise ValueError(f"Expected `out` to end in .safetensors, but got {out}.")
    before = torch.get_num_threads(), cv2.getNumThreads()
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    try:
        torch.manual_seed(config.seed)
        model = build(name, len(dataset.classes), drop_path=config.drop_path)
        if init:
            start_from(model, init)
        what = {
            "name": name,
            "n_classes": len(dataset.classes),
            "dataset": dataset.name,
            "split": dataset.split,
            "init": Path(init).name if init else "",
            "config": json.dumps(asdict(config)),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        done, seconds = fit(
            model.to(device),
            Frames(dataset, model.n_frames),
            out,
            config,
            what,
            bf16=bf16,
            workers=workers,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
        )
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    state = {
        key: (value.half() if half and value.ndim > 1 else value).contiguous().cpu()
        for key, value in model.state_dict().items()
    }
    metadata = {
        **{key: str(value) for key, value in what.items()},
        "seed": str(config.seed),
        "steps": str(done),
    }
    with replacing(out) as part:
        part.write_bytes(to_safetensors(state, metadata))  # unlike save_file, with the usual permissions
    out.with_suffix(".ckpt").unlink(missing_ok=True)
    logger.info("%s: %d steps in %.0f s", out, done, seconds)
    return model.eval()


def fit(model, frames, out, config, what, *, bf16, workers, checkpoint_every, log_every):
    """Run the steps that are left; returns how many were done in all and how many seconds they took."""
    device = next(model.parameters()).device
    optimizer = make_optimizer(model, config)
    first, seconds_before, rows = restore(out.with_suffix(".ckpt"), model, optimizer, what)
    weights = class_weights(frames, what["n_classes"], config.balance).to(device) if config.balance else None
    start, losses, done = time.monotonic(), [], first
    model.train()
    pool = ThreadPoolExecutor(max(1, workers))
    coming = deque(pool.submit(make_batch, frames, step, config) for step in range(first, first + workers))
    bar = progress(total=config.steps, unit="step", initial=first)
    for step in range(first, config.steps):
        seconds = seconds_before + time.monotonic() - start
        share = max(step / config.steps, seconds / 60 / config.max_minutes if config.max_minutes else 0)
        if share >= 1:
            break
        lr = config.lr * min((1 - share) ** config.power, (step + 1) / (config.warmup + 1))
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        images, labels = coming.popleft().result() if workers else make_batch(frames, step, config)
        if workers:
            coming.append(pool.submit(make_batch, frames, step + workers, config))
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout and points, the same after a resume
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = model_loss(model, images, labels, weights, config)
        optimizer.zero_grad()
        loss.backward()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        losses.append(loss.detach())
        done = step + 1
        bar.update()
        last = done == config.steps
        if done % log_every == 0 or last:
            rows.append(
                (done, round(torch.stack(losses).mean().item(), 4), float(f"{lr:.3g}"), round(seconds, 1))
            )
            losses = []
        if done % checkpoint_every == 0 or last:
            checkpoint = {
                "step": done,
                "seconds": seconds_before + time.monotonic() - start,
                "rows": rows,
                "what": what,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            with replacing(out.with_suffix(".ckpt")) as part:
                torch.save(checkpoint, part)
            write_log(out.with_suffix(".csv"), rows)
    bar.close()
    pool.shutdown(cancel_futures=True)
    write_log(out.with_suffix(".csv"), rows)
    return done, seconds_before + time.monotonic() - start

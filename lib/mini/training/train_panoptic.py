"""Train the micro DVIS++ on drawn clips: first its segmenter on pairs of frames, then tracker and refiner on
clips, as its authors do.

    python -m lib.mini.training.train_panoptic --out data/mini/weights/dvis-plus-n1.safetensors

Its backbone starts from the micro SegFormer's, as the released models start from ImageNet's or COCO's. The
schedule follows time, so that a slower machine finishes too; a training that was interrupted goes on where it
last saved.
"""

import argparse
import csv
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as to_safetensors

from ...files import replacing
from ...paths import CACHE, EMBEDDED
from ...segmentors import read_weights
from ...segmentors.panoptic import build
from ...segmentors.panoptic.layers import masks_of
from ...segmentors.panoptic.loss import same_loss, set_loss
from ...segmentors.predict import normalise
from .panoptic_pool import NOTHING, augment, draw_pool, targets

log = logging.getLogger(__name__)
NAME = "dvis-plus-n1-offline"
SEGMENTER = ("backbone.", "sem_seg_head.")
WARM_UP = 30  # steps of each phase


@dataclass(frozen=True)
class Phase:
    """One stretch of training."""

    name: str
    minutes: float
    lr: float  # peak; the backbone's is a quarter
    shown: tuple[int, int]  # of the frames
    size: tuple[int, int]  # with padding, multiples of 32
    clips: int  # a step
    frames: int  # of each clip: 2 train the segmenter, more the tracker and the refiner
    whole: float  # share of clips that are not cut


PHASES = (
    Phase("segmenter-128", 30, 1e-3, (120, 213), (128, 224), 4, 2, 0.4),
    Phase("segmenter-256", 15, 5e-4, (240, 427), (256, 448), 2, 2, 0.8),
    Phase("video-128", 7, 1e-3, (120, 213), (128, 224), 1, 8, 0.6),
    Phase("video-256", 8, 5e-4, (240, 427), (256, 448), 1, 8, 0.9),
)


def batch(pool, phase: Phase, queries: int, rng: np.random.Generator):
    """Return images (N, 3, H, W) of `clips` clips, one after the other, and the targets of each clip."""
    images, objects, classes = pool
    shown, wanted = [], []
    for i in rng.integers(0, len(images), phase.clips):
        apart = int(rng.integers(1, 4)) if phase.frames == 2 else 1
        begin = int(rng.integers(0, images.shape[1] - apart * (phase.frames - 1)))
        chosen = slice(begin, begin + apart * phase.frames, apart)
        image, ids = augment(images[i, chosen], objects[i, chosen], phase.shown, phase.whole, rng)
        shown.append(image)
        ids = np.pad(
            ids,
            ((0, 0), (0, phase.size[0] - ids.shape[1]), (0, phase.size[1] - ids.shape[2])),
            constant_values=NOTHING,
        )
        wanted.append(targets(ids, classes[i], queries))
    shown = normalise(np.concatenate(shown))
    return F.pad(shown, (0, phase.size[1] - shown.shape[3], 0, phase.size[0] - shown.shape[2])), wanted


def segmenter_loss(model, images, wanted, frames: int):
    """Loss of every layer of the decoder on every frame, and of embeddings that must know an object again in
    the clip's other frame.
    """
    features, maps = model.sem_seg_head.pixel_decoder(model.backbone(images))
    layers = model.sem_seg_head.predictor(features, maps, every=True)
    loss, again = 0.0, []
    for c, (classes, masks, _) in enumerate(wanted):
        of = []
        for t in range(frames):
            there = masks[:, t].flatten(1).sum(1) >= 1
            for layer in layers:
                n = c * frames + t
                part, query = set_loss(
                    layer.logits[n], layer.masks[n].flatten(1), classes[there], masks[there, t].flatten(1)
                )
                loss = loss + part / len(layers)
            of.append(torch.full((len(classes),), -1).masked_scatter(there, query))
        both = (of[0] >= 0) & (of[1] >= 0)
        if both.any():
            embedding = layers[-1].embedding[c * frames : (c + 1) * frames]
            again.append(same_loss(embedding[0], embedding[1], torch.stack([of[0][both], of[1][both]], 1)))
    same = torch.stack(again).mean() if again else torch.zeros(())
    loss = loss / len(images)
    return loss + 2 * same, {"frame": loss.item(), "same": same.item()}


def video_loss(model, images, wanted):
    """Loss of the tracker and of the refiner on a whole clip; the segmenter stays as it is."""
    ((classes, masks, _),) = wanted
    with torch.no_grad():
        parts = [model.segment(part) for part in images.split(4)]
        features = torch.cat([p.features for p in parts])
    told, state = [], {}
    for part in parts:
        some, state = model.track(part.queries, state)
        told += some
    logits, kernels, x, memory = (
        torch.stack([getattr(f, key) for f in told]) for key in ("logits", "kernels", "embedding", "memory")
    )
    flat = lambda kernels, features: masks_of(kernels, features).transpose(0, 1).flatten(1)
    tracked, _ = set_loss(
        logits.mean(0), flat(kernels, model.tracker.mask_features(features)), classes, masks.flatten(1)
    )
    clip_logits, kernels, _ = model.refiner(x.detach(), memory)
    refined, _ = set_loss(clip_logits, flat(kernels, features), classes, masks.flatten(1))
    return tracked + refined, {"tracked": tracked.item(), "refined": refined.item()}


def start(seed: int):
    """Build the model; its backbone knows the drawn classes already."""
    torch.manual_seed(seed)
    model = build(NAME)
    state = read_weights(EMBEDDED / "mini" / "weights" / "segformer-n1.safetensors")
    model.backbone.load_state_dict(
        {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    )
    return model.train()


@torch.no_grad()
def start_video(model) -> None:
    """Let tracker and refiner begin as what they are to improve: the segmenter's own masks and classes, of
    queries linked by likeness.

    Their layers pass on what comes in, their heads are the segmenter's in the channels that it knows.
    """
    segmenter, dim = model.sem_seg_head.predictor, model.config.dim
    for part in (model.tracker, model.refiner):
        for key, parameter in part.named_parameters():
            if key.endswith(("out_proj.weight", "linear2.weight")) or (".2." in key and "conv_short" in key):
                parameter.zero_()
        for ours, theirs in zip(part.mask_embed.layers, segmenter.mask_embed.layers):
            n = len(theirs.bias)
            ours.weight[:n, dim:] = 0
            ours.weight[:n, :dim], ours.bias[:n] = theirs.weight, theirs.bias
        part.decoder_norm.weight[:dim], part.decoder_norm.bias[:dim] = (
            segmenter.decoder_norm.weight,
            segmenter.decoder_norm.bias,
        )
        part.class_embed.weight.zero_()
        first = part.class_embed.weight.shape[1] - model.config.track  # the tracker's sees a reference before
        part.class_embed.weight[:, first : first + dim], part.class_embed.bias[:] = (
            segmenter.class_embed.weight,
            segmenter.class_embed.bias,
        )
    identity = torch.eye(dim)[:, :, None, None]
    model.tracker.mask_feature_proj.weight.copy_(identity), model.tracker.mask_feature_proj.bias.zero_()


def optimizer_of(model, phase: Phase):
    """AdamW over what a phase trains, the backbone's parameters first."""
    video = phase.frames > 2
    groups = {"slow": [], "fast": []}
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(video != key.startswith(SEGMENTER))
        if parameter.requires_grad:
            groups["slow" if key.startswith("backbone.") else "fast"].append(parameter)
    return torch.optim.AdamW(
        [{"params": groups["slow"], "factor": 0.25}, {"params": groups["fast"], "factor": 1.0}],
        weight_decay=0.02,
    )


def train(
    out: Path,
    phases=PHASES,
    seed: int = 0,
    n_scenes: int = 480,
    work: Path = CACHE / "train_panoptic",
    threads: int = 1,
    time_scale: float = 1.0,
):
    """Train through `phases`, going on from `work` if it holds a checkpoint.

    Writes `out` (the online model), `<out>-offline` (with the refiner) and the log `<out>.csv`. `time_scale`
    stretches every phase's minutes.
    """
    torch.set_num_threads(threads)
    model, state, checkpoint = (
        start(seed),
        {"phase": 0, "elapsed": 0.0, "step": 0, "log": []},
        work / "checkpoint.pt",
    )
    pool = draw_pool(work / f"clips_{n_scenes}", n_scenes, workers=threads)
    saved = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if saved:
        model.load_state_dict(saved["model"])
        state = saved["state"]
        log.info("going on at step %d, phase %d", state["step"], state["phase"])
    while state["phase"] < len(phases):
        phase = phases[state["phase"]]
        if phase.frames > 2 and not state["elapsed"] and phases[state["phase"] - 1].frames == 2:
            start_video(model)
        optimizer = optimizer_of(model, phase)
        if saved and state["elapsed"]:
            optimizer.load_state_dict(saved["optimizer"])
        saved = None
        run_phase(model, optimizer, pool, phase, state, seed, phase.minutes * 60 * time_scale, checkpoint)
        state["phase"], state["elapsed"] = state["phase"] + 1, 0.0
        save(checkpoint, model, optimizer, state)
        about = {
            "seed": seed,
            "n_scenes": n_scenes,
            "steps": state["step"],
            "phases": [asdict(p) for p in phases[: state["phase"]]],
        }
        write(out, model, about, state["log"])


def run_phase(
    model, optimizer, pool, phase: Phase, state: dict, seed: int, seconds: float, checkpoint: Path
) -> None:
    """Train until the phase's time is spent; save every three minutes."""
    begun, saved_at, readings = time.monotonic() - state["elapsed"], time.monotonic(), []
    first = state["log"][-1]["step"] if state["log"] and state["log"][-1]["phase"] != phase.name else 0
    while (elapsed := time.monotonic() - begun) < seconds:
        lr = (
            phase.lr
            * min(1.0, (state["step"] - first + 1) / WARM_UP)
            * float(0.5 + 0.5 * np.cos(np.pi * elapsed / seconds))
        )
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        rng = np.random.default_rng((seed, state["step"]))
        images, wanted = batch(pool, phase, model.config.queries, rng)
        loss, parts = (
            video_loss(model, images, wanted)
            if phase.frames > 2
            else segmenter_loss(model, images, wanted, phase.frames)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        readings.append(parts)
        state["step"] += 1
        state["elapsed"] = elapsed
        if len(readings) == 50:
            note(state, phase, readings)
            readings = []
        if time.monotonic() - saved_at > 180:
            save(checkpoint, model, optimizer, state)
            saved_at = time.monotonic()
    if readings:
        note(state, phase, readings)


def note(state: dict, phase: Phase, readings: list[dict]) -> None:
    """Add a row to the log: the means of some steps."""
    means = {key: round(float(np.mean([r[key] for r in readings])), 4) for key in readings[0]}
    minutes = round(state["elapsed"] / 60, 2)
    state["log"].append({"step": state["step"], "phase": phase.name, "minutes": minutes, **means})
    log.info("%s", state["log"][-1])


def save(checkpoint: Path, model, optimizer, state: dict) -> None:
    """Keep what a training needs to go on."""
    with replacing(checkpoint) as part:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}, part)


def write(out: Path, model, about: dict, rows: list[dict]) -> None:
    """Write the weights, matrices in half precision, with and without the refiner, and the log."""
    whole = {
        key: (value.half() if value.ndim > 1 else value).contiguous()
        for key, value in model.state_dict().items()
    }
    online = {key: value for key, value in whole.items() if not key.startswith("refiner.")}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    for path, state in ((out, online), (out.with_stem(f"{out.stem}-offline"), whole)):
        with replacing(path) as part:
            part.write_bytes(to_safetensors(state, metadata))
    columns = ["step", "phase", "minutes", "frame", "same", "tracked", "refined"]
    with replacing(out.with_suffix(".csv")) as part, open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--work",
        type=Path,
        default=CACHE / "train_panoptic",
        help="drawn clips and the checkpoint (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=480)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="stretch every phase (default: %(default)s)"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(
        args.out,
        seed=args.seed,
        n_scenes=args.scenes,
        work=args.work,
        threads=args.threads,
        time_scale=args.time_scale,
    )

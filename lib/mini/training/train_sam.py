"""Train the micro SAM 2 on drawn scenes: clicks alone as prompts, then tracking from a mask.

    python -m lib.mini.training.train_sam --out data/mini/weights/micro_sam2.safetensors

Two obstacles shape this script. A small model trained from scratch first learns one answer for every click:
a start that makes attention local, and a training-only loss that asks the click's token to attend to the cell
under the click, get it off that plateau. And CPU time is short: most steps run at 128 pixels (the weights do
not depend on the input size), the last ones at 256.
"""

import argparse
import csv
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ...files import replacing
from ...paths import CACHE
from ...sam.fast import quicken
from ...sam.models import micro
from .phases import PHASES, Phase
from .pool import POOL_FRAMES, augment, draw_pool, normalise, pick_clicks, pick_objects

log = logging.getLogger(__name__)


class ClickAttention:
    """Watches the token-to-image attentions and scores how well the click's token looks at the cell under
    the click."""

    POINT = 6  # tokens: object score, IoU, 4 masks, then the click, then padding

    def __init__(self, model):
        transformer = model.sam_mask_decoder.transformer
        self.watched = [block.cross_attn_token_to_image for block in transformer.layers] + [
            transformer.final_attn_token_to_image
        ]
        self.seen = {}
        for attention in self.watched:
            attention.q_proj.register_forward_hook(
                lambda module, args, out, key=(attention, "q"): self.seen.__setitem__(key, out)
            )
            attention.k_proj.register_forward_hook(
                lambda module, args, out, key=(attention, "k"): self.seen.__setitem__(key, out)
            )

    def loss(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy; `cells` (B,) int64 is the index of the clicked cell."""
        total = 0.0
        for attention in self.watched:
            q, k = self.seen[attention, "q"][:, self.POINT], self.seen[attention, "k"]
            heads = attention.num_heads
            q, k = q.unflatten(-1, (heads, -1)), k.unflatten(-1, (heads, -1))
            logits = torch.einsum("bhc,bnhc->bhn", q, k) / q.shape[-1] ** 0.5
            total = total + F.cross_entropy(logits.flatten(0, 1), cells.repeat_interleave(heads))
        return total / len(self.watched)


def start_local(model, generator: torch.Generator) -> None:
    """Change the random start so that every cross attention of the mask decoder is local from the first
    step."""
    decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    transformer = decoder.transformer
    token_to_image = [block.cross_attn_token_to_image for block in transformer.layers] + [
        transformer.final_attn_token_to_image
    ]
    with torch.no_grad():
        for attention in token_to_image + [block.cross_attn_image_to_token for block in transformer.layers]:
            shared = (
                torch.randn(attention.q_proj.weight.shape, generator=generator)
                * (6 / attention.embedding_dim) ** 0.5
            )
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight.copy_(shared), projection.bias.zero_()
        for attention in token_to_image:
            attention.v_proj.weight.mul_(2), attention.out_proj.weight.mul_(2)
        for tokens in (decoder.iou_token, decoder.mask_tokens, decoder.obj_score_token):
            tokens.weight.mul_(0.1)
        for embedding in [*prompts.point_embeddings, prompts.not_a_point_embed]:
            embedding.weight.mul_(0.3)
        for convolution in model.image_encoder.neck.convs:
            convolution.conv.weight.mul_(0.5)
        decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)


def steepen(model, factor: float) -> None:
    """Multiply the mask logits by `factor`."""
    with torch.no_grad():
        for mlp in model.sam_mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(factor), mlp.layers[-1].bias.mul_(factor)


def mask_loss(
    logits: torch.Tensor, target: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """2 BCE + dice per mask, and the true IoU; logits (B, M, h, w), divided by `temperature`, target (B,
    2h, 2w) in 0..1.

    Compared at twice the logits' resolution: a border inside a cell is learned from the slope of the logits.
    """
    logits = F.interpolate(logits / temperature, target.shape[-2:], mode="bilinear", align_corners=False)
    target = target[:, None].expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum((2, 3)) + 1) / (p.sum((2, 3)) + target.sum((2, 3)) + 1)
    with torch.no_grad():
        on, true = logits > 0, target > 0.5
        iou = (on & true).sum((2, 3)) / (on | true).sum((2, 3)).clamp(min=1)
    return 2 * bce + dice, iou


def quantile_loss(predicted: torch.Tensor, true: torch.Tensor, quantile: float) -> torch.Tensor:
    """Pinball loss, least where `predicted` is the given quantile of `true`; at 0.5 it is L1."""
    below = (true - predicted).clamp(min=0)
    above = (predicted - true).clamp(min=0)
    return 2 * (quantile * below + (1 - quantile) * above).mean()


def rank_loss(
    predicted: torch.Tensor, true: torch.Tensor, ids: torch.Tensor, sharpness: float = 30.0
) -> torch.Tensor:
    """Compute the true IoU that is lost when, of all masks from clicks on one region of one picture, the one
    of the highest predicted IoU is selected, as box NMS does.

    predicted, true: (B, K, M), M masks for each of K clicks; ids (B, K), the clicked regions. The choice is
        soft, to have a gradient.
    """
    same = (ids[:, :, None] == ids[:, None]).repeat_interleave(true.shape[-1], 2)  # (B, K, K * M)
    chosen = (sharpness * predicted.flatten(1)[:, None]).masked_fill(~same, -torch.inf).softmax(-1)
    true = true.flatten(1)[:, None]
    return (true.masked_fill(~same, 0).amax(-1) - (chosen * true).sum(-1)).mean()


def targets(regions: torch.Tensor, ids: torch.Tensor, size: int) -> torch.Tensor:
    """Return masks (B, size, size) of regions (B, S, S) == ids (B,), averaged by area and made hard."""
    mask = (regions == ids[:, None, None]).float()[:, None]
    return (F.avg_pool2d(mask, mask.shape[-1] // size)[:, 0] > 0.5).float()


def encode(model, images: torch.Tensor):
    """Encode images (N, 3, S, S) to sam2's flat features, positions and sizes (not expanded to objects)."""
    _, features, positions, sizes = model._prepare_backbone_features(model.forward_image(images))
    return features, positions, sizes


def click_step(model, watch, phase, images, regions, xy, ids, attention_weight):
    """One batch of clicks. images (B, 3, S, S), regions (B, S, S), xy (B, K, 2), ids (B, K). Returns loss
    and readings."""
    b, k = ids.shape
    features, _, sizes = encode(model, images)
    maps = [f.permute(1, 2, 0).unflatten(2, s) for f, s in zip(features, sizes)]
    maps[-1] = maps[-1] + model.no_mem_embed.view(1, -1, 1, 1)
    maps = [m.repeat_interleave(k, 0) for m in maps]
    points, s = xy.flatten(0, 1)[:, None], images.shape[-1]
    sparse, dense = model.sam_prompt_encoder(
        points=(points, torch.ones(b * k, 1, dtype=torch.int32, device=points.device)), boxes=None, masks=None
    )
    decoder = model.sam_mask_decoder
    masks, ious, _, score = decoder.predict_masks(
        image_embeddings=maps[-1],
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=maps[:-1],
    )
    target = targets(regions.repeat_interleave(k, 0), ids.flatten(), masks.shape[-1] * 2)
    losses, true_iou = mask_loss(masks, target, phase.temperature)
    best = losses[:, 1:].min(1).values.mean()
    loss = (
        best
        + 0.3 * losses[:, 1:].mean()
        + 0.5 * losses[:, 0].mean()
        + phase.iou * quantile_loss(ious, true_iou, phase.quantile)
    )
    loss = loss + 0.05 * F.binary_cross_entropy_with_logits(score, torch.ones_like(score))
    if phase.rank:
        loss = loss + phase.rank * rank_loss(
            ious[:, 1:].unflatten(0, (b, k)), true_iou[:, 1:].unflatten(0, (b, k)), ids
        )
    if attention_weight > 0:
        cell = (points[:, 0] * (sizes[-1][0] / s)).long().clamp(0, sizes[-1][0] - 1)
        loss = loss + attention_weight * watch.loss(cell[:, 1] * sizes[-1][1] + cell[:, 0])
    return loss, {"best": true_iou[:, 1:].max(1).values.mean().item(), "single": true_iou[:, 0].mean().item()}


def track_step(model, phase, images, regions, ids):
    """Track objects from their true mask in frame 0. images (C, T, 3, S, S), regions (C, T, S, S), ids (C,
    O)."""
    c, t = images.shape[:2]
    o = ids.shape[1]
    features, positions, sizes = encode(model, images.flatten(0, 1))
    history = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    loss, ious, absent = 0.0, [], []
    for step in range(t):
        rows = torch.arange(c, device=images.device).repeat_interleave(o) * t + step
        vision, position = [f[:, rows] for f in features], [p[:, rows] for p in positions]
        region = regions[:, step].repeat_interleave(o, 0)
        prompt = targets(region, ids.flatten(), images.shape[-1])[:, None] if step == 0 else None
        out, sam, _, _ = model._track_step(
            step, step == 0, vision, position, sizes, None, prompt, history, t, False, None
        )
        masks, _, predicted, low, high, out["obj_ptr"], score = sam
        model._encode_memory_in_output(vision, sizes, None, True, high, score, out)
        history["cond_frame_outputs" if step == 0 else "non_cond_frame_outputs"][step] = out
        if step == 0:
            continue
        target = targets(region, ids.flatten(), low.shape[-1] * 2)
        present = target.flatten(1).any(1)
        loss = loss + F.binary_cross_entropy_with_logits(score[:, 0], present.float())
        absent += score[~present, 0].lt(0).tolist()
        # an object taken for absent has no gradient
        usable = present & (low.flatten(1).max(1).values > -1000)
        if usable.any():
            losses, true_iou = mask_loss(low[usable], target[usable], phase.temperature)
            loss = (
                loss
                + losses.mean()
                + 0.5 * phase.iou * quantile_loss(predicted[usable], true_iou, phase.quantile)
            )
        with torch.no_grad():
            _, true_iou = (
                mask_loss(low[present], target[present], phase.temperature)
                if present.any()
                else (None, torch.zeros(0))
            )
        ious += true_iou.flatten().tolist()
    mean = lambda values: float(np.mean(values)) if values else float("nan")
    return loss / (t - 1), {"tracked": mean(ious), "absent": mean(absent)}


def draw_batch(pool, phase: Phase, rng: np.random.Generator, step: int = 0):
    """Click batch and track batch of one step, either None if the phase has none."""
    images, regions = pool
    # even scenes are wild
    choose = lambda n: 2 * rng.integers(0, len(images) // 2, n) + (rng.random(n) < phase.tame)
    clicks = tracks = None
    if phase.images:
        frames = [
            augment(images[i, j : j + 1], regions[i, j : j + 1], phase.size_px, rng, phase.whole)
            for i, j in zip(choose(phase.images), rng.integers(0, POOL_FRAMES, phase.images))
        ]
        picked = [
            pick_clicks(region[0], phase.clicks, rng, phase.by_region, phase.smallest) for _, region in frames
        ]
        clicks = (
            normalise(np.concatenate([f[0] for f in frames])),
            torch.from_numpy(np.concatenate([f[1] for f in frames])),
            torch.from_numpy(np.stack([p[0] for p in picked])),
            torch.from_numpy(np.stack([p[1] for p in picked])),
        )
    if phase.clips and step % phase.track_every == 0:
        frames = [
            augment(images[i, : phase.frames], regions[i, : phase.frames], phase.size_px, rng, phase.whole)
            for i in choose(phase.clips)
        ]
        ids = np.stack([pick_objects(region, phase.objects, phase.leaving, rng) for _, region in frames])
        tracks = (
            normalise(np.stack([f[0] for f in frames])),
            torch.from_numpy(np.stack([f[1] for f in frames])),
            torch.from_numpy(ids),
        )
    return clicks, tracks


def train(
    out: Path,
    phases=PHASES,
    seed: int = 0,
    n_scenes: int = 1600,
    work: Path = CACHE / "train_sam",
    threads: int = 2,
    time_scale: float = 1.0,
    device: str = "cpu",
):
    """Train through `phases`, resuming from `work` if it holds a checkpoint; write `out` (fp16
    safetensors) and its log `out`.csv.

    `time_scale` stretches every phase's minutes.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = micro(phases[0].size_px)
    start_local(model, torch.Generator().manual_seed(seed))
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    state = {"phase": 0, "elapsed": 0.0, "step": 0, "log": []}
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"]), optimizer.load_state_dict(saved["optimizer"])
        state, rng = saved["state"], np.random.default_rng((seed, saved["state"]["step"]))
        log.info("resumed at step %d, phase %d", state["step"], state["phase"])
    weights = model.state_dict()
    while state["phase"] < len(phases):
        phase = phases[state["phase"]]
        pool = draw_pool(work / f"{'fresh' if phase.fresh else 'frames'}_{n_scenes}", n_scenes, phase.fresh)
        model = quicken(micro(phase.size_px)).to(device).train()
        model.load_state_dict(weights)
        if state["phase"] and not state["elapsed"]:
            steepen(model, phase.temperature / phases[state["phase"] - 1].temperature)
        saved = optimizer.state_dict()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
        optimizer.load_state_dict(saved)
        _run_phase(model, optimizer, pool, phase, rng, state, checkpoint, phase.minutes * 60 * time_scale)
        weights = model.state_dict()
        state["phase"], state["elapsed"] = state["phase"] + 1, 0.0
        _save(checkpoint, model, optimizer, state)
        write_weights(
            out,
            weights,
            {
                "seed": seed,
                "n_scenes": n_scenes,
                "steps": state["step"],
                "phases": [asdict(p) for p in phases],
            },
            state["log"],
        )


def _run_phase(model, optimizer, pool, phase, rng, state, checkpoint, seconds):
    """Train until the phase's time is spent."""
    watch, begun, saved_at, first = (
        ClickAttention(model),
        time.time() - state["elapsed"],
        time.time(),
        state["step"],
    )
    readings = {}
    while (elapsed := time.time() - begun) < seconds:
        done = elapsed / seconds
        warm = min(1.0, (state["step"] - first + 1) / 200) if state["phase"] == 0 else 1.0
        lr = float(phase.lr * warm * (0.5 + 0.5 * np.cos(np.pi * done)) + 1e-5)
        for group in optimizer.param_groups:
            group["lr"] = lr
        clicks, tracks = draw_batch(pool, phase, rng, state["step"])
        optimizer.zero_grad(set_to_none=True)
        for batch, step in (
            (
                clicks,
                lambda b: click_step(model, watch, phase, *b, phase.attention * max(0.0, 1 - 1.5 * done)),
            ),
            (tracks, lambda b: track_step(model, phase, *b)),
        ):
            if batch is not None:
                loss, new = step([part.to(model.device) for part in batch])
                loss.backward()
                for key, value in {
                    **new,
                    "loss_" + ("click" if "best" in new else "track"): loss.item(),
                }.items():
                    if np.isfinite(value):
                        readings[key] = value if key not in readings else 0.98 * readings[key] + 0.02 * value
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state["step"] += 1
        if state["step"] % 50 == 0:
            row = {
                "step": state["step"],
                "phase": phase.name,
                "minutes": round(elapsed / 60, 2),
                "lr": round(lr, 7),
                **{k: round(v, 4) for k, v in readings.items()},
            }
            state["log"].append(row)
            log.info("%s", row)
        if time.time() - saved_at > 120:
            state["elapsed"], saved_at = elapsed, time.time()
            _save(checkpoint, model, optimizer, state)


def _save(path, model, optimizer, state):
    with replacing(path) as part:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}, part)


def write_weights(out: Path, weights: dict, metadata: dict, rows: list[dict]) -> None:
    """Write fp16 safetensors with metadata, and the log as CSV beside it."""
    tensors = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in weights.items()}
    with replacing(out) as part:
        save_file(tensors, part, {k: json.dumps(v) for k, v in metadata.items()})
    with replacing(out.with_suffix(".csv")) as part, open(part, "w", newline="") as f:
        writer = csv.DictWriter(
            f,
            sorted(
                {k for r in rows for k in r}, key=lambda k: list(rows[-1]).index(k) if k in rows[-1] else 99
            ),
        )
        writer.writeheader(), writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-scale", type=float, default=1.0, help="stretch every phase's minutes")
    parser.add_argument(
        "--device",
        default="cpu",
        help="the committed weights were trained on a CPU; a GPU does more steps in the same minutes",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(
        args.out,
        seed=args.seed,
        n_scenes=args.scenes,
        threads=args.threads,
        time_scale=args.time_scale,
        device=args.device,
    )

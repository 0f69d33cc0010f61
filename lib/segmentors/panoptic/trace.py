"""Every intermediate result of a model under the names and in the layouts of the authors' code, to compare
the two.
"""

from collections.abc import Sequence

import torch

from .decoder import Queries
from .layers import masks_of
from .model import VideoPanoptic


@torch.inference_mode()
def trace(model: VideoPanoptic, frames: torch.Tensor, windows: Sequence[int]) -> dict[str, torch.Tensor]:
    """Run a clip and keep everything.

    Args:
        model: in evaluation mode.
        frames: (T, 3, H, W) straight into the backbone, sides multiples of 32.
        windows: frames that go through the segmenter at a time; they sum to T.

    Returns:
        `res2` .. `res5`, `mask_features`, `ms0`, `ms1`, `ms2`: (T, C, h, w); `seg_pred_logits` (1, T, Q,
        classes + 1), `seg_pred_masks` (1, Q, T, h, w), `seg_pred_embds` and, but for DVIS, `seg_raw` (1, C,
        T, Q); then what `trace_tracker` returns.

    Raises: ValueError if the windows do not sum to T.
    """
    if sum(windows) != len(frames):
        raise ValueError(f"Expected `windows` to sum to the {len(frames)} frames, but got {list(windows)}.")
    parts = [model.segment(part) for part in frames.split(list(windows))]
    found = {f"res{i + 2}": torch.cat([p.backbone[i] for p in parts]) for i in range(4)}
    found["mask_features"] = torch.cat([p.features for p in parts])
    found |= {f"ms{i}": torch.cat([p.maps[i] for p in parts]) for i in range(3)}
    logits, masks, embedding, raw = (
        torch.cat([getattr(p.queries, key) for p in parts]) for key in ("logits", "masks", "embedding", "raw")
    )
    found |= {
        "seg_pred_logits": logits[None],
        "seg_pred_masks": masks.transpose(0, 1)[None],
        "seg_pred_embds": channels_first(embedding),
    }
    if model.config.tracker != "dvis":
        found["seg_raw"] = channels_first(raw)
    return found | _track(model, embedding, raw, found["mask_features"], list(windows))


@torch.inference_mode()
def trace_tracker(
    model: VideoPanoptic, embeddings, raw, mask_features, resume_at: int | None = None
) -> dict[str, torch.Tensor]:
    """Run tracker and refiner alone.

    Args:
        model: in evaluation mode; its number of queries does not matter.
        embeddings: (T, Q, C), or as `trace` returns them, (1, C, T, Q).
        raw: the same, of the channels that the tracker wants; DVIS does not look at it: None will do.
        mask_features: (T, dim, h, w).
        resume_at: frame before which the state is taken out of the tracker and put back; None for none.

    Returns:
        `trk_pred_logits` (1, T, Q, classes + 1), `trk_pred_masks` (1, Q, T, h, w), `trk_pred_embds` (1, C, T,
        Q); with a refiner also `ref_pred_masks`, `ref_pred_embds` and `aux` (Q, classes + 1), the mean of the
        tracker's logits; `logits` (Q, classes + 1) of the clip.
    """
    embeddings, raw = (
        x[0].permute(1, 2, 0) if x is not None and x.ndim == 4 else x for x in (embeddings, raw)
    )
    n = len(embeddings)
    windows = [n] if resume_at is None else [resume_at, n - resume_at]
    return _track(model, embeddings, embeddings if raw is None else raw, mask_features, windows)


def _track(model, embedding, raw, features, windows):
    """Track in windows, the state carried between them; then refine."""
    told, state = [], {}
    for e, r in zip(embedding.split(windows), raw.split(windows)):
        some, state = model.track(
            Queries(None, None, e, r), {key: value.clone() for key, value in state.items()}
        )
        told += some
    logits, kernels, tracked = (
        torch.stack([getattr(f, key) for f in told]) for key in ("logits", "kernels", "embedding")
    )
    masks = masks_of(kernels, model.tracker.mask_features(features))
    found = {
        "trk_pred_logits": logits[None],
        "trk_pred_masks": masks.transpose(0, 1)[None],
        "trk_pred_embds": channels_first(tracked),
    }
    if model.refiner is None:
        return found | {"logits": logits.mean(0)}
    refined, kernels, x = model.refiner(tracked, torch.stack([f.memory for f in told]))
    found |= {
        "ref_pred_masks": masks_of(kernels, features).transpose(0, 1)[None],
        "ref_pred_embds": channels_first(x),
    }
    return found | {"logits": refined, "aux": logits.mean(0)}


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """(T, Q, C) -> (1, C, T, Q)."""
    return x.permute(2, 0, 1)[None]

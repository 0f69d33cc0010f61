"""MRCFA: mining relations among cross-frame affinities (Sun et al., ECCV 2022).

The target frame attends to the tokens of three earlier frames that matter most to it. Affinities are taken at
three scales, each token's affinity map is refined as an image, coarse to fine, and the result weighs the
token's features.
"""

import torch.nn as nn
import torch.nn.functional as F

from .mit import MiT, init_weights, to_image, to_tokens
from .segformer import FRAMES, ClipHead, halve, head_options, input_scale, pointwise

TOP = 5  # places of the target whose affinities make a token's score
# fraction of tokens; the authors configured no other published widths
KEPT = {"n0": 0.8, "n1": 0.5, "b0": 0.8, "b1": 0.5, "b2": 0.5, "b5": 0.5}

# Convolutions of each part of `AffinityPyramid`: (kernel, channels in, channels out).
NARROW = {
    "encoder_layer4": ((3, 1, 1),),
    "encoder_layer3": ((5, 1, 1),),
    "encoder_layer2": ((5, 1, 1),),
    "encoder_layer4to3": ((3, 1, 1),),
    "encoder_layer3to2": ((3, 1, 1),),
}
WIDE = {
    "encoder_layer4": ((3, 1, 1), (3, 1, 2)),
    "encoder_layer3": ((3, 1, 1), (3, 1, 2)),
    "encoder_layer2": ((5, 1, 1), (3, 1, 2)),
    "encoder_layer4to3": ((3, 2, 2), (3, 2, 2)),
    "encoder_layer3to2": ((3, 2, 2), (3, 2, 1)),
}


class Conv(nn.Module):
    """Convolution that keeps the size."""

    def __init__(self, kernel, dim_in, dim):
        super().__init__()
        self.conv2 = nn.Conv2d(dim_in, dim, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.conv2(x)


class AffinityPyramid(nn.Module):
    """Refines affinity maps of three scales into one at the finest."""

    def __init__(self, parts):
        super().__init__()
        for name, convs in parts.items():
            layers = [layer for conv in convs for layer in (Conv(*conv), nn.GroupNorm(1, conv[2]), nn.ReLU())]
            self.add_module(name, nn.Sequential(*layers))

    def forward(self, a2, a3, a4):
        """Maps at 1/8, 1/16 and 1/32, each (N, 1, h, w) -> (N, 1, H/8, W/8)."""
        mixed = self.encoder_layer4to3(enlarge(self.encoder_layer4(a4), a3) + self.encoder_layer3(a3))
        return self.encoder_layer3to2(enlarge(mixed, a2) + self.encoder_layer2(a2))


def enlarge(x, like):
    """Resize to the size of another map, corner on corner."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def affinity(query, keys):
    """(B, C, h, w) and (B, 3, n, C) -> (B, 3, n, h * w), not scaled."""
    return keys @ to_tokens(query)[:, None].transpose(2, 3)


def select(affinities, kept):
    """Choose the tokens that matter most to the target.

    Args:
        affinities: (..., n, N) of n tokens and the target's N places.
        kept: fraction of tokens to keep, rounded down but to one at least.

    Returns:
        (..., S) int64, ids of tokens by falling score, which is the sum of the `TOP` largest affinities. What
        follows does not depend on their order.
    """
    scores = affinities.topk(min(TOP, affinities.shape[-1]), -1).values.sum(-1)
    return scores.topk(max(1, int(affinities.shape[-2] * kept)), -1).indices


def take(x, chosen):
    """(..., n, C) and ids (..., S) -> (..., S, C)."""
    return x.gather(-2, chosen[..., None].expand(*chosen.shape, x.shape[-1]))


class Affinities(nn.Module):
    """Affinities between the target and earlier frames, refined. In its names q is for the target, k for
    earlier frames, and 1..3 for c2..c4."""

    def __init__(self, dims, kept, parts):
        super().__init__()
        self.kept = kept
        for i, dim in enumerate(dims, 1):
            self.add_module(f"q{i}", nn.Linear(dim, dim))
            self.add_module(f"k{i}", nn.Linear(dim, dim))
        self.hpn = AffinityPyramid(parts)

    def forward(self, queries, keys):
        """Relate.

        Args:
            queries: of c2, c3, c4 of the target, (B, C_i, h, w).
            keys: of c2, c3, c4 of the earlier frames, (B, 3, n, C_i).

        Returns:
            affinities: (B, 3, S, H/8 * W/8).
            chosen: (B, 3, S) int64, the tokens that they are of.
        """
        chosen = select(affinity(queries[2], keys[2]), self.kept)  # at the coarsest scale, for all scales
        maps = [
            affinity(q, take(k, chosen)).view(-1, 1, *q.shape[2:]) for q, k in zip(queries, keys, strict=True)
        ]
        return self.hpn(*maps).view(*chosen.shape, -1), chosen


class MRCFAHead(ClipHead):
    """The MLP decoder for each frame, and for the last one what it gathers from the three before.

    Source: class SegFormerHead_clips2_resize_1_8_hypercorrelation2_topk_ensemble4 of the authors' code.
    Differs: the authors' deco1..3, which serve their training alone, are left out.
    """

    def __init__(self, dims, kept, parts, dim=256, n_classes=124, dropout=0.1):
        super().__init__(dims, dim, n_classes, dropout)
        self.sr2 = nn.Conv2d(dims[1], dims[1], 4, 4)
        self.sr3 = nn.Conv2d(dims[2], dims[2], 2, 2)
        self.sr1_feat = nn.Conv2d(dim, dim, 4, 4)
        self.hypercorre_module = Affinities(dims[1:], kept, parts)
        self.deco4 = nn.ModuleDict(
            {"smalldecoder": nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(dim, n_classes, 1))}
        )
        self.apply(init_weights)

    def prepare(self, features, fused=None):
        """Compute what a frame brings to every target that sees it.

        Args:
            features: as for `fuse`.

        Returns:
            A tuple of
            fused: (N, dim, H/8, W/8).
            values: (N, n, dim), n = H/32 * W/32 tokens.
            queries: of c2, c3, c4, (N, C_i, H/2^(i+1), W/2^(i+1)).
            keys: of c2, c3, c4, (N, n, C_i).
        """
        _, c2, c3, c4 = features
        fused, relate = halve(self.fuse(features) if fused is None else fused), self.hypercorre_module
        queries = [
            to_image(q(to_tokens(c)), c.shape[2])
            for q, c in zip((relate.q1, relate.q2, relate.q3), (c2, c3, c4), strict=True)
        ]
        keys = [
            k(to_tokens(c))
            for k, c in zip((relate.k1, relate.k2, relate.k3), (self.sr2(c2), self.sr3(c3), c4), strict=True)
        ]
        return fused, to_tokens(self.sr1_feat(fused)), *queries, *keys

    def decode(self, parts, size):
        """Segment the last frame of clips.

        Args:
            parts: of `prepare`, each (B, 4, ...).
            size: H/4, W/4.

        Returns:
            Logits (B, n_classes, *size).
        """
        fused, values, q2, q3, q4, k2, k3, k4 = parts
        fused, values = fused[:, -1], values[:, :-1]
        affinities, chosen = self.hypercorre_module(
            [q[:, -1] for q in (q2, q3, q4)], [k[:, :-1] for k in (k2, k3, k4)]
        )
        gathered = affinities.softmax(2).transpose(2, 3) @ take(values, chosen)  # (B, 3, H/8 * W/8, dim)
        drop, classifier = self.deco4["smalldecoder"]
        logits = pointwise(classifier, drop(to_image(gathered.mean(1), fused.shape[2]) + fused))
        return F.interpolate(logits, size, mode="bilinear")


class MRCFA(nn.Module):
    """Video base segmentor; arguments and attributes as for `SegFormer`."""

    widths = tuple(KEPT)
    n_frames = FRAMES

    def __init__(self, width, n_classes=124, drop_path=0.0):
        super().__init__()
        self.scale = input_scale(width)
        self.backbone = MiT(width, drop_path)
        parts = WIDE if width in ("n1", "b1") else NARROW
        self.decode_head = MRCFAHead(kept=KEPT[width], parts=parts, **head_options(width, n_classes))

    def forward(self, images):
        """Segment the last of the frames t-9, t-6, t-3, t: (4, 3, H, W) normalised RGB -> logits (1,
        n_classes, H/4, W/4). See `ClipHead`."""
        return self.decode_head(self.backbone(images))

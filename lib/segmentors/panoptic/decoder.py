"""The masked-attention decoder of Mask2Former: queries gather what their own mask covers; what each frame's
queries say is all that trackers see.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import MLP, QueryLayers, masks_of, sine_position, tokens


@dataclass
class Queries:
    """What the decoder says of N frames."""

    logits: torch.Tensor  # (N, Q, n_classes + 1)
    masks: torch.Tensor  # (N, Q, H/4, W/4) logits
    embedding: torch.Tensor  # (N, Q, C): what frames are matched by
    raw: torch.Tensor  # (N, Q, C'): before the last norm


class MaskDecoder(QueryLayers):
    """Mask features and three scales -> Queries.

    Args: config: `Config`; n_classes: without "no object".
    """

    def __init__(self, config, n_classes: int):
        dim = config.dim
        super().__init__(config.decoder_layers, dim, config.heads, config.hidden)
        self.dim, self.tracker, self.box = dim, config.tracker, config.box
        self.query_feat, self.query_embed = (
            nn.Embedding(config.queries, dim),
            nn.Embedding(config.queries, dim),
        )
        self.level_embed = nn.Embedding(3, dim)
        self.class_embed, self.mask_embed = nn.Linear(dim, n_classes + 1), MLP(dim, dim, dim)
        if self.tracker != "dvis":
            self.reid_embed = MLP(2 * dim if self.tracker == "cavis" else dim, dim, dim)

    def forward(self, features, maps, every: bool = False):
        """Return the Queries of the last layer; with `every`, of the start and of each layer, as training
        wants them.
        """
        sizes = [m.shape[2:] for m in maps]
        values = [tokens(m) + level for m, level in zip(maps, self.level_embed.weight)]
        keys = [v + sine_position(self.dim, *size, v.device) for v, size in zip(values, sizes)]
        position = self.query_embed.weight
        x = self.query_feat.weight.expand(len(features), -1, -1)
        told = [self.heads(x, features)]
        for i in range(len(self)):
            blocked = outside(told[-1][1], sizes[i % 3])
            x = self.layer(i, x, x + position, keys[i % 3], values[i % 3], blocked, position)
            told.append(self.heads(x, features))
        if every:
            return [
                Queries(logits, masks, *self.embed(normed, x, masks, features))
                for logits, masks, normed, x in told
            ]
        logits, masks, normed, x = told[-1]
        return Queries(logits, masks, *self.embed(normed, x, masks, features))

    def heads(self, x, features):
        """Return class logits, mask logits, and the queries with and without the last norm."""
        normed = self.decoder_norm(x)
        return self.class_embed(normed), masks_of(self.mask_embed(normed), features), normed, x

    def embed(self, normed, x, masks, features):
        """Return (embedding, raw) as the tracker wants them."""
        if self.tracker == "dvis":
            return normed, x
        if self.tracker == "dvis-plus":
            reid = self.reid_embed(normed)
            return torch.cat([normed, reid], 2), torch.cat([x, reid], 2)
        around = boundary_mean(masks, features, self.box)[..., None].expand(-1, -1, self.dim)
        return torch.cat([normed, self.reid_embed(torch.cat([normed, around], 2))], 2), x


def outside(masks: torch.Tensor, size) -> torch.Tensor:
    """Return where queries must not look, (N, Q, h w) bool: outside their mask, resized to `size`; a query
    without any cell looks everywhere.
    """
    blocked = F.interpolate(masks.detach(), size, mode="bilinear").flatten(2) < 0
    return blocked & ~blocked.all(2, keepdim=True)


def boundary_mean(masks: torch.Tensor, features: torch.Tensor, box: int) -> torch.Tensor:
    """Return what mask features are like around each object's boundary, one number a query (N, Q).

    Source: CAVIS. Its "context filter" has one constant weight over all channels, so each of its output
        channels is the same: the mean over a box of the channels' sum (zeros beyond the edge, always divided
        by box^2). A boundary cell is one of the object with a neighbour, diagonal ones too, that is not;
        beyond the edge nothing is.
    """
    inside = (masks > 0).float()
    whole = -F.max_pool2d(-F.pad(inside, (1, 1, 1, 1)), 3, 1)  # 1 where all nine cells are the object's
    boundary = inside - whole
    smooth = F.avg_pool2d(features.sum(1, keepdim=True), box, 1, box // 2)
    return (boundary * smooth).sum((2, 3)) / (boundary.sum((2, 3)) + 1e-6)

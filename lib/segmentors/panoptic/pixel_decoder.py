"""The pixel decoder: deformable attention among three scales, then a map of mask features at a quarter of the
input's size.

It runs in float32 always, as the authors' does under autocast.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import sine_position, tokens

N_LEVELS, N_POINTS = 3, 4  # scales that take part, and places that a head looks at in each


class DeformableAttention(nn.Module):
    """Each token looks at a few places of every scale, which it chooses itself, relative to where it is.

    Source: Deformable DETR, its own fallback for machines without the CUDA kernel.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        n = heads * N_LEVELS * N_POINTS
        self.sampling_offsets, self.attention_weights = nn.Linear(dim, 2 * n), nn.Linear(dim, n)
        self.value_proj, self.output_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, q, x, centres, sizes):
        """q, x (N, L, dim): tokens with and without position; centres (L, 2) x, y in 0..1; sizes [(h, w)] of
        the scales.
        """
        n, length, dim = x.shape
        values = self.value_proj(x).split([h * w for h, w in sizes], 1)
        offsets = self.sampling_offsets(q).view(n, length, self.heads, N_LEVELS, N_POINTS, 2)
        weights = (
            self.attention_weights(q)
            .view(n, length, self.heads, -1)
            .softmax(3)
            .view(n, length, self.heads, N_LEVELS, N_POINTS)
        )
        out = 0
        for level, (value, (h, w)) in enumerate(zip(values, sizes)):
            places = centres[:, None, None] + offsets[:, :, :, level] / offsets.new_tensor(
                [w, h]
            )  # in 0..1 of the map
            places = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # (N heads, L, points, 2)
            value = value.transpose(1, 2).reshape(n * self.heads, dim // self.heads, h, w)
            seen = F.grid_sample(value, places, mode="bilinear", padding_mode="zeros", align_corners=False)
            out = out + (
                seen * weights[:, :, :, level].transpose(1, 2).reshape(n * self.heads, 1, length, N_POINTS)
            ).sum(3)
        return self.output_proj(out.reshape(n, dim, length).transpose(1, 2))


class EncoderLayer(nn.Module):
    """Deformable attention and feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.self_attn, self.norm1 = DeformableAttention(dim, heads), nn.LayerNorm(dim)
        self.linear1, self.linear2, self.norm2 = (
            nn.Linear(dim, hidden),
            nn.Linear(hidden, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, x, position, centres, sizes):
        x = self.norm1(x + self.self_attn(x + position, x, centres, sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class NormedConv(nn.Conv2d):
    """Convolution without bias, then a group norm."""

    def __init__(self, dim_in: int, dim: int, kernel: int):
        super().__init__(dim_in, dim, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(32, dim)

    def forward(self, x):
        return self.norm(super().forward(x))


class PixelDecoder(nn.Module):
    """res2 .. res5 -> mask features and three scales.

    Args: dims: channels of res2 .. res5.
    """

    def __init__(self, dims, dim: int, heads: int, n_layers: int, hidden: int):
        super().__init__()
        self.dim = dim
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, dim, 1), nn.GroupNorm(32, dim)) for c in reversed(dims[1:])
        )
        self.transformer = nn.Module()
        self.transformer.level_embed = nn.Parameter(torch.randn(N_LEVELS, dim))
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(
            EncoderLayer(dim, heads, hidden) for _ in range(n_layers)
        )
        self.adapter_1, self.layer_1 = NormedConv(dims[0], dim, 1), NormedConv(dim, dim, 3)
        self.mask_features = nn.Conv2d(dim, dim, 1)

    def forward(self, features):
        """Return mask features (N, dim, H/4, W/4) and [ms0, ms1, ms2], (N, dim, h, w) at 1/32, 1/16 and
        1/8.
        """
        if (device := features[0].device.type) == "meta":  # shapes alone: autocast does not know that device
            return self._forward(features)
        with torch.autocast(device, enabled=False):
            return self._forward([f.float() for f in features])

    def _forward(self, features):
        device = features[0].device
        maps = [project(f) for project, f in zip(self.input_proj, reversed(features[1:]))]  # coarse to fine
        sizes = [tuple(m.shape[2:]) for m in maps]
        position = torch.cat(
            [
                sine_position(self.dim, *size, device) + embed
                for size, embed in zip(sizes, self.transformer.level_embed)
            ],
            1,
        )
        centres = torch.cat([centres_of(h, w, device) for h, w in sizes])
        x = torch.cat([tokens(m) for m in maps], 1)
        for layer in self.transformer.encoder.layers:
            x = layer(x, position, centres, sizes)
        maps = [
            t.transpose(1, 2).unflatten(2, s) for t, s in zip(x.split([h * w for h, w in sizes], 1), sizes)
        ]
        fine = self.adapter_1(features[0])
        fine = fine + F.interpolate(maps[-1], fine.shape[2:], mode="bilinear")
        return self.mask_features(F.relu(self.layer_1(fine))), maps


def centres_of(height: int, width: int, device=None) -> torch.Tensor:
    """Return the centres (x, y) of a map's cells in 0..1, (h w, 2), row by row."""
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], 2).flatten(0, 1)

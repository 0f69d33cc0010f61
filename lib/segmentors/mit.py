"""MiT, the hierarchical transformer that all base segmentors here use as backbone (Xie et al., SegFormer,
2021).

Four stages at 1/4, 1/8, 1/16 and 1/32 of the image. Parameter names are those of the released checkpoints.
Tokens travel as (N, H*W, C); the convolutions see the same memory as a channels-last image, so no copy is
made between the two.
"""

from dataclasses import dataclass

import numpy as np
import torch.nn as nn
import torch.nn.functional as F
from torchvision.ops import StochasticDepth


@dataclass(frozen=True)
class Width:
    """Size of a MiT: one number per stage."""

    dims: tuple[int, int, int, int]  # channels of c1..c4
    depths: tuple[int, int, int, int]  # blocks
    heads: tuple[int, int, int, int]


# n0 and n1 are this project's own, for CPUs; b0..b5 are those of the SegFormer paper.
WIDTHS = {
    "n0": Width((8, 16, 48, 96), (1, 1, 1, 1), (1, 1, 3, 6)),
    "n1": Width((16, 32, 96, 160), (1, 2, 2, 2), (1, 2, 6, 10)),
    "b0": Width((32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8)),
    "b1": Width((64, 128, 320, 512), (2, 2, 2, 2), (1, 2, 5, 8)),
    "b2": Width((64, 128, 320, 512), (3, 4, 6, 3), (1, 2, 5, 8)),
    "b3": Width((64, 128, 320, 512), (3, 4, 18, 3), (1, 2, 5, 8)),
    "b4": Width((64, 128, 320, 512), (3, 8, 27, 3), (1, 2, 5, 8)),
    "b5": Width((64, 128, 320, 512), (3, 6, 40, 3), (1, 2, 5, 8)),
}
REDUCTIONS = (8, 4, 2, 1)  # side of the square of tokens that becomes one key, per stage


def to_image(tokens, height):
    """(N, H*W, C) -> (N, C, H, W), a channels-last view."""
    return tokens.unflatten(1, (height, -1)).permute(0, 3, 1, 2)


def to_tokens(image):
    """(N, C, H, W) -> (N, H*W, C), a view when the image is channels-last."""
    return image.flatten(2).transpose(1, 2)


class PatchEmbed(nn.Module):
    """Overlapping patches: a strided convolution and a norm."""

    def __init__(self, dim_in, dim, kernel, stride):
        super().__init__()
        self.proj = nn.Conv2d(dim_in, dim, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image):
        image = self.proj(image)
        return self.norm(to_tokens(image)), image.shape[2]


class Attention(nn.Module):
    """Self-attention whose keys and values are spatially reduced."""

    def __init__(self, dim, heads, reduction):
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)  # rows: keys, then values
        self.proj = nn.Linear(dim, dim)
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x, height):
        n, length, dim = x.shape
        q = self.q(x).view(n, length, self.heads, -1).transpose(1, 2)  # (N, heads, L, C/heads)
        if self.reduction > 1:
            x = self.norm(to_tokens(self.sr(to_image(x, height))))  # (N, L/r^2, C)
        k, v = self.kv(x).view(n, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, dim))


class DepthwiseConv(nn.Module):
    """3x3 convolution of each channel alone; it also tells tokens where they are."""

    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)

    def forward(self, x, height):
        return to_tokens(self.dwconv(to_image(x, height)))


class MixFFN(nn.Module):
    """Feed-forward network with a depthwise convolution inside."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x, height):
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), height)))


class Block(nn.Module):
    """Attention and feed-forward network, each normed before and added to its input."""

    def __init__(self, dim, heads, reduction, drop_path):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixFFN(dim, 4 * dim)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x, height):
        x = x + self.drop_path(self.attn(self.norm1(x), height))
        return x + self.drop_path(self.mlp(self.norm2(x), height))


class MiT(nn.Module):
    """Mix transformer.

    Args:
        width: a key of `WIDTHS`.
        drop_path: probability, in training only, that the last block is skipped; it rises linearly from 0 at
            the first one.

    Source: the paper's "MiT-B*" backbones; layer norms have eps 1e-6 in blocks and after stages and 1e-5
        elsewhere, as in the authors' code.
    """

    def __init__(self, width, drop_path=0.0):
        super().__init__()
        dims, depths, heads = (w := WIDTHS[width]).dims, w.depths, w.heads
        drops = iter(np.linspace(0, drop_path, sum(depths)).tolist())
        for i in range(4):
            embed = PatchEmbed(dims[i - 1], dims[i], 3, 2) if i else PatchEmbed(3, dims[0], 7, 4)
            blocks = nn.ModuleList(
                Block(dims[i], heads[i], REDUCTIONS[i], next(drops)) for _ in range(depths[i])
            )
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dims[i], eps=1e-6))
        self.dims = dims
        self.apply(init_weights)

    def forward(self, images):
        """Features of four scales.

        Args:
            images: (N, 3, H, W) float, normalised RGB, H and W multiples of 32.

        Returns:
            c1..c4: (N, C_i, H/2^(i+1), W/2^(i+1)), channels-last.
        """
        x, features = images, []
        for i in range(1, 5):
            x, height = getattr(self, f"patch_embed{i}")(x)
            for block in getattr(self, f"block{i}"):
                x = block(x, height)
            x = to_image(getattr(self, f"norm{i}")(x), height)
            features.append(x)
        return features


def init_weights(module):
    """Initialise as SegFormer does: normal 0.02 for linear maps, He by fan-out for convolutions, zero
    biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)

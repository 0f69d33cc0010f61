"""Parts that the decoder, the trackers and the refiner share: attention, feed-forward and MLP, each ending in
a norm, named as in released files.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


class MLP(nn.Module):
    """Linear layers with ReLU between them; (..., dim_in) -> (..., dim_out)."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, n_layers: int = 3):
        super().__init__()
        dims = [dim_in, *[hidden] * (n_layers - 1), dim_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims, dims[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class CrossAttention(nn.Module):
    """norm(identity + attention(q, k, v)); all (B, N, dim)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, identity, q, k, v, blocked=None):
        """`blocked` (B, N_q, N_k) bool: where a query must not look, the same for all heads."""
        if blocked is not None:
            blocked = blocked.repeat_interleave(self.multihead_attn.num_heads, 0)
        return self.norm(identity + self.multihead_attn(q, k, v, attn_mask=blocked, need_weights=False)[0])


class SelfAttention(nn.Module):
    """norm(x + attention within x); `position` (broadcast to x) is added to queries and keys."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x, position=0):
        q = x + position
        return self.norm(x + self.self_attn(q, q, x, need_weights=False)[0])


class FeedForward(nn.Module):
    """norm(x + linear2(ReLU(linear1(x))))."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class QueryLayers(nn.Module):
    """n layers of cross-attention, self-attention and feed-forward, as lists under the names of
    Mask2Former.
    """

    def __init__(self, n: int, dim: int, heads: int, hidden: int):
        super().__init__()
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention(dim, heads) for _ in range(n))
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttention(dim, heads) for _ in range(n))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(dim, hidden) for _ in range(n))
        self.decoder_norm = nn.LayerNorm(dim)

    def layer(self, i: int, identity, q, k, v, blocked=None, position=0):
        """Apply layer i."""
        x = self.transformer_cross_attention_layers[i](identity, q, k, v, blocked)
        x = self.transformer_self_attention_layers[i](x, position)
        return self.transformer_ffn_layers[i](x)

    def __len__(self):
        return len(self.transformer_ffn_layers)


def masks_of(kernels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return mask logits (N, Q, h, w): each query's kernel (N, Q, C) times the mask features (N, C, h, w)."""
    return torch.einsum("nqc,nchw->nqhw", kernels, features)


def tokens(image: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) -> (N, h w, C)."""
    return image.flatten(2).transpose(1, 2)


def sine_position(dim: int, height: int, width: int, device=None) -> torch.Tensor:
    """Return the sine position encoding of a map as (1, h w, dim): half of the channels for y, then half for
    x.

    Source: Mask2Former, normalised to 2 pi, temperature 10000; sine and cosine alternate.
    """
    k = torch.arange(dim // 2, device=device)
    period = 10000 ** (2 * (k // 2) / (dim // 2))

    def along(n):
        angle = (torch.arange(1, n + 1, device=device) / (n + 1e-6) * 2 * torch.pi)[:, None] / period
        return torch.where(k % 2 == 0, angle.sin(), angle.cos())  # (n, dim / 2)

    y, x = along(height)[:, None], along(width)[None]
    return torch.cat([y.expand(-1, width, -1), x.expand(height, -1, -1)], 2).flatten(0, 1)[None]

"""Swin-L under the parameter names of its authors; the index table of the position bias is computed, not
stored.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

DIM, DEPTHS, HEADS, WINDOW = 192, (2, 2, 18, 2), (6, 12, 24, 48), 12
SHIFT = WINDOW // 2


def bias_index() -> torch.Tensor:
    """Return the row of the bias table for each pair (query, key) of a window, (WINDOW^2, WINDOW^2) int64."""
    y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    at = torch.stack([y.flatten(), x.flatten()])
    dy, dx = at[:, :, None] - at[:, None] + WINDOW - 1
    return dy * (2 * WINDOW - 1) + dx


def to_windows(x: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C), sides multiples of WINDOW -> (N, n_windows, WINDOW^2, C)."""
    n, h, w, c = x.shape
    return x.view(n, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c).transpose(2, 3).reshape(n, -1, WINDOW**2, c)


def from_windows(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Undo `to_windows`."""
    n, c = x.shape[0], x.shape[-1]
    x = x.view(n, height // WINDOW, width // WINDOW, WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(n, height, width, c)


def strangers(height: int, width: int, device=None) -> torch.Tensor:
    """Return -100 where two tokens of a shifted window come from different ends of the map, else 0:
    (n_windows, WINDOW^2, WINDOW^2).
    """
    rows, columns = (
        (torch.arange(n, device=device) >= n - WINDOW).int()
        + (torch.arange(n, device=device) >= n - SHIFT).int()
        for n in (height, width)
    )
    region = to_windows((3 * rows[:, None] + columns).float()[None, :, :, None])[0, :, :, 0]
    return -100.0 * (region[:, :, None] != region[:, None]).float()


class WindowAttention(nn.Module):
    """Attention among the tokens of each window, with a learned bias for their relative position."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))

    def forward(self, x, apart=None):
        """x (N, n_windows, WINDOW^2, C); `apart` as `strangers` returns it."""
        n, n_windows, length, c = x.shape
        q, k, v = (
            self.qkv(x).view(n * n_windows, length, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        )
        bias = self.relative_position_bias_table[bias_index().to(x.device)].permute(
            2, 0, 1
        )  # (heads, length, length)
        if apart is not None:
            bias = (bias + apart[:, None]).repeat(n, 1, 1, 1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype).expand(len(q), -1, -1, -1))
        return self.proj(x.transpose(1, 2).reshape(n, n_windows, length, c))


class Block(nn.Module):
    """Window attention and MLP; every other block shifts its windows by half."""

    def __init__(self, dim: int, heads: int, shift: int):
        super().__init__()
        self.shift = shift
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), WindowAttention(dim, heads), nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x):
        """x (N, H, W, C). Padding tokens are not masked in unshifted blocks: so were the weights trained."""
        h, w = x.shape[1:3]
        y = F.pad(self.norm1(x), (0, 0, 0, -w % WINDOW, 0, -h % WINDOW))
        height, width = y.shape[1:3]
        y = y.roll((-self.shift, -self.shift), (1, 2))
        y = self.attn(to_windows(y), strangers(height, width, x.device) if self.shift else None)
        y = from_windows(y, height, width).roll((self.shift, self.shift), (1, 2))
        x = x + y[:, :h, :w]
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Downsample(nn.Module):
    """Each 2x2 tokens become one of twice the channels; odd sides are padded with zeros."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], 3)
        return self.reduction(self.norm(x))


class SwinL(nn.Module):
    """(N, 3, H, W) -> res2 .. res5, (N, 192, H/4, W/4) to (N, 1536, H/32, W/32)."""

    dims = (192, 384, 768, 1536)

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, DIM, 4, 4), "norm": nn.LayerNorm(DIM)})
        self.layers = nn.ModuleList()
        for i, (dim, depth, heads) in enumerate(zip(self.dims, DEPTHS, HEADS)):
            stage = {"blocks": nn.ModuleList(Block(dim, heads, SHIFT * (j % 2)) for j in range(depth))}
            if i < 3:
                stage["downsample"] = Downsample(dim)
            self.layers.append(nn.ModuleDict(stage))
            self.add_module(f"norm{i}", nn.LayerNorm(dim))

    def forward(self, images):
        x = self.patch_embed["norm"](self.patch_embed["proj"](images).permute(0, 2, 3, 1))
        features = []
        for i, stage in enumerate(self.layers):
            for block in stage["blocks"]:
                x = block(x)
            features.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2))
            if i < 3:
                x = stage["downsample"](x)
        return features

"""CFFM: coarse-to-fine feature mining (Sun et al., CVPR 2022).

The target frame attends, window by window, to itself in full detail around the window and to ever smaller
pooled neighbourhoods of itself and of three earlier frames: the further back, the coarser and the wider.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .mit import MiT, init_weights
from .segformer import FRAMES, ClipHead, halve, head_options, input_scale, pointwise

WINDOW = 7  # tokens of 1/8 of the image, per side of a window
# the authors configured no others of the published widths
BLOCKS = {"n0": 1, "n1": 2, "b0": 1, "b1": 2, "b2": 2, "b5": 4}

# Coarse keys of the target, t-9, t-6, t-3: tokens pooled into one cell, cells per window, cells in a window's
# neighbourhood; all per side.
LEVELS = ((7, 1, 5), (7, 1, 7), (3, 2, 5), (2, 3, 3))


def square(side):
    """Raster of a square: (side * side, 2) offsets (y, x)."""
    return torch.cartesian_prod(torch.arange(side), torch.arange(side))


def fine_offsets():
    """Tokens that a window sees in full detail, as (y, x) from its first token: its own 49, then four
    L-shaped corners of 33.

    A corner is the window moved by 3 diagonally, less the 4x4 tokens that still lie inside. Some tokens
    belong to two corners, as in the authors' code.
    """
    own, corners = square(WINDOW), []
    for dy, dx in ((3, 3), (3, -3), (-3, 3), (-3, -3)):
        moved = own + torch.tensor((dy, dx))
        inside = ((moved >= 0) & (moved < WINDOW)).all(1)
        corners.append(moved[~inside])
    return torch.cat([own, *corners])  # (181, 2)


def bias_index(side):
    """Where the bias of a query and a key of a side x side neighbourhood stands in a table of all their
    differences: (49, side * side) int64."""
    span = WINDOW + side - 1  # differences per axis
    y, x = (square(WINDOW)[:, None] - square(side)[None] + side - 1).unbind(-1)
    return y * span + x


def gather(cells, offsets, step, n_windows):
    """Collect what each window sees.

    Args:
        cells: (B, H, W, C).
        offsets: (K, 2) int64, y and x from a window's first cell; they wrap around at the borders of `cells`.
        step: cells from one window to the next.
        n_windows: (rows, columns) of windows.

    Returns:
        (B, n_windows, K, C), windows in raster order.
    """
    offsets = offsets.to(cells.device)
    rows, cols = (
        torch.arange(n, device=cells.device)[:, None] * step + offset
        for n, offset in zip(n_windows, offsets.unbind(1), strict=True)
    )
    rows, cols = rows % cells.shape[1], cols % cells.shape[2]
    return cells[:, rows[:, None], cols[None]].flatten(1, 2)


def bias_table(*shape):
    """Learned biases of attention."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


class WindowAttention(nn.Module):
    """Attention of the target's 7x7 windows to 289 keys: 49 own, 132 around, 25 pooled from the target, 49
    + 25 + 9 pooled from the earlier frames."""

    def __init__(self, dim):
        super().__init__()
        self.heads = dim // 32
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = bias_table((2 * WINDOW - 1) ** 2, self.heads)
        self.relative_position_bias_table_to_neighbors = bias_table(1, self.heads, WINDOW**2, 132)
        self.relative_position_bias_table_to_windows = nn.ParameterList(
            bias_table(self.heads, (WINDOW + side - 1) ** 2) for _, _, side in LEVELS[:1]
        )
        self.relative_position_bias_table_to_windows_clips = nn.ParameterList(
            bias_table(self.heads, (WINDOW + side - 1) ** 2) for _, _, side in LEVELS[1:]
        )

    def biases(self):
        """Bias of each query and key: (heads, 49, 289)."""
        own = self.relative_position_bias_table.T[:, bias_index(WINDOW)]  # (heads, 49, 49)
        tables = [
            *self.relative_position_bias_table_to_windows,
            *self.relative_position_bias_table_to_windows_clips,
        ]
        coarse = [table[:, bias_index(side)] for table, (_, _, side) in zip(tables, LEVELS, strict=True)]
        return torch.cat([own, self.relative_position_bias_table_to_neighbors[0], *coarse], 2)

    def forward(self, target, pooled):
        """Attend.

        Args:
            target: (B, H, W, C), H and W multiples of 7.
            pooled: cells of the target, then of each earlier frame, each (B, n, m, C).

        Returns:
            (B, H, W, C).
        """
        batch, height, width, dim = target.shape
        n_windows = height // WINDOW, width // WINDOW
        q, kv = self.qkv(target).split((dim, 2 * dim), -1)
        q = gather(q, square(WINDOW), WINDOW, n_windows)  # (B, windows, 49, C)
        keys, masks = (
            [gather(kv, fine_offsets(), WINDOW, n_windows)],
            [kv.new_zeros(n_windows[0] * n_windows[1], 181)],
        )
        for cells, (_, per_window, side) in zip(pooled, LEVELS, strict=True):
            kv, pad = F.linear(cells, self.qkv.weight[dim:], self.qkv.bias[dim:]), side // 2
            keys.append(gather(F.pad(kv, (0, 0, pad, pad, pad, pad)), square(side), per_window, n_windows))
            # discouraged, not forbidden
            outside = F.pad(kv.new_zeros(1, *kv.shape[1:3], 1), (0, 0, pad, pad, pad, pad), value=-100.0)
            masks.append(gather(outside, square(side), per_window, n_windows)[0, :, :, 0])
        k, v = self.split(torch.cat(keys, 2), 2)
        bias = self.biases() + torch.cat(masks, 1)[:, None, None]  # (windows, heads, 49, 289)
        out = F.scaled_dot_product_attention(
            self.split(q, 1)[0], k, v, bias.to(q.dtype).expand(batch, -1, -1, -1, -1)
        )
        out = self.proj(out.transpose(2, 3).flatten(3))  # (B, windows, 49, C)
        return out.view(batch, *n_windows, WINDOW, WINDOW, dim).transpose(2, 3).reshape(target.shape)

    def split(self, x, parts):
        """(B, windows, K, parts * C) -> parts of (B, windows, heads, K, 32)."""
        return x.unflatten(3, (parts, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)


class FeedForward(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Pool(nn.Linear):
    """Learned weighted mean of side x side tokens, the same for all channels."""

    def __init__(self, side):
        super().__init__(side * side, 1)
        self.side = side
        nn.init.constant_(self.weight, 1 / side**2)
        nn.init.zeros_(self.bias)

    def forward(self, x):
        """(B, n * side, m * side, C) -> (B, n, m, C)."""
        weight = self.weight.view(self.side, self.side)
        return (
            torch.einsum(
                "bnimjc,ij->bnmc", x.unflatten(2, (-1, self.side)).unflatten(1, (-1, self.side)), weight
            )
            + self.bias
        )


class Block(nn.Module):
    """Window attention and feed-forward network; only the target frame changes."""

    def __init__(self, dim):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.pool_layers = nn.ModuleList([Pool(LEVELS[0][0])])
        self.pool_layers_clips = nn.ModuleList(Pool(side) for side, _, _ in LEVELS[1:])
        self.attn = WindowAttention(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, 4 * dim)

    def forward(self, target, earlier):
        """Update the target (B, H, W, C) by itself and the earlier frames (B, 3, H, W, C), oldest first."""
        height, width = target.shape[1:3]
        frames = self.norm1(torch.cat([target[:, None], earlier], 1))
        # normed zeros would not be zero: pad afterwards
        frames = F.pad(frames, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        frames = frames.unbind(1)  # the target, then the earlier ones
        pools = [*self.pool_layers, *self.pool_layers_clips]
        pooled = [
            pool(self.fit(frame, pool.side * per_window))
            for pool, frame, (_, per_window, _) in zip(pools, frames, LEVELS, strict=True)
        ]
        target = target + self.attn(frames[0], pooled)[:, :height, :width]
        return target + self.mlp(self.norm2(target))

    @staticmethod
    def fit(frame, side):
        """Resize a frame so that each window has side x side tokens."""
        if side == WINDOW:
            return frame
        size = [n // WINDOW * side for n in frame.shape[1:3]]
        return F.interpolate(frame.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1)


class FocalDecoder(nn.Module):
    """The blocks one after another."""

    def __init__(self, dim, depth):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))

    def forward(self, frames):
        """(B, 4, H, W, C), target last -> its (B, H, W, C)."""
        target = frames[:, -1]
        for block in self.blocks:
            target = block(target, frames[:, :-1])
        return target


class CFFMHead(ClipHead):
    """The MLP decoder for each frame, then attention of the last frame to all at half its resolution.

    Source: class CFFMHead_clips_resize1_8 of the authors' code; without temporal loss terms, which are the
        trainer's.
    """

    def __init__(self, dims, depth, dim=256, n_classes=124, dropout=0.1):
        super().__init__(dims, dim, n_classes, dropout)
        self.decoder_focal = FocalDecoder(dim, depth)
        self.linear_pred2 = nn.Conv2d(2 * dim, n_classes, 1)
        for block in self.decoder_focal.blocks:
            for part in (block.attn, block.mlp):
                part.apply(init_weights)
        self.linear_pred2.apply(init_weights)

    def prepare(self, features, fused=None):
        """What a frame brings to every target that sees it: features as for `fuse` -> a tuple of (N, dim,
        H/8, W/8)."""
        return (halve(self.fuse(features) if fused is None else fused),)

    def decode(self, parts, size):
        """Segment the last frame of clips.

        Args:
            parts: of `prepare`, each (B, 4, ...).
            size: H/4, W/4.

        Returns:
            Logits (B, n_classes, *size).
        """
        (fused,) = parts
        mined = self.decoder_focal(fused.permute(0, 1, 3, 4, 2)).permute(0, 3, 1, 2)
        logits = pointwise(self.linear_pred2, self.dropout(torch.cat([fused[:, -1], mined], 1)))
        return F.interpolate(logits, size, mode="bilinear")


class CFFM(nn.Module):
    """Video base segmentor; arguments and attributes as for `SegFormer`."""

    widths = tuple(BLOCKS)
    n_frames = FRAMES

    def __init__(self, width, n_classes=124, drop_path=0.0):
        super().__init__()
        self.scale = input_scale(width)
        self.backbone = MiT(width, drop_path)
        self.decode_head = CFFMHead(depth=BLOCKS[width], **head_options(width, n_classes))

    def forward(self, images):
        """Segment the last of the frames t-9, t-6, t-3, t: (4, 3, H, W) normalised RGB -> logits (1,
        n_classes, H/4, W/4). See `ClipHead`."""
        return self.decode_head(self.backbone(images))

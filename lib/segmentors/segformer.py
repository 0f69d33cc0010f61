"""The MLP decoder that every base segmentor here contains, and SegFormer: MiT and that decoder, one frame
at a time.

This is the "SegFormer" row of the video papers: the per-frame path of CFFM, MRCFA and TV3S, trained alone
(256 channels for every MiT-B, batch norm), not the SegFormer of the image benchmarks (768 channels from B2
on).
"""

import torch.nn as nn
import torch.nn.functional as F

from .mit import WIDTHS, MiT, init_weights, to_image, to_tokens

FRAMES = 4  # that the video models look at: t-9, t-6, t-3 and the target t


def pointwise(conv, image):
    """Apply a 1x1 convolution as the matrix product it is; on one CPU thread torch has no fast convolution
    for it."""
    return to_image(F.linear(to_tokens(image), conv.weight.flatten(1), conv.bias), image.shape[2])


def halve(image):
    """(N, C, H, W) -> (N, C, H // 2, W // 2), bilinear."""
    return F.interpolate(image, (image.shape[2] // 2, image.shape[3] // 2), mode="bilinear")


class Projection(nn.Module):
    """Linear map of the channels of one scale."""

    def __init__(self, dim_in, dim):
        super().__init__()
        self.proj = nn.Linear(dim_in, dim)


class Fuse(nn.Module):
    """1x1 convolution and batch norm over the concatenated scales."""

    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(4 * dim, dim, 1, bias=False)
        self.bn = nn.BatchNorm2d(dim)


class MLPDecoder(nn.Module):
    """All-MLP decoder; the heads of the video models are this and more.

    Args:
        dims: channels of c1..c4.
        dim: channels of the fused map.
        n_classes: number of classes.
        dropout: probability that a channel of the fused map is dropped before the classifier, in training
            only.
    """

    def __init__(self, dims, dim=256, n_classes=124, dropout=0.1):
        super().__init__()
        for i, dim_in in enumerate(dims, 1):
            self.add_module(f"linear_c{i}", Projection(dim_in, dim))
        self.linear_fuse = Fuse(dim)
        self.dropout = nn.Dropout2d(dropout)
        self.linear_pred = nn.Conv2d(dim, n_classes, 1)
        self.dim, self.n_classes = dim, n_classes
        self.apply(init_weights)

    def label(self, fused):
        """Logits (N, n_classes, h, w) of a map (N, dim, h, w) of `fuse`."""
        return pointwise(self.linear_pred, self.dropout(fused))

    def fuse(self, features):
        """Fuse four scales into one map.

        Args:
            features: c1..c4 of a `MiT`, (N, C_i, H/2^(i+1), W/2^(i+1)).

        Returns:
            (N, dim, H/4, W/4).

        Source: ReLU(BN(conv(cat[c4, c3, c2, c1]))), each scale projected and resized to that of c1.
        Differs: projection, concatenation and 1x1 convolution are linear and bilinear weights sum to one, so
            each scale is taken through the product of its two matrices at its own resolution and the results
            are resized and summed: the same numbers up to rounding, for a fraction of the work.
        """
        mixing = self.linear_fuse.conv.weight.flatten(1).split(self.dim, 1)  # of c4, c3, c2, c1
        fused = 0
        for i in (4, 3, 2, 1):
            proj = getattr(self, f"linear_c{i}").proj
            weight, bias = mixing[4 - i] @ proj.weight, mixing[4 - i] @ proj.bias
            c = to_image(F.linear(to_tokens(features[i - 1]), weight, bias), features[i - 1].shape[2])
            fused = fused + (F.interpolate(c, features[0].shape[2:], mode="bilinear") if i > 1 else c)
        return F.relu(self.linear_fuse.bn(fused), inplace=True)

    def per_frame(self, features):
        """Logits of each frame by itself: features as for `fuse` -> (N, n_classes, H/4, W/4)."""
        return self.label(self.fuse(features))

    forward = per_frame


class ClipHead(MLPDecoder):
    """What the heads of the video models have in common: they segment the last of `FRAMES` frames.

    A head splits its work in two, so that a frame that several targets look at is prepared once:
    `prepare(features)` gives a tuple of tensors (N, ...), what each frame brings to every target that sees it
    (`fused`: of `fuse`, if it is there already); `decode(parts, size)` takes these as (B, FRAMES, ...) and
    gives logits (B, n_classes, *size), size being H/4, W/4.
    """

    def forward(self, features):
        """Segment the last frame of one clip: features c1..c4 of its frames -> logits (1, n_classes, H/4,
        W/4).

        Fewer or more than four frames give the per-frame logits of the last one, as in the authors' test at
        the start of a clip.
        """
        if len(features[0]) != FRAMES:
            return self.per_frame([c[-1:] for c in features])
        return self.decode([part[None] for part in self.prepare(features)], features[0].shape[2:])


def head_options(width, n_classes):
    """Settings of a width's decoder: 256 channels and dropout for the published widths, 64 channels and
    none for the micro ones."""
    micro = width.startswith("n")
    return {
        "dims": WIDTHS[width].dims,
        "dim": 64 if micro else 256,
        "n_classes": n_classes,
        "dropout": 0.0 if micro else 0.1,
    }


def input_scale(width):
    """What `predict` resizes frames to: (853, 480), the test size of the VSPW papers, or None, a frame's
    own size, for the micro widths."""
    return None if width.startswith("n") else (853, 480)


class SegFormer(nn.Module):
    """Per-frame base segmentor.

    Args:
        width: a key of `lib.segmentors.mit.WIDTHS`.
        n_classes: number of classes.
        drop_path: see `MiT`.

    Attributes:
        widths: that there are.
        n_frames: that a call looks at to segment one.
        scale: what `predict` resizes frames to unless told otherwise, see `input_scale`.
    """

    widths = tuple(WIDTHS)
    n_frames = 1

    def __init__(self, width, n_classes=124, drop_path=0.0):
        super().__init__()
        self.scale = input_scale(width)
        self.backbone = MiT(width, drop_path)
        self.decode_head = MLPDecoder(**head_options(width, n_classes))

    def forward(self, images):
        """Segment frames: (N, 3, H, W) float, normalised RGB, H and W multiples of 32 -> logits (N,
        n_classes, H/4, W/4)."""
        return self.decode_head(self.backbone(images))

"""Everything that changes sam2's own modules, in one file that a sceptic can switch off: a model of
`lib.sam.load(..., exact_stock=True)` computes with sam2's classes and functions as they are.

Equal to stock up to rounding, on by default:
    `quicken`   three classes in the place of sam2's, and the memory encoder with channels last in memory
    `once`      what depends on the frame alone is computed once for all clicks or objects
An approximation, only where `Shortcuts.memories` asks for it:
    `look_back_less`
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
import torch.nn.functional as F
from sam2.modeling.sam.transformer import Attention, RoPEAttention, apply_rotary_enc
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d

QUERIES_AT_ONCE = 256  # whose weights for all memories a CPU's cache still holds


class FusedLayerNorm2d(LayerNorm2d):
    """sam2's LayerNorm2d, (N, C, H, W) normalised over C, in one pass instead of seven where channels lie
    last in memory; equal up to rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] < 16:
            return super().forward(x.contiguous())  # so few channels are quicker apart
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class FewKeysAttention(Attention):
    """sam2's Attention where many queries meet few keys, as the image meets the tokens of a prompt: on a
    CPU all heads in one product of matrices instead of many tiny ones, in a third of the time; equal up to
    rounding."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if q.device.type != "cpu":
            return super().forward(q, k, v)
        q, k, v = self.q_proj(q), self.k_proj(k), self.v_proj(v)  # (B, Q, C), (B, K, C), (B, K, C)
        heads, width, n_keys = self.num_heads, q.shape[-1] // self.num_heads, k.shape[1]
        # a row for each head and key: the head's channels
        own = torch.eye(heads, dtype=q.dtype).repeat_interleave(n_keys, 0).repeat_interleave(width, 1)
        k, v = k.repeat(1, heads, 1) * own, v.repeat(1, heads, 1) * own
        weights = (k * width**-0.5 @ q.transpose(1, 2)).unflatten(1, (heads, n_keys)).softmax(2).flatten(1, 2)
        return self.out_proj(weights.transpose(1, 2) @ v)


class NarrowMemoryAttention(RoPEAttention):
    """sam2's RoPEAttention where the image meets memories a quarter as wide as itself: on a CPU each
    query's mean of the memories is taken before it is projected, not after, which is the same, as the
    weights of a mean add up to one; in two thirds of the time, equal up to rounding."""

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_k_exclude_rope: int = 0
    ) -> torch.Tensor:
        if q.device.type != "cpu" or self.num_heads > 1 or self.training:  # training drops weights out
            return super().forward(q, k, v, num_k_exclude_rope)
        q, k = self.q_proj(q)[:, None], self.k_proj(k)[:, None]  # (B, 1, Q, C), (B, 1, K, C)
        if len(self.freqs_cis) != q.shape[2]:
            side = q.shape[2] ** 0.5
            self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        n_turned = k.shape[2] - num_k_exclude_rope
        q, k[:, :, :n_turned] = apply_rotary_enc(
            q, k[:, :, :n_turned], freqs_cis=self.freqs_cis, repeat_freqs_k=self.rope_k_repeat
        )
        q, v = q * q.shape[3] ** -0.5, v.contiguous()
        means = [
            (some @ k_.T).softmax(1) @ v_
            for q_, k_, v_ in zip(q[:, 0], k[:, 0], v)
            for some in q_.split(QUERIES_AT_ONCE)
        ]
        return self.out_proj(self.v_proj(torch.cat(means).view(len(v), -1, v.shape[2])))


def quicken(model: SAM2Base) -> SAM2Base:
    """Put the classes above in the place of sam2's and let `once` work: a quarter less time, equal up to
    rounding."""
    # the memory encoder keeps channels last in memory, which its convolutions and the norm below prefer
    model.memory_encoder.to(memory_format=torch.channels_last)
    # norms of images: one pass over memory instead of seven
    for norm in model.modules():
        if isinstance(norm, LayerNorm2d):
            norm.__class__ = FusedLayerNorm2d  # the same parameters under the same names
    # mask decoder, image to tokens: one product of matrices for all heads
    for layer in model.sam_mask_decoder.transformer.layers:
        layer.cross_attn_image_to_token.__class__ = FewKeysAttention
    # memory attention, image to memories: average the memories first, project after
    for layer in model.memory_attention.layers:
        layer.cross_attn_image.__class__ = NarrowMemoryAttention
    model.quickened = True
    return model


def seeing_no_object(sam: SAM2Base) -> list[tuple[nn.Module, str]]:
    """List the functions of a tracking step that see the frame but no memory and no mask yet: the first
    self-attention, and the frame's projection in the memory encoder. None for a model as stock has it."""
    if not getattr(sam, "quickened", False):
        return []
    return [(sam.memory_attention.layers[0], "_forward_sa"), (sam.memory_encoder.pix_feat_proj, "forward")]


def seeing_no_click(sam: SAM2Base) -> list[tuple[nn.Module, str]]:
    """List the functions of the mask decoder that see the frame but no click yet: the projections of the
    image in its first layer. None for a model as stock has it."""
    if not getattr(sam, "quickened", False):
        return []
    layer = sam.sam_mask_decoder.transformer.layers[0]
    to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    return [(projection, "forward") for projection in (to_image.k_proj, to_image.v_proj, to_tokens.q_proj)]


@contextmanager
def once(*functions: tuple[nn.Module, str]) -> Iterator[None]:
    """Let functions of modules, whose inputs are equal all over the batch, compute for its first entry and
    give that to all."""

    def once(function: Callable) -> Callable:
        return lambda *batches: function(*(batch[:1] for batch in batches)).expand(
            len(batches[0]), *[-1] * (batches[0].dim() - 1)
        )

    for module, name in functions:
        setattr(module, name, once(getattr(module, name)))
    try:
        yield
    finally:
        for module, name in functions:
            delattr(module, name)  # the instance's own; the class's remains


def look_back_less(model: SAM2Base, memories: int) -> None:
    """Let tracks look back to their first frame and the last `memories` alone.

    Raises:
        ValueError: more memories than the model has.
    """
    if memories >= model.num_maskmem:
        raise ValueError(
            f"Expected `memories` to be at most {model.num_maskmem - 1}, which this model has, but got {memories}."
        )
    # of the frame before, of the one before that ..., and last of a track's first frame
    ages = model.maskmem_tpos_enc.data
    model.maskmem_tpos_enc = nn.Parameter(torch.cat([ages[:memories], ages[-1:]]))
    model.num_maskmem = memories + 1

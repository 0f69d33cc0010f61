"""The temporal refiner of the offline models: it sees every frame of a clip at once."""

import torch.nn as nn
import torch.nn.functional as F

from .layers import MLP, CrossAttention, FeedForward, SelfAttention


class TemporalRefiner(nn.Module):
    """Tracked queries of a whole clip -> one class vector and, for each frame, one mask kernel a query."""

    def __init__(self, config, n_classes: int):
        super().__init__()
        n, dim, heads = config.video_layers, config.track, config.heads
        self.transformer_time_self_attention_layers = nn.ModuleList(
            SelfAttention(dim, heads) for _ in range(n)
        )
        self.conv_short_aggregate_layers = nn.ModuleList(
            nn.Sequential(along_time(dim, 5), nn.ReLU(), along_time(dim, 3)) for _ in range(n)
        )
        self.conv_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(n))
        self.transformer_obj_self_attention_layers = nn.ModuleList(
            SelfAttention(dim, heads) for _ in range(n)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention(dim, heads) for _ in range(n))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(dim, config.hidden) for _ in range(n))
        self.decoder_norm = nn.LayerNorm(dim)
        self.class_embed, self.mask_embed = nn.Linear(dim, n_classes + 1), MLP(dim, dim, config.dim)
        self.activation_proj = nn.Linear(dim, 1)

    def forward(self, x, memory):
        """Refine a clip.

        Args:
            x: (T, Q, C), the tracker's embeddings.
            memory: (T, Q, C), each frame's own.

        Returns:
            class logits (Q, n_classes + 1) of the clip, mask kernels (T, Q, dim), embeddings (T, Q, C).
        """
        for i, conv in enumerate(self.conv_short_aggregate_layers):
            y = self.transformer_time_self_attention_layers[i](x.transpose(0, 1))  # (Q, T, C)
            y = self.conv_norms[i](conv(y.transpose(1, 2)).transpose(1, 2) + y)
            x = self.transformer_obj_self_attention_layers[i](y.transpose(0, 1))
            x = self.transformer_cross_attention_layers[i](x, x, memory, memory)
            x = self.transformer_ffn_layers[i](x)
        x = self.decoder_norm(x)
        shares = F.softmax(self.activation_proj(x), 0)  # of the frames in a query's class
        return self.class_embed((shares * x).sum(0)), self.mask_embed(x), x


def along_time(dim: int, kernel: int) -> nn.Module:
    """Convolve along time; the first and last frame are repeated beyond the ends."""
    return nn.Conv1d(dim, dim, kernel, padding="same", padding_mode="replicate")

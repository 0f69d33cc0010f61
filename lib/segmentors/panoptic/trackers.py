"""The referring trackers of DVIS, DVIS++ and CAVIS: frame after frame, each query keeps to the object that it
stood for in the frame before.

A tracker's state is a dict of tensors, empty before a clip's first frame. Quirks of the released code that
its weights were trained with are kept: DVIS and CAVIS reorder a frame's queries by the inverse of the
    matching; see `reorder`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from scipy.optimize import linear_sum_assignment

from .layers import MLP, QueryLayers

State = dict[str, torch.Tensor]


@dataclass
class Tracked:
    """What a tracker says of one frame."""

    logits: torch.Tensor  # (Q, n_classes + 1)
    kernels: torch.Tensor  # (Q, dim): times the tracker's mask features they are mask logits
    embedding: torch.Tensor  # (Q, C), which the refiner starts from
    memory: (
        torch.Tensor | None
    )  # (Q, C), of the frame alone, which the refiner looks back at; None where none is


def reorder(previous: torch.Tensor, current: torch.Tensor, inverse: bool) -> torch.Tensor:
    """Match the queries of two frames by cosine similarity; return an order (Q,) int64 of the current ones.

    Args:
        previous, current: (Q, C).
        inverse: False: the i-th is the current query that matches the previous query i (DVIS++). True: the
            i-th is the previous query that matches the current query i, though it is used the same way (DVIS,
            CAVIS): the inverse permutation, as released.
    """
    rows, columns = (current, previous) if inverse else (previous, current)
    rows, columns = (
        x.detach().float().cpu().numpy() for x in (rows, columns)
    )  # not by torch, which under autocast would round
    rows, columns = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-6) for x in (rows, columns))
    cost = np.nan_to_num(1 - rows @ columns.T, nan=0.0)
    return torch.from_numpy(linear_sum_assignment(cost)[1]).to(current.device)


class Tracker(QueryLayers):
    """What the three have in common. Everything is (Q, C) outside of `layer`, which wants a batch."""

    def __init__(self, config, n_classes: int):
        super().__init__(config.video_layers, config.track, config.heads, config.hidden)
        seen = 2 * config.track if config.tracker == "dvis-plus" else config.track
        self.class_embed = nn.Linear(seen, n_classes + 1)
        self.mask_embed = MLP(config.track, config.track, config.dim)

    def step(self, i: int, identity, q, k, v):
        """Apply layer i to one frame's queries."""
        return self.layer(i, identity[None], q[None], k[None], v[None])[0]

    def mask_features(self, features):
        """Return the mask features (N, dim, h, w) that the tracker's kernels belong to."""
        return features


class DVIS(Tracker):
    """Queries of the frame are asked with what the tracker made of the last one."""

    def __init__(self, config, n_classes: int):
        super().__init__(config, n_classes)
        self.offline = config.offline

    def alone(self, embedding):
        """Track a frame as if it were the first."""
        x = embedding
        for i in range(len(self)):
            x = self.step(i, x, x, embedding, embedding)
        return x

    def forward(self, embedding, raw, state: State) -> tuple[Tracked, State]:
        """Track one frame: embedding (Q, dim); `raw` is not used. Returns what it says, and the state for the
        next.
        """
        first = self.alone(embedding) if self.offline or not state else None  # also the refiner's memory
        if not state:
            x, previous = first, embedding
        else:
            x = previous = embedding[reorder(state["previous"], embedding, inverse=True)]
            for i in range(len(self)):
                x = self.step(i, x, state["last"], embedding, embedding)
        normed = self.decoder_norm(x)
        memory = self.decoder_norm(first) if self.offline else None
        told = Tracked(self.class_embed(normed), self.mask_embed(normed), normed, memory)
        return told, {"previous": previous, "last": x}


class DVISPlus(Tracker):
    """As DVIS, with a learned reference beside each query, which the class is read from too."""

    def __init__(self, config, n_classes: int):
        super().__init__(config, n_classes)
        self.ref_proj = MLP(config.track, config.track, config.track)
        self.mask_feature_proj = nn.Conv2d(config.dim, config.dim, 1)

    def mask_features(self, features):
        return self.mask_feature_proj(features)

    def forward(self, embedding, raw, state: State) -> tuple[Tracked, State]:
        """Track one frame: embedding, raw (Q, 2 dim)."""
        if not state:
            x, previous, reference = raw, embedding, self.ref_proj(raw)
        else:
            order = reorder(state["previous"], embedding, inverse=False)
            x, previous, reference = raw[order], embedding[order], self.ref_proj(state["last"])
        for i in range(len(self)):
            q = reference if state or i == 0 else self.ref_proj(x)
            x = self.step(i, x, q, raw, raw)
        normed = self.decoder_norm(x)
        logits = self.class_embed(torch.cat([reference, normed], 1))
        return Tracked(logits, self.mask_embed(normed), x, raw), {"previous": previous, "last": x}


class CAVIS(Tracker):
    """As DVIS, asked with queries that know what surrounds their object."""

    def __init__(self, config, n_classes: int):
        super().__init__(config, n_classes)
        self.dim = config.dim
        self.ctx_query_embed = nn.Linear(2 * config.dim, config.dim)

    def forward(self, embedding, raw, state: State) -> tuple[Tracked, State]:
        """Track one frame: embedding (Q, 2 dim), raw (Q, dim)."""
        key, current = self.ctx_query_embed(embedding), embedding
        if state:
            current = embedding[reorder(state["previous"], embedding, inverse=True)]
        x = current[:, : self.dim]
        for i in range(len(self)):
            if state:
                q = self.ctx_query_embed(state["last"])
            else:
                q = key if i == 0 else self.ctx_query_embed(torch.cat([x, embedding[:, self.dim :]], 1))
            x = self.step(i, x, q, key, raw)
        around = embedding[reorder(x, raw, inverse=True)][:, self.dim :]
        normed = self.decoder_norm(x)
        told = Tracked(self.class_embed(normed), self.mask_embed(normed), normed, raw)
        return told, {"previous": current, "last": torch.cat([x, around], 1)}


TRACKERS = {"dvis": DVIS, "dvis-plus": DVISPlus, "cavis": CAVIS}

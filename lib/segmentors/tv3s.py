"""TV3S: temporal video state space sharing (Hesham et al., CVPR 2025).

Each window of the map is one long sequence, token after token and frame after frame, that a state space model
(Mamba) reads. Nothing but the states of the windows goes from frame to frame. Windows of every other layer
are shifted, so that what one window has seen reaches its neighbours.

One way of running covers all three modes of the authors' test: frame by frame with carried states. Mode 0
does so for the frames t-9, t-6, t-3, t from fresh states, mode 1 for the frame t alone, mode 2 for a whole
clip.
"""

from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn as nn
import torch.nn.functional as F

from .mit import MiT, init_weights
from .segformer import FRAMES, ClipHead, head_options, input_scale, pointwise

WINDOW, SHIFT = 20, 10  # tokens
LAYERS = {"n0": 2, "n1": 4, "b1": 8, "b2": 8, "b5": 8}  # the authors configured no other published widths
STATE, TAPS = 16, 4  # numbers per channel that a sequence remembers; tokens that its convolution sees


def in_turn(decay, inputs):
    """Solve s_t = decay_t s_(t-1) + inputs_t, s_(-1) = 0, along axis 1, step after step: the least work,
    the most calls. Overwrites `inputs`."""
    steps = inputs.unbind(1)
    for before, step, factor in zip(steps, steps[1:], decay.unbind(1)[1:], strict=False):
        step.addcmul_(factor, before)
    return inputs


def by_doubling(decay, inputs):
    """As `in_turn`, but joining spans of 1, 2, 4 ... steps: few calls, for a GPU. Nothing is divided, so
    nothing overflows."""
    span = 1
    while span < inputs.shape[1]:
        later = torch.addcmul(inputs[:, span:], decay[:, span:], inputs[:, :-span])
        inputs = torch.cat([inputs[:, :span], later], 1)
        decay = torch.cat([decay[:, :span], decay[:, span:] * decay[:, :-span]], 1)
        span *= 2
    return inputs


class Recurrence(torch.autograd.Function):
    """`in_turn` or `by_doubling` with a gradient, which obeys the same recurrence backwards."""

    @staticmethod
    def forward(ctx, decay, inputs, solve):
        states, ctx.solve = solve(decay, inputs.clone()), solve
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx, grad):
        decay, states = ctx.saved_tensors
        # the factor that wraps around meets no state
        grad = ctx.solve(decay.roll(-1, 1).flip(1), grad.flip(1)).flip(1)
        return torch.cat([torch.zeros_like(grad[:, :1]), grad[:, 1:] * states[:, :-1]], 1), grad, None


def scan(u, dt, rates, b, c, state, *, chunk=16, solve=in_turn, read=True):
    """Run a selective state space model over sequences: s_t = exp(dt_t rates) s_(t-1) + dt_t u_t b_t, y_t
    = c_t s_t.

    Args:
        u, dt: (M, L, D) input and step size of each token and channel.
        rates: (N, D), negative.
        b, c: (M, L, N).
        state: (M, N, D), of the tokens before.
        chunk: tokens whose states are held at a time; it bounds memory and does not change the result.
        solve: `in_turn` or `by_doubling`.
        read: whether y is wanted.

    Returns:
        y (M, L, D), or None, and the state after the last token.

    Source: Mamba (Gu & Dao, 2023), Algorithm 2.
    """
    outputs, room = [], [None, None]
    for u_, dt_, b_, c_ in zip(*(x.split(chunk, 1) for x in (u, dt, b, c)), strict=True):
        # one piece of memory for all chunks: fresh ones cost as much as the arithmetic
        if not torch.is_grad_enabled():
            room = [
                whole[:, : u_.shape[1]]
                if whole is not None
                else u.new_empty(len(u), u_.shape[1], *rates.shape)
                for whole in room
            ]
        decay = torch.mul(dt_[:, :, None], rates, out=room[0]).exp_()  # (M, chunk, N, D)
        inputs = torch.mul((dt_ * u_)[:, :, None], b_[..., None], out=room[1])
        inputs[:, 0].addcmul_(decay[:, 0], state)
        states = Recurrence.apply(decay, inputs, solve) if torch.is_grad_enabled() else solve(decay, inputs)
        if read:
            outputs.append((c_[:, :, None] @ states)[:, :, 0])
        state = states[:, -1].clone()
    return torch.cat(outputs, 1) if read else None, state


class Mamba(nn.Module):
    """Mamba block: a gated state space model behind a short causal convolution.

    Parameters are named and shaped as in the mamba_ssm package.
    """

    def __init__(self, dim):
        super().__init__()
        inner, self.rank = 2 * dim, dim // 16
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, TAPS, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATE, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, STATE + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        dt = torch.exp(torch.empty(inner).uniform_(-6.9, -2.3))  # first step sizes of 0.001 to 0.1
        self.dt_proj.bias.data.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt

    def forward(self, x, memory=None, read=True):
        """Read sequences on from where they stopped.

        Args:
            x: (M, L, C).
            memory: what the call for the tokens before returned; None at the beginning.
            read: whether what comes out is wanted; else only what is remembered is computed.

        Returns:
            (M, L, C), or None, and memory: the last inputs of the convolution (M, 3, 2C) and the state (M,
            16, 2C).
        """
        (n, length), inner = x.shape[:2], self.D.numel()
        # (M, L, 2C)
        u, z = self.in_proj(x).chunk(2, -1) if read else (F.linear(x, self.in_proj.weight[:inner]), None)
        before, state = memory or (
            u.new_zeros(n, TAPS - 1, inner),
            u.new_zeros(n, STATE, inner, dtype=torch.float32),
        )
        u = torch.cat([before, u], 1)
        before, taps = u[:, -(TAPS - 1) :].clone(), self.conv1d.weight[:, 0].T
        mixed = self.conv1d.bias
        for i in range(TAPS):
            mixed = torch.addcmul(mixed, taps[i], u[:, i : i + length])
        u = F.silu(mixed)
        dt, b, c = self.x_proj(u).split((self.rank, STATE, STATE), -1)
        dt = F.softplus(self.dt_proj(dt))
        with torch.autocast(x.device.type, enabled=False):  # rounding would add up along the sequence
            how = (
                {"chunk": 16, "solve": in_turn}
                if x.device.type == "cpu"
                else {"chunk": 64, "solve": by_doubling}
            )
            y, state = scan(
                u.float(),
                dt.float(),
                -self.A_log.float().exp().T,
                b.float(),
                c.float(),
                state,
                read=read,
                **how,
            )
        return self.out_proj(torch.addcmul(y, self.D, u) * F.silu(z)) if read else None, (before, state)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must serve training too
def sequences(height, width, shifted):
    """Divide a map into windows.

    Shifted windows start SHIFT before the map and end at its borders, so there are narrower ones all around.

    Args:
        height, width: multiples of WINDOW.
        shifted: whether windows are moved by SHIFT.

    Returns:
        One (n, L) int64 tensor per shape of window: the tokens of each window in raster order, as places in
        the flattened map; and (height * width,) int64, for each place where it stands in these tensors,
        flattened and put one after the other.

    Source: the authors roll the map and keep what came around apart ("real shift"); this is the same without
        rolling.
    """
    places, by_shape = torch.arange(height * width).view(height, width), {}
    first = SHIFT if shifted else WINDOW
    rows, columns = ([0, *range(first, length, WINDOW), length] for length in (height, width))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            by_shape.setdefault((bottom - top, right - left), []).append(
                places[top:bottom, left:right].flatten()
            )
    groups = [torch.stack(windows) for windows in by_shape.values()]
    return groups, torch.cat([group.flatten() for group in groups]).argsort()


class Layer(nn.Module):
    """Norm and Mamba over the windows of a map."""

    def __init__(self, dim, shifted):
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        self.mixer = Mamba(dim)
        self.shifted = shifted

    def forward(self, x, memories, read=True):
        """(B, H, W, C) of one frame -> what is to be added to it, or None; `memories` has an entry per
        shape of window and is updated."""
        groups, order = sequences(*x.shape[1:3], self.shifted)
        tokens, outputs = self.norm(x).flatten(1, 2), []
        for i, group in enumerate(groups):
            windows = tokens[:, group.to(x.device)].flatten(0, 1)  # (B * n, L, C)
            y, memories[i] = self.mixer(windows, memories.get(i), read)
            if read:
                outputs.append(y.reshape(len(x), -1, x.shape[3]))
        return torch.cat(outputs, 1)[:, order.to(x.device)].view(x.shape) if read else None


class VideoStates(nn.Module):
    """The layers, each added to its input, and a norm."""

    def __init__(self, dim, depth):
        super().__init__()
        self.layers = nn.ModuleList(Layer(dim, i % 2 == 1) for i in range(depth))
        self.norm_f = nn.RMSNorm(dim, eps=1e-5)

    def forward(self, x, state, read=True):
        """Read one frame (B, H, W, C) -> (B, H, W, C), or None if that is not wanted; `state`, a dict that
        is empty before the first frame, is updated."""
        x = x.float()  # the sum of all layers is kept in full precision
        *layers, last = self.layers
        for i, layer in enumerate(layers):
            x = x + layer(x, state.setdefault(i, {}))
        added = last(x, state.setdefault(len(layers), {}), read)
        return self.norm_f(x + added) if read else None


class TV3SHead(ClipHead):
    """The MLP decoder for each frame, then state space models through time at about half its resolution.

    Source: class TV3SHead_shift of the authors' code, with real_shift and model_type 0.
    """

    def __init__(self, dims, depth, dim=256, n_classes=124, dropout=0.1):
        super().__init__(dims, dim, n_classes, dropout)
        self.vs = VideoStates(dim, depth)
        self.linear_pred2 = nn.Conv2d(dim, n_classes, 1)
        self.linear_pred2.apply(init_weights)

    def prepare(self, features, fused=None):
        """What a frame brings to every target that sees it: features as for `fuse` -> a tuple of (N, dim,
        h, w), h and w the multiples of WINDOW from H/8 and W/8 up."""
        size = [-(-(n // 2) // WINDOW) * WINDOW for n in features[0].shape[2:]]
        return (F.interpolate(self.fuse(features) if fused is None else fused, size, mode="bilinear"),)

    def follow(self, parts, state, read=True):
        """Read one frame of B clips: a tuple of (B, dim, h, w) of `prepare` -> (B, dim, h, w); `state` and
        `read` as for `VideoStates`."""
        followed = self.vs(parts[0].permute(0, 2, 3, 1), state, read)
        return followed.permute(0, 3, 1, 2) if read else None

    def classify(self, followed, size):
        """(B, dim, h, w) of `follow` -> logits (B, n_classes, *size)."""
        return F.interpolate(pointwise(self.linear_pred2, self.dropout(followed)), size, mode="bilinear")

    def decode(self, parts, size):
        """Segment the last frame of clips, from fresh states.

        Args:
            parts: of `prepare`, each (B, T, ...).
            size: H/4, W/4.

        Returns:
            Logits (B, n_classes, *size).
        """
        state, last = {}, parts[0].shape[1] - 1
        for t in range(last):
            self.follow([part[:, t] for part in parts], state, read=False)
        return self.classify(self.follow([part[:, last] for part in parts], state), size)

    def stream(self, features, state):
        """Segment every frame of a clip: features c1..c4 of T frames -> logits (T, n_classes, H/4, W/4);
        `state` as for `VideoStates`."""
        parts, size = self.prepare(features), features[0].shape[2:]
        return torch.cat(
            [
                self.classify(self.follow([part[t : t + 1] for part in parts], state), size)
                for t in range(len(parts[0]))
            ]
        )


class TV3S(nn.Module):
    """Video base segmentor; arguments and attributes as for `SegFormer`."""

    widths = tuple(LAYERS)
    n_frames = FRAMES

    def __init__(self, width, n_classes=124, drop_path=0.0):
        super().__init__()
        self.scale = input_scale(width)
        self.backbone = MiT(width, drop_path)
        self.decode_head = TV3SHead(depth=LAYERS[width], **head_options(width, n_classes))

    def forward(self, images):
        """Segment the last of the frames t-9, t-6, t-3, t (mode 0): (4, 3, H, W) normalised RGB -> logits
        (1, n_classes, H/4, W/4). See `ClipHead`."""
        return self.decode_head(self.backbone(images))

    def stream(self, images, state=None):
        """Segment every frame of a clip, each in the light of all before it (mode 2; a single frame from
        fresh states is mode 1).

        Args:
            images: (T, 3, H, W) float, normalised RGB, frames in order, H and W multiples of 32.
            state: a dict, empty before the first frame and updated here, to pass a clip in pieces; None
                starts anew.

        Returns:
            Logits (T, n_classes, H/4, W/4).
        """
        state = {} if state is None else state
        return torch.cat(
            [self.decode_head.stream(self.backbone(piece), state) for piece in images.split(FRAMES)]
        )

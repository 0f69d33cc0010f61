"""ResNet-50 under the parameter names of detectron2; batch norms are frozen."""

import torch
import torch.nn as nn
import torch.nn.functional as F

BLOCKS = (3, 4, 6, 3)  # of res2 .. res5


class FrozenNorm(nn.Module):
    """A batch norm whose statistics and weights never change: one scale and one shift a channel."""

    def __init__(self, dim: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((dim,), value))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Conv(nn.Conv2d):
    """Convolution without bias, then its norm."""

    def __init__(self, dim_in: int, dim: int, kernel: int, stride: int = 1):
        super().__init__(dim_in, dim, kernel, stride, kernel // 2, bias=False)
        self.norm = FrozenNorm(dim)

    def forward(self, x):
        return self.norm(super().forward(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1, and the shortcut."""

    def __init__(self, dim_in: int, mid: int, stride: int):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            Conv(dim_in, mid, 1),
            Conv(mid, mid, 3, stride),
            Conv(mid, 4 * mid, 1),
        )
        self.shortcut = Conv(dim_in, 4 * mid, 1, stride) if dim_in != 4 * mid else nn.Identity()

    def forward(self, x):
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))) + self.shortcut(x))


class ResNet50(nn.Module):
    """(N, 3, H, W) -> res2 .. res5, (N, 256, H/4, W/4) to (N, 2048, H/32, W/32)."""

    dims = (256, 512, 1024, 2048)

    def __init__(self):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = Conv(3, 64, 7, 2)
        dim_in = 64
        for i, (dim, n) in enumerate(zip(self.dims, BLOCKS)):
            strides = [1 if i == 0 else 2, *[1] * (n - 1)]
            self.add_module(
                f"res{i + 2}",
                nn.Sequential(
                    *(Bottleneck(dim if j else dim_in, dim // 4, s) for j, s in enumerate(strides))
                ),
            )
            dim_in = dim

    def forward(self, images):
        x = F.max_pool2d(F.relu(self.stem.conv1(images)), 3, 2, 1)
        features = []
        for stage in (self.res2, self.res3, self.res4, self.res5):
            features.append(x := stage(x))
        return features

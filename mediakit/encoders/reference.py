"""Small networks of our own whose weights come with the package, so that features made offline are not random.

They are trained by ``scripts/train_reference_encoders.py`` on generated clips (`mediakit.synthetic`) and nothing else:
good for trying out and for tests, no match for networks trained on real media.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

REFERENCE = "reference"
"""The name that the encoders' ``model`` argument takes."""

REFERENCE_TAG = "synthetic"
"""What their weights are called: after the media that they were trained on."""

REFERENCE_SIZE = {"audio": 128, "frames": 96, "clips": 64}
"""Height and width of the pictures that they see (of sound: the number of mel bands)."""


def reference_file(kind: str) -> Path:
    """The weights that come with the package for ``"audio"``, ``"frames"`` or ``"clips"``."""
    return Path(__file__).with_name(f"reference_{kind}.safetensors")


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., CVPR 2016): ``(B, in, H, W) -> (B, out, H / s, W / s)``."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds the two ways."""
        return nn.functional.silu(self.body(x) + self.shortcut(x))


def _stem(in_chans: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_chans, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.SiLU())


class ReferenceNet(nn.Module):
    """Pictures or spectrograms to vectors: ``(B, in_chans, H, W) -> (B, 320)``, of any size; 1.0 M parameters.

    The mean and the maximum over the last map: how much there is of something, and whether there is any.
    """

    dim = 320

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            _stem(in_chans, 24), Residual(24, 48, 2), Residual(48, 96, 2), Residual(96, 160, 2), Residual(160, 160, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_chans, H, W) -> (B, 320)``."""
        maps = self.maps(x)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


class Temporal(nn.Module):
    """A convolution over three frames at each place, added to what was there: ``(B, C, F, H, W)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), bias=False), nn.BatchNorm3d(width), nn.SiLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds what changes."""
        return x + self.body(x)


class ReferenceVideoNet(nn.Module):
    """Clips to vectors: ``(B, 3, F, H, W) -> (B, 320)``; 1.1 M parameters.

    Space and time in turn, as in R(2+1)D (Tran et al., CVPR 2018), at a thirtieth of its size.
    """

    dim = 320

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 96, 160)
        self.space = nn.ModuleList([_stem(3, widths[0]), *(Residual(a, b, 2) for a, b in pairwise(widths))])
        self.time = nn.ModuleList([nn.Identity(), *(Temporal(width) for width in widths[1:])])
        self.last = Residual(widths[-1], widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, F, H, W) -> (B, 320)``."""
        count = x.shape[2]
        for space, time in zip(self.space, self.time, strict=True):
            flat = space(x.transpose(1, 2).flatten(0, 1))
            x = time(flat.unflatten(0, (-1, count)).transpose(1, 2))
        x = self.last(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, count))
        return torch.cat([x.mean((1, 3, 4)), x.amax((1, 3, 4))], dim=1)


def create_reference(kind: str) -> ReferenceNet | ReferenceVideoNet:
    """The network for ``"audio"``, ``"frames"`` or ``"clips"``, with random weights."""
    return ReferenceVideoNet() if kind == "clips" else ReferenceNet(1 if kind == "audio" else 3)

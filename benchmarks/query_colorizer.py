"""A colorizer of the size of DDColor-tiny (Kang et al., ICCV 2023), to measure speed against; random weights.

Written from its description: a ConvNeXt-T encoder, a pixel decoder that upsamples by shuffled pixels and takes in the
encoder's maps, and a colour decoder in which 100 learned queries look at three scales of the decoder's maps over nine
layers; queries and pixels meet in a dot product. It has that model's 55.0 million parameters, and so its cost; it
shares no code with it and colours nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.encoders.backbones import import_timm

PARAMETERS = 55.0e6


class Upsample(nn.Module):
    """Twice (or four times) the size by a 1x1 convolution and shuffled pixels; then, with the encoder's maps, 3x3."""

    def __init__(self, inputs: int, skip: int, outputs: int, middle: int, factor: int = 2) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.Conv2d(inputs, middle * factor**2, 1), nn.PixelShuffle(factor), nn.BatchNorm2d(middle), nn.ReLU()
        )
        self.join = (
            nn.Sequential(nn.Conv2d(middle + skip, outputs, 3, 1, 1), nn.ReLU(), nn.BatchNorm2d(outputs))
            if skip
            else nn.Identity()
        )

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        x = self.up(x)
        return self.join(x if skip is None else torch.cat([x, skip], 1))


class QueryLayer(nn.Module):
    """Queries look at pixels, then at each other, then a feed-forward part; normalisation after each."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.own = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.hidden = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, queries: Tensor, place: Tensor, pixels: Tensor, where: Tensor) -> Tensor:
        first, second, third = self.norms
        seen, _ = self.cross(queries + place, pixels + where, pixels, need_weights=False)
        queries = first(queries + seen)
        asked = queries + place
        known, _ = self.own(asked, asked, queries, need_weights=False)
        queries = second(queries + known)
        return third(queries + self.hidden(queries))


class QueryColorizer(nn.Module):
    """Gray pictures as RGB (B, 3, H, W), sides multiples of 32, to a and b (B, 2, H, W)."""

    def __init__(self, queries: int = 100, layers: int = 9, dim: int = 256, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        self.encoder = import_timm().create_model("convnext_tiny", pretrained=False, features_only=True)
        c4, c8, c16, c32 = self.encoder.feature_info.channels()
        self.blocks = nn.ModuleList(
            [Upsample(c32, c16, 512, 512), Upsample(512, c8, 512, 512), Upsample(512, c4, 256, 256)]
        )
        self.last = Upsample(256, 0, 256, 256, factor=4)
        self.project = nn.ModuleList(nn.Conv2d(channels, dim, 1) for channels in (512, 512, 256))
        self.level = nn.Embedding(3, dim)
        self.query, self.place = nn.Embedding(queries, dim), nn.Embedding(queries, dim)
        self.layers = nn.ModuleList(QueryLayer(dim, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.colors = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 256))
        self.refine = nn.Conv2d(queries + 3, 2, 1)

    def forward(self, gray: Tensor) -> Tensor:
        c4, c8, c16, x = self.encoder(gray)
        scales = []
        for block, skip in zip(self.blocks, (c16, c8, c4), strict=True):
            x = block(x, skip)
            scales.append(x)
        pixels = self.last(x)
        memory = []
        for n, (project, maps) in enumerate(zip(self.project, scales, strict=True)):
            flat = (project(maps) + self.level.weight[n][None, :, None, None]).flatten(2).mT
            memory.append((flat, _positions(*maps.shape[-2:], flat.shape[-1]).to(flat)))
        batch = len(gray)
        queries, place = (e.weight.expand(batch, -1, -1) for e in (self.query, self.place))
        for n, layer in enumerate(self.layers):
            queries = layer(queries, place, *memory[n % len(memory)])
        colors = self.colors(self.norm(queries))
        found = torch.einsum("bqc,bchw->bqhw", colors, pixels)
        return self.refine(torch.cat([found, F.interpolate(gray, found.shape[-2:])], 1))


def _positions(height: int, width: int, dim: int) -> Tensor:
    """Sines and cosines of the place, (1, H W, dim)."""
    rates = 10_000 ** -(torch.arange(dim // 4) / (dim // 4))
    y, x = (torch.arange(1, n + 1)[:, None] / n * 2 * torch.pi * rates for n in (height, width))
    y, x = (torch.cat([v.sin(), v.cos()], 1) for v in (y, x))
    grid = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], 2)
    return grid.flatten(0, 1)[None]

"""From a picture of any size to what the network sees of it, and from the network's colours back to that size.

Everything at full size is done some rows at a time, so that a photograph of 24 megapixels needs little more memory than
its own pixels; how many changes nothing in the result.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.colorize.color import join, rgb_to_lab
from mediakit.colorize.upsample import TILE_PIXELS, GuidedUpsampler, row_tiles

SHORTEST = 32
"""Pixels that a side has at least when the network sees it, unless it was trained on fewer."""


def lightness_of(image: Tensor, tile_pixels: int = TILE_PIXELS, device: torch.device | str = "cpu") -> Tensor:
    """CIE L of a picture; whatever chroma it has, such as a sepia tone, is left out.

    Args:
        image: RGB or RGBA, uint8 or uint16, (3 or 4, H, W).
        tile_pixels: Pixels worked on at a time, in whole rows.
        device: Where to compute, and where the result lies.

    Returns:
        float32, (1, 1, H, W) in 0..100.
    """
    full = 255 if image.dtype == torch.uint8 else 65535
    height, width = image.shape[1:]
    lightness = torch.empty(1, 1, height, width, device=device)
    for rows in row_tiles(height, width, tile_pixels):
        lightness[:, :, rows] = rgb_to_lab(image[None, :3, rows].to(device).to(torch.float32) / full)[:, :1]
    return lightness


def network_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width at which the network sees a picture.

    The short side becomes ``size``, as in training, but the long one at most twice that; the aspect is kept unless a
    side would fall below `SHORTEST`.
    """
    scale = size / max(min(height, width), max(height, width) / 2)
    least = min(SHORTEST, size)
    return max(least, round(height * scale)), max(least, round(width * scale))


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Float pictures (B, C, H, W) at another height and width, without aliasing."""
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)


def paint(
    image: Tensor, lightness: Tensor, small: Tensor, ab: Tensor, *, bits: int = 8, tile_pixels: int = TILE_PIXELS
) -> Tensor:
    """Joins colours to the lightness of a picture at its own size.

    Args:
        image: The original, (3 or 4, H, W): its transparency is taken over.
        lightness: Its L, (1, 1, H, W), from `lightness_of`.
        small: The same at the size of ``ab``, (1, 1, h, w).
        ab: Colours, (1, 2, h, w); what no display can show is brought to the edge of the gamut, L unchanged.
        bits: 8 or 16.
        tile_pixels: Pixels worked on at a time, in whole rows.

    Returns:
        uint8 or uint16 of the shape of ``image``: a view of interleaved memory.
    """
    channels, height, width = image.shape
    dtype, full = (torch.uint8, 255) if bits == 8 else (torch.uint16, 65535)
    out = torch.empty(height, width, channels, dtype=dtype).permute(2, 0, 1)
    upsampler = GuidedUpsampler(ab, small, (height, width))
    for rows in row_tiles(height, width, tile_pixels):
        level = lightness[:, :, rows]
        rgb = join(level, upsampler.rows(level, rows.start))[0]
        out[:3, rows] = (rgb * full).round_().to(torch.int32).cpu().to(dtype)  # GPUs hardly know uint16
    if channels == 4:
        out[3] = _as_bits(image[3], bits)
    return out


def _as_bits(values: Tensor, bits: int) -> Tensor:
    if values.element_size() * 8 == bits:
        return values
    wide = values.to(torch.int32)
    return (wide * 257).to(torch.uint16) if bits == 16 else ((wide + 128) // 257).to(torch.uint8)

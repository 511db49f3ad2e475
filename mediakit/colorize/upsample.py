"""Colour at the size of a network to colour at the size of a photograph, guided by the photograph's own lightness.

A fast guided filter (He and Sun, "Fast Guided Filter", 2015; He, Sun and Tang, TPAMI 2013): around each place a and b
are taken as linear in L, with slopes found at the small size. Unlike theirs, the offset is what the slopes leave of the
small colours, so that these come through unblurred, and no pixel leaves the range of the colours around it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 20.0
"""Variance of L, in squared units of L, at which edges begin to guide. On 13 pictures shrunk to 128
rows, with radius 1, the mean error in ab was 11 % below that of bilinear upsampling (0.77 for 0.86; 99th percentile 5.0
for 5.9), and with strong grain (deviation 5 in L) still not above it."""
TILE_PIXELS = 2**19
"""Pixels of a tile: some 50 MB while it is worked on."""


class GuidedUpsampler:
    """Upsamples colour any rows at a time; what it gives of a row does not depend on the others.

    Args:
        ab: Small a and b, (B, 2, h, w).
        small_lightness: L of the same size, 0..100, (B, 1, h, w): the full one shrunk by averaging.
        size: Height and width of the full picture.
        radius: Reach of the slopes' window in small pixels.
        epsilon: See `EPSILON`; larger is closer to bilinear.

    Raises:
        ValueError: The shapes do not belong together.
    """

    def __init__(
        self,
        ab: Tensor,
        small_lightness: Tensor,
        size: tuple[int, int],
        radius: int = 1,
        epsilon: float = EPSILON,
    ) -> None:
        batch, height, width = ab.shape[0], *ab.shape[-2:]
        if ab.shape != (batch, 2, height, width) or small_lightness.shape != (batch, 1, height, width):
            raise ValueError(
                f"ab and its lightness must be (B, 2, h, w) and (B, 1, h, w), "
                f"got {tuple(ab.shape)} and {tuple(small_lightness.shape)}"
            )
        self.size = size
        ab, light = ab.float(), small_lightness.float() - 50
        mean, mean_ab = _box(light, radius), _box(ab, radius)
        variance = _box(light * light, radius) - mean * mean
        slope = _box((_box(light * ab, radius) - mean * mean_ab) / (variance.clamp(min=0) + epsilon), radius)
        window = 2 * radius + 1
        low = -F.max_pool2d(-ab, window, 1, radius)
        self._planes = torch.cat([slope, ab - slope * light, low, F.max_pool2d(ab, window, 1, radius)], 1)

    def rows(self, lightness: Tensor, start: int = 0) -> Tensor:
        """Colours of some rows.

        Args:
            lightness: L of these rows in 0..100, (B, 1, n, W) with the full width.
            start: Number of the first of them in the full picture.

        Returns:
            a and b, (B, 2, n, W).

        Raises:
            ValueError: There are no such rows.
        """
        height, width = self.size
        count = lightness.shape[-2]
        if lightness.shape[-1] != width or not 0 <= start <= start + count <= height:
            raise ValueError(
                f"rows {start} to {start + count}, {lightness.shape[-1]} wide, are not of {height}x{width}"
            )
        # Down by hand, as a tile must know where in the whole it lies; across, where each tile is whole, by torch.
        small = self._planes.shape[-2]
        place = (torch.arange(start, start + count, dtype=torch.float64) + 0.5) * (small / height) - 0.5
        place = place.clamp(0, small - 1)
        above = place.long()
        share = (place - above).to(self._planes)[:, None]
        above = above.to(self._planes.device)
        below = (above + 1).clamp(max=small - 1)
        strip = torch.lerp(self._planes[:, :, above], self._planes[:, :, below], share)
        strip = F.interpolate(strip, (count, width), mode="bilinear", align_corners=False)
        slope, offset, low, high = strip.chunk(4, 1)
        return torch.minimum(torch.maximum(slope * (lightness - 50) + offset, low), high)


def upsample_ab(
    ab: Tensor,
    small_lightness: Tensor,
    lightness: Tensor,
    radius: int = 1,
    epsilon: float = EPSILON,
    tile_pixels: int = TILE_PIXELS,
) -> Tensor:
    """Upsamples colour to the size of a picture, along the picture's edges.

    For a picture so large that even its colours should not be held, take :class:`GuidedUpsampler` and
    :func:`row_tiles`.

    Args:
        ab: Small a and b, (B, 2, h, w).
        small_lightness: L of the same size, 0..100, (B, 1, h, w): the full one shrunk by averaging.
        lightness: L of the picture, (B, 1, H, W).
        radius: As for :class:`GuidedUpsampler`.
        epsilon: Likewise.
        tile_pixels: As for :func:`row_tiles`; the result does not depend on it.

    Returns:
        a and b, (B, 2, H, W), within the range of the small ones.

    Raises:
        ValueError: The shapes do not belong together.
    """
    height, width = lightness.shape[-2:]
    upsampler = GuidedUpsampler(ab, small_lightness, (height, width), radius, epsilon)
    tiles = row_tiles(height, width, tile_pixels)
    return torch.cat([upsampler.rows(lightness[:, :, rows], rows.start) for rows in tiles], 2)


def row_tiles(height: int, width: int, tile_pixels: int = TILE_PIXELS) -> Iterator[slice]:
    """Rows of a picture in pieces of about ``tile_pixels`` pixels, at least one row each, from top to bottom."""
    step = max(1, tile_pixels // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _box(x: Tensor, radius: int) -> Tensor:
    """Mean over a window, of what lies inside the picture."""
    return F.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)

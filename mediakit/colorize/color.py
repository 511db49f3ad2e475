"""sRGB and CIE Lab, and how chroma is fitted to the gamut so that lightness stays what it was.

White is D65 for the 2 degree observer, as everywhere in this field; the constants are those of scikit-image, so that
the two agree to rounding. Everything is float: 8-bit Lab alone costs a picture down to 50 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of D65, 2 degree observer."""
XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB (ITU-R BT.709 primaries) to XYZ."""
RGB_FROM_XYZ = tuple(tuple(row) for row in torch.tensor(XYZ_FROM_RGB, dtype=torch.float64).inverse().tolist())
"""Its inverse."""

_LINEAR_BELOW = 0.008856  # of Y / Yn: below, Lab's cube root is replaced by a line
_SLOPE, _OFFSET = 7.787, 16 / 116
_ROOT_BELOW = 0.2068966  # cube root of _LINEAR_BELOW
_ROOM_BELOW, _ROOM_ABOVE = 1e-6, 1e-4
"""How far linear RGB may leave [0, 1] and still count as inside: white itself comes out at up to 1.00008, since the
matrix and the white point are rounded independently. Black needs none, and there the eye and L are steepest."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Converts sRGB to CIE Lab (CIE 15:2004; IEC 61966-2-1).

    Args:
        rgb: Float ``(..., 3, H, W)``, gamma encoded, in [0, 1]. Half precision is computed as float32.

    Returns:
        ``(..., 3, H, W)``: L in 0..100, a and b within about -108..98. Gradients are finite for every colour.

    Raises:
        ValueError: Not a float tensor of three channels.
    """
    rgb = _checked("rgb", rgb, 3)
    # Both branches of `where` get values on which their power has a finite slope, else its gradient is NaN.
    curve = ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    xyz = _mix(torch.where(rgb > 0.04045, curve, rgb / 12.92).unbind(-3), XYZ_FROM_RGB)
    x, y, z = (part / white for part, white in zip(xyz, WHITE, strict=True))
    x, y, z = (torch.where(t > _LINEAR_BELOW, _cube_root(t), _SLOPE * t + _OFFSET) for t in (x, y, z))
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Converts CIE Lab to sRGB; the inverse of :func:`rgb_to_lab`.

    Args:
        lab: Float ``(..., 3, H, W)``: L in 0..100, a and b. Half precision is computed as float32.

    Returns:
        ``(..., 3, H, W)``, gamma encoded and not clipped: a colour that no display shows lies outside [0, 1].

    Raises:
        ValueError: Not a float tensor of three channels.
    """
    lab = _checked("lab", lab, 3)
    linear = torch.stack(_linear_rgb(*lab.unbind(-3)), -3)
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curve, 12.92 * linear)


def fit_gamut(lightness: Tensor, ab: Tensor, steps: int = 12) -> Tensor:
    """Shrinks chroma to what sRGB can show at the same lightness and hue.

    Clipping RGB instead moves L by up to about 7. Colours inside stay bit for bit; the others move along the line to
    gray until they are inside, found by bisection, each pixel by itself.

    Args:
        lightness: L in 0..100, ``(..., 1, H, W)``.
        ab: ``(..., 2, H, W)``.
        steps: Halvings; the chroma found lies at most ``chroma / 2**steps`` below the gamut's edge.

    Returns:
        ``(..., 2, H, W)``. The factor counts as a constant in gradients.

    Raises:
        ValueError: Not float tensors of one and two channels.
    """
    lightness, ab = _checked("lightness", lightness, 1), _checked("ab", ab, 2)
    ab = ab.broadcast_to(torch.broadcast_shapes(ab.shape, (*lightness.shape[:-3], 2, *lightness.shape[-2:])))
    with torch.no_grad():
        level = lightness.broadcast_to((*ab.shape[:-3], 1, *ab.shape[-2:])).squeeze(-3).clamp(0, 100)
        a, b = ab.unbind(-3)
        outside = ~_inside(level, a, b)
        factor = torch.ones_like(a)
        if outside.any():
            level, a, b = level[outside], a[outside], b[outside]
            low, width = torch.zeros_like(a), 1.0
            for _ in range(steps):
                width /= 2
                half = low + width
                low = torch.where(_inside(level, half * a, half * b), half, low)
            factor[outside] = low
    return ab * factor.unsqueeze(-3)


def join(lightness: Tensor, ab: Tensor) -> Tensor:
    """Joins lightness and colour to a picture whose lightness is what was given.

    Args:
        lightness: L in 0..100, ``(..., 1, H, W)``.
        ab: ``(..., 2, H, W)``; any values, they are fitted to the gamut first.

    Returns:
        sRGB ``(..., 3, H, W)`` in [0, 1]. Rounded to 8 bits it has the given L within 0.3, whatever ``ab`` is.

    Raises:
        ValueError: Not float tensors of one and two channels.
    """
    fitted = fit_gamut(lightness, ab)
    lightness = lightness.clamp(0, 100).broadcast_to((*fitted.shape[:-3], 1, *fitted.shape[-2:]))
    return lab_to_rgb(torch.cat([lightness.to(fitted.dtype), fitted], -3)).clamp(0, 1)


def _inside(lightness: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Whether colours can be shown; the gamma curve maps 0 and 1 to themselves, so linear RGB says it."""
    red, green, blue = _linear_rgb(lightness, a, b)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    highest = torch.maximum(torch.maximum(red, green), blue)
    return (lowest >= -_ROOM_BELOW) & (highest <= 1 + _ROOM_ABOVE)


def _linear_rgb(lightness: Tensor, a: Tensor, b: Tensor) -> list[Tensor]:
    y = (lightness + 16) / 116
    # Like scikit-image: beyond Z = 0 there is no colour, and none inside the gamut comes near.
    roots = (a / 500 + y, y, (y - b / 200).clamp(min=0))
    xyz = [w * torch.where(t > _ROOT_BELOW, t**3, (t - _OFFSET) / _SLOPE) for t, w in zip(roots, WHITE, strict=True)]
    return _mix(xyz, RGB_FROM_XYZ)


def _mix(parts: Sequence[Tensor], matrix: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    # Sums, not a product of matrices: those may run in TF32, and may add in an order that depends on the size.
    x, y, z = parts
    return [u * x + v * y + w * z for u, v, w in matrix]


def _cube_root(t: Tensor) -> Tensor:
    return t.clamp(min=_LINEAR_BELOW) ** (1 / 3)


def _checked(name: str, values: Tensor, channels: int) -> Tensor:
    if not values.is_floating_point() or values.ndim < 3 or values.shape[-3] != channels:
        raise ValueError(
            f"{name} must be a float tensor (..., {channels}, H, W), got {values.dtype} {tuple(values.shape)}"
        )
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

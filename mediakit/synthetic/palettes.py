"""Colours by CIELAB hue that keep the lightness they are given: hues of classes, and the edge of the sRGB gamut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.synthetic.textures import Gray

HUE_SOURCES = ("class", "group")

_STEPS = 200  # of lightness in the table of the gamut
_FROM_XYZ = np.linalg.inv(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)  # sRGB primaries, D65 (IEC 61966-2-1), with the digits of skimage.color, so that its lab2rgb agrees
_WHITE = np.array([0.95047, 1.0, 1.08883])


def class_hues(groups: Sequence[Sequence[str]], hue_from: str, spread: float = 25.0) -> dict[str, float]:
    """Gives every class its hue.

    Args:
        groups: The classes of each group.
        hue_from: ``"class"``: the classes of a group stand as far from each other as the circle allows, so that the
            group tells nothing about the hue, and no two classes share one; ``"group"``: each group has a base hue,
            from which its classes deviate.
        spread: Largest deviation in degrees from the base hue.

    Returns:
        Hue angle in CIELAB by class, in [0, 360) degrees.

    Raises:
        ValueError: ``hue_from`` is unknown.
    """
    if hue_from not in HUE_SOURCES:
        raise ValueError(f"hue_from must be one of {', '.join(HUE_SOURCES)}, got {hue_from!r}")
    hues: dict[str, float] = {}
    for number, classes in enumerate(groups):
        base = 360 * number / len(groups)
        angles: Iterable[float]
        if hue_from == "class":
            angles = [(base + 360 * k) / len(classes) for k in range(len(classes))]
        else:
            angles = base + np.linspace(-spread, spread, len(classes)) if len(classes) > 1 else [base]
        hues |= {name: float(angle) % 360 for name, angle in zip(classes, angles, strict=True)}
    return hues


@cache
def _gamut() -> Gray:
    """Largest chroma inside sRGB, by lightness in steps of 0.5 (rows) and hue in degrees 0 to 360 (columns).

    Each entry is the least of its neighbourhood, so that interpolation never oversteps the edge.
    """
    ndimage = require("scipy.ndimage", "The colour gamut", "scipy")
    lightness, hue = np.meshgrid(np.linspace(0, 100, _STEPS + 1), np.deg2rad(np.arange(361)), indexing="ij")
    inside, outside = np.zeros_like(hue), np.full_like(hue, 140.0)
    for _ in range(14):
        chroma = (inside + outside) / 2
        fits = _in_gamut(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
        inside, outside = np.where(fits, chroma, inside), np.where(fits, outside, chroma)
    table = ndimage.minimum_filter(inside, 3, mode=("nearest", "wrap")).astype(np.float32)
    table.setflags(write=False)
    return table


def _in_gamut(lightness: NDArray[np.floating], a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.bool_]:
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = xyz @ _FROM_XYZ.T
    return ((linear >= 0) & (linear <= 1)).all(axis=-1)


def fit_gamut(lightness: Gray, ab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales chroma down to the edge of the sRGB gamut where it lies beyond; lightness and hue stay.

    Args:
        lightness: CIE L*, 0 to 100, (H, W).
        ab: CIELAB a and b, (2, H, W).

    Returns:
        float32 (2, H, W).
    """
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    hue = cv2.phase(ab[0], ab[1], angleInDegrees=True)
    edge = cv2.remap(_gamut(), hue, lightness * np.float32(_STEPS / 100), cv2.INTER_LINEAR)
    chroma = cv2.magnitude(ab[0], ab[1])
    return ab * np.minimum(np.float32(1), edge / np.maximum(chroma, np.float32(1e-6)))


def to_rgb(lightness: Gray, ab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """8-bit sRGB (H, W, 3) of CIELAB (D65, 2°); nothing clips if the colours went through `fit_gamut`."""
    color = require("skimage.color", "Drawing scenes", "scikit-image")
    rgb = color.lab2rgb(np.stack([lightness, *ab], axis=-1))
    return np.rint(255 * rgb).astype(np.uint8)

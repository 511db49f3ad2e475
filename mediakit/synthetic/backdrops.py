"""What is seen beside the events: backdrops, and stray shapes that move but belong to no class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.synthetic.sights import Image, Part, Points

BACKDROPS = {
    "train": ("gradient", "clouds", "stripes", "photograph"),
    "val": ("vignette", "bricks", "photograph"),
    "test": ("checks", "blobs", "waves", "photograph"),
}
"""Kinds of backdrop, by split; the splits share only that there are photographs, but no photograph."""

PHOTOGRAPHS = {
    "train": ("coffee", "chelsea", "brick", "hubble_deep_field", "camera"),
    "val": ("rocket", "grass", "coins"),
    "test": ("astronaut", "retina", "gravel", "moon", "immunohistochemistry"),
}
"""Functions of ``skimage.data`` whose pictures come with scikit-image itself, by split."""

STRAYS = {
    "train": ("star", "cross", "arrow", "hexagon"),
    "val": ("crescent", "spiral"),
    "test": ("heart", "lightning", "comb"),
}
"""Stray shapes, by split."""


def draw_backdrop(kind: str, height: int, width: int, draw: np.random.Generator, photograph: str = "coffee") -> Image:
    """Draws a still backdrop in two colours of little contrast, or a piece of a photograph.

    Args:
        kind: One of the names in `BACKDROPS`.
        height: Pixels.
        width: Pixels.
        draw: Source of all randomness.
        photograph: One of the names in `PHOTOGRAPHS`, for the kind ``"photograph"``.

    Returns:
        Image uint8 RGB (H, W, 3).

    Raises:
        ValueError: There is no such backdrop or photograph.
    """
    if kind == "photograph":
        return _piece_of(photograph, height, width, draw)
    if kind not in _PATTERNS:
        raise ValueError(f"there is no backdrop {kind!r}; there are {', '.join([*_PATTERNS, 'photograph'])}")
    y, x = np.mgrid[:height, :width] / height
    mix = _PATTERNS[kind](x, y, draw)[..., None]
    first = draw.uniform(30, 225, 3)
    second = np.clip(first + draw.uniform(-70, 70, 3), 10, 245)
    return np.rint(first * (1 - mix) + second * mix).astype(np.uint8)


def stray(name: str, time: float) -> list[Part]:
    """The parts of a stray shape that turns, grows and shrinks.

    Args:
        name: One of the names in `STRAYS`.
        time: Seconds.

    Raises:
        ValueError: There is no such shape.
    """
    if name not in _STRAYS:
        raise ValueError(f"there is no stray shape {name!r}; there are {', '.join(_STRAYS)}")
    angle, scale = 0.8 * np.sin(1.7 * time) + 0.4 * time, 0.8 + 0.15 * np.sin(2.9 * time)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return [Part("body", [_STRAYS[name] @ np.array([[c, s], [-s, c]])])]


def _piece_of(photograph: str, height: int, width: int, draw: np.random.Generator) -> Image:
    if not any(photograph in names for names in PHOTOGRAPHS.values()):
        names = ", ".join(sum(PHOTOGRAPHS.values(), ()))
        raise ValueError(f"there is no photograph {photograph!r}; there are {names}")
    cv2 = require("cv2", "Drawing clips", "opencv-python")
    data = require("skimage.data", "A photograph as a backdrop", "scikit-image")
    picture: NDArray[Any] = getattr(data, photograph)()
    if picture.ndim == 2:  # a grey one is tinted
        picture = picture[..., None] * draw.uniform(0.6, 1, 3)
    scale = draw.uniform(0.45, 1) * min(picture.shape[0] / height, picture.shape[1] / width)
    rows, columns = int(height * scale), int(width * scale)
    top, left = draw.integers(picture.shape[0] - rows + 1), draw.integers(picture.shape[1] - columns + 1)
    piece = picture[top : top + rows, left : left + columns].astype(np.float32)
    if draw.random() < 0.5:
        piece = np.ascontiguousarray(piece[:, ::-1])
    piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    mean = piece.mean((0, 1))
    cast = draw.uniform(-40, 40, 3)
    return np.rint(np.clip(mean + cast + draw.uniform(0.5, 0.9) * (piece - mean), 0, 255)).astype(np.uint8)


# Patterns in [0, 1]: (x and y in heights of the picture, randomness) -> mix of two colours.


def _along(x: Points, y: Points, draw: np.random.Generator) -> Points:
    angle = draw.uniform(0, np.pi)
    return np.cos(angle) * x + np.sin(angle) * y


def _gradient(x: Points, y: Points, draw: np.random.Generator) -> Points:
    along = _along(x, y, draw)
    return (along - along.min()) / np.ptp(along)


def _clouds(x: Points, y: Points, draw: np.random.Generator) -> Points:
    cv2 = require("cv2", "Drawing clips", "opencv-python")
    total = np.zeros(x.shape, np.float32)
    for cells in (3, 7, 15, 40):
        coarse = draw.random((cells, cells + cells // 3), np.float32)
        total += cv2.resize(coarse, x.shape[::-1], interpolation=cv2.INTER_CUBIC) / cells**0.6
    return (total - total.min()) / np.ptp(total)


def _stripes(x: Points, y: Points, draw: np.random.Generator) -> Points:
    return 0.5 + 0.5 * np.tanh(3 * np.sin(2 * np.pi * draw.uniform(2.5, 7) * _along(x, y, draw)))


def _vignette(x: Points, y: Points, draw: np.random.Generator) -> Points:
    distance = np.hypot(x - draw.uniform(0.4, 0.9), y - draw.uniform(0.3, 0.7))
    return distance / distance.max()


def _bricks(x: Points, y: Points, draw: np.random.Generator) -> Points:
    rows = y * draw.uniform(5, 9)
    columns = x * draw.uniform(3, 5) + 0.5 * (np.floor(rows) % 2)
    tone = draw.uniform(0.4, 1, (16, 16))[np.floor(rows).astype(int) % 16, np.floor(columns).astype(int) % 16]
    return np.where((rows % 1 < 0.12) | (columns % 1 < 0.06), 0, tone)


def _checks(x: Points, y: Points, draw: np.random.Generator) -> Points:
    cells = draw.uniform(3, 8)
    return (np.floor(x * cells) + np.floor(y * cells)) % 2


def _blobs(x: Points, y: Points, draw: np.random.Generator) -> Points:
    total = np.zeros_like(x)
    for _ in range(25):
        spread = draw.uniform(0.04, 0.13)
        total += np.exp(-((x - draw.uniform(0, 1.4)) ** 2 + (y - draw.random()) ** 2) / (2 * spread**2))
    return np.minimum(total, 1)


def _waves(x: Points, y: Points, draw: np.random.Generator) -> Points:
    bend = draw.uniform(0.03, 0.08) * np.sin(2 * np.pi * draw.uniform(1, 2.5) * x + draw.uniform(0, 6))
    return 0.5 + 0.5 * np.sin(2 * np.pi * draw.uniform(3, 7) * (y + bend))


_PATTERNS: dict[str, Callable[[Points, Points, np.random.Generator], Points]] = {
    "gradient": _gradient,
    "clouds": _clouds,
    "stripes": _stripes,
    "vignette": _vignette,
    "bricks": _bricks,
    "checks": _checks,
    "blobs": _blobs,
    "waves": _waves,
}


def _polar(radius: Points, turns: float = 1.0) -> Points:
    angle = np.linspace(0, 2 * np.pi * turns, len(radius), endpoint=turns != 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _spiral() -> Points:
    outwards = _polar(np.linspace(0.15, 0.9, 60), 2.25)
    return np.concatenate([outwards, outwards[::-1] * np.linspace(0.8, 0.4, 60)[:, None]])


def _crescent() -> Points:
    angle = np.linspace(-2.3, 2.3, 40)
    inner = np.stack([0.35 + 0.72 * np.cos(angle[::-1]), 0.72 * np.sin(angle[::-1])], 1)
    return np.concatenate([_polar(np.full(40, 0.9))[4:36], inner[8:-8]]) - [0.1, 0]


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 17
    return np.stack([16 * np.sin(t) ** 3 / 17, y], 1)


_STRAYS: dict[str, Points] = {
    "star": _polar(np.tile([0.95, 0.4], 5)),
    "cross": np.array(
        [
            (a, b)
            for s, t in ((1, 0), (0, 1), (-1, 0), (0, -1))
            for a, b in (
                (0.9 * s + 0.3 * t, 0.9 * t - 0.3 * s),
                (0.9 * s - 0.3 * t, 0.9 * t + 0.3 * s),
                (0.3 * (s - t), 0.3 * (s + t)),
            )
        ]
    ),
    "arrow": np.array([(-0.9, -0.2), (0.2, -0.2), (0.2, -0.6), (0.95, 0), (0.2, 0.6), (0.2, 0.2), (-0.9, 0.2)]),
    "hexagon": _polar(np.full(6, 0.85)),
    "crescent": _crescent(),
    "spiral": _spiral(),
    "heart": _heart(),
    "lightning": np.array([(0.2, -0.95), (-0.5, 0.15), (-0.05, 0.1), (-0.25, 0.95), (0.5, -0.2), (0.05, -0.15)]),
    "comb": np.array(
        [
            (-0.8, -0.6),
            (0.8, -0.6),
            *(
                (x, y)
                for n in range(4)
                for x, y in ((0.8 - 0.46 * n, 0.7), (0.6 - 0.46 * n, 0.7), (0.6 - 0.46 * n, 0), (0.34 - 0.46 * n, 0))
            ),
        ][:-2]
    ),
}

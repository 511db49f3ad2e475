"""Textures of gray, photographed and drawn, and photographs of things; nothing is fetched, all come with scikit-image.

The three splits never see the same piece of a photograph: a photographed texture gives its left half to training, its
upper right quarter to validation and its lower right quarter to the test (`PHOTO_TEXTURES`); photographs of things
belong to one split each (`PHOTOGRAPHS`). Drawn textures share their ranges of parameters and differ by the draw.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require

Gray = NDArray[np.float32]
"""An image (H, W) of lightness or of something else that is one number per pixel."""

PHOTO_TEXTURES = ("brick", "grass", "gravel")
"""Photographed textures by their names in ``skimage.data``, 512 x 512 each."""

PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "train": ("astronaut", "chelsea", "coffee", "rocket"),
    "val": ("coins", "moon"),
    "test": ("camera", "stereo_motorcycle"),
}
"""Photographs of things by their names in ``skimage.data``, for each split."""

_GUARD = 8  # pixels of a photograph, at the least, between the parts that two splits take


def draw_texture(name: str, size: tuple[int, int], draw: np.random.Generator, split: str = "train") -> Gray:
    """Draws one sample of a texture.

    Args:
        name: One of `TEXTURES`.
        size: Height and width of the sample.
        draw: Source of all randomness.
        split: Which part of a photograph to take; drawn textures ignore it.

    Returns:
        float32 (H, W) in [0, 1], of mean 0.5 and standard deviation 0.2 before what lies beyond is clipped.

    Raises:
        ValueError: There is no such texture or split.
    """
    if name in PHOTO_TEXTURES:
        return _even(_photographed(name, size, draw, split))
    if name not in _DRAWN:
        raise ValueError(f"there is no texture {name!r}; there are {', '.join(TEXTURES)}")
    return _even(_DRAWN[name](size, draw))


def draw_photograph(size: tuple[int, int], draw: np.random.Generator, split: str = "train") -> Gray:
    """Draws a piece of one of the split's photographs of things, perhaps mirrored.

    Args:
        size: Height and width to cut out and scale it to.
        draw: Source of all randomness.
        split: Whose photographs.

    Returns:
        float32 (H, W) in [0, 1], CIE lightness / 100.

    Raises:
        ValueError: There is no such split.
    """
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    names = PHOTOGRAPHS[_known(split)]
    photo = photograph(names[draw.integers(len(names))])
    part = draw.uniform(0.75, 1) * min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    height, width = round(size[0] * part), round(size[1] * part)
    top, left = (draw.integers(have - want + 1) for have, want in zip(photo.shape, (height, width), strict=True))
    piece = photo[top : top + height, left : left + width]
    return cv2.resize(piece[:, :: draw.choice([-1, 1])], size[::-1], interpolation=cv2.INTER_AREA)


@cache
def photograph(name: str) -> Gray:
    """CIE lightness / 100 of a photograph in ``skimage.data``, its shorter side 512 at the most: (H, W) in [0, 1]."""
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    image = getattr(require("skimage.data", "Drawing scenes", "scikit-image"), name)()
    if isinstance(image, tuple):  # a stereo pair and its disparity
        image = image[0]
    scale = 512 / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    color = require("skimage.color", "Drawing scenes", "scikit-image")
    rgb = image if image.ndim == 3 else color.gray2rgb(image)
    gray = color.rgb2lab(rgb)[..., 0].astype(np.float32) / 100
    gray.setflags(write=False)
    return gray


@cache
def _level_brick() -> Gray:
    """The photograph of bricks with level courses: it has them upright and in perspective."""
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    y, x = np.mgrid[:512, :512].astype(np.float32)
    # Measured: courses rise in proportion to their distance from row 275 of the turned picture.
    row = 275 + 0.82 * (y - 275) * np.exp(7.2e-4 * (x - 256))
    level = cv2.remap(np.rot90(photograph("brick")).copy(), x, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    level.setflags(write=False)
    return level


def photo_part(name: str, split: str) -> Gray:
    """The part of a photographed texture that belongs to a split: (H, W) in [0, 1].

    Raises:
        ValueError: There is no such split.
    """
    photo = _level_brick() if name == "brick" else photograph(name)
    middle, half = photo.shape[1] // 2, photo.shape[0] // 2
    return {
        "train": photo[:, : middle - _GUARD],
        "val": photo[: half - _GUARD, middle:],
        "test": photo[half:, middle:],
    }[_known(split)]


def _known(split: str) -> str:
    if split not in PHOTOGRAPHS:
        raise ValueError(f"split must be one of {', '.join(PHOTOGRAPHS)}, got {split!r}")
    return split


def _photographed(name: str, size: tuple[int, int], draw: np.random.Generator, split: str) -> Gray:
    """A turned, scaled and mirrored piece of the split's part."""
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    part = photo_part(name, split)
    angle = draw.uniform(-2, 2) if name == "brick" else draw.uniform(0, 360)
    side = draw.uniform(120, 170)
    turn = np.deg2rad(angle)
    reach = side / 2 * (abs(np.cos(turn)) + abs(np.sin(turn)))  # of the turned square, which stays inside the part
    centre = draw.uniform(reach, np.array(part.shape[::-1]) - reach)
    matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, max(size) / side)
    matrix[:, 2] += np.array(size[::-1]) / 2 - centre
    out = cv2.warpAffine(np.ascontiguousarray(part), matrix, size[::-1], borderMode=cv2.BORDER_REFLECT_101)
    return out[:, :: draw.choice([-1, 1])]


def _even(image: NDArray[np.floating]) -> Gray:
    spread = max(float(image.std()), 1e-6)
    return np.clip(0.5 + 0.2 * (image - image.mean()) / spread, 0, 1).astype(np.float32)


def fractal(size: tuple[int, int], draw: np.random.Generator, stretch: float = 1.0, roughness: float = 0.5) -> Gray:
    """Clouds: bicubic value noise over octaves.

    Args:
        size: Height and width.
        draw: Source of all randomness.
        stretch: How many times longer than high the lumps are.
        roughness: Amplitude of each octave relative to the one of twice its wavelength, in (0, 1).

    Returns:
        float32 (H, W), not normalised.
    """
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    out = np.zeros(size, np.float32)
    cells, weight = 2.0, 1.0
    while cells <= max(size) / 2:
        shape = [
            max(2, round(cells * side / max(size) * s)) + 3 for side, s in zip(size, (1, 1 / stretch), strict=True)
        ]
        out += weight * cv2.resize(draw.random(shape, np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight * roughness
    return out


def ripples(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Water seen flat: sums of waves whose crests lie across, ever denser towards the top."""
    height, width = size
    depth = 1 / (np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.25)  # of perspective
    across = (np.linspace(-1, 1, width, dtype=np.float32)[None] * depth).astype(np.float32)
    out = np.zeros(size, np.float32)
    for _ in range(7):
        frequency, phase = draw.uniform(8, 26), draw.uniform(0, 2 * np.pi)
        out += np.sin(frequency * (depth + draw.uniform(-0.3, 0.3) * across) + phase) / frequency**0.5
    return (out + 0.6 * fractal(size, draw, stretch=4)).astype(np.float32)


def leaves(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Foliage: many small leaves over each other, the lower ones darker."""
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    canvas = np.full(size, 40, np.uint8)
    count, grain = 900, max(size) / 60
    place = draw.uniform(0, 1, (count, 2)) * size[::-1]
    axes = draw.uniform([1.2, 0.6], [2.6, 1.2], (count, 2)) * grain
    shade = np.linspace(45, 215, count) + draw.normal(0, 28, count)
    for (x, y), (long, short), turn, tone in zip(
        place, axes, draw.uniform(0, 180, count), np.clip(shade, 20, 250), strict=True
    ):
        box = ((float(x), float(y)), (2 * float(long), 2 * float(short)), float(turn))
        cv2.ellipse(canvas, box, float(tone), -1, cv2.LINE_AA)
    return canvas.astype(np.float32)


def pebbles(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Rounded stones: cells of a Voronoi diagram, each with a tone of its own and dark seams."""
    spatial = require("scipy.spatial", "Drawing scenes", "scipy")
    height, width = size
    side = max(size)
    count = max(8, round(draw.uniform(140, 260) * height * width / side**2))
    centre = draw.uniform(-0.05, 1.05, (count, 2)) * size
    y, x = np.mgrid[:height, :width]
    points = np.stack([y, x], -1).reshape(-1, 2)
    distance, owner = spatial.cKDTree(centre).query(points, k=2)
    seam = (distance[:, 1] - distance[:, 0]) / side * 60
    tone = draw.uniform(0.3, 1, count)[owner[:, 0]]
    light = 0.05 * (centre[owner[:, 0]] - points).sum(1) / side * 60  # from the upper left
    return ((tone + light) * (1 - np.exp(-seam))).reshape(size).astype(np.float32)


def stripes(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Upright stripes, such as wallpaper or boards: broad and narrow bands with a soft grain along them."""
    width = size[1]
    edges = np.cumsum(draw.uniform(0.04, 0.13, 40)) * width
    position = np.arange(width)
    band = np.searchsorted(edges, position)
    tone = (band % 2) * 0.8 + draw.uniform(0, 0.5, 41)[band]
    return (tone[None] + 0.3 * fractal(size, draw, stretch=0.15)).astype(np.float32)


def bark(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Grain that runs upright."""
    return fractal(size, draw, stretch=0.12, roughness=0.8)


def wood(size: tuple[int, int], draw: np.random.Generator) -> Gray:
    """Boards with a grain that runs across."""
    height = size[0]
    board = np.floor(np.arange(height) / height * draw.integers(3, 6) + draw.random()).astype(int)
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.09 * fractal(size, draw, stretch=5, roughness=0.3)
    grain = np.sin(draw.uniform(70, 110) * depth) + fractal(size, draw, stretch=12, roughness=0.8)
    return (draw.uniform(0, 2, 8)[board][:, None] + grain).astype(np.float32)


_DRAWN: dict[str, Callable[[tuple[int, int], np.random.Generator], Gray]] = {
    "clouds": fractal,
    "ripples": ripples,
    "leaves": leaves,
    "pebbles": pebbles,
    "stripes": stripes,
    "bark": bark,
    "wood": wood,
}
TEXTURES = (*PHOTO_TEXTURES, *_DRAWN)
"""Names of all textures."""

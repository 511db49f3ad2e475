"""Kinds of scenery: what a scene shows in gray, as layers from the back to the front, before it has colour.

A kind draws nothing that depends on the sound of the scene: it decides which layers keep a colour of their own (a trunk
is brown) and which take the one that the sound tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.synthetic.textures import Gray, draw_photograph, draw_texture, fractal

Size = tuple[int, int]
Points = list[tuple[float, float]]
"""Corners (x, y) in heights of the canvas, from its upper left corner."""


class Layer(NamedTuple):
    """A part of a scene that moves as one.

    Attributes:
        gray: CIE lightness, 0 to 100, (H, W).
        cover: Opacity, 0 to 1, (H, W).
        hue: Hue angle in CIELAB in degrees, where gray tells it; None takes the hue of the scene's class.
        chroma: Chroma in CIELAB; with a hue of None, relative to the scene's.
        depth: How much of the camera's pan it follows; far layers less than 1.
        travel: Way (x, y) in heights of the picture that it goes in the course of the clip.
        sway: Amplitude of its waving to and fro, in heights of the picture.
        crests: Number of waves across and down the canvas.
        tempo: Wavings per second.
    """

    gray: Gray
    cover: Gray
    hue: float | None = None
    chroma: float = 1.0
    depth: float = 1.0
    travel: tuple[float, float] = (0.0, 0.0)
    sway: float = 0.0
    crests: tuple[float, float] = (0.0, 0.0)
    tempo: float = 0.0


def draw_landscape(name: str, size: Size, draw: np.random.Generator, split: str = "train") -> list[Layer]:
    """Draws a scene of a kind.

    Args:
        name: One of `LANDSCAPES`.
        size: Height and width of the canvas, of which the camera sees about the middle four fifths.
        draw: Source of all randomness.
        split: Which photographs may be used; see `mediakit.synthetic.textures`.

    Returns:
        Layers from the back to the front; the first covers everything.

    Raises:
        ValueError: There is no such kind or split.
    """
    if name not in _LANDSCAPES:
        raise ValueError(f"there is no landscape {name!r}; there are {', '.join(LANDSCAPES)}")
    return _LANDSCAPES[name](size, draw, split)


def _tone(texture: NDArray[np.floating], dark: float, light: float) -> Gray:
    return (dark + (light - dark) * texture).astype(np.float32)


def _fine(name: str, size: Size, draw: np.random.Generator, split: str) -> Gray:
    """A texture at half its scale, continued by its mirror image."""
    height, width = size
    half = draw_texture(name, ((height + 1) // 2, (width + 1) // 2), draw, split)
    return np.pad(half, ((0, height - half.shape[0]), (0, width - half.shape[1])), "symmetric")


def _grid(size: Size) -> tuple[Gray, Gray]:
    """Coordinates y (H, 1) and x (1, W), in heights."""
    height, width = size
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    return y, (np.arange(width, dtype=np.float32)[None] + 0.5) / height


def _full(size: Size) -> Gray:
    return np.ones(size, np.float32)


def _polygon(size: Size, *shapes: Points) -> Gray:
    """Cover of polygons, smooth at the edges."""
    cv2 = require("cv2", "Drawing scenes", "opencv-python")
    canvas = np.zeros(size, np.uint8)
    for shape in shapes:
        corners = np.round(np.array(shape) * size[0] * 16 - 8).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def _box(left: float, top: float, width: float, height: float) -> Points:
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def _round(left: float, top: float, width: float, height: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = left + width * (0.5 + 0.5 * np.cos(angle))
    return list(zip(x, top + height * (0.5 + 0.5 * np.sin(angle)), strict=True))


def _below(size: Size, level: float, draw: np.random.Generator, relief: float = 0.0) -> Gray:
    """Cover of the ground under a horizon, or under a ridge of hills."""
    ridge = fractal((8, size[1]), draw, roughness=0.4)[:1] if relief else np.zeros((1, size[1]), np.float32)
    return np.clip((_grid(size)[0] - level - relief * (ridge - ridge.mean())) * size[0] + 0.5, 0, 1).astype(np.float32)


def _sky(size: Size, draw: np.random.Generator, hue: float | None, chroma: float) -> Layer:
    y, _ = _grid(size)
    clouds = np.clip(draw_texture("clouds", size, draw) * 1.6 - 0.5, 0, 1)
    return Layer(62 + 16 * y + 14 * clouds, _full(size), hue, chroma, depth=0.3, travel=(draw.uniform(-0.04, 0.04), 0))


def _water(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right, horizon = size[1] / size[0], draw.uniform(0.36, 0.48)
    hills = _tone(draw_texture("clouds", size, draw), 36, 52)
    waves = np.zeros(size, np.float32)
    under = max(2, round((1 - horizon) * size[0]))
    waves[-under:] = draw_texture("ripples", (under, size[1]), draw)
    waves[:-under] = waves[-under]
    x, y, unit = draw.uniform(0.3, 0.7) * right, horizon + draw.uniform(0.12, 0.2), draw.uniform(0.09, 0.14)
    bob: dict[str, Any] = {
        "travel": (draw.choice([-1, 1]) * draw.uniform(0.05, 0.12), 0),
        "sway": 0.006,
        "tempo": draw.uniform(0.3, 0.5),
    }
    hull = [(x - unit, y), (x + 1.2 * unit, y), (x + 0.8 * unit, y + 0.45 * unit), (x - 0.7 * unit, y + 0.45 * unit)]
    sails = (
        [(x, y - 0.1 * unit), (x, y - 2 * unit), (x + unit, y - 0.1 * unit)],
        [(x - 0.1 * unit, y - 0.1 * unit), (x - 0.1 * unit, y - 1.7 * unit), (x - 0.8 * unit, y - 0.1 * unit)],
    )
    return [
        _sky(size, draw, 262, 20),
        Layer(hills, _below(size, horizon - 0.06, draw, 0.12), 135, 22, depth=0.5),
        Layer(
            _tone(waves, 32, 76), _below(size, horizon, draw), sway=0.008, crests=(2, 9), tempo=draw.uniform(0.3, 0.6)
        ),
        Layer(_tone(draw_texture("wood", size, draw), 28, 44), _polygon(size, hull), 60, 30, **bob),
        Layer(_tone(draw_texture("clouds", size, draw), 58, 78), _polygon(size, *sails), chroma=1.1, **bob),
    ]


def _forest(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right, ground = size[1] / size[0], draw.uniform(0.66, 0.76)
    trunks = []
    for x in np.linspace(0.08, 0.92, draw.integers(3, 6)) + draw.uniform(-0.06, 0.06):
        foot, girth = draw.uniform(ground, ground + 0.12), draw.uniform(0.03, 0.06)
        trunks.append([(x * right - 0.7 * girth, 0), (x * right + 0.7 * girth, 0), (x * right + 1.4 * girth, foot)])
        trunks[-1].append((x * right - 1.4 * girth, foot))
    breeze: dict[str, Any] = {"sway": 0.007, "crests": (3, 2), "tempo": draw.uniform(0.25, 0.5)}
    crown = np.clip((fractal(size, draw) - 0.75 - 1.1 * (_grid(size)[0] - 0.28)) * 8, 0, 1).astype(np.float32)
    return [
        Layer(_tone(draw_texture("leaves", size, draw), 22, 56), _full(size), depth=0.6, **breeze),
        Layer(_tone(_fine("grass", size, draw, split), 34, 68), _below(size, ground, draw, 0.03), 115, 30),
        Layer(_tone(draw_texture("bark", size, draw), 18, 48), _polygon(size, *trunks), 62, 26),
        Layer(_tone(draw_texture("leaves", size, draw), 40, 82), crown, chroma=1.1, depth=1.2, **breeze),
    ]


def _street(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right, ground = size[1] / size[0], draw.uniform(0.72, 0.78)
    y, _ = _grid(size)
    across, tall, top = draw.uniform(0.14, 0.19), draw.uniform(0.2, 0.27), draw.uniform(0.2, 0.28)
    door, *windows = draw.permutation((np.arange(4) + 0.5) / 4 * right)[: draw.integers(3, 5)]
    panes = [_box(x - across / 2, top, across, tall) for x in windows]
    frames = [_box(x - across / 2 - 0.02, top - 0.02, across + 0.04, tall + 0.05) for x in windows]
    x, base, unit = draw.uniform(0.35, 0.65) * right, ground + draw.uniform(0.04, 0.08), draw.uniform(0.09, 0.12)
    drive = (draw.choice([-1, 1]) * draw.uniform(0.2, 0.45), 0.0)
    body = [_box(x - 1.5 * unit, base - 0.9 * unit, 3 * unit, 0.7 * unit)]
    body.append([(x + dx * unit, base + dy * unit) for dx, dy in ((-1, -0.8), (-0.6, -1.5), (0.5, -1.5), (1, -0.8))])
    glass = [(x + dx * unit, base + dy * unit) for dx, dy in ((-0.75, -0.9), (-0.5, -1.35), (0.4, -1.35), (0.75, -0.9))]
    wheels = [_round(x + dx * unit, base - 0.55 * unit, 0.6 * unit, 0.6 * unit) for dx in (-1.2, 0.6)]
    paint = _tone(np.broadcast_to(1 - 4 * np.abs(y - base + 0.9 * unit), size), 40, 68)
    shine = _tone(np.clip(draw_texture("clouds", size, draw) + 0.5 - y, 0, 1), 24, 60)
    return [
        Layer(_tone(_fine("brick", size, draw, split), 28, 72), _full(size)),
        Layer(_tone(draw_texture("wood", size, draw), 70, 88), _polygon(size, *frames), 85, 14),
        Layer(shine, _polygon(size, *panes), 250, 22),
        Layer(
            _tone(draw_texture("stripes", size, draw), 36, 60),
            _polygon(size, _box(door - 0.09, ground - 0.4, 0.18, 0.42)),
            55,
            34,
        ),
        Layer(_tone(_fine("gravel", size, draw, split), 38, 70), _below(size, ground, draw), 80, 16),
        Layer(paint, _polygon(size, *body), travel=drive, chroma=1.2),
        Layer(shine, _polygon(size, glass), 250, 15, travel=drive),
        Layer(np.full(size, 14, np.float32), _polygon(size, *wheels), 280, 5, travel=drive),
    ]


def _balloons(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right = size[1] / size[0]
    y, x = _grid(size)
    layers = [_sky(size, draw, None, 1.0)]
    for place in draw.permutation([0.32, 0.68])[: draw.integers(1, 3)]:
        left, top, wide = place * right, draw.uniform(0.16, 0.36), draw.uniform(0.22, 0.32)
        rise: dict[str, Any] = {"travel": tuple(draw.uniform([-0.06, -0.12], [0.06, -0.03])), "depth": 0.8}
        bulge = np.clip(1 - ((x - left) / (0.55 * wide)) ** 2, 0, 1) ** 0.5
        gores = 0.5 + 0.5 * np.sin(np.arcsin(np.clip((x - left) / (0.56 * wide), -1, 1)) * draw.integers(5, 9) * 2)
        shade = 30 + 36 * bulge * (1.25 - 0.5 * (y - top) / wide) + 14 * (gores > 0.5)
        skirt = [
            (left + dx * wide, top + dy * wide) for dx, dy in ((-0.4, 0.78), (0.4, 0.78), (0.09, 1.32), (-0.09, 1.32))
        ]
        envelope = _polygon(size, _round(left - wide / 2, top, wide, 1.05 * wide), skirt)
        basket = _polygon(size, _box(left - 0.08 * wide, top + 1.4 * wide, 0.16 * wide, 0.13 * wide))
        layers.append(Layer(np.clip(shade, 20, 85).astype(np.float32), envelope, 40, 46, **rise))
        layers.append(Layer(_tone(draw_texture("wood", size, draw), 24, 44), basket, 62, 30, **rise))
    far, near = draw.uniform(0.68, 0.74), draw.uniform(0.78, 0.84)
    layers.append(Layer(_tone(draw_texture("clouds", size, draw), 44, 60), _below(size, far, draw, 0.14), depth=0.6))
    field = _tone(_fine("grass", size, draw, split), 30, 60)
    return [*layers, Layer(field, _below(size, near, draw, 0.08), 125, 32)]


def _room(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right, table = size[1] / size[0], draw.uniform(0.66, 0.74)
    x = _grid(size)[1]
    wide, tall, top = draw.uniform(0.3, 0.4) * min(1, right), draw.uniform(0.3, 0.4), draw.uniform(0.16, 0.22)
    left = draw.uniform(0.15 * right, 0.85 * right - wide)
    piece = draw_photograph((max(2, round(tall * size[0])), max(2, round(wide * size[0]))), draw, split)
    photo = np.zeros(size, np.float32)
    row, column = round(top * size[0]), round(left * size[0])
    photo[row : row + piece.shape[0], column : column + piece.shape[1]] = (
        100 * piece[: size[0] - row, : size[1] - column]
    )
    frame = _box(left - 0.03, top - 0.03, wide + 0.06, tall + 0.06)
    inside = _box(left + 0.01, top + 0.01, wide - 0.02, tall - 0.02)
    middle = left + wide + draw.uniform(0.12, 0.2) if left + wide / 2 < right / 2 else left - draw.uniform(0.08, 0.14)
    foot, belly, unit = table + draw.uniform(0.04, 0.1), draw.uniform(0.09, 0.12), draw.uniform(0.3, 0.4)
    profile = np.linspace(0, 1, 24)
    girth = belly * (0.45 + 0.55 * np.sin(np.pi * profile ** draw.uniform(0.6, 1.6)) + 0.1 * profile**6)
    rim = foot - unit * profile
    vase = [*zip(middle - girth, rim, strict=True), *zip((middle + girth)[::-1], rim[::-1], strict=True)]
    glaze = np.broadcast_to(np.clip(74 - 330 * np.abs(x - middle + 0.3 * belly), 26, 80), size)
    return [
        Layer(_tone(draw_texture("stripes", size, draw), 42, 74), _full(size)),
        Layer(_tone(draw_texture("wood", size, draw), 30, 52), _polygon(size, frame), 65, 34),
        Layer(np.clip(photo, 8, 95), _polygon(size, inside), 75, 10),
        Layer(_tone(draw_texture("wood", size, draw), 34, 64), _below(size, table, draw), 58, 36),
        Layer(glaze, _polygon(size, vase), chroma=1.2, depth=1.15),
    ]


def _shore(size: Size, draw: np.random.Generator, split: str) -> list[Layer]:
    right, horizon, beach = size[1] / size[0], draw.uniform(0.24, 0.3), draw.uniform(0.42, 0.5)
    surf: dict[str, Any] = {"sway": 0.015, "crests": (1.5, 1), "tempo": draw.uniform(0.12, 0.2)}
    x, y, unit = draw.uniform(0.3, 0.7) * right, draw.uniform(0.36, 0.42), draw.uniform(0.18, 0.24)
    angle = np.linspace(np.pi, 2 * np.pi, 32)
    shade = [(x + unit * np.cos(a), y + 0.75 * unit * np.sin(a)) for a in angle]
    pole = _box(x - 0.008, y, 0.016, 1.3 * unit)
    fan = np.arctan2(y + 0.35 * unit - _grid(size)[0], _grid(size)[1] - x)
    panels = np.where(np.sin(fan * draw.integers(5, 8) * 2) > 0, 74, 50).astype(np.float32)
    sea = draw_texture("ripples", size, draw)
    return [
        _sky(size, draw, 262, 18),
        Layer(
            _tone(sea, 38, 66), _below(size, horizon, draw), 225, 30, depth=0.7, sway=0.006, crests=(1, 12), tempo=0.4
        ),
        Layer(np.full(size, 90, np.float32), _below(size, beach - 0.03, draw, 0.06), 210, 6, **surf),
        Layer(_tone(draw_texture("pebbles", size, draw), 30, 82), _below(size, beach, draw, 0.04)),
        Layer(np.full(size, 34, np.float32), _polygon(size, pole), 62, 26, depth=1.1),
        Layer(panels, _polygon(size, shade), chroma=1.2, depth=1.1),
    ]


_LANDSCAPES: dict[str, Callable[[Size, np.random.Generator, str], list[Layer]]] = {
    "water": _water,
    "forest": _forest,
    "street": _street,
    "sky": _balloons,
    "room": _room,
    "shore": _shore,
}
LANDSCAPES = tuple(_LANDSCAPES)
"""Names of all kinds of scenery."""

"""Colours of a talking head: of skin, hair, lips and clothes, and of the room behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.mesh import LIP_ROWS, eye_rows, outline
from mediakit.synthetic.portrait import ENLARGED, Portrait
from mediakit.synthetic.rendering import polygon

Floats = NDArray[Any]


def recolour(
    portrait: Portrait, skin: tuple[float, ...], hair: tuple[float, ...], suit: float, lips: float
) -> NDArray[np.float32]:
    """The photograph in another person's colours.

    Args:
        portrait: The photograph.
        skin: Factors of red, green and blue.
        hair: Brightness factor, then shifts of Lab's a and b.
        suit: Hue of the clothes in degrees (the photograph's own is 14).
        lips: How much redder the lips are than the photograph's, 0 to 1.

    Returns:
        ``(H, W, 3)``, as ``Portrait.image``.
    """
    cv2 = require("cv2", "A talking head", "opencv-python")
    # Below the chin skin is what is warm: the lining of the collar is not. The suit's red trim lies further below.
    down = (np.arange(len(portrait.image))[:, None] - portrait.texture[152, 1]) / ENLARGED
    warm = (portrait.image[..., 0] - portrait.image[..., 2] - 0.04) / 0.08
    warm = np.clip(np.maximum(warm, 1 - down / 5), 0, 1) * np.clip((40 - down) / 15, 0, 1)
    warm = cv2.GaussianBlur(warm.astype(np.float32), (0, 0), 1.0 * ENLARGED)
    eyes = sum(_inside(portrait, outline(upper, lower), 1.5) for upper, lower in eye_rows())
    (outer_upper, outer_lower), *_, (upper, lower) = LIP_ROWS
    opening = _inside(portrait, outline(upper, lower), 1.0)
    lip = np.clip(_inside(portrait, outline(outer_upper, outer_lower), 2.0) - opening, 0, 1)
    bare = np.clip(1 - portrait.hair - portrait.suit, 0, 1) * (1 - eyes) * warm * (1 - 0.7 * opening)
    image = portrait.image * (1 + bare[..., None] * (np.array(skin, np.float32) - 1))
    image = image * (1 - lips * lip[..., None] * np.array([0.12, 0.36, 0.3], np.float32))
    gain, a, b = hair
    lab = cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2LAB)
    coloured = lab * np.array([gain, 0.9, 0.6], np.float32) + np.array([0, a, b], np.float32) * min(gain, 1.0)
    image = _mix(image, cv2.cvtColor(coloured, cv2.COLOR_LAB2RGB), portrait.hair)
    hue, lightness, saturation = cv2.split(cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2HLS))
    turned = cv2.merge([(hue + suit - 14) % 360, lightness * 0.8, saturation * 0.36])
    return _mix(image, cv2.cvtColor(turned, cv2.COLOR_HLS2RGB), portrait.suit)


def room(wall: tuple[str, float, float, float, float], size: tuple[int, int]) -> NDArray[np.float32]:
    """A room out of focus: a blurred piece of a photograph, or a plain wall with the light falling off.

    Args:
        wall: Name of a photograph of ``skimage.data``, or ``"wall"``, and four numbers in [0, 1] that place it.
        size: Height and width.
    """
    cv2 = require("cv2", "A talking head", "opencv-python")
    name, u, v, w, x = wall
    height, width = size
    if name == "wall":
        hue = cv2.cvtColor(np.array([[[360 * u, 0.3 + 0.4 * v, 0.08 + 0.25 * w]]], np.float32), cv2.COLOR_HLS2RGB)
        across = np.linspace(-1, 1, width)[None, :, None] * (1 if x < 0.5 else -1)
        down = np.linspace(-1, 1, height)[:, None, None]
        return (hue * (1 - 0.25 * across - 0.12 * down - 0.1 * (across**2 + down**2))).clip(0, 1).astype(np.float32)
    photo = getattr(require("skimage.data", "A talking head", "scikit-image"), name)()
    photo = photo[..., :3] if photo.ndim == 3 else np.dstack([photo] * 3)
    side = int(min(photo.shape[:2]) * (0.5 + 0.4 * w))
    top, left = int(v * (photo.shape[0] - side)), int(u * (photo.shape[1] - side))
    piece = photo[top : top + side, left : left + side].astype(np.float32) / 255
    piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(piece, (0, 0), height / 60 * (0.6 + x)).clip(0, 1))


def _inside(portrait: Portrait, vertices: list[int], blur: float) -> Floats:
    """Mask of what lies within some vertices."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    return np.asarray(cv2.GaussianBlur(polygon(portrait.texture[vertices], portrait.matte.shape), (0, 0), blur))


def _mix(one: Floats, other: Floats, share: Floats) -> NDArray[np.float32]:
    return (one + share[..., None] * (np.clip(other, 0, 1) - one)).astype(np.float32)

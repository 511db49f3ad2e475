"""What a camera makes of light: exposure that saturates softly, and the noise of its sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require

Floats = NDArray[np.float32]

_SHOULDER = 0.75  # brightness above which exposure bends: clipped channels would turn bright skin yellow
_SPARE = 96  # pixels by which the sheet of noise is larger than a picture, each way


def expose(light: Floats, stops: float) -> Floats:
    """A picture made brighter by some stops, within [0, 1]: linear up to three quarters, then bent, never clipped.

    Args:
        light: Not negative, any shape.
        stops: Each doubles the light.
    """
    exposed = light * np.float32(2.0**stops)
    bright = exposed > _SHOULDER
    rest = np.float32(1 - _SHOULDER)
    exposed[bright] = 1 - rest**2 / (exposed[bright] - _SHOULDER + rest)
    return np.asarray(exposed)


class Sensor:
    """Turns pictures into 8 bits, with noise that is mostly of brightness, and more of it in the dark.

    The noise is drawn once, on a sheet larger than a picture; each picture takes another piece of it.

    Args:
        size: Height and width.
        noise: Standard deviation of each channel at middle gray, 1 being full scale.
        brightness: Factor of all pictures.
        draw: Source of randomness.
    """

    def __init__(self, size: tuple[int, int], noise: float, brightness: float, draw: np.random.Generator) -> None:
        self._cv2 = require("cv2", "A talking head", "opencv-python")
        self._size, self._brightness, self._draw = size, brightness, draw
        height, width = (length + _SPARE for length in size)
        gray, colour = (draw.standard_normal((height, width, channels), np.float32) for channels in (1, 3))
        self._sheet = np.float32(noise) * (gray + np.float32(0.35) * colour)

    def record(self, picture: Floats) -> NDArray[np.uint8]:
        """The next frame of a film: ``(H, W, 3)`` in [0, 1] to uint8."""
        top, left, up, back = self._draw.integers(0, (_SPARE, _SPARE, 2, 2)).tolist()
        sheet = self._sheet[top : top + self._size[0], left : left + self._size[1]]
        sheet = sheet[:: -1 if up else 1, :: -1 if back else 1]
        cv2 = self._cv2
        strength = cv2.transform(picture, np.array([[-0.2, -0.2, -0.2, 1.3]], np.float32))
        noise = cv2.multiply(np.ascontiguousarray(sheet), cv2.cvtColor(strength, cv2.COLOR_GRAY2RGB))
        # One pass: scales, adds, rounds and saturates.
        return np.asarray(cv2.addWeighted(picture, 255 * self._brightness, noise, 255, 0, dtype=cv2.CV_8U), np.uint8)

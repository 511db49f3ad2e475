"""What the photograph does not show and is painted: the inside of an open mouth, and lashes of a closing eye."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.mesh import LIP_ROWS, eye_rows, outline
from mediakit.synthetic.portrait import ENLARGED, Portrait
from mediakit.synthetic.rendering import SUBPIXEL, fixed, polygon

Floats = NDArray[Any]
Box = tuple[slice, slice]

_DARK, _TONGUE, _LASHES = ((0.17, 0.07, 0.06), (0.34, 0.14, 0.13), (0.38, 0.3, 0.28))


class Mouth:
    """The inside of a mouth: teeth that keep with the upper jaw, a tongue on the lower one, darkness between.

    Args:
        portrait: The photograph, whose smile shows the teeth.
        tint: Factors of red, green and blue.
    """

    def __init__(self, portrait: Portrait, tint: Floats) -> None:
        cv2 = require("cv2", "A talking head", "opencv-python")
        self._ring = [i for row in LIP_ROWS[0] for i in row]
        self._place = portrait.texture[self._ring].astype(np.float64)
        around = portrait.texture[outline(*LIP_ROWS[-1])]
        low, high = np.floor(around.min(0)).astype(int), np.ceil(around.max(0)).astype(int)
        pad = 12 * ENLARGED
        self._corner = low - pad
        box = (slice(low[1] - pad, high[1] + pad), slice(low[0] - pad, high[0] + pad))
        image = portrait.image[box]
        self._dark, self._tongue = (np.array(colour, np.float32) * tint for colour in (_DARK, _TONGUE))
        teeth = np.zeros(image.shape[:2], np.float32)
        cv2.fillPoly(teeth, [fixed(around - self._corner)], 1.0, cv2.LINE_8, SUBPIXEL)
        bright = image.min(-1) > 0.45  # lips and gaps in the polygon's rim are redder or darker
        share = cv2.GaussianBlur(cv2.erode(teeth, np.ones((3, 3))) * bright, (0, 0), 0.8)
        self._teeth = np.dstack([0.92 * image * tint * share[..., None], share]).astype(np.float32)

    def paint(self, person: Floats, alpha: Floats, points: Floats, skull: Floats, light: Floats) -> None:
        """Fills the opening between the lips, in place.

        Args:
            person: Colours times matte ``(H, W, 3)``.
            alpha: Matte ``(H, W)``.
            points: ``(V, 3)`` pixels of the mesh.
            skull: The same at rest, moved by the head's pose alone.
            light: Brightness ``(H, W)``.
        """
        cv2 = require("cv2", "A talking head", "opencv-python")
        around = points[outline(*LIP_ROWS[-1]), :2]
        box, low = _box(around, person.shape[:2])
        if box is None:
            return
        mask = polygon(around - low, alpha[box].shape)
        left, right, top, bottom = (points[i, :2] - low for i in (78, 308, 13, 14))
        half, gap = np.linalg.norm(right - left) / 2, np.linalg.norm(bottom - top)
        inside = np.empty((*mask.shape, 3), np.float32)
        inside[:] = self._dark
        tongue = np.zeros(mask.shape, np.float32)
        turn = float(np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0])))
        axes = (max(1.24 * float(half), 2.0), max(float(gap), 2.0))
        cv2.ellipse(tongue, (tuple(map(float, bottom)), axes, turn), 1.0, -1)
        tongue = cv2.GaussianBlur(tongue, (0, 0), max(0.12 * gap, 0.8))[..., None]
        inside += tongue * (self._tongue - inside)
        # The skull's motion, as an affine map from picture to photograph fitted around the mouth.
        ring = np.column_stack([skull[self._ring, :2] - low, np.ones(len(self._ring))])
        solution, *_ = np.linalg.lstsq(ring, self._place - self._corner, rcond=None)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        teeth = cv2.warpAffine(self._teeth, solution.T, mask.shape[::-1], flags=flags)
        inside += teeth[..., :3] - teeth[..., 3:] * inside
        # Less light falls in near the rim, and little comes as far as the corners.
        inside *= (0.55 + 0.45 * cv2.GaussianBlur(mask, (0, 0), max(0.05 * half, 1.0)))[..., None]
        inside *= np.clip(light[box], 0.6, 1.2)[..., None]
        # The mesh is open here: what it leaves bare is filled first, then the rim mixes with the lips.
        bare = (1 - alpha[box]) * (mask > 0)
        person[box] += bare[..., None] * inside
        alpha[box] += bare
        soft = cv2.GaussianBlur(mask, (0, 0), 0.9)[..., None]
        person[box] += soft * (inside - person[box])


def paint_lashes(person: Floats, points: Floats, resting: Floats) -> None:
    """Darkens what is left of an eye as it closes, in place: squeezed to a line, white and iris would glitter.

    Args:
        person: Colours ``(H, W, 3)``.
        points: ``(V, 3)`` pixels of the mesh.
        resting: ``(2,)`` pixels between the lids of the right and the left eye at rest; see :func:`aperture`.
    """
    cv2 = require("cv2", "A talking head", "opencv-python")
    for (upper, lower), gap, open_gap in zip(eye_rows(), aperture(points), resting, strict=True):
        closed = 1 - gap / open_gap
        if closed < 0.4:
            continue
        around = points[outline(upper, lower), :2]
        box, low = _box(around, person.shape[:2])
        if box is None:
            continue
        mask = (255 * polygon(around - low, person[box].shape[:2])).astype(np.uint8)
        cv2.polylines(mask, [fixed(points[list(lower), :2] - low)], False, 255, 2, cv2.LINE_AA, SUBPIXEL)
        soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.9)[..., None]
        person[box] *= 1 - soft * 0.8 * min(1.0, (closed - 0.4) / 0.4) * (1 - np.array(_LASHES, np.float32))


def aperture(points: Floats) -> Floats:
    """Mean distance of the lids of the right and of the left eye ``(2,)``, in the unit of ``points``."""
    rows = [(points[list(upper[1:-1])], points[list(lower[1:-1])]) for upper, lower in eye_rows()]
    return np.array([np.linalg.norm(upper - lower, axis=1).mean() for upper, lower in rows])


def _box(around: Floats, size: tuple[int, ...]) -> tuple[Box | None, Floats]:
    """Part of a picture around an outline, None where it lies outside, and its top left corner (x, y)."""
    low = np.maximum(np.floor(around.min(0)).astype(int) - 3, 0)
    high = np.minimum(np.ceil(around.max(0)).astype(int) + 4, size[::-1])
    if (high <= low).any():
        return None, low
    return (slice(low[1], high[1]), slice(low[0], high[0])), low

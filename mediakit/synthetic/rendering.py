"""Pictures of a textured mesh: where each pixel of a frame comes from in the photograph, and how brightly it is lit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require

Floats = NDArray[np.float32]

_SHADE_STEP = 4  # shading is smooth: it is worked out for every fourth pixel
SUBPIXEL = 4
"""Fractional bits of a corner's place."""


def fixed(points: Floats) -> NDArray[np.int32]:
    """Pixels as OpenCV takes them with ``SUBPIXEL`` fractional bits."""
    return np.rint(points * (1 << SUBPIXEL)).astype(np.int32)


def polygon(corners: Floats, size: tuple[int, ...]) -> Floats:
    """Mask ``(H, W)`` in [0, 1] of what lies within some corners ``(N, 2)``, antialiased."""
    cv2 = require("cv2", "Drawing a mesh", "opencv-python")
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [fixed(corners)], 255, cv2.LINE_AA, SUBPIXEL)
    return mask.astype(np.float32) / 255


def rasterize(points: Floats, triangles: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """The triangle that is seen at each pixel.

    Args:
        points: ``(V, 3)`` pixels: x right, y down, z away from the camera.
        triangles: ``(F, 3)`` vertex numbers.
        size: Height and width.

    Returns:
        ``(H, W)`` triangle numbers, -1 where none is.
    """
    cv2 = require("cv2", "Drawing a mesh", "opencv-python")
    canvas = np.full(size, -1.0, np.float32)
    # Painter's algorithm: what is nearer goes over what is further away.
    order = np.argsort(-points[:, 2][triangles].mean(1), kind="stable")
    corners = fixed(points[:, :2])[triangles]
    for number in order.tolist():
        cv2.fillConvexPoly(canvas, corners[number], float(number), cv2.LINE_8, SUBPIXEL)
    return canvas.astype(np.int32)


def affine_maps(points: Floats, values: Floats, triangles: NDArray[np.int32]) -> Floats:
    """For each triangle the affine function of a pixel that takes given values at its corners.

    Args:
        points: ``(V, 2)`` pixels.
        values: ``(V, C)`` at the vertices.
        triangles: ``(F, 3)`` vertex numbers.

    Returns:
        ``(F, C, 3)``: the value at (x, y) is ``map @ (x, y, 1)``; that of a triangle without area is constant.
    """
    corner = points.astype(np.float64)[triangles]
    edges = corner[:, 1:] - corner[:, :1]
    steps = values.astype(np.float64)[triangles]
    rises = steps[:, 1:] - steps[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    sound = np.abs(area) > 1e-6
    inverse = np.zeros((len(triangles), 2, 2))
    adjugate = np.stack(
        [np.stack([edges[:, 1, 1], -edges[:, 0, 1]], -1), np.stack([-edges[:, 1, 0], edges[:, 0, 0]], -1)], 1
    )
    inverse[sound] = adjugate[sound] / area[sound, None, None]
    slope = (inverse @ rises).transpose(0, 2, 1)
    offset = steps[:, 0] - np.einsum("fcd,fd->fc", slope, corner[:, 0])
    return np.concatenate([slope, offset[..., None]], axis=-1).astype(np.float32)


def interpolate(maps: Floats, seen: NDArray[np.int32], step: int = 1) -> Floats:
    """Evaluates :func:`affine_maps` at every ``step``-th pixel of what :func:`rasterize` has seen: ``(H, W, C)``."""
    seen = seen[::step, ::step]
    height, width = seen.shape
    rows = np.arange(height, dtype=np.float32)[:, None] * step
    columns = np.arange(width, dtype=np.float32)[None, :] * step
    chosen = maps[np.maximum(seen, 0)]
    values = np.empty((height, width, maps.shape[1]), np.float32)
    for c in range(maps.shape[1]):
        values[..., c] = chosen[..., c, 0] * columns + chosen[..., c, 1] * rows + chosen[..., c, 2]
    return values


def vertex_normals(shape: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Unit normals ``(V, 3)`` towards positive z, each the mean of its triangles' weighted by their areas."""
    a, b, c = (shape[triangles[:, i]].astype(np.float64) for i in range(3))
    normals = np.cross(b - a, c - a)
    normals *= np.where(normals[:, 2:] < 0, -1.0, 1.0)
    total = np.zeros((len(shape), 3))
    for corner in range(3):
        np.add.at(total, triangles[:, corner], normals)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), [0.0, 0.0, 1.0]).astype(np.float32)


class MeshRenderer:
    """Draws one texture on a mesh whose vertices move.

    Args:
        image: ``(H, W, C)`` float texture, up to 4 channels; what its top left corner shows is shown off the mesh.
        texture: ``(V, 2)`` where each vertex lies in it, in its pixels.
        triangles: ``(F, 3)`` vertex numbers.
        size: Height and width of the pictures.
    """

    def __init__(self, image: Floats, texture: Floats, triangles: NDArray[np.int32], size: tuple[int, int]) -> None:
        self.image, self.texture, self.size = image, texture, size
        self.triangles = triangles[_shows(image, texture[triangles])]

    def draw(self, points: Floats, light: Floats) -> tuple[Floats, Floats]:
        """One picture.

        Args:
            points: ``(V, 3)`` vertices in pixels of the picture, z away from the camera.
            light: ``(V,)`` brightness of each vertex; 1 leaves the texture as it is.

        Returns:
            The texture in place ``(H, W, C)``, not yet lit, and the light ``(H, W)``.
        """
        cv2: Any = require("cv2", "Drawing a mesh", "opencv-python")
        seen = rasterize(points, self.triangles, self.size)
        place = interpolate(affine_maps(points[:, :2], self.texture, self.triangles), seen)
        place[seen < 0] = -1e4  # off the mesh: the texture's corner
        picture = cv2.remap(self.image, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        coarse = interpolate(affine_maps(points[:, :2], light[:, None], self.triangles), seen, _SHADE_STEP)[..., 0]
        coarse = cv2.GaussianBlur(np.clip(coarse, 0.2, 3.0), (0, 0), 2.0)
        return picture.reshape(*self.size, -1), cv2.resize(coarse, self.size[::-1], interpolation=cv2.INTER_LINEAR)


def _shows(image: Floats, corners: Floats) -> NDArray[np.bool_]:
    """Which triangles ``(F, 3, 2)`` show, or may show, anything else than the image's top left corner does."""
    cv2: Any = require("cv2", "Drawing a mesh", "opencv-python")
    content = (image != image[0, 0]).any(-1).astype(np.uint8)
    total = cv2.integral(content)  # of the rows above and the columns to the left
    low = np.clip(np.floor(corners.min(1)).astype(int) - 2, 0, content.shape[::-1])
    high = np.clip(np.ceil(corners.max(1)).astype(int) + 3, 0, content.shape[::-1])
    (left, top), (right, bottom) = low.T, high.T
    return np.asarray(total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left] > 0)

"""Manipulations of a talking head, each a pure function: of the face's displacements over time, or of pixels.

Displacements are ``(T, V, 3)`` arrays in the face frame (interocular distances), as `mediakit.synthetic.actors` gives
them; weights of a region are ``(V,)`` in [0, 1] with soft edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.mesh import LIP_ROWS, MIRROR, N_POINTS, eye_rows
from mediakit.synthetic.face_shapes import smoothstep

Floats = NDArray[np.float64]

TRAJECTORY_KINDS = ("region_lag", "expression_swap", "jitter", "oversmooth", "contour_slide")
"""Manipulations of how the face moves."""
PIXEL_KINDS = ("face_blend", "reenactment")
"""Manipulations of the picture, as face swapping and reenactment make them; they never occur outside the test split."""

# Around the inner face: over the brows, down the cheeks, under the lower lip's chin.
_INNER = (9, 107, 66, 105, 63, 70, 139, 143, 116, 123, 147, 192, 214, 210, 211, 32, 208, 199)
_LOWER = (2, 98, 203, 206, 216, 212, 202, 204, 194, 201, 200)
_OUTLINES = {"inner": _INNER, "lower": _LOWER}


def region(shape: Floats, name: str) -> Floats:
    """Soft weights ``(V,)`` of a part: ``inner`` (brows to chin), ``lower`` (mouth) or ``upper`` face (brows, eyes).

    Raises:
        ValueError: There is no such region.
    """
    mouth, eyes, nose = shape[[61, 291]].mean(0), shape[[33, 263]].mean(0), shape[1]
    away = {
        "inner": (shape - nose) / [0.62, 0.85, np.inf],
        "lower": (shape - mouth) / [0.6, 0.5, np.inf],
        "upper": (shape - eyes) / [0.85, 0.38, np.inf],
    }
    if name not in away:
        raise ValueError(f"region must be one of {', '.join(away)}, got {name!r}")
    weights = 1 - smoothstep((np.linalg.norm(away[name], axis=1) - 0.8) / 0.4)
    weights[N_POINTS:] = 0
    return np.asarray(weights)


def lag(offsets: Floats, weights: Floats, frames: float) -> Floats:
    """Lets a region come late by a number of frames, not necessarily whole: the rest stays in time."""
    time = np.arange(len(offsets))
    then = np.clip(time - frames, 0, len(offsets) - 1)
    before = np.floor(then).astype(int)
    after = np.minimum(before + 1, len(offsets) - 1)
    share = (then - before)[:, None, None]
    late = (1 - share) * offsets[before] + share * offsets[after]
    return offsets + weights[:, None] * (late - offsets)


def jitter(offsets: Floats, shape: Floats, weights: Floats, size: float, draw: np.random.Generator) -> Floats:
    """Adds an error to a region that is new in every frame and smooth over the face, of rms ``size``."""
    centres = shape[:N_POINTS][draw.integers(0, 468, 8)]
    away = ((shape[:, None] - centres) ** 2)[..., :2].sum(-1)
    bumps = np.exp(-away / (2 * 0.25**2)) * weights[:, None]
    bumps /= np.sqrt((bumps[weights > 0.5] ** 2).sum(1).mean())
    noise = draw.standard_normal((len(offsets), 8, 3)) * [1, 1, 0.5]
    return offsets + size * np.einsum("vk,tkc->tvc", bumps, noise)


def oversmooth(offsets: Floats, weights: Floats, frames: float) -> Floats:
    """Low-passes a region in time with a Gaussian of standard deviation ``frames``: quick movements are lost."""
    ndimage = require("scipy.ndimage", "A manipulated twin", "scipy")
    smooth = ndimage.gaussian_filter1d(offsets, frames, axis=0, mode="nearest")
    return np.asarray(offsets + weights[:, None] * (smooth - offsets))


def slide(offsets: Floats, shape: Floats, weights: Floats, drift: Floats) -> Floats:
    """Lets the inner face drift against its outline.

    Args:
        offsets: ``(T, V, 3)``.
        shape: ``(V, 3)`` resting face.
        weights: ``(V,)`` of the inner face.
        drift: ``(T, 4)``: shifts to image-right and up, angle in radians, log of the size.
    """
    arm = (shape - shape[1])[None, :, :2]
    turn, growth = drift[:, None, 2:3], np.expm1(drift[:, None, 3:4])
    extra = drift[:, None, :2] + growth * arm + turn * np.concatenate([-arm[..., 1:], arm[..., :1]], axis=-1)
    return offsets + weights[:, None] * np.concatenate([extra, np.zeros_like(extra[..., :1])], axis=-1)


def face_mask(points: Floats, size: tuple[int, int], name: str, feather: float) -> NDArray[np.float32]:
    """Mask ``(H, W)`` in [0, 1] of the ``inner`` or ``lower`` face with soft edges.

    Args:
        points: ``(V, 3)`` pixels, the first 478 those of the face mesh.
        size: Height and width.
        name: Part of the face.
        feather: Width of the soft edge in pixels.
    """
    cv2 = require("cv2", "A manipulated twin", "opencv-python")
    right = _OUTLINES[name]
    outline = points[[*right, *(MIRROR[i] for i in right[::-1])], :2]
    mask = np.zeros(size, np.float32)
    cv2.fillPoly(mask, [cv2.convexHull(np.rint(outline).astype(np.int32))], 1.0)
    mask = cv2.erode(mask, np.ones((3, 3)), iterations=max(1, round(feather / 2)))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), feather / 2))


def without_features(mask: NDArray[np.float32], *faces: Floats) -> NDArray[np.float32]:
    """A mask ``(H, W)`` less the eyes and mouths of some faces ``(V, 3)``: what is left of a face's mask is skin."""
    cv2 = require("cv2", "A manipulated twin", "opencv-python")
    skin = mask.copy()
    for points in faces:
        for upper, lower in (*eye_rows(), LIP_ROWS[0]):
            cv2.fillPoly(skin, [cv2.convexHull(np.rint(points[[*upper, *lower], :2]).astype(np.int32))], 0.0)
    return skin


def blend(
    target: NDArray[np.float32],
    source: NDArray[np.float32],
    mask: NDArray[np.float32],
    sample: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Puts the masked part of one picture into another after matching its colours to what it covers.

    Mean and standard deviation of each Lab channel are made those of the target (Reinhard et al., "Color Transfer
    between Images", 2001), as face swapping programs do; contrast is raised by a fifth at the most.

    Args:
        target: ``(H, W, 3)`` in [0, 1].
        source: The same size.
        mask: ``(H, W)`` in [0, 1], 1 where the source is to be seen.
        sample: Mask of the pixels whose colours are matched, such as skin; ``mask`` if None.
    """
    cv2 = require("cv2", "A manipulated twin", "opencv-python")
    here, there = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB) for picture in (target, source))
    inside = (mask if sample is None else sample) > 0.5
    if not inside.any():
        return target
    mean, std = there[inside].mean(0), there[inside].std(0) + 1e-3
    matched = (there - mean) * np.clip(here[inside].std(0) / std, 0.7, 1.2) + here[inside].mean(0)
    coloured = np.clip(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)
    return np.asarray(target + mask[..., None] * (coloured - target), np.float32)


def misalign(picture: NDArray[np.float32], points: Floats, error: Floats, share: float) -> NDArray[np.float32]:
    """Draws a face as a generator does that works on a small aligned crop: a little off, and less sharp.

    Args:
        picture: ``(H, W, 3)``.
        points: ``(V, 3)`` pixels of the face.
        error: ``(4,)``: pixels to the right and down, angle in degrees, log of the size.
        share: Resolution of the crop over that of the picture, at most 1.
    """
    cv2 = require("cv2", "A manipulated twin", "opencv-python")
    height, width = picture.shape[:2]
    if share < 1:
        small = cv2.resize(picture, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    middle = points[1, :2]
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), float(error[2]), float(np.exp(error[3])))
    matrix[:, 2] += error[:2]
    warped = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(warped, 0, 1))

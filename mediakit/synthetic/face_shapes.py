"""What makes a face move and what makes it another face: linear displacements of the head's mesh.

Shapes are in the face frame (interocular distances; x image-right, y up, z to the camera). *Left* and *right* are the
subject's. Each displacement is smooth over the skin, so that the photograph bends and does not tear, save between the
lips, where a mouth opens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.mesh import LIP_ROWS, MIRROR, N_POINTS, SEMANTIC_GROUPS, eye_rows

Floats = NDArray[Any]

EXPRESSIONS = ("jaw", "closure", "width", "smile", "right_brow", "left_brow", "right_lid", "left_lid")
"""Columns of a performance's expression: 0 is the photograph.

``jaw``: 1 turns the lower jaw down by 14 degrees; ``closure``: 1 brings the lips of the photograph's open smile
together; ``width``: 1 spreads the mouth by a fifth, -1 purses it; ``smile``: 1 draws the corners up by .1 interocular
distances; ``*_brow``: 1 raises by .08; ``*_lid``: 1 closes the eye.
"""

IDENTITY = (
    "width",
    "length",
    "jaw_width",
    "chin",
    "nose_width",
    "nose_length",
    "eye_size",
    "eye_distance",
    "lips",
    "brows",
    "cheeks",
    "relief",
)
"""What :func:`identity_basis` varies; 1 is a strong but possible deviation."""

_JAW = np.radians(14.0)
_BROWS = SEMANTIC_GROUPS["brows"]
_RIGHT_BROW, _LEFT_BROW = _BROWS[:5], _BROWS[5:]
# Skin above the eye, from the lid outwards, with how much of the lid's way it goes.
_LID_SKIN = (((247, 30, 29, 27, 28, 56, 190), 0.45), ((113, 225, 224, 223, 222, 221, 189), 0.12))


def expression_basis(shape: Floats) -> Floats:
    """Displacements of a head's vertices at 1 of each of `EXPRESSIONS`.

    Args:
        shape: ``(V, 3)`` vertices, the first 478 those of the face mesh.

    Returns:
        ``(8, V, 3)``: the face is ``shape + weights @ basis``.
    """
    shape = np.asarray(shape, np.float64)
    basis = np.zeros((len(EXPRESSIONS), *shape.shape))
    mouth, corners = _mouth(shape)
    half = float(np.linalg.norm(corners[1] - corners[0]) / 2)
    basis[0] = _jaw(shape, mouth, half)
    basis[1] = _closure(shape)
    near = _bump(shape, [mouth], 0.42)[:, None]
    basis[2] = 0.2 * near * (shape - mouth) * [1, 0, 0]
    basis[2] -= 0.05 * _bump(shape, [mouth], 0.3)[:, None] * [0, 0, 1]
    for corner, side in zip(corners, (-1, 1), strict=True):
        basis[3] += _bump(shape, [corner], 0.24)[:, None] * [0.06 * side, 0.1, -0.02]
    # Above the lids only, and not far up: most of the forehead counts as rigid.
    lids = [shape[list(upper)].mean(0) for upper, _ in eye_rows()]
    for row, (brow, lid) in enumerate(zip((_RIGHT_BROW, _LEFT_BROW), lids, strict=True), start=4):
        above = smoothstep((shape[:, 1] - lid[1] - 0.04) / 0.12)
        basis[row] = (_bump(shape, shape[list(brow)], 0.13) * above)[:, None] * [0, 0.08, 0]
    for row, (upper, lower) in enumerate(eye_rows(), start=6):
        basis[row] = _lid(shape, upper, lower)
    return basis


def _mouth(shape: Floats) -> tuple[Floats, Floats]:
    corners = shape[[61, 291]]
    return corners.mean(0), corners


def _jaw(shape: Floats, mouth: Floats, half: float) -> Floats:
    """Rotation of what hangs on the lower jaw about the axis through the ears."""
    hinge = shape[[234, 454]].mean(0)
    arm = shape - hinge
    turn = _JAW * np.stack([np.zeros(len(arm)), -arm[:, 2], arm[:, 1]], axis=1)
    chin = shape[152, 1]
    depth = (mouth[1] - shape[:, 1]) / (mouth[1] - chin)
    weight = smoothstep(depth / 0.4)
    across = np.abs(shape[:, 0] - mouth[0]) / half
    for upper, lower in LIP_ROWS:
        weight[list(upper)] = 0.0
        weight[list(lower)] = 0.22 + 0.78 * np.sqrt(np.clip(1 - across[list(lower)] ** 2, 0, 1))
    # Below the chin the skin of the neck lags behind, and the collar stays.
    below = (chin - shape[:, 1]) / 0.35
    weight *= np.where(below > 0, 1 - smoothstep(below), 1.0)
    weight *= shape[:, 2] > hinge[2] - 0.9
    weight[N_POINTS:] *= _bump(shape[N_POINTS:], [shape[152]], 0.6)
    return turn * weight[:, None]


def _closure(shape: Floats) -> Floats:
    """Moves the inner rims of the lips to the line midway between them; the rings further out go less of the way."""
    move = np.zeros_like(shape)
    inner_upper, inner_lower = (shape[list(row)] for row in LIP_ROWS[-1])
    gap = (inner_upper - inner_lower) * [0, 1, 1]
    for (upper, lower), share in zip(LIP_ROWS, (0.45, 0.6, 0.8, 1.0), strict=True):
        # The lower lip does most of the closing.
        move[list(upper)] = -0.35 * share * gap
        move[list(lower)] = 0.65 * share * gap
    lips = {i for pair in LIP_ROWS for row in pair for i in row}
    skin = np.array([i not in lips for i in range(len(shape))])
    middle = shape[[0, 17]]
    for spot, sign in zip(middle, (-1, 1), strict=True):
        share = _bump(shape, [spot], 0.16) * skin * (0.12 if sign < 0 else 0.26)
        move += share[:, None] * [0, sign * np.abs(gap[5, 1]), 0]
    return move


def _lid(shape: Floats, upper: tuple[int, ...], lower: tuple[int, ...]) -> Floats:
    move = np.zeros_like(shape)
    gap = shape[list(lower)] - shape[list(upper)]
    move[list(upper)] = 0.88 * gap
    move[list(lower)] = -0.1 * gap
    for skin, share in _LID_SKIN:
        side = list(skin) if upper[0] == 33 else [MIRROR[i] for i in skin]
        move[side] = share * 0.88 * gap[1:-1]
    return move


def identity_basis(shape: Floats) -> Floats:
    """Displacements of a head's vertices at 1 of each of `IDENTITY`.

    Args:
        shape: ``(V, 3)`` vertices, the first 478 those of the face mesh.

    Returns:
        ``(12, V, 3)``: another person's face is ``shape + weights @ basis``.
    """
    shape = np.asarray(shape, np.float64)
    mouth, _ = _mouth(shape)
    nose, chin = shape[1], shape[152]
    eyes = [shape[[i, j]].mean(0) for i, j in ((33, 133), (263, 362))]
    x, y, z = shape.T
    zero = np.zeros_like(x)
    head = _bump(shape, [shape[168]], 2.2)
    lower = smoothstep((nose[1] - y) / (nose[1] - chin[1]))
    tip = _bump(shape, [nose], 0.2)
    lids = sum(_bump(shape, [eye], 0.2)[:, None] * (shape - eye) * [0.6, 1, 0] for eye in eyes)
    apart = sum(_bump(shape, [eye], 0.3) * np.sign(eye[0]) for eye in eyes)
    lips = _bump(shape, [mouth], 0.2)
    brows = _bump(shape, shape[list(_BROWS)], 0.16) * smoothstep((y - eyes[0][1] - 0.06) / 0.1)
    cheeks = sum(_bump(shape, [shape[i]], 0.3) * np.sign(shape[i, 0]) for i in (50, 280))
    rows = {
        "width": (0.09 * x * head, zero, zero),
        "length": (zero, 0.08 * (y - shape[168, 1]) * head, zero),
        "jaw_width": (0.13 * x * lower * head, zero, zero),
        "chin": (zero, -0.12 * _bump(shape, [chin], 0.34) * lower, zero),
        "nose_width": (0.3 * (x - nose[0]) * tip, zero, zero),
        "nose_length": (zero, -0.08 * tip, 0.05 * tip),
        "eye_size": tuple(0.16 * lids.T),
        "eye_distance": (0.045 * apart, zero, zero),
        "lips": (zero, 0.3 * (y - mouth[1]) * lips, zero),
        "brows": (zero, 0.06 * brows, zero),
        "cheeks": (0.06 * cheeks, zero, 0.03 * np.abs(cheeks)),
        "relief": (zero, zero, 0.12 * (z - shape[[234, 454], 2].mean()) * head),
    }
    return np.stack([np.stack(rows[name], axis=1) for name in IDENTITY])


def _bump(shape: Floats, centres: Iterable[Floats], radius: float) -> Floats:
    """1 at the nearest of some centres, falling off as a Gaussian over the face's plane: ``(V,)``."""
    away = np.stack([((shape - centre) ** 2)[:, :2].sum(1) for centre in centres]).min(0)
    return np.exp(-away / (2 * radius**2))


def smoothstep(x: Floats) -> Floats:
    """0 up to 0, 1 from 1 on, and ``3 x² - 2 x³`` between, without a kink."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)

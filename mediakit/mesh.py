"""Anatomy of MediaPipe's 478-point face mesh: which index is what, and which one is its mirror image.

*Right* and *left* are the subject's; the right half of a face is at image-left in a frontal view.
"""

from __future__ import annotations

N_POINTS = 478
"""Points of the mesh: 468 of the surface, then 5 of the right iris and 5 of the left one."""

MIDLINE = (0, 1, 2, *range(4, 7), *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
"""Points on the plane of symmetry."""


def _mirror() -> tuple[int, ...]:
    # The mesh numbers its right half and then, in the same order, its left half, the midline among the former.
    # An iris is its centre, then right, top, left and bottom in the image.
    right = [i for i in range(248) if i not in MIDLINE] + [468, 469, 470, 471, 472]
    left = [*range(248, 468), 473, 476, 475, 474, 477]
    partner = dict(zip(right + left, left + right, strict=True))
    return tuple(partner.get(i, i) for i in range(N_POINTS))


MIRROR = _mirror()
"""Index of each point's mirror image: ``points[..., MIRROR, :]`` with x negated is the face seen in a mirror."""


def _both(*right: int) -> tuple[int, ...]:
    return (*right, *(MIRROR[i] for i in right))


EYE_CORNERS = (33, 263)
"""Outer eye corners, right and left."""

RIGID = (
    *(10, 151, 9, 8, *_both(109, 67, 103, 54, 108, 69, 104)),  # forehead
    *(168, 6, 197, 195, *_both(193, 122, 196)),  # bridge of the nose
    *_both(21, 162, 127, 234),  # temples
    *_both(33, 133),  # eye corners
)
"""Points that hardly move with expression: forehead, bridge of the nose, temples, eye corners."""

SEMANTIC_GROUPS: dict[str, tuple[int, ...]] = {
    "brows": _both(70, 63, 105, 66, 107),
    "eyes": _both(33, 160, 159, 158, 133, 153, 145, 144),
    "nose": (168, 6, 197, 195, 5, 4, 1, 2, 94, *_both(98, 64)),
    "lips": (0, 17, 13, 14, *_both(61, 40, 37, 91, 84), *_both(78, 81, 178)),
    "jaw": (152, *_both(234, 93, 132, 58, 172, 136, 150, 176)),
    "irises": _both(468, 469, 470, 471, 472),
}
"""10 brow, 16 eye, 13 nose, 20 lip (12 outer, 8 inner), 17 jaw and 10 iris points."""

SEMANTIC = tuple(i for group in SEMANTIC_GROUPS.values() for i in group)
"""The 86 points that carry meaning, group after group; closed under :data:`MIRROR`."""

KEYPOINTS = tuple(sorted({*SEMANTIC, *RIGID, 82, 312, 87, 317}))
"""The points that pose, expression and its scalars are read from; the last four are inner lips."""

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Outline of the face: from the forehead clockwise in the image of a frontal face, over the chin and back."""

LIP_ROWS = (
    ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)),
    ((76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306), (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306)),
    ((62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292), (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292)),
    ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)),
)
"""Rings of the lips from the outside in, each as its upper and its lower row from corner to corner; points of equal
place lie one above the other."""

RIGHT_EYE_ROWS = (33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)
"""Upper and lower lid of the right eye from the outer corner to the inner one, point above point."""


def eye_rows() -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Upper and lower lid of the right and of the left eye, from the outer corner to the inner one."""
    upper, lower = RIGHT_EYE_ROWS
    return RIGHT_EYE_ROWS, (tuple(MIRROR[i] for i in upper), tuple(MIRROR[i] for i in lower))


def outline(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[int]:
    """The closed outline of an eye or a mouth, out of two rows that share both ends."""
    return [*upper, *lower[-2:0:-1]]

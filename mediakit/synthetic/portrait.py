"""The one photograph behind all talking heads, with what is known about it: landmarks, matte, a mesh to bend it by.

It is Eileen Collins's official portrait (NASA, public domain), as scikit-image ships it. Landmarks and masks were found
once by ``scripts/make_portrait.py`` and lie beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit import motion
from mediakit.errors import require
from mediakit.io import read_image
from mediakit.mesh import MIRROR, N_POINTS, OVAL, eye_rows
from mediakit.synthetic.face_shapes import smoothstep

Floats = NDArray[np.float32]

ENLARGED = 2
"""The photograph's pixels are drawn from a copy this many times its size, so that turning it loses no detail."""

_WINDOW = (50, 0, 350)  # left, top and side of the part of the photograph that is used
_LINING = (172, 275)  # rows of the photograph between which the collar's pale lining is
_RINGS = (1.18, 1.42, 1.75, 2.2, 2.8)  # of anchors around the face, in radii of its outline
_BODY = (0.05, 0.85)  # how far below the chin, in interocular distances, the head's motion begins and ends to fade


@dataclass(frozen=True, eq=False)
class Portrait:
    """A photograph cut loose from its background, and a mesh over it.

    The mesh has 478 face points and, around them, anchors that carry hair, neck and shoulders. Shapes are in the face
    frame of `mediakit.motion`: units of the interocular distance, x image-right, y up, z to the camera.

    Attributes:
        image: Colours ``(H, W, 3)`` in [0, 1], `ENLARGED` times the photograph's size; beyond the matte they are those
            of the nearest part of the person, so that edges keep no trace of the old background.
        matte: ``(H, W)`` in [0, 1], 1 where the person is.
        hair: ``(H, W)`` in [0, 1].
        suit: ``(H, W)`` in [0, 1].
        texture: Where each vertex lies in the image, ``(V, 2)`` pixels.
        shape: Each vertex in the face frame, ``(V, 3)``.
        follows: How much of the head's motion each vertex follows, ``(V,)``: 1 for the head, 0 for the body.
        triangles: ``(F, 3)`` vertex numbers; the opening between the lips is left out.
        pose: The head's pose in the photograph, in pixels of ``image``, in double precision.
    """

    image: Floats
    matte: Floats
    hair: Floats
    suit: Floats
    texture: Floats
    shape: Floats
    follows: Floats
    triangles: NDArray[np.int32]
    pose: motion.Similarity


@lru_cache(maxsize=2)
def load_portrait(mirrored: bool = False) -> Portrait:
    """The photograph, or its mirror image.

    Raises:
        MissingPackageError: scikit-image, SciPy or OpenCV is not installed.
    """
    cv2 = require("cv2", "A talking head", "opencv-python")
    left, top, side = _WINDOW
    view = (slice(top, top + side), slice(left, left + side))
    here = Path(__file__).parent
    stored = require("safetensors.torch", "A talking head").load_file(here / "portrait.safetensors")
    image = require("skimage.data", "A talking head", "scikit-image").astronaut()[view]
    masks = read_image(here / "portrait.png").permute(1, 2, 0).numpy()[view]
    points = (stored["points"].double() - torch.tensor([left, top, 0.0])) * ENLARGED
    triangles = [*map(tuple, stored["triangles"].tolist())]
    if mirrored:
        image, masks = image[:, ::-1], masks[:, ::-1]
        points = points[list(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([ENLARGED * side - 1.0, 0.0, 0.0])

    def enlarge(picture: NDArray[np.uint8]) -> Floats:
        large = cv2.resize(
            picture.astype(np.float32) / 255, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC
        )
        return np.clip(large, 0, 1)

    image, masks = enlarge(np.ascontiguousarray(image)), enlarge(np.ascontiguousarray(masks))
    image = _dim_lining(image, [(row - top) * ENLARGED for row in _LINING])
    matte, hair = _trim(masks[..., 0], masks[..., 1]), masks[..., 1]
    spread = _spread(np.dstack([image, masks[..., 2]]), matte, hair)
    pose = motion.Similarity(*(part[0] for part in motion.head_pose(points[None], motion.face_template(points[None]))))
    face = pose.invert(motion.to_face_frame(points)).numpy()
    anchors, spots, follows = _anchors(points.numpy(), face, pose)
    texture = np.concatenate([points[:, :2].numpy(), spots])
    triangles += [triangle for row in eye_rows() for triangle in _strip(*row)]
    triangles += _around(texture, list(OVAL))
    return Portrait(
        image=spread[..., :3],
        matte=matte,
        hair=hair,
        suit=spread[..., 3],
        texture=texture.astype(np.float32),
        shape=np.concatenate([face, anchors]).astype(np.float32),
        follows=np.concatenate([np.ones(N_POINTS), follows]).astype(np.float32),
        triangles=np.array(triangles, np.int32),
        pose=pose,
    )


def _dim_lining(image: Floats, rows: list[int]) -> Floats:
    """Darkens the crumpled lining of the collar, in which FaceMesh now and then sees a second face."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    part = image[slice(*rows)]
    cool = np.clip((0.06 - (part[..., 0] - part[..., 2])) / 0.06, 0, 1)  # skin is warm
    pale = np.clip((part.mean(-1) - 0.2) / 0.15, 0, 1) * cool
    pale = cv2.GaussianBlur(pale.astype(np.float32), (0, 0), 1.5 * ENLARGED)
    result = image.copy()
    result[slice(*rows)] *= 1 - 0.6 * pale[..., None]
    return result


def _anchors(points: Floats, face: Floats, pose: motion.Similarity) -> tuple[Floats, Floats, Floats]:
    """Vertices around the face: their place in the face frame, in the picture, and how much they follow the head."""
    oval = points[list(OVAL), :2]
    centre = (oval.min(0) + oval.max(0)) / 2
    spots = np.concatenate([centre + k * (oval - centre) for k in _RINGS])
    # Hair and ears lie behind the outline of the face, the further out the further back.
    rim = np.concatenate([face[list(OVAL), 2] - 0.55 * (k - 1) for k in _RINGS])
    limit = ENLARGED * _WINDOW[2] - 1
    edge = np.linspace(0, limit, 9)[:-1]
    border = np.concatenate([[(x, 0), (limit, x), (limit - x, limit), (0, limit - x)] for x in edge])
    keep = ((spots > 4) & (spots < limit - 4)).all(1)
    spots, depth = np.concatenate([spots[keep], border]), np.concatenate([rim[keep], np.full(len(border), rim.min())])
    flat = np.concatenate([spots, np.zeros((len(spots), 1))], axis=1)
    anchors = pose.invert(motion.to_face_frame(torch.from_numpy(flat))).numpy()
    # The picture fixes x and y only: walk along the line of sight to the wanted depth.
    sight = pose.rotation.numpy()[2]  # the camera's axis in the face frame
    anchors += sight * ((depth - anchors[:, 2]) / sight[2])[:, None]
    below = face[152, 1] - anchors[:, 1]
    follows = np.asarray(1 - smoothstep((below - _BODY[0]) / (_BODY[1] - _BODY[0])), np.float32)
    return anchors, spots, follows


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles between two rows of points that share both ends."""
    quads = zip(upper[:-1], upper[1:], lower[:-1], lower[1:], strict=True)
    both = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (b, d, c))]
    return [triangle for triangle in both if len(set(triangle)) == 3]


def _around(texture: Floats, ring: list[int]) -> list[tuple[int, int, int]]:
    """Triangles over everything outside the face."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    spatial = require("scipy.spatial", "A talking head", "scipy")
    numbers = np.array([*ring, *range(N_POINTS, len(texture))])
    outline = texture[ring].astype(np.float32)
    found = []
    for triangle in numbers[spatial.Delaunay(texture[numbers]).simplices]:
        x, y = texture[triangle].mean(0)
        if cv2.pointPolygonTest(outline, (float(x), float(y)), False) < 0:
            found.append(tuple(sorted(triangle.tolist())))
    return sorted(found)


def _trim(matte: Floats, hair: Floats) -> Floats:
    """Makes the outline of skin and clothes smooth and sharp, as a camera sees it; that of hair stays."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    sharp = np.clip((cv2.GaussianBlur(matte, (0, 0), 1.5 * ENLARGED) - 0.55) * 2.4 + 0.5, 0, 1)
    curly = np.clip(4 * cv2.GaussianBlur(hair, (0, 0), 2.0 * ENLARGED), 0, 1)
    return np.asarray(sharp + curly * (matte - sharp), np.float32)


def _spread(image: Floats, matte: Floats, hair: Floats) -> Floats:
    """Replaces the colours around the person, and along the outline, by those inside: ``(H, W, C)``."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    inside = (matte > 0.97).astype(np.float32)
    rows = np.arange(len(matte))[:, None]
    # Clothes took some of the old background's light along their outline.
    inside = np.where(rows > 200 * ENLARGED, cv2.erode(inside, np.ones((13, 13))), cv2.erode(inside, np.ones((5, 5))))
    result, known = image * inside[..., None], inside
    for sigma in (2.0, 4.0, 8.0, 32.0):
        blurred, weight = (cv2.GaussianBlur(x, (0, 0), sigma) for x in (image * inside[..., None], inside))
        guess = blurred / np.maximum(weight, 1e-6)[..., None]
        new = (known == 0) & (weight > 0.02)
        result, known = np.where(new[..., None], guess, result), np.where(new, 1, known)
    # In half transparent hair keep some of the photograph's own texture.
    soft = ((matte > 0.6) * np.minimum(matte, hair))[..., None]
    return (soft * image + (1 - soft) * result).astype(np.float32)

"""Actors: the photograph made another person, by the shape of the face, the colours, the light and the room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit import motion
from mediakit.errors import require
from mediakit.mesh import N_POINTS
from mediakit.synthetic.camera import expose
from mediakit.synthetic.colouring import recolour, room
from mediakit.synthetic.face_shapes import IDENTITY, expression_basis, identity_basis
from mediakit.synthetic.painting import Mouth, aperture, paint_lashes
from mediakit.synthetic.portrait import load_portrait
from mediakit.synthetic.rendering import MeshRenderer, vertex_normals

Floats = NDArray[Any]

_PIVOT = (0.0, -0.75, -0.85)  # of the head on the neck: below and behind the middle of the eyes, in the face frame


@dataclass(frozen=True)
class Identity:
    """What makes an actor, as plain numbers.

    Attributes:
        shape: Weights of `.IDENTITY`.
        mirrored: Whether the photograph is turned about.
        skin: Factors of red, green and blue.
        hair: Brightness factor, then shifts of Lab's a and b.
        lips: How much redder than the photograph's, 0 to 1.
        suit: Hue of the clothes in degrees (the photograph's own is 14).
        light: Azimuth (0 front, 90 image-right) and elevation of the key light in degrees, then its strength.
        tint: Factors of red, green and blue of the light.
        exposure: Brightness of the picture in stops.
        wall: Name of the photograph behind, or ``"wall"`` for a plain one, and four numbers that place it.
        zoom: Interocular distance over that of the photograph, before the size of the frame.
        smile: Resting value of `.EXPRESSIONS`' smile.
    """

    shape: tuple[float, ...]
    mirrored: bool
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    lips: float
    suit: float
    light: tuple[float, float, float]
    tint: tuple[float, float, float]
    exposure: float
    wall: tuple[str, float, float, float, float]
    zoom: float
    smile: float


def draw_identity(draw: np.random.Generator, walls: tuple[str, ...] = ("wall", "coffee", "rocket")) -> Identity:
    """A person drawn at random.

    Args:
        draw: Source of randomness.
        walls: Photographs of ``skimage.data`` (or ``"wall"``) to choose the background from.
    """
    shape = np.clip(draw.normal(0, 0.55, len(IDENTITY)), -1.1, 1.1)
    tone = draw.uniform(0.56, 0.94)  # one axis from dark to light skin, and a little of warm and cold
    warm = draw.normal(0.005, 0.012)
    skin = (tone**0.75 * (1 + warm), tone * 0.985, tone**1.15 * (1 - warm))
    azimuth = float(draw.uniform(25, 70) * draw.choice([-1, 1]))
    cold = draw.normal(0.005, 0.015)
    return Identity(
        shape=tuple(shape.round(4).tolist()),
        mirrored=bool(draw.random() < 0.5),
        skin=(round(skin[0], 4), round(skin[1], 4), round(skin[2], 4)),
        hair=(round(draw.uniform(0.35, 1.1), 4), round(draw.normal(6, 2), 3), round(draw.normal(0, 3), 3)),
        lips=round(draw.uniform(0.1, 0.6), 3),
        suit=round(draw.uniform(0, 360), 2),
        light=(round(azimuth, 2), round(draw.uniform(0, 45), 2), round(draw.uniform(0.12, 0.36), 4)),
        tint=(round(1 + cold, 4), 1.0, round(1 - cold, 4)),
        exposure=round(draw.uniform(-0.2, 0.1), 4),
        wall=(str(draw.choice(walls)), *draw.random(4).round(4).tolist()),
        zoom=round(draw.uniform(1.05, 1.25), 4),
        smile=round(draw.uniform(-0.75, -0.1), 4),
    )


class Actor:
    """A person who can be posed and photographed.

    Args:
        identity: Who it is.
        size: Height and width of the pictures; the face is scaled with the height.

    Attributes:
        shape: The resting face and its surroundings ``(V, 3)`` in the face frame, interocular distance 1.
        expressions: Displacements ``(8, V, 3)``; see `.EXPRESSIONS`.
        pose: The resting pose, in pixels of the pictures.
    """

    def __init__(self, identity: Identity, size: tuple[int, int] = (480, 480)) -> None:
        self.identity, self.size = identity, size
        portrait = load_portrait(identity.mirrored)
        shape = portrait.shape + np.tensordot(np.array(identity.shape), identity_basis(portrait.shape), 1)
        iod = np.linalg.norm(shape[263] - shape[33])
        self.shape = shape / iod
        self.expressions = expression_basis(self.shape)
        self.follows = portrait.follows
        side = portrait.image.shape[0]
        factor = size[0] / side * identity.zoom
        middle = torch.tensor([(side - 1) / 2, -(side - 1) / 2 * 0.94, 0.0])
        target = torch.tensor([(size[1] - 1) / 2, -(size[0] - 1) / 2, 0.0])
        scale, rotation, translation = portrait.pose
        self.pose = motion.Similarity(scale * factor, rotation, (translation - middle) * factor + target)
        # It stays where it rests, whatever the head does.
        self._body = self._place(self.shape, self.pose)
        self._triangles = portrait.triangles
        self._normals = vertex_normals(self.shape.astype(np.float32), portrait.triangles)
        tint = np.array(identity.tint, np.float32)
        image = recolour(portrait, identity.skin, identity.hair, identity.suit, identity.lips) * tint
        layers = np.dstack([image * portrait.matte[..., None], portrait.matte]).astype(np.float32)
        self._renderer = MeshRenderer(layers, portrait.texture, portrait.triangles, size)
        self._mouth, self._aperture = Mouth(portrait, tint), aperture(self.shape)
        self.background = room(identity.wall, size)

    @staticmethod
    def _place(shape: NDArray[Any], pose: motion.Similarity) -> NDArray[np.float64]:
        points = pose.apply(torch.from_numpy(np.asarray(shape, np.float64)))
        return motion.to_face_frame(points).numpy()

    def turned(self, angles: NDArray[Any], shift: NDArray[Any], zoom: float) -> motion.Similarity:
        """The head's pose after a movement from rest.

        Args:
            angles: ``(3,)`` degrees of pitch, yaw and roll, about a point in the neck.
            shift: ``(2,)`` interocular distances to image-right and up.
            zoom: Factor of the size.
        """
        scale, rotation, translation = self.pose
        new = motion.rotation_from_euler(torch.tensor(angles, dtype=torch.float64)) @ rotation
        held = (rotation - new) @ torch.tensor(_PIVOT, dtype=torch.float64)
        moved = torch.tensor([*shift, 0.0], dtype=torch.float64)
        return motion.Similarity(scale * zoom, new, translation + scale * (held + moved))

    def points(self, pose: motion.Similarity, offsets: NDArray[Any], sway: NDArray[Any]) -> NDArray[np.float64]:
        """Vertices of the mesh in one frame.

        Args:
            pose: Of the head, in pixels, double precision.
            offsets: ``(V, 3)`` displacements of the resting face, in the face frame.
            sway: ``(2,)`` interocular distances that the body has moved to image-right and up.

        Returns:
            ``(V, 3)`` pixels: x right, y down, z away from the camera.
        """
        head = self._place(self.shape + offsets, pose)
        body = self._body + float(self.pose.scale) * np.array([sway[0], -sway[1], 0.0])
        return np.asarray(body + self.follows[:, None] * (head - body), np.float64)

    def light(self, pose: motion.Similarity) -> Floats:
        """Brightness of each vertex ``(V,)`` under the actor's light, relative to the photograph's."""
        azimuth, elevation, strength = self.identity.light
        around, up = np.radians(azimuth), np.radians(elevation)
        towards = np.array([np.sin(around) * np.cos(up), np.sin(up), np.cos(around) * np.cos(up)])
        turned = self._normals @ pose.rotation.numpy().T
        lambert = np.maximum(turned @ towards, 0.0)
        return (1 + strength * (lambert - 0.62) * 1.6).astype(np.float32)

    def photograph(self, points: NDArray[np.float64], pose: motion.Similarity) -> Floats:
        """One picture: ``(H, W, 3)`` float in [0, 1], without noise."""
        return self.compose(*self.layers(points, pose))

    def layers(self, points: NDArray[np.float64], pose: motion.Similarity) -> tuple[Floats, Floats]:
        """The person alone: colours times matte ``(H, W, 3)``, and the matte ``(H, W)``."""
        cv2 = require("cv2", "A talking head", "opencv-python")
        picture, light = self._renderer.draw(points.astype(np.float32), self.light(pose))
        # OpenCV's way to broadcast one channel over others is several times faster than NumPy's.
        lit = cv2.multiply(picture, cv2.cvtColor(light, cv2.COLOR_GRAY2RGBA))
        person, alpha = cv2.cvtColor(lit, cv2.COLOR_RGBA2RGB), cv2.extractChannel(lit, 3)
        self._mouth.paint(person, alpha, points, self._place(self.shape[:N_POINTS], pose), light)
        paint_lashes(person, points, self._aperture * float(pose.scale))
        return person, alpha

    def compose(self, person: Floats, alpha: Floats) -> Floats:
        """Puts a person in front of the background, and exposes the picture."""
        cv2 = require("cv2", "A talking head", "opencv-python")
        behind = cv2.multiply(self.background, cv2.cvtColor(1 - alpha, cv2.COLOR_GRAY2RGB))
        return expose(cv2.add(person, behind), self.identity.exposure)

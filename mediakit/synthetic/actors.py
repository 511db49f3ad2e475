"""Actors: the photograph made another person, by the shape of the face, the colours, the light and the room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit import motion
from mediakit.errors import require
from mediakit.mesh import LIP_ROWS, eye_rows
from mediakit.synthetic.face_shapes import IDENTITY, expression_basis, identity_basis
from mediakit.synthetic.portrait import ENLARGED, Portrait, load_portrait
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
    tone = draw.uniform(0.6, 1.04)  # one axis from dark to light skin, and a little of warm and cold
    warm = draw.normal(0, 0.015)
    skin = (tone**0.75 * (1 + warm), tone, tone**1.15 * (1 - warm))
    azimuth = draw.uniform(25, 70) * draw.choice([-1, 1])
    cold = draw.normal(0, 0.025)
    return Identity(
        shape=tuple(shape.round(4).tolist()),
        mirrored=bool(draw.random() < 0.5),
        skin=(round(skin[0], 4), round(skin[1], 4), round(skin[2], 4)),
        hair=(round(draw.uniform(0.35, 1.1), 4), round(draw.normal(4, 3), 3), round(draw.normal(1, 4), 3)),
        suit=round(draw.uniform(0, 360), 2),
        light=(round(azimuth, 2), round(draw.uniform(0, 45), 2), round(draw.uniform(0.12, 0.4), 4)),
        tint=(round(1 + cold, 4), 1.0, round(1 - cold, 4)),
        exposure=round(draw.uniform(-0.3, 0.1), 4),
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
        self.pose = motion.Similarity(scale * factor * float(iod), rotation, (translation - middle) * factor + target)
        # The body is where it was in the photograph: the identity changes the face alone.
        self._body = self._place(self.shape, self.pose)
        self._triangles = portrait.triangles
        self._normals = vertex_normals(self.shape.astype(np.float32), portrait.triangles)
        image = _recolour(portrait, identity)
        layers = np.dstack([image * portrait.matte[..., None], portrait.matte]).astype(np.float32)
        self._renderer = MeshRenderer(layers, portrait.texture, portrait.triangles, size)
        self._mouth, self._mouth_place = _mouth_interior(portrait), portrait.texture
        self.background = _background(identity, size)

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
        picture, light = self._renderer.draw(points.astype(np.float32), self.light(pose))
        alpha = np.clip(picture[..., 3], 0, 1)
        person = np.clip(picture[..., :3] * light[..., None], 0, None)
        self._paint_mouth(person, alpha, points, pose, light)
        self._paint_lashes(person, points)
        return person * np.array(self.identity.tint, np.float32), alpha

    def compose(self, person: Floats, alpha: Floats) -> Floats:
        """Puts a person in front of the background, and exposes the picture."""
        picture = person + (1 - alpha[..., None]) * self.background
        return np.clip(picture * 2.0**self.identity.exposure, 0, 1)

    def _paint_mouth(
        self, person: Floats, alpha: Floats, points: NDArray[np.float64], pose: motion.Similarity, light: Floats
    ) -> None:
        """Fills the opening between the lips: teeth that keep with the upper jaw, and the dark behind them."""
        cv2 = require("cv2", "A talking head", "opencv-python")
        upper, lower = (list(row) for row in LIP_ROWS[-1])
        outline = points[upper + lower[-2:0:-1], :2]
        low, high = np.floor(outline.min(0)).astype(int) - 3, np.ceil(outline.max(0)).astype(int) + 4
        low, high = np.maximum(low, 0), np.minimum(high, self.size[::-1])
        if (high <= low).any():
            return
        width, height = high - low
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.rint((outline - low) * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
        # The mesh is open here, so the whole opening is painted; its rim mixes with the lips.
        soft = np.maximum(cv2.GaussianBlur(mask, (0, 0), 0.8), mask)[..., None]
        # The skull's motion, as an affine map from picture to photograph fitted around the mouth.
        ring = [i for row in LIP_ROWS[0] for i in row]
        resting = self._place(self.shape[ring], pose)[:, :2] - low
        solution, *_ = np.linalg.lstsq(
            np.column_stack([resting, np.ones(len(ring))]), self._mouth_place[ring].astype(np.float64), rcond=None
        )
        inside = cv2.warpAffine(
            self._mouth,
            solution.T,
            (int(width), int(height)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        # Less light falls in near the rim.
        shade = 0.7 + 0.3 * cv2.GaussianBlur(mask, (0, 0), 3.0)[..., None]
        inside = inside * shade * np.clip(light[box], 0.6, 1.2)[..., None]
        person[box] += soft * (inside - person[box])
        alpha[box] = np.maximum(alpha[box], soft[..., 0])

    def _paint_lashes(self, person: Floats, points: NDArray[np.float64]) -> None:
        """Darkens what is left of an eye as it closes: squeezed to a line, white and iris would glitter."""
        cv2 = require("cv2", "A talking head", "opencv-python")
        for upper, lower in eye_rows():
            rows = [list(upper), list(lower)]
            resting = np.linalg.norm(self.shape[rows[0][1:-1]] - self.shape[rows[1][1:-1]], axis=1).mean()
            gap = np.linalg.norm(points[rows[0][1:-1]] - points[rows[1][1:-1]], axis=1).mean()
            closed = 1 - gap / (resting * float(self.pose.scale))
            if closed < 0.4:
                continue
            outline = points[[*upper, *lower[-2:0:-1]], :2]
            low, high = np.floor(outline.min(0)).astype(int) - 3, np.ceil(outline.max(0)).astype(int) + 4
            low, high = np.maximum(low, 0), np.minimum(high, self.size[::-1])
            if (high <= low).any():
                continue
            mask = np.zeros((high - low)[::-1], np.float32)
            cv2.polylines(
                mask, [np.rint((points[rows[1], :2] - low) * 16).astype(np.int32)], False, 1.0, 2, cv2.LINE_8, 4
            )
            cv2.fillPoly(mask, [np.rint((outline - low) * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
            soft = cv2.GaussianBlur(mask, (0, 0), 0.9)[..., None] * min(1.0, (closed - 0.4) / 0.4) * 0.8
            box = (slice(low[1], high[1]), slice(low[0], high[0]))
            person[box] *= 1 - soft * (1 - np.array([0.38, 0.3, 0.28], np.float32))


def _recolour(portrait: Portrait, identity: Identity) -> Floats:
    cv2 = require("cv2", "A talking head", "opencv-python")
    image = portrait.image
    below = np.arange(image.shape[0])[:, None] > 190 * ENLARGED
    eyes = np.zeros(image.shape[:2], np.float32)
    for upper, lower in eye_rows():
        outline = portrait.texture[[*upper, *lower[-2:0:-1]]]
        cv2.fillPoly(eyes, [np.rint(outline * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    eyes = cv2.GaussianBlur(eyes, (0, 0), 1.5)
    skin = np.clip(1 - portrait.hair - portrait.suit, 0, 1) * (1 - eyes) * ~below
    image = image * (1 + skin[..., None] * (np.array(identity.skin, np.float32) - 1))
    gain, a, b = identity.hair
    lab = cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2LAB)
    coloured = lab * np.array([gain, 0.9, 0.6], np.float32) + np.array([0, a, b], np.float32) * min(gain, 1.0)
    image = _mix(image, cv2.cvtColor(coloured, cv2.COLOR_LAB2RGB), portrait.hair)
    hue, lightness, saturation = cv2.split(cv2.cvtColor(np.clip(image, 0, 1).astype(np.float32), cv2.COLOR_RGB2HLS))
    turned = cv2.merge([(hue + identity.suit - 14) % 360, lightness * 0.8, saturation * 0.36])
    return _mix(image, cv2.cvtColor(turned, cv2.COLOR_HLS2RGB), portrait.suit)


def _mix(one: Floats, other: Floats, share: Floats) -> Floats:
    return (one + share[..., None] * (np.clip(other, 0, 1) - one)).astype(np.float32)


def _mouth_interior(portrait: Portrait) -> Floats:
    """A picture of what shows when the lips part, in the photograph's place: its teeth, and darkness below."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    upper, lower = (list(row) for row in LIP_ROWS[-1])
    outline = portrait.texture[upper + lower[-2:0:-1]]
    teeth = np.zeros(portrait.matte.shape, np.float32)
    cv2.fillPoly(teeth, [np.rint(outline * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    bright = portrait.image.min(-1) > 0.45  # lips and gaps in the polygon's rim are redder or darker
    teeth = cv2.GaussianBlur(cv2.erode(teeth, np.ones((3, 3))) * bright, (0, 0), 0.8)
    rows = np.arange(portrait.matte.shape[0], dtype=np.float32)[:, None]
    middle = float(portrait.texture[[61, 291], 1].mean())
    depth = np.clip((rows - middle) / (24 * ENLARGED), 0, 1)[..., None]
    dark = np.array([0.2, 0.08, 0.07]) * (1 - depth) + np.array([0.4, 0.16, 0.15]) * depth  # palate to tongue
    dark = np.broadcast_to(dark, portrait.image.shape)
    return (dark + teeth[..., None] * (portrait.image * 0.92 - dark)).astype(np.float32)


def _background(identity: Identity, size: tuple[int, int]) -> Floats:
    """A room out of focus: a blurred piece of a photograph, or a plain wall with the light falling off."""
    cv2 = require("cv2", "A talking head", "opencv-python")
    name, u, v, w, x = identity.wall
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
    return cv2.GaussianBlur(piece, (0, 0), height / 60 * (0.6 + x)).clip(0, 1)

"""Face landmark tracks -> head pose and expression, kept apart.

Points are those of MediaPipe's 478-point mesh in image pixels (x right, y down, z away from the camera), as
:mod:`mediakit.faces` writes them. Geometry happens in the *face frame* (x, -y, -z): x image-right, y up, z towards the
camera, right-handed. A *template* is the rigid shape of one head in that frame, in units of its interocular distance
(IOD, outer eye corner to outer eye corner): x from the subject's right eye to the left one (image-right in a frontal
view), y from chin to forehead, z out of the face. *Left* and *right* in names are the subject's.

Frames without a pose (all NaN, or degenerate) carry NaN through every function here and never enter a mean or median.

References:
    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991 (Procrustes
    with the reflection guard). Gower, "Generalized Procrustes analysis", Psychometrika 1975 (the template). Zhou et
    al., "On the continuity of rotation representations in neural networks", CVPR 2019 (6D rotations).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mediakit.mesh import EYE_CORNERS, MIRROR, N_POINTS, RIGID

EXPRESSION_NAMES = (
    "mouth_opening",
    "mouth_width",
    "jaw_drop",
    "left_eye_aperture",
    "right_eye_aperture",
    "left_brow_height",
    "right_brow_height",
    "smile_asymmetry",
)
"""What :func:`expression_scalars` returns, in order."""

_FACING_FLOOR = 0.1  # weight of a point seen edge-on or from behind: its position is regressed, poorly, but not absent
_NORMAL_NEIGHBOURS = 10
_COLLINEAR = 1e-9  # second to first singular value below which points lie on one line


class Similarity(NamedTuple):
    """A similarity transform x -> s R x + t, or a batch of them.

    Attributes:
        scale: s > 0, shape ``(...)``.
        rotation: R with determinant 1, shape ``(..., 3, 3)``.
        translation: t, shape ``(..., 3)``.
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Maps points ``(..., N, 3)`` forwards."""
        return self.scale[..., None, None] * (points @ self.rotation.mT) + self.translation[..., None, :]

    def invert(self, points: Tensor) -> Tensor:
        """Maps points ``(..., N, 3)`` back: the inverse of :meth:`apply`."""
        return (points - self.translation[..., None, :]) @ self.rotation / self.scale[..., None, None]


def _check_mesh(points: Tensor, name: str) -> None:
    if points.shape[-2:] != (N_POINTS, 3):
        raise ValueError(f"{name} must be the whole face mesh (..., {N_POINTS}, 3), not {tuple(points.shape)}")


def to_face_frame(points: Tensor) -> Tensor:
    """Turns image axes (x right, y down, z away) into face axes (x right, y up, z to the camera), or back."""
    return points * points.new_tensor([1.0, -1.0, -1.0])


def interocular_distance(points: Tensor) -> Tensor:
    """Distance of the outer eye corners in 3D, so that turning the head leaves it alone: ``(..., N, 3) -> (...)``."""
    right, left = EYE_CORNERS
    return torch.linalg.vector_norm(points[..., left, :] - points[..., right, :], dim=-1)


def _nearest_rotation(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """U D Vᵀ and the diagonal of S D, of K = U S Vᵀ with D = diag(1, 1, det UVᵀ): never a reflection."""
    u, singular, vh = torch.linalg.svd(matrix)
    d = torch.ones_like(singular)
    d[..., 2] = torch.linalg.det(u @ vh).sign()
    return u * d[..., None, :] @ vh, singular * d


def procrustes(points: Tensor, template: Tensor, weights: Tensor | None = None) -> Similarity:
    """Best similarity from a template to points: min over s, R, t of Σ w ‖s R c + t - y‖² (Umeyama 1991).

    K = Σ w (y - ȳ)(c - c̄)ᵀ = U S Vᵀ; D = diag(1, 1, det UVᵀ); R = U D Vᵀ; s = tr(SD) / Σ w ‖c - c̄‖²;
    t = ȳ - s R c̄. Computed in float64.

    Args:
        points: y, ``(..., N, 3)``. A point that is not finite counts as hidden (weight 0).
        template: c, ``(N, 3)`` or ``(..., N, 3)``.
        weights: w >= 0, ``(N,)`` or ``(..., N)``; all equal if None.

    Returns:
        The transforms in the dtype of ``points``. NaN where fewer than three points have weight, or where they lie on
        one line: there the rotation is undetermined.

    Raises:
        ValueError: Shapes do not agree, a weight is negative or not finite, or no frame has three positive weights.
    """
    if points.ndim < 2 or points.shape[-2:] != template.shape[-2:] or points.shape[-1] != 3:
        raise ValueError(f"points {tuple(points.shape)} and template {tuple(template.shape)} must both end in (N, 3)")
    y, c = points.double(), template.double()
    w = y.new_ones(y.shape[-2]) if weights is None else weights.double()
    if w.shape[-1:] != y.shape[-2:-1]:
        raise ValueError(f"weights {tuple(w.shape)} must end in the number of points, {y.shape[-2]}")
    if not (torch.isfinite(w) & (w >= 0)).all():
        raise ValueError("weights must be finite and not negative; give hidden points weight 0")
    if w.numel() and not ((w > 0).sum(-1) >= 3).any():
        raise ValueError("fewer than three points have a positive weight: a pose needs at least three")
    w = w * (torch.isfinite(y).all(-1) & torch.isfinite(c).all(-1))
    seen = (w > 0)[..., None]
    y, c = torch.where(seen, y, 0.0), torch.where(torch.isfinite(c), c, 0.0)

    enough = seen.sum((-2, -1)) >= 3
    w = (w / w.sum(-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny))[..., None]
    y_mean, c_mean = (w * y).sum(-2), (w * c).sum(-2)
    y, c = y - y_mean[..., None, :], c - c_mean[..., None, :]
    rotation, stretch = _nearest_rotation((w * y).mT @ c)
    enough = enough & (stretch[..., 1] > _COLLINEAR * stretch[..., 0])
    rotation = torch.where(enough[..., None, None], rotation, float("nan"))
    scale = torch.where(enough, stretch.sum(-1) / (w * c.square()).sum((-2, -1)), float("nan"))
    translation = y_mean - scale[..., None] * (rotation @ c_mean[..., None]).squeeze(-1)
    return Similarity(*(part.to(points.dtype) for part in (scale, rotation, translation)))


def _spread(valid: Tensor, max_frames: int) -> Tensor:
    """Indices of at most ``max_frames`` true frames, evenly spread."""
    frames = valid.nonzero().squeeze(-1)
    if not len(frames):
        raise ValueError("the track has no valid frame: nothing to take a shape from")
    if len(frames) <= max_frames:
        return frames
    return frames[torch.linspace(0, len(frames) - 1, max_frames, device=frames.device).round().long()]


def face_template(points: Tensor, valid: Tensor | None = None, iterations: int = 5, max_frames: int = 512) -> Tensor:
    """Mean shape of one head: generalised Procrustes over a track, oriented by anatomy, scaled to IOD 1.

    Frames are aligned on :data:`.RIGID`, so talking does not tilt the mean. At most ``max_frames`` frames, evenly
    spread, are copied: a long track costs no more memory than a short one.

    Args:
        points: Track ``(T, 478, 3)`` in image pixels.
        valid: ``(T,)`` bool: frames to use; those that are not finite are left out in any case.
        iterations: Rounds of aligning and averaging; the mean settles to 1e-6 of the IOD within three.
        max_frames: Most frames to average.

    Returns:
        ``(478, 3)`` in the face frame (see the module), origin at the mean point.

    Raises:
        ValueError: No usable frame, or not the 478-point mesh.
    """
    _check_mesh(points, "points")
    usable = torch.isfinite(points).all(-1).all(-1) & (interocular_distance(points) > 0)
    frames = _spread(usable if valid is None else usable & valid, max_frames)
    shapes = to_face_frame(points[frames].double())
    rigid, right, left = shapes[:, list(RIGID)], *EYE_CORNERS
    template = rigid[len(rigid) // 2]
    for _ in range(iterations):  # only what frames are aligned on needs to settle
        pose = procrustes(rigid, template)
        mean = torch.nanmean(pose.invert(rigid), dim=0)
        template = mean / torch.linalg.vector_norm(mean[RIGID.index(left)] - mean[RIGID.index(right)])
    template = torch.nanmean(pose.invert(shapes), dim=0)
    x = template[left] - template[right]
    y = template[10] - template[152]
    z = torch.linalg.cross(x, y)
    axes = torch.nn.functional.normalize(torch.stack([x, torch.linalg.cross(z, x), z]), dim=-1)
    template = (template - template.mean(0)) @ axes.T
    return (template / interocular_distance(template)).to(points.dtype)


def surface_normals(template: Tensor, indices: tuple[int, ...] = RIGID) -> Tensor:
    """Outward unit normals of a template at some points, from the plane through each point's neighbours.

    Args:
        template: ``(478, 3)`` in the face frame.
        indices: Points to give normals for.

    Returns:
        ``(len(indices), 3)``.
    """
    _check_mesh(template, "template")
    surface = template[:468].double()  # irises float before the lids
    points = template[list(indices)].double()
    near = torch.cdist(points, surface).topk(_NORMAL_NEIGHBOURS, largest=False).indices
    patches = surface[near] - surface[near].mean(1, keepdim=True)
    normals = torch.linalg.svd(patches, full_matrices=False).Vh[:, -1]
    # A head is round: outwards is away from a point one IOD behind the face.
    inside = surface.mean(0) - surface.new_tensor([0.0, 0.0, 1.0])
    return (normals * ((points - inside) * normals).sum(-1, keepdim=True).sign()).to(template.dtype)


def visibility_weights(rotation: Tensor, normals: Tensor) -> Tensor:
    """Weight of points by how squarely they face the camera: the cosine of normal and view, at least 0.1.

    A turned head hides one temple: what the detector says about it is a guess, and the 3D pose knows which it is.

    Args:
        rotation: Head rotations ``(..., 3, 3)``.
        normals: Unit normals ``(N, 3)`` in the face frame.

    Returns:
        ``(..., N)`` in [0.1, 1]; 1 where the rotation is NaN.
    """
    facing = (rotation[..., 2, None, :] * normals).sum(-1)
    return torch.nan_to_num(facing, nan=1.0).clamp(_FACING_FLOOR, 1.0)


def head_pose(points: Tensor, template: Tensor) -> Similarity:
    """Pose of the head in each frame: weighted Procrustes on :data:`.RIGID`, in two passes.

    The first pass weighs all rigid points alike and finds which of them are turned away; the second one trusts those
    less (:func:`visibility_weights`), so that rotation changes weights instead of making outliers.

    Args:
        points: ``(..., 478, 3)`` in image pixels.
        template: ``(478, 3)`` from :func:`face_template`.

    Returns:
        The transforms from template to face frame: scale is the IOD in pixels, translation is where the template's
        origin lies, (x, -y, -z) pixels (weak perspective: the third number carries nothing). NaN where there is no
        pose, see :func:`procrustes`.
    """
    _check_mesh(points, "points")
    _check_mesh(template, "template")
    rigid = list(RIGID)
    y, c = to_face_frame(points[..., rigid, :]), template[rigid]
    first = procrustes(y, c)
    return procrustes(y, c, visibility_weights(first.rotation, surface_normals(template).to(points.dtype)))


def euler_angles(rotation: Tensor) -> Tensor:
    """Rotation matrices as pitch, yaw and roll in degrees, for people: R = Rz(roll) Ry(yaw) Rx(-pitch).

    Pitch > 0: looks up. Yaw > 0: turns to image-right (the subject's left). Roll > 0: tilts counter-clockwise in the
    image. Rolling the picture changes roll alone. At yaw ±90° pitch and roll are one and the same.

    Args:
        rotation: ``(..., 3, 3)`` in the face frame.

    Returns:
        ``(..., 3)``: pitch and roll in (-180, 180], yaw in [-90, 90].
    """
    cos_yaw = torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0])
    pitch = -torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = torch.atan2(-rotation[..., 2, 0], cos_yaw)
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return torch.rad2deg(torch.stack([pitch, yaw, roll], dim=-1))


def rotation_from_euler(angles: Tensor) -> Tensor:
    """Inverse of :func:`euler_angles`: ``(..., 3)`` pitch, yaw, roll in degrees -> ``(..., 3, 3)``."""
    radians = torch.deg2rad(angles * angles.new_tensor([-1.0, 1.0, 1.0]))
    (sx, sy, sz), (cx, cy, cz) = radians.sin().unbind(-1), radians.cos().unbind(-1)
    first = [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx]
    second = [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx]
    return torch.stack([*first, *second, -sy, cy * sx, cy * cx], dim=-1).unflatten(-1, (3, 3))


def rotation_6d(rotation: Tensor) -> Tensor:
    """Continuous 6D form of rotations (Zhou et al. 2019): the first two columns, ``(..., 3, 3) -> (..., 6)``."""
    return rotation[..., :2].mT.flatten(-2)


def mean_rotation(rotation: Tensor) -> Tensor:
    """Chordal mean: the rotation nearest in the Frobenius norm to the average matrix; NaN frames are left out.

    Args:
        rotation: ``(..., T, 3, 3)``.

    Returns:
        ``(..., 3, 3)``; NaN where no frame is finite.
    """
    mean = torch.nanmean(rotation.double(), dim=-3)
    lost = torch.isnan(mean).any(-1).any(-1)[..., None, None]
    nearest, _ = _nearest_rotation(torch.where(lost, torch.eye(3, dtype=mean.dtype, device=mean.device), mean))
    return torch.where(lost, float("nan"), nearest).to(rotation.dtype)


def _only(x: Tensor, valid: Tensor | None) -> Tensor:
    """Sets the frames (first dimension) that are not valid to NaN."""
    return x if valid is None else torch.where(valid.view(-1, *[1] * (x.ndim - 1)), x, float("nan"))


def pose_signal(pose: Similarity, valid: Tensor | None = None) -> Tensor:
    """Head movement of one track, free of where the head is, how big it is and where it looks on average.

    Args:
        pose: From :func:`head_pose`, T frames.
        valid: ``(T,)`` bool: the frames that make up the track's means; all with a pose if None.

    Returns:
        ``(T, 10)``: 6D rotation R̄ᵀR relative to the chordal mean (1, 0, 0, 0, 1, 0 at the mean), translation
        (t - t̄)/IOD with the track's geometric mean IOD, log s minus its mean. NaN in frames without a pose.
    """
    rotation, translation, log_scale = pose.rotation, pose.translation, pose.scale.log()
    mean_log = torch.nanmean(_only(log_scale, valid))
    relative = mean_rotation(_only(rotation, valid)).mT @ rotation
    shift = (translation - torch.nanmean(_only(translation, valid), dim=0)) / mean_log.exp()
    return torch.cat([rotation_6d(relative), shift, (log_scale - mean_log)[:, None]], dim=-1)


def aligned_shape(points: Tensor, pose: Similarity) -> Tensor:
    """Face shape with the head's movement taken out: (1/s) Rᵀ(y - t), frame by frame.

    Args:
        points: ``(..., N, 3)`` in image pixels.
        pose: From :func:`head_pose`, one for each leading index.

    Returns:
        ``(..., N, 3)`` in the template's axes and units (IOD). A long track can be given block by block.
    """
    return pose.invert(to_face_frame(points))


def neutral_shape(points: Tensor, pose: Similarity, valid: Tensor | None = None, max_frames: int = 1024) -> Tensor:
    """Per-track median of :func:`aligned_shape`: the subject's face at rest.

    Args:
        points: Track ``(T, 478, 3)`` in image pixels.
        pose: Its poses.
        valid: ``(T,)`` bool: frames to use; all with a pose if None.
        max_frames: Most frames, evenly spread, to take the median of.

    Returns:
        ``(478, 3)`` in IOD.

    Raises:
        ValueError: No valid frame.
    """
    posed = torch.isfinite(pose.scale) & torch.isfinite(points).all(-1).all(-1)
    frames = _spread(posed if valid is None else posed & valid, max_frames)
    return aligned_shape(points[frames], Similarity(*(part[frames] for part in pose))).median(dim=0).values


def expression(points: Tensor, pose: Similarity, neutral: Tensor | None = None) -> Tensor:
    """Facial expression: displacement of each point from the subject's face at rest, head movement taken out.

    This is (1/s) Rᵀ(y - t) - C minus its median over the track; the template C cancels, and with it the identity.

    Args:
        points: ``(..., 478, 3)`` in image pixels.
        pose: Their poses.
        neutral: ``(478, 3)`` from :func:`neutral_shape`, to go through a long track block by block or to compare two
            versions of one track; taken from ``points`` (then one whole track, ``(T, 478, 3)``) if None.

    Returns:
        ``(..., 478, 3)`` in IOD.
    """
    return aligned_shape(points, pose) - (neutral_shape(points, pose) if neutral is None else neutral)


def expression_scalars(shape: Tensor) -> Tensor:
    """What a face does, in eight numbers (:data:`EXPRESSION_NAMES`), from pose-free shapes.

    Mouth opening: mean gap of the inner lips. Mouth width: corner to corner. Jaw drop: bridge of the nose to chin along
    the face's vertical. Eye aperture: mean gap of the lids. Brow height: brow above the middle of its eye's corners,
    so that a blink leaves it alone. Smile asymmetry: left mouth corner above the right one.

    Args:
        shape: ``(..., 478, 3)`` from :func:`aligned_shape`. Differences from the track's median are free of identity.

    Returns:
        ``(..., 8)`` in IOD.
    """
    _check_mesh(shape, "shape")

    def gap(upper: tuple[int, ...], lower: tuple[int, ...]) -> Tensor:
        return torch.linalg.vector_norm(shape[..., upper, :] - shape[..., lower, :], dim=-1).mean(-1)

    def height(*indices: int) -> Tensor:
        return shape[..., indices, 1].mean(-1)

    def left(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(MIRROR[i] for i in indices)

    upper_lid, lower_lid, brow, corners = (160, 159, 158), (144, 145, 153), (70, 63, 105, 66, 107), (33, 133)
    return torch.stack(
        [
            gap((82, 13, 312), (87, 14, 317)),
            gap((61,), (291,)),
            height(168) - height(152),
            gap(left(upper_lid), left(lower_lid)),
            gap(upper_lid, lower_lid),
            height(*left(brow)) - height(*left(corners)),
            height(*brow) - height(*corners),
            height(291) - height(61),
        ],
        dim=-1,
    )

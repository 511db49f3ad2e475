"""Head pose from the picture's x and y alone: weak perspective, for landmarks without depth or with a poor one.

The depth of FaceMesh is a guess of a network. `mediakit.motion.head_pose` believes it as much as x and y; here it
counts for nothing, or for as much as one likes, and only the template knows how deep a face is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mediakit import motion
from mediakit.mesh import RIGID
from mediakit.motion import Similarity

_STEPS = 12  # of Gauss-Newton: from the affine start it meets double precision within six
_FLAT = 1e-6  # smallest to largest variance of a template below which it is a plane: its pose has two solutions


def weak_perspective(
    points: Tensor, template: Tensor, weights: Tensor | None = None, depth_weight: float = 0.0
) -> Similarity:
    """Best scaled rotation of a template whose *projection* meets points: min over s, R, t of Σ w ‖P(s R c + t - y)‖².

    P = diag(1, 1, √depth_weight): the third coordinate counts for less than the others, or for nothing. Starts at the
    affine fit's nearest scaled rotation (or at `mediakit.motion.procrustes` if the depth counts) and takes Gauss-Newton
    steps on rotation and scale, which need nothing but second moments of the points. Computed in float64.

    Args:
        points: y, ``(..., N, 2)``, or ``(..., N, 3)`` of which the third coordinate counts by ``depth_weight``; x to
            the right, y up. A point that is not finite counts as hidden (weight 0).
        template: c, ``(N, 3)``; not all in one plane.
        weights: w >= 0, ``(N,)`` or ``(..., N)``; all equal if None.
        depth_weight: Of squared errors in depth, those of x and y being 1; 1 gives `mediakit.motion.procrustes`.

    Returns:
        The transforms in the dtype of ``points``; without depth the translation's third number is 0. NaN where fewer
        than four points have weight, or where those that have lie in one plane.

    Raises:
        ValueError: Shapes do not agree, or a weight is negative or not finite.
    """
    if (
        points.ndim < 2
        or points.shape[-2] != len(template)
        or template.shape[-1] != 3
        or points.shape[-1] not in (2, 3)
    ):
        raise ValueError(
            f"points {tuple(points.shape)} must be (..., N, 2) or (..., N, 3) for a template (N, 3), not for one of "
            f"{tuple(template.shape)}"
        )
    if not (depth_weight >= 0 and (depth_weight == 0 or points.shape[-1] == 3)):
        raise ValueError(f"depth_weight must be 0 for points without depth and at least 0 in any case: {depth_weight}")
    w = points.new_ones(points.shape[-2]).double() if weights is None else weights.double()
    if w.shape[-1:] != points.shape[-2:-1] or not (torch.isfinite(w) & (w >= 0)).all():
        raise ValueError(f"weights {tuple(w.shape)} must end in the number of points and be finite and not negative")
    used = 3 if depth_weight else 2
    y = torch.nn.functional.pad(points[..., :used].double(), (0, 3 - used))
    w = w * torch.isfinite(y).all(-1)
    seen = (w > 0)[..., None]
    w = (w / w.sum(-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny))[..., None]
    y, c = torch.where(seen, y, 0.0), template.double()
    y_mean, c_mean = (w * y).sum(-2), (w * c).sum(-2)
    y, c = y - y_mean[..., None, :], c - c_mean[..., None, :]
    spread, cross = (w * c).mT @ c, (w * y).mT @ c
    variances = torch.linalg.eigvalsh(spread)
    sound = (seen.sum((-2, -1)) >= 4) & (variances[..., 0] > _FLAT * variances[..., 2])
    eye = torch.eye(3, dtype=y.dtype, device=y.device)
    spread = torch.where(sound[..., None, None], spread, eye)
    cross = torch.where(sound[..., None, None], cross, eye)

    rotation, scale = _start(spread, cross, used)
    for _ in range(_STEPS):
        rotation, scale = _step(rotation, scale, spread, cross, depth_weight)
    rotation = torch.where(sound[..., None, None], rotation, float("nan"))
    scale = torch.where(sound, scale, float("nan"))
    translation = y_mean - scale[..., None] * (rotation @ c_mean[..., None]).squeeze(-1)
    if used == 2:
        translation = torch.cat([translation[..., :2], 0 * translation[..., :1]], dim=-1)
    return Similarity(*(part.to(points.dtype) for part in (scale, rotation, translation)))


def _start(spread: Tensor, cross: Tensor, used: int) -> tuple[Tensor, Tensor]:
    """Scaled rotation nearest to the affine fit cross · spread⁻¹, whose rows beyond ``used`` are not known."""
    affine = torch.linalg.solve(spread, cross[..., :used, :], left=False)
    u, stretch, vh = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vh
    last = torch.linalg.cross(rows[..., 0, :], rows[..., 1, :])  # never a reflection
    return torch.stack([rows[..., 0, :], rows[..., 1, :], last], dim=-2), stretch.mean(-1)


def _step(rotation: Tensor, scale: Tensor, spread: Tensor, cross: Tensor, depth_weight: float) -> tuple[Tensor, Tensor]:
    """One Gauss-Newton step; q = s R c are the turned points, moved by a small turn ω and growth σ: ω × q + σ q."""
    turned = scale[..., None, None] * rotation
    second = turned @ spread @ turned.mT  # Σ w q qᵀ
    error = cross @ turned.mT - second  # Σ w (y - q) qᵀ
    # Rows of the Jacobian for x, y and z are linear in q: entry [axis, unknown, coordinate of q].
    jacobian = error.new_zeros(3, 4, 3)
    for axis, unknown, coordinate, sign in (
        *((0, 1, 2, 1.0), (0, 2, 1, -1.0), (0, 3, 0, 1.0)),
        *((1, 0, 2, -1.0), (1, 2, 0, 1.0), (1, 3, 1, 1.0)),
        *((2, 0, 1, 1.0), (2, 1, 0, -1.0), (2, 3, 2, 1.0)),
    ):
        jacobian[axis, unknown, coordinate] = sign
    weighted = jacobian * error.new_tensor([1.0, 1.0, depth_weight])[:, None, None]
    normal = torch.einsum("aik,...kl,ajl->...ij", weighted, second, jacobian)
    change = torch.linalg.solve(normal, torch.einsum("aik,...ak->...i", weighted, error))
    x, y, z = change[..., :3].unbind(-1)
    zero = torch.zeros_like(x)
    turn = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(turn) @ rotation, scale * change[..., 3].exp()


def head_pose_2d(points: Tensor, template: Tensor, depth_weight: float = 0.0) -> Similarity:
    """`mediakit.motion.head_pose` without the landmarks' depth: the same rigid points and weights, in two passes.

    Args:
        points: ``(..., 478, 3)`` in image pixels.
        template: ``(478, 3)`` from `mediakit.motion.face_template`.
        depth_weight: As for `weak_perspective`.

    Returns:
        As `mediakit.motion.head_pose`.
    """
    rigid = list(RIGID)
    y, c = motion.to_face_frame(points[..., rigid, :]), template[rigid]
    first = weak_perspective(y, c, None, depth_weight)
    facing = motion.visibility_weights(first.rotation, motion.surface_normals(template).to(points.dtype))
    return weak_perspective(y, c, facing, depth_weight)

"""Two tracks of one face, from two versions of one film: how far apart are they, and does one still move as the other?

Distances are told in interocular distances (IOD) and degrees, with the source's template and face at rest for both, so
that no difference hides in two templates. What a detector of motion needs is the *velocity*: its correlation with the
source stands beside its gain, because smoothing alone raises the one and lowers the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mediakit import motion
from mediakit.denoise import bridge
from mediakit.errors import require

SIGNALS = ("pitch", "yaw", "roll", "mouth")
"""What moves: three angles in degrees, and the opening of the mouth in IOD."""
COORDINATES = ("x", "y", "z", "face x", "face y", "face z")
"""Of landmarks in the picture, and of the same ones without head movement."""
CUTOFF = 6.0
"""Hz up to which velocities are compared: above it, heads and mouths hardly move."""

_BINS = 16
_ORDER = 4  # of the Butterworth filter, which runs both ways
LEAST = 30
"""Frames that a comparison needs: a second of motion at 30 Hz, and more than the filter of velocities is long."""


@dataclass(frozen=True)
class Comparison:
    """One track against another; means over frames that show the face in both.

    Attributes:
        frames: Number of those frames.
        followed: Share in [0, 1] of the reference's frames among them.
        displacement: Mean distance of landmarks in the picture (x and y), in IOD.
        pose_error: Mean angle between the head's rotations, in degrees.
        expression_displacement: Mean distance of landmarks without head movement (x, y and z), in IOD.
        correlation: Of velocities, by `SIGNALS`; NaN where nothing moves.
        gain: Slope of the regression of the track's velocity on the reference's, by `SIGNALS`: 1 keeps all motion,
            0.5 halves it. Noise of the reference lowers it.
        power: Ratio of the mean squares of the velocities, by `SIGNALS`: the gain and all that is added.
        ks: Kolmogorov-Smirnov statistic in [0, 1] between the distributions over time, by `COORDINATES`, mean over
            landmarks.
        js: Jensen-Shannon divergence in [0, 1] bits between them, likewise.
    """

    frames: int
    followed: float
    displacement: float
    pose_error: float
    expression_displacement: float
    correlation: dict[str, float]
    gain: dict[str, float]
    power: dict[str, float]
    ks: dict[str, float]
    js: dict[str, float]


def compare_tracks(
    reference: Tensor, points: Tensor, rate: float, cutoff: float = CUTOFF, template: Tensor | None = None
) -> Comparison:
    """Compares two tracks of one face.

    Args:
        reference: ``(T, 478, 3)`` in pixels (x right, y down, z away from the camera); NaN in frames without the face.
        points: The same frames of the other version, in the reference's pixels.
        rate: Frames a second.
        cutoff: Velocities are compared up to this frequency in Hz.
        template: ``(478, 3)`` from `mediakit.motion.face_template`; of the reference if None.

    Raises:
        ValueError: Shapes differ, or fewer than 30 frames show the face in both.
    """
    if reference.shape != points.shape:
        raise ValueError(f"tracks must hold the same frames, not {tuple(reference.shape)} and {tuple(points.shape)}")
    seen, found = (torch.isfinite(x).all(-1).all(-1) for x in (reference, points))
    both = seen & found
    frames = int(both.sum())
    if frames < LEAST:
        raise ValueError(f"the face is in {frames} frames of both tracks; a comparison needs {LEAST}")
    template = motion.face_template(reference) if template is None else template
    poses = [motion.head_pose(x, template) for x in (reference, points)]
    shapes = [motion.aligned_shape(x, pose) for x, pose in zip((reference, points), poses, strict=True)]
    moving = [_signals(pose, shape) for pose, shape in zip(poses, shapes, strict=True)]
    size = motion.interocular_distance(reference)[both]
    apart = torch.linalg.vector_norm((points - reference)[both][..., :2], dim=-1).mean(-1) / size
    # With one face at rest for both it cancels: the difference of expressions is that of shapes.
    unlike = torch.linalg.vector_norm((shapes[1] - shapes[0])[both], dim=-1)
    before, after = (band_velocity(x, rate, cutoff)[both[1:] & both[:-1]] for x in moving)
    unit = size.median()
    old, new = (
        torch.cat([x[both] / unit, shape[both]], -1) for x, shape in zip((reference, points), shapes, strict=True)
    )
    return Comparison(
        frames=frames,
        followed=frames / int(seen.sum()),
        displacement=float(apart.mean()),
        pose_error=float(rotation_angle(poses[0].rotation[both], poses[1].rotation[both]).mean()),
        expression_displacement=float(unlike.mean()),
        correlation=_named(SIGNALS, _correlation(before, after)),
        gain=_named(SIGNALS, (before * after).sum(0) / before.square().sum(0)),
        power=_named(SIGNALS, after.square().sum(0) / before.square().sum(0)),
        ks=_named(COORDINATES, kolmogorov_smirnov(old, new).mean(0)),
        js=_named(COORDINATES, jensen_shannon(old, new).mean(0)),
    )


def head_signals(points: Tensor, template: Tensor) -> Tensor:
    """The motion that is compared.

    Args:
        points: ``(T, 478, 3)`` in pixels.
        template: ``(478, 3)``.

    Returns:
        ``(T, 4)`` as `SIGNALS`: degrees, degrees, degrees, IOD. NaN without a face.
    """
    pose = motion.head_pose(points, template)
    return _signals(pose, motion.aligned_shape(points, pose))


def _signals(pose: motion.Similarity, shape: Tensor) -> Tensor:
    mouth = motion.expression_scalars(shape)[:, motion.EXPRESSION_NAMES.index("mouth_opening")]
    return torch.cat([motion.euler_angles(pose.rotation), mouth[:, None]], dim=-1)


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle in degrees of the turn from one rotation to another, ``(..., 3, 3)`` twice -> ``(...)``."""
    # ‖A - B‖ = 2 √2 sin(angle / 2): exact for small angles, where the arc cosine of the trace is not.
    distance = torch.linalg.matrix_norm((first - second).double())
    return torch.rad2deg(2 * torch.asin((distance / math.sqrt(8)).clamp(max=1.0))).to(first.dtype)


def band_velocity(x: Tensor, rate: float, cutoff: float = CUTOFF) -> Tensor:
    """Change from frame to frame below a frequency: differences through a zero-phase Butterworth filter.

    Args:
        x: ``(T, C)``; missing frames (NaN) are bridged by straight lines.
        rate: Frames a second.
        cutoff: In Hz, below ``rate / 2``; there the filter's gain, both ways, is one half.

    Returns:
        ``(T - 1, C)`` in units of ``x`` a second.

    Raises:
        ValueError: The frequency is not in (0, rate / 2), or there are too few frames to filter.
    """
    signal = require("scipy.signal", "Comparing velocities")
    if not 0 < cutoff < rate / 2:
        raise ValueError(f"cutoff must lie between 0 and half the rate of {rate:g} Hz, not at {cutoff:g}")
    if len(x) < LEAST:
        raise ValueError(f"velocities need at least {LEAST} frames, not {len(x)}")
    steps = np.diff(bridge(x).double().numpy(), axis=0) * rate
    smooth = signal.sosfiltfilt(signal.butter(_ORDER, cutoff, fs=rate, output="sos"), steps, axis=0)
    return torch.from_numpy(smooth.copy()).to(x.dtype)


def kolmogorov_smirnov(first: Tensor, second: Tensor) -> Tensor:
    """Largest distance of two empirical distribution functions, for each column: ``(N, ...), (M, ...) -> (...)``."""
    pooled, order = torch.cat([first, second]).sort(dim=0, stable=True)
    step = torch.where(order < len(first), 1 / len(first), -1 / len(second)).double()
    last = torch.ones_like(pooled, dtype=torch.bool)  # of equal values: only there are both functions known
    last[:-1] = pooled[1:] != pooled[:-1]
    return torch.where(last, step.cumsum(0).abs(), 0.0).amax(0).to(first.dtype)


def jensen_shannon(first: Tensor, second: Tensor, bins: int = _BINS) -> Tensor:
    """Jensen-Shannon divergence in bits of two histograms over their common range, for each column.

    Samples of one distribution give some (bins - 1) / (8 N ln 2) bits, too: compare numbers of equal N.

    Args:
        first: ``(N, ...)``.
        second: ``(M, ...)``.
        bins: Number of equal bins.

    Returns:
        ``(...)`` in [0, 1].
    """
    low, high = (getattr(torch.cat([first, second]), end)(0) for end in ("amin", "amax"))
    width = torch.where(high > low, high - low, 1.0)

    def histogram(x: Tensor) -> Tensor:
        place = ((x - low) / width * bins).long().clamp(0, bins - 1)
        counts = torch.zeros(bins, *x.shape[1:], dtype=torch.double)
        return counts.scatter_add_(0, place, torch.ones_like(place, dtype=torch.double)) / len(x)

    p, q = histogram(first), histogram(second)
    middle = (p + q) / 2
    bits = sum(torch.xlogy(side, side / middle.clamp(min=torch.finfo(torch.double).tiny)).sum(0) for side in (p, q))
    return (torch.as_tensor(bits) / (2 * math.log(2))).clamp(0, 1).to(first.dtype)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / (a.square().sum(0) * b.square().sum(0)).sqrt()


def _named(names: tuple[str, ...], values: Tensor) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))

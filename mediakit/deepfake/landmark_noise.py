"""What encoders, frame rates and mirrors do to the landmarks of a face, drawn without a pixel: augmentation.

Use them in the order in which it happens to a film: `mirror`, `change_speed`, `lower_rate`, `compression_noise`,
`drop_frames`. None turns time back: a face that closes its mouth backwards is no genuine one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mediakit.deepfake.signals import RATE
from mediakit.denoise import resample, savgol
from mediakit.errors import require
from mediakit.mesh import KEYPOINTS, LIP_ROWS, MIRROR, N_POINTS, RIGID, SEMANTIC_GROUPS, eye_rows

COMPONENTS = 20
"""Smooth fields over the face, each way, of what a pose does not explain."""

_CRF = (0, 23, 40)
_VELOCITY = ((0.0, 0.0), (0.0027, 0.0040), (0.0070, 0.0086))
_CORRELATION = (0.0, 0.3, 0.7)
_BIAS = ((0.0, 0.0), (0.02, 0.05), (0.21, 0.30))
_OWN = ((1.0, 1.0), (0.5, 0.9), (0.2, 0.7))
_DECAY = 0.9  # a frame, of the noise that lasts; the rest of it is new in every frame

# Shares of the energy: shifts in x, y, z, turns about x, y, z, growth; then what is not rigid in x, y, z.
_RIGID = (0.04, 0.03, 0.04, 0.37, 0.115, 0.045, 0.035)
_SOFT = (0.12, 0.16, 0.045)
_REACH, _ACROSS = 0.35, 0.35  # IOD; correlation of two features that touch
_SAVGOL = 7


def _features() -> tuple[Tensor, Tensor]:
    """Which feature each key point belongs to (0: none), and how loud its noise is."""
    (upper_lips, lower_lips), brows = zip(*LIP_ROWS, strict=True), SEMANTIC_GROUPS["brows"]
    loud: list[tuple[set[int], float]] = [({i for row in upper_lips for i in row}, 1.15)]
    loud += [({i for row in lower_lips for i in row[1:-1]}, 1.5)]
    loud += [(set(lid[1:-1]), 0.8) for eye in eye_rows() for lid in eye]
    loud += [(set(brow), 1.3) for brow in (brows[:5], brows[5:])]
    loud += [(set(iris), 0.75) for iris in (range(468, 473), range(473, 478))]
    feature = torch.zeros(len(KEYPOINTS), dtype=torch.long)
    loudness = torch.tensor([0.7 if i in RIGID else 1.05 for i in KEYPOINTS])
    for number, (points, size) in enumerate(loud, 1):
        at = [row for row, i in enumerate(KEYPOINTS) if i in points]
        feature[at], loudness[at] = number, size
    return feature, loudness


_FEATURE, _LOUDNESS = _features()
_KEY_MIRROR = [KEYPOINTS.index(MIRROR[i]) for i in KEYPOINTS]


class NoiseStrength(NamedTuple):
    """How strong the noise of a rate of compression is.

    Attributes:
        velocity: Range of its standard deviation in x and in y, in IOD a frame of the film.
        correlation: Between its displacements in one frame and in the next.
        bias: Range of the share of its energy that is constant over a track.
        own: Range of the factor of the jitter that the film's landmarks had already.
    """

    velocity: tuple[float, float]
    correlation: float
    bias: tuple[float, float]
    own: tuple[float, float]


def noise_strength(crf: float) -> NoiseStrength:
    """Strength of the noise at a constant rate factor of x264: linear between 0 (none), 23 and 40, constant from there.

    Measured on FaceMesh tracks of 48 generated heads (25 frames a second, 6 s, IOD 83 px), each film at CRF 23 and at
    40 against itself at CRF 0; in brackets what is used here. What compression adds is what is left after the best
    linear filter of the original track, for compression also takes away: the grain's jitter, and quick movement. At 10
    Hz .45 and .20 of the original is left, and a track at CRF 23 jitters *less* than at CRF 0; of the jitter that a
    manipulation brought in, .93 and .67 is left (both together: .5-.9 and .2-.7). The noise added has a velocity of
    0.46 % and 0.86 % of the IOD a frame (0.27-0.40 % and 0.70-0.86 %). The plain difference of the tracks has 0.52 %
    and 0.96 %, correlations .33 and .68 (.3 and .7) and a constant share of 14 % and 48 % (2-5 % and 21-30 %; all
    generated heads have one skin, and medians over the track take most of it away).

    The difference on 3.5 s of a film of 1940 (IOD 40 px): 2.3 % and 3.5 %; .27 and .68; 4 % and 24 %. Larger faces have
    less of it: 0.42 % and 0.71 % at IOD 190 px.

    Raises:
        ValueError: ``crf`` is not within 0 and 51.
    """
    if not 0 <= crf <= 51:
        raise ValueError(f"crf must be within 0 (lossless) and 51, got {crf}")

    def at(table: tuple[tuple[float, float], ...]) -> tuple[float, float]:
        low, high = (float(np.interp(crf, _CRF, ends)) for ends in zip(*table, strict=True))
        return low, high

    return NoiseStrength(at(_VELOCITY), float(np.interp(crf, _CRF, _CORRELATION)), at(_BIAS), at(_OWN))


def noise_fields(template: Tensor) -> Tensor:
    """Fields over the face that the detector's errors are made of; independent unit coefficients give unit noise.

    Two thirds of the energy are errors of the pose, of pitch most of all. Of the rest, a feature (lip, lid, brow, iris)
    is off as a piece and another one than its neighbour: a Gaussian kernel of .35 IOD, times .35 between features, cut
    to its first `COMPONENTS` eigenvectors. Shares and sizes as measured, see `noise_strength`.

    Args:
        template: Key points of a face ``(P, 3)`` in the face frame, in IOD.

    Returns:
        ``(7 + 3 * COMPONENTS, P, 3)``, float64. The mean square over the face is 1 in x and y, about 2 in z.
    """
    shape = (template - template.mean(0)).double()
    axes = torch.eye(3, dtype=shape.dtype)
    shifts, turns = axes[:, None].expand(-1, len(shape), -1), torch.linalg.cross(axes[:, None], shape[None])
    rigid = torch.cat([shifts, turns, shape[None]]).flatten(1)

    kernel = torch.exp(-torch.cdist(shape, shape).square() / (2 * _REACH**2))
    kernel = kernel * torch.where(_FEATURE[:, None] == _FEATURE, 1.0, _ACROSS)
    values, vectors = torch.linalg.eigh(kernel)
    smooth = (vectors * values.clamp_min(0).sqrt())[:, -COMPONENTS:]
    smooth = smooth * (_LOUDNESS / torch.linalg.vector_norm(smooth, dim=1))[:, None]
    soft = torch.einsum("pm,ij->impj", smooth, axes).flatten(2)
    basis = torch.linalg.qr(rigid.T).Q
    soft = soft - soft @ basis @ basis.T

    rigid = rigid / torch.linalg.vector_norm(rigid, dim=1, keepdim=True)
    soft = soft / torch.linalg.vector_norm(soft, dim=(1, 2), keepdim=True)
    shares = shape.new_tensor([*_RIGID, *_SOFT]).sqrt()
    fields = torch.cat([shares[:7, None] * rigid, (shares[7:, None, None] * soft).flatten(0, 1)]).unflatten(1, (-1, 3))
    return fields / fields[..., :2].square().sum(0).mean().sqrt()


def compression_noise(
    points: Tensor, crf: float, generator: torch.Generator, rate: float = RATE, fps: float | None = None
) -> Tensor:
    """Landmarks as the detector would find them in a compressed film.

    The film's own jitter shrinks, and a new error comes in: constant, lasting (an autoregression of first order) and
    new in every frame, in proportions that give `noise_strength`, the same for all `noise_fields`. What has a
    range there is drawn within it.

    Args:
        points: Key points ``(T, P, 3)`` with head movement, in the face frame in IOD (``compose``); NaN stays NaN.
        crf: Constant rate factor of x264, 0 to 51; 0 changes nothing.
        generator: Source of chance.
        rate: Frames a second of ``points``.
        fps: Frames a second of the film, whose frames the encoder spoiled, before it was resampled; ``rate`` if None.

    Raises:
        ValueError: Not the key points, or a rate is out of range.
    """
    if points.ndim != 3 or points.shape[1:] != (len(KEYPOINTS), 3):
        raise ValueError(f"points must be key points (T, {len(KEYPOINTS)}, 3), not {tuple(points.shape)}")
    strength, fps = noise_strength(crf), _positive(rate if fps is None else fps, "fps")
    seen = torch.isfinite(points).flatten(1).all(1)
    if crf == 0 or not seen.any():
        return points.clone()
    velocity, bias, own = (
        low + (high - low) * float(torch.rand((), generator=generator))
        for low, high in (strength.velocity, strength.bias, strength.own)
    )
    sigma = velocity / math.sqrt(2 * (1 - strength.correlation))
    frames = math.ceil((len(points) - 1) / rate * fps) + 2
    fields = noise_fields(points[seen].median(0).values)
    error = _wander(frames, len(fields), strength.correlation, generator)
    if fps != rate:
        error, _ = resample(error, torch.arange(frames) / fps, rate)
    constant = torch.tensordot(torch.randn(len(fields), generator=generator).to(fields), fields, 1)
    power = fields.square().sum(0).mean() / constant.square().mean()
    constant = constant * (power * bias / (1 - bias)).sqrt()
    noise = torch.tensordot(error[: len(points)].to(points), fields.to(points), 1) + constant.to(points)
    return _calmer(points, own) + sigma * noise


def _wander(frames: int, channels: int, correlation: float, generator: torch.Generator) -> Tensor:
    """Noise of variance 1, ``(frames, channels)``: part of it lasts, so that the correlation is what it should be."""
    signal = require("scipy.signal", "Noise of compression", "scipy")
    fresh, lasting = torch.randn(2, frames, channels, generator=generator)
    share = correlation / _DECAY
    lasting[1:] *= math.sqrt(1 - _DECAY**2)
    lasting = torch.from_numpy(signal.lfilter([1.0], [1.0, -_DECAY], lasting.numpy(), axis=0)).to(fresh)
    return math.sqrt(share) * lasting + math.sqrt(1 - share) * fresh


def _calmer(points: Tensor, own: float) -> Tensor:
    """Points with their own jitter times ``own``, where a whole smoothing window is there."""
    if len(points) < _SAVGOL:
        return points
    quick = (points - savgol(points, _SAVGOL)).nan_to_num(0.0)
    return points - (1 - own) * quick


def _positive(value: float, name: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0, got {value}")
    return value


def mirror(points: Tensor) -> Tensor:
    """The face seen in a mirror: right is left.

    Args:
        points: Key points or the whole mesh ``(..., P, 3)``, x to the right about the middle of face or picture.

    Raises:
        ValueError: Neither key points nor mesh.
    """
    index = {len(KEYPOINTS): _KEY_MIRROR, N_POINTS: list(MIRROR)}.get(points.shape[-2])
    if index is None:
        raise ValueError(
            f"points must be {len(KEYPOINTS)} key points or the mesh of {N_POINTS}, not {points.shape[-2]}"
        )
    return points[..., index, :] * points.new_tensor([-1.0, 1.0, 1.0])


def change_speed(points: Tensor, factor: float) -> Tensor:
    """Plays a track faster (``factor`` above 1; 0.9 to 1.1 is natural) or slower: ``(T, ...)`` to about T / factor.

    Raises:
        ValueError: ``factor`` is not above 0.
    """
    return resample(points, torch.arange(len(points)) / _positive(factor, "factor"), 1.0)[0]


def lower_rate(points: Tensor, fps: float, rate: float = RATE) -> Tensor:
    """A track as if filmed at fewer frames a second and brought back by cubic splines.

    The camera sees instants: what moves faster than fps / 2 is folded back, not smoothed.

    Args:
        points: ``(T, ...)`` at ``rate``; NaN is a missing frame.
        fps: Frames a second of the film, at most ``rate``.
        rate: Frames a second before and after.

    Returns:
        ``(T, ...)``; NaN after the film's last frame.

    Raises:
        ValueError: ``fps`` is not above 0 and at most ``rate``.
    """
    if not 0 < fps <= rate:
        raise ValueError(f"fps must be above 0 and at most the rate of {rate:g}, got {fps}")
    every = math.ceil(rate / fps)  # read on a grid that is not slower, which takes no low-pass
    seen, time = resample(points, torch.arange(len(points)) / rate, every * fps)
    back, _ = resample(seen[::every], time[::every], rate)
    out = torch.full_like(points, float("nan"))
    out[: len(back)] = back[: len(points)]
    return out


def drop_frames(points: Tensor, share: float, generator: torch.Generator, longest: int = 5) -> Tensor:
    """Loses frames in short runs, as detectors do.

    Args:
        points: ``(T, ...)``.
        share: Of the frames, 0 to 0.5; it is met to the frame.
        generator: Source of chance.
        longest: Most frames in a run: 5 at 30 frames a second are the longest gap that tracks are bridged over.

    Returns:
        ``(T, ...)``, NaN in the lost frames.

    Raises:
        ValueError: ``share`` or ``longest`` is out of range.
    """
    if not 0 <= share <= 0.5 or longest < 1:
        raise ValueError(f"share must be within 0 and 0.5 and longest at least 1, got {share} and {longest}")
    lost = torch.arange(round(share * len(points)))
    ends = torch.randint(1, longest + 1, lost.shape, generator=generator).cumsum(0).clamp(max=len(lost)).unique()
    # Runs go into different slots between the frames that stay, so no two of them touch.
    slots = torch.randperm(len(points) - len(lost) + 1, generator=generator)[: len(ends)].sort().values
    out = points.clone()
    out[slots[torch.bucketize(lost, ends, right=True)] + lost] = float("nan")
    return out

"""Fakes of how a face moves, made from genuine tracks in milliseconds: training without a manipulated film.

A track is taken apart into the head's movement, a face at rest, what of the face follows the head, how it moves of
itself, and the detector's jitter. Only the fourth is manipulated, for a fake is filmed and detected as any other face
is: what follows the head is the detector's error at that pose, and its jitter would be there again. Otherwise a network
would learn to see the missing error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mediakit.deepfake.signals import RATE, Motion
from mediakit.denoise import bridge, resample
from mediakit.errors import require
from mediakit.mesh import KEYPOINTS
from mediakit.motion import mean_rotation

STRENGTHS = {
    "region_lag": (0.10, 0.27),  # s by which lower, upper or inner face come late
    "region_gain": (1.4, 2.2),  # factor by which movement of a region is larger, or smaller
    "expression_swap": (1.0, 4.0),  # s between the head and an expression of its own; one of a donor has any time
    "jitter": (0.0015, 0.007),  # IOD, rms in each direction
    "oversmooth": (0.08, 0.25),  # s, standard deviation of the Gaussian
    "contour_slide": (0.008, 0.03),  # IOD, rms of the drift in x and in y; half as many rad, 0.4 times of the size
    "desynchrony": (0.07, 0.20),  # s by which one half of the face comes late
    "basis": (0.6, 1.6),  # rad, rms turn of the coefficients of the motion basis
}
"""Ranges that strengths are drawn from, uniformly."""

KINDS = tuple(STRENGTHS)
"""Manipulations, see `STRENGTHS`."""

REGIONS = ("inner", "lower", "upper", "left", "right")
"""Parts of the face that `region` knows: brows to chin, mouth, eyes and brows, and the subject's two halves."""

_JITTER = 6.0  # Hz from which on the filter takes what is quick for jitter
_FADE = 0.25  # s
_BASIS, _BASIS_FRAMES = 8, 128  # components of the motion basis, and frames that it is taken from
_KEPT = (0.6, 0.85)  # factor of the jitter in what is oversmoothed: part of it is quick movement
_CORNERS, _MOUTH, _NOSE = ([KEYPOINTS.index(i) for i in points] for points in ((33, 263), (61, 291), (1,)))


class Parts(NamedTuple):
    """A face ``(T, P, 3)`` without head movement, as a sum; gaps are bridged linearly.

    Attributes:
        rest: The face at rest, ``(P, 3)``.
        movement: What it does of itself, smooth; 0 on average over time.
        follows: What goes with the head: linear regression on the three numbers of its rotation.
        jitter: What is faster than 6 Hz.
    """

    rest: Tensor
    movement: Tensor
    follows: Tensor
    jitter: Tensor


def take_apart(motion: Motion, rate: float = RATE) -> Parts:
    """Divides a face into what a manipulation changes and what it leaves alone.

    Raises:
        ValueError: No frame shows a face.
    """
    if not torch.isfinite(motion.face.flatten(1)).all(1).any():
        raise ValueError("the track shows no face in any frame: there is nothing to manipulate")
    face, rotation = bridge(motion.face), bridge(motion.pose.rotation)
    smooth = _slow(face, rate)
    rest = smooth.mean(0)
    moving = (smooth - rest).flatten(1)
    relative = mean_rotation(rotation).mT @ rotation
    turn = torch.stack([relative[:, b, a] - relative[:, a, b] for a, b in ((1, 2), (2, 0), (0, 1))], 1).double() / 2
    turn = turn - turn.mean(0)
    # A head that hardly turns explains nothing: half a degree of noise in each number keeps the slopes small.
    gram = turn.T @ turn + len(turn) * math.radians(0.5) ** 2 * torch.eye(3, dtype=turn.dtype, device=turn.device)
    follows = (turn @ torch.linalg.solve(gram, turn.T @ moving.double())).to(moving)
    return Parts(rest, (moving - follows).view_as(face), follows.view_as(face), face - smooth)


def _slow(x: Tensor, rate: float) -> Tensor:
    """Zero-phase low-pass of ``(T, ...)``.

    Its gain stays within [0, 1] and falls fast: movement and jitter of different origin have the power of one signal in
    sum, but for a narrow band. The lobes of a Savitzky-Golay filter, negative, would make all that is swapped noisy.
    """
    signal = require("scipy.signal", "A pseudo-fake", "scipy")
    sections = signal.butter(4, _JITTER, fs=rate, output="sos")
    smooth = signal.sosfiltfilt(sections, x.double().numpy(), axis=0, padlen=min(int(rate), len(x) - 1))
    return torch.from_numpy(smooth.copy()).to(x)


def region(rest: Tensor, name: str, size: float = 1.0) -> Tensor:
    """Soft weights ``(P,)`` in [0, 1] of a part of the face.

    Args:
        rest: Key points of the face at rest ``(P, 3)`` in IOD.
        name: One of `REGIONS`.
        size: Factor of its extent.

    Raises:
        ValueError: There is no such region.
    """
    nose, mouth, eyes = (rest[points].mean(0) for points in (_NOSE, _MOUTH, _CORNERS))
    if name in ("left", "right"):
        side = (rest - eyes)[:, 0] * (1 if name == "left" else -1)
        return _smoothstep(0.5 + side / (0.3 * size))
    if name not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}, got {name!r}")
    centre, extent = {"inner": (nose, (0.62, 0.85)), "lower": (mouth, (0.6, 0.5)), "upper": (eyes, (0.85, 0.38))}[name]
    away = torch.linalg.vector_norm((rest - centre)[:, :2] / rest.new_tensor(extent) / size, dim=1)
    return 1 - _smoothstep((away - 0.8) / 0.4)


def _smoothstep(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def delay(movement: Tensor, frames: float) -> Tensor:
    """Movement ``(T, ...)`` that comes some frames late, not necessarily whole; the beginning is its mirror image."""
    then = (torch.arange(len(movement), dtype=torch.double) - frames).abs().clamp(max=len(movement) - 1)
    before = then.floor().long()
    share = (then - before).to(movement).view(-1, *[1] * (movement.ndim - 1))
    return torch.lerp(movement[before], movement[(before + 1).clamp(max=len(movement) - 1)], share)


def smooth_in_time(x: Tensor, frames: float) -> Tensor:
    """Gaussian low-pass ``(T, ...)`` of a standard deviation in frames; the ends go on."""
    reach = math.ceil(3 * frames)
    taps = torch.exp(-torch.arange(-reach, reach + 1, dtype=x.dtype).square() / (2 * frames**2))
    channels = torch.nn.functional.pad(x.flatten(1).T[:, None], (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(channels, (taps / taps.sum())[None, None])[:, 0].T.unflatten(1, x.shape[1:])


def loop(movement: Tensor, start: int, frames: int, fade: int) -> Tensor:
    """Some frames of a movement ``(T, ...)`` from one on; after its end it begins again, crossfaded without a jump."""
    fade = min(fade, len(movement) // 4)
    period = len(movement) - fade
    turn = movement[:period].clone()
    if fade:
        share = _smoothstep((torch.arange(fade) + 0.5) / fade).to(movement).view(-1, *[1] * (movement.ndim - 1))
        turn[:fade] = torch.lerp(movement[period:], movement[:fade], share)
    return turn[(start + torch.arange(frames)) % period]


def mix_basis(movement: Tensor, turn: Tensor) -> Tensor:
    """Perturbs the coefficients of a movement's own principal components: one drives what another one drove.

    The coefficients, each over its standard deviation, are turned by a rotation: all components still move as much as
    before, but they go together in another way.

    Args:
        movement: ``(T, P, 3)``.
        turn: ``(K, K)``; the first K components are turned by exp(turn - turnᵀ).
    """
    flat = movement.flatten(1)
    few = flat[torch.linspace(0, len(flat) - 1, min(len(flat), _BASIS_FRAMES)).long()]
    # Fewer frames than coordinates: the components come from the products of frames with frames.
    mixtures = torch.linalg.eigh((few @ few.T).double()).eigenvectors
    count = min(len(turn), len(few))
    shapes = torch.nn.functional.normalize(mixtures[:, -count:].T.to(few) @ few, dim=1)
    coefficients = flat @ shapes.T
    size = coefficients.square().mean(0).sqrt().clamp_min(1e-9)
    rotation = torch.linalg.matrix_exp((turn - turn.T)[:count, :count]).to(flat)
    turned = coefficients / size @ rotation * size
    return movement + ((turned - coefficients) @ shapes).view_as(movement)


class _Draw:
    """What one manipulation is made with: its chance, all of it out of one generator, its rates and the donor."""

    def __init__(
        self, generator: torch.Generator, kind: str, rate: float, fps: float, donor: Parts | None = None
    ) -> None:
        self.generator, self.rate, self.fps, self.donor = generator, rate, fps, donor
        self.strength = self.between(*STRENGTHS[kind])

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def choice(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))

    def region(self, rest: Tensor, *names: str) -> Tensor:
        """Weights ``(P, 1)`` of one of some regions, each time of another size."""
        return region(rest, names[self.choice(len(names))], self.between(0.85, 1.15))[:, None]


# Each maker: parts of a face -> what is added to it, (T, P, 3).


def _region_lag(parts: Parts, draw: _Draw) -> Tensor:
    late = delay(parts.movement, draw.strength * draw.rate)
    return draw.region(parts.rest, "inner", "lower", "upper") * (late - parts.movement)


def _desynchrony(parts: Parts, draw: _Draw) -> Tensor:
    late = delay(parts.movement, draw.strength * draw.rate)
    return draw.region(parts.rest, "left", "right") * (late - parts.movement)


def _region_gain(parts: Parts, draw: _Draw) -> Tensor:
    gain = draw.strength if draw.choice(2) else 1 / draw.strength
    return draw.region(parts.rest, "inner", "lower", "upper") * (gain - 1) * parts.movement


def _jitter(parts: Parts, draw: _Draw) -> Tensor:
    weights = draw.region(parts.rest, "inner", "inner", "lower")
    centres = parts.rest[torch.multinomial(weights[:, 0], 8, generator=draw.generator)]
    bumps = torch.exp(-torch.cdist(parts.rest[:, :2], centres[:, :2]).square() / (2 * 0.25**2)) * weights
    bumps = bumps / bumps[weights[:, 0] > 0.5].square().sum(1).mean().sqrt()
    frames = len(parts.movement)
    filmed = math.ceil((frames - 1) / draw.rate * draw.fps) + 2
    error = torch.randn(filmed, 8, 3, generator=draw.generator)
    if draw.fps != draw.rate:
        error, _ = resample(error, torch.arange(filmed) / draw.fps, draw.rate)
    return draw.strength * torch.einsum("pk,tkc->tpc", bumps, error[:frames].to(bumps))


def _oversmooth(parts: Parts, draw: _Draw) -> Tensor:
    weights, kept = draw.region(parts.rest, "inner", "inner", "lower"), draw.between(*_KEPT)
    smooth = smooth_in_time(parts.movement, draw.strength * draw.rate)
    return weights * (smooth - parts.movement - (1 - kept) * parts.jitter)


def _contour_slide(parts: Parts, draw: _Draw) -> Tensor:
    noise = torch.randn(len(parts.movement), 4, generator=draw.generator).to(parts.movement)
    drift = smooth_in_time(noise, draw.between(0.15, 0.7) * draw.rate)
    drift = drift - drift.mean(0)
    drift = draw.strength * drift / drift.square().mean(0).sqrt().clamp_min(1e-6) * drift.new_tensor([1, 1, 0.5, 0.4])
    arm = (parts.rest - parts.rest[_NOSE])[None, :, :2]
    shift, turn, growth = drift[:, None, :2], drift[:, None, 2:3], drift[:, None, 3:]
    flat = shift + growth * arm + turn * torch.stack([-arm[..., 1], arm[..., 0]], -1)
    return draw.region(parts.rest, "inner") * torch.nn.functional.pad(flat, (0, 1))


def _basis(parts: Parts, draw: _Draw) -> Tensor:
    turn = torch.randn(_BASIS, _BASIS, generator=draw.generator)
    return mix_basis(parts.movement, draw.strength / math.sqrt(2 * (_BASIS - 1)) * turn) - parts.movement


def _expression_swap(parts: Parts, draw: _Draw) -> Tensor:
    frames, fade = len(parts.movement), round(_FADE * draw.rate)
    if draw.donor is None:
        # At least a second from the own time, also where it begins again; half the track where that is too short.
        period = frames - min(fade, frames // 4)
        nearest = min(draw.rate, period / 2)
        start = min(max(draw.strength * draw.rate, nearest), period - nearest)
        put_on = loop(parts.movement, round(start), frames, fade)
    else:
        other = draw.donor.movement.to(parts.movement)
        put_on = loop(other, draw.choice(len(other)), frames, fade)
    weights = draw.region(parts.rest, "inner", "lower") if draw.choice(2) else 1.0
    return weights * (put_on - parts.movement)


_MAKERS: dict[str, Callable[[Parts, _Draw], Tensor]] = {
    "region_lag": _region_lag,
    "region_gain": _region_gain,
    "expression_swap": _expression_swap,
    "jitter": _jitter,
    "oversmooth": _oversmooth,
    "contour_slide": _contour_slide,
    "desynchrony": _desynchrony,
    "basis": _basis,
}


def pseudo_fake(
    motion: Motion,
    kind: str,
    generator: torch.Generator,
    donor: Motion | None = None,
    rate: float = RATE,
    fps: float | None = None,
) -> Motion:
    """A manipulated twin of a genuine track, of drawn strength (`STRENGTHS`) and in a drawn part of the face.

    The head is left alone; since the inner face holds points that poses are estimated from, estimate it anew from the
    composed points. Give whole tracks.

    - ``region_lag``: a region comes late.
    - ``region_gain``: a region moves more, or less.
    - ``expression_swap``: the face does what the donor's does, or what it does itself at another time; it keeps its
      shape at rest.
    - ``jitter``: an error of the inner face, new in each frame and smooth over the face.
    - ``oversmooth``: quick movements are lost.
    - ``contour_slide``: the inner face drifts against its outline.
    - ``desynchrony``: one half of the face comes late.
    - ``basis``: the parts of the face move as they do, but go together in another way (`mix_basis`).

    Args:
        motion: A track at ``rate``; frames that are NaN stay so.
        kind: One of `KINDS`.
        generator: Source of chance; equal states give equal fakes.
        donor: Whose expression is put on by ``expression_swap``; other kinds do not look at it.
        rate: Frames a second of the tracks.
        fps: Frames a second of the film before it was resampled, each with a jitter of its own; ``rate`` if None.

    Returns:
        The same head with another face, as many frames.

    Raises:
        ValueError: There is no such kind, the tracks are not of key points, or one of them shows no face.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no pseudo-fake {kind!r}; take one of {', '.join(KINDS)}")
    for track in (motion, donor):
        if track is not None and track.face.shape[1:] != (len(KEYPOINTS), 3):
            raise ValueError(f"a face must be key points (T, {len(KEYPOINTS)}, 3), not {tuple(track.face.shape)}")
    swapped = None if donor is None or kind != "expression_swap" else take_apart(donor, rate)
    draw = _Draw(generator, kind, rate, rate if fps is None else fps, swapped)
    return motion._replace(face=motion.face + _MAKERS[kind](take_apart(motion, rate), draw))

"""How somebody moves: numbers of some seconds of head and face that hold habits, as little as possible of looks.

Three blocks. ``posture``: which movements go together, the pairwise correlations of Agarwal et al. ("Protecting world
leaders against deep fakes", CVPR workshops 2019), of landmark signals in place of action units. ``timing``: the same of
speeds, and of the mouth's speed with what head, eyes and brows do up to 0.2 s before and after: a nod that comes with a
stress. ``phase``, of head and mouth: tempo, how much the head turns, whether a movement goes faster than it comes back,
and how often the delay-embedded signal returns to where it was. How far mouth, lids and brows move is left out: in
interocular distances that tells the shape of a face, which a swapped one has, too. So are smaller movements in phase
space, and all above 3 Hz: strong compression changes them more than persons do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mediakit import motion
from mediakit.deepfake.phase import delay_embed, recurrence_rate
from mediakit.deepfake.signals import RATE
from mediakit.denoise import resample
from mediakit.encoders.face import FaceEncoder
from mediakit.tracks import FaceTrack, FaceTracks

CHANNELS = ("pitch", "yaw", "roll", "mouth opening", "mouth width", "jaw drop", "eye aperture", "brow height")
"""What moves: degrees from the mean pose, then interocular distances from the face at rest, both sides averaged."""
SMOOTH = 3.0
"""Half-gain frequency in Hz of the low-pass."""

_MOUTH = CHANNELS.index("mouth opening")
_PAIRS = [(a, b) for a in range(len(CHANNELS)) for b in range(a + 1, len(CHANNELS))]
_LAGGED = [(b, lag) for b in range(len(CHANNELS)) if b != _MOUTH for lag in (-6, -3, 3, 6)]
_PORTRAYED = 4  # the first channels: head and mouth
_LAG = 6  # samples: 0.2 s, as the networks embed
_NOISE = torch.tensor([0.3] * 3 + [3e-3] * 5, dtype=torch.double)  # degrees and IOD: correlations fade out towards it
_LEAST_SEEN = 0.8
_MOST_WINDOWS = 60


def _names() -> dict[str, tuple[str, ...]]:
    together = [f"{CHANNELS[a]} with {CHANNELS[b]}" for a, b in _PAIRS]
    later = [f"{CHANNELS[b]} {abs(n) / RATE:.1f} s {'after' if n > 0 else 'before'} the mouth" for b, n in _LAGGED]
    return {
        "posture": tuple(f"correlation of {pair}" for pair in together),
        "timing": tuple(f"correlation of speeds of {pair}" for pair in [*together, *later]),
        "phase": (
            *(f"tempo of {channel}" for channel in CHANNELS[:_PORTRAYED]),
            *(f"range of {channel}" for channel in CHANNELS[:3]),
            *(f"asymmetry in time of {channel}" for channel in CHANNELS[:_PORTRAYED]),
            *(f"recurrence of {channel}" for channel in CHANNELS[:_PORTRAYED]),
        ),
    }


BLOCKS = _names()
"""Names of the numbers, in order, by block: 28 + 56 + 15."""
NAMES = tuple(name for block in BLOCKS.values() for name in block)
"""All names, in the order of `describe`."""


def readable(name: str, value: float) -> float:
    """A number of `describe` in the unit that a person reads: a correlation, Hz, degrees, a share, or a skewness."""
    if name.startswith("correlation"):
        return float(torch.tensor(value).tanh())
    return value if name.startswith("asymmetry") else float(torch.tensor(value).exp())


def describe(x: Tensor) -> Tensor:
    """Numbers of some seconds of movement.

    Args:
        x: ``(T, 8)`` `CHANNELS` at 30 Hz, finite, at least two seconds.

    Returns:
        float64 ``(99,)``, named by `NAMES`: Fisher's z of correlations, natural logarithms of tempo (Hz), range
        (standard deviation in degrees) and recurrence (share of pairs of moments), skewness of the change over 0.2 s.

    Raises:
        ValueError: It has another shape, or is too short.
    """
    if x.ndim != 2 or x.shape[1] != len(CHANNELS) or len(x) < 2 * RATE:
        raise ValueError(f"x must be (T, {len(CHANNELS)}) with at least {2 * RATE:.0f} rows, got {tuple(x.shape)}")
    x = x.double()
    noise = _NOISE.to(x.device)
    speed = (x[2:] - x[:-2]) * RATE / 2
    spread, quickness = torch.hypot(x.std(0), noise), torch.hypot(speed.std(0), 10 * noise)
    z, v = (x - x.mean(0)) / spread, (speed - speed.mean(0)) / quickness
    first, second = torch.tensor(_PAIRS).T
    lagged = [(_early(v[:, _MOUTH], n) * _early(v[:, b], -n)).mean() for b, n in _LAGGED]
    change = (z[_LAG:] - z[:-_LAG])[:, :_PORTRAYED]
    skew = (change**3).mean(0) / (change**2).mean(0).clamp_min(1e-4) ** 1.5
    # A tenth of a second apart: nearer moments are alike in every face.
    states = [delay_embed(channel, 3, _LAG)[::3] for channel in z.T[:_PORTRAYED]]
    recurrence = x.new_tensor([recurrence_rate(points, 0.5) for points in states])
    return torch.cat(
        [
            _fisher((z[:, first] * z[:, second]).mean(0)),
            _fisher(torch.cat([(v[:, first] * v[:, second]).mean(0), torch.stack(lagged)])),
            (quickness / spread / (2 * torch.pi))[:_PORTRAYED].log(),
            spread[:3].log(),
            skew.clamp(-3, 3),
            recurrence.clamp_min(1e-3).log(),
        ]
    )


def _early(x: Tensor, lag: int) -> Tensor:
    """Without the last ``lag`` samples, or the first where it is negative."""
    return x[: len(x) - lag] if lag > 0 else x[-lag:]


def _fisher(correlation: Tensor) -> Tensor:
    return correlation.clamp(-0.97, 0.97).atanh()


def movements(track: FaceTrack) -> tuple[Tensor, Tensor, Tensor]:
    """What moves in a track.

    Args:
        track: The face, at any rate, also a variable one.

    Returns:
        `CHANNELS` ``(T, 8)`` at 30 Hz, low-passed at `SMOOTH`; ``(T,)`` bool, where a face was detected (elsewhere the
        signal is interpolated, for up to a sixth of a second); times ``(T,)`` in seconds.
    """
    points, time = resample(track.points, track.time, RATE)
    encoder = FaceEncoder(("pose", "scalars"), SMOOTH, RATE)
    out = encoder(points[None])[0].double()
    pose, face = out[:, encoder.slices["pose"]], out[:, encoder.slices["scalars"]]
    rotation = torch.stack([pose[:, :3], pose[:, 3:6], torch.linalg.cross(pose[:, :3], pose[:, 3:6])], dim=-1)
    both = [face[:, 3:5].mean(1, keepdim=True), face[:, 5:7].mean(1, keepdim=True)]
    seen = track.valid[torch.searchsorted(track.time, time - 1e-6).clamp(max=len(track) - 1)]
    return torch.cat([motion.euler_angles(rotation), face[:, :3], *both], dim=1), seen, time


class Windows(NamedTuple):
    """Windows of one video.

    Attributes:
        start: Seconds ``(W,)``.
        values: `describe` of each, ``(W, 99)``.
        longest: Seconds of the longest track.
        left_out: Faces that were not looked at, being beside a longer one.
    """

    start: Tensor
    values: Tensor
    longest: float
    left_out: int


def describe_tracks(tracks: FaceTracks, seconds: float) -> Windows:
    """Windows of the face of a video: at each moment the one of the longest track.

    Windows overlap by half; one that misses the face in more than a fifth of its frames, or in which nothing moves (a
    photograph), is left out. At most 60 are described, evenly spread.

    Args:
        tracks: Of one video.
        seconds: Length of a window, at least 2.

    Returns:
        The windows, in order; none where there is no face, or none for so long.
    """
    frames = round(seconds * RATE)
    chosen: list[FaceTrack] = []
    for track in tracks.tracks:
        if all(track.time[0] > other.time[-1] or track.time[-1] < other.time[0] for other in chosen):
            chosen.append(track)
    cut: list[tuple[float, Tensor]] = []
    for track in sorted(chosen, key=lambda track: float(track.time[0])):
        if track.duration < seconds - 0.1:  # the last frame lasts, too
            continue
        x, seen, time = movements(track)
        for first in range(0, max(len(x) - frames, 0) + 1, max(frames // 2, 1)):
            here = slice(first, first + frames)
            if seen[here].double().mean() >= _LEAST_SEEN and (x[here].std(0) > _NOISE).any():
                cut.append((float(time[first]), x[here]))
    if len(cut) > _MOST_WINDOWS:
        cut = [cut[i] for i in torch.linspace(0, len(cut) - 1, _MOST_WINDOWS).round().long().tolist()]
    values = [describe(x) for _, x in cut]
    return Windows(
        torch.tensor([start for start, _ in cut], dtype=torch.double),
        torch.stack(values) if values else torch.zeros(0, len(NAMES), dtype=torch.double),
        max((track.duration for track in chosen), default=0.0),
        len(tracks.tracks) - len(chosen),
    )

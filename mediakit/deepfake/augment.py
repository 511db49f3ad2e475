"""Training views of a genuine track: what a camera and a codec would have changed, and a pseudo-fake of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mediakit.deepfake.landmark_noise import change_speed, compression_noise, drop_frames, lower_rate, mirror
from mediakit.deepfake.pseudo_fakes import pseudo_fake
from mediakit.deepfake.signals import RATE, Motion, compose, key_points, put_keypoints, split_motion


@dataclass(frozen=True)
class Circumstances:
    """What both classes may meet; chances are in [0, 1].

    Attributes:
        compressed: Chance of compression noise.
        crf: Range of its rate factor.
        mirrored: Chance of a mirror image.
        speed: Largest change of speed, as a share.
        slow_film: Chance of a lower frame rate.
        fps: Range of that.
        gaps: Chance that frames are missing.
        missing: Largest share of them.
    """

    compressed: float = 0.7
    crf: tuple[float, float] = (18.0, 42.0)
    mirrored: float = 0.5
    speed: float = 0.1
    slow_film: float = 0.25
    fps: tuple[float, float] = (12.0, 25.0)
    gaps: float = 0.2
    missing: float = 0.1


def change_circumstances(
    points: Tensor,
    generator: torch.Generator,
    fake: str | None = None,
    donor: Motion | None = None,
    fps: float = RATE,
    settings: Circumstances | None = None,
) -> Tensor:
    """One view of a track; equal states of the generator give equal circumstances, with a fake or without.

    The pose is estimated anew from what comes out (`mediakit.deepfake.signals.track_signals`), so a manipulated face
    also moves the head a little, as it does for a detector.

    Args:
        points: Track ``(T, 478, 3)`` at 30 Hz in image pixels; NaN without a face.
        generator: Source of chance.
        fake: One of `mediakit.deepfake.pseudo_fakes.KINDS`, or None for a genuine view.
        donor: Whose expression is put on, for the kinds that take another one's.
        fps: Frames a second of the film that the track was found in: each of them had errors of its own.
        settings: What may happen; the defaults if None.

    Returns:
        ``(T', 478, 3)`` in image axes, in interocular distances.
    """
    settings = settings or Circumstances()
    seed = int(torch.randint(2**62, (1,), generator=generator))
    camera, hand = (torch.Generator().manual_seed(seed + n) for n in range(2))
    if _chance(settings.mirrored, camera):
        points = mirror(points)
    if fake is None:
        key = key_points(points)
    else:
        key = compose(pseudo_fake(split_motion(points), fake, hand, donor, RATE, min(fps, RATE)))
    if settings.speed:
        key = change_speed(key, 1 + settings.speed * (2 * _uniform(camera) - 1))
    if _chance(settings.slow_film, camera):
        slower = _between(settings.fps, camera)
        if slower < fps:
            key, fps = lower_rate(key, slower, RATE), slower
    if _chance(settings.compressed, camera):
        key = compression_noise(key, _between(settings.crf, camera), camera, RATE, min(fps, RATE))
    if _chance(settings.gaps, camera):
        key = drop_frames(key, settings.missing * _uniform(camera), camera)
    return put_keypoints(points, key)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _chance(share: float, generator: torch.Generator) -> bool:
    return _uniform(generator) < share


def _between(ends: tuple[float, float], generator: torch.Generator) -> float:
    return ends[0] + (ends[1] - ends[0]) * _uniform(generator)

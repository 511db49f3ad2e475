"""A face track -> what the networks read: head, expression and their jitter at 30 Hz, whole and cut into windows."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mediakit import motion
from mediakit.denoise import resample
from mediakit.encoders.face import SIGNALS, FaceEncoder
from mediakit.mesh import KEYPOINTS
from mediakit.tracks import FaceTrack

RATE = 30.0
"""Frames a second that every track is brought to."""
WINDOW = 96
"""Frames of a window: 3.2 s."""
HOP = 48
"""Frames from one window to the next: 1.6 s."""
SMOOTH = 5.0
"""Hz at which the smoother's gain is one half, see `mediakit.denoise.kalman_rts`; what it takes away is the jitter."""

HEAD = SIGNALS["pose"] + 10
"""Numbers a frame in ``Signals.head``: pose signal, then its jitter."""
EXPRESSION = SIGNALS["expression"] + SIGNALS["scalars"] + SIGNALS["jitter"] - 10
"""Numbers a frame in ``Signals.expression``: 86 points, 8 scalars, log jitter of the parts of the face."""

_PARTS = ("pose", "jitter", "expression", "scalars")
_KEY = list(KEYPOINTS)


class Signals(NamedTuple):
    """What the networks read, of one track ``(T, ...)`` or of windows ``(B, T, ...)``.

    Attributes:
        head: `mediakit.motion.pose_signal` of the smoothed track and what smoothing took from it, ``(..., T, 20)``.
        expression: Displacements of 86 points and 8 scalars in IOD, both of the smoothed face without its head's
            movement, and the log jitter of the parts of the face: ``(..., T, 273)``.
        valid: Frames that show a face, ``(..., T)`` bool; the others are zero.
    """

    head: Tensor
    expression: Tensor
    valid: Tensor


class Motion(NamedTuple):
    """Head movement and face of one track at 30 Hz, apart; together again by `compose`.

    Attributes:
        pose: Of the head in each frame, in the face frame (x right, y up, z to the camera) and in units of the track's
            interocular distance (IOD).
        face: The key points `.KEYPOINTS` without head movement, ``(T, P, 3)`` in the template's axes, in IOD.
    """

    pose: motion.Similarity
    face: Tensor


def resample_track(
    track: FaceTrack, rate: float = RATE, points: Literal["detected", "denoised"] = "detected"
) -> tuple[Tensor, Tensor]:
    """A track at one rate; frames in which no face was detected are missing, whatever was put there.

    Args:
        track: The face, at any rate, also a variable one.
        rate: Frames a second.
        points: The detector's points, or those of the flow filter.

    Returns:
        Points ``(T, 478, 3)`` in pixels, NaN where there is no face, and times ``(T,)`` in seconds.

    Raises:
        ValueError: The track has no denoised points.
    """
    found = track.points if points == "detected" else track.denoised
    if found is None:
        raise ValueError("the track has no denoised points: make it with track_faces(..., denoise=True)")
    return resample(torch.where(track.valid[:, None, None], found, float("nan")), track.time, rate)


def split_motion(points: Tensor) -> Motion:
    """Takes a track apart into head movement and face.

    Args:
        points: Track ``(T, 478, 3)`` in image pixels; NaN without a face, and so is the result there.

    Raises:
        ValueError: No frame shows a face.
    """
    pose = motion.head_pose(points, motion.face_template(points))
    iod = torch.nanmedian(motion.interocular_distance(points))
    face = motion.aligned_shape(points[:, _KEY], pose)
    return Motion(motion.Similarity(pose.scale / iod, pose.rotation, pose.translation / iod), face)


def compose(moving: Motion) -> Tensor:
    """Key points ``(T, P, 3)`` in the face frame in IOD: the inverse of `split_motion` but for the unit."""
    return moving.pose.apply(moving.face)


def key_points(points: Tensor) -> Tensor:
    """Key points of a track as `compose` puts them together, where nothing is to be taken apart.

    Args:
        points: Track ``(T, 478, 3)`` in image pixels; NaN without a face.

    Returns:
        ``(T, P, 3)`` in the face frame in IOD.
    """
    return motion.to_face_frame(points[:, _KEY]) / torch.nanmedian(motion.interocular_distance(points))


def put_keypoints(points: Tensor, key: Tensor) -> Tensor:
    """A track whose key points are others.

    Args:
        points: Track ``(T, 478, 3)`` in image pixels.
        key: Its new key points ``(T', P, 3)`` as `compose` gives them. Where there are more or fewer frames than
            before, the other points, of which only the mean shape matters, are those of the nearest frame.

    Returns:
        ``(T', 478, 3)`` in image axes, in units of the track's IOD.
    """
    iod = torch.nanmedian(motion.interocular_distance(points))
    mesh = points[torch.linspace(0, len(points) - 1, len(key)).round().long()] / iod
    mesh[:, _KEY] = motion.to_face_frame(key)
    return mesh


def track_signals(points: Tensor, smooth: float = SMOOTH) -> Signals:
    """What the networks read of a whole track; give whole tracks and cut windows from the result.

    Args:
        points: ``(T, 478, 3)`` at `RATE` in image axes, in any unit; NaN without a face.
        smooth: Half-gain frequency of the smoother in Hz.

    Returns:
        Signals ``(T, ...)``.
    """
    encoder = FaceEncoder(_PARTS, smooth, RATE)
    out, parts = encoder(points[None])[0], encoder.slices
    pose, jitter = out[:, parts["pose"]], out[:, parts["jitter"]]
    face = [out[:, parts["expression"]], out[:, parts["scalars"]], jitter[:, 10:]]
    return Signals(torch.cat([pose, jitter[:, :10]], -1), torch.cat(face, -1), encoder.valid(points[None])[0])


def windows(frames: int, window: int = WINDOW, hop: int = HOP) -> list[int]:
    """First frames of the windows over a track; the last one ends where the track does.

    A track that is not longer than one window gives one window, which is padded.
    """
    starts = list(range(0, max(frames - window, 0) + 1, hop))
    if starts[-1] + window < frames:
        starts.append(frames - window)
    return starts


def cut_windows(signals: Signals, starts: list[int], window: int = WINDOW) -> Signals:
    """Windows ``(W, window, ...)`` of a track's signals ``(T, ...)``; what lies beyond its end is not valid."""
    at = torch.tensor(starts)[:, None] + torch.arange(window)
    inside = at < len(signals.valid)
    at = at.clamp(max=len(signals.valid) - 1)
    valid = signals.valid[at] & inside
    head, expression = (torch.where(valid[..., None], part[at], 0.0) for part in signals[:2])
    return Signals(head, expression, valid)

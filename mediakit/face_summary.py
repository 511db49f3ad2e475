"""What the faces of a file look like at a glance: when they are seen, and their curves of pose and expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mediakit.tracks import FaceTrack


@dataclass(frozen=True, eq=False)
class FaceSummary:
    """One face track at a glance; curves are evenly thinned to at most 600 values.

    Attributes:
        start: First detection in seconds.
        end: Last detection in seconds.
        detections: Frames in which the face was detected.
        missed: Frames inside the track in which it was not.
        interocular_px: Median distance of the outer eye corners in pixels.
        time: ``(P,)`` seconds of the curves.
        pose: ``(P, 3)``, columns as ``pose_names``, in degrees, zero for a face that looks into the camera; signs as in
            :func:`mediakit.motion.euler_angles`.
        expression: ``(P, S)`` in units of the interocular distance, columns as ``expression_names``.
        expression_names: Names of the columns.
        boxes: ``{time of key frame: landmarks (478, 2) in pixels}`` for the pictures kept for show.
        pose_names: Names of the columns.
    """

    start: float
    end: float
    detections: int
    missed: int
    interocular_px: float
    time: torch.Tensor
    pose: torch.Tensor
    expression: torch.Tensor
    expression_names: tuple[str, ...]
    boxes: dict[float, torch.Tensor]
    pose_names: tuple[str, ...] = ("pitch", "yaw", "roll")


@dataclass(frozen=True)
class FacesSummary:
    """All faces of a file.

    Attributes:
        detector: Name, version and parameters of the detector.
        frames: Frames looked at.
        frames_with_face: Frames in which at least one face was detected.
        dropped: Detections in tracks too short to keep.
        tracks: The tracks, most detections first.
    """

    detector: dict[str, Any]
    frames: int
    frames_with_face: int
    dropped: int
    tracks: tuple[FaceSummary, ...]


def summarize_track(track: FaceTrack, key_times: tuple[float, ...] = (), limit: int = 600) -> FaceSummary:
    """Reduces a face track to its curves of head pose and expression.

    Args:
        track: Landmarks in pixels.
        key_times: Times whose landmarks are kept for show.
        limit: Most values in a curve.
    """
    from mediakit import motion

    template = motion.face_template(track.points, track.valid)
    poses, scalars, distances = [], [], []
    # In blocks: float64 copies of all landmarks of a long film would not fit the memory budget.
    for block in track.points.split(512):
        pose = motion.head_pose(block, template)
        poses.append(motion.euler_angles(pose.rotation))
        scalars.append(motion.expression_scalars(motion.aligned_shape(block, pose)))
        distances.append(motion.interocular_distance(block))
    at = {float(t): row for row, t in enumerate(track.time)}
    boxes = {t: track.points[at[t], :, :2].clone() for t in key_times if t in at and track.valid[at[t]]}
    return FaceSummary(
        start=float(track.time[0]),
        end=float(track.time[-1]),
        detections=int(track.valid.sum()),
        missed=int((~track.valid).sum()),
        interocular_px=float(torch.cat(distances).median()),
        time=_thin(track.time, limit),
        pose=_thin(torch.cat(poses), limit),
        expression=_thin(torch.cat(scalars), limit),
        expression_names=tuple(motion.EXPRESSION_NAMES),
        boxes=boxes,
    )


def _thin(values: torch.Tensor, limit: int) -> torch.Tensor:
    """At most ``limit`` rows, each the mean of equally many."""
    step = -(-len(values) // limit)
    return torch.stack([part.double().mean(0) for part in values.split(step)])

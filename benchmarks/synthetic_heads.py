"""Are the talking heads faces to a face tracker, and is its truth theirs? `python benchmarks/synthetic_heads.py`.

Tracks generated clips and compares pose and expression with what was drawn: correlation, and rmse after taking out the
mean difference (told as offset: the tracker's idea of a straight look is its own). Then turns heads beyond what
performances do, until the tracker loses them. Medians over clips, and their range.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
import torch

from mediakit import motion, track_faces
from mediakit.io import Frame
from mediakit.synthetic.camera import Sensor
from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.heads import TalkingHead, TalkingHeads

ANGLES = ("pitch", "yaw", "roll")
CONDITIONS: tuple[dict[str, float], ...] = (
    {},
    {"brightness": 0.4},
    {"brightness": 0.25},
    {"brightness": 0.15},
    {"noise": 0.04},
    {"noise": 0.08},
)


def signals(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles (T, 3) in degrees and expression scalars (T, 8) of a track (T, 478, 3)."""
    points = points.double()
    pose = motion.head_pose(points, motion.face_template(points))
    return motion.euler_angles(pose.rotation), motion.expression_scalars(motion.aligned_shape(points, pose))


def follow(clip: TalkingHead) -> dict[str, float | tuple[float, ...]]:
    """Frames missed and further faces seen; of each signal correlation, rmse without offset, and offset."""
    found = track_faces(Frame(i, i / clip.fps, image) for i, image in enumerate(clip.frames()))
    truth = clip.tensors()
    row: dict[str, float | tuple[float, ...]] = {
        "missed frames": len(truth["time"]) - found.frames_with_face,
        "other faces": len(found.tracks) - 1 if found.tracks else 0,
    }
    if not found.tracks:
        return row
    track = found.tracks[0]
    frames = (track.time * clip.fps).round().long()[track.valid]
    _, true_scalars = signals(truth["points"])
    seen = torch.cat(signals(track.points[track.valid]), dim=1)
    true = torch.cat([motion.euler_angles(truth["rotation"].double()), true_scalars], dim=1)[frames]
    for k, name in enumerate((*ANGLES, *motion.EXPRESSION_NAMES)):
        difference = seen[:, k] - true[:, k]
        row[name] = (
            float(np.corrcoef(seen[:, k], true[:, k])[0, 1]),
            float(difference.std()),
            float(difference.mean()),
        )
    return row


def table(rows: list[dict], names: Iterable[str]) -> None:
    """Prints median [min..max] of each signal."""
    whole = [row for row in rows if len(row) > 2]
    for count in ("missed frames", "other faces"):
        print(f"  {count}, clip by clip: {' '.join(str(row[count]) for row in rows)}")
    print(f"  {'':20} {'correlation':>22} {'rmse':>22} {'offset':>22}")
    for name in names:
        values = np.array([row[name] for row in whole])
        cells = [f"{np.median(v):7.3f} [{v.min():.3f}..{v.max():.3f}]" for v in values.T]
        print(f"  {name:20} " + " ".join(f"{cell:>22}" for cell in cells))


def sweep(clips: list[TalkingHead], axis: int, angles: list[int]) -> None:
    """Turns each clip's head at rest, step by step, and says how far off the tracker is."""
    print(f"\n{ANGLES[axis]} sweep, {len(clips)} people; a straight look's error is taken out")
    for angle in angles:
        errors, lost = [], 0
        for clip in clips:
            straight, turned = (_look(clip, axis, degrees) for degrees in (0.0, float(angle)))
            if straight is None or turned is None:
                lost += 1
            else:
                errors.append(turned[axis] - straight[axis] - _true(clip, axis, angle))
        told = f"{np.median(errors):6.1f} [{min(errors):.1f}..{max(errors):.1f}]" if errors else ""
        print(f"  {angle:4}: lost {lost} of {len(clips)}, error {told}")


def _pose(clip: TalkingHead, axis: int, degrees: float) -> motion.Similarity:
    turn = np.zeros(3)
    turn[axis] = degrees
    return clip.actor.turned(turn, np.zeros(2), 1.0)


def _true(clip: TalkingHead, axis: int, degrees: float) -> float:
    turned, straight = (motion.euler_angles(_pose(clip, axis, d).rotation) for d in (degrees, 0.0))
    return float((turned - straight)[axis])


def picture(clip: TalkingHead, axis: int, degrees: float) -> np.ndarray:
    """The person at rest with the head turned, (H, W, 3) uint8."""
    pose = _pose(clip, axis, degrees)
    actor = clip.actor
    light = actor.photograph(actor.points(pose, np.zeros_like(actor.shape), np.zeros(2)), pose)
    return Sensor(actor.size, 0.012, 1.0, random_stream("sweep")).record(light)


def _look(clip: TalkingHead, axis: int, degrees: float) -> np.ndarray | None:
    image = torch.from_numpy(picture(clip, axis, degrees)).permute(2, 0, 1)
    found = track_faces((Frame(i, i / 25, image) for i in range(3)), min_duration=0.0)
    if not found.tracks:
        return None
    points = found.tracks[0].points[-1:].double()
    return motion.euler_angles(motion.head_pose(points, motion.face_template(points)).rotation)[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12, help="clips; each of another person, of six seeds")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--split", default="train")
    options = parser.parse_args()

    def clips(**look: float) -> list[TalkingHead]:
        families = [TalkingHeads(seed, options.split, ("real",), seconds=options.seconds, **look) for seed in range(6)]
        return [families[i % 6].clip(i // 6) for i in range(options.clips)]

    for look in CONDITIONS:
        print(f"\n{', '.join(f'{k} {v}' for k, v in look.items()) or 'defaults'}: n = {options.clips} clips")
        rows = [follow(clip) for clip in clips(**look)]
        table(rows, (*ANGLES, *motion.EXPRESSION_NAMES) if not look else (*ANGLES, "mouth_opening"))
    people = clips()[:6]
    sweep(people, 1, [*range(-60, 0, 10), *range(5, 61, 5)])
    sweep(people, 0, [*range(-40, 41, 5)])


if __name__ == "__main__":
    main()

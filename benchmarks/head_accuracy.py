"""Head pose and expression of talking heads as mp4 files, against the truth and against compression.

    python benchmarks/head_accuracy.py --heads 8 --seconds 4
    python benchmarks/head_accuracy.py --film friday.mp4

First: pose from x and y alone, from x, y and depth with equal weights, and from both with weights by visibility
(`mediakit.motion.head_pose`), by yaw and by light. Heads turn as performances do, and twice as far. Then what CRF 23
and 40 leave of the motion, by the way of denoising: against the unsmoothed source and, where it is known, the truth.
Each head is encoded losslessly and its file is what FaceMesh sees.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mediakit import motion
from mediakit.deepfake.comparison import LEAST, SIGNALS, band_velocity, compare_tracks, head_signals, rotation_angle
from mediakit.deepfake.robustness import PIPELINES, follow
from mediakit.deepfake.signals import RATE
from mediakit.denoise import kalman_rts, resample
from mediakit.faces import track_faces
from mediakit.io import recompress, write_video
from mediakit.jobs import JobError, run_jobs
from mediakit.mesh import RIGID, SEMANTIC
from mediakit.pose_2d import head_pose_2d
from mediakit.synthetic.heads import TalkingHead, TalkingHeads
from mediakit.tracks import FaceTrack, FaceTracks

LIGHTS: dict[str, dict[str, float]] = {
    "as generated": {},
    "brightness 0.4": {"brightness": 0.4},
    "brightness 0.2": {"brightness": 0.2},
    "noise 0.06": {"noise": 0.06},
}
YAWS = (0.0, 3.0, 6.0, 10.0, 15.0, 20.0)
CRFS = (23, 40)


def _equal(points: Tensor, template: Tensor) -> motion.Similarity:
    return motion.procrustes(motion.to_face_frame(points[:, list(RIGID)]), template[list(RIGID)])


POSES: dict[str, Callable[[Tensor, Tensor], motion.Similarity]] = {
    "2D alone": head_pose_2d,
    "3D alone": _equal,
    "both": motion.head_pose,
}

WAYS = {
    **PIPELINES,
    **{f"Kalman-RTS {hz} Hz": lambda x, flow, hz=hz: kalman_rts(x, RATE, hz) for hz in (3, 4, 6, 8, 10)},
    **{f"LK, then RTS {hz} Hz": lambda x, flow, hz=hz: kalman_rts(flow, RATE, hz) for hz in (3, 5, 8)},
}


@dataclass(frozen=True)
class Head:
    """One head to measure: its number, the factor of its yaw, its light, and whether to compress it."""

    number: int
    turn: float
    light: str
    compress: bool
    seconds: float
    side: int


def clip_of(head: Head) -> TalkingHead:
    heads = TalkingHeads(1, "test", ("real",), 60, head.seconds, (head.side, head.side), **LIGHTS[head.light])
    clip = heads.clip(head.number)
    angles = clip.performance.angles * np.array([1.0, head.turn, 1.0])
    clip.performance = replace(clip.performance, angles=angles)
    return clip


def measure(head: Head) -> dict[str, np.ndarray]:
    """What `accuracy` and, of heads that are compressed, `compression` say of one head."""
    torch.set_num_threads(1)
    clip = clip_of(head)
    truth = clip.tensors()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "head.mp4")
        write_video(film, clip.frames(), clip.fps, crf=0, preset="ultrafast")
        tracks = track_faces(film, denoise=head.compress)
        if not tracks.tracks:
            return {}
        found = accuracy(tracks.tracks[0], truth, clip.fps)
        if head.compress:
            found |= compression(film, tracks, truth["points"], clip.fps)
    return found


def accuracy(track: FaceTrack, truth: dict[str, Tensor], fps: int) -> dict[str, np.ndarray]:
    """|true yaw|, error of rotation in degrees (its mean taken out), of pitch, yaw, roll, of expression in percent."""
    frames = (track.time * fps).round().long()[track.valid]
    points, true_points = track.points[track.valid].double(), truth["points"].double()
    template, rotation = motion.face_template(points), truth["rotation"].double()
    rest = motion.Similarity(*(truth[name].double() for name in ("scale", "rotation", "translation")))
    true_expression = motion.expression(true_points, rest)[:, SEMANTIC][frames]
    true_angles, rotation = motion.euler_angles(rotation)[frames], rotation[frames]
    rows = {}
    for name, fit in POSES.items():
        pose = fit(points, template)
        # Where straight ahead lies is the tracker's own idea: the mean turn between the two is not counted.
        offset = motion.mean_rotation(pose.rotation @ rotation.mT)
        seen = offset.mT @ pose.rotation
        error = motion.euler_angles(seen) - true_angles
        apart = (motion.expression(points, pose)[:, SEMANTIC] - true_expression).norm(dim=-1).mean(-1)
        columns = [true_angles[:, 1].abs(), rotation_angle(seen, rotation), *error.abs().T, 100 * apart]
        rows[name] = torch.stack(columns, -1).numpy()
    rows["(truth)"] = (100 * true_expression.norm(dim=-1).mean(-1)).numpy()
    return rows


def compression(film: Path, tracks: FaceTracks, truth: Tensor | None = None, fps: int = 0) -> dict[str, np.ndarray]:
    """§8's numbers of each way of denoising, then correlation and gain against the truth's velocities.

    Args:
        film: The source.
        tracks: Its faces, with flow; the longest is followed.
        truth: True points of all frames, if they are known.
        fps: Of the film.
    """
    subject = tracks.tracks[0]

    def resampled(points: Tensor) -> Tensor:
        return resample(torch.where(subject.valid[:, None, None], points.double(), float("nan")), subject.time, RATE)[0]

    reference, rows = resampled(subject.points), {}
    template, true = motion.face_template(reference), None
    if truth is not None:
        true_points = resampled(truth[(subject.time * fps).round().long()])
        true = band_velocity(head_signals(true_points, motion.face_template(true_points)), RATE)
    with tempfile.TemporaryDirectory() as folder:
        for name, crf in (("source", None), *((f"CRF {crf}", crf) for crf in CRFS)):
            version = Path(folder, "version.mp4")
            again = tracks
            if crf is not None:
                recompress(film, version, crf=crf)
                again = track_faces(version, denoise=True)
            factor = torch.tensor([a / b for a, b in zip(tracks.size, again.size, strict=True)])[[0, 1, 0]]
            detected, flow = (resampled(x) for x in follow(subject, again, factor))
            for way, denoise in WAYS.items():
                smooth = torch.where(torch.isfinite(detected), denoise(detected, flow), float("nan"))
                if int(torch.isfinite(smooth[:, 0, 0]).sum()) < LEAST:
                    continue
                c = compare_tracks(reference, smooth, RATE, template=template)
                row = [100 * c.displacement, c.pose_error, 100 * c.expression_displacement]
                row += [*c.correlation.values(), *c.gain.values(), *c.power.values()]
                if true is not None:
                    moved = band_velocity(head_signals(smooth, template), RATE)
                    row += [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(moved.T, true.T, strict=True)]
                    row += ((moved * true).sum(0) / true.square().sum(0)).tolist()
                rows[f"{name}, {way}"] = np.array(row)
    return rows


def told_accuracy(rows: list[dict[str, np.ndarray]], title: str) -> None:
    """Medians over frames of heads put together."""
    frames = {name: np.concatenate([row[name] for row in rows]) for name in (*POSES, "(truth)")}
    size = np.median(frames["(truth)"])
    print(f"\n{title}: {len(rows)} heads, {len(frames['both'])} frames; true expression {size:.1f} % of the IOD")
    print(f"  {'|yaw|':8}{'frames':>7}  " + "".join(f"{name:^42}" for name in POSES))
    heads = f"{'head°':>7}{'pitch':>7}{'yaw':>7}{'roll':>7}{'expr.%':>8}      "
    print(f"  {'':15}  " + heads * len(POSES))
    for low, high in [(0.0, 90.0), *pairwise(YAWS)]:
        cells = []
        for name in POSES:
            inside = (frames[name][:, 0] >= low) & (frames[name][:, 0] < high)
            cells.append(frames[name][inside][:, 1:])
        if len(cells[0]):
            line = "".join(
                f"{m[0]:7.2f}{m[1]:7.2f}{m[2]:7.2f}{m[3]:7.2f}{m[4]:8.2f}      " for m in map(_median, cells)
            )
            print(f"  {f'{low:g}-{high:g}':8}{len(cells[0]):7}  {line}".rstrip())


def _median(rows: np.ndarray) -> np.ndarray:
    return np.median(rows, axis=0)


def told_compression(rows: list[dict[str, np.ndarray]], title: str) -> None:
    """Medians over films."""
    names = " ".join(f"{name:>5}" for name in SIGNALS)
    known = any(len(x) > 15 for row in rows for name, x in row.items() if ", " in name)
    heads = [f"{'correlation':^24}", f"{'gain':^24}", f"{'power':^24}"]
    heads += [f"{'corr. with truth':^24}", f"{'gain of truth':^24}"] if known else []
    print(f"\n{title}\n  {'':32}{'n':>3}{'shift%':>8}{'pose°':>7}{'expr.%':>8} | " + " | ".join(heads))
    print(f"  {'':58} | " + " | ".join([f"{names:24}"] * len(heads)))
    for name in dict.fromkeys(name for row in rows for name in row if ", " in name):
        found = np.stack([row[name] for row in rows if name in row])
        m = np.median(found, axis=0)
        groups = " | ".join(f"{' '.join(f'{x:5.2f}' for x in group):24}" for group in m[3:].reshape(-1, 4))
        print(f"  {name:32}{len(found):3}{m[0]:8.2f}{m[1]:7.2f}{m[2]:8.2f} | {groups}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", help="a film of one's own instead of heads; its truth is not known")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--side", type=int, default=480, help="pixels; the interocular distance is a fifth of it")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.film:
        tracks = track_faces(options.film, denoise=True)
        iod = float(motion.interocular_distance(tracks.tracks[0].points).median())
        told_compression([compression(Path(options.film), tracks)], f"{options.film}: eye corners {iod:.0f} px apart")
        return
    looks = [
        (1.0, "as generated"),
        (2.0, "as generated"),
        *((1.0, light) for light in LIGHTS if light != "as generated"),
    ]
    todo = [
        Head(number, turn, light, turn == 1 and not LIGHTS[light], options.seconds, options.side)
        for turn, light in looks
        for number in range(options.heads)
    ]
    found: dict[tuple[float, str], list[dict[str, np.ndarray]]] = {look: [] for look in looks}
    for head, row in run_jobs(measure, todo, workers=options.workers):
        if isinstance(row, JobError) or not row:
            print(f"{head}: {row.problem if isinstance(row, JobError) else 'no face'}")
        else:
            found[head.turn, head.light].append(row)
    print("Medians over frames of the absolute error, a straight look's taken out, and of the distance of expressions")
    for (turn, light), rows in found.items():
        if rows:
            told_accuracy(rows, light + (f", yaw turned {turn:g} times as far" if turn != 1 else ""))
    for (_, light), rows in found.items():
        if rows and any(", raw" in name for name in rows[0]):
            told_compression(rows, f"Compression, {light}: velocities below 6 Hz, medians over heads")


if __name__ == "__main__":
    main()

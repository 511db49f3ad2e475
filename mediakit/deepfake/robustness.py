"""How much of a face's motion survives compression: a film against recompressed versions of itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from mediakit import motion
from mediakit.deepfake.comparison import CUTOFF, LEAST, Comparison, compare_tracks, head_signals
from mediakit.deepfake.signals import RATE, SMOOTH
from mediakit.denoise import bridge, kalman_rts, resample, savgol
from mediakit.errors import MediaError
from mediakit.faces import track_faces
from mediakit.io import check_readable, probe, read_video, recompress, scan_packets, sha256
from mediakit.tracks import FaceTrack, FaceTracks

SCHEMA = "mediakit.robustness/1"
WINDOW = 7
"""Frames of the Savitzky-Golay filter."""
RAW = "raw"
PIPELINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    RAW: lambda detected, flow: detected,
    "Lucas-Kanade-Kalman": lambda detected, flow: flow,
    f"Savitzky-Golay {WINDOW}": lambda detected, flow: savgol(bridge(detected), WINDOW),
    f"Kalman-RTS {SMOOTH:g} Hz": lambda detected, flow: kalman_rts(detected, RATE, SMOOTH),
}
"""Ways to denoise: functions of the detector's points and of the flow filter's, ``(T, 478, 3)`` each at ``RATE``."""

_SAME_TIME = 0.005  # s: frames of two versions this close are one
_NEAR = 0.5  # face sizes between two detections of one face
_ADVICE = "Choose a film in which one face is followed for longer, without a cut."
_VERDICT = ("verdict", "reason", "probability", "belief", "conflict", "quality")


@dataclass(frozen=True, eq=False)
class Version:
    """One version of the film beside the source.

    Attributes:
        name: ``"source"``, or how it was compressed.
        crf: Constant rate factor of libx264; None for the source.
        scale: Of width and height.
        size: Width and height in pixels.
        kilobits: A second of the pictures' stream; None where the headers are silent.
        frames: Of the film.
        frames_with_face: Those in which a face was detected.
        interocular_px: Median distance of the outer eye corners in this version's own pixels; NaN without the face.
        comparisons: With the source's unsmoothed landmarks, by pipeline; empty if that was not possible.
        problem: Why it was not; empty if it was.
        verdict: Of a deepfake detector on the video, as `mediakit.deepfake.result` tells it; None without a detector.
        signals: Unsmoothed motion ``(T, 4)`` as `mediakit.deepfake.comparison.SIGNALS`, at the times of `Robustness`.
        picture: Frame in the middle of the source's track, uint8 ``(3, H, W)``.
        face: Landmarks in it, ``(478, 3)`` pixels; NaN without the face.
    """

    name: str
    crf: int | None
    scale: float
    size: tuple[int, int]
    kilobits: int | None
    frames: int
    frames_with_face: int
    interocular_px: float
    comparisons: dict[str, Comparison]
    problem: str
    verdict: dict[str, Any] | None
    signals: Tensor
    picture: Tensor
    face: Tensor


@dataclass(frozen=True, eq=False)
class Robustness:
    """A film and its versions.

    Attributes:
        name: Of the file.
        sha256: Of the file.
        time: ``(T,)`` seconds of the signals at ``RATE``: from the first to the last frame of the source's track.
        versions: The source first.
        detector: Name, version and parameters of the landmark detector.
    """

    name: str
    sha256: str
    time: Tensor
    versions: tuple[Version, ...]
    detector: dict[str, Any]

    def __str__(self) -> str:
        """What is left of the motion in each version, and the verdict on each, in one line."""
        kept = ", ".join(f"{_kept(v)} at {v.name}" for v in self.versions if v.crf is not None)
        told = [f"{v.verdict['verdict']} of {v.name}" for v in self.versions if v.verdict is not None]
        verdicts = f"; verdict: {', '.join(told)}" if told else ""
        return f"velocities of head and mouth correlate with the source's by {kept}{verdicts}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.robustness/1``: all but pictures and curves."""
        versions = []
        for version in self.versions:
            told = {name: value for name, value in vars(version).items() if not isinstance(value, Tensor)}
            versions.append(told | {"comparisons": {name: asdict(x) for name, x in version.comparisons.items()}})
        about = {"schema": SCHEMA, "file": {"name": self.name, "sha256": self.sha256}}
        span = [float(self.time[0]), float(self.time[-1])]
        settings = {"span": span, "rate": RATE, "cutoff": CUTOFF, "detector": self.detector}
        plain: dict[str, Any] = _plain({**about, **settings, "versions": versions})
        return plain


def _kept(version: Version) -> str:
    """Mean correlation of the velocities where nothing is smoothed; a dash where it could not be measured."""
    known = [x for x in version.comparisons[RAW].correlation.values() if x == x] if version.comparisons else []
    return f"{fmean(known):.2f}" if known else "-"


def _plain(value: Any) -> Any:
    """NaN has no place in JSON; six digits, so that a rerun gives the same ones whatever rounding did."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return None if value != value else float(f"{value:.6g}")
    return value


def measure_robustness(
    video: str | os.PathLike[str],
    crfs: Sequence[int] = (23, 32, 40),
    scales: Sequence[float] = (0.5,),
    *,
    deepfake: str | os.PathLike[str] | None = None,
    face_model: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Robustness:
    """Recompresses a film with libx264, looks for the face again and compares its motion with the source's.

    The face is that of the source's longest track; the source's template and unsmoothed landmarks serve all versions.
    Recompressed films are temporary files, one at a time.

    Args:
        video: The film.
        crfs: Constant rate factors, each at full size.
        scales: Factors of width and height, each at the first of ``crfs``.
        deepfake: Checkpoint of a deepfake detector whose verdict on each version is told, too.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        progress: Called with the name of each version before it is made.

    Raises:
        MediaError: The film cannot be read, or shows no face for a second.
        WeightsError: ``deepfake`` holds no deepfake detector, or no face model is at hand.
        ValueError: No version is asked for, a rate factor is not within 0 to 51, or a scale not above 0.
    """
    if not crfs or not all(0 <= crf <= 51 for crf in crfs) or not all(scale > 0 for scale in scales):
        raise ValueError(f"give at least one CRF, each from 0 to 51, and scales above 0, not {crfs} and {scales}")
    path = check_readable(video)
    judge = _judge(deepfake)
    progress("source")
    tracks = track_faces(path, model=face_model, denoise=True)
    if not tracks.tracks:
        raise MediaError(path, "shows no face that could be followed: there is no motion to compare", _ADVICE)
    source = _Source(tracks.tracks[0], tracks.size)
    if source.frames < LEAST:
        problem = f"shows one face for {source.frames / RATE:.1f} s at most; a comparison needs {LEAST / RATE:g} s"
        raise MediaError(path, problem, _ADVICE)
    versions = [_look(source, "source", None, 1.0, path, tracks, judge)]
    for name, crf, scale in _wanted(crfs, scales):
        progress(name)
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder, "version.mp4")
            recompress(path, film, crf=crf, scale=scale)
            found = track_faces(film, model=face_model, denoise=True)
            versions.append(_look(source, name, crf, scale, film, found, judge))
    return Robustness(path.name, sha256(path), source.time, tuple(versions), tracks.detector)


def _wanted(crfs: Sequence[int], scales: Sequence[float]) -> Iterator[tuple[str, int, float]]:
    yield from ((f"CRF {crf}", crf, 1.0) for crf in crfs)
    yield from ((f"CRF {crfs[0]}, {scale:g}x", crfs[0], scale) for scale in scales)


class _Source:
    """The face that all versions are compared with."""

    def __init__(self, track: FaceTrack, size: tuple[int, int]) -> None:
        self.track, self.size = track, size
        self.points, self.time = resample(_seen(track.points.double(), track.valid), track.time, RATE)
        self.frames = int(torch.isfinite(self.points[:, 0, 0]).sum())
        self.template = motion.face_template(self.points)
        shown = track.valid.nonzero().squeeze(-1)
        self.middle = int(shown[len(shown) // 2])


def _look(
    source: _Source,
    name: str,
    crf: int | None,
    scale: float,
    film: Path,
    tracks: FaceTracks,
    judge: Callable[[Path, FaceTracks], dict[str, Any] | None],
) -> Version:
    factor = torch.tensor([a / b for a, b in zip(source.size, tracks.size, strict=True)])[[0, 1, 0]]
    points, flow = follow(source.track, tracks, factor)
    detected, denoised = (resample(x.double(), source.track.time, RATE)[0] for x in (points, flow))
    found = torch.isfinite(detected[:, 0, 0])
    comparisons, problem = {}, ""
    if (count := int(found.sum())) < LEAST:
        told = f"{count / RATE:.1f} of {source.frames / RATE:.1f} s"
        problem = f"the face was found again in {told}; a comparison needs {LEAST / RATE:g} s"
    else:
        for pipeline, denoise in PIPELINES.items():
            if crf is not None or pipeline != RAW:  # the source is its own reference
                smooth = _seen(denoise(detected, denoised), found)
                comparisons[pipeline] = compare_tracks(source.points, smooth, RATE, template=source.template)
    at = float(source.track.time[source.middle])
    with closing(read_video(film, start=max(0.0, at - _SAME_TIME))) as frames:
        picture = next(frames).image.clone()
    rate = probe(film).video[0].bit_rate
    return Version(
        name=name,
        crf=crf,
        scale=scale,
        size=tracks.size,
        kilobits=None if rate is None else round(rate / 1000),
        frames=tracks.frames,
        frames_with_face=tracks.frames_with_face,
        interocular_px=float(torch.nanmedian(motion.interocular_distance(points / factor))),
        comparisons=comparisons,
        problem=problem,
        verdict=judge(film, tracks),
        signals=head_signals(detected, source.template),
        picture=picture,
        face=points[source.middle] / factor,
    )


def follow(subject: FaceTrack, tracks: FaceTracks, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Finds a face again in another version of its film, whatever tracks it fell into there.

    Args:
        subject: The face, ``T`` frames.
        tracks: Of the other version, with the flow filter's points.
        factor: ``(3,)``: what turns the other version's pixels into the subject's.

    Returns:
        At each instant of the subject, the nearest face if it is nearer than half a face: its points as detected and
        as denoised, ``(T, 478, 3)`` in the subject's pixels; NaN elsewhere, and where the subject was not detected.
    """
    centre = subject.points[..., :2].mean(1)
    width, height = (subject.points[..., :2].amax(1) - subject.points[..., :2].amin(1)).unbind(-1)
    nearest = _NEAR * (width * height).sqrt()
    out = [torch.full_like(subject.points, float("nan")) for _ in range(2)]
    for track in tracks.tracks:
        if track.denoised is None:
            raise ValueError("the tracks have no denoised points: make them with track_faces(..., denoise=True)")
        at = torch.searchsorted(track.time, subject.time - _SAME_TIME).clamp(max=len(track) - 1)
        same = ((track.time[at] - subject.time).abs() <= _SAME_TIME) & track.valid[at] & subject.valid
        apart = torch.linalg.vector_norm((track.points[at] * factor)[..., :2].mean(1) - centre, dim=-1)
        better = same & (apart < nearest)
        nearest = torch.where(better, apart, nearest)
        for kept, points in zip(out, (track.points, track.denoised), strict=True):
            kept[better] = points[at[better]] * factor
    return out[0], out[1]


def _seen(points: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid[:, None, None], points, float("nan"))


def _judge(checkpoint: str | os.PathLike[str] | None) -> Callable[[Path, FaceTracks], dict[str, Any] | None]:
    if checkpoint is None:
        return lambda film, tracks: None
    from mediakit.deepfake.predict import detect_tracks, load_detector

    module = load_detector(checkpoint)

    def judge(film: Path, tracks: FaceTracks) -> dict[str, Any]:
        # As `mediakit analyze` sees it: without the flow filter, whose failures would count against the quality.
        plain = tuple(replace(track, denoised=None, flow_failures=None) for track in tracks.tracks)
        tracks = replace(tracks, tracks=plain)
        told = detect_tracks(module, tracks, info=probe(film), packets=scan_packets(film)).to_dict()
        return {name: told[name] for name in _VERDICT}

    return judge

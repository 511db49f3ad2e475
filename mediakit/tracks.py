"""Face tracks: what a landmark detector saw, frame by frame, joined into one trajectory per face.

No detector is imported here, so tracks can be built from any source of landmarks, saved, loaded and tested alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit.errors import MediaError
from mediakit.io import atomic_path, check_readable
from mediakit.mesh import N_POINTS

FORMAT = "mediakit.face-tracks/1"


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face followed through consecutive frames.

    Attributes:
        points: Landmarks as detected, ``(T, 478, 3)`` float32 in pixels: x to the right, y down, z away from the
            camera (MediaPipe's relative depth times the image width). Rows where ``valid`` is False are interpolated.
        valid: ``(T,)`` bool, whether the face was really detected in that frame.
        time: ``(T,)`` float64, seconds from the start of the file.
        denoised: Landmarks after the flow filter of :mod:`mediakit.denoise`, or None if it was not asked for.
        flow_failures: Share in [0, 1] of the flow filter's points that failed its forward-backward check, or None.
    """

    points: torch.Tensor
    valid: torch.Tensor
    time: torch.Tensor
    denoised: torch.Tensor | None = None
    flow_failures: float | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def duration(self) -> float:
        """Seconds between the first and the last detection."""
        return float(self.time[-1] - self.time[0])


@dataclass(frozen=True, eq=False)
class FaceTracks:
    """All faces of one video, the longest track (most detections) first.

    Attributes:
        tracks: The tracks that lasted; see ``parameters["min_duration"]`` in ``detector``.
        size: Width and height of the frames in pixels.
        frames: Frames that were looked at.
        frames_with_face: Frames in which at least one face was detected.
        dropped: Detections in tracks too short to keep.
        cuts: Times at which a new shot began; no track crosses one.
        detector: Name, version and parameters of the detector: they travel with the landmarks.
    """

    tracks: tuple[FaceTrack, ...]
    size: tuple[int, int]
    frames: int
    frames_with_face: int
    dropped: int
    cuts: tuple[float, ...] = ()
    detector: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the tracks as one safetensors file; equal tracks give equal bytes.

        Raises:
            MediaError: The file cannot be written.
        """
        from safetensors.torch import save

        tensors = {}
        for number, track in enumerate(self.tracks):
            tensors[f"{number}.points"] = track.points.contiguous()
            tensors[f"{number}.valid"] = track.valid.contiguous()
            tensors[f"{number}.time"] = track.time.contiguous()
            if track.denoised is not None:
                tensors[f"{number}.denoised"] = track.denoised.contiguous()
        header = {
            "format": FORMAT,
            "tracks": len(self.tracks),
            "size": self.size,
            "frames": self.frames,
            "frames_with_face": self.frames_with_face,
            "dropped": self.dropped,
            "cuts": self.cuts,
            "flow_failures": [track.flow_failures for track in self.tracks],
            "detector": self.detector,
        }
        # One metadata entry only: safetensors keeps several in no stable order.
        content = save(tensors, metadata={"mediakit": json.dumps(header, sort_keys=True)})
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> FaceTracks:
        """Reads what :meth:`save` wrote.

        Raises:
            MediaError: The file is missing or is no file of face tracks.
        """
        from safetensors import SafetensorError, safe_open

        checked = check_readable(path)
        try:
            with safe_open(checked, framework="pt") as stored:
                header = json.loads((stored.metadata() or {})["mediakit"])
                if header["format"] != FORMAT:
                    raise KeyError(header["format"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, KeyError, ValueError) as error:
            raise MediaError(
                path, "is no file of face tracks", "Make one with mediakit.track_faces(VIDEO).save(FILE)."
            ) from error
        failures = header.get("flow_failures") or [None] * header["tracks"]  # not in files of 0.1.0
        tracks = tuple(
            FaceTrack(
                tensors[f"{n}.points"],
                tensors[f"{n}.valid"],
                tensors[f"{n}.time"],
                tensors.get(f"{n}.denoised"),
                failures[n],
            )
            for n in range(header["tracks"])
        )
        return cls(
            tracks,
            tuple(header["size"]),
            header["frames"],
            header["frames_with_face"],
            header["dropped"],
            tuple(header["cuts"]),
            header["detector"],
        )


class _Rows:
    """A growing array that reallocates in place, so that a long track is never held twice."""

    def __init__(self, shape: tuple[int, ...], dtype: type) -> None:
        self._data: NDArray[Any] = np.empty((64, *shape), dtype)
        self.count = 0

    def append(self, row: NDArray[Any] | float | bool) -> None:
        if self.count == len(self._data):
            self._data.resize((self.count + max(64, self.count // 4), *self._data.shape[1:]), refcheck=False)
        self._data[self.count] = row
        self.count += 1

    def take(self, count: int) -> NDArray[Any]:
        """Shrinks to the first ``count`` rows and hands the memory over."""
        self._data.resize((count, *self._data.shape[1:]), refcheck=False)
        return self._data


class OpenTrack:
    """A track that is still growing; ``filter`` is a slot for the per-face state of a denoiser."""

    def __init__(self, denoise: bool) -> None:
        self.points = _Rows((N_POINTS, 3), np.float32)
        self.denoised = _Rows((N_POINTS, 3), np.float32) if denoise else None
        self.valid = _Rows((), np.bool_)
        self.time = _Rows((), np.float64)
        self.detections = 0
        self.last_valid = 0  # rows up to and including the last detection
        self.last_time = 0.0
        self.center = np.zeros(2)
        self.size = 0.0
        self.filter: Any = None

    def add(self, time: float, points: NDArray[np.float32], denoised: NDArray[np.float32] | None) -> None:
        """Appends a detection ``(478, 3)`` in pixels, and its denoised points (the detected ones if None)."""
        self.points.append(points)
        if self.denoised is not None:
            self.denoised.append(points if denoised is None else denoised)
        self.valid.append(True)
        self.time.append(time)
        self.detections += 1
        self.last_valid, self.last_time = self.time.count, time
        self.center, self.size = box(points)

    def miss(self, time: float) -> None:
        """Appends a frame without a detection."""
        if self.filter is not None:
            self.filter.reset()  # flow runs between neighbouring frames only
        self.points.append(np.nan)
        if self.denoised is not None:
            self.denoised.append(np.nan)
        self.valid.append(False)
        self.time.append(time)

    def close(self) -> FaceTrack:
        """Trims what follows the last detection and interpolates the gaps inside."""
        count = self.last_valid
        valid, time = self.valid.take(count), self.time.take(count)
        denoised = None
        if self.denoised is not None:
            denoised = torch.from_numpy(_interpolate(self.denoised.take(count), valid, time))
        return FaceTrack(
            torch.from_numpy(_interpolate(self.points.take(count), valid, time)),
            torch.from_numpy(valid),
            torch.from_numpy(time),
            denoised,
            None if self.filter is None else self.filter.failure_rate,
        )


class TrackBuilder:
    """Joins detections into tracks.

    A detection continues the nearest open track whose gate it passes: its centroid moved by at most ``max_shift`` face
    sizes and its size lies within ``size_ratio`` of the last detection's. One that passes no gate begins a track of its
    own, so a cut from one person to another never joins them. A frame without a match is marked invalid, never filled
    with an old shape; gaps of up to ``max_gap`` are interpolated when the track ends, a longer gap ends it.

    Args:
        max_shift: Largest move of the centroid between detections, in face sizes (square root of the box's area).
        size_ratio: Smallest and largest ratio of face sizes between detections.
        max_gap: Longest gap in seconds that is bridged.
        min_duration: Tracks shorter than this many seconds are dropped (their detections are counted), unless the film
            itself is shorter: a photograph keeps its faces.
        denoise: Whether each track also keeps denoised points.
    """

    def __init__(
        self,
        max_shift: float = 0.5,
        size_ratio: tuple[float, float] = (0.7, 1.3),
        max_gap: float = 0.17,
        min_duration: float = 0.2,
        denoise: bool = False,
    ) -> None:
        self.max_shift, self.size_ratio, self.max_gap = max_shift, size_ratio, max_gap
        self.min_duration, self.denoise = min_duration, denoise
        self.dropped = 0
        self._began: float | None = None
        self._reached = 0.0
        self._open: list[OpenTrack] = []
        self._closed: list[tuple[int, FaceTrack]] = []

    def match(self, time: float, faces: NDArray[np.float32]) -> list[tuple[OpenTrack, NDArray[np.float32]]]:
        """Pairs each detection of a frame with an open or a new track; call :meth:`OpenTrack.add` on every pair.

        Args:
            time: Seconds, not less than that of the frame before.
            faces: Landmarks ``(F, 478, 3)`` in pixels.

        Returns:
            Pairs of track and landmarks; duplicates of one face are left out.
        """
        self._began, self._reached = time if self._began is None else self._began, time
        for track in [t for t in self._open if time - t.last_time > self.max_gap]:
            self._open.remove(track)
            self._close(track)
        boxes = [box(points) for points in faces]
        low, high = self.size_ratio
        candidates = sorted(
            (distance, f, t)
            for f, (center, size) in enumerate(boxes)
            for t, track in enumerate(self._open)
            if (distance := float(np.linalg.norm(center - track.center)) / track.size) <= self.max_shift
            and low <= size / track.size <= high
        )
        partner: dict[int, OpenTrack] = {}
        for _, f, t in candidates:
            if f not in partner and self._open[t] not in partner.values():
                partner[f] = self._open[t]
        for track in self._open:
            if track not in partner.values():
                track.miss(time)
        pairs: list[tuple[OpenTrack, NDArray[np.float32]]] = []
        kept: list[int] = []
        # Continued tracks first: a second mesh on a face that is already followed is a duplicate, not a new face.
        for f in sorted(range(len(faces)), key=lambda f: (f not in partner, f)):
            center, size = boxes[f]
            if any(np.linalg.norm(center - boxes[k][0]) < 0.3 * max(size, boxes[k][1]) for k in kept):
                if f in partner:
                    partner[f].miss(time)
                continue
            kept.append(f)
            if f not in partner:
                partner[f] = OpenTrack(self.denoise)
                self._open.append(partner[f])
            pairs.append((partner[f], faces[f]))
        return pairs

    def cut(self) -> None:
        """Ends all open tracks: a new shot begins."""
        for track in self._open:
            self._close(track)
        self._open = []

    def finish(self) -> tuple[FaceTrack, ...]:
        """Ends all tracks and returns those that lasted, most detections first (ties: the earlier one)."""
        self.cut()
        least = min(self.min_duration, self._reached - (self._began or 0.0))
        self.dropped = sum(count for count, track in self._closed if track.duration < least)
        self._closed = [(count, track) for count, track in self._closed if track.duration >= least]
        return tuple(track for _, track in sorted(self._closed, key=lambda x: (-x[0], float(x[1].time[0]))))

    def _close(self, track: OpenTrack) -> None:
        self._closed.append((track.detections, track.close()))


def box(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Centroid ``(2,)`` and size (square root of the bounding box's area) of one face, in pixels."""
    xy = points[:, :2].astype(np.float64)
    width, height = xy.max(0) - xy.min(0)
    return xy.mean(0), max(float(np.sqrt(width * height)), 1e-6)


def _interpolate(points: NDArray[np.float32], valid: NDArray[np.bool_], time: NDArray[np.float64]) -> NDArray[Any]:
    """Fills the invalid rows linearly in time, in place; the first and the last row are valid."""
    known = np.flatnonzero(valid)
    for row in np.flatnonzero(~valid):
        after = known[np.searchsorted(known, row)]
        before = known[np.searchsorted(known, row) - 1]
        share = np.float32((time[row] - time[before]) / max(time[after] - time[before], 1e-9))
        points[row] = (1 - share) * points[before] + share * points[after]
    return points

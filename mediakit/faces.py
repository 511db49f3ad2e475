"""Video to face landmark tracks: the only user of MediaPipe.

MediaPipe comes in two worlds. Up to 0.10.21 ``mp.solutions.face_mesh`` carries its models inside the wheel and works
offline; from 0.10.30 on it is gone, no model ships, and ``FaceLandmarker`` of the Tasks API wants a ``.task`` file.
Both give the same 478 points; :func:`open_detector` hides which one is at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import WeightsError, require
from mediakit.io import Frame, check_readable, prefetch, read_video, sha256
from mediakit.mesh import N_POINTS
from mediakit.shots import CutDetector
from mediakit.tracks import FaceTracks, OpenTrack, TrackBuilder

_TASK_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


class Detector(Protocol):
    """Finds faces in the frames of one video, in order; it carries tracking state, so use one object per video.

    Attributes:
        card: Name, version and parameters, as plain values.
    """

    card: dict[str, Any]

    def detect(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32]:
        """Landmarks ``(F, 478, 3)`` of an RGB image ``(H, W, 3)`` at ``time`` seconds.

        x and y are fractions of width and height, z is in units of the image width.
        """
        ...

    def reset(self) -> None:
        """Forgets the faces followed so far: a new shot begins."""
        ...

    def close(self) -> None:
        """Frees the models."""
        ...


class FaceMeshDetector:
    """Bundled legacy FaceMesh with iris refinement (MediaPipe up to 0.10.21)."""

    def __init__(self, max_faces: int, min_confidence: float) -> None:
        mediapipe = _mediapipe()
        self.card = {
            "name": "mediapipe.solutions.face_mesh",
            "version": mediapipe.__version__,
            "model": "bundled",
            "max_faces": max_faces,
            "min_confidence": min_confidence,
        }
        self._mesh = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=False,
            max_num_faces=max_faces,
            refine_landmarks=True,
            min_detection_confidence=min_confidence,
            min_tracking_confidence=min_confidence,
        )

    def detect(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32]:
        faces = self._mesh.process(image).multi_face_landmarks
        return _landmarks([face.landmark for face in faces or ()])

    def reset(self) -> None:
        self._mesh.reset()

    def close(self) -> None:
        self._mesh.close()


class FaceLandmarkerDetector:
    """FaceLandmarker of the Tasks API with a local ``.task`` file."""

    def __init__(self, model: str | os.PathLike[str], max_faces: int, min_confidence: float) -> None:
        mediapipe = _mediapipe()
        path = check_readable(model)
        vision = require("mediapipe.tasks.python.vision", "Face tracking", "mediapipe")
        base = require("mediapipe.tasks.python.core.base_options", "Face tracking", "mediapipe")
        self.card = {
            "name": "mediapipe.tasks.vision.FaceLandmarker",
            "version": mediapipe.__version__,
            "model": f"sha256:{sha256(path)}",
            "max_faces": max_faces,
            "min_confidence": min_confidence,
        }
        self._options = vision.FaceLandmarkerOptions(
            base_options=base.BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=max_faces,
            min_face_detection_confidence=min_confidence,
            min_face_presence_confidence=min_confidence,
            min_tracking_confidence=min_confidence,
        )
        self._create = vision.FaceLandmarker.create_from_options
        try:
            self._landmarker = self._create(self._options)
        except (RuntimeError, ValueError, FileNotFoundError) as error:
            raise WeightsError(
                f"{path}: MediaPipe {mediapipe.__version__} cannot use this face model ({_first_line(error)}). "
                f"Take face_landmarker.task from {_TASK_PAGE}."
            ) from error
        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        self._stamp = -1

    def detect(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32]:
        # The task wants whole milliseconds that strictly grow.
        self._stamp = max(self._stamp + 1, round(time * 1000))
        found = self._landmarker.detect_for_video(self._image(image_format=self._format, data=image), self._stamp)
        return _landmarks(found.face_landmarks)

    def reset(self) -> None:
        # The task has no reset of its own.
        self._landmarker.close()
        self._landmarker = self._create(self._options)

    def close(self) -> None:
        self._landmarker.close()


def open_detector(
    model: str | os.PathLike[str] | None = None, max_faces: int = 4, min_confidence: float = 0.5
) -> Detector:
    """Opens the face detector that this machine's MediaPipe allows.

    Args:
        model: A ``face_landmarker.task`` file for the Tasks API. None takes the bundled FaceMesh where there is one.
        max_faces: Most faces looked for in a frame.
        min_confidence: Least confidence in [0, 1] for detection, presence and tracking.

    Raises:
        MissingPackageError: MediaPipe is not installed.
        WeightsError: This MediaPipe bundles no model and none was given, or the given file is no such model.
        MediaError: The given file cannot be read.
        ValueError: ``max_faces`` or ``min_confidence`` is out of range.
    """
    if not isinstance(max_faces, int) or max_faces < 1:
        raise ValueError(f"max_faces must be a whole number of at least 1, got {max_faces}")
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence must be in [0, 1], got {min_confidence}")
    mediapipe = _mediapipe()
    if model is not None:
        return FaceLandmarkerDetector(model, max_faces, min_confidence)
    if hasattr(mediapipe, "solutions"):
        return FaceMeshDetector(max_faces, min_confidence)
    raise WeightsError(
        f"MediaPipe {mediapipe.__version__} ships no face model. Download face_landmarker.task from {_TASK_PAGE} and "
        "give its path: model=FILE in Python, --face-model FILE on the command line."
    )


def track_faces(
    video: str | os.PathLike[str] | Iterable[Frame],
    *,
    model: str | os.PathLike[str] | None = None,
    max_faces: int = 4,
    min_confidence: float = 0.5,
    min_duration: float = 0.2,
    denoise: bool = False,
    detector: Detector | None = None,
    on_frame: Callable[[Frame], None] | None = None,
) -> FaceTracks:
    """Follows every face through a video.

    Decoding runs in a thread of its own while the detector works on the frames before. Two runs on one file give
    identical tracks.

    Args:
        video: A file, or frames that are already being decoded (for one pass that feeds several consumers).
        model: A ``face_landmarker.task`` file; see :func:`open_detector`.
        max_faces: Most faces looked for in a frame.
        min_confidence: Least confidence in [0, 1].
        min_duration: Tracks shorter than this many seconds are dropped, unless the film itself is shorter.
        denoise: Also run the Lucas-Kanade-Kalman filter of :class:`mediakit.denoise.LucasKanadeKalman` on every track.
        detector: A detector of one's own in place of MediaPipe; it is not closed here.
        on_frame: Called with each frame before detection, for progress or for sharing the decoded picture.

    Returns:
        The tracks; no face at all is no error but an empty ``tracks``.

    Raises:
        MediaError: The file cannot be read or holds no pictures.
        MissingPackageError: MediaPipe is not installed.
        WeightsError: No face model is at hand.
        ValueError: An option is out of range, or the items are no frames.
    """
    if min_duration < 0:
        raise ValueError(f"min_duration must not be negative, got {min_duration}")
    own = detector is None
    used = open_detector(model, max_faces, min_confidence) if detector is None else detector
    try:
        if isinstance(video, (str, os.PathLike)):
            with closing(prefetch(read_video(video))) as frames:
                return _track(frames, used, min_duration, denoise, on_frame)
        return _track(iter(video), used, min_duration, denoise, on_frame)
    finally:
        if own:
            used.close()


def _track(
    frames: Iterator[Frame],
    detector: Detector,
    min_duration: float,
    denoise: bool,
    on_frame: Callable[[Frame], None] | None,
) -> FaceTracks:
    builder, shots = TrackBuilder(min_duration=min_duration, denoise=denoise), CutDetector()
    width = height = count = with_face = 0
    cuts = []
    for frame in frames:
        if not isinstance(frame, Frame):
            raise ValueError(f"track_faces takes a file or frames of mediakit.read_video, not {type(frame).__name__}")
        if on_frame is not None:
            on_frame(frame)
        if shots.step(frame.image):
            # Left to itself, the detector goes on seeing the last shot's face in what has taken its place.
            cuts.append(frame.time)
            builder.cut()
            detector.reset()
        image = frame.image.permute(1, 2, 0).contiguous().numpy()
        height, width = image.shape[:2]
        # In float32 throughout: what is saved is what was computed.
        faces = detector.detect(image, frame.time) * np.array([width, height, width], np.float32)
        pairs = builder.match(frame.time, faces)
        for track, points in pairs:
            track.add(frame.time, points, _flow(track, image, points) if denoise else None)
        count += 1
        with_face += bool(pairs)
    parameters = {"min_duration": min_duration, "denoise": denoise, "max_gap": builder.max_gap}
    card = {**detector.card, **parameters}
    return FaceTracks(builder.finish(), (width, height), count, with_face, builder.dropped, tuple(cuts), card)


def _flow(track: OpenTrack, image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    from mediakit.denoise import LucasKanadeKalman

    if track.filter is None:
        track.filter = LucasKanadeKalman()
    cv2 = require("cv2", "Optical flow", "opencv-python")
    return track.filter.step(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), points)


def _landmarks(faces: Iterable[Any]) -> NDArray[np.float32]:
    rows = [[(point.x, point.y, point.z) for point in face] for face in faces]
    return np.array(rows, np.float32).reshape(-1, N_POINTS, 3)


def _mediapipe() -> Any:
    return require("mediapipe", "Face tracking")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""One decoding pass over one file: its sound, pictures, motion and faces as features, second by second."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder
from mediakit.errors import MediaError
from mediakit.io import Audio, Frame, PacketScan, prefetch, probe, read_audio_blocks, read_video, scan_packets
from mediakit.summary import SILENCE_RMS
from mediakit.tracks import FaceTracks

CLIP_FPS = 8
"""Pictures per second that the clip encoder sees; each second is one clip."""

_TOLERANCE = 0.05  # seconds by which a file may be longer than it says, as in AudioEncoder
_SLACK = 1e-5  # seconds by which a picture may come late because its time is rounded
_BLOCK = 30  # segments of sound per forward pass


@dataclass(frozen=True)
class Encoders:
    """The encoders that a file is sent through; None for a feature that is not wanted."""

    audio: AudioEncoder | None = None
    frames: FrameEncoder | None = None
    clips: ClipEncoder | None = None


@dataclass(frozen=True, eq=False)
class FileFeatures:
    """Features of one file.

    Attributes:
        seconds: T, the number of seconds that every feature covers.
        arrays: ``audio (T, dim)``, ``frames (ceil(T * frame_rate), dim)``, ``clips (T, dim)``, float32.
        faces: Face tracks over all frames, None if not wanted or absent.
        absent: Why a wanted feature is not there, said of the file: ``"has no sound"``.
        warnings: What was wrong with the file and could be worked around.
        duration: Where the file ends, in seconds; ``seconds`` is this rounded up.
        silent: Whether there is a sound track, and every second of it lies below `.SILENCE_RMS`.
    """

    seconds: int
    arrays: dict[str, NDArray[np.float32]]
    faces: FaceTracks | None
    absent: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    duration: float = 0.0
    silent: bool = False


def extract_file(
    path: str | os.PathLike[str],
    encoders: Encoders,
    *,
    frame_rate: float = 1.0,
    faces: bool = False,
    face_model: str | os.PathLike[str] | None = None,
    max_faces: int = 4,
) -> FileFeatures:
    """Turns one file into features in one decoding pass.

    ``T = max(1, ceil(duration - 0.05))`` seconds, the same for all features and whichever of them are wanted; the
    duration is the later one of the end of the last picture (by its packet) and the end of the decoded sound. What ends
    earlier is filled up: sound with silence, pictures with the last one. Memory does not grow with the length of the
    file but for the features themselves.

    - Sound: as `.AudioEncoder` sees the whole file, up to rounding.
    - Frame k is the picture shown at ``(k + 0.5) / frame_rate``: ``read_video(fps=frame_rate, start=0.5/frame_rate)``.
    - Clip k is the 8 pictures shown at ``k + j / 8``: ``read_video(fps=8)``.
    - Faces are tracked through all pictures.

    Args:
        path: The file.
        encoders: Which features are wanted, and what makes them.
        frame_rate: Frames per second sent to the frame encoder.
        faces: Whether to track faces.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.

    Returns:
        The features; what a file does not have (a silent film, a song) is said in ``absent``.

    Raises:
        MediaError: The file cannot be read, or nothing that is wanted can be decoded.
        WeightsError: No face model is at hand.
        ValueError: An option is out of range, or the sound is not in [-1, 1].
    """
    if not 0 < frame_rate < math.inf:
        raise ValueError(f"frame_rate must be a positive number, got {frame_rate}")
    info, path = probe(path), Path(path)
    if not info.video and not info.audio:
        raise MediaError(path, "has neither pictures nor sound", "Choose a video or sound file.")
    stream = FeatureStream(encoders, frame_rate)
    pictorial = [*stream.pictorial, *(["faces"] if faces else [])]
    absent: dict[str, str] = {}
    found, failure, end = None, None, 0.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if info.video:
            try:
                scan = scan_packets(path)
                end = end_of_pictures(scan)
                if pictorial:
                    found = _watch(path, stream, faces, face_model, max_faces)
            except MediaError as error:
                failure, absent = error, dict.fromkeys(pictorial, error.problem)
        else:
            absent = dict.fromkeys(pictorial, "has no pictures")
        if info.audio:
            try:
                end = max(end, stream.listen(path))
            except MediaError as error:
                failure = error
                if encoders.audio is not None:
                    absent["audio"] = error.problem
        elif encoders.audio is not None:
            absent["audio"] = "has no sound"
    seconds = whole_seconds(end)
    arrays = stream.finish(seconds, absent)
    if failure is not None and not arrays and found is None:
        raise failure
    told = tuple(dict.fromkeys(str(w.message) for w in caught if str(path) in str(w.message)))
    return FileFeatures(seconds, arrays, found, absent, told, end, stream.silent)


def end_of_pictures(scan: PacketScan) -> float:
    """Where the last picture ends, in seconds, by the packets."""
    return (scan.keyframes[0] if scan.keyframes else 0.0) + scan.duration


def whole_seconds(end: float) -> int:
    """T, the number of seconds that features of a file cover which ends at ``end`` seconds."""
    return max(1, math.ceil(end - _TOLERANCE))


def _watch(
    path: Path, stream: FeatureStream, faces: bool, face_model: str | os.PathLike[str] | None, max_faces: int
) -> FaceTracks | None:
    """Sends every picture to the encoders and, if wanted, through the face detector."""
    from mediakit.faces import track_faces

    # One decoding thread: what several make of a damaged file differs from run to run.
    with closing(prefetch(read_video(path, threads=1), depth=4)) as frames:
        if faces:
            return track_faces(frames, model=face_model, max_faces=max_faces, on_frame=stream.see)
        for frame in frames:
            stream.see(frame)
    return None


class FeatureStream:
    """The features of one file from its pictures and sound as they come.

    `extract_file` feeds one; whoever decodes the pictures for another purpose can feed one beside it and save a pass.

    Args:
        encoders: Which features are wanted, and what makes them.
        frame_rate: Frames per second sent to the frame encoder.

    Attributes:
        pictorial: Names of the features that are made of pictures.
        silent: Whether sound was listened to, and every second of it lies below `.SILENCE_RMS`.
    """

    def __init__(self, encoders: Encoders, frame_rate: float = 1.0) -> None:
        self._samplers: dict[str, _Sampler] = {}
        if encoders.frames is not None:
            self._samplers["frames"] = _Sampler(frame_rate, 0.5, 4, 1, encoders.frames)
        if encoders.clips is not None:
            self._samplers["clips"] = _Sampler(CLIP_FPS, 0.0, CLIP_FPS, CLIP_FPS, encoders.clips)
        self._sound = _Listener(encoders.audio)
        self.pictorial = tuple(self._samplers)
        self.silent = False

    @torch.inference_mode()
    def see(self, frame: Frame) -> None:
        """Takes the next picture."""
        for sampler in self._samplers.values():
            sampler.add(frame)

    @torch.inference_mode()
    def listen(self, path: str | os.PathLike[str]) -> float:
        """Takes in all sound of a file and returns where it ends, in seconds.

        Raises:
            MediaError: The sound cannot be decoded.
        """
        with closing(read_audio_blocks(path, rate=self._sound.rate, channels=1)) as blocks:
            end = self._sound.listen(blocks)
        self.silent = self._sound.loudest < SILENCE_RMS
        return end

    @torch.inference_mode()
    def finish(self, seconds: int, absent: Iterable[str] = ()) -> dict[str, NDArray[np.float32]]:
        """The features of the first so many seconds, all but the absent ones."""
        absent = {*absent}
        arrays: dict[str, NDArray[np.float32]] = {}
        if self._sound.encoder is not None and "audio" not in absent:
            arrays["audio"] = self._sound.finish(seconds)
        for name, sampler in self._samplers.items():
            if name not in absent:
                arrays[name] = sampler.finish(seconds)
        return arrays


class _Sampler:
    """Encodes the picture shown at each tick ``(k + phase) / rate``, a group of ticks at a time.

    Before the first picture the first one is shown, after the last the last one.
    """

    def __init__(
        self, rate: float, phase: float, group: int, per_vector: int, encode: Callable[[Tensor], Tensor]
    ) -> None:
        self.rate, self.phase, self.group, self.per_vector, self.encode = rate, phase, group, per_vector, encode
        self.ticks = 0
        self.shown: Tensor | None = None
        self.waiting: list[Tensor] = []
        self.vectors: list[Tensor] = []

    def add(self, frame: Frame) -> None:
        while self.shown is not None and (self.ticks + self.phase) / self.rate < frame.time - _SLACK:
            self._tick(self.shown)
        self.shown = frame.image

    def finish(self, seconds: int) -> NDArray[np.float32]:
        """The vectors of the first so many seconds."""
        assert self.shown is not None
        wanted = math.ceil(seconds * self.rate - 1e-9)
        while self.ticks < wanted:
            self._tick(self.shown)
        if self.waiting:
            self._encode()
        return torch.cat(self.vectors)[: -(-wanted // self.per_vector)].numpy()

    def _tick(self, image: Tensor) -> None:
        self.waiting.append(image)
        self.ticks += 1
        if len(self.waiting) == self.group:
            self._encode()

    def _encode(self) -> None:
        self.vectors.append(self.encode(torch.stack(self.waiting)[None])[0])
        self.waiting = []


def _rms(waveform: Tensor) -> float:
    return float(waveform.square().mean().sqrt())


class _Listener:
    """Encodes sound as it comes, in blocks with so much around each that the vectors are those of the whole file."""

    def __init__(self, encoder: AudioEncoder | None) -> None:
        self.encoder, self.rate = encoder, encoder.rate if encoder else 16_000
        self.samples, self.loudest = 0, 0.0
        self.vectors: list[Tensor] = []
        if encoder is not None:
            self.segment = encoder.segment_length
            # Blocks begin at whole hops, so that their spectra have the frames of the whole; all counts in segments.
            self.context = encoder.hop_length // math.gcd(self.segment, encoder.hop_length)
            self.block = self.context * -(-_BLOCK // self.context)
            self.kept = torch.zeros(1, 0)
            self.first = self.done = 0  # where the kept sound begins; how much is encoded

    def listen(self, blocks: Iterable[Audio]) -> float:
        """Takes in all sound and returns where it ends, in seconds."""
        for block in blocks:
            self.loudest = max([self.loudest, *(_rms(part) for part in block.waveform.split(self.rate, dim=1))])
            self._take(block.waveform)
        return self.samples / self.rate

    def finish(self, segments: int) -> NDArray[np.float32]:
        """The vectors of the first so many segments; silence follows the sound."""
        assert self.encoder is not None
        while (missing := segments * self.segment - self.samples) > 0:
            self._take(torch.zeros(1, min(missing, self.block * self.segment)))
        if self.done < segments:
            self._encode(self.kept, segments - self.done)
        return torch.cat(self.vectors)[:segments].numpy()

    def _take(self, waveform: Tensor) -> None:
        self.samples += waveform.shape[1]
        if self.encoder is None:
            return
        self.kept = torch.cat([self.kept, waveform], dim=1)
        while self.kept.shape[1] >= (until := self.done + self.block + self.context - self.first) * self.segment:
            self._encode(self.kept[:, : until * self.segment], self.block)
            start = self.done - self.context
            self.kept, self.first = self.kept[:, (start - self.first) * self.segment :], start

    def _encode(self, waveform: Tensor, segments: int) -> None:
        assert self.encoder is not None
        skipped = self.done - self.first
        self.vectors.append(self.encoder(waveform)[0, skipped : skipped + segments])
        self.done += segments

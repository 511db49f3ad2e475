"""One pass over one file: what it is, its sound, pictures and faces; with models, more (see `TASKS`)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mediakit import __version__
from mediakit.errors import MediaError, MissingPackageError, WeightsError
from mediakit.face_summary import FacesSummary, summarize_track
from mediakit.io import (
    Frame,
    MediaInfo,
    PacketScan,
    prefetch,
    probe,
    read_audio_blocks,
    read_video,
    scan_packets,
    sha256,
)
from mediakit.summary import PictureSummarizer, PictureSummary, SoundSummarizer, SoundSummary
from mediakit.tracks import FaceTracks

if TYPE_CHECKING:
    from mediakit.colorize.image import Colorizer
    from mediakit.colorize.key_frames import KeyFrameColors
    from mediakit.deepfake.predict import DeepfakeDetector
    from mediakit.deepfake.result import DeepfakeResult
    from mediakit.faces import Detector
    from mediakit.parsing.predict import FileParser, Parser
    from mediakit.parsing.result import ParsingResult

SCHEMA = "mediakit.analysis/1"
RATE = 16_000
"""Samples per second at which the sound is looked at: that of the shared audio encoder."""

TASKS = {
    "parsing": (
        "Events heard and seen",
        "Needs a parsing model, and none was given: `mediakit fit --config parsing` trains one for --parsing CKPT.",
    ),
    "deepfake": (
        "Is the face genuine?",
        "Needs a detector, and none was given: `mediakit fit --config deepfake` trains one on genuine videos, for "
        "--deepfake CKPT.",
    ),
    "colorize": (
        "Colours from sound",
        "Needs a colorizer, and none was given: `mediakit train-colorizer DIR` trains one on colour films, for "
        "--colorize CKPT.",
    ),
}
"""Heading of each task's section, and what it says where there is no model."""


@dataclass(frozen=True)
class Analysis:
    """What was found in one file.

    Attributes:
        name: File name without folders.
        sha256: Hash of the file's bytes.
        info: What its headers say.
        packets: What its packets say, None without a video stream.
        sound: Its sound, None where there is none (``absent["sound"]`` says why).
        pictures: Its pictures, None where there are none (``absent["pictures"]``).
        faces: Its faces, None where they were not looked for (``absent["faces"]``).
        absent: Why a section has nothing to show.
        warnings: What was wrong with the file and could be worked around.
        parsing: Its events, None where no parsing model was given.
        deepfake: The verdict on its faces, None where no detector was given.
        colorize: Colours for some of its pictures if it is gray, None where no colorizer was given.
    """

    name: str
    sha256: str
    info: MediaInfo
    packets: PacketScan | None
    sound: SoundSummary | None
    pictures: PictureSummary | None
    faces: FacesSummary | None
    absent: dict[str, str]
    warnings: tuple[str, ...]
    parsing: ParsingResult | None = None
    deepfake: DeepfakeResult | None = None
    colorize: KeyFrameColors | None = None

    @property
    def still(self) -> bool:
        """Whether there is one picture only: a photograph, or a film of one frame."""
        return self.pictures is not None and self.pictures.frames == 1

    @property
    def decoded(self) -> float | None:
        """Seconds of pictures that could be decoded; None without pictures."""
        if self.pictures is None:
            return None
        frame = 1 / self.packets.fps if self.packets and self.packets.fps else 0.0
        return self.pictures.last - self.pictures.first + frame

    @property
    def duration(self) -> float | None:
        """Seconds: the longest of what headers, packets and decoding say; None for a still picture without sound."""
        if self.still and not self.info.audio:  # FFmpeg makes up a length for it
            return None
        known = [self.info.duration or 0.0, self.sound.duration if self.sound else 0.0]
        if self.packets and self.packets.frames > 1:
            known.append(self.packets.duration)
        return max(known) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.analysis/1``; equal files give equal values."""
        info = asdict(self.info)
        info.pop("path")
        return _plain(
            {
                "schema": SCHEMA,
                "mediakit": __version__,
                "file": {"name": self.name, "sha256": self.sha256, **info, "packets": self.packets},
                "sound": self.sound and {k: v for k, v in vars(self.sound).items() if k != "log_mel"},
                "pictures": self.pictures
                and {**vars(self.pictures), "key_frames": [k.time for k in self.pictures.key_frames]},
                "faces": self.faces
                and {
                    **vars(self.faces),
                    "tracks": [{k: v for k, v in vars(t).items() if k != "boxes"} for t in self.faces.tracks],
                },
                "tasks": {
                    **{name: {"status": "no model", "needs": needs} for name, (_, needs) in TASKS.items()},
                    **({"parsing": {"status": "parsed", **self.parsing.to_dict()}} if self.parsing else {}),
                    **({"deepfake": {"status": "judged", **self.deepfake.to_dict()}} if self.deepfake else {}),
                    **({"colorize": self.colorize.to_dict()} if self.colorize else {}),
                },
                "absent": self.absent,
                "warnings": list(self.warnings),
            }
        )


def analyze_file(
    path: str | os.PathLike[str],
    *,
    faces: bool = True,
    face_model: str | os.PathLike[str] | None = None,
    max_faces: int = 4,
    parsing: str | os.PathLike[str] | Parser | None = None,
    encoder_weights: Mapping[str, str] | None = None,
    deepfake: str | os.PathLike[str] | DeepfakeDetector | None = None,
    colorize: str | os.PathLike[str] | Colorizer | None = None,
    progress: bool = False,
) -> Analysis:
    """Looks at a media file: container, streams, sound, key frames, faces; with models, events, genuineness, colours.

    Every frame is decoded once for everything that needs it, and memory does not grow with the length of the file but
    for the face landmarks (about 6 kB a detection) and the features that a parsing model reads (some kB a second).

    Args:
        path: Video, sound or image file.
        faces: Whether to look for faces.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.
        parsing: Checkpoint of a parsing model, or the loaded `.ParsingModule`.
        encoder_weights: Weight files by feature (audio, frames, clips) of the encoders that the parsing model was
            trained with, where its checkpoint alone does not lead to them.
        deepfake: Checkpoint of a deepfake detector, or the loaded `.DeepfakeModule`; it needs ``faces``.
        colorize: Checkpoint of a colorizer, or the loaded `.ColorizeModule`; it colours some pictures of a gray file.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        The findings; what is absent or could not be decoded is said in ``absent``.

    Raises:
        MediaError: The file is missing, unreadable, or nothing in it can be decoded.
        WeightsError: ``face_model``, ``parsing``, ``deepfake`` or ``colorize`` was given and is no such model, the
            weights of an encoder are not at hand, or there is no face model for ``deepfake``.
        MediakitError: An encoder has other weights than the one that the parsing model was trained with.
        ValueError: ``deepfake`` was given without ``faces``.
    """
    if deepfake is not None and not faces:
        raise ValueError("a deepfake detector reads faces: leave faces=True")
    info = probe(path)
    source = Path(path)
    absent: dict[str, str] = {}
    sound = pictures = packets = tracks = None
    failure: MediaError | None = None
    parser = None if parsing is None else _open_parser(parsing, encoder_weights)
    judge, checkpoint = (None, None) if deepfake is None else _open_judge(deepfake)
    painter = None if colorize is None else _open_painter(colorize)
    with ExitStack() as stack:
        detector = None
        if not faces:
            absent["faces"] = "Faces were not looked for (--no-faces)."
        elif info.video:
            detector = _open_detector(face_model, max_faces, absent, needed=judge is not None)
            if detector is not None:
                stack.callback(detector.close)
        digest = sha256(source)
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        if info.audio:
            try:
                sound = _summarize_sound(source, info, progress)
                if parser is not None:
                    parser.listen(source)
            except MediaError as error:
                failure, absent["sound"] = error, _sentence(error)
        else:
            absent["sound"] = "The file has no sound track."
        if info.video:
            try:
                packets = scan_packets(source)
                pictures, tracks = _summarize_pictures(source, info, detector, parser, progress)
            except MediaError as error:
                failure, absent["pictures"] = error, _sentence(error)
                absent.setdefault("faces", "There are no pictures to look for faces in.")
        else:
            absent["pictures"] = "The file has no pictures."
            absent["faces"] = "There are no pictures to look for faces in."
        colors = None if painter is None else painter(pictures, source)
    if sound is None and pictures is None:
        raise failure or MediaError(source, "has neither pictures nor sound", "Choose a video, sound or image file.")
    events = None if parser is None else parser.finish(packets if pictures else None)
    found = None if tracks is None or pictures is None else _summarize_faces(tracks, pictures)
    verdict = None
    if judge is not None:
        from mediakit.deepfake.predict import detect_tracks

        verdict = detect_tracks(judge, tracks, info=info, packets=packets, digest=digest, checkpoint=checkpoint)
    told = tuple(dict.fromkeys(str(w.message) for w in caught if str(source) in str(w.message)))
    return Analysis(source.name, digest, info, packets, sound, pictures, found, absent, told, events, verdict, colors)


def _summarize_sound(path: Path, info: MediaInfo, progress: bool) -> SoundSummary:
    from mediakit.encoders.audio import mel_power

    summarizer = SoundSummarizer(lambda wave: mel_power(wave, rate=RATE), RATE, hop=160, context=640)
    with (
        _bar("sound", info.duration, progress) as advance,
        closing(read_audio_blocks(path, rate=RATE, block=10.0)) as blocks,
    ):
        for block in blocks:
            summarizer.add(block)
            advance(block.start + block.waveform.shape[1] / RATE)
    return summarizer.finish()


def _open_detector(
    face_model: str | os.PathLike[str] | None, max_faces: int, absent: dict[str, str], needed: bool
) -> Detector | None:
    """The face detector, or None with the reason in ``absent``; a model that was asked for must be there."""
    from mediakit.faces import open_detector

    try:
        return open_detector(face_model, max_faces)
    except (MissingPackageError, WeightsError) as error:
        if face_model is not None or needed:
            raise
        absent["faces"] = _sentence(error)
        return None


def _open_parser(parsing: str | os.PathLike[str] | Parser, encoder_weights: Mapping[str, str] | None) -> FileParser:
    from mediakit.parsing.predict import FileParser, load_parser

    if isinstance(parsing, (str, os.PathLike)):
        return FileParser(load_parser(parsing), weights=encoder_weights, checkpoint=parsing)
    return FileParser(parsing, weights=encoder_weights)


def _open_judge(
    deepfake: str | os.PathLike[str] | DeepfakeDetector,
) -> tuple[DeepfakeDetector, str | os.PathLike[str] | None]:
    from mediakit.deepfake.predict import load_detector

    if isinstance(deepfake, (str, os.PathLike)):
        return load_detector(deepfake), deepfake
    return deepfake, None


def _open_painter(
    colorize: str | os.PathLike[str] | Colorizer,
) -> Callable[[PictureSummary | None, Path], KeyFrameColors]:
    from mediakit.colorize.image import load_colorizer
    from mediakit.colorize.key_frames import color_key_frames

    if isinstance(colorize, (str, os.PathLike)):
        module = load_colorizer(colorize)
        return lambda pictures, path: color_key_frames(module, pictures, path, colorize)
    return lambda pictures, path: color_key_frames(colorize, pictures, path)


def _summarize_pictures(
    path: Path, info: MediaInfo, detector: Detector | None, parser: FileParser | None, progress: bool
) -> tuple[PictureSummary, FaceTracks | None]:
    from mediakit.faces import track_faces

    summarizer = PictureSummarizer()
    found: FaceTracks | None = None
    name = "pictures, faces" if detector else "pictures"
    with (
        _bar(f"{name}, events" if parser else name, info.duration, progress) as advance,
        closing(prefetch(read_video(path))) as frames,
    ):

        def look(frame: Frame) -> None:
            summarizer.add(frame)
            if parser is not None:
                parser.see(frame)
            advance(frame.time)

        if detector is None:
            for frame in frames:
                look(frame)
        else:
            found = track_faces(frames, detector=detector, on_frame=look)
    pictures = summarizer.finish()
    if not pictures.frames:
        raise MediaError(path, "holds no picture that can be decoded", "Try the original file.")
    return pictures, found


def _summarize_faces(found: FaceTracks, pictures: PictureSummary) -> FacesSummary:
    times = tuple(k.time for k in pictures.key_frames)
    tracks = tuple(summarize_track(track, times) for track in found.tracks)
    return FacesSummary(found.detector, found.frames, found.frames_with_face, found.dropped, tracks)


@contextmanager
def _bar(name: str, total: float | None, show: bool) -> Iterator[Callable[[float], None]]:
    """Progress over media time; yields a function that takes the time reached in seconds."""
    from tqdm import tqdm

    seconds = None if not total else round(total, 2)
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}, {remaining} left]"
    with tqdm(desc=name, total=seconds, disable=not show, unit="s", bar_format=layout if seconds else None) as bar:

        def advance(time: float) -> None:
            bar.update(max(0.0, min(time, seconds or time) - bar.n))

        yield advance
        if seconds:
            advance(seconds)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[0].upper() + text[1:]


def _plain(value: Any) -> Any:
    """JSON-able copy: tensors and tuples to lists, dataclasses to dicts, floats rounded to what is meaningful."""
    if isinstance(value, torch.Tensor):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return _plain(vars(value))
    return value

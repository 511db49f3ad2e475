"""A film in colours: shot by shot, steady in time, with its own sound as a guide and copied through."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mediakit.colorize.guide import Guide, device_of, photo_guide, shot_guides, without
from mediakit.colorize.image import Colorizer, check_options, describe, evaluation, guess
from mediakit.colorize.painting import lightness_of, network_size, paint, resize
from mediakit.colorize.result import LightnessError, Shot, Steadiness, VideoColoring, comment
from mediakit.colorize.steady import Steadier, SteadinessMeter
from mediakit.colorize.upsample import TILE_PIXELS
from mediakit.errors import MediaError, require
from mediakit.io import (
    Frame,
    MediaInfo,
    PacketScan,
    check_readable,
    prefetch,
    probe,
    read_audio_blocks,
    read_video,
    scan_packets,
    sha256,
    write_video,
)
from mediakit.shots import CutDetector

ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".avi")
"""Films that are written (as H.264)."""
_COMPARED = 4  # frames of the written film whose lightness is compared with the original's
_KEPT_TAGS = ("title", "artist", "album", "date", "genre", "copyright", "description")


def colorize_video(
    module: Colorizer,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    guide: str | os.PathLike[str] | Tensor | None = None,
    *,
    audio_weight: float = 1.0,
    saturation: float = 1.0,
    steady: bool = True,
    crf: int = 18,
    full_chroma: bool = False,
    preset: str = "medium",
    threads: int = 0,
    tile_pixels: int = TILE_PIXELS,
    model: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> VideoColoring:
    """Colours a film frame by frame, in memory that does not grow with its length.

    Its own sound guides it: each shot is coloured with one vector of all that is heard during the shot (see
    `.shot_guides`), which takes a first pass for the cuts. Within a shot colours are held steady along time. Size,
    times (a variable frame rate too), shape of the pixels and sound stay; sound is copied, not encoded anew, where the
    container can hold it.

    Args:
        module: A trained `.ColorizeModule`; its network is used on the device where it is.
        path: The film.
        out: The file to write: ``.mp4``, ``.mov``, ``.m4v``, ``.mkv`` or ``.avi``.
        guide: A colour photograph that guides all shots in place of the sound: a file, or uint8 RGB (3, H, W).
        audio_weight: How far the sound may count, 0 to 1.
        saturation: Factor of the chroma.
        steady: Whether to hold colours steady in time.
        crf: Constant rate factor of libx264, 0 to 51.
        full_chroma: Whether to store chroma at full resolution (4:4:4), which keeps lightness better; not every player
            shows such files.
        preset: Speed of libx264 against size.
        threads: Threads of libx264, 0 for one a core; with 1 equal arguments give equal bytes.
        tile_pixels: Pixels worked on at a time; it does not change the result.
        model: What `mediakit.colorize.image.describe` tells, where many films are coloured with one model.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        What was done and measured; the pictures are in ``out``.

    Raises:
        MediaError: The film or the photograph cannot be read, or ``out`` not be written; then nothing is left behind.
        ValueError: An argument is out of its range.
    """
    check_options(audio_weight, saturation, tile_pixels)
    if Path(out).suffix.lower() not in ENDINGS:
        problem = f"has an ending that films are not written with ({Path(out).suffix or 'none'})"
        raise MediaError(out, problem, f"Use one of {', '.join(ENDINGS)}.")
    path = check_readable(path)
    model = dict(describe(module) if model is None else model)
    notes: list[str] = []
    with evaluation(module.network), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info, scan = probe(path), scan_packets(path)
        hints = _hints(module, path, info, scan, guide, audio_weight, progress)
        painter = _Painter(module, hints, saturation, steady, tile_pixels)
        frames = _coloured(painter, path, scan, progress)
        copied = _copyable(path, info, Path(out).suffix)
        if info.audio and not copied:
            notes.append("Its sound track is damaged or of an unknown codec: it cannot be copied, and is left out.")
        constant = Path(out).suffix.lower() == ".avi"  # which has no times of its own
        write_video(
            out,
            frames,
            (scan.fps or 25.0) if constant else None,
            audio_from=path if copied else None,
            crf=crf,
            preset=preset,
            threads=threads,
            pix_fmt="yuv444p" if full_chroma else "yuv420p",
            average_rate=scan.fps,
            pixel_aspect=_pixel_aspect(info),
            metadata=_tags(info, comment(model, tuple(hint.believed(hint.weight) for hint in hints))),
        )
    notes += _told(hints) + [str(warning.message) for warning in caught if str(path) in str(warning.message)]
    return VideoColoring(
        size=painter.size,
        frames=len(painter.times),
        duration=scan.duration,
        shots=painter.shots(painter.times[0] + scan.duration),
        gray=_steadiness(painter.gray),
        network=_steadiness(painter.guessed),
        written=_steadiness(painter.held),
        lightness=_lightness_left(path, out, painter.times),
        steady=steady,
        saturation=saturation,
        notes=tuple(dict.fromkeys(notes)),
        model=model,
        source={"name": path.name, "sha256": sha256(path)},
    )


def find_shots(
    path: str | os.PathLike[str], end: float, frames: int | None = None, progress: bool = False
) -> list[tuple[float, float]]:
    """Start and stop of each shot of a film in seconds, the last one up to ``end``.

    Raises:
        MediaError: The film cannot be read.
    """
    cuts, detector = list[float](), CutDetector()
    bar = require("tqdm", "Progress").tqdm(None, "shots", frames, unit="frame", disable=not progress)
    with bar, closing(prefetch(read_video(path))) as pictures:
        for frame in pictures:
            if detector.step(frame.image) or not cuts:
                cuts.append(frame.time)
            bar.update()
    return list(zip(cuts, [*cuts[1:], max(end, cuts[-1])], strict=True))


def _hints(
    module: Colorizer,
    path: Path,
    info: MediaInfo,
    scan: PacketScan,
    photo: str | os.PathLike[str] | Tensor | None,
    audio_weight: float,
    progress: bool,
) -> list[Guide]:
    """One guide a shot, or one for all."""
    if photo is not None:
        return [photo_guide(module.network, photo, module.size)]
    if not info.audio:
        return [without("missing", "The film has no sound track: its colours were guessed without.")]
    if audio_weight == 0:
        return shot_guides(module.network, path, [(0.0, 0.0)], 0.0)
    start = info.video[0].start or 0.0
    spans = find_shots(path, start + scan.duration, scan.frames, progress)
    return shot_guides(module.network, path, spans, audio_weight)


def _copyable(path: Path, info: MediaInfo, suffix: str) -> bool:
    """Whether the film's sound can be copied; a track that cannot be decoded is tried on a film of one frame first."""
    if not info.audio:
        return False
    try:
        with closing(read_audio_blocks(path, block=1.0)) as blocks:
            next(blocks)
    except MediaError:
        with TemporaryDirectory() as folder:
            try:
                write_video(Path(folder, f"a{suffix}"), [torch.zeros(3, 16, 16, dtype=torch.uint8)], 1, audio_from=path)
            except MediaError:
                return False
    return True


def _coloured(painter: _Painter, path: Path, scan: PacketScan, progress: bool) -> Iterator[Frame]:
    bar = require("tqdm", "Progress").tqdm(None, "colours", scan.frames, unit="frame", disable=not progress)
    with bar, closing(prefetch(read_video(path), depth=2)) as frames:
        for frame in frames:
            yield painter.step(frame)
            bar.update()


@dataclass
class _Running:
    """A shot that goes on."""

    start: float
    hint: Guide
    frames: int = 0
    relevance: float = 0.0


class _Painter:
    """Colours the frames of a film one after the other, and watches what comes of it."""

    def __init__(
        self, module: Colorizer, hints: Sequence[Guide], saturation: float, steady: bool, tile_pixels: int
    ) -> None:
        self._network, self._side, self._hints = module.network, module.size, hints
        self._saturation, self._tile_pixels = saturation, tile_pixels
        self._device = device_of(module.network)
        self._cuts, self._steadier = CutDetector(), Steadier() if steady else None
        self._running: list[_Running] = []
        self.gray, self.guessed, self.held = SteadinessMeter(), SteadinessMeter(), SteadinessMeter()
        self.times: list[float] = []
        self.size = (0, 0)

    def step(self, frame: Frame) -> Frame:
        """The next frame in colours."""
        height, width = frame.image.shape[1:]
        cut = self._cuts.step(frame.image) or not self._running
        if cut:
            hint = self._hints[min(len(self._running), len(self._hints) - 1)]
            self._running.append(_Running(frame.time, hint))
        shot = self._running[-1]
        lightness = lightness_of(frame.image, self._tile_pixels, self._device)
        small = resize(lightness, network_size(height, width, self._side))
        ab, relevance = guess(self._network, small, shot.hint)
        steady = ab if self._steadier is None else self._steadier.step(ab[0], small[0], cut)[None]
        for meter, colours in ((self.gray, torch.zeros_like(ab)), (self.guessed, ab), (self.held, steady)):
            meter.step(colours[0], small[0], cut)
        shot.frames, shot.relevance = shot.frames + 1, shot.relevance + relevance
        self.times.append(frame.time)
        self.size = (width, height)
        colours = self._saturation * steady
        return frame._replace(image=paint(frame.image, lightness, small, colours, tile_pixels=self._tile_pixels))

    def shots(self, end: float) -> tuple[Shot, ...]:
        """What was coloured, up to ``end`` seconds."""
        stops = [*(shot.start for shot in self._running[1:]), end]
        return tuple(
            Shot(shot.start, stop, shot.frames, shot.hint.believed(shot.relevance / shot.frames))
            for shot, stop in zip(self._running, stops, strict=True)
        )


def _steadiness(meter: SteadinessMeter) -> Steadiness:
    return Steadiness(meter.flicker, meter.consistency)


def _lightness_left(source: Path, out: str | os.PathLike[str], times: Sequence[float]) -> LightnessError:
    """Compares some frames of the written film with the original."""
    shift = times[0] - _at(out, 0.0).time  # a film that began late begins at 0 without the sound before it
    chosen = sorted({round(n * (len(times) - 1) / (_COMPARED - 1)) for n in range(_COMPARED)})
    means, most = [], 0.0
    for time in (times[n] for n in chosen):
        was, now = (lightness_of(_at(path, moment).image) for path, moment in ((source, time), (out, time - shift)))
        error = (now - was).abs()
        means.append(float(error.mean()))
        most = max(most, float(error.max()))
    return LightnessError(sum(means) / len(means), most, len(means))


def _at(path: str | os.PathLike[str], time: float) -> Frame:
    """The frame that begins at a time."""
    with closing(read_video(path, start=max(0.0, time - 1e-3))) as frames:
        return next(frames)


def _pixel_aspect(info: MediaInfo) -> float:
    stream = info.video[0]
    aspect = stream.sample_aspect_ratio or 1.0
    return 1 / aspect if stream.rotation in (90, 270) else aspect


def _tags(info: MediaInfo, told: str) -> dict[str, str]:
    tags = {name.lower(): text for name, text in info.metadata.items()}
    return {name: tags[name] for name in _KEPT_TAGS if name in tags} | {"comment": told}


def _told(hints: Sequence[Guide]) -> list[str]:
    """What has to be said of the guidance, in few sentences."""
    notes = [hint.note for hint in hints if hint.note]
    if len(set(notes)) > 1 and len(hints) > 1:
        silent = sum(hint.sound == "silent" for hint in hints)
        rest = [hint.note for hint in hints if hint.note and hint.sound != "silent"]
        told = f"{silent} of {len(hints)} shots are silent: their colours were guessed without sound."
        return ([told] if silent else []) + list(dict.fromkeys(rest))
    return notes[:1]

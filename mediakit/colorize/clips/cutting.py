"""One film cut into clips for colorization: shot by shot, and only what has colour, motion and sound."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mediakit.colorize.clips.decoding import LOOKS, NEARLY_GRAY, STILL, hear_windows
from mediakit.colorize.sound import is_silent
from mediakit.io import Audio, MediaInfo, prefetch, probe, read_video, write_video
from mediakit.io.files import StrPath
from mediakit.ledger import make_folder
from mediakit.shots import CutDetector, thumbnail
from mediakit.summary import colorfulness

_SMALL = 72  # short side in pixels of what cuts, colour and motion are seen in
_FASTEST = 60.0  # frames a second
_SLACK = 1e-3


@dataclass(frozen=True)
class CutSettings:
    """What becomes a clip.

    Attributes:
        seconds: Length of a clip; what is left of a shot is a shorter one.
        shortest: Least length of a clip.
        min_colorfulness: Mean colourfulness (Hasler and Süsstrunk) below which it is nearly gray.
        min_motion: Largest mean difference from its first picture, in gray levels of 255, below which it is still.
        size: Short side of its pictures in pixels; None keeps that of the film.
        crf: Constant rate factor of H.264.
    """

    seconds: float = 10.0
    shortest: float = 2.0
    min_colorfulness: float = NEARLY_GRAY
    min_motion: float = STILL
    size: int | None = None
    crf: int = 18


@dataclass(frozen=True)
class Piece:
    """A part of a shot that may become a clip.

    Attributes:
        start: Where it begins in the film, in seconds.
        end: Where it ends.
        colorfulness: Mean of its pictures.
        motion: Largest mean difference from its first picture, in gray levels of 255.
        level: Root mean square of its sound in dB below full scale; None where it was not heard or is silent.
        problem: Why it is no clip; empty if it is one.
    """

    start: float
    end: float
    colorfulness: float
    motion: float
    level: float | None = None
    problem: str = ""


class Cut(NamedTuple):
    """What a film was cut into.

    Attributes:
        pieces: Clips and what is none, in order.
        problem: Why there can be none in such a film.
        warnings: What was wrong with the film and could be worked around.
    """

    pieces: tuple[Piece, ...] = ()
    problem: str = ""
    warnings: tuple[str, ...] = ()


def cut_film(path: StrPath, settings: CutSettings, folder: StrPath, name: str) -> Cut:
    """Writes the clips of a film as H.264 with AAC, each under its `clip_name`.

    Pictures come at the film's nominal rate, whatever their times in it. Equal films give equal bytes.

    Args:
        path: The film.
        settings: What becomes a clip.
        folder: Where clips go.
        name: What their names begin with.

    Raises:
        MediaError: The film cannot be read, or a clip cannot be written.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = probe(path)
        if not info.video or not info.audio:
            return Cut(problem="has no sound track" if info.video else "has no pictures")
        pieces = list(find_pieces(path, settings))
        wanted = [n for n, piece in enumerate(pieces) if not piece.problem]
        windows = [(pieces[n].start, pieces[n].end) for n in wanted]
        for n, sound in hear_windows(path, windows, channels=_channels(info)):
            piece = pieces[wanted[n]] = _heard(pieces[wanted[n]], sound)
            if not piece.problem:
                _write(path, info, piece, sound, settings, Path(folder, f"{clip_name(name, piece)}.mp4"))
    told = dict.fromkeys(str(w.message).removeprefix(f"{path}: ") for w in caught if str(path) in str(w.message))
    return Cut(tuple(pieces), "", tuple(told))


def clip_name(name: str, piece: Piece) -> str:
    """Name of a clip: that of its film, and the time in milliseconds."""
    return f"{name}-{round(1000 * piece.start):08d}"


def find_pieces(path: StrPath, settings: CutSettings) -> Iterator[Piece]:
    """Cuts a film by what is seen: shots, and in them pieces of ``seconds``, the last one shorter.

    A rest below ``shortest`` is dropped; a whole shot below it is a piece with a problem.

    Raises:
        MediaError: The film cannot be read.
    """
    frame_length = 1 / _rate(probe(path))
    shots, looks, start, end = CutDetector(), list[_Look](), 0.0, 0.0
    with closing(prefetch(read_video(path, size=_SMALL, threads=1))) as film:
        for frame in film:
            cut = shots.step(frame.image)
            if cut:
                yield from _pieces(start, frame.time, looks, settings)
            if cut or not looks:
                looks, start = [], frame.time
            if not looks or frame.time >= looks[-1].time + 1 / LOOKS - _SLACK:
                looks.append(_Look(frame.time, float(colorfulness(frame.image)), thumbnail(frame.image)))
            end = frame.time + frame_length
    yield from _pieces(start, end, looks, settings)


class _Look(NamedTuple):
    time: float
    colorfulness: float
    thumbnail: NDArray[np.float32]


def _pieces(start: float, end: float, looks: Sequence[_Look], settings: CutSettings) -> Iterator[Piece]:
    """The pieces of one shot."""
    count = max(1, math.ceil((end - start) / settings.seconds - _SLACK))
    for n in range(count):
        first, last = start + n * settings.seconds, min(start + (n + 1) * settings.seconds, end)
        short = last - first < settings.shortest - _SLACK
        seen = [look for look in looks if first - _SLACK <= look.time < last - _SLACK]
        if not seen or (short and n):
            continue
        color = sum(look.colorfulness for look in seen) / len(seen)
        motion = max(float(np.abs(look.thumbnail - seen[0].thumbnail).mean()) for look in seen)
        problem = ""
        if short:
            problem = f"is a shot of {last - first:.2f} s"
        elif color < settings.min_colorfulness:
            problem = f"is nearly gray (colourfulness {color:.1f})"
        elif motion < settings.min_motion:
            problem = f"is still (motion {motion:.2f})"
        yield Piece(round(first, 6), round(last, 6), round(color, 2), round(motion, 2), None, problem)


def _heard(piece: Piece, sound: Audio) -> Piece:
    if is_silent(sound.waveform.flatten()):
        return replace(piece, problem="is silent")
    power = float(sound.waveform.double().square().mean())
    return replace(piece, level=round(10 * math.log10(power), 2))


def _write(path: StrPath, info: MediaInfo, piece: Piece, sound: Audio, settings: CutSettings, target: Path) -> None:
    make_folder(target.parent)
    fps = _rate(info)
    film = read_video(path, fps=fps, size=settings.size, start=piece.start, stop=piece.end, threads=1)
    frames = (frame.image for frame in film)
    # One thread gives the same bytes everywhere; the films are worked on side by side instead.
    write_video(target, frames, fps, audio=sound, crf=settings.crf, preset="veryfast", threads=1)


def _rate(info: MediaInfo) -> float:
    """Frames per second of clips."""
    return min(info.video[0].fps or 25.0, _FASTEST)


def _channels(info: MediaInfo) -> int:
    return min(info.audio[0].channels or 2, 2)

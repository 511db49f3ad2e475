"""A film or photograph as clips for training: some pictures of each and its sound, from one decoding pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mediakit.colorize.sound import RATE, is_silent
from mediakit.errors import MediaError
from mediakit.io import Audio, MediaInfo, probe, read_audio_blocks, read_image, read_video, scan_packets
from mediakit.io.files import StrPath
from mediakit.shots import thumbnail
from mediakit.summary import colorfulness

PHOTO_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
LOOKS = 4.0
"""Pictures a second that are looked at; those kept are chosen among them."""
NEARLY_GRAY = 15.0
"""Colourfulness (Hasler and Süsstrunk, 2003) below which a picture has too little colour to learn from."""
STILL = 1.0
"""Motion, in gray levels of 255, below which a clip is one still picture."""
_LONGEST_SIDE = 3  # in short sides; of what is longer the middle is kept
_SLACK = 1e-6

Window = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip in memory.

    Attributes:
        start: Where it begins in its file, in seconds.
        end: Where it was to end.
        last: Where its pictures end, which is earlier in a file that was cut off.
        frames: Pictures evenly spread over it, the middle one among them if their number is odd: uint8 RGB
            (K, 3, h, w).
        colorfulness: Of each picture, after Hasler and Süsstrunk.
        motion: Largest mean difference of a picture that was looked at from the first one, in gray levels of 255.
        waveform: Its sound, mono at 16 kHz: float32 (N,); of no length where there is none.
        sound: ``"present"``, ``"silent"``, ``"missing"`` (no track) or ``"undecodable"``.
    """

    start: float
    end: float
    last: float
    frames: Tensor
    colorfulness: tuple[float, ...]
    motion: float
    waveform: Tensor
    sound: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """What `decode_clips` found in a file.

    Attributes:
        clips: The clips that have pictures.
        beyond: Windows that were asked for and lie beyond the last picture.
        warnings: What was wrong with the file and could be worked around.
    """

    clips: tuple[Clip, ...]
    beyond: tuple[Window, ...] = ()
    warnings: tuple[str, ...] = ()


def decode_clips(
    path: StrPath, windows: Sequence[Window] | None = None, *, size: int = 256, count: int = 5, seconds: float = 10.0
) -> Decoded:
    """Cuts clips out of a file; each of its packets is decoded at most once, however many clips there are.

    Args:
        path: A video, or a photograph (which gives one clip without sound).
        windows: The clips; None cuts the whole file by `side_by_side`.
        size: Short side of the pictures in pixels. What is longer than three short sides loses its ends.
        count: K, pictures of a clip, K evenly spread ones; a photograph has one.
        seconds: Length of the clips where ``windows`` is None.

    Raises:
        MediaError: The file cannot be read, or has no pictures.
    """
    if Path(path).suffix.lower() in PHOTO_ENDINGS:
        return Decoded((_photo(path, size),))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = probe(path)
        if not info.video:
            raise MediaError(path, "has no pictures", "Choose a video.")
        spans = sorted(set(side_by_side(_duration(info), seconds) if windows is None else windows))
        looks = [_Look(span, count) for span in spans]
        _watch(path, looks, size)
        seen = [look for look in looks if look.kept]
        heard, sound = _listen(path, info, [(look.start, look.end) for look in seen])
    clips = tuple(look.clip(*pair) for look, pair in zip(seen, zip(heard, sound, strict=True), strict=True))
    told = dict.fromkeys(str(w.message).removeprefix(f"{path}: ") for w in caught if str(path) in str(w.message))
    return Decoded(clips, tuple((k.start, k.end) for k in looks if not k.kept), tuple(told))


def side_by_side(duration: float, seconds: float) -> list[Window]:
    """Windows that fill a length; the last one may be shorter, and is left out if it is not half as long.

    A length below ``seconds`` is one window.
    """
    whole = int(duration / seconds + _SLACK)
    if not whole:
        return [(0.0, duration)]
    rest = duration - whole * seconds
    return [(n * seconds, min((n + 1) * seconds, duration)) for n in range(whole + (rest >= seconds / 2))]


def hear_windows(
    path: StrPath, windows: Sequence[Window], rate: int | None = None, channels: int | None = None
) -> Iterator[tuple[int, Audio]]:
    """The sound of parts of a file, which may overlap, from one pass.

    Args:
        path: The file.
        windows: Start and end of each in seconds.
        rate: As `mediakit.io.read_audio`.
        channels: As `mediakit.io.read_audio`.

    Yields:
        Number of a window and its sound, as soon as it is complete: in the order of their ends. Sound that ends before
        the window does is shorter, down to no sample.

    Raises:
        MediaError: The sound cannot be read.
    """
    order = sorted(range(len(windows)), key=lambda n: windows[n][1])
    pieces: dict[int, list[Tensor]] = {n: [] for n in order}
    until = max((end for _, end in windows), default=0.0)
    position = 0
    with closing(read_audio_blocks(path, rate=rate, channels=channels, stop=until)) as blocks:
        for block in blocks:
            ahead = position + block.waveform.shape[1]
            for n in order:
                first, last = (round(time * block.rate) for time in windows[n])
                if first < ahead or not pieces[n]:
                    pieces[n].append(block.waveform[:, max(first - position, 0) : max(last - position, 0)].clone())
            position = ahead
            while order and (position >= round(windows[order[0]][1] * block.rate)):
                done = order.pop(0)
                yield done, Audio(torch.cat(pieces.pop(done), dim=1), block.rate, 0.0)
        for n in order:
            yield n, Audio(torch.cat(pieces[n], dim=1), block.rate, 0.0)


class _Look:
    """One window while the film runs by."""

    def __init__(self, window: Window, count: int) -> None:
        self.start, self.end = window
        length = self.end - self.start
        # Ticks count from 0, the start of the file.
        self.first = math.ceil(self.start * LOOKS - _SLACK)
        self.last = max(self.first, math.ceil(self.end * LOOKS - _SLACK) - 1)
        middles = (self.start + (k + 0.5) / count * length for k in range(count))
        self.wanted = [min(max(int(time * LOOKS + _SLACK), self.first), self.last) for time in middles]
        self.kept: dict[int, Tensor] = {}
        self.motion = 0.0
        self._thumbnail: NDArray[np.float32] | None = None
        self._latest = -1

    def add(self, tick: int, image: Tensor) -> None:
        small = thumbnail(image)
        if self._thumbnail is None:
            self._thumbnail = small
        self.motion = max(self.motion, float(np.abs(small - self._thumbnail).mean()))
        # The film may end earlier than it says, so the latest picture is kept until the next one comes.
        if self._latest not in self.wanted:
            self.kept.pop(self._latest, None)
        self.kept[tick], self._latest = image, tick

    def clip(self, waveform: Tensor, sound: str) -> Clip:
        frames = torch.stack([self.kept.get(tick, self.kept[self._latest]) for tick in self.wanted]).contiguous()
        last = self.end if self._latest == self.last else (self._latest + 1) / LOOKS
        colorful = tuple(round(value, 2) for value in colorfulness(frames).tolist())
        return Clip(self.start, self.end, last, frames, colorful, self.motion, waveform, sound)


def _watch(path: StrPath, looks: Sequence[_Look], size: int) -> None:
    """Runs the film from the start of the first window to the end of the last one."""
    first, last = min(look.first for look in looks), max(look.last for look in looks)
    # One decoding thread: what several make of a damaged file differs from run to run.
    film = read_video(path, fps=LOOKS, size=size, start=first / LOOKS, stop=(last + 1) / LOOKS, threads=1)
    waiting = sorted(looks, key=lambda look: look.first)
    running: list[_Look] = []
    with closing(film) as frames:
        for frame in frames:
            tick, image = first + frame.index, _without_ends(frame.image)
            while waiting and waiting[0].first <= tick:
                running.append(waiting.pop(0))
            running = [look for look in running if look.last >= tick]
            for look in running:
                look.add(tick, image)


def _listen(path: StrPath, info: MediaInfo, windows: Sequence[Window]) -> tuple[list[Tensor], list[str]]:
    heard = [torch.zeros(0) for _ in windows]
    if not info.audio or not windows:
        return heard, ["missing"] * len(windows)
    try:
        for n, sound in hear_windows(path, windows, RATE, 1):
            heard[n] = sound.waveform[0]
    except MediaError:
        return [torch.zeros(0) for _ in windows], ["undecodable"] * len(windows)
    return heard, ["silent" if is_silent(waveform) else "present" for waveform in heard]


def _duration(info: MediaInfo) -> float:
    """Seconds of pictures, by the headers, or by the packets where these are silent."""
    return info.video[0].duration or info.duration or scan_packets(info.path).duration


def _photo(path: StrPath, size: int) -> Clip:
    image = _without_ends(read_image(path))
    scale = size / min(image.shape[1:])
    shape = [max(1, round(side * scale)) for side in image.shape[1:]]
    options: dict[str, Any] = {"mode": "area"} if scale < 1 else {"mode": "bicubic", "align_corners": False}
    frames = interpolate(image[None].float(), size=shape, **options).round().clamp(0, 255).to(torch.uint8)
    colorful = (round(float(colorfulness(frames[0])), 2),)
    return Clip(0.0, 0.0, 0.0, frames, colorful, 0.0, torch.zeros(0), "missing")


def _without_ends(image: Tensor) -> Tensor:
    """The middle of a picture (3, H, W) that is longer than three short sides."""
    most = _LONGEST_SIDE * min(image.shape[1:])
    top, left = (max(side - most, 0) // 2 for side in image.shape[1:])
    return image[:, top : top + most, left : left + most]

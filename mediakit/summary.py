"""What a sound track and a film look like at a glance, gathered in one pass and in bounded memory.

Nothing here knows how long the file will be: both summaries keep a fixed budget of columns or pictures and halve their
resolution when it is full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch.nn.functional import interpolate

from mediakit.io import Audio, Frame
from mediakit.shots import CutDetector

SILENCE_RMS = 1e-4
"""Root mean square below which sound counts as silent (full scale 1; -80 dB)."""

GRAY_COLORFULNESS = 5.0
"""Colourfulness below which a picture counts as black and white; codecs leave up to about 3 on gray film."""


@dataclass(frozen=True)
class SoundSummary:
    """A sound track at a glance.

    Attributes:
        duration: Seconds of sound.
        rms_db: Root mean square over the whole track in dB below full scale; None for digital silence.
        peak_db: Largest sample in dB below full scale; None for digital silence.
        silent: Whether the whole track lies below :data:`SILENCE_RMS`.
        silent_share: Share of seconds below :data:`SILENCE_RMS`.
        log_mel: ``(mels, columns)`` float32, dB of mean power in each column (power of a full-scale sine is about 0 dB
            per bin's filter gain; only differences matter for display).
        seconds_per_column: Width of a column.
    """

    duration: float
    rms_db: float | None
    peak_db: float | None
    silent: bool
    silent_share: float
    log_mel: torch.Tensor
    seconds_per_column: float


class SoundSummarizer:
    """Gathers a :class:`SoundSummary` from blocks of sound.

    Args:
        mel_power: Waveform ``(N,)`` to mel power ``(mels, 1 + N // hop)``, frames centred on multiples of ``hop``.
        rate: Samples per second of the blocks.
        hop: Samples between frames.
        context: Samples that a frame reaches to either side; a multiple of ``hop``.
        max_columns: Budget of columns; between half and all of it is used for long sounds.
    """

    def __init__(
        self,
        mel_power: Callable[[torch.Tensor], torch.Tensor],
        rate: int,
        hop: int,
        context: int,
        max_columns: int = 1200,
    ) -> None:
        if context % hop:
            raise ValueError(f"context {context} must be a multiple of hop {hop}")
        self._mel_power, self._rate, self._hop, self._context = mel_power, rate, hop, context
        self._budget = max_columns
        self._tail = torch.zeros(0)  # samples whose frames are not finished
        self._skip = 0  # frames at the start of the tail that are done
        self._columns: list[torch.Tensor] = []
        self._pending: list[torch.Tensor] = []  # finished frames short of a column
        self._frames_per_column = 1
        self._samples, self._energy, self._peak = 0, 0.0, 0.0
        self._second_energy = torch.zeros(0, dtype=torch.float64)

    def add(self, audio: Audio) -> None:
        """Takes the next block, which follows the one before without a gap."""
        wave = audio.waveform
        # Over all channels, before mixing: a track in opposite phase is not silent.
        power = wave.double().square().mean(0)
        self._energy += float(power.sum())
        if wave.numel():
            self._peak = max(self._peak, float(wave.abs().max()))
        second = (self._samples + torch.arange(len(power))) // self._rate
        if len(power):
            grown = torch.zeros(int(second[-1]) + 1, dtype=torch.float64)
            grown[: len(self._second_energy)] = self._second_energy
            self._second_energy = grown.index_add(0, second, power)
        self._samples += len(power)
        self._tail = torch.cat([self._tail, wave.mean(0)])
        # Frames whose window lies inside the tail are final; the rest waits for the next block.
        done = max(0, (len(self._tail) - self._context) // self._hop)
        self._take(self._tail, done)

    def _take(self, samples: torch.Tensor, until: int) -> None:
        if until > self._skip:
            self._gather(self._mel_power(samples)[:, self._skip : until])
            keep = max(0, until - self._context // self._hop)
            self._tail, self._skip = self._tail[keep * self._hop :], until - keep

    def _gather(self, frames: torch.Tensor) -> None:
        self._pending.append(frames)
        ready = torch.cat(self._pending, dim=1)
        whole = ready.shape[1] // self._frames_per_column * self._frames_per_column
        self._pending = [ready[:, whole:]]
        columns = ready[:, :whole].unflatten(1, (-1, self._frames_per_column)).mean(2)
        self._columns.append(columns)
        while sum(c.shape[1] for c in self._columns) > self._budget:
            merged = torch.cat(self._columns, dim=1)
            even = merged.shape[1] // 2 * 2
            if even < merged.shape[1]:  # an odd column waits, as the frames it stands for
                left = merged[:, even:].expand(-1, self._frames_per_column)
                self._pending = [left, *self._pending]
            self._columns = [merged[:, :even].unflatten(1, (-1, 2)).mean(2)]
            self._frames_per_column *= 2

    def finish(self) -> SoundSummary:
        """Closes the last column and sums up."""
        if self._samples:
            self._take(self._tail, 1 + len(self._tail) // self._hop)
        rest = torch.cat(self._pending, dim=1) if self._pending else torch.zeros(1, 0)
        columns = [*self._columns, rest.mean(1, keepdim=True)] if rest.shape[1] else self._columns
        power = torch.cat(columns, dim=1) if columns else torch.zeros(1, 0)
        rms = (self._energy / self._samples) ** 0.5 if self._samples else 0.0
        lengths = torch.full((len(self._second_energy),), self._rate, dtype=torch.float64)
        if self._samples % self._rate:
            lengths[-1:] = self._samples % self._rate
        silent_seconds = (self._second_energy / lengths).sqrt() < SILENCE_RMS
        return SoundSummary(
            duration=self._samples / self._rate,
            rms_db=_decibels(rms),
            peak_db=_decibels(self._peak),
            silent=rms < SILENCE_RMS,
            silent_share=float((silent_seconds * lengths).sum() / lengths.sum()) if self._samples else 1.0,
            log_mel=10 * power.clamp(min=1e-10).log10(),
            seconds_per_column=self._hop * self._frames_per_column / self._rate,
        )


class KeyFrame(NamedTuple):
    """A picture kept for show: ``time`` in seconds, ``image`` uint8 RGB ``(3, H, W)``."""

    time: float
    image: torch.Tensor


@dataclass(frozen=True)
class PictureSummary:
    """A film at a glance.

    Attributes:
        frames: Frames seen.
        size: Width and height in pixels.
        first: Time of the first frame in seconds.
        last: Time of the last frame in seconds.
        brightness: Mean brightness over sampled frames, 0 black to 1 white (Rec. 601 luma).
        colorfulness: Mean over sampled frames of :func:`colorfulness`.
        gray: Whether the film counts as black and white.
        cuts: Times at which a new shot begins.
        key_frames: Pictures evenly spread in time.
    """

    frames: int
    size: tuple[int, int]
    first: float
    last: float
    brightness: float
    colorfulness: float
    gray: bool
    cuts: tuple[float, ...]
    key_frames: tuple[KeyFrame, ...]


class PictureSummarizer:
    """Gathers a :class:`PictureSummary` from the frames of a film.

    Args:
        max_key_frames: Most pictures kept; at least half as many come out of a long film.
        key_frame_width: Their width in pixels (smaller pictures stay as they are).
        sample_rate: Frames per second that are measured.
    """

    def __init__(self, max_key_frames: int = 12, key_frame_width: int = 480, sample_rate: float = 4.0) -> None:
        self._budget, self._width, self._period = max_key_frames, key_frame_width, 1 / sample_rate
        self._spacing = self._period
        self._kept: list[KeyFrame] = []
        self._measured: list[tuple[float, float]] = []
        self._frames, self._size = 0, (0, 0)
        self._first = self._last = 0.0
        self._last_measured = self._last_kept = -1
        self._shots, self._cuts = CutDetector(), list[float]()

    def add(self, frame: Frame) -> None:
        """Takes the next frame."""
        if self._frames == 0:
            self._first = frame.time
        self._frames += 1
        self._last = frame.time
        self._size = (frame.image.shape[2], frame.image.shape[1])
        if self._shots.step(frame.image):
            self._cuts.append(frame.time)
        # Slots of fixed times: counting on from the last frame taken would drift.
        measured, kept = self._slot(frame.time, self._period), self._slot(frame.time, self._spacing)
        if measured <= self._last_measured:
            return
        self._last_measured = measured
        small = _shrink(frame.image, self._width)
        self._measured.append(_measure(small))
        if kept <= self._last_kept:
            return
        self._last_kept = kept
        self._kept.append(KeyFrame(frame.time, small))
        if len(self._kept) > self._budget:
            self._kept = self._kept[::2]
            self._spacing *= 2
            self._last_kept = self._slot(self._kept[-1].time, self._spacing)

    def _slot(self, time: float, width: float) -> int:
        return int((time - self._first) / width + 1e-6)

    def finish(self) -> PictureSummary:
        """Sums up."""
        count = max(len(self._measured), 1)
        brightness = sum(b for b, _ in self._measured) / count
        color = sum(c for _, c in self._measured) / count
        return PictureSummary(
            frames=self._frames,
            size=self._size,
            first=self._first,
            last=self._last,
            brightness=brightness,
            colorfulness=color,
            gray=bool(self._measured) and color < GRAY_COLORFULNESS,
            cuts=tuple(self._cuts),
            key_frames=tuple(self._kept),
        )


def colorfulness(image: torch.Tensor, variant: Literal["signed", "abs"] = "signed") -> torch.Tensor:
    """Colourfulness after Hasler and Süsstrunk (2003).

    ``sqrt(std(rg)² + std(yb)²) + 0.3 sqrt(mean(rg)² + mean(yb)²)`` with rg = R - G and yb = (R + G) / 2 - B.

    Args:
        image: RGB ``(..., 3, H, W)`` in 0..255.
        variant: ``"signed"`` as published, or ``"abs"`` with the magnitudes of rg and yb, as CT2 and DDColor compute
            it. The two differ by about a fifth on the same photograph: say which.

    Returns:
        ``(...)``; 0 for gray, about 15 slightly, 60 strongly colourful.

    Raises:
        ValueError: There is no such variant.
    """
    if variant not in ("signed", "abs"):
        raise ValueError(f"there is no colourfulness {variant!r}; take 'signed' or 'abs'")
    red, green, blue = image.float().unbind(-3)
    rg, yb = (red - green).flatten(-2), ((red + green) / 2 - blue).flatten(-2)
    if variant == "abs":
        rg, yb = rg.abs(), yb.abs()
    spread = (rg.var(-1, correction=0) + yb.var(-1, correction=0)).sqrt()
    return spread + 0.3 * (rg.mean(-1).square() + yb.mean(-1).square()).sqrt()


def _measure(image: torch.Tensor) -> tuple[float, float]:
    luma = image.float().mean((1, 2)) @ torch.tensor([0.299, 0.587, 0.114])
    return float(luma) / 255, float(colorfulness(image))


def _shrink(image: torch.Tensor, width: int) -> torch.Tensor:
    """An RGB image at most ``width`` pixels wide, as a copy (the decoder's buffer is not held)."""
    height, full = image.shape[1:]
    if full <= width:
        return image.clone()
    size = (max(1, round(height * width / full)), width)
    return interpolate(image[None].float(), size=size, mode="area")[0].round().to(torch.uint8)


def _decibels(amplitude: float) -> float | None:
    return None if amplitude <= 0 else 20 * float(torch.tensor(amplitude, dtype=torch.float64).log10())

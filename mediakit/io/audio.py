"""Sound of a media file as float tensors, on the clock that it shares with the pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mediakit.errors import MediaError, require
from mediakit.io.demux import Damage, decode, open_media, origin, pick_stream
from mediakit.io.files import StrPath, check_readable

_GAP = 0.05  # seconds by which stamps may stray from counted samples before we believe the stamps
_SCALE = {1: 2.0**-7, 2: 2.0**-15, 4: 2.0**-31, 8: 2.0**-63}  # by the bytes of an integer sample


class Audio(NamedTuple):
    """A piece of sound.

    Attributes:
        waveform: float32 in [-1, 1], (C, N); lossy codecs may overshoot a little.
        rate: Samples per second.
        start: Seconds between the start of the file and the first sample.
    """

    waveform: torch.Tensor
    rate: int
    start: float


def read_audio(
    path: StrPath,
    *,
    rate: int | None = None,
    channels: int | None = None,
    start: float = 0.0,
    stop: float | None = None,
    stream: int = 0,
) -> Audio:
    """Decodes the sound of a file, or a sample-accurate part of it.

    The result equals samples ``round(start * rate)`` to ``round(stop * rate)`` of the whole. Sample 0 is the start of
    the file: sound that begins late is preceded by zeros, and gaps are filled with them. Decoding always begins at the
    beginning, because lossy codecs carry state from frame to frame; for one part after the other of a long file, take
    `read_audio_blocks`.

    Args:
        path: The file.
        rate: Samples per second to resample to; None keeps the file's.
        channels: 1 is the mean of all channels; 2 is stereo (mono doubled; more channels folded down as ITU-R BS.775
            says); None keeps them.
        start: Seconds after the start of the file.
        stop: Seconds after the start of the file; None: to the end. What lies beyond the end is left out.
        stream: Which audio stream, counted from 0.

    Returns:
        Float32 sound (C, N) in [-1, 1] with its rate; empty (C, 0) where the window lies beyond the end.

    Raises:
        ValueError: An option is out of its range.
        MediaError: The file cannot be read, or none of its sound can be decoded. Damage further on becomes silence,
            with one warning.
        NoStreamError: It has no such audio stream.
    """
    _check(rate, channels, start, stop)
    (rate, empty), *pieces = _pieces(check_readable(path), rate, channels, start, stop, stream)
    waveform = np.concatenate([empty, *(samples for _, samples in pieces)], axis=1)
    return Audio(torch.from_numpy(waveform), rate, round(start * rate) / rate)


def read_audio_blocks(
    path: StrPath,
    *,
    block: float = 10.0,
    rate: int | None = None,
    channels: int | None = None,
    start: float = 0.0,
    stop: float | None = None,
    stream: int = 0,
) -> Generator[Audio, None, None]:
    """Decodes the sound of a file block by block, in constant memory; joined, the blocks equal `read_audio`.

    Args:
        path: The file.
        block: Seconds in each block; the last may be shorter.
        rate: As `read_audio`.
        channels: As `read_audio`.
        start: As `read_audio`.
        stop: As `read_audio`.
        stream: As `read_audio`.

    Returns:
        An iterator of `Audio`, at least one (empty if there is nothing between ``start`` and ``stop``). The file closes
        when it is exhausted, closed or forgotten.

    Raises:
        ValueError: As `read_audio`.
        MediaError: As `read_audio`.
        NoStreamError: As `read_audio`.
    """
    if not block > 0:
        raise ValueError(f"block must be positive, got {block}")
    _check(rate, channels, start, stop)
    return _blocks(_pieces(check_readable(path), rate, channels, start, stop, stream), block, start)


def float_waveform(waveform: torch.Tensor) -> torch.Tensor:
    """Returns sound that is to be written, if it is a tensor of finite floats.

    Raises:
        ValueError: It is something else: an array, integers, or not finite.
    """
    if not isinstance(waveform, torch.Tensor):
        raise ValueError(
            f"sound must be a torch tensor, got {type(waveform).__name__}; torch.from_numpy converts arrays"
        )
    if not waveform.is_floating_point():
        raise ValueError(
            f"sound must be float in [-1, 1], got {waveform.dtype}; divide integers by their full scale "
            "(int16: waveform / 32768)"
        )
    if not waveform.isfinite().all():
        raise ValueError("the sound contains numbers that are not finite")
    return waveform


def _check(rate: int | None, channels: int | None, start: float, stop: float | None) -> None:
    if rate is not None and rate < 1:
        raise ValueError(f"rate must be positive, got {rate}")
    if channels not in (None, 1, 2):
        raise ValueError(f"channels must be None, 1 or 2, got {channels}")
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"need 0 <= start <= stop, got start={start}, stop={stop}")


def _blocks(pieces: Iterator[tuple[int, np.ndarray]], block: float, start: float) -> Generator[Audio, None, None]:
    pending: list[np.ndarray] = []
    held = done = 0
    for rate, samples in pieces:
        length = max(1, round(block * rate))
        pending.append(samples)
        held += samples.shape[1]
        while held >= length:
            joined = np.concatenate(pending, axis=1)
            yield Audio(torch.from_numpy(joined[:, :length].copy()), rate, (round(start * rate) + done) / rate)
            pending, held, done = [joined[:, length:]], held - length, done + length
    if held or not done:
        waveform = torch.from_numpy(np.concatenate(pending, axis=1))
        yield Audio(waveform, rate, (round(start * rate) + done) / rate)


def resample(waveform: torch.Tensor, source: int, rate: int) -> torch.Tensor:
    """Resamples sound with FFmpeg's polyphase filter (Kaiser-windowed sinc).

    Args:
        waveform: float32, (C, N).
        source: Its samples per second.
        rate: Samples per second wanted.

    Returns:
        float32, (C, ceil(N * rate / source)).
    """
    if rate == source:
        return waveform
    pieces = _resampled([waveform.detach().cpu().numpy()], source, rate)
    return torch.from_numpy(np.concatenate(list(pieces), axis=1))


def _pieces(
    path: Path, rate: int | None, channels: int | None, start: float, stop: float | None, number: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (rate, (C, n) float32): first an empty piece of the right shape, then the sound between start and stop."""
    with open_media(path) as container:
        stream = pick_stream(path, container, "audio", number)
        source, zero = int(stream.codec_context.sample_rate), origin(container)
        count = channels or int(stream.codec_context.layout.nb_channels)
        rate = rate or source
        # Whole seconds are whole samples at any rate, so that a resampler started there has the phase of one started at
        # 0; one second more lets its filter settle.
        second = max(0, int(start) - 1)
        decoded = _decoded(path, container, stream, source, zero, count)
        sound = _timeline(decoded, second * source, count, source, float(stream.time_base))
        if rate != source:
            sound = _resampled(sound, source, rate)
        first = round(start * rate)
        last = None if stop is None else round(stop * rate)
        position = second * rate
        yield rate, np.zeros((count, 0), np.float32)
        for piece in sound:
            begin, end = first - position, None if last is None else last - position
            position += piece.shape[1]
            piece = piece[:, max(begin, 0) : None if end is None else max(end, 0)]
            if piece.shape[1]:
                yield rate, piece
            if last is not None and position >= last:
                return


def _decoded(
    path: Path, container: Any, stream: Any, source: int, zero: float, count: int
) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yields (position by its stamp in samples or None, (C, n) float32)."""
    shift = Fraction(round(zero * 1_000_000), 1_000_000)
    damage, decoded = Damage(path, "audio"), False
    for frame in decode(container, stream, damage, zero):
        decoded = True
        if frame.sample_rate != source:
            problem = f"changes its sampling rate from {source} to {frame.sample_rate} Hz on the way"
            raise MediaError(path, problem, "Convert it to one rate first.")
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, frame.layout.nb_channels).T
        if samples.dtype.kind != "f":
            middle = 128 if samples.dtype == np.uint8 else 0
            samples = (samples.astype(np.float32) - middle) * np.float32(_SCALE[samples.dtype.itemsize])
        position = None if frame.pts is None else round((frame.pts * frame.time_base - shift) * source)
        yield position, _mixed(samples.astype(np.float32, copy=False), frame.layout, count)
    damage.report(decoded)


def _mixed(samples: np.ndarray, layout: Any, count: int) -> np.ndarray:
    """Mixes (C, n) to ``count`` channels."""
    have = len(samples)
    if have == count:
        return samples
    if count == 1:
        return samples.mean(axis=0, keepdims=True)
    if have == 1:
        return np.repeat(samples, count, axis=0)
    if count != 2:  # the layout changed in mid-stream
        return np.pad(samples[:count], ((0, max(0, count - have)), (0, 0)))
    weights = np.array([_stereo_weights(channel.name) for channel in layout.channels], np.float32).T
    return (weights / weights.sum(axis=1).max()) @ samples


def _stereo_weights(name: str) -> tuple[float, float]:
    """Left and right weight of a channel (ITU-R BS.775-3, table 2); the low-frequency effects channel is left out."""
    if name in ("FL", "FR"):
        return (1.0, 0.0) if name == "FL" else (0.0, 1.0)
    if name.startswith("LFE"):
        return 0.0, 0.0
    if name.endswith(("L", "R")):
        return (0.5**0.5, 0.0) if name.endswith("L") else (0.0, 0.5**0.5)
    return 0.5**0.5, 0.5**0.5


def _timeline(
    frames: Iterable[tuple[int | None, np.ndarray]], begin: int, count: int, source: int, tick: float
) -> Iterator[np.ndarray]:
    """Joins decoded pieces into an unbroken signal from sample ``begin`` on: fills gaps with zeros, trims overlaps."""
    position = None  # of the next sample, counted from the start of the file
    out = begin
    for stamp, samples in frames:
        if position is None:
            position = stamp or 0
            if 0 < position <= tick * source:  # rounding of stamps coarser than samples
                position = 0
        elif stamp is not None and abs(stamp - position) > _GAP * source:
            position = stamp
        while position > out:  # in pieces, so that an hour of silence is not one array
            silence = min(position - out, source)
            yield np.zeros((count, silence), np.float32)
            out += silence
        fresh = samples[:, max(0, out - position) :]
        position += samples.shape[1]
        if fresh.shape[1]:
            yield fresh
            out = position


def _resampled(sound: Iterable[np.ndarray], source: int, rate: int) -> Iterator[np.ndarray]:
    """Resamples with FFmpeg's polyphase filter, each channel on its own; ceil(n * rate / source) samples come out."""
    av = require("av", "Resampling")
    resamplers: list[Any] = []
    taken = given = 0

    def push(samples: np.ndarray | None) -> np.ndarray:
        channels = []
        for c, resampler in enumerate(resamplers):
            frame = None
            if samples is not None:
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples[c : c + 1]), format="fltp", layout="mono"
                )
                frame.sample_rate = source
            out = [piece.to_ndarray() for piece in resampler.resample(frame)]
            channels.append(np.concatenate([np.zeros((1, 0), np.float32), *out], axis=1))
        return np.concatenate(channels, axis=0)

    for samples in sound:
        if not resamplers:
            resamplers = [av.AudioResampler(format="fltp", layout="mono", rate=rate) for _ in samples]
        taken += samples.shape[1]
        piece = push(samples)
        given += piece.shape[1]
        yield piece
    if resamplers:
        rest = push(None)
        yield rest[:, : max(0, -(-taken * rate // source) - given)]

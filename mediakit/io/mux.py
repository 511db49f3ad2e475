"""Writing a container: the file appears whole or not at all, and its streams are interleaved as they are encoded."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mediakit.errors import MediaError, NoStreamError, require
from mediakit.io.audio import Audio, float_waveform, read_audio_blocks, resample
from mediakit.io.demux import Damage, open_media, origin, packets, pick_stream
from mediakit.io.files import StrPath, atomic_path

T = TypeVar("T")

_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
# What to encode sound with where AAC does not fit. (AVI cannot tell how many samples a lossy encoder adds in front.)
_SOUND = {"webm": "libopus", "avi": "pcm_s16le", "mpeg": "mp2", "vob": "mp2"}
_SAMPLE_FORMATS = ("s16", "s32", "flt", "fltp")
# Encoders that print to the terminal by themselves, past FFmpeg's log.
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
# What FFmpeg reports of the file system; other numbers come from encoders.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)


@contextmanager
def writing(path: StrPath) -> Iterator[Any]:
    """Opens an ``av`` output container that becomes ``path`` when the block ends well, and leaves nothing otherwise.

    Raises:
        MediaError: The ending names no container, the encoder refuses its options, or the file cannot be written.
    """
    av = require("av", "Writing media")
    with atomic_path(path) as temporary:
        try:
            # The second pass that puts the index first lets players start before they have the whole file.
            container = av.open(str(temporary), "w", container_options={"movflags": "faststart"})
        except ValueError as error:
            ending = Path(path).suffix or "none"
            raise MediaError(path, f"has an ending that names no container ({ending})", "Use .mp4 or .mkv.") from error
        try:
            yield container
            container.close()
        except BaseException as error:
            with suppress(Exception):  # the first error is the one that matters
                container.close()
            if not isinstance(error, av.error.FFmpegError):
                raise
            if error.errno in _DISK_ERRORS:
                raise OSError(error.errno, os.strerror(error.errno)) from error
            raise MediaError(path, f"cannot be encoded ({error.strerror})", "Check the encoder's options.") from error


@contextmanager
def passing(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Gives an iterator whose own exceptions leave the block as they are, even if they look like errors of writing."""
    raised: list[Exception] = []

    def watched() -> Iterator[T]:
        try:
            yield from items
        except Exception as error:
            raised.append(error)
            raise

    try:
        yield watched()
    except MediaError as error:
        if raised and error is not raised[0]:
            raise raised[0] from None
        raise


def add_video(
    path: StrPath,
    container: Any,
    codec: str,
    size: tuple[int, int],
    pix_fmt: str,
    tick: Fraction,
    options: dict[str, str],
    rate: Fraction | None = None,
) -> Any:
    """Adds a video stream for pictures of ``size`` (H, W), whose stamps count ``tick`` seconds.

    The average ``rate`` tells how long the last picture lasts; where it is not known, the tick does, or a guess.
    """
    height, width = size
    layout = require("av", "Writing video").VideoFormat(pix_fmt, width, height)
    if (width % 2 and layout.chroma_width(2) == 1) or (height % 2 and layout.chroma_height(2) == 1):
        pix_fmt = "yuv444p"
    try:
        rate = rate or (1 / tick if tick > Fraction(1, 1000) else Fraction(30))  # a finer tick says nothing
        if container.format.name == "avi":  # it has no presentation times: pictures must be stored as they are shown
            options = {"bf": "0", **options}
        stream = container.add_stream(codec, rate=rate, options={**_QUIET.get(codec, {}), **options})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
    except ValueError as error:
        raise MediaError(
            path, f"cannot hold {codec} in {pix_fmt} ({error})", "Choose another codec or ending."
        ) from error
    stream.codec_context.time_base = tick
    return stream


def add_audio(
    path: StrPath, container: Any, codec: str, rate: int, channels: int, sample_format: str | None = None
) -> Any:
    """Adds an audio stream at ``rate``, or at the nearest higher rate that the encoder knows."""
    if channels not in _LAYOUTS:
        raise ValueError(f"sound must have 1 to {max(_LAYOUTS)} channels, got {channels}")
    known = require("av", "Writing sound").Codec(codec, "w").audio_rates
    if known and rate not in known:
        rate = min((r for r in known if r > rate), default=max(known))
    try:
        stream = container.add_stream(codec, rate=rate)
    except ValueError as error:
        raise MediaError(path, f"cannot hold {codec} ({error})", "Choose another ending.") from error
    stream.codec_context.layout = _LAYOUTS[channels]
    if sample_format is not None:
        stream.codec_context.format = sample_format
    return stream


def encoded_video(stream: Any, pictures: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    """Encodes (stamp in ticks, ``av.VideoFrame``) to packets."""
    for stamp, picture in pictures:
        picture.pts, picture.time_base = stamp, stream.codec_context.time_base
        picture.pict_type = 0  # the encoder chooses, whatever the frame was in its source
        yield from stream.encode(picture)
    yield from stream.encode(None)


def encoded_audio(stream: Any, blocks: Iterable[Audio]) -> Iterator[Any]:
    """Encodes adjoining blocks of sound to packets."""
    av = require("av", "Writing sound")
    context = stream.codec_context
    rate, layout = context.sample_rate, context.layout.name
    sample_format = context.format.name if context.format.name in _SAMPLE_FORMATS else "fltp"
    position = None
    for block in blocks:
        position = round(block.start * rate) if position is None else position
        samples = resample(block.waveform, block.rate, rate).detach().cpu().numpy()
        for begin in range(0, samples.shape[1], rate):
            piece = _as_format(samples[:, begin : begin + rate], sample_format)
            frame = av.AudioFrame.from_ndarray(piece, format=sample_format, layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), position + begin
            yield from stream.encode(frame)
        position += samples.shape[1]
    yield from stream.encode(None)


def _as_format(samples: np.ndarray, sample_format: str) -> np.ndarray:
    """Turns float (C, n) in [-1, 1] into what ``AudioFrame.from_ndarray`` takes for a sample format."""
    if sample_format == "s16":
        samples = np.rint(samples * 2.0**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    elif sample_format == "s32":  # 24 bits, in the upper part of each word
        samples = np.rint(samples.astype(np.float64) * 2**23).clip(-(2**23), 2**23 - 1).astype(np.int32) << 8
    if not sample_format.endswith("p"):
        samples = samples.T.reshape(1, -1)
    return np.ascontiguousarray(samples)


def sound(
    stack: ExitStack, path: StrPath, container: Any, audio: Audio | None, audio_from: StrPath | None
) -> Iterator[Any]:
    """Adds an audio stream to ``container`` and returns its packets: of ``audio``, or copied from a file, or none."""
    codec = _SOUND.get(container.format.name, "aac")
    if audio is not None and float_waveform(audio.waveform).numel():
        return encoded_audio(add_audio(path, container, codec, audio.rate, len(audio.waveform)), [audio])
    if audio_from is None:
        return iter(())
    source = stack.enter_context(open_media(audio_from))
    try:
        stream = pick_stream(audio_from, source, "audio", 0)
    except NoStreamError:
        return iter(())
    try:
        copy = container.add_stream_from_template(stream)
    except ValueError:  # the container cannot hold this codec
        channels = min(stream.codec_context.layout.nb_channels, 2)
        new = add_audio(path, container, codec, stream.codec_context.sample_rate, channels)
        rate = new.codec_context.sample_rate
        return encoded_audio(new, read_audio_blocks(audio_from, rate=rate, channels=channels))
    return _copied(audio_from, source, stream, copy)


def _copied(path: StrPath, source: Any, stream: Any, copy: Any) -> Iterator[Any]:
    zero, damage, index = origin(source), Damage(path, "audio"), stream.index
    shift = round(zero / stream.time_base)
    for packet in packets(source, damage, zero):
        if packet.size and packet.dts is not None and packet.stream.index == index:
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = copy
            yield packet
    damage.report(usable=True)


def mux(container: Any, *streams: Iterator[Any]) -> None:
    """Writes packets of several streams in the order of their decoding times, so that none has to wait in memory."""
    for packet in heapq.merge(*streams, key=lambda p: (p.dts if p.dts is not None else p.pts or 0) * p.time_base):
        container.mux(packet)

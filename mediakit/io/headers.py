"""What a media file holds: from its headers (`probe`), or from one pass over its packets (`scan_packets`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mediakit.errors import require
from mediakit.io.demux import Damage, is_cover, nominal_rate, open_media, origin, packets, pick_stream, video_streams
from mediakit.io.files import StrPath
from mediakit.io.video import orientation

_COLOR_SPACES = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    9: "bt2020nc",
    10: "bt2020c",
}


@dataclass(frozen=True)
class VideoStream:
    """One video stream as its headers describe it; None where they are silent.

    Attributes:
        index: Its number among all streams of the file.
        codec: Name of the codec: ``"h264"``.
        profile: Profile of the codec: ``"High"``.
        width: Pixels across, as displayed (after rotation).
        height: Pixels down, as displayed.
        rotation: Degrees counter-clockwise by which the stored picture is turned for display: 0, 90, 180 or 270.
        pix_fmt: Pixel format: ``"yuv420p"``.
        bit_depth: Bits per sample.
        fps: Average frames per second.
        frames: Number of frames.
        duration: Seconds.
        start: Seconds after the start of the file.
        bit_rate: Bits per second.
        color_space: Matrix between RGB and YUV: ``"bt709"``.
        sample_aspect_ratio: Width of a stored pixel over its height.
    """

    index: int
    codec: str | None
    profile: str | None
    width: int
    height: int
    rotation: int
    pix_fmt: str | None
    bit_depth: int | None
    fps: float | None
    frames: int | None
    duration: float | None
    start: float | None
    bit_rate: int | None
    color_space: str | None
    sample_aspect_ratio: float | None


@dataclass(frozen=True)
class AudioStream:
    """One audio stream as its headers describe it; None where they are silent.

    Attributes:
        index: Its number among all streams of the file.
        codec: Name of the codec: ``"aac"``.
        rate: Samples per second.
        channels: Number of channels.
        layout: Their layout: ``"stereo"``.
        duration: Seconds.
        start: Seconds after the start of the file.
        bit_rate: Bits per second.
    """

    index: int
    codec: str | None
    rate: int | None
    channels: int | None
    layout: str | None
    duration: float | None
    start: float | None
    bit_rate: int | None


@dataclass(frozen=True)
class MediaInfo:
    """A media file as its headers describe it.

    Attributes:
        path: The file.
        container: FFmpeg's name of the format: ``"mov,mp4,m4a,3gp,3g2,mj2"``.
        size_bytes: Bytes on disk.
        duration: Seconds, or None where the headers are silent (see `scan_packets`).
        bit_rate: Bits per second, all streams together.
        video: Its video streams, in the order that the argument ``stream`` of `read_video` counts.
        audio: Its audio streams, in the order that the argument ``stream`` of `read_audio` counts.
        other: The rest, each in words: ``"subtitle mov_text"``, ``"cover art mjpeg"``.
        metadata: The tags of the file.
    """

    path: Path
    container: str
    size_bytes: int
    duration: float | None
    bit_rate: int | None
    video: tuple[VideoStream, ...]
    audio: tuple[AudioStream, ...]
    other: tuple[str, ...]
    metadata: dict[str, str]


@dataclass(frozen=True)
class PacketScan:
    """What the packets of a file say, whatever its headers claim.

    Attributes:
        frames: Packets of the video stream (one per frame).
        duration: Seconds from the first picture to the end of the last.
        fps: Average frames per second, from the presentation times; None for a single frame.
        variable_frame_rate: Whether the distances between pictures differ by more than the rounding of their stamps,
            and by more than 2 ms (for stamps keep the rounding of formats that they have passed through).
        keyframes: Times of the keyframes in seconds after the start of the file.
        gop_median: Median distance between keyframes, in frames; None with fewer than two keyframes.
        gop_max: Largest distance between keyframes, in frames, the end of the stream included.
        stream_bytes: Bytes of all packets of each stream, by stream index.
        bit_rate: Bits per second of the video stream.
    """

    frames: int
    duration: float
    fps: float | None
    variable_frame_rate: bool
    keyframes: tuple[float, ...]
    gop_median: float | None
    gop_max: int
    stream_bytes: dict[int, int]
    bit_rate: float


def _seconds(value: int | None, time_base: Any) -> float | None:
    return None if value is None or time_base is None else float(value * time_base)


def _codec_name(context: Any) -> str | None:
    if context is None:
        return None
    codec = context.codec  # decoders have names of their own ("mp3float"); old releases of PyAV know no other
    return getattr(codec, "canonical_name", codec.name)


def _rotation(container: Any, stream: Any) -> int:
    """Degrees by which the pictures of a stream are turned, which only a decoded one tells; 0 where none can be had."""
    av = require("av", "Reading media")
    if stream.codec_context is None or container.format.name.split(",")[0] not in ("mov", "matroska"):
        return 0
    try:
        container.seek(0)
        frame = next(container.decode(stream), None)
    except av.error.FFmpegError:
        return 0
    return 0 if frame is None else 90 * orientation(frame)[0]


def _video(container: Any, stream: Any, zero: float) -> VideoStream:
    context = stream.codec_context
    rotation = _rotation(container, stream)
    width, height = (context.width, context.height) if context else (0, 0)
    if rotation in (90, 270):
        width, height = height, width
    start = _seconds(stream.start_time, stream.time_base)
    aspect = stream.sample_aspect_ratio
    depth = context.format.components[0].bits if context and context.format else None
    return VideoStream(
        index=stream.index,
        codec=_codec_name(context),
        profile=context.profile if context else None,
        width=width,
        height=height,
        rotation=rotation,
        pix_fmt=context.pix_fmt if context else None,
        bit_depth=depth,
        fps=nominal_rate(stream) if stream.average_rate or stream.guessed_rate else None,
        frames=stream.frames or None,
        duration=_seconds(stream.duration, stream.time_base),
        start=None if start is None else start - zero,
        bit_rate=(context.bit_rate if context else None) or None,
        color_space=_COLOR_SPACES.get(int(context.colorspace)) if context else None,
        sample_aspect_ratio=float(aspect) if aspect else None,
    )


def _audio(stream: Any, zero: float) -> AudioStream:
    context = stream.codec_context
    start = _seconds(stream.start_time, stream.time_base)
    return AudioStream(
        index=stream.index,
        codec=_codec_name(context),
        rate=(context.sample_rate if context else None) or None,
        channels=(context.layout.nb_channels if context else None) or None,
        layout=context.layout.name if context else None,
        duration=_seconds(stream.duration, stream.time_base),
        start=None if start is None else max(start - zero, 0.0),
        bit_rate=(context.bit_rate if context else None) or None,
    )


def _other(stream: Any) -> str:
    name = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
    return " ".join(filter(None, ("cover art" if stream.type == "video" else stream.type, name)))


def probe(path: StrPath) -> MediaInfo:
    """Reads what the headers of a media file say about it; decodes at most one picture (only that tells its rotation).

    Raises:
        MediaError: The file cannot be read or is not media.
    """
    with open_media(path) as container:
        zero = origin(container)
        moving = video_streams(container)
        rest = [s for s in container.streams if s.type not in ("video", "audio") or (s.type == "video" and is_cover(s))]
        return MediaInfo(
            path=Path(path),
            container=container.format.name,
            size_bytes=Path(path).stat().st_size,
            duration=_seconds(container.duration, 1e-6),
            bit_rate=container.bit_rate or None,
            video=tuple(_video(container, stream, zero) for stream in moving),
            audio=tuple(_audio(stream, zero) for stream in container.streams.audio),
            other=tuple(map(_other, rest)),
            metadata=dict(container.metadata),
        )


def scan_packets(path: StrPath, *, stream: int = 0) -> PacketScan:
    """Counts and times the packets of a file in one pass, without decoding.

    Args:
        path: The file.
        stream: Which video stream, counted from 0.

    Raises:
        MediaError: The file cannot be read.
        NoStreamError: It has no such video stream.
    """
    size: dict[int, int] = defaultdict(int)
    stamps: list[tuple[Any, int, bool]] = []  # presentation time or None, length, whether a keyframe
    with open_media(path) as container:
        chosen = pick_stream(path, container, "video", stream)
        zero, tick, index = origin(container), float(chosen.time_base), chosen.index
        rate, shift_to_zero = nominal_rate(chosen), container.format.name == "avi"
        damage = Damage(path, "video")
        for packet in packets(container, damage, zero):
            if packet.size and not packet.is_discard:
                size[packet.stream_index] += packet.size
                if packet.stream_index == index:
                    stamps.append((packet.pts, packet.duration or 0, packet.is_keyframe))
        damage.report(bool(stamps))
    if any(pts is None for pts, _, _ in stamps):  # no clock in the file: the nominal rate is all there is
        stamps = [(n, 1, key) for n, (_, _, key) in enumerate(stamps)]
        tick, zero = 1 / rate, 0.0
    stamps.sort()
    time = np.array([pts for pts, _, _ in stamps], float) * tick
    time -= time[0] if shift_to_zero else zero
    gaps = np.diff(time)
    mean = float(gaps.mean()) if len(gaps) else 0.0
    duration = float(time[-1] - time[0]) + (stamps[-1][1] * tick or mean or 1 / rate)
    keys = [n for n, (_, _, key) in enumerate(stamps) if key]
    gop = np.diff([*keys, len(stamps)])
    return PacketScan(
        frames=len(stamps),
        duration=duration,
        fps=1 / mean if mean > 0 else None,
        variable_frame_rate=bool(len(gaps) and np.ptp(gaps) > max(2.1 * tick, 0.0021)),
        keyframes=tuple(float(time[n]) for n in keys),
        gop_median=float(np.median(gop[:-1])) if len(keys) > 1 else None,
        gop_max=int(gop.max()) if keys else len(stamps),
        stream_bytes=dict(size),
        bit_rate=8 * size[index] / duration,
    )

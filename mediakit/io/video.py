"""Pictures of a video, one after the other, with the time at which each is shown."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain, count, takewhile
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mediakit.errors import require
from mediakit.io.demux import Damage, decode, nominal_rate, open_media, origin, pick_stream
from mediakit.io.files import StrPath, check_readable


class Frame(NamedTuple):
    """One picture of a video.

    Attributes:
        index: How many frames were yielded before it.
        time: Seconds after the start of the file, on the clock that pictures and sound share.
        image: uint8 RGB, (3, H, W): a view of interleaved (H, W, 3) memory, as decoders write it.
    """

    index: int  # type: ignore[assignment]  # the field is worth more than tuple.index
    time: float
    image: torch.Tensor


class VideoClip(NamedTuple):
    """Frames of a video in memory.

    Attributes:
        images: uint8 RGB, (T, 3, H, W), channels last in memory.
        time: float64 seconds after the start of the file, (T,).
    """

    images: torch.Tensor
    time: torch.Tensor


def read_video(
    path: StrPath,
    *,
    fps: float | None = None,
    size: int | tuple[int, int] | None = None,
    start: float = 0.0,
    stop: float | None = None,
    stream: int = 0,
    threads: int | None = None,
) -> Generator[Frame, None, None]:
    """Decodes a video frame by frame, in constant memory.

    Args:
        path: The file.
        fps: None yields every frame at its own time. A rate yields, at each tick ``start + k / fps`` before the end,
            the frame that is being shown then (the first one, if none is shown yet), with the tick as its time: so a
            variable frame rate becomes a constant one.
        size: None keeps the size; a number is the length of the short side, the other follows the aspect; (H, W) is
            taken as it is. Shrinking averages areas, enlarging is bicubic.
        start: Seconds after the start of the file; frames before it are left out.
        stop: Seconds after the start of the file; frames from it on are left out. None: to the end.
        stream: Which video stream, counted from 0; cover art does not count.
        threads: Decoding threads; None leaves the choice to FFmpeg.

    Returns:
        An iterator of `Frame`, with nothing in it where the window lies beyond the end. The file closes when it is
        exhausted, closed or forgotten. Pictures are turned upright as the file asks; pixels that are not square stay
        so.

    Raises:
        ValueError: An option is out of its range.
        MediaError: The file cannot be read, or no picture of it can be decoded. A file that is damaged further on
            yields what can be decoded, then warns once.
        NoStreamError: It has no such video stream.
    """
    if fps is not None and not (isinstance(fps, Real) and 0 < fps < inf):
        raise ValueError(f"fps must be a positive number, got {fps!r}")
    size = _checked_size(size)
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"need 0 <= start <= stop, got start={start}, stop={stop}")
    path = check_readable(path)
    return _read(path, fps, size, start, stop, stream, threads)


def _checked_size(size: Any) -> int | tuple[int, int] | None:
    match size:
        case None:
            return None
        case Integral() if int(size) >= 1:
            return int(size)
        case (Integral() as height, Integral() as width) if min(int(height), int(width)) >= 1:
            return int(height), int(width)
    raise ValueError(f"size must be the short side or (H, W) in whole pixels, at least 1, got {size!r}")


def _read(
    path: Path,
    fps: float | None,
    size: int | tuple[int, int] | None,
    start: float,
    stop: float | None,
    number: int,
    threads: int | None,
) -> Generator[Frame, None, None]:
    shown = timed_frames(path, start, number, threads)
    chosen = _between(shown, start, stop) if fps is None else _sampled(shown, fps, start, stop)
    convert = _Converter(size)
    previous, image = None, torch.empty(0)
    for index, (time, frame) in enumerate(chosen):
        if frame is not previous:  # a rate above the file's shows some frames more than once
            previous, image = frame, convert(frame)
        yield Frame(index, time, image)


def load_video(
    path: StrPath,
    *,
    fps: float | None = None,
    size: int | tuple[int, int] | None = None,
    start: float = 0.0,
    stop: float | None = None,
    stream: int = 0,
    threads: int | None = None,
) -> VideoClip:
    """Decodes a video, or a part of it, into memory; arguments and errors as `read_video`.

    Returns:
        The frames and their times; empty (0, 3, 0, 0) where the window lies beyond the end.
    """
    frames = list(read_video(path, fps=fps, size=size, start=start, stop=stop, stream=stream, threads=threads))
    if not frames:
        return VideoClip(torch.empty(0, 3, 0, 0, dtype=torch.uint8), torch.empty(0, dtype=torch.float64))
    images = torch.stack([frame.image.permute(1, 2, 0) for frame in frames]).permute(0, 3, 1, 2)
    return VideoClip(images, torch.tensor([frame.time for frame in frames], dtype=torch.float64))


class Shown(NamedTuple):
    """A decoded frame, still in the codec's format.

    Attributes:
        time: Seconds after the start of the file.
        length: Seconds that it is shown for.
        slack: Seconds that ``time`` may be off, because stamps are rounded.
        frame: The ``av.VideoFrame``.
    """

    time: float
    length: float
    slack: float
    frame: Any


def timed_frames(path: StrPath, start: float = 0.0, number: int = 0, threads: int | None = None) -> Iterator[Shown]:
    """Decodes from some keyframe at or before ``start`` to the end.

    Containers seek by decoding time, roughly, or not at all. So after a seek nothing is believed before the first
    keyframe; if that lies after ``start``, we seek further back, and at last decode from the beginning.
    """
    for margin in (0.5, 5.0, 30.0, None):
        if margin is not None and start <= margin:
            continue
        with open_media(path) as container:
            stream = pick_stream(path, container, "video", number)
            stream.thread_type = "AUTO"
            if threads is not None:
                stream.codec_context.thread_count = threads
            damage = Damage(path, "video")
            frames = _stamped(container, stream, damage)
            if margin is not None:
                later = _from_keyframe(frames, start) if _seek(container, stream, start - margin) else None
                if later is None:
                    continue
                frames = later
            found = False
            for shown in frames:
                found = True
                yield shown
            damage.report(found)
            return


def _stamped(container: Any, stream: Any, damage: Damage) -> Iterator[Shown]:
    zero, tick, rate = origin(container), float(stream.time_base), nominal_rate(stream)
    slack = min(0.5 * tick + 1e-6, 1e-3)
    # AVI has no presentation times: those that FFmpeg makes up are late by the decoder's delay.
    late = None if container.format.name == "avi" else 0
    time = -1 / rate
    for frame in decode(container, stream, damage, zero):
        if late is None:
            late = (frame.pts or 0) - (stream.start_time or 0)
        time = time + 1 / rate if frame.pts is None else (frame.pts - late) * tick - zero
        length = getattr(frame, "duration", None) or 0  # PyAV 14 does not tell
        yield Shown(time, length * tick or 1 / rate, slack, frame)


def _seek(container: Any, stream: Any, time: float) -> bool:
    av = require("av", "Reading media")
    if container.format.name == "avi":  # after a seek, nothing tells how late its stamps are
        return False
    try:
        container.seek(int((time + origin(container)) / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _from_keyframe(frames: Iterator[Shown], start: float) -> Iterator[Shown] | None:
    """Drops what comes before the first keyframe; None if that is not known to lie at or before ``start``."""
    for shown in frames:
        if shown.frame.key_frame:
            known = shown.frame.pts is not None and shown.time <= start + shown.slack
            return chain([shown], frames) if known else None
    return None


def _between(frames: Iterator[Shown], start: float, stop: float | None) -> Iterator[tuple[float, Any]]:
    for time, _, slack, frame in frames:
        if stop is not None and time >= stop - slack:
            return
        if time >= start - slack or start == 0:  # headers may err on where the file starts
            yield time, frame


def _sampled(frames: Iterator[Shown], fps: float, start: float, stop: float | None) -> Iterator[tuple[float, Any]]:
    ticks: Iterator[float] = (start + k / fps for k in count())
    if stop is not None:
        ticks = takewhile(lambda tick: tick < stop - 1e-9, ticks)
    tick = next(ticks, None)
    shown: Shown | None = None
    for new in chain(frames, [None]):
        if shown is None:
            shown = new
        if shown is None or tick is None:
            return
        # After the last frame comes its own end.
        until = shown.time + shown.length - shown.slack if new is None else new.time - new.slack
        while tick is not None and tick < until:
            yield tick, shown.frame
            tick = next(ticks, None)
        shown = new


class _Converter:
    """Turns decoded frames into upright RGB tensors of one size, with one scaler for all of them."""

    def __init__(self, size: int | tuple[int, int] | None) -> None:
        self.size = size
        self.reformatter = require("av.video.reformatter", "Reading video", "av").VideoReformatter()

    def __call__(self, frame: Any) -> torch.Tensor:
        quarters, mirrored = orientation(frame)
        height, width = (frame.width, frame.height) if quarters % 2 else (frame.height, frame.width)
        if self.size is None:
            self.size = height, width
        elif isinstance(self.size, int):
            scale = self.size / min(height, width)
            self.size = (self.size, round(width * scale)) if height <= width else (round(height * scale), self.size)
        target_height, target_width = self.size
        if (target_height, target_width) == (height, width):
            kind = "BILINEAR"  # what PyAV takes where only the colours are converted
        else:
            kind = "AREA" if target_height * target_width < height * width else "BICUBIC"
        if quarters % 2:
            target_height, target_width = target_width, target_height
        # RGB has no matrix, but before PyAV 17 that of the frame counts only where the target's is another.
        options = {"interpolation": kind, "dst_colorspace": "ITU601"}
        rgb = self.reformatter.reformat(frame, target_width, target_height, "rgb24", **options).to_ndarray()
        if quarters:
            rgb = np.rot90(rgb, quarters)
        if mirrored:
            rgb = rgb[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)


def orientation(frame: Any) -> tuple[int, bool]:
    """How to make a stored picture upright: quarter turns counter-clockwise, then whether to mirror left and right."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know the kind of some other side data
        return round(frame.rotation / 90) % 4, False
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 65536
    mirrored = bool(a * d - b * c < 0)
    if mirrored:  # take the mirroring, which comes last, off the matrix: what is left is a rotation
        a, c = -a, -c
    return round(np.degrees(np.arctan2(-b, a)) / 90) % 4, mirrored


def upright(frame: Any) -> Any:
    """Turns an ``av.VideoFrame`` upright in its own pixel format."""
    quarters, mirrored = orientation(frame)
    steps = [(), (("transpose", "cclock"),), (("hflip", ""), ("vflip", "")), (("transpose", "clock"),)][quarters]
    steps += (("hflip", ""),) if mirrored else ()
    if not steps:
        return frame
    av = require("av", "Reading video")
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)]
    nodes += [graph.add(name, option or None) for name, option in steps] + [graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.pull()

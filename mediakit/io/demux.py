"""Opening a media file: streams, the common clock, and errors that say what is wrong with the file."""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mediakit.errors import MediaError, NoStreamError, require
from mediakit.io.files import StrPath, check_readable

# Formats whose header says how long they are; of others FFmpeg guesses the length from what is there.
_TIMED_FORMATS = ("mov", "matroska", "flv", "wav", "flac")
# Formats that are text: lists of other files; and "tty" draws any file whose name ends in .txt.
_TEXT_FORMATS = ("tty", "concat", "hls", "dash", "sdp")
# Formats of which two files may simply be joined, so that the clock jumps in between.
_JOINABLE_FORMATS = ("mpegts", "mpeg")

# Where `warn` sends its messages in this thread, if not to the warnings module: `prefetch` collects them here, because
# a warning raised in its background thread would come out of order and escape the caller's `catch_warnings`.
warning_sink: ContextVar[Callable[[str], None] | None] = ContextVar("warning_sink", default=None)


def warn(message: str) -> None:
    """Warns the user, at the right place in the sequence even when the reader runs in a background thread."""
    sink = warning_sink.get()
    if sink is None:
        warnings.warn(message, UserWarning, stacklevel=3)
    else:
        sink(message)


@contextmanager
def open_media(path: StrPath) -> Iterator[Any]:
    """Opens a file for reading as an ``av`` container.

    Raises:
        MediaError: It cannot be read, or FFmpeg finds no media in it. Errors inside the block are not touched.
    """
    av = require("av", "Reading media")
    path = check_readable(path)
    try:
        # An absolute path, for FFmpeg takes "12:30.mp4" for an address; and tags in a broken encoding must not keep us
        # from the pictures (from PyAV 19 on they never do).
        lenient = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
        container = av.open(str(path.absolute()), **lenient)
        if container.format.name in _TEXT_FORMATS:
            raise ValueError("text")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise explain(path, error) from error
    with container:
        yield container


def explain(path: Path, error: Exception) -> MediaError:
    """Turns FFmpeg's words into what is wrong with this file and what to do about it."""
    with path.open("rb") as file:
        head = file.read(4096)
    # Still images of the same family (HEIC, AVIF) have a "meta" box in its place.
    if head[4:8] in (b"ftyp", b"mdat", b"wide") and not {b"moov", b"meta"}.intersection(top_level_boxes(path)):
        return MediaError(
            path,
            "the recording was cut off: its index (the 'moov' atom, written last) is missing",
            "Ask for the original, or rebuild the index with a repair tool (untrunc, say, which wants an intact file "
            "of the same camera).",
        )
    if b"\0" not in head:
        with suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(head)
            return MediaError(path, "is not a media file (it looks like text)", "Check what was saved under this name.")
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(
        path, f"cannot be read as media ({reason})", "It is damaged or of an unknown format: try the original."
    )


def top_level_boxes(path: Path) -> list[bytes]:
    """Names the outermost boxes of an MP4 or MOV file (ISO/IEC 14496-12, 4.2), as far as they can be read."""
    names, size = [], path.stat().st_size
    with path.open("rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            names.append(header[4:8])
            if length < 8:  # 0: to the end of the file; else nonsense
                break
            position += length
    return names


def is_cover(stream: Any) -> bool:
    """Tells whether a video stream is an attached picture (cover art), which has no place on the time axis."""
    try:
        return bool(stream.disposition & type(stream.disposition).attached_pic)
    except AttributeError:  # the first releases of PyAV 14 do not tell
        return not stream.average_rate and stream.codec_context.name in ("mjpeg", "png", "bmp", "gif", "webp")


def video_streams(container: Any) -> list[Any]:
    """The streams that move: all video streams but attached pictures."""
    return [stream for stream in container.streams.video if not is_cover(stream)]


def pick_stream(path: StrPath, container: Any, kind: str, number: int) -> Any:
    """Returns the ``number``-th stream of a kind.

    Args:
        path: The file, for messages.
        container: It, opened.
        kind: ``"video"`` or ``"audio"``.
        number: 0-based, counted among the streams of that kind.

    Raises:
        NoStreamError: There is no such stream.
        MediaError: It is there, but this build of FFmpeg has no decoder for it.
    """
    streams = video_streams(container) if kind == "video" else list(container.streams.audio)
    if not streams:
        raise NoStreamError(
            path, f"has no {kind} stream", f"Choose a file with {'pictures' if kind == 'video' else 'sound'}."
        )
    if not 0 <= number < len(streams):
        raise NoStreamError(path, f"has no {kind} stream {number}", f"It has {len(streams)}; counting starts at 0.")
    if streams[number].codec_context is None:
        raise MediaError(path, f"{kind} stream {number} is of a codec that FFmpeg cannot decode", "Convert it first.")
    return streams[number]


def origin(container: Any) -> float:
    """The time in seconds, in the file's own stamps, that counts as 0 for pictures and sound alike.

    That is the container's start, except that sound before zero is not a beginning: it is the codec's priming, which
    decoders drop.
    """
    start = (container.start_time or 0) / 1_000_000
    if start >= 0:
        return start
    starts = [float(s.start_time * s.time_base) for s in video_streams(container) if s.start_time is not None]
    return min([0.0, *starts])


def nominal_rate(stream: Any) -> float:
    """Frames per second that the headers of a video stream name, or 25 if they name none.

    Where the format has no clock, FFmpeg's average is a mere default, while its guess looks into the codec's headers.
    """
    known = stream.start_time is not None
    return float((stream.average_rate if known else None) or stream.guessed_rate or stream.average_rate or 25)


class Damage:
    """Gathers what goes wrong while a file is read, for one warning at the end.

    Args:
        path: The file.
        kind: What is being read, for the message: ``"video"``.
    """

    def __init__(self, path: StrPath, kind: str) -> None:
        self.path, self.kind = path, kind
        self.problem: str | None = None

    def note(self, problem: str) -> None:
        """Remembers the first problem."""
        self.problem = self.problem or problem

    def report(self, usable: bool) -> None:
        """Warns if there was damage.

        Args:
            usable: Whether anything could be read.

        Raises:
            MediaError: Nothing could, because of the damage.
            NoStreamError: Nothing could, because nothing is there.
        """
        if self.problem is not None and usable:
            warn(f"{self.path}: the {self.kind} is incomplete: {self.problem}. What is intact was used.")
        elif self.problem is not None:
            raise MediaError(self.path, f"no {self.kind} can be read from it: {self.problem}", "Ask for the original.")
        elif not usable:
            raise NoStreamError(self.path, f"has a place for {self.kind}, but nothing is in it", "Choose another file.")


def packets(container: Any, damage: Damage, zero: float) -> Iterator[Any]:
    """Demuxes all streams; where the file breaks off, it notes that and ends.

    FFmpeg takes the end of a truncated file for a regular end, so we compare with the length in the header, if the
    format has one. Where the clock jumps because files were joined, later stamps are shifted to go on from there.

    Yields:
        ``av.Packet`` objects, the last of each stream empty (it flushes the decoder).
    """
    av = require("av", "Reading media")
    joinable = container.format.name in _JOINABLE_FORMATS
    reached = shift = 0.0
    try:
        for packet in container.demux():
            stamp = packet.pts if packet.dts is None else packet.dts
            if packet.size and stamp is None:
                reached = float("inf")  # without stamps there is no telling
            elif packet.size:
                time = float(stamp * packet.time_base) - zero
                if joinable and reached and abs(time + shift - reached) > 10.0:
                    shift = reached - time
                if shift:
                    ticks = round(shift / packet.time_base)
                    packet.pts = None if packet.pts is None else packet.pts + ticks
                    packet.dts = None if packet.dts is None else packet.dts + ticks
                shown = packet.dts if packet.pts is None else packet.pts
                reached = max(reached, float((shown + (packet.duration or 0)) * packet.time_base) - zero)
            yield packet
    except av.error.FFmpegError as error:
        damage.note(f"it breaks off at {reached:.2f} s ({error.strerror})")
        for stream in container.streams:
            packet = av.Packet()
            packet.stream = stream
            yield packet
    if reached < (promised := _promised(container)) - 0.5:
        damage.note(f"it was cut off at {reached:.2f} s of {promised:.2f} s")


def _promised(container: Any) -> float:
    """Seconds that the header promises, or 0 where it does not."""
    name = container.format.name.split(",")[0]
    if name == "avi":  # where the index is lost, FFmpeg replaces the duration, but not the number of frames
        return max([float(s.frames / s.average_rate) for s in video_streams(container) if s.average_rate], default=0.0)
    return (container.duration or 0) / 1_000_000 if name in _TIMED_FORMATS else 0.0


def decode(container: Any, stream: Any, damage: Damage, zero: float) -> Iterator[Any]:
    """Decodes one stream from where the container stands, and passes over what is damaged.

    Args:
        container: The opened file.
        stream: One of its streams.
        damage: Takes note of what is damaged; the caller reports it.
        zero: The file's `origin`, for the times in warnings.

    Yields:
        ``av.VideoFrame`` or ``av.AudioFrame``, in presentation order.
    """
    av = require("av", "Reading media")
    index, time = stream.index, 0.0
    for packet in packets(container, damage, zero):
        if packet.stream.index != index:
            continue
        if packet.pts is not None:
            time = float(packet.pts * packet.time_base) - zero
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:  # maybe of a packet before: decoders work on several at a time
            damage.note(f"it is damaged at about {time:.2f} s ({error.strerror})")
            continue
        yield from frames

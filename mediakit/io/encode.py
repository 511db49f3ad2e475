"""Tensors to video and sound files, and files to smaller ones; every file is written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, count
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mediakit.errors import MediaError, require
from mediakit.io.audio import Audio, float_waveform
from mediakit.io.demux import open_media, pick_stream
from mediakit.io.files import StrPath, destination
from mediakit.io.mux import add_audio, add_video, encoded_audio, encoded_video, mux, passing, sound, writing
from mediakit.io.video import Frame, VideoClip, timed_frames, upright

_TICK = Fraction(1, 90_000)  # for frames with times of their own
_BT709, _SMPTE170M, _LIMITED = 1, 6, 1  # FFmpeg's AVCOL_* numbers
_TAGS = ("colorspace", "color_primaries", "color_trc", "color_range")


def write_video(
    path: StrPath,
    frames: VideoClip | Iterable[torch.Tensor | Frame],
    fps: float | None,
    *,
    audio: Audio | None = None,
    audio_from: StrPath | None = None,
    crf: int = 18,
    preset: str = "medium",
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    threads: int = 0,
    average_rate: float | None = None,
    pixel_aspect: float = 1.0,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Encodes frames as they come, in constant memory.

    Colours are converted with the matrix that players expect of the size (BT.709 from 720 lines or 1280 columns on,
    else BT.601) and tagged with it.

    Args:
        path: The file; its ending names the container: ``.mp4``, ``.mkv``, ``.mov``, ``.avi`` and so on.
        frames: uint8 RGB tensors (3, H, W), or `Frame` objects, all of one size; or a `VideoClip`.
        fps: Frames per second. None takes the times of the frames or the clip: a variable frame rate.
        audio: Sound to encode beside them (AAC, or what the container asks for).
        audio_from: A file whose first audio stream is copied through; it is encoded anew only if the container cannot
            hold it. A file without sound adds none.
        crf: Constant rate factor: 0 is lossless, 18 visually so, 51 worst (63 with encoders of VP9 and AV1).
        preset: Speed against size: ``"ultrafast"`` to ``"veryslow"``.
        pix_fmt: Pixel format. An odd width or height does not go with halved chroma: it is stored as ``yuv444p``.
        codec: FFmpeg's name of the encoder.
        threads: Threads of the encoder, 0 for one a core. Its output depends on their number: 1 gives the same bytes on
            every machine (of one version of FFmpeg), for some loss of compression with libx264.
        average_rate: Frames per second of frames with times of their own: the last one is shown for as long as it says
            (None: for a thirtieth of a second).
        pixel_aspect: Width of a pixel over its height, as it is to be displayed.
        metadata: Tags of the file, such as ``title`` and ``comment``; containers leave out those that they do not know.

    Raises:
        ValueError: There are no frames, their shapes or times do not fit, or an option is out of its range or
            contradicts another.
        MediaError: The file cannot be written, or ``audio_from`` cannot be read. Nothing is left behind, and an earlier
            file at ``path`` stays. What ``frames`` raises passes through unchanged, with the same promise.
    """
    if audio is not None and audio_from is not None:
        raise ValueError("give either audio or audio_from, not both")
    if fps is not None and not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    if not 0 < pixel_aspect < inf:
        raise ValueError(f"pixel_aspect must be positive, got {pixel_aspect}")
    if threads < 0:
        raise ValueError(f"threads must be 0 (one a core) or more, got {threads}")
    _check_crf(crf, codec)
    if isinstance(frames, VideoClip):
        frames = map(Frame, count(), frames.time.tolist(), frames.images)
    with passing(frames) as source, writing(path) as container, ExitStack() as stack:
        first = next(source, None)
        if first is None:
            raise ValueError("there are no frames to write")
        height, width = _image(first).shape[1:]
        tick = _TICK if fps is None else 1 / Fraction(fps).limit_denominator(1001)
        options = {"crf": str(crf), "preset": preset, "threads": str(threads)}
        if threads == 1 and codec == "libx264":
            # Of small pictures x264's macroblock tree makes other bytes from run to run (seen at 160 x 120, not above
            # 256 x 192), as if it read memory that it has not written.
            options["x264-params"] = "no-mbtree=1"
        rate = Fraction(average_rate).limit_denominator(90_000) if fps is None and average_rate else None
        stream = add_video(path, container, codec, (height, width), pix_fmt, tick, options, rate)
        if pixel_aspect != 1:
            stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect).limit_denominator(255)
        container.metadata.update(metadata or {})
        matrix = _matrix(height, width)
        _tag(stream, (matrix, _BT709, _BT709, _LIMITED))
        pictures = _pictures(chain([first], source), fps is None, stream.codec_context.pix_fmt, matrix)
        mux(container, encoded_video(stream, pictures), sound(stack, path, container, audio, audio_from))


def _check_crf(crf: float, codec: str = "libx264") -> None:
    worst = 51 if codec.startswith("libx26") else 63
    if not 0 <= crf <= worst:
        raise ValueError(f"crf must be 0 to {worst} for {codec}, got {crf}")


def _matrix(height: int, width: int) -> int:
    return _BT709 if height >= 720 or width >= 1280 else _SMPTE170M


def _tag(stream: Any, values: Iterable[int]) -> None:
    for name, value in zip(_TAGS, values, strict=True):
        setattr(stream.codec_context, name, value)


def _image(item: torch.Tensor | Frame) -> torch.Tensor:
    image = item.image if isinstance(item, Frame) else item
    if not isinstance(image, torch.Tensor):
        raise ValueError(
            f"a frame must be a torch tensor, got {type(image).__name__}; torch.from_numpy converts arrays"
        )
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise ValueError(f"a frame must be uint8 RGB of shape (3, H, W), got {image.dtype} {tuple(image.shape)}")
    return image


def _pictures(
    items: Iterable[torch.Tensor | Frame], own_times: bool, pix_fmt: str, matrix: int
) -> Iterator[tuple[int, Any]]:
    """Converts RGB tensors to (stamp, ``av.VideoFrame``)."""
    av = require("av", "Writing video")
    reformatter = av.video.reformatter.VideoReformatter()
    shape, previous = None, -1
    space = {_BT709: "ITU709", _SMPTE170M: "ITU601"}[matrix]
    for index, item in enumerate(items):
        image = _image(item)
        shape = shape or image.shape
        if image.shape != shape:
            raise ValueError(f"frame {index} has shape {tuple(image.shape)}, those before it {tuple(shape)}")
        stamp = index
        if own_times:
            if not isinstance(item, Frame):
                raise ValueError("fps=None needs `Frame`s, whose times it takes")
            stamp = round(item.time / _TICK)
            if stamp <= previous:
                raise ValueError(f"the times of frames must grow from 0 on, but frame {index} is at {item.time} s")
            previous = stamp
        interleaved = np.ascontiguousarray(image.detach().cpu().permute(1, 2, 0).numpy())
        frame = av.VideoFrame.from_ndarray(interleaved, format="rgb24")
        yield stamp, reformatter.reformat(frame, format=pix_fmt, dst_colorspace=space, dst_color_range="MPEG")


def write_audio(path: StrPath, audio: Audio | torch.Tensor, rate: int | None = None, *, bits: int | str = 16) -> None:
    """Writes sound, whole or not at all.

    Args:
        path: ``.wav``, ``.flac`` (lossless), ``.mp3``, ``.m4a`` (AAC), ``.ogg``, ``.opus`` (Opus).
        audio: `Audio`, or a float waveform (C, N) or (N,) in [-1, 1]; what lies beyond is clipped.
        rate: Samples per second of a bare waveform; `Audio` has its own. Lossy encoders that do not know it get the
            next higher one.
        bits: Of a lossless sample: 16, 24, or (wav only) ``"32f"`` for float32.

    Raises:
        ValueError: The waveform is empty, not finite or not of floating point, its rate is missing or contradicted, or
            an option is out of its range.
        MediaError: The ending is unknown, or the file cannot be written.
    """
    if isinstance(audio, Audio):
        if rate not in (None, audio.rate):
            raise ValueError(f"audio is at {audio.rate}, rate says {rate}; resample first with mediakit.io.resample")
        rate = audio.rate
        audio = audio.waveform
    if rate is None:
        raise ValueError("a bare waveform needs its rate")
    waveform = torch.atleast_2d(float_waveform(audio).detach().cpu().float())
    if waveform.ndim != 2 or not waveform.numel():
        raise ValueError(f"sound must be of shape (C, N) and not empty, got {tuple(waveform.shape)}")
    wav = {16: ("pcm_s16le", "s16"), 24: ("pcm_s24le", "s32"), "32f": ("pcm_f32le", "flt")}
    if bits not in wav:
        raise ValueError(f'bits must be 16, 24 or "32f", got {bits!r}')
    encoders = {
        ".wav": wav[bits],
        ".flac": ("flac", "s16" if bits == 16 else "s32"),
        ".mp3": ("libmp3lame", None),
        ".m4a": ("aac", None),
        ".ogg": ("libopus", None),
        ".opus": ("libopus", None),
    }
    destination(path)
    suffix = Path(path).suffix.lower()
    if suffix not in encoders:
        problem = f"has an ending that names no known sound format ({suffix or 'none'})"
        raise MediaError(path, problem, f"Use one of {', '.join(encoders)}.")
    if suffix == ".flac" and bits == "32f":
        raise ValueError("flac holds 16 or 24 bits, not float")
    codec, sample_format = encoders[suffix]
    with writing(path) as container:
        stream = add_audio(path, container, codec, int(rate), len(waveform), sample_format)
        mux(container, encoded_audio(stream, [Audio(waveform, int(rate), 0.0)]))


def recompress(
    source: StrPath,
    target: StrPath,
    *,
    crf: int,
    scale: float = 1.0,
    preset: str = "medium",
    pix_fmt: str | None = None,
) -> None:
    """Encodes a video anew as H.264; times stay (a variable frame rate too), and the sound is copied through.

    Pictures are stored upright; the colours and their tags stay.

    Args:
        source: The file to read; its first video and audio streams are taken.
        target: The file to write; it may be ``source``.
        crf: Constant rate factor: 0 is lossless, 18 visually so, 51 worst.
        scale: Factor of width and height, which are then rounded to even numbers.
        preset: Speed against size: ``"ultrafast"`` to ``"veryslow"``.
        pix_fmt: Pixel format; None keeps that of the source where H.264 has it, else takes ``yuv420p``.

    Raises:
        ValueError: An option is out of its range.
        MediaError: The source cannot be read or the target not written; nothing is left behind.
        NoStreamError: The source has no pictures.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    _check_crf(crf)
    av = require("av", "Writing video")
    with open_media(source) as container:
        stream = pick_stream(source, container, "video", 0)
        tick, rate, tags = (
            stream.time_base,
            stream.average_rate,
            [int(getattr(stream.codec_context, name)) for name in _TAGS],
        )
    shown = timed_frames(source)
    first = next(shown)
    turned = upright(first.frame)
    height, width = turned.height, turned.width
    if scale != 1:
        height, width = (max(2, 2 * round(side * scale / 2)) for side in (height, width))
    known = {form.name for form in av.Codec("libx264", "w").video_formats}
    if pix_fmt is None:
        pix_fmt = turned.format.name if turned.format.name in known else "yuv420p"
    colours: dict[str, Any] = {}
    if turned.format.is_rgb:
        tags = [_matrix(height, width), _BT709, _BT709, _LIMITED]
        colours = {"dst_colorspace": "ITU709" if tags[0] == _BT709 else "ITU601", "dst_color_range": "MPEG"}
    with writing(target) as container, ExitStack() as stack:
        options = {"crf": str(crf), "preset": preset}
        stream = add_video(target, container, "libx264", (height, width), pix_fmt, tick, options, rate)
        _tag(stream, tags)
        pix_fmt = stream.codec_context.pix_fmt
        reformat = av.video.reformatter.VideoReformatter().reformat
        kind = "AREA" if scale < 1 else "BICUBIC"
        pictures = (
            (
                round(new.time / tick),
                reformat(upright(new.frame), width, height, pix_fmt, interpolation=kind, **colours),
            )
            for new in chain([first], shown)
        )
        mux(container, encoded_video(stream, pictures), sound(stack, target, container, None, source))

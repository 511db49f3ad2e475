"""An :class:`~mediakit.analyze.Analysis` as one self-contained page, or as JSON.

Curves are inline SVG stretched to the page, with labels in HTML, so that the page follows the reader's theme, stays
readable on a phone and weighs kilobytes.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import torch

from mediakit import __version__
from mediakit.analyze import RATE, TASKS, Analysis, FaceSummary
from mediakit.charts import clock, curves, plot, time_ticks
from mediakit.errors import require
from mediakit.io import VideoStream, encode_image, write_text
from mediakit.mesh import SEMANTIC

_TRACKS_SHOWN = 3
_MEL_TICKS = (250, 500, 1000, 2000, 4000)
_RARE = 0.1  # share of frames below which a detector's faces may well be none
_HIDDEN_TAGS = {"major_brand", "minor_version", "compatible_brands"}  # of the container, already said
_RANGE_DB = 80.0  # below the loudest bin; the rest is black

_CONTAINERS = {
    "mov": "MP4 / QuickTime",
    "matroska": "Matroska / WebM",
    "mpegts": "MPEG transport stream",
    "avi": "AVI",
    "ogg": "Ogg",
    "wav": "WAV",
    "mp3": "MP3",
    "flac": "FLAC",
    "image2": "image",
    "png_pipe": "PNG image",
    "jpeg_pipe": "JPEG image",
    "webp_pipe": "WebP image",
}


def write_json(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Writes the findings under the schema ``mediakit.analysis/1``; identical files give identical bytes.

    Raises:
        MediaError: The file cannot be written; an earlier one is left as it was.
    """
    write_text(path, json.dumps(analysis.to_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_page(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Writes the findings as one HTML file without external requests.

    Raises:
        MediaError: The file cannot be written; an earlier one is left as it was.
    """
    write_text(path, render_page(analysis))


def render_page(analysis: Analysis) -> str:
    """The page as text."""
    from importlib.resources import files

    jinja2 = require("jinja2", "The report page")
    source = files("mediakit").joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    faces = analysis.faces
    return environment.from_string(source).render(
        a=analysis,
        version=__version__,
        rate=RATE,
        headline=headline(analysis),
        facts=_facts(analysis),
        sound_text=_sound_text(analysis),
        pictures_text=_pictures_text(analysis),
        faces_text=_faces_text(analysis),
        spectrogram=_spectrogram(analysis),
        shots=_shots(analysis),
        lanes=_lanes(analysis) if faces and faces.tracks and analysis.duration else None,
        tracks=[_track(t) for t in faces.tracks[:_TRACKS_SHOWN]] if faces else [],
        tasks=list(TASKS.values()),
    )


def headline(analysis: Analysis) -> str:
    """One or two sentences that say what is in the file."""
    pictures, sound, faces = analysis.pictures, analysis.sound, analysis.faces
    length = _spoken(analysis.duration)
    if pictures is None:
        kind = f"Sound alone, {length}" if length else "Sound alone"
        return f"{kind}, {'which is silent throughout' if sound and sound.silent else 'without pictures'}."
    tone = "black-and-white " if pictures.gray else "colour "
    if pictures.frames == 1:
        text = f"A single {tone}picture, {pictures.size[0]} × {pictures.size[1]} pixels"
    else:
        rate = analysis.packets.fps if analysis.packets else None
        text = f"A {tone}video of {length}, {pictures.size[0]} × {pictures.size[1]} pixels"
        text += f" at {_number(rate)} frames per second" if rate else ""
    if sound is not None:
        text += ", with a sound track that is silent" if sound.silent else ", with sound"
    elif pictures.frames > 1:
        text += ", without sound" if not analysis.info.audio else ", with sound that cannot be decoded"
    if faces is None:
        return text + "."
    if not faces.tracks:
        return text + ". No face was found."
    count = len(faces.tracks)
    share = faces.frames_with_face / max(faces.frames, 1)
    if share < _RARE:
        return (
            f"{text}. Something like a face is seen in {_count(faces.frames_with_face, 'frame')} of {faces.frames:,}."
        )
    followed = "One face was followed" if count == 1 else f"Faces were followed in {count} stretches"
    return f"{text}. {followed}; a face is visible in {share:.0%} of the frames."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _spoken(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _facts(analysis: Analysis) -> list[tuple[str, str]]:
    info, packets = analysis.info, analysis.packets
    first = info.container.partition(",")[0]
    facts = [("Container", _CONTAINERS.get(first, first)), ("Size", _bytes(info.size_bytes))]
    if analysis.duration:
        long = f" ({clock(analysis.duration)})" if analysis.duration >= 60 else ""
        facts.append(("Duration", f"{analysis.duration:.2f} s{long}"))
    if info.bit_rate:
        facts.append(("Bit rate", f"{info.bit_rate / 1000:,.0f} kbit/s"))
    for number, video in enumerate(info.video):
        facts.append((_numbered("Video", number, info.video), _video(video)))
    if packets is not None and packets.frames > 1:
        rhythm = "variable" if packets.variable_frame_rate else "constant"
        chosen = " (video 0)" if len(info.video) > 1 else ""
        if packets.fps:
            facts.append((f"Frames{chosen}", f"{packets.frames:,} at {_number(packets.fps)} per second, {rhythm} rate"))
        gop = f"at most {packets.gop_max} frames"
        if packets.gop_median:
            gop = f"every {_number(packets.gop_median)} frames (median), {gop} apart"
        facts.append((f"Key frames{chosen}", f"{len(packets.keyframes)}, {gop}"))
    for number, audio in enumerate(info.audio):
        parts = [audio.codec, audio.rate and f"{audio.rate / 1000:g} kHz", audio.layout]
        if audio.bit_rate:
            parts.append(f"{audio.bit_rate / 1000:.0f} kbit/s")
        facts.append((_numbered("Audio", number, info.audio), ", ".join(str(p) for p in parts if p)))
    if info.other:
        facts.append(("Other streams", "; ".join(info.other)))
    tags = [(f"Tag “{name}”", value) for name, value in sorted(info.metadata.items()) if name not in _HIDDEN_TAGS]
    facts += tags[:8]
    return facts


def _numbered(name: str, number: int, streams: tuple[Any, ...]) -> str:
    return f"{name} {number}" if len(streams) > 1 else name


def _video(video: VideoStream) -> str:
    parts = [f"{video.codec}{f' ({video.profile})' if video.profile else ''}", f"{video.width} × {video.height}"]
    if video.pix_fmt:
        parts.append(video.pix_fmt + (f", {video.bit_depth} bit" if video.bit_depth else ""))
    if video.rotation:
        parts.append(f"turned by {video.rotation}°")
    return ", ".join(parts)


def _bytes(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def _sound_text(analysis: Analysis) -> str:
    sound = analysis.sound
    if sound is None:
        return ""
    if sound.silent:
        level = "every sample is zero" if sound.peak_db is None else f"its loudest sample is at {sound.peak_db:.0f} dB"
        return f"The file has a sound track of {_spoken(sound.duration)}, but it is silent: {level}."
    text = f"{_spoken(sound.duration)} of sound, {sound.rms_db:.0f} dB on average (RMS), {sound.peak_db:.0f} dB at its"
    text += " peak"
    if sound.silent_share > 0:
        return f"{text}; {sound.silent_share:.0%} of its seconds are silent."
    return text + "."


def _pictures_text(analysis: Analysis) -> str:
    pictures = analysis.pictures
    if pictures is None:
        return ""
    tone = (
        f"Black and white (colourfulness {pictures.colorfulness:.1f})"
        if pictures.gray
        else f"In colour (colourfulness {pictures.colorfulness:.0f}; 15 is slight, 60 strong)"
    )
    if pictures.frames == 1:
        return f"One frame. {tone}, mean brightness {pictures.brightness:.0%}."
    shown = len(pictures.key_frames)
    step = 0.1 if pictures.last < 60 else 1.0
    cuts = "no cut"
    if pictures.cuts:
        times = ", ".join(clock(t, step) for t in pictures.cuts[:5]) + (", …" if len(pictures.cuts) > 5 else "")
        cuts = f"{len(pictures.cuts)} cut{'s' if len(pictures.cuts) > 1 else ''} (at {times})"
    text = f"{tone}, mean brightness {pictures.brightness:.0%}, {cuts}."
    return f"{text} {shown} of {pictures.frames:,} frames, evenly spread:"


def _faces_text(analysis: Analysis) -> str:
    faces = analysis.faces
    if faces is None:
        return ""
    detector = f"{faces.detector.get('name')} {faces.detector.get('version')}"
    if not faces.tracks:
        text = f"No face was found in {faces.frames:,} frames ({detector})."
        if faces.dropped:
            text += f" {_count(faces.dropped, 'detection')} lasted too briefly to be followed and were dropped."
        return text
    text = f"A face is visible in {faces.frames_with_face:,} of {faces.frames:,} frames ({detector}). "
    text += "Each stretch in which one face could be followed without a break is a track"
    return text + (f"; {_count(faces.dropped, 'detection')} too brief to use were dropped." if faces.dropped else ".")


def _spectrogram(analysis: Analysis) -> dict[str, Any] | None:
    sound = analysis.sound
    if sound is None or sound.silent or not sound.log_mel.numel():
        return None
    cv2 = require("cv2", "The spectrogram", "opencv-python")
    mel_position = require("librosa", "The frequency axis").hz_to_mel
    level = (sound.log_mel - sound.log_mel.max() + _RANGE_DB).clamp(0, _RANGE_DB) / _RANGE_DB
    gray = (level.flip(0) * 255).round().to(torch.uint8).numpy()
    color = cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    image = torch.from_numpy(color).permute(2, 0, 1)
    top = float(mel_position(RATE / 2))
    return plot(
        f"Log-mel spectrogram of {_spoken(sound.duration)}",
        height=190,
        x_ticks=time_ticks(0.0, max(sound.duration, 1e-3)),
        y_ticks=[
            (round(100 * float(mel_position(hz)) / top, 2), f"{hz} Hz" if hz < 1000 else f"{hz // 1000} kHz")
            for hz in _MEL_TICKS
        ],
        image=_data_uri(image, "png"),
    )


def _shots(analysis: Analysis) -> list[dict[str, Any]]:
    if analysis.pictures is None:
        return []
    tracks = analysis.faces.tracks if analysis.faces else ()
    step = 0.1 if (analysis.duration or 0) < 60 else 1.0
    return [
        {
            "time": clock(frame.time, step),
            "image": _data_uri(frame.image, "jpeg"),
            "width": frame.image.shape[2],
            "height": frame.image.shape[1],
            "meshes": [_dots(t.boxes[frame.time]) for t in tracks if frame.time in t.boxes],
        }
        for frame in analysis.pictures.key_frames
    ]


def _dots(points: torch.Tensor) -> str:
    """Brows, eyes, nose, lips and jaw as dots; the whole mesh would hide the face."""
    return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in points[list(SEMANTIC)].tolist())


def _lanes(analysis: Analysis) -> dict[str, Any]:
    duration, tracks = analysis.duration or 1.0, analysis.faces.tracks if analysis.faces else ()
    # Tracks that do not overlap share a lane, as many lanes as faces are seen at once.
    ends: list[float] = []
    boxes = []
    for track in sorted(tracks, key=lambda t: t.start):
        lane = next((i for i, end in enumerate(ends) if end <= track.start), len(ends))
        ends[lane : lane + 1] = [track.end]
        boxes.append((lane, track))
    height = 100 / len(ends)
    return plot(
        f"Timeline of {len(tracks)} face tracks",
        height=26 * len(ends),
        x_ticks=time_ticks(0.0, duration),
        y_ticks=[],
        boxes=[
            (
                round(1000 * t.start / duration, 2),
                round(height * lane + 0.15 * height, 2),
                round(max(2.0, 1000 * (t.end - t.start) / duration), 2),
                round(0.7 * height, 2),
            )
            for lane, t in boxes
        ],
    )


def _track(track: FaceSummary) -> dict[str, Any]:
    step = 0.1 if track.end - track.start < 60 else 1.0
    # What moves is the message: the level of each measure is the person's own.
    moving = track.expression - track.expression.median(0).values
    names = [name.replace("_", " ") for name in track.expression_names]

    def chosen(wanted: tuple[str, ...]) -> dict[str, Any]:
        columns = [i for i, name in enumerate(names) if any(word in name for word in wanted)]
        return curves(track.time, moving[:, columns], [names[i] for i in columns], least_span=0.2)

    missed = f", missed in {track.missed} between" if track.missed else ""
    return {
        "span": f"{clock(track.start, step)} to {clock(track.end, step)}",
        "text": f"Detected in {_count(track.detections, 'frame')}{missed}; outer eye corners "
        f"{track.interocular_px:.0f} px apart.",
        "pose": curves(track.time, track.pose, ["pitch", "yaw", "roll"], unit="°", least_span=20.0),
        "mouth": chosen(("mouth", "jaw", "smile")),
        "eyes": chosen(("eye", "brow")),
    }


def _data_uri(image: torch.Tensor, kind: str) -> str:
    data = base64.b64encode(encode_image(image, f".{kind}", quality=88)).decode()
    return f"data:image/{kind};base64,{data}"

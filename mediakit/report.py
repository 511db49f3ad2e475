"""An :class:`~mediakit.analyze.Analysis` as one self-contained page, or as JSON.

Curves are inline SVG stretched to the page, with labels in HTML, so that the page follows the reader's theme, stays
readable on a phone and weighs kilobytes.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from typing import Any

import torch

from mediakit import __version__
from mediakit.analyze import RATE, TASKS, Analysis
from mediakit.charts import clock, curves, plot, time_ticks
from mediakit.colorize.section import colorize_section
from mediakit.deepfake.section import deepfake_section, spoken
from mediakit.errors import require
from mediakit.face_summary import FacesSummary, FaceSummary
from mediakit.io import VideoStream, encode_image, write_text
from mediakit.mesh import SEMANTIC
from mediakit.parsing.event_files import write_events
from mediakit.parsing.section import events_section
from mediakit.summary import KeyFrame, SoundSummary

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


def write_event_file(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Writes the events as JSON, CSV or WebVTT, by the file's ending; the JSON says what found them, and in which file.

    Raises:
        MediaError: The ending is another, or the file cannot be written; an earlier one is left as it was.
        ValueError: No parsing model was given to the analysis.
    """
    if analysis.parsing is None:
        raise ValueError("the analysis holds no events: it was made without a parsing model")
    about = analysis.to_dict()
    told = {"mediakit": about["mediakit"], "file": {name: about["file"][name] for name in ("name", "sha256")}}
    told |= {name: value for name, value in about["tasks"]["parsing"].items() if name not in ("status", "events")}
    write_events(analysis.parsing.events, path, told)


def write_page(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Writes the findings as one HTML file without external requests.

    Raises:
        MediaError: The file cannot be written; an earlier one is left as it was.
    """
    write_text(path, render_page(analysis))


def render_page(analysis: Analysis) -> str:
    """The page as text."""
    faces, still = analysis.faces, analysis.still
    tracks = sorted(faces.tracks, key=lambda t: t.start) if faces else []
    shown = faces.tracks[:_TRACKS_SHOWN] if faces else ()
    return template("report.html").render(
        a=analysis,
        version=__version__,
        rate=RATE,
        headline=headline(analysis),
        facts=_facts(analysis),
        sound_text=_sound_text(analysis),
        pictures_text=_pictures_text(analysis),
        faces_text=_faces_text(analysis),
        spectrogram=spectrogram(analysis.sound),
        shots=_shots(analysis),
        lanes=_lanes(tracks, analysis.duration) if tracks and analysis.duration and not still else None,
        tracks=[_track(n, t, still) for n, t in enumerate(tracks, 1) if t in shown],
        hidden=len(tracks) - len(shown),
        still=still,
        events=analysis.parsing and events_section(analysis.parsing, TASKS["parsing"][0], still),
        deepfake=analysis.deepfake and deepfake_section(analysis.deepfake, TASKS["deepfake"][0]),
        colors=analysis.colorize and _colors(colorize_section(analysis.colorize, TASKS["colorize"][0], still)),
        tasks=[(*task, "no model given") for name, task in TASKS.items() if getattr(analysis, name) is None],
    )


def _colors(section: dict[str, Any]) -> dict[str, Any]:
    """The section with its pictures as they stand in a page."""
    stills = [{**s, **{side: data_uri(s[side], "jpeg") for side in ("before", "after")}} for s in section["stills"]]
    return {**section, "stills": stills}


def template(name: str) -> Any:
    """A Jinja template of the package; texts given to it cannot become markup."""
    from importlib.resources import files

    jinja2 = require("jinja2", "The report page")
    loader = jinja2.FunctionLoader(lambda name: files("mediakit").joinpath(name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template(name)


def headline(analysis: Analysis) -> str:
    """One to four sentences that say what is in the file."""
    pictures, sound, faces = analysis.pictures, analysis.sound, analysis.faces
    length = _spoken(analysis.duration)
    if pictures is None:
        kind = "Sound" if analysis.info.video else "Sound alone"
        what = "which is silent throughout" if sound and sound.silent else "without pictures"
        if analysis.info.video:
            what = "with pictures that cannot be decoded"
        return f"{kind}, {length}, {what}." if length else f"{kind}, {what}."
    tone = "black-and-white " if pictures.gray else "colour "
    if analysis.still:
        text = f"A single {tone}picture, {pictures.size[0]} × {pictures.size[1]} pixels"
    else:
        rate = analysis.packets.fps if analysis.packets else None
        text = f"A {tone}video of {length}, {pictures.size[0]} × {pictures.size[1]} pixels"
        text += f" at {_number(rate)} frames per second" if rate else ""
    if sound is not None:
        text += ", with a sound track that is silent" if sound.silent else ", with sound"
    elif pictures.frames > 1:
        text += ", without sound" if not analysis.info.audio else ", with sound that cannot be decoded"
    text += "."
    decoded = analysis.decoded or 0.0
    if analysis.warnings and pictures.frames > 1 and decoded < 0.95 * (analysis.duration or 0.0):
        text += f" The file is damaged: pictures could be read for {_spoken(decoded)} only."
    elif analysis.warnings:
        text += " The file is damaged; what follows may be wrong in places."
    text = text if faces is None else f"{text} {_faces_seen(faces)}"
    return text if analysis.deepfake is None or not analysis.deepfake.tracks else f"{text} {spoken(analysis.deepfake)}"


def _faces_seen(faces: FacesSummary) -> str:
    """How much of the film shows a face, in one sentence, with doubt where doubt is due."""
    if not faces.tracks:
        return "No face was found."
    if faces.frames == 1:
        return f"{_count(len(faces.tracks), 'face')} found."
    share = faces.frames_with_face / max(faces.frames, 1)
    if share < _RARE:
        return f"Something like a face is seen in {faces.frames_with_face} of {_count(faces.frames, 'frame')}."
    return f"A face is visible in {share:.0%} of the frames."


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


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
    if info.bit_rate and analysis.duration:
        facts.append(("Bit rate", f"{info.bit_rate / 1000:,.0f} kbit/s"))
    for number, video in enumerate(info.video):
        facts.append((_numbered("Video", number, info.video), _video(video)))
    if packets is not None and packets.frames > 1:
        rhythm = "variable" if packets.variable_frame_rate else "constant"
        chosen = " (video 0)" if len(info.video) > 1 else ""
        if packets.fps:
            facts.append((f"Frames{chosen}", f"{packets.frames:,} at {_number(packets.fps)} per second, {rhythm} rate"))
        gop = "the first frame only"
        if packets.gop_median:
            gop = f"every {_number(packets.gop_median)} frames (median), at most {packets.gop_max} apart (GOP)"
        facts.append((f"Codec key frames{chosen}", f"{len(packets.keyframes)}: {gop}"))
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
        level = "every sample is zero" if sound.peak_db is None else f"its loudest sample is at {_db(sound.peak_db)}"
        return f"The file has a sound track of {_spoken(sound.duration)}, but it is silent: {level}."
    text = f"{_spoken(sound.duration)} of sound, {_db(sound.rms_db)} on average (RMS), {_db(sound.peak_db)} at its peak"
    text += f"; {sound.silent_share:.0%} of its seconds are silent." if sound.silent_share > 0 else "."
    return text + _first_of(analysis.info.audio)


def _db(level: float | None) -> str:
    return "silence" if level is None else f"{level:.0f} dB".replace("-0 dB", "0 dB").replace("-", "−")


def _first_of(streams: tuple[Any, ...]) -> str:
    return f" The first of {len(streams)} streams was looked at." if len(streams) > 1 else ""


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
        cuts = f"{_count(len(pictures.cuts), 'cut')} (at {times})"
    text = f"{tone}, mean brightness {pictures.brightness:.0%}, {cuts}.{_first_of(analysis.info.video)}"
    return f"{text} {shown} of {pictures.frames:,} frames, evenly spread:"


def _faces_text(analysis: Analysis) -> str:
    faces = analysis.faces
    if faces is None:
        return ""
    text = f"{_faces_seen(faces)} Looked at {_count(faces.frames, 'frame')} with "
    text += f"{faces.detector.get('name')} {faces.detector.get('version')}, which misses faces narrower than about a "
    text += "tenth of the picture."
    if faces.frames > 1 and faces.tracks:
        text += " A stretch is a time in which one face could be followed without a break; a person may have several."
    if faces.dropped:
        text += f" Dropped as too brief to use: {_count(faces.dropped, 'detection')}."
    return text


def spectrogram(sound: SoundSummary | None) -> dict[str, Any] | None:
    """Log-mel spectrogram as a plot; None where there is nothing to see."""
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
        image=data_uri(image, "png"),
    )


def _shots(analysis: Analysis) -> list[dict[str, Any]]:
    if analysis.pictures is None:
        return []
    tracks = analysis.faces.tracks if analysis.faces else ()
    step = 0.1 if (analysis.duration or 0) < 60 else 1.0
    return [shot(frame, tracks, step) for frame in analysis.pictures.key_frames]


def shot(frame: KeyFrame, tracks: Sequence[FaceSummary] = (), step: float = 0.1) -> dict[str, Any]:
    """A picture from the film with dots on its faces, where their landmarks were kept; its time to ``step`` seconds."""
    return {
        "time": clock(frame.time, step),
        "image": data_uri(frame.image, "jpeg"),
        "width": frame.image.shape[2],
        "height": frame.image.shape[1],
        "meshes": [_dots(t.boxes[frame.time]) for t in tracks if frame.time in t.boxes],
    }


def _dots(points: torch.Tensor) -> str:
    """Brows, eyes, nose, lips and jaw as dots; the whole mesh would hide the face."""
    return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in points[list(SEMANTIC)].tolist())


def _lanes(tracks: list[FaceSummary], duration: float) -> dict[str, Any]:
    # Tracks that do not overlap share a lane, as many lanes as faces are seen at once.
    ends: list[float] = []
    bars = []
    for number, track in enumerate(tracks, 1):
        lane = next((i for i, end in enumerate(ends) if end <= track.start), len(ends))
        ends[lane : lane + 1] = [track.end]
        left, width = 100 * track.start / duration, max(0.2, 100 * (track.end - track.start) / duration)
        bars.append((round(left, 2), round(width, 2), lane, str(number) if width > 2.5 else ""))
    return plot(
        f"Timeline of {_count(len(tracks), 'stretch', 'stretches')} in which a face is followed",
        height=26 * len(ends),
        x_ticks=time_ticks(0.0, duration),
        y_ticks=[],
        bars=bars,
    )


def _track(number: int, track: FaceSummary, still: bool) -> dict[str, Any]:
    if still:
        pitch, yaw, roll = (f"{v:.0f}°".replace("-", "−") for v in track.pose[0].tolist())
        text = f"Outer eye corners {track.interocular_px:.0f} px apart; pitch {pitch}, yaw {yaw}, roll {roll}."
        return {"name": f"Face {number}", "span": "", "text": text, "pose": None}
    step = 0.1 if track.end - track.start < 60 else 1.0
    # What moves is the message: the level of each measure is the person's own.
    moving = track.expression - track.expression.median(0).values
    names = [name.replace("_", " ") for name in track.expression_names]

    def chosen(wanted: tuple[str, ...]) -> dict[str, Any]:
        columns = [i for i, name in enumerate(names) if any(word in name for word in wanted)]
        return curves(track.time, moving[:, columns], [names[i] for i in columns], least_span=0.2)

    missed = f", missed in {track.missed} between" if track.missed else ""
    return {
        "name": f"Stretch {number}",
        "span": f"{clock(track.start, step)} to {clock(track.end, step)}",
        "text": f"Detected in {_count(track.detections, 'frame')}{missed}; outer eye corners "
        f"{track.interocular_px:.0f} px apart.",
        "pose": curves(track.time, track.pose, list(track.pose_names), unit="°", least_span=20.0),
        "mouth": chosen(("mouth", "jaw", "smile")),
        "eyes": chosen(("eye", "brow")),
    }


def data_uri(image: torch.Tensor, kind: str) -> str:
    """A picture, uint8 (3, H, W), for the ``src`` of an ``img``; ``kind`` is ``"png"`` or ``"jpeg"``."""
    data = base64.b64encode(encode_image(image, f".{kind}", quality=88)).decode()
    return f"data:image/{kind};base64,{data}"

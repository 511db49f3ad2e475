"""The page of ``mediakit demo``: of each kind of generated clip, its truth beside what is seen in its file.

What is *true* comes from the generator; what is *measured* comes from the encoded file alone.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mediakit import __version__, motion
from mediakit.analyze import Analysis
from mediakit.charts import curves
from mediakit.colorize.trial import ColoredScene
from mediakit.colorize.trial import Trial as ColorTrial
from mediakit.colorize.trial_page import trial_section as color_section
from mediakit.deepfake.trial import Trial as DetectorTrial
from mediakit.deepfake.trial_page import trial_section
from mediakit.errors import require
from mediakit.face_summary import FaceSummary
from mediakit.intervals import bootstrap_interval
from mediakit.io import Frame, read_video
from mediakit.parsing.events import MODALITIES, Event, events_to_segments, segments_to_events
from mediakit.parsing.metrics import SCORES, avvp_scores, mean_scores
from mediakit.parsing.result import ParsingResult
from mediakit.parsing.section import event_timeline
from mediakit.parsing.trial import BASELINE, Trial
from mediakit.report import data_uri, shot, spectrogram, template
from mediakit.synthetic.clip import Clip
from mediakit.synthetic.event_clip import CLASSES, EventClip, Occurrence
from mediakit.synthetic.heads import TalkingHead
from mediakit.synthetic.palettes import to_rgb
from mediakit.synthetic.scenes import Scene
from mediakit.trials import MODEL

_COLORED = 5.0  # CIELAB distance from which on a pixel's colour depends on the class


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A generated clip and what is seen in its file.

    Attributes:
        clip: The clip, which knows its truth.
        video: The bytes of its file.
        frames: Frames decoded from the file, one a second, at 0.5, 1.5, ... seconds.
        analysis: What was found in the file.
    """

    clip: Clip
    video: bytes
    frames: tuple[Frame, ...]
    analysis: Analysis


@dataclass(frozen=True, eq=False)
class Comparison:
    """One measured curve against the true one.

    Attributes:
        name: What is measured.
        unit: ``"°"``, or empty for interocular distances.
        time: ``(T,)`` seconds.
        truth: ``(T,)``.
        seen: ``(T,)``, the offset taken out.
        offset: Mean of measured minus true: what counts as zero is a matter of convention.
        correlation: Pearson's, NaN where one of them is constant.
        rmse: Root mean square of ``seen - truth``.
    """

    name: str
    unit: str
    time: torch.Tensor
    truth: torch.Tensor
    seen: torch.Tensor
    offset: float
    correlation: float
    rmse: float


def read_exhibit(clip: Clip, path: str | os.PathLike[str], analysis: Analysis) -> Exhibit:
    """Reads back what the page shows of a clip's file.

    Raises:
        MediaError: The file cannot be read.
    """
    frames = tuple(read_video(path, fps=1, start=0.5))
    return Exhibit(clip, Path(path).read_bytes(), frames, analysis)


def compare(name: str, time: torch.Tensor, truth: torch.Tensor, seen: torch.Tensor, unit: str = "") -> Comparison:
    """Takes the mean offset out of a measured curve and tells how near it is to the true one; all are ``(T,)``."""
    truth, seen = truth.double(), seen.double()
    offset = (seen - truth).mean()
    seen = seen - offset
    a, b = truth - truth.mean(), seen - seen.mean()
    correlation = (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()
    rmse = (seen - truth).square().mean().sqrt()
    return Comparison(name, unit, time, truth, seen, float(offset), float(correlation), float(rmse))


def head_curves(pose: torch.Tensor, expression: torch.Tensor) -> dict[str, tuple[torch.Tensor, str]]:
    """The four curves that are compared, each with its unit, out of poses ``(T, 3)`` and expressions ``(T, 8)``.

    Args:
        pose: Pitch, yaw and roll in degrees.
        expression: Columns as `mediakit.motion.EXPRESSION_NAMES`.
    """
    angles = {name: (pose[:, column], "°") for column, name in enumerate(("pitch", "yaw", "roll"))}
    return {**angles, "mouth opening": (expression[:, motion.EXPRESSION_NAMES.index("mouth_opening")], "")}


def true_curves(truth: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, str]]:
    """`head_curves` of the truth over time about a talking head, as `.TalkingHead.tensors` gives it."""
    pose = motion.Similarity(truth["scale"], truth["rotation"], truth["translation"])
    shape = motion.aligned_shape(truth["points"], pose)
    return head_curves(motion.euler_angles(pose.rotation).double(), motion.expression_scalars(shape).double())


def compare_head(seen: FaceSummary, truth: Mapping[str, torch.Tensor]) -> tuple[Comparison, ...]:
    """Pitch, yaw, roll and mouth opening of a followed face against the truth.

    Args:
        seen: The face as `mediakit.analyze.analyze_file` sums it up.
        truth: As `.TalkingHead.tensors` gives it; interpolated at the times of ``seen``.
    """
    measured = head_curves(seen.pose, seen.expression)
    found = []
    for name, (curve, unit) in true_curves(truth).items():
        at = torch.from_numpy(np.interp(seen.time.numpy(), truth["time"].double().numpy(), curve.numpy()))
        found.append(compare(name, seen.time, at, measured[name][0], unit))
    return tuple(found)


def mean_hue(lab: torch.Tensor, where: torch.Tensor) -> float:
    """Hue angle in degrees, in [0, 360), of the mean of CIELAB colours ``(3, H, W)`` where a mask ``(H, W)`` says."""
    _, a, b = lab[:, where].mean(1).tolist()
    return float(np.rad2deg(np.arctan2(b, a)) % 360)


def class_region(scene: Scene, others: Iterable[Scene], number: int) -> torch.Tensor:
    """Which pixels ``(H, W)`` of a frame have another colour in a scene with another class."""
    ab = scene.gray_and_ab(number)[1]
    return torch.stack([(other.gray_and_ab(number)[1] - ab).norm(dim=0) > _COLORED for other in others]).any(0)


def render_gallery(
    events: Exhibit,
    head: Exhibit,
    scene: Exhibit,
    others: Sequence[Scene],
    links: Mapping[str, str] | None = None,
    trial: Trial | None = None,
    fake: Exhibit | None = None,
    detector: DetectorTrial | None = None,
    absent: str = "",
    colored: ColoredScene | None = None,
    colorizer: ColorTrial | None = None,
) -> str:
    """The page as text.

    Args:
        events: Of an `.EventClip`; what a parsing model found in it is shown where it was analyzed with one.
        head: Of a `.TalkingHead`.
        scene: Of a `.Scene`.
        others: The same scene with the other classes of its group, at least one.
        links: Pages to name at the end: what each shows, by its address.
        trial: How good that model is.
        fake: Of the head's manipulated twin, both analyzed with a deepfake detector.
        detector: How good that detector is.
        absent: Why there is none.
        colored: The scene robbed of its colours, and what a colorizer made of it.
        colorizer: How good that is.
    """
    return template("gallery.html").render(
        version=__version__,
        events=_events(events),
        head=_head(head),
        genuine=None if fake is None or detector is None else _genuine(head, fake, detector),
        absent=absent,
        scene=_scene(scene, others),
        colors=None if colored is None or colorizer is None else _colors(colored, colorizer),
        links=links or {},
        trial=None if trial is None else _trial(trial),
    )


def _film(exhibit: Exhibit, still: int) -> dict[str, Any]:
    name = exhibit.analysis.name
    return {
        "name": name,
        "page": Path(name).with_suffix(".html").name,
        "video": _video(exhibit.video),
        "poster": data_uri(exhibit.frames[still].image, "jpeg"),
        "width": exhibit.frames[0].image.shape[2],
        "height": exhibit.frames[0].image.shape[1],
    }


def _video(data: bytes) -> str:
    return "data:video/mp4;base64," + base64.b64encode(data).decode()


def _events(exhibit: Exhibit) -> dict[str, Any]:
    clip = exhibit.clip
    assert isinstance(clip, EventClip)
    result = exhibit.analysis.parsing
    return {
        **_film(exhibit, len(exhibit.frames) // 2),
        "said": [tell(occurrence) for occurrence in sorted(clip.occurrences, key=lambda o: (o.span, o.label))],
        "count": len(clip.events),
        "names": list(dict.fromkeys(event.label for event in clip.events)),
        "timeline": _timeline(clip, result),
        "score": None if result is None else clip_score(clip, result),
        "strip": [data_uri(frame.image, "jpeg") for frame in exhibit.frames],
        "sound": _sound(exhibit),
    }


def _timeline(clip: EventClip, result: ParsingResult | None) -> dict[str, Any]:
    """The truth, and beneath each class what a model found of it."""
    seconds = clip.truth()["seconds"]
    true = segments_to_events(*clip.labels(), CLASSES, joint=True)
    # AAC may make the file a little longer than the clip.
    found = [e._replace(end=min(e.end, seconds)) for e in result.events if e.start < seconds] if result else []
    labels = list(dict.fromkeys(event.label for event in (*true, *found)))

    def drawn(events: Sequence[Event]) -> dict[str, Any]:
        return event_timeline(events, labels, MODALITIES, seconds)

    both = {"true": drawn(true)} | ({"found": drawn(found)} if result else {})
    pairs = zip(*(chart["rows"] for chart in both.values()), strict=True)
    rows = [(f"{name}, {what}", bars) for pair in pairs for what, (name, bars) in zip(both, pair, strict=True)]
    told = f"Timeline of {len(true)} true events" + (f" and {len(found)} found ones" if result else "")
    return {**both["true"], "rows": rows, "label": told}


def clip_score(clip: EventClip, result: ParsingResult) -> float:
    """Segment Type@AV, in percent, of what was found in a clip's file."""
    truth = clip.labels()
    found = events_to_segments(result.events, result.classes, len(result.frame_prob))
    pairs = (labels[None] for labels in (*(side[: len(truth.audio)] for side in found), *truth))
    return avvp_scores(*pairs)["segment_type"]


def _trial(trial: Trial) -> dict[str, Any]:
    """The table of scores: what it is, the means over the films, and the interval of the last one."""
    named = {
        MODEL: (MODEL, ""),
        BASELINE: (BASELINE, "each second by itself"),
        "modality labels everywhere": ("told what is heard and what is seen", "marks it in every second"),
        "weak labels everywhere": ("told what occurs", "marks it as heard and seen in every second"),
        "nothing": ("marks nothing", "right where there is nothing"),
    }
    rows = []
    for name, words in named.items():
        means = mean_scores(trial.scores[name])
        low, high = bootstrap_interval(100 * trial.scores[name][:, SCORES.index("segment_type")])
        kinds = [means[f"segment_{kind}"] for kind in ("audio", "visual", "av", "type")]
        rows.append((*words, kinds, (float(low), float(high))))
    return {"rows": rows, "clips": trial.clips, "epochs": trial.epochs, "checkpoint": trial.checkpoint.name}


def _sound(exhibit: Exhibit) -> dict[str, Any] | None:
    """The spectrogram, of the clip's own length: AAC pads it by up to a tenth of a second."""
    sound, seconds = exhibit.analysis.sound, exhibit.clip.truth()["seconds"]
    assert sound is not None
    columns = round(seconds / sound.seconds_per_column)
    return spectrogram(replace(sound, duration=seconds, log_mel=sound.log_mel[:, :columns]))


def tell(occurrence: Occurrence) -> str:
    """What happens, in words."""
    heard, seen = (f"{span[0]}–{span[1]} s" if span else "" for span in (occurrence.heard, occurrence.seen))
    if not heard or not seen:
        return f"{occurrence.label}: only {'heard' if heard else 'seen'}, {heard or seen}"
    both = "heard and seen, " + heard
    return f"{occurrence.label}: {both if heard == seen else f'heard {heard}, seen {seen}'}"


def _head(exhibit: Exhibit) -> dict[str, Any]:
    clip, faces = exhibit.clip, exhibit.analysis.faces
    assert isinstance(clip, TalkingHead)
    truth = clip.tensors()
    made = {
        **_film(exhibit, 0),
        "absent": exhibit.analysis.absent.get("faces", "" if faces and faces.tracks else "No face was found."),
        "faces": faces,
        "landmarks": None,
        "yaw": None,
    }
    if made["absent"] or not faces:
        plots = [
            (name, unit, "", _curves(truth["time"], unit, true=y)) for name, (y, unit) in true_curves(truth).items()
        ]
        return {**made, "plots": plots}
    found = compare_head(faces.tracks[0], truth)
    plots = [(c.name, c.unit, _agreement(c), _curves(c.time, c.unit, true=c.truth, measured=c.seen)) for c in found]
    pictures = exhibit.analysis.pictures
    marked = [k for k in pictures.key_frames if k.time in faces.tracks[0].boxes] if pictures else []
    landmarks = shot(marked[len(marked) // 2], faces.tracks[:1]) if marked else None
    return {**made, "plots": plots, "landmarks": landmarks, "yaw": found[1], "mouth": found[3]}


def _genuine(head: Exhibit, fake: Exhibit, detector: DetectorTrial) -> dict[str, Any]:
    """The twin's film, and what the detector says of both."""
    genuine, manipulated = head.analysis.deepfake, fake.analysis.deepfake
    assert genuine is not None
    assert manipulated is not None
    return {**_film(fake, len(fake.frames) // 2), **trial_section(genuine, manipulated, detector)}


def _curves(time: torch.Tensor, unit: str, **series: torch.Tensor) -> dict[str, Any]:
    values = torch.stack([*series.values()], dim=1)
    return curves(time, values, [*series], unit=unit, least_span=10.0 if unit else 0.1)


def _agreement(c: Comparison) -> str:
    digits = 1 if c.unit else 3
    offset = f"{c.offset:+.{digits}f}{c.unit}".replace("-", "−")
    return f"correlation {c.correlation:.3f}, RMSE {c.rmse:.{digits}f}{c.unit}, offset {offset} taken out"


def _scene(exhibit: Exhibit, others: Sequence[Scene]) -> dict[str, Any]:
    clip = exhibit.clip
    assert isinstance(clip, Scene)
    middle = len(exhibit.frames) // 2
    frame = exhibit.frames[middle]
    number = min(int(frame.time * clip.fps), clip.length - 1)
    region = class_region(clip, others, number)
    gray, ab = clip.gray_and_ab(number)
    lab = _lab(frame.image)
    lightness, *tint = lab[:, region].mean(1).tolist()
    hues = (
        ("true", "the clip's hue", clip.hue),
        ("true", "this frame's hue", mean_hue(torch.cat([gray[None], ab]), region)),
        ("measured", "this frame's hue", mean_hue(lab, region)),
    )
    return {
        **_film(exhibit, middle),
        "group": clip.group,
        "label": clip.label,
        "share": float(region.double().mean()),
        # Patches of one lightness and chroma, so that only the hues differ.
        "hues": [(*words, round(hue) % 360, _css(lightness, float(np.hypot(*tint)), hue)) for *words, hue in hues],
        "gray": data_uri(_picture(lab[0], torch.zeros_like(lab[1:])), "jpeg"),
        "color": data_uri(frame.image, "jpeg"),
        "others": [(other.label, data_uri(_picture(*other.gray_and_ab(number)), "jpeg")) for other in others],
        "sound": _sound(exhibit),
    }


def _colors(scene: ColoredScene, trial: ColorTrial) -> dict[str, Any]:
    section = color_section(scene, trial)
    pictures = [(way, text, data_uri(picture, "jpeg")) for way, text, picture in section["pictures"]]
    height, width = scene.before.shape[1:]
    size = {"width": width, "height": height}
    poster = {way: picture for way, _, picture in pictures}
    return {
        **section,
        **size,
        "pictures": pictures,
        "gray": {**size, "name": scene.gray.name, "video": _video(scene.gray.read_bytes()), "poster": poster["gray"]}
        | {"page": scene.gray.with_suffix(".html").name},
        "film": {
            **size,
            "name": scene.colored.name,
            "video": _video(scene.colored.read_bytes()),
            "poster": poster["own"],
        },
    }


def _lab(image: torch.Tensor) -> torch.Tensor:
    """CIELAB float32 (3, H, W) of uint8 RGB (3, H, W)."""
    color = require("skimage.color", "Measuring colours", "scikit-image")
    return torch.from_numpy(color.rgb2lab(image.permute(1, 2, 0).numpy())).float().permute(2, 0, 1)


def _picture(lightness: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(to_rgb(lightness.numpy(), ab.numpy())).permute(2, 0, 1).contiguous()


def _css(lightness: float, chroma: float, hue: float) -> str:
    """The colour for a style sheet."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    red, green, blue = _picture(torch.tensor([[lightness]]), torch.tensor([[[a]], [[b]]])).flatten().tolist()
    return f"rgb({red} {green} {blue})"

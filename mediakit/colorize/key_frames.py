"""Colours for some pictures of a gray film: what ``mediakit analyze`` shows beside all else that it finds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.guide import Guide, shot_guides
from mediakit.colorize.image import Colorizer, describe, evaluation, guess
from mediakit.colorize.painting import lightness_of, network_size, paint, resize
from mediakit.colorize.result import SCHEMA, Guided, notice
from mediakit.colorize.sound import WINDOW
from mediakit.summary import GRAY_COLORFULNESS, PictureSummary, colorfulness
from mediakit.threads import one_thread

STILLS = 4
"""Most pictures of a film that are coloured."""
TINT = 3.0
"""Distance in Lab units that colours keep from the mean colour of their lightness, up to which a picture is toned.
Photographs in sepia and blue, after JPEG of quality 60 and H.264 at CRF 35, measured 0.2 to 2.4, the dullest film
in colour at hand 3.7."""
_LOOKED_AT = 64  # pixels of the short side: averaged over more, what compression does to chroma is gone

Tone = Literal["gray", "toned", "colour"]


@dataclass(frozen=True, eq=False)
class ColoredStill:
    """One picture before and after.

    Attributes:
        time: Seconds.
        before: uint8 RGB (3, H, W).
        after: Likewise, of the same lightness.
        guided: What guided it.
    """

    time: float
    before: Tensor
    after: Tensor
    guided: Guided


@dataclass(frozen=True, eq=False)
class KeyFrameColors:
    """What was coloured of a file.

    Attributes:
        tone: ``"gray"``, ``"toned"`` (sepia and the like: only its lightness was used), ``"colour"`` (nothing was
            coloured); None without pictures.
        colorfulness: Mean over the film, as in `.PictureSummary`; None without pictures.
        stills: The coloured pictures.
        notes: What became of the sound, in sentences.
        model: Class of the network, SHA-256 of its weights, and the checkpoint's name and SHA-256 where it is known.
    """

    tone: Tone | None
    colorfulness: float | None
    stills: tuple[ColoredStill, ...]
    notes: tuple[str, ...]
    model: dict[str, Any]

    @property
    def status(self) -> str:
        """``"coloured"``, ``"in colour already"`` or ``"no pictures"``."""
        if self.tone is None:
            return "no pictures"
        return "in colour already" if self.tone == "colour" else "coloured"

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.colorize/1``: all but pixels."""
        return {
            "schema": SCHEMA,
            "status": self.status,
            "kind": "key frames",
            "tone": self.tone,
            "colorfulness": self.colorfulness,
            "notice": notice(tuple(still.guided for still in self.stills)) if self.stills else None,
            "frames": [{"time": still.time, **vars(still.guided)} for still in self.stills],
            "notes": list(self.notes),
            "model": self.model,
            "seed": None,  # no chance is involved
        }


def color_key_frames(
    module: Colorizer,
    pictures: PictureSummary | None,
    path: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
) -> KeyFrameColors:
    """Colours some key frames of a file if it is gray or toned.

    Each is guided by up to 10 s of sound around it, within its shot. Equal files give equal results.

    Args:
        module: A trained `.ColorizeModule`.
        pictures: What `mediakit.summary.PictureSummarizer` gathered of the file; None if it has none.
        path: The file, for its sound.
        checkpoint: Where the module came from, to be told in the result.

    Raises:
        MediaError: The file is gone.
    """
    model = describe(module, checkpoint)
    if pictures is None:
        return KeyFrameColors(None, None, (), (), model)
    tone = tone_of(pictures)
    if tone == "colour":
        return KeyFrameColors(tone, pictures.colorfulness, (), (), model)
    frames = pictures.key_frames
    count = min(STILLS, len(frames))
    frames = tuple(frames[int((n + 0.5) * len(frames) / count)] for n in range(count))
    with one_thread(), evaluation(module.network):
        spans = _around([frame.time for frame in frames], pictures)
        hints = shot_guides(module.network, path, spans)
        stills = [_color(module, *frame, hint) for frame, hint in zip(frames, hints, strict=True)]
    return KeyFrameColors(tone, pictures.colorfulness, tuple(stills), _notes(hints), model)


def tone_of(pictures: PictureSummary) -> Tone:
    """Whether a film is gray, toned, or in colour: it is toned if each of its key frames is."""
    if pictures.gray:
        return "gray"
    return "toned" if all(is_toned(frame.image) for frame in pictures.key_frames) else "colour"


def is_toned(image: Tensor) -> bool:
    """Whether a picture, RGB (3, H, W) in 0..255, has no colours but those that its lightness gives it.

    True of gray pictures, sepia, blueprints and hand-toned photographs: every lightness has one colour. Measured as the
    root mean square distance of a and b from their mean at each of 20 levels of lightness (at most `TINT`).
    """
    height, width = image.shape[1:]
    scale = max(1.0, min(height, width) / _LOOKED_AT)
    size = (max(1, round(height / scale)), max(1, round(width / scale)))
    small = F.interpolate(image[None].float(), size, mode="area")[0]
    if float(colorfulness(small)) < GRAY_COLORFULNESS:
        return True
    lightness, *ab = rgb_to_lab(small / 255).flatten(1)
    level = (lightness / 5).long().clamp(0, 19)
    colors = torch.stack(ab)
    total = torch.zeros(2, 20).index_add_(1, level, colors)
    mean = total / torch.bincount(level, minlength=20).clamp(min=1)
    return float((colors - mean[:, level]).square().sum(0).mean().sqrt()) <= TINT


def _around(times: Sequence[float], pictures: PictureSummary) -> list[tuple[float, float]]:
    """Ten seconds around each time, as far as its shot goes."""
    spans, shots = [], list(pairwise((pictures.first, *pictures.cuts, math.inf)))
    for time in times:
        start, stop = next(shot for shot in reversed(shots) if shot[0] <= time)
        spans.append((max(start, time - WINDOW / 2), min(stop, time + WINDOW / 2)))
    return spans


def _color(module: Colorizer, time: float, image: Tensor, hint: Guide) -> ColoredStill:
    lightness = lightness_of(image)
    small = resize(lightness, network_size(image.shape[1], image.shape[2], module.size))
    ab, relevance = guess(module.network, small, hint)
    return ColoredStill(time, image, paint(image, lightness, small, ab), hint.believed(relevance))


def _notes(hints: Sequence[Guide]) -> tuple[str, ...]:
    states = {hint.sound for hint in hints}
    if states == {"missing"}:
        return ("The file has no sound track: colours were guessed from the pictures alone.",)
    if states == {"silent"}:
        return ("The sound is silent: colours were guessed from the pictures alone.",)
    return tuple(dict.fromkeys(hint.note for hint in hints if hint.note))

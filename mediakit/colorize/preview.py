"""Before and after as one self-contained page, with what the colours depend on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mediakit import __version__
from mediakit.charts import clock
from mediakit.colorize.guide import device_of, without
from mediakit.colorize.image import Colorizer, evaluation, guess
from mediakit.colorize.painting import lightness_of, paint, resize
from mediakit.colorize.result import Coloring, Guided, Spread, Steadiness, VideoColoring, notice
from mediakit.errors import require
from mediakit.io import read_image, read_video
from mediakit.report import data_uri, template
from mediakit.text_tables import Cells

SATURATIONS = (0.5, 1.0, 1.5, 2.0)
"""Factors of the chroma that are shown side by side."""
_WIDE, _NARROW = 960, 320  # pixels across, of the pair and of what stands side by side
_STILLS = 6  # of a film
_LISTED = 40  # shots of a film in the table

_SOUND = {
    "used": "used",
    "not given": "none was given",
    "not used": "not used",
    "silent": "silent",
    "missing": "there is none",
    "undecodable": "cannot be decoded",
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture before and after.

    Attributes:
        name: Of the picture.
        before: uint8 RGB, (3, h, w).
        after: Likewise.
        caption: What stands below it.
    """

    name: str
    before: Tensor
    after: Tensor
    caption: str


def image_preview(
    module: Colorizer,
    path: str | os.PathLike[str],
    coloring: Coloring,
    photo: str | os.PathLike[str] | None = None,
) -> str:
    """The page of a picture: the pair, more and less saturation, what guidance changed, where the guess is unsure.

    Args:
        module: What coloured it.
        path: The original.
        coloring: What came of it.
        photo: The photograph that guided it.

    Raises:
        MediaError: The picture or the photograph cannot be read any more.
    """
    name, guided = Path(path).name, coloring.guided
    with evaluation(module.network):
        canvas = _Canvas(read_image(path), _WIDE, coloring.ab)
        pair = Pair(name, canvas.image, canvas.paint(coloring.saturation), _said(guided))
        narrow = _Canvas(canvas.image, _NARROW, coloring.ab)
        sweep = [_shot(narrow.paint(factor), f"chroma × {factor:g}") for factor in SATURATIONS]
        rows = [("Saturation", "The same guess with less and more chroma (--saturation).", sweep)]
        if guided.by != "nothing":
            small = canvas.small.to(device_of(module.network))
            ab, _ = guess(module.network, small, without("not used"))
            plain = _Canvas(canvas.image, _NARROW, ab[0].cpu()).paint(coloring.saturation)
            guides = [] if photo is None else [_shot(_fit(read_image(photo), _NARROW), "the photograph")]
            guides += [_shot(plain, "without"), _shot(narrow.paint(coloring.saturation), f"with the {guided.by}")]
            text = f"The picture coloured without the {guided.by}, and with it."
            rows.append((f"What the {guided.by} changed", text, guides))
        if coloring.spread is not None:
            rows.append(_unsure(narrow, coloring.spread))
    return render(
        name,
        f"A picture of {coloring.rgb.shape[2]} × {coloring.rgb.shape[1]} pixels, coloured at its own size; its "
        "lightness is the original's.",
        notice((guided,)),
        coloring.notes,
        [pair],
        rows=rows,
        facts=[*_image_facts(coloring), *model_facts(coloring.model)],
    )


def video_preview(path: str | os.PathLike[str], out: str | os.PathLike[str], coloring: VideoColoring) -> str:
    """The page of a film: stills as the written film shows them, its shots, and how steady its colours are.

    Raises:
        MediaError: One of the films cannot be read any more.
    """
    name = Path(path).name
    count, begin = min(_STILLS, coloring.frames), coloring.shots[0].start
    late = begin - next(read_video(out)).time  # without sound before it, a film that began late begins at once
    pairs = []
    for n in range(count):
        time = begin + (n + 0.5) / count * coloring.duration
        before, after = _still(path, time), _still(out, time - late)
        shot = next(s for s in reversed(coloring.shots) if s.start <= time)
        pairs.append(Pair(f"{name} at {clock(time, 0.1)}", before, after, f"{clock(time, 0.1)} · {_said(shot.guided)}"))
    kinds = {"gray": "the picture alone", "network": "as guessed frame by frame", "written": "as written"}
    steadiness: Cells = [(told, _steadiness(getattr(coloring, kind))) for kind, told in kinds.items()]
    shots: Cells = [
        (str(n), [f"{clock(s.start, 0.1)} to {clock(s.stop, 0.1)}", str(s.frames), *_guided_cells(s.guided)])
        for n, s in enumerate(coloring.shots[:_LISTED], 1)
    ]
    rest = len(coloring.shots) - _LISTED
    more = f" {rest} more shots are in the JSON only." if rest > 0 else ""
    shot_heads = ["time", "frames", "guided by", "sound", "relevance"]
    reading = f"Relevance: how far the network believed that the sound belongs to the picture.{more}"
    return render(
        name,
        f"A film of {coloring.duration:.1f} s, {coloring.size[0]} × {coloring.size[1]} pixels, in "
        f"{len(coloring.shots)} {'shot' if len(coloring.shots) == 1 else 'shots'}.",
        notice(tuple(shot.guided for shot in coloring.shots)),
        coloring.notes,
        pairs,
        tables=[
            ("Shots", shot_heads, shots, reading),
            (
                "Steadiness",
                ["flicker", "consistency 1", "2", "4"],
                steadiness,
                "Flicker: mean change of (a, b) from frame to frame where lightness stays, in Lab units. Consistency: "
                "divergence of the distributions of colour (nats) of two frames 1, 2 and 4 apart; motion alone changes "
                "them, too.",
            ),
        ],
        facts=[
            ("Steady in time", "yes" if coloring.steady else "no"),
            ("Saturation", f"{coloring.saturation:g}"),
            (
                "Lightness in the written film",
                f"off by {coloring.lightness.mean:.2f} on average, {coloring.lightness.most:.1f} at most, of 100 "
                f"({coloring.lightness.frames} frames; chroma at half resolution and compression)",
            ),
            *model_facts(coloring.model),
        ],
    )


def render(
    name: str,
    lead: str,
    told: str,
    notes: Sequence[str],
    pairs: Sequence[Pair],
    *,
    rows: Sequence[tuple[str, str, list[dict[str, Any]]]] = (),
    tables: Sequence[tuple[str, list[str], Cells, str]] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as text.

    Args:
        name: Its heading.
        lead: What was coloured, in one sentence.
        told: That it is a guess.
        notes: What else a user should know.
        pairs: Pictures behind sliders.
        rows: Title, text and pictures that stand side by side.
        tables: Title, heads, lines, and how to read them.
        facts: Terms and values.
    """
    shown = [
        {
            "name": pair.name,
            "before": data_uri(pair.before, "jpeg"),
            "after": data_uri(pair.after, "jpeg"),
            "width": pair.before.shape[2],
            "height": pair.before.shape[1],
            "caption": pair.caption,
        }
        for pair in pairs
    ]
    return str(
        template("colorize.html").render(
            name=name,
            version=__version__,
            lead=lead,
            notice=told,
            notes=notes,
            pairs=shown,
            rows=rows,
            tables=tables,
            facts=facts,
        )
    )


def small_pair(path: str | os.PathLike[str], out: str | os.PathLike[str], still: bool, name: str, caption: str) -> Pair:
    """Before and after of a file that was coloured, small; of a film, the picture after half a second."""
    before, after = (
        _fit(read_image(file), 2 * _NARROW) if still else _still(file, 0.5, 2 * _NARROW) for file in (path, out)
    )
    return Pair(name, before, after, caption)


class _Canvas:
    """A picture small enough for a page, ready to take colours."""

    def __init__(self, image: Tensor, width: int, ab: Tensor) -> None:
        self.image, self.ab = _fit(image, width), ab[None]
        self.lightness = lightness_of(self.image)
        self.small = resize(self.lightness, (ab.shape[1], ab.shape[2]))

    def paint(self, saturation: float) -> Tensor:
        """In colours, uint8 (3, h, w)."""
        return paint(self.image, self.lightness, self.small, saturation * self.ab)


def _fit(image: Tensor, width: int) -> Tensor:
    """At most ``width`` pixels wide and three times as high."""
    height, full = image.shape[1:]
    scale = min(1.0, width / full, 3 * width / height)
    size = (max(1, round(height * scale)), max(1, round(full * scale)))
    return resize(image[None].float(), size)[0].round().clamp(0, 255).to(torch.uint8) if scale < 1 else image


def _still(path: str | os.PathLike[str], time: float, width: int = _WIDE) -> Tensor:
    """The picture that is shown at a time; the first one, if the film is over by then."""
    for start in (max(0.0, time), 0.0):
        with closing(read_video(path, fps=1.0, start=start)) as frames:
            for frame in frames:
                return _fit(frame.image, width)
    raise AssertionError("a film that was coloured has pictures")


def _shot(image: Tensor, caption: str) -> dict[str, Any]:
    return {
        "image": data_uri(image, "jpeg"),
        "width": image.shape[2],
        "height": image.shape[1],
        "caption": caption,
    }


def _unsure(canvas: _Canvas, spread: Spread) -> tuple[str, str, list[dict[str, Any]]]:
    """The spread as a map over the picture, bright where the guess depends on what should not matter."""
    cv2 = require("cv2", "The map of uncertainty", "opencv-python")
    top = max(10.0, float(spread.map.max()))
    height, width = canvas.image.shape[1:]
    level = resize(spread.map[None, None], (height, width))[0, 0] / top
    heat = cv2.applyColorMap((level.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), cv2.COLORMAP_MAGMA)
    told = f"over input sizes {spread.size:.1f}"
    told += "" if spread.dropout is None else f", over masks of dropout {spread.dropout:.1f}"
    text = (
        f"Root mean square distance from the mean guess, in Lab units: {told}. It does not say how far from the truth."
    )
    image = torch.from_numpy(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
    return "Uncertainty", text, [_shot(image, f"black 0, brightest {top:.0f}")]


def _said(guided: Guided) -> str:
    if guided.by == "nothing":
        return f"guided by the picture alone; sound: {_SOUND[guided.sound]}"
    weight = "" if guided.weight == 1 else f", weight {guided.weight:g}"
    return f"guided by the {guided.by}, relevance {guided.relevance:.2f}{weight}"


def _guided_cells(guided: Guided) -> list[str]:
    relevance = "–" if guided.by == "nothing" else f"{guided.relevance:.2f}"
    return [guided.by, _SOUND[guided.sound], relevance]


def _steadiness(found: Steadiness) -> list[str]:
    cells = [f"{found.flicker:.2f}", *(f"{value:.4f}" for value in found.consistency.values())]
    return ["–" if cell == "nan" else cell for cell in cells]


def _image_facts(coloring: Coloring) -> list[tuple[str, str]]:
    height, width = coloring.ab.shape[1:]
    facts = [("Guided by", _said(coloring.guided)), ("Seen by the network at", f"{width} × {height} pixels")]
    facts += [("Saturation", f"{coloring.saturation:g}"), ("Seed", str(coloring.seed))]
    return facts


def model_facts(model: dict[str, Any]) -> list[tuple[str, str]]:
    """What made the colours, as terms and values of a page."""
    names = {"checkpoint": "Checkpoint", "weights_sha256": "SHA-256 of the weights"}
    return [(told, str(model[name])) for name, told in names.items() if name in model]

"""What an audio-visual data set for colorization holds, in numbers and in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mediakit.colorize.clips.cutting import Piece
from mediakit.colorize.clips.records import SPLITS, ClipRecord
from mediakit.text_tables import as_text

_MOST_LABELS = 30


class Clip(NamedTuple):
    """A clip of the data set: its record, with its split, and what was measured of it."""

    record: ClipRecord
    piece: Piece


def summarize(
    clips: Sequence[Clip], films: Mapping[str, Mapping[str, Any]], failed: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Counts a data set.

    Args:
        clips: What is in it.
        films: Records of the films that were cut, with ``pieces``.
        failed: Path and problem of films that gave nothing.

    Returns:
        Plain values: ``splits`` and ``labels``, each name with ``clips``, ``films``, ``minutes``, means of
        ``colorfulness`` and ``motion`` (gray levels) and ``level`` (dB below full scale, of the mean power);
        ``left_out``, how often which problem; ``films``, ``films_without_clips`` and ``films_failed``.
    """
    splits = {split: [clip for clip in clips if clip.record.split == split] for split in SPLITS}
    labels: dict[str, list[Clip]] = {}
    for clip in clips:
        labels.setdefault(clip.record.label or "", []).append(clip)
    pieces = [piece for film in films.values() for piece in film["pieces"]]
    problems = Counter(_kind(piece["problem"]) for piece in pieces if piece["problem"])
    with_clips = {clip.record.source for clip in clips}
    return {
        "all": _measured(clips),
        "splits": {name: _measured(found) for name, found in splits.items()},
        "labels": {name: _measured(found) for name, found in sorted(labels.items())} if {*labels} != {""} else {},
        "films": len(films),
        "films_without_clips": sorted(film["path"] for film in films.values() if film["path"] not in with_clips),
        "films_failed": dict(sorted(Counter(_kind(problem) for _, problem in failed).items())),
        "left_out": dict(problems.most_common()),
    }


def _measured(clips: Sequence[Clip]) -> dict[str, Any]:
    count = len(clips)
    found: dict[str, Any] = {
        "clips": count,
        "films": len({clip.record.source for clip in clips}),
        "minutes": round(sum(clip.piece.end - clip.piece.start for clip in clips) / 60, 3),
    }
    if count:
        found["colorfulness"] = round(sum(clip.piece.colorfulness for clip in clips) / count, 2)
        found["motion"] = round(sum(clip.piece.motion for clip in clips) / count, 2)
        found["level"] = round(sum(clip.piece.level or 0.0 for clip in clips) / count, 2)
    return found


def _kind(problem: str) -> str:
    """A problem without its numbers and names."""
    return re.sub(r" \(.*| of .*", "", problem)


def statistics_text(statistics: Mapping[str, Any]) -> str:
    """The numbers of `summarize` as plain text."""
    heads = ("clips", "films", "minutes", "colourfulness", "motion", "level (dB)")
    keys = ("clips", "films", "minutes", "colorfulness", "motion", "level")

    def cells(found: Mapping[str, Any]) -> list[str]:
        values = [found.get(key) for key in keys]
        return ["-" if v is None else f"{v:.1f}" if isinstance(v, float) else str(v) for v in values]

    lines = [(name, cells(found)) for name, found in statistics["splits"].items()]
    parts = [as_text("split", heads, [*lines, ("all", cells(statistics["all"]))])]
    if labels := statistics["labels"]:
        shown = sorted(labels, key=lambda name: (-labels[name]["clips"], name))[:_MOST_LABELS]
        parts.append(as_text("label", heads, [(name or "(none)", cells(labels[name])) for name in shown]))
        if len(labels) > len(shown):
            parts.append(f"and {len(labels) - len(shown)} labels more")
    reasons = [(f"{name}", [str(count)]) for name, count in statistics["left_out"].items()]
    if reasons:
        parts.append(as_text("left out", ("clips",), reasons))
    broken = [(name, [str(count)]) for name, count in statistics["films_failed"].items()]
    if broken:
        parts.append(as_text("not used", ("films",), broken))
    return "\n\n".join(parts)

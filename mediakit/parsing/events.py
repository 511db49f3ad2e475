"""Decisions for each second as events with a start and an end, and back."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

MODALITIES = ("audio", "visual", "audio-visual")
_SLACK = 1e-6  # segments by which a time may miss the border that it means


class Event(NamedTuple):
    """Something that is heard, seen, or both.

    Attributes:
        start: Seconds from the start of the file.
        end: Seconds; the event lasts until then.
        label: Name of its class.
        modality: ``"audio"``, ``"visual"`` or, where it is heard and seen at once, ``"audio-visual"``.
        score: Mean probability over its time, 0 to 1.
    """

    start: float
    end: float
    label: str
    modality: str
    score: float


def segments_to_events(
    audio: Tensor,
    visual: Tensor,
    classes: Sequence[str],
    scores: Tensor | None = None,
    segment: float = 1.0,
    start: float = 0.0,
    *,
    end: float = math.inf,
    joint: bool = False,
) -> list[Event]:
    """Joins the segments in which a class is on to events: maximal runs.

    `events_to_segments` is its inverse.

    Args:
        audio: ``(T, K)`` 0 or 1, or bool: whether the class is heard in the segment.
        visual: ``(T, K)``, whether it is seen.
        classes: K names.
        scores: ``(T, 2, K)`` probabilities, audio first; None counts as certainty.
        segment: Seconds per segment.
        start: Seconds at which the first segment starts.
        end: Seconds at which the file ends, inside the last segment: no event lasts longer.
        joint: Whether to add the derived events of modality ``"audio-visual"``: runs of ``audio * visual``, whose score
            is the mean over both modalities.

    Returns:
        The events by start, end, class and modality.

    Raises:
        ValueError: The shapes do not belong together, or the matrices hold something else than 0 and 1.
    """
    shape = (len(audio), len(classes))
    if (
        audio.shape != shape
        or visual.shape != shape
        or (scores is not None and scores.shape != (shape[0], 2, shape[1]))
    ):
        raise ValueError(
            f"audio and visual must be (T, {shape[1]}) and scores (T, 2, {shape[1]}), got {tuple(audio.shape)}, "
            f"{tuple(visual.shape)} and {None if scores is None else tuple(scores.shape)}"
        )
    on = torch.stack([audio, visual]).cpu()
    if not torch.isin(on.float(), torch.tensor([0.0, 1.0])).all():
        raise ValueError("audio and visual must hold 0 and 1: decide on probabilities first")
    on = on.bool()
    chance = torch.ones(shape[0], 2, shape[1]) if scores is None else scores.detach().cpu()
    found = [(on[0], chance[:, 0]), (on[1], chance[:, 1])]
    if joint:
        found.append((on[0] & on[1], chance.mean(1)))
    events = []
    for modality, (matrix, probability) in enumerate(found):
        first, stop, label = _runs(matrix)
        total = torch.nn.functional.pad(probability.double().cumsum(0), (0, 0, 1, 0))
        means = (total[stop, label] - total[first, label]) / (stop - first)
        for a, b, c, score in zip(first.tolist(), stop.tolist(), label.tolist(), means.tolist(), strict=True):
            event = Event(start + a * segment, min(start + b * segment, end), classes[c], MODALITIES[modality], score)
            events.append((event.start, event.end, c, modality, event))
    return [event for *_, event in sorted(events)]


def _runs(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First row, row after the last and column of each maximal run of ones in a column of ``(T, K)``."""
    edges = torch.nn.functional.pad(matrix.T.int(), (1, 1)).diff(dim=1)
    label, first = (edges == 1).nonzero(as_tuple=True)
    stop = (edges == -1).nonzero(as_tuple=True)[1]
    return first, stop, label


def events_to_segments(
    events: Iterable[Event], classes: Sequence[str], count: int, segment: float = 1.0, start: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Marks the segments that each event touches; an audio-visual event is heard and seen.

    Args:
        events: In any order; they may overlap.
        classes: K names.
        count: T, the number of segments.
        segment: Seconds per segment.
        start: Seconds at which the first segment starts.

    Returns:
        ``audio`` and ``visual``, each uint8 ``(T, K)``.

    Raises:
        ValueError: An event is of none of the classes or modalities, or not inside the T segments.
    """
    column = {name: number for number, name in enumerate(classes)}
    marked = torch.zeros(2, count, len(classes), dtype=torch.uint8)
    rows = {"audio": slice(0, 1), "visual": slice(1, 2), "audio-visual": slice(0, 2)}
    for event in events:
        if event.label not in column or event.modality not in rows:
            raise ValueError(f"{event}: is of none of the classes {', '.join(classes)} or of {', '.join(MODALITIES)}")
        first = math.floor((event.start - start) / segment + _SLACK)
        stop = math.ceil((event.end - start) / segment - _SLACK)
        if not 0 <= first < stop <= count:
            raise ValueError(f"{event}: does not lie in {start:g} to {start + count * segment:g} s, or has no length")
        marked[rows[event.modality], first:stop, column[event.label]] = 1
    return marked[0], marked[1]


def exclusive_events(events: Iterable[Event]) -> list[Event]:
    """Cuts events so that at each moment a class is told once: heard, seen, or heard and seen.

    A dog heard from 0 to 4 s and seen from 2 to 6 s is heard until 2, heard and seen until 4, and seen until 6. The
    score of a piece is the mean of those it comes from, each by its length.

    Args:
        events: In any order; they may overlap, and may hold the derived audio-visual ones or not.

    Returns:
        The pieces by start, end and label; no two of one label overlap.
    """
    by_label: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_label[event.label].append(event)
    pieces: list[Event] = []
    for label, group in by_label.items():
        spans: list[tuple[float, float, str, float]] = []  # start, end, modality, score * length
        for begin, end in pairwise(sorted({time for event in group for time in (event.start, event.end)})):
            around = [event for event in group if event.start <= begin and end <= event.end]
            kinds = {event.modality for event in around}
            if not kinds:
                continue
            modality = "audio-visual" if len(kinds) > 1 else kinds.pop()
            best = [event.score for event in around if event.modality == modality] or [e.score for e in around]
            weight = sum(best) / len(best) * (end - begin)
            if spans and spans[-1][1] == begin and spans[-1][2] == modality:
                first, _, _, before = spans.pop()
                begin, weight = first, before + weight
            spans.append((begin, end, modality, weight))
        pieces += [Event(a, b, label, modality, weight / (b - a)) for a, b, modality, weight in spans]
    return sorted(pieces, key=lambda event: (event.start, event.end, event.label))

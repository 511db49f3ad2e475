"""What a page says of the events of a file: a timeline, a table, and how they were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mediakit.charts import clock, timeline
from mediakit.parsing.events import MODALITIES, Event
from mediakit.parsing.result import ParsingResult

LANES = {"audio": ("heard", "heard"), "visual": ("seen", "seen"), "audio-visual": ("both", "heard and seen at once")}
"""Style in ``page.html`` and meaning of the lane of each modality, from the top."""

_COLUMNS = {"audio": "Heard", "visual": "Seen", "audio-visual": "Heard and seen at once"}
_OPEN = 60  # more events than this are folded away below the timeline

_WINDOW = " and the class reaches 50% over a window around it: "
_FILTERS = {
    "mmcse": f"{_WINDOW}for what is heard, over sound and pictures together, for what is seen, over the pictures",
    "han": f"{_WINDOW}over sound and pictures together",
    "jomold": f"{_WINDOW}for what is heard, over the sound, for what is seen, over the pictures",
    "raw": "",
}


def events_section(result: ParsingResult, title: str, still: bool = False) -> dict[str, Any]:
    """The section as plain values for ``report.html``.

    Args:
        result: What was found.
        title: Heading of the section.
        still: Whether the file is a single picture, in which there are no times.
    """
    events = result.events
    lanes = [name for name in MODALITIES if not set(name.split("-")) & result.absent.keys()]
    found = list(dict.fromkeys(event.label for event in events))  # by their first event
    length = result.duration or 1.0
    return {
        "title": title,
        "lead": _lead(result, found),
        "notes": _notes(result),
        "timeline": None if still or not events else event_timeline(events, found, lanes, length),
        "caption": f"{len(events)} event{'s' if len(events) > 1 else ''} with times and mean probabilities",
        "open": len(events) <= _OPEN,
        "columns": [_COLUMNS[name] for name in lanes],
        "rows": [(readable(label), [_cell(events, label, name, still) for name in lanes]) for label in found],
        "method": _method(result),
    }


def event_timeline(
    events: Sequence[Event], labels: Sequence[str], modalities: Sequence[str], duration: float
) -> dict[str, Any]:
    """A timeline for the macro of ``page.html``: a row for each label, a lane in it for each modality.

    Args:
        events: The events.
        labels: The classes to show, from the top.
        modalities: The modalities to show.
        duration: Seconds that the width stands for.
    """
    lane = {name: number for number, name in enumerate(modalities)}
    rows = []
    for label in labels:
        own = [event for event in events if event.label == label and event.modality in lane]
        bars = [
            (lane[e.modality], e.start, e.end, f"{readable(label)}, {LANES[e.modality][1]}: {_span(e)}, {e.score:.0%}")
            for e in own
        ]
        rows.append((readable(label), bars))
    label = f"Timeline of {len(events)} events of {len(labels)} classes; the table below lists them"
    return timeline(label, rows, [LANES[name] for name in modalities], duration)


def readable(label: str) -> str:
    """A class name for people: the field writes ``Baby_cry_infant_cry``."""
    return label.replace("_", " ")


def _cell(events: Sequence[Event], label: str, modality: str, still: bool) -> list[tuple[str, str]]:
    own = [event for event in events if (event.label, event.modality) == (label, modality)]
    return [("" if still else _span(event), f"{event.score:.0%}") for event in own]


def _span(event: Event) -> str:
    return "–".join(clock(time, 1.0 if float(time).is_integer() else 0.1) for time in (event.start, event.end))


def _lead(result: ParsingResult, found: Sequence[str]) -> str:
    known = len(result.classes)
    if not found:
        return f"None of the {known} classes that the model knows was found."
    told = []
    for label in found:
        kinds = {event.modality for event in result.events if event.label == label}
        only = "" if len(kinds) > 1 or result.absent else " (only heard)" if kinds == {"audio"} else " (only seen)"
        told.append(readable(label) + only)
    return f"Found {len(found)} of the {known} classes that the model knows: {', '.join(told)}."


def _notes(result: ParsingResult) -> list[str]:
    notes = list(result.absent.values())
    if result.synthetic:
        notes.append(
            "The model reads its features from the reference encoders, which were trained on generated media alone: of "
            "a real film, these events are a demonstration, not evidence."
        )
    return notes


def _method(result: ParsingResult) -> list[str]:
    model, spans = result.model, result.windows
    name = f"{model['checkpoint']} ({model['network']})" if "checkpoint" in model else model["network"]
    cards = [f"{card['name']}, weights {card.get('weights', 'unknown')}" for card in result.encoders.values()]
    looked = ""
    if len(spans) > 1:
        size, step = spans[0][1] - spans[0][0], spans[1][0] - spans[0][0]
        looked = f" It looked through {len(spans)} windows of {size} s, one each {step} s."
    return [
        f"Model: {name}; features of each second by {'; '.join(cards)}.{looked} An event lasts as long as its class "
        f"reaches a probability of 50% in each second{_FILTERS[result.protocol]} (protocol “{result.protocol}”).",
        f"Classes that it knows: {', '.join(map(readable, result.classes))}.",
    ]

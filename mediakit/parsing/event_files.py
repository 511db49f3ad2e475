"""Events in files: JSON and CSV for programs, WebVTT for players and annotators.

All three carry times to the millisecond and scores to four decimals.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mediakit.errors import MediaError
from mediakit.io import check_readable, write_text
from mediakit.io.files import StrPath
from mediakit.parsing.events import MODALITIES, Event, exclusive_events

SCHEMA = "mediakit.events/1"
ENDINGS = (".json", ".csv", ".vtt")
"""How files of events end."""

_SAID = {"audio": "heard", "visual": "seen", "audio-visual": "heard and seen"}
_ADVICE = "Give a file that mediakit wrote, or one like it."
_CLOCK = r"(\d+):([0-5]\d):([0-5]\d\.\d{3})"
_CUE = re.compile(rf"\d+ \(score (\d\.\d+)\)\n{_CLOCK} --> {_CLOCK}\n(.+) \(({'|'.join(_SAID.values())})\)")


def check_ending(path: StrPath) -> str:
    """The ending that says how events are written.

    Raises:
        MediaError: It is none of `ENDINGS`.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise MediaError(
            path, f"ends in {ending or 'nothing'}, which is no format of events", f"Take one of {', '.join(ENDINGS)}."
        )
    return ending


def write_events(events: Iterable[Event], path: StrPath, about: Mapping[str, Any] | None = None) -> None:
    """Writes events to a file whose ending says how: ``.json``, ``.csv`` or ``.vtt``.

    - JSON: ``{"schema": "mediakit.events/1", ..., "events": [{"start", "end", "label", "modality", "score"}, ...]}``.
    - CSV: a header line ``start,end,label,modality,score``, then one line each.
    - WebVTT: one cue each, ``Dog (heard and seen)``, as people read it: at each moment a class is told once
      (`.exclusive_events`).

    Args:
        events: The events; they are written in the order given (WebVTT: by time).
        path: The file, written whole or not at all.
        about: Further fields of the JSON, plain values.

    Raises:
        MediaError: The ending is none of these, or the file cannot be written.
        ValueError: An event has no length at this precision, an unknown modality, or a label of several lines.
    """
    ending = check_ending(path)
    rounded = [_rounded(event) for event in events]
    if ending == ".json":
        content = {"schema": SCHEMA, **(about or {}), "events": [event._asdict() for event in rounded]}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    elif ending == ".csv":
        sink = io.StringIO()
        table = csv.writer(sink, lineterminator="\n")
        table.writerows([Event._fields, *rounded])
        text = sink.getvalue()
    else:
        cues = (
            f"{number} (score {event.score:.4f})\n{_clock(event.start)} --> {_clock(event.end)}\n"
            f"{html.escape(event.label, quote=False)} ({_SAID[event.modality]})\n"
            for number, event in enumerate(exclusive_events(rounded), 1)
        )
        text = "\n".join(["WEBVTT\n", *cues])
    write_text(path, text)


def _rounded(event: Event) -> Event:
    event = event._replace(start=round(event.start, 3), end=round(event.end, 3), score=round(event.score, 4))
    if not 0 <= event.start < event.end < math.inf or not 0 <= event.score <= 1:
        raise ValueError(f"{event}: start, end and score must be 0 <= start < end and 0 <= score <= 1")
    if event.modality not in MODALITIES:
        raise ValueError(f"{event}: modality must be one of {', '.join(MODALITIES)}")
    if event.label != event.label.strip() or len(event.label.splitlines()) != 1:
        raise ValueError(f"{event}: a label must be one line of text without space around it")
    return event


def _clock(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{milliseconds:03d}"


def read_events(path: StrPath) -> list[Event]:
    """Reads what `write_events` wrote, or a file of the same form.

    From WebVTT come the pieces that people read; `.events_to_segments` makes the same matrices of them.

    Raises:
        MediaError: The file is missing or not of this form; the message names the event that is wrong.
    """
    readers: dict[str, Callable[[str, StrPath], list[Event]]] = {".json": _from_json, ".csv": _from_csv}
    reader = readers.get(check_ending(path), _from_vtt)
    try:
        text = check_readable(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError(path, "is not text in UTF-8", _ADVICE) from error
    return reader(text, path)


def _from_json(text: str, path: StrPath) -> list[Event]:
    try:
        content = json.loads(text)
        rows = content["events"] if content["schema"] == SCHEMA else None
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(path, f"is no JSON of the schema {SCHEMA}", _ADVICE) from error
    if not isinstance(rows, list):
        raise MediaError(path, f"is no JSON of the schema {SCHEMA}", _ADVICE)
    return [_event(row, f"event {number}", path) for number, row in enumerate(rows, 1)]


def _from_csv(text: str, path: StrPath) -> list[Event]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if set(table.fieldnames or ()) < set(Event._fields):
        raise MediaError(path, f"lacks the header line {','.join(Event._fields)}", _ADVICE)
    try:
        return [_event(row, f"line {table.line_num}", path) for row in table]
    except csv.Error as error:
        raise MediaError(path, f"line {table.line_num} is no CSV ({error})", _ADVICE) from error


def _from_vtt(text: str, path: StrPath) -> list[Event]:
    head, *blocks = re.split(r"\n{2,}", text.replace("\r\n", "\n").strip("\n"))
    if not head.startswith("WEBVTT"):
        raise MediaError(path, "does not begin with WEBVTT", _ADVICE)
    events = []
    for number, block in enumerate(blocks, 1):
        found = _CUE.fullmatch(block)
        if found is None:
            raise MediaError(path, f"cue {number} does not read like an event: {block[:60]!r}", _ADVICE)
        score, *clocks, label, said = found.groups()
        start, end = (int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in (clocks[:3], clocks[3:]))
        modality = next(name for name, word in _SAID.items() if word == said)
        row = {"start": start, "end": end, "label": html.unescape(label), "modality": modality, "score": score}
        events.append(_event(row, f"cue {number}", path))
    return events


def _event(row: Mapping[str, Any], place: str, path: StrPath) -> Event:
    try:
        values = {name: float(row[name]) for name in ("start", "end", "score")}
        return _rounded(Event(label=str(row["label"]), modality=str(row["modality"]), **values))
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(path, f"{place} is no event ({error})", _ADVICE) from error

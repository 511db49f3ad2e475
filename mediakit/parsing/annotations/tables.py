"""Labels of videos: which classes they have (weak), and which of them are heard and seen when (dense).

The tables of Look, Listen and Parse (LLP, Tian et al., ECCV 2020) as they circulate, and plain tables of the same form:
``filename, event_labels`` and ``filename, onset, offset, event_labels``. A damaged row becomes a `.Finding` that names
file and line; a class that does not exist is an error, because the labels would silently be others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mediakit.errors import MediaError
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.classes import CLASS_LISTS as CLASS_LISTS
from mediakit.parsing.annotations.classes import class_names as class_names
from mediakit.parsing.annotations.classes import nearest_class
from mediakit.parsing.annotations.delimited import Finding as Finding
from mediakit.parsing.annotations.delimited import read_rows

Split = Literal["train", "val", "test"]
LONGEST = 86_400.0
"""Seconds beyond which a time is taken for something else, such as milliseconds: a day."""
_LLP_FILES = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}


@dataclass(frozen=True, eq=False)
class Annotations:
    """Labels of N videos over K classes.

    Attributes:
        source: What they are, for the score to say: ``"LLP test, events of 2020"``.
        classes: Names of the classes, in the order of the columns.
        ids: N names of videos.
        labels: uint8 (N, K), 1 where a video has a class (weak labels).
        audio: uint8 (N, T, K), 1 in each second in which a class is heard; None where nobody has said. T is that of the
            longest video; beyond a video's own seconds all is 0.
        visual: The same of what is seen.
        findings: What was wrong in the files, in their order.
        seconds: int64 (N,), seconds of each video; None where there is no dense truth.
    """

    source: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: Tensor
    audio: Tensor | None
    visual: Tensor | None
    findings: tuple[Finding, ...]
    seconds: Tensor | None = None


class Occurrence(NamedTuple):
    """One row of a table of events: where it stands, and which class is on from when to when, in seconds."""

    line: int
    id: str
    onset: float
    offset: float
    label: int


def read_llp(
    folder: StrPath, split: Split, version: Literal["2020", "2024"] = "2020", segments: int = 10
) -> Annotations:
    """Reads the annotation files of LLP.

    What is wrong in them is treated as the authors' evaluation treats it, so that scores compare: rows whose name is no
    video of the split are never looked up, events that last no second or end before they begin cover none, and seconds
    that are named twice count once.

    Args:
        folder: Holds ``AVVP_train.csv``, ``AVVP_val_pd.csv``, ``AVVP_test_pd.csv``, ``AVVP_eval_audio.csv`` and
            ``AVVP_eval_visual.csv``; for version 2024 also ``2024/AVVP_eval_audio.csv``.
        split: ``"train"`` (10,000 videos, weak labels only), ``"val"`` (649) or ``"test"`` (1,200).
        version: Which audio events: those in circulation since 2020, or those mended upstream in 2024 (three rows, two
            test videos).
        segments: Seconds of a video, T.

    Raises:
        MediaError: A file is missing or unreadable, or names a class that LLP does not have.
        ValueError: There is no such split or version.
    """
    folder = Path(folder)
    if split not in _LLP_FILES or version not in ("2020", "2024"):
        raise ValueError(f"LLP has splits {', '.join(_LLP_FILES)} and versions 2020, 2024; got {split!r}, {version!r}")
    classes = CLASS_LISTS["llp"]
    tables = {name: read_weak(folder / file, classes) for name, file in _LLP_FILES.items()}
    lines, labels, findings = tables[split]
    ids = tuple(lines)
    others = {id: name for name, table in tables.items() if name != split for id in table[0]}
    findings += shared_ids(folder / _LLP_FILES[split], split, lines, others)
    if split == "train":
        return Annotations("LLP train", classes, ids, labels, None, None, tuple(findings))
    seconds = torch.full((len(ids),), segments)
    audio_file = folder / ("2024/AVVP_eval_audio.csv" if version == "2024" else "AVVP_eval_audio.csv")
    truth = []
    for file in (audio_file, folder / "AVVP_eval_visual.csv"):
        events, problems = read_events(file, classes, whole=True)
        dense, more = paint(file, events, ids, seconds, classes, others)
        truth.append(dense)
        findings += sorted(problems + more, key=lambda finding: finding.line)
    source = f"LLP {split}, events of {version}"
    return Annotations(source, classes, ids, labels, truth[0], truth[1], tuple(findings), seconds)


def read_folder(folder: StrPath, classes: str | Sequence[str], segments: int | None = None) -> Annotations:
    """Reads plain tables, as ``mediakit generate events`` writes them and as one writes them for one's own videos.

    ``weak.csv`` (filename, event_labels) lists the videos and their classes, several with commas between them.
    ``audio.csv`` and ``visual.csv`` (filename, onset, offset, event_labels) say when they are heard and seen, in
    seconds, the offset excluded; both or neither are there. Tabs, semicolons or commas separate the columns. Times may
    have fractions: see `covered`.

    Args:
        folder: Holds the tables.
        classes: Key of `.CLASS_LISTS`, or the names.
        segments: Seconds of each video; None takes them as long as their last event says, at least 1.

    Raises:
        MediaError: A table is missing, unreadable or holds no video, or names an unknown class.
    """
    folder, names = Path(folder), class_names(classes)
    lines, labels, findings = read_weak(folder / "weak.csv", names)
    ids = tuple(lines)
    files = [folder / "audio.csv", folder / "visual.csv"]
    there = [file for file in files if file.exists()]
    if not there:
        return Annotations(str(folder), names, ids, labels, None, None, tuple(findings))
    if len(there) == 1:
        raise MediaError(
            folder,
            f"holds {there[0].name} alone",
            "Dense truth needs audio.csv and visual.csv; one with a header line only says that nothing is there.",
        )
    tables = [read_events(file, names) for file in files]
    seconds = torch.full((len(ids),), segments or 1)
    if segments is None:
        row = {id: n for n, id in enumerate(ids)}
        for event in (event for events, _ in tables for event in events if event.id in row):
            n = row[event.id]
            seconds[n] = max(int(seconds[n]), math.ceil(event.offset), math.ceil(event.onset))
    truth = []
    for file, (events, problems) in zip(files, tables, strict=True):
        dense, more = paint(file, events, ids, seconds, names, {})
        truth.append(dense)
        findings += sorted(problems + more, key=lambda finding: finding.line)
    return Annotations(str(folder), names, ids, labels, truth[0], truth[1], tuple(findings), seconds)


def read_weak(path: Path, classes: Sequence[str]) -> tuple[dict[str, int], Tensor, list[Finding]]:
    """Reads a table of videos and their classes.

    Returns:
        N ids with the lines they stand in, uint8 (N, K) labels, and what was wrong.

    Raises:
        MediaError: The table is unreadable or holds no video, or names an unknown class.
    """
    rows, findings = read_rows(path, ("filename", "event_labels"))
    column = {name: k for k, name in enumerate(classes)}
    known: dict[str, tuple[int, set[int]]] = {}
    for line, (id, field) in rows:
        if not id:
            findings.append(Finding(str(path), line, "no filename", "row left out"))
            continue
        if id in known:
            findings.append(
                Finding(str(path), line, f"lists {id} again (line {known[id][0]})", "labels of both rows taken")
            )
        labels = known.setdefault(id, (line, set()))[1]
        named = _split_labels(path, line, field, column)
        if len(set(named)) < len(named):
            twice = next(classes[k] for k in named if named.count(k) > 1)
            findings.append(Finding(str(path), line, f"names {twice} twice", "counted once"))
        if not named:
            findings.append(Finding(str(path), line, f"gives {id} no class", "kept, without labels"))
        labels.update(named)
    if not known:
        raise MediaError(path, "lists no video", "It needs rows of filename and event_labels.")
    labels_of = torch.zeros(len(known), len(classes), dtype=torch.uint8)
    for n, (_, columns) in enumerate(known.values()):
        labels_of[n, sorted(columns)] = 1
    return {id: line for id, (line, _) in known.items()}, labels_of, sorted(findings, key=lambda finding: finding.line)


def read_events(path: Path, classes: Sequence[str], *, whole: bool = False) -> tuple[list[Occurrence], list[Finding]]:
    """Reads a table of events.

    Args:
        path: The table.
        classes: Names of the classes.
        whole: Whether times that are no whole seconds are damage.

    Returns:
        Events in the order of the file, and a finding for each row whose times are no times, which is left out.

    Raises:
        MediaError: The table is unreadable, or names an unknown class.
    """
    rows, findings = read_rows(path, ("filename", "onset", "offset", "event_labels"))
    column = {name: k for k, name in enumerate(classes)}
    events = []
    for line, (id, onset, offset, field) in rows:
        labels = _split_labels(path, line, field, column)
        try:
            start, end = float(onset), float(offset)
            if not (abs(start) <= LONGEST and abs(end) <= LONGEST) or (whole and (start % 1 or end % 1)):
                raise ValueError
        except ValueError:
            kind = "whole seconds" if whole else "seconds"
            findings.append(Finding(str(path), line, f"times {onset!r}, {offset!r} are no {kind}", "row left out"))
            continue
        if not labels:
            findings.append(Finding(str(path), line, "names no class", "row left out"))
        events += [Occurrence(line, id, start, end, k) for k in labels]
    return events, findings


def covered(onset: float, offset: float) -> range:
    """The seconds that count as covered by an event: those whose middle lies in it.

    Of an event of whole seconds that is each from ``onset`` to ``offset - 1``. One too short to hold such a middle
    covers the second of its own, so that no event is lost; one that ends where it begins or before covers none.
    """
    if offset <= onset:
        return range(0)
    found = range(math.ceil(onset - 0.5), math.ceil(offset - 0.5))
    middle = math.floor((onset + offset) / 2)
    return found or range(middle, middle + 1)


def paint(
    path: Path,
    events: Iterable[Occurrence],
    ids: Sequence[str],
    seconds: Tensor,
    classes: Sequence[str],
    others: Mapping[str, str],
) -> tuple[Tensor, list[Finding]]:
    """Turns events into a matrix of seconds and classes.

    Args:
        path: The table they come from, for the findings.
        events: Rows of it.
        ids: N names of videos.
        seconds: int64 (N,), seconds of each.
        classes: K names.
        others: Splits of other videos. Rows about those of the val and test splits are passed over without a word, as
            one table holds both.

    Returns:
        uint8 (N, T, K), T the greatest of ``seconds``; and what was wrong with the events of these videos, and with
        those of no video at all.
    """
    truth = torch.zeros(len(ids), int(seconds.max()), len(classes), dtype=torch.uint8)
    row = {id: n for n, id in enumerate(ids)}
    findings: list[Finding] = []
    earlier: dict[tuple[str, int], list[Occurrence]] = {}

    def note(problem: str, done: str) -> None:
        findings.append(Finding(str(path), event.line, problem, done))

    for event in events:
        if event.id not in row and others.get(event.id) in ("val", "test"):
            continue
        what = f"{classes[event.label]} of {event.id}, {event.onset:g} to {event.offset:g}"
        if event.offset == event.onset:
            note(f"{what}, lasts no second", "covers none")
        elif event.offset < event.onset:
            note(f"{what}, ends before it begins", "covers no second")
        if event.id not in row:
            note(_unknown_video(event.id, classes, row, others), "row left out")
            continue
        last = int(seconds[row[event.id]])
        on = covered(event.onset, event.offset)
        if on and (on.start < 0 or on.stop > last):
            note(f"{what}, leaves the video, which has {last} seconds", "what is inside counts")
            on = range(max(on.start, 0), max(min(on.stop, last), 0))
        alike = earlier.setdefault((event.id, event.label), [])
        if again := [other for other in alike if set(on) & set(covered(other.onset, other.offset))]:
            spans = " and ".join(f"{other.onset:g} to {other.offset:g} (line {other.line})" for other in again)
            note(f"{what}, overlaps with {spans}", "each second counts once")
        if on:
            alike.append(event)
            truth[row[event.id], on.start : on.stop, event.label] = 1
    return truth, findings


def shared_ids(path: Path, split: str, lines: Mapping[str, int], others: Mapping[str, str]) -> list[Finding]:
    """A finding for each video of a split, by the line it stands in, that another split has, too."""
    return [
        Finding(str(path), line, f"{id} is in the {others[id]} split, too", "kept in both, which are not independent")
        for id, line in lines.items()
        if id in others
    ]


def _split_labels(path: Path, line: int, field: str, column: Mapping[str, int]) -> list[int]:
    """Columns of the classes in a field; names may hold commas themselves ("Baby cry, infant cry")."""
    found: list[int] = []
    parts = field.split(",")
    while parts:
        joined = (",".join(parts[:size]).strip() for size in range(len(parts), 0, -1))
        name = next((name for name in joined if name in column), parts[0].strip())
        if name in column:
            found.append(column[name])
        elif name:
            hint = nearest_class(name, list(column))
            advice = f"Is it {hint}?" if hint else f"The {len(column)} classes begin with {', '.join([*column][:3])}."
            raise MediaError(path, f"line {line} names the unknown class {name!r}", advice)
        parts = parts[name.count(",") + 1 :]
    return found


def _unknown_video(id: str, classes: Sequence[str], row: Mapping[str, int], others: Mapping[str, str]) -> str:
    """Why a row is about no video that has events."""
    if id in others:
        return f"{id} is in the {others[id]} split, which has no events"
    if id in classes:
        return f"the class {id} stands where a video belongs"
    plain = re.sub(r"[^\w.-]", "", id)
    known = plain != id and (plain in row or plain in others)
    return f"{id} is {plain} with a stray character" if known else f"{id} is in no table of videos"

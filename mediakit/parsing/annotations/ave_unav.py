"""Labels of AVE and UnAV-100, whose events are audio-visual: what is heard is seen, so both truths are one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mediakit.errors import MediaError
from mediakit.io import read_text
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.classes import CLASS_LISTS, nearest_class
from mediakit.parsing.annotations.delimited import Finding
from mediakit.parsing.annotations.tables import Annotations, Occurrence, Split, paint, shared_ids

_AVE_FILES = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
_UNAV_SUBSETS = {"train": "train", "val": "validation", "test": "test"}


def read_ave(folder: StrPath, split: Split, segments: int = 10) -> Annotations:
    """Reads the annotation files of AVE (Tian et al., ECCV 2018).

    A row is ``Category&VideoID&Quality&StartTime&EndTime``, whole seconds, the end excluded. A video of several
    events has several rows.

    Args:
        folder: Holds ``trainSet.txt``, ``valSet.txt`` and ``testSet.txt``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        segments: Seconds of a video, T.

    Raises:
        MediaError: The file is missing or unreadable, or names a class that AVE does not have.
        ValueError: There is no such split.
    """
    _check_split(split)
    classes = CLASS_LISTS["ave"]
    path = Path(folder, _AVE_FILES[split])
    events, findings = _read_ave_rows(path, classes)
    others = {
        event.id: name
        for name, file in _AVE_FILES.items()
        if name != split and Path(folder, file).exists()
        for event in _read_ave_rows(Path(folder, file), classes)[0]
    }
    return _annotations(f"AVE {split}", path, events, {event.id: segments for event in events}, findings, others, split)


def read_unav(folder: StrPath, split: Split) -> Annotations:
    """Reads the annotations of UnAV-100 (Geng et al., CVPR 2023): videos of up to a minute, times with fractions.

    A video has ``max(1, ceil(duration - 0.05))`` seconds, as many as ``mediakit extract`` makes features for; which of
    them an event covers says `.covered`.

    Args:
        folder: Holds ``unav100_annotations.json``; or that file.
        split: ``"train"``, ``"val"`` (called validation in the file) or ``"test"``.

    Raises:
        MediaError: The file is missing or unreadable, or names a class that UnAV-100 does not have.
        ValueError: There is no such split.
    """
    _check_split(split)
    classes = CLASS_LISTS["unav"]
    path = Path(folder) if Path(folder).is_file() else Path(folder, "unav100_annotations.json")
    text = read_text(path)
    findings: list[Finding] = []

    def line_of(id: str) -> int:
        return text.count("\n", 0, max(text.find(json.dumps(id)), 0)) + 1

    def note(id: str, problem: str, done: str) -> None:
        findings.append(Finding(str(path), line_of(id), f"{id} {problem}", done))

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            for name in {name for name in names if names.count(name) > 1}:
                note(name, "comes twice", "the last one taken")
        return found

    try:
        database = json.loads(text, object_pairs_hook=once)["database"]
        videos = {id: video for id, video in database.items() if video["subset"] == _UNAV_SUBSETS[split]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MediaError(path, f"is not the annotations of UnAV-100 ({error})", "Fetch it again.") from error
    column = {name: k for k, name in enumerate(classes)}
    seconds: dict[str, int] = {}
    events: list[Occurrence] = []
    for id, video in videos.items():
        try:
            seconds[id] = max(1, math.ceil(float(video["duration"]) - 0.05))
            parsed = []
            for row in video["annotations"]:
                start, end = map(float, row["segment"])
                label = _column(path, id, str(row["label"]), column)
                parsed.append(Occurrence(line_of(id), id, start, end, label))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            seconds.pop(id, None)
            note(id, f"has damaged annotations ({error})", "video left out")
            continue
        if not parsed:
            note(id, "has no event", "kept, without labels")
        events += parsed
    return _annotations(f"UnAV-100 {split}", path, events, seconds, findings, {}, split)


def _read_ave_rows(path: Path, classes: Sequence[str]) -> tuple[list[Occurrence], list[Finding]]:
    column = {name: k for k, name in enumerate(classes)}
    events: list[Occurrence] = []
    findings: list[Finding] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        values = line.strip().split("&")
        if values in ([""], ["Category", "VideoID", "Quality", "StartTime", "EndTime"]):
            continue
        if len(values) != 5:
            findings.append(Finding(str(path), number, f"{len(values)} fields where 5 belong", "row left out"))
            continue
        name, id, _, start, end = values
        label = _column(path, f"line {number}", name, column)
        try:
            events.append(Occurrence(number, id, int(start), int(end), label))
        except ValueError:
            findings.append(
                Finding(str(path), number, f"times {start!r}, {end!r} are no whole seconds", "row left out")
            )
    return events, findings


def _annotations(
    source: str,
    path: Path,
    events: Sequence[Occurrence],
    seconds: dict[str, int],
    findings: list[Finding],
    others: dict[str, str],
    split: str,
) -> Annotations:
    if not seconds:
        raise MediaError(path, f"holds no video of the {split} split", "Name the folder of the whole data set.")
    classes = CLASS_LISTS["ave" if source.startswith("AVE") else "unav"]
    ids = tuple(seconds)
    lengths = torch.tensor([*seconds.values()])
    truth, more = paint(path, events, ids, lengths, classes, {})
    labels = torch.zeros(len(ids), len(classes), dtype=torch.uint8)
    row = {id: n for n, id in enumerate(ids)}
    for event in events:
        labels[row[event.id], event.label] = 1
    lines = {event.id: event.line for event in reversed(events)}
    shared = shared_ids(path, split, lines, others)
    found = sorted([*shared, *findings, *more], key=lambda finding: finding.line)
    return Annotations(source, classes, ids, labels, truth, truth, tuple(found), lengths)


def _column(path: Path, where: str, name: str, column: dict[str, int]) -> int:
    if name not in column:
        hint = nearest_class(name, list(column))
        raise MediaError(path, f"{where} names the unknown class {name!r}", f"Is it {hint}?" if hint else "")
    return column[name]


def _check_split(split: str) -> None:
    if split not in _AVE_FILES:
        raise ValueError(f"split must be train, val or test, got {split!r}")

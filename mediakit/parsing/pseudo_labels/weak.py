"""The weak labels of videos from whatever table or folder there is, and which video has which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from mediakit.errors import MediakitError
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.labels import DEFAULT_CLASSES, find_format, read_labels, splits_of
from mediakit.parsing.annotations.tables import CLASS_LISTS, Finding, class_names, read_weak


def weak_labels(
    labels: StrPath, classes: str | Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], tuple[Finding, ...]]:
    """Reads the weak labels of all splits there are.

    Args:
        labels: A table ``filename, event_labels``, or a folder as `.read_labels` knows them.
        classes: Key of `.CLASS_LISTS`, alone or as the only name, or the names; None for those of the labels' format
            (of a table: LLP's).

    Returns:
        Names of the classes; names of the classes that a video has, by the name of its row; what is wrong in the table.

    Raises:
        MediakitError: The labels cannot be read, name unknown classes, or come with another class list.
    """
    path = Path(labels)
    if classes is not None and len(classes) == 1 and classes[0] in CLASS_LISTS:
        classes = classes[0]
    if not path.is_dir():
        names = class_names("llp" if classes is None else classes)
        ids, found, findings = read_weak(path, names)
        return names, _named(ids, found, names), tuple(findings)
    format = find_format(path)
    names = class_names(DEFAULT_CLASSES[format] if classes is None else classes)
    weak: dict[str, tuple[str, ...]] = {}
    try:
        for split in splits_of(path, format):
            known = read_labels(path, format, split, classes=names)
            weak |= _named(known.ids, known.labels, names)
    except ValueError as error:
        raise MediakitError(f"{path}: {error}.") from error
    return names, weak, ()


def _named(ids: Iterable[str], labels: Tensor, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {
        id: tuple(name for name, has in zip(names, row, strict=True) if has)
        for id, row in zip(ids, labels.tolist(), strict=True)
    }


def match_rows(ids: Iterable[str], rows: Iterable[str]) -> dict[str, str]:
    """Finds the row of labels that each video belongs to.

    Args:
        ids: Videos, by their path without ending.
        rows: Names of the rows.

    Returns:
        Row by video: that of its name or, for a video called by 11 characters, the only one ``<those>_<start>_<end>``.
    """
    whole = {*rows}
    short: dict[str, list[str]] = {}
    for row in whole:
        if re.fullmatch(r".{11}_[\d.]+_[\d.]+", row):
            short.setdefault(row[:11], []).append(row)
    found = {id: [id] if id in whole else short.get(id, []) for id in ids}
    return {id: names[0] for id, names in found.items() if len(names) == 1}

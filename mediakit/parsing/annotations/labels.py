"""Labels of any known format by name, what was wrong in them, and what they hold: ``mediakit check-labels``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from mediakit.errors import MediaError, MediakitError
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.ave_unav import read_ave, read_unav
from mediakit.parsing.annotations.classes import CLASS_LISTS, class_names
from mediakit.parsing.annotations.delimited import Finding
from mediakit.parsing.annotations.tables import Annotations, Split, read_folder, read_llp, read_weak, shared_ids

Format = Literal["llp", "folder", "ave", "unav"]
DEFAULT_CLASSES = {"llp": "llp", "folder": "events", "ave": "ave", "unav": "unav"}
"""Key of the class list that a format comes with; for plain tables that of generated clips."""


def read_labels(
    folder: StrPath,
    format: Format,
    split: Split,
    version: Literal["2020", "2024"] = "2020",
    classes: str | Sequence[str] | None = None,
) -> Annotations:
    """Reads the labels of one split.

    Args:
        folder: Holds the files of the data set; with format ``"folder"`` a sub-folder of plain tables for each split
            (``train/weak.csv``), or the tables themselves, which are then the test split.
        format: ``"llp"``, ``"folder"`` (plain tables, see `.read_folder`), ``"ave"`` or ``"unav"``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        version: Of LLP's events, see `.read_llp`.
        classes: Key of `.CLASS_LISTS` or the names; None for those of the format. Only plain tables may have others.

    Raises:
        MediaError: Files are missing or unreadable, or name an unknown class.
        ValueError: There is no such format, split or version, or its classes are fixed.
    """
    if format not in get_args(Format):
        raise ValueError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    names = class_names(DEFAULT_CLASSES[format] if classes is None else classes)
    if format != "folder" and names != class_names(DEFAULT_CLASSES[format]):
        raise ValueError(f"the classes of {format} are fixed: leave them out")
    if format == "llp":
        return read_llp(folder, split, version)
    if format == "ave":
        return read_ave(folder, split)
    return read_unav(folder, split) if format == "unav" else _read_plain(Path(folder), split, names)


def find_format(folder: StrPath) -> Format:
    """The format of the labels in a folder, by the names of its files."""
    signs: dict[Format, str] = {"llp": "AVVP_train.csv", "ave": "trainSet.txt", "unav": "unav100_annotations.json"}
    return next((name for name, file in signs.items() if Path(folder, file).exists()), "folder")


def splits_of(folder: StrPath, format: Format) -> tuple[Split, ...]:
    """The splits that a folder of labels has."""
    if format != "folder":
        return get_args(Split)
    found = tuple(split for split in get_args(Split) if Path(folder, split).is_dir())
    return found or ("test",)


def check_labels(
    folder: StrPath,
    format: Format | None = None,
    version: Literal["2020", "2024"] = "2020",
    classes: Sequence[str] | None = None,
) -> str:
    """Reads all splits of a folder of labels, and says what is wrong in them and what they hold.

    Args:
        folder: The labels.
        format: See `read_labels`; None for what the names of the files say.
        version: Of LLP's events.
        classes: Names of the classes of plain tables, or the key of a list alone.

    Returns:
        Findings, each once, then counts.

    Raises:
        MediaError: The labels cannot be read, or name an unknown class.
        MediakitError: The classes cannot be used.
    """
    kind = format or find_format(folder)
    names = classes[0] if classes and len(classes) == 1 and classes[0] in CLASS_LISTS else classes
    try:
        splits = {split: read_labels(folder, kind, split, version, names) for split in splits_of(folder, kind)}
    except ValueError as error:
        raise MediakitError(f"{folder}: {error}.") from error
    found = sorted({finding for known in splits.values() for finding in known.findings})
    events = f", audio events of {version}" if kind == "llp" else ""
    title = f"{folder}: {_count(len(found), 'finding')} ({kind}{events})"
    return "\n".join([title, *map(_line, found), "", labels_report(splits)])


def findings_report(annotations: Annotations, limit: int | None = None) -> str:
    """What was wrong in the files of labels, one finding a line: file, line, problem, and what was done.

    Args:
        annotations: Labels as read.
        limit: Findings to list at most.
    """
    found = annotations.findings
    lines = [f"{annotations.source}: {_count(len(annotations.ids), 'video')}, {_count(len(found), 'finding')}"]
    lines += map(_line, found[:limit])
    if limit is not None and len(found) > limit:
        lines.append(f"and {len(found) - limit} more")
    return "\n".join(lines)


def labels_report(splits: Mapping[Split, Annotations]) -> str:
    """What the labels hold: videos and classes of each split; events, seconds and overlap of each class.

    Events are runs of seconds. Those of the splits that have dense truth are counted together.

    Args:
        splits: Annotations over the same classes, by the split's name.
    """
    lines = [f"{'split':<10}{'videos':>9}{'classes a video':>17}  dense truth"]
    for name, found in splits.items():
        each = f"{found.labels.sum().item() / len(found.ids):.2f}"
        lines.append(f"{name:<10}{len(found.ids):>9}{each:>17}  {_consistency(found)}")
    classes = next(iter(splits.values())).classes
    width = max(map(len, classes)) + 1
    heads = ("heard", "seen", "s heard", "s seen", "s both", "both/either")
    lines += ["", f"{'class':<{width}}" + "".join(f"{head:>12}" for head in (*splits, *heads))]
    videos = {name: found.labels.sum(0) for name, found in splits.items()}
    for k, label in enumerate(classes):
        dense = [
            (found.audio[..., k].bool(), found.visual[..., k].bool())
            for found in splits.values()
            if found.audio is not None and found.visual is not None
        ]
        values = [str(int(count[k])) for count in videos.values()]
        if dense:
            both, either = sum(int((a & v).sum()) for a, v in dense), sum(int((a | v).sum()) for a, v in dense)
            values += [str(sum(_runs(pair[m]) for pair in dense)) for m in (0, 1)]
            values += [str(sum(int(pair[m].sum()) for pair in dense)) for m in (0, 1)]
            values += [str(both), f"{both / either:.0%}" if either else "-"]
        else:
            values += ["-"] * len(heads)
        lines.append(f"{label:<{width}}" + "".join(f"{value:>12}" for value in values))
    return "\n".join(lines)


def _read_plain(folder: Path, split: Split, names: Sequence[str]) -> Annotations:
    splits = [name for name in get_args(Split) if (folder / name).is_dir()]
    if not splits and split == "test":
        return read_folder(folder, names)
    if split not in splits:
        raise MediaError(folder / split, "does not exist", "Each split needs a folder of its own, with weak.csv in it.")
    found = read_folder(folder / split, names)
    tables = {other: folder / other / "weak.csv" for other in splits}
    others = {
        id: other
        for other, table in tables.items()
        if other != split and table.exists()
        for id in read_weak(table, names)[0]
    }
    shared = shared_ids(tables[split], split, read_weak(tables[split], names)[0], others)
    return replace(found, source=f"{folder.name} {split}", findings=(*shared, *found.findings))


def _consistency(found: Annotations) -> str:
    """How dense truth and weak labels go together."""
    if found.audio is None or found.visual is None:
        return "none"
    dense = (found.audio | found.visual).any(1)
    missing, extra = (found.labels.bool() & ~dense).sum(), (dense & ~found.labels.bool()).sum()
    return f"{int(extra)} labels that the weak ones lack; lacks {int(missing)} of them"


def _runs(seconds: Tensor) -> int:
    """Runs of ones in (N, T)."""
    return int((seconds[:, 1:] & ~seconds[:, :-1]).sum() + seconds[:, 0].sum())


def _line(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}: {finding.problem}: {finding.done}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")

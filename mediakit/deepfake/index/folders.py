"""Plain folders ``real`` and ``fake``, and what ``mediakit generate heads`` writes."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

from mediakit.deepfake.index.records import VideoRecord, check_root, find_videos, group_records, some, wrong_layout
from mediakit.errors import MediaError
from mediakit.io import check_readable
from mediakit.io.files import StrPath

_LABELS = {"real": 0, "fake": 1}
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LEVEL = re.compile(r"raw|c(?:rf)?\d+")
_HEAD = re.compile(r"(heads-(?:train|val|test)-\d+-\d+)-(\w+)")  # as generated: recording and kind
_COLUMNS = ("clip", "label", "kind", "person", "recording", "split")


def scan_folder(
    root: StrPath, *, official: bool = True, person: str | None = None, partial: bool = False
) -> list[VideoRecord]:
    r"""Indexes videos (or face tracks) that lie in folders ``real`` and ``fake``.

    Above or below those, folders ``train``, ``val``, ``test`` give the split and folders such as ``c23``, ``crf40`` or
    ``raw`` the compression; any other folder below ``fake`` or ``real`` names the method. Files of one name, wherever
    they lie, count as one recording and one person, unless ``person`` tells more.

    Where ``mediakit generate heads`` has written (``labels.csv`` beside ``videos``, here or one folder down), its table
    gives label, kind, person and split, and a blended face joins its two persons.

    Args:
        root: The folder.
        official: Take the splits of folders or tables; else the split of each video is None.
        person: Regular expression that finds the persons in a file's name, for instance ``id\d+``; with groups, what
            is in them.
        partial: Warn where clips of ``labels.csv`` are missing, instead of failing.

    Raises:
        MediaError: No videos are there; one lies in neither ``real`` nor ``fake``, or in both; a table is damaged, has
            an unknown label or split, or names a clip that is not there.
        MediakitError: Two files of one name and place differ by their ending only.
        ValueError: ``person`` is no regular expression.
    """
    root = check_root(root)
    try:
        pattern = None if person is None else re.compile(person)
    except re.error as error:
        raise ValueError(f"person must be a regular expression, got {person!r} ({error})") from error
    tables = [table for table in (root / "labels.csv", *sorted(root.glob("*/labels.csv"))) if _generated(table)]
    if tables:
        records = [record for table in tables for record in _clips(root, table, official, partial)]
    else:
        records = _plain(root, official, pattern)
    return group_records(records)


def _plain(root: Path, official: bool, person: re.Pattern[str] | None) -> list[VideoRecord]:
    records: list[VideoRecord] = []
    astray: list[str] = []
    for path in find_videos(root):
        place = path.relative_to(root)
        folders = place.parts[:-1]
        labels = [n for n, folder in enumerate(folders) if folder.lower() in _LABELS]
        if len(labels) != 1:
            astray.append(place.as_posix())
            continue
        splits = {_SPLITS[f.lower()] for f in folders if f.lower() in _SPLITS}
        if len(splits) > 1:
            raise MediaError(path, f"lies in folders of {len(splits)} splits ({some(sorted(splits))})", "Move it.")
        levels = [f for f in folders if _LEVEL.fullmatch(f.lower())]
        below = [f for f in folders[labels[0] + 1 :] if f not in levels and f.lower() not in _SPLITS]
        name = path.stem
        method = "/".join(below) or folders[labels[0]].lower()
        if head := _HEAD.fullmatch(name):
            name, method = head.groups()
        persons = {p for m in person.finditer(path.stem) for p in m.groups() or (m[0],) if p} if person else set()
        records.append(
            VideoRecord(
                place.with_suffix("").as_posix(),
                path,
                _LABELS[folders[labels[0]].lower()],
                next(iter(splits), None) if official else None,
                "folder",
                method,
                levels[-1].lower() if levels else "",
                "",
                tuple(sorted(persons)) or (name,),
            )
        )
    if not records:
        raise wrong_layout(root, "a folder of real and fake videos", "real/*.mp4 and fake/*.mp4")
    if astray:
        raise MediaError(
            root,
            f"has no label for {len(astray)} of its videos ({some(astray)}): in neither or both of real/ and fake/",
            "Move them into one of these.",
        )
    return records


def _generated(table: Path) -> bool:
    if not table.is_file():
        return False
    with check_readable(table).open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().strip().split(",") == [*_COLUMNS]


def _clips(root: Path, table: Path, official: bool, partial: bool) -> list[VideoRecord]:
    records, missing = [], []
    with table.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            if row["label"] not in _LABELS or row["split"] not in _SPLITS or not row["clip"]:
                raise MediaError(
                    table,
                    f"line {number} has the unknown label {row['label']!r} or split {row['split']!r}",
                    "Generate the clips again.",
                )
            names = [table.parent / place / f"{row['clip']}{end}" for place in ("videos", "") for end in _ENDINGS]
            path = next((name for name in names if name.is_file()), None)
            if path is None:
                missing.append(row["clip"])
                continue
            persons = (row["person"], *_donor(table.parent, row))
            id = path.relative_to(root).as_posix().removesuffix(path.suffix)
            split = row["split"] if official else None
            records.append(VideoRecord(id, path, _LABELS[row["label"]], split, "folder", row["kind"], "", "", persons))
    if missing:
        problem = f"lacks {len(missing)} of the clips that it names ({some(missing)})"
        if not partial:
            raise MediaError(table, problem, "Generate them again, or take what is there (partial=True).")
        warnings.warn(f"{table}: {problem}.", UserWarning, stacklevel=4)
    if not records:
        raise MediaError(table, "names no clip that is there", "Generate them again.")
    return records


_ENDINGS = (".mp4", ".safetensors")


def _donor(folder: Path, row: dict[str, str]) -> tuple[str, ...]:
    """The person whose face was blended in, where the truth about the clip is there."""
    if row["kind"] != "face_blend" or not (folder / "truth" / f"{row['clip']}.json").is_file():
        return ()
    from mediakit.synthetic.corpus import read_truth

    number = int(read_truth(folder, row["clip"])["manipulation"]["donor"])
    return (f"{row['person'].rpartition('-')[0]}-{number:03d}",)

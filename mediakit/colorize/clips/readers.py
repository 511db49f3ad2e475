"""Data sets for colorization as records: plain folders, folders of clips with a table, VGGSound and AVE."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from mediakit.colorize.clips.decoding import PHOTO_ENDINGS
from mediakit.colorize.clips.records import SPLITS, ClipRecord, LeftOut, drop_shared
from mediakit.errors import MediaError
from mediakit.extract import MEDIA_ENDINGS, find_media
from mediakit.io import read_text
from mediakit.io.files import StrPath

Found = tuple[list[ClipRecord], LeftOut]
"""Records, and what the lists name but cannot be used."""

TABLE = "clips.csv"
"""Lists the clips of a folder that ``mediakit build-clips`` or ``mediakit generate scenes`` wrote."""

SOUND_ENDINGS = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")
VIDEO_ENDINGS = tuple(ending for ending in MEDIA_ENDINGS if ending not in SOUND_ENDINGS)

_VGGSOUND_SECONDS = 10.0
_AVE_LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}


def read_videos(
    root: StrPath,
    label_folders: bool = False,
    endings: Sequence[str] = VIDEO_ENDINGS,
    avoid: StrPath | None = None,
) -> Found:
    """Takes every video of a folder and its sub-folders; each is a source of its own.

    Where all of them lie in sub-folders ``train``, ``val`` and ``test``, these are their splits.

    Args:
        root: The folder.
        label_folders: Whether the folder that a file lies in names its label.
        endings: Of the files that are taken.
        avoid: A folder in it to leave out.

    Raises:
        MediaError: There is no such folder, or no such file in it.
    """
    root = check_folder(root)
    paths = {id: PurePosixPath(path) for id, path in find_media(root, avoid, endings)[0].items()}
    tops = {path.parts[0] if len(path.parts) > 1 else "" for path in paths.values()}
    split = tops <= {*SPLITS} and "train" in tops
    records = []
    for id, path in sorted(paths.items()):
        inside = path.parts[split:-1]
        label = inside[-1] if label_folders and inside else None
        records.append(ClipRecord(id, root / path, id, label=label, split=path.parts[0] if split else None))
    return records, []


def read_photos(root: StrPath, label_folders: bool = False) -> Found:
    """Takes every photograph of a folder, as `read_videos` does videos."""
    return read_videos(root, label_folders, PHOTO_ENDINGS)


def read_clips(root: StrPath) -> Found:
    """Reads the table of a folder of clips, or those of its sub-folders.

    A row names a clip, whose file is ``videos/CLIP.mp4``, and may name its ``split``, ``label``, ``group`` and the
    ``video`` or else the ``recording`` that it was made from: its source.

    Raises:
        MediaError: There is no table, or it is damaged.
    """
    root = check_folder(root)
    tables = [root / TABLE] if (root / TABLE).is_file() else sorted(root.glob(f"*/{TABLE}"))
    if not tables:
        raise MediaError(
            root,
            f"has no {TABLE}, nor have its sub-folders",
            "Make clips with `mediakit build-clips`, or take the layout folder.",
        )
    found = [pair for table in tables for pair in _read_table(table)]
    _check_ids(tables[0], [record.id for record, _ in found])
    missing = [(record.id, problem) for record, problem in found if problem]
    return [record for record, problem in found if not problem], missing


def _read_table(table: Path) -> Iterator[tuple[ClipRecord, str]]:
    rows = csv.DictReader(read_text(table).splitlines())
    if "clip" not in (rows.fieldnames or ()):
        raise MediaError(table, "has no column clip", "Its first line must name the columns.")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values() or not row["clip"] or PurePosixPath(row["clip"]).is_absolute():
            raise MediaError(table, f"is damaged in line {number}", "Make it again.")
        split = row.get("split") or None
        if split not in (None, *SPLITS):
            raise MediaError(table, f"names the split {split!r} in line {number}", f"Splits are {', '.join(SPLITS)}.")
        path = table.parent / "videos" / f"{row['clip']}.mp4"
        recording = "/".join(Path(row.get("recording") or "").parts[-2:])  # class and name, wherever the folder lies
        record = ClipRecord(
            row["clip"],
            path,
            row.get("video") or recording or row["clip"],
            label=row.get("label") or None,
            group=row.get("group") or None,
            split=split,
        )
        yield record, "" if path.is_file() else "its file is missing"


def read_vggsound(root: StrPath, annotations: StrPath | None = None) -> Found:
    """Reads VGGSound (Chen et al., ICASSP 2020), as far as its videos are there.

    A row is ``YouTubeID,start,label,split``, labels with commas in quotes, the split train or test; the file of a clip
    is ``<YouTubeID>_<start in six digits>.mp4``, 10 s, anywhere in the folder.

    Args:
        root: Folder of the videos.
        annotations: ``vggsound.csv``; None looks for it in the folder.

    Raises:
        MediaError: The folder or the table is missing, or no video is there.
    """
    root = check_folder(root)
    table = Path(annotations) if annotations is not None else root / "vggsound.csv"
    files = _by_name(root)
    records: dict[str, ClipRecord] = {}
    left_out: LeftOut = []
    for number, row in enumerate(csv.reader(read_text(table).splitlines(), skipinitialspace=True), 1):
        if not row or (number == 1 and row[-1].strip().lower() == "split"):
            continue
        try:
            video, start, label, split = row
            id = f"{video}_{int(start):06d}"
            SPLITS.index(split)
        except ValueError:
            left_out.append((f"line {number} of {table.name}", "is no YouTubeID,start,label,split"))
            continue
        if problem := _unusable(id, records, files):
            left_out.append((id, problem))
        else:
            records[id] = ClipRecord(id, files[id], video, 0.0, _VGGSOUND_SECONDS, label.strip(), None, split)
    return _checked(table, records, left_out)


def read_ave(root: StrPath, annotations: StrPath | None = None) -> Found:
    """Reads AVE (Tian et al., ECCV 2018), as far as its videos are there.

    A row is ``Category&VideoID&Quality&StartTime&EndTime``, with or without such a line at the top; the clip is that
    part of ``<VideoID>.mp4``, which may lie anywhere in the folder. The splits are those of ``trainSet.txt``,
    ``valSet.txt`` and ``testSet.txt`` where they lie beside the table.

    Args:
        root: Folder of the videos.
        annotations: ``Annotations.txt``; None looks for it in the folder.

    Raises:
        MediaError: The folder or the table is missing, or no video is there.
    """
    root = check_folder(root)
    table = Path(annotations) if annotations is not None else root / "Annotations.txt"
    lists = {split: table.with_name(name) for split, name in _AVE_LISTS.items()}
    splits = {row[1]: s for s, path in lists.items() if path.is_file() for _, row in _ave_rows(path) if len(row) == 5}
    files = _by_name(root)
    records: dict[str, ClipRecord] = {}
    left_out: LeftOut = []
    for number, row in _ave_rows(table):
        try:
            label, video, _, first, last = row
            start, end = float(first), float(last)
            if not 0 <= start < end:
                raise ValueError
        except ValueError:
            left_out.append((f"line {number} of {table.name}", "is no Category&VideoID&Quality&StartTime&EndTime"))
            continue
        id = f"{video}_{start:g}_{end:g}"
        if problem := _unusable(id, records, files, video):
            left_out.append((id, problem))
        elif splits and video not in splits:
            left_out.append((id, "is in no split"))
        else:
            records[id] = ClipRecord(id, files[video], video, start, end, label.strip(), None, splits.get(video))
    return _checked(table, records, left_out)


def _ave_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_text(table).splitlines(), 1):
        row = line.strip().split("&")
        if row != [""] and row[:2] != ["Category", "VideoID"]:
            yield number, row


READERS: dict[str, Callable[..., Found]] = {
    "clips": read_clips,
    "folder": read_videos,
    "photos": read_photos,
    "vggsound": read_vggsound,
    "ave": read_ave,
}
"""Reader of each layout."""


def check_folder(root: StrPath) -> Path:
    """Returns a folder that is there.

    Raises:
        MediaError: It is not.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise MediaError(root, problem, f"Name a folder; the current one is {Path.cwd()}.")
    return root


def _by_name(root: Path) -> dict[str, Path]:
    """Videos of a folder and its sub-folders by name without ending."""
    paths = find_media(root, endings=VIDEO_ENDINGS)[0].values()
    return {PurePosixPath(path).stem: root / path for path in sorted(paths, reverse=True)}


def _unusable(id: str, records: dict[str, ClipRecord], files: dict[str, Path], video: str | None = None) -> str:
    if id in records:
        return "is listed twice"
    return "" if (video or id) in files else "its file is missing"


def _checked(table: Path, records: dict[str, ClipRecord], left_out: LeftOut) -> Found:
    if not records:
        raise MediaError(
            table, f"lists no clip whose video is there ({len(left_out)} left out)", "Name the folder of the videos."
        )
    kept, shared = drop_shared([*records.values()])
    return kept, left_out + shared


def _check_ids(table: Path, ids: Sequence[str]) -> None:
    if len({*ids}) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise MediaError(table, f"names the clip {twice} twice", "Each clip belongs into one table, once.")

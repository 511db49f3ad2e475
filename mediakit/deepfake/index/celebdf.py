"""Celeb-DF v2 (Li et al., CVPR 2020) and Celeb-DF++ (Li et al., 2025).

``Celeb-real``, ``YouTube-real`` and ``Celeb-synthesis``; in the last one Celeb-DF++ keeps a folder for each family of
methods and each method. ``id0_id1_0003.mp4`` is the face of id1 in the video 3 of id0; a talking face is called
``id0_0003_test_CLIP.mp4``, for it borrows no face. Each line of ``List_of_testing_videos.txt`` has a path after a
label, where **1 is real and 0 is fake**: the other way round than everywhere here, so it is turned on reading.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

from mediakit.deepfake.index.records import VideoRecord, check_root, find_videos, group_records, some, wrong_layout
from mediakit.errors import MediaError
from mediakit.io import read_text
from mediakit.io.files import StrPath

_LABELS = {"celeb-real": 0, "youtube-real": 0, "celeb-synthesis": 1}
_FOLDERS = {name.lower(): name for name in ("Celeb-real", "YouTube-real", "Celeb-synthesis")}
_LIST = "List_of_testing_videos.txt"
_EXPECTED = "Celeb-real/, YouTube-real/ and Celeb-synthesis/ with *.mp4"
_REAL = {"celeb-real": re.compile(r"(id\d+)_\d+"), "youtube-real": re.compile(r"(\d+)")}
_FAKE = re.compile(r"(id\d+)(?:_(id\d+))?_\d+(?:_.+)?")


def scan_celebdf(
    root: StrPath, *, official: bool = True, lists: StrPath | None = None, partial: bool = False
) -> list[VideoRecord]:
    """Indexes Celeb-DF v2 or Celeb-DF++.

    What the list of testing videos names is the test split, all else is train: there is no official validation split
    (make one of the training videos by `.assign_splits`). The folder says what a video is; the list's label must agree
    with it, either throughout as published (1 = real) or throughout the other way round, as some copies have it.

    Persons are the id numbers; each video of YouTube-real is a person of its own. The official split is by videos: most
    persons are in both parts, which `.overlaps` counts.

    Args:
        root: Holds ``Celeb-real`` and its like; in each of them the videos may lie in a folder ``videos``.
        official: Read the list; else the split of each video is None.
        lists: Folder of ``List_of_testing_videos.txt``, where it is not ``root``.
        partial: Warn where videos of the list are missing, instead of failing.

    Raises:
        MediaError: The layout is another one; the list is missing or damaged, or contradicts the folders; a listed
            file is not there; a file has a name of another kind.
        MediakitError: One video is there twice.
    """
    root = check_root(root)
    parts = [place for place in sorted(root.iterdir()) if place.name.lower() in _LABELS and place.is_dir()]
    records = [_record(root, part, path) for part in parts for path in find_videos(part)]
    if not records:
        raise wrong_layout(root, "Celeb-DF as it is published", _EXPECTED, "Name the folder that holds Celeb-real.")
    if official:
        listed = _read_list(check_root(lists or root) / _LIST)
        _check_complete(root, records, listed, partial)
        records = [replace(record, split="test" if record.id in listed else "train") for record in records]
    return group_records(records)


def _record(root: Path, part: Path, path: Path) -> VideoRecord:
    kind = part.name.lower()
    match = _REAL.get(kind, _FAKE).fullmatch(path.stem)
    if not match:
        example = {"celeb-real": "id0_0000.mp4", "youtube-real": "00000.mp4"}.get(kind, "id0_id1_0000.mp4")
        raise MediaError(path, "has no name as Celeb-DF gives them", f"Here: {example}.")
    persons = tuple(p if kind != "youtube-real" else f"youtube-{p}" for p in match.groups() if p)
    id = _id(path.relative_to(root).as_posix())
    method = id.rpartition("/")[0]
    method = method.partition("/")[2] or method  # of Celeb-DF++ the family and the method: FaceSwap/BlendFace
    return VideoRecord(id, path, _LABELS[kind], None, "celebdf", method, "", "", persons)


def _id(path: str) -> str:
    """Path without its ending and without the folder ``videos`` and the small letters that some copies have."""
    first, *rest = path.rpartition(".")[0].split("/")
    return "/".join([_FOLDERS.get(first.lower(), first), *(part for part in rest if part != "videos")])


def _read_list(path: Path) -> dict[str, int]:
    """Line of each listed video, by id."""
    if not path.is_file():
        raise MediaError(
            path,
            "is missing: it is the official test split of Celeb-DF",
            "Put it there, name its folder (lists=FOLDER), or do without it (official=False).",
        )
    listed: dict[str, int] = {}
    says: dict[bool, list[int]] = {True: [], False: []}  # lines where 1 means real, lines where it means fake
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        label, *rest = line.split(maxsplit=1)
        name = "".join(rest).strip().replace("\\", "/")
        kind = name.partition("/")[0].lower()
        if label not in ("0", "1") or kind not in _LABELS:
            raise MediaError(
                path,
                f"line {number} is {line.strip()!r}: expected 1 (real) or 0 (fake) and a path in Celeb-real, "
                "YouTube-real or Celeb-synthesis",
                "Fetch it again.",
            )
        listed[_id(name)] = number
        says[int(label) != _LABELS[kind]].append(number)
    if all(says.values()):
        few, many = sorted(says.values(), key=len)
        raise MediaError(
            path,
            f"contradicts itself: in {len(few)} of {len(few) + len(many)} lines (line {some([str(n) for n in few])}) "
            "the label says another thing of its folder than in all others",
            "Fetch it again: as published, 1 is real and 0 is fake.",
        )
    if not listed:
        raise MediaError(path, "lists no video", "Fetch it again.")
    return listed


def _check_complete(root: Path, records: list[VideoRecord], listed: dict[str, int], partial: bool) -> None:
    there = {record.id for record in records}
    if missing := sorted(id for id in listed if id not in there):
        problem = f"lacks {len(missing)} of the {len(listed)} videos that {_LIST} names ({some(missing)})"
        if not partial:
            raise MediaError(root, problem, "Fetch them, or take what is there (partial=True).")
        warnings.warn(f"{root}: {problem}.", UserWarning, stacklevel=4)

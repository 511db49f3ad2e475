"""FaceForensics++ (Rössler et al., ICCV 2019) with FaceShifter and Google's DeepFakeDetection, as its script loads it.

``original_sequences/{youtube,actors}`` and ``manipulated_sequences/METHOD``, below each of them the compression
(``c0`` or ``raw``, ``c23``, ``c40``) and ``videos``. ``000_003.mp4`` is the face of 003 in the video 000, and
``01_02__SCENE__CODE.mp4`` of DeepFakeDetection the face of actor 02 on actor 01.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mediakit.deepfake.index.records import (
    SPLITS,
    VideoRecord,
    check_root,
    find_videos,
    group_records,
    some,
    wrong_layout,
)
from mediakit.errors import MediaError
from mediakit.io import read_text
from mediakit.io.files import StrPath

_SOURCE = "https://github.com/ondyari/FaceForensics/tree/master/dataset/splits"
_NAMES = {  # method: what a file is called, with its persons, and what to call them
    "youtube": (re.compile(r"(\d{3})"), "ff"),
    "actors": (re.compile(r"(\d{2})__.+"), "actor"),
    "DeepFakeDetection": (re.compile(r"(\d{2})_(\d{2})__.+"), "actor"),
}
_PAIR = (re.compile(r"(\d{3})_(\d{3})"), "ff")
_LEVELS = {"raw": "c0", "c0": "c0", "c23": "c23", "c40": "c40"}  # both names stand for CRF 0; masks are no videos
_EXPECTED = (
    "original_sequences/{youtube,actors}/{c0 or raw,c23,c40}/videos/*.mp4 and "
    "manipulated_sequences/METHOD/{c0 or raw,c23,c40}/videos/*.mp4"
)

Pairs = dict[str, list[tuple[str, str]]]


def scan_faceforensics(
    root: StrPath, *, official: bool = True, lists: StrPath | None = None, partial: bool = False
) -> list[VideoRecord]:
    """Indexes FaceForensics++.

    A list names pairs: both videos and the fakes in both directions belong to its split, which makes 720, 140 and 140
    originals, and as many fakes of each method. The actors and DeepFakeDetection are on no list: their split is None.
    A pair is one group, and so are all actors that fakes join. Identities are the numbers of the videos: that some
    persons have several (the 1000 videos show fewer than 900) is nowhere told, and so not seen here.

    Args:
        root: Holds ``original_sequences``, ``manipulated_sequences``, or both; files may be videos or face tracks.
        official: Read the official splits; else the split of each video is None.
        lists: Folder of ``train.json``, ``val.json`` and ``test.json``, where it is not ``root``, its ``splits`` or its
            ``dataset/splits``.
        partial: Warn where videos of a list are missing, instead of failing.

    Raises:
        MediaError: The layout is another one; a list is missing or damaged; a listed file is not there; a file has a
            name of another kind.
        MediakitError: One video is there twice, for instance as raw and as c0.
    """
    root = check_root(root)
    records = list(_videos(root))
    if not records:
        raise wrong_layout(
            root,
            "FaceForensics++ as it is published",
            _EXPECTED,
            "Name the folder that holds original_sequences.",
        )
    if not official or all(r.identities[0].startswith("actor-") for r in records):  # no list is about actors
        return group_records(records)
    pairs = _read_lists(root, lists)
    split = {name: key for key, listed in pairs.items() for a, b in listed for name in (a, b, f"{a}_{b}", f"{b}_{a}")}
    _check_complete(root, records, split, partial)
    found = [replace(record, split=split.get(record.path.stem)) for record in records]
    joined = [(f"ff-{a}", f"ff-{b}") for listed in pairs.values() for a, b in listed]
    return group_records(found, joined)


def _videos(root: Path) -> Iterator[VideoRecord]:
    for part, label in (("original_sequences", 0), ("manipulated_sequences", 1)):
        for method in _folders(root / part):
            for level in (place for place in _folders(method) if place.name in _LEVELS):
                videos = find_videos(level / "videos") if (level / "videos").is_dir() else []
                if not videos:
                    raise wrong_layout(
                        level,
                        "FaceForensics++ as it is published",
                        "videos/*.mp4",
                        "Frames are not read, only videos.",
                    )
                for path in videos:
                    compression = _LEVELS[level.name]
                    yield VideoRecord(
                        f"{method.name}/{compression}/{path.stem}",
                        path,
                        label,
                        None,
                        "faceforensics",
                        method.name,
                        compression,
                        "",
                        _persons(method.name, path),
                    )


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _persons(method: str, path: Path) -> tuple[str, ...]:
    pattern, kind = _NAMES.get(method, _PAIR)
    match = pattern.fullmatch(path.stem)
    if not match:
        example = {"youtube": "000.mp4", "actors": "01__SCENE.mp4", "DeepFakeDetection": "01_02__SCENE__CODE.mp4"}
        raise MediaError(
            path, "has no name as FaceForensics++ gives them", f"Here: {example.get(method, '000_003.mp4')}."
        )
    return tuple(f"{kind}-{number}" for number in match.groups())


def _read_lists(root: Path, lists: StrPath | None) -> Pairs:
    places = [check_root(lists)] if lists is not None else [root, root / "splits", root / "dataset" / "splits"]
    place = next((p for p in places if any((p / f"{split}.json").is_file() for split in SPLITS)), places[0])
    pairs: Pairs = {}
    seen: dict[str, str] = {}
    for split in SPLITS:
        path = place / f"{split}.json"
        if not path.is_file():
            raise MediaError(
                path,
                "is missing: FaceForensics++ keeps its official splits in train.json, val.json and test.json",
                f"Take them from {_SOURCE} and put them there, name their folder (lists=FOLDER), or do without them "
                "(official=False).",
            )
        pairs[split] = _read_pairs(path)
        for name in (name for pair in pairs[split] for name in pair):
            if name in seen:
                raise MediaError(path, f"lists {name} a second time: it is in {seen[name]}.json", "Fetch both again.")
            seen[name] = split
    return pairs


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    try:
        return [(str(a), str(b)) for a, b in json.loads(read_text(path))]
    except (ValueError, TypeError) as error:
        raise MediaError(path, f"is no list of pairs of videos ({error})", f"Fetch it again from {_SOURCE}.") from error


def _check_complete(root: Path, records: list[VideoRecord], split: dict[str, str], partial: bool) -> None:
    places = {(r.method, r.compression) for r in records if r.identities[0].startswith("ff-")}
    there = {record.id for record in records}
    missing = sorted(
        id
        for method, compression in places
        for name in split
        if ("_" in name) == (method != "youtube") and (id := f"{method}/{compression}/{name}") not in there
    )
    if missing:
        problem = f"lacks {len(missing)} of the videos that its lists name ({some(missing)})"
        if not partial:
            raise MediaError(root, problem, "Fetch them, or take what is there (partial=True).")
        warnings.warn(f"{root}: {problem}.", UserWarning, stacklevel=4)

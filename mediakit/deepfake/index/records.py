"""One line of an index: a video, its label, and whose face it shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from mediakit.errors import MediaError, MediakitError
from mediakit.io.files import StrPath

SPLITS = ("train", "val", "test")

VIDEO_ENDINGS = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv", ".safetensors")
"""Files that count as videos; ``.safetensors`` holds ready face tracks and stands for the video they were found in."""


@dataclass(frozen=True)
class VideoRecord:
    """A video of a data set.

    Attributes:
        id: Unique in its data set; names the method and the compression, so that videos of one name stay apart.
        path: The video, or its face tracks (``.safetensors``).
        label: 1 = fake, 0 = real, whatever the data set's own files say.
        split: ``"train"``, ``"val"``, ``"test"``, or None where no list names the video.
        dataset: ``"faceforensics"``, ``"celebdf"``, ``"dfdc"`` or ``"folder"``.
        method: How a fake was made; of a real video, where it comes from ("youtube", "actors", "Celeb-real").
        compression: ``"c0"``, ``"c23"``, ``"c40"``; empty where a data set has one level only.
        group: Videos that share a person, or are joined by fakes that mix two persons, have the same group.
        identities: The persons as far as the data set tells them: of a face swap, the target and the source.
    """

    id: str
    path: Path
    label: int
    split: str | None
    dataset: str
    method: str
    compression: str
    group: str
    identities: tuple[str, ...] = ()


def group_records(records: Iterable[VideoRecord], pairs: Iterable[Sequence[str]] = ()) -> list[VideoRecord]:
    """Gives each record the connected component of its identities as its group, and sorts by id.

    Each record joins its identities. A component is called by the first of its identities. Call it again on records of
    several scans, to have groups that hold across them.

    Args:
        records: With ``identities``.
        pairs: Identities that belong together even if no record joins them.

    Raises:
        MediakitError: Two records have one id.
    """
    records = sorted(records, key=lambda record: record.id)
    for one, other in pairwise(records):
        if one.id == other.id:
            raise MediakitError(f"{one.path} and {other.path} both are the video {one.id}. Remove one of them.")
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for names in [*(record.identities for record in records), *pairs]:
        for name in names:
            first, second = sorted((root(names[0]), root(name)))
            parent[second] = first
    return [replace(r, group=root(r.identities[0]) if r.identities else r.id) for r in records]


def find_videos(folder: Path) -> list[Path]:
    """All videos and track files in a folder and its sub-folders, sorted; hidden ones are passed over.

    Links to folders are followed, each folder once.

    Raises:
        MediaError: A folder cannot be listed.
    """

    def complain(error: OSError) -> None:
        raise MediaError(error.filename, f"cannot be listed ({error.strerror})", "Change its permissions.") from error

    found, seen = [], set()
    for place, folders, files in os.walk(folder, onerror=complain, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            found += [Path(place, f) for f in files if f.lower().endswith(VIDEO_ENDINGS) and not f.startswith(".")]
        seen.add(real)
    return sorted(found)


def check_root(root: StrPath) -> Path:
    """Returns the folder of a data set.

    Raises:
        MediaError: It is not there, is no folder, or cannot be listed.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise MediaError(root, problem, f"Name the folder of the data set; the current one is {Path.cwd()}.")
    try:
        os.listdir(root)
    except OSError as error:
        raise MediaError(root, f"cannot be listed ({error.strerror})", "Change its permissions.") from error
    return root


def wrong_layout(folder: Path, dataset: str, expected: str, advice: str = "") -> MediaError:
    """The error about a folder that is not what a scanner reads: what was expected, and what is there."""
    entries = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if not p.name.startswith("."))
    found = some(entries, 6) if entries else "nothing"
    return MediaError(folder, f"is not {dataset}: expected {expected}; found {found}", advice)


def some(names: Sequence[str], count: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")

"""The Deepfake Detection Challenge (Dolhansky et al., 2020): folders of videos, each with a ``metadata.json``.

``{"aaa.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"}}``; the test set says ``"is_fake": 1`` instead.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from mediakit.deepfake.index.records import VideoRecord, check_root, find_videos, group_records, some, wrong_layout
from mediakit.errors import MediaError
from mediakit.io import read_text
from mediakit.io.files import StrPath

_SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
_LABELS = {"real": 0, "fake": 1, "0": 0, "1": 1, "false": 0, "true": 1}


def scan_dfdc(root: StrPath, *, official: bool = True, partial: bool = False) -> list[VideoRecord]:
    """Indexes DFDC: the folder of one part, or a folder of parts (``dfdc_train_part_0`` and so on).

    A fake and its original are one group. Its actors occur in many originals, but the metadata do not name them: splits
    of DFDC are by originals, not by persons. In the public training parts ``split`` is always "train".

    Args:
        root: Holds ``metadata.json`` and the videos, or folders that do.
        official: Take the splits of the metadata; else the split of each video is None.
        partial: Warn where videos are missing or have no label (and leave these out), instead of failing.

    Raises:
        MediaError: No metadata are found, or they are damaged; a label or split is unknown; a listed file is not there;
            a video is not listed.
    """
    root = check_root(root)
    tables = sorted(root.rglob("metadata.json"))
    if not tables:
        expected = "metadata.json beside *.mp4, here or in dfdc_train_part_*/"
        raise wrong_layout(
            root, "DFDC as it is published", expected, "It comes with the videos and holds their labels."
        )
    records, missing, unlabelled = [], [], []
    for table in tables:
        rows = _read(table)
        videos = {path.stem: path for path in find_videos(table.parent) if path.parent == table.parent}
        unlabelled += [
            str(videos[stem].relative_to(root)) for stem in videos.keys() - {Path(name).stem for name in rows}
        ]
        for name, row in rows.items():
            if path := videos.get(Path(name).stem):
                records.append(_record(root, table, path, name, row, official))
            else:
                missing.append(str(table.with_name(name).relative_to(root)))
    for names, problem, advice in (
        (missing, "lacks {} of the videos that its metadata name ({})", "Fetch them"),
        (unlabelled, "has no label in metadata.json for {} of its videos ({})", "Fetch the metadata again"),
    ):
        if names:
            told = problem.format(len(names), some(sorted(names)))
            if not partial:
                raise MediaError(root, told, f"{advice}, or take what is there and has a label (partial=True).")
            warnings.warn(f"{root}: {told}.", UserWarning, stacklevel=3)
    if not records:
        raise MediaError(root, "holds none of the videos that its metadata name", "Unpack the videos beside them.")
    return group_records(records)


def _read(table: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = json.loads(read_text(table))
        if all(isinstance(row, dict) for row in rows.values()):
            return dict(rows)
        problem = "its entries are no objects"
    except (ValueError, AttributeError) as error:
        problem = str(error)
    raise MediaError(table, f"is no metadata of DFDC ({problem})", "Fetch it again.")


def _record(root: Path, table: Path, path: Path, name: str, row: dict[str, Any], official: bool) -> VideoRecord:
    told = str(row.get("label", row.get("is_fake"))).lower()
    if told not in _LABELS:
        shown = row.get("label", row.get("is_fake"))
        raise MediaError(table, f"gives {name} the unknown label {shown!r}", "Known are REAL and FAKE.")
    split = str(row.get("split") or "").lower()
    if official and split and split not in _SPLITS:
        raise MediaError(table, f"puts {name} into the unknown split {split!r}", f"Known are {', '.join(_SPLITS)}.")
    id = path.relative_to(root).with_suffix("").as_posix()
    label = _LABELS[told]
    original = Path(str(row.get("original") or name)).stem if label else path.stem
    method = "DFDC" if label else "original"
    return VideoRecord(id, path, label, _SPLITS.get(split) if official else None, "dfdc", method, "", "", (original,))

"""One entrance to all data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mediakit.deepfake.index.celebdf import scan_celebdf
from mediakit.deepfake.index.dfdc import scan_dfdc
from mediakit.deepfake.index.faceforensics import scan_faceforensics
from mediakit.deepfake.index.folders import scan_folder
from mediakit.deepfake.index.records import VideoRecord, some
from mediakit.errors import MediaError
from mediakit.io.files import StrPath

SCANNERS: dict[str, Callable[..., list[VideoRecord]]] = {
    "faceforensics": scan_faceforensics,
    "celebdf": scan_celebdf,
    "dfdc": scan_dfdc,
    "folder": scan_folder,
}
"""Scanner of each data set."""


def scan(
    dataset: str,
    root: StrPath,
    *,
    methods: Sequence[str] | None = None,
    compressions: Sequence[str] | None = None,
    **options: Any,
) -> list[VideoRecord]:
    """Indexes a data set on disk.

    Args:
        dataset: ``"faceforensics"``, ``"celebdf"`` (v2 and ++), ``"dfdc"`` or ``"folder"``.
        root: Its folder.
        methods: Take these fakes only. Real videos are taken, too, unless methods name where real ones come from
            ("youtube", "Celeb-real"): then those alone.
        compressions: Take these levels only.
        **options: Those of the scanner: `.scan_faceforensics`, `.scan_celebdf`, `.scan_dfdc`, `.scan_folder`. All know
            ``official`` (False: no splits are read) and ``partial`` (True: take what is there).

    Returns:
        Records, sorted by id.

    Raises:
        ValueError: There is no such data set.
        TypeError: The scanner has no such option.
        MediaError: The folder is damaged or laid out otherwise, or holds no such method or compression.
    """
    if dataset not in SCANNERS:
        raise ValueError(f"dataset must be one of {', '.join(SCANNERS)}, got {dataset!r}")
    records = SCANNERS[dataset](root, **options)
    for what, wanted, found in (
        ("method", methods, {record.method for record in records}),
        ("compression", compressions, {record.compression for record in records}),
    ):
        if lacking := [name for name in wanted or () if name not in found]:
            there = some(sorted(name or "(one level only)" for name in found), 30)
            raise MediaError(root, f"holds no videos of {what} {some(lacking)}", f"There are {there}.")
    if methods is not None:
        sources = {record.method for record in records if not record.label} & {*methods}
        records = [r for r in records if r.method in methods or (not r.label and not sources)]
    if compressions is not None:
        records = [record for record in records if record.compression in compressions]
    return records

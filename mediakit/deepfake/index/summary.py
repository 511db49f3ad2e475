"""What an index holds, in words and numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mediakit.deepfake.index.records import SPLITS, VideoRecord
from mediakit.deepfake.index.splits import overlaps


def describe(records: Sequence[VideoRecord]) -> str:
    """Describes an index as Markdown: videos by split, method and compression, persons, and who is in two splits.

    Args:
        records: Of one data set or several.

    Returns:
        A sentence for each data set, a table, and what to know about the splits; ends with a line feed.
    """
    lines = []
    for dataset in sorted({record.dataset for record in records}):
        of = [record for record in records if record.dataset == dataset]
        fake = sum(record.label for record in of)
        lines.append(
            f"{dataset}: {len(of):,} videos, {len(of) - fake:,} real and {fake:,} fake; "
            f"{len(_persons(of)):,} identities in {len({record.group for record in of}):,} groups."
        )
    lines += [
        "",
        "| data set | split | method | compression | real | fake | identities |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    rows: dict[tuple[str, int, int, str, str], list[VideoRecord]] = defaultdict(list)
    for record in records:
        order = SPLITS.index(record.split) if record.split is not None else len(SPLITS)
        rows[record.dataset, order, record.label, record.method, record.compression].append(record)
    for (dataset, order, label, method, compression), of in sorted(rows.items()):
        counts = ("", f"{len(of):,}") if label else (f"{len(of):,}", "")
        cells = (dataset, (*SPLITS, "-")[order], method, compression or "-", *counts, f"{len(_persons(of)):,}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_notes(records)]) + "\n"


def _notes(records: Sequence[VideoRecord]) -> list[str]:
    used = [split for split in SPLITS if any(record.split == split for record in records)]
    notes = []
    for shared in overlaps(records):
        total = sum(record.split == shared.second for record in records)
        notes.append(
            f"Identities in both {shared.first} and {shared.second}: {len(shared.identities):,}; "
            f"{shared.videos:,} of the {total:,} {shared.second} videos show one of them."
        )
    if len(used) > 1 and not notes:
        notes.append(f"No identity is in more than one of {', '.join(used)}.")
    if unlisted := sum(record.split is None for record in records):
        notes.append(f"Videos in no split: {unlisted:,}.")
    return notes


def _persons(records: Sequence[VideoRecord]) -> set[str]:
    return {name for record in records for name in record.identities or (record.group,)}

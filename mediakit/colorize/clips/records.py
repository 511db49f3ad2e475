"""What a data set for colorization holds: clips, where each comes from, and splits that no source crosses."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mediakit.errors import MediakitError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ClipRecord:
    """A clip of a data set: a photograph, or a part of a film.

    Attributes:
        id: Unique in its data set.
        path: The file.
        start: Where it begins in the file, in seconds.
        end: Where it ends; None for the whole file, which is cut into as many clips as it takes.
        label: Class of the scene; None where it is not known.
        group: What the gray picture tells of the class; None where there are no groups.
        source: The recording that it was cut from: clips of one source never are in two splits.
        split: ``"train"``, ``"val"`` or ``"test"``; None where nothing says it.
    """

    id: str
    path: Path
    source: str
    start: float = 0.0
    end: float | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None


LeftOut = list[tuple[str, str]]
"""Clips that cannot be used: id, or whatever names it, and why."""


def check_sources(records: Iterable[ClipRecord]) -> None:
    """Makes sure that no source is in two splits.

    Raises:
        MediakitError: One is; the message names some.
    """
    shared = _shared(records)
    if shared:
        told = "; ".join(f"{source} in {' and '.join(splits)}" for source, splits in list(shared.items())[:3])
        raise MediakitError(
            f"{len(shared)} sources are in more than one split: {told}. What is tested would have been learnt: put all "
            "clips of a source into one split."
        )


def drop_shared(records: Sequence[ClipRecord]) -> tuple[list[ClipRecord], LeftOut]:
    """Leaves out of training what published lists also have in val or test, and out of val what they have in test."""
    shared = _shared(records)
    kept, left_out = [], []
    for record in records:
        last = shared.get(record.source, (record.split or "",))[-1]
        if record.split in (None, last):
            kept.append(record)
        else:
            left_out.append((record.id, f"its source is in {last}, too"))
    return kept, left_out


def drop_copies(records: Sequence[ClipRecord], contents: Mapping[str, str]) -> tuple[list[ClipRecord], LeftOut]:
    """Leaves out files that are copies of others, which no list of names can tell; of two splits, the later one keeps.

    Args:
        records: Of one data set.
        contents: SHA-256 of each file by path; of those that are not in it nothing is known.
    """
    owners: dict[str, ClipRecord] = {}
    for record in sorted(records, key=lambda r: (-SPLITS.index(r.split) if r.split else 0, r.id)):
        owners.setdefault(contents.get(str(record.path), str(record.path)), record)
    kept, left_out = [], []
    for record in records:
        owner = owners[contents.get(str(record.path), str(record.path))]
        if owner.path == record.path:
            kept.append(record)
        else:
            left_out.append((record.id, f"is a copy of {owner.id}"))
    return kept, left_out


def _shared(records: Iterable[ClipRecord]) -> dict[str, tuple[str, ...]]:
    """Sources of several splits, and which these are, train before val before test."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split is not None:
            found[record.source].add(record.split)
    return {s: tuple(n for n in SPLITS if n in splits) for s, splits in sorted(found.items()) if len(splits) > 1}


def split_sources(
    records: Sequence[ClipRecord],
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    known: Mapping[str, str] | None = None,
) -> list[ClipRecord]:
    """Splits records by source, each label in about the same shares.

    Sources are taken label by label, in an order that only their names and the seed decide; each goes to the split that
    lacks most of its share. So equal names give equal splits, whatever the order of the records.

    Args:
        records: Their own splits are not looked at.
        shares: Of train, val and test, by number of sources; some may be 0.
        seed: Another one gives another split.
        known: Splits of sources that are settled already; they stay and count.

    Returns:
        The records in their order, with ``split`` set. Each split with a share has a source, if there are enough.

    Raises:
        ValueError: The shares are no three shares with a sum of 1.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be three numbers (train, val, test) that sum to 1, got {tuple(shares)}")
    labels: dict[str, str] = {}
    for record in records:
        labels[record.source] = min(labels.get(record.source, record.label or ""), record.label or "")
    chosen = {source: split for source, split in (known or {}).items() if source in labels}
    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    lack = {split: share * len(chosen) - [*chosen.values()].count(split) for split, share in wanted.items()}
    left = sorted(labels.keys() - chosen.keys(), key=lambda source: (labels[source], _draw(seed, source)))
    for number, source in enumerate(left):
        for split, share in wanted.items():
            lack[split] += share
        empty = [split for split in wanted if split not in chosen.values()]
        among = empty if len(empty) >= len(left) - number else wanted
        chosen[source] = split = max(among, key=lambda name: lack[name])
        lack[split] -= 1
    return [replace(record, split=chosen[record.source]) for record in records]


def complete_splits(records: Sequence[ClipRecord], shares: Sequence[float], seed: int) -> list[ClipRecord]:
    """Gives splits to records without any, and makes sure that no source is in two.

    Where there are training clips but none for validation, a tenth of the training sources is taken for it.

    Raises:
        MediakitError: The records' own splits share a source.
        ValueError: As `split_sources`.
    """
    splits = {record.split for record in records}
    if splits <= {None}:
        records = split_sources(records, shares, seed)
    elif "train" in splits and "val" not in splits:
        train = [record for record in records if record.split == "train"]
        records = split_sources(train, (0.9, 0.1, 0.0), seed) + [r for r in records if r.split != "train"]
    check_sources(records)
    return list(records)


def _draw(seed: int, source: str) -> bytes:
    return hashlib.sha256(f"{seed}/{source}".encode("utf-8", "surrogateescape")).digest()

"""Splits that no person crosses, and how far official splits are from that."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from mediakit.deepfake.index.records import SPLITS, VideoRecord, some
from mediakit.errors import MediakitError


class Overlap(NamedTuple):
    """Persons that two splits share.

    Attributes:
        first: The one split.
        second: The other split.
        identities: Who is in both, sorted.
        videos: How many videos of the second split show one of them.
    """

    first: str
    second: str
    identities: tuple[str, ...]
    videos: int


def assign_splits(
    records: Sequence[VideoRecord], fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
) -> list[VideoRecord]:
    """Splits records so that no group, and so no person, is in two splits.

    Groups go whole, the largest first, to the split that they bring nearest to its share of real and of fake videos;
    so shares come out as near to the fractions as groups allow, and each split gets one group at least. Equal
    arguments give equal splits, whatever the order of the records.

    Args:
        records: All of one or more data sets; earlier splits are not looked at. To get a validation split of official
            training videos, give these alone, with fractions ``(0.9, 0.1, 0)``.
        fractions: Shares of train, val and test; their sum is 1, and some may be 0.
        seed: Another one gives another split.

    Returns:
        The records in their order, with ``split`` set.

    Raises:
        ValueError: The fractions are no three shares.
        MediakitError: There are fewer groups than splits.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three shares (train, val, test) that sum to 1, got {tuple(fractions)}")
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for record in records:
        sizes[record.group][record.label] += 1
    total = Counter(record.label for record in records)
    wanted = {split: share for split, share in zip(SPLITS, fractions, strict=True) if share > 0}
    need = {split: {label: share * total[label] for label in total} for split, share in wanted.items()}
    groups = sorted(sizes)
    random.Random(seed).shuffle(groups)
    if len(groups) < len(wanted):
        raise MediakitError(
            f"{len(records)} videos cannot be split into {', '.join(wanted)}: fakes join their persons into "
            f"{len(groups)} groups, and a group is never divided. Give fewer splits (fractions), or keep the data set "
            "for testing alone."
        )
    chosen: dict[str, str] = {}
    empty = {*wanted}
    for left, group in zip(range(len(groups), 0, -1), sorted(groups, key=lambda g: -sizes[g].total()), strict=True):
        size = sizes[group].items()
        # How far the split comes nearer to what is wanted, by chi-square: so large groups do not fill small splits.
        gain = {
            split: sum(count * (2 * need[split][label] - count) / total[label] ** 2 for label, count in size) / share
            for split, share in wanted.items()
            if split in empty or len(empty) < left
        }
        chosen[group] = split = max(gain, key=gain.__getitem__)
        empty.discard(split)
        for label, count in size:
            need[split][label] -= count
    found = [replace(record, split=chosen[record.group]) for record in records]
    check_disjoint(found)
    return found


def check_disjoint(records: Iterable[VideoRecord]) -> None:
    """Makes sure that no person and no group is in two splits.

    Raises:
        MediakitError: One is; the message names who, and where.
    """
    records = list(records)
    shared = overlaps(records) or overlaps([replace(record, identities=(record.group,)) for record in records])
    if shared:
        told = "; ".join(f"{len(o.identities)} in {o.first} and {o.second} ({some(o.identities)})" for o in shared)
        raise MediakitError(f"persons are in more than one split: {told}. Split by group: assign_splits(records).")


def overlaps(records: Iterable[VideoRecord]) -> list[Overlap]:
    """Counts the persons that official splits share.

    Args:
        records: Those without a split are passed over.

    Returns:
        Of train and val, train and test, val and test those pairs that share someone.
    """
    shown: dict[str, list[tuple[str, ...]]] = {split: [] for split in SPLITS}
    for record in records:
        if record.split is not None:
            shown[record.split].append(record.identities or (record.group,))
    persons = {split: {name for names in videos for name in names} for split, videos in shown.items()}
    found = []
    for first, second in combinations(SPLITS, 2):
        if shared := persons[first] & persons[second]:
            videos = sum(not shared.isdisjoint(names) for names in shown[second])
            found.append(Overlap(first, second, tuple(sorted(shared)), videos))
    return found

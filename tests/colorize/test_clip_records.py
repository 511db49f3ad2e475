import random
from collections import Counter
from pathlib import Path

import pytest

from mediakit.colorize.clips.records import (
    ClipRecord,
    check_sources,
    complete_splits,
    drop_copies,
    drop_shared,
    split_sources,
)
from mediakit.errors import MediakitError


def records(sources: int, clips: int = 3, labels: int = 2) -> list[ClipRecord]:
    return [
        ClipRecord(f"s{s}-{c}", Path(f"s{s}.mp4"), f"s{s}", label=f"label {s % labels}")
        for s in range(sources)
        for c in range(clips)
    ]


@pytest.mark.parametrize("count", [3, 10, 47])
def test_no_source_is_in_two_splits_and_shares_come_out(count):
    found = split_sources(records(count), (0.6, 0.2, 0.2), seed=3)
    of = {}
    for record in found:
        assert of.setdefault(record.source, record.split) == record.split
    sizes = Counter(of.values())
    assert {*sizes} == {"train", "val", "test"}
    assert abs(sizes["train"] - 0.6 * count) <= 1.01
    assert abs(sizes["val"] - 0.2 * count) <= 1.01


def test_each_label_is_in_every_split_in_its_share():
    found = split_sources(records(40, clips=1), (0.5, 0.25, 0.25))
    for label in ("label 0", "label 1"):
        sizes = Counter(record.split for record in found if record.label == label)
        assert sizes == {"train": 10, "val": 5, "test": 5}


def test_splits_depend_on_names_and_seed_alone():
    all = records(30)
    shuffled = random.Random(0).sample(all, len(all))
    first = {record.id: record.split for record in split_sources(all)}
    assert {record.id: record.split for record in split_sources(shuffled)} == first
    assert {record.id: record.split for record in split_sources(all, seed=1)} != first


def test_known_sources_stay_and_count():
    known = {f"s{n}": "test" for n in range(5)}
    found = split_sources(records(10, clips=1), (0.5, 0.0, 0.5), known=known)
    assert {record.source for record in found if record.split == "test"} == {*known}


def test_shares_must_be_shares():
    with pytest.raises(ValueError, match="sum to 1"):
        split_sources([], (0.5, 0.1, 0.1))


def test_a_source_in_two_splits_is_named():
    both = [ClipRecord("a", Path("a"), "film", split="train"), ClipRecord("b", Path("b"), "film", split="test")]
    with pytest.raises(MediakitError, match=r"film in train and test.*put all"):
        check_sources(both)
    with pytest.raises(MediakitError, match="film in train and test"):
        complete_splits(both, (0.8, 0.1, 0.1), 0)
    kept, left_out = drop_shared(both)
    assert [record.id for record in kept] == ["b"]
    assert left_out == [("a", "its source is in test, too")]


def test_a_missing_val_split_is_taken_from_training_sources():
    train = [ClipRecord(f"{n}-{c}", Path(), f"s{n}", split="train") for n in range(20) for c in range(2)]
    test = [ClipRecord("t", Path(), "other", split="test")]
    found = complete_splits([*train, *test], (0.8, 0.1, 0.1), 0)
    sizes = Counter(record.split for record in found)
    assert sizes == {"train": 36, "val": 4, "test": 1}


def test_copies_are_left_out_and_the_later_split_keeps():
    one = ClipRecord("a", Path("a.mp4"), "a", split="train")
    two = ClipRecord("b", Path("b.mp4"), "b", split="test")
    kept, left_out = drop_copies([one, two], {"a.mp4": "same", "b.mp4": "same"})
    assert kept == [two]
    assert left_out == [("a", "is a copy of b")]
    assert drop_copies([one, two], {"a.mp4": "1", "b.mp4": "2"}) == ([one, two], [])
    assert drop_copies([one, two], {}) == ([one, two], [])

"""No person crosses our own splits, shares are near what was asked, and overlaps of official splits are counted."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediakit.deepfake.index import (
    VideoRecord,
    assign_splits,
    check_disjoint,
    describe,
    group_records,
    overlaps,
)
from mediakit.errors import MediakitError


def record(id, *identities, label=0, split=None):
    return VideoRecord(id, Path(f"{id}.mp4"), label, split, "folder", "swap" if label else "real", "", "", identities)


def components(records):
    """Connected components by flooding, an independent way."""
    left, found = {name for r in records for name in r.identities}, []
    while left:
        flood, size = {left.pop()}, 0
        while len(flood) > size:
            size = len(flood)
            flood |= {name for r in records if flood & {*r.identities} for name in r.identities}
        found.append(flood)
        left -= flood
    return found


people = st.integers(0, 25).map(lambda n: f"p{n}")
videos = st.lists(st.lists(people, min_size=1, max_size=2), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(videos, st.tuples(*[st.integers(0, 5)] * 3).filter(any), st.integers(0, 3))
def test_no_identity_crosses(shown, weights, seed):
    records = group_records(record(f"v{n}", *names, label=len(names) - 1) for n, names in enumerate(shown))
    assert len({r.group for r in records}) == len(components(records))
    assert all(any({*r.identities, r.group} <= flood for flood in components(records)) for r in records)
    fractions = [weight / sum(weights) for weight in weights]
    if len(components(records)) < sum(map(bool, weights)):
        with pytest.raises(MediakitError, match="cannot be split into"):
            assign_splits(records, fractions, seed)
        return
    found = assign_splits(records, fractions, seed)
    where = {}
    for r in found:
        for name in r.identities:
            assert where.setdefault(name, r.split) == r.split
    assert {r.split for r in found} == {s for s, w in zip(("train", "val", "test"), weights, strict=True) if w}
    assert [replace(r, split=None) for r in found] == records
    assert overlaps(found) == []


@pytest.fixture
def many():
    draw = random.Random(0)
    real = [record(f"real{n}", f"p{n // 3}") for n in range(300)]
    pairs = [(2 * n, 2 * n + 1) for n in range(50)]
    fake = [record(f"fake{n}", *(f"p{k}" for k in draw.choice(pairs)), label=1) for n in range(400)]
    return group_records([*real, *fake])


def test_shares_of_both_labels_are_near_the_fractions(many):
    found = assign_splits(many, (0.6, 0.2, 0.2))
    for label, total in ((0, 300), (1, 400)):
        counts = Counter(r.split for r in found if r.label == label)
        largest = max(Counter(r.group for r in found if r.label == label).values()) / total
        for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert abs(counts[split] / total - share) <= largest + 1e-9 < 0.05


def test_equal_arguments_give_equal_splits(many):
    mixed = [*many]
    random.Random(1).shuffle(mixed)
    by_id = {r.id: r.split for r in assign_splits(many, seed=7)}
    assert {r.id: r.split for r in assign_splits(mixed, seed=7)} == by_id
    assert {r.id: r.split for r in assign_splits(many, seed=8)} != by_id


def test_a_chain_of_fakes_is_one_group():
    records = group_records([record("f1", "a", "b", label=1), record("f2", "b", "c", label=1), record("r", "d")])
    assert [r.group for r in records] == ["a", "a", "d"]
    assert len({r.group for r in group_records(records, [("c", "d")])}) == 1
    with pytest.raises(MediakitError, match=r"3 videos cannot be split into train, val, test: .* 2 groups"):
        assign_splits(records, (0.5, 0.3, 0.2))
    assert {r.split for r in assign_splits(records, (0.6, 0, 0.4))} == {"train", "test"}


def test_a_validation_part_of_official_training_videos(many):
    official = [replace(r, split="train") for r in many[:600]]
    found = assign_splits(official, (0.9, 0.1, 0))
    assert {r.split for r in found} == {"train", "val"}


@pytest.mark.parametrize("fractions", [(1, 0), (0.5, 0.6, 0.1), (-0.1, 0.6, 0.5), (0, 0, 0)])
def test_fractions_out_of_range(many, fractions):
    with pytest.raises(ValueError, match="three shares"):
        assign_splits(many, fractions)


def test_crossing_persons_are_found_counted_and_told():
    records = [
        record("1", "a", split="train"),
        record("2", "b", split="train"),
        record("3", "a", "c", label=1, split="test"),
        record("4", "c", split="test"),
        record("5", "b", split="val"),
        record("6", "x"),
    ]
    assert overlaps(records) == [("train", "val", ("b",), 1), ("train", "test", ("a",), 1)]
    with pytest.raises(MediakitError, match=r"1 in train and val \(b\); 1 in train and test \(a\)\. Split by group"):
        check_disjoint(records)
    text = describe(records)
    assert "folder: 6 videos, 5 real and 1 fake; 4 identities in" in text
    assert "Identities in both train and test: 1; 1 of the 2 test videos show one of them." in text
    assert "| folder | test | swap | - |  | 1 | 2 |" in text
    assert text.endswith("\nVideos in no split: 1.\n")


def test_one_group_in_two_splits_counts_as_crossing():
    """Even where no single person does."""
    a, b, _ = group_records([record("a", "a"), record("b", "b"), record("f", "a", "b", label=1)])
    with pytest.raises(MediakitError, match=r"1 in train and test \(a\)"):
        check_disjoint([replace(a, split="train"), replace(b, split="test")])

"""Weak labels from any table or folder, and the row that a video belongs to."""

import pytest

from mediakit.errors import MediakitError
from mediakit.parsing.pseudo_labels.weak import match_rows, weak_labels


def test_a_table(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("filename\tevent_labels\none\tSpeech,Dog\ntwo\tCar\ntwo\tCat\n")
    classes, weak, findings = weak_labels(table)
    assert len(classes) == 25
    assert weak == {"one": ("Speech", "Dog"), "two": ("Car", "Cat")}
    assert [finding.line for finding in findings] == [4]
    table.write_text("filename\tevent_labels\none\tx,y\n")
    assert weak_labels(table, ["y", "x", "z"])[:2] == (("y", "x", "z"), {"one": ("y", "x")})


def test_folders_of_all_splits(tmp_path):
    for split, label in (("train", "rain"), ("test", "bird")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "weak.csv").write_text(f"filename\tevent_labels\n{split}-0\t{label}\n")
    classes, weak, _ = weak_labels(tmp_path)
    assert "violin" in classes
    assert weak == {"train-0": ("rain",), "test-0": ("bird",)}
    assert weak_labels(tmp_path, ["events"]) == weak_labels(tmp_path, "events")


def test_real_llp(shared_data):
    weak = weak_labels(shared_data / "llp")[1]
    assert len(weak) == 11_849
    assert weak["BjCEufrlXm4_20_30"] == ("Speech", "Dog")
    with pytest.raises(MediakitError, match="classes of llp are fixed"):
        weak_labels(shared_data / "llp", "ave")
    short = match_rows(["BjCEufrlXm4", "AP0061o0Nvk", "BjCEufrlXm"], weak)
    assert short == {"BjCEufrlXm4": "BjCEufrlXm4_20_30", "AP0061o0Nvk": "AP0061o0Nvk_101.8_111.8"}


def test_rows_are_matched_by_name_or_by_eleven_characters():
    rows = ["abcdefghijk_0_10", "A_-_-_-_-_A_5_15", "A_-_-_-_-_A_9_19", "sub/clip", "other"]
    found = match_rows(["abcdefghijk", "abcdefghijk_0_10", "A_-_-_-_-_A", "sub/clip", "clip", "oth"], rows)
    # two rows begin with A_-_-_-_-_A: neither is meant
    assert found == dict.fromkeys(["abcdefghijk", "abcdefghijk_0_10"], rows[0]) | {"sub/clip": "sub/clip"}

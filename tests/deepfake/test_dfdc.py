"""DFDC's metadata.json, whole and damaged."""

import json

import pytest

from mediakit.deepfake.index import scan
from mediakit.errors import MediaError

ROWS = {
    "aaa.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"},
    "bbb.mp4": {"label": "REAL", "split": "train", "original": None},
    "ccc.mp4": {"label": "FAKE", "split": "train", "original": "zzz.mp4"},
}


def write(folder, rows, videos=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in rows if videos is None else videos:
        (folder / name).write_bytes(b"\0")
    (folder / "metadata.json").write_text(json.dumps(rows))


def test_parts(tmp_path):
    write(tmp_path / "dfdc_train_part_0", ROWS)
    write(tmp_path / "dfdc_train_part_1", {"zzz.mp4": {"label": "REAL", "split": "train"}})
    write(tmp_path / "test", {"ttt.mp4": {"is_fake": 1, "split": "test"}, "uuu.mp4": {"is_fake": 0, "split": "test"}})
    records = {record.id: record for record in scan("dfdc", tmp_path)}
    assert {id: (record.label, record.split) for id, record in records.items()} == {
        "dfdc_train_part_0/aaa": (1, "train"),
        "dfdc_train_part_0/bbb": (0, "train"),
        "dfdc_train_part_0/ccc": (1, "train"),
        "dfdc_train_part_1/zzz": (0, "train"),
        "test/ttt": (1, "test"),
        "test/uuu": (0, "test"),
    }
    groups = {id.rpartition("/")[2]: record.group for id, record in records.items()}
    assert groups["aaa"] == groups["bbb"]
    assert groups["ccc"] == groups["zzz"]  # across parts
    assert len({*groups.values()}) == 4


def test_one_part_alone_and_no_splits(tmp_path):
    write(tmp_path, ROWS)
    assert [record.id for record in scan("dfdc", tmp_path)] == ["aaa", "bbb", "ccc"]
    assert {record.split for record in scan("dfdc", tmp_path, official=False)} == {None}


def test_metadata_are_missing(tmp_path):
    (tmp_path / "aaa.mp4").write_bytes(b"\0")
    with pytest.raises(MediaError, match=r"expected metadata\.json beside \*\.mp4, .*; found aaa\.mp4\."):
        scan("dfdc", tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", '{"aaa.mp4": "FAKE"}'])
def test_metadata_are_damaged(tmp_path, content):
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(MediaError, match=r"metadata\.json: is no metadata of DFDC"):
        scan("dfdc", tmp_path)


@pytest.mark.parametrize("row", [{"label": "MAYBE"}, {"split": "train"}, {"label": None}, {"is_fake": 2}])
def test_an_unknown_label(tmp_path, row):
    write(tmp_path, ROWS | {"ddd.mp4": row})
    with pytest.raises(MediaError, match=r"metadata\.json: gives ddd\.mp4 the unknown label .*REAL and FAKE"):
        scan("dfdc", tmp_path)


def test_an_unknown_split(tmp_path):
    write(tmp_path, {"ddd.mp4": {"label": "REAL", "split": "hidden"}})
    with pytest.raises(MediaError, match=r"puts ddd\.mp4 into the unknown split 'hidden'"):
        scan("dfdc", tmp_path)


def test_files_are_missing(tmp_path):
    write(tmp_path, ROWS, ["bbb.mp4"])
    with pytest.raises(MediaError, match=r"lacks 2 of the videos .*\(aaa\.mp4, ccc\.mp4\)\. Fetch them"):
        scan("dfdc", tmp_path)
    with pytest.warns(UserWarning, match="lacks 2"):
        assert [record.id for record in scan("dfdc", tmp_path, partial=True)] == ["bbb"]


def test_videos_without_a_label(tmp_path):
    write(tmp_path, ROWS, [*ROWS, "stray.mp4"])
    with pytest.raises(MediaError, match=r"has no label in metadata\.json for 1 of its videos \(stray\.mp4\)"):
        scan("dfdc", tmp_path)
    with pytest.warns(UserWarning, match="has no label"):
        assert len(scan("dfdc", tmp_path, partial=True)) == 3

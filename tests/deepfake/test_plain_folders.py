"""Folders real and fake, and talking heads as they are generated."""

import os

import pytest

from mediakit.deepfake.index import check_disjoint, scan
from mediakit.errors import MediaError, MediakitError
from mediakit.synthetic.corpus import generate_clips


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0")
    return root


def test_real_and_fake(tmp_path):
    records = scan("folder", write(tmp_path, "real/a.mp4", "Fake/swap/b.MOV", "Fake/c.avi", "notes.txt", ".x/y.mp4"))
    assert [(r.id, r.label, r.method, r.split, r.compression) for r in records] == [
        ("Fake/c", 1, "fake", None, ""),
        ("Fake/swap/b", 1, "swap", None, ""),
        ("real/a", 0, "real", None, ""),
    ]
    assert len({record.group for record in records}) == 3


def test_splits_and_levels_above_and_below(tmp_path):
    names = (
        "train/crf0/real/a.mp4",
        "validation/real/raw/b.mp4",
        "Test/fake/c40/swap/a.mp4",
        "Test/fake/c40/morph/a.mp4",
    )
    records = {record.id: record for record in scan("folder", write(tmp_path, *names))}
    assert [(r.split, r.compression, r.method) for r in records.values()] == [
        ("test", "c40", "morph"),
        ("test", "c40", "swap"),
        ("train", "crf0", "real"),
        ("val", "raw", "real"),
    ]
    # one name is one recording, wherever it lies
    assert len({record.group for record in records.values()}) == 2
    with pytest.raises(MediakitError, match=r"1 in train and test \(a\)"):
        check_disjoint(records.values())
    assert {record.split for record in scan("folder", tmp_path, official=False)} == {None}


def test_persons_in_names(tmp_path):
    write(tmp_path, "real/anna_1.mp4", "real/anna_2.mp4", "real/bo_1.mp4", "fake/anna_as_bo.mp4", "real/cem_1.mp4")
    records = {record.id: record for record in scan("folder", tmp_path, person="anna|bo|cem")}
    assert records["fake/anna_as_bo"].identities == ("anna", "bo")
    assert {record.group for record in records.values()} == {"anna", "cem"}
    grouped = scan("folder", tmp_path, person=r"^([a-z]+)_(?:as_([a-z]+))?")
    assert [record.identities for record in grouped] == [records[record.id].identities for record in grouped]
    with pytest.raises(ValueError, match="person must be a regular expression"):
        scan("folder", tmp_path, person="(")


def test_tracks_of_generated_heads(tmp_path):
    """As the benchmark keeps them: the name tells recording and kind."""
    base = "tracks/test/crf40"
    write(tmp_path, f"{base}/real/heads-test-1-00003-real.safetensors")
    write(tmp_path, f"{base}/fake/heads-test-1-00003-contour_slide.safetensors")
    fake, real = scan("folder", tmp_path)
    assert (fake.method, fake.split, fake.compression, fake.label) == ("contour_slide", "test", "crf40", 1)
    assert (real.method, real.split, real.compression, real.label) == ("real", "test", "crf40", 0)
    assert fake.group == real.group == "heads-test-1-00003"


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """A genuine clip and two of its twins."""
    root = tmp_path_factory.mktemp("heads")
    look = {"seconds": 0.2, "size": (64, 64), "identities": 3, "kinds": ("real", "jitter", "face_blend")}
    generate_clips("heads", root / "test", 3, split="test", **look)
    return root


def test_generated_heads(heads):
    records = {record.method: record for record in scan("folder", heads / "test")}
    assert [(r.method, r.label, r.split) for r in records.values()] == [
        ("face_blend", 1, "test"),
        ("jitter", 1, "test"),
        ("real", 0, "test"),
    ]
    assert records["jitter"].path.is_file()
    assert records["jitter"].identities == ("test-0-000",)
    assert records["face_blend"].identities[0] == "test-0-000"
    assert records["face_blend"].identities[1] in ("test-0-001", "test-0-002")  # whose face it is
    # a folder of such folders
    assert [r.id for r in scan("folder", heads)] == [f"test/{r.id}" for r in records.values()]


def test_a_generated_clip_is_missing(heads):
    video = next(heads.rglob("*-jitter.mp4"))
    os.rename(video, f"{video}.away")
    try:
        with pytest.raises(MediaError, match=r"labels\.csv: lacks 1 of the clips that it names \(fake/heads-test-0-0"):
            scan("folder", heads)
        with pytest.warns(UserWarning, match="lacks 1 of the clips"):
            assert len(scan("folder", heads, partial=True)) == 2
    finally:
        os.rename(f"{video}.away", video)


def test_an_unknown_label(tmp_path):
    write(tmp_path, "videos/x.mp4")
    (tmp_path / "labels.csv").write_text("clip,label,kind,person,recording,split\nx,genuine,real,p,r,test\n")
    with pytest.raises(MediaError, match=r"labels\.csv: line 2 has the unknown label 'genuine' or split 'test'"):
        scan("folder", tmp_path)


@pytest.mark.parametrize("name", ["b.mp4", "other/b.mp4", "real/fake/b.mp4"])
def test_videos_without_a_label(tmp_path, name):
    with pytest.raises(MediaError, match=rf"has no label for 1 of its videos \({name}\): in neither or both"):
        scan("folder", write(tmp_path, "real/a.mp4", name))


def test_another_layout(tmp_path):
    expected = r"is not a folder of real and fake videos: expected real/\*\.mp4 and fake/\*\.mp4; found originals/\."
    with pytest.raises(MediaError, match=expected):
        scan("folder", write(tmp_path, "originals/a.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="found nothing"):
        scan("folder", tmp_path / "empty")


def test_two_splits_at_once(tmp_path):
    with pytest.raises(MediaError, match=r"2 splits \(test, train\)"):
        scan("folder", write(tmp_path, "train/test/real/a.mp4"))


def test_one_video_twice(tmp_path):
    with pytest.raises(MediakitError, match=r"a\.avi and .*a\.mp4 both are the video real/a\."):
        scan("folder", write(tmp_path, "real/a.mp4", "real/a.avi"))


def test_linked_folders(tmp_path):
    write(tmp_path / "disk", "a.mp4")
    (tmp_path / "set" / "real").mkdir(parents=True)
    (tmp_path / "set/real/more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "set")
    assert [record.id for record in scan("folder", tmp_path / "set")] == ["real/more/a"]


def test_no_such_data_set_or_option(tmp_path):
    with pytest.raises(ValueError, match="dataset must be one of faceforensics, celebdf, dfdc, folder, got 'ff'"):
        scan("ff", tmp_path)
    with pytest.raises(TypeError, match="lists"):
        scan("folder", write(tmp_path, "real/a.mp4"), lists=tmp_path)

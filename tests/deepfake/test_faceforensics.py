"""FaceForensics++ in the layout that its download script makes: counts as published, and one error for each damage."""

import json
import random
from collections import Counter

import pytest

from mediakit.deepfake.index import assign_splits, check_disjoint, describe, overlaps, scan
from mediakit.errors import MediaError, MediakitError

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0")


def write_lists(folder, pairs):
    folder.mkdir(parents=True, exist_ok=True)
    for split, listed in pairs.items():
        (folder / f"{split}.json").write_text(json.dumps(listed))


def write_dataset(root, pairs, methods=METHODS, levels=("c23",)):
    """The folders of the download script, with masks, which are videos as well."""
    everyone = [pair for listed in pairs.values() for pair in listed]
    for level in levels:
        for a, b in everyone:
            for name in (a, b):
                touch(root / f"original_sequences/youtube/{level}/videos/{name}.mp4")
            for method in methods:
                touch(root / f"manipulated_sequences/{method}/{level}/videos/{a}_{b}.mp4")
                touch(root / f"manipulated_sequences/{method}/{level}/videos/{b}_{a}.mp4")
    for method in methods[:1]:
        touch(root / f"manipulated_sequences/{method}/masks/videos/{everyone[0][0]}_{everyone[0][1]}.mp4")


SMALL = {"train": [["000", "003"], ["010", "007"]], "val": [["100", "200"]], "test": [["953", "974"]]}


@pytest.fixture
def small(tmp_path):
    write_dataset(tmp_path, SMALL, ("Deepfakes", "Face2Face"), ("raw", "c40"))
    write_lists(tmp_path, SMALL)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All thousand numbers, paired at random."""
    root = tmp_path_factory.mktemp("whole")
    numbers = [f"{n:03d}" for n in range(1000)]
    random.Random(5).shuffle(numbers)
    pairs = [[numbers[2 * n], numbers[2 * n + 1]] for n in range(500)]
    lists = {"train": pairs[:360], "val": pairs[360:430], "test": pairs[430:]}
    write_dataset(root, lists)
    write_lists(root / "splits", lists)
    return root


def test_the_counts_are_those_published(whole):
    records = scan("faceforensics", whole)
    counts = Counter((record.method, record.split) for record in records)
    for method in ("youtube", *METHODS):
        assert [counts[method, split] for split in ("train", "val", "test")] == [720, 140, 140]
    assert len(records) == sum(counts.values()) == 6000
    assert {(record.method == "youtube", record.label) for record in records} == {(True, 0), (False, 1)}
    assert len({record.group for record in records}) == 500
    assert overlaps(records) == []
    text = describe(records)
    assert "faceforensics: 6,000 videos, 1,000 real and 5,000 fake; 1,000 identities in 500 groups." in text
    assert "| faceforensics | test | youtube | c23 | 140 |  | 140 |" in text
    assert "| faceforensics | test | FaceSwap | c23 |  | 140 | 140 |" in text
    assert "No identity is in more than one of train, val, test." in text


def test_own_splits_of_the_whole(whole):
    records = assign_splits(scan("faceforensics", whole, official=False), (0.8, 0.1, 0.1), seed=3)
    check_disjoint(records)
    assert Counter(record.split for record in records) == {"train": 4800, "val": 600, "test": 600}


def test_both_directions_and_levels(small):
    records = {record.id: record for record in scan("faceforensics", small)}
    assert len(records) == 2 * (8 + 2 * 8)  # no masks
    fake = records["Deepfakes/c0/974_953"]  # raw is CRF 0
    assert fake.path == small / "manipulated_sequences/Deepfakes/raw/videos/974_953.mp4"
    assert (fake.label, fake.split, fake.method, fake.compression) == (1, "test", "Deepfakes", "c0")
    assert fake.identities == ("ff-974", "ff-953")
    assert fake.group == records["youtube/c40/953"].group == records["Face2Face/c40/953_974"].group
    assert fake.group != records["youtube/c0/000"].group
    assert records["youtube/c40/007"].split == "train"
    assert records["youtube/c40/007"].label == 0


def test_videos_of_one_name_stay_apart(small):
    records = [record for record in scan("faceforensics", small) if record.path.stem == "000_003"]
    assert len({record.id for record in records}) == len(records) == 4
    assert {(record.method, record.compression) for record in records} == {
        (method, level) for method in ("Deepfakes", "Face2Face") for level in ("c0", "c40")
    }


def test_originals_alone_keep_the_pairs_together(small):
    """So that a model trained without fakes never saw the persons of the fakes that it is tested on."""
    import shutil

    shutil.rmtree(small / "manipulated_sequences")
    records = {record.id: record for record in scan("faceforensics", small)}
    assert records["youtube/c0/000"].group == records["youtube/c0/003"].group


def test_some_methods_and_levels(small):
    some = scan("faceforensics", small, methods=["Face2Face"], compressions=["c40"])
    assert {(record.method, record.compression) for record in some} == {("Face2Face", "c40"), ("youtube", "c40")}
    with pytest.raises(MediaError, match=r"no videos of method FaceSwap.*There are Deepfakes, Face2Face, youtube"):
        scan("faceforensics", small, methods=["FaceSwap"])
    with pytest.raises(MediaError, match=r"no videos of compression c23.*There are c0, c40"):
        scan("faceforensics", small, compressions=["c23"])


def test_actors_are_on_no_list(small):
    for name in ("01__meeting_serious", "02__kitchen_pan", "03__hugging_happy"):
        touch(small / f"original_sequences/actors/c40/videos/{name}.mp4")
    fake = small / "manipulated_sequences/DeepFakeDetection/c40/videos/01_02__meeting_serious__YVGY8LOK.mp4"
    touch(fake)
    records = {record.id: record for record in scan("faceforensics", small)}
    found = records["DeepFakeDetection/c40/01_02__meeting_serious__YVGY8LOK"]
    assert (found.label, found.split, found.identities) == (1, None, ("actor-01", "actor-02"))
    assert found.group == records["actors/c40/02__kitchen_pan"].group != records["actors/c40/03__hugging_happy"].group
    assert "Videos in no split: 4." in describe([*records.values()])
    only = scan("faceforensics", small, methods=["actors", "DeepFakeDetection"])
    assert {record.method for record in only} == {"actors", "DeepFakeDetection"}
    for split in SMALL:
        (small / f"{split}.json").unlink()
    (small / "original_sequences/youtube").rename(small / "elsewhere")
    for method in ("Deepfakes", "Face2Face"):
        (small / "manipulated_sequences" / method).rename(small / method)
    assert len(scan("faceforensics", small)) == 4  # and so need none


def test_tracks_in_place_of_videos(small, tmp_path_factory):
    """`mediakit extract` keeps the folders."""
    tracks = tmp_path_factory.mktemp("tracks")
    for video in small.rglob("*.mp4"):
        touch((tracks / video.relative_to(small)).with_suffix(".safetensors"))
    found = scan("faceforensics", tracks, lists=small)
    assert [(r.id, r.split) for r in found] == [(r.id, r.split) for r in scan("faceforensics", small)]


def test_a_list_is_missing(small):
    (small / "val.json").unlink()
    with pytest.raises(MediaError, match=r"val\.json: is missing: .*ondyari/FaceForensics.*official=False"):
        scan("faceforensics", small)
    assert {record.split for record in scan("faceforensics", small, official=False)} == {None}


@pytest.mark.parametrize("content", ["[[1, 2, 3]]", "{", "7", '["000"]', "\xff"])
def test_a_list_is_damaged(small, content):
    (small / "test.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(MediaError, match=r"test\.json: is no(t text in UTF-8| list of pairs)"):
        scan("faceforensics", small)


def test_a_video_is_in_two_lists(small):
    (small / "test.json").write_text('[["000", "974"]]')
    with pytest.raises(MediaError, match=r"test\.json: lists 000 a second time: it is in train\.json"):
        scan("faceforensics", small)


def test_files_are_missing(small):
    (small / "original_sequences/youtube/c40/videos/003.mp4").unlink()
    (small / "manipulated_sequences/Deepfakes/raw/videos/000_003.mp4").unlink()
    with pytest.raises(MediaError, match=r"lacks 2 of .*\(Deepfakes/c0/000_003, youtube/c40/003\).*partial=True"):
        scan("faceforensics", small)
    with pytest.warns(UserWarning, match="lacks 2 of the videos"):
        assert len(scan("faceforensics", small, partial=True)) == 46


def test_another_layout(tmp_path):
    touch(tmp_path / "FaceForensics++_C23/original/000.mp4")
    touch(tmp_path / "FaceForensics++_C23/Deepfakes/000_003.mp4")
    with pytest.raises(MediaError, match=r"expected original_sequences/.*; found Deepfakes/, original/\. Name"):
        scan("faceforensics", tmp_path / "FaceForensics++_C23")
    with pytest.raises(MediaError, match="does not exist"):
        scan("faceforensics", tmp_path / "nowhere")


def test_frames_in_place_of_videos(small):
    touch(small / "original_sequences/youtube/c23/frames/000/000.png")
    with pytest.raises(MediaError, match=r"youtube/c23: .*expected videos/\*\.mp4; found frames/"):
        scan("faceforensics", small)


def test_a_foreign_name(small):
    touch(small / "manipulated_sequences/Deepfakes/c40/videos/final.mp4")
    with pytest.raises(MediaError, match=r"final\.mp4: has no name as FaceForensics\+\+ .*Here: 000_003\.mp4"):
        scan("faceforensics", small)


def test_a_video_is_there_twice(small):
    touch(small / "original_sequences/youtube/c0/videos/000.mp4")
    with pytest.raises(MediakitError, match=r"c0/videos/000\.mp4 and .*raw/videos/000\.mp4 both are .*youtube/c0/000"):
        scan("faceforensics", small)

from pathlib import Path

import pytest

from mediakit.colorize.clips.readers import read_ave, read_clips, read_photos, read_vggsound, read_videos
from mediakit.errors import MediaError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_folder_takes_videos_and_no_sounds(tmp_path):
    touch(tmp_path, "sea/a.mp4", "sea/b.webm", "street/a.mov", "noise.wav", "notes.txt", ".hidden/c.mp4")
    found, left_out = read_videos(tmp_path, label_folders=True)
    assert [(r.id, r.label, r.source, r.split) for r in found] == [
        ("sea/a", "sea", "sea/a", None),
        ("sea/b", "sea", "sea/b", None),
        ("street/a", "street", "street/a", None),
    ]
    assert left_out == []
    assert {r.label for r in read_videos(tmp_path)[0]} == {None}


def test_folders_named_as_splits_are_splits(tmp_path):
    touch(tmp_path, "train/sea/a.mp4", "val/b.mp4", "test/street/c.mp4")
    found, _ = read_videos(tmp_path, label_folders=True)
    assert [(r.split, r.label) for r in found] == [("test", "street"), ("train", "sea"), ("val", None)]


def test_photos(tmp_path):
    touch(tmp_path, "a.JPG", "b.png", "c.mp4")
    assert [r.path.name for r in read_photos(tmp_path)[0]] == ["a.JPG", "b.png"]


def test_nothing_to_read_is_one_clear_error(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        read_videos(tmp_path / "none")
    touch(tmp_path, "a.wav")
    with pytest.raises(MediaError, match=r"holds no media files \(1 others\).*\.mp4"):
        read_videos(tmp_path)
    with pytest.raises(MediaError, match=r"has no clips\.csv"):
        read_clips(tmp_path)


def test_table_of_built_clips(tmp_path):
    touch(tmp_path, "videos/a-0.mp4", "videos/in/b-0.mp4")
    rows = ["a-0,a.mp4,0.000,10.000,sea,train", "in/b-0,in/b.mp4,5,9,,val", "gone-0,gone.mp4,0,1,,test"]
    (tmp_path / "clips.csv").write_text("\n".join(["clip,video,start,end,label,split", *rows]))
    found, left_out = read_clips(tmp_path)
    assert [(r.id, r.source, r.label, r.group, r.split, r.start, r.end) for r in found] == [
        ("a-0", "a.mp4", "sea", None, "train", 0.0, None),
        ("in/b-0", "in/b.mp4", None, None, "val", 0.0, None),
    ]
    assert found[1].path == tmp_path / "videos" / "in" / "b-0.mp4"
    assert left_out == [("gone-0", "its file is missing")]


def test_tables_of_generated_scenes_in_sub_folders(tmp_path):
    head = "clip,group,label,split,timbre,recording"
    for split, clip, recording in (("train", "s0", "/data/rain/1-a.ogg"), ("test", "s1", "data/rain/5-b.ogg")):
        touch(tmp_path, f"{split}/videos/{clip}.mp4")
        (tmp_path / split / "clips.csv").write_text(f"{head}\n{clip},water,rain,{split},,{recording}\n")
    found, _ = read_clips(tmp_path)
    assert [(r.id, r.group, r.label, r.source, r.split) for r in found] == [
        ("s1", "water", "rain", "rain/5-b.ogg", "test"),
        ("s0", "water", "rain", "rain/1-a.ogg", "train"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,split\na,train\n", "no column clip"),
        ("clip,split\na,train\na,train\n", "names the clip a twice"),
        ("clip,split\na,dev\n", "split 'dev' in line 2"),
        ("clip,split\na,train,x\n", "damaged in line 2"),
        ("clip,split\na\n", "damaged in line 2"),
    ],
)
def test_damaged_tables_are_named(tmp_path, text, problem):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(MediaError, match=problem):
        read_clips(tmp_path)


VGGSOUND = """---g-f_I2yQ,1,"people marching, together",test
--0PQM4-hqg,30,waterfall burbling,train
--0PQM4-hqg,30,waterfall burbling,train
--0PQM4-hqg,90,waterfall burbling,test
gone,10,rapping,train
damaged,ten,rapping,train
"""


def test_vggsound(tmp_path):
    touch(tmp_path, "x/---g-f_I2yQ_000001.mp4", "--0PQM4-hqg_000030.mp4", "--0PQM4-hqg_000090.mp4")
    (tmp_path / "vggsound.csv").write_text(VGGSOUND)
    found, left_out = read_vggsound(tmp_path)
    assert [(r.id, r.source, r.label, r.split, r.start, r.end) for r in found] == [
        ("---g-f_I2yQ_000001", "---g-f_I2yQ", "people marching, together", "test", 0.0, 10.0),
        ("--0PQM4-hqg_000090", "--0PQM4-hqg", "waterfall burbling", "test", 0.0, 10.0),
    ]
    assert dict(left_out) == {
        "--0PQM4-hqg_000030": "its source is in test, too",  # the last of two entries
        "gone_000010": "its file is missing",
        "line 6 of vggsound.csv": "is no YouTubeID,start,label,split",
    }
    assert ("--0PQM4-hqg_000030", "is listed twice") in left_out


def test_table_of_vggsound_elsewhere_and_without_any_video(tmp_path):
    touch(tmp_path, "videos/other.mp4")
    (tmp_path / "list.csv").write_text(VGGSOUND)
    with pytest.raises(MediaError, match=r"lists no clip whose video is there \(\d left out\)"):
        read_vggsound(tmp_path / "videos", tmp_path / "list.csv")


AVE = """Church bell&RUhOCu3LNXM&good&0&10
Male speech, man speaking&-0ab&good&2&7
Male speech, man speaking&-0ab&good&7&9
Bark&gone&good&0&3
Bark&RUhOCu3LNXM&good&4&4
no row
"""


@pytest.mark.parametrize("head", ["", "Category&VideoID&Quality&StartTime&EndTime\n"])
def test_ave(tmp_path, head):
    touch(tmp_path, "AVE/RUhOCu3LNXM.mp4", "AVE/-0ab.mp4")
    (tmp_path / "Annotations.txt").write_text(head + AVE)
    found, left_out = read_ave(tmp_path)
    assert [(r.id, r.label, r.source, r.start, r.end, r.split) for r in found] == [
        ("RUhOCu3LNXM_0_10", "Church bell", "RUhOCu3LNXM", 0.0, 10.0, None),
        ("-0ab_2_7", "Male speech, man speaking", "-0ab", 2.0, 7.0, None),
        ("-0ab_7_9", "Male speech, man speaking", "-0ab", 7.0, 9.0, None),
    ]
    shift = bool(head)
    assert dict(left_out) == {
        "gone_0_3": "its file is missing",
        f"line {5 + shift} of Annotations.txt": "is no Category&VideoID&Quality&StartTime&EndTime",
        f"line {6 + shift} of Annotations.txt": "is no Category&VideoID&Quality&StartTime&EndTime",
    }


def test_splits_of_ave(tmp_path):
    touch(tmp_path, "RUhOCu3LNXM.mp4", "-0ab.mp4")
    (tmp_path / "Annotations.txt").write_text(AVE)
    (tmp_path / "trainSet.txt").write_text("Church bell&RUhOCu3LNXM&good&0&10\n")
    found, left_out = read_ave(tmp_path)
    assert [(r.source, r.split) for r in found] == [("RUhOCu3LNXM", "train")]
    assert ("-0ab_2_7", "is in no split") in left_out

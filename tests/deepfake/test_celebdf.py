"""Celeb-DF v2 and ++: their labels are turned, and their official split shares persons."""

import pytest

from mediakit.deepfake.index import describe, overlaps, scan
from mediakit.errors import MediaError

V2 = (
    *(f"Celeb-real/id{person}_000{n}.mp4" for person in (0, 1, 2, 7) for n in (0, 1)),
    *(f"YouTube-real/0000{n}.mp4" for n in range(3)),
    *("Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0001.mp4", "Celeb-synthesis/id2_id1_0000.mp4"),
)
LIST = "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00002.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"


def write(root, names, text=LIST):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0")
    (root / "List_of_testing_videos.txt").write_text(text)
    return root


def test_version_2(tmp_path):
    records = {record.id: record for record in scan("celebdf", write(tmp_path, V2))}
    assert len(records) == len(V2)
    fake = records["Celeb-synthesis/id0_id1_0000"]
    assert (fake.label, fake.split, fake.method, fake.compression) == (1, "test", "Celeb-synthesis", "")
    assert fake.identities == ("id0", "id1")
    assert {record.label for record in records.values() if record.id.startswith(("Celeb-real", "YouTube"))} == {0}
    assert {id for id, record in records.items() if record.split == "test"} == {
        line.split()[1].removesuffix(".mp4") for line in LIST.splitlines()
    }
    assert {record.split for record in records.values()} == {"train", "test"}
    # id2 is joined to id0 by way of id1; id7 is in no fake, and YouTube's persons are other ones
    groups = {id: record.group for id, record in records.items()}
    assert groups["Celeb-real/id0_0000"] == groups["Celeb-real/id2_0001"] == groups["Celeb-synthesis/id1_id0_0001"]
    assert len({*groups.values()}) == 1 + 1 + 3


def test_overlaps_of_the_official_split_are_counted(tmp_path):
    records = scan("celebdf", write(tmp_path, V2))
    (shared,) = overlaps(records)
    assert shared == ("train", "test", ("id0", "id1"), 2)
    assert "Identities in both train and test: 2; 2 of the 3 test videos show one of them." in describe(records)


def test_plus_plus(tmp_path):
    families = {"FaceSwap": ("Celeb-DF-v2", "BlendFace"), "FaceReenact": ("DaGAN",)}
    names = [f"Celeb-synthesis/{f}/{m}/id0_id1_0000.mp4" for f, methods in families.items() for m in methods]
    names += ["Celeb-synthesis/TalkingFace/EDTalk/id7_0001_test_xyz_3.mp4", "Celeb-real/id0_0000.mp4"]
    text = "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/FaceReenact/DaGAN/id0_id1_0000.mp4\n"
    records = {record.id: record for record in scan("celebdf", write(tmp_path, names, text))}
    assert {record.method for record in records.values() if record.label} == {
        *("FaceSwap/Celeb-DF-v2", "FaceSwap/BlendFace", "FaceReenact/DaGAN", "TalkingFace/EDTalk")
    }
    # three videos of one name stay three
    assert sum(record.path.stem == "id0_id1_0000" for record in records.values()) == 3
    assert records["Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000"].split == "train"
    assert records["Celeb-synthesis/FaceReenact/DaGAN/id0_id1_0000"].split == "test"
    assert records["Celeb-synthesis/TalkingFace/EDTalk/id7_0001_test_xyz_3"].identities == ("id7",)


def test_a_list_with_the_other_sense_is_turned(tmp_path):
    turned = "\n".join(f"{1 - int(line[0])}{line[1:]}" for line in LIST.splitlines())
    want = scan("celebdf", write(tmp_path, V2))
    assert scan("celebdf", write(tmp_path, V2, turned)) == want


def test_a_list_that_contradicts_itself(tmp_path):
    text = LIST + "0 YouTube-real/00001.mp4\n"
    with pytest.raises(MediaError, match=r"itself: in 1 of 4 lines \(line 4\) .*1 is real and 0 is fake"):
        scan("celebdf", write(tmp_path, V2, text))


@pytest.mark.parametrize(
    "line", ["2 Celeb-real/id0_0000.mp4", "Celeb-real/id0_0000.mp4", "1 Celeb-new/id0.mp4", "real x"]
)
def test_an_unknown_label_or_place(tmp_path, line):
    with pytest.raises(MediaError, match=r"List_of_testing_videos\.txt: line 4 is .*expected 1 \(real\) or 0 \(fake\)"):
        scan("celebdf", write(tmp_path, V2, f"{LIST}{line}\n"))


def test_the_list_is_missing(tmp_path):
    (write(tmp_path, V2) / "List_of_testing_videos.txt").rename(tmp_path / "other.txt")
    with pytest.raises(MediaError, match=r"List_of_testing_videos\.txt: is missing.*official=False"):
        scan("celebdf", tmp_path)
    assert {record.split for record in scan("celebdf", tmp_path, official=False)} == {None}
    (tmp_path / "lists").mkdir()
    (tmp_path / "other.txt").rename(tmp_path / "lists" / "List_of_testing_videos.txt")
    assert len(scan("celebdf", tmp_path, lists=tmp_path / "lists")) == len(V2)


def test_a_listed_file_is_missing(tmp_path):
    text = f"{LIST}0 Celeb-synthesis/id9_id1_0000.mp4\n"
    with pytest.raises(MediaError, match=r"lacks 1 of the 4 videos .*\(Celeb-synthesis/id9_id1_0000\).*partial=True"):
        scan("celebdf", write(tmp_path, V2, text))
    with pytest.warns(UserWarning, match="lacks 1 of the 4 videos"):
        assert len(scan("celebdf", tmp_path, partial=True)) == len(V2)


def test_another_layout(tmp_path):
    write(tmp_path, ["real/1.mp4"])
    with pytest.raises(MediaError, match=r"expected Celeb-real/, YouTube-real/ .*; found List_of_test.*txt, real/"):
        scan("celebdf", tmp_path)


def test_a_foreign_name(tmp_path):
    with pytest.raises(MediaError, match=r"scene\.mp4: has no name as Celeb-DF gives them\. Here: id0_0000"):
        scan("celebdf", write(tmp_path, [*V2, "Celeb-real/scene.mp4"]))


def test_a_folder_videos_in_between(tmp_path):
    """As other people's benchmarks lay it out, with a small t in YouTube."""
    names = [name.replace("/", "/videos/").replace("YouTube", "Youtube") for name in V2]
    records = scan("celebdf", write(tmp_path, names))
    assert [r.id for r in records] == sorted(name.removesuffix(".mp4") for name in V2)
    assert sum(record.split == "test" for record in records) == 3

"""AVE and UnAV-100 by hand: rows in the manner of the published files."""

import json
from pathlib import Path

import pytest
import torch

from mediakit.errors import MediaError
from mediakit.parsing.annotations.ave_unav import read_ave, read_unav


def write_ave(folder: Path, **splits: str) -> Path:
    for name in ("train", "val", "test"):
        (folder / f"{name}Set.txt").write_text(splits.get(name, f"Bark&only-{name}&good&0&10\n"))
    return folder


def test_ave_by_hand(tmp_path):
    text = (
        "Church bell&MH3m4AwEcRY&good&6&8\n"
        "Male speech, man speaking&0giAfYq9oVM&good&3&9\n"
        "Bark&MH3m4AwEcRY&good&0&10\n"
        "Church bell&VWi2ENBuTbw&good&0&0\n"  # 4: as published
        "Church bell&x&good&0\n"  # 5
        "Church bell&y&good&0&ten\n"  # 6
        "Mandolin&only-val&good&2&3\n"  # 7
    )
    found = read_ave(write_ave(tmp_path, test=text), "test")
    assert found.source == "AVE test"
    assert found.ids == ("MH3m4AwEcRY", "0giAfYq9oVM", "VWi2ENBuTbw", "only-val")
    assert [found.labels[n].nonzero()[:, 0].tolist() for n in range(4)] == [[0, 2], [1], [0], [27]]
    assert found.audio.shape == (4, 10, 28)
    assert found.audio[0, :, 0].tolist() == [0] * 6 + [1, 1, 0, 0]
    assert found.audio[0, :, 2].all()
    assert found.audio[1, :, 1].tolist() == [0] * 3 + [1] * 6 + [0]
    assert not found.audio[2].any()
    assert torch.equal(found.audio, found.visual)
    assert [(f.line, f.problem.split(",")[0]) for f in found.findings] == [
        (4, "Church bell of VWi2ENBuTbw"),
        (5, "4 fields where 5 belong"),
        (6, "times '0'"),
        (7, "only-val is in the val split"),
    ]


def test_ave_header_and_errors(tmp_path):
    head = "Category&VideoID&Quality&StartTime&EndTime\n"
    assert read_ave(write_ave(tmp_path, val=head + "Bark&a&good&0&10\n"), "val").findings == ()
    with pytest.raises(MediaError, match=r"trainSet\.txt: line 1 names the unknown class 'Barks'\. Is it Bark\?"):
        read_ave(write_ave(tmp_path, train="Barks&a&good&0&10\n"), "train")
    with pytest.raises(MediaError, match="holds no video"):
        read_ave(write_ave(tmp_path, train=head), "train")
    with pytest.raises(ValueError, match="split"):
        read_ave(tmp_path, "validation")


def unav(duration: object, subset: str, *events: tuple[float, float, str]) -> dict:
    rows = [{"segment": [start, end], "label": label, "label_id": 0} for start, end, label in events]
    return {"duration": duration, "annotations": rows, "subset": subset}


def write_unav(folder: Path, **videos: dict) -> Path:
    text = json.dumps({"version": "unav100", "database": videos}, indent=1)
    (folder / "unav100_annotations.json").write_text(text)
    return folder


def test_unav_by_hand(tmp_path):
    write_unav(
        tmp_path,
        a=unav(4.03, "validation", (0, 1.2, "man speaking"), (1.6, 2.4, "sailing"), (3.7, 3.9, "man speaking")),
        b=unav(6.06, "validation", (0.5, 6.06, "hair dryer drying")),
        c=unav(5, "train", (0, 5, "sailing")),
    )
    found = read_unav(tmp_path, "val")
    assert found.ids == ("a", "b")
    assert found.seconds.tolist() == [4, 7]
    assert found.audio.shape == (2, 7, 100)
    assert found.audio[0, :, 0].tolist() == [1, 0, 0, 1, 0, 0, 0]
    assert found.audio[0, :, 55].tolist() == [0, 0, 1, 0, 0, 0, 0]  # too short for a middle
    assert found.audio[1, :, 99].tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert found.labels.sum(1).tolist() == [2, 1]
    assert found.visual is found.audio
    assert read_unav(tmp_path / "unav100_annotations.json", "train").ids == ("c",)


def test_unav_damage(tmp_path):
    write_unav(
        tmp_path,
        a=unav(5, "test", (2, 2, "sailing"), (0, 9, "sailing")),
        b=unav("long", "test", (0, 1, "sailing")),
        c=unav(5, "test"),
        d=unav(5, "test", (0, 1, "sailing")),
    )
    path = tmp_path / "unav100_annotations.json"
    text = path.read_text()
    path.write_text(text.replace('"c": {', '"d": {', 1))  # now d comes twice
    found = read_unav(tmp_path, "test")
    assert found.ids == ("a", "d")
    problems = {f.problem.split(",")[0]: f for f in found.findings}
    assert set(problems) == {
        "d comes twice",
        "b has damaged annotations (could not convert string to float: 'long')",
        "sailing of a",
    }
    assert problems["sailing of a"].line == 4
    assert sorted(f.done for f in found.findings if "sailing" in f.problem) == ["covers none", "what is inside counts"]
    path.write_text(text.replace("sailing", "sailling"))
    with pytest.raises(MediaError, match=r"a names the unknown class 'sailling'\. Is it sailing\?"):
        read_unav(tmp_path, "test")
    path.write_text("{}")
    with pytest.raises(MediaError, match="is not the annotations of UnAV-100"):
        read_unav(tmp_path, "test")
    with pytest.raises(MediaError, match="holds no video of the train split"):
        read_unav(write_unav(tmp_path, a=unav(5, "test", (0, 1, "sailing"))), "train")

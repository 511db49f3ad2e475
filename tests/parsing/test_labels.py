"""Labels of any format by name, their report, and the command."""

from pathlib import Path

import pytest

from mediakit.cli import main
from mediakit.errors import MediaError
from mediakit.parsing.annotations.labels import (
    check_labels,
    find_format,
    findings_report,
    labels_report,
    read_labels,
    splits_of,
)

WEAK = "filename\tevent_labels\n"
EVENTS = "filename\tonset\toffset\tevent_labels\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "weak.csv").write_text(WEAK + "".join(f"{name}\tbell,rain\n" for name in names))
    (tmp_path / "val" / "audio.csv").write_text(EVENTS + "c\t0\t3\tbell\nc\t5\t6\tbell\nd\t2\t4\train\nd\t1\t1\train\n")
    (tmp_path / "val" / "visual.csv").write_text(EVENTS + "c\t2\t5\tbell\nc\t0\t1\tdrum\n")
    return tmp_path


def test_read_labels_of_a_split(folder):
    found = read_labels(folder, "folder", "val")
    assert found.ids == ("c", "d")
    assert found.source == f"{folder.name} val"
    assert found.audio.shape == (2, 6, 12)
    assert splits_of(folder, "folder") == ("train", "val", "test")
    assert find_format(folder) == "folder"
    assert splits_of(folder / "train", "folder") == ("test",)
    assert read_labels(folder / "train", "folder", "test").ids == ("a", "b")
    with pytest.raises(MediaError, match=r"train/train: does not exist"):
        read_labels(folder / "train", "folder", "train")
    with pytest.raises(ValueError, match="format must be"):
        read_labels(folder, "llpp", "val")
    with pytest.raises(ValueError, match="classes of llp are fixed"):
        read_labels(folder, "llp", "val", classes=["Dog"])


def test_videos_in_two_splits_are_found(folder):
    (folder / "test" / "weak.csv").write_text(WEAK + "e\tbell\nb\tbell\n")
    (finding,) = read_labels(folder, "folder", "test").findings
    assert (finding.line, finding.problem) == (3, "b is in the train split, too")


def test_reports(folder):
    found = read_labels(folder, "folder", "val")
    first, line = findings_report(found).split("\n")
    assert first == f"{folder.name} val: 2 videos, 1 finding"
    assert line == f"{folder / 'val' / 'audio.csv'}:5: rain of d, 1 to 1, lasts no second: covers none"
    assert findings_report(found, limit=0).endswith("and 1 more")
    rows = {row.split()[0]: row.split()[1:] for row in labels_report({"val": found}).split("\n") if row}
    # heard and seen events, seconds heard, seen, both; both / either: bell is heard in 0,1,2,5 and seen in 2,3,4
    assert rows["bell"] == ["2", "2", "1", "4", "3", "1", "17%"]
    assert rows["rain"] == ["2", "1", "0", "2", "0", "0", "0%"]
    assert rows["drum"] == ["0", "0", "1", "0", "1", "0", "0%"]
    assert rows["clock"] == ["0", "0", "0", "0", "0", "0", "-"]
    # c's drum is not in its weak labels, which lack nothing else; of these c's rain and d's bell never happen.
    assert "1 labels that the weak ones lack; lacks 2 of them" in labels_report({"val": found})


def test_command(folder, capsys):
    assert main(["check-labels", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{folder}: 1 finding (folder)" in out
    assert f"{folder / 'val' / 'audio.csv'}:5: rain of d" in out
    assert out.split("\nsplit ")[1].split("\n")[1].split()[:3] == ["train", "2", "2.00"]
    assert main(["check-labels", str(folder), "--classes", "Bell,Rain"]) == 2
    assert "unknown class 'bell'. Is it Bell?" in capsys.readouterr().err
    assert main(["check-labels", str(folder), "--classes", "llpp"]) == 2
    assert main(["check-labels", str(folder / "nothing")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_command_on_llp(shared_data, capsys):
    assert main(["check-labels", str(shared_data / "llp")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{shared_data / 'llp'}: 57 findings (llp, audio events of 2020)")
    listed = [line for line in out.split("\n") if ".csv:" in line]
    assert len(listed) == len(set(listed)) == 57
    assert check_labels(shared_data / "llp", version="2024").count(".csv:") == 54

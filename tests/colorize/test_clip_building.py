import csv
import json
import math

import pytest
import torch
from little_films import film, tone

from mediakit.cli import main
from mediakit.colorize.clips import building
from mediakit.colorize.clips.building import build_clips
from mediakit.colorize.clips.readers import read_clips
from mediakit.errors import MediaError, MediakitError
from mediakit.io import Audio
from mediakit.jobs import JobError


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    for n, (label, color) in enumerate((("sea", "blue"), ("wood", "green"), ("fire", "red"), ("fire", "red"))):
        film(root / label / f"f{n}.mp4", (color, 2), ("gray", 2), sound=tone(4.0, pitch=300 + 50 * n))
    film(root / "mute.mp4", ("red", 2))
    film(root / "silent.mkv", ("red", 2), sound=Audio(torch.zeros(1, 32_000), 16_000, 0.0))
    film(root / "still.mp4", ("red", 2), moving=False, sound=tone(2.0))
    (root / "broken.mp4").write_bytes(b"\0" * 500)
    (root / "wood" / "same.mp4").write_bytes((root / "sea" / "f0.mp4").read_bytes())
    return root


@pytest.fixture
def at_once(monkeypatch):
    done = []

    def run(function, items, **options):
        for item in items:
            done.append(item.path)
            try:
                yield item, function(item)
            except Exception as error:
                yield item, JobError(str(error))

    monkeypatch.setattr(building, "run_jobs", run)
    return done


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_data_set(films, tmp_path):
    built = build_clips(films, tmp_path / "out", label_folders=True, workers=2)
    out = built.out
    assert [path for path, _ in built.failed] == ["broken.mp4"]
    clips = rows(out / "clips.csv")
    assert list(clips[0]) == ["clip", "video", "start", "end", "label", "split"]
    assert [(row["clip"], row["label"], row["start"], row["end"]) for row in clips] == [
        ("fire/f2-00000000", "fire", "0.000", "2.000"),
        ("fire/f3-00000000", "fire", "0.000", "2.000"),
        ("sea/f0-00000000", "sea", "0.000", "2.000"),
        ("wood/f1-00000000", "wood", "0.000", "2.000"),
    ]
    assert {row["split"] for row in clips} == {"train", "val", "test"}
    assert all((out / "videos" / f"{row['clip']}.mp4").is_file() for row in clips)
    left = {(row["video"], row["problem"].partition(" (")[0]) for row in rows(out / "left_out.csv")}
    assert {
        *((f"{name}.mp4", "is nearly gray") for name in ("fire/f2", "fire/f3", "sea/f0", "wood/f1")),
        ("mute.mp4", "has no sound track"),
        ("silent.mkv", "is silent"),
        ("still.mp4", "is still"),
        ("wood/same.mp4", "is a copy of sea/f0"),
    } <= left
    assert len(left) == 9
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["all"]["clips"] == sum(s["clips"] for s in statistics["splits"].values()) == 4
    assert statistics["all"]["minutes"] == pytest.approx(8 / 60, abs=1e-3)
    assert statistics["all"]["level"] == pytest.approx(20 * math.log10(0.3 / 2**0.5), abs=0.3)
    assert statistics["left_out"] == {"is nearly gray": 4, "is silent": 1, "is still": 1}
    assert {name: found["clips"] for name, found in statistics["labels"].items()} == {"fire": 2, "sea": 1, "wood": 1}
    text = (out / "statistics.txt").read_text()
    assert str(built) in text
    for word in ("train", "fire", "is nearly gray", "has no sound track"):
        assert word in text
    records, missing = read_clips(out)  # the reader of clips knows it
    assert [(r.id, r.source, r.split) for r in records] == [(r["clip"], r["video"], r["split"]) for r in clips]
    assert missing == []


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_an_interrupted_run_ends_as_one_in_peace(films, tmp_path, at_once, monkeypatch):
    whole = build_clips(films, tmp_path / "whole").out
    count = len(at_once)
    cut, calls = building.cut_film, []

    def killed(*args):
        calls.append(args)
        result = cut(*args)  # its clips are there, its record is not
        if len(calls) == 3:  # the broken one is the first
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(building, "cut_film", killed)
    with pytest.raises(KeyboardInterrupt):
        build_clips(films, tmp_path / "parts")
    monkeypatch.setattr(building, "cut_film", cut)
    at_once.clear()
    again = build_clips(films, tmp_path / "parts")
    assert len(at_once) == count - 1
    assert again.resumed == 1
    assert everything(tmp_path / "parts") == everything(whole)
    at_once.clear()
    assert build_clips(films, tmp_path / "parts").resumed == count - 1
    assert at_once == ["broken.mp4"]
    assert everything(tmp_path / "parts") == everything(whole)


def test_films_keep_their_split_when_others_come(films, tmp_path, at_once):
    few = tmp_path / "in"
    for n in range(4):
        film(few / f"f{n}.mp4", ("red", 2), sound=tone(2.0, pitch=200 + n))
    options = {"shares": (0.5, 0.25, 0.25), "out": tmp_path / "out"}
    build_clips(few, **options)
    before = {row["video"]: row["split"] for row in rows(tmp_path / "out" / "clips.csv")}
    for n in range(8):
        film(few / f"e{n}.mp4", ("blue", 2), sound=tone(2.0, pitch=400 + n))
    build_clips(few, **options)
    after = {row["video"]: row["split"] for row in rows(tmp_path / "out" / "clips.csv")}
    assert after.items() >= before.items()
    assert sorted(after.values()).count("train") == 6


def test_a_film_that_changes_is_cut_anew(tmp_path, at_once):
    path = film(tmp_path / "in" / "a.mp4", ("red", 2), ("green", 2), sound=tone(4.0))
    build_clips(tmp_path / "in", tmp_path / "out")
    film(path, ("blue", 2), sound=tone(2.0))
    build_clips(tmp_path / "in", tmp_path / "out")
    assert at_once == ["a.mp4", "a.mp4"]
    assert [file.name for file in (tmp_path / "out" / "videos").iterdir()] == ["a-00000000.mp4"]


def test_other_settings_are_refused_unless_told_to(tmp_path, at_once):
    film(tmp_path / "in" / "a.mp4", ("red", 2), sound=tone(2.0))
    build_clips(tmp_path / "in", tmp_path / "out")
    with pytest.raises(MediakitError, match=r"made otherwise \(seconds 10\.0 there, 1\.0 now.*--overwrite"):
        build_clips(tmp_path / "in", tmp_path / "out", seconds=1.0, shortest=1.0)
    built = build_clips(tmp_path / "in", tmp_path / "out", seconds=1.0, shortest=1.0, overwrite=True)
    assert built.statistics["all"]["clips"] == 2
    assert len(list((tmp_path / "out" / "videos").iterdir())) == 2


def test_wrong_places_and_options(films, tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        build_clips(tmp_path / "none", tmp_path / "out")
    with pytest.raises(MediaError, match="they would lie among the films"):
        build_clips(films, films)
    (tmp_path / "foreign" / "videos").mkdir(parents=True)
    with pytest.raises(MediaError, match="not from `mediakit build-clips`"):
        build_clips(films, tmp_path / "foreign")
    with pytest.raises(ValueError, match="0 < shortest <= seconds"):
        build_clips(films, tmp_path / "out", seconds=1.0)
    with pytest.raises(ValueError, match="sum to 1"):
        build_clips(films, tmp_path / "out", shares=(0.5, 0.1, 0.1))
    assert not (tmp_path / "out").exists()


def test_command(films, tmp_path, at_once, capsys):
    assert main(["build-clips", str(films), "-o", str(tmp_path / "out"), "--label-folders", "-q"]) == 1
    told = capsys.readouterr()
    assert "broken.mp4: " in told.err
    assert told.out.startswith("split")
    assert told.out.rstrip().endswith(f"1 films failed; {tmp_path / 'out' / 'left_out.csv'} lists what was left out")
    assert main(["build-clips", str(films), "-o", str(tmp_path / "out"), "--seconds", "1", "-q"]) == 2
    assert "0 < shortest <= seconds" in capsys.readouterr().err

"""`mediakit demo` as a user meets it, from one run: its files, and a page of truth beside measurement."""

import base64
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mediakit.errors import MissingPackageError
from mediakit.synthetic.events import EventClips

FILMS = ("demo", "events", "head", "scene")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "mediakit", "demo", "--out", str(folder), "-q"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder / 'index.html'}\n", "")
    return folder


@pytest.fixture(scope="module")
def page(demo) -> str:
    return (demo / "index.html").read_text()


@pytest.fixture(scope="module")
def found(demo) -> dict:
    return json.loads((demo / "demo.json").read_text())


def words(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])))


def test_files(demo):
    pages = {f"{name}{end}" for name in FILMS for end in (".mp4", ".html")}
    assert {p.name for p in demo.iterdir()} == pages | {"demo.json", "index.html"}


def test_the_page_asks_nothing_from_the_network(demo, page):
    links = re.findall(r"(?:src|href|poster)=\"([^\"]{1,200})", page)
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page
        elif not link.startswith("data:"):
            assert (demo / link).is_file(), link
    assert {f"{name}.html" for name in FILMS} <= {*links}
    assert "url(" not in page
    assert "<script" not in page
    assert page.startswith("<!doctype html>")


def test_one_section_a_kind_with_its_film_inside(demo, page):
    assert re.findall(r'<section aria-labelledby="(\w+)"', page) == ["events", "head", "scene", "more"]
    films = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert [base64.b64decode(film) for film in films] == [(demo / f"{n}.mp4").read_bytes() for n in FILMS[1:]]
    assert len(page) < 6_000_000


def test_true_events_are_told_and_drawn(page):
    clip = EventClips(size=(180, 240)).clip(93)
    bars = re.findall(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%;top:\d+px">(\w+)<', page)
    drawn = {(name, float(left) / 10, (float(left) + float(width)) / 10) for left, width, name in bars}
    assert len(bars) == len(clip.events)
    assert drawn == {(e.label, e.onset, e.offset) for e in clip.events}
    text = words(page)
    for said in ("violin: only seen, 0–2 s", "siren: heard and seen, 0–4 s", "bell: heard 3–9 s, seen 3–6 s"):
        assert said in text


def test_the_head_is_measured_as_it_is(page, found):
    if found["faces"] is None:
        pytest.skip(f"no faces here: {found['absent']['faces']}")
    text = words(page)
    pattern = r"(pitch|yaw|roll|mouth opening) correlation (\d\.\d+), RMSE ([\d.]+)"
    numbers = {name: (float(correlation), float(rmse)) for name, correlation, rmse in re.findall(pattern, text)}
    assert [*numbers] == ["pitch", "yaw", "roll", "mouth opening"]
    assert numbers["yaw"][0] > 0.9
    assert numbers["mouth opening"][0] > 0.9
    assert max(rmse for _, rmse in numbers.values()) < 3
    faces = re.search(r"The face was found in (\d+) of (\d+) frames", text)
    assert int(faces[1]) > 0.95 * int(faces[2]) > 100
    assert page.count("M0 5H32") == 8  # legends: true and measured, four times


def test_the_hue_of_the_scene_is_in_its_file(page):
    text = words(page)
    assert "The gray picture shows the group, water . Only the sound tells the class, rain ," in text
    clip, frame, measured = (
        int(n) for n in re.findall(r"(?:true|measured) (?:the clip|this frame)'s hue (\d+)°", text)
    )
    assert abs(frame - measured) <= 3
    assert abs(clip - frame) <= 12
    assert re.findall(r"had it been: (\w+)", text) == ["alarm", "clock"]


def test_what_to_do_next(page):
    for kind in ("events", "heads", "scenes"):
        assert f"mediakit generate {kind} --out" in page


def test_the_photograph_under_a_moving_camera(found):
    assert found["file"]["packets"]["frames"] == 200
    assert found["sound"]["silent"] is False
    if found["faces"] is None:
        pytest.skip(f"no faces here: {found['absent']['faces']}")
    track = found["faces"]["tracks"][0]
    # The portrait is on screen until the cut at 5.5 s, under a camera that rolls by 12 degrees sin(2 pi t / 4).
    assert track["start"] < 0.2
    assert 5.3 <= track["end"] < 5.5
    time, roll = torch.tensor(track["time"]), torch.tensor(track["pose"])[:, 2]
    truth = 12 * torch.sin(2 * torch.pi * time / 4)
    assert abs(torch.corrcoef(torch.stack([roll, truth]))[0, 1]) > 0.98
    assert float(roll.std() / truth.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_a_second_run_writes_the_same_bytes(demo):
    before = {path.name: path.read_bytes() for path in demo.iterdir()}
    subprocess.run([sys.executable, "-m", "mediakit", "demo", "--out", str(demo), "-q"], check=True)
    assert {path.name: path.read_bytes() for path in demo.iterdir()} == before


@pytest.mark.slow
def test_without_mediapipe(tmp_path, monkeypatch, capsys):
    import mediakit.faces
    from mediakit.cli import main

    def missing(*_, **__):
        raise MissingPackageError("Face tracking needs the package 'mediapipe'")

    monkeypatch.setattr(mediakit.faces, "open_detector", missing)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'index.html'}\n"
    steps = re.findall(r"(\w+)\.mp4: drawing [a-z ,]+$", err, flags=re.MULTILINE)
    assert steps == [*FILMS]
    page = (tmp_path / "index.html").read_text()
    text = words(page)
    assert "Face tracking needs the package 'mediapipe'" in text
    assert "The curves below are the truth alone." in text
    assert "correlation" not in text.replace("correlation of", "")
    assert page.count('<path class="curve s1"') == 4
    assert "this frame's hue" in text

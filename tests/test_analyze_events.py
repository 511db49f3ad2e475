"""`mediakit analyze --parsing`: events in the one pass over the file, on the page and in files."""

import json
import re
from pathlib import Path

import pytest
import torch
from toy_parser import Reader, save

import mediakit.analyze
from mediakit.analyze import analyze_file
from mediakit.cli import main
from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder
from mediakit.io import Audio, read_video, write_audio, write_image, write_video
from mediakit.parsing.event_files import read_events
from mediakit.parsing.predict import predict_file
from mediakit.report import render_page
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.events import EventClips

RATE = 16_000


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_clip(EventClips(seconds=4, size=(48, 64)).clip(1), folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def module() -> Reader:
    # Without a filter some events are found whatever the features are.
    reader = Reader(segments=3, protocol="raw")
    kinds = {"audio": AudioEncoder, "frames": FrameEncoder, "clips": ClipEncoder}
    reader.encoders = {name: kind("reference", weights="pretrained").card() for name, kind in kinds.items()}
    return reader


@pytest.fixture(scope="module")
def checkpoint(media, module) -> Path:
    return save(module, media / "parser.ckpt")


def run(*words: object) -> int:
    return main(["analyze", "-q", "--no-faces", *map(str, words)])


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.read_text().partition("</style>")[2]))


def test_one_pass_finds_what_a_pass_of_its_own_finds(media, module, monkeypatch):
    seen = []

    def counting(path, **options):
        for frame in read_video(path, **options):
            seen.append(frame.index)
            yield frame

    monkeypatch.setattr(mediakit.analyze, "read_video", counting)
    found = analyze_file(media / "clip.mp4", faces=False, parsing=module)
    assert seen == list(range(64))
    alone = predict_file(module, media / "clip.mp4")
    torch.testing.assert_close(found.parsing.frame_prob, alone.frame_prob, rtol=1e-4, atol=1e-5)
    assert found.parsing.windows == alone.windows == ((0, 3), (1, 4))
    assert found.parsing.duration == alone.duration
    assert [event[:4] for event in found.parsing.events] == [event[:4] for event in alone.events]
    assert alone.events


def test_page_json_and_event_files(media, checkpoint, tmp_path, capfd):
    files = {kind: tmp_path / f"events.{kind}" for kind in ("json", "csv", "vtt")}
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    words = [word for path in files.values() for word in ("--events", path)]
    assert run(media / "clip.mp4", "--parsing", checkpoint, "-o", page, "--json", data, *words) == 0
    out, err = capfd.readouterr()
    assert (out.splitlines(), err) == ([str(path) for path in (data, page, *files.values())], "")
    told = json.loads(data.read_text())["tasks"]["parsing"]
    assert told["status"] == "parsed"
    assert told["model"]["checkpoint"] == "parser.ckpt"
    assert told["encoders"]["audio"]["weights"] == "synthetic"
    events = read_events(files["json"])
    assert events == read_events(files["csv"])
    assert events
    assert [(e["start"], e["end"], e["label"], e["modality"]) for e in told["events"]] == [e[:4] for e in events]
    assert files["vtt"].read_text().startswith("WEBVTT\n\n1 (score 0.")
    assert json.loads(files["json"].read_text())["file"]["name"] == "clip.mp4"
    html = page.read_text()
    assert html.count('<span class="event ') == len(events)
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script", html)
    shown = text_of(page)
    assert "Events heard and seen" in shown
    assert "trained on generated media alone" in shown
    assert "Model: parser.ckpt (Readout)" in shown
    assert "Needs a parsing model" not in shown


def test_event_files_alone_make_no_page(media, checkpoint, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(media / "clip.mp4", "--parsing", checkpoint, "--events", "e.csv") == 0
    assert capfd.readouterr().out == "e.csv\n"
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]


def test_without_a_model_the_page_says_how_to_get_one(media):
    found = analyze_file(media / "clip.mp4", faces=False)
    assert found.parsing is None
    assert found.to_dict()["tasks"]["parsing"]["status"] == "no model"
    page = render_page(found)
    assert "mediakit fit" in page
    assert "--parsing CKPT" in page
    assert 'id="events"' not in page


@pytest.mark.parametrize(
    ("name", "absent"),
    [("mute.mp4", "has no sound"), ("silent.mp4", "The sound track is silent"), ("song.wav", "has no pictures")],
)
def test_a_file_is_parsed_in_what_it_has(tmp_path, module, name, absent):
    pictures = [torch.full((3, 48, 64), 100, dtype=torch.uint8)] * 10
    silence = Audio(torch.zeros(1, RATE), RATE, 0.0)
    if name == "song.wav":
        write_audio(tmp_path / name, 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0)), RATE)
    else:
        write_video(tmp_path / name, pictures, 10, audio=silence if name == "silent.mp4" else None)
    found = analyze_file(tmp_path / name, faces=False, parsing=module)
    (told,) = found.parsing.absent.values()
    assert absent in told
    assert told in render_page(found)
    assert {event.modality for event in found.parsing.events} <= {"audio" if name == "song.wav" else "visual"}


def test_a_photograph_is_parsed_too(tmp_path, module):
    write_image(tmp_path / "red.png", torch.full((3, 30, 40), 90, dtype=torch.uint8))
    found = analyze_file(tmp_path / "red.png", faces=False, parsing=module)
    assert found.still
    assert found.parsing.events
    assert all(event.end > event.start for event in found.parsing.events)
    assert 'class="timeline"' not in render_page(found)


def test_what_cannot_be_used_is_told_before_the_work(media, checkpoint, module, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(mediakit.analyze, "sha256", lambda *_: pytest.fail("worked in vain"))
    clip, page = media / "clip.mp4", tmp_path / "page.html"
    unknown = Reader()
    (tmp_path / "notes.ckpt").write_text("notes")
    for words, reason in {
        ("--events", tmp_path / "e.csv"): "need a parsing model: --parsing CKPT",
        ("--audio-weights", "x.pt"): "need a parsing model: --parsing CKPT",
        ("--parsing", checkpoint, "--events", tmp_path / "e.txt"): "is no format of events",
        ("--parsing", checkpoint, "--events", page): "is no format of events",
        ("--parsing", checkpoint, "--events", tmp_path / "none" / "e.csv"): "No such file or directory",
        ("--parsing", tmp_path / "gone.ckpt"): "does not exist",
        ("--parsing", tmp_path / "notes.ckpt"): "is no checkpoint",
        ("--parsing", save(unknown, tmp_path / "bare.ckpt")): "nothing says which encoder made the audio features",
        ("--parsing", checkpoint, "--clip-weights", tmp_path / "gone.pt"): "there is no such weight file",
    }.items():
        assert run(clip, "-o", page, *words) == 2, words
        out, err = capfd.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert reason in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.ckpt", "notes.ckpt"]

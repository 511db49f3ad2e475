"""`mediakit colorize` as a user meets it: one picture, one film, and folders with everything in them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from toy_colorizer import CHROMA, ToyColorizer, hue
from toy_parser import save

from mediakit.cli import main
from mediakit.colorize import folder as folder_module
from mediakit.colorize.predict import kind_of, output_name
from mediakit.errors import MediakitError
from mediakit.io import Audio, probe, read_image, write_audio, write_image, write_video
from mediakit.jobs import JobError

RATE, HERTZ = 16_000, 510
GRAY = torch.linspace(110, 150, 60).round().to(torch.uint8).expand(3, 40, 60).contiguous()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Files are coloured in this process."""

    def run_here(function, items, **_):
        for item in items:
            try:
                result = function(item)
            except MediakitError as error:
                result = JobError(str(error))
            yield item, result

    monkeypatch.setattr(folder_module, "run_jobs", run_here)


def tone(hertz=HERTZ, seconds=1):
    return Audio(0.2 * torch.sin(2 * torch.pi * hertz * torch.arange(seconds * RATE) / RATE)[None], RATE, 0.0)


def film(path, sound=None):
    write_video(path, [GRAY] * 6, 6, audio=sound, preset="ultrafast")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(ToyColorizer(), tmp_path / "toy.ckpt")
    write_image(tmp_path / "old.png", GRAY)
    return tmp_path


def run(*words):
    return main(["colorize", *map(str, words), "--weights", "toy.ckpt", "-q"])


def color_of(path):
    return rgb2lab(read_image(path).permute(1, 2, 0).numpy() / 255)[..., 1:].mean((0, 1))


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text().partition("</style>")[2]))


# One file


def test_a_picture_with_its_sound(here, capsys):
    write_audio(here / "rain.wav", tone())
    words = ["--audio", "rain.wav", "--preview", "--json", "new.json", "--saturation", "0.5", "--uncertainty"]
    assert run("old.png", "-o", "new.png", *words) == 0
    out, err = capsys.readouterr()
    told = "new.png: a picture in guessed colours, guided by the sound, believed to 75%"
    assert out.splitlines() == [told, "new.png.html", "new.json"]
    assert (
        err
        == "mediakit: warning: The network has no dropout, so its uncertainty was measured over input sizes alone.\n"
    )
    wanted = 0.5 * CHROMA * np.array([np.cos(hue(HERTZ)), np.sin(hue(HERTZ))])
    assert color_of("new.png") == pytest.approx(wanted, abs=1)
    told = json.loads((here / "new.json").read_text())
    assert told["guided"] == {"by": "sound", "sound": "used", "weight": 1.0, "relevance": 0.75}
    assert told["model"]["checkpoint"] == "toy.ckpt"
    assert told["spread"]["size"] == pytest.approx(0, abs=1e-4)
    page = (here / "new.png.html").read_text()
    text = text_of(here / "new.png.html")
    assert "The colours are guessed." in text
    assert "What the sound changed" in text
    assert "guided by the sound, relevance 0.75" in text
    assert all(f"chroma × {factor}" in text for factor in ("0.5", "1", "1.5", "2"))
    assert "Root mean square distance from the mean guess, in Lab units: over input sizes 0.0." in text
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert page.count('type="range"') == 1


def test_a_picture_without_sound_in_a_page(here, capsys):
    assert run("old.png", "-o", "new.jpg", "--preview") == 0
    text = text_of(here / "new.jpg.html")
    assert "guided by the picture alone; sound: none was given" in text
    assert "changed" not in text
    assert "Uncertainty" not in text


def test_an_exemplar(here):
    write_image(here / "photo.jpg", GRAY)
    assert run("old.png", "-o", "new.tif", "--guide", "photo.jpg", "--preview", "--bits", "16") == 0
    assert color_of("new.tif") == pytest.approx((CHROMA, 0), abs=0.5)
    assert read_image("new.tif", bits=None).dtype == torch.uint16
    assert "the photograph" in text_of(here / "new.tif.html")


def test_a_film(here, capsys):
    film(here / "old.mp4", tone())
    assert run("old.mp4", "-o", "new.mp4", "--preview", "--json", "new.json", "--audio-weight", "0.5") == 0
    out = capsys.readouterr().out
    assert out.startswith("new.mp4: 6 frames in guessed colours, 1 shot, guided by the sound, believed to 38%\n")
    told = json.loads((here / "new.json").read_text())
    assert told["kind"] == "video"
    assert told["frames"] == 6
    assert told["shots"][0]["guided"]["weight"] == 0.5
    assert told["steadiness"]["written"]["flicker"] is not None
    text = text_of(here / "new.mp4.html")
    assert "A film of 1.0 s, 60 × 40 pixels, in 1 shot." in text
    assert "guided by the sound, relevance 0.38, weight 0.5" in text
    assert (here / "new.mp4.html").read_text().count('type="range"') == 6
    assert probe("new.mp4").audio[0].codec == "aac"


def test_progress_of_a_film(here, capsys):
    film(here / "old.mp4", tone())
    assert main(["colorize", "old.mp4", "-o", "new.mp4", "--weights", "toy.ckpt"]) == 0
    err = capsys.readouterr().err
    assert re.search(r"shots: 100%.*6/6", err)
    assert re.search(r"colours: 100%.*6/6", err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.png", "-o", "new.png"], "gone.png: does not exist"),
        (["old.png", "-o", "new.gif"], "new.gif: has the ending .gif, which a picture is not written with"),
        (["old.png", "-o", "new.jpg", "--bits", "16"], "new.jpg: has the ending .jpg, which a picture of 16 bits"),
        (["old.png", "-o", "old.png"], "old.png: cannot be written: it is the file to read"),
        (["old.png", "-o", "no/new.png"], "no/new.png: cannot be written"),
        (["old.png", "-o", "new.png", "--audio", "gone.wav"], "gone.wav: does not exist"),
        (["old.png", "-o", "new.png", "--audio", "a.wav", "--guide", "b.jpg"], "not both"),
        (["old.mp4", "-o", "new.png"], "new.png: has the ending .png, which a film is not written with"),
        (["old.mp4", "-o", "new.mp4", "--audio", "a.wav"], "films are coloured with their own sound"),
        (["old.png", "-o", "new.png", "--workers", "2"], "are for folders"),
        ([".", "-o", "new", "--json", "new.json"], "are for one file"),
        ([".", "-o", "."], "the folder of the originals"),
    ],
)
def test_what_cannot_be_is_one_line(here, capsys, words, message):
    film(here / "old.mp4")
    before = sorted(here.iterdir())
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert message in line
    assert sorted(here.iterdir()) == before


def test_weights_of_another_task(here, capsys):
    (here / "toy.ckpt").write_bytes(b"no weights")
    assert run("old.png", "-o", "new.png") == 2
    assert "toy.ckpt" in capsys.readouterr().err
    assert not (here / "new.png").exists()


# A folder


@pytest.fixture
def twenty(here):
    """Fifteen pictures and four films, in places; and one broken file, one sound, one text."""
    source = here / "in"
    (source / "deep").mkdir(parents=True)
    for n in range(12):
        write_image(source / f"{n}.png", GRAY.roll(n, 2))
    write_image(source / "deep" / "a.jpg", GRAY)
    write_image(source / "deep" / "a.webp", GRAY)
    write_image(source / "16.tif", GRAY.to(torch.int32).mul(257).to(torch.uint16))
    film(source / "heard.mp4", tone())
    film(source / "mute.mkv")
    film(source / "deep" / "b.mov")
    film(source / "c.ts")
    (source / "broken.jpg").write_bytes((source / "deep" / "a.jpg").read_bytes()[:200])
    write_audio(source / "rain.wav", tone())
    (source / "notes.txt").write_text("of the archive")
    return source


def test_one_corrupt_file_of_twenty(twenty, here, capsys):
    assert run("in", "-o", "out", "--preview") == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "mediakit: in/broken.jpg: is damaged or no image that OpenCV knows. Fetch it again, or save it as PNG or JPEG."
    ]
    assert out.splitlines()[0] == "out/colorize.html"
    assert "out: 19 files in guessed colours (0 of them from earlier runs), 1 failed, 2 other passed over" in out
    made = {
        p.relative_to(here / "out").as_posix() for p in (here / "out").rglob("[!.]*.*") if ".records" not in p.parts
    }
    wanted = {p.relative_to(twenty).as_posix() for p in twenty.rglob("*.*")} - {
        "rain.wav",
        "notes.txt",
        "broken.jpg",
        "c.ts",
    }
    assert made == wanted | {"c.ts.mp4", "colorize.json", "colorize.html"}
    told = json.loads((here / "out" / "colorize.json").read_text())
    assert len(told["files"]) == 19
    assert [failure["path"] for failure in told["failures"]] == ["broken.jpg"]
    assert told["files"]["heard.mp4"]["result"]["shots"][0]["guided"]["by"] == "sound"
    assert told["files"]["mute.mkv"]["result"]["shots"][0]["guided"]["sound"] == "missing"
    assert told["model"]["checkpoint"] == "toy.ckpt"
    page = (here / "out" / "colorize.html").read_text()
    assert page.count('type="range"') == 19
    assert "broken.jpg: is damaged" in page


def test_a_second_run_does_only_what_is_new(twenty, here, capsys, monkeypatch):
    for path in [*twenty.glob("1*.*"), *twenty.glob("*.m*"), *twenty.glob("*.ts"), twenty / "broken.jpg"]:
        path.unlink()
    shutil.rmtree(twenty / "deep")
    assert run("in", "-o", "out") == 0
    (here / "out" / "3.png").unlink()
    write_image(twenty / "4.png", 255 - GRAY)
    capsys.readouterr()
    done = []
    work = folder_module._colorize
    monkeypatch.setattr(folder_module, "_colorize", lambda job: done.append(job.path) or work(job))
    assert run("in", "-o", "out") == 0
    assert done == ["3.png", "4.png"]
    assert "9 files in guessed colours (7 of them from earlier runs)" in capsys.readouterr().out
    assert run("in", "-o", "out", "--saturation", "0.5") == 0  # another result is wanted
    assert len(done) == 2 + 9
    assert run("in", "-o", "out", "--saturation", "0.5", "--overwrite") == 0
    assert len(done) == 2 + 9 + 9


def test_files_of_others_are_not_replaced(here, capsys):
    (here / "in").mkdir()
    (here / "out").mkdir()
    write_image(here / "in" / "a.png", GRAY)
    write_image(here / "out" / "a.png", GRAY[:1])
    before = (here / "out" / "a.png").read_bytes()
    assert run("in", "-o", "out") == 1
    assert "out/a.png: is there already, and not from `mediakit colorize`" in capsys.readouterr().err
    assert (here / "out" / "a.png").read_bytes() == before
    assert run("in", "-o", "out", "--overwrite") == 0
    assert (here / "out" / "a.png").read_bytes() != before


def test_the_page_of_the_api(here, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "api" / "colorize-files.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(block, "colorize-files.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print.*\)  # (.+)", block, re.MULTILINE)
    assert (here / "colored.png").is_file()


def test_an_empty_folder(here, capsys):
    (here / "in").mkdir()
    assert run("in", "-o", "out") == 2
    assert "holds no media files" in capsys.readouterr().err


def test_kinds_and_names(tmp_path):
    assert kind_of("a.JPG") == "image"
    assert kind_of("a.mxf") == "video"
    pillow = pytest.importorskip("PIL.Image")
    stills = [pillow.new("L", (32, 32), n * 90) for n in range(3)]
    stills[0].save(tmp_path / "still.gif")
    stills[0].save(tmp_path / "moves.gif", save_all=True, append_images=stills[1:], duration=100)
    assert kind_of(tmp_path / "still.gif") == "image"
    assert kind_of(tmp_path / "moves.gif") == "video"
    assert output_name("d/a.JPG", "image") == "d/a.JPG"
    assert output_name("d/a.jpg", "image", bits=16) == "d/a.jpg.png"
    assert output_name("still.gif", "image") == "still.gif.png"
    assert output_name("moves.gif", "video") == "moves.gif.mp4"
    assert output_name("a.webm", "video") == "a.webm.mp4"
    assert output_name("a.mkv", "video", bits=16) == "a.mkv"


def test_a_sound_is_no_picture(here, capsys):
    write_audio(here / "rain.wav", tone())
    assert run("rain.wav", "-o", "new.png") == 2
    assert "rain.wav: has no pictures to colour. A sound goes to --audio" in capsys.readouterr().err

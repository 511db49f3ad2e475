"""`mediakit analyze --colorize` on real files: what is gray gets colours of its own sound, what is not stays as it is.

The colorizer paints every picture in one colour, which the pitch of the sound tells: what guided a picture can be seen.
"""

import json
import math
import re
from itertools import islice
from pathlib import Path

import pytest
import torch
from toy_colorizer import ALONE, CHROMA, RELEVANCE, ToyColorizer, hue
from toy_parser import save

from mediakit.analyze import analyze_file
from mediakit.cli import main
from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.key_frames import STILLS, KeyFrameColors, is_toned
from mediakit.colorize.section import colorize_section
from mediakit.io import Audio, encode_image, read_video, write_audio, write_image, write_video
from mediakit.report import render_page

FPS, RATE = 10, 16_000
LOW, HIGH = 500, 1500


def tone(hertz: float, seconds: float, level: float = 0.2) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)[None]


def film(seed: int, seconds: float) -> list[torch.Tensor]:
    """A gray cloud that moves to the left, with little contrast so that every colour fits in."""
    draw = torch.Generator().manual_seed(seed)
    cloud = torch.rand(1, 1, 7, 12, generator=draw)
    wide = torch.nn.functional.interpolate(cloud, (72, 160), mode="bicubic", align_corners=True)[0]
    gray = (95 + 65 * wide).clamp(0, 255).round().to(torch.uint8).expand(3, -1, -1)
    return [gray[:, :, n : n + 96].contiguous() for n in range(round(seconds * FPS))]


def sepia(frames: list[torch.Tensor]) -> list[torch.Tensor]:
    weights = torch.tensor([1.05, 0.92, 0.7])[:, None, None]
    return [(frame * weights).clamp(0, 255).round().to(torch.uint8) for frame in frames]


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gray")
    first, second = film(0, 3), [255 - frame for frame in film(1, 3)]
    sound = Audio(torch.cat([tone(LOW, 3), tone(HIGH, 3)], 1), RATE, 0.0)
    quick = {"preset": "ultrafast", "threads": 1}
    write_video(folder / "two.mp4", first + second, FPS, audio=sound, **quick)
    write_video(folder / "toned.mp4", sepia(first), FPS, audio=Audio(tone(LOW, 3), RATE, 0.0), **quick)
    write_video(folder / "mute.mp4", first, FPS, **quick)
    write_video(folder / "hush.mp4", first, FPS, audio=Audio(torch.zeros(1, 3 * RATE), RATE, 0.0), **quick)
    save(ToyColorizer(), folder / "toy.ckpt")
    return folder


def look(path: Path) -> KeyFrameColors:
    found = analyze_file(path, faces=False, colorize=ToyColorizer())
    page = render_page(found)
    assert 'id="colorize"' in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    json.dumps(found.to_dict(), allow_nan=False)
    return found.colorize


def mean_ab(image: torch.Tensor) -> tuple[float, float]:
    return tuple(rgb_to_lab(image / 255)[1:].mean((1, 2)).tolist())


def test_each_picture_is_coloured_by_the_sound_of_its_shot(media):
    found = look(media / "two.mp4")
    assert (found.status, found.tone, found.notes) == ("coloured", "gray", ())
    assert len(found.stills) == STILLS
    assert [still.time < 3 for still in found.stills] == [True, True, False, False]
    for still in found.stills:
        angle = hue(LOW if still.time < 3 else HIGH)
        assert mean_ab(still.after) == pytest.approx((CHROMA * math.cos(angle), CHROMA * math.sin(angle)), abs=2)
        assert still.guided.relevance == RELEVANCE
        before, after = (rgb_to_lab(image / 255)[0] for image in (still.before, still.after))
        assert (after - before).abs().max() <= 0.3


@pytest.mark.parametrize(
    ("name", "state", "said"), [("mute", "missing", "no sound track"), ("hush", "silent", "silent")]
)
def test_without_sound(media, name, state, said):
    found = look(media / f"{name}.mp4")
    (note,) = found.notes
    assert said in note
    for still in found.stills:
        assert (still.guided.by, still.guided.sound, still.guided.relevance) == ("nothing", state, 0)
        assert mean_ab(still.after) == pytest.approx(ALONE, abs=1.5)
    assert "without any sound to guide them" in colorize_section(found, "")["lead"]


def test_sound_that_cannot_be_decoded(media, tmp_path, monkeypatch):
    from mediakit.colorize import guide
    from mediakit.errors import MediaError

    def broken(path, **_):
        raise MediaError(path, "has a damaged sound track", "Try the original file.")

    monkeypatch.setattr(guide, "read_audio_blocks", broken)
    found = look(media / "two.mp4")
    assert {still.guided.sound for still in found.stills} == {"undecodable"}
    assert "has a damaged sound track" in found.notes[0]


def test_a_tint_is_no_colour(media):
    found = look(media / "toned.mp4")
    assert (found.status, found.tone) == ("coloured", "toned")
    assert found.colorfulness > 15
    angle = hue(LOW)
    for still in found.stills:
        assert mean_ab(still.after) == pytest.approx((CHROMA * math.cos(angle), CHROMA * math.sin(angle)), abs=2)


def test_colour_stays_as_it_is(tmp_path):
    skimage = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    write_image(tmp_path / "coffee.png", torch.from_numpy(skimage.coffee()).permute(2, 0, 1))
    found = look(tmp_path / "coffee.png")
    assert (found.status, found.tone, found.stills) == ("in colour already", "colour", ())
    assert found.to_dict()["notice"] is None
    assert "The picture is in colour already" in colorize_section(found, "", still=True)["lead"]


def test_a_photograph_and_a_sound(media, tmp_path):
    write_image(tmp_path / "cloud.png", film(0, 0.1)[0])
    found = look(tmp_path / "cloud.png")
    (still,) = found.stills
    assert still.guided.sound == "missing"
    section = colorize_section(found, "", still=True)
    assert section["lead"] == "The picture is black and white; it was coloured, without any sound to guide it."
    assert section["stills"][0]["caption"] == "no sound: there is none"
    write_audio(tmp_path / "song.wav", tone(LOW, 1), RATE)
    found = look(tmp_path / "song.wav")
    assert (found.status, found.tone, found.stills) == ("no pictures", None, ())


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_photographs_and_their_sepia(name):
    import cv2

    skimage = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    image = torch.from_numpy(getattr(skimage, name)()).permute(2, 0, 1)
    gray = (image.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).expand(3, -1, -1)
    assert not is_toned(image)
    assert is_toned(gray.round().to(torch.uint8))
    for tint in ((1.07, 0.93, 0.72), (0.6, 0.8, 1.1)):
        toned = (gray * torch.tensor(tint)[:, None, None]).clamp(0, 255).round().to(torch.uint8)
        data = torch.frombuffer(bytearray(encode_image(toned, ".jpg", quality=60)), dtype=torch.uint8)
        back = cv2.cvtColor(cv2.imdecode(data.numpy(), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert is_toned(torch.from_numpy(back).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "toned"), [("chaplin", True), ("friday", True), ("cockatoo", False), ("flower", False)]
)
def test_real_films(shared_data, name, toned):
    frames = islice(read_video(shared_data / "media" / f"{name}.mp4", fps=0.5), 3)
    assert {is_toned(frame.image) for frame in frames} == {toned}


def test_page_and_json(media, tmp_path, capfd):
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    words = ["analyze", "-q", str(media / "two.mp4"), "--no-faces", "--colorize", str(media / "toy.ckpt")]
    words += ["-o", str(page), "--json", str(data)]
    assert main(words) == 0
    assert capfd.readouterr().out.splitlines() == [str(data), str(page)]
    first = data.read_bytes(), page.read_bytes()
    assert main(words) == 0
    assert (data.read_bytes(), page.read_bytes()) == first
    told = json.loads(first[0])["tasks"]["colorize"]
    assert (told["status"], told["schema"], told["tone"]) == ("coloured", "mediakit.colorize/1", "gray")
    assert told["model"]["checkpoint"] == "toy.ckpt"
    assert len(told["model"]["checkpoint_sha256"]) == len(told["model"]["weights_sha256"]) == 64
    assert [frame["relevance"] for frame in told["frames"]] == [RELEVANCE] * STILLS
    assert told["notice"].startswith("The colours are guessed.")
    html = first[1].decode()
    section = html.partition('id="colorize"')[2].partition("</section>")[0]
    assert section.count("<img ") == 2 * STILLS
    assert section.count('type="range"') == STILLS  # moved by arrow keys, too
    assert len(set(re.findall(r'alt="(the picture at 0:0[^"]*)"', section))) == 2 * STILLS
    assert "The colours are guessed." in section
    assert section.count("sound believed to 75%") == STILLS
    assert "toy.ckpt (Synaesthesia)" in section
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script", html)


def test_without_a_colorizer_the_page_says_how_to_get_one(media):
    found = analyze_file(media / "mute.mp4", faces=False)
    assert found.colorize is None
    assert found.to_dict()["tasks"]["colorize"]["status"] == "no model"
    page = render_page(found)
    assert "mediakit train-colorizer" in page
    assert 'id="colorize"' not in page


def test_another_checkpoint_is_refused(media, tmp_path, capfd):
    from toy_parser import Reader

    save(Reader(), tmp_path / "reader.ckpt")
    words = ["analyze", "-q", str(media / "mute.mp4"), "-o", str(tmp_path / "page.html")]
    assert main([*words, "--colorize", str(tmp_path / "reader.ckpt")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "colour pictures" in line
    assert not (tmp_path / "page.html").exists()

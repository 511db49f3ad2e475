"""Films in colours: each shot by its own sound, steady, with all else as it was. The toy paints what it hears."""

import av
import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import nn
from toy_colorizer import ALONE, CHROMA, RELEVANCE, ToyColorizer, hue

from mediakit.colorize.guide import LEAST, shot_guides
from mediakit.colorize.model import ColorizeOutput
from mediakit.colorize.video import colorize_video, find_shots
from mediakit.errors import MediaError
from mediakit.io import Audio, Frame, probe, read_video, scan_packets, write_audio, write_image, write_video

FPS, RATE, LOW, HIGH = 10, 16_000, 510, 1510
QUICK = {"preset": "ultrafast"}


def tone(hertz, seconds):
    return 0.2 * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)[None]


def cloud(seed, count, height=72, width=96):
    """Gray of little contrast, so that every colour of the toy fits in, that moves to the left."""
    draw = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 1, 7, 12, generator=draw)
    wide = nn.functional.interpolate(small, (height, width + 64), mode="bicubic", align_corners=True)[0]
    level = (95 + 65 * wide).clamp(0, 255).round().to(torch.uint8).expand(3, -1, -1)
    return [level[:, :, n : n + width].contiguous() for n in range(count)]


def hue_of(image):
    return rgb2lab(image.permute(1, 2, 0).numpy() / 255)[..., 1:].mean((0, 1))


def of_tone(hertz):
    return CHROMA * np.array([np.cos(hue(hertz)), np.sin(hue(hertz))])


def packets(path):
    """Sound as it is stored."""
    with av.open(str(path)) as container:
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two shots of three seconds, each with a tone of its own."""
    path = tmp_path_factory.mktemp("film") / "two.mp4"
    frames = cloud(0, 30) + [255 - frame for frame in cloud(1, 30)]
    sound = Audio(torch.cat([tone(LOW, 3), tone(HIGH, 3)], 1), RATE, 0.0)
    write_video(path, frames, FPS, audio=sound, metadata={"title": "Two"}, **QUICK)
    return path


@pytest.fixture(scope="module")
def colored(two, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "two.mp4"
    return out, colorize_video(ToyColorizer().eval(), two, out, **QUICK)


def test_each_shot_has_the_colour_of_its_own_sound(colored):
    out, film = colored
    frames = [frame.image for frame in read_video(out)]
    for number, hertz in ((0, LOW), (29, LOW), (30, HIGH), (59, HIGH)):
        assert hue_of(frames[number]) == pytest.approx(of_tone(hertz), abs=2.5), number
    assert [(s.start, s.stop, s.frames) for s in film.shots] == [(0.0, 3.0, 30), (3.0, pytest.approx(6.0), 30)]
    assert all(s.guided.by == "sound" and s.guided.relevance == pytest.approx(RELEVANCE) for s in film.shots)
    assert film.notes == ()


def test_everything_else_stays(two, colored):
    out, film = colored
    was, now = probe(two), probe(out)
    assert (film.size, film.frames, film.duration) == ((96, 72), 60, pytest.approx(6.0))
    assert (now.video[0].width, now.video[0].height) == (96, 72)
    assert now.video[0].duration == pytest.approx(was.video[0].duration)
    assert [f.time for f in read_video(out)] == pytest.approx([f.time for f in read_video(two)])
    assert packets(out) == packets(two)
    assert now.metadata["title"] == "Two"
    assert now.metadata["comment"].startswith("The colours are guessed.")
    assert "such a sound" in now.metadata["comment"]


def test_lightness_is_measured_on_the_written_film(two, colored):
    out, film = colored
    errors = [
        np.abs(
            rgb2lab(a.image.permute(1, 2, 0).numpy() / 255)[..., 0] - rgb2lab(b.image.permute(1, 2, 0) / 255)[..., 0]
        )
        for a, b in zip(read_video(two), read_video(out), strict=True)
    ]
    chosen = [errors[n] for n in (0, 20, 39, 59)]
    assert film.lightness.frames == 4
    assert film.lightness.mean == pytest.approx(np.mean(chosen), rel=1e-3)
    assert film.lightness.most == pytest.approx(np.max(chosen), rel=1e-3)
    assert film.lightness.mean < 1


def test_full_chroma_keeps_lightness_better(tmp_path):
    """Columns of two colours, one pixel wide each, as no subsampled chroma can hold."""
    write_video(tmp_path / "a.mp4", [torch.full((3, 32, 32), 128, dtype=torch.uint8)] * 3, 3, crf=1, **QUICK)

    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, lightness, semantics=None, present=None):
            ab = torch.zeros(1, 2, *lightness.shape[2:])
            ab[:, 0] = 60 * (-1.0) ** torch.arange(ab.shape[3])
            zero = torch.zeros(1)
            return ColorizeOutput(ab, zero, zero, zero[:, None], zero[:, None])

    class Box:
        size, network = 32, Columns()

    half, full = (
        colorize_video(Box(), tmp_path / "a.mp4", tmp_path / "b.mp4", crf=1, full_chroma=chroma, steady=False, **QUICK)
        for chroma in (False, True)
    )
    assert probe(tmp_path / "b.mp4").video[0].pix_fmt == "yuv444p"
    assert full.lightness.mean < 0.5 < 3 * full.lightness.mean + 1 < half.lightness.mean


def test_a_variable_frame_rate_is_kept(tmp_path):
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 0.9, 1.0, 1.01, 1.02, 1.5, 2.0, 2.25]
    frames = [Frame(n, time, image) for n, (time, image) in enumerate(zip(times, cloud(0, 12), strict=True))]
    write_video(tmp_path / "a.mp4", frames, None, **QUICK)
    colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mkv", **QUICK)
    assert [f.time for f in read_video(tmp_path / "b.mkv")] == pytest.approx(times, abs=1e-3)
    assert scan_packets(tmp_path / "b.mkv").variable_frame_rate


def test_pictures_that_begin_after_the_sound_still_do(tmp_path):
    frames = [Frame(n, 0.5 + n / FPS, image) for n, image in enumerate(cloud(0, 10))]
    write_video(tmp_path / "a.mp4", frames, None, audio=Audio(tone(LOW, 2), RATE, 0.0), average_rate=FPS, **QUICK)
    film = colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mp4", **QUICK)
    assert next(read_video(tmp_path / "b.mp4")).time == pytest.approx(0.5)
    assert film.shots[0].start == pytest.approx(0.5)
    assert film.lightness.mean < 1


def test_pixels_that_are_not_square_stay_so(tmp_path):
    write_video(tmp_path / "a.mp4", cloud(0, 3), FPS, pixel_aspect=16 / 15, **QUICK)
    colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mp4", **QUICK)
    assert probe(tmp_path / "b.mp4").video[0].sample_aspect_ratio == pytest.approx(16 / 15)


def test_avi_has_a_constant_rate(tmp_path):
    write_video(tmp_path / "a.mp4", cloud(0, 10), FPS, audio=Audio(tone(LOW, 1), RATE, 0.0), **QUICK)
    colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.avi", **QUICK)
    assert [f.time for f in read_video(tmp_path / "b.avi")] == pytest.approx([n / FPS for n in range(10)], abs=1e-3)
    assert probe(tmp_path / "b.avi").audio[0].codec == "aac"


# Steadiness


class Trembling(nn.Module):
    """Another colour in every frame."""

    def __init__(self):
        super().__init__()
        self.weight, self.count = nn.Parameter(torch.ones(1)), 0

    def forward(self, lightness, semantics=None, present=None):
        self.count += 1
        ab = torch.full((1, 2, *lightness.shape[2:]), 20.0 + 3 * (-1) ** self.count)
        zero = torch.zeros(1)
        return ColorizeOutput(ab, zero, zero, zero[:, None], zero[:, None])


def test_colours_are_held_steady_within_a_shot(tmp_path):
    write_video(tmp_path / "a.mp4", cloud(0, 1) * 20, FPS, **QUICK)
    found = {}
    for steady in (True, False):
        module = ToyColorizer().eval()
        module.network = Trembling()
        found[steady] = colorize_video(module, tmp_path / "a.mp4", tmp_path / "b.mp4", steady=steady, **QUICK)
    assert found[False].network.flicker == pytest.approx(6 * np.sqrt(2), rel=0.01)
    assert found[False].written == found[False].network
    assert found[True].network.flicker == pytest.approx(found[False].network.flicker)
    assert found[True].written.flicker < found[True].network.flicker / 5
    assert found[True].written.consistency[1] < found[True].network.consistency[1] / 2
    assert found[True].gray.flicker == 0
    told = found[True].to_dict()["steadiness"]
    assert told["written"]["consistency_4"] == found[True].written.consistency[4]


def test_nothing_is_carried_over_a_cut(two, tmp_path):
    """The second shot's first frame has its colour at once (see above), and flicker does not count the cut."""
    module = ToyColorizer().eval()
    film = colorize_video(module, two, tmp_path / "b.mp4", **QUICK)
    assert film.network.flicker == pytest.approx(0, abs=1e-4)


# Sound that says nothing


@pytest.mark.parametrize("case", ["missing", "silent", "not used"])
def test_films_without_sound_to_guide(tmp_path, case):
    sound = {"missing": None, "silent": torch.zeros(1, RATE), "not used": tone(LOW, 1)}[case]
    audio = None if sound is None else Audio(sound, RATE, 0.0)
    write_video(tmp_path / "a.mp4", cloud(0, 10), FPS, audio=audio, **QUICK)
    weight = 0.0 if case == "not used" else 1.0
    film = colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mp4", audio_weight=weight, **QUICK)
    assert (film.shots[0].guided.by, film.shots[0].guided.sound) == ("nothing", case)
    assert len(film.notes) == 1
    assert hue_of(next(read_video(tmp_path / "b.mp4")).image) == pytest.approx(ALONE, abs=2.5)
    assert len(probe(tmp_path / "b.mp4").audio) == (0 if case == "missing" else 1)


def test_one_silent_shot_of_two(tmp_path):
    frames = cloud(0, 40) + [255 - frame for frame in cloud(1, 40)]
    sound = Audio(torch.cat([tone(LOW, 4), torch.zeros(1, 4 * RATE)], 1), RATE, 0.0)
    write_video(tmp_path / "a.mp4", frames, FPS, audio=sound, **QUICK)
    film = colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mp4", **QUICK)
    assert [s.guided.sound for s in film.shots] == ["used", "silent"]
    assert film.shots[1].guided.relevance == 0
    frames = [frame.image for frame in read_video(tmp_path / "b.mp4")]
    assert hue_of(frames[20]) == pytest.approx(of_tone(LOW), abs=2.5)
    assert hue_of(frames[60]) == pytest.approx(ALONE, abs=2.5)


@pytest.mark.parametrize(("noise", "copied"), [(0x55, True), (0xFF, False)])  # the latter looks like a broken header
def test_sound_that_cannot_be_decoded_is_copied_where_it_can_be(tmp_path, noise, copied):
    path = tmp_path / "a.mp4"
    write_video(path, cloud(0, 10), FPS, audio=Audio(tone(LOW, 1), RATE, 0.0), **QUICK)
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for at, size in spans:
        data[at : at + size] = bytes([noise]) * size
    path.write_bytes(data)
    film = colorize_video(ToyColorizer().eval(), path, tmp_path / "b.mp4", **QUICK)
    assert film.shots[0].guided.sound == "undecodable"
    assert any("no audio can be read" in note for note in film.notes)
    assert any("left out" in note for note in film.notes) != copied
    if copied:
        assert packets(tmp_path / "b.mp4") == packets(path)
    else:
        assert probe(tmp_path / "b.mp4").audio == ()


def test_a_photograph_guides_all_shots(two, tmp_path):
    write_image(tmp_path / "guide.png", cloud(0, 1)[0])
    module = ToyColorizer().eval()
    film = colorize_video(module, two, tmp_path / "b.mp4", tmp_path / "guide.png", **QUICK)
    assert [s.guided.by for s in film.shots] == ["photo", "photo"]
    assert module.network.heard == []
    assert hue_of(next(read_video(tmp_path / "b.mp4")).image) == pytest.approx((CHROMA, 0), abs=2.5)


# What is heard of a shot


class Ear(nn.Module):
    """Remembers the range of the samples of each window, without the few that fade into each other."""

    def __init__(self):
        super().__init__()
        self.weight, self.windows = nn.Parameter(torch.ones(1)), []

    def hear(self, waveform):
        self.windows.append(tuple((100 * waveform.quantile(torch.tensor([0.02, 0.98]))).tolist()))
        return torch.tensor([[float(waveform[0, 0]), 1.0]])


def test_windows_cover_their_shots_and_nothing_else(tmp_path):
    """Sound whose samples are their own time, in hundreds of seconds."""
    clock = torch.arange(40 * 16_000, dtype=torch.float32) / 16_000
    write_audio(tmp_path / "a.wav", (clock / 100)[None], RATE, bits="32f")
    ear = Ear()
    spans = [(0.0, 11.0), (11.0, 12.0), (12.0, 35.0), (35.0, 40.0)]
    guides = shot_guides(ear, tmp_path / "a.wav", spans)
    # Two windows cover the first shot; a second is widened to three; three windows cover the 23 seconds.
    wanted = [(0, 10), (1, 11), (10, 13), (12, 22), (18.5, 28.5), (25, 35), (35, 40)]
    assert ear.windows == [pytest.approx(window, abs=0.25) for window in wanted]
    assert LEAST == 3.0
    assert len(guides) == 4
    assert all(float(guide.semantics.norm()) == pytest.approx(1) for guide in guides)


def test_shots(two):
    assert find_shots(two, 6.0) == [(0.0, 3.0), (3.0, 6.0)]


# Files that cannot be


def test_an_ending_that_is_not_written(two, tmp_path):
    for name in ("b.png", "b.webm", "b"):
        with pytest.raises(MediaError, match=r"\.mp4"):
            colorize_video(ToyColorizer().eval(), two, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_breaks_off_is_coloured_as_far_as_it_goes(two, tmp_path):
    data = two.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 2 // 3])
    film = colorize_video(ToyColorizer().eval(), tmp_path / "a.mp4", tmp_path / "b.mp4", **QUICK)
    assert 5 < film.frames < 60
    assert any("incomplete" in note for note in film.notes)
    assert scan_packets(tmp_path / "b.mp4").frames == film.frames


def test_a_failure_on_the_way_leaves_nothing(two, tmp_path):
    module = ToyColorizer().eval()

    def fail(*_):
        raise RuntimeError("out of memory")

    module.network.forward = fail
    (tmp_path / "b.mp4").write_bytes(b"yesterday's")
    with pytest.raises(RuntimeError, match="out of memory"):
        colorize_video(module, two, tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == b"yesterday's"
    assert len(list(tmp_path.iterdir())) == 1

import cv2
import numpy as np
import pytest
import torch
from little_films import COLORS, film, shot, tone

from mediakit.colorize.clips.decoding import decode_clips, hear_windows, side_by_side
from mediakit.colorize.sound import RATE, fill_window, is_silent
from mediakit.errors import MediaError
from mediakit.io import Audio, load_video, read_audio, write_audio, write_image


@pytest.mark.parametrize(
    ("duration", "windows"),
    [
        (9.9, [(0, 9.9)]),
        (10.0, [(0, 10)]),
        (14.9, [(0, 10)]),
        (15.0, [(0, 10), (10, 15)]),
        (20.0, [(0, 10), (10, 20)]),
    ],
)
def test_windows_side_by_side(duration, windows):
    assert side_by_side(duration, 10.0) == windows


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory):
    """6 s: 2 s each of red, green and blue; the sound grows louder each second."""
    steps = torch.arange(6).repeat_interleave(RATE)
    wave = (0.02 * 2.0**steps) * torch.sin(2 * torch.pi * 440 * torch.arange(6 * RATE) / RATE)
    path = tmp_path_factory.mktemp("films") / "three.mkv"
    return film(path, ("red", 2), ("green", 2), ("blue", 2), sound=Audio(wave[None], RATE, 0.0))


def test_each_window_gets_its_own_pictures_and_sound(three_shots):
    windows = [(4.0, 6.0), (0.0, 2.0), (1.0, 5.0)]  # in any order, overlapping
    found = decode_clips(three_shots, windows, size=24, count=3)
    assert [(clip.start, clip.end) for clip in found.clips] == sorted(windows)
    whole = read_audio(three_shots, rate=RATE, channels=1).waveform[0]
    for clip, colors in zip(found.clips, (["red"] * 3, ["red", "green", "blue"], ["blue"] * 3), strict=True):
        assert clip.frames.shape == (3, 3, 24, 32)
        means = clip.frames.float().mean((2, 3))
        for mean, color in zip(means, colors, strict=True):
            share = mean / torch.tensor(COLORS[color])
            assert share.std() < 0.06, color  # that hue
        assert torch.equal(clip.waveform, whole[round(clip.start * RATE) : round(clip.end * RATE)])
        assert clip.sound == "present"


def test_kept_pictures_are_those_of_the_film(three_shots):
    (clip,) = decode_clips(three_shots, size=48, count=5).clips
    times = [(k + 0.5) / 5 * 6 for k in range(5)]
    looked = load_video(three_shots, fps=4).images
    expected = looked[[int(time * 4) for time in times]]
    assert torch.equal(clip.frames, expected)


def test_whole_films_are_cut_into_equal_clips(three_shots):
    found = decode_clips(three_shots, size=16, count=1, seconds=2.5)
    assert [(clip.start, clip.end) for clip in found.clips] == [(0.0, 2.5), (2.5, 5.0)]


def test_windows_beyond_the_end_are_told(three_shots):
    found = decode_clips(three_shots, [(5.0, 8.0), (9.0, 10.0)], size=16, count=5)
    (clip,) = found.clips
    assert clip.last == pytest.approx(6.0)
    assert RATE <= len(clip.waveform) < 1.03 * RATE  # AAC fills its last frame
    assert clip.frames.shape[0] == 5
    assert found.beyond == ((9.0, 10.0),)


def test_still_moving_gray_and_colourful(tmp_path):
    still = decode_clips(film(tmp_path / "still.mp4", ("red", 2), moving=False), size=48).clips[0]
    moving = decode_clips(film(tmp_path / "moving.mp4", ("red", 2)), size=48).clips[0]
    gray = decode_clips(film(tmp_path / "gray.mp4", ("gray", 2)), size=48).clips[0]
    assert still.motion < 1 < 5 < moving.motion
    assert max(gray.colorfulness) < 5 < 40 < min(moving.colorfulness)


def test_no_sound_silence_and_sound_that_cannot_be_decoded(tmp_path):
    none = film(tmp_path / "none.mp4", ("red", 1))
    silent = film(tmp_path / "silent.mp4", ("red", 1), sound=Audio(torch.zeros(1, RATE), RATE, 0.0))
    assert decode_clips(none).clips[0].sound == "missing"
    assert decode_clips(silent).clips[0].sound == "silent"
    broken = film(tmp_path / "broken.mkv", ("red", 1), sound=tone(1.0))
    data = broken.read_bytes()
    name = b"A_AAC"
    assert name in data
    broken.write_bytes(data.replace(name, b"A_XXX"))  # a codec that nobody knows
    clip = decode_clips(broken).clips[0]
    assert clip.sound == "undecodable"
    assert len(clip.waveform) == 0


def test_a_film_that_was_cut_off_gives_what_is_intact(tmp_path):
    path = film(tmp_path / "cut.mkv", ("red", 4), sound=tone(4.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    found = decode_clips(path, [(0.0, 4.0)], size=16)
    assert found.clips[0].last < 4.0
    assert "cut off" in found.warnings[0]


def test_files_without_pictures_are_refused(tmp_path):
    write_audio(tmp_path / "song.m4a", tone(1.0))
    with pytest.raises(MediaError, match="has no pictures"):
        decode_clips(tmp_path / "song.m4a")
    (tmp_path / "text.mp4").write_text("nothing")
    with pytest.raises(MediaError, match=r"text\.mp4"):
        decode_clips(tmp_path / "text.mp4")


def test_photographs(tmp_path):
    image = next(shot("blue", 1, size=(60, 100)))
    write_image(tmp_path / "a.png", image)
    (clip,) = decode_clips(tmp_path / "a.png", size=30).clips
    expected = cv2.resize(image.permute(1, 2, 0).numpy(), (50, 30), interpolation=cv2.INTER_AREA)
    assert clip.frames.shape == (1, 3, 30, 50)
    assert np.abs(clip.frames[0].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1
    assert (clip.sound, len(clip.waveform)) == ("missing", 0)


def test_extreme_shapes_are_bounded(tmp_path):
    write_image(tmp_path / "long.png", torch.full((3, 5, 4000), 90, dtype=torch.uint8))
    write_image(tmp_path / "dot.png", torch.full((3, 1, 1), 90, dtype=torch.uint8))
    assert decode_clips(tmp_path / "long.png", size=32).clips[0].frames.shape == (1, 3, 32, 96)
    assert decode_clips(tmp_path / "dot.png", size=32).clips[0].frames.shape == (1, 3, 32, 32)


def test_sound_of_windows_equals_parts_of_the_whole(three_shots):
    windows = [(0.5, 1.25), (0.0, 6.0), (5.9, 9.0), (7.0, 8.0)]
    whole = read_audio(three_shots, channels=2)
    found = dict(hear_windows(three_shots, windows, channels=2))
    for number, (start, end) in enumerate(windows):
        part = whole.waveform[:, round(start * whole.rate) : round(end * whole.rate)]
        assert torch.equal(found[number].waveform, part)
        assert found[number].rate == whole.rate


def test_a_short_sound_repeats_and_a_long_one_is_cut():
    second = tone(1.0).waveform[0]
    filled = fill_window(second)
    assert filled.shape == (160_000,)
    steady = filled[:150_000].unfold(0, 16_000, 16_000).square().mean(1).sqrt()
    assert steady.min() > 0.8 * steady.max()
    assert torch.equal(fill_window(torch.arange(200_000) / 2e5), torch.arange(160_000) / 2e5)
    assert not fill_window(torch.zeros(0)).any()


def test_silence():
    assert is_silent(torch.zeros(0))
    assert is_silent(torch.full((100,), 0.9e-4))
    assert not is_silent(torch.full((100,), 1.1e-4))

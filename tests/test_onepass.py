"""One pass over one file gives what the encoders give for the whole file, whatever the file lacks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mediakit.encoders import AudioEncoder, FrameEncoder
from mediakit.errors import MediaError
from mediakit.io import Audio, Frame, load_video, read_audio, read_video, write_audio, write_video
from mediakit.onepass import Encoders, FeatureStream, extract_file

RATE = 16_000


class Brightness(nn.Module):
    """Stands in for FrameEncoder: mean colour of each picture."""

    def forward(self, frames):
        assert frames.dtype == torch.uint8
        return frames.float().mean((3, 4))


class ClipBrightness(nn.Module):
    """Stands in for ClipEncoder: mean brightness of each picture of a clip."""

    def forward(self, frames):
        assert frames.shape[1] <= 8
        frames = torch.cat([frames, frames[:, -1:].expand(-1, 8 - frames.shape[1], -1, -1, -1)], dim=1)
        return frames.float().mean((2, 3, 4))[:, None]


FAKES = Encoders(None, Brightness(), ClipBrightness())


@pytest.fixture(scope="module")
def audio_encoder():
    return AudioEncoder("test_resnet")


def noise(seconds, seed=0):
    return Audio(0.1 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed)), RATE, 0.0)


def film(path, seconds, fps=25, audio=None):
    """Pictures whose brightness tells their time."""
    levels = torch.linspace(20, 230, round(seconds * fps)).round().to(torch.uint8)
    write_video(path, (level.expand(3, 32, 48) for level in levels), fps, audio=audio, crf=0, preset="ultrafast")
    return path


@pytest.mark.parametrize("seconds", [0.3, 1.0, 9.98, 75.0, 93.04])
def test_sound_in_blocks_is_that_of_the_whole(tmp_path, audio_encoder, seconds):
    path = tmp_path / "noise.wav"
    write_audio(path, noise(seconds).waveform, RATE)
    found = extract_file(path, Encoders(audio=audio_encoder))
    whole = audio_encoder(read_audio(path, rate=RATE, channels=1).waveform)[0].numpy()
    assert found.seconds == len(whole) == max(1, math.ceil(seconds - 0.05))
    assert found.arrays["audio"].dtype == np.float32
    np.testing.assert_allclose(found.arrays["audio"], whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("fps", [8, 24, 25, 29.97])
@pytest.mark.parametrize("frame_rate", [1.0, 2.5])
def test_pictures_are_those_shown_at_the_ticks(tmp_path, fps, frame_rate):
    path = film(tmp_path / "film.mkv", 4.0, fps)
    found = extract_file(path, FAKES, frame_rate=frame_rate)
    assert found.seconds == 4
    frames = load_video(path, fps=frame_rate, start=0.5 / frame_rate).images.float().mean((2, 3))
    clips = load_video(path, fps=8).images.float().mean((1, 2, 3))[:32].reshape(4, 8)
    assert np.array_equal(found.arrays["frames"], frames)
    assert np.array_equal(found.arrays["clips"], clips)


def test_pictures_of_a_variable_frame_rate(tmp_path):
    times = [0.0, 0.11, 0.5, 1.37, 2.9, 2.95]
    frames = [Frame(n, time, torch.full((3, 32, 48), 40 * n, dtype=torch.uint8)) for n, time in enumerate(times)]
    write_video(tmp_path / "film.mkv", frames, None, crf=0)
    found = extract_file(tmp_path / "film.mkv", FAKES)
    shown = [max(n for n, time in enumerate(times) if time <= tick) for tick in np.arange(24) / 8]
    np.testing.assert_allclose(found.arrays["clips"].ravel(), 40 * np.array(shown), atol=2)
    np.testing.assert_allclose(found.arrays["frames"][:, 0], [80, 120, 120], atol=2)


def test_what_ends_early_is_filled_up(tmp_path, audio_encoder):
    encoders = Encoders(audio_encoder, FAKES.frames, FAKES.clips)
    short_sound = extract_file(film(tmp_path / "a.mkv", 42.0, 5, noise(1.5)), encoders)
    waveform = torch.cat([read_audio(tmp_path / "a.mkv", rate=RATE, channels=1).waveform, torch.zeros(1, 42 * RATE)], 1)
    expected = audio_encoder(waveform[:, : 42 * RATE])[0].numpy()
    np.testing.assert_allclose(short_sound.arrays["audio"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    short_film = extract_file(film(tmp_path / "b.mkv", 1.2, 25, noise(3.5)), encoders)
    assert {name: len(array) for name, array in short_film.arrays.items()} == {"audio": 4, "frames": 4, "clips": 4}
    last = load_video(tmp_path / "b.mkv").images[-1].float().mean()
    assert np.all(short_film.arrays["frames"][1:] == last.item())
    assert np.all(short_film.arrays["clips"][2:] == last.item())
    assert not np.all(short_film.arrays["clips"][1] == last.item())


def test_the_number_of_seconds_does_not_depend_on_what_is_wanted(tmp_path, audio_encoder):
    sound_longer = film(tmp_path / "a.mkv", 1.2, 25, noise(3.5))
    pictures_longer = film(tmp_path / "b.mkv", 3.5, 25, noise(1.2))
    for path in (sound_longer, pictures_longer):
        for encoders in (Encoders(audio_encoder), Encoders(frames=FAKES.frames), Encoders(clips=FAKES.clips)):
            found = extract_file(path, encoders)
            assert [found.seconds, *map(len, found.arrays.values())] == [4, 4]


def test_real_frame_encoder(tmp_path):
    path = film(tmp_path / "film.mkv", 6.0)
    encoder = FrameEncoder("test_resnet")
    expected = encoder(load_video(path, fps=1, start=0.5).images[None])[0]
    found = extract_file(path, Encoders(frames=encoder)).arrays["frames"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_faces_come_from_the_same_pass(tmp_path, monkeypatch):
    import mediakit.faces

    class NoFaces:
        card = {"name": "none"}  # noqa: RUF012

        def detect(self, image, time):
            return np.zeros((0, 478, 3), np.float32)

        def reset(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr(mediakit.faces, "open_detector", lambda *_: NoFaces())
    path = film(tmp_path / "film.mkv", 2.0)
    found = extract_file(path, FAKES, faces=True)
    assert found.faces.frames == 50
    assert np.array_equal(found.arrays["clips"], extract_file(path, FAKES).arrays["clips"])


def test_a_file_gives_what_it_has(tmp_path, audio_encoder):
    encoders = Encoders(audio_encoder, FAKES.frames, FAKES.clips)
    silent = extract_file(film(tmp_path / "silent.mkv", 1.0), encoders)
    assert silent.arrays.keys() == {"frames", "clips"}
    assert silent.absent == {"audio": "has no sound"}
    write_audio(tmp_path / "song.wav", noise(2.0).waveform, RATE)
    song = extract_file(tmp_path / "song.wav", encoders, faces=True)
    assert song.arrays.keys() == {"audio"}
    assert song.absent == dict.fromkeys(("frames", "clips", "faces"), "has no pictures")
    assert not extract_file(tmp_path / "silent.mkv", Encoders(audio_encoder)).arrays


def test_damage_is_told_and_the_rest_used(tmp_path, audio_encoder):
    path = film(tmp_path / "film.mkv", 4.0, 25, noise(4.0))
    (tmp_path / "cut.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = extract_file(tmp_path / "cut.mkv", Encoders(audio_encoder, FAKES.frames, FAKES.clips))
    assert {len(array) for array in found.arrays.values()} == {found.seconds}
    assert 1 <= found.seconds < 4
    assert any("cut off" in text or "breaks off" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "is empty"), (b"words, words\n", "not a media file"), (b"\0\1\2" * 999, "cannot be read")],
)
def test_no_media(tmp_path, content, match):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=match):
        extract_file(tmp_path / "film.mp4", FAKES)


def test_a_file_of_subtitles_has_nothing_to_extract(tmp_path):
    (tmp_path / "film.mp4").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    with pytest.raises(MediaError, match=r"neither pictures nor sound|not a media file"):
        extract_file(tmp_path / "film.mp4", FAKES)


def test_pictures_that_cannot_be_decoded_are_an_error_only_if_nothing_else_is_there(tmp_path, audio_encoder):
    path = film(tmp_path / "film.mkv", 1.0, 25, noise(1.0))
    blank = path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ")
    path.write_bytes(blank)
    found = extract_file(path, Encoders(audio_encoder, FAKES.frames))
    assert found.arrays.keys() == {"audio"}
    assert "cannot decode" in found.absent["frames"]
    with pytest.raises(MediaError, match="cannot decode"):
        extract_file(path, FAKES)


def test_the_end_and_silence_are_told(tmp_path, audio_encoder):
    encoders = Encoders(audio_encoder, FAKES.frames)
    whole = extract_file(film(tmp_path / "a.mkv", 1.2, 25, noise(3.5)), encoders)
    assert whole.duration == pytest.approx(3.5, abs=0.1)
    assert not whole.silent
    assert not extract_file(film(tmp_path / "b.mkv", 1.0), encoders).silent  # no sound at all
    quiet = torch.zeros(1, 3 * RATE)
    for level, silent in ((0.0, True), (5e-5, True), (0.01, False)):
        quiet[:, RATE : 2 * RATE] = level * noise(1.0).waveform.sign()
        write_audio(tmp_path / "c.wav", quiet, RATE)
        assert extract_file(tmp_path / "c.wav", encoders).silent is silent


def test_a_stream_fed_by_others_gives_the_same(tmp_path, audio_encoder):
    encoders = Encoders(audio_encoder, FAKES.frames, FAKES.clips)
    path = film(tmp_path / "film.mkv", 2.5, 25, noise(2.5))
    stream = FeatureStream(encoders)
    for frame in read_video(path):
        stream.see(frame)
    alone = extract_file(path, encoders)
    assert stream.listen(path) == alone.duration == pytest.approx(2.5, abs=0.1)
    arrays, expected = stream.finish(3), alone.arrays
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name])
    assert stream.pictorial == ("frames", "clips")

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError
from mediakit.io import write_audio
from mediakit.synthetic.recordings import find_recordings, loop, read_recording


@pytest.fixture
def folder(tmp_path):
    """Two classes of two recordings, 0.5 s of noise at 22.05 kHz, in stereo."""
    for number, name in enumerate(("dog/1-a.wav", "dog/2-b.wav", "cat/1-c.wav", "cat/2-d.wav")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        noise = torch.rand(2, 11_025, generator=torch.Generator().manual_seed(number)) - 0.5
        write_audio(path, noise, 22_050)
    return tmp_path


def test_a_pattern_takes_parent_folders_as_classes(folder):
    found = find_recordings(f"{folder}/*/1-*.wav")
    assert found == {"cat": [f"{folder}/cat/1-c.wav"], "dog": [f"{folder}/dog/1-a.wav"]}


def test_relative_patterns_name_their_classes(folder, monkeypatch):
    monkeypatch.chdir(folder / "dog")
    assert find_recordings("*.wav") == {"dog": ["1-a.wav", "2-b.wav"]}


def test_missing_recordings_are_named(folder):
    with pytest.raises(MediaError, match=r"nowhere.*matches no file"):
        find_recordings(f"{folder}/nowhere/*.ogg")
    with pytest.raises(MediaError, match=r"gone\.wav"):
        find_recordings({"dog": [f"{folder}/dog/1-a.wav", f"{folder}/dog/gone.wav"]})
    with pytest.raises(ValueError, match="the class 'dog' has no recordings"):
        find_recordings({"dog": []})


def test_silent_and_broken_recordings_are_named(folder):
    write_audio(folder / "silent.wav", torch.full((1, 8000), 3e-5), 16_000)
    with pytest.raises(MediaError, match=r"silent\.wav: is silent"):
        read_recording(str(folder / "silent.wav"), 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF of nothing")
    with pytest.raises(MediaError, match=r"broken\.wav"):
        read_recording(str(folder / "broken.wav"), 16_000)


def test_reading_mixes_and_resamples(folder):
    wave = read_recording(str(folder / "dog/1-a.wav"), 16_000)
    assert wave.shape == (8000,)
    assert wave.dtype == np.float32


def test_a_loop_equals_its_source_but_for_the_seams():
    wave = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    out = loop(wave, 3500, 950, 80)
    turn = 920  # 1000 - 80; position k of the output is sample (30 + k) % 920 of a turn
    place = (950 + np.arange(3500)) % turn
    outside = place >= 80
    np.testing.assert_array_equal(out[outside], wave[place[outside]])
    k = 40  # in the middle of the fade: equal power of the beginning and of the end
    at = np.flatnonzero(place == k)[0]
    fade = (k + 0.5) / 80 * np.pi / 2
    assert out[at] == pytest.approx(np.sin(fade) * wave[k] + np.cos(fade) * wave[turn + k], rel=1e-5)


def test_seams_keep_power_and_have_no_jump():
    """A slow sine that ends out of phase: cut and repeated it jumps by up to 1, faded it does not."""
    time = np.arange(16_000) / 16_000
    wave = np.sin(2 * np.pi * 40.25 * time).astype(np.float32)
    steepest = 2 * np.pi * 40.25 / 16_000
    jump = np.abs(np.diff(np.tile(wave, 4))).max()
    assert jump > 30 * steepest
    assert np.abs(np.diff(loop(wave, 60_000, 123, 800))).max() < 2 * steepest
    noise = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    seams = loop(noise, 19_200 * 20, 0, 800 * 6).reshape(-1)
    place = np.arange(19_200 * 20) % (20_000 - 800 * 6)
    assert seams[place < 4800].std() == pytest.approx(1, abs=0.05)


def test_long_recordings_are_cut_and_tiny_ones_still_loop():
    wave = np.arange(100, dtype=np.float32)
    for offset in range(300):
        piece = loop(wave, 40, offset, 10)
        assert piece.shape == (40,)
        np.testing.assert_array_equal(np.diff(piece), 1)
    assert loop(wave, 100, 7, 10).tolist() == wave.tolist()
    assert loop(np.ones(1, np.float32), 5, 0, 800).tolist() == [1] * 5

"""Summaries against librosa, closed forms and hand-worked numbers."""

import numpy as np
import pytest
import torch

from mediakit.io import Audio, Frame
from mediakit.summary import PictureSummarizer, SoundSummarizer, colorfulness

RATE, HOP = 16_000, 160


def mel(wave: torch.Tensor) -> torch.Tensor:
    librosa = pytest.importorskip("librosa")
    power = librosa.feature.melspectrogram(
        y=wave.numpy(), sr=RATE, n_fft=1024, hop_length=HOP, n_mels=32, pad_mode="constant"
    )
    return torch.from_numpy(power)


def summarize(wave: torch.Tensor, block: float, budget: int = 1200):
    summarizer = SoundSummarizer(mel, RATE, HOP, context=640, max_columns=budget)
    size = round(block * RATE)
    for start in range(0, wave.shape[1], size):
        summarizer.add(Audio(wave[:, start : start + size], RATE, start / RATE))
    return summarizer.finish()


def noise(seconds: float, channels: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(channels, round(seconds * RATE), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.217])
@pytest.mark.parametrize("block", [0.13, 1.0, 10.0])
@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
def test_blocks_give_the_spectrogram_of_the_whole(seconds, block):
    wave = noise(seconds)
    found = summarize(wave, block)
    whole = 10 * mel(wave[0]).clamp(min=1e-10).log10()
    assert found.seconds_per_column == pytest.approx(0.01)
    assert found.log_mel.shape == whole.shape
    assert torch.allclose(found.log_mel, whole, atol=1e-3)


def test_a_long_sound_keeps_to_its_budget_and_averages_power():
    wave = noise(7.0)
    found = summarize(wave, 0.7, budget=50)
    frames = mel(wave[0])  # 701 frames: 16 a column at a budget of 50
    assert 25 <= found.log_mel.shape[1] <= 50
    per_column = round(found.seconds_per_column / 0.01)
    assert per_column == 16
    columns = [part.mean(1) for part in frames.split(per_column, dim=1)]
    assert torch.allclose(found.log_mel[:, :43], 10 * torch.stack(columns, 1)[:, :43].log10(), atol=1e-3)


def test_levels_of_a_sine():
    time = torch.arange(2 * RATE) / RATE
    found = summarize(0.5 * torch.sin(2 * torch.pi * 440 * time)[None], 0.3)
    assert found.rms_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert found.peak_db == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert (found.silent, found.silent_share, found.duration) == (False, 0.0, 2.0)


def test_opposite_phase_is_not_silence():
    wave = noise(1.0)
    assert not summarize(torch.cat([wave, -wave]), 0.5).silent


def test_silence_and_its_share():
    wave = torch.cat([noise(2.0), torch.zeros(1, 2 * RATE)], dim=1)
    found = summarize(wave, 0.4)
    assert (found.silent, found.silent_share) == (False, 0.5)
    nothing = summarize(torch.zeros(1, RATE), 0.4)
    assert (nothing.silent, nothing.silent_share, nothing.rms_db, nothing.peak_db) == (True, 1.0, None, None)


def test_colorfulness_by_hand():
    red = torch.zeros(3, 4, 4)
    red[0] = 255  # rg = 255, yb = 127.5, no spread
    assert float(colorfulness(red)) == pytest.approx(0.3 * np.hypot(255, 127.5), rel=1e-5)
    half = torch.zeros(3, 1, 2)
    half[0, 0, 0] = half[2, 0, 1] = 200  # one red, one blue pixel: rg = 200, 0; yb = 100, -200
    expected = np.hypot(100, 150) + 0.3 * np.hypot(100, -50)
    assert float(colorfulness(half)) == pytest.approx(expected, rel=1e-5)
    assert float(colorfulness(torch.full((3, 5, 5), 90.0))) == 0.0


def frames(count: int, fps: float, color: tuple[int, int, int] = (128, 128, 128)):
    image = torch.tensor(color, dtype=torch.uint8)[:, None, None].expand(3, 90, 160)
    return (Frame(n, n / fps, image) for n in range(count))


@pytest.mark.parametrize("count", [1, 5, 100, 1000, 3000])
def test_key_frames_are_evenly_spread_whatever_the_length(count):
    summarizer = PictureSummarizer(max_key_frames=12)
    for frame in frames(count, 25):
        summarizer.add(frame)
    found = summarizer.finish()
    times = [k.time for k in found.key_frames]
    assert found.frames == count
    assert times[0] == 0
    assert len(times) == 1 if count < 7 else 4 <= len(times) <= 12
    if count >= 100:
        assert len(times) >= 6
        gaps = np.diff(times)
        assert gaps.max() - gaps.min() <= 2 / 25 + 1e-9
        assert found.last - times[-1] <= 1.1 * gaps.max()  # the end is not left out


def test_gray_and_colour_and_brightness():
    for color, gray in (((90, 90, 90), True), ((200, 60, 40), False)):
        summarizer = PictureSummarizer()
        for frame in frames(10, 10, color):
            summarizer.add(frame)
        found = summarizer.finish()
        assert found.gray is gray
        luma = np.dot(color, [0.299, 0.587, 0.114]) / 255
        assert found.brightness == pytest.approx(luma, abs=1e-3)
        assert found.size == (160, 90)


def test_kept_pictures_are_small_copies():
    image = torch.randint(0, 256, (3, 720, 1280), dtype=torch.uint8)
    summarizer = PictureSummarizer(key_frame_width=320)
    summarizer.add(Frame(0, 0.0, image))
    (kept,) = summarizer.finish().key_frames
    assert kept.image.shape == (3, 180, 320)
    # 4 x 4 means of the original
    assert torch.equal(
        kept.image, image.float().unflatten(1, (180, 4)).unflatten(3, (320, 4)).mean((2, 4)).round().byte()
    )

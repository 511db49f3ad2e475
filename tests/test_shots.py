"""Cuts by hand-worked cases and on real film."""

import numpy as np
import pytest
import torch

from mediakit.io import read_video
from mediakit.shots import CutDetector, correlation, thumbnail


def noise(seed: int) -> torch.Tensor:
    return torch.randint(0, 200, (3, 90, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_correlation_is_numpys():
    a, b = (np.random.default_rng(seed).uniform(0, 255, (8, 12)).astype(np.float32) for seed in (1, 2))
    expected = np.corrcoef(a.ravel(), (a + b).ravel())[0, 1]
    assert correlation(a, a + b) == pytest.approx(expected, abs=1e-5)
    assert correlation(a, -a) == pytest.approx(-1)


def test_flat_pictures():
    flat, picture = np.full((4, 4), 7, np.float32), np.arange(16, dtype=np.float32).reshape(4, 4) * 9
    assert correlation(flat, flat * 2) == 1
    assert correlation(flat, picture) == correlation(picture, flat) == 0


def test_another_picture_is_a_cut_but_a_flash_and_a_fade_are_none():
    first, second = noise(1), noise(2)
    frames = [first, first, first + 50, first // 2, second, second]
    detector = CutDetector()
    assert [detector.step(f) for f in frames] == [False, False, False, False, True, False]


def test_another_size_is_a_cut_and_one_pixel_is_none():
    detector = CutDetector()
    assert not detector.step(noise(1))
    assert detector.step(noise(1)[:, :45])
    single = torch.zeros(3, 1, 1, dtype=torch.uint8)
    assert thumbnail(single).shape == (1, 1)
    other = CutDetector()
    assert not any(other.step(single + n) for n in range(3))


def test_real_film(shared_data):
    # The NASA clip has one cut (seen by eye at frame 202); the parrot moves suddenly but there is no cut.
    for name, expected in {"nasa_13013": [202], "cockatoo": [], "friday": [], "chaplin": []}.items():
        detector = CutDetector()
        frames = read_video(shared_data / "media" / f"{name}.mp4")
        assert [f.index for f in frames if detector.step(f.image)] == expected

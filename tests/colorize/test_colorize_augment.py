"""What training does to sounds and pictures."""

import math

import torch

from mediakit.colorize.augment import GAIN, GAMMA, SPEED, age_film, vary_sound


def tone(hertz, seconds=2.0):
    return 0.2 * torch.sin(2 * torch.pi * hertz * torch.arange(round(16000 * seconds)) / 16000)


def test_varied_sound_has_another_pitch_and_level_within_the_limits():
    torch.manual_seed(0)
    found = vary_sound(tone(1000).repeat(64, 1))
    assert found.shape == (64, 32000)
    peaks = torch.fft.rfft(found).abs().argmax(1) * 16000 / 32000
    assert peaks.min() >= 1000 * (1 - SPEED) - 2
    assert peaks.max() <= 1000 * (1 + SPEED) + 2
    assert peaks.std() > 30
    # The level of what is not silenced.
    heard = found.abs() > 0
    level = (found.square().sum(1) / heard.sum(1)).sqrt() / (0.2 / math.sqrt(2))
    limit = 10 ** (GAIN / 20)
    assert level.min() > 0.98 / limit
    assert level.max() < 1.05 * limit
    assert 0.7 < heard.float().mean(1).min() < heard.float().mean(1).max() <= 1


def test_varied_sound_is_drawn_by_the_seed_and_keeps_silence():
    sounds = torch.stack([tone(500), torch.zeros(32000)])
    first, second = (torch.manual_seed(3) and vary_sound(sounds) for _ in range(2))
    assert first.equal(second)
    assert not first[0].equal(sounds[0])
    assert first[1].equal(sounds[1])
    assert vary_sound(torch.ones(1, 16000)).abs().max() <= 1


def test_film_ages_by_gamma_grain_and_scratches():
    torch.manual_seed(0)
    flat = torch.full((300, 1, 24, 24), 25.0)
    found = age_film(flat, 1.0)
    low, high = (100 * 0.25**power for power in (GAMMA, 1 / GAMMA))
    medians = found.flatten(1).median(1).values
    assert medians.min() > low - 3
    assert medians.max() < high + 3
    assert medians.std() > 4
    across = found.mean((1, 2))  # a scratch is a column that differs from the others
    lines = ((across - across.median(1, keepdim=True).values).abs() > 12).sum(1)
    assert {0, 1, 2} <= set(lines.tolist())
    assert lines.max() <= 3
    assert found.min() >= 0
    assert found.max() <= 100


def test_only_a_share_of_the_pictures_ages():
    torch.manual_seed(0)
    pictures = 100 * torch.rand(400, 1, 8, 8)
    same = (age_film(pictures, 0.25) == pictures).flatten(1).all(1)
    assert 0.65 < same.float().mean() < 0.85
    assert age_film(pictures, 0.0).equal(pictures)

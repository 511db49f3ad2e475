"""Steadiness on films whose colours are known; flicker and consistency against numbers worked by hand and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

from mediakit.colorize.color import join
from mediakit.colorize.steady import Steadier, SteadinessMeter, color_distribution_consistency, flicker

HEIGHT, WIDTH, FRAMES = 48, 80, 30


def texture(seed, height=HEIGHT, width=WIDTH):
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=torch.Generator().manual_seed(seed)) * 40 + 20
    return F.interpolate(coarse, (height, width), mode="bicubic")[0]


def trembling(ab, deviation=6.0):
    """What networks add: smooth in space, anew in each frame."""
    draw = torch.Generator().manual_seed(5)
    noise = torch.randn(len(ab), 2, 4, 6, generator=draw) * deviation
    return ab + F.interpolate(noise, ab.shape[-2:], mode="bilinear")


def steadied(ab, lightness, cuts=(), **settings):
    steadier = Steadier(**settings)
    return torch.stack([steadier.step(a, x, n in cuts) for n, (a, x) in enumerate(zip(ab, lightness, strict=True))])


@pytest.fixture(scope="module")
def moving():
    """A bright red square that moves by 2 pixels a frame over a blue ground: lightness, ab, and where the square is."""
    grain = torch.randn(FRAMES, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    square, front, ground = torch.zeros(FRAMES, 1, HEIGHT, WIDTH), texture(2, 16, 16) + 30, texture(3)
    lightness = ground.repeat(FRAMES, 1, 1, 1)
    for n in range(FRAMES):
        square[n, :, 16:32, 4 + 2 * n : 20 + 2 * n] = 1
        lightness[n, :, 16:32, 4 + 2 * n : 20 + 2 * n] = front
    return (lightness + grain).clamp(0, 100), torch.cat([60 * square, 30 - 60 * square], 1), square


def test_flicker_goes_down_and_a_moving_edge_is_not_smeared(moving):
    lightness, ab, square = moving
    noisy = trembling(ab)
    steady = steadied(noisy, lightness)
    assert flicker(steady, lightness) < 0.25 * flicker(noisy, lightness)
    error, before = ((x - ab).abs()[5:].mean() for x in (steady, noisy))
    assert error < 0.5 * before
    # Around the square, also where it has just been: no tail. Two pixels of ab apart by 60 and 60 would be seen there.
    near = F.max_pool2d(square, 13, 1, 6).bool().expand(-1, 2, -1, -1)
    assert (steady - ab).abs()[near].mean() < (noisy - ab).abs()[near].mean()
    clean = steadied(ab, lightness)
    assert (clean - ab).abs()[near].mean() < 1.5
    assert ((clean - ab).abs() > 20)[near].float().mean() < 0.02


def test_without_memory_of_motion_the_same_film_would_smear(moving):
    """What the check above can tell: a plain running mean fails it."""
    lightness, ab, square = moving
    mean = steadied(ab, torch.full_like(lightness, 50.0))
    near = F.max_pool2d(square, 13, 1, 6).bool().expand(-1, 2, -1, -1)
    assert ((mean - ab).abs() > 20)[near].float().mean() > 0.1


def test_a_pan_is_followed():
    wide = texture(4, HEIGHT, WIDTH + 60)
    lightness = torch.stack([wide[:, :, 2 * n : 2 * n + WIDTH] for n in range(FRAMES)])
    ab = torch.cat([lightness - 40, 40 - lightness], 1)
    noisy = trembling(ab)
    followed, held = ((steadied(noisy, lightness, motion=motion) - ab).abs()[5:].mean() for motion in (True, False))
    assert followed < 0.6 * (noisy - ab).abs()[5:].mean()
    assert followed < 0.75 * held


def test_a_still_picture_gives_the_running_mean():
    lightness = texture(0).repeat(6, 1, 1, 1)
    ab = torch.randn(6, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2)) * 20
    expected = torch.stack([ab[: n + 1].mean(0) for n in range(6)])
    torch.testing.assert_close(steadied(ab, lightness), expected, atol=1e-4, rtol=0)


def test_a_change_that_lasts_comes_through():
    lightness = texture(0).repeat(80, 1, 1, 1)
    ab = torch.zeros(80, 2, HEIGHT, WIDTH)
    ab[40:] = 30
    steady = steadied(ab, lightness, memory=10)[:, 0, 5, 5]
    assert float(steady[39]) == 0
    torch.testing.assert_close(steady[40:], 30 * (1 - 0.9 ** torch.arange(1, 41)), atol=1e-3, rtol=0)


def test_flashes_and_fades_of_the_whole_picture_keep_colors():
    lightness = texture(0).repeat(FRAMES, 1, 1, 1)
    pulse = 8 * torch.sin(torch.arange(FRAMES))[:, None, None, None]
    noisy = trembling(torch.zeros(FRAMES, 2, HEIGHT, WIDTH))
    plain, pulsing = (steadied(noisy, x)[5:].abs().mean() for x in (lightness, lightness + pulse))
    assert pulsing < 1.5 * plain < noisy.abs().mean()


def test_nothing_goes_over_a_cut_or_to_another_size():
    lightness, ab = texture(0).repeat(4, 1, 1, 1), torch.randn(4, 2, HEIGHT, WIDTH) * 20
    steady = steadied(ab, lightness, cuts={2})
    assert torch.equal(steady[2], ab[2])
    assert not torch.equal(steady[3], ab[3])
    torch.testing.assert_close(steady[3], ab[2:].mean(0))
    steadier = Steadier()
    steadier.step(ab[0], lightness[0])
    assert torch.equal(steadier.step(ab[1, :, :20], lightness[1, :, :20]), ab[1, :, :20])


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (16, 16), (17, 300), (40, 24)])
def test_small_and_narrow_pictures(size):
    lightness, ab = torch.rand(3, 1, *size) * 100, torch.randn(3, 2, *size)
    assert steadied(ab, lightness).isfinite().all()


def test_settings_and_input_that_are_wrong():
    with pytest.raises(ValueError, match="memory must be at least 1"):
        Steadier(memory=0.5)
    with pytest.raises(ValueError, match=r"\(2, h, w\)"):
        Steadier().step(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"\(N, 2, h, w\)"):
        flicker(torch.zeros(2, 2, 4, 4), torch.zeros(3, 1, 4, 4))


def test_memory_of_one_frame_changes_nothing(moving):
    lightness, ab, _ = moving
    torch.testing.assert_close(steadied(ab, lightness, memory=1), ab, atol=1e-4, rtol=0)


def test_flicker_by_hand():
    ab, lightness = torch.zeros(3, 2, 1, 2), torch.full((3, 1, 1, 2), 50.0)
    ab[1, :, 0, 0] = torch.tensor([3.0, 4.0])  # 5 there and 5 back
    ab[2, :, 0, 1] = 100.0
    lightness[2, 0, 0, 1] += 1.5  # not still: does not count
    assert flicker(ab, lightness) == pytest.approx((5 + 0 + 5) / 3)
    assert math.isnan(flicker(ab[:1], lightness[:1]))
    assert math.isnan(flicker(ab[1:, :, :, 1:], lightness[1:, :, :, 1:]))


def test_consistency_is_scipys():
    frames = torch.randint(0, 256, (6, 3, 9, 9), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = color_distribution_consistency(frames, (1, 4, 9))
    counts = [[np.bincount(channel.ravel(), minlength=256) for channel in frame] for frame in frames.numpy()]
    for distance in (1, 4):
        pairs = [
            jensenshannon(counts[n][c], counts[n + distance][c]) ** 2 for n in range(6 - distance) for c in range(3)
        ]
        assert found[distance] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert math.isnan(found[9])


def test_consistency_of_equal_and_of_disjoint_colors():
    black = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert color_distribution_consistency(black, (1,)) == {1: 0.0}
    black[1] = 255
    assert color_distribution_consistency(black, (1,))[1] == pytest.approx(math.log(2))


def test_the_meter_is_the_functions_shot_by_shot(moving):
    lightness, ab, _ = moving
    ab = trembling(ab)
    meter = SteadinessMeter((1, 2))
    for n in range(FRAMES):
        meter.step(ab[n], lightness[n], n == 10)
    shots = [slice(0, 10), slice(10, FRAMES)]
    still = [(lightness[s].diff(dim=0).abs() < 1).sum() for s in shots]
    expected = sum(flicker(ab[s], lightness[s]) * int(n) for s, n in zip(shots, still, strict=True)) / int(sum(still))
    assert meter.flicker == pytest.approx(expected, rel=1e-5)
    rgb = (join(lightness, ab) * 255).round().to(torch.uint8)
    for distance in (1, 2):
        values = [color_distribution_consistency(rgb[s], (distance,))[distance] for s in shots]
        pairs = [s.stop - s.start - distance for s in shots]
        assert meter.consistency[distance] == pytest.approx(np.average(values, weights=pairs), rel=1e-4)


def test_a_meter_that_saw_one_frame_knows_nothing():
    meter = SteadinessMeter((1,))
    meter.step(torch.zeros(2, 4, 4), torch.zeros(1, 4, 4))
    assert math.isnan(meter.flicker)
    assert math.isnan(meter.consistency[1])

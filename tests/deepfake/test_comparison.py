"""Numbers of a comparison against scipy and against motion that is known."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.spatial.transform import Rotation
from scipy.stats import ks_2samp

from mediakit import motion
from mediakit.deepfake.comparison import (
    COORDINATES,
    SIGNALS,
    band_velocity,
    compare_tracks,
    head_signals,
    jensen_shannon,
    kolmogorov_smirnov,
    rotation_angle,
)
from mediakit.mesh import N_POINTS

RATE = 30.0
FRAMES = 120
IOD = 80.0
UPPER, LOWER = [82, 13, 312], [87, 14, 317]


def face() -> torch.Tensor:
    """A bulging shape with eye corners one apart, forehead above the chin, and lips that touch, (478, 3)."""
    draw = torch.Generator().manual_seed(0)
    shape = torch.rand(N_POINTS, 3, generator=draw, dtype=torch.double) * 1.6 - 0.8
    shape[33, :2], shape[263, :2] = torch.tensor([-0.5, 0.2]).double(), torch.tensor([0.5, 0.2]).double()
    shape[10, :2], shape[152, :2] = torch.tensor([0, 0.9]).double(), torch.tensor([0, -0.9]).double()
    shape[UPPER + LOWER, :2] = torch.tensor([0.0, -0.4]).double()
    shape[:, 2] = -0.5 * shape[:, :2].square().sum(-1)
    return shape


def film(angles: torch.Tensor, mouth: torch.Tensor) -> torch.Tensor:
    """A track of that face: angles (T, 3) in degrees, opening of the mouth (T,) in IOD."""
    shapes = face().repeat(len(angles), 1, 1)
    shapes[:, UPPER, 1] += mouth[:, None] / 2
    shapes[:, LOWER, 1] -= mouth[:, None] / 2
    shift = torch.tensor([200.0, -200.0, 0.0]).double().expand(len(angles), 3)
    pose = motion.Similarity(torch.full((len(angles),), IOD).double(), motion.rotation_from_euler(angles), shift)
    return motion.to_face_frame(pose.apply(shapes))


def moving(gain: float = 1.0, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    time = torch.arange(FRAMES, dtype=torch.double) / RATE
    phase = torch.rand(4, generator=torch.Generator().manual_seed(seed)).double() * 6
    waves = torch.sin(2 * math.pi * time[:, None] * torch.tensor([0.7, 1.1, 0.9, 2.0]) + phase)
    return gain * waves[:, :3] * torch.tensor([5.0, 12.0, 4.0]), 0.2 + gain * 0.1 * waves[:, 3]


def test_a_track_against_itself():
    track = film(*moving())
    found = compare_tracks(track, track.clone(), RATE)
    assert (found.frames, found.followed) == (FRAMES, 1.0)
    assert found.displacement == found.pose_error == found.expression_displacement == 0
    for name in SIGNALS:
        assert found.correlation[name] == pytest.approx(1)
        assert found.gain[name] == pytest.approx(1)
        assert found.power[name] == pytest.approx(1)
    for name in COORDINATES:
        assert found.ks[name] == found.js[name] == 0


def test_half_the_motion_is_half_the_gain_at_full_correlation():
    found = compare_tracks(film(*moving()), film(*moving(0.5)), RATE)
    for name in SIGNALS:
        assert found.correlation[name] == pytest.approx(1, abs=1e-3)
        assert found.gain[name] == pytest.approx(0.5, abs=0.01)
        assert found.power[name] == pytest.approx(0.25, abs=0.01)


def test_known_errors_are_told_in_their_units():
    angles, mouth = moving()
    reference = film(angles, mouth)
    shifted = reference + torch.tensor([0.03 * IOD, 0.04 * IOD, 0.5 * IOD])
    found = compare_tracks(reference, shifted, RATE)
    assert found.displacement == pytest.approx(0.05)  # depth is not in the picture
    assert found.pose_error == pytest.approx(0, abs=1e-5)
    assert found.expression_displacement == pytest.approx(0, abs=1e-9)
    nodded = compare_tracks(reference, film(angles + torch.tensor([3.0, 0, 0]), mouth), RATE)
    assert nodded.pose_error == pytest.approx(3)
    assert nodded.expression_displacement == pytest.approx(0, abs=1e-6)
    opened = compare_tracks(reference, film(angles, mouth + 0.1), RATE)
    assert opened.pose_error == pytest.approx(0, abs=1e-5)
    assert opened.expression_displacement == pytest.approx(6 * 0.05 / N_POINTS)


def test_noise_does_not_change_the_gain():
    reference = film(*moving())
    opposite = compare_tracks(reference, film(*moving(-1.0)), RATE)
    assert max(opposite.correlation.values()) < -0.99
    noise = torch.randn(FRAMES, 4, generator=torch.Generator().manual_seed(4)).double()
    angles, mouth = moving()
    noisy = compare_tracks(reference, film(angles + noise[:, :3], mouth + 0.01 * noise[:, 3]), RATE)
    for name in SIGNALS:
        assert noisy.correlation[name] < 0.99
        assert noisy.gain[name] == pytest.approx(1, abs=0.15)
        assert noisy.power[name] > noisy.gain[name]


def test_missing_frames_are_left_out():
    reference, other = film(*moving()), film(*moving())
    reference[10:14] = float("nan")
    other[12:20] = float("nan")
    other[5] = float("nan")
    found = compare_tracks(reference, other, RATE)
    assert found.frames == FRAMES - 11
    assert found.followed == pytest.approx((FRAMES - 11) / (FRAMES - 4))
    assert all(x == x for x in (found.displacement, *found.correlation.values(), *found.ks.values()))
    # what bridges the gap moves the velocities beside it a little
    assert min(found.correlation.values()) > 0.99


def test_a_still_face_has_no_correlation():
    angles, mouth = torch.zeros(40, 3).double(), torch.zeros(40).double()
    found = compare_tracks(film(angles, mouth), film(angles, mouth), RATE)
    assert math.isnan(found.correlation["mouth"])
    assert found.displacement == 0


def test_signals_are_what_was_put_in():
    angles, mouth = moving()
    found = head_signals(film(angles, mouth), face())
    torch.testing.assert_close(found[:, :3], angles)
    torch.testing.assert_close(found[:, 3], mouth)


@pytest.mark.parametrize("frames", [0, 29])
def test_too_few_frames(frames):
    track = film(*moving())
    other = track.clone()
    other[frames:] = float("nan")
    with pytest.raises(ValueError, match=f"in {frames} frames of both"):
        compare_tracks(track, other, RATE)
    with pytest.raises(ValueError, match="same frames"):
        compare_tracks(track, other[:-1], RATE)


def test_band_velocity_keeps_what_is_below_and_drops_what_is_above():
    time = torch.arange(600, dtype=torch.double) / RATE
    slow, fast = torch.sin(2 * math.pi * 2 * time), torch.sin(2 * math.pi * 11 * time)
    found = band_velocity(torch.stack([slow, fast, slow + fast], -1), RATE)[60:-60]
    # a difference is the derivative, halfway, times sinc
    wanted = 2 * math.pi * 2 * torch.cos(2 * math.pi * 2 * (time[:-1] + 0.5 / RATE)) * np.sinc(2 / RATE)
    torch.testing.assert_close(found[:, 0], wanted[60:-60], atol=0.02, rtol=0)
    assert found[:, 1].abs().max() < 0.02 * 2 * math.pi * 11
    half = torch.sin(2 * math.pi * 6 * time)[:, None]
    gain = band_velocity(half, RATE)[60:-60].std() / (half.diff(dim=0) * RATE)[60:-60].std()
    assert float(gain) == pytest.approx(0.5, abs=0.02)
    missing = torch.stack([slow, slow], -1)
    missing[300:303] = float("nan")
    torch.testing.assert_close(band_velocity(missing, RATE)[:200], band_velocity(missing.nan_to_num(0), RATE)[:200])
    with pytest.raises(ValueError, match="half the rate"):
        band_velocity(missing, RATE, 15.0)
    with pytest.raises(ValueError, match="at least 30 frames"):
        band_velocity(missing[:29], RATE)


def test_rotation_angle():
    draw = np.random.default_rng(0)
    axes = draw.standard_normal((4, 3))
    degrees = np.array([1e-6, 0.5, 90.0, 180.0])
    turns = Rotation.from_rotvec(axes / np.linalg.norm(axes, axis=1, keepdims=True) * np.radians(degrees)[:, None])
    first = Rotation.random(4, random_state=1)
    found = rotation_angle(*(torch.from_numpy(x.as_matrix()) for x in (first, first * turns)))
    np.testing.assert_allclose(found, degrees, rtol=1e-4)


def test_distances_of_distributions_equal_scipy():
    draw = np.random.default_rng(2)
    first = np.round(draw.normal(0, 1, (70, 5)), 1)  # with ties
    second = np.round(draw.normal([0, 0.2, 1, 0, 5], [1, 1, 1, 3, 1], (50, 5)), 1)
    ks = kolmogorov_smirnov(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(ks, [ks_2samp(a, b).statistic for a, b in zip(first.T, second.T, strict=True)])
    js = jensen_shannon(torch.from_numpy(first), torch.from_numpy(second), bins=8)
    for found, a, b in zip(js.tolist(), first.T, second.T, strict=True):
        edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 9)
        p, q = (np.histogram(x, edges)[0] / len(x) for x in (a, b))
        assert found == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=0.02)  # values on an edge may fall over
    apart = torch.tensor([[0.0], [1.0]])
    assert float(jensen_shannon(apart, apart + 10)) == float(kolmogorov_smirnov(apart, apart + 10)) == 1
    assert float(jensen_shannon(torch.ones(3, 1), torch.ones(4, 1))) == 0

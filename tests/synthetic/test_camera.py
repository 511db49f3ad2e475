"""Exposure and noise against their closed forms."""

import numpy as np
import pytest

from mediakit.synthetic.camera import Sensor, expose

pytest.importorskip("cv2")


def test_exposure_is_linear_below_and_bends_smoothly_above():
    light = np.linspace(0, 4, 4001).astype(np.float32)
    got = expose(light, 0.0)
    np.testing.assert_array_equal(got[light <= 0.75], light[light <= 0.75])
    slope = np.diff(got) / np.diff(light)
    assert (slope > 0).all()
    assert got.max() < 1
    assert np.abs(np.diff(slope)).max() < 0.02  # no kink
    np.testing.assert_allclose(expose(light / 2, 1.0), got, atol=1e-6)


def flat(level, noise=0.02, brightness=1.0, frames=3):
    sensor = Sensor((64, 80), noise, brightness, np.random.default_rng(0))
    picture = np.full((64, 80, 3), level, np.float32)
    return np.stack([sensor.record(picture) for _ in range(frames)]).astype(np.float64)


@pytest.mark.parametrize(("level", "factor"), [(0.5, 1.0), (0.2, 1.18), (0.8, 0.82)])
def test_noise_has_the_size_that_was_asked_for_and_more_in_the_dark(level, factor):
    film = flat(level)
    assert film.mean() == pytest.approx(255 * level, abs=0.5)
    expected = 255 * 0.02 * factor * np.sqrt(1 + 0.35**2)
    assert film.std() == pytest.approx(expected, rel=0.05)


def test_noise_is_mostly_of_brightness_and_new_in_each_frame():
    film = flat(0.5)
    channels = np.corrcoef(film.reshape(-1, 3).T)
    assert channels[0, 1] == pytest.approx(1 / (1 + 0.35**2), abs=0.03)
    frames = np.corrcoef(film.reshape(3, -1))
    assert np.abs(frames[np.triu_indices(3, 1)]).max() < 0.05


def test_no_noise_leaves_the_picture_and_brightness_scales_it():
    picture = np.random.default_rng(1).random((64, 80, 3)).astype(np.float32)
    got = Sensor((64, 80), 0.0, 0.4, np.random.default_rng(0)).record(picture)
    assert got.dtype == np.uint8
    assert np.abs(got - 255 * 0.4 * picture).max() <= 0.5 + 1e-3

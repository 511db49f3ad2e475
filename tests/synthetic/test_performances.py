"""What a talking head does: limits, timing, and how pose and mouth follow the speech."""

from itertools import pairwise

import numpy as np
import pytest

from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.face_shapes import EXPRESSIONS
from mediakit.synthetic.performances import CONSONANTS, VOWELS, draw_performance, draw_syllables

signal = pytest.importorskip("scipy.signal")


def draw(seed, seconds=8.0, fps=25):
    return draw_performance(random_stream("test", seed), seconds, fps)


def column(performance, name):
    return performance.expression[:, EXPRESSIONS.index(name)]


def test_shapes_and_limits():
    for seed in range(30):
        film = draw(seed)
        assert film.time.shape == (200,)
        assert film.time[1] == pytest.approx(0.04)
        assert film.angles.shape == (200, 3)
        assert (np.abs(film.angles).max(0) < [14, 12, 7]).all()
        assert film.expression.shape == (200, len(EXPRESSIONS))
        assert film.expression[:, :2].min() >= 0
        assert film.expression[:, :2].max() <= 1
        assert np.abs(film.shift).max() < 0.3
        assert np.abs(np.log(film.zoom)).max() < 0.05
        # No jump: a head does not turn faster than 120 degrees a second when it talks.
        assert np.abs(np.diff(film.angles, axis=0)).max() * 25 < 120


def test_the_same_stream_gives_the_same_performance():
    for name in ("angles", "shift", "zoom", "sway", "expression"):
        np.testing.assert_array_equal(getattr(draw(4), name), getattr(draw(4), name))
        assert (getattr(draw(4), name) != getattr(draw(5), name)).any()


def test_speech_is_phrases_with_pauses():
    said = [draw_syllables(random_stream("test", seed), 10.0) for seed in range(40)]
    lengths = [s.stop - s.start for syllables in said for s in syllables]
    gaps = np.array([b.start - a.stop for syllables in said for a, b in pairwise(syllables)])
    assert (gaps > -1e-9).all()
    pauses = gaps[gaps > 1e-6]
    assert pauses.min() >= 0.25
    assert pauses.max() <= 0.9
    assert 3.3 < 1 / np.mean(lengths) < 6.5
    assert {s.vowel for syllables in said for s in syllables} == set(VOWELS)
    assert {s.consonant for syllables in said for s in syllables} == set(CONSONANTS)
    assert all(syllables[-1].stop <= 9.9 + 1e-9 for syllables in said)


def test_the_head_nods_60_to_120_ms_after_each_stress():
    """Cross-correlation of an impulse at each stress with downward pitch, drift taken out."""
    lags = []
    for seed in range(12):
        film = draw(seed, 30.0, 100)
        impulses = np.zeros(3000)
        for syllable in film.syllables:
            impulses[round(syllable.peak * 100)] += syllable.stress**2
        high = signal.butter(3, 1.5, "highpass", fs=100, output="sos")
        pitch = signal.sosfiltfilt(high, -film.angles[:, 0])
        stress = signal.sosfiltfilt(high, signal.sosfiltfilt(signal.butter(2, 5.0, fs=100, output="sos"), impulses))
        scores = [np.dot(pitch[50 + lag : 2950 + lag], stress[50:2950]) for lag in range(-30, 31)]
        lags.append(10 * (int(np.argmax(scores)) - 30))
    # Overlapping nods and what is left of the drift blur single maxima by a frame or two.
    assert min(lags) >= 40
    assert max(lags) <= 140
    assert 75 <= np.mean(lags) <= 110


def test_lips_meet_at_m_and_b_and_the_mouth_opens_for_vowels():
    checked = 0
    for seed in range(10):
        film = draw(seed, 8.0, 500)
        for syllable in film.syllables:
            onset, peak = round((syllable.start + 0.02) * 500), round(syllable.peak * 500)
            jaw, closure = column(film, "jaw"), column(film, "closure")
            if syllable.consonant in "mb":
                assert closure[onset] > 0.9
                assert jaw[onset] < 0.1
                checked += 1
            assert jaw[peak] > 0.12
            assert jaw[peak] == pytest.approx(VOWELS[syllable.vowel][0][0] * (0.75 + 0.35 * syllable.stress), abs=0.12)
    assert checked > 40


def test_the_mouth_rests_in_pauses():
    for seed in range(10):
        film = draw(seed, 10.0, 50)
        for a, b in pairwise(film.syllables):
            if b.start - a.stop > 0.5:
                middle = round((a.stop + b.start) / 2 * 50)
                assert column(film, "jaw")[middle] < 0.03
                assert column(film, "closure")[middle] > 0.8


def test_blinks_are_quick_whole_and_at_least_1_2_s_apart():
    counts = []
    for seed in range(30):
        film = draw(seed, 20.0, 50)
        lid = column(film, "right_lid")
        shut = np.flatnonzero((lid > 0.5) & (np.roll(lid, 1) <= 0.5))
        counts.append(len(shut))
        assert lid.min() == 0
        if len(shut) > 1:
            assert np.diff(shut).min() / 50 >= 1.15
        assert np.abs(column(film, "left_lid") - lid).max() < 0.35  # both eyes together
    assert 3.5 < np.mean(counts) < 8.5


def test_no_time_for_a_syllable_is_silence():
    film = draw(0, 0.2, 25)
    assert film.syllables == ()
    assert np.isfinite(film.expression).all()
    assert column(film, "jaw").max() < 1e-6

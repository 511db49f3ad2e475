"""The voice, against signal analysis: pitch by autocorrelation, formants by spectrum, loudness by the mouth."""

import numpy as np
import pytest

from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.performances import VOWELS, Syllable, draw_performance
from mediakit.synthetic.speech import speak

pytest.importorskip("scipy")

RATE = 16_000


def say(syllables, seconds=2.0, pitch=120.0, tract=1.0, seed=0):
    return speak(tuple(syllables), seconds, RATE, pitch, tract, random_stream("voice", seed))


def held(vowel, **options):
    """The steady part of a long vowel."""
    return say([Syllable("l", vowel, 0.1, 1.9, 0.5)], **options)[round(1.2 * RATE) : round(1.6 * RATE)]


def loudness(wave, frames, fps):
    return np.sqrt(np.array([np.mean(part.astype(float) ** 2) for part in np.array_split(wave, frames)]))


@pytest.mark.parametrize("pitch", [100.0, 140.0, 210.0])
def test_the_pitch_is_the_one_asked_for(pitch):
    wave = held("a", pitch=pitch).astype(float)
    spectrum = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
    correlation = np.fft.irfft(spectrum)
    low, high = int(RATE / 400), int(RATE / 70)
    found = RATE / (low + int(np.argmax(correlation[low:high])))
    # Half stressed at the start of a phrase: 8 % and half of 14 % above the mean.
    assert found == pytest.approx(pitch * 1.08 * 1.07, rel=0.03)


def test_pitch_tracked_by_librosa_stays_near_the_mean():
    librosa = pytest.importorskip("librosa")
    film = draw_performance(random_stream("test", 1), 3.0, 25)
    wave = say(film.syllables, 3.0, pitch=120.0)
    f0 = librosa.yin(wave, fmin=60, fmax=400, sr=RATE, frame_length=1024)
    loud = librosa.feature.rms(y=wave, frame_length=1024, hop_length=256)[0]
    voiced = f0[: len(loud)][loud[: len(f0)] > 0.3 * loud.max()]
    assert np.median(voiced) == pytest.approx(125, rel=0.12)


@pytest.mark.parametrize("tract", [0.95, 1.1])
@pytest.mark.parametrize("vowel", sorted(VOWELS))
def test_formants_are_those_of_the_vowel(vowel, tract):
    """The two lowest peaks of the spectrum's envelope (through harmonics of a low voice)."""
    wave = held(vowel, pitch=70.0, tract=tract)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    frequency = np.fft.rfftfreq(len(wave), 1 / RATE)
    harmonics = 70.0 * 1.08 * 1.07 * np.arange(1, 45)
    level = np.array([spectrum[np.abs(frequency - h) < 25].max() for h in harmonics])
    for formant in VOWELS[vowel][1][:2]:
        near = np.abs(harmonics - formant * tract) < 200
        best = harmonics[near][np.argmax(level[near])]
        assert best == pytest.approx(formant * tract, abs=75)  # half a harmonic, and the neighbour's skirt
        far = (np.abs(harmonics - formant * tract) > 250) & (harmonics < 3400)
        others = [abs(harmonics - f * tract) < 250 for f in VOWELS[vowel][1]]
        valley = far & ~np.any(others, axis=0)
        if valley.any():
            assert level[near].max() > 1.5 * np.median(level[valley])


def test_loudness_follows_the_mouth_and_pauses_are_quiet():
    correlations = []
    for seed in range(6):
        film = draw_performance(random_stream("test", seed), 6.0, 50)
        wave = say(film.syllables, 6.0, seed=seed)
        level = loudness(wave, 300, 50)
        opening = film.expression[:, 0] * (1 - film.expression[:, 1])
        correlations.append(np.corrcoef(level, opening)[0, 1])
        time = film.time
        speaking = np.zeros(300, bool)
        for syllable in film.syllables:
            speaking |= (time > syllable.start - 0.12) & (time < syllable.stop + 0.1)
        assert level[~speaking].max() < 0.05 * level.max()
        assert level[~speaking].min() > 0  # a room is never digitally silent
    assert min(correlations) > 0.35
    assert np.median(correlations) > 0.5


def test_range_and_determinism():
    syllables = [Syllable("s", "a", 0.2, 0.5, 1.0), Syllable("m", "i", 0.5, 0.8, 0.0)]
    wave = say(syllables, 1.0)
    assert wave.dtype == np.float32
    assert wave.shape == (RATE,)
    assert 0.5 < np.abs(wave).max() < 0.65
    np.testing.assert_array_equal(wave, say(syllables, 1.0))
    assert (wave != say(syllables, 1.0, seed=1)).any()


def test_s_hisses_and_vowels_do_not():
    wave = say([Syllable("s", "a", 0.3, 0.9, 1.0)], 1.2)

    def high(start, stop):
        power = np.abs(np.fft.rfft(wave[round(start * RATE) : round(stop * RATE)])) ** 2
        frequency = np.fft.rfftfreq(round((stop - start) * RATE), 1 / RATE)
        return power[frequency > 4200].sum() / power.sum()

    assert high(0.32, 0.36) > 3 * high(0.6, 0.7)


def test_nothing_said_is_the_room_alone():
    wave = say([], 0.5)
    assert 0 < np.abs(wave).max() < 0.02

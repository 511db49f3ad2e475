import numpy as np
import pytest

from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.sounds import SOUNDS, Score, draw_score, draw_sound, play
from mediakit.synthetic.timbres import NOISES, TIMBRES, draw_noise

scipy_signal = pytest.importorskip("scipy.signal")

RATE = 16_000
ALL_TIMBRES = sum(TIMBRES.values(), ())
ALL_NOISES = sum(NOISES.values(), ())


def envelope(wave, smooth=0.004):
    """Magnitude of the analytic signal, smoothed: it knows nothing of how the sound was made."""
    window = np.hanning(int(smooth * RATE) | 1)
    return np.convolve(np.abs(scipy_signal.hilbert(wave)), window / window.sum(), mode="same")


def strongest_rate(curve, low, high):
    """Frequency in Hz at which a curve sampled at RATE has most power, within a range."""
    power = np.abs(np.fft.rfft((curve - curve.mean()) * np.hanning(len(curve)), 8 * len(curve))) ** 2
    frequency = np.fft.rfftfreq(8 * len(curve), 1 / RATE)
    inside = (frequency >= low) & (frequency <= high)
    return frequency[inside][np.argmax(power[inside])]


def sound(name, seconds=6.0, seed=0, timbre="sine"):
    return draw_sound(name, seconds, RATE, random_stream("test", name, seed), timbre)


@pytest.mark.parametrize("name", SOUNDS)
def test_each_sound_with_each_timbre_is_finite_has_unit_power_and_repeats(name):
    for timbre in ALL_TIMBRES:
        wave = sound(name, 1.3, timbre=timbre)
        assert wave.dtype == np.float32
        assert wave.shape == (round(1.3 * RATE),)
        assert np.isfinite(wave).all()
        assert np.sqrt(np.mean(wave.astype(float) ** 2)) == pytest.approx(1, abs=1e-4)
        assert wave.tobytes() == sound(name, 1.3, timbre=timbre).tobytes()
        assert wave.tobytes() != sound(name, 1.3, seed=1, timbre=timbre).tobytes()


@pytest.mark.parametrize("table", [TIMBRES, NOISES])
def test_no_two_splits_share_a_kind(table):
    names = sum(table.values(), ())
    assert set(table) == {"train", "val", "test"}
    assert len(set(names)) == len(names)


def test_the_clock_ticks_regularly():
    for seed in range(3):
        strength = envelope(sound("clock", seed=seed))
        ticks, _ = scipy_signal.find_peaks(strength, height=0.3 * strength.max(), distance=int(0.1 * RATE))
        gaps = np.diff(ticks) / RATE
        assert gaps.std() < 0.02 * gaps.mean()
        assert 0.2 < gaps.mean() < 0.42
        # its autocorrelation has its first great peak there too
        again = scipy_signal.correlate(strength - strength.mean(), strength - strength.mean(), method="fft")
        again = again[len(strength) :][int(0.1 * RATE) : int(0.6 * RATE)]
        assert (np.argmax(again) / RATE + 0.1) == pytest.approx(gaps.mean(), abs=0.01)


def test_the_ball_bounces_faster_and_faster_and_the_drum_does_not():
    def gaps(name, seed):
        strength = envelope(sound(name, 12, seed))
        hits, _ = scipy_signal.find_peaks(strength, prominence=0.1 * strength.max(), distance=int(0.05 * RATE))
        return np.diff(hits) / RATE

    for seed in range(3):
        ball, drum = gaps("ball", seed), gaps("drum", seed)
        assert (np.diff(ball) < 0).mean() > 0.65  # all but the throws
        assert (np.diff(drum) < 0).mean() < 0.6
        ratio = ball[1:] / ball[:-1]
        assert 0.7 < np.median(ratio) < 0.82
        assert drum.std() > 0.2 * drum.mean()  # irregular


def test_the_siren_sweeps_more_than_an_octave_once_in_about_a_second():
    for seed in range(3):
        wave = sound("siren", 8, seed)
        phase = np.unwrap(np.angle(scipy_signal.hilbert(wave)))
        semitones = 12 * np.log2(np.gradient(phase)[800:-800] * RATE / (2 * np.pi))
        low, high = np.percentile(semitones, [2, 98])
        assert 9 < high - low < 17
        assert 1 / 1.5 < strongest_rate(semitones, 0.2, 5) < 1 / 0.75


def test_the_alarm_has_two_pitches_in_turn():
    wave = sound("alarm", 6)
    phase = np.unwrap(np.angle(scipy_signal.hilbert(wave)))
    pitch = scipy_signal.medfilt(np.gradient(phase)[800:-800:40] * RATE / (2 * np.pi), 9)
    high = pitch > (pitch.min() + pitch.max()) / 2
    for part in (pitch[high], pitch[~high]):
        assert part.std() < 0.03 * part.mean()
    changes = np.diff(np.flatnonzero(np.diff(high.astype(int)))) * 40 / RATE
    assert changes == pytest.approx(np.full(len(changes), changes.mean()), abs=0.02)
    assert 0.19 < changes.mean() < 0.37


@pytest.mark.parametrize(("name", "low", "high"), [("helicopter", 8, 11.8), ("engine", 16.5, 29.5)])
def test_the_rate_of_a_chop_is_in_its_envelope(name, low, high):
    for timbre in ("sine", "reed", "chime"):
        assert low <= strongest_rate(envelope(sound(name, timbre=timbre)), 3, 60) <= high


def test_the_violin_vibrates_and_the_telephone_pauses():
    phase = np.unwrap(np.angle(scipy_signal.hilbert(sound("violin"))))
    semitones = 12 * np.log2(np.maximum(np.gradient(phase)[800:-800] * RATE / (2 * np.pi), 20))
    assert 4.9 < strongest_rate(semitones, 3, 12) < 6.6
    strength = envelope(sound("telephone", timbre="saw"), 0.02)
    silent = strength < 0.02 * strength.max()
    assert 0.25 < silent.mean() < 0.45
    assert 1 / 0.68 < strongest_rate(strength, 0.5, 6) < 1 / 0.49


def test_the_bird_glides_over_half_an_octave_within_a_chirp():
    wave = sound("bird", 4)
    strength = envelope(wave)
    loud = np.flatnonzero(np.diff((strength > 0.5 * strength.max()).astype(int)))
    phase = np.unwrap(np.angle(scipy_signal.hilbert(wave)))
    start, stop = loud[np.searchsorted(loud, loud[0]) + (strength[0] > 0.5 * strength.max()) :][:2]
    pitch = np.gradient(phase)[[start, stop]]
    assert abs(12 * np.log2(pitch[1] / pitch[0])) > 5


def test_rain_is_made_of_many_short_grains():
    strength = envelope(sound("rain", timbre="square"), 0.002)
    peaks, _ = scipy_signal.find_peaks(strength, prominence=0.05 * strength.max())
    gaps = np.diff(peaks) / RATE
    assert len(peaks) / 6 > 25
    assert gaps.std() > 0.5 * gaps.mean()


def test_a_score_is_played_at_its_level_and_beats_lie_in_order():
    for name in SOUNDS:
        score = draw_score(name, 3, RATE, random_stream("score", name))
        assert score.level.min() >= 0
        assert score.level.max() <= 1 + 1e-9
        assert (np.diff(score.beats) > 0).all()
        assert score.beats[-1] >= 3
    level = np.zeros(RATE)
    level[4000:8000] = 1
    wave = play(Score(np.zeros(RATE), level, np.array([0.0, 2.0])), RATE, random_stream("x"), "fm")
    assert not wave[:4000].any()
    assert not wave[8000:].any()
    assert wave[4000:8000].any()


@pytest.mark.parametrize("kind", ALL_NOISES)
def test_noise_has_unit_power_and_repeats(kind):
    wave, again = (draw_noise(kind, 2, RATE, random_stream("noise", kind)) for _ in range(2))
    assert wave.tobytes() == again.tobytes()
    assert np.isfinite(wave).all()
    assert np.mean(wave.astype(float) ** 2) == pytest.approx(1, abs=1e-3)
    short = draw_noise(kind, 0.1, RATE, random_stream("short", kind))
    assert np.mean(short.astype(float) ** 2) == pytest.approx(1, abs=1e-3)


def test_colours_of_noise_have_their_slopes():
    for kind, slope in (("white", 0), ("pink", -1), ("brown", -2), ("blue", 1)):
        frequency, power = scipy_signal.welch(draw_noise(kind, 8, RATE, random_stream(kind)), RATE, nperseg=2048)
        inside = (frequency > 100) & (frequency < 6000)
        fit = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)
        assert fit[0] == pytest.approx(slope, abs=0.1)


def test_the_mean_spectrum_hardly_depends_on_the_class():
    """The classes' mean spectral centroids lie closer together than sounds of one class do."""
    centroids = []
    for name in SOUNDS:
        row = []
        for seed in range(16):
            power = np.abs(np.fft.rfft(sound(name, 1, seed, TIMBRES["train"][seed % 8]))) ** 2
            row.append(np.log(power @ np.fft.rfftfreq(RATE, 1 / RATE) / power.sum()))
        centroids.append(row)
    centroids = np.array(centroids)
    assert centroids.mean(1).std() < 0.6 * centroids.std(1).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda draw: draw_sound("dog", 1, RATE, draw), "dog"),
        (lambda draw: draw_sound("bell", 1, RATE, draw, "kazoo"), "kazoo"),
        (lambda draw: draw_sound("bell", 0, RATE, draw), "positive length"),
        (lambda draw: draw_sound("bell", 1, 4000, draw), "at least 8000"),
        (lambda draw: draw_noise("silence", 1, RATE, draw), "silence"),
        (lambda draw: draw_noise("pink", 0, RATE, draw), "positive length"),
    ],
)
def test_what_does_not_exist_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_stream("x"))

"""What may carry a sound, and what may lie under it: timbres and beds of noise, other ones in each split."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Wave: TypeAlias = NDArray[np.float64]

TIMBRES = {
    "train": ("sine", "saw", "organ", "detuned", "vowel", "fm", "chime", "breath"),
    "val": ("triangle", "pulse", "hiss"),
    "test": ("square", "reed", "fifth", "gong", "rasp", "whisper"),
}
"""What may carry a sound, by split; no two splits share one."""

NOISES = {"train": ("white", "pink", "hum", "wind"), "val": ("blue", "room"), "test": ("brown", "babble", "fan")}
"""Beds of background noise, by split; no two splits share one."""


def carrier(timbre: str, phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
    """Performs a line of pitches with a timbre, at a constant level.

    Args:
        timbre: One of the names in `TIMBRES`.
        phase: Of the fundamental, in radians, (N,).
        frequency: Its derivative in Hz, (N,): partials beyond 0.45 ``rate`` are left out.
        rate: Samples per second.
        draw: Source of all randomness.

    Raises:
        ValueError: There is no such timbre.
    """
    if timbre not in _CARRIERS:
        raise ValueError(f"there is no timbre {timbre!r}; there are {', '.join(_CARRIERS)}")
    return _CARRIERS[timbre](phase, frequency, rate, draw)


def draw_noise(kind: str, seconds: float, rate: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Draws a bed of background noise.

    Args:
        kind: One of the names in `NOISES`: a colour of noise, the hum of mains, wind, a room that resonates, many
            voices at once, or a fan.
        seconds: Its length.
        rate: Samples per second, at least 8000.
        draw: Source of all randomness.

    Returns:
        Waveform float32 (N,) with ``N = round(seconds * rate)`` and a root mean square of 1.

    Raises:
        ValueError: There is no such noise, or the length or the rate is too small.
    """
    if kind not in _BEDS:
        raise ValueError(f"there is no noise {kind!r}; there are {', '.join(_BEDS)}")
    if rate < 8000 or round(seconds * rate) < 1:
        raise ValueError(f"noise needs a positive length and a rate of at least 8000, got {seconds} s at {rate}")
    return unit(_BEDS[kind](round(seconds * rate), rate, draw))


def unit(wave: Wave) -> NDArray[np.float32]:
    """Scales to a root mean square of 1; silence stays silence."""
    return (wave / max(float(np.sqrt(np.mean(wave**2))), 1e-9)).astype(np.float32)


def tilted(wave: Wave, rate: int, exponent: float) -> Wave:
    """Multiplies the spectrum with (f / 1 kHz) ** exponent."""
    frequency = np.maximum(np.fft.rfftfreq(len(wave), 1 / rate), 50)
    return np.fft.irfft(np.fft.rfft(wave) * (frequency / 1000) ** exponent, len(wave))


# Carriers: (phase in radians, its frequency in Hz, rate, randomness) -> waveform of constant level.

_Carrier = Callable[[Wave, Wave, int, np.random.Generator], Wave]


def _harmonics(*weights: float) -> _Carrier:
    """Sum of harmonics 1, 2, ... below the Nyquist frequency."""

    def carrier(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
        return _sum(phase, frequency, rate, weights)

    return carrier


def _sum(
    phase: Wave,
    frequency: Wave,
    rate: int,
    weights: tuple[float, ...],
    gain: Callable[[Wave], Wave] = np.ones_like,
) -> Wave:
    twice = 2 * np.cos(phase)
    before, now, total = np.zeros_like(phase), np.sin(phase), np.zeros_like(phase)
    for number, weight in enumerate(weights, 1):
        if weight:
            total += np.where(number * frequency < 0.45 * rate, weight * gain(number * frequency) * now, 0)
        before, now = now, twice * now - before  # sin((k+1)x) = 2 cos(x) sin(kx) - sin((k-1)x)
    return total


_SAW = tuple(1 / k for k in range(1, 13))


def _partials(*ratios: float) -> _Carrier:
    """Inharmonic partials, as of struck metal."""

    def carrier(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
        audible = [r * frequency < 0.45 * rate for r in ratios]
        return np.sum([np.where(ok, np.sin(r * phase) / r**0.5, 0) for r, ok in zip(ratios, audible, strict=True)], 0)

    return carrier


def _detuned(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
    return _sum(phase, frequency, rate, _SAW) + _sum(phase * draw.uniform(1.004, 1.008), frequency, rate, _SAW)


def _vowel(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
    formants = np.array([(700, 1200, 2600), (300, 2200, 3000), (400, 800, 2600)])[draw.integers(3)]
    grid = np.arange(0, rate / 2, 20.0)
    table = 0.1 + np.exp(-(((grid[:, None] - formants) / 250) ** 2)).sum(1)
    return _sum(phase, frequency, rate, _SAW, lambda f: np.interp(f, grid, table))


def _fm(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
    ratio = draw.choice([1.0, 1.5, 2.0, 3.0])
    index = np.minimum(draw.uniform(1, 3.5), np.maximum(0.4 * rate / frequency - 1, 0) / ratio)
    return np.sin(phase + index * np.sin(ratio * phase))


def _rasp(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
    return _sum(phase, frequency, rate, _SAW) * (0.6 + _lowpass(len(phase), rate, 300, draw))


def _band(relative: float) -> _Carrier:
    """Noise in a band about the frequency, as wide as `relative` times it (and 200 Hz at least)."""

    def carrier(phase: Wave, frequency: Wave, rate: int, draw: np.random.Generator) -> Wave:
        half = max(100.0, relative / 2 * float(np.median(frequency)))
        real, imaginary = _lowpass(len(phase), rate, half, draw), _lowpass(len(phase), rate, half, draw)
        return real * np.cos(phase) - imaginary * np.sin(phase)

    return carrier


_CARRIERS: dict[str, _Carrier] = {
    "sine": _harmonics(1),
    "saw": _harmonics(*_SAW),
    "organ": _harmonics(1, 0.7, 0, 0.6, 0, 0, 0, 0.4),
    "detuned": _detuned,
    "vowel": _vowel,
    "fm": _fm,
    "chime": _partials(1, 2.76, 5.4),
    "breath": _band(0.3),
    "triangle": _harmonics(1, 0, -1 / 9, 0, 1 / 25, 0, -1 / 49),
    "pulse": _harmonics(*(np.sin(0.2 * np.pi * k) / k for k in range(1, 13))),
    "hiss": _band(0.9),
    "square": _harmonics(1, 0, 1 / 3, 0, 1 / 5, 0, 1 / 7, 0, 1 / 9),
    "reed": _harmonics(0.4, 0.7, 1, 0.7, 0.5, 0.3, 0.2),
    "fifth": _partials(1, 1.498, 2, 2.996),
    "gong": _partials(1, 1.67, 2.31, 3.2, 4.1),
    "rasp": _rasp,
    "whisper": _band(0.55),
}


# Beds of noise: (samples, rate, randomness) -> waveform.


def _spectral(samples: int, rate: int, draw: np.random.Generator, gain: Callable[[Wave], Wave]) -> Wave:
    """White noise whose spectrum is multiplied with a gain over frequency in Hz."""
    spectrum = np.fft.rfft(draw.standard_normal(samples))
    return np.fft.irfft(spectrum * gain(np.fft.rfftfreq(samples, 1 / rate)), samples)


def _lowpass(samples: int, rate: int, cutoff: float, draw: np.random.Generator) -> Wave:
    wave = _spectral(samples, rate, draw, lambda f: np.where(f > 0, np.exp(-((f / cutoff) ** 2)), 0))
    return wave / max(float(wave.std()), 1e-9)


def _coloured(exponent: float) -> Callable[[int, int, np.random.Generator], Wave]:
    return lambda samples, rate, draw: _spectral(samples, rate, draw, lambda f: np.maximum(f, 20.0) ** exponent)


def _hum(samples: int, rate: int, draw: np.random.Generator) -> Wave:
    phase = 2 * np.pi * draw.choice([50, 60]) * np.arange(samples) / rate + draw.uniform(0, 7)
    tones = np.sum([draw.uniform(0.2, 1) / k * np.sin(k * phase) for k in range(1, 13)], 0)
    return tones + 0.4 * unit(_coloured(-0.5)(samples, rate, draw))


def _wind(samples: int, rate: int, draw: np.random.Generator) -> Wave:
    gusts = np.exp(0.5 * _lowpass(samples, rate, 0.5, draw))
    return gusts * _spectral(samples, rate, draw, lambda f: 1 / (1 + (f / 400) ** 2))


def _room(samples: int, rate: int, draw: np.random.Generator) -> Wave:
    peaks = np.exp(draw.uniform(np.log(80), np.log(3000), 6))
    return _spectral(
        samples,
        rate,
        draw,
        lambda f: np.maximum(f, 20.0) ** -0.5 * (1 + sum(8 * np.exp(-(((f - p) / 40) ** 2)) for p in peaks)),
    )


def _babble(samples: int, rate: int, draw: np.random.Generator) -> Wave:
    total = 0.1 * draw.standard_normal(samples)
    for _ in range(5):
        frequency = draw.uniform(100, 240) * 2 ** (0.2 * _lowpass(samples, rate, 2, draw))
        syllables = np.maximum(_lowpass(samples, rate, 4, draw), 0)
        total += syllables * _vowel(2 * np.pi * np.cumsum(frequency) / rate, frequency, rate, draw)
    return total


def _fan(samples: int, rate: int, draw: np.random.Generator) -> Wave:
    tone = np.sin(2 * np.pi * draw.uniform(90, 220) * np.arange(samples) / rate)
    return 0.5 * tone + unit(_spectral(samples, rate, draw, lambda f: 1 / (1 + (np.maximum(f, 20) / 900) ** 2)))


_BEDS: dict[str, Callable[[int, int, np.random.Generator], Wave]] = {
    "white": _coloured(0),
    "pink": _coloured(-0.5),
    "hum": _hum,
    "wind": _wind,
    "blue": _coloured(0.5),
    "room": _room,
    "brown": _coloured(-1),
    "babble": _babble,
    "fan": _fan,
}

"""The sound of syllables: a voice's harmonics through three formants, with the noise of consonants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.synthetic.performances import CONSONANTS, VOWELS, Syllable

Floats = NDArray[np.float64]

_BANDWIDTHS = (80.0, 110.0, 170.0)  # Hz
_GAINS = (1.0, 0.6, 0.3)
_TOP = 4000.0  # Hz: harmonics above carry little of a voice
_BLOCK = 100  # samples between two looks at the slowly changing amplitudes


def speak(
    syllables: tuple[Syllable, ...], seconds: float, rate: int, pitch: float, tract: float, draw: np.random.Generator
) -> NDArray[np.float32]:
    """Speech-like sound, in time with the movements that `mediakit.synthetic.performances` makes of the same syllables.

    Args:
        syllables: What is said.
        seconds: Length.
        rate: Samples per second.
        pitch: Mean of the voice in Hz.
        tract: Factor of all formants: 0.9 for a long vocal tract, 1.2 for a short one.
        draw: Source of randomness.

    Returns:
        ``(N,)`` in [-1, 1], with a faint noise of the room, so that nothing is digitally silent.
    """
    signal = require("scipy.signal", "Speech", "scipy")
    count = round(seconds * rate)
    time = np.arange(count) / rate
    coarse = np.arange(0, count + _BLOCK, _BLOCK) / rate
    loudness, formants, tone = _tracks(syllables, coarse, tract, pitch)
    frequency = np.interp(time, coarse, tone)
    phase = 2 * np.pi * np.cumsum(frequency * (1 + 0.004 * np.sin(2 * np.pi * 5.2 * time))) / rate
    voice = np.zeros(count)
    for number in range(1, int(min(_TOP, rate / 2.2) / tone.max()) + 1):
        at = number * tone
        amplitude = sum(
            gain / (1 + ((at - formants[:, k]) / width) ** 2)
            for k, (gain, width) in enumerate(zip(_GAINS, _BANDWIDTHS, strict=True))
        )
        voice += np.interp(time, coarse, loudness * amplitude / number**0.3) * np.sin(number * phase)
    noise = draw.standard_normal(count)
    breath = signal.lfilter(*signal.butter(2, [1500, min(6500.0, 0.45 * rate)], "bandpass", fs=rate), noise)
    hiss = signal.lfilter(*signal.butter(2, min(4000.0, 0.4 * rate), "highpass", fs=rate), noise)
    burst = np.zeros(count)
    for syllable in syllables:
        length, level = {"s": (0.09, 0.5), "t": (0.025, 0.6), "b": (0.012, 0.3)}.get(syllable.consonant, (0.0, 0.0))
        if length:
            since = (time - syllable.start) / length
            burst = np.maximum(burst, level * np.where((since > 0) & (since < 1), np.sin(np.pi * since.clip(0, 1)), 0))
    room = signal.lfilter([1.0], [1.0, -0.9], draw.standard_normal(count))
    wave = voice + 0.05 * np.interp(time, coarse, loudness) * breath + 0.25 * burst * hiss
    peak = np.abs(wave).max()
    return (0.6 * wave / peak if peak > 0 else wave).astype(np.float32) + (0.0012 * room).astype(np.float32)


def _tracks(syllables: tuple[Syllable, ...], time: Floats, tract: float, pitch: float) -> tuple[Floats, Floats, Floats]:
    """Loudness ``(T,)``, formants ``(T, 3)`` and pitch in Hz ``(T,)``."""
    loudness = np.zeros_like(time)
    keys: list[tuple[float, tuple[float, ...]]] = [(-1.0, VOWELS["y"][1])]
    contour = [(-1.0, 1.0)]
    start = None
    for number, syllable in enumerate(syllables):
        if start is None or syllable.start - syllables[number - 1].stop > 0.1:
            start = syllable.start
        # Lips that meet let little through, so a syllable is loudest when the mouth is open.
        closed = CONSONANTS[syllable.consonant][1]
        attack = (time - syllable.start - (0.03 if closed == 1.0 else 0.0)) / 0.05
        release = (syllable.stop + 0.02 - time) / 0.06
        shape = np.clip(np.minimum(attack, release), 0, 1) * (0.55 + 0.45 * syllable.stress)
        if syllable.consonant == "m":
            hum = np.clip(
                np.minimum((time - syllable.start + 0.04) / 0.03, (syllable.start + 0.06 - time) / 0.03), 0, 1
            )
            shape = np.maximum(shape, 0.25 * hum)
        loudness = np.maximum(loudness, shape)
        keys += [(syllable.peak - 0.02, VOWELS[syllable.vowel][1]), (syllable.peak + 0.03, VOWELS[syllable.vowel][1])]
        fall = 1.08 - 0.09 * (syllable.start - start)  # the voice sinks along a phrase
        contour.append((syllable.peak, max(0.8, fall) * (1 + 0.14 * syllable.stress)))
    moments, values = zip(*keys, strict=True)
    formants = np.stack([np.interp(time, moments, [v[k] for v in values]) for k in range(3)], axis=1) * tract
    tone = pitch * np.interp(time, [moment for moment, _ in contour], [factor for _, factor in contour])
    return loudness, formants, tone

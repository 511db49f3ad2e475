"""What a talking head does: syllables, movements of mouth, lids and brows, and a head that moves with its speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.synthetic.face_shapes import EXPRESSIONS, smoothstep

Floats = NDArray[np.float64]

# Jaw, closure and width of the mouth (see `.EXPRESSIONS`), and the first three formants in Hz of an average voice.
VOWELS = {
    "a": ((0.70, 0.0, 0.05), (750.0, 1250.0, 2550.0)),
    "e": ((0.40, 0.05, 0.35), (480.0, 1900.0, 2600.0)),
    "i": ((0.22, 0.15, 0.60), (300.0, 2250.0, 3000.0)),
    "o": ((0.45, 0.05, -0.55), (480.0, 880.0, 2450.0)),
    "u": ((0.25, 0.20, -0.90), (320.0, 780.0, 2300.0)),
    "y": ((0.30, 0.10, 0.00), (500.0, 1450.0, 2450.0)),
}
# The mouth at the onset of a syllable: lips meet for m and b, the teeth almost for s, the tongue alone moves for l.
CONSONANTS = {
    "m": (0.0, 1.0, -0.1),
    "b": (0.02, 1.0, 0.0),
    "s": (0.08, 0.35, 0.25),
    "t": (0.12, 0.25, 0.1),
    "l": (0.2, 0.15, 0.0),
}

_REST = (0.0, 0.85, 0.0)
_LIMITS = (14.0, 12.0, 7.0)  # degrees of pitch, yaw and roll up to which the bent photograph is believable


@dataclass(frozen=True)
class Syllable:
    """One syllable: consonant and vowel, its times in seconds, and how much it is stressed (0 to 1)."""

    consonant: str
    vowel: str
    start: float
    stop: float
    stress: float

    @property
    def peak(self) -> float:
        """When the mouth is widest open."""
        return self.start + 0.55 * (self.stop - self.start)


@dataclass(frozen=True, eq=False)
class Performance:
    """Movements sampled at the frames of a film.

    Attributes:
        time: ``(T,)`` seconds.
        angles: ``(T, 3)`` degrees of pitch, yaw and roll from rest, within ±14, ±12 and ±7.
        shift: ``(T, 2)`` interocular distances that the head moves to image-right and up.
        zoom: ``(T,)`` factor of its size.
        sway: ``(T, 2)`` interocular distances that the body moves.
        expression: ``(T, 8)`` weights of `.EXPRESSIONS`.
        syllables: What is said.
    """

    time: Floats
    angles: Floats
    shift: Floats
    zoom: Floats
    sway: Floats
    expression: Floats
    syllables: tuple[Syllable, ...]


def draw_performance(draw: np.random.Generator, seconds: float, fps: float, smile: float = -0.4) -> Performance:
    """A performance drawn at random: phrases with pauses, nods on stressed syllables, blinks, a wandering gaze.

    The head follows the speech as people's do: it nods 60 to 120 ms after each stress, lifts at the end of phrases, and
    drifts slowly otherwise. So pose and mouth belong together, and a twin that parts them can be told.

    Args:
        draw: Source of randomness.
        seconds: Length.
        fps: Frames per second.
        smile: Resting value of the smile.
    """
    time = np.arange(round(seconds * fps)) / fps
    syllables = draw_syllables(draw, seconds)
    mouth = _mouth(syllables, time)
    stress, phrase = _stress(syllables, time - draw.uniform(0.06, 0.12)), _speaking(syllables, time)
    nod, lift = draw.uniform(2.0, 4.0), draw.uniform(0.5, 1.5)
    yaw = _drift(draw, time, 5.5, 0.06, 0.3)
    angles = np.stack(
        [
            _drift(draw, time, 7.0, 0.1, 0.4) - nod * stress + lift * (1 - phrase),
            yaw + draw.normal(0, 0.8) * stress,
            _drift(draw, time, 2.2, 0.06, 0.3) + 0.22 * yaw + draw.normal(0, 0.5) * stress,
        ],
        axis=1,
    )
    angles = np.stack([limit * np.tanh(angles[:, i] / limit) for i, limit in enumerate(_LIMITS)], axis=1)
    sway = np.stack([_drift(draw, time, 0.03, 0.05, 0.25), _drift(draw, time, 0.015, 0.15, 0.3)], axis=1)
    shift = sway + np.stack([_drift(draw, time, 0.02, 0.1, 0.4), _drift(draw, time, 0.015, 0.1, 0.4)], axis=1)
    shift[:, 1] -= 0.02 * stress
    blink = _blinks(draw, time, seconds)
    brow = np.clip(_drift(draw, time, 0.06, 0.1, 0.4) + draw.uniform(0.05, 0.35) * _smooth(stress, fps, 0.12), -0.4, 1)
    side = 1 + draw.normal(0, 0.08)
    columns = {
        "jaw": mouth[:, 0],
        "closure": mouth[:, 1],
        "width": mouth[:, 2],
        "smile": smile + _drift(draw, time, 0.12, 0.05, 0.25) + 0.15 * (1 - phrase),
        "right_brow": brow,
        "left_brow": brow * side,
        "right_lid": blink,
        "left_lid": np.clip(blink * (2 - side), 0, 1),
    }
    expression = np.stack([columns[name] for name in EXPRESSIONS], axis=1)
    zoom = np.exp(_drift(draw, time, 0.012, 0.05, 0.2))
    return Performance(time, angles, shift, zoom, sway, expression, syllables)


def draw_syllables(draw: np.random.Generator, seconds: float) -> tuple[Syllable, ...]:
    """Speech without sense: phrases of 3 to 11 syllables at 4 to 6.5 a second, with pauses between."""
    said: list[Syllable] = []
    time = draw.uniform(0.1, 0.4)
    rate = draw.uniform(4.0, 6.5)
    while time < seconds:
        count = int(draw.integers(3, 12))
        accent = int(draw.integers(0, 3))
        for number in range(count):
            last = number == count - 1
            length = draw.uniform(0.8, 1.2) / rate * (1.5 if last else 1.0)
            if time + length > seconds - 0.1:
                return tuple(said)
            stress = draw.uniform(0.6, 1.0) if number % 3 == accent else draw.uniform(0.0, 0.25)
            consonant, vowel = str(draw.choice(list(CONSONANTS))), str(draw.choice(list(VOWELS)))
            said.append(Syllable(consonant, vowel, time, time + length, float(stress)))
            time += length
        time += draw.uniform(0.25, 0.9)
    return tuple(said)


def _mouth(syllables: tuple[Syllable, ...], time: Floats) -> Floats:
    """Jaw, closure and width ``(T, 3)``: from onset to vowel to onset without overshoot."""
    interpolate = require("scipy.interpolate", "A talking head", "scipy")
    keys = [(-1.0, _REST)]
    for syllable in syllables:
        if syllable.start - keys[-1][0] > 0.12:  # a pause: the mouth comes to rest, and opens just before speaking
            keys += [(keys[-1][0] + 0.1, _REST), (max(keys[-1][0] + 0.11, syllable.start - 0.1), _REST)]
        effort = 0.75 + 0.35 * syllable.stress
        jaw, closure, width = VOWELS[syllable.vowel][0]
        keys += [
            (syllable.start + 0.02, CONSONANTS[syllable.consonant]),
            (syllable.peak, (jaw * effort, closure, width)),
        ]
        keys += [(syllable.stop, (0.55 * jaw * effort, 0.5 * closure + 0.1, 0.6 * width))]
    keys += [(keys[-1][0] + 0.15, _REST), (1e3, _REST)]
    moments, values = zip(*keys, strict=True)
    steps = np.maximum.accumulate(np.array(moments) + 1e-6 * np.arange(len(moments)))
    return np.asarray(interpolate.PchipInterpolator(steps, np.array(values))(time))


def _stress(syllables: tuple[Syllable, ...], time: Floats) -> Floats:
    """0 to about 1, a bump of a tenth of a second at each stressed vowel."""
    bumps = [s.stress**2 * np.exp(-((time - s.peak) ** 2) / (2 * 0.09**2)) for s in syllables]
    return np.sum(bumps, axis=0) if bumps else np.zeros_like(time)


def _speaking(syllables: tuple[Syllable, ...], time: Floats) -> Floats:
    """1 while somebody speaks, 0 in pauses, with soft edges."""
    level = np.zeros_like(time)
    for syllable in syllables:
        rise, fall = (time - syllable.start + 0.1) / 0.2, (syllable.stop + 0.1 - time) / 0.2
        level = np.maximum(level, np.clip(np.minimum(rise, fall), 0, 1))
    return level


def _drift(draw: np.random.Generator, time: Floats, size: float, low: float, high: float) -> Floats:
    """A slow wandering of standard deviation ``size`` with frequencies from ``low`` to ``high`` Hz."""
    frequencies = draw.uniform(low, high, 4)
    phases = draw.uniform(0, 2 * np.pi, 4)
    weights = draw.uniform(0.5, 1.0, 4)
    weights *= size * np.sqrt(2 / (weights**2).sum())
    return np.asarray((weights * np.sin(2 * np.pi * frequencies * time[:, None] + phases)).sum(1))


def _blinks(draw: np.random.Generator, time: Floats, seconds: float) -> Floats:
    """Lids ``(T,)``: 0 open, 1 closed; a blink each 1.2 s or more, three on average in ten seconds."""
    closed = np.zeros_like(time)
    moment = draw.uniform(0.3, 2.5)
    while moment < seconds:
        depth = draw.uniform(0.85, 1.0)
        closing, opening = (time - moment) / 0.08, (moment + 0.26 - time) / 0.15
        closed = np.maximum(closed, depth * np.clip(np.minimum(closing, opening), 0, 1))
        moment += 1.2 + draw.exponential(2.0)
    return smoothstep(closed)


def _smooth(values: Floats, fps: float, sigma: float) -> Floats:
    ndimage = require("scipy.ndimage", "A talking head", "scipy")
    return np.asarray(ndimage.gaussian_filter1d(values, sigma * fps, axis=0, mode="nearest"))

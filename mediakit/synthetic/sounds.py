"""Sounds whose class is a pattern over time, and whose timbre, register and tempo tell nothing about the class.

A sound is made in two steps: `draw_score` draws when it strikes, how its pitch moves and how its level runs, which is
what makes a siren a siren; `play` performs the score with any timbre at a random register and colour, which is not. So
the mean spectrum hardly gives a class away, while an ear (or a network that sees a second of log-mel) hears it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mediakit.synthetic.timbres import Wave, carrier, tilted, unit


class Score(NamedTuple):
    """A pattern over time, to be played with any timbre.

    Attributes:
        pitch: Semitones above the register, (N,).
        level: Envelope in [0, 1], (N,).
        beats: Seconds at which something strikes, turns or begins anew, rising, (B,): pictures can move with them.
    """

    pitch: Wave
    level: Wave
    beats: Wave


def draw_sound(
    name: str, seconds: float, rate: int, draw: np.random.Generator, timbre: str = "sine"
) -> NDArray[np.float32]:
    """Draws one sound of a class.

    Args:
        name: One of `SOUNDS`.
        seconds: Its length.
        rate: Samples per second, at least 8000.
        draw: Source of all randomness: tempo, register, colour of the sound.
        timbre: One of the names in `.TIMBRES`.

    Returns:
        Waveform float32 (N,) with ``N = round(seconds * rate)`` and a root mean square of 1, so its peaks lie beyond 1.

    Raises:
        ValueError: There is no such sound or timbre, or the length or the rate is too small.
    """
    return play(draw_score(name, seconds, rate, draw), rate, draw, timbre)


def draw_score(name: str, seconds: float, rate: int, draw: np.random.Generator) -> Score:
    """Draws the pattern over time of a class; see `draw_sound` for the arguments."""
    if name not in _PATTERNS:
        raise ValueError(f"there is no sound {name!r}; there are {', '.join(SOUNDS)}")
    if rate < 8000 or round(seconds * rate) < 1:
        raise ValueError(f"a sound needs a positive length and a rate of at least 8000, got {seconds} s at {rate}")
    return _PATTERNS[name](np.arange(round(seconds * rate)) / rate, draw)


def play(score: Score, rate: int, draw: np.random.Generator, timbre: str = "sine") -> NDArray[np.float32]:
    """Performs a score with a timbre, in a register of 250 to 1400 Hz and a tilt of the spectrum that are drawn.

    Args:
        score: The pattern over time.
        rate: Samples per second, the same that the score was drawn at.
        draw: Source of all randomness.
        timbre: One of the names in `.TIMBRES`.

    Returns:
        Waveform float32 (N,) with a root mean square of 1.

    Raises:
        ValueError: There is no such timbre.
    """
    frequency = np.exp(draw.uniform(np.log(250), np.log(1400))) * 2 ** (score.pitch / 12)
    frequency = np.minimum(frequency, 0.4 * rate)
    phase = 2 * np.pi * (np.cumsum(frequency) / rate + draw.random())
    wave = tilted(carrier(timbre, phase, frequency, rate, draw), rate, draw.uniform(-0.6, 0.4))
    return unit(wave * score.level)


# Patterns: (time of each sample in seconds, randomness) -> Score.


def _struck(
    time: Wave,
    beats: Wave,
    decay: float,
    loud: Wave | float = 1.0,
    pitch: Wave | float = 0.0,
    drop: float = 0.0,
) -> Score:
    """Strikes that die away with the time constant `decay`, each beginning `drop` semitones higher than it ends."""
    last = np.searchsorted(beats, time, side="right") - 1
    since = np.maximum(time - beats[np.maximum(last, 0)], 0)
    level = np.minimum(since / 0.002, 1) * np.exp(-since / decay) * np.broadcast_to(loud, beats.shape)[last]
    return Score(
        np.broadcast_to(pitch, beats.shape)[last] + drop * np.exp(-since / 0.03), np.where(last < 0, 0, level), beats
    )


def _regular(time: Wave, period: float, start: float = 0.0) -> Wave:
    return np.arange(start, time[-1] + 5 * period, period)


def _siren(time: Wave, draw: np.random.Generator) -> Score:
    period, depth, begin = draw.uniform(0.8, 1.4), draw.uniform(5, 8), draw.random()
    turns = time / period + begin
    beats = (np.arange(np.ceil(turns[-1]) + 1) - begin) * period
    return Score(depth * np.sin(2 * np.pi * turns), np.ones_like(time), beats)


def _alarm(time: Wave, draw: np.random.Generator) -> Score:
    period, interval = draw.uniform(0.2, 0.36), draw.uniform(4, 9)
    step, since = np.divmod(time, period)
    return Score(interval * (step % 2 - 0.5), np.minimum(since / 0.01, 1), _regular(time, period))


def _bell(time: Wave, draw: np.random.Generator) -> Score:
    return _struck(time, _regular(time, draw.uniform(0.55, 0.95)), draw.uniform(0.18, 0.32))


def _clock(time: Wave, draw: np.random.Generator) -> Score:
    beats = _regular(time, draw.uniform(0.22, 0.4), draw.uniform(0, 0.1))
    tock = draw.uniform(2, 6) * (np.arange(len(beats)) % 2)
    return _struck(time, beats, draw.uniform(0.010, 0.018), pitch=tock)


def _drum(time: Wave, draw: np.random.Generator) -> Score:
    step = draw.uniform(0.11, 0.15)
    beats = np.cumsum(draw.choice([1, 2, 3], size=len(_regular(time, step)), p=[0.5, 0.3, 0.2])) * step - step
    loud = draw.uniform(0.45, 1, len(beats))
    return _struck(time, beats, draw.uniform(0.04, 0.08), loud, draw.choice([0.0, 6.0], len(beats)), drop=6)


def _engine(time: Wave, draw: np.random.Generator) -> Score:
    speed = np.sin(2 * np.pi * (draw.uniform(0.3, 0.6) * time + draw.random()))  # revving up and down
    fires = np.cumsum(draw.uniform(19, 26) * (1 + 0.12 * speed)) * (time[1] - time[0] if len(time) > 1 else 0)
    level = 0.04 + 0.96 * np.cos(np.pi * fires) ** 4
    return Score(2.5 * speed, level, _regular(time, draw.uniform(0.35, 0.6)))


def _helicopter(time: Wave, draw: np.random.Generator) -> Score:
    period = draw.uniform(0.085, 0.125)
    chop = _struck(time, _regular(time, period), 0.28 * period)
    return chop._replace(level=0.02 + 0.98 * chop.level, beats=chop.beats[::4])


def _bird(time: Wave, draw: np.random.Generator) -> Score:
    beats, at = [], draw.uniform(0, 0.1)
    while at < time[-1] + 1:
        count, gap = draw.integers(3, 6), draw.uniform(0.12, 0.19)
        beats.append(at + gap * np.arange(count))
        at += gap * count + draw.uniform(0.12, 0.3)
    length, sweep = draw.uniform(0.07, 0.1), draw.choice([-1, 1]) * draw.uniform(9, 15)
    chirp = _struck(time, np.concatenate(beats), np.inf)
    since = (time - chirp.beats[np.maximum(np.searchsorted(chirp.beats, time, side="right") - 1, 0)]) / length
    inside = (since >= 0) & (since < 1)
    since = np.clip(since, 0, 1)
    return Score(sweep * (since - 0.5), np.where(inside, np.sin(np.pi * since) ** 0.7, 0), chirp.beats)


def _rain(time: Wave, draw: np.random.Generator) -> Score:
    density = draw.uniform(60, 110)
    beats = np.cumsum(draw.exponential(1 / density, int(1.5 * density * (time[-1] + 1))))
    loud = np.minimum(draw.exponential(0.4, len(beats)), 1)
    return _struck(time, beats, draw.uniform(0.004, 0.007), loud, draw.uniform(-12, 12, len(beats)))


def _ball(time: Wave, draw: np.random.Generator) -> Score:
    first, ratio = draw.uniform(0.34, 0.46), draw.uniform(0.72, 0.8)
    gaps = first * ratio ** np.arange(np.ceil(np.log(0.06 / first) / np.log(ratio)))
    fall = np.append(gaps, draw.uniform(0.18, 0.25))  # it rests, then is thrown again
    times = int(np.ceil((time[-1] + 1) / fall.sum()))
    beats = np.concatenate([[0.0], np.cumsum(np.tile(fall, times))])
    loud = np.append(np.tile(np.append(gaps / first, gaps[-1] / first), times), 1.0) ** 0.7
    return _struck(time, beats, draw.uniform(0.03, 0.045), loud, drop=-10)  # its pitch springs up


def _violin(time: Wave, draw: np.random.Generator) -> Score:
    beats = np.append(0.0, np.cumsum(draw.uniform(0.45, 0.8, int(time[-1] / 0.45) + 2)))
    tune = draw.choice([-5.0, -3.0, 0.0, 2.0, 4.0], len(beats))
    note = np.searchsorted(beats, time, side="right") - 1
    since = time - beats[note]
    vibrato = draw.uniform(1.0, 1.5) * np.sin(2 * np.pi * draw.uniform(5, 6.5) * time)
    return Score(tune[note] + vibrato * np.minimum(since / 0.1, 1), 0.25 + 0.75 * np.minimum(since / 0.12, 1), beats)


def _telephone(time: Wave, draw: np.random.Generator) -> Score:
    period, interval, trill = draw.uniform(0.5, 0.66), draw.uniform(3, 5), draw.uniform(14, 18)
    since = time % period
    rings = np.clip(np.minimum(since, 0.62 * period - since) / 0.008, 0, 1)
    step, within = np.divmod(since * 2 * trill, 1)
    return Score(interval * (step % 2), rings * (0.4 + 0.6 * np.exp(-2 * within)), _regular(time, period))


_PATTERNS: dict[str, Callable[[Wave, np.random.Generator], Score]] = {
    "siren": _siren,
    "alarm": _alarm,
    "bell": _bell,
    "clock": _clock,
    "drum": _drum,
    "engine": _engine,
    "helicopter": _helicopter,
    "bird": _bird,
    "rain": _rain,
    "ball": _ball,
    "violin": _violin,
    "telephone": _telephone,
}
SOUNDS = tuple(_PATTERNS)
"""The classes of sound."""

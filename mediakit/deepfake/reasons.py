"""What a person can check: a few numbers of the motion in a window, and where they leave the range of genuine faces.

The networks read the whole signal; these numbers describe it and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mediakit import motion
from mediakit.deepfake.signals import RATE, Signals
from mediakit.encoders.face import JITTER_GROUPS, SIGNALS

_SCALARS = slice(SIGNALS["expression"], SIGNALS["expression"] + SIGNALS["scalars"])
_JITTER = slice(_SCALARS.stop, _SCALARS.stop + len(JITTER_GROUPS))
_COLUMN = {name: SIGNALS["expression"] + n for n, name in enumerate(motion.EXPRESSION_NAMES)}
_INNER = [JITTER_GROUPS.index(name) for name in ("eyes", "nose", "lips")]
_OUTER = [JITTER_GROUPS.index(name) for name in ("jaw", "rigid")]
_LAG = 0.2  # seconds: the delay of the phase space
_MOST_LAG = 15  # frames: half a second
_LEAST = 30  # frames: a second
_MOST_DIGITS = 9  # behind the point
_STILL = 1e-4  # standard deviation in IOD (or degrees) below which nothing moves


class Measure(NamedTuple):
    """What one number is.

    Attributes:
        title: In words.
        unit: Behind the number, with its space where it wants one.
        digits: After the point.
        low: What it may mean when it is below the range of genuine faces.
        high: And above it.
    """

    title: str
    unit: str
    digits: int
    low: str
    high: str


MEASURES = {
    "inner_face_jitter": Measure(
        "tremble of eyes, nose and lips, relative to that of jaw and skull",
        "",
        2,
        "the inside of the face is smoother than the head that it belongs to",
        "the inside of the face trembles more than the head that it belongs to",
    ),
    "mouth_tempo": Measure(
        "tempo of the mouth (its speed over its movement)",
        " Hz",
        2,
        "the mouth moves as if smoothed",
        "the mouth moves faster than a person's",
    ),
    "mouth_loop_length": Measure(
        "length of the mouth's loops in phase space",
        " IOD a second",
        2,
        "the mouth hardly moves",
        "the mouth moves more than usual",
    ),
    "mouth_loop_area": Measure(
        "area of the mouth's loops in phase space",
        " IOD² a second",
        3,
        "the mouth opens and closes without swing",
        "the mouth opens and closes with more swing than usual",
    ),
    "jaw_lip_lag": Measure(
        "lag of the lips behind the jaw",
        " s",
        2,
        "the lips move before the jaw",
        "the lips come after the jaw",
    ),
    "head_mouth_coupling": Measure(
        "correlation of nods and mouth, at the lag that suits them best",
        "",
        2,
        "head and mouth move as if they belonged to two people",
        "head and mouth are tied together more than usual",
    ),
    "eye_agreement": Measure(
        "correlation of the left and the right eye's lids",
        "",
        2,
        "the two eyes blink apart",
        "the two eyes move alike more than usual",
    ),
}
"""The numbers that `measures` gives."""


def measures(signals: Signals) -> dict[str, Tensor]:
    """A few numbers of each window.

    Args:
        signals: Windows ``(B, T, ...)``.

    Returns:
        ``(B,)`` for each of `MEASURES`; NaN where a window shows less than a second of the face, or where nothing moves
        that could be measured. Lags are positive where what is named first comes after what is named second.
    """
    seen = signals.valid
    scalar = {name: signals.expression[..., column].double() for name, column in _COLUMN.items()}
    jitter = signals.expression[..., _JITTER].double()
    mouth, jaw, pitch = scalar["mouth_opening"], scalar["jaw_drop"], head_angles(signals.head)[..., 0]
    # The phase plane: displacement against speed, which a fifth of a second brings to the same unit.
    speed, steady = _speed(mouth), seen[:, 1:] & seen[:, :-1]
    turn, turning = _speed(speed) * _LAG, steady[:, 1:] & steady[:, :-1]
    found = {
        "inner_face_jitter": _mean(jitter[..., _INNER].mean(-1) - jitter[..., _OUTER].mean(-1), seen).exp(),
        "mouth_tempo": _mean(speed.square(), steady).sqrt() / (2 * torch.pi * _deviation(mouth, seen)),
        "mouth_loop_length": _mean(torch.hypot(speed[:, 1:], turn), turning),
        "mouth_loop_area": _LAG * _mean(speed.square(), steady),  # all loops turn the same way: areas add up
        "jaw_lip_lag": _best_lag(jaw, mouth, seen)[0],
        "head_mouth_coupling": _best_lag(mouth, pitch, seen)[1],
        "eye_agreement": _correlation(scalar["left_eye_aperture"], scalar["right_eye_aperture"], seen),
    }
    enough = seen.sum(-1) >= _LEAST
    return {name: torch.where(enough & torch.isfinite(value), value, float("nan")) for name, value in found.items()}


def head_angles(head: Tensor) -> Tensor:
    """Pitch, yaw and roll in degrees, relative to the track's mean; 0 in frames without a face.

    Args:
        head: ``Signals.head``, ``(..., T, 20)``.

    Returns:
        ``(..., T, 3)``.
    """
    first, second = head[..., :3].double(), head[..., 3:6].double()
    rotation = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    return motion.euler_angles(rotation)


def _speed(x: Tensor) -> Tensor:
    return x.diff(dim=-1) * RATE


def _mean(x: Tensor, seen: Tensor) -> Tensor:
    """Mean over the frames that are seen, NaN without any."""
    return torch.where(seen, x, 0.0).sum(-1) / seen.sum(-1)


def _deviation(x: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation over the frames that are seen; NaN where nothing moves."""
    deviation = _mean((x - _mean(x, seen)[:, None]).square(), seen).sqrt()
    return torch.where(deviation > _STILL, deviation, float("nan"))


def _correlation(x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
    x, y = (v - _mean(v, seen)[:, None] for v in (x, y))
    return _mean(x * y, seen) / (_deviation(x, seen) * _deviation(y, seen))


def _best_lag(first: Tensor, second: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Seconds by which ``second`` comes after ``first`` where they correlate most, whatever the sign; and how much."""
    lags = range(-_MOST_LAG, _MOST_LAG + 1)
    found = []
    for shift in lags:
        early, late = slice(None, first.shape[-1] - abs(shift)), slice(abs(shift), None)
        one, other = (early, late) if shift >= 0 else (late, early)
        found.append(_correlation(first[:, one], second[:, other], seen[:, one] & seen[:, other]).abs())
    correlation = torch.stack(found, -1)
    unknown = torch.isnan(correlation).any(-1)
    best = torch.where(unknown[:, None], 0.0, correlation).max(-1)
    lag = torch.tensor(lags, dtype=torch.float64)[best.indices.cpu()].to(first.device) / RATE
    return tuple(torch.where(unknown, float("nan"), value) for value in (lag, best.values))  # type: ignore[return-value]


@dataclass(frozen=True)
class Observation:
    """One number of a track beside the range of genuine faces.

    Attributes:
        name: Of `MEASURES`.
        value: Median over the track's windows.
        low: 5 % of the genuine training windows lie below.
        high: 5 % lie above.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def outside(self) -> bool:
        """Whether the value leaves the range."""
        return not self.low <= self.value <= self.high

    @property
    def numbers(self) -> tuple[str, str, str]:
        """Value, low and high end as text, with enough digits to see on which side of the ends the value is."""
        exact = self.value, self.low, self.high
        for digits in range(MEASURES[self.name].digits, _MOST_DIGITS + 1):
            rounded = [round(number, digits) for number in exact]
            if (rounded[1] <= rounded[0] <= rounded[2]) != self.outside:
                break
        value, low, high = (f"{number:.{digits}f}".replace("-", "\u2212") for number in exact)
        return value, low, high

    @property
    def text(self) -> str:
        """The observation in words, with its values."""
        measure = MEASURES[self.name]
        value, low, high = self.numbers
        title = measure.title[0].upper() + measure.title[1:]
        told = f"{title}: {value}{measure.unit}, 90% of genuine training windows lie between {low} and {high}"
        return f"{told} ({measure.low if self.value < self.low else measure.high})" if self.outside else told


def compare(
    values: Mapping[str, Sequence[float]], reference: Mapping[str, tuple[float, float]]
) -> tuple[Observation, ...]:
    """Sets the numbers of a track's windows beside the range of genuine faces; what leaves it furthest comes first.

    Args:
        values: Of each window, by measure; NaN where there is none.
        reference: Low and high end of the range, by measure.
    """
    found = []
    for name, (low, high) in reference.items():
        known = torch.tensor([v for v in values.get(name, ()) if math.isfinite(v)], dtype=torch.float64)
        if name in MEASURES and len(known):
            found.append(Observation(name, float(known.quantile(0.5)), low, high))
    return tuple(sorted(found, key=lambda f: -max(f.low - f.value, f.value - f.high) / max(f.high - f.low, 1e-9)))


def reference_range(values: Mapping[str, Tensor], share: float = 0.9) -> dict[str, tuple[float, float]]:
    """The range that holds ``share`` of genuine windows, by measure: what `compare` wants.

    Args:
        values: From `measures` on windows of genuine training videos, ``(N,)`` each; NaN is left out.
        share: In (0, 1).
    """
    found = {}
    for name, value in values.items():
        known = value[torch.isfinite(value)].double()
        if len(known):
            ends = known.new_tensor([(1 - share) / 2, (1 + share) / 2])
            low, high = known.quantile(ends).tolist()
            found[name] = (low, high)
    return found

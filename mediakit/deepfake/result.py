"""What a deepfake detector found in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mediakit.deepfake.quality import Quality
from mediakit.deepfake.reasons import Observation
from mediakit.deepfake.verdict import Judgement, Mass, Thresholds

SCHEMA = "mediakit.deepfake/1"


@dataclass(frozen=True, eq=False)
class WindowResult:
    """One window of a face track.

    Attributes:
        start: Seconds.
        end: Seconds.
        judgement: Its verdict.
        quality: What was measured of it.
        streams: Mass of each stream, discounted by the quality; empty where nothing can be said.
        measures: What a person can check, see `mediakit.deepfake.reasons.MEASURES`; NaN where there was nothing to
            measure.
    """

    start: float
    end: float
    judgement: Judgement
    quality: Quality
    streams: dict[str, Mass]
    measures: dict[str, float]

    @property
    def weight(self) -> float:
        """How much it moves the track's verdict: its quality times m(F) - m(R); positive towards fake."""
        mass = self.judgement.mass
        return 0.0 if mass is None else self.judgement.quality * (mass[0] - mass[1])


@dataclass(frozen=True, eq=False)
class Portrait:
    """The motion of one window for its phase portraits.

    Attributes:
        start: Seconds.
        end: Seconds.
        names: Of S signals.
        units: Of the signals.
        values: ``(T, S)`` at 30 Hz; NaN without a face.
    """

    start: float
    end: float
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Tensor


@dataclass(frozen=True, eq=False)
class TrackResult:
    """One stretch in which a face could be followed.

    Attributes:
        number: From 1, by its start, as the page's section on faces counts.
        start: Seconds.
        end: Seconds.
        detections: Frames in which the face was detected.
        judgement: Its verdict.
        windows: Its windows, by start.
        observations: What a person can check, furthest from the range of genuine faces first.
        portrait: Motion of the window that weighs most; None where nothing can be said.
    """

    number: int
    start: float
    end: float
    detections: int
    judgement: Judgement
    windows: tuple[WindowResult, ...]
    observations: tuple[Observation, ...]
    portrait: Portrait | None

    def heaviest(self, count: int = 3) -> tuple[WindowResult, ...]:
        """The windows that weigh most for the verdict, those against it left out, none that overlap."""
        sign = {"fake": 1.0, "real": -1.0}.get(self.judgement.verdict)
        scored = [w for w in self.windows if w.judgement.mass is not None]
        chosen: list[WindowResult] = []
        for window in sorted(scored, key=lambda w: -(abs(w.weight) if sign is None else sign * w.weight)):
            for_it = sign is None or sign * window.weight > 0
            if for_it and all(window.end <= w.start or window.start >= w.end for w in chosen):
                chosen.append(window)
        return tuple(chosen[:count])


@dataclass(frozen=True, eq=False)
class DeepfakeResult:
    """The verdict on one file.

    Attributes:
        judgement: Of the video.
        tracks: Its faces, by start.
        speaker: Number of the track that speaks for the video; None without a face.
        streams: Names of the streams.
        thresholds: When a verdict is given.
        calibration: Slope and intercept that fused masses passed.
        model: Class of the network, SHA-256 of its weights, and the checkpoint's name and SHA-256 where it is known.
        limits: What the verdict does not say.
        provenance: What was looked at, by what, with which settings; see `mediakit.deepfake.provenance`.
    """

    judgement: Judgement
    tracks: tuple[TrackResult, ...]
    speaker: int | None
    streams: tuple[str, ...]
    thresholds: Thresholds
    calibration: tuple[float, float]
    model: dict[str, Any]
    limits: tuple[str, ...]
    provenance: dict[str, Any]

    def __str__(self) -> str:
        """The verdict, what is believed of a fake, the quality, and why, in one line."""
        found = self.judgement
        if found.belief is None:
            return f"{found.verdict}: {found.reason}"
        low, high = found.belief
        return f"{found.verdict}, belief in fake {low:.0%} to {high:.0%}, quality {found.quality:.2f}: {found.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.deepfake/1``: all but the portraits."""
        return {
            "schema": SCHEMA,
            **_judgement(self.judgement),
            "speaker": self.speaker,
            "streams": list(self.streams),
            "tracks": [_track(track) for track in self.tracks],
            "limits": list(self.limits),
            "provenance": self.provenance,
        }


def _judgement(found: Judgement) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "reason": found.reason,
        "probability": found.probability,
        "belief": found.belief and list(found.belief),
        "mass": _mass(found.mass),
        "conflict": found.conflict,
        "quality": found.quality if found.mass else None,
    }


def _mass(mass: Mass | None) -> dict[str, float] | None:
    return None if mass is None else dict(zip(("fake", "real", "unknown"), mass, strict=True))


def _track(track: TrackResult) -> dict[str, Any]:
    return {
        "number": track.number,
        "start": track.start,
        "end": track.end,
        "detections": track.detections,
        **_judgement(track.judgement),
        "observations": [
            {**vars(observation), "outside": observation.outside, "text": observation.text}
            for observation in track.observations
        ],
        "heaviest": [[window.start, window.end] for window in track.heaviest()],
        "windows": [_window(window) for window in track.windows],
    }


def _window(window: WindowResult) -> dict[str, Any]:
    found = _judgement(window.judgement)
    return {
        "start": window.start,
        "end": window.end,
        **{name: found[name] for name in ("verdict", "mass", "conflict", "quality")},
        **({"reason": window.quality.refusal} if window.quality.refusal else {}),
        "factors": dict(window.quality.values),
        "streams": {name: _mass(mass) for name, mass in window.streams.items()},
        "measures": _numbers(window.measures),
    }


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """NaN has no place in JSON."""
    return {name: None if value != value else value for name, value in values.items()}

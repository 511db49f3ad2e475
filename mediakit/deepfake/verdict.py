"""From masses and quality to a verdict: for a window, a face track and a video.

A verdict is ``"fake"``, ``"real"`` or ``"undetermined"``, and always has its reason. Windows of one track overlap, so
their masses are averaged, weighted by quality, and never combined with each other. Of several tracks the one that looks
most like a fake speaks for the video: false alarms grow with the number of tracks, which is therefore always told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from mediakit.deepfake.evidence import average, calibrate

Name = Literal["fake", "real", "undetermined"]
Mass = tuple[float, float, float]


@dataclass(frozen=True)
class Thresholds:
    """When a verdict is given.

    Attributes:
        fake_above: Fake from this probability of fake on.
        real_below: Real up to this one.
        least_quality: Below this quality it is undetermined.
    """

    fake_above: float = 0.7
    real_below: float = 0.3
    least_quality: float = 0.2


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it stands on.

    Attributes:
        verdict: ``"fake"``, ``"real"`` or ``"undetermined"``.
        reason: Why, in words.
        mass: Belief in fake, in real and in neither, calibrated; None where nothing can be said.
        conflict: K in [0, 1] between the streams before calibration; None like ``mass``.
        quality: q in [0, 1]; 0 where nothing can be said.
    """

    verdict: Name
    reason: str
    mass: Mass | None = field(default=None)
    conflict: float | None = None
    quality: float = 0.0

    @property
    def belief(self) -> tuple[float, float] | None:
        """Belief and plausibility of fake: [m(F), 1 - m(R)]."""
        return None if self.mass is None else (self.mass[0], self.mass[0] + self.mass[2])

    @property
    def probability(self) -> float | None:
        """Probability of fake to bet on, m(F) + m(Θ) / 2."""
        return None if self.mass is None else self.mass[0] + self.mass[2] / 2


def refuse(reason: str) -> Judgement:
    """Undetermined, without any number."""
    return Judgement("undetermined", reason)


def judge(
    mass: Mass, quality: float, thresholds: Thresholds, conflict: float | None = None, doubt: str = ""
) -> Judgement:
    """The verdict on one mass.

    Args:
        mass: Calibrated, in the order fake, real, unknown.
        quality: q in [0, 1].
        thresholds: When a verdict is given.
        conflict: K between the streams.
        doubt: What costs most quality, in words.
    """
    probability = mass[0] + mass[2] / 2
    verdict: Name = "undetermined"
    if quality < thresholds.least_quality:
        reason = f"the quality is too low: {quality:.2f} of 1, at least {thresholds.least_quality:.2f} is needed"
        reason += f"; above all, {doubt}" if doubt else ""
    elif probability >= thresholds.fake_above:
        verdict = "fake"
        reason = (
            f"the probability of fake is {_percent(probability)}; from {thresholds.fake_above:.0%} on it is called fake"
        )
    elif probability <= thresholds.real_below:
        verdict = "real"
        reason = (
            f"the probability of fake is {_percent(probability)}; up to {thresholds.real_below:.0%} it is called real"
        )
    else:
        reason = (
            f"the evidence does not suffice: the probability of fake is {_percent(probability)}; up to "
            f"{thresholds.real_below:.0%} it is called real, from {thresholds.fake_above:.0%} on fake"
        )
    return Judgement(verdict, reason, mass, conflict, quality)


def judge_windows(
    windows: Sequence[tuple[Mass, float, float]],
    thresholds: Thresholds,
    calibration: tuple[float, float] = (1.0, 0.0),
    refusals: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> Judgement:
    """The verdict on a track: the mean of its windows' masses weighted by their quality, calibrated.

    Args:
        windows: Mass (not calibrated), conflict and quality of each window of which something can be said.
        thresholds: When a verdict is given.
        calibration: Slope and intercept, see `.fit_calibration`.
        refusals: Why nothing can be said of the others.
        doubts: What costs most quality in each of ``windows``.
    """
    if not windows:
        return refuse(_commonest(refusals) or "there is no face to judge")
    masses = torch.tensor([mass for mass, _, _ in windows], dtype=torch.float64)
    quality = torch.tensor([q for _, _, q in windows], dtype=torch.float64)
    mass = calibrate(average(masses, quality), *calibration)
    fake, real, unknown = mass.clamp(0.0, 1.0).tolist()
    total = float(quality.sum())
    conflict = sum(k * q for _, k, q in windows) / total if total else 0.0
    # The quality of what was weighed, by the same weights.
    mean = float(quality.square().sum()) / total if total else 0.0
    return judge((fake, real, unknown), mean, thresholds, conflict, _commonest(doubts))


def judge_tracks(
    tracks: Sequence[Judgement], seconds: Sequence[float], thresholds: Thresholds
) -> tuple[Judgement, int | None]:
    """The verdict on a video.

    Fake if any track is; real if all tracks of sufficient quality are, and they are at least half of what is seen of
    faces; undetermined otherwise.

    Args:
        tracks: Verdicts of the tracks.
        seconds: Their lengths.
        thresholds: When a verdict is given.

    Returns:
        The verdict, and the number (from 0) of the track that speaks for the video; None if there is none.
    """
    if not tracks:
        return refuse("no face was found"), None
    able = [n for n, track in enumerate(tracks) if track.mass and track.quality >= thresholds.least_quality]
    if not able:
        scored = [n for n, track in enumerate(tracks) if track.mass]
        best = max(scored, key=lambda n: tracks[n].quality, default=max(range(len(tracks)), key=lambda n: seconds[n]))
        return _told(tracks[best], tracks, able), best
    loudest = max(able, key=lambda n: tracks[n].probability or 0.0)
    found = tracks[loudest]
    share = sum(seconds[n] for n in able) / max(sum(seconds), 1e-9)
    if found.verdict == "real" and share < 0.5:
        reason = f"only {share:.0%} of the time with a face could be judged, and nothing in it speaks for a fake"
        found = Judgement("undetermined", reason, found.mass, found.conflict, found.quality)
    return _told(found, tracks, able), loudest


def _told(found: Judgement, tracks: Sequence[Judgement], able: Sequence[int]) -> Judgement:
    """The same with the number of tracks in its reason."""
    if len(tracks) == 1:
        return found
    told = f"{len(tracks)} stretches of faces, {len(able)} of them good enough to judge"
    if able:
        told += "; the one that looks most like a fake speaks for the video"
        if found.verdict == "fake":
            told += ", and the more there are, the likelier is a false alarm"
    return Judgement(found.verdict, f"{found.reason} ({told})", found.mass, found.conflict, found.quality)


def _percent(probability: float) -> str:
    """Rounded so that it never looks certain."""
    return f"{min(max(probability, 0.001), 0.999):.1%}"


def _commonest(texts: Sequence[str]) -> str:
    counts: Mapping[str, int] = Counter(text for text in texts if text)
    return max(counts, key=lambda text: counts[text], default="")

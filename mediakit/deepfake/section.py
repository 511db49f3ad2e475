"""What a page says of a verdict: the verdict and its belief, the quality, when, how the face moved, and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from mediakit.charts import clock, orbit, time_ticks
from mediakit.deepfake.phase import phase_plane
from mediakit.deepfake.quality import RAMPS
from mediakit.deepfake.reasons import MEASURES, Observation
from mediakit.deepfake.result import DeepfakeResult, Portrait, TrackResult, WindowResult
from mediakit.deepfake.signals import RATE
from mediakit.deepfake.verdict import Judgement, Mass, Thresholds

_SHOWN = 3  # faces whose evidence is drawn; all are in the table
_COLUMNS = 300  # of a timeline
_LEAST = {"IOD": 0.05, "°": 3.0}  # axes of a portrait span at least this, so that noise does not look like motion

_FACTORS = {
    "interocular_px": ("Between the outer eye corners", "{:.0f} px"),
    "seconds": ("Seconds of face in a window", "{:.1f} s"),
    "detected": ("Frames in which it was found", "{:.0%}"),
    "frames_per_second": ("Frames per second", "{:.1f}"),
    "yaw_degrees": ("Turned sideways by", "{:.0f}°"),
    "flow_failures": ("Points that optical flow lost", "{:.0%}"),
    "bits_per_pixel": ("Bits per pixel (as of H.264)", "{:.3f}"),
}
_CALLED = {"fake": "Fake", "real": "Real", "undetermined": "Undetermined"}


def deepfake_section(result: DeepfakeResult, title: str) -> dict[str, Any]:
    """The section as plain values for ``report.html``.

    Args:
        result: What was found.
        title: Heading of the section.
    """
    found = result.judgement
    order = sorted(result.tracks, key=lambda track: _rank(track, result.speaker))
    return {
        "title": title,
        "verdict": found.verdict,
        "called": _CALLED[found.verdict],
        "lead": _sentence(found.reason),
        "bar": belief_bar(found, result.thresholds),
        "numbers": _numbers(found),
        "table": _table(result) if len(result.tracks) > 1 else None,
        "tracks": [_track(track, result, track.number == result.speaker) for track in order[:_SHOWN]],
        "hidden": max(0, len(order) - _SHOWN),
        "method": _method(result),
        "limits": result.limits,
    }


def spoken(result: DeepfakeResult) -> str:
    """The verdict in one short sentence."""
    found = result.judgement
    probability = "" if found.probability is None else f" (probability of fake {found.probability:.0%})"
    return {
        "fake": f"The deepfake detector takes a face in it for a fake{probability}.",
        "real": f"The deepfake detector finds no trace of manipulation in the motion of its faces{probability}.",
        "undetermined": "Whether its faces are genuine, the deepfake detector cannot say.",
    }[found.verdict]


def belief_bar(found: Judgement, thresholds: Thresholds) -> dict[str, Any] | None:
    """The belief interval on the axis of the probability of fake, in percent; None where there is no number."""
    if found.mass is None or found.belief is None or found.probability is None:
        return None
    low, high = found.belief
    return {
        "low": round(100 * low, 2),
        "high": round(100 * high, 2),
        "probability": round(100 * found.probability, 2),
        "real_below": round(100 * thresholds.real_below, 2),
        "fake_above": round(100 * thresholds.fake_above, 2),
        "label": f"Probability of fake {found.probability:.0%}, between {low:.0%} and {high:.0%}",
    }


def _numbers(found: Judgement) -> list[tuple[str, str]]:
    if found.probability is None or found.belief is None:
        return []
    low, high = found.belief
    return [
        ("Probability of fake", f"{found.probability:.0%}"),
        ("Belief", f"fake {low:.0%}, real {1 - high:.0%}, open {high - low:.0%}"),
        ("Conflict between the streams", f"{found.conflict or 0.0:.0%}"),
        ("Measured quality", f"{found.quality:.2f} of 1"),
    ]


def _table(result: DeepfakeResult) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for track in result.tracks:
        found = track.judgement
        probability = "" if found.probability is None else f"{found.probability:.0%}"
        quality = "" if found.mass is None else f"{found.quality:.2f}"
        rows.append((f"Stretch {track.number}", _span(track), _CALLED[found.verdict], probability, quality))
    return rows


def _rank(track: TrackResult, speaker: int | None) -> tuple[bool, bool, float]:
    """The face that speaks comes first, then those of which something can be said, the longest first."""
    return track.number != speaker, track.judgement.mass is None, round(track.start - track.end, 2)


def _track(track: TrackResult, result: DeepfakeResult, speaks: bool) -> dict[str, Any]:
    scored = [window for window in track.windows if window.judgement.mass is not None]
    outside = [observation for observation in track.observations if observation.outside]
    return {
        "name": f"Stretch {track.number}",
        "span": _span(track),
        "open": speaks,
        "single": len(result.tracks) == 1,
        "text": _sentence(track.judgement.reason),
        "factors": _factors(scored or list(track.windows)),
        "judged": f"{len(scored)} of {len(track.windows)} windows of {_length(track.windows)} could be judged.",
        "timeline": mass_timeline(track, result.streams) if scored else None,
        "heaviest": [_weighs(window, _step(track)) for window in track.heaviest()] if scored else [],
        "reasons": _reasons(track, scored, result.streams),
        "observations": [_row(observation) for observation in track.observations],
        "caption": f"{len(track.observations)} numbers beside those of genuine faces, {len(outside)} out of range",
        "portraits": [] if track.portrait is None else portraits(track.portrait),
        "portrait_span": None if track.portrait is None else _between(track.portrait.start, track.portrait.end, 0.1),
    }


def _factors(windows: Sequence[WindowResult]) -> list[tuple[str, str, int]]:
    """Median over the windows of each factor, and its score in percent."""
    rows = []
    for name, (title, form) in _FACTORS.items():
        values = [window.quality.values[name] for window in windows if name in window.quality.values]
        if values:
            middle = float(torch.tensor(values, dtype=torch.float64).quantile(0.5))
            rows.append((title, form.format(middle), round(100 * RAMPS[name](middle))))
    return rows


def _length(windows: Sequence[WindowResult]) -> str:
    return f"{max(window.end - window.start for window in windows):.1f} s" if windows else "no length"


def _reasons(track: TrackResult, scored: Sequence[WindowResult], streams: Sequence[str]) -> list[str]:
    told = []
    if scored:
        weights = torch.tensor([w.judgement.quality for w in scored], dtype=torch.float64)
        for name in streams:
            masses = torch.tensor([w.streams[name] for w in scored], dtype=torch.float64)
            fake, real, _ = ((weights[:, None] * masses).sum(0) / weights.sum().clamp_min(1e-9)).tolist()
            told.append((abs(fake - real), f"{name} (fake {fake:.0%}, real {real:.0%})"))
        told.sort(reverse=True)
    sentences = [f"Belief by stream, the most decided first: {', '.join(text for _, text in told)}."] if told else []
    outside = [observation for observation in track.observations if observation.outside]
    sentences += [f"{observation.text}." for observation in outside]
    if track.observations:
        chance = 0.1 * len(track.observations)
        sentences.append(
            f"{len(outside) or 'None'} of {len(track.observations)} numbers that a person can check "
            f"{'lies' if len(outside) <= 1 else 'lie'} outside the range of 90% of genuine training windows; "
            f"{chance:.1f} are expected to, even of a genuine face. They describe the motion; the streams decide."
        )
    return sentences


def _row(observation: Observation) -> tuple[str, str, str, bool]:
    measure = MEASURES[observation.name]
    value, low, high = observation.numbers
    title = measure.title[0].upper() + measure.title[1:]
    return title, f"{value}{measure.unit}", f"{low} to {high}", observation.outside


def _weighs(window: WindowResult, step: float) -> tuple[str, str]:
    mass = window.judgement.mass or (0.0, 0.0, 1.0)
    text = f"fake {mass[0]:.0%}, real {mass[1]:.0%}, open {mass[2]:.0%} at quality {window.judgement.quality:.2f}"
    return _between(window.start, window.end, step), text


def mass_timeline(track: TrackResult, streams: Sequence[str]) -> dict[str, Any]:
    """Belief over time for the macro of ``page.html``: all streams together, each stream, and the quality.

    In each row belief in fake rises from the bottom and belief in real hangs from the top; the gap is what is open.
    """
    windows = track.windows
    start, end = track.start, max(track.end, track.start + 1e-3)
    centers = [(window.start + window.end) / 2 for window in windows]
    edges = [start, *((a + b) / 2 for a, b in pairwise(centers)), end]
    size = -(-len(windows) // _COLUMNS)
    firsts = range(0, len(windows), size)
    columns = [(edges[n], edges[min(n + size, len(windows))], windows[n : n + size]) for n in firsts]

    def row(name: str, masses: Sequence[Mass | None]) -> dict[str, Any]:
        paths = {"fake": "", "real": ""}
        for (left, right, _), mass in zip(columns, masses, strict=True):
            if mass is not None:
                x, width = 1000 * (left - start) / (end - start), 1000 * (right - left) / (end - start)
                paths["fake"] += f"M{x:.1f} 100h{width:.1f}V{100 - 100 * mass[0]:.1f}h{-width:.1f}z"
                paths["real"] += f"M{x:.1f} 0h{width:.1f}V{100 * mass[1]:.1f}h{-width:.1f}z"
        return {"name": name, **paths}

    rows = [row("all together", [_mean([(w.judgement.mass, w.judgement.quality) for w in c]) for _, _, c in columns])]
    for name in streams:
        rows.append(row(name, [_mean([(w.streams.get(name), w.judgement.quality) for w in c]) for _, _, c in columns]))
    level = ""
    for left, right, group in columns:
        x, width = 1000 * (left - start) / (end - start), 1000 * (right - left) / (end - start)
        height = 100 * sum(window.quality.score for window in group) / len(group)
        level += f"M{x:.1f} 100h{width:.1f}V{100 - height:.1f}h{-width:.1f}z"
    rows.append({"name": "quality", "level": level})
    label = f"Belief in fake and real over time in {len(windows)} windows"
    return {"label": label, "rows": rows, "x_ticks": time_ticks(start, end)}


def _mean(masses: Sequence[tuple[Mass | None, float]]) -> Mass | None:
    """Mean weighted by quality; None where nothing can be said."""
    known = [(mass, weight) for mass, weight in masses if mass is not None]
    total = sum(weight for _, weight in known)
    if not total:
        return None
    fake, real, unknown = (sum(mass[k] * weight for mass, weight in known) / total for k in range(3))
    return fake, real, unknown


def portraits(portrait: Portrait) -> list[dict[str, Any]]:
    """Each signal against its speed, as plots for the macro of ``page.html``."""
    drawn = []
    for column, (name, unit) in enumerate(zip(portrait.names, portrait.units, strict=True)):
        plane = phase_plane(portrait.values[:, column], RATE)
        degrees = unit == "°"
        axes = "" if degrees else f" in {unit}"
        text = f"{name}{axes}, upwards its speed{axes} per second"
        drawn.append(
            {
                "text": text[0].upper() + text[1:],
                "plot": orbit(
                    f"Phase portrait of {name}",
                    plane[:, 0],
                    plane[:, 1],
                    unit="°" if degrees else "",
                    least_span=_LEAST[unit],
                ),
            }
        )
    return drawn


def _method(result: DeepfakeResult) -> list[str]:
    model = result.model
    name = f"{model['checkpoint']} ({model['network']})" if "checkpoint" in model else model["network"]
    bounds = result.thresholds
    return [
        f"Model: {name}. It reads the motion of face landmarks in windows of {_size(result)}, each discounted by its "
        "measured quality; windows are averaged by quality, streams are joined within a window, and of several faces "
        "the one that looks most like a fake speaks for the video. Fake from a probability of "
        f"{bounds.fake_above:.0%} on, real up to {bounds.real_below:.0%}, and nothing below a quality of "
        f"{bounds.least_quality:.2f}."
    ]


def _size(result: DeepfakeResult) -> str:
    return f"{result.provenance['parameters']['window']:.1f} s"


def _step(track: TrackResult) -> float:
    return 0.1 if track.end < 600 else 1.0


def _span(track: TrackResult) -> str:
    return _between(track.start, track.end, _step(track), " to ")


def _between(start: float, end: float, step: float, joint: str = "–") -> str:
    return f"{clock(start, step)}{joint}{clock(end, step)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."

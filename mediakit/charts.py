"""Plots of the pages: shapes in a stretched SVG of 1000 x 100, labels as percentages of the plot.

A plot is a plain dict that ``page.html`` draws; everything here is arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_TIME_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)


def plot(
    label: str, height: int, x_ticks: list[tuple[float, str]], y_ticks: list[tuple[float, str]], **content: Any
) -> dict[str, Any]:
    """One plot.

    Args:
        label: What a screen reader says.
        height: Pixels.
        x_ticks: Position in percent from the left, and text.
        y_ticks: Position in percent from the bottom, and text.
        content: ``series`` (dicts of ``name`` and SVG ``path``), ``bars`` (left and width in percent, lane, text) and
            ``image`` (URI).
    """
    axes = {"label": label, "height": height, "x_ticks": x_ticks, "y_ticks": y_ticks}
    return {"series": [], "bars": [], "image": None, **axes, **content}


def curves(
    time: torch.Tensor, values: torch.Tensor, names: list[str], *, unit: str = "", least_span: float
) -> dict[str, Any]:
    """Curves over one time axis.

    Args:
        time: ``(P,)`` seconds.
        values: ``(P, S)``.
        names: ``S`` names.
        unit: Written behind the numbers.
        least_span: The vertical axis spans at least this much, so that noise does not look like motion.
    """
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
    room = max(0.08 * (high - low), (least_span - (high - low)) / 2)
    low, high = low - room, high + room
    start, end = float(time[0]), max(float(time[-1]), float(time[0]) + 1e-3)
    x = (time - start) / (end - start) * 1000
    y = 100 - (values - low) / (high - low) * 100
    series = [{"name": name, "path": _path(x, y[:, column])} for column, name in enumerate(names)]
    extremes = ", ".join(
        f"{n} {float(v.min()):.2f} to {float(v.max()):.2f}" for n, v in zip(names, values.T, strict=True)
    )
    ticks = round_ticks(low, high, 4)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]))) if len(ticks) > 1 else 2
    labels = [
        (round(100 * (t - low) / (high - low), 2), f"{t:.{digits}f}{unit}".replace("-", "−").replace("−0°", "0°"))
        for t in ticks
    ]
    return plot(f"Curves over time: {extremes}{unit}", 150, time_ticks(start, end), labels, series=series)


def orbit(
    label: str, x: torch.Tensor, y: torch.Tensor, *, unit: str = "", least_span: float, height: int = 190
) -> dict[str, Any]:
    """One curve of y over x, both ``(P,)``, such as a phase portrait: a signal and its speed.

    Args:
        label: What a screen reader says.
        x: Values; NaN breaks the curve.
        y: Likewise.
        unit: Written behind the numbers of both axes.
        least_span: Both axes span at least this much, so that noise does not look like motion.
        height: Pixels.
    """
    placed, ticks = [], []
    for values in (x, y):
        finite = values[torch.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
        room = max(0.06 * (high - low), (least_span - (high - low)) / 2)
        low, high = low - room, high + room
        placed.append((values - low) / (high - low))
        marks = round_ticks(low, high, 4)
        digits = max(0, -math.floor(math.log10(marks[1] - marks[0]))) if len(marks) > 1 else 2
        texts = [f"{mark + 0.0:.{digits}f}{unit}".replace("-", "−") for mark in marks]
        ticks.append([(round(100 * (m - low) / (high - low), 2), t) for m, t in zip(marks, texts, strict=True)])
    path = _path(placed[0] * 1000, 100 - placed[1] * 100)
    return plot(label, height, ticks[0], ticks[1], series=[{"name": label, "path": path}])


def _path(x: torch.Tensor, y: torch.Tensor) -> str:
    """An SVG path that breaks where a value is missing."""
    text, pen = "", "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            text += f"{pen}{a:.1f} {b:.2f}"
            pen = "L"
        else:
            pen = "M"
    return text


def timeline(
    label: str,
    rows: Sequence[tuple[str, Sequence[tuple[int, float, float, str]]]],
    lanes: Sequence[tuple[str, str]],
    duration: float,
) -> dict[str, Any]:
    """Bars over time, a row of lanes for each name.

    Args:
        label: What a screen reader says.
        rows: Name and bars of each row; a bar has the number of its lane, start and end in seconds, and a text that
            shows when it is pointed at.
        lanes: Style (a class of ``page.html``) and meaning of each lane, from the top.
        duration: Seconds that the width stands for.
    """
    ticks = time_ticks(0.0, duration)
    drawn = []
    for name, bars in rows:
        placed = [
            (round(100 * start / duration, 3), round(100 * (end - start) / duration, 3), lane, lanes[lane][0], text)
            for lane, start, end, text in bars
        ]
        drawn.append((name, placed))
    step = (ticks[-1][0] - ticks[0][0]) / (len(ticks) - 1) if len(ticks) > 1 else 100.0
    return {"label": label, "rows": drawn, "lanes": list(lanes), "x_ticks": ticks, "step": round(step, 3)}


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between ``low`` and ``high``, about ``most`` of them."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.8)
    return [float(v) for v in np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step]


def time_ticks(start: float, end: float) -> list[tuple[float, str]]:
    """At most eight round times between ``start`` and ``end`` in seconds, with their positions in percent."""
    step = next((s for s in _TIME_STEPS if (end - start) / s <= 7), _TIME_STEPS[-1])
    ticks = np.arange(math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9) + 1) * step
    return [(round(100 * (float(t) - start) / (end - start), 2), clock(float(t), step)) for t in ticks]


def clock(seconds: float, step: float = 1.0) -> str:
    """Time as m:ss or h:mm:ss, with as many decimals as ``step`` needs."""
    digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
    minutes, rest = divmod(round(seconds, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"

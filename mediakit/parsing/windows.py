"""Windows over a video that is longer than what a network was trained on, and one answer from all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def windows(count: int, size: int, step: int) -> list[tuple[int, int]]:
    """Windows that cover ``count`` seconds: one each ``step``, the last one moved back to end with the file.

    Args:
        count: Seconds to cover, at least 1.
        size: Length of a window in seconds.
        step: Seconds from one window to the next, 1 to ``size``.

    Returns:
        Start and stop of each window: all of length ``size``, or the single ``(0, count)`` where that is shorter.

    Raises:
        ValueError: A number is out of its range.
    """
    if count < 1 or not 1 <= step <= size:
        raise ValueError(f"count must be at least 1 and step 1 to size, got count {count}, size {size}, step {step}")
    starts = sorted({*range(0, max(1, count - size), step), max(0, count - size)})
    return [(start, min(start + size, count)) for start in starts]


def blend(values: Tensor, spans: Sequence[tuple[int, int]], count: int) -> Tensor:
    """Weighted mean over overlapping windows, weights rising from the ends of a window to its middle.

    In a window of 4 the weights are 1, 2, 2, 1: what lies at its ends has half of its context outside.

    Args:
        values: ``(W, size, ...)``: one value for each second of each window.
        spans: W windows of ``size`` seconds, as `windows` gives them.
        count: S, the number of seconds; each must lie in a window.

    Returns:
        ``(S, ...)``; where a second lies in one window only, its value as it is.

    Raises:
        ValueError: Values and windows do not belong together.
    """
    size = values.shape[1]
    if len(spans) != len(values) or any(stop - start != size or stop > count for start, stop in spans):
        raise ValueError(f"values {tuple(values.shape)} do not fit the windows {list(spans)} of {count} seconds")
    ramp = torch.arange(1, size + 1, dtype=torch.float64, device=values.device)
    weight = torch.minimum(ramp, ramp.flip(0)).repeat(len(spans))
    rows = torch.cat([torch.arange(start, stop, device=values.device) for start, stop in spans])
    total = torch.zeros(count, dtype=torch.float64, device=values.device).index_add_(0, rows, weight)
    share = weight / total[rows]
    # Exact where a second lies in one window (its share is 1); in float64, so that order and step do not show.
    shape = (count, *values.shape[2:])
    weighted = values.flatten(0, 1).double() * share.view(-1, *[1] * (values.ndim - 2))
    return torch.zeros(shape, dtype=torch.float64, device=values.device).index_add_(0, rows, weighted).to(values.dtype)


def most(values: Tensor, spans: Sequence[tuple[int, int]], count: int) -> Tensor:
    """For each second the largest value among the windows that cover it.

    Args:
        values: ``(W, ...)``: one value for each window.
        spans: W windows, as `windows` gives them.
        count: S, the number of seconds; each must lie in a window.

    Returns:
        ``(S, ...)``.
    """
    found = values.new_full((count, *values.shape[1:]), -torch.inf)
    for value, (start, stop) in zip(values, spans, strict=True):
        found[start:stop] = found[start:stop].maximum(value)
    return found

"""How sure a mean is."""

from __future__ import annotations

import torch
from torch import Tensor


def bootstrap_interval(
    values: Tensor, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Percentile bootstrap interval of a mean (Efron, 1979).

    Args:
        values: One value an item, such as a video, (N,), or several (N, M); in any unit.
        level: Share of intervals that hold the true mean, in (0, 1).
        samples: How many times the items are drawn anew.
        seed: Seed of the draws.

    Returns:
        Lower and upper end, float64 () or (M,), in the unit of ``values``.

    Raises:
        ValueError: There are no values, one is not finite, or ``level`` or ``samples`` is out of range.
    """
    values = torch.as_tensor(values).cpu().double()
    if values.ndim not in (1, 2) or not len(values) or not values.isfinite().all():
        raise ValueError(f"values must be finite, (N,) or (N, M) with N >= 1, got shape {tuple(values.shape)}")
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"level must be in (0, 1) and samples at least 1, got {level} and {samples}")
    draw = torch.Generator().manual_seed(seed)
    count = len(values)
    means = torch.stack([values[torch.randint(count, (count,), generator=draw)].mean(0) for _ in range(samples)])
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype), dim=0)
    return low, high

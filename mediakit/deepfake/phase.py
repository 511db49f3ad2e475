"""Phase space: a signal as the path of its state, by delays or by derivatives, and measures of that path.

Delay embedding makes the state of a system visible from one of its signals (Takens): the path of
``[s(t), s(t - lag), ...]`` is, up to a smooth change of coordinates, that of the hidden state. Lags are in **samples**;
choose them in seconds. At what lag, and in how many dimensions, is answered by :func:`average_mutual_information` with
:func:`first_minimum`, and by :func:`false_nearest_neighbors`. For faces 0.2 s and 3 dimensions are usual; a clip of
a few seconds is too short to estimate them anew.

Samples that are NaN are missing: they stay NaN in embeddings and portraits, and no measure counts what they touch.

References:
    Takens, "Detecting strange attractors in turbulence", 1981. Fraser and Swinney, "Independent coordinates for strange
    attractors from mutual information", Phys. Rev. A 1986. Kennel, Brown and Abarbanel, "Determining embedding
    dimension for phase-space reconstruction using a geometrical construction", Phys. Rev. A 1992. Theiler et al.,
    "Testing for nonlinearity in time series: the method of surrogate data", Physica D 1992. Eckmann, Kamphorst and
    Ruelle, "Recurrence plots of dynamical systems", Europhys. Lett. 1987.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mediakit.denoise import savgol

_ROWS = 256  # of a distance matrix at a time: small enough for the cache
_ROUNDING = 16  # units in the last place below which two samples are one and the same


def delay_embed(x: Tensor, dim: int, lag: int, order: str = "backward") -> Tensor:
    """Delay embedding.

    Args:
        x: One signal ``(T,)``, or signals in columns ``(..., T, C)``.
        dim: Number m of coordinates of each signal, at least 1.
        lag: Samples between them, at least 1.
        order: ``"backward"``, causal: row t is ``[s(t), s(t - lag), ..., s(t - (m - 1) lag)]``, and the first row is at
            t = (m - 1) lag. ``"forward"``: row t is ``[s(t), s(t + lag), ...]``, from t = 0.

    Returns:
        ``(T - (m - 1) lag, m)`` of one signal, else ``(..., T - (m - 1) lag, m C)``, the C signals of a delay together.

    Raises:
        ValueError: An argument is out of range, or the signal is too short for one row.
    """
    if dim < 1 or lag < 1:
        raise ValueError(f"dim and lag must be at least 1, got dim={dim}, lag={lag}")
    if order not in ("backward", "forward"):
        raise ValueError(f"order must be 'backward' or 'forward', got {order!r}")
    columns = x[:, None] if x.ndim == 1 else x
    rows = columns.shape[-2] - (dim - 1) * lag
    if rows < 1:
        raise ValueError(
            f"a signal of {columns.shape[-2]} samples is too short for dim={dim} and lag={lag}: "
            f"it needs more than {(dim - 1) * lag}"
        )
    delays = range(dim) if order == "forward" else reversed(range(dim))
    return torch.cat([columns.narrow(-2, k * lag, rows) for k in delays], -1)


def phase_plane(x: Tensor, rate: float, window: int = 7, order: int = 3) -> Tensor:
    """A signal with its velocity and acceleration, by Savitzky-Golay derivatives.

    Args:
        x: ``(T,)``; a NaN spreads over its window.
        rate: Samples a second.
        window: Odd number of samples of a polynomial.
        order: Of the polynomial.

    Returns:
        ``(T, 3)``: s, ds/dt and d²s/dt², in units of x, of x/s and of x/s².

    Raises:
        ValueError: The signal is shorter than the window.
    """
    derivatives = (savgol(x, window, order, deriv, rate) for deriv in (1, 2))
    return torch.stack([x, *derivatives], -1)


def phase_portrait(x: Tensor, lag: int, scale: float | None = None) -> Tensor:
    """The path of (s(t), s(t - lag)), ready to draw: centred, without unit, in step with time.

    Args:
        x: ``(T,)``.
        lag: Samples, at least 1.
        scale: What counts as 1; the signal's standard deviation if None. Portraits to be compared want the same one.

    Returns:
        ``(T, 2)``. Row t belongs to sample t. NaN where a coordinate is missing, as in the first ``lag`` rows: lines
        break there.

    Raises:
        ValueError: The signal has no more samples than ``lag``.
    """
    embedded = delay_embed(x, 2, lag)
    seen = x[x.isfinite()]
    if len(seen):
        spread = float(seen.std(correction=0)) if scale is None else scale
        embedded = (embedded - seen.mean()) / (spread or 1.0)
    return torch.cat([embedded.new_full((lag, 2), float("nan")), embedded])


def loop_area(path: Tensor) -> float:
    """Area that a closed path encloses, by the shoelace formula; the last point is joined to the first.

    Args:
        path: ``(T, 2)``; points with NaN are left out.

    Returns:
        Units of the axes multiplied; positive where the path turns anticlockwise. Each turn counts again.
    """
    x, y = path[path.isfinite().all(-1)].double().unbind(-1)
    return float((x * y.roll(-1) - y * x.roll(-1)).sum() / 2)


def loop_length(path: Tensor, rate: float) -> float:
    """Length of a path per second: its mean speed.

    Args:
        path: ``(T, D)``; steps from or to a point with NaN are left out.
        rate: Points a second.

    Returns:
        Units of the axes per second; NaN where there is no step.
    """
    return rate * float(torch.linalg.vector_norm(path.double().diff(dim=0), dim=-1).nanmean())


def average_mutual_information(x: Tensor, max_lag: int, bins: int = 16) -> Tensor:
    """What a sample tells about the one ``lag`` later, from a histogram of equal bins (Fraser and Swinney 1986).

    I(lag) = Σ p(a, b) log₂ [p(a, b) / (p(a) p(b))] over bins a of s(t) and b of s(t + lag). Few samples bias it
    upwards, by up to (bins - 1)² / (2 T ln 2): compare with :func:`surrogate_mutual_information`.

    Args:
        x: ``(T,)``; pairs with a NaN are left out.
        max_lag: Largest lag in samples, below T.
        bins: Number of equal bins between the least and the greatest sample.

    Returns:
        Bits ``(max_lag + 1,)``, from lag 0, which is the signal's entropy.

    Raises:
        ValueError: An argument is out of range.
    """
    _check_signal(x)
    if bins < 2 or not 0 <= max_lag < len(x):
        raise ValueError(f"bins must be at least 2 and max_lag in 0..{len(x) - 1}, got bins={bins}, max_lag={max_lag}")
    codes = _bin(x, bins)
    joint = torch.stack([_count_pairs(codes[: len(x) - lag], codes[lag:], bins) for lag in range(max_lag + 1)])
    p = joint / joint.sum((1, 2), keepdim=True).clamp_min(1)
    information = _entropy(p.sum(1)) + _entropy(p.sum(2)) - _entropy(p.flatten(1))
    return information.clamp_min(0)  # rounding


def surrogate_mutual_information(
    x: Tensor, max_lag: int, bins: int = 16, count: int = 39, generator: torch.Generator | None = None
) -> Tensor:
    """Average mutual information of shuffled copies of a signal: what chance and few samples make of no memory at all.

    Args:
        x: ``(T,)``.
        max_lag: As for :func:`average_mutual_information`.
        bins: Likewise.
        count: Number of shuffled copies. To exceed all of ``count`` happens by chance once in ``count + 1`` times.
        generator: Seeded, for the same copies each time.

    Returns:
        Bits ``(count, max_lag + 1)``.
    """
    shuffled = (x[torch.randperm(len(x), generator=generator)] for _ in range(count))
    return torch.stack([average_mutual_information(copy, max_lag, bins) for copy in shuffled])


def first_minimum(ami: Tensor, surrogates: Tensor | None = None) -> int | None:
    """The lag at the first local minimum of the average mutual information: a good one to embed with.

    Args:
        ami: Of :func:`average_mutual_information`, ``(L,)`` from lag 0.
        surrogates: Of :func:`surrogate_mutual_information`, ``(count, L)``. Noise has local minima too: with
            surrogates, one counts only where the signal tells more than every shuffled copy does at that lag.

    Returns:
        Samples, or None where there is no minimum, or where it cannot be told from chance. Of a flat minimum the first.

    Raises:
        ValueError: Shapes do not agree.
    """
    if ami.ndim != 1 or (surrogates is not None and surrogates.shape[1:] != ami.shape):
        shape = None if surrogates is None else tuple(surrogates.shape)
        raise ValueError(f"ami must be (L,) and surrogates (count, L), got {tuple(ami.shape)} and {shape}")
    change = ami.diff().sign()
    moves = change.nonzero().squeeze(-1)
    turns = ((change[moves][:-1] < 0) & (change[moves][1:] > 0)).nonzero()
    if not len(turns):
        return None
    lag = int(moves[turns[0]]) + 1
    if surrogates is not None and not (ami[lag] > surrogates[:, lag]).all():
        return None
    return lag


def false_nearest_neighbors(
    x: Tensor, lag: int, max_dim: int, rtol: float = 15.0, atol: float = 2.0, theiler: int | None = None
) -> Tensor:
    """Share of nearest neighbours that are near only because a dimension is missing (Kennel et al. 1992).

    In m dimensions the state is [s(t), ..., s(t + (m - 1) lag)], and the next coordinate is s(t + m lag). With R the
    distance to the nearest neighbour and d the difference of the next coordinates, a neighbour is false where
    d > ``rtol`` R or √(R² + d²) > ``atol`` σ(x). Where the share has fallen to about 0, m dimensions are enough; noise
    never gets there. Takes O(T²) time, and memory O(T).

    Args:
        x: ``(T,)``; states with a NaN are left out.
        lag: Samples, at least 1.
        max_dim: Greatest m to try.
        rtol: Greatest d / R of a true neighbour.
        atol: Greatest distance of a true neighbour, in standard deviations of x.
        theiler: Neighbours at most so many samples apart in time do not count, since they are near whatever the
            dimension; ``lag`` if None. Nor do repeated samples (distance 0).

    Returns:
        float64 ``(max_dim,)``, for m = 1 to ``max_dim``; NaN where no state has a neighbour that counts.

    Raises:
        ValueError: An argument is out of range, or the signal is too short.
    """
    _check_signal(x)
    theiler = lag if theiler is None else theiler
    if lag < 1 or max_dim < 1 or theiler < 0:
        raise ValueError(f"lag, max_dim >= 1 and theiler >= 0, got lag={lag}, max_dim={max_dim}, theiler={theiler}")
    if len(x) < max_dim * lag + 2:
        raise ValueError(
            f"a signal of {len(x)} samples is too short for max_dim={max_dim} and lag={lag}: "
            f"it needs at least {max_dim * lag + 2}"
        )
    present = x.isfinite()
    s = torch.where(present, x, 0.0).double()
    spread = s[present].std(correction=0)
    same = (_ROUNDING * torch.finfo(x.dtype).eps * s.abs().max()).square()
    false, counted = s.new_zeros(max_dim), s.new_zeros(max_dim)
    for start, distance in _blocks(len(s) - lag, theiler, s):
        for m in range(1, max_dim + 1):
            n = len(s) - m * lag  # states with a next coordinate
            rows = min(len(distance), n - start)
            if rows < 1:
                break
            distance = distance[:rows, :n]
            added, following = (m - 1) * lag, m * lag
            distance += (s[start + added : start + added + rows, None] - s[added : added + n]).square_()
            missing = ~(present[added : added + n] & present[following : following + n])
            distance[:, missing] = distance[missing[start : start + rows]] = float("inf")
            nearest, neighbor = torch.where(distance > m * same, distance, float("inf")).min(1)
            jump = (s[start + following : start + following + rows] - s[neighbor + following]).square()
            known = nearest.isfinite()
            wrong = (jump > rtol**2 * nearest) | (nearest + jump > (atol * spread) ** 2)
            false[m - 1] += (wrong & known).sum()
            counted[m - 1] += known.sum()
    return false / counted


def recurrence_rate(points: Tensor, radius: float, theiler: int = 0) -> float:
    """Share of pairs of moments whose states lie within a radius of each other.

    Args:
        points: States ``(N, D)``, or a signal ``(N,)``; rows with a NaN are left out.
        radius: In units of the points; Euclidean.
        theiler: Pairs at most so many samples apart in time do not count; 0 leaves out only a moment with itself.

    Returns:
        In [0, 1]; NaN where no pair counts.

    Raises:
        ValueError: ``radius`` or ``theiler`` is negative.
    """
    if radius < 0 or theiler < 0:
        raise ValueError(f"radius and theiler must not be negative, got radius={radius}, theiler={theiler}")
    states = points[:, None] if points.ndim == 1 else points
    present = states.isfinite().all(-1)
    states = torch.where(present[:, None], states, 0.0).double()
    near, counted = 0, 0
    for start, distance in _blocks(len(states), theiler, states):
        rows = slice(start, start + len(distance))
        pairs = distance.isfinite() & present[rows, None] & present
        distance += torch.cdist(states[rows], states, compute_mode="donot_use_mm_for_euclid_dist")
        near += int(((distance <= radius) & pairs).sum())
        counted += int(pairs.sum())
    return near / counted if counted else float("nan")


def _check_signal(x: Tensor) -> None:
    if x.ndim != 1 or not x.is_floating_point():
        raise ValueError(f"the signal must be (T,) of floats, got {tuple(x.shape)} of {x.dtype}")
    if not x.isfinite().any():
        raise ValueError("the signal has no sample that is a finite number")


def _bin(x: Tensor, bins: int) -> Tensor:
    """Index of the bin of each sample; -1 for a missing one."""
    present = x.isfinite()
    low, high = x[present].double().aminmax()
    share = (x.double() - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny)
    codes = (share * bins).nan_to_num().long().clamp(0, bins - 1)
    return torch.where(present, codes, -1)


def _count_pairs(a: Tensor, b: Tensor, bins: int) -> Tensor:
    both = (a >= 0) & (b >= 0)
    return torch.bincount(a[both] * bins + b[both], minlength=bins * bins).double().view(bins, bins)


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum(-1) / torch.log(p.new_tensor(2.0))


def _blocks(n: int, theiler: int, like: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows of an (n, n) matrix a few at a time: 0, and infinity where two moments are too near in time to count."""
    moment = torch.arange(n, device=like.device)
    for start in range(0, n, _ROWS):
        close = (moment[start : start + _ROWS, None] - moment).abs() <= theiler
        yield start, torch.where(close, float("inf"), like.new_zeros(()))

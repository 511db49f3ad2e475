"""How well fakes are told from reals: ranking, calibration, and the choice to leave a video undetermined.

Functions take one score and one label a row. A row is what is counted: a video, unless tables say otherwise; several
windows or tracks of one video are not independent and belong into one score first. The score is the probability of
fake; label 1 = fake, 0 = real. Rows of equal score are never put into an order that the score does not give. Where one
of the two classes is missing, what needs both is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


def _checked(scores: Tensor, labels: Tensor) -> tuple[Floats, Bools]:
    """Both as arrays: on a few hundred rows NumPy is several times as fast as torch, and intervals take thousands."""
    p, y = _array(scores), _array(labels)
    if p.ndim != 1 or p.shape != y.shape or not len(p):
        raise ValueError(f"scores and labels must both be (N,) with N >= 1, got {p.shape} and {y.shape}")
    if not np.isfinite(p).all():
        raise ValueError(f"{int((~np.isfinite(p)).sum())} of {len(p)} scores are not finite numbers")
    fake = y == 1
    if not (fake | (y == 0)).all():
        raise ValueError("labels must be 1 (fake) or 0 (real)")
    return p, fake


def _array(values: Tensor) -> Floats:
    return np.asarray(torch.as_tensor(values).detach().cpu().double().numpy())


def _probabilities(p: Tensor, y: Tensor) -> tuple[Floats, Bools]:
    stated, fake = _checked(p, y)
    if stated.min() < 0 or stated.max() > 1:
        raise ValueError(f"probabilities must be in [0, 1], got {stated.min():g} to {stated.max():g}")
    return stated, fake


class Roc(NamedTuple):
    """Operating points of all thresholds, the strictest first.

    Attributes:
        threshold: A row is called fake if its score is at least this, float64 (K + 1,); the first is infinite.
        false_positives: Reals that are called fake, int64 (K + 1,).
        true_positives: Fakes that are called fake, likewise.
    """

    threshold: Tensor
    false_positives: Tensor
    true_positives: Tensor


def roc(scores: Tensor, labels: Tensor) -> Roc:
    """Receiver operating characteristic in counts, one point for each different score.

    Args:
        scores: (N,), higher for fake.
        labels: (N,), 1 = fake, 0 = real.

    Returns:
        The points, from nothing called fake to all.

    Raises:
        ValueError: The shapes differ or are empty, a score is not finite, or a label is neither 0 nor 1.
    """
    return Roc(*map(torch.from_numpy, _roc(scores, labels)))


def _roc(scores: Tensor, labels: Tensor) -> tuple[Floats, Counts, Counts]:
    p, fake = _checked(scores, labels)
    order = np.argsort(-p, kind="stable")
    called, p = np.cumsum(fake[order]), p[order]
    last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
    return (
        np.concatenate([[np.inf], p[last]]),
        np.concatenate([[0], last + 1 - called[last]]),
        np.concatenate([[0], called[last]]),
    )


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real, ties counting half (Mann-Whitney).

    Args:
        scores: As for :func:`roc`.
        labels: Likewise.

    Returns:
        In [0, 1]; NaN with one class only.

    Raises:
        ValueError: As for :func:`roc`.
    """
    _, false, true = _roc(scores, labels)
    pairs = 2 * int(false[-1]) * int(true[-1])
    return int((np.diff(false) * (true[1:] + true[:-1])).sum()) / pairs if pairs else float("nan")


def equal_error_rate(scores: Tensor, labels: Tensor) -> float:
    """Where as large a share of reals is called fake as of fakes is called real, between points of the ROC linearly.

    Args:
        scores: As for :func:`roc`.
        labels: Likewise.

    Returns:
        In [0, 1]; NaN with one class only.

    Raises:
        ValueError: As for :func:`roc`.
    """
    _, false, true = _roc(scores, labels)
    if not (false[-1] and true[-1]):
        return float("nan")
    false_rate, missed_rate = false / false[-1], 1 - true / true[-1]
    gap = false_rate - missed_rate  # strictly rising from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = gap[after] / (gap[after] - gap[after - 1])
    return float(false_rate[after] - share * (false_rate[after] - false_rate[after - 1]))


def average_precision(scores: Tensor, labels: Tensor) -> float:
    """Precision averaged over recall in steps, Σ (R_k - R_{k-1}) P_k, with fake as the positive class.

    It depends on the share of fakes: a ranking that knows nothing has that share, not one half.

    Args:
        scores: As for :func:`roc`.
        labels: Likewise.

    Returns:
        In [0, 1]; NaN with one class only.

    Raises:
        ValueError: As for :func:`roc`.
    """
    _, false, true = _roc(scores, labels)
    if not (false[-1] and true[-1]):
        return float("nan")
    precision = true[1:] / (false + true)[1:]
    return float((np.diff(true) * precision).sum() / true[-1])


class OperatingPoint(NamedTuple):
    """A threshold and what it does.

    Attributes:
        threshold: A row is called fake if its score is at least this; infinite if nothing may be called fake.
        true_positive_rate: Share of fakes that are called fake.
        false_positive_rate: Share of reals that are called fake.
    """

    threshold: float
    true_positive_rate: float
    false_positive_rate: float


def operating_point(scores: Tensor, labels: Tensor, false_positive_rate: float = 0.01) -> OperatingPoint:
    """The threshold that finds most fakes while it calls no larger share of the reals fake than allowed.

    With R reals the rates that exist are multiples of 1/R, and none is made up between them: below 1/R the point is
    the one without any false alarm, which one real with a high score moves far.

    Args:
        scores: As for :func:`roc`.
        labels: Likewise.
        false_positive_rate: Largest share of reals called fake, in [0, 1].

    Returns:
        Threshold and both rates; NaN with one class only.

    Raises:
        ValueError: As for :func:`roc`, or the rate is out of range.
    """
    if not 0 <= false_positive_rate <= 1:
        raise ValueError(f"false_positive_rate must be in [0, 1], got {false_positive_rate}")
    threshold, false, true = _roc(scores, labels)
    if not (false[-1] and true[-1]):
        return OperatingPoint(*[float("nan")] * 3)
    # Of thresholds that find equally many fakes, the strictest; a rate such as 0.07 must allow 7 of 100 in floats too.
    found = true[false <= false_positive_rate * false[-1] + 1e-9]
    k = int(found.argmax())
    return OperatingPoint(float(threshold[k]), int(true[k]) / int(true[-1]), int(false[k]) / int(false[-1]))


def true_positive_rate(scores: Tensor, labels: Tensor, false_positive_rate: float = 0.01) -> float:
    """Share of fakes found at :func:`operating_point`.

    Args:
        scores: As for :func:`roc`.
        labels: Likewise.
        false_positive_rate: Largest share of reals called fake, in [0, 1].

    Returns:
        In [0, 1]; NaN with one class only.

    Raises:
        ValueError: As for :func:`operating_point`.
    """
    return operating_point(scores, labels, false_positive_rate).true_positive_rate


def accuracy(p: Tensor, y: Tensor, threshold: float = 0.5, balanced: bool = False) -> float:
    """Share of rows that are called right when those of at least ``threshold`` are called fake.

    Args:
        p: (N,), higher for fake.
        y: (N,), 1 = fake, 0 = real.
        threshold: In the unit of ``p``.
        balanced: Mean of the shares of both classes instead, which does not change with how many of each there are.

    Returns:
        In [0, 1]; NaN if balanced with one class only.

    Raises:
        ValueError: As for :func:`roc`.
    """
    stated, fake = _checked(p, y)
    right = (stated >= threshold) == fake
    return (_mean(right[fake]) + _mean(right[~fake])) / 2 if balanced else _mean(right)


def _mean(values: Floats | Bools) -> float:
    return float(values.mean()) if len(values) else float("nan")


def expected_calibration_error(p: Tensor, y: Tensor, bins: int = 15) -> float:
    """Mean distance between the stated probability of fake and the share of fakes, over bins of equal width.

    It is that of the share of fakes in these rows; with few rows it is above zero even for honest probabilities.

    Args:
        p: Probability of fake (N,), in [0, 1].
        y: (N,), 1 = fake, 0 = real.
        bins: Number of bins, at least 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: As for :func:`roc`, a probability is out of range, or there is no bin.
    """
    stated, fake = _probabilities(p, y)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(place, stated - fake)).sum() / len(stated))


def brier_score(p: Tensor, y: Tensor) -> float:
    """Mean squared difference between probability and label (Brier 1950): 0.25 for a constant one half.

    Args:
        p: Probability of fake (N,), in [0, 1].
        y: (N,), 1 = fake, 0 = real.

    Returns:
        In [0, 1].

    Raises:
        ValueError: As for :func:`roc`, or a probability is out of range.
    """
    stated, fake = _probabilities(p, y)
    return _mean(np.square(stated - fake))


class RiskCoverage(NamedTuple):
    """What leaving rows undetermined buys.

    Attributes:
        coverage: Share of rows that are decided, k/N for k = 1 to N, float64 (N,).
        risk: Share of wrong calls among the k most confident rows, float64 (N,).
        area: Area under risk over coverage (AURC): the mean of ``risk``; lower is better.
        decided_coverage: Share of the rows that the mask names decided.
        decided_risk: Share of wrong calls among those; NaN if there are none.
    """

    coverage: Tensor
    risk: Tensor
    area: float
    decided_coverage: float
    decided_risk: float


def risk_coverage(p: Tensor, y: Tensor, decided: Tensor | None = None, threshold: float = 0.5) -> RiskCoverage:
    """Risk against coverage when the least confident rows are left undetermined first (Geifman & El-Yaniv 2017).

    Confidence is the distance of ``p`` from ``threshold``, relative to what is possible on its side. Rows of equal
    confidence count with the risk that they have on average over all orders.

    Args:
        p: Probability of fake (N,), in [0, 1].
        y: (N,), 1 = fake, 0 = real.
        decided: (N,) bool, the rows with a verdict; all if None.
        threshold: Rows of at least this are called fake, in (0, 1).

    Returns:
        The curve, its area, and the point of the mask.

    Raises:
        ValueError: As for :func:`roc`, a probability or the threshold is out of range, or the mask has another shape.
    """
    stated, fake = _probabilities(p, y)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be in (0, 1), got {threshold}")
    mask = np.ones_like(fake) if decided is None else np.asarray(torch.as_tensor(decided).cpu().bool().numpy())
    if mask.shape != fake.shape:
        raise ValueError(f"decided must be (N,) like the labels, {fake.shape}, got {mask.shape}")
    called = stated >= threshold
    wrong = called != fake
    sure = (stated - threshold) / np.where(called, 1 - threshold, -threshold)
    # Rounded, so that 0.1 and 0.9 are equally sure in floating point too; the surest come first.
    _, place = np.unique(np.round(-sure, 9), return_inverse=True)
    ends, sums = (np.cumsum([0, *np.bincount(place.ravel(), x)]) for x in (np.ones(len(wrong)), wrong))
    count = np.arange(1, len(wrong) + 1)
    risk = np.interp(count, ends, sums) / count
    return RiskCoverage(
        torch.from_numpy(count / len(wrong)), torch.from_numpy(risk), _mean(risk), _mean(mask), _mean(wrong[mask])
    )


def score_interval(
    metric: Callable[[Tensor, Tensor], float],
    scores: Tensor,
    labels: Tensor,
    groups: Sequence[str] | Sequence[int] | Tensor | None = None,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a score over groups, such as persons.

    Videos of one person resemble each other; drawing videos one by one would make the interval too narrow. Groups are
    drawn within three strata: those with reals only, with fakes only, with both. So every draw has both classes.

    Args:
        metric: Takes scores and labels, such as :func:`auc`.
        scores: (N,), or (N, ...) if the metric takes several: the difference between two models on the same videos is
            ``score_interval(lambda s, y: auc(s[:, 0], y) - auc(s[:, 1], y), torch.stack([a, b], 1), labels)``.
        labels: (N,), 1 = fake, 0 = real.
        groups: Name or number of each row's group; each row its own if None.
        level: Share of intervals that hold the true value, in (0, 1).
        samples: How many times the groups are drawn anew.
        seed: Seed of the draws.

    Returns:
        Lower and upper end; NaN where the score is NaN or all rows are of one group, which says nothing about others.

    Raises:
        ValueError: Lengths differ, ``level`` or ``samples`` is out of range, or the metric refuses its input.
    """
    scores, labels = torch.as_tensor(scores).detach().cpu(), torch.as_tensor(labels).detach().cpu()
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if not len(scores) == len(labels) == len(names):
        raise ValueError(f"there are {len(scores)} scores, {len(labels)} labels and {len(names)} groups")
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"level must be in (0, 1) and samples at least 1, got {level} and {samples}")
    unique, group = np.unique(names, return_inverse=True)
    if np.isnan(metric(scores, labels)) or len(unique) < 2:
        return float("nan"), float("nan")
    fake = labels.numpy() == 1
    has_fake, has_real = (np.bincount(group[x], minlength=len(unique)) > 0 for x in (fake, ~fake))
    strata = [np.flatnonzero((has_fake == f) & (has_real == r)) for f, r in ((1, 0), (0, 1), (1, 1))]
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        drawn = np.concatenate([stratum[draw.integers(0, max(len(stratum), 1), len(stratum))] for stratum in strata])
        times = np.bincount(drawn, minlength=len(unique))[group]
        rows = torch.from_numpy(np.repeat(np.arange(len(group)), times))
        values.append(metric(scores[rows], labels[rows]))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

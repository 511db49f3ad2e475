"""What several witnesses say together: mass functions on {fake, real}, their combination, and calibration.

A *mass* is a tensor ``(..., 3)`` in the order **fake, real, unknown**, not negative, with sum 1: belief put on "fake",
on "real", and on neither (on the whole frame Θ). Logits are ``(..., 2)`` in the order fake, real; label 1 is fake. All
functions work on any leading shape, on any device, and can be trained through.

Dempster's rule takes its sources for independent. Streams that look at the same landmarks are not: where three of them
say one and the same thing, (.6, .1, .3), the probability of fake goes from .75 to .93. So calibrate what was fused
(:func:`fit_calibration`), and see the cautious rule, which counts shared evidence once, beside it. Windows that overlap
are averaged, never combined.

References:
    Dempster, "Upper and lower probabilities induced by a multivalued mapping", Ann. Math. Stat. 1967. Shafer, "A
    mathematical theory of evidence", 1976 (discounting). Yager, "On the Dempster-Shafer framework and new combination
    rules", Inf. Sci. 1987. Smets and Kennes, "The transferable belief model", AIJ 1994 (pignistic probability). Denœux,
    "Conjunctive and disjunctive combination of belief functions induced by nondistinct bodies of evidence", AIJ 2008
    (cautious rule). Sensoy et al., "Evidential deep learning", NeurIPS 2018 (masses from logits). Platt,
    "Probabilistic outputs for support vector machines", 1999 (calibration).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.errors import MediakitError

RULES = ("dempster", "cautious", "yager", "mean")
"""Names of the rules of :func:`combine`."""

_LEAST_AGREEMENT = 1e-6  # 1 - K below which Dempster's rule would make certainty out of the crumbs of a contradiction
_LOGIT_FLOOR = 1e-6  # probabilities nearer to 0 or 1 count as this near: a single certain error must stay finite
_NEWTON_STEPS = 50


def masses_from_logits(logits: Tensor) -> Tensor:
    """Masses of an evidential output: e = softplus(logits), S = Σ (e + 1), m_k = e_k / S, m(Θ) = 2 / S.

    Args:
        logits: Fake, real; ``(..., 2)``. Half precision is computed in float32.

    Returns:
        Masses ``(..., 3)``; the unknown part is never 0.

    Raises:
        ValueError: The last axis is not 2.
    """
    if logits.shape[-1:] != (2,):
        raise ValueError(f"logits must end in 2 (fake, real), got shape {tuple(logits.shape)}")
    evidence = F.softplus(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    evidence = torch.cat([evidence, torch.full_like(evidence[..., :1], 2.0)], -1)
    return evidence / evidence.sum(-1, keepdim=True)


def masses_from_probability(probability: Tensor, reliability: Tensor | float = 1.0) -> Tensor:
    """Masses of a probability that is to be trusted so far: (r p, r (1 - p), 1 - r).

    Args:
        probability: Of fake, in [0, 1], ``(...)``.
        reliability: r in [0, 1], a number or a shape that broadcasts with ``probability``.

    Returns:
        Masses ``(..., 3)``.
    """
    return discount(torch.stack([probability, 1 - probability, torch.zeros_like(probability)], -1), reliability)


def discount(mass: Tensor, quality: Tensor | float) -> Tensor:
    """Shafer's discount: m -> q m, and what is taken away becomes unknown: m(Θ) -> 1 - q + q m(Θ).

    Args:
        mass: ``(..., 3)``.
        quality: q in [0, 1]: a number, or a shape that broadcasts with the leading axes of ``mass``.

    Returns:
        Masses ``(..., 3)``: the same for q = 1, all unknown for q = 0.
    """
    _check_masses(mass)
    quality = torch.as_tensor(quality, dtype=mass.dtype, device=mass.device)[..., None]
    return quality * mass + (1 - quality) * _unknown(mass)


def dempster_combine(m1: Tensor, m2: Tensor) -> tuple[Tensor, Tensor]:
    """Dempster's rule: what two independent sources agree on, with their conflict divided away.

    K = m₁(F) m₂(R) + m₁(R) m₂(F); m(A) = [m₁(A) m₂(A) + m₁(A) m₂(Θ) + m₁(Θ) m₂(A)] / (1 - K);
    m(Θ) = m₁(Θ) m₂(Θ) / (1 - K). Where 1 - K is below 1e-6, the sources contradict each other and there is nothing to
    divide by: there the result is Yager's, nearly all unknown.

    Args:
        m1: ``(..., 3)``.
        m2: A shape that broadcasts with it.

    Returns:
        The mass ``(..., 3)`` and the conflict K ``(...)`` in [0, 1].

    Raises:
        ValueError: The last axis is not 3.
    """
    joint, conflict = _conjunctive(m1, m2)
    agreement = joint.sum(-1, keepdim=True)  # 1 - K without its cancellation
    enough = agreement >= _LEAST_AGREEMENT
    normal = joint / torch.where(enough, agreement, 1.0)
    return torch.where(enough, normal, _to_unknown(joint, conflict)), conflict


def yager_combine(m1: Tensor, m2: Tensor) -> tuple[Tensor, Tensor]:
    """Yager's rule: as Dempster's, but conflict becomes unknown. Not associative: for several sources see `combine`.

    Args:
        m1: ``(..., 3)``.
        m2: A shape that broadcasts with it.

    Returns:
        The mass ``(..., 3)`` and the conflict K ``(...)``.
    """
    joint, conflict = _conjunctive(m1, m2)
    return _to_unknown(joint, conflict), conflict


def cautious_combine(m1: Tensor, m2: Tensor) -> tuple[Tensor, Tensor]:
    """Denœux's cautious rule, normalised, for sources that may share their evidence: idempotent.

    On two classes it takes the greater m(A) / m(Θ) of each class (the least of the weights of the canonical
    decomposition); on masses from logits that is the greater evidence of each. A source without an unknown part
    (dogmatic) overrules one that has some; of two such, the greater of each class is taken and scaled to sum 1 (the
    limit of equal small discounts).

    Args:
        m1: ``(..., 3)``.
        m2: A shape that broadcasts with it.

    Returns:
        The mass ``(..., 3)`` and K ``(...)`` as Dempster's rule measures it.
    """
    _, conflict = _conjunctive(m1, m2)
    return _cautious(torch.stack(torch.broadcast_tensors(m1, m2))), conflict


def average(masses: Tensor, weights: Tensor | None = None, dim: int = -2) -> Tensor:
    """Weighted mean of masses: for windows of one track, which overlap and so are no independent sources.

    Args:
        masses: ``(..., S, 3)``.
        weights: Not negative, one for each mass: the shape of ``masses`` without its last axis, or ``(S,)``; all equal
            if None. A mass of weight 0 is left out, whatever it holds.
        dim: The axis of ``masses`` to average over, not the last.

    Returns:
        Masses ``(..., 3)``; all unknown where the weights are all 0 or there is nothing to average.

    Raises:
        ValueError: A shape does not fit.
    """
    _check_masses(masses)
    dim = _source_axis(masses, dim)
    if weights is None:
        weights = masses.new_ones(masses.shape[:-1])
    elif weights.shape == masses.shape[dim : dim + 1]:
        weights = weights.reshape(-1, *[1] * (masses.ndim - 2 - dim))
    elif weights.shape != masses.shape[:-1]:
        raise ValueError(f"weights {tuple(weights.shape)} do not fit masses {tuple(masses.shape)} along axis {dim}")
    weights = weights.to(masses.dtype).expand(masses.shape[:-1])[..., None]
    total = weights.sum(dim)
    mean = (weights * torch.where(weights > 0, masses, 0.0)).sum(dim) / torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, mean, _unknown(masses))


def combine(masses: Tensor, rule: str = "dempster", dim: int = -2) -> tuple[Tensor, Tensor]:
    """Joins any number of sources by one rule; the order of the sources makes no difference.

    Args:
        masses: ``(..., S, 3)``, S >= 1.
        rule: One of `RULES`. Yager's, which is not associative, takes all sources at once.
        dim: The axis of the sources, not the last.

    Returns:
        The mass ``(..., 3)`` and the conflict K ``(...)``: what the conjunction of all sources would put on "neither
        fake nor real". It is the same whatever the rule, and 0 for one source.

    Raises:
        ValueError: There is no such rule, or no source.
    """
    _check_masses(masses)
    sources = masses.unbind(_source_axis(masses, dim))
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r}; take one of {', '.join(RULES)}")
    if not sources:
        raise ValueError("there is no source to combine: the axis of the sources is empty")
    joint, conflict = _conjunctive_all(sources)
    if rule == "mean":
        return average(masses, dim=dim), conflict
    if rule == "cautious":
        return _cautious(torch.stack(sources)), conflict
    if rule == "yager":
        return _to_unknown(joint, conflict), conflict
    return reduce(lambda m1, m2: dempster_combine(m1, m2)[0], sources), conflict


def belief_interval(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Belief and plausibility of fake: ``(..., 3)`` -> m(F) and 1 - m(R) = m(F) + m(Θ), each ``(...)``."""
    fake, _, unknown = mass.unbind(-1)
    return fake, fake + unknown


def pignistic(mass: Tensor) -> Tensor:
    """Probability of fake to bet on, BetP(F) = m(F) + m(Θ) / 2: ``(..., 3)`` -> ``(...)``."""
    fake, _, unknown = mass.unbind(-1)
    return fake + unknown / 2


def fit_calibration(pignistic: Tensor, labels: Tensor) -> tuple[float, float]:
    """Platt's scaling of what was fused: P(fake) = σ(slope · logit BetP + intercept), of greatest likelihood.

    Newton's method on a convex loss, in float64. Platt's targets (n₁ + 1) / (n₁ + 2) and 1 / (n₀ + 2) in the place of 1
    and 0 keep it finite where the classes can be told apart without error. The slope is never negative: where the
    scores point the wrong way, it is 0, and every video gets the share of fakes.

    Args:
        pignistic: BetP(F) of N videos that were not trained on, ``(N,)``, in [0, 1].
        labels: 1 = fake, 0 = real, ``(N,)``.

    Returns:
        Slope and intercept for :func:`calibrate`. (1, 0) changes nothing; a slope below 1 tells of overconfidence.

    Raises:
        ValueError: The shapes differ, a probability lies outside [0, 1], or a label is neither 0 nor 1.
        MediakitError: One of the two classes is missing.
    """
    if pignistic.ndim != 1 or pignistic.shape != labels.shape:
        raise ValueError(f"probabilities {tuple(pignistic.shape)} and labels {tuple(labels.shape)} must both be (N,)")
    if not ((pignistic >= 0) & (pignistic <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels must be 1 (fake) or 0 (real)")
    fake = labels.detach().cpu() == 1
    n_fake, n_real = int(fake.sum()), int((~fake).sum())
    if not (n_fake and n_real):
        raise MediakitError(
            f"Calibration needs videos of both classes, got {n_fake} fake and {n_real} real. "
            "Give a validation split that holds both."
        )
    scores = torch.logit(pignistic.detach().cpu().double(), _LOGIT_FLOOR)
    targets = torch.where(fake, scores.new_tensor((n_fake + 1) / (n_fake + 2)), 1 / (n_real + 2))
    slope, intercept = _fit_logistic(torch.stack([scores, torch.ones_like(scores)], 1), targets)
    if slope < 0:
        return 0.0, float(torch.logit(targets.mean()))
    return slope, intercept


def calibrate(mass: Tensor, slope: Tensor | float, intercept: Tensor | float) -> Tensor:
    """Moves BetP(F) to σ(slope · logit BetP + intercept) and keeps the unknown part.

    Where the new probability p leaves no room for all of it, the unknown part shrinks to 2 min(p, 1 - p), the most that
    p allows: the belief interval then starts at 0, or ends at 1.

    Args:
        mass: ``(..., 3)``.
        slope: Of :func:`fit_calibration`.
        intercept: Likewise.

    Returns:
        Masses ``(..., 3)``.
    """
    _check_masses(mass)
    fake, real, unknown = mass.unbind(-1)
    odds = (fake + unknown / 2).clamp_min(_LOGIT_FLOOR).log() - (real + unknown / 2).clamp_min(_LOGIT_FLOOR).log()
    score = slope * odds + intercept
    probability, complement = score.sigmoid(), (-score).sigmoid()
    unknown = torch.minimum(unknown, 2 * torch.minimum(probability, complement))
    return torch.stack([probability - unknown / 2, complement - unknown / 2, unknown], -1)


def _check_masses(mass: Tensor) -> None:
    if mass.shape[-1:] != (3,):
        raise ValueError(f"masses must end in 3 (fake, real, unknown), got shape {tuple(mass.shape)}")


def _source_axis(masses: Tensor, dim: int) -> int:
    """The axis counted from the front."""
    axis = dim + masses.ndim if dim < 0 else dim
    if not 0 <= axis < masses.ndim - 1:
        raise ValueError(f"dim {dim} is not an axis of sources of masses {tuple(masses.shape)}")
    return axis


def _unknown(mass: Tensor) -> Tensor:
    return mass.new_tensor([0.0, 0.0, 1.0])


def _to_unknown(joint: Tensor, conflict: Tensor) -> Tensor:
    return joint + conflict[..., None] * _unknown(joint)


def _conjunctive(m1: Tensor, m2: Tensor) -> tuple[Tensor, Tensor]:
    """Products of masses by intersection, not normalised, and what falls on the empty set."""
    _check_masses(m1)
    _check_masses(m2)
    u1, u2 = m1[..., 2:], m2[..., 2:]
    classes = m1[..., :2] * m2[..., :2] + m1[..., :2] * u2 + u1 * m2[..., :2]
    conflict = m1[..., 0] * m2[..., 1] + m1[..., 1] * m2[..., 0]
    return torch.cat([classes, u1 * u2], -1), conflict


def _conjunctive_all(sources: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    joint, total = sources[0], torch.zeros_like(sources[0][..., 0])
    for source in sources[1:]:
        joint, conflict = _conjunctive(joint, source)
        total = total + conflict
    return joint, total


def _cautious(masses: Tensor) -> Tensor:
    """(S, ..., 3) -> (..., 3): the greatest m(A) / m(Θ) of each class, all multiplied by the least m(Θ)."""
    unknown = masses[..., 2:]
    least = unknown.amin(0)
    open_minded = unknown > 0
    scale = torch.where(open_minded, least / torch.where(open_minded, unknown, 1.0), 1.0)
    mass = torch.cat([(masses[..., :2] * scale).amax(0), least], -1)
    return mass / mass.sum(-1, keepdim=True)  # the sum is at least that of the least unknown source: 1


def _fit_logistic(inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Logistic regression (N, 2) -> (N,) by Newton's method, which from 0 and towards targets inside (0, 1) is safe."""
    weights = inputs.new_zeros(2)
    for _ in range(_NEWTON_STEPS):
        probability = (inputs @ weights).sigmoid()
        gradient = inputs.T @ (probability - targets) / len(targets)
        if gradient.abs().max() < 1e-12:
            break
        curvature = (inputs.T * (probability * (1 - probability))) @ inputs / len(targets)
        # scores that are all equal leave slope and intercept tied: the least of the possible steps is taken
        weights = weights - torch.linalg.pinv(curvature, hermitian=True) @ gradient
    slope, intercept = weights.tolist()
    return slope, intercept

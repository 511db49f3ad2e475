"""Distance of two sets of pictures in the features of a network that the user has."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets of features (Heusel et al., NeurIPS 2017).

    ``|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½)``. With the pool features of the Inception network of 2015 this is FID;
    with any other network it is a number of its own, to be named after that network and compared with nothing else.
    mediakit brings no such weights: features come from a local file, for example through
    ``FrameEncoder(name, weights=FILE)``. It falls as pictures are added: compare equally many.

    Args:
        first: (N, D), N at least 2.
        second: (M, D), M at least 2.

    Returns:
        0 or more, in squared units of the features.

    Raises:
        ValueError: The shapes do not fit, or a feature is not finite.
    """
    if not (first.ndim == second.ndim == 2 and first.shape[1] == second.shape[1] and min(len(first), len(second)) > 1):
        raise ValueError(f"features must be (N, D) and (M, D), got {tuple(first.shape)} and {tuple(second.shape)}")
    # On the CPU: not every device has float64, and float32 loses the trace's small difference.
    x, y = (v.detach().cpu().double() for v in (first, second))
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("features must be finite")
    root, other = _root(torch.cov(x.T).reshape(x.shape[1], -1)), torch.cov(y.T).reshape(y.shape[1], -1)
    # (S1 S2)^½ and (S1^½ S2 S1^½)^½ have one trace, and the latter is symmetric.
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    squares = (x.mean(0) - y.mean(0)).square().sum()
    return float((squares + (root * root).sum() + other.trace() - 2 * shared).clamp(min=0))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

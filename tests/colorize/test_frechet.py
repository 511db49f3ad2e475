"""The Fréchet distance against SciPy's matrix root and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from mediakit.colorize.frechet import frechet_distance


def features(count, dim, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=draw) @ torch.randn(dim, dim, generator=draw) + seed


def test_it_is_the_formula_with_scipys_root():
    first, second = features(60, 6, 1), features(80, 6, 2)
    s1, s2 = (np.cov(v.double().numpy().T) for v in (first, second))
    shift = (first.double().mean(0) - second.double().mean(0)).square().sum()
    expected = float(shift) + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)


def test_equal_shifted_and_scaled_sets():
    first = features(40, 5, 3)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, first + 2) == pytest.approx(5 * 4, rel=1e-5)
    # Covariance grows ninefold, so its root threefold: tr(S + 9 S - 6 S) = 4 tr S; the mean is taken out.
    first = first - first.mean(0)
    assert frechet_distance(first, 3 * first) == pytest.approx(4 * float(torch.cov(first.T).trace()), rel=1e-4)


def test_one_dimension_and_fewer_pictures_than_features():
    assert frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0]])) == pytest.approx(1)
    few = features(4, 30, 4)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("other", [torch.zeros(5, 3), torch.zeros(1, 4), torch.zeros(4), torch.full((5, 4), torch.nan)])
def test_wrong_input(other):
    with pytest.raises(ValueError, match="features must be"):
        frechet_distance(torch.zeros(5, 4), other)

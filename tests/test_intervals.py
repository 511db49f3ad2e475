"""`mediakit.intervals` against cases that are known in closed form, and against how often an interval should hold."""

import pytest
import torch

from mediakit.intervals import bootstrap_interval


def test_bootstrap_of_two_values_is_known():
    # The mean of two draws from {0, 1} is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    values = torch.tensor([0.0, 1.0])
    for level, expected in ((0.95, (0, 1)), (0.6, (0, 1)), (0.4, (0.5, 0.5))):
        low, high = bootstrap_interval(values, level, samples=5000)
        assert (low.item(), high.item()) == pytest.approx(expected)


def test_bootstrap_of_many_values_nears_the_normal_interval():
    values = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0])
    reach = 1.959964 * values.double().std(0, correction=0) / 3000**0.5
    low, high = bootstrap_interval(values, samples=4000)
    mean = values.double().mean(0)
    torch.testing.assert_close((mean - low) / reach, torch.ones(2, dtype=torch.double), rtol=0, atol=0.06)
    torch.testing.assert_close((high - mean) / reach, torch.ones(2, dtype=torch.double), rtol=0, atol=0.06)


@pytest.mark.parametrize(("level", "least", "most"), [(0.95, 0.92, 0.965), (0.8, 0.76, 0.83)])
def test_bootstrap_intervals_hold_the_mean_as_often_as_they_say(level, least, most):
    # 1,000 samples of 60 uniform values; for their interval of mean +- z s / sqrt(n) theory says a little below level.
    values = torch.rand(60, 1000, generator=torch.Generator().manual_seed(1))
    low, high = bootstrap_interval(values, level)
    assert least < ((low <= 0.5) & (high >= 0.5)).double().mean() < most


def test_bootstrap_is_seeded_and_refuses_nonsense():
    values = torch.rand(20, generator=torch.Generator().manual_seed(0))
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    for bad in (values[:0], torch.tensor([1.0, torch.nan]), torch.ones(2, 2, 2)):
        with pytest.raises(ValueError, match="must be finite"):
            bootstrap_interval(bad)
    for level, samples in ((0, 10), (1, 10), (0.9, 0)):
        with pytest.raises(ValueError, match="level must be"):
            bootstrap_interval(values, level, samples)

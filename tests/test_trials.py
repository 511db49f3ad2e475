"""The baseline of the trials against scikit-learn; `tests/test_demo.py` runs the trials themselves."""

import numpy as np
import pytest
import torch

from mediakit.trials import fit_logistic


@pytest.mark.parametrize("decay", [1e-3, 1e-1])
def test_logistic_regression_is_that_of_scikit_learn(decay):
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=draw)
    y = (x @ torch.randn(5, 3, generator=draw) + torch.randn(200, 3, generator=draw) > 0.5).float()
    layer = fit_logistic(x, y, decay)
    for k in range(3):
        known = linear_model.LogisticRegression(C=1 / (decay * len(x)), tol=1e-8).fit(x.numpy(), y[:, k].numpy())
        assert np.allclose(layer.weight[k].detach().numpy(), known.coef_[0], rtol=0, atol=2e-3)
        assert layer.bias[k].item() == pytest.approx(known.intercept_[0], abs=2e-3)

"""Losses of evidence against integrals over the Dirichlet, and hand-worked cases."""

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from mediakit.deepfake.losses import deepfake_loss, evidential_loss, mass_loss, misleading_evidence
from mediakit.deepfake.model import DeepfakeOutput

LOGITS = torch.tensor([[3.0, -1.0], [0.2, 0.4], [-2.0, 5.0]], dtype=torch.float64)
LABELS = torch.tensor([1, 0, 1])


def test_evidential_loss_is_the_expected_cross_entropy():
    torch.manual_seed(0)
    alpha = torch.nn.functional.softplus(LOGITS) + 1
    true = torch.where(LABELS == 1, 0, 1)  # column of the truth
    draws = Dirichlet(alpha).sample((400_000,))
    expected = -draws[:, torch.arange(3), true].log().mean()
    assert evidential_loss(LOGITS, LABELS) == pytest.approx(float(expected), rel=5e-3)


def test_misleading_evidence_is_a_divergence():
    alpha = torch.nn.functional.softplus(LOGITS) + 1
    true = torch.where(LABELS == 1, 0, 1)
    without = alpha.scatter(1, true[:, None], 1.0)
    expected = kl_divergence(Dirichlet(without), Dirichlet(torch.ones_like(without))).mean()
    torch.testing.assert_close(misleading_evidence(LOGITS, LABELS), expected)


def test_mass_loss_by_hand():
    mass = torch.tensor([[0.6, 0.1, 0.3], [0.0, 1.0, 0.0]])
    assert mass_loss(mass[:1], torch.tensor([1])) == pytest.approx(-torch.tensor(0.75).log().item())
    assert mass_loss(mass[:1], torch.tensor([0])) == pytest.approx(-torch.tensor(0.25).log().item())
    assert mass_loss(mass[1:], torch.tensor([0])) < 1e-5
    assert torch.isfinite(mass_loss(mass[1:], torch.tensor([1])))


@pytest.mark.parametrize("objective", ["evidential", "cross_entropy"])
def test_the_total_falls_towards_the_truth(objective):
    logits = torch.zeros(4, 2, 2, requires_grad=True)
    labels = torch.tensor([1, 0, 1, 0])
    mass = torch.tensor([[0.3, 0.3, 0.4]]).expand(4, 3)
    losses = deepfake_loss(DeepfakeOutput(logits, mass, mass, mass[:, 0]), labels, objective, misleading_weight=0.5)
    assert losses["total"].item() == pytest.approx(
        (losses["fused"] + losses["streams"] + 0.5 * losses["misleading"]).item()
    )
    losses["total"].backward()
    toward = logits.grad[..., 0] - logits.grad[..., 1]
    assert (toward[labels == 1] < 0).all()
    assert (toward[labels == 0] > 0).all()

"""Losses of evidence: of each stream's logits, and of the masses after fusion. Label 1 is fake."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mediakit.deepfake.evidence import pignistic
from mediakit.deepfake.model import DeepfakeOutput

Objective = Literal["evidential", "cross_entropy"]
_FLOOR = 1e-6


def _one_hot(labels: Tensor) -> Tensor:
    """``(...)`` with 1 = fake to ``(..., 2)`` in the order fake, real."""
    fake = labels.float()
    return torch.stack([fake, 1 - fake], -1)


def evidential_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Expected cross-entropy under the Dirichlet of the evidence: mean of ψ(S) - ψ(α of the true class).

    Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018, eq. 4, with
    evidence e = softplus(logits), α = e + 1, S = Σ α.

    Args:
        logits: ``(..., 2)`` in the order fake, real.
        labels: ``(...)``, 1 = fake.
    """
    alpha = functional.softplus(logits) + 1
    return (_one_hot(labels) * (alpha.sum(-1, keepdim=True).digamma() - alpha.digamma())).sum(-1).mean()


def misleading_evidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Divergence from ignorance of what speaks for the wrong class: mean KL(Dir(α̃) ‖ Dir(1, 1)).

    α̃ is α with the true class's set to 1 (Sensoy et al. 2018, after eq. 5). For two classes, of which one is 1, with
    a the other one: KL = log a - 1 + 1/a.

    Args:
        logits: ``(..., 2)`` in the order fake, real.
        labels: ``(...)``, 1 = fake.
    """
    alpha = functional.softplus(logits) + 1
    wrong = (alpha * (1 - _one_hot(labels))).sum(-1)
    return (wrong.log() - 1 + 1 / wrong).mean()


def mass_loss(mass: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log of the pignistic probability of the truth.

    Args:
        mass: ``(..., 3)``.
        labels: ``(...)``, 1 = fake.
    """
    fake = pignistic(mass).clamp(_FLOOR, 1 - _FLOOR)
    return functional.binary_cross_entropy(fake, labels.to(fake.dtype))


def deepfake_loss(
    output: DeepfakeOutput,
    labels: Tensor,
    objective: Objective = "evidential",
    stream_weight: float = 1.0,
    misleading_weight: float = 0.1,
) -> dict[str, Tensor]:
    """Loss of the fused mass, of each stream alone, and of evidence for the wrong class.

    Args:
        output: Of a network.
        labels: ``(B,)``, 1 = fake.
        objective: Of the streams: ``"evidential"``, or plain cross-entropy of their logits.
        stream_weight: Weight of the streams' mean loss.
        misleading_weight: Weight of `misleading_evidence`; 0 with cross-entropy is usual.

    Returns:
        ``fused``, ``streams``, ``misleading`` unweighted, and ``total``.
    """
    each = labels[:, None].expand(output.logits.shape[:2])
    if objective == "evidential":
        streams = evidential_loss(output.logits, each)
    else:
        streams = functional.cross_entropy(output.logits.flatten(0, 1), 1 - each.flatten().long())
    fused, misleading = mass_loss(output.mass, labels), misleading_evidence(output.logits, each)
    total = fused + stream_weight * streams + misleading_weight * misleading
    return {"fused": fused, "streams": streams, "misleading": misleading, "total": total}

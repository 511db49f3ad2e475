"""What the three stages learn from; pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.colorize.model import AB_RANGE

COLOR_BETA = 0.05
"""Where smooth L1 turns from square to line, in units of 110 of a or b: 5.5."""
TEMPERATURE = 0.07
"""Of the contrast between the sounds and the pictures of a batch."""


def color_loss(ab: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 between colours, per picture.

    Args:
        ab: CIELAB a and b, (B, 2, H, W).
        target: Likewise.

    Returns:
        (B,), in units of 110.
    """
    return F.smooth_l1_loss(ab / AB_RANGE, target / AB_RANGE, beta=COLOR_BETA, reduction="none").mean((1, 2, 3))


def alignment_loss(heard: Tensor, seen: Tensor, temperature: float = TEMPERATURE) -> tuple[Tensor, Tensor]:
    """Draws the vectors of sounds to those of their pictures (the second stage).

    Args:
        heard: Unit vectors of sounds, (B, dim).
        seen: Of the pictures that came with them, (B, dim).
        temperature: Divides the cosines of the contrast.

    Returns:
        ``1 - cos`` of the pairs, and the symmetric InfoNCE (van den Oord et al., 2018) over the batch; both scalars.
    """
    cosines = heard @ seen.T
    own = torch.arange(len(heard), device=heard.device)
    contrast = F.cross_entropy(cosines / temperature, own) + F.cross_entropy(cosines.T / temperature, own)
    return 1 - cosines.diagonal().mean(), contrast / 2


def relevance_loss(right: Tensor, wrong: Tensor, kept: Tensor) -> Tensor:
    """Binary cross-entropy of the relevance: right pairs should be believed, wrong ones not.

    Args:
        right: Logits of right pairs, (B,).
        wrong: Logits of wrong pairs, (B,).
        kept: Which of the wrong pairs are known to be wrong, bool (B,).

    Returns:
        Scalar; both sides weigh the same, whatever their number.
    """
    zero = right.sum() * 0
    one = F.softplus(-right).mean() if len(right) else zero
    other = F.softplus(wrong[kept]).mean() if bool(kept.any()) else zero
    return (one + other) / 2


def pick(candidates: Tensor, draw: Tensor) -> Tensor:
    """Chooses one of the candidates of each item.

    Args:
        candidates: Which there are, bool (B, P).
        draw: Random numbers in [0, 1), (B, P): the candidate with the largest is taken.

    Returns:
        Numbers of the chosen, long (B,); -1 where an item has no candidate.
    """
    chosen = torch.where(candidates, draw, draw.new_full((), -1.0)).argmax(1)
    return torch.where(candidates.any(1), chosen, -1)

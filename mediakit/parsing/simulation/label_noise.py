"""Labels of a stated quality: dense truth with the errors of pseudo-labels, for data whose truth is known."""

from __future__ import annotations

import torch
from torch import Tensor

from mediakit.errors import MediakitError

KINDS = {"moved": 0.4, "filled": 0.2, "flickering": 0.2, "dropped": 0.2}
"""Errors of a class that is there, with their shares: its runs begin and end 1 to 3 seconds late or early together, it
fills the video (the weak label believed everywhere), it flickers (each second is wrong with `FLICKER` of chance), or it
is missed in this modality. A class that fills the video already is dropped where it should be filled."""
FLICKER = 0.3
"""Chance of each second of a flickering class to be wrong; one is wrong for certain."""


def corrupt(dense: Tensor, other: Tensor, labels: Tensor, target_f: float, generator: torch.Generator) -> Tensor:
    """Pseudo-labels of one modality whose segment-level F is ``target_f``.

    As those of zero-shot teachers (VALOR, Lai et al., NeurIPS 2023) they keep to the classes of the weak label. Each
    video's class is either as in truth or wrong in a way that is drawn once: one of `KINDS` if it is there; if it is
    not, it is found where the other modality has it (a modality error), or in every second where neither has. Which
    ones are wrong is one threshold on a fixed random field, so that a lower target adds errors to those of a higher.

    F is the field's: for each video and class 2TP / (2TP + FP + FN) over its seconds, averaged over the classes in
    truth or prediction (1 if there is none), then over videos; ``segment_audio`` and ``segment_visual`` of
    `.avvp_scores`.

    Args:
        dense: (N, T, K) truth of this modality, 0 or 1.
        other: (N, T, K) truth of the other one.
        labels: (N, K) weak labels, 0 or 1.
        target_f: Percent. It is met as closely as N allows: within 0.1 from some 1,000 videos on.
        generator: Source of chance.

    Returns:
        uint8 (N, T, K).

    Raises:
        MediakitError: No such F can be had: it must lie between that of all errors and that of none.
    """
    truth, known = dense.bool(), labels.bool()[:, None]
    wrong, right = _wrong(truth & known, other.bool() & known, known, generator), truth & known
    when = torch.rand(labels.shape, dtype=torch.double, generator=generator)
    scores = [_class_f(labelled, truth) for labelled in (right, wrong)]

    def percent(rate: float) -> float:
        (f_right, in_right), (f_wrong, in_wrong) = scores
        chosen = when < rate
        counted = torch.where(chosen, in_wrong, in_right)
        total = (torch.where(chosen, f_wrong, f_right) * counted).sum(1)
        number = counted.sum(1)
        return 100 * torch.where(number > 0, total / number.clamp(min=1), 1.0).mean().item()

    lowest, highest = percent(1), percent(0)
    if not lowest <= target_f < highest:
        raise MediakitError(
            f"pseudo-labels of segment F {target_f:g} cannot be made here: it must be at least {lowest:.1f} (all "
            f"labels wrong) and below {highest:.1f} (none wrong)."
        )
    low, high = 0.0, 1.0
    for _ in range(40):
        rate = (low + high) / 2
        low, high = (rate, high) if percent(rate) > target_f else (low, rate)
    rate = min(low, high, key=lambda rate: (rate == 0, abs(percent(rate) - target_f)))
    return torch.where((when < rate)[:, None], wrong, right).to(torch.uint8)


def _class_f(labelled: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """F of each video's class (N, K), and whether it counts: it is in truth or prediction."""
    hits, sizes = (labelled & truth).sum(1).double(), (labelled.sum(1) + truth.sum(1)).double()
    return 2 * hits / sizes.clamp(min=1), sizes > 0


def _wrong(truth: Tensor, other: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """Each known class as it looks when it is wrong: differs from the truth (N, T, K) in at least one second."""
    videos, segments, classes = truth.shape
    chance = torch.rand(videos, 3, classes, generator=generator)
    flips = torch.rand(videos, segments, classes, generator=generator) < FLICKER
    there, whole = truth.any(1), truth.all(1)
    step = ((chance[:, 0] * 3).long() + 1) * torch.where(chance[:, 1] < 0.5, 1, -1)
    source = torch.arange(segments)[:, None] - step[:, None]
    moved = truth.gather(1, source.clamp(0, segments - 1)) & (source >= 0) & (source < segments)
    sure = (chance[:, 0] * segments).long()  # at least this second flickers
    flickering = truth ^ (flips | (torch.arange(segments)[:, None] == sure[:, None]))
    edges = torch.tensor(list(KINDS.values())).cumsum(0)
    kind = torch.bucketize(chance[:, 2].contiguous(), edges[:-1], right=True)[:, None]
    found = torch.where(other.any(1, keepdim=True), other, True)
    missed = torch.where(kind == 0, moved, (kind == 1) & ~whole[:, None] | (kind == 2) & flickering)
    return torch.where(there[:, None], missed, found) & known

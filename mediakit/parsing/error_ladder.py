"""What a model's errors are: how much of its score the classes, the modalities and the boundaries cost.

The oracles of `mediakit.parsing.metrics.oracle_predictions` know a part of the truth; here a model's own decisions lose
what is finer than a rung, or are put right up to it.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from mediakit.parsing.metrics import binary, mean_scores, video_scores

SPREAD = ("predicted classes everywhere", "predicted modalities everywhere")
"""To stand beside the ladder's "weak labels everywhere" and "modality labels everywhere"."""
FILTERED = ("wrong classes left out", "wrong modalities left out")
"""Without what is wrong as a whole."""
MENDED = ("classes mended", "classes and modalities mended")
"""With the truth, too, in the place of what is missed as a whole."""


def error_predictions(
    pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Decisions coarser than a model's, and decisions put right by a part of the truth.

    A class is predicted (true) in a video if it is so in any second of either modality, and in a modality if it is so
    in any second of it. *Everywhere* spreads that over all seconds. *Left out* are predicted classes that are not true
    in the video, or in the modality. *Mended* leaves them out and also puts the truth in the place of those that are
    missed altogether: what remains wrong of the classes after the first step are modalities and boundaries, after the
    second boundaries alone.

    Args:
        pred_audio: Decisions 0 or 1, or bool, (N, T, K): videos, seconds, classes.
        pred_visual: The same for the picture.
        true_audio: Truth, likewise.
        true_visual: The same for the picture.

    Returns:
        Audio and visual decisions, bool (N, T, K), by name: ``as predicted``, then `SPREAD`, `FILTERED`, `MENDED`.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    pairs = binary(pred_audio=pred_audio, pred_visual=pred_visual, true_audio=true_audio, true_visual=true_visual)
    predicted, true = pairs[:2], pairs[2:]
    found, there = ([x.any(1, keepdim=True) for x in pair] for pair in (predicted, true))  # each (N, 1, K)
    found_either, there_either = found[0] | found[1], there[0] | there[1]
    both = range(2)
    rows = {
        "as predicted": predicted,
        SPREAD[0]: [found_either.expand_as(predicted[m]) for m in both],
        SPREAD[1]: [found[m].expand_as(predicted[m]) for m in both],
        FILTERED[0]: [predicted[m] & there_either for m in both],
        FILTERED[1]: [predicted[m] & there[m] for m in both],
        MENDED[0]: [predicted[m] & there_either | true[m] & ~found_either for m in both],
        MENDED[1]: [predicted[m] & there[m] | true[m] & ~found[m] for m in both],
    }
    return {name: (audio, visual) for name, (audio, visual) in rows.items()}


def error_ladder(
    pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor
) -> dict[str, dict[str, float]]:
    """Scores of :func:`error_predictions`, to stand beside the ladder of oracles.

    Args:
        pred_audio: As for :func:`error_predictions`.
        pred_visual: Likewise.
        true_audio: Likewise.
        true_visual: Likewise.

    Returns:
        The ten scores of `mediakit.parsing.metrics.avvp_scores`, percent, by name of the row.

    Raises:
        ValueError: The shapes differ, a value is neither 0 nor 1, or there are no videos.
    """
    rows = error_predictions(pred_audio, pred_visual, true_audio, true_visual)
    return {name: mean_scores(video_scores(*row, true_audio, true_visual)) for name, row in rows.items()}


def error_shares(ladder: dict[str, dict[str, float]], score: str = "segment_type") -> dict[str, float]:
    """Points lost to wrong classes, then to wrong modalities, then to boundaries; with the score they make 100.

    Args:
        ladder: Of :func:`error_ladder`.
        score: Which of the ten.

    Returns:
        Points by ``class``, ``modality``, ``boundary``.
    """
    steps = [ladder[name][score] for name in ("as predicted", *MENDED)] + [100.0]
    return dict(zip(("class", "modality", "boundary"), (b - a for a, b in pairwise(steps)), strict=True))

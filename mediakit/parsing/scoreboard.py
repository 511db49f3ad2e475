"""Scores as plain text: beside the ladder of oracles that they are read by, and class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mediakit.intervals import bootstrap_interval
from mediakit.parsing.metrics import ASPECTS, LEVELS, SCORES, ClassScores, mean_scores


def score_table(rows: Mapping[str, Tensor], source: str, level: float = 0.95, unit: str = "videos") -> str:
    """Sets results side by side as plain text: models, protocols, and the ladder to read them by.

    Args:
        rows: `.video_scores` (N, 10) by name, all of the same videos.
        source: What was scored, such as the truth's version.
        level: Of the intervals of the Type scores.
        unit: What was scored one by one.

    Returns:
        Lines of text.

    Raises:
        ValueError: There are no rows, or they are not of equally many videos.
    """
    counts = {len(scores) for scores in rows.values()}
    if len(counts) != 1:
        raise ValueError(f"a table needs rows of the same videos, got {sorted(counts) or 'none'}")
    width = max(map(len, rows))
    head = f"{'A':>6}{'V':>6}{'AV':>6}{'Type':>6}{'':14}{'Event':>6}"
    lines = [
        f"{source}: {counts.pop()} {unit}; F in percent, in brackets {level:.0%} bootstrap intervals over {unit}",
        f"{'':{width}}{'segment level':>24}{'':20}  {'event level':>24}",
        f"{'':{width}}{head}  {head}",
    ]
    kinds = [SCORES.index(f"{prefix}_type") for prefix in LEVELS]
    for name, scores in rows.items():
        means = mean_scores(scores)
        ends = zip(*bootstrap_interval(100 * scores[:, kinds], level), strict=True)
        cells = []
        for prefix, (low, high) in zip(LEVELS, ends, strict=True):
            audio, visual, av, kind, event = (means[f"{prefix}_{what}"] for what in ASPECTS)
            cells.append(f"{audio:6.1f}{visual:6.1f}{av:6.1f}{kind:6.1f} [{low:5.1f},{high:5.1f}]{event:6.1f}")
        lines.append(f"{name:{width}}{'  '.join(cells)}")
    return "\n".join(lines)


def class_table(scores: ClassScores, classes: Sequence[str]) -> str:
    """Sets the scores of the classes out as plain text.

    Args:
        scores: Of `.class_scores`.
        classes: Names of the K classes.

    Returns:
        Lines of text; a dash where a class occurs in neither prediction nor truth.

    Raises:
        ValueError: There is not one name for each class.
    """
    if len(classes) != len(scores.f):
        raise ValueError(f"the scores are of {len(scores.f)} classes, but {len(classes)} are named")
    width = max(map(len, classes))
    names = f"{'A':>7}{'V':>7}{'AV':>7}"
    lines = [
        "F in percent of each class over all videos, and its events in prediction and truth",
        f"{'':{width}}{'segment level':>21}{'event level':>21}{'predicted':>21}{'true':>21}",
        f"{'':{width}}{names * 4}",
    ]
    for name, f, predicted, true in zip(classes, *(x.tolist() for x in scores), strict=True):
        line = "".join(f"{x:7.1f}" if x == x else f"{'-':>7}" for x in f)
        lines.append(f"{name:{width}}{line}{''.join(f'{x:7}' for x in predicted[3:] + true[3:])}")
    return "\n".join(lines)

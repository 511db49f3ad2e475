"""Scores of detection as Markdown tables: overall, by way of manipulation, by compression, and model beside model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import torch
from torch import Tensor

from mediakit.deepfake import metrics

VERDICTS = ("fake", "real", "undetermined")
"""What a detector may say."""
UNITS = ("video", "track", "window")
"""What a row may stand for."""
_RATES = (0.01, 0.05)


@dataclass(frozen=True)
class Scored:
    """What a detector said about one video, one track of one, or one window.

    Attributes:
        id: Which it is; with ``method`` and ``compression`` no other row is the same.
        label: 1 = fake, 0 = real.
        score: Probability of fake in [0, 1]; 0.5 where nothing is known.
        verdict: One of `VERDICTS`.
        method: How it was manipulated; not read of reals.
        compression: Such as ``"crf 23"`` or ``"c40"``.
        group: Whom the intervals are drawn over, such as the person; the id if empty.
        n_tracks: Faces that were followed.
        unknown: Mass of the unknown.
        conflict: Conflict K of the streams.
    """

    id: str
    label: int
    score: float
    verdict: str
    method: str = ""
    compression: str = ""
    group: str = ""
    n_tracks: int = 1
    unknown: float = 0.0
    conflict: float = 0.0

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"the verdict of {self.id} is {self.verdict!r}; it must be one of {', '.join(VERDICTS)}")


def against_reals(rows: Sequence[Scored], *methods: str) -> list[Scored]:
    """Fakes made in some ways, beside all reals: what a score by method is taken over."""
    return [row for row in rows if row.label == 0 or row.method in methods]


def tensors(rows: Sequence[Scored]) -> tuple[Tensor, Tensor, list[str]]:
    """Scores (N,) float64, labels (N,) int64 and groups of rows, as :mod:`mediakit.deepfake.metrics` takes them."""
    return (
        torch.tensor([row.score for row in rows], dtype=torch.double),
        torch.tensor([row.label for row in rows]),
        [row.group or row.id for row in rows],
    )


def summary(rows: Sequence[Scored]) -> dict[str, float]:
    """All scores of some rows.

    Args:
        rows: At least one.

    Returns:
        By name: ``auc``, ``eer``, ``ap``, ``tpr_at_1`` and ``tpr_at_5`` (percent of false positives), ``accuracy`` and
        ``balanced_accuracy`` (fake from a score of 0.5 on, undetermined or not), ``ece``, ``brier``, ``aurc``,
        ``coverage`` (share of rows with a verdict), ``risk`` (share of wrong verdicts among these), and the means of
        ``unknown`` and ``conflict``. All in [0, 1]; NaN where a class or every verdict is missing.

    Raises:
        ValueError: There are no rows, a row occurs twice, or a score or label is out of range.
    """
    _refuse_twice(rows)
    p, y, _ = tensors(rows)
    decided = [row for row in rows if row.verdict != "undetermined"]
    wrong = sum((row.verdict == "fake") != (row.label == 1) for row in decided)
    return {
        "auc": metrics.auc(p, y),
        "eer": metrics.equal_error_rate(p, y),
        "ap": metrics.average_precision(p, y),
        **{f"tpr_at_{rate:.0%}"[:-1]: metrics.true_positive_rate(p, y, rate) for rate in _RATES},
        "accuracy": metrics.accuracy(p, y),
        "balanced_accuracy": metrics.accuracy(p, y, balanced=True),
        "ece": metrics.expected_calibration_error(p, y),
        "brier": metrics.brier_score(p, y),
        "aurc": metrics.risk_coverage(p, y).area,
        "coverage": len(decided) / len(rows),
        "risk": wrong / len(decided) if decided else float("nan"),
        "unknown": sum(row.unknown for row in rows) / len(rows),
        "conflict": sum(row.conflict for row in rows) / len(rows),
    }


def score_table(
    rows: Sequence[Scored], source: str, unit: str = "video", level: float = 0.95, samples: int = 1000
) -> str:
    """Scores of one model as Markdown: over all rows, by method (its fakes against all reals), and by compression.

    Args:
        rows: One for each video, or for each track or window, as ``unit`` says.
        source: What was scored, as the first words.
        unit: One of `UNITS`. Windows and tracks of one video must share its ``group``.
        level: Of the intervals, by bootstrap over groups.
        samples: Draws of each interval.

    Returns:
        Three tables (ranking, probabilities, verdicts), and notes where there are too few reals or one class only.

    Raises:
        ValueError: As for :func:`summary`, or the unit is unknown.
    """
    if unit not in UNITS:
        raise ValueError(f"there is no unit {unit!r}; take one of {', '.join(UNITS)}")
    parts = _parts(rows)
    scores = {name: summary(part) for name, part in parts.items()}
    reals, fakes = (sum(row.label == label for row in rows) for label in (0, 1))
    groups = len(set(tensors(rows)[2]))
    ranking = [["", "reals", "fakes", f"AUC [{level:.0%}]", "EER", "AP", "TPR at FPR 1 %", "at 5 %"]]
    honesty = ("ece", "brier", "aurc", "unknown", "conflict")
    chances = [
        ["", "accuracy at 0.5", "balanced", "coverage", "risk", "ECE", "Brier", "AURC", "mean m(unknown)", "mean K"]
    ]
    verdicts = [["", *(f"{truth} called {verdict}" for truth in ("fake", "real") for verdict in VERDICTS)]]
    for name, part in parts.items():
        s, (p, y, group) = scores[name], tensors(part)
        real = int((y == 0).sum())
        interval = _interval(metrics.score_interval(metrics.auc, p, y, group, level, samples))
        rates = [_percent(s[f"tpr_at_{rate:.0%}"[:-1]]) + "*" * (0 < real * rate < 1) for rate in _RATES]
        counted = [str(real), str(len(part) - real), _number(s["auc"]) + interval, _percent(s["eer"])]
        ranking.append([name, *counted, _number(s["ap"]), *rates])
        shares = [_percent(s[score]) for score in ("accuracy", "balanced_accuracy", "coverage", "risk")]
        chances.append([name, *shares, *(_number(s[score]) for score in honesty)])
        said = Counter((row.label, row.verdict) for row in part)
        verdicts.append([name, *(str(said[label, verdict]) for label in (1, 0) for verdict in VERDICTS)])
    head = (
        f"{source}: {reals} real and {fakes} fake {unit}s of {groups} groups. "
        f"Intervals: bootstrap over groups. A method's fakes stand against all reals. "
        f"Coverage: share with a verdict; risk: share of wrong ones among these."
    )
    return "\n\n".join([head, *map(_markdown, (ranking, chances, verdicts)), *_notes(ranking, reals, fakes, unit)])


def comparison_table(
    models: Mapping[str, Sequence[Scored]], level: float = 0.95, samples: int = 1000, metric: str = "auc"
) -> str:
    """Models beside each other on the same rows, by compression, and how far each is from the first.

    The difference and its interval are paired: both models are read on the same draws of the groups, which is much
    sharper than two intervals side by side.

    Args:
        models: Rows of each model by its name; the first is what the others are compared with.
        level: Of the intervals.
        samples: Draws of each interval.
        metric: ``"auc"``, ``"eer"`` or ``"ap"``.

    Returns:
        One Markdown table.

    Raises:
        ValueError: As for :func:`summary`, the models were not scored on the same rows, or the metric is unknown.
    """
    known = {"auc": metrics.auc, "eer": metrics.equal_error_rate, "ap": metrics.average_precision}
    if metric not in known:
        raise ValueError(f"there is no metric {metric!r} to compare by; take one of {', '.join(known)}")
    score = known[metric]
    ordered = {name: sorted(rows, key=_key) for name, rows in models.items()}
    if not ordered or len({tuple((*_key(row), row.label) for row in rows) for rows in ordered.values()}) > 1:
        raise ValueError(f"models can be compared on the same rows only: {', '.join(models) or 'there are none'}")
    first, *_ = ordered.values()
    _refuse_twice(first)
    _, labels, groups = tensors(first)
    compressions = sorted({row.compression for row in first} - {""}, key=_natural)
    table = [["", *([] if len(compressions) < 2 else compressions), f"all [{level:.0%}]", "less the first"]]
    reference = tensors(first)[0]
    for number, (name, rows) in enumerate(ordered.items()):
        p, _, _ = tensors(rows)
        cells = [name]
        for compression in compressions if len(compressions) > 1 else ():
            chosen = torch.tensor([row.compression == compression for row in rows])
            cells.append(_number(score(p[chosen], labels[chosen])))
        cells.append(
            _number(score(p, labels)) + _interval(metrics.score_interval(score, p, labels, groups, level, samples))
        )
        cells.append("")
        if number:

            def gap(pair: Tensor, y: Tensor) -> float:
                return score(pair[:, 0], y) - score(pair[:, 1], y)

            pair = torch.stack([p, reference], 1)
            cells[-1] = f"{gap(pair, labels):+.3f}" + _interval(
                metrics.score_interval(gap, pair, labels, groups, level, samples)
            )
        table.append(cells)
    return f"{metric.upper()}\n\n{_markdown(table)}"


def _parts(rows: Sequence[Scored]) -> dict[str, list[Scored]]:
    """All rows, then those of each method, of each compression, and of one face or several, where these differ."""
    parts = {"all": list(rows)}
    methods = sorted({row.method for row in rows if row.label == 1} - {""}, key=_natural)
    compressions = sorted({row.compression for row in rows} - {""}, key=_natural)
    if len(methods) > 1:
        parts |= {f"method {method}": against_reals(rows, method) for method in methods}
    if len(compressions) > 1:
        parts |= {f"compression {c}": [row for row in rows if row.compression == c] for c in compressions}
    alone = [row for row in rows if row.n_tracks == 1]
    if 0 < len(alone) < len(rows):  # the most suspect face decides, so more faces raise more false alarms
        parts |= {"one face": alone, "several faces or none": [row for row in rows if row.n_tracks != 1]}
    return parts


def _notes(ranking: list[list[str]], reals: int, fakes: int, unit: str) -> list[str]:
    notes = []
    if not (reals and fakes):
        notes.append(
            f"There are only {'fakes' if fakes else 'reals'}: what compares the two classes cannot be told (-)."
        )
    elif any("-" in row[3:] for row in ranking):
        notes.append("- stands where a part holds one class only.")
    if any(cell.endswith("*") for row in ranking for cell in row):
        notes.append(
            f"\\* Too few real {unit}s for this rate, which then allows no false alarm at all (1 % takes 100 reals, "
            f"5 % takes 20): one real with a high score moves the number far."
        )
    return notes


def _key(row: Scored) -> tuple[str, str, str]:
    return row.id, row.method, row.compression


def _refuse_twice(rows: Sequence[Scored]) -> None:
    # A known bench merges videos of one name that were manipulated in different ways; what occurs twice counts twice.
    twice = [key for key, count in Counter(map(_key, rows)).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} rows occur more than once, the first is {' / '.join(filter(None, twice[0]))}")


def _natural(name: str) -> tuple[str, float, str]:
    """Sorts "crf 5" before "crf 23"."""
    letters = name.rstrip("0123456789")
    return letters, float(name[len(letters) :] or -1), name


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f} %"


def _interval(ends: tuple[float, float]) -> str:
    return "" if isnan(ends[0]) else f" [{ends[0]:.3f}, {ends[1]:.3f}]"


def _markdown(table: list[list[str]]) -> str:
    """The first row is the head; names to the left, numbers to the right, columns aligned in plain text too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in table
    ]
    rule = "|" + "|".join(("-" * (w + 1) + ":") if k else "-" * (w + 2) for k, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])

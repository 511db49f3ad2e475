"""The table of an ablation: means over seeds, intervals, paired differences; as text, Markdown and plain values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mediakit.errors import require
from mediakit.parsing.error_ladder import FILTERED, MENDED, SPREAD, error_shares
from mediakit.parsing.metrics import ASPECTS, PROTOCOLS, SCORES
from mediakit.text_tables import Cells

REFERENCE = "MM-CSE"
"""Row that the others are compared with."""
EXPLAINED = ("HAN", "HAN + pseudo-labels", REFERENCE)
"""Rows whose errors are taken apart."""
_SHORT = {"audio": "A", "visual": "V", "av": "AV", "type": "Type", "event": "Event"}
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""What `mediakit.parsing.ablation.run.train_run` gave, by row and seed."""


class Mean(NamedTuple):
    """A mean over seeds and half of its interval, which is None where there is one value."""

    mean: float
    half: float | None
    values: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if self.half is None else f" ± {self.half:.1f}")


def mean_interval(values: Sequence[float], level: float = 0.95) -> Mean:
    """Mean with its interval by Student's t.

    Args:
        values: One a seed; differences of two rows on the same seeds make the interval a paired one.
        level: Share of intervals that hold the true mean, in (0, 1).

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("there are no values to take the mean of")
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Mean(mean, None, 1)
    quantile = require("scipy.stats", "Intervals over seeds").t.ppf((1 + level) / 2, count - 1)
    return Mean(mean, float(quantile) * statistics.stdev(values) / math.sqrt(count), count)


def summarise(results: Results, protocol: str) -> dict[str, Any]:
    """Means over seeds of everything that runs measure, as plain values.

    Args:
        results: Of the runs.
        protocol: Under which the ten scores and the errors stand.

    Returns:
        By row: ``scores`` (the ten), ``difference`` (the ten, minus those of `REFERENCE` on the same seeds; without
        where there are none), ``protocols`` (segment Type@AV under each), ``errors`` (segment Type@AV by row of the
        error ladder), ``shares`` (points lost to class, modality, boundary), ``best_epoch``, ``parameters``,
        ``seconds``, ``cpu_seconds``, ``seeds``. Each mean is ``[mean, half of its interval, number of values]``.
    """
    return {row: _summary(runs, results.get(REFERENCE, {}), protocol) for row, runs in results.items() if runs}


def _summary(
    runs: Mapping[int, Mapping[str, Any]], reference: Mapping[int, Mapping[str, Any]], protocol: str
) -> dict[str, Any]:
    found = list(runs.values())
    shared = sorted(runs.keys() & reference.keys())
    shares = [error_shares(run["errors"]) for run in found]

    def difference(score: str) -> list[float]:
        return [runs[s]["test"][protocol][score] - reference[s]["test"][protocol][score] for s in shared]

    return {
        "scores": {score: mean_interval([run["test"][protocol][score] for run in found]) for score in SCORES},
        "difference": {score: mean_interval(difference(score)) for score in SCORES} if shared else {},
        "protocols": {name: mean_interval([run["test"][name]["segment_type"] for run in found]) for name in PROTOCOLS},
        "errors": {
            name: mean_interval([run["errors"][name]["segment_type"] for run in found]) for name in found[0]["errors"]
        },
        "shares": {name: mean_interval([share[name] for share in shares]) for name in shares[0]},
        "best_epoch": mean_interval([run["best_epoch"] for run in found]),
        "parameters": found[0]["parameters"],
        "seconds": mean_interval([run["seconds"] for run in found]),
        "cpu_seconds": mean_interval([run["cpu_seconds"] for run in found]),
        "seeds": sorted(runs),
    }


def ablation_tables(
    summary: Mapping[str, Any], references: Mapping[str, Mapping[str, Mean]], tuning: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, list[str], Cells]]:
    """The tables as cells: scores, protocols, errors, tuning.

    Args:
        summary: Of `summarise`.
        references: Mean scores, by name, of what is not trained: oracles, pseudo-labels.
        tuning: By family ``trials`` (validation score, or None, by setting) and ``chosen`` (a setting).

    Returns:
        Title, heads of the columns and lines of each.
    """
    heads = [f"{level} {_SHORT[aspect]}" for level in ("seg.", "evt.") for aspect in ASPECTS]
    lines: Cells = [(name, [f"{found[s].mean:.1f}" for s in SCORES] + [""] * 5) for name, found in references.items()]
    for row, found in summary.items():
        gap = found["difference"].get("segment_type")
        told = "" if gap is None or row == REFERENCE else ("+" if gap.mean > 0 else "") + str(gap)
        costs = [f"{found[name].mean:.0f}" for name in ("best_epoch", "cpu_seconds")]
        costs += [f"{found['parameters']:,}", str(len(found["seeds"]))]
        scores = found["scores"]
        cells = [str(scores[s]) if s.endswith("_type") else f"{scores[s].mean:.1f}" for s in SCORES]
        lines.append((row, [*cells, told, *costs]))
    tables = [("Scores", [*heads, f"Type - {REFERENCE}", "epoch", "CPU s", "parameters", "seeds"], lines)]
    protocols: Cells = [(row, [str(found["protocols"][name]) for name in PROTOCOLS]) for row, found in summary.items()]
    tables.append(("Segment Type@AV under each protocol", [*PROTOCOLS], protocols))
    explained = [row for row in EXPLAINED if row in summary]
    if explained:
        steps = ("as predicted", *SPREAD, *FILTERED, *MENDED)
        errors: Cells = [(step, [str(summary[row]["errors"][step]) for row in explained]) for step in steps]
        errors += [
            (f"lost to {name}", [str(summary[row]["shares"][name]) for row in explained])
            for name in ("class", "modality", "boundary")
        ]
        errors += [
            (f"oracle: {name}", [f"{found['segment_type'].mean:.1f}"] * len(explained))
            for name, found in references.items()
        ]
        tables.append(("What the errors are, segment Type@AV", explained, errors))
    settings = list(dict.fromkeys(s for found in tuning.values() for s in found["trials"]))
    if settings:
        tables.append(
            ("Tuning: best segment Type@AV on the validation split, one seed", settings, _trials(tuning, settings))
        )
    return tables


def _trials(tuning: Mapping[str, Mapping[str, Any]], settings: Sequence[str]) -> Cells:
    def cell(found: Mapping[str, Any], setting: str) -> str:
        score = found["trials"].get(setting)
        return "-" if score is None else f"{score:.1f}" + " (taken)" * (setting == found["chosen"])

    return [(family, [cell(found, setting) for setting in settings]) for family, found in tuning.items()]

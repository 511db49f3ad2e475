"""What the page of ``mediakit demo`` says of a detector: a pair of films that it judges, and how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mediakit.deepfake.metrics import auc, score_interval
from mediakit.deepfake.result import DeepfakeResult
from mediakit.deepfake.scoreboard import Scored, against_reals, tensors
from mediakit.deepfake.section import deepfake_section
from mediakit.deepfake.trial import BASELINE, Trial
from mediakit.synthetic.twins import PIXEL_KINDS, TRAJECTORY_KINDS
from mediakit.trials import MODEL

_WORDS = {
    MODEL: "three small Transformers on the motion of the landmarks",
    BASELINE: "how far and how fast each of them moves in a window",
}
_COLUMNS = {
    "all kinds": (*TRAJECTORY_KINDS, *PIXEL_KINDS),
    "motion manipulated": TRAJECTORY_KINDS,
    "picture manipulated": PIXEL_KINDS,
}


def trial_section(genuine: DeepfakeResult, manipulated: DeepfakeResult, trial: Trial) -> dict[str, Any]:
    """The section as plain values for ``gallery.html``.

    Args:
        genuine: What the detector says of a genuine film.
        manipulated: What it says of its manipulated twin.
        trial: How good it is.
    """
    rows = trial.rows[MODEL]
    fakes = {name: [row for row in rows if row.label and row.method in kinds] for name, kinds in _COLUMNS.items()}
    return {
        "pair": [
            ("genuine", deepfake_section(genuine, "")),
            ("manipulated", deepfake_section(manipulated, "")),
        ],
        "people": trial.people,
        "epochs": trial.epochs,
        "checkpoint": trial.checkpoint.name,
        "genuine": sum(row.label == 0 for row in rows),
        "columns": [(name, len(found)) for name, found in fakes.items()],
        "rows": [
            (name, _WORDS[name], [area(against_reals(scored, *kinds)) for kinds in _COLUMNS.values()])
            for name, scored in trial.rows.items()
        ],
        "said": [
            (what, Counter(row.verdict for row in rows if row.label == label))
            for label, what in ((0, "genuine"), (1, "manipulated"))
        ],
    }


def area(rows: Sequence[Scored]) -> tuple[float, float, float]:
    """Area under the curve and the ends of its 95 % bootstrap interval over people; NaN where a class is missing."""
    scores, labels, people = tensors(rows)
    return auc(scores, labels), *score_interval(auc, scores, labels, people)

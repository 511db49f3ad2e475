"""What the page of ``mediakit demo`` says of a colorizer: a scene that it colours, and how much the sound is worth."""

from __future__ import annotations

from typing import Any

from mediakit.colorize.result import Coloring, notice
from mediakit.colorize.scoreboard import WAYS
from mediakit.colorize.trial import ColoredScene, Trial
from mediakit.intervals import bootstrap_interval

_TOLD = {
    "oracle": "guided by the colour picture itself",
    "right": "guided by its own sound",
    "none": "guided by nothing",
    "wrong": "guided by the sound of another group",
    "sibling": "guided by the sound of another class of its group",
    "gray": "left gray",
}


def trial_section(scene: ColoredScene, trial: Trial) -> dict[str, Any]:
    """The section as plain values for ``gallery.html``; its pictures are tensors yet.

    Args:
        scene: A film that the colorizer has coloured.
        trial: How good it is.
    """
    scores, (right, none, wrong) = trial.scores, (scene.stills[way] for way in ("right", "none", "wrong"))
    return {
        "notice": notice(tuple(shot.guided for shot in scene.film.shots)),
        "pictures": [
            ("gray", "what it is given", scene.before),
            ("own", f"with its own sound, {_believed(right)}", right.rgb),
            ("none", "without sound", none.rgb),
            ("wrong", f"with the sound of {scene.other}, {_believed(wrong)}", wrong.rgb),
            ("truth", "as it was", scene.truth),
        ],
        "films": trial.films,
        "epochs": trial.epochs,
        "checkpoint": trial.checkpoint.name,
        "rows": [_row(trial, way) for way in WAYS if len(scores.errors(way))],
        "auc": scores.relevance_auc(),
        "gain": scores.ratio("right", "none"),
        "cost": scores.ratio("wrong", "none") if len(scores.errors("wrong")) else None,
    }


def _believed(coloring: Coloring) -> str:
    return f"believed to {coloring.guided.relevance:.0%}"


def _row(trial: Trial, way: str) -> tuple[str, int, float, tuple[float, float], str]:
    """What a way is, its number of films, mean error and interval, and how far it was believed."""
    scores = trial.scores
    errors = scores.errors(way)
    low, high = bootstrap_interval(errors)
    believed = [row["relevance"][way] for row in scores.rows if way in row["relevance"]]
    known = believed and way not in ("none", "gray")
    return (
        _TOLD[way],
        len(errors),
        float(errors.mean()),
        (float(low), float(high)),
        f"{sum(believed) / len(believed):.0%}" if known else "",
    )

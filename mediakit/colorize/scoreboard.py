"""Does the sound matter? Scores of one test under guidance by picture, right sound, no sound and wrong sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mediakit.colorize.color import join
from mediakit.colorize.metrics import ColorScore
from mediakit.intervals import bootstrap_interval
from mediakit.text_tables import Cells, as_markdown, as_text

WAYS = {
    "oracle": "colour picture (oracle)",
    "right": "right sound",
    "none": "no sound",
    "wrong": "wrong sound, another group's",
    "sibling": "wrong sound, same group",
    "gray": "gray picture",
}
"""Ways to colour, by name, and how a table calls them. ``sibling`` is the sound of another class of the same group,
which gray cannot tell from the right one."""
_SCORES = ("psnr", "ssim", "ciede2000", "colorfulness")


class Trial:
    """Gathers what each way makes of each picture.

    Attributes:
        rows: One for each picture: ``ab_mae`` and ``relevance`` by way, only where the way applies, and what it is of.
        labels: Names of the classes.
        groups: Names of the groups; as many as classes, or none, where the data knows no groups.
    """

    def __init__(self, labels: Sequence[str] = (), groups: Sequence[str] = ()) -> None:
        self.labels, self.groups = tuple(labels), tuple(groups)
        self.rows: list[dict[str, Any]] = []
        self._scores: dict[str, ColorScore] = {}

    def add(
        self,
        batch: Mapping[str, Any],
        rgb: Tensor,
        lab: Tensor,
        ab: Mapping[str, Tensor],
        relevance: Mapping[str, Tensor],
        valid: Mapping[str, Tensor],
    ) -> None:
        """Adds a batch.

        Args:
            batch: With ``id``, ``label`` and ``group``.
            rgb: True pictures, (B, 3, H, W) in [0, 1].
            lab: The same in Lab.
            ab: What each way gives, (B, 2, H, W).
            relevance: How far each believed what it was given, (B,).
            valid: Pictures that each way applies to, bool (B,); all where it is not named.
        """
        everyone = torch.ones(len(rgb), dtype=torch.bool, device=rgb.device)
        truth = lab[:, 1:]
        ways = {**ab, "gray": torch.zeros_like(truth)}
        errors = {way: (found - truth).abs().mean((1, 2, 3)).tolist() for way, found in ways.items()}
        believed = {way: values.tolist() for way, values in relevance.items()}
        kept = {way: valid.get(way, everyone) for way in ways}
        for n, name in enumerate(batch["id"]):
            applies = [way for way in ways if bool(kept[way][n])]
            self.rows.append(
                {
                    "id": name,
                    "label": int(batch["label"][n]),
                    "group": int(batch["group"][n]),
                    "ab_mae": {way: errors[way][n] for way in applies},
                    "relevance": {way: believed[way][n] for way in applies if way in believed},
                }
            )
        for way, found in ab.items():
            if bool(kept[way].any()):
                score = self._scores.setdefault(way, ColorScore().to(rgb.device))
                score.update(join(lab[kept[way], :1], found[kept[way]]), rgb[kept[way]])

    def errors(self, way: str) -> Tensor:
        """Mean absolute error of a and b of the pictures that a way applies to, float64 (N,)."""
        return torch.tensor([row["ab_mae"][way] for row in self.rows if way in row["ab_mae"]], dtype=torch.float64)

    def ratio(self, way: str, other: str) -> tuple[float, float, float]:
        """Mean error of a way divided by that of another on the same pictures, and its 95 % interval over pictures."""
        pairs = [row["ab_mae"] for row in self.rows if way in row["ab_mae"] and other in row["ab_mae"]]
        values = torch.tensor([[pair[way], pair[other]] for pair in pairs], dtype=torch.float64)
        draw = torch.Generator().manual_seed(0)
        picks = torch.randint(len(values), (1000, len(values)), generator=draw)
        means = values[picks].mean(1)
        ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
        low, high = (means[:, 0] / means[:, 1]).quantile(ends).tolist()
        first, second = values.mean(0).tolist()
        return first / second, low, high

    def relevance_auc(self) -> float:
        """Chance that the right sound of a picture is believed more than a wrong one; NaN without both."""
        right, wrong = (
            torch.tensor([row["relevance"][way] for row in self.rows if way in row["relevance"]])
            for way in ("right", "wrong")
        )
        return relevance_auc(right, wrong)

    def ceiling(self) -> float:
        """The best AUC that gray allows for wrong sounds *drawn at random*; those drawn from other groups allow 1."""
        classes = {row["label"] for row in self.rows if row["label"] >= 0}
        groups = {row["group"] for row in self.rows if row["group"] >= 0}
        if len(classes) < 2 or not groups:
            return 1.0
        return 1 - (len(classes) / len(groups) - 1) / (2 * (len(classes) - 1))

    def summary(self) -> dict[str, float]:
        """Scores by name: ``ab_mae_right`` and so on, and the AUC of the relevance."""
        found = {f"ab_mae_{way}": float(self.errors(way).mean()) for way in WAYS if len(self.errors(way))}
        if len(self.errors("wrong")):
            found["relevance_auc"] = self.relevance_auc()
        return found

    def per_class(self) -> list[tuple[str, int, dict[str, float]]]:
        """Name, number of pictures, and mean error by way of each class."""
        found = []
        for number in sorted({row["label"] for row in self.rows if row["label"] >= 0}):
            rows = [row["ab_mae"] for row in self.rows if row["label"] == number]
            ways = [way for way in WAYS if all(way in row for row in rows)]
            means = {way: sum(row[way] for row in rows) / len(rows) for way in ways}
            name = self.labels[number] if number < len(self.labels) else str(number)
            found.append((name, len(rows), means))
        return found

    def verdict(self) -> str:
        """Whether the sound matters, in words."""
        better, low, high = self.ratio("right", "none")
        told = f"right sound has {1 - better:.1%} [{1 - high:.1%}, {1 - low:.1%}] less error than no sound"
        if high < 1:
            return f"The sound matters: {told}."
        return f"No sign that the sound matters: {told}."

    def table(self, source: str = "test split", markdown: bool = False) -> str:
        """Tables for people."""
        form = as_markdown if markdown else as_text
        lines: Cells = []
        for way, told in WAYS.items():
            errors = self.errors(way)
            if not len(errors):
                continue
            least, most = bootstrap_interval(errors)
            cells = [str(len(errors)), f"{errors.mean():.2f} [{least:.2f}, {most:.2f}]", *self._others(way)]
            lines.append((told, cells))
        heads = ["n", "ab-MAE [95 %]", "PSNR", "SSIM", "CIEDE2000", "colourful", "relevance"]
        parts = [form(f"{source}, {len(self.rows)} pictures", heads, lines)]
        if len(self.errors("right")):
            parts.append(self.verdict())
        if len(self.errors("wrong")):
            worse, low, high = self.ratio("wrong", "none")
            parts.append(
                f"relevance of right against wrong sound: AUC {self.relevance_auc():.3f} (ceiling 1.000 for sounds of "
                f"other groups, {self.ceiling():.3f} for sounds drawn at random); "
                f"wrong sound costs {worse - 1:+.1%} [{low - 1:+.1%}, {high - 1:+.1%}] against no sound"
            )
        classes = self.per_class()
        if len(classes) > 1 and "right" in classes[0][2]:
            rows = sorted(classes, key=lambda row: row[2]["right"] - row[2]["none"])
            lines = [
                (
                    name,
                    [
                        str(n),
                        *(f"{e[way]:.1f}" for way in ("none", "right", "oracle")),
                        f"{e['none'] - e['right']:.1f}",
                    ],
                )
                for name, n, e in rows
            ]
            parts.append(form("class", ["n", "no sound", "right sound", "oracle", "gain"], lines))
        return "\n\n".join(parts)

    def _others(self, way: str) -> list[str]:
        """PSNR, SSIM, CIEDE2000, colourfulness and relevance of a way, as text."""
        if way == "gray":
            score = self._scores["none"].compute()
            found = [score[f"gray_{name}"] for name in _SCORES]
        else:
            score = self._scores[way].compute()
            found = [score[name] for name in _SCORES]
        believed = [row["relevance"][way] for row in self.rows if way in row["relevance"]]
        told = f"{sum(believed) / len(believed):.2f}" if believed and way not in ("none", "gray") else "-"
        return [f"{found[0]:.2f}", f"{found[1]:.3f}", f"{found[2]:.2f}", f"{found[3]:.1f}", told]


def relevance_auc(right: Tensor, wrong: Tensor) -> float:
    """Chance that a right pair is believed more than a wrong one, ties counting half; NaN without both.

    Args:
        right: Relevance, or its logit, of right pairs, (N,).
        wrong: Likewise of wrong ones, (M,).
    """
    if not len(right) or not len(wrong):
        return float("nan")
    difference = right[:, None].double() - wrong[None].double()
    return float((difference > 0).double().mean() + (difference == 0).double().mean() / 2)

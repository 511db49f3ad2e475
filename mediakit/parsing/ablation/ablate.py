"""``mediakit ablate parsing``: MM-CSE, HAN, and MM-CSE with each block and each loss off, over several seeds.

Rows share data and seeds, so that differences are paired. HAN (weak labels alone), HAN with pseudo-labels (what VALOR,
NeurIPS 2023, does) and MM-CSE are each tuned on the same grid, by the validation split; what is taken off MM-CSE keeps
MM-CSE's setting.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mediakit.errors import MediakitError
from mediakit.io import write_text
from mediakit.io.files import StrPath
from mediakit.jobs import JobError, run_jobs
from mediakit.ledger import claimed, sweep, write_json
from mediakit.parsing.ablation.run import Run, open_data, reference_scores, train_run
from mediakit.parsing.ablation.table import (
    REFERENCE,
    Mean,
    ablation_tables,
    mean_interval,
    summarise,
)
from mediakit.parsing.metrics import PROTOCOLS, SCORES
from mediakit.text_tables import as_markdown, as_text

TUNED: dict[str, dict[str, Any]] = {
    "HAN": {"network": "han", "objective": "han"},
    "HAN + pseudo-labels": {"network": "han"},
    REFERENCE: {},
}
"""Variants that are tuned, as arguments of `.ParsingModule`."""

WITHOUT: dict[str, dict[str, Any]] = {
    "without CAFD": {"decoupling": False},  # and so without background, reconstruction and orthogonality
    "without background fusion": {"background": False},
    "without SECM": {"secm": False},  # and so without the loss on its maps
    "without LGSF": {"lgsf": False},
    "without FGSE": {"layers": 0},
    "without segment losses": {"segment_weight": 0.0},
    "without reconstruction": {"reconstruction_weight": 0.0},
    "without orthogonality": {"orthogonality_weight": 0.0},
    "without co-occurrence loss": {"cooccurrence_weight": 0.0},
}
"""MM-CSE with something off."""

ROWS = (*TUNED, *WITHOUT)
"""Names of all variants, in the table's order."""


@dataclass(frozen=True)
class Size:
    """How large the runs are.

    Attributes:
        mmcse: Arguments of `.ParsingModule` for MM-CSE and what is left of it.
        han: The same for HAN.
        data: Arguments of `.SimulatedDataModule`.
        epochs: Of training.
        rates: Learning rates to tune over.
        schedule: Of the learning rate.
    """

    mmcse: Mapping[str, Any]
    han: Mapping[str, Any]
    data: Mapping[str, Any]
    epochs: int
    rates: tuple[float, ...]
    schedule: str


SIZES = {
    # At LLP-sim's own difficulty so few clips leave no room above the weak labels, so the features are cleaner. MM-CSE
    # starts slowly: with half as many steps it is still rising, and everything would measure that.
    "small": Size(
        mmcse={"hidden": 64, "heads": 2, "layers": 1},
        han={"hidden": 128},  # twice MM-CSE's, as in the papers
        data={"train": 800, "val": 200, "noise": 0.1, "instance_spread": 0.1, "background": 0.1},
        epochs=12,
        rates=(1e-3, 2e-3, 4e-3, 8e-3),
        schedule="step",
    ),
    "paper": Size(mmcse={}, han={}, data={}, epochs=60, rates=(1e-4, 3e-4, 1e-3), schedule="step"),
}


def ablate_parsing(
    out: StrPath,
    size: Literal["small", "paper"] | Size = "small",
    *,
    labels: str | None = None,
    features: str | None = None,
    pseudo_labels: str | None = None,
    seeds: int = 3,
    rows: Sequence[str] = ROWS,
    protocol: str = "mmcse",
    tune_all: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> str:
    """Trains every variant on every seed, and sets the results side by side.

    Writes ``runs/*.json`` as runs end, and at the end ``table.txt``, ``table.md`` and ``results.json``. What is done is
    not done again: an interrupted call goes on, and one with more seeds or rows adds them.

    Args:
        out: Folder to write to.
        size: ``"small"`` (800 clips, a small network, cleaner features), ``"paper"`` (LLP's 10,000 clips, the full
            network and recipe), or one of one's own.
        labels: Folder of LLP's annotation files; None draws labels.
        features: Folder of real features, see `.ParsingDataModule`; needs ``labels`` and ``pseudo_labels``. None draws
            features (LLP-sim).
        pseudo_labels: Folder of pseudo-labels for real features.
        seeds: How many; 0, 1, and so on. Each draws features, weights and order anew.
        rows: Variants, of `ROWS`; those that are tuned come first in any case, as far as they are asked for.
        protocol: Filter of the main scores, and of the choice of the best epoch, for all rows alike; see `.decide`.
        tune_all: Whether what is taken off MM-CSE is tuned, too, instead of keeping MM-CSE's learning rate. A smaller
            network often wants a larger one, so that a block which is off can cost more than the block is worth.
        workers: Processes, each with one thread.
        progress: Whether to tell on stderr what is done.

    Returns:
        The tables as plain text.

    Raises:
        MediakitError: The data cannot be used, the folder holds runs of other settings, or runs failed.
    """
    root, plan = Path(out), _plan(size)
    if unknown := [row for row in rows if row not in ROWS]:
        raise MediakitError(f"there is no variant {unknown[0]!r}; take some of {', '.join(ROWS)}.")
    if seeds < 1 or protocol not in PROTOCOLS:
        raise MediakitError(f"seeds must be 1 or more, protocol one of {', '.join(PROTOCOLS)}: {seeds}, {protocol!r}.")
    rows = [row for row in ROWS if row in rows]
    data = _data(plan, labels, features, pseudo_labels)
    settings = {
        "data": data,
        "epochs": plan.epochs,
        "rates": list(plan.rates),
        "schedule": plan.schedule,
        "protocol": protocol,
        "mmcse": dict(plan.mmcse),
        "han": dict(plan.han),
    }
    with claimed(root):
        sweep(root, ("runs",))
        _compare(root / "settings.json", settings)
        references, source, videos = _references(data, seeds)
        write_json(root / "settings.json", settings)
        ablation = _Ablation(root, plan, data, protocol, workers, progress)
        families = [name for name in TUNED if name in rows or (name == REFERENCE and {*rows} & {*WITHOUT})]
        families = rows if tune_all else families
        tuning = ablation.tune(families)
        results = ablation.train(rows, {name: float(found["chosen"]) for name, found in tuning.items()}, range(seeds))
        summary = summarise(results, protocol)
        head = (
            f"{source}\n{videos} test videos; protocol {protocol!r}, best of {plan.epochs} epochs by the "
            f"validation split; F in percent, mean ± half of the 95 % interval over {seeds} seeds (Student's t)"
        )
        tables = ablation_tables(summary, references, tuning)
        text = "\n\n".join([head, *(as_text(*table) for table in tables)]) + "\n"
        write_text(root / "table.txt", text)
        write_text(root / "table.md", "\n\n".join([head, *(as_markdown(*table) for table in tables)]) + "\n")
        write_json(
            root / "results.json",
            {"source": source, "videos": videos, "rows": summary, "references": references, "tuning": tuning},
        )
    return text


def _plan(size: str | Size) -> Size:
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise MediakitError(f"there is no size {size!r}; take {' or '.join(SIZES)}.")
    return SIZES[size]


def _data(plan: Size, labels: str | None, features: str | None, pseudo_labels: str | None) -> dict[str, Any]:
    if features is None:
        if pseudo_labels is not None:
            raise MediakitError("pseudo_labels go with features; without features they are drawn.")
        return {**plan.data, "labels": labels}
    if labels is None or pseudo_labels is None:
        raise MediakitError("features need labels and pseudo_labels: name their folders, too.")
    return {"features": features, "labels": labels, "pseudo_labels": pseudo_labels}


def _compare(file: Path, settings: dict[str, Any]) -> None:
    """Makes sure that what is there was made with these settings."""
    settings = json.loads(json.dumps(settings))
    found = _read(file) or settings
    for key, value in settings.items():
        if found.get(key) != value:
            raise MediakitError(
                f"{file.parent}: the runs there have {key} {found.get(key)}, but {value} is asked for. "
                "Name another folder."
            )


def _references(data: Mapping[str, Any], seeds: int) -> tuple[dict[str, dict[str, Mean]], str, int]:
    """Mean scores of what needs no training, what the data is, and how many test videos there are.

    Bad data is found here, before the first run.
    """
    # Real features are the same for all seeds; of drawn ones only the test split's labels and pseudo-labels differ.
    first = open_data(data, 0)
    first.setup("fit")
    modules = [first, *(open_data(data, seed) for seed in range(1, 1 if "features" in data else seeds))]
    for module in modules:
        module.setup("test")
    found = [reference_scores(module) for module in modules]
    count, source = len(first.test_dataloader().dataset), re.sub(r", seed \d+", "", first.source)  # type: ignore[arg-type]
    means = {name: {s: mean_interval([row[name][s] for row in found]) for s in SCORES} for name in found[0]}
    return means, source, count


class _Ablation:
    """The runs of a folder."""

    def __init__(
        self, root: Path, plan: Size, data: Mapping[str, Any], protocol: str, workers: int, progress: bool
    ) -> None:
        self.root, self.plan, self.data, self.protocol = root, plan, data, protocol
        self.workers, self.progress = workers, progress

    def run(self, row: str, rate: float, seed: int) -> Run:
        """What a run is."""
        options = TUNED[row] if row in TUNED else WITHOUT[row]
        own = self.plan.han if options.get("network") == "han" else self.plan.mmcse
        common = {"lr": rate, "schedule": self.plan.schedule, "protocol": self.protocol}
        return Run(row, seed, {**common, **own, **options}, self.data, self.plan.epochs)

    def path(self, run: Run) -> Path:
        """Its file."""
        name = re.sub(r"[^a-z]+", "-", run.row.lower())
        return self.root / "runs" / f"{name}-{run.model['lr']:g}-{run.seed}.json"

    def tune(self, families: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Tries the learning rates of each family on the first seed; a trial that diverges is lost."""
        trials = {(name, rate): self.run(name, rate, 0) for name in families for rate in self.plan.rates}
        found = self._do(list(trials.values()), "tuning", lost=True)
        tuned: dict[str, dict[str, Any]] = {}
        for name in families:
            scores: dict[str, float | None] = {}
            for rate in self.plan.rates:
                result = found[self.path(trials[name, rate])]
                scores[f"{rate:g}"] = max(result["val"]) if "val" in result else None
            known = [(score, rate) for rate, score in scores.items() if score is not None]
            if not known:
                raise MediakitError(f"{name} could be trained with none of the learning rates {', '.join(scores)}.")
            tuned[name] = {"trials": scores, "chosen": max(known)[1]}
        return tuned

    def train(
        self, rows: Sequence[str], rates: Mapping[str, float], seeds: Sequence[int]
    ) -> dict[str, dict[int, dict[str, Any]]]:
        """All rows on all seeds, seed by seed, so that what is done of an interrupted table is whole rows."""
        runs = [self.run(row, rates.get(row, rates.get(REFERENCE, 0.0)), seed) for seed in seeds for row in rows]
        found = self._do(runs, "table")
        return {row: {run.seed: found[self.path(run)] for run in runs if run.row == row} for row in rows}

    def _do(self, runs: Sequence[Run], what: str, *, lost: bool = False) -> dict[Path, dict[str, Any]]:
        """Results of runs, those of earlier calls read from their files."""
        found = {path: result for path in map(self.path, runs) if (result := _read(path)) is not None}
        missing = [run for run in runs if self.path(run) not in found]
        failed: list[str] = []
        for number, (run, outcome) in enumerate(run_jobs(train_run, missing, workers=self.workers), 1):
            if isinstance(outcome, JobError) and (not lost or outcome.kind != "error"):
                failed.append(f"{run.row}, seed {run.seed}: {outcome.problem}")
                continue
            done = {"problem": outcome.problem} if isinstance(outcome, JobError) else outcome
            found[self.path(run)] = done
            write_json(self.path(run), {"row": run.row, "seed": run.seed, "model": dict(run.model), **done})
            self._tell(f"{what} {number}/{len(missing)}: {run.row}, lr {run.model['lr']:g}, seed {run.seed}", done)
        if failed:
            raise MediakitError(f"{len(failed)} runs failed; the same command tries them again. {failed[0]}")
        return found

    def _tell(self, text: str, result: Mapping[str, Any]) -> None:
        if self.progress:
            end = result.get("problem") or f"val {max(result['val']):.1f}, {result['seconds']:.0f} s"
            print(f"{text}: {end}", file=sys.stderr, flush=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # not done, or damaged: done again
        return None

"""Trains the detector without fakes on generated heads and tests it on manipulated ones at three rates of compression.

    python benchmarks/deepfake_corpus.py --out heads --workers 2
    python benchmarks/deepfake_heads.py heads --out results [--seeds 3] [--only full lrnet]

Training and validation use genuine heads and pseudo-fakes made in landmark space; the test films show other people,
and two of their seven kinds of manipulation happen in the pixels and resemble no pseudo-fake. Every variant sees the
same views, is trained equally long, and keeps the epoch with the best validation AUC (over pseudo-fakes). Each run is
kept as ``NAME-SEED.json`` and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mediakit.deepfake import metrics
from mediakit.deepfake.data import DeepfakeDataModule, WindowDataset
from mediakit.deepfake.module import DeepfakeModule
from mediakit.deepfake.scoreboard import Scored, score_table
from mediakit.deepfake.signals import Signals

from pytorch_lightning import Trainer  # isort: skip
from pytorch_lightning.callbacks import ModelCheckpoint

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "plain sequences": {"phase": "none"},
    "no coherence": {"streams": ["head", "expression"]},
    "mean fusion": {"rule": "mean"},
    "lrnet": {"network": "lrnet"},
}
PIXELS = ("face_blend", "reenactment")


class Ready(DeepfakeDataModule):
    """Windows that are made once for all runs and kept in files."""

    def keep(self, folder: Path, *splits: str) -> None:
        """Reads what earlier runs made, or makes it."""
        for split in splits:
            kept = folder / (f"{split}.pt" if split in ("plain", "test") else f"{split}-{self.views}.pt")
            if not kept.exists():
                made = WindowDataset(*_columns(super().plain_windows())) if split == "plain" else self.dataset(split)
                torch.save((tuple(made.signals), made.columns), kept)
            signals, columns = torch.load(kept, weights_only=True)
            self._datasets[split] = WindowDataset(Signals(*signals), columns)
        self.records["test"] = [record for record in self.index() if record.split == "test"]

    def plain_windows(self) -> tuple[Signals, Tensor]:
        """Those that were kept."""
        ready = self._datasets["plain"]
        return ready.signals, ready.columns["label"]


def _columns(plain: tuple[Signals, Tensor]) -> tuple[Signals, dict[str, Tensor]]:
    return plain[0], {"label": plain[1]}


def train(data: Ready, settings: dict[str, Any], seed: int, epochs: int, out: Path) -> dict[str, Any]:
    """Trains one variant."""
    torch.manual_seed(seed)
    data.seed = seed
    module = DeepfakeModule(**settings)
    best = ModelCheckpoint(out, f"{time.time_ns()}", monitor="val/auc", mode="max")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        logger=False,
        callbacks=[best],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    began = time.perf_counter()
    trainer.fit(module, data)
    return {
        "settings": settings,
        "seed": seed,
        "epochs": epochs,
        "seconds": time.perf_counter() - began,
        "val_auc": float(best.best_model_score),
        "checkpoint": best.best_model_path,
    }


def score(data: Ready, checkpoint: str) -> dict[str, Any]:
    """Verdicts of one trained variant on the test films."""
    module = DeepfakeModule.load_from_checkpoint(checkpoint, weights_only=True).eval()
    module.print = lambda *_: None  # type: ignore[assignment]
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.test(module, data, verbose=False)
    calibration, rows = module.calibration, module.scores
    module.calibration_line.copy_(torch.tensor([1.0, 0.0]))
    trainer.test(module, data, verbose=False)
    return {
        "calibration": calibration,
        "rows": [asdict(row) for row in rows],
        "not_calibrated": [row.score for row in module.scores],
    }


def seed_mean(scores: Tensor, labels: Tensor) -> float:
    """Mean over seeds of the area under the curve; scores ``(N, S)``."""
    return sum(metrics.auc(column, labels) for column in scores.T) / scores.shape[1]


def table(out: Path, names: list[str]) -> str:
    """AUC by variant, compression and kind of manipulation: mean over seeds, intervals by bootstrap over people."""
    lines = []
    for name in names:
        runs = [json.loads(p.read_text()) for p in sorted(out.glob(f"{name.replace(' ', '_')}-[0-9].json"))]
        runs = [one for one in runs if "rows" in one]
        if not runs:
            continue
        rows = [Scored(**row) for row in runs[0]["rows"]]
        scores = torch.tensor([[row["score"] for row in one["rows"]] for one in runs], dtype=torch.double).T
        labels = torch.tensor([row.label for row in rows])
        people = [row.group for row in rows]
        parts = {"all": lambda r: True}
        for level in sorted({row.compression for row in rows}):
            parts[level] = lambda r, level=level: r.compression == level
        for level in sorted({row.compression for row in rows}):
            parts[f"trajectory {level}"] = lambda r, level=level: r.compression == level and r.method not in PIXELS
            parts[f"pixels {level}"] = lambda r, level=level: (
                r.compression == level and (r.label == 0 or r.method in PIXELS)
            )
        for method in sorted({row.method for row in rows if row.label}):
            parts[method] = lambda r, method=method: r.label == 0 or r.method == method
        spent = sum(one["seconds"] for one in runs) / len(runs)
        vals = ", ".join(f"{one['val_auc']:.3f}" for one in runs)
        lines.append(f"\n{name}: {len(runs)} seeds, {spent:.0f} s each, validation AUC (pseudo-fakes) {vals}")
        for part, chosen in parts.items():
            at = [n for n, row in enumerate(rows) if chosen(row)]
            p, y, who = scores[at], labels[at], [people[n] for n in at]
            low, high = metrics.score_interval(seed_mean, p, y, who)
            each = " ".join(f"{metrics.auc(column, y):.3f}" for column in p.T)
            lines.append(
                f"  {part:22s} {int((y == 0).sum()):3d} real {int((y == 1).sum()):3d} fake  AUC {seed_mean(p, y):.3f} "
                f"[{low:.3f}, {high:.3f}]  seeds {each}"
            )
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing, then prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", help="folder that deepfake_corpus.py wrote")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--lr", type=float, help="another learning rate, as a variant of its own")
    parser.add_argument("--first", type=int, default=0, help="first seed, for several processes at once")
    parser.add_argument("--train-only", action="store_true", help="do not score yet")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    names = [name if options.lr is None else f"{name} lr {options.lr:g}" for name in options.only]
    data = Ready(str(Path(options.heads, "tracks")), views=options.views)
    data.keep(out, "plain", "train", "val")
    for seed in range(options.first, options.seeds):
        for variant, name in zip(options.only, names, strict=True):
            file = out / f"{name.replace(' ', '_')}-{seed}.json"
            if not file.exists():
                settings = VARIANTS[variant] | ({} if options.lr is None else {"lr": options.lr})
                found = train(data, settings, seed, options.epochs, out)
                file.write_text(json.dumps(found))
                print(f"{name} {seed}: {found['seconds']:.0f} s, val AUC {found['val_auc']:.3f}", flush=True)
    if options.train_only:
        return
    data.keep(out, "test")
    for file in sorted(out.glob("*-[0-9].json")):
        known = json.loads(file.read_text())
        if "rows" not in known:
            file.write_text(json.dumps(known | score(data, known["checkpoint"])))
    print(table(out, names))
    for file in sorted(out.glob("full-0.json")):
        print(score_table([Scored(**row) for row in json.loads(file.read_text())["rows"]], "full, seed 0"))


if __name__ == "__main__":
    main()

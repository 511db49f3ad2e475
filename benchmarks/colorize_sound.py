"""Does the sound matter? `python benchmarks/colorize_sound.py DIR [--recordings 'esc10/*/{folds}-*.ogg']`.

Scenes as real mp4 files, whose gray shows the group and whose sound tells the class in it and so the colour, are made
in DIR with pictures of other kinds for the test. With ``--recordings`` the sounds are real ones; ``{folds}`` becomes
``[1-4]`` for training and ``5`` for the test, and recordings of 5 s are repeated to fill the 10 s. Every seed trains
the three stages, and variants: without stage 1, 2 or 3. What each makes of the unseen films is scored under guidance by
the colour picture (oracle), the right sound, no sound, the sound of another group, and that of another class of the
group.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from mediakit.colorize.data import ColorizeDataModule
from mediakit.colorize.module import ColorizeModule
from mediakit.colorize.scoreboard import WAYS
from mediakit.intervals import bootstrap_interval
from mediakit.synthetic.corpus import generate_clips
from mediakit.text_tables import as_markdown
from mediakit.trials import quiet_thread

from pytorch_lightning import Trainer, seed_everything  # isort: skip

VARIANTS = {
    "three stages": (1, 2, 3),
    "before stage 3": (1, 2),
    "without stage 1": (2, 3),
    "without stage 2": (1, 3),
    "sound trained with colour": (1, -3),
}
"""Stages of each; -3 is stage 3 with the audio encoder trained, too, which is the fair way to leave stage 2 out."""


def films(folder: Path, recordings: str | None, options: argparse.Namespace) -> None:
    """Writes the films, unless they are there."""
    for split, count, seed, folds in (("train", options.train, 0, "[1-4]"), ("test", options.test, 7, "5")):
        generate_clips(
            "scenes",
            folder / split,
            count,
            split=split,
            seed=seed,
            size=(96, 96),
            fps=4,
            hue_from=options.hue_from,
            recordings=None if recordings is None else recordings.format(folds=folds),
            workers=options.workers,
        )


def fit(stage: int, data: ColorizeDataModule, seed: int, start: ColorizeModule | None, options: Any) -> ColorizeModule:
    """Trains one stage from the network of the one before."""
    seed_everything(seed, verbose=False)
    module = ColorizeModule(
        stage=abs(stage),
        gray_encoder="resnet10t",
        semantic_encoder="reference",
        audio_encoder="reference",
        dim=128,
        width=16,
        audio_mels=64,
        audio_hop=640,
        size=options.size,
        train_audio=stage < 0,
        gray_lr=options.gray_lr,
        old_film=0.0,  # these films are new
        relevance_weight=options.relevance_weight,
        lr=1e-3,
    )
    if start is not None:
        module.network.load_state_dict(start.network.state_dict())
    data.frames = 3 if abs(stage) == 2 else 1
    data._datasets.clear()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=options.epochs[abs(stage) - 1],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0 if not options.validate else 1.0,
    )
    before = time.perf_counter()
    trainer.fit(module, data)
    if options.validate:
        found = {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()}
        print(f"stage {stage}, {time.perf_counter() - before:.0f} s: {found}", file=sys.__stdout__, flush=True)
    return module


def score(module: ColorizeModule, data: ColorizeDataModule) -> Any:
    """Scores the unseen films."""
    data.frames = 3
    data._datasets.clear()
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.test(module, data, verbose=False)
    return module.trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings")
    parser.add_argument("--hue-from", default="class", choices=("class", "group"))
    parser.add_argument("--train", type=int, default=320)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, nargs=3, default=(12, 20, 10))
    parser.add_argument("--gray-lr", type=float, default=0.3)
    parser.add_argument("--relevance-weight", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--validate", action="store_true", help="print the scores of validation")
    options = parser.parse_args()
    films(options.folder / "films", options.recordings, options)
    cache = str(options.folder / "cache")
    rows: dict[str, list[Any]] = {name: [] for name in options.variants}
    for seed in range(options.seeds):
        done: dict[tuple[int, ...], ColorizeModule] = {}
        for name in options.variants:
            data = ColorizeDataModule(
                str(options.folder / "films"), cache=cache, size=options.size, batch_size=16, seed=seed, progress=False
            )
            before = time.perf_counter()
            with quiet_thread(False):
                stages = VARIANTS[name]
                for length in range(1, len(stages) + 1):
                    if stages[:length] not in done:
                        start = done.get(stages[: length - 1])
                        done[stages[:length]] = fit(stages[length - 1], data, seed, start, options)
                trial = score(done[stages], data)
            seconds = time.perf_counter() - before
            rows[name].append(trial)
            told = {name: round(value, 3) for name, value in trial.summary().items()}
            print(f"seed {seed}, {name} ({seconds:.0f} s, {stages}): {json.dumps(told)}", flush=True)
            if name == "three stages":
                print(trial.table(f"unseen films, seed {seed}", markdown=True), flush=True)
    report(rows)


def report(rows: dict[str, list[Any]]) -> None:
    """Means over seeds; intervals over films, each with the mean of its seeds."""
    lines = []
    for name, trials in rows.items():
        cells = []
        for way in WAYS:
            values = [trial.errors(way) for trial in trials]
            if not len(values[0]):
                cells.append("-")
                continue
            low, high = bootstrap_interval(torch.stack(values).mean(0))
            cells.append(f"{torch.stack(values).mean():.2f} [{low:.2f}, {high:.2f}]")
        aucs = [trial.relevance_auc() for trial in trials]
        ratios = [trial.ratio("wrong", "none")[0] - 1 for trial in trials if len(trial.errors("wrong"))]
        cells.append(f"{min(aucs):.3f}-{max(aucs):.3f}")
        cells.append(f"{min(ratios):+.1%} to {max(ratios):+.1%}" if ratios else "-")
        lines.append((name, cells))
    heads = [*WAYS, "relevance AUC", "wrong against none"]
    first = next(iter(rows.values()))
    print()
    print(as_markdown(f"ab-MAE, {len(first)} seeds, {len(first[0].rows)} unseen films", heads, lines))


if __name__ == "__main__":
    main()

"""One run of an ablation: trains one network on one seed, keeps its best epoch, scores it."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mediakit.base import BaseDataModule
from mediakit.parsing.data import ParsingDataModule
from mediakit.parsing.error_ladder import error_ladder
from mediakit.parsing.metrics import PROTOCOLS, avvp_scores, decide, oracle_ladder
from mediakit.parsing.module import ParsingModule
from mediakit.parsing.simulation.data import SimulatedDataModule

# isort: split
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

MONITOR = "val/segment_type"


@dataclass(frozen=True)
class Run:
    """What a worker needs to know of a run; plain values, so that it travels.

    Attributes:
        row: Name of the variant.
        seed: Of the data that is drawn, of the weights and of the order.
        model: Arguments of `.ParsingModule`, without those that the data fixes.
        data: Arguments of `.SimulatedDataModule`, or, where it names ``features``, of `.ParsingDataModule`; without the
            seed.
        epochs: Of training.
    """

    row: str
    seed: int
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    epochs: int


class _BestEpoch(Callback):
    """Keeps the weights of the epoch that scores best on the validation split; the first of equals."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = float(trainer.callback_metrics[MONITOR])
        if not self.scores or score > max(self.scores):
            self.state = copy.deepcopy(pl_module.state_dict())
        self.scores.append(score)


def open_data(data: Mapping[str, Any], seed: int) -> ParsingDataModule | SimulatedDataModule:
    """The data module of a run, not yet set up.

    Raises:
        MediakitError: The arguments do not go together.
    """
    kind: type[ParsingDataModule | SimulatedDataModule]
    kind = ParsingDataModule if "features" in data else SimulatedDataModule
    return kind(**data, seed=seed)


def train_run(run: Run) -> dict[str, Any]:
    """Trains, keeps the best epoch by segment Type@AV on the validation split, and scores it on the test split.

    The result depends on the argument alone, given one thread and one machine.

    Returns:
        Plain values: ``val`` (a score an epoch), ``best_epoch`` (from 1), ``test`` (the ten scores by protocol),
        ``errors`` (see :func:`.error_ladder`, under the module's protocol), ``parameters``, ``seconds`` and
        ``cpu_seconds``.

    Raises:
        MediakitError: The data cannot be used, or training diverged.
    """
    start, start_cpu = time.perf_counter(), time.process_time()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    seed_everything(run.seed, verbose=False)
    data = open_data(run.data, run.seed)
    data.setup("fit")
    fixed: dict[str, Any] = {"classes": list(data.classes), **_widths(data)}
    module = ParsingModule(**fixed, **run.model)
    best = _BestEpoch()
    trainer = Trainer(
        max_epochs=run.epochs,
        gradient_clip_val=1.0,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[best],
    )
    trainer.fit(module, datamodule=data)
    module.load_state_dict(best.state)
    data.setup("test")
    decided, truth = _decisions(module, data)
    return {
        "val": best.scores,
        "best_epoch": 1 + best.scores.index(max(best.scores)),
        "test": {name: avvp_scores(*pair, *truth) for name, pair in decided.items()},
        "errors": error_ladder(*decided[module.protocol], *truth),
        "videos": len(truth[0]),
        "parameters": sum(p.numel() for p in module.network.parameters() if p.requires_grad),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - start_cpu, 1),
    }


def _widths(data: BaseDataModule) -> dict[str, int]:
    """Arguments of `.ParsingModule` that the validation data fixes."""
    example = data.val_dataloader().dataset[0]
    dims = {f"{name}_dim": example[name].shape[-1] for name in ("audio", "frames", "clips")}
    return {**dims, "segments": len(example["audio"])}


@torch.no_grad()
def _decisions(
    module: ParsingModule, data: BaseDataModule
) -> tuple[dict[str, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
    """Decisions (N, T, K) on the test split by protocol, and the truth."""
    module.eval()
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in (*PROTOCOLS, "truth")}
    for batch in data.test_dataloader():
        output = module(*(batch[name].to(module.device) for name in ("audio", "frames", "clips")))
        for name in PROTOCOLS:
            audio, visual = (x.cpu() & batch["valid"][..., None] for x in decide(output, name))
            found[name].append((audio, visual))
        found["truth"].append((batch["true_audio"], batch["true_visual"]))
    whole = {name: tuple(torch.cat(parts) for parts in zip(*pairs, strict=True)) for name, pairs in found.items()}
    truth = whole.pop("truth")
    return whole, truth  # type: ignore[return-value]


def reference_scores(data: BaseDataModule) -> dict[str, dict[str, float]]:
    """Scores that need no training: the ladder of oracles, and, where they are known, the pseudo-labels' own.

    Args:
        data: Set up for test.
    """
    whole: dict[str, list[Tensor]] = {}
    for batch in data.test_dataloader():
        for name in ("true_audio", "true_visual", "labels", "audio_segments", "visual_segments"):
            whole.setdefault(name, []).append(batch[name])
    found = {name: torch.cat(parts) for name, parts in whole.items()}
    truth = found["true_audio"], found["true_visual"]
    rows = oracle_ladder(*truth, found["labels"])
    if isinstance(data, SimulatedDataModule):  # elsewhere those of the test split are the truth
        rows["pseudo-labels of the test videos"] = avvp_scores(
            found["audio_segments"], found["visual_segments"], *truth
        )
    return rows

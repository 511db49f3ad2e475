"""What the trials of ``mediakit demo`` share: a small model trained in silence to the same bytes, and a baseline."""

from __future__ import annotations

import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mediakit.errors import require
from mediakit.threads import one_thread

if TYPE_CHECKING:
    from mediakit.base import BaseDataModule, BaseModule

MODEL = "this model"
"""Row of a trial: the network."""


def announce(text: str, progress: bool) -> None:
    """Says on stderr what is done next."""
    if progress:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def quiet_thread(progress: bool) -> Iterator[None]:
    """One thread adds in one order; what Lightning tells is not for those who watch a demo.

    Args:
        progress: Whether to let progress pass, on stderr.
    """
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with (
            one_thread(),
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(sys.stderr if progress else io.StringIO()),
            torch.random.fork_rng(devices=[]),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def fit_to_bytes(
    build: Callable[[], BaseModule], data: BaseDataModule, monitor: str, told: str, epochs: int, progress: bool
) -> bytes:
    """Trains a module on the CPU; give it `quiet_thread`.

    Args:
        build: Makes the module; it is called under seed 0.
        data: What it learns from.
        monitor: Name of the score on val, the higher the better; the epoch where it is highest is kept.
        told: What that score is called on the progress bar, with a place for its value, such as ``"AUC {:.2f}"``.
        epochs: Passes over the training data.
        progress: Whether to show progress on stderr.

    Returns:
        The checkpoint. Equal arguments give equal bytes on the same machine.
    """
    import mediakit.base  # noqa: F401  first: it makes torchvision importable

    from pytorch_lightning import Trainer  # isort: skip
    from pytorch_lightning.callbacks import ModelCheckpoint

    torch.manual_seed(0)
    module = build()
    with tempfile.TemporaryDirectory() as temporary:
        best = ModelCheckpoint(temporary, "best", monitor=monitor, mode="max", save_weights_only=True)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            gradient_clip_val=1.0,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=[best, _epoch_bar(monitor, told, epochs, progress)],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data)
        return Path(best.best_model_path).read_bytes()


def _epoch_bar(monitor: str, told: str, epochs: int, progress: bool) -> Any:
    from pytorch_lightning import Callback

    bar = require("tqdm", "Progress").tqdm(total=epochs, desc="training", unit="epoch", disable=not progress)

    class EpochBar(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            bar.set_postfix_str(told.format(float(trainer.callback_metrics[monitor])))
            bar.update()

        def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
            bar.close()

    return EpochBar()


def fit_logistic(x: Tensor, y: Tensor, decay: float) -> torch.nn.Linear:
    """Logistic regressions of K classes: the layer that gives their logits.

    Args:
        x: (N, dim).
        y: 0 or 1, float, (N, K).
        decay: Weight of half the squared norm of the weights beside the mean log loss, summed over the classes.
    """
    layer = torch.nn.Linear(x.shape[1], y.shape[1])
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(x), y, reduction="none").sum(1).mean()
        loss = loss + decay / 2 * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer

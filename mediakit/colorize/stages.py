"""The three stages of audio-infused colorization in turn, from a folder of colour films to a colorizer."""

from __future__ import annotations

import io
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mediakit.colorize.runs import COLORIZER, STAGES, Plan, StageResult, clear, finished, make_plan, settle
from mediakit.errors import MediakitError
from mediakit.io import sha256, write_bytes, write_text
from mediakit.io.files import StrPath
from mediakit.ledger import claimed, make_folder, write_json
from mediakit.trials import announce

if TYPE_CHECKING:
    from mediakit.colorize.data import ColorizeDataModule
    from mediakit.colorize.module import ColorizeModule

_NOTES = (
    ".*does not have many workers",
    "Checkpoint directory .* exists",
    ".*the logging interval",
    ".*in eval mode at the start of training",  # the parts that rest
    ".*LeafSpec",
)
_FRAMES = {1: 1, 2: 4, 3: 1}  # pictures of a clip that a stage learns from


@dataclass(frozen=True)
class TrainedColorizer:
    """What a run left.

    Attributes:
        checkpoint: The colorizer, for ``mediakit colorize`` and `mediakit.weights.load`.
        stages: How each stage went.
        table: Scores on the test split as text; empty where it holds nothing.
    """

    checkpoint: Path
    stages: tuple[StageResult, ...]
    table: str


def train_colorizer(
    folder: StrPath,
    out: StrPath,
    *,
    epochs: int | Sequence[int] | None = None,
    accelerator: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> TrainedColorizer:
    """Trains the three stages, each from the best epoch of the one before, and tests the last one.

    A stage that is finished is not trained again, and one that was interrupted goes on after its last whole epoch: the
    result is that of an uninterrupted run (with loader processes, ``num_workers``, nearly so). What lies in ``out``:

    - ``colorizer.ckpt``: the model; ``stage-1.ckpt`` to ``stage-3.ckpt``, those of the stages;
    - ``stage-1.json`` to ``stage-3.json``: settings, epochs and error of each; ``logs``: losses of each epoch;
    - ``test.txt``, ``test.json``: scores on the test split with and without sound;
    - ``clips``: the decoded films, if ``cache`` names no other folder; it may be removed afterwards.

    Args:
        folder: Colour films, or clips as ``mediakit build-clips`` or ``mediakit generate scenes`` write them, or what
            else ``layout`` says.
        out: Folder for the run; made if it is not there.
        epochs: Of each stage, or three numbers; None for the recipe's.
        accelerator: Lightning's name of the hardware: ``"auto"``, ``"cpu"``, ``"gpu"``, ...
        overwrite: Train anew, whatever earlier runs left in ``out``.
        progress: Whether to show progress on stderr.
        **settings: Arguments of `.ColorizeModule` and `.ColorizeDataModule` in the place of the recipe's: ``size``,
            ``batch_size``, ``lr``, ``layout``, ``gray_encoder``, ``seed``, ...

    Raises:
        MediaError: ``folder`` is missing or damaged; ``out`` cannot be written or is in use by another run.
        MediakitError: There is no such setting; ``out`` holds a run with other settings or other films; no clip is left
            that could be learnt from, or none has sound.
    """
    out = Path(out)
    plan = make_plan(folder, out, epochs, settings, progress)
    with claimed(out):
        if overwrite:
            clear(out)
        data = _data(plan, 1)
        settle(out, plan, data.records(), data.cache.digest)
        done: list[StageResult] = []
        with _plain_lightning():
            for stage in STAGES:
                start = done[-1].checkpoint if done else None
                found = finished(out, stage, start)
                if found is None:
                    announce(f"stage {stage} of {len(STAGES)}: {STAGES[stage]}", progress)
                    found = _train(out, plan, stage, start, accelerator, progress)
                done.append(found)
            table = _test(out, plan, done[-1], accelerator)
        final = out / COLORIZER
        if not final.exists() or sha256(final) != sha256(done[-1].checkpoint):
            write_bytes(final, done[-1].checkpoint.read_bytes())
    return TrainedColorizer(final, tuple(done), table)


@contextmanager
def _plain_lightning() -> Iterator[None]:
    """Keeps Lightning from advertising, from advice to programmers, and from standard output."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            for note in _NOTES:
                warnings.filterwarnings("ignore", message=note)
            yield
    finally:
        log.setLevel(level)


def _data(plan: Plan, stage: int) -> ColorizeDataModule:
    from mediakit.colorize.data import ColorizeDataModule

    return ColorizeDataModule(**plan.data, frames=_FRAMES[stage], need_sound=stage == 2)


def _train(out: Path, plan: Plan, stage: int, start: Path | None, accelerator: str, progress: bool) -> StageResult:
    from mediakit.colorize.module import ColorizeModule

    from pytorch_lightning import Trainer, seed_everything  # isort: skip
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger

    place, epochs = out / f"stage-{stage}", plan.epochs[stage - 1]
    make_folder(place)
    seed_everything(plan.seed, verbose=False)
    # What the network begins with is needed once; the later stages take over all of it.
    fresh = {name: None for name in plan.model if name.endswith("_weights")} if start else {}
    module = ColorizeModule(**{**plan.model, **fresh, "stage": stage, "start": start and str(start)})
    best = ModelCheckpoint(place, "best", "val/error", mode="min", save_weights_only=True, enable_version_counter=False)
    last = ModelCheckpoint(place, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=epochs,
        num_sanity_val_steps=0,
        callbacks=[_epoch_seeds(plan.seed), best, last],  # the last holds the state of the best
        logger=CSVLogger(out / "logs", f"stage-{stage}"),
        enable_progress_bar=progress,
        enable_model_summary=False,
        **plan.trainer,
    )
    going_on = place / "last.ckpt"
    trainer.fit(module, _data(plan, stage), ckpt_path=going_on if going_on.exists() else None)
    if not trainer.state.finished:
        raise KeyboardInterrupt  # Lightning takes it for an end
    if not best.best_model_path or best.best_model_score is None:
        raise MediakitError(f"{out}: stage {stage} left no best epoch: is there a val split with clips?")
    checkpoint, error = out / f"stage-{stage}.ckpt", float(best.best_model_score)
    write_bytes(checkpoint, Path(best.best_model_path).read_bytes())
    write_json(
        out / f"stage-{stage}.json",
        {
            "stage": stage,
            "epochs": epochs,
            "error": error,
            "sha256": sha256(checkpoint),
            "start": start and sha256(start),
            "settings": plan.settled(),
        },
    )
    shutil.rmtree(place)
    return StageResult(stage, checkpoint, error, epochs, False)


def _epoch_seeds(seed: int) -> Any:
    """Draws of an epoch depend on its number alone, so that a run that goes on does what it would have done."""
    from pytorch_lightning import Callback

    class EpochSeeds(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            number = 100_003 * seed + trainer.current_epoch
            torch.manual_seed(number)
            sampler = trainer.train_dataloader.sampler
            if isinstance(sampler, torch.utils.data.RandomSampler):
                sampler.generator = torch.Generator().manual_seed(number)

    return EpochSeeds()


def _test(out: Path, plan: Plan, last: StageResult, accelerator: str) -> str:
    """Scores on the test split, if it holds anything and was not scored before."""
    from mediakit.weights import load

    from pytorch_lightning import Trainer, seed_everything  # isort: skip

    text, numbers, made_of = out / "test.txt", out / "test.json", sha256(last.checkpoint)
    with suppress(OSError, ValueError, KeyError, TypeError):  # not tested yet, or not to the end
        if json.loads(numbers.read_text("utf-8"))["sha256"] == made_of:
            return text.read_text("utf-8").rstrip("\n")
    data = _data(plan, 3)
    try:
        data.setup("test")
    except MediakitError as error:  # the colorizer is there all the same
        warnings.warn(f"the colorizer was not tested: {error}", stacklevel=2)
        return ""
    seed_everything(plan.seed, verbose=False)
    module: ColorizeModule = load(last.checkpoint)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator=accelerator, devices=1, **quiet).test(module, data, verbose=False)
    assert module.trial is not None
    table = module.trial.table()
    write_text(text, f"{table}\n")
    write_json(numbers, {"sha256": made_of, "scores": module.trial.summary()})
    return table

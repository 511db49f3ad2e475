"""The one LightningModule and the one LightningDataModule that every task builds on."""

from __future__ import annotations

import importlib
import math
import os
import sys
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from mediakit import __version__
from mediakit.encoders.backbones import import_torchvision
from mediakit.errors import MissingPackageError
from mediakit.features import Card, same_encoder


def _import_lightning() -> None:
    """Imports Lightning where packages that its metrics import unasked are broken.

    torchmetrics imports torchvision and librosa as soon as they are *installed*, and dies if they cannot be imported;
    training on ready features needs neither.
    """
    with suppress(MissingPackageError):
        import_torchvision()
    try:
        importlib.import_module("pytorch_lightning")
    except ImportError as error:
        if "librosa" not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] in ("torchmetrics", "pytorch_lightning")]:
            del sys.modules[name]  # left half imported
        before = {name: sys.modules[name] for name in sys.modules.keys() & {"librosa"}}  # None there forbids the import
        sys.modules["librosa"] = stub = ModuleType("librosa")
        stub.__spec__ = ModuleSpec("librosa", None)  # transformers, where it is installed, asks for it
        try:
            importlib.import_module("pytorch_lightning")
        finally:
            del sys.modules["librosa"]
            sys.modules.update(before)


_import_lightning()
from pytorch_lightning import LightningDataModule, LightningModule  # noqa: E402

Split = Literal["train", "val", "test", "predict"]
_NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class BaseModule(LightningModule):
    """Trains a plain torch network; a task adds the network, its losses and its metrics.

    Subclasses call ``super().__init__``, then ``self.save_hyperparameters()``, and write :meth:`step` once; training,
    validation and test all go through it. Constructor arguments are plain values, so that they are the command line and
    survive ``load_from_checkpoint``.

    Args:
        lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay of AdamW.
        betas: Decay rates of AdamW's moments.

    Attributes:
        encoders: ``card()`` of the encoder behind each feature that the model was trained on, by feature; they travel
            in the checkpoint. Empty where the inputs are no features, None where it is not known.
    """

    def __init__(self, lr: float = 1e-4, weight_decay: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__()
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas
        self.encoders: dict[str, Card | None] = {}

    @abstractmethod
    def step(self, batch: Any, split: Split) -> Mapping[str, torch.Tensor]:
        """Runs the network on one batch and updates the metrics of ``split``.

        Args:
            batch: What the data module's loader yields.
            split: ``"train"``, ``"val"`` or ``"test"``.

        Returns:
            Scalars to log by name; ``"total"`` is the one that is minimised.
        """

    def predict(self, path: str) -> Any:
        """Runs the task on one media file; what comes back is the task's own result type."""
        raise NotImplementedError(f"{type(self).__name__} does not predict from files")

    def _logged_step(self, batch: Any, split: Split) -> torch.Tensor:
        scalars = self.step(batch, split)
        size = _batch_size(batch)
        for name, value in scalars.items():  # the progress bar has room for one
            self.log(f"{split}/{name}", value, prog_bar=name == "total", on_step=False, on_epoch=True, batch_size=size)
        return scalars["total"]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Loss of one training batch."""
        return self._logged_step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs one validation batch."""
        self._logged_step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs one test batch."""
        self._logged_step(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """The network's output for one batch, whose first item is the input (what follows is truth)."""
        return self(batch[0] if isinstance(batch, (list, tuple)) else batch)

    def check_encoders(self, found: Mapping[str, Card | None]) -> None:
        """Makes sure that features come from the encoders that the model was trained on.

        Args:
            found: Cards of their encoders by feature; None where it is not known, which passes.

        Raises:
            MediakitError: One is another; the message names both.
        """
        for feature, card in found.items():
            same_encoder(self.encoders.get(feature), card, feature)

    def _check_data(self) -> dict[str, Card | None]:
        # The trainer loads a checkpoint after `setup`, so this is the first moment to know both sides.
        data = getattr(self.trainer, "datamodule", None)
        found = dict(data.encoders) if isinstance(data, BaseDataModule) else {}
        self.check_encoders(found)
        return found

    def on_fit_start(self) -> None:
        """Remembers which encoders made the features, or refuses others than those trained on before."""
        found = self._check_data()
        self.encoders = {**self.encoders, **{name: card for name, card in found.items() if card is not None}}

    def on_fit_end(self) -> None:
        """Says which checkpoint is the best."""
        kept: Any = self.trainer.checkpoint_callback
        if path := getattr(kept, "best_model_path", ""):
            score = getattr(kept, "best_model_score", None)
            self.print(path if score is None else f"{path}: best {kept.monitor}, {score:.4g}")
            settings = Path(getattr(self.trainer.logger, "log_dir", None) or "", "config.yaml")
            if settings.is_file():
                self.print(f"to test it: mediakit test --config {settings} --ckpt_path {os.path.relpath(path)}")

    def on_validation_start(self) -> None:
        """Refuses features of other encoders."""
        self._check_data()

    def on_test_start(self) -> None:
        """Refuses features of other encoders."""
        self._check_data()

    def on_predict_start(self) -> None:
        """Refuses features of other encoders."""
        self._check_data()

    def configure_optimizers(self) -> Any:
        """AdamW over the parameters that want a gradient."""
        wanted = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(wanted, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes which class and version made the checkpoint, so that `mediakit.weights.load` needs only the file."""
        cls = type(self)
        checkpoint["mediakit"] = {
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "version": __version__,
            "encoders": {name: None if card is None else dict(card) for name, card in self.encoders.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remembers which encoders made the features that the model was trained on."""
        self.encoders = dict(checkpoint.get("mediakit", {}).get("encoders", {}))


class BaseDataModule(LightningDataModule):
    """Loaders with one seed; a task adds :meth:`dataset`.

    Args:
        batch_size: Items a batch.
        num_workers: Loader processes; 0 loads in the training process.
        seed: Seed of the training order.
    """

    def __init__(self, batch_size: int = 16, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._datasets: dict[str, Dataset] = {}

    @property
    def encoders(self) -> Mapping[str, Card | None]:
        """``card()`` of the encoder behind each feature that the data holds, by feature; none by default.

        A data module of features gives those of its `.FeatureFolder`; the trainer then refuses to use them with a model
        that was trained on features of other encoders.
        """
        return {}

    @abstractmethod
    def dataset(self, split: Split) -> Dataset:
        """Builds the data of one split; bad data is named here, before training starts."""

    def setup(self, stage: str) -> None:
        """Builds the splits that ``stage`` (``fit``, ``validate``, ``test``, ``predict``) needs, each once."""
        for split in _NEEDED[stage]:
            if split not in self._datasets:
                self._datasets[split] = self.dataset(split)

    def _loader(self, split: Split, drop_last: bool = False) -> DataLoader:
        return DataLoader(
            self._datasets[split],
            batch_size=self.batch_size,
            shuffle=split == "train",
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train_dataloader(self) -> DataLoader:
        """Shuffled training batches."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader:
        """Validation batches in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        """Test batches in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        """Batches to predict on, in order."""
        return self._loader("predict")


def warm_cosine(step: int, steps: int, warm: int) -> float:
    """Share of the learning rate at a step: a linear rise, then half a cosine down to 0 (Loshchilov and Hutter, 2017).

    Args:
        step: From 0 on.
        steps: Of the whole training.
        warm: Steps of the rise, at least 1.
    """
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1.0))


def _batch_size(batch: Any) -> int:
    """Items in a batch: the length of the first tensor found in it."""
    if isinstance(batch, torch.Tensor):
        return len(batch)
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((_batch_size(v) for v in values if isinstance(v, (torch.Tensor, Mapping, list, tuple))), 1)

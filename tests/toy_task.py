"""A real, tiny task on ready features: what every later task must be able to do through the shared bases."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from mediakit.base import BaseDataModule, BaseModule
from mediakit.errors import MediaError


class ToyModule(BaseModule):
    """Logistic regression on the mean over time of features (B, T, dim)."""

    def __init__(self, dim: int = 4, lr: float = 0.1, weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.save_hyperparameters()
        self.net = nn.Linear(dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.mean(1))[:, 0]

    def step(self, batch, split):
        x, y = batch
        logits = self(x)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y)
        return {"total": loss, "accuracy": ((logits > 0) == (y > 0.5)).float().mean()}

    def predict(self, path: str) -> float:
        features = torch.from_numpy(np.load(path)).float()
        with torch.no_grad():
            return float(self(features[None]).sigmoid())


class ToyData(BaseDataModule):
    """Features kept as `x.npy` (N, T, dim) and `y.npy` (N,) in a folder for each split."""

    def __init__(self, folder: str, batch_size: int = 16, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.folder = Path(folder)

    def dataset(self, split):
        folder = self.folder / split
        if not (folder / "x.npy").is_file():
            raise MediaError(folder / "x.npy", "does not exist", "Extract the features first.")
        x, y = (torch.from_numpy(np.load(folder / f"{name}.npy")).float() for name in "xy")
        return TensorDataset(x, y)


def write_features(folder: Path) -> None:
    """Two classes half a standard deviation apart in each of 5 frames."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 96, "val": 64, "test": 64, "predict": 8}.items():
        y = np.arange(count) % 2
        x = rng.standard_normal((count, 5, 4)) + (y[:, None, None] - 0.5) * 1.5
        (folder / split).mkdir(parents=True)
        np.save(folder / split / "x.npy", x.astype(np.float32))
        np.save(folder / split / "y.npy", y.astype(np.float32))

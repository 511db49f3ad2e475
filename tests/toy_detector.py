"""A small stand-in for a trained DeepfakeModule: it says the same of whatever it sees."""

import torch
from torch import nn

from mediakit.base import BaseModule
from mediakit.deepfake.model import weigh

REFERENCE = {"mouth_tempo": (1.4, 2.2), "inner_face_jitter": (0.9, 1.1)}


class Opinion(nn.Module):
    """Stands in for a network; ``seen`` keeps what it was given."""

    streams = ("head", "expression")
    window = 96

    def __init__(self, fake: float, real: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([fake, real]))
        self.seen: list[tuple[int, list[float]]] = []

    def forward(self, signals, quality=None):
        assert not self.training
        assert torch.get_num_threads() == 1
        self.seen.append((len(signals.valid), quality.tolist()))
        logits = self.logits.expand(len(signals.valid), len(self.streams), 2)
        return weigh(logits, signals.valid, quality, "dempster")


class Prejudice(BaseModule):
    """What prediction reads of a DeepfakeModule."""

    def __init__(self, fake: float = 8.0, real: float = -8.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = Opinion(fake, real)
        self.thresholds = {"fake_above": 0.6, "real_below": 0.4, "least_quality": 0.3}
        self.calibration = (1.0, 0.0)
        self.reference = dict(REFERENCE)

    def forward(self, signals, quality=None):
        return self.network(signals, quality)

    def step(self, batch, split):
        raise NotImplementedError
